"What folders hold in the wild, every Pillow mode, and every form in which images may come"
import base64, io, os
import numpy as np, pytest, torch, torchvision
from hypothesis import given, settings, strategies as st
from PIL import Image, features
from scp_nb import data
from scp_nb.cli import scp_cluster
from scp_nb.features import extract_features
from scp_nb.data import (ImageArray, ImageError, ImageFiles, as_images, digits, photo_patches,
                         to_rgb)

modes = '1 L LA La P PA RGB RGBX RGBA RGBa CMYK YCbCr LAB HSV I F I;16 I;16L I;16B I;16N'.split()
rng = np.random.default_rng(0)

def photo(h=24, w=36):
    "A smooth picture that is different in every corner, so that turns and flips show"
    y,x = np.mgrid[0:h,0:w]
    return Image.fromarray(np.stack([255*x/w, 255*y/h, 255*(1-x/w)*(y/h)], -1).astype(np.uint8))

def near(a, b, most): return np.abs(np.asarray(a, float)-np.asarray(b, float)).max()<=most

# ---- modes

@settings(max_examples=120, deadline=None)
@given(st.sampled_from(modes), st.integers(1,9), st.integers(1,9), st.integers(0,2**32-1))
def test_any_mode_and_size_gives_rgb(mode, w, h, seed):
    r = np.random.default_rng(seed)
    im = Image.new(mode, (w,h))
    im.frombytes(r.integers(0, 256, len(im.tobytes()), dtype=np.uint8).tobytes())
    # random bytes may all be NaN, which is no picture
    if mode=='F' and not np.isfinite(np.asarray(im)).any():
        with pytest.raises(ImageError, match='no finite pixel'): to_rgb(im)
        return
    out = to_rgb(im)
    assert (out.mode, out.size)==('RGB', (w,h))

@pytest.mark.parametrize('mode, most', [('RGBA',0), ('RGBX',0), ('RGBa',0), ('CMYK',1), ('YCbCr',3),
                                        ('HSV',9), ('LAB',6)])
def test_colours_survive(mode, most):
    rgb = photo()
    if mode=='LAB':
        from PIL import ImageCms
        im = ImageCms.profileToProfile(rgb, ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB'),
                                       outputMode='LAB')
        rgb = ImageCms.profileToProfile(im, ImageCms.createProfile('LAB'), ImageCms.createProfile('sRGB'),
                                        outputMode='RGB')
    else: im = rgb.convert('RGBA').convert(mode) if mode=='RGBa' else rgb.convert(mode)
    assert im.mode==mode and near(to_rgb(im), rgb, most)

@pytest.mark.parametrize('mode', ['LA', 'RGBA', 'PA'])
def test_transparent_is_white_and_half_is_between(mode):
    im = Image.new('RGBA' if mode!='LA' else 'LA', (3,1))
    for x,a in enumerate((0,128,255)): im.putpixel((x,0), (0,a) if mode=='LA' else (0,0,0,a))
    if mode=='PA': im = im.convert('PA')
    assert near([to_rgb(im).getpixel((x,0))[0] for x in range(3)], [255,127,0], 1)

@pytest.mark.parametrize('mode, key', [('P',0), ('L',0), ('RGB',(0,0,0)), ('1',0)])
def test_a_transparent_colour_in_a_png(mode, key):
    im = Image.new(mode, (2,1)); im.putpixel((1,0), 255 if mode!='RGB' else (255,0,0))
    buf = io.BytesIO(); im.save(buf, 'png', transparency=key)
    assert to_rgb(Image.open(buf)).getpixel((0,0))==(255,255,255)

@pytest.mark.parametrize('order', ['<', '>'])
def test_16_bits_keep_their_scale(order, tmp_path):
    a = np.array([[0, 256, 257, 32896, 65535]], dtype=order+'u2')
    im = Image.frombytes('I;16' if order=='<' else 'I;16B', (5,1), a.tobytes())
    assert np.asarray(to_rgb(im))[0,:,0].tolist()==[0,1,1,128,255]
    dark = Image.fromarray(np.full((2,2), 2570, np.uint16)); dark.save(tmp_path/'dark.png')
    assert ImageFiles(tmp_path)[0].getpixel((0,0))==(10,10,10)      # not stretched

