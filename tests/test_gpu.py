"""What only a graphics card shows; skipped where there is none, run by hand where there is: pytest
tests/test_gpu.py"""
import numpy as np, pytest, torch
from torch import nn
from torchvision import transforms as T
from scp_nb.cluster import loop
from scp_nb.extract.backbones import Backbone
from scp_nb.bench.extract import write_photos
from scp_nb.cpp import fit_cpp
from scp_nb.data import ImageFiles, digits
from scp_nb.evaluate import clustering_accuracy
from scp_nb.features import extract_features
from scp_nb.head import ClusterHead
from scp_nb.live import LiveClusters
from scp_nb.train import Callback, fit_head

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')]

@pytest.fixture(scope='module')
def drawings():
    images = digits()
    return np.stack([np.asarray(im.convert('L'), dtype=np.float32).ravel() for im in images]),images.labels

_TrainingSteps,_AdamW = loop._TrainingSteps,loop.AdamW

def trained(record, monkeypatch, checkpoint=None, callbacks=()):
    "Weights of heads trained on a GPU, with their steps recorded or not"
    monkeypatch.setattr(loop, '_TrainingSteps', lambda *args: _TrainingSteps(*args[:-1], record))
    monkeypatch.setattr(loop, 'AdamW', lambda params, rate, decay, _: _AdamW(params, rate, decay, record))
    torch.manual_seed(0)
    X,g,run = torch.randn(1000, 12, device='cuda'),torch.Generator().manual_seed(1),loop.Run()
    head = ClusterHead(12, 4, 3, 16, seed=1).cuda()
    target = torch.softmax(torch.randn(1000, 4, device='cuda'), 1)
    def batch(rows, part): return X[torch.cat([rows[part], (rows[part]+1)%1000]).cuda()]
    loop.train_heads(head, batch, 1000, 8, 128, 1e-2, g, run, callbacks, target, checkpoint=checkpoint)
    return [p.detach().cpu() for p in head.parameters()]

def test_recorded_steps_are_steps(monkeypatch):
    for a,b in zip(trained(False, monkeypatch), trained(True, monkeypatch)):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)

def test_a_killed_fit_goes_on(monkeypatch, tmp_path):
    class Fail(Callback):
        def on_epoch_end(self, run):
            if run.epoch==5: raise RuntimeError('no power')
    whole = trained(True, monkeypatch)
    with pytest.raises(RuntimeError, match='no power'):
        trained(True, monkeypatch, loop.Checkpoint(tmp_path/'fit', {}), [Fail()])
    for a,b in zip(whole, trained(True, monkeypatch, loop.Checkpoint(tmp_path/'fit', {}))):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)

def test_the_same_seed_gives_the_same_labels(drawings):
    a,b = (fit_head(drawings[0], 10, device='cuda', seed=3).labels for _ in range(2))
    np.testing.assert_array_equal(a, b)

def test_as_good_as_on_a_cpu(drawings):
    X,y = drawings
    for prior in ('auto', 'learned'):
        found = [np.mean([clustering_accuracy(y, fit_head(X, 10, prior=prior, seed=s, device=d).labels)
                          for s in range(3)]) for d in ('cuda', 'cpu')]
        assert found[0]>found[1]-.03, (prior, found)
    assert clustering_accuracy(y, fit_cpp(X, 10, device='cuda').labels)>.8

class Wide(nn.Module):
    "Takes 64 MB for each image of 32 x 32 pixels"
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mix = nn.Conv2d(3, 16384, 1)
    def forward(self, x): return self.mix(x).relu().mean((2,3))[:,:64]

def wide(device):
    return Backbone('wide', Wide(),
                    T.Compose([T.Resize((32,32)), T.ToTensor(), T.Normalize((.5,)*3, (.25,)*3)]),
                    torch.device(device))

@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    write_photos(folder, 200, (60,40))
    (folder/'bad.jpg').write_bytes(b'no image')
    (folder/'copy.jpg').write_bytes((folder/'000003.jpg').read_bytes())
    return ImageFiles(folder)

def test_features_are_those_of_a_cpu(photos, tmp_path):
    cpu = extract_features(photos, wide('cpu'), progress=False)
    full = extract_features(photos, wide('cuda'), progress=False, precision='float32')
    np.testing.assert_allclose(full.X, cpu.X, rtol=1e-3, atol=1e-4)
    half = [extract_features(photos, wide('cuda'), out=tmp_path/str(i), progress=False, processes=p)
            for i,p in enumerate((True, False, True))]
    for h in half:
        assert (h.X==half[0].X).all() and set(h.skipped)=={'bad.jpg'}
        assert (h.X[h.names.index('copy.jpg')]==h.X[h.names.index('000003.jpg')]).all()
    np.testing.assert_allclose(half[0].X, cpu.X, rtol=2e-2, atol=2e-3)

def test_memory_that_runs_out(photos):
    "A card that others have filled: batches are halved until they fit"
    want,b = extract_features(photos, wide('cuda'), progress=False, batch_size=2),wide('cuda')
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(3e9/total)
    try: found = extract_features(photos, b, progress=False, batch_size=128)
    finally: torch.cuda.set_per_process_memory_fraction(1.)
    np.testing.assert_allclose(found.X, want.X, rtol=2e-2, atol=2e-3)

@pytest.mark.parametrize('fit', [fit_head, fit_cpp])
def test_live_view(drawings, fit):
    "The card and its memory are told, and the view costs little"
    view = LiveClusters(drawings[0], digits(), widgets=True)
    view.run(10, fit=fit, device='cuda')
    facts = ' '.join(view._facts())
    assert view.state=='done' and torch.cuda.get_device_name() in facts and ' GB' in facts
    assert 'images/s' in facts
    assert '<svg' in view.html['map'] and '<img' in view.html['cards']
