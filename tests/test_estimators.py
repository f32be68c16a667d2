"""SCPClustering and CPPClustering among scikit-learn's own tools: pipelines, frames, joblib, and input that
is wrong"""
import os, subprocess, sys, warnings
import joblib, numpy as np, pandas as pd, pytest, scipy.sparse as sp
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from scp_nb.cpp import fit_cpp
from scp_nb.estimate_k import estimate_k
from scp_nb.estimators import CPPClustering, SCPClustering
from scp_nb.features import Features
from scp_nb.train import fit_head

pytestmark = pytest.mark.usefixtures('short_search')
quick = dict(n_heads=2, epochs=2)
rng = np.random.default_rng(0)
centres = rng.normal(size=(4,6))*3
X = (centres[np.arange(80)%4] + rng.normal(size=(80,6))).astype(np.float32)
frame = pd.DataFrame(X, columns=list('abcdef'), index=[f'photo {i}' for i in range(80)])
est = SCPClustering(4, random_state=3, **quick)

@pytest.fixture(scope='module')
def fitted(): return clone(est).fit(X)

@pytest.fixture(scope='module')
def labels(fitted): return fitted.labels_.copy()

def test_same_clusters_as_fit_head(fitted):
    want,got = fit_head(X, 4, seed=3, **quick),fitted
    np.testing.assert_array_equal(got.labels_, want.labels)
    np.testing.assert_array_equal(got.predict_proba(X), want.probs)
    np.testing.assert_array_equal(got.probabilities_, want.confidence)

def test_pipeline():
    "The estimator sees what the steps before it give, in fit and in predict; y does not matter"
    pipe = make_pipeline(StandardScaler(), PCA(3, random_state=0), clone(est))
    labels = pipe.fit_predict(X)
    Z = PCA(3, random_state=0).fit_transform(StandardScaler().fit_transform(X))
    np.testing.assert_array_equal(labels, fit_head(Z, 4, seed=3, **quick).labels)
    np.testing.assert_array_equal(pipe.predict(X), labels)
    np.testing.assert_array_equal(clone(pipe).fit(X, rng.permutation(80)).predict(X), labels)
    assert pipe.predict_proba(X[:7]).shape==(7,4)
    pipe.set_params(scpclustering__n_clusters=2).fit(X)
    assert pipe[-1].clusters_.n_clusters==2

def test_set_output_gives_names_of_the_step_before():
    pipe = make_pipeline(StandardScaler(), PCA(3), clone(est)).set_output(transform='pandas').fit(frame)
    assert list(pipe[-1].feature_names_in_)==['pca0', 'pca1', 'pca2']
    assert pipe[-1].clusters_.names==list(frame.index)
    np.testing.assert_array_equal(pipe.predict(frame), pipe[-1].labels_)
    some = make_pipeline(ColumnTransformer([('keep', 'passthrough', ['b', 'd'])]), clone(est)).fit(frame)
    np.testing.assert_array_equal(some[-1].labels_, fit_head(X[:,[1,3]], 4, seed=3, **quick).labels)

def test_clone_and_random_state():
    e = SCPClustering(4, prior=np.full(4, .25), random_state=np.random.RandomState(0), **quick)
    c = clone(e.fit(X))
    assert not hasattr(c, 'labels_') and not hasattr(c, 'clusters_')
    np.testing.assert_array_equal(c.prior, e.prior)
    # a clone goes on with the state as it is when it is cloned
    assert c.fit(X).clusters_.config['seed']!=e.clusters_.config['seed']
    np.random.seed(1); a = SCPClustering(4, **quick).fit(X)
    np.random.seed(1); b = SCPClustering(4, **quick).fit(X)
    np.testing.assert_array_equal(a.predict_proba(X), b.predict_proba(X))
    assert SCPClustering(4, **quick).fit(X).clusters_.config['seed']!=a.clusters_.config['seed']

def test_frames(labels):
    e = clone(est).fit(frame)
    assert list(e.feature_names_in_)==list('abcdef') and e.n_features_in_==6
    assert e.clusters_.names==list(frame.index)
    np.testing.assert_array_equal(e.labels_, labels)
    with pytest.raises(ValueError, match='order'): e.predict(frame[list('bacdef')])
    with pytest.raises(ValueError, match='g'): e.predict(frame.rename(columns=dict(a='g')))
    with pytest.warns(UserWarning, match='feature names'): e.predict(X)
    assert not hasattr(e.fit(X), 'feature_names_in_')

