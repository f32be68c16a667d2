"Large photos are decoded smaller: features hardly change, small pictures not at all, and directories know it"
import json
from types import SimpleNamespace
import numpy as np, pytest, torch
from PIL import Image, ImageCms, ImageOps
from sklearn.datasets import load_sample_images
from torch import nn
from torchvision import transforms as T
from scp_nb.data import ImageDataset, ImageFiles, Images, as_images, enough_pixels, to_rgb
from scp_nb.extract.reading import Reader
from scp_nb.features import Features, extract_features, load_backbone
from scp_nb.view.pick import Thumbnails

full = (2016,1512)      # of 3 megapixels: a quarter of a phone's, for the sake of time

def photo(size=full, which=0):
    "A sample photo enlarged, with noise in every pixel"
    im = Image.fromarray(load_sample_images().images[which]).resize(size, Image.Resampling.BICUBIC)
    noise = np.random.default_rng(which).normal(0, 4, (size[1],size[0],1))
    return Image.fromarray((np.asarray(im)+noise).clip(0, 255).astype(np.uint8))

def kinds(im):
    "The same photo in every form a JPEG has: name -> what `save` is given"
    def turned(o):
        exif = Image.Exif(); exif[0x0112] = o
        return dict(exif=exif)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    return {f'orientation {o}': (im, turned(o)) for o in range(1, 9)} | {
        'grey': (im.convert('L'), {}), 'cmyk': (im.convert('CMYK'), {}),
        'progressive': (im, dict(progressive=True)), 'no subsampling': (im, dict(subsampling=0)),
        'profile': (im, dict(icc_profile=profile))}

@pytest.fixture(scope='module')
def album(tmp_path_factory):
    "A folder of photos in all forms"
    d = tmp_path_factory.mktemp('album')
    for name,(im,how) in kinds(photo()).items(): im.save(d/f'{name}.jpg', quality=88, **how)
    photo(which=1).save(d/'two pictures.jpg', 'MPO', save_all=True, append_images=[photo((160,120))])
    return d

class Mean(nn.Module):
    def forward(self, x): return nn.functional.avg_pool2d(x, 8).flatten(1)

def small_net(size=56, crop=48):
    shrink = T.Compose([T.Resize(size), T.CenterCrop(crop), T.ToTensor(), T.Normalize((.5,)*3, (.5,)*3)])
    return load_backbone(Mean(), transform=shrink, device='cpu')

def extract(images, b, out=None, **kw): return extract_features(images, b, out=out, progress=False, **kw)
def cosine(a, b): return torch.cosine_similarity(torch.tensor(np.array(a)), torch.tensor(np.array(b))).numpy()

def test_the_size_is_at_least_what_is_asked_for_and_the_picture_the_same(album):
    images = ImageFiles(album)
    assert len(images)==14
    for i,name in enumerate(images.names):
        whole,small = images[i],images.read(i, 300)
        assert small.mode=='RGB' and min(small.size)==378, name     # an eighth is too small
        assert (small.width>small.height)==(whole.width>whole.height), name
        assert min(images.read(i, 379).size)==756 and images.read(i, 757).size==whole.size, name
        far = np.asarray(whole.resize(small.size, Image.Resampling.BOX), int)-np.asarray(small, int)
        assert np.abs(far).mean()<2, name              # sides that EXIF swaps, colours that CMYK inverts
    assert images.names[10]=='orientation 8.jpg' and images.read(10, 300).size==(378,504)

def test_features_of_photos_hardly_change(album, shared):
    b = load_backbone('timm:mobilenetv1_100?pad_type=same', device='cpu',
                      checkpoint=shared/'models'/'mobilenetv1_100.safetensors')
    whole,fast = extract(album, b, exact=True),extract(album, b)
    assert whole.meta['decoded_to'] is None and fast.meta['decoded_to']==512
    found = cosine(whole.X, fast.X)
    assert found.min()>=.998 and not np.array_equal(whole.X, fast.X), dict(zip(fast.names, found))

