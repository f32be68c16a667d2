"""Anything a folder may hold: two thousand files of every kind of damage.

SCP_FUZZ=20000 makes more of them, and SCP_FUZZ_SEED=1 others."""
import csv, faulthandler, io, os, struct, zlib
from pathlib import Path
import numpy as np, pytest, torch
from PIL import Image, ImageOps
from torch import nn
from scp_nb.cli import scp_features
from scp_nb.data import ImageFiles, photo_patches
from scp_nb.features import Features, extract_features, load_backbone

n_files,seed = int(os.environ.get('SCP_FUZZ', 2200)),int(os.environ.get('SCP_FUZZ_SEED', 0))
modes = {'1': 'png', 'L': 'jpg', 'LA': 'png', 'P': 'gif', 'PA': 'png', 'RGB': 'jpg', 'RGBA': 'webp',
         'CMYK': 'jpg', 'YCbCr': 'jpg', 'LAB': 'tif', 'I': 'tif',
         'F': 'tif', 'I;16': 'png', 'I;16B': 'tif', 'RGBX': 'tif', 'RGBa': 'png', 'HSV': 'png'}

class Fuzz:
    "Makes files; `good` must get a row, `bad` must be skipped, the others may go either way"
    def __init__(self, root, seed):
        self.root = root
        self.rng = np.random.default_rng(seed)
        self.good = set()
        self.bad = set()
        self.patches = photo_patches()
        self.n = 0

    def picture(self):
        im = self.patches[int(self.rng.integers(len(self.patches)))]
        w,h = self.rng.integers(2, 90, 2)
        return im.resize((int(w),int(h))).rotate(float(self.rng.integers(360)))

    def encoded(self, kind=None, im=None, **kw):
        kind = kind or str(self.rng.choice(['jpeg', 'png', 'webp']))
        f = io.BytesIO(); (im or self.picture()).save(f, kind, **kw)
        return bytearray(f.getvalue())

    def path(self, suffix, stem=None):
        "A new name, now and then one that breaks what is naive about names"
        odd = ['new\nline', 'a,"b";c', "it's", '\U0001F408 cat', 'ünï', '-rf', ' lead', 'trail ', '%s%d',
               '$(x)', '<b>&amp;', 'x'*200, '\t', 'a..b', 'a\\b', '*?[a]', '\u202eevil']
        self.n += 1
        stem = stem or (f'{odd[self.n%len(odd)]}{self.n}' if self.rng.random()<.3 else f'{self.n:05d}')
        p = self.root/f'{self.rng.integers(6)}'/f'{stem}.{suffix}'
        p.parent.mkdir(exist_ok=True)
        return p

    def put(self, data, suffix, verdict=None):
        p = self.path(suffix)
        if self.rng.random()<.05:
            p = Path(os.fsdecode(os.fsencode(p.parent)+b'/'+f'{self.n}'.encode()+b'\xff\xfe.'+
                                 suffix.encode()))
        p.write_bytes(bytes(data))
        if verdict is not None: (self.good if verdict else self.bad).add(p)
        return p

# ---- the kinds of file

def whole(z): z.put(z.encoded(), 'jpg', True)
def truncated(z): d = z.encoded(); z.put(d[:int(z.rng.integers(1, len(d)))], 'jpg')
def cut_early(z): d = z.encoded(); z.put(d[:int(z.rng.integers(1, 24))], 'png', False)
def zero_bytes(z): z.put(b'', str(z.rng.choice(['jpg','png','webp','gif','bmp','tiff'])), False)
def only_zeros(z): z.put(bytes(int(z.rng.integers(1, 5000))), 'jpg', False)
def wrong_extension(z):
    z.put(z.encoded('png'), 'jpg', True)
    z.put(z.encoded('jpeg'), 'gif', True); z.put(z.encoded('webp'), 'bmp', True)
