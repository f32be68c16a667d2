"fit_cpp against slow references, over the settings users try, and on real features where they are present"
import signal
import numpy as np, pytest, torch
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize
from scp_nb.cluster.loop import Callback
from scp_nb.bench.cpp import plain_rate, retrieval_precision
from scp_nb.cluster.clusters import Clusters
from scp_nb.cpp import CPPSettings, cpp_loss, fit_cpp
from scp_nb.evaluate import clustering_accuracy
from scp_nb.mcr2 import cluster_rate, coding_rate, membership, sampled_cluster_rate
from scp_nb.pairs import unit_rows

rng = np.random.default_rng(0)
centres = rng.normal(size=(5,12))*2
X = (centres[np.arange(200)%5]+rng.normal(size=(200,12))).astype(np.float32)
quick = dict(warmup=4, steps=6)

def codes(n, d, seed=0):
    g = torch.Generator().manual_seed(seed)
    return unit_rows(torch.randn(5, d, generator=g)[torch.arange(n)%5]+.5*torch.randn(n, d, generator=g))

@pytest.mark.parametrize('n,d', [(96,32), (200,16), (24,40)])
def test_gradient_of_the_whole_loss_is_that_of_the_plain_formula(n, d):
    "float32, to 1e-4, through features and codes, on both sides of n = d"
    Z,C = codes(n, d).requires_grad_(),codes(n, d, 1).requires_grad_()
    ours = torch.autograd.grad(cpp_loss(Z[None], C[None], gamma=0).total, (Z, C))
    plain = torch.autograd.grad(plain_rate(Z, membership(C, signed=True))-coding_rate(Z), (Z, C))
    for a,b in zip(ours, plain): assert (a-b).norm()<1e-4*b.norm()

def test_sampled_loss_is_within_a_percent():
    Z = codes(512, 32)
    Pi = membership(Z)
    exact = (cluster_rate(Z, Pi)-coding_rate(Z)).item()
    off = [abs((sampled_cluster_rate(Z, Pi, 64, generator=torch.Generator().manual_seed(s)).rate-
                coding_rate(Z)).item()/exact-1) for s in range(20)]
    assert np.mean(off)<.01

def check_numbers(c):
    assert np.isfinite(c.probs).all() and np.isfinite(c.embedding).all()
    assert c.config['rate']>=0 and c.config['parts']>=0

OWN = dict(), dict(batch_size=3), dict(batch_size=17), dict(two_heads=True)
MORE = dict(), dict(z=5), dict(z=100), dict(steps=60)

# a quarter of all, in which every two settings meet; the others are slow
@pytest.mark.parametrize('eps,own,more', [
    pytest.param(eps, own, more, marks=[pytest.mark.slow]*((e+o+m)%4>0), id=f'{eps}-{own}-{more}')
    for e,eps in enumerate((.01, .03, .1, .3, 1., 10.)) for o,own in enumerate(OWN)
    for m,more in enumerate(MORE)])
def test_no_nan_and_no_negative_rate(eps, own, more):
    check_numbers(fit_cpp(X, 5, settings=CPPSettings(eps=eps, **own), **{**quick, **more}))

@pytest.mark.parametrize('own', [dict(hidden=1), dict(hidden=1024), dict(lr=.1), dict(batch_size=10**6)],
                         ids=str)
def test_no_nan_with_other_settings(own): check_numbers(fit_cpp(X, 5, settings=CPPSettings(**own), **quick))

@pytest.mark.parametrize('eta', [.01, 1.])
def test_no_nan_however_sharp(eta): check_numbers(fit_cpp(X, 5, eta=eta, **quick))

def test_equal_and_few_rows():
    "Duplicates and six rows: an answer; fewer rows than clusters: an error; rows of zeros: a warning"
    assert len(fit_cpp(np.repeat(np.eye(4, dtype=np.float32), 10, 0), 4, **quick))==40
    assert fit_cpp(X[:6], 3, **quick).probs.shape==(6,3)
    with pytest.raises(ValueError, match='more than the 4 rows'): fit_cpp(X[:4], 5)
    with pytest.warns(UserWarning, match='all zeros'): c = fit_cpp(np.vstack([X, 0*X[:1]]), 5, **quick)
    assert np.isfinite(c.embedding).all()

@pytest.mark.parametrize('name,prior', [('whurs19_clip_vitb32', 'auto'),
                                        # there silhouette, which decided once, prefers uneven sizes
                                        pytest.param('fashion10k_mnv1', 'auto', marks=pytest.mark.slow)])
def test_better_than_k_means_and_than_raw_features(shared, name, prior):
    "One seed against the mean of five of k-means, which is quick; the benchmark has five of both"
    z = np.load(shared/'data'/f'{name}.npz')
    F,y = z['features'].astype(np.float32),z['labels'].astype(int)
    k = len(np.unique(y))
    c = fit_cpp(F, k, prior=prior, seed=0)
    U = normalize(F); U -= U.mean(0)
    means = [KMeans(k, n_init=10, random_state=seed).fit_predict(U) for seed in range(5)]
    assert clustering_accuracy(y, c)>=np.mean([clustering_accuracy(y, m) for m in means])
    assert retrieval_precision(c.embedding, y)>retrieval_precision(F, y)

@pytest.mark.parametrize('more', [dict(steps=80), dict(warmup=80, settings=CPPSettings(two_heads=True))])
def test_ctrl_c_keeps_the_model_so_far(more):
    "In the second event it ends training one step later, also while warming up with a code of its own"
    class Press(Callback):
        def on_epoch_end(self, run):
            seen.append(run.seen)
            if len(seen)==2: signal.raise_signal(signal.SIGINT)
    seen = []
    f = fit_cpp(X, 5, callbacks=[Press()], **{**quick, **more})
    assert seen==[b*seen[0]//20 for b in (20, 40, 41)] and np.allclose(f.probs.sum(1), 1, atol=1e-5)

def test_heads_of_earlier_versions(tmp_path):
    "One kept ones beside the head; what does not fit is refused in one line"
    from safetensors.torch import load_file, save_file
    c = fit_cpp(X, 5, **quick)
    file = c.save(tmp_path/'c')/'head.safetensors'
    tensors = load_file(file)
    save_file({**tensors, 'head.even': torch.ones(X.shape[1])}, file)
    np.testing.assert_array_equal(Clusters.load(tmp_path/'c').predict(X), c.predict(X))
    save_file({**tensors, 'head.w': tensors['head.w'][:,:-1].contiguous()}, file)
    with pytest.raises(ValueError, match='another version of scp_nb'): Clusters.load(tmp_path/'c')