def test_polars(labels):
    pl = pytest.importorskip('polars')
    f = pl.DataFrame(X, schema=list('abcdef'))
    e = clone(est).fit(f)
    assert list(e.feature_names_in_)==list('abcdef')
    np.testing.assert_array_equal(e.labels_, labels)
    with pytest.raises(ValueError, match='order'): e.predict(f.select(list('bacdef')))

@pytest.fixture(scope='module')
def pipe(): return make_pipeline(StandardScaler(), clone(est)).fit(frame)

@pytest.mark.parametrize('compress', [0, 3])
def test_joblib(tmp_path, pipe, compress):
    joblib.dump(pipe, tmp_path/'pipe.joblib', compress=compress)
    again = joblib.load(tmp_path/'pipe.joblib', mmap_mode=None if compress else 'r')
    np.testing.assert_array_equal(again.predict_proba(frame), pipe.predict_proba(frame))
    np.testing.assert_array_equal(again[-1].labels_, pipe[-1].labels_)
    if compress: np.testing.assert_array_equal(again.fit(frame)[-1].labels_, pipe[-1].labels_)

def test_results_of_another_process(tmp_path, fitted, warm):
    "What is fitted elsewhere, as joblib's workers do, comes back"
    joblib.dump(fitted, tmp_path/'e.joblib')
    code = f'import joblib; print(*joblib.load({str(tmp_path/"e.joblib")!r}).labels_)'
    out = subprocess.run([*warm, '-c', code], capture_output=True, text=True, check=True).stdout
    np.testing.assert_array_equal(np.array(out.split(), int), fitted.labels_)

wrong = X.copy(); wrong[3,2] = np.nan
words = X.astype(object); words[0,0] = 'cat'
@pytest.mark.parametrize('bad,said', [
    (X[:1], '1 sample'), (X[:0], '0 sample'), (X[:,:0], '0 feature'), (X[0], '1D array'), (X[None], 'dim 3'),
    (wrong, 'NaN'),
    (np.where(np.isnan(wrong), np.inf, wrong), 'infinity'), (X.astype(np.float64)*1e300, 'infinity'),
    (X.astype(complex), 'Complex'), (words, 'cat'),
    (np.ones((9,4)), 'All 9 rows'), (X[:3], 'n_clusters=4 is more than the 3 rows'), (None, '2D array'),
    ([[1,2],[3]], 'inhomogeneous'),
    *[(kind(X), 'dense.*TruncatedSVD') for kind in (sp.csr_matrix, sp.csc_array, sp.coo_matrix)]],
                         ids=lambda v: v if isinstance(v, str) else '')
def test_wrong_rows(bad, said):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)     # numpy on 1e300 as float32
        with pytest.raises((ValueError, TypeError), match=said): clone(est).fit(bad)

@pytest.mark.parametrize('setting',
                         [dict(n_clusters=v) for v in (0, -1, 2.5, 'ten', None, True, np.array([2,3]))] +
    [dict(prior='even'), dict(prior=[.5,.5]), dict(n_heads=0), dict(hidden=-3), dict(epochs=0),
     dict(batch_size=.5), dict(outliers=2),
     dict(min_confidence='x'), dict(random_state='x'), dict(random_state=-1), dict(random_state=.5)], ids=str)
def test_wrong_settings_are_told_by_fit_alone(setting):
    e = clone(est).set_params(**setting)
    name = 'Seed|seed' if 'random_state' in setting else next(iter(setting))
    with pytest.raises(ValueError, match=name): e.fit(X)
    assert not hasattr(e, 'labels_')

def test_predict(fitted):
    with pytest.raises(NotFittedError): est.predict(X)
    with pytest.raises(NotFittedError): est.predict_proba(X)
    e = fitted
    assert e.predict(X[:1]).shape==(1,) and e.predict(X).dtype==e.labels_.dtype==np.int64
    with pytest.raises(ValueError, match='5 features.*expecting 6'): e.predict(X[:,:5])
    with pytest.raises(ValueError, match='0 sample'): e.predict(X[:0])
    with pytest.raises(ValueError, match='dense'): e.predict(sp.csr_matrix(X))

def test_a_failed_fit_keeps_the_clusters_of_the_last():
    e = clone(est).fit(X)
    before = e.clusters_
    with pytest.raises(ValueError): e.fit(np.ones((9,6)))
    assert e.clusters_ is before

def test_rows_are_not_changed():
    before = X.copy()
    clone(est).fit(X).predict(X)
    np.testing.assert_array_equal(X, before)

