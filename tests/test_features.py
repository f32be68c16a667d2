"""Our extraction equals direct calls of open_clip and timm, whatever the batches and threads; and leaves
nothing half-written"""
import json, os, subprocess
import numpy as np, open_clip, pytest, timm, torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from scp_nb.data import ImageFiles, as_images, digits, photo_patches
from scp_nb.features import Backbone, Features, as_features, default_backbone, extract_features, load_backbone

def close(got, want):
    "Equal to 1e-5, or to 1e-5 of the largest number where features exceed 1: float32 has no more digits"
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5*max(1, float(abs(np.asarray(want)).max())))

def extract(images, backbone, **kw): return extract_features(images, backbone, progress=False, **kw)
def to_tensor(im): return torch.tensor(np.asarray(im)/255, dtype=torch.float32).permute(2,0,1)
def randomised(net):
    "Random weights everywhere, running statistics included, so that no layer is an identity by accident"
    torch.manual_seed(0)
    for m in net.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            m.running_mean.normal_(0, .1); m.running_var.uniform_(.5, 1.5)
    for p in net.parameters():
        if p.ndim==1: p.data += .1*torch.randn_like(p)
    return net

@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    "Eight files of odd sizes cut from scikit-learn's photos"
    d = tmp_path_factory.mktemp('photos')
    big = photo_patches(size=200, stride=150)
    for i in range(8): big[i].crop((0, 0, 60+11*i, 190-7*i)).save(d/f'{i:02d}.jpg', quality=95)
    return ImageFiles(d)

def by_hand(net, transform, images):
    "What anyone would write without us: one image at a time"
    net = net.eval()
    with torch.inference_mode():
        return torch.cat([net(transform(images[i])[None]) for i in range(len(images))]).numpy()

# ---- open_clip

small = dict(embed_dim=32, vision_cfg=dict(image_size=64, layers=2, width=64, patch_size=16),
             text_cfg=dict(context_length=16, vocab_size=128, width=32, heads=2, layers=1))
kinds = dict(plain=dict(), squash=dict(mean=(.5,.5,.5), std=(.5,.5,.5), interpolation='bilinear',
                                       resize_mode='squash'), quick=dict(quick_gelu=True))

@pytest.fixture(scope='module')
def small_clip(tmp_path_factory):
    "A small open_clip model with three published-looking tags, and a file of weights for it"
    d = tmp_path_factory.mktemp('clip')
    (d/'tiny-test.json').write_text(json.dumps(small))
    open_clip.add_model_config(d/'tiny-test.json')
    open_clip.pretrained._PRETRAINED['tiny-test'] = {k: open_clip.pretrained._pcfg(**{'url': 'none', **v})
                                                     for k,v in kinds.items()}
    net = randomised(open_clip.create_model('tiny-test', pretrained=None))
    save_file({k: v.contiguous() for k,v in net.state_dict().items()}, d/'tiny.safetensors')
    torch.save(dict(epoch=1, state_dict={f'module.{k}': v for k,v in net.state_dict().items()}), d/'tiny.pt')
    yield d
    del open_clip.pretrained._PRETRAINED['tiny-test']

@pytest.mark.parametrize('tag', list(kinds))
@pytest.mark.parametrize('file', ['tiny.safetensors', 'tiny.pt'])
def test_open_clip_equals_a_direct_call(small_clip, photos, tag, file):
    cfg = kinds[tag]
    net,_,transform = open_clip.create_model_and_transforms(
        'tiny-test', pretrained=str(small_clip/file), force_quick_gelu=cfg.get('quick_gelu', False),
        image_mean=cfg.get('mean'), image_std=cfg.get('std'),
        image_interpolation=cfg.get('interpolation'), image_resize_mode=cfg.get('resize_mode'))
    ours = extract(photos, load_backbone(f'open_clip:tiny-test/{tag}', checkpoint=small_clip/file))
    close(ours.X, by_hand(net.eval().visual, transform, photos))
    assert ours.shape==(8,32) and ours.meta['backbone']['checkpoint']==file

def test_open_clip_tags_differ_where_they_should(small_clip, photos):
    """The check above could pass if tags were ignored on both sides: here the three give three different
    results"""
    a,b,c = (extract(photos, load_backbone(f'open_clip:tiny-test/{t}',
                                           checkpoint=small_clip/'tiny.safetensors')).X for t in kinds)
    assert min(abs(a-b).max(), abs(a-c).max(), abs(b-c).max())>1e-3

