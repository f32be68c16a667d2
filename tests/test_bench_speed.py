"""The speed benchmark: rows like CLIP's, parts asked for by name, and tiny runs end to end; no time is
asserted"""
import json
import numpy as np, pytest
from scp_nb.bench import speed as speed

def test_rows_like_clips():
    X,y = speed.clip_like(400, 5, 64)
    assert X.shape==(400, 64) and X.dtype==np.float32 and y.shape==(400,) and set(y)==set(range(5))
    assert np.allclose(np.linalg.norm(X, axis=1), 1, atol=1e-5)
    off = X@X.T-np.eye(400)
    assert .3<off.mean()<.7                                       # all point to the same side
    values = np.linalg.eigvalsh(np.cov(X.T))[::-1]
    # few directions matter, not one
    assert values[:16].sum()>.6*values.sum() and values[0]<.4*values.sum()
    same = y[:,None]==y[None]
    assert off[same & ~np.eye(400, dtype=bool)].mean()>off[~same].mean()+.05

def test_the_seed_decides():
    for a,b in zip(speed.clip_like(60, 3, 16, 4), speed.clip_like(60, 3, 16, 4)): assert (a==b).all()
    assert (speed.clip_like(60, 3, 16, 4)[0]!=speed.clip_like(60, 3, 16, 5)[0]).any()

@pytest.fixture
def measured(monkeypatch):
    "Names of the parts that ran, each of them with two rows in place of a measurement"
    ran = []
    def fake(name):
        def measure(*args, **kw):
            for i in range(2):
                ran.append(name)
                yield dict(what=f'{name} {i}', seconds=float(i))
        return measure
    for name in ('training_speed', 'neighbor_speed', 'gpu_speed', 'beside_busy', 'large_speed', 'beside_umap',
                 'many_clusters'):
        monkeypatch.setattr(speed, name, fake(name))
    return ran

def read(out): return json.loads((out/'speed.json').read_text(encoding='utf-8'))

def test_all_parts_or_those_named(tmp_path, measured):
    found = speed.bench_speed(tmp_path, say=lambda line: None)
    assert list(found)==['training', 'neighbors', 'gpu', 'busy', 'large', 'umap', 'many']
    assert len(measured)==14
    before = read(tmp_path)
    assert {p:rows for p,rows in before.items() if p!='versions'}==found
    assert set(before['versions'])==set(found)
    measured.clear()
    speed.bench_speed(tmp_path, say=lambda line: None, only=['many', 'busy'])
    assert measured==['many_clusters']*2+['beside_busy']*2        # the others are kept as they were
    assert read(tmp_path)==before
    with pytest.raises(ValueError, match='no part "fit".*training; neighbors; gpu; busy; large; umap; many'):
        speed.bench_speed(tmp_path, only=['fit'])

def test_each_row_is_written_at_once(tmp_path, measured):
    seen = []
    def say(line):
        seen.append(len(read(tmp_path).get('umap', [])) if (tmp_path/'speed.json').is_file() else 0)
    speed.bench_speed(tmp_path, say=say, only=['umap'])
    # the first is there before the second is measured
    assert seen==[0, 1] and len(read(tmp_path)['umap'])==2

@pytest.mark.slow
def test_tiny_run_beside_umap(tmp_path, monkeypatch):
    "Nearly all of its time UMAP compiles itself, in a process of its own"
    pytest.importorskip('umap')
    umap = speed.beside_umap
    monkeypatch.setattr(speed, 'beside_umap', lambda sizes, **kw: umap(sizes, (1,), 16))
    speed.bench_speed(tmp_path, say=lambda line: None, beside=((300, 3),), only=['umap'])
    u, = read(tmp_path)['umap']
    assert set(u)=={'what', 'n', 'k', 'threads', 'ratio', 'fit_head', 'umap_kmeans'}
    assert (u['n'], u['k'], u['threads'])==(300, 3, 1)
    assert u['ratio']==pytest.approx(u['fit_head']/u['umap_kmeans'])
    assert '300 × 16, k = 3, 1 thread' in (tmp_path/'speed.md').read_text(encoding='utf-8')

def test_tiny_run_beside_a_busy_process(tmp_path, monkeypatch):
    busy = speed.beside_busy
    monkeypatch.setattr(speed, 'beside_busy', lambda calls: busy(calls, 1, 16, 1))
    speed.bench_speed(tmp_path, say=lambda line: None, busy=(('fit_head', 300, 3),), only=['busy'])
    b, = read(tmp_path)['busy']
    assert set(b)=={'what', 'n', 'k', 'times', 'quiet', 'beside'}
    assert b['times']==pytest.approx(b['beside']/b['quiet'])
    assert 'fit_head, 300 × 16, k = 3' in (tmp_path/'speed.md').read_text(encoding='utf-8')
