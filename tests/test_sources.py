"""Pictures in a zip, tars, Parquet, a list or on the web: the rows are those of the same files, to the last
bit; what is broken is told in one line"""
import csv, http.server, io, json, os, pickle, struct, tarfile, threading, zipfile
from functools import partial
import numpy as np, pytest, torch
from PIL import Image, features
from torch import nn
from scp_nb.data import ImageFiles, as_images, photo_patches
from scp_nb.extract import sources
from scp_nb.extract.reading import file_stamps, find_copies
from scp_nb.features import extract_features, load_backbone

def to_tensor(im): return torch.tensor(np.asarray(im.resize((24,24)))/255, dtype=torch.float32).permute(2,0,1)
class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net,self.seen = nn.Sequential(nn.Conv2d(3,8,3,2), nn.ReLU(), nn.Flatten(), nn.Linear(8*121,16)),0
    def forward(self, x): self.seen += len(x); return self.net(x)
def tiny(): return load_backbone(Tiny(), transform=to_tensor, device='cpu')
def extract(images, **kw):
    return extract_features(images, tiny(), progress=False, **{'batch_size': 8, 'n_workers': 3, **kw})

def fill(d, n=40):
    "A folder of folders with JPEG, PNG, WebP and, where Pillow writes it, AVIF; copies; a bad one; a text"
    kinds = ['jpg', 'png', 'webp'] + ['avif']*features.check('avif')
    patches = photo_patches()
    for i in range(n):
        f = d/'ab'[i%2]/f'{i:03d}.{kinds[i%len(kinds)]}'
        f.parent.mkdir(parents=True, exist_ok=True)
        if i==7: f.write_bytes(b'no image')
        elif i%11==10: f.write_bytes((d/'ab'[i%2]/f'{i-8:03d}.{kinds[(i-8)%len(kinds)]}').read_bytes())
        else: patches[i*7].save(f)
    (d/'a'/'notes.txt').write_text('x')
    return d

@pytest.fixture
def photos(tmp_path): return fill(tmp_path/'photos')