def not_an_image(z):
    texts = [b'dear diary', b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n', b'%PDF-1.4\n',
             b'<svg xmlns="http://www.w3.org/2000/svg"/>', b'<html></html>', b'PK\x03\x04', b'\x7fELF',
             b'#!/bin/sh\n']
    z.put(texts[int(z.rng.integers(len(texts)))]*3, 'jpg', False)
def random_bytes(z): z.put(z.rng.bytes(int(z.rng.integers(1, 4000))), 'png', False)
def random_behind_magic(z):
    magic = [b'\xff\xd8\xff\xe0', b'\x89PNG\r\n\x1a\n', b'RIFF\x00\x10\x00\x00WEBPVP8 ', b'GIF89a', b'BM',
             b'II*\x00', b'MM\x00*']
    z.put(magic[int(z.rng.integers(len(magic)))]+z.rng.bytes(int(z.rng.integers(1, 4000))), 'jpg')
def flipped(z):
    d = z.encoded()
    for i in z.rng.integers(0, len(d), int(z.rng.integers(1, 12))): d[i] ^= 1<<int(z.rng.integers(8))
    z.put(d, 'jpg')
def shuffled(z):
    d = z.encoded()
    a,b = sorted(z.rng.integers(4, len(d), 2)); d[a:b] = bytes(sorted(d[a:b])); z.put(d, 'webp')
def repeated(z): d = z.encoded(); z.put(d+d, 'png', True)
def with_a_tail(z): z.put(z.encoded()+z.rng.bytes(500), 'jpg', True)
def any_mode(z):
    mode = str(z.rng.choice(list(modes)))
    im = z.picture()
    if mode=='F':
        im = Image.fromarray(np.asarray(im.convert('L'), np.float32)*float(z.rng.choice([1/255, 1, 300, -5])))
    elif mode in ('I', 'I;16', 'I;16B'):
        pixels = np.asarray(im.convert('L')).astype(np.uint16)*257
        im = Image.fromarray(pixels.astype({'I': np.int32, 'I;16B': '>u2'}.get(mode, np.uint16)))
    elif mode in ('PA', 'RGBa', 'HSV'):
        im = dict(PA=im.convert('LA'), RGBa=im.convert('RGBA'), HSV=im.convert('RGB'))[mode]
    elif mode=='LAB': im = Image.merge('LAB', im.split())
    else: im = im.convert(mode)
    f = io.BytesIO(); im.save(f, {'jpg': 'jpeg', 'tif': 'tiff'}.get(modes[mode], modes[mode]))
    z.put(f.getvalue(), modes[mode], True)
def single_pixel(z):
    z.put(z.encoded('png', Image.new('RGB', (1,1), tuple(z.rng.integers(0,256,3).tolist()))), 'png', True)
def very_long(z):
    size = (30000,1) if z.rng.random()<.5 else (1,30000)
    z.put(z.encoded('png', z.picture().resize(size)), 'png', True)
def chunk(tag, data): return struct.pack('>I', len(data))+tag+data+struct.pack('>I', zlib.crc32(tag+data))
def bomb(z):
    w,h = ((1<<31)-1, (1<<31)-1) if z.rng.random()<.3 else (int(z.rng.integers(20000, 90000)),)*2
    z.put(b'\x89PNG\r\n\x1a\n'+chunk(b'IHDR', struct.pack('>IIBBBBB', w, h, 8, 2, 0, 0, 0))+
          chunk(b'IDAT', zlib.compress(bytes(10**5)))+chunk(b'IEND', b''), 'png', False)
def text_bomb(z):
    data = zlib.compress(bytes(80*10**6))
    header = struct.pack('>IIBBBBB', 1, 1, 8, 0, 0, 0, 0)
    body = (chunk(b'IHDR', header)+chunk(b'zTXt', b'k\0\0'+data)+chunk(b'IDAT', zlib.compress(b'\0\0'))
            +chunk(b'IEND', b''))
    z.put(b'\x89PNG\r\n\x1a\n'+body, 'png')