def test_open_clip_download_path_uses_the_transform_of_the_tag(small_clip, monkeypatch):
    monkeypatch.setattr(open_clip.factory, 'download_pretrained',
                        lambda cfg, **k: str(small_clip/'tiny.safetensors'))
    b = load_backbone('open_clip:tiny-test/squash')
    given = load_backbone('open_clip:tiny-test/squash', checkpoint=small_clip/'tiny.safetensors')
    assert b.provenance['transform']==given.provenance['transform'] and '0.5' in str(b.transform)
    x = torch.randn(2,3,64,64)
    assert torch.equal(b.encode(x), given.encode(x))

# ---- timm

@pytest.mark.parametrize('spec, kw', [
    ('timm:vit_tiny_patch16_224?img_size=64&depth=2', dict(img_size=64, depth=2)),
    ('timm:vit_small_patch14_dinov2?img_size=56&depth=2', dict(img_size=56, depth=2)),
    ('timm:resnet10t?img_size=64', dict()),
    ('timm:mobilenetv3_small_050?img_size=64', dict())])
@pytest.mark.parametrize('classes', [0, 10])
def test_timm_equals_a_direct_call(tmp_path, photos, spec, kw, classes):
    "Also when the file still holds a classifier"
    name = spec[5:].partition('?')[0]
    net = randomised(timm.create_model(name, pretrained=False, num_classes=classes, **kw))
    save_file(net.state_dict(), tmp_path/'w.safetensors')
    net.reset_classifier(0)
    size = 64 if 'img_size=64' in spec else kw.get('img_size')
    config = timm.data.resolve_data_config(dict(img_size=size) if size else {}, model=net)
    transform = timm.data.create_transform(**config, is_training=False)
    ours = extract(photos, load_backbone(spec, checkpoint=tmp_path/'w.safetensors'), batch_size=5)
    want = by_hand(net, transform, photos)
    close(ours.X, want)
    assert ours.X.std(0).max()>1e-3, 'a constant would pass any comparison'
    if size: assert transform(photos[0]).shape[-1]==size

def test_dinov2_position_embedding_is_resampled(tmp_path, photos):
    "Weights of one size into a model of another, as with published DINOv2 at 518 and img_size=56"
    net = randomised(timm.create_model('vit_small_patch14_dinov2', pretrained=False, num_classes=0,
                                       img_size=98, depth=1))
    save_file(net.state_dict(), tmp_path/'w.safetensors')
    b = load_backbone('timm:vit_small_patch14_dinov2?img_size=56&depth=1',
                      checkpoint=tmp_path/'w.safetensors')
    direct = timm.create_model('vit_small_patch14_dinov2', pretrained=True,
                               pretrained_cfg_overlay=dict(file=str(tmp_path/'w.safetensors')),
                               num_classes=0, img_size=56, depth=1)
    close(extract(photos, b).X, by_hand(direct, b.transform, photos))

@pytest.fixture(scope='module')
def mobilenet(shared):
    return load_backbone('timm:mobilenetv1_100?pad_type=same',
                         checkpoint=shared/'models'/'mobilenetv1_100.safetensors')

def test_real_weights_on_real_photos_equal_a_direct_call(shared, sign_digits, mobilenet):
    images = ImageFiles(sign_digits, labels='folder').subset(range(0, 2062, 250))
    net = timm.create_model('mobilenetv1_100', num_classes=0, pad_type='same',
                            checkpoint_path=str(shared/'models'/'mobilenetv1_100.safetensors'))
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(net), is_training=False)
    got = extract(images, mobilenet, batch_size=4)
    close(got.X, by_hand(net, transform, images))
    assert got.labels.tolist()==[int(n.split('/')[0]) for n in got.names] and got.X.std()>.1
    assert got.meta['backbone']['sha256'].startswith('c11e7f869e75')
    wrong = timm.create_model('mobilenetv1_100', num_classes=0,
                              checkpoint_path=str(shared/'models'/'mobilenetv1_100.safetensors'))
    assert abs(by_hand(wrong, transform,
                       images)-got.X).max()>.1, 'pad_type matters, so the argument must have arrived'

