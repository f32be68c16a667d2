"""Input that is unusual and legitimate, or wrong in a way that has to be told in a line."""
from contextlib import nullcontext
import numpy as np, pandas as pd, pytest, torch
from sklearn.datasets import load_digits
from scp_nb.cluster.clusters import Clusters, neighbor_support
from scp_nb.cluster.neighbors import knn
from scp_nb.cpp import fit_cpp
from scp_nb.estimate_k import estimate_k, fit_tree
from scp_nb.evaluate import evaluate
from scp_nb.pairs import NeighborPairs, ViewPairs
from scp_nb.train import fit_head

pytestmark = pytest.mark.usefixtures('short_search')
rng = np.random.default_rng(0)
centres = rng.normal(size=(4,16))*4
X = (centres[np.arange(200)%4]+rng.normal(size=(200,16))).astype(np.float32)

@pytest.fixture(scope='module')
def clusters(): return fit_head(X, 4)

def test_support_is_a_probability():
    import scipy.sparse as sp
    share = np.float32(1)/3
    graph = sp.csr_matrix(np.full((3,3), share))
    probs = np.full((3,1), np.nextafter(np.float32(1), np.float32(2)))
    assert neighbor_support(graph, probs, np.zeros(3, int))<=1

def test_update_of_clusters_far_apart(clusters):
    for part in (X[::-1], X[:50]+.1): assert clusters.update(part).n_clusters==4

def test_update_keeps_names_and_what_was_set_aside(clusters):
    new = clusters.rename(0, 'cats').set_aside([0,1,2]).update(X[:50]+.1)
    assert new.captions==['cats', None, None, None]
    assert new.n_outliers==3 and (new.labels[:3]==-1).all()
    assert len(set(new.names))==len(new)==250

@pytest.mark.parametrize('kw,say', [(dict(batch_size=0), 'batch_size'), (dict(epochs=1.5), 'epochs'),
                                    (dict(sample=-1), 'sample'), (dict(seed=None), 'seed')])
def test_update_checks_what_it_is_given(clusters, kw, say):
    with pytest.raises(ValueError, match=say): clusters.update(X[:50], **kw)

def test_one_huge_row_leaves_the_others_alone(clusters):
    Z = X.copy()
    Z[3] *= 1e18
    assert (clusters.predict(Z)==clusters.labels).all()
    for fit in (fit_head, fit_cpp): assert fit(Z, 4).sizes.tolist()==[50]*4
    assert fit_head(X.astype(np.float64)*1e300, 4).sizes.tolist()==[50]*4

def test_whole_numbers_of_numpy(tmp_path):
    fit = fit_head(X, 4, n_heads=np.int64(3), batch_size=np.int64(64), seed=np.int64(1))
    fit.save(tmp_path/'a')
    assert fit_head(X, 4, n_heads=3, batch_size=64, seed=1).probs.tolist()==fit.probs.tolist()
    assert fit_cpp(X, 4, seed=np.int64(1)).config['seed']==1

@pytest.mark.parametrize('seed', [None, 1.5, True, -1, 2**63])
@pytest.mark.parametrize('f', [fit_head, fit_cpp, estimate_k])
def test_seeds_that_are_none(f, seed):
    args = () if f is estimate_k else (4,)
    with pytest.raises(ValueError, match='seed must be a whole number'): f(X, *args, seed=seed)

def test_rows_of_one_direction():
    line = rng.uniform(1, 5, (60,1))*rng.normal(size=(1,8))
    for fit in (fit_head, fit_cpp):
        for Z in (line, line[:,:1]):
            with pytest.raises(ValueError, match='multiples of one another'): fit(Z, 2)
    assert estimate_k(line).k==1

def test_zeros_take_no_part():
    Z = X[:120].copy()
    Z[:60] = 0
    for fit in (fit_head, fit_cpp):
        with pytest.warns(UserWarning, match='all zeros.*take no part'): found = fit(Z, 4)
        assert found.sizes.tolist()==[75,15,15,15]         # zeros lie with the largest; it comes first
    with pytest.warns(UserWarning, match='all zeros'): assert estimate_k(Z).k==4
    few = np.zeros((60,8))
    few[:2,:2] = np.eye(2)
    with pytest.warns(UserWarning), pytest.raises(ValueError, match='more than the 2 rows that are not all'):
        fit_head(few, 4)

def test_cluster_0_is_the_largest_of_all_rows():
    sizes = 60, 40, 20
    Z = np.concatenate([c+rng.normal(size=(m,16)) for c,m in zip(centres, sizes)])
    Z = np.concatenate([Z, np.repeat(Z[-1:], 100, 0)])     # copies count once in the search
    fit = fit_head(Z, 3)
    assert fit.sizes.tolist()==[120,60,40] and (fit.predict(Z)==fit.labels).all()