def animated(z):
    kind = str(z.rng.choice(['gif', 'png', 'webp', 'tiff']))
    z.put(z.encoded(kind, z.picture().resize((20,20)), save_all=True,
                    append_images=[Image.new('RGB', (20,20), 'red')]*3), kind, True)
def turned(z):
    im = z.picture(); im.getexif()[0x0112] = int(z.rng.integers(0, 12))
    z.put(z.encoded('jpeg', im, exif=im.getexif()), 'jpg', True)
def bad_exif(z): z.put(z.encoded('jpeg', exif=b'Exif\0\0'+z.rng.bytes(60)), 'jpg')
def bad_profile(z): z.put(z.encoded('png', icc_profile=z.rng.bytes(200)), 'png')
def no_permission(z): p = z.put(z.encoded(), 'jpg', None if os.geteuid()==0 else False); p.chmod(0)
def broken_link(z): p = z.path('jpg'); p.symlink_to('nowhere.jpg'); z.bad.add(p)
def looping_link(z):
    a,b = z.path('jpg'),z.path('jpg')
    a.symlink_to(b.absolute()); b.symlink_to(a.absolute()); z.bad.update((a,b))
def folder_loop(z): z.path('png').symlink_to(z.root, target_is_directory=True)
def good_link(z): p = z.path('jpg'); p.symlink_to(z.put(z.encoded(), 'jpg', True)); z.good.add(p)
def endless(z): p = z.path('png'); p.symlink_to('/dev/zero'); z.bad.add(p)
def pipe(z): p = z.path('jpg'); os.mkfifo(p); z.bad.add(p)
def copy(z): p = sorted(z.good)[int(z.rng.integers(len(z.good)))]; z.put(p.read_bytes(), p.suffix[1:], True)
def copy_of_bad(z):
    p = sorted(x for x in z.bad if x.is_file() and x.stat().st_size<10**6)[0]
    z.put(p.read_bytes(), 'jpg', False)
def hidden(z): p = z.path('jpg', stem=f'.h{z.n}'); p.write_bytes(z.encoded())
def other_kind(z): z.path('txt').write_text('x')
def lookalike_folder(z): z.path('jpg').mkdir()

kinds = [whole, truncated, cut_early, zero_bytes, only_zeros, wrong_extension, not_an_image, random_bytes,
         random_behind_magic, flipped, shuffled, repeated, with_a_tail,
         any_mode, single_pixel, very_long, bomb, text_bomb, animated, turned, bad_exif, bad_profile,
         no_permission, broken_link, looping_link, folder_loop, good_link,
         endless, pipe, copy, copy_of_bad, hidden, other_kind, lookalike_folder]
often = [whole, truncated, flipped, flipped, flipped, random_behind_magic, shuffled, any_mode, any_mode,
         turned]

@pytest.fixture(scope='module')
def collection(tmp_path_factory):
    root = tmp_path_factory.mktemp('fuzz')/'files'; root.mkdir()
    z = Fuzz(root, seed)
    for k in kinds: k(z)
    while z.n<n_files*1.05: (kinds+often*3)[int(z.rng.integers(len(kinds)+3*len(often)))](z)
    return z

class Grid(nn.Module):
    "Every row depends on its own picture alone, to the last bit or nearly"
    def forward(self, x): return nn.functional.adaptive_avg_pool2d(x, 4).flatten(1)

def to_tensor(im):
    return torch.tensor(np.asarray(im.resize((12,12), Image.Resampling.BILINEAR))/255,
                        dtype=torch.float32).permute(2,0,1)
def grid(): return load_backbone(Grid(), transform=to_tensor, device='cpu')

