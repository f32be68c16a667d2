"Wrong input: one clear line, exit code 2, nothing half-written"
import functools, re, sys, warnings
import numpy as np, pytest, torch
from PIL import Image
from sklearn.datasets import load_digits
from scp_nb import cli
from scp_nb.data import digits
from scp_nb.features import Features, as_features, extract_features, load_backbone
from scp_nb.features import dominant_column, warn_dominant, warn_zero_rows, zero_rows
from scp_nb.cluster.neighbors import knn, unit_rows
from scp_nb.train import Clusters, fit_head

pytestmark = pytest.mark.usefixtures('short_search')
rng = np.random.default_rng(0)
X = rng.normal(size=(60,8)).astype(np.float32)

def folder(path, n):
    path.mkdir()
    for i in range(n): Image.fromarray(rng.integers(0, 256, (16,16,3), dtype=np.uint8)).save(path/f'{i}.png')
    return path

@pytest.fixture
def shell(monkeypatch, tmp_path, capsys):
    "Run a command as the shell would; give its exit code, its one line and what is left in the directory"
    monkeypatch.chdir(tmp_path)
    def go(f, *args, but=None, **kwargs):
        monkeypatch.setattr(sys, 'argv', [f.__name__])
        before = {str(p):p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
        with pytest.raises(SystemExit) as e: f(*args, **kwargs)
        after = {str(p):p.read_bytes() for p in tmp_path.rglob('*')
                 if p.is_file() and p.relative_to(tmp_path).parts[0]!=but}
        assert before==after, 'files were left or changed'
        lines = [l for l in capsys.readouterr().err.splitlines() if l.startswith(f.__name__+': ')]
        assert len(lines)==1
        return e.value.code,lines[0]
    return go

@pytest.mark.parametrize('k', ['0', '1', '-4', 'ten', '2.5', '', None])
def test_k_of_any_wrong_kind(shell, tmp_path, k):
    folder(tmp_path/'p', 5)
    code,said = shell(cli.scp_cluster, 'p', k=k, backbone='pixels')
    assert code==2 and '--k' in said and '2 or more' in said
    code,said = shell(cli.scp_demo, k=k)
    assert code==2 and '--k' in said

def test_folders(shell, tmp_path):
    (tmp_path/'empty').mkdir()
    (tmp_path/'texts').mkdir()
    (tmp_path/'texts'/'a.txt').write_text('x'); folder(tmp_path/'one', 1); folder(tmp_path/'five', 5)
    (tmp_path/'broken').mkdir()
    (tmp_path/'broken'/'a.jpg').write_bytes(b'\xff\xd8\xff'); (tmp_path/'broken'/'b.png').write_bytes(b'')
    for name,said in [('nowhere','nowhere'), ('empty','no image'), ('texts','no image'), ('one','1'),
                      ('five','5'), ('broken','broken')]:
        for f,kw in [(cli.scp_cluster,
                      dict(k='6' if name in ('one','five') else '2',
                           backbone='pixels'))] + ([(cli.scp_features, dict(backbone='pixels'))]
                                                   if name not in ('one','five') else []):
            code,line = shell(f, name, **kw)
            assert code==2 and said in line.lower(), (name, line)
    code,line = shell(cli.scp_cluster, 'five', k='auto', backbone='pixels')
    assert code==2 and '20 are the least' in line

def test_fewer_readable_images_than_clusters(shell, tmp_path):
    """Six files are listed but two of them cannot be read, which is found out late; nothing but the features
    stays behind, which the next command takes up"""
    p = folder(tmp_path/'p', 4)
    for i in range(2): (p/f'bad{i}.jpg').write_bytes(b'no')
    code,line = shell(cli.scp_cluster, 'p', k='6', backbone='pixels', but='p-features')
    assert code==2 and '4' in line
    cli.scp_cluster('p', k='4', backbone='pixels')
    assert sorted(p.name for p in tmp_path.iterdir())==['p', 'p-clusters', 'p-features']

def test_out_that_holds_something(shell, tmp_path):
    folder(tmp_path/'p', 5)
    (tmp_path/'full').mkdir()
    (tmp_path/'full'/'letter.txt').write_text('dear'); (tmp_path/'file').write_text('x')
    for out in ('full', 'file'):
        for f,kw in [(cli.scp_cluster, dict(folder='p', k='2', backbone='pixels')),
                     (cli.scp_features, dict(folder='p', backbone='pixels')), (cli.scp_demo, {})]:
            code,line = shell(f, out=out, **kw)
            assert code==2 and out in line

def test_force_leaves_other_files_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path/'p', 8); (tmp_path/'out').mkdir(); (tmp_path/'out'/'letter.txt').write_text('dear')
    cli.scp_cluster('p', k=2, out='out', backbone='pixels', force=True)
    assert (tmp_path/'out'/'letter.txt').read_text()=='dear' and (tmp_path/'out'/'report.html').exists()