def test_batches_and_threads_change_nothing(sign_digits, mobilenet):
    images = ImageFiles(sign_digits).subset(range(0, 2062, 200))
    runs = [extract(images, mobilenet, batch_size=b, n_workers=w).X for b,w in [(1,1), (4,3), (11,8), (64,2)]]
    for r in runs[1:]: close(r, runs[0])
    again = extract(ImageFiles(sign_digits).subset(range(0, 2062, 200)), mobilenet, batch_size=64,
                    n_workers=2)
    assert again.names==images.names and np.array_equal(again.X, runs[-1])

def test_training_mode_is_undone(mobilenet):
    "One forward pass in training mode would spoil the running statistics for good"
    x = torch.randn(4,3,224,224)
    want = mobilenet.encode(x)
    mobilenet.model.train()
    assert torch.equal(mobilenet.encode(x), want) and not mobilenet.model.training

# ---- checkpoints and names that do not fit

def test_checkpoints_that_do_not_fit(tmp_path, small_clip):
    net = timm.create_model('vit_tiny_patch16_224', pretrained=False, depth=1, img_size=32, num_classes=0)
    spec = 'timm:vit_tiny_patch16_224?depth=1&img_size=32'
    state,file = net.state_dict(),tmp_path/'w.safetensors'
    def refused(*said, spec=spec, file=file):
        with pytest.raises(ValueError) as e: load_backbone(spec, checkpoint=file)
        assert all(s in str(e.value) for s in said) and '\n' not in str(e.value), e.value
    save_file({k: v for k,v in state.items() if 'mlp' not in k}, file)
    refused('w.safetensors', 'does not fit', 'missing: blocks.0.mlp.fc1.weight', 'and 1 more')
    save_file({**state, 'reg_token': torch.zeros(1,4,192)}, file); refused('not expected: reg_token')
    save_file({**state, 'norm.bias': torch.zeros(7)}, file); refused('norm.bias is [7], wanted [192]')
    save_file(timm.create_model('resnet10t', pretrained=False).state_dict(), file)
    refused('missing', 'not expected')
    refused('does not fit open_clip:tiny-test/plain', 'missing', spec='open_clip:tiny-test/plain')
    file.write_bytes(file.read_bytes()[:5000]); refused('does not fit')
    good = small_clip/'tiny.safetensors'
    refused('timm cannot build', 'colour', spec='timm:vit_tiny_patch16_224?colour=1', file=good)

class Evil:
    def __reduce__(self): return os.system, ('touch pwned',)

@pytest.mark.filterwarnings('ignore::FutureWarning')
@pytest.mark.parametrize('spec', ['timm:resnet10t', 'open_clip:tiny-test/plain'])
def test_a_checkpoint_never_runs_code(tmp_path, small_clip, spec, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict=Evil()), tmp_path/'evil.pt')
    torch.save(nn.Linear(2,2), tmp_path/'module.pth')
    import pickle
    (tmp_path/'plain.bin').write_bytes(pickle.dumps(Evil()))
    torch.jit.save(torch.jit.script(nn.Linear(2,2)), tmp_path/'script.pt')
    for f in ('evil.pt', 'module.pth', 'plain.bin', 'script.pt'):
        with pytest.raises(ValueError, match='more than plain tensors') as e:
            load_backbone(spec, checkpoint=tmp_path/f)
        assert '\n' not in str(e.value)
    assert not (tmp_path/'pwned').exists()

@pytest.mark.parametrize('spec, said', [
    ('timm:vit_smal_patch14_dinov2', ['no model "vit_smal_patch14_dinov2"', 'vit_small_patch14_dinov2',
                                      'timm.list_models()']),
    ('timm:vit_small_patch14_dinov2.lvd142', ['lvd142m']), ('timm:', ['no model ""']),
    ('open_clip:ViT-B-23/openai', ['no model "ViT-B-23"', 'ViT-B-32']),
    ('open_clip:vit-b-32/openai', ['ViT-B-32']),
    ('open_clip:ViT-B-32', ['laion2b_s34b_b79k', 'openai', 'open_clip:ViT-B-32/TAG']),
    ('open_clip:ViT-B-32/laion2b', ['laion2b_s34b_b79k']),
    ('clip', ['open_clip:MODEL/TAG', 'pixels']), ('resnet50', ['timm:resnet50']),
    ('pixel', ['Closest: pixels']), ('', ['no backbone']),
    ('pixels?size=0', ['size']), ('pixels?colour=1', ['colour']), ('pixels?size', ['name=value'])])
def test_unknown_names_are_answered_with_near_ones(spec, said):
    with pytest.raises(ValueError) as e: load_backbone(spec)
    assert all(s in str(e.value) for s in said) and '\n' not in str(e.value), e.value