def test_exact_is_what_full_decoding_gave(album):
    b = small_net()
    by_hand = torch.stack([b.transform(to_rgb(Image.open(p))) for p in ImageFiles(album).paths])
    assert np.array_equal(extract(album, b, exact=True).X, b.encode(by_hand).numpy())
    assert not np.array_equal(extract(album, b).X, b.encode(by_hand).numpy())

def test_small_pictures_and_other_formats_are_decoded_as_before(tmp_path):
    b = small_net()
    assert b.side_for(as_images([b'']))==224
    for i,size in enumerate([(447,600), (900,447), (224,224), (30,500)]):
        photo(size).save(tmp_path/f'{i}.jpg')
    photo((1200,900)).save(tmp_path/'large.png'); photo((1200,900)).save(tmp_path/'large.webp', quality=80)
    assert np.array_equal(extract(tmp_path, b).X, extract(tmp_path, b, exact=True).X)
    photo((600,448)).save(tmp_path/'just.jpg')
    f,g = extract(tmp_path, b),extract(tmp_path, b, exact=True)
    changed = (f.X!=g.X).any(1)
    assert [n for n,c in zip(f.names, changed) if c]==['just.jpg']

def test_transforms_that_say_nothing_get_every_pixel(album):
    sizes = []
    def transform(im):
        sizes.append(im.size)
        return T.ToTensor()(im.resize((48,48)))
    b = load_backbone(Mean(), transform=transform, device='cpu')
    sizes.clear()
    f = extract(album, b, n_workers=1)
    assert f.meta['decoded_to'] is None and set(map(max, sizes[-14:]))=={2016}
    transform.resize_size = 100         # and it may say so
    sizes.clear()
    f = extract(album, b, n_workers=1)
    assert f.meta['decoded_to']==224 and set(map(max, sizes[-14:]))=={504}