def test_backbones(shell, tmp_path):
    folder(tmp_path/'p', 5)
    (tmp_path/'w.safetensors').write_bytes(b'junk')
    for kw,said in [(dict(backbone='timm:vit_smal_patch14_dinov2'), 'vit_small_patch14_dinov2'),
                    (dict(backbone='open_clip:ViT-B-32/laion'), 'laion2b_s34b_b79k'),
                    (dict(backbone='clip'), 'open_clip:'),
                    (dict(backbone='timm:mobilenetv1_100', checkpoint='nowhere.safetensors'),
                     'nowhere.safetensors'),
                    (dict(backbone='timm:mobilenetv1_100', checkpoint='w.safetensors'), 'w.safetensors'),
                    (dict(backbone='pixels', device='cuda:7'), 'cuda')]:
        code,line = shell(cli.scp_cluster, 'p', k='2', **kw)
        assert code==2 and said in line, line

@pytest.mark.parametrize('bad, said', [
    (X.reshape(-1), '[n, d]'), (X[None], '[n, d]'), (X[:0], 'row'),
    (np.where(np.arange(480).reshape(60,8)==77, np.nan, X), 'NaN'),
    (np.where(np.arange(480).reshape(60,8)==77, np.inf, X), 'infinity'), (X.astype(object), 'object'),
    ([['a','b']]*60, 'number'), (X[:1], 'One row')])
def test_features_of_a_wrong_kind(bad, said):
    with pytest.raises((ValueError, TypeError)) as e: fit_head(bad, 3)
    assert said in str(e.value) and '\n' not in str(e.value)

@pytest.mark.parametrize('k', [0, 1, -1, 2.5, '3', True, None, 61])
def test_n_clusters_of_a_wrong_kind(k):
    with pytest.raises(ValueError) as e: fit_head(X, k)
    assert 'n_clusters' in str(e.value)

def test_degenerate_features_work_or_say_why():
    """All rows equal, duplicates, zero rows, a constant column, k = n, d > n: labels of the right shape, or
    one clear line"""
    with pytest.raises(ValueError, match='same'): fit_head(np.ones((50,8)), 3)
    twice = np.repeat(X[:20], 3, axis=0)
    assert len(fit_head(twice, 4))==60
    zero = X.copy(); zero[:5] = 0
    assert np.isfinite(fit_head(zero, 3).probs).all()
    assert len(fit_head(np.c_[X, np.full(60, 1e6)], 3))==60
    assert fit_head(X[:6], 6).probs.shape==(6,6)
    assert fit_head(rng.normal(size=(12,300)), 3).probs.shape==(12,3)
    assert fit_head((X*1000).astype(np.int32), 3).probs.shape==(60,3)
    assert fit_head(torch.tensor(X).half(), 3).probs.shape==(60,3)

# ---- rows of zeros, a column that leads, scales that squares in float32 do not hold, other number types

# ten digits in three clusters could be cut in many ways
three = load_digits(n_class=3)
small = three.data[:200].astype(np.float32)              # 0 to 16
def quick(x): return fit_head(x, 3, n_heads=4, epochs=30)
@functools.cache
def fit_of(what):
    "What float32 rows give: `small` itself, or changed to suit a type of numbers"
    return quick(dict(bool=small>8, signed=small-8, unsigned=small, minus=-small,
                      int8=np.clip((small-8)*16, -128, 127))[what].astype(np.float32))
def same(got, want):
    np.testing.assert_array_equal(got.labels, want.labels)
    np.testing.assert_array_equal(got.probs, want.probs)

def said(f, *args, **kwargs):
    "What `f` gives, and its warnings, each of one line, from this file"
    def fit(): return f(*args, **kwargs)        # as `fit_head` would: the warning is to name the line below
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        given = fit()
    lines = [str(w.message) for w in seen]
    assert all((w.category, w.filename)==(UserWarning, __file__) for w in seen) and '\n' not in ''.join(lines)
    return given,lines

