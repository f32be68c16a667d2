"What several test files share: the folder of real data and weights, and one of its sets unpacked into files"
import os
from pathlib import Path
# two workers with two threads each ruin each other
if 'PYTEST_XDIST_WORKER' in os.environ: os.environ['OMP_NUM_THREADS'] = '1'
import numpy as np, pytest
from hypothesis import settings
from warm import Warm

# the same cases on every run; HYPOTHESIS_PROFILE=default searches on
settings.register_profile('fixed', derandomize=True)
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'fixed'))

@pytest.fixture(scope='session')
def shared():
    """The folder with real data and weights: $SCP_SHARED, else beside the checkout, else in it; without one
    the test is skipped"""
    root = Path(__file__).resolve().parent.parent
    places = [Path(p) for p in (os.environ.get('SCP_SHARED'), root.parent/'shared', root/'shared') if p]
    found = next((p for p in places if (p/'data').is_dir() and (p/'models').is_dir()), None)
    if found is None:
        pytest.skip('no folder of shared data and weights: set SCP_SHARED, or put one beside the checkout')
    return found

@pytest.fixture(scope='module')
def short_search():
    "Fits search for a tenth of their time, for tests of what a fit takes and says, not of how good it is"
    from functools import partial
    from scp_nb import train
    from scp_nb.cluster import candidates
    true = train.epochs_for
    def few(n, batch_size, low, *more): return true(n, batch_size, *([low, *more] if more else [low//10]))
    with pytest.MonkeyPatch.context() as m:
        m.setattr(train, 'epochs_for', few)
        m.setattr(candidates, 'embed_graph', partial(candidates.embed_graph, n_epochs=30))
        yield

@pytest.fixture(scope='session')
def warm():
    "Arguments that start Python in a moment, with the package imported: see warm.py"
    w = Warm()
    yield w.python
    w.close()

@pytest.fixture(scope='session')
def sign_digits(shared, tmp_path_factory):
    "2,062 photos of hand signs as JPEG files, one folder per digit"
    out = tmp_path_factory.mktemp('data')/'signdigits'
    z = np.load(shared/'data'/'signdigits10_100.npz')
    jpeg,at,labels = z['jpeg'],z['offsets'],z['labels']
    for c in set(labels.tolist()): (out/str(c)).mkdir(parents=True)
    for i,c in enumerate(labels.tolist()):
        (out/str(c)/f'{i:04d}.jpg').write_bytes(jpeg[at[i]:at[i+1]].tobytes())
    return out
