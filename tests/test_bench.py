"The benchmark: sets, uneven versions, and a run end to end with wrong and right input"
import json, sys
import numpy as np, pytest
from scp_nb.bench import quality as bench
from scp_nb.bench.sets import uneven
from scp_nb.bench.suites import scp_bench

def blobs(path, k=3, n=40):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(k), n)
    np.savez(path, features=(np.eye(k)[y]*4+rng.normal(size=(k*n,k))*.3).astype(np.float16), labels=y)
    return path

def test_uneven_keeps_rows_and_ratio(tmp_path):
    X,y = bench.load_set(str(blobs(tmp_path/'b.npz', 5, 100)))
    Z,t = uneven(X, y, 20)
    sizes = np.sort(np.bincount(t))
    assert sizes[-1]==100 and sizes[0]==5 and (np.diff(sizes)>0).all()
    assert len({tuple(z) for z in Z} & {tuple(x) for x in X})==len(Z)      # rows are taken, not changed
    for z,l in list(zip(Z,t))[:20]: assert l in y[(X==z).all(1)]
    assert (uneven(X, y, 20)[0]==Z).all()

def test_scp_solves_what_is_easy_beside_its_peers(tmp_path):
    runs = bench.run_quality([str(blobs(tmp_path/'b.npz'))], seeds=2,
                             only=['SCP (fit_head)', 'k-means', 'spectral, 10-NN', 'Ward'])
    assert (runs.ACC>.98).all() and set(runs.method)=={'SCP (fit_head)', 'k-means', 'spectral, 10-NN', 'Ward'}
    assert (runs.blind_ACC<.6).all() and (runs.noise==0).all()

def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blobs(tmp_path/'b.npz')
    scp_bench('quality', out='r', sets='b.npz,b.npz@4', seeds=2, only='k-means')
    found = json.loads((tmp_path/'r'/'quality.json').read_text())
    assert [r['set'] for r in found['runs']]==['b','b','b@4','b@4'] and 'torch' in found['versions']
    assert (tmp_path/'r'/'quality.md').read_text().count('\n')==4
    monkeypatch.setattr(sys, 'argv', ['scp_bench'])
    for kw,said in [(dict(what='beauty'), 'quality'), (dict(what='quality', sets='none.npz'), 'none.npz'),
                    (dict(what='quality', out='r'), 'r')]:
        with pytest.raises(SystemExit) as e: scp_bench(**kw)
        line = capsys.readouterr().err
        assert e.value.code==2 and said in line and line.count('\n')==1
    assert sorted(p.name for p in tmp_path.iterdir())==['b.npz', 'r']