def test_rows_of_zeros_are_told(tmp_path):
    "However the features come; nothing is said of rows that are nearly zeros"
    x = np.ones((2062,70), np.float32); x[:,0] = x[:,-1] = 0; x[[17,240,991]] = 0; x[5] = 0; x[5,33] = 1e-30
    want = [17, 240, 991]
    np.save(tmp_path/'x.npy', x)
    Features.from_array(x).save(tmp_path/'f')
    mapped = np.load(tmp_path/'x.npy', mmap_mode='r')
    for y in (x, np.float64(x), torch.tensor(x), as_features(x), mapped, tmp_path/'x.npy', tmp_path/'f'):
        rows = zero_rows(y)
        assert rows.dtype==np.int64 and rows.tolist()==want
    assert zero_rows(x.astype(np.float16)).tolist()==[5, *want], 'float16 knows no 1e-30'
    rows,lines = said(warn_zero_rows, x)
    assert rows.tolist()==want and len(lines)==1
    assert lines[0].startswith('3 of 2,062 rows of features are all zeros (rows 17, 240, 991): ')
    assert all(p in lines[0] for p in ('failed upstream', 'nearest', 'drop them'))
    named = Features(x[:241], [f'{i}.jpg' for i in range(241)])
    line = said(warn_zero_rows, named, fate='They become outliers')[1][0]
    assert '(rows 17 "17.jpg", 240 "240.jpg")' in line
    assert 'They become outliers; drop' in line and 'nearest' not in line
    rows,lines = said(warn_zero_rows, x[:17])
    assert rows.tolist()==[] and rows.dtype==np.int64 and not lines

def test_a_column_that_leads_is_told(tmp_path):
    "An id left in, of any number type and in a memory map; not what real features look like"
    ids = np.c_[rng.normal(size=(400,30)), np.arange(400)]
    np.save(tmp_path/'x.npy', ids)
    mapped = np.load(tmp_path/'x.npy', mmap_mode='r')
    for x in (ids, ids.astype(np.float16), torch.tensor(ids), as_features(ids), mapped, np.int64(ids*100)):
        assert dominant_column(x)==30
        c,lines = said(warn_dominant, x)
        assert c==30 and len(lines)==1
        assert re.match(r'Column 30 .* holds 99\.\d % .*np.delete\(X, 30, axis=1\)', lines[0])
    blobs = rng.normal(size=(400,30))+20*np.eye(30)[np.arange(400)%2]
    clip = unit_rows(torch.tensor(rng.normal(size=(400,512))+30*np.eye(512)[133])).numpy()   # 133 is large
    pixels = extract_features(digits(), 'pixels', progress=False)
    few,one,all_same = ids[:,24:],ids[:,30:],np.ones((99,9))
    for x in (small, small-small.mean(0), blobs, clip, pixels, few, one, np.eye(300), all_same):
        assert said(warn_dominant, x)==(None, []) and dominant_column(x) is None

@pytest.mark.parametrize('scale', [-1e30, 3e38/16, 1e-37])
def test_scales_whose_squares_float32_does_not_hold(scale, tmp_path):
    x = small*np.float32(scale)
    assert abs(unit_rows(torch.tensor(x)).norm(dim=1)-1).max()>.5, 'without help the rows are lost'
    f = as_features(x)
    want = np.sign(scale)*unit_rows(torch.tensor(small))
    np.testing.assert_allclose(unit_rows(torch.from_numpy(f.numpy())), want, atol=1e-6)
    assert (knn(x, 5).similarity-knn(small, 5).similarity).abs().max()<1e-5
    got,want = quick(x),fit_of('unsigned' if scale>0 else 'minus')
    assert np.isfinite(got.probs).all() and (got.labels==want.labels).mean()>.95
    np.save(tmp_path/'x.npy', x)
    same(quick(np.load(tmp_path/'x.npy', mmap_mode='r')), got)
    assert (got.predict(x[:50])==got.labels[:50]).all()

def test_float64_below_float32():
    x = small.astype(np.float64)
    # each row on its own power of two
    want = np.ldexp(x, -np.frexp(x.max(1))[1][:,None])
    np.testing.assert_array_equal(as_features(x*2.**-600).X, want)

def test_an_ordinary_scale_is_not_touched(tmp_path):
    np.save(tmp_path/'x.npy', small)
    mapped = np.load(tmp_path/'x.npy', mmap_mode='r')
    for x in (small, small.astype(np.float16), small*1e10, mapped): assert as_features(x).X is x
    f = Features(small*np.float32(1e30))
    assert as_features(f) is not f and f.X.max()>1e30, 'what was given stays'