def test_weights_that_cannot_be_had(tmp_path, warm):
    """In a process of its own without network and cache: spec, cause, both ways out, no noise of the
    libraries, and no long wait"""
    code = ('import logging, time; from scp_nb.features import load_backbone\n'
            f'for spec in ({default_backbone!r}, "timm:resnet10t.c3_in1k"):\n'
            '    t = time.time()\n'
            '    try: load_backbone(spec)\n'
            '    except RuntimeError as e: print(time.time()-t<20, len(logging.root.handlers), e)')
    r = subprocess.run([*warm, '-c', code], capture_output=True, text=True,
                       env={**os.environ, 'HF_HUB_OFFLINE': '1', 'HF_HOME': str(tmp_path),
                            'HF_HUB_CACHE': str(tmp_path), 'TORCH_HOME': str(tmp_path)})
    lines = r.stdout.strip().splitlines()
    assert len(lines)==2 and not r.stderr, r.stdout+r.stderr
    for line,spec in zip(lines, (default_backbone, 'timm:resnet10t.c3_in1k')):
        assert line.startswith('True 0 ') and spec in line and 'checkpoint=' in line and '"pixels"' in line

def test_any_failure_of_the_hub_is_explained(monkeypatch):
    def fail(*a, **k): raise ConnectionResetError('peer went away\nlong trace')
    monkeypatch.setattr(timm, 'create_model', fail)
    with pytest.raises(RuntimeError, match='weights of timm:resnet10t cannot be had') as e:
        load_backbone('timm:resnet10t')
    assert '\n' not in str(e.value)

# ---- networks of one's own

class Net(nn.Module):
    def __init__(self, out): super().__init__(); self.out = out
    def forward(self, x): return self.out(x)

@pytest.mark.parametrize('out, said', [
    (lambda x: (x.flatten(1), x), 'a tuple of 2'),
    (lambda x: dict(pooled=x.flatten(1), tokens=x), 'a dict with keys pooled, tokens'),
    (lambda x: x.flatten(2), 'one vector per token'), (lambda x: x, 'AdaptiveAvgPool2d'),
    (lambda x: x.mean(), r'a tensor \[\]'), (lambda x: None, 'NoneType')])
def test_outputs_that_are_not_one_vector(out, said):
    with pytest.raises(ValueError, match=said) as e:
        load_backbone(Net(out), transform=lambda im: to_tensor(im.resize((4,4))))
    assert '\n' not in str(e.value)

def test_nan_stops_the_run_and_names_the_image(tmp_path):
    b = load_backbone(Net(lambda x: x.mean((2,3)).log()), transform=to_tensor)
    grey = as_images(np.stack([np.full((4,4), v, np.uint8) for v in (9,9,9,0,9)]))
    with pytest.raises(ValueError, match='NaN or infinity for "image-00003"'):
        extract(grey, b, out=tmp_path/'f', batch_size=2)
    left = [p.name for p in (tmp_path/'f').iterdir()]
    assert left==['unfinished'], 'what was done before is kept, and is no directory of features'

def test_a_transform_that_fails_costs_one_image():
    def fussy(im):
        if im.size[0]>6: raise RuntimeError('too wide')
        return to_tensor(im.resize((4,4)))
    b = load_backbone(Net(lambda x: x.flatten(1)), transform=lambda im: to_tensor(im.resize((4,4))))
    b.transform = fussy
    f = extract([Image.new('RGB', (w,4)) for w in (5,6,7)], b)
    assert len(f)==2 and f.skipped=={'image-00002': 'transform failed on 7x4 pixels: too wide'}

def test_width_follows_the_images_and_must_be_one():
    "A network without pooling: its d depends on the size of the images, not on the picture it was tried on"
    flat = lambda: load_backbone(Net(lambda x: x.flatten(1)), transform=to_tensor)
    assert extract(np.zeros((5,4,3)), flat()).shape==(5,36)
    with pytest.raises(ValueError, match='different lengths'):
        extract([np.zeros((4,3)), np.zeros((4,5))], flat(), batch_size=1)
    with pytest.raises(ValueError, match='different shapes'):
        extract([np.zeros((4,3)), np.zeros((4,5))], flat())

# ---- pixels

