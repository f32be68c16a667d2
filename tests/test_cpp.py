"fit_cpp against slow references, over the settings users try, and on real features where they are present"
import signal
import numpy as np, pytest, torch
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize
from scp_nb.cluster.loop import Callback
from scp_nb.bench.cpp import plain_rate, retrieval_precision
from scp_nb.cpp import cpp_loss, fit_cpp
from scp_nb.evaluate import clustering_accuracy
from scp_nb.mcr2 import cluster_rate, coding_rate, membership, sampled_cluster_rate
from scp_nb.pairs import unit_rows

rng = np.random.default_rng(0)
centres = rng.normal(size=(5,12))*2
X = (centres[np.arange(200)%5]+rng.normal(size=(200,12))).astype(np.float32)
quick = dict(warmup=4, steps=6, landmarks=100)

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

@pytest.mark.parametrize('eps', [.01, .03, .1, .3, 1., 10.])
@pytest.mark.parametrize('more', [dict(), dict(batch_size=3), dict(batch_size=17), dict(z=5), dict(z=100),
                                  dict(steps=60), dict(n_columns=10),
                                  dict(two_heads=True)], ids=str)
def test_no_nan_and_no_negative_rate(eps, more):
    c = fit_cpp(X, 5, eps=eps, **{**quick, **more})
    assert np.isfinite(c.probs).all() and np.isfinite(c.embedding).all()
    assert c.config['rate']>=0 and c.config['parts']>=0

def test_equal_and_few_rows():
    "Duplicates and six rows: an answer; fewer rows than clusters, or rows of zeros: an error"
    assert len(fit_cpp(np.repeat(np.eye(4, dtype=np.float32), 10, 0), 4, **quick))==40
    assert fit_cpp(X[:6], 3, **quick).probs.shape==(6,3)
    with pytest.raises(ValueError, match='more than the 4 rows'): fit_cpp(X[:4], 5)
    with pytest.raises(ValueError, match='all zeros'): fit_cpp(np.vstack([X, 0*X[:1]]), 5)

@pytest.mark.parametrize('name', ['signdigits_mnv1', 'fashion10k_mnv1'])
def test_better_than_k_means_and_than_raw_features(shared, name):
    "One seed with the defaults; the benchmark has more"
    z = np.load(shared/'data'/f'{name}.npz')
    F,y = z['features'].astype(np.float32),z['labels'].astype(int)
    c = fit_cpp(F, 10, seed=0)
    U = normalize(F); U -= U.mean(0)
    assert clustering_accuracy(y,
                               c)>=clustering_accuracy(y,
                                                       KMeans(10, n_init=10, random_state=0).fit_predict(U))
    assert retrieval_precision(c.embedding, y)>retrieval_precision(F, y)

@pytest.mark.parametrize('more', [dict(steps=80), dict(warmup=80, two_heads=True)])
def test_ctrl_c_keeps_the_model_so_far(more):
    "In the second event it ends training one step later, also while warming up with a code of its own"
    class Press(Callback):
        def on_epoch_end(self, run):
            seen.append(run.seen)
            if len(seen)==2: signal.raise_signal(signal.SIGINT)
    seen = []
    f = fit_cpp(X, 5, callbacks=[Press()], **{**quick, **more})
    assert seen==[b*seen[0]//20 for b in (20, 40, 41)] and np.allclose(f.probs.sum(1), 1, atol=1e-5)