def test_halves_whose_squares_overflow():
    x = (small*3750).astype(np.float16)         # up to 60,000
    assert x.max()==60000>np.finfo(np.float16).max**.5
    want = quick(x.astype(np.float32))
    same(quick(x), want); same(quick(torch.tensor(x)), want)
    np.testing.assert_array_equal(as_features(Features(x)).numpy(), as_features(x).numpy())
    assert torch.equal(knn(x, 5).similarity, knn(x.astype(np.float32), 5).similarity)
    np.testing.assert_array_equal(want.predict_proba(x), want.predict_proba(x.astype(np.float32)))

@pytest.mark.parametrize('kind', ['bool', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'int64', 'float16',
                                  'float64', 'bfloat16'])
def test_every_type_of_number_gives_the_same(kind):
    x = small>8 if kind=='bool' else small-8 if kind[0]!='u' else small       # -8 to 8, exact in all of them
    if kind=='int8': x = np.clip(x*16, -128, 127)                            # -128 has no opposite in int8
    want = fit_of(kind if kind in ('bool', 'int8') else 'unsigned' if kind[0]=='u' else 'signed')
    t = torch.tensor(x).to(getattr(torch, kind))
    np.testing.assert_array_equal(as_features(t).numpy(), x.astype(np.float32))
    if kind=='bfloat16': return same(quick(t), want)
    same(quick(x.astype(kind)), want)

@pytest.mark.parametrize('bad, parts', [
    (X+1j, ['complex', 'X.real, X.imag']), (torch.tensor(X+1j), ['complex', 'X.real, X.imag']),
    (X.astype(object), ['object', '.astype("float32")']), (X.astype(str), ['<U', '.astype("float32")']),
    (X.astype('S9'), ['S9', '.astype("float32")']), (X.astype('M8[s]'), ['datetime64', 'dates']),
    (X.astype('m8[s]'), ['timedelta64', 'times']), (torch.tensor(X).to_sparse(), ['float32', 'to_dense'])])
def test_types_that_are_no_numbers(bad, parts):
    for f in (as_features, zero_rows, lambda x: fit_head(x, 3)):
        with pytest.raises(ValueError) as e: f(bad)
        line = str(e.value)
        assert line.startswith('features must be') and '\n' not in line and all(p in line for p in parts)

def test_saved_clusters(tmp_path):
    c = fit_head(X, 3)
    c.save(tmp_path/'c')
    with pytest.raises(FileExistsError, match='force'): c.save(tmp_path/'c')
    (tmp_path/'f').write_text('x')
    with pytest.raises(FileExistsError, match='is a file'): c.save(tmp_path/'f', force=True)
    with pytest.raises(FileNotFoundError, match='config.json'): Clusters.load(tmp_path)
    with pytest.raises(ValueError, match='width 8'): c.predict(X[:,:5])

def test_interrupted_extraction_goes_on(tmp_path, monkeypatch):
    """Ctrl-C in the middle: no temporary neighbour, nothing that looks finished, and the same call goes on
    with what is missing"""
    backbone,calls = load_backbone('pixels?size=8'),[]
    backbone.fit(digits())
    encode = type(backbone).encode
    def stop(self, batch):
        calls.append(len(batch))
        if len(calls)==5: raise KeyboardInterrupt
        return encode(self, batch)
    monkeypatch.setattr(type(backbone), 'encode', stop)
    with pytest.raises(KeyboardInterrupt):
        extract_features(digits(), backbone, out=tmp_path/'f', progress=False)
    assert [p.relative_to(tmp_path).as_posix()
            for p in sorted(tmp_path.rglob('*'))][:2]==['f', 'f/unfinished']
    extract_features(digits(), backbone, out=tmp_path/'f', progress=False)
    assert sum(c for c in calls if c>1)==1797+64, "one batch twice; single images are trials of the network"

def test_the_same_name_with_other_weights():
    "`pixels` learns its projection from the images, so two sets have two spaces of one name and one width"
    made,other = (extract_features(digits()[r], 'pixels?size=4', progress=False)
                  for r in (slice(0, 300), slice(900, 1200)))
    assert made.shape[1]==other.shape[1]
    clusters = quick(made)
    for f in (clusters.predict, clusters.update):
        with pytest.raises(ValueError, match='other weights or another projection'): f(other)
    fine = extract_features(digits()[900:1200], made.backbone(), progress=False)
    assert len(clusters.predict(fine))==300 and len(clusters.update(fine).labels)==600