def test_damaged_photos_are_skipped_all_the_same(album, tmp_path):
    data = (album/'orientation 1.jpg').read_bytes()
    (tmp_path/'cut.jpg').write_bytes(data[:len(data)//2])
    (tmp_path/'good.jpg').write_bytes(data)
    f,g = extract(tmp_path, small_net()),extract(tmp_path, small_net(), exact=True)
    assert f.names==['good.jpg'] and list(f.skipped)==['cut.jpg'] and 'truncated' in f.skipped['cut.jpg']
    assert list(g.skipped)==['cut.jpg']

def test_a_picture_of_the_user_stays_as_it_is(album):
    def opened(): return [Image.open(album/f'{name}.jpg') for name in ('orientation 1', 'grey')]
    mine = opened()
    f,g = extract(mine, small_net()),extract(opened(), small_net(), exact=True)
    assert [im.size for im in mine]==[full]*2 and np.array_equal(f.X, g.X)

def test_encoded_photos_of_a_data_set_are_decoded_smaller_too(album):
    class Encoded:
        def __len__(self): return 2
        def __getitem__(self, i): return (album/f'orientation {i+1}.jpg').read_bytes()
    class Own(ImageFiles):
        def _open(self, i): return super()._open(i)
    images = ImageDataset(Encoded())
    assert images.read(0, 300).size==(504,378) and images[0].size==full
    assert Reader(images, lambda im: im.size, 300)(1)==((504,378), None)
    assert Own(album).read(0, 300).size==full, 'a class that opens files in its own way is asked'
    own = Images([photo()], ['one'])
    assert own.read(0, 300).size==full and small_net().side_for(own) is None

def test_pixels_learn_from_what_they_are_shown(album):
    f,g = extract(album, 'pixels?size=16', exact=True),extract(album, 'pixels?size=16')
    again = load_backbone('pixels?size=16', device='cpu').fit(ImageFiles(album), side=224)
    assert np.array_equal(extract(album, again).X, g.X) and g.meta['decoded_to']==224
    assert not np.array_equal(f.projection['mean'], g.projection['mean'])
    np.testing.assert_allclose(f.projection['mean'], g.projection['mean'], atol=.02)

# ---- directories

def files(d): return {p.name: p.read_bytes() for p in d.iterdir() if p.name!='timing.json'}

@pytest.mark.parametrize('exact', [False, True])
def test_the_other_setting_is_refused_and_says_what_to_do(album, tmp_path, exact):
    b = small_net()
    extract(album, b, tmp_path/'f', exact=exact)
    was = files(tmp_path/'f')
    assert json.loads(was['meta.json'])['identity']['decoded_to']==(None if exact else 224)
    extract(album, b, tmp_path/'f', exact=exact)
    said = 'decoded smaller, as is done without exact=True (--exact)' if not exact else \
           'decoded in full, as exact=True (--exact) does'
    for update in (False, True):
        with pytest.raises(FileExistsError) as e:
            extract(album, b, tmp_path/'f', exact=not exact, update=update)
        assert said in str(e.value) and 'force=True' in str(e.value) and '\n' not in str(e.value)
    assert files(tmp_path/'f')==was
    extract(album, b, tmp_path/'f', exact=not exact, force=True)
    extract(album, b, tmp_path/'g', exact=not exact)
    assert files(tmp_path/'f')==files(tmp_path/'g')!=was

def test_an_unfinished_run_of_the_other_setting_is_refused_too(album, tmp_path):
    b = small_net()
    encode,shown = b.encode,[]
    def stops(x):
        shown.append(len(x))
        if len(shown)==3: raise KeyboardInterrupt
        return encode(x)
    b.encode = stops
    with pytest.raises(KeyboardInterrupt): extract(album, b, tmp_path/'f', exact=True, batch_size=4)
    b.encode = encode
    with pytest.raises(FileExistsError, match='decoded in full'):
        extract(album, b, tmp_path/'f', batch_size=4)
    f = extract(album, b, tmp_path/'f', batch_size=4, exact=True)
    assert np.array_equal(f.X, extract(album, b, exact=True, batch_size=4).X)

def test_a_directory_that_does_not_say_how_photos_were_decoded_counts_as_decoded_in_full(album, tmp_path):
    b = small_net()
    folder = tmp_path/'photos'; folder.mkdir()
    for p in sorted(album.iterdir())[:6]: (folder/p.name).write_bytes(p.read_bytes())
    extract(folder, b, tmp_path/'f', exact=True)
    meta = json.loads((tmp_path/'f'/'meta.json').read_text())
    del meta['decoded_to'], meta['identity']['decoded_to']
    (tmp_path/'f'/'meta.json').write_text(json.dumps(meta, indent=1))
    was = files(tmp_path/'f')
    with pytest.raises(FileExistsError, match='decoded in full'): extract(folder, b, tmp_path/'f')
    assert len(Features.load(tmp_path/'f'))==len(extract(folder, b, tmp_path/'f', exact=True))==6
    assert files(tmp_path/'f')==was
    for new in ('two pictures', 'progressive'):      # and once more, after it has been extended
        (folder/f'{new}.jpg').write_bytes((album/f'{new}.jpg').read_bytes())
        f = extract(folder, b, tmp_path/'f', update=True, exact=True)
        assert np.array_equal(f.X, extract(folder, b, exact=True).X) and f.meta['decoded_to'] is None
    f = extract(folder, b, tmp_path/'f', force=True)
    assert f.meta['decoded_to']==224 and np.array_equal(f.X, extract(folder, b).X)

# ---- thumbnails

def test_thumbnails_are_the_same_to_the_eye(album):
    images = ImageFiles(album)
    thumbs = Thumbnails(SimpleNamespace(names=images.names), images, 96)
    for i,name in enumerate(images.names):
        want = ImageOps.fit(images[i], (96,96), method=Image.Resampling.LANCZOS)
        assert thumbs[i].size==(96,96)
        assert np.abs(np.asarray(thumbs[i], int)-np.asarray(want, int)).mean()<2, name
    assert not thumbs.missing and enough_pixels(96)==224 and enough_pixels(256)==512
