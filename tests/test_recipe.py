"fit_head on rows that repeat, rows of zeros, many clusters and uneven sizes"
import warnings
import numpy as np, pytest
from sklearn.datasets import load_digits, load_iris, make_blobs
from sklearn.metrics import adjusted_rand_score
from scp_nb.estimators import SCPClustering
from scp_nb.evaluate import clustering_accuracy
from scp_nb.pairs import MixedPairs, NeighborPairs
from scp_nb.train import fit_head

@pytest.fixture(scope='module')
def data():
    d = load_digits()
    return d.data.astype(np.float32),d.target

@pytest.fixture(scope='module')
def whole(data): return fit_head(data[0], 10).labels

def test_bursts_count_once(data):
    "600 digits, eight slightly changed pictures of each: as good as with one picture of each"
    X,y = data[0][:600],data[1][:600]
    many = np.repeat(X, 8, 0)+np.random.default_rng(0).normal(scale=.3, size=(4800, 64)).astype(np.float32)
    found = fit_head(many, 10)
    assert found.config['repeats']>4000 and len(found)==4800
    assert found.config['searched']==4800- found.config['repeats']
    assert clustering_accuracy(np.repeat(y, 8),
                               found.labels)>clustering_accuracy(y, fit_head(X, 10).labels)-.05

def test_frames_of_clips_count_once(data):
    "150 clips of 24 frames that drift: as good as with one frame of each"
    X,y = data[0][:150],data[1][:150]
    rng,frame,frames = np.random.default_rng(0),X,[]
    for _ in range(24):
        frames.append(frame)
        frame = X+.9*(frame-X)+rng.normal(scale=.4, size=X.shape).astype(np.float32)
    found = fit_head(np.concatenate(frames), 10)
    assert found.config['searched']<200
    assert clustering_accuracy(np.tile(y, 24),
                               found.labels)>clustering_accuracy(y, fit_head(X, 10).labels)-.05

def test_copies_do_not_decide(data, whole):
    "A few pictures saved twenty times do not get clusters of their own"
    X,y = data
    some = np.r_[X, np.repeat(X[:40], 20, 0)]
    found = fit_head(some, 10)
    assert found.config['repeats']>=800
    assert clustering_accuracy(y, found.labels[:len(X)])>clustering_accuracy(y, whole)-.05

def test_rows_of_zeros_are_named_and_left_out(data):
    X = data[0][:400].copy()
    X[[7, 77]] = 0
    with pytest.warns(UserWarning, match='2 of 400 rows of features are all zeros.*7.*77') as told:
        found = fit_head(X, 5, n_heads=4)
    assert {w.filename for w in told}=={__file__}        # a warning names the line of the one who called
    assert found.config['searched']==398 and len(found)==400

def test_a_dominant_column_is_named(data):
    X = np.c_[data[0][:300], np.arange(300)*1000.]
    with pytest.warns(UserWarning, match='64') as told: fit_head(X, 4, n_heads=2, epochs=3)
    assert {w.filename for w in told}=={__file__}

@pytest.mark.parametrize('n,k', [(1500, 100), (1000, 250)])
def test_many_clusters_stay(n, k):
    "No empty cluster and no warning on clean data"
    X,y = make_blobs(n, 32, centers=k, cluster_std=.6, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = fit_head(X.astype(np.float32), k)
    assert (found.sizes>0).all() and clustering_accuracy(y, found.labels)>.8

def test_no_cliff(data, whole):
    "The default is not far below whatever one could say about sizes, on even and uneven digits"
    X,y = data
    some = np.concatenate([np.flatnonzero(y==c)[:round(174*10**(-c/9))] for c in range(10)])
    for rows in (np.arange(len(X)), np.sort(some)):
        found = {p: fit_head(X[rows], 10, prior=p).labels for p in ('uniform', 'learned')}
        found['auto'] = whole if len(rows)==len(X) else fit_head(X[rows], 10).labels     # the default
        acc = {p: clustering_accuracy(y[rows], labels) for p,labels in found.items()}
        assert acc['auto']>max(acc.values())-.05, acc

def test_strangers_are_strange(data):
    X = data[0][:1000]
    strangers = np.random.default_rng(0).uniform(0, 16, (100, 64)).astype(np.float32)
    found = fit_head(np.r_[X, strangers], 10, n_heads=4)
    s = found.strangeness(n_dims=30)
    assert (s[1000:].mean()>s[:1000].mean()) and np.argsort(-s)[:80].min()>=1000

def test_a_share_of_outliers_is_the_strangest_ones(data):
    X = data[0][:1000]
    strangers = np.random.default_rng(0).uniform(0, 16, (100, 64)).astype(np.float32)
    found = fit_head(np.r_[X, strangers], 10, n_heads=4, outliers=1/11)
    assert found.n_outliers==100 and (found.labels[1000:]<0).mean()>.9
    assert found.config['outliers']['by']=='strangeness'
    doubt = found.mark_outliers(1/11, by='confidence')
    assert doubt.confidence[doubt.labels<0].max()<=doubt.confidence[doubt.labels>=0].min()

def test_pairs_that_are_given_are_those_of_the_fit_itself():
    "Not those of rows as they are, which lie in a corner of the space and lean on a few directions"
    g = np.random.default_rng(0)
    y = np.arange(300)%5
    X = (g.normal(size=(5, 40))[y]+g.normal(size=(300, 40)))*np.geomspace(8, .1, 40)+9
    X = X.astype(np.float32)
    quick = dict(n_heads=2, epochs=3)
    want,got = fit_head(X, 5, **quick),fit_head(X, 5, pairs=NeighborPairs(X), **quick)
    np.testing.assert_array_equal(got.probs, want.probs)
    views = np.stack([X, X], 1)
    for match in (True, False):
        near = MixedPairs(X, views, match_views=match).neighbors
        assert (near.indices.sort(1)[0]==NeighborPairs(X).neighbors.indices.sort(1)[0]).float().mean()>.999

def test_iris():
    "A small table with columns of one unit; the species score alone"
    flowers,species = load_iris(return_X_y=True, as_frame=True)
    assert adjusted_rand_score(species, SCPClustering(3, n_heads=8, random_state=0).fit_predict(flowers))>.5

@pytest.mark.slow
def test_many_classes_are_not_merged_with_any_seed(shared):
    "With this seed a partition with one cluster of 387 photos was chosen, and .56 of all 5,681 were right"
    with np.load(shared/'data'/'ucf101_clip_vitb32.npz') as z: X,y = z['features'],z['labels']
    found = fit_head(X.astype(np.float32), 101, seed=2)
    assert found.sizes.max()<200 and clustering_accuracy(y, found.labels)>.64