@pytest.mark.parametrize('values, want', [
    ([0.,.5,1.], [0,128,255]), ([0.,100.,255.], [0,100,255]), ([0.,32896.,65535.], [0,128,255]),
    ([-1.,0.,1.], [0,128,255]),
    ([np.nan,2.,9.], [2,2,9]), ([-np.inf,0.,1e6], [0,0,255])])
def test_float_pixels(values, want):
    assert np.asarray(to_rgb(Image.fromarray(np.array([values], np.float32))))[0,:,0].tolist()==want

@pytest.mark.parametrize('turn', range(1,9))
@pytest.mark.parametrize('kind', ['jpeg', 'png', 'webp', 'tiff'])
def test_exif_turns(turn, kind, tmp_path):
    """Pillow's own exif_transpose is the reference; a picture stored at any of the eight turns comes out
    upright"""
    from PIL import ImageOps
    im,exif = photo(),Image.Exif()
    exif[0x0112] = turn
    im.save(tmp_path/f'a.{kind}', exif=exif, **(dict(quality=95) if kind in ('jpeg','webp') else {}))
    with Image.open(tmp_path/f'a.{kind}') as f: want = ImageOps.exif_transpose(f).convert('RGB')
    got = ImageFiles(tmp_path)[0]
    assert got.size==want.size==((36,24) if turn<5 else (24,36)) and near(got, want, 0)
    assert near(to_rgb(got), want, 0)      # turned once, not at every reading

@pytest.mark.parametrize('kind', ['gif', 'webp', 'png', 'tiff'])
def test_first_frame_of_an_animation(kind, tmp_path):
    frames = [Image.new('RGB', (8,8), c) for c in ('red','green','blue')]
    frames[0].save(tmp_path/f'a.{kind}', save_all=True, append_images=frames[1:],
                   **(dict(lossless=True) if kind=='webp' else {}))
    assert ImageFiles(tmp_path)[0].getpixel((4,4))==(255,0,0)
    with Image.open(tmp_path/f'a.{kind}') as im:
        im.seek(2)
        assert to_rgb(im).getpixel((4,4))==(255,0,0)

# ---- folders