def test_names_of_features():
    e = clone(est).fit(Features(X, names=list(frame.index), meta=dict(spec='mine')))
    assert e.clusters_.names==list(frame.index) and e.clusters_.config['backbone']=='mine'

def test_one_cluster_is_that_of_k_means():
    one = SCPClustering(1).fit(X)
    np.testing.assert_array_equal(one.labels_, KMeans(1).fit(X).labels_)
    np.testing.assert_array_equal(one.predict_proba(X+100), np.ones((80,1)))

@pytest.mark.parametrize('est', ['SCPClustering(n_heads=2, epochs=3)', pytest.param(
    'CPPClustering(warmup=5, steps=15)', marks=pytest.mark.slow)])
def test_every_check_of_scikit_learn(est):
    """With the default prior, and with the one check that is skipped unless a variable is set before SciPy
    is loaded"""
    code = f'''from sklearn.utils.estimator_checks import check_estimator
from functools import partial
from scp_nb import train
from scp_nb.cluster import candidates
from scp_nb.estimators import CPPClustering, SCPClustering
train.epochs_for = lambda *args: 10      # how good clusters are is not checked
candidates.embed_graph = partial(candidates.embed_graph, n_epochs=30)
checks = check_estimator({est}, on_skip=None, on_fail=None)
wrong = [c for c in checks if c["status"]!="passed"]
said = [f"{{c['check_name']}} {{c['status']}}: {{c['exception']!r}}" for c in wrong]
print(len(checks), *said, sep="; ")'''
    run = subprocess.run([sys.executable, '-c', code], env={**os.environ, 'SCIPY_ARRAY_API': '1'},
                         capture_output=True, text=True)
    assert run.returncode==0, run.stderr[-2000:]
    assert run.stdout.strip().isdigit() and int(run.stdout)>40, run.stdout

cpp = CPPClustering(4, warmup=3, steps=3, random_state=3)

def test_cpp_gives_the_clusters_and_the_embedding_of_fit_cpp():
    want,got = fit_cpp(X, 4, warmup=3, steps=3, seed=3),clone(cpp).fit(X)
    np.testing.assert_array_equal(got.predict_proba(X), want.probs)
    np.testing.assert_array_equal(got.embedding_, want.embedding)
    np.testing.assert_array_equal(got.transform(X[:9]), want.embed(X[:9]))

def test_cpp_as_a_step_before_another():
    "Its embedding feeds another clusterer, and its columns have names"
    pipe = make_pipeline(StandardScaler(), clone(cpp), KMeans(4, random_state=0)).fit(X)
    assert pipe.predict(X[:5]).shape==(5,)
    out = clone(cpp).set_output(transform='pandas').fit_transform(frame)
    assert out.columns[0]=='cppclustering0' and list(out.index)==list(frame.index)

@pytest.mark.parametrize('setting', [dict(n_clusters=0), dict(prior='even'), dict(z=3),
                                     dict(warmup=-1), dict(steps=0), dict(eta=0), dict(random_state='x')],
                         ids=str)
def test_cpp_tells_wrong_settings_in_fit_alone(setting):
    e = clone(cpp).set_params(**setting)
    with pytest.raises(ValueError, match='Seed|seed' if 'random_state' in setting else next(iter(setting))):
        e.fit(X)
    assert not hasattr(e, 'clusters_')

@pytest.mark.parametrize('make', [lambda k: SCPClustering(k, random_state=3, **quick),
                                  lambda k: CPPClustering(k, warmup=3, steps=3, random_state=3)],
    ids=['SCP', 'CPP'])
def test_auto_finds_the_number(make, tmp_path):
    "As many as `estimate_k` says, also from a frame, and the estimate goes to disk with the rest"
    e = make('auto').fit(frame)
    want = estimate_k(X, seed=3)
    assert (e.k_estimate_.k, e.k_estimate_.interval)==(want.k, want.interval) and want.k>1
    np.testing.assert_array_equal(e.labels_, make(want.k).fit(frame).labels_)
    joblib.dump(e, tmp_path/'e')
    assert repr(joblib.load(tmp_path/'e').k_estimate_)==repr(want)
    with pytest.raises(ValueError, match='19 rows.*too few'): make('auto').fit(X[:19])
    assert make(2).fit(X).k_estimate_ is None

def test_auto_where_nothing_speaks_for_clusters():
    with pytest.warns(UserWarning, match='more than one cluster; cut in 2 all the same. Give n_clusters'):
        e = SCPClustering('auto', random_state=0, **quick).fit(rng.normal(size=(300,20)))
    assert e.k_estimate_.k==1 and set(e.labels_)=={0,1}
