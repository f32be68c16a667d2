"Wrong input: one clear line, exit code 2, nothing half-written"
import sys
from pathlib import Path
import numpy as np, pytest, torch
from PIL import Image
from scp_nb import cli
from scp_nb.data import digits
from scp_nb.features import Features, extract_features, load_backbone
from scp_nb.train import Clusters, fit_head

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
    def go(f, *args, **kwargs):
        monkeypatch.setattr(sys, 'argv', [f.__name__])
        before = {str(p):p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
        with pytest.raises(SystemExit) as e: f(*args, **kwargs)
        assert before=={str(p):p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}, 'files were left or changed'
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
    (tmp_path/'empty').mkdir(); (tmp_path/'texts').mkdir(); (tmp_path/'texts'/'a.txt').write_text('x'); folder(tmp_path/'one', 1); folder(tmp_path/'five', 5)
    (tmp_path/'broken').mkdir(); (tmp_path/'broken'/'a.jpg').write_bytes(b'\xff\xd8\xff'); (tmp_path/'broken'/'b.png').write_bytes(b'')
    for name,said in [('nowhere','nowhere'), ('empty','no image'), ('texts','no image'), ('one','1'), ('five','5'), ('broken','broken')]:
        for f,kw in [(cli.scp_cluster, dict(k='6' if name in ('one','five') else '2', backbone='pixels'))] + ([(cli.scp_features, dict(backbone='pixels'))] if name not in ('one','five') else []):
            code,line = shell(f, name, **kw)
            assert code==2 and said in line.lower(), (name, line)

def test_fewer_readable_images_than_clusters(shell, tmp_path):
    "Six files are listed but two of them cannot be read, which is found out late; still nothing may stay behind"
    p = folder(tmp_path/'p', 4)
    for i in range(2): (p/f'bad{i}.jpg').write_bytes(b'no')
    code,line = shell(cli.scp_cluster, 'p', k='6', backbone='pixels')
    assert code==2 and '4' in line

def test_out_that_holds_something(shell, tmp_path):
    folder(tmp_path/'p', 5); (tmp_path/'full').mkdir(); (tmp_path/'full'/'letter.txt').write_text('dear'); (tmp_path/'file').write_text('x')
    for out in ('full', 'file'):
        for f,kw in [(cli.scp_cluster, dict(folder='p', k='2', backbone='pixels')), (cli.scp_features, dict(folder='p', backbone='pixels')), (cli.scp_demo, {})]:
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
    for kw,said in [(dict(backbone='timm:vit_smal_patch14_dinov2'), 'vit_small_patch14_dinov2'), (dict(backbone='open_clip:ViT-B-32/laion'), 'laion2b_s34b_b79k'),
                    (dict(backbone='clip'), 'open_clip:'), (dict(backbone='timm:mobilenetv1_100', checkpoint='nowhere.safetensors'), 'nowhere.safetensors'),
                    (dict(backbone='timm:mobilenetv1_100', checkpoint='w.safetensors'), 'w.safetensors'), (dict(backbone='pixels', device='cuda:7'), 'cuda')]:
        code,line = shell(cli.scp_cluster, 'p', k='2', **kw)
        assert code==2 and said in line, line

@pytest.mark.parametrize('bad, said', [
    (X.reshape(-1), '[n, d]'), (X[None], '[n, d]'), (X[:0], 'row'), (np.where(np.arange(480).reshape(60,8)==77, np.nan, X), 'NaN'),
    (np.where(np.arange(480).reshape(60,8)==77, np.inf, X), 'infinity'), (X.astype(object), 'object'), ([['a','b']]*60, 'number'), (X[:1], 'One row')])
def test_features_of_a_wrong_kind(bad, said):
    with pytest.raises((ValueError, TypeError)) as e: fit_head(bad, 3)
    assert said in str(e.value) and '\n' not in str(e.value)

@pytest.mark.parametrize('k', [0, 1, -1, 2.5, '3', True, None, 61])
def test_n_clusters_of_a_wrong_kind(k):
    with pytest.raises(ValueError) as e: fit_head(X, k)
    assert 'n_clusters' in str(e.value)

def test_degenerate_features_work_or_say_why():
    "All rows equal, duplicates, zero rows, a constant column, k = n, d > n: labels of the right shape, or one clear line"
    with pytest.raises(ValueError, match='same'): fit_head(np.ones((50,8)), 3)
    twice = np.repeat(X[:20], 3, axis=0)
    assert len(fit_head(twice, 4))==60
    zero = X.copy(); zero[:5] = 0
    assert np.isfinite(fit_head(zero, 3).probs).all()
    assert len(fit_head(np.c_[X, np.full(60, 1e6)], 3))==60
    assert fit_head(X[:6], 6).probs.shape==(6,6)
    assert fit_head(rng.normal(size=(12,300)), 3).probs.shape==(12,3)
    assert fit_head((X*1000).astype(np.int32), 3).probs.shape==(60,3) and fit_head(torch.tensor(X).half(), 3).probs.shape==(60,3)

def test_saved_clusters(tmp_path):
    c = fit_head(X, 3)
    c.save(tmp_path/'c')
    with pytest.raises(FileExistsError, match='force'): c.save(tmp_path/'c')
    (tmp_path/'f').write_text('x')
    with pytest.raises(FileExistsError, match='is a file'): c.save(tmp_path/'f', force=True)
    with pytest.raises(FileNotFoundError, match='config.json'): Clusters.load(tmp_path)
    with pytest.raises(ValueError, match='width 8'): c.predict(X[:,:5])

def test_interrupted_extraction_goes_on(tmp_path, monkeypatch):
    "Ctrl-C in the middle: no temporary neighbour, nothing that looks finished, and the same call goes on with what is missing"
    backbone,calls = load_backbone('pixels?size=8'),[]
    backbone.fit(digits())
    encode = type(backbone).encode
    def stop(self, batch):
        calls.append(len(batch))
        if len(calls)==5: raise KeyboardInterrupt
        return encode(self, batch)
    monkeypatch.setattr(type(backbone), 'encode', stop)
    with pytest.raises(KeyboardInterrupt): extract_features(digits(), backbone, out=tmp_path/'f', progress=False)
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob('*'))][:2]==['f', 'f/unfinished']
    extract_features(digits(), backbone, out=tmp_path/'f', progress=False)
    assert sum(c for c in calls if c>1)==1797+64, "one batch twice; single images are trials of the network"