@pytest.fixture
def zoo(tmp_path):
    "A folder with good files, bad files and things that only look like files"
    d = tmp_path/'zoo'; (d/'a'/'deep').mkdir(parents=True); (d/'b').mkdir()
    photo().save(d/'a'/'deep'/'good.JPG')
    photo().save(d/'b'/'good.webp'); photo().save(d/'b'/'z.bmp'); photo().save(d/'a'/'x.tif')
    photo().save(d/'a'/'png really.jpg', 'png')
    whole = io.BytesIO(); photo(200,200).save(whole, 'jpeg'); whole = whole.getvalue()
    (d/'a'/'cut.jpg').write_bytes(whole[:len(whole)//2])
    cut = io.BytesIO(); Image.fromarray(rng.integers(0,256,(99,99,3),dtype=np.uint8)).save(cut, 'png')
    (d/'a'/'cut.png').write_bytes(cut.getvalue()[:9000])
    (d/'a'/'zero.png').write_bytes(b'')
    (d/'a'/'text.gif').write_text('hello'); (d/'a'/'noise.webp').write_bytes(rng.bytes(500))
    (d/'a'/'.hidden.png').write_bytes(b'x')
    (d/'a'/'notes.txt').write_text('x'); (d/'Thumbs.db').write_bytes(b'x')
    (d/'b'/'name\nwith "quotes" \U0001F408.png').write_bytes((d/'a'/'png really.jpg').read_bytes())
    os.symlink(d/'nowhere.png', d/'b'/'broken link.png')
    os.symlink(d, d/'b'/'circle'); os.symlink(d/'a'/'x.tif', d/'b'/'link.tif')
    os.mkfifo(d/'b'/'pipe.png'); (d/'b'/'folder.jpg').mkdir()
    # Pillow would start Ghostscript
    (d/'b'/'program.jpg').write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n')
    return d

def test_a_folder_as_it_is_in_the_wild(zoo):
    f = ImageFiles(zoo, labels='folder')
    assert f.names==sorted(f.names) and f.classes==['a','b'] and len(f)==15
    good = []
    for i in range(len(f)):
        try: good += [f.names[i]] if f[i].size==(36,24) else []
        except ImageError as e: assert f.skipped[f.names[i]]==str(e)
    assert good==['a/deep/good.JPG', 'a/png really.jpg', 'a/x.tif', 'b/good.webp', 'b/link.tif',
                  'b/name\nwith "quotes" \U0001F408.png', 'b/z.bmp']
    assert set(f.skipped)|set(good)==set(f.names)
    said = {n.split('/')[-1]: r for n,r in f.skipped.items()}
    assert said['zero.png']=='empty file' and 'truncated' in said['cut.jpg']
    assert 'no such file' in said['broken link.png']
    assert 'not an ordinary file' in said['pipe.png']
    for n in ('text.gif', 'noise.webp', 'program.jpg'): assert 'not an image' in said[n]
    assert not any(str(zoo) in r or '\n' in r for r in f.skipped.values())

def test_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    for n in rng.permutation(30):
        (tmp_path/f's{n%3}').mkdir(exist_ok=True); (tmp_path/f's{n%3}'/f'{n}.png').write_bytes(b'')
    want = ImageFiles(tmp_path).names
    walk = os.walk
    monkeypatch.setattr(os, 'walk',
                        lambda *a, **k: [(d, s, sorted(f, reverse=True))
                                         for d,s,f in reversed(list(walk(*a, **k)))])
    assert ImageFiles(tmp_path).names==want==sorted(want)

def test_folders_that_cannot_be_read_are_noted(tmp_path, monkeypatch):
    photo().save(tmp_path/'a.png'); (tmp_path/'locked').mkdir()
    scandir = os.scandir
    def deny(p):
        if str(p).endswith('locked'): raise PermissionError(13, 'Permission denied', str(p))
        return scandir(p)
    monkeypatch.setattr(os, 'scandir', deny)      # by hand: root may read everything
    f = ImageFiles(tmp_path)
    assert f.names==['a.png'] and f.skipped=={'locked': 'folder not read: permission denied'}

def test_a_file_without_permission(tmp_path, monkeypatch):
    photo().save(tmp_path/'a.png')
    def deny(*a, **k): raise PermissionError(13, 'Permission denied', str(tmp_path/'a.png'))
    f = ImageFiles(tmp_path)
    monkeypatch.setattr(data, '_open_image', deny)
    with pytest.raises(ImageError, match='^permission denied$'): f[0]

def test_a_decompression_bomb_and_a_vanished_file(tmp_path, monkeypatch):
    photo().save(tmp_path/'a.png'); photo().save(tmp_path/'b.png')
    f = ImageFiles(tmp_path)
    (tmp_path/'b.png').unlink()
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    with pytest.raises(ImageError, match='decompression bomb: more than 300 pixels'): f[0]
    with pytest.raises(ImageError, match='no such file'): f[1]

@pytest.mark.parametrize('end, times', [('jpg', 1.5), ('jpg', 2.5), ('png', 2.5), ('webp', 1.5)])
def test_photos_of_200_megapixels(tmp_path, monkeypatch, recwarn, end, times):
    "Above Pillow's limit, where it warns, and above twice this, where it refuses"
    photo(64, 96).save(tmp_path/f'a.{end}')
    limit = int(64*96/times)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
    f = ImageFiles(tmp_path)
    assert f[0].size==(96,64) and f.read(0, 16).mode=='RGB' and not len(recwarn)
    assert Image.MAX_IMAGE_PIXELS==limit

def test_a_real_200_megapixels(tmp_path, recwarn):
    Image.new('L', (16320,12240), 99).save(tmp_path/'a.jpg')
    f = ImageFiles(tmp_path)
    assert f.read(0, 224).size==(2040,1530) and not len(recwarn) and not f.skipped

@pytest.mark.parametrize('make, error, said', [
    (lambda d: d/'nowhere', FileNotFoundError, ['no such folder or file', 'nowhere']),
    (lambda d: d, ValueError, ['holds no image: it is empty', 'jpg, jpeg']),
    (lambda d: [(d/f'{i}.txt').write_text('x') for i in range(3)] and d, ValueError,
     ['holds no image among its 3 files', 'sub-folders']),
    (lambda d: [], ValueError, ['list of paths is empty']),
    (lambda d: [d/'a.png', d/'b.png'], FileNotFoundError, ['none of the 2 paths exists', 'a.png'])])
def test_nothing_to_read(tmp_path, make, error, said):
    x = make(tmp_path)
    with pytest.raises(error) as e: ImageFiles(x)
    assert all(s in str(e.value) for s in said) and '\n' not in str(e.value)

def test_lists_of_paths(tmp_path):
    for n in ('x/1.png', 'x/y/2.png', 'z/1.png'):
        (tmp_path/n).parent.mkdir(parents=True, exist_ok=True); photo().save(tmp_path/n)
    f = ImageFiles([tmp_path/'z'/'1.png', str(tmp_path/'x'/'y'/'2.png')])
    assert f.root==tmp_path and f.names==['z/1.png', 'x/y/2.png'] and f.paths[1]==tmp_path/'x'/'y'/'2.png'
    assert ImageFiles([tmp_path/'x', tmp_path/'z'], labels='folder').labels.tolist()==[0,0,1]
    assert ImageFiles(tmp_path/'x'/'1.png').names==['1.png']
    part = ImageFiles(tmp_path).subset(np.array([False,True,True]))
    assert [p.relative_to(tmp_path).as_posix() for p in part.paths]==part.names==['x/y/2.png', 'z/1.png']
    assert part[1].size==(36,24)

def test_a_relative_folder_stays_found_when_the_program_moves(tmp_path, monkeypatch):
    (tmp_path/'p').mkdir(); photo().save(tmp_path/'p'/'a.png')
    monkeypatch.chdir(tmp_path)
    f = ImageFiles('p')
    monkeypatch.chdir('/')
    assert f[0].size==(36,24)

def test_paths_hold_no_dots(tmp_path, monkeypatch):
    (tmp_path/'p'/'sub').mkdir(parents=True); photo().save(tmp_path/'p'/'a.png')
    monkeypatch.chdir(tmp_path/'p'/'sub')
    for x in ('..', '../a.png', ['../sub/../a.png'], '../../p'):
        assert ImageFiles(x).paths==[tmp_path/'p'/'a.png'], x
    # behind a link, .. leads out of the folder that it leads to
    (tmp_path/'link').symlink_to(tmp_path/'p'/'sub')
    assert ImageFiles(tmp_path/'link'/'..').paths==[tmp_path/'p'/'a.png']
    (tmp_path/'p'/'links').symlink_to(tmp_path/'p')
    assert ImageFiles('../links').root==tmp_path/'p'/'links'

# ---- arrays and data sets

def test_the_same_pictures_in_every_form(tmp_path):
    u8 = rng.integers(0, 256, (4,6,5,3), dtype=np.uint8)
    u8[0,0,0],u8[0,0,1] = 0,255
    pil = [Image.fromarray(a) for a in u8]
    for i,im in enumerate(pil): im.save(tmp_path/f'{i}.png')
    tensors = torch.tensor(u8).permute(0,3,1,2)
    forms = [u8, u8/255, u8.astype(np.uint16)*257, torch.tensor(u8), tensors, tensors/255, tensors.float(),
             pil, tmp_path, str(tmp_path), [tmp_path/f'{i}.png' for i in range(4)],
             [np.asarray(im) for im in pil],
             torch.utils.data.TensorDataset(tensors, torch.arange(4)), ImageArray(u8)]
    for x in forms:
        images = as_images(x)
        assert len(images)==4 and len(set(images.names))==4
        for i in range(4): assert near(images[i], u8[i], 0), type(x)

def test_torchvision(tmp_path):
    for c in ('cat','dog'):
        (tmp_path/c).mkdir()
        for i in range(2): photo().save(tmp_path/c/f'{i}.png')
    plain = as_images(torchvision.datasets.ImageFolder(tmp_path))
    to_tensor = torchvision.transforms.ToTensor()
    tensors = as_images(torchvision.datasets.ImageFolder(tmp_path, transform=to_tensor))
    for d in (plain, tensors):
        assert d.labels.tolist()==[0,0,1,1] and d.classes==['cat','dog'] and near(d[3], photo(), 0)
    wrong = torchvision.transforms.Compose([torchvision.transforms.ToTensor(),
                                            torchvision.transforms.Normalize([.5]*3, [.2]*3)])
    normalised = as_images(torchvision.datasets.ImageFolder(tmp_path, transform=wrong))
    with pytest.raises(ImageError, match='normalised'): normalised[0]

def test_hugging_face():
    datasets = pytest.importorskip('datasets', reason='the package datasets is not installed')
    features = datasets.Features(dict(photo=datasets.Image(), kind=datasets.ClassLabel(names=['x', 'y'])))
    ds = datasets.Dataset.from_dict(dict(photo=[photo()]*3, kind=[1,0,1]), features=features)
    images = as_images(ds)
    assert images.labels.tolist()==[1,0,1] and images.classes==['x','y'] and near(images[2], photo(), 0)

@pytest.mark.parametrize('x, said', [
    (np.zeros((5,7)), 'embeddings'), (np.zeros((5,7,3,2)), r'\[5, 7, 3, 2\]'),
    (np.zeros((0,4,4)), 'at least 1'), (np.full((1,2,2), np.nan), 'nan'),
    (np.full((1,2,2), -1.), 'normalised'), (np.array(['a.png']), 'numbers'), ([], 'empty'), (7, 'got int'),
    (None, 'got NoneType')])
def test_what_is_no_image_is_refused(x, said):
    with pytest.raises(ValueError, match=said) as e: as_images(x)
    assert '\n' not in str(e.value)

def test_labels_never_change_the_pictures():
    d = digits()
    assert as_images(d) is d and as_images(d, ['a']*1797).classes==['a'] and d.classes==list('0123456789')
    with pytest.raises(ValueError, match='one per image'): as_images(d, [1,2])
    with pytest.raises(ValueError, match='whole numbers or words'): as_images(d, [.5]*1797)

def test_bundled_collections():
    from sklearn.datasets import load_digits
    d,raw = digits(),load_digits()
    assert (d.labels==raw.target).all() and near(np.asarray(d[1000])[...,0], raw.images[1000]*255/16, .5)
    p = photo_patches(size=60, stride=50)
    assert p[0].size==(60, 60) and p.names[0]=='china-000-000' and set(p.labels)=={0, 1}
    assert len(set(p.names))==len(p)
    with pytest.raises(ValueError, match='size must be'): photo_patches(0)

# ---- what counts as an image

# photo() as HEIC, which pi-heif reads but does not write
heic = base64.b64decode('''
AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAXxtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA
ACJpbG9jAAAAAERAAAEAAQAAAAABoAABAAAAAAAAALMAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt
AAAAAAABAAAA/GlwcnAAAADcaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA
AAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAADAIRiAAEABkQBwXPBiQAAABNjb2xybmNs
eAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAAJAAAAAEAAAAYAAAAAf///+QAAAAC////2AAAAAIAAAAQcGl4
aQAAAAADCAgIAAAAGGlwbWEAAAAAAAAAAQABBYECAwWEAAAAu21kYXQAAACvKAGvCch4T8vAPfK8Jy719ycIj50F0ntiP4UoEKoS
oCZe4IO07MC6cOoJBCTSAR3ldFQn4ALIMf+AJ4j2ZAKbbmFAMVyg8bAlDlpNPOkLX4HKJKwIkjmmzJMfRrOuBDnCPmlnFhWSM//+
3e63I6hav1Ar6VY05l5xX/eCD2h5TE4rsJ9/wWRMfhD70PrMKY+WpNNkq5RM20uTZb9KSJdFS+C6P0BJ0QdyxyI2I/A/wA==''')

def test_images_are_told_by_content_and_ending(tmp_path):
    "Twenty of each kind a phone or a browser leaves, and three that are none"
    pytest.importorskip('pi_heif', reason='pi-heif has no build for this platform')
    def encoded(kind): b = io.BytesIO(); photo().save(b, kind); return b.getvalue()
    jpeg = encoded('jpeg')
    kinds = dict(JPG=jpeg, HEIC=heic, heif=heic, jfif=jpeg, webp=encoded('webp'), weird=encoded('png'))
    if features.check('avif'): kinds['avif'] = encoded('avif')
    for i in range(20):
        for end,content in kinds.items(): (tmp_path/f'{i}.{end}').write_bytes(content)
        (tmp_path/f'photo {i}').write_bytes(jpeg)
    (tmp_path/'iphone.jpg').write_bytes(heic)
    (tmp_path/'a.MOV').write_bytes(b'\0\0\0\x14ftypqt  '+bytes(99))
    (tmp_path/'b.DNG').write_bytes(b'II*\0'+bytes(99))
    (tmp_path/'film').write_bytes(b'\0\0\0\x18ftypmp42\0\0\0\0mp42isom'+bytes(99))
    images = ImageFiles(tmp_path)
    assert len(images)==20*(len(kinds)+1)+1
    assert str(images.passed_over)=='1 .dng, 1 .mov, 1 without an ending'
    assert '1 .mov' in repr(images)
    for i in range(len(images)): assert near(images[i], photo(), 60), images.names[i]
    assert not images.skipped
    x = extract_features(images, 'pixels?size=4', progress=False)
    assert len(x)==len(images) and x.images.passed_over==images.passed_over

def test_heic_that_cannot_be_read_says_why(tmp_path, monkeypatch):
    (tmp_path/'a.heic').write_bytes(heic)
    monkeypatch.setattr(data, 'PILLOW_FORMATS', ('JPEG', 'PNG'))
    with pytest.raises(ImageError, match='HEIF cannot be read here: pip install pi-heif'):
        ImageFiles(tmp_path)[0]
    monkeypatch.undo()
    (tmp_path/'a.heic').write_bytes(heic[:300])
    with pytest.raises(ImageError): ImageFiles(tmp_path)[0]

# ---- links, hidden folders, our own output

def test_links_to_folders_are_followed_once(tmp_path):
    "7 of 10 class folders are links; one folder is linked twice; a loop, a link up, and one to nothing"
    out,d = tmp_path/'elsewhere',tmp_path/'photos'; d.mkdir()
    for c in range(10):
        at = (d if c<3 else out)/f'c{c}'; at.mkdir(parents=True)
        for i in range(8): photo().save(at/f'{i}.png')
        if c>=3: (d/f'c{c}').symlink_to(at)
    (d/'z again').symlink_to(out/'c5'); (out/'c4'/'back').symlink_to(d); (d/'c0'/'up').symlink_to(tmp_path)
    (d/'self').symlink_to(d/'self'); (d/'nothing').symlink_to(tmp_path/'nowhere')
    images = ImageFiles(d)
    assert len(images)==80 and len({os.path.realpath(p) for p in images.paths})==80
    assert images.names==sorted(images.names)
    assert images.passed_over['link to a folder read anyway']==3
    assert {n.split('/')[0] for n in images.names}=={f'c{c}' for c in range(10)}
    (tmp_path/'door').symlink_to(d)
    assert ImageFiles(tmp_path/'door').names==images.names

def test_hidden_and_system_folders_are_passed_over(tmp_path):
    for i in range(6): photo().save(tmp_path/f'{i}.png')
    names = '@eaDir', '.thumbnails', '.Trash-1000', '__MACOSX', '$RECYCLE.BIN', 'deep/@eaDir'
    for n in names: (tmp_path/n).mkdir(parents=True); photo().save(tmp_path/n/'t.png')
    photo().save(tmp_path/'._a.png')
    images = as_images(tmp_path)
    assert len(images)==6 and str(images.passed_over)=='6 hidden or system folders, 1 hidden file'
    assert len(as_images(tmp_path, hidden=True))==13
    assert len(ImageFiles(tmp_path/'@eaDir'))==1      # named, it is read
    with pytest.raises(ValueError, match=r'passed over: 1 hidden or system folder\. .*--hidden'):
        (tmp_path/'x'/'.git').mkdir(parents=True); ImageFiles(tmp_path/'x')

def test_our_own_output_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(30): photo_patches()[15*i].save(tmp_path/f'{i:02d}.png')
    before = ImageFiles('.').names
    kw = dict(k='3', backbone='pixels?size=4')
    for _ in range(2): scp_cluster('.', out='clusters', force=True, features='feats', **kw)
    photo().save(tmp_path/'clusters'/'mine.png')      # beside ours, and not ours
    images = ImageFiles('.')
    assert images.names==[*before, 'clusters/mine.png']
    assert images.passed_over['folder of our own output']==2
    photo().save(tmp_path/'gallery.png')
    assert 'gallery.png' in ImageFiles('.').names

# ---- frames

def test_frames_are_read_in_their_order(tmp_path):
    pd = pytest.importorskip('pandas')
    for i in range(6): Image.new('RGB', (4,4), (40*i,0,0)).save(tmp_path/f'{i}.png')
    def shades(x): return [im.getpixel((0,0))[0]//40 for im in as_images(x)]
    paths = [str(tmp_path/f'{i}.png') for i in range(6)]
    df = pd.DataFrame(dict(path=paths, kind=list('abcabc'), n=range(6)))
    mixed = df.sample(frac=1, random_state=0)
    for some in (mixed, mixed[mixed.kind!='a'], df[::-1]):
        want = [int(n) for n in some.n]
        assert shades(some.path)==shades(some)==shades(list(some.path))==want
        packed = pd.Series([dict(bytes=open(p, 'rb').read(), path=f'x/{i}') for i,p in enumerate(some.path)],
                           index=some.index)
        assert shades(packed)==shades(packed.to_frame('image'))==want
        assert as_images(packed).names==[f'x/{i}' for i in range(len(some))]
    with pytest.raises(ValueError, match='no column of pictures .*"kind", "n"'): as_images(df[['kind', 'n']])
    with pytest.raises(ValueError, match='more than one column .*"path", "thumb"'):
        as_images(df.assign(thumb=df.path))
    assert shades(pd.Series([tmp_path/'1.png', tmp_path/'0.png'], index=[7, 0]))==[1, 0]

# ---- deep pixels and odd shapes

@pytest.mark.parametrize('kind', ['png', 'tiff'])
def test_twelve_bits_in_sixteen(tmp_path, kind):
    d = tmp_path/'scans'; d.mkdir()
    for i in range(10): Image.fromarray(np.full((9,9), 400*i+95, np.uint16)).save(d/f'{i}.{kind}')
    images = ImageFiles(d)
    got = [im.getpixel((0,0))[0] for im in images]
    assert got==[round((400*i+95)*255/4095) for i in range(10)]
    assert images.depth_text=='pixels of 16 bits: 0 to 4095 become black to white (from 10 pictures)'
    f = extract_features(images, 'pixels?size=2', out=tmp_path/'f', progress=False)
    X = np.array(f.X)
    assert f.meta['depth']=={'16 bits': [0, 4095]}
    # one more, brighter: the scale of the run before is kept, or earlier rows would mean something else
    Image.fromarray(np.full((9,9), 60000, np.uint16)).save(d/f'z.{kind}')
    g = extract_features(d, 'pixels?size=2', out=tmp_path/'f', progress=False, update=True)
    assert g.meta['depth']==f.meta['depth'] and np.array_equal(g.X[:10], X)

def test_float_and_int32_tiffs_have_one_scale(tmp_path):
    (tmp_path/'f').mkdir(); (tmp_path/'i').mkdir()
    r = np.random.default_rng(0)
    for i in range(8):
        a = r.random((20,20), dtype=np.float32)*.5; a[0,0] = 1.01 if i%2 else .9
        Image.fromarray(a).save(tmp_path/'f'/f'{i}.tif')
        Image.fromarray((a*1e6).astype(np.int32)).save(tmp_path/'i'/f'{i}.tif')
    for d in 'fi':
        means = [np.asarray(im).mean() for im in ImageFiles(tmp_path/d)]
        assert min(means)>40 and max(means)/min(means)<1.2, (d, means)

def test_nearly_black_is_warned_of(tmp_path):
    for i in range(4):
        a = np.full((90,90), 20, np.uint16); a[0,:60] = 65535
        Image.fromarray(a).save(tmp_path/f'{i}.png')
    with pytest.warns(UserWarning, match='4 of 4 pictures with pixels of 16 bits come out nearly black'):
        ImageFiles(tmp_path)[0]

@pytest.mark.parametrize('size', [(8000,1), (65535,1), (1,8000), (3000,20)])
def test_of_long_pictures_the_middle_is_read(tmp_path, size):
    Image.new('L', size, 77).save(tmp_path/'a.png')
    im = ImageFiles(tmp_path)[0]
    assert max(im.size)<=50*min(im.size) and min(im.size)==min(size) and im.getpixel((0,0))==(77,77,77)

@pytest.mark.parametrize('n', range(1, 17))
def test_files_of_a_few_bytes_are_no_images(n):
    from PIL import UnidentifiedImageError
    from scp_nb.data import decode_image
    with pytest.raises(UnidentifiedImageError): decode_image(b'no image at all.'[:n])