def test_labels_of_objects():
    given = np.array([1,1,0,0,2,-1], object)
    truth = [0,0,1,1,2,2]
    assert str(evaluate(truth, given))==str(evaluate(truth, given.astype(int)))
    for y in (pd.Series(['a','a',None,'b','c','c']), pd.Categorical(['a',None,'b','b','c','c']),
              np.ma.masked_equal(truth, 2)):
        with pytest.raises(ValueError, match='None, NaN or masked'): evaluate(y, truth)

def test_a_tree_keeps_names():
    tree = fit_tree(X, 4)
    edited = tree.rename(0, 'cats').set_aside(range(10))
    for k in (3, 4, 8):
        level = edited.at(k)
        assert level.n_outliers==10 and (level.labels[:10]==-1).all()
    assert edited.at(3).captions.count('cats')==edited.at(4).captions.count('cats')==1
    # one of these may be what the tree does itself
    with pytest.warns(UserWarning, match='by hand'):
        for a,b in ((0,1), (2,3)): tree.merge(a, b).at(8)

@pytest.fixture(scope='module')
def drawings(): return load_digits().data[:300].astype(np.float32)

@pytest.fixture(scope='module')
def plain(drawings): return fit_head(drawings, 5, n_heads=2, epochs=20).labels

@pytest.mark.parametrize('state', ['float64', 'no_grad', 'inference', 'autocast'])
def test_what_the_caller_set_in_torch_changes_nothing(drawings, plain, state):
    ways = dict(no_grad=torch.no_grad(), inference=torch.inference_mode(),
                autocast=torch.autocast('cpu', dtype=torch.bfloat16))
    if state=='float64': torch.set_default_dtype(torch.float64)
    try:
        with ways.get(state) or nullcontext():
            assert (fit_head(drawings, 5, n_heads=2, epochs=20).labels==plain).all()
            assert len(fit_cpp(drawings, 5, steps=10, warmup=5).labels)==300
            assert estimate_k(drawings).k>0
            assert torch.get_default_dtype()==(torch.float64 if state=='float64' else torch.float32)
            assert torch.is_grad_enabled()==(state in ('float64', 'autocast'))
            assert torch.is_autocast_enabled('cpu')==(state=='autocast')
    finally: torch.set_default_dtype(torch.float32)

def test_what_the_caller_set_in_torch_leaves_clusters_alone(clusters, tmp_path):
    clusters.save(tmp_path/'c')
    cpp = fit_cpp(X, 4)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert clusters.update(X[:20]).n_clusters==4 and cpp.embed(X).dtype==np.float32
        assert abs(clusters.predict_proba(X)-clusters.probs).max()<1e-6
    torch.set_default_dtype(torch.float64)
    try:
        assert clusters.merge(0, 1).predict_proba(X).dtype==np.float32
        assert clusters.update(X[:20]).n_clusters==4
        loaded = Clusters.load(tmp_path/'c')
    finally: torch.set_default_dtype(torch.float32)
    assert (loaded.predict_proba(X)==clusters.probs).all() and loaded.merge(0, 1).n_clusters==3

def test_reversed_and_foreign_arrays():
    back = X[::-1]
    assert (knn(back, 3).indices==knn(back.copy(), 3).indices).all() and len(NeighborPairs(back))==200
    views = np.stack([X,X+.1], 1)
    for v in (views[::-1], torch.from_numpy(views).bfloat16(), torch.from_numpy(views).requires_grad_()):
        assert len(ViewPairs(v))==200
    with pytest.raises(ValueError, match='width 5'): fit_head(X, 4, pairs=ViewPairs(views[:,:,:5]))
    with pytest.raises(ValueError, match='masked'): fit_head(np.ma.masked_less(X, 0), 4)

@pytest.mark.parametrize('pairs', [True, False, 'neighbors'])
def test_pairs_that_are_none(pairs):
    with pytest.raises(ValueError, match='pairs must be'): fit_head(X, 4, pairs=pairs)

def test_clusters_of_cpp_hold_their_features():
    fit = fit_cpp(X, 4, pairs=True)
    assert fit.split(0).n_clusters==5 and len(fit.strangeness())==200

def test_a_leading_column_is_told():
    Z = np.c_[np.arange(200)*1e3,X]
    for f in (lambda: fit_cpp(Z, 4), lambda: estimate_k(Z)):
        with pytest.warns(UserWarning, match='Column 0 of the features holds'): f()

def test_labels_of_a_list_are_for_scores_alone(tmp_path, monkeypatch):
    from PIL import Image
    from scp_nb.cli import scp_cluster
    monkeypatch.chdir(tmp_path)
    pixels = rng.integers(0, 256, (24,8,8), dtype=np.uint8)
    pixels[:12] //= 4
    for i,a in enumerate(pixels): Image.fromarray(a).save(f'{i:02d}.png')
    rows = ''.join(f'{i:02d}.png,{"dark" if i<12 else "light"}\n' for i in range(24))
    (tmp_path/'list.csv').write_text('path,label\n'+rows)
    scp_cluster('list.csv', k='2', backbone='pixels', evaluate=True, out='out')
    assert list(pd.read_csv('out/assignments.csv'))==['path', 'cluster', 'confidence']