def test_pixels_is_principal_components_of_the_digits():
    f = extract(digits(), 'pixels?size=8')
    from sklearn.datasets import load_digits
    X = np.rint(load_digits().data*255/16)/255
    X = X-X.mean(0)
    w,V = np.linalg.eigh(X.T@X)
    want = X@V[:,::-1][:,:61]*3**.5                   # three equal channels
    assert f.shape==(1797,61) and w[2]<1e-9
    np.testing.assert_allclose(abs(f.X), abs(want), atol=2e-4)
    assert np.array_equal(f.X, extract(digits(), 'pixels?size=8').X)

def test_pixels_limits():
    assert extract(photo_patches(), 'pixels?d=5').shape==(456,5)
    assert extract(photo_patches().subset(range(7)), 'pixels').shape==(7,6)
    # all equal: fit_head says so later
    assert extract(np.zeros((4,3,3)), 'pixels').shape==(4,1)
    with pytest.raises(ValueError, match='needs 2 that can be read; got 1'):
        extract(np.zeros((1,3,3)), 'pixels')

# ---- unreadable images, disk, and interruption

def test_rows_only_for_readable_images(tmp_path):
    for i in range(6): Image.fromarray(np.full((9,9,3), 40*i, np.uint8)).save(tmp_path/f'{i}.png')
    (tmp_path/'0.png').write_bytes(b''); (tmp_path/'3.png').write_bytes(b'nonsense')
    for out in (None, tmp_path/'f'):
        f = extract(ImageFiles(tmp_path), 'pixels?size=3', out=out, batch_size=2)
        assert f.names==['1.png','2.png','4.png', '5.png']==f.images.names
        assert set(f.skipped)=={'0.png','3.png'}
        order = np.argsort(f.X[:,0]); assert order.tolist() in ([0,1,2,3], [3,2,1,0])
    assert Features.load(tmp_path/'f').skipped==f.skipped
    bad = tmp_path/'bad'; bad.mkdir()
    for i in range(3): (bad/f'{i}.jpg').write_bytes(b'no')
    for b in ('pixels',
              load_backbone(Net(lambda x: x.flatten(1)), transform=lambda im: to_tensor(im.resize((2,2))))):
        with pytest.raises(ValueError, match='none of the 3 images from "bad" could be read. The first that '
                                             'failed: "[012].jpg", not an image'):
            extract(bad, b, out=tmp_path/'g')
    assert not (tmp_path/'g').exists()

def test_saved_and_loaded_features_are_the_same(tmp_path):
    ims = photo_patches()
    f = extract(ims, 'pixels?d=12', out=tmp_path/'deep'/'f')
    g = Features.load(tmp_path/'deep'/'f')
    assert isinstance(f.X, np.memmap) and isinstance(g.X, np.memmap)
    f.save(tmp_path/'copy'); h = Features.load(tmp_path/'copy')
    for o in (g,h):
        assert np.array_equal(o.X, f.X) and o.names==f.names==ims.names
        assert np.array_equal(o.labels, ims.labels) and o.classes==ims.classes
        assert o.meta['spec']=='pixels?d=12' and o.meta['device']=='cpu' and o.meta['n']==456
        assert o.meta['d']==12
    made = {p.name for p in (tmp_path/'deep'/'f').iterdir()}
    assert made=={'features.npy', 'index.jsonl', 'meta.json', 'projection.safetensors', 'skipped.csv',
                  'timing.json'}
    line = json.loads((tmp_path/'copy'/'index.jsonl').read_text().splitlines()[3])
    assert line==dict(row=3, name=ims.names[3], label=0)
    new = ims.subset([440, 7])
    close(extract(new, g.backbone()).X, f.X[[440,7]])      # not fitted again on two images
    part = g[[440,7]]
    assert part.names==new.names and part.labels.tolist()==[1,0]

def test_the_backbone_of_saved_features(tmp_path, small_clip, photos):
    spec,file = 'open_clip:tiny-test/squash',small_clip/'tiny.safetensors'
    f = extract(photos, load_backbone(spec, checkpoint=file), out=tmp_path/'f')
    g = Features.load(tmp_path/'f')
    assert g.meta['root']==str(photos.root) and g.labels is None
    with pytest.raises(ValueError, match='tiny.safetensors'): g.backbone()
    with pytest.raises(ValueError, match='SHA-256'): g.backbone(small_clip/'tiny.pt')
    close(extract(photos.subset([3]), g.backbone(file)).X, f.X[[3]])
    with pytest.raises(ValueError, match='module of your own'): as_features(np.eye(3)).backbone()