def files_of(d): return sorted(p for p in d.rglob('*') if p.is_file())
def to_zip(d, out, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(out, 'w', method) as z:
        for p in files_of(d): z.write(p, p.relative_to(d).as_posix())
    return out
def to_tar(d, out, files=None):
    with tarfile.open(out, 'w') as t:
        for p in files or files_of(d): t.add(p, p.relative_to(d).as_posix())
    return out
def to_list(d, out):
    out.write_text('# some pictures\n'+'\n'.join(os.path.relpath(p, out.parent) for p in ImageFiles(d).paths))
    return out
def to_memory(d, out):
    fsspec = pytest.importorskip('fsspec', reason='fsspec is not installed')
    fs = fsspec.filesystem('memory')
    for p in files_of(d): fs.pipe(f'/{out.name}/{p.relative_to(d).as_posix()}', p.read_bytes())
    return f'memory://{out.name}'
def to_parquet(d, out, rows=7, label=True, **columns):
    pa = pytest.importorskip('pyarrow', reason='pyarrow is not installed')
    import pyarrow.parquet as pq
    images = ImageFiles(d)
    cells = [dict(bytes=p.read_bytes(), path=n) for p,n in zip(images.paths, images.names)]
    table = dict(image=cells, **({'label': [n[0]=='b' for n in images.names]} if label else {}), **columns)
    t = pa.table(table)
    if label:
        t = t.set_column(1, 'label', t['label'].cast(pa.int64()))
        told = dict(image=dict(_type='Image'), label=dict(_type='ClassLabel', names=['a', 'b']))
        t = t.replace_schema_metadata({'huggingface': json.dumps(dict(info=dict(features=told)))})
    pq.write_table(t, out, row_group_size=rows)
    return out

packers = dict(zip=(to_zip, 'x.zip'), stored=(partial(to_zip, method=zipfile.ZIP_STORED), 'y.zip'),
               tar=(to_tar, 'x.tar'), parquet=(to_parquet, 'x.parquet'), list=(to_list, 'x.txt'),
               memory=(to_memory, 'x'))

@pytest.mark.parametrize('processes', [False, True])
@pytest.mark.parametrize('kind', packers)
def test_the_same_rows_as_files(photos, tmp_path, kind, processes):
    pack,name = packers[kind]
    place = pack(photos, tmp_path/name)
    want = extract(photos, out=tmp_path/'files')
    got = extract(place, out=tmp_path/'got', processes=processes)
    assert [n.removeprefix('photos/') for n in got.names]==want.names and np.array_equal(got.X, want.X)
    assert [*got.skipped.values()]==[*want.skipped.values()]==['not an image in a format that is read here']
    again = extract(place)      # in memory
    assert np.array_equal(again.X, want.X) and len(want)>30

@pytest.mark.parametrize('kind', packers)
def test_what_they_are(photos, tmp_path, kind):
    pack,name = packers[kind]
    images,files = as_images(pack(photos, tmp_path/name)),ImageFiles(photos)
    if kind not in ('parquet', 'list'): assert str(images.passed_over)=='1 .txt'
    part = pickle.loads(pickle.dumps(images[5:9]))
    for i in range(4): assert np.array_equal(np.asarray(part[i]), np.asarray(files[5:9][i])) if i!=2 else True
    if kind=='parquet': assert images.classes==['a', 'b'] and set(images.labels[:5])=={0}
    elif kind!='list':
        place = tmp_path/name if kind!='memory' else 'memory://x'
        assert as_images(place, labels='folder').classes==['a', 'b']
    copies = find_copies(images, file_stamps(images), range(len(images)))
    assert copies==find_copies(files, file_stamps(files), range(len(files))) and len(copies)==3
    rng = np.random.default_rng(0)      # any order, from several threads
    order = rng.permutation(len(files))
    from concurrent.futures import ThreadPoolExecutor
    def bytes_of(i): return images.encoded(i).read() if kind!='list' else images.paths[i].read_bytes()
    with ThreadPoolExecutor(4) as pool: got = list(pool.map(bytes_of, order.tolist()))
    assert got==[files.paths[i].read_bytes() for i in order]

@pytest.mark.parametrize('kind', ['zip', 'tar', 'parquet', 'memory'])
def test_changes_are_noticed(photos, tmp_path, kind):
    "Unchanged: recognised. One picture changed, one new: with update only these are computed"
    pack,name = packers[kind]
    b = tiny(); place = pack(photos, tmp_path/name); kw = dict(progress=False, batch_size=4, out=tmp_path/'f')
    extract_features(place, b, **kw); b.model.seen = 0
    extract_features(place, b, **kw)
    assert not b.model.seen
    photo_patches()[300].save(photos/'a'/'000.jpg'); photo_patches()[301].save(photos/'b'/'new.png')
    if kind=='memory':
        import fsspec; fs = fsspec.filesystem('memory')
        for n in ('a/000.jpg', 'b/new.png'): fs.pipe(f'/x/{n}', (photos/n).read_bytes())
    else: place = pack(photos, tmp_path/name)
    with pytest.raises(FileExistsError, match='1 image is new .* 1 has changed'):
        extract_features(place, b, **kw)
    f = extract_features(place, b, **kw, update=True)
    assert b.model.seen==2 and 'b/new.png' in f.names

def test_a_moved_pack_is_the_same(photos, tmp_path):
    b = tiny()
    for pack,name in (packers['zip'], packers['tar'], packers['parquet']):
        place = pack(photos, tmp_path/name)
        extract_features(place, b, out=tmp_path/f'f{name}', progress=False, batch_size=4); b.model.seen = 0
        os.utime(place, (1,1))
        extract_features(place, b, out=tmp_path/f'f{name}', progress=False, batch_size=4)
        assert not b.model.seen, name

# ---- WebDataset

def test_shards_with_labels(photos, tmp_path):
    files,images = [p for p in files_of(photos) if p.suffix!='.txt'],ImageFiles(photos)
    for s in range(3):
        with tarfile.open(tmp_path/f'{s:05d}.tar', 'w') as t:
            for p in files[s::3]:
                t.add(p, f'{p.stem}{p.suffix}')
                data = str(int(p.stem)%2).encode()
                info = tarfile.TarInfo(f'{p.stem}.cls')
                info.size = len(data)
                t.addfile(info, io.BytesIO(data))
    for pattern in ('{00000..00002}.tar', '*.tar', '0000?.tar'):
        x = as_images(str(tmp_path/pattern))
        assert len(x)==len(images) and x.labels.tolist()==[int(n[:3])%2 for n in x.names]
        assert not x.passed_over
    row = dict(zip((n.split('/')[1] for n in images.names), range(len(images))))
    want,got = extract(images),extract(x, batch_size=40)
    at = dict(zip((n.split('/')[1] for n in want.names), want.X))
    np.testing.assert_allclose(got.X, [at[n] for n in got.names], atol=1e-6)
    assert x.names[0]=='000.jpg' and len(row)==len(x)
    with pytest.raises(FileNotFoundError, match='2 of 5 files of .* are missing: .*00003.tar'):
        as_images(str(tmp_path/'{00000..00004}.tar'))
    # one name in two shards
    for s in 'xy': to_tar(photos, tmp_path/f'{s}.tar', files[:2])
    assert as_images([tmp_path/'x.tar', tmp_path/'y.tar']).names[::2]==['x/a/000.jpg', 'y/a/000.jpg']

# ---- broken and hostile

def test_two_files_of_one_name(photos, tmp_path):
    "All pictures keep names of their own, and their order"
    for d in 'ab':
        (tmp_path/d).mkdir()
        to_zip(photos, tmp_path/d/'album.zip')
    both = as_images([tmp_path/d/'album.zip' for d in 'ab'])
    half = len(both)//2
    assert len(set(both.names))==len(both)>70
    assert [n.replace('1-album', '2-album') for n in both.names[:half]]==both.names[half:]

def one_line(x, error, *said):
    with pytest.raises(error) as e: as_images(x)
    text = str(e.value)
    assert '\n' not in text and len(text)<600 and all(s in text for s in said), text
    return text

@pytest.mark.parametrize('share', [.2, .5, .9])
def test_a_tar_cut_short(photos, tmp_path, share):
    data = to_tar(photos, tmp_path/'a.tar').read_bytes()
    last = max(i for i in range(0, len(data), 512) if data[i:i+512].strip(b'\0'))
    (tmp_path/'a.tar').write_bytes(data[:int(last*share)//512*512+100])
    one_line(tmp_path/'a.tar', ValueError, 'a.tar', 'cut short', 'nothing was read')

def test_a_tar_without_its_end(photos, tmp_path):
    data = to_tar(photos, tmp_path/'a.tar').read_bytes()
    last = max(i for i in range(0, len(data), 512) if data[i:i+512].strip(b'\0'))
    (tmp_path/'a.tar').write_bytes(data[:last+512])
    with pytest.warns(UserWarning, match='no end mark'): assert len(as_images(tmp_path/'a.tar'))==40

def test_other_tars(photos, tmp_path):
    with tarfile.open(tmp_path/'a.tar.gz', 'w:gz') as t: t.add(photos, 'x')
    one_line(tmp_path/'a.tar.gz', ValueError, 'compressed', 'gunzip')
    (tmp_path/'b.tar').write_bytes(b'hello'*500)
    one_line(tmp_path/'b.tar', ValueError, 'is no tar')
    to_tar(photos, tmp_path/'c.tar', [photos/'a'/'notes.txt'])
    one_line(tmp_path/'c.tar', ValueError, 'holds no image; passed over: 1 .txt')
    with tarfile.open(tmp_path/'d.tar', 'w') as t: t.add(photos/'a'/'000.jpg', '../000.jpg')
    one_line(tmp_path/'d.tar', ValueError, 'leads out of it', '../000.jpg')
    with tarfile.open(tmp_path/'e.tar', 'w') as t:      # links in a tar are no pictures
        t.add(photos/'a'/'000.jpg', 'x.jpg')
        link = tarfile.TarInfo('y.jpg')
        link.type,link.linkname = tarfile.SYMTYPE,'/etc/passwd'
        t.addfile(link)
    assert as_images(tmp_path/'e.tar').names==['x.jpg']

def test_hard_links_in_a_tar_are_pictures(photos, tmp_path):
    "tar packs a file with two names once, as `scp_sort --link` leaves them"
    (tmp_path/'f').mkdir()
    (tmp_path/'f'/'a.jpg').write_bytes((photos/'a'/'000.jpg').read_bytes())
    os.link(tmp_path/'f'/'a.jpg', tmp_path/'f'/'b.jpg')
    (tmp_path/'f'/'c.txt').write_text('x')
    os.link(tmp_path/'f'/'c.txt', tmp_path/'f'/'d.jpg')
    with tarfile.open(tmp_path/'t.tar', 'w') as t:
        for n in ('a.jpg', 'b.jpg', 'c.txt', 'd.jpg'): t.add(tmp_path/'f'/n, n)
    images = as_images(tmp_path/'t.tar')
    assert images.names==['a.jpg', 'b.jpg'] and images[0].tobytes()==images[1].tobytes()
    plain = ImageFiles([tmp_path/'f'/'a.jpg', tmp_path/'f'/'b.jpg'])
    X,Y = (extract_features(i, 'pixels?size=8', progress=False).X for i in (images, plain))
    assert np.array_equal(X, Y)

def png(size=9): b = io.BytesIO(); Image.new('RGB', (size,size), 'red').save(b, 'png'); return b.getvalue()

@pytest.mark.parametrize('name', ['../a.png', '/a.png', 'x/../../a.png', 'C:/a.png', '..\\a.png'])
def test_a_zip_that_climbs_out(tmp_path, name):
    with zipfile.ZipFile(tmp_path/'a.zip', 'w') as z: z.writestr('fine.png', png()); z.writestr(name, png())
    one_line(tmp_path/'a.zip', ValueError, 'a.zip', 'leads out of it')

def test_a_zip_of_paths_that_start_here(tmp_path):
    with zipfile.ZipFile(tmp_path/'a.zip', 'w') as z:
        for n in ('./a.png', './.b.png'): z.writestr(n, png())
    x = as_images(tmp_path/'a.zip')
    assert x.names==['a.png'] and x[0].size==(9,9) and str(x.passed_over)=='1 hidden file'

def test_a_zip_bomb(tmp_path):
    with zipfile.ZipFile(tmp_path/'a.zip', 'w', zipfile.ZIP_DEFLATED) as z:
        with z.open('a.png', 'w') as f:
            for _ in range(300): f.write(bytes(1<<20))
    one_line(tmp_path/'a.zip', ValueError, 'zip bomb', '314,572,800')

def test_a_zip_that_lies_about_sizes(tmp_path):
    "The directory says 99 bytes, the data unpack to 50 MB: not more than 100 bytes are ever unpacked"
    with zipfile.ZipFile(tmp_path/'a.zip', 'w', zipfile.ZIP_DEFLATED) as z:
        z.writestr('a.png', png()); z.writestr('b.png', bytes(50<<20))
    data = bytearray((tmp_path/'a.zip').read_bytes())
    at = data.rindex(b'PK\x01\x02')
    data[at+24:at+28] = struct.pack('<I', 99)
    (tmp_path/'a.zip').write_bytes(data)
    images = as_images(tmp_path/'a.zip')
    assert images[0].size==(9,9)
    with pytest.raises(ValueError, match='checksum'): images[1]

def test_overlapping_files_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path/'a.zip', 'w') as z: z.writestr('a.png', png()); z.writestr('b.png', png())
    data = bytearray((tmp_path/'a.zip').read_bytes())
    at = data.rindex(b'PK\x01\x02')
    data[at+42:at+46] = struct.pack('<I', 5)          # b.png begins inside a.png
    (tmp_path/'a.zip').write_bytes(data)
    one_line(tmp_path/'a.zip', ValueError, 'zip')

def test_other_zips(photos, tmp_path):
    data = to_zip(photos, tmp_path/'a.zip').read_bytes()
    (tmp_path/'b.zip').write_bytes(data[:len(data)//2])
    one_line(tmp_path/'b.zip', ValueError, 'no whole zip', 'copy it again')
    at = data.rindex(b'PK\x01\x02')
    (tmp_path/'c.zip').write_bytes(data[:at+8]+bytes([data[at+8] | 1])+data[at+9:])
    one_line(tmp_path/'c.zip', ValueError, 'need a password')
    bad = bytearray(data); bad[200] ^= 255
    (tmp_path/'d.zip').write_bytes(bad)
    x = extract(tmp_path/'d.zip')
    assert any('damaged' in r for r in x.skipped.values()) and len(x)>30
    with zipfile.ZipFile(tmp_path/'e.zip', 'w') as z:
        for n in ('__MACOSX/._a.png', '.DS_Store', 'a.png', 'b', 'c.mov'): z.writestr(n, png())
    x = as_images(tmp_path/'e.zip')
    assert x.names==['a.png', 'b'] and str(x.passed_over)=='1 .mov, 2 hidden files'

def test_a_column_for_what_has_none(photos, tmp_path):
    import pandas as pd
    zipped = to_zip(photos, tmp_path/'a.zip')
    for x in (photos, zipped, as_images(photos), np.zeros((3,4,4), np.uint8)):
        with pytest.raises(ValueError, match='column="b" is for what has columns'): as_images(x, column='b')
    for x in ([png(), png()], [Image.new('RGB', (4,4))]*2):
        with pytest.raises(ValueError, match='column="b" is for what has columns'): as_images(x, column='b')
    with pytest.raises(ValueError, match='two columns of the frame have one name'):
        as_images(pd.DataFrame([['x.png', 'y.png']], columns=['a', 'a']))
    frame = pd.DataFrame(dict(a=['x.png', 'y.png'], b=['z.png', 'w.png']))
    with pytest.raises(ValueError, match='more than one column'): as_images(frame)
    with pytest.raises(ValueError, match='no column "c". There are: a, b'): as_images(frame, column='c')
    pictures = pd.DataFrame(dict(a=[png(), png()], b=[png(size=5), png(size=6)]))
    assert [im.size[0] for im in as_images(pictures, column='b')]==[5, 6]

def test_a_column_of_several(tmp_path, monkeypatch, capsys):
    "Each column gives its own pictures, and features that are not taken for those of the other"
    pa = pytest.importorskip('pyarrow', reason='pyarrow is not installed')
    import pyarrow.parquet as pq
    from scp_nb import cli
    monkeypatch.chdir(tmp_path)
    sides = dict(a=range(5, 9), b=range(15, 19))
    for part in 'xy':
        pq.write_table(pa.table({c: [png(s) for s in sizes] for c,sizes in sides.items()}), f'{part}.parquet')
    far = f'file://{tmp_path}/x.parquet'
    for place in ('x.parquet', far, '*.parquet', ['x.parquet', 'y.parquet']):
        for c,sizes in sides.items():
            assert [im.size[0] for im in as_images(place, column=c)][:4]==list(sizes)
    # one column alone is the same place whether it is named or not
    pq.write_table(pa.table(dict(a=[png(), png(5)], text=['u', 'v'])), 'one.parquet')
    assert as_images('one.parquet', column='a').place==as_images('one.parquet').place
    assert len({as_images('x.parquet', column=c).place for c in sides})==2
    for place in ('x.parquet', far):
        stamps = [as_images(place, column=c).stamps() for c in sides]
        assert (stamps[0][:,1]!=stamps[1][:,1]).all(), place
    for c in sides: cli.scp_features('x.parquet', column=c, backbone='pixels?size=4')
    assert {'x-features', 'x-features-2'} <= {p.name for p in tmp_path.iterdir()}
    capsys.readouterr()
    cli.scp_features('x.parquet', column='b', backbone='pixels?size=4')
    assert 'from an earlier run, in x-features-2' in capsys.readouterr().out

def test_bad_parquet(photos, tmp_path):
    pa = pytest.importorskip('pyarrow', reason='pyarrow is not installed')
    import pyarrow.parquet as pq
    def write(name, **columns): pq.write_table(pa.table(columns), tmp_path/name); return tmp_path/name
    one_line(write('a.parquet', x=[1,2], text=['a','b']), ValueError, 'no column of pictures', 'x (int64)')
    one_line(write('p.parquet', Path=['a.jpg']), ValueError, 'no column', 'If "Path" holds paths, write them')
    one_line(write('b.parquet', blob=[b'hello', b'world']), ValueError, 'holds no images', 'hello')
    one_line(write('c.parquet', a=[png()], b=[png()]), ValueError, '2 columns of pictures', 'column=')
    with pytest.raises(ValueError, match='"c.parquet" has no column of pictures "z"; there are: a, b'):
        as_images(tmp_path/'c.parquet', column='z')
    data = to_parquet(photos, tmp_path/'d.parquet').read_bytes()
    (tmp_path/'e.parquet').write_bytes(data[:-100])
    one_line(tmp_path/'e.parquet', ValueError, 'no whole Parquet file')
    holes = as_images(write('f.parquet', image=[png(), None, png()], label=['x', 'y', 'x']))
    assert holes.classes==['x', 'y'] and holes.names[2]=='f-00002'
    with pytest.raises(ValueError, match='no bytes in this row'): holes[1]
    untold = write('u.parquet', image=[png(), png(), png()], label=['x', None, 'x'])
    with pytest.warns(UserWarning, match='1 of 3 labels in column "label" are missing, so none is used'):
        assert as_images(untold).labels is None
    late = as_images(write('g.parquet', image=[None]*300+[b'', png()]))
    assert late[301].size==(9,9)
    empty = pa.array([None, b''], pa.binary())
    one_line(write('h.parquet', image=empty), ValueError, 'holds no images', 'all its rows are empty')

def test_parquet_with_some_names(tmp_path):
    pa = pytest.importorskip('pyarrow', reason='pyarrow is not installed')
    import pyarrow.parquet as pq
    cells = [dict(bytes=png(), path='a.png'), None, dict(bytes=png(), path=None),
             dict(bytes=png(), path='b.png')]
    pq.write_table(pa.table(dict(image=cells)), tmp_path/'t.parquet')
    assert as_images(tmp_path/'t.parquet').names==['a.png', 't-00001', 't-00002', 'b.png']

def test_lists(photos, tmp_path):
    names = ImageFiles(photos).names
    (tmp_path/'a.txt').write_text('photos/a/000.jpg\nphotos/gone.jpg\nx.png\n')
    one_line(tmp_path/'a.txt', FileNotFoundError, 'names 2 of 3 files', '"photos/gone.jpg", "x.png"',
             'relative')
    rows = [f'{i},{n},{n[0]}' for i,n in enumerate(names)]
    (photos/'b.csv').write_text('\n'.join(['id,file_name,label', *rows]))
    x = as_images(photos/'b.csv')
    assert x.classes==['a', 'b'] and x.names==names
    (tmp_path/'c.csv').write_text('id,width\n1,2\n')
    one_line(tmp_path/'c.csv', ValueError, 'no column of paths', 'id, width')
    (tmp_path/'d.txt').write_text('\n\n'); one_line(tmp_path/'d.txt', ValueError, 'names no file')
    (tmp_path/'e.txt').write_bytes(b'\xff\xd8\xff\0'); one_line(tmp_path/'e.txt', ValueError, 'it is no text')
    for n,said in (('a.mp4', 'a video'), ('b.npy', 'a file of arrays'), ('c.dng', 'a raw picture'),
                   ('d.weird', 'Give a folder')):
        (tmp_path/n).write_bytes(bytes(600)); one_line(tmp_path/n, ValueError, n, said)
    with pytest.raises(ValueError, match=r'2 .tar.*/\*\.tar'):
        (tmp_path/'packs').mkdir(); [to_tar(photos, tmp_path/'packs'/f'{i}.tar') for i in '01']
        as_images(tmp_path/'packs')

def test_braces_in_a_name(photos, tmp_path):
    to_zip(photos, tmp_path/'a{b,c}.zip')
    assert as_images(tmp_path/'a{b,c}.zip').names==as_images([tmp_path/'a{b,c}.zip']).names

def test_home(photos, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path)); monkeypatch.setenv('USERPROFILE', str(tmp_path))
    to_zip(photos, tmp_path/'a.zip')
    x = as_images('~/photos')
    assert x.names==ImageFiles(photos).names==ImageFiles('~/photos').names and x.place==str(photos)
    for zipped in ('~/a.zip', '~/*.zip'): assert as_images(zipped).names==sorted(x.names)

def test_names_in_a_list_as_they_stand(tmp_path):
    for n in ('#1.jpg', ' a.jpg', 'a.jpg', 'b.jpg'): (tmp_path/n).write_bytes(png())
    (tmp_path/'a.txt').write_text('# a comment\n#1.jpg\n a.jpg\n  b.jpg \n #2.jpg\na.jpg\n\n')
    assert as_images(tmp_path/'a.txt').names==['#1.jpg', ' a.jpg', 'b.jpg', 'a.jpg']

def test_a_list_of_powershell(tmp_path):
    (tmp_path/'ä.jpg').write_bytes(png())
    (tmp_path/'a.txt').write_text('ä.jpg\n', encoding='utf-16')
    assert as_images(tmp_path/'a.txt').names==['ä.jpg']

def test_each_file_of_a_list_once(tmp_path):
    (tmp_path/'sub').mkdir()
    for n in 'ab': (tmp_path/f'{n}.jpg').write_bytes(png())
    lines = ['a.jpg', 'b.jpg', './a.jpg', str(tmp_path/'a.jpg'), 'sub/../a.jpg']
    (tmp_path/'a.txt').write_text('\n'.join(lines))
    (tmp_path/'a.csv').write_text('path,label\n'+''.join(f'{p},{i}\n' for i,p in enumerate(lines)))
    x = as_images(tmp_path/'a.csv')
    assert as_images(tmp_path/'a.txt').names==x.names==['a.jpg', 'b.jpg'] and x.labels.tolist()==[0,1]
    assert x.root==tmp_path

def test_a_table_with_a_long_field(tmp_path):
    limit = csv.field_size_limit()
    (tmp_path/'a.png').write_bytes(png())
    (tmp_path/'a.csv').write_text(f'caption,path\n{"x"*200_000},a.png\n')
    assert as_images(tmp_path/'a.csv').names==['a.png'] and csv.field_size_limit()==limit

# ---- the web

class Quiet(http.server.SimpleHTTPRequestHandler):
    "A server that knows no ranges, as Python's own"
    def log_message(self, *a): pass

class Ranges(Quiet):
    "A server that gives parts of files and tells their version"
    def do_GET(self):
        asked,path = self.headers.get('Range'),self.translate_path(self.path)
        if not asked or not os.path.isfile(path): return super().do_GET()
        with open(path, 'rb') as f: data = f.read()
        a,_,b = asked.removeprefix('bytes=').partition('-')
        part = data[int(a):int(b)+1 if b else None]
        self.send_response(206)
        self.send_header('Content-Range', f'bytes {a}-{int(a)+len(part)-1}/{len(data)}')
        self.send_header('Content-Length', str(len(part))); self.end_headers()
        self.wfile.write(part)

@pytest.fixture(params=[Quiet, Ranges])
def web(request, tmp_path):
    pytest.importorskip('aiohttp', reason='aiohttp is not installed')
    handler = partial(request.param, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_address[1]}'
    server.shutdown(); server.server_close()

def test_the_web(photos, tmp_path, web):
    want = extract(photos)
    for kind in ('zip', 'tar', 'parquet'):
        pack,name = packers[kind]
        pack(photos, tmp_path/name)
        assert np.array_equal(extract(f'{web}/{name}').X, want.X), kind
    got = extract(f'{web}/photos/')
    assert got.names==want.names and np.array_equal(got.X, want.X)
    to_list(photos, tmp_path/'x.txt')
    assert np.array_equal(extract(f'{web}/x.txt').X, want.X)
    assert np.array_equal(extract(f'{web}/photos/', processes=True).X, want.X)
    one_line(f'{web}/nowhere.zip', FileNotFoundError, 'nothing is at')
    one_line(f'{web}/nowhere/', (FileNotFoundError, OSError), 'nowhere')

def test_places_that_cannot_be_read(tmp_path, monkeypatch):
    pytest.importorskip('fsspec', reason='fsspec is not installed')
    one_line('memory://nothing/here', FileNotFoundError, 'nothing is at "memory://nothing/here"')
    one_line('nonsense://x', OSError, 'nonsense://x')
    monkeypatch.setenv('AWS_EC2_METADATA_DISABLED', 'true')
    one_line('s3://bucket-that-is-not-ours/x', (ImportError, OSError), 's3://bucket-that-is-not-ours/x')
    monkeypatch.setattr(sources, 'find_spec', lambda n: None)
    one_line('memory://x', ImportError, 'pip install "scp_nb[data]"')

def test_no_pyarrow(tmp_path, monkeypatch):
    (tmp_path/'a.parquet').write_bytes(b'PAR1')
    monkeypatch.setattr('scp_nb.extract.formats.find_spec', lambda n: None)
    one_line(tmp_path/'a.parquet', ImportError, 'pip install pyarrow')