@pytest.fixture(autouse=True)
def no_hang():
    faulthandler.dump_traceback_later(900, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()

def alone(path):
    "The row of one file, read by itself, or the reason why there is none"
    try: im = ImageFiles([path])[0]
    except Exception as e: return str(e)
    return Grid()(to_tensor(im)[None])[0].numpy()

@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('processes', [False, True])
def test_every_file_has_its_row_or_its_reason(collection, tmp_path, processes):
    z = collection
    f = extract_features(z.root, grid(), out=tmp_path/'f', progress=False, batch_size=7, n_workers=3,
                         processes=processes)
    paths,rows = {n: z.root/n for n in [*f.names, *f.skipped]},dict(zip(f.names, f.X))
    # every listed file is in one place
    assert not set(f.names)&set(f.skipped) and len(paths)==len(f)+len(f.skipped)>=n_files*.95
    got,skipped = {z.root/n for n in f.names},{z.root/n for n in f.skipped}
    lost = [(p, f.skipped[p.relative_to(z.root).as_posix()]) for p in z.good-got]
    assert z.good<=got, f'skipped but good: {lost[:5]}'
    assert z.bad<=skipped, f'not skipped: {list(z.bad-skipped)[:5]}'
    assert all(r and '\n' not in r and len(r)<200 and str(z.root) not in r for r in f.skipped.values())
    for n,p in paths.items():
        want = alone(p)
        if isinstance(want, str): assert n in f.skipped, (n, want)
        else: np.testing.assert_allclose(rows[n], want, atol=1e-6, err_msg=repr(n))
    with open(tmp_path/'f'/'skipped.csv', newline='', encoding='utf-8', errors='surrogateescape') as s:
        table = list(csv.reader(s))
    assert table[0]==['path', 'reason'] and dict(table[1:])==f.skipped and len(table)==1+len(f.skipped)
    g = Features.load(tmp_path/'f')
    assert g.names==f.names and g.skipped==f.skipped and np.array_equal(g.X, f.X)

@pytest.mark.filterwarnings('ignore')
def test_turned_pictures_are_upright(collection):
    "Against Pillow's own ImageOps, for every file that anybody can open"
    for p in sorted(collection.good)[:400]:
        if p.suffix!='.jpg': continue
        with Image.open(p) as im:
            if im.mode!='RGB': continue
            want = np.asarray(ImageOps.exif_transpose(im))
        assert np.array_equal(np.asarray(ImageFiles([p])[0]), want), p

@pytest.mark.filterwarnings('ignore')
def test_files_that_vanish_on_the_way(collection, tmp_path):
    "A third of the files is removed while others are read: each is either read or skipped as gone"
    import shutil
    root = tmp_path/'copy'
    def is_copied(p):      # a link to a folder would lead back to what the other tests read
        return p.is_symlink() and not p.is_dir() or not p.is_symlink() and (p.is_dir() or p.is_file())
    shutil.copytree(collection.root, root, symlinks=True,
                    ignore=lambda d, names: [n for n in names if not is_copied(Path(d, n))])
    images,calls = ImageFiles(root),[]
    victims = [p for p in images.paths if p.is_file() and not p.is_symlink()][::3]
    def takes_some(im):
        calls.append(1)
        if len(calls)%5==0 and victims: victims.pop().unlink()
        return to_tensor(im)
    b = load_backbone(Grid(), transform=takes_some, device='cpu')
    calls.clear()
    f = extract_features(images, b, out=tmp_path/'f', progress=False, batch_size=7, n_workers=2)
    gone = [n for n,r in f.skipped.items() if r.startswith('no such file') and not (root/n).is_symlink()]
    assert len(gone)>5 and set(f.names)|set(f.skipped)==set(images.names)
    for n in f.names:
        if (collection.root/n).is_file():
            np.testing.assert_allclose(f.X[f.names.index(n)], alone(collection.root/n), atol=1e-6)

@pytest.mark.filterwarnings('ignore')
def test_the_command_reads_it_too(collection, tmp_path):
    scp_features(str(collection.root), out=str(tmp_path/'f'), backbone='pixels?size=4')
    f = Features.load(tmp_path/'f')
    assert {collection.root/n for n in f.skipped}>=collection.bad
    assert {collection.root/n for n in f.names}>=collection.good