def test_odd_names_come_back(tmp_path):
    names = ['a\nb', '"q"', '\U0001F408', '\udcff']
    f = Features.from_array(np.eye(4), names=names, labels=['x','y','x','x'])
    f.save(tmp_path/'f')
    g = Features.load(tmp_path/'f')
    assert g.names==names and g.labels.tolist()==[0,1,0,0] and g.classes==['x','y']

@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError])
def test_nothing_that_looks_finished(tmp_path, monkeypatch, error):
    """A run that stops leaves its parts in one folder, and other people's files as they were; test_extract.py
    lets it go on"""
    b,calls,encode = load_backbone('pixels?size=8').fit(digits()),[],Backbone.encode
    def stop(self, *args):
        calls.append(1)
        if len(calls)>3: raise error('stop')
        return encode(self, *args)
    monkeypatch.setattr(Backbone, 'encode', stop)
    (tmp_path/'mine').mkdir(); (tmp_path/'mine'/'letter.txt').write_text('dear')
    for out,force in [('new',False), ('deep/er',False), ('mine',True)]:
        calls.clear()
        with pytest.raises(error): extract(digits(), b, out=tmp_path/out, batch_size=100, force=force)
        assert len(calls)==4 and {p.name for p in (tmp_path/out).iterdir()}-{'letter.txt'}=={'unfinished'}
        with pytest.raises(FileNotFoundError): Features.load(tmp_path/out)
    assert (tmp_path/'mine'/'letter.txt').read_text()=='dear'
    calls[:] = [1]*4
    for out in ('before', 'be/fore'):                      # nothing was done yet: nothing stays
        with pytest.raises(error): extract(digits(), b, out=tmp_path/out, batch_size=100)
    assert sorted(p.name for p in tmp_path.iterdir())==['deep', 'mine', 'new']

def test_force_and_refusal(tmp_path):
    out = tmp_path/'f'
    extract(digits().subset(range(50)), 'pixels', out=out)
    seen = []
    class Never(type(digits())):
        def _open(self, i): seen.append(i); raise AssertionError
    with pytest.raises(FileExistsError, match='force'): extract(Never(np.zeros((5,3,3))), 'pixels', out=out)
    assert not seen, 'refused before any image is read'
    f = extract(digits().subset(range(60)), load_backbone(Net(lambda x: x.flatten(1)), transform=to_tensor),
                out=out, force=True)
    assert len(Features.load(out))==60 and f.shape==(60,192) and not (out/'projection.safetensors').exists()
    (out/'letter.txt').write_text('dear')
    extract(digits().subset(range(70)), 'pixels', out=out, force=True)
    assert len(Features.load(out))==70 and (out/'letter.txt').read_text()=='dear'
    with pytest.raises(FileExistsError, match='is a file'):
        extract(digits(), 'pixels', out=out/'letter.txt', force=True)
    assert sorted(p.name for p in tmp_path.iterdir())==['f']

@pytest.mark.parametrize('spoil, error, said', [
    (lambda d: (d/'index.jsonl').unlink(), FileNotFoundError, 'index.jsonl'),
    (lambda d: (d/'index.jsonl').write_text('{"row":0,"name":"a","label":null}\n'), ValueError, 'damaged'),
    (lambda d: (d/'meta.json').write_text('{"format":"other"}'), ValueError, 'scp_nb.features')])
def test_directories_that_are_not_features(tmp_path, spoil, error, said):
    Features.from_array(np.eye(3)).save(tmp_path/'f')
    spoil(tmp_path/'f')
    with pytest.raises(error, match=said) as e: as_features(tmp_path/'f')
    assert '\n' not in str(e.value)

def test_nan_written_by_someone_else_is_found(tmp_path):
    Features.from_array(np.eye(300)).save(tmp_path/'f')
    X = np.eye(300, dtype=np.float32); X[217,5] = np.nan
    np.save(tmp_path/'f'/'features.npy', X)
    with pytest.raises(ValueError, match=r'row 217 \("row-00217"\)'): as_features(tmp_path/'f')

@pytest.mark.parametrize('kw, said', [(dict(batch_size=0), 'batch_size'), (dict(n_workers=0), 'n_workers'),
                                      (dict(precision='half'), 'precision'),
                                      (dict(precision='float16'), 'CUDA')])
def test_arguments_out_of_range(kw, said):
    with pytest.raises(ValueError, match=said): extract(digits(), load_backbone('pixels', device='cpu'), **kw)
