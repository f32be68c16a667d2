"What folders hold in the wild, every Pillow mode, and every form in which images may come"
import io, os
import numpy as np, pytest, torch, torchvision
from hypothesis import given, settings, strategies as st
from PIL import Image
from scp_nb.data import (ImageArray, ImageDataset, ImageError, ImageFiles, as_images, digits, photo_patches,
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
    monkeypatch.setattr(Image, 'open', deny)
    with pytest.raises(ImageError, match='^permission denied$'): f[0]

def test_a_decompression_bomb_and_a_vanished_file(tmp_path, monkeypatch):
    photo().save(tmp_path/'a.png'); photo().save(tmp_path/'b.png')
    f = ImageFiles(tmp_path)
    (tmp_path/'b.png').unlink()
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    with pytest.raises(ImageError, match='decompression bomb: more than 200 pixels'): f[0]
    with pytest.raises(ImageError, match='no such file'): f[1]

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
