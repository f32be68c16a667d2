"""Fits that are killed, shared, larger than memory or given odd input: they end as a plain fit does, or say
why not"""
import errno, os, signal, subprocess, textwrap
import numpy as np, pandas as pd, pytest, scipy.sparse as sp, torch
from scp_nb.extract.parallel import blocks, take_rows
from sklearn.datasets import load_digits
from scp_nb.cluster import loop
from scp_nb.train import Callback, fit_head

QUICK = dict(n_heads=4, epochs=6)

@pytest.fixture(scope='module')
def X(): return load_digits().data[:400].astype(np.float32)

@pytest.fixture(scope='module')
def plain(X): return fit_head(X, 5, **QUICK)

def run(warm, program, where, n=1, **values):
    "Start a program in `n` processes as torchrun does"
    file = where/'program.py'
    file.write_text(textwrap.dedent(program).format(**values))
    # sums of as many threads as here are equal to the bit
    threads = 1 if n>1 else torch.get_num_threads()
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), SCP_TIMEOUT_MINUTES='1')
    if n>1: env |= dict(WORLD_SIZE=str(n), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(27000+os.getpid()%2000))
    return [subprocess.Popen([*warm, str(file)], env=dict(env, RANK=str(r)), stderr=subprocess.PIPE,
                             text=True) for r in range(n)]

KILLED = '''
import os, signal, numpy as np
from scp_nb.train import Callback, fit_head
class Kill(Callback):
    def on_epoch_end(self, run):
        if run.stage=={stage!r} and run.epoch>={epoch}: os.kill(os.getpid(), signal.SIGKILL)
fit_head(np.load({data!r}), 5, n_heads=4, epochs=6, resume={folder!r}, callbacks=[Kill()])
'''

@pytest.mark.parametrize('stage,epoch', [('search', 20), ('teach', 3)])
def test_goes_on_after_kill(X, plain, tmp_path, stage, epoch, warm):
    np.save(tmp_path/'X.npy', X)
    teach = 1+plain.config['epochs']-6                # the first epoch of the second round
    p, = run(warm, KILLED, tmp_path, stage=stage, epoch=epoch if stage=='search' else teach+2,
             data=str(tmp_path/'X.npy'), folder=str(tmp_path/'fit'))
    p.communicate(timeout=200)
    assert p.returncode==-signal.SIGKILL
    epochs = []
    class Note(Callback):
        def on_epoch_end(self, run): epochs.append((run.stage, run.epoch))
    again = fit_head(X, 5, resume=tmp_path/'fit', callbacks=[Note()], **QUICK)
    np.testing.assert_array_equal(again.probs, plain.probs)
    # goes on with the epoch that was lost, not from the start
    assert epochs[0]==(stage, epoch if stage=='search' else teach+2)
    epochs.clear()
    finished = fit_head(X, 5, resume=tmp_path/'fit', callbacks=[Note()], **QUICK)
    np.testing.assert_array_equal(finished.probs, plain.probs)
    assert not epochs

def test_resume_refuses_another_fit(X, tmp_path):
    fit_head(X, 5, resume=tmp_path/'fit', **QUICK)
    with pytest.raises(ValueError, match='another fit: seed was 0, now it is 1'):
        fit_head(X, 5, resume=tmp_path/'fit', seed=1, **QUICK)
    with pytest.raises(ValueError, match='features was'): fit_head(X+1, 5, resume=tmp_path/'fit', **QUICK)

SHARED = '''
import numpy as np
from scp_nb.extract.parallel import ranks
from scp_nb.train import fit_head
c = fit_head(np.load({data!r}), 5, n_heads=5, epochs=6, **{settings})
np.save({out!r}+str(ranks()[0]), c.probs)
'''

def fit_twice_over(warm, X, where, **settings):
    "Probabilities that two processes find"
    np.save(where/'X.npy', X)
    for p in run(warm, SHARED, where, 2, data=str(where/'X.npy'), out=str(where/'p'), settings=settings):
        _,err = p.communicate(timeout=300)
        assert p.returncode==0, err
    a,b = np.load(where/'p0.npy'),np.load(where/'p1.npy')
    np.testing.assert_array_equal(a, b)
    return a

def agree(one, found):
    assert (one.labels==found.argmax(1)).mean()>=.995
    assert np.abs(one.probs-found).max()<.02

def test_two_processes_that_sample_find_what_one_finds(X, tmp_path, warm):
    agree(fit_head(X, 5, n_heads=5, epochs=6, sample=250), fit_twice_over(warm, X, tmp_path, sample=250))

def test_two_processes_find_what_one_finds_and_go_on_together(X, tmp_path, warm):
    "Also where they kept different things"
    first = fit_twice_over(warm, X, tmp_path, resume=str(tmp_path/'fit'))
    agree(fit_head(X, 5, n_heads=5, epochs=6), first)
    # killed a moment before it wrote
    for name in ('target', 'teach6'): (tmp_path/'fit'/f'{name}-1of2.safetensors').unlink()
    again = fit_twice_over(warm, X, tmp_path, resume=str(tmp_path/'fit'))
    np.testing.assert_allclose(again, first, atol=1e-4)

DIES = '''
import os, numpy as np
from scp_nb.extract.parallel import ranks
from scp_nb.train import Callback, fit_head
import scp_nb.cluster.loop as loop
if ranks()[0]==1:
    def die(*a, **k): os._exit(9)
    loop._end_epoch = die
fit_head(np.load({data!r}), 5, n_heads=5, epochs=6)
'''

def test_a_process_that_dies_stops_the_others_with_the_cause(X, tmp_path, warm):
    np.save(tmp_path/'X.npy', X)
    first,second = run(warm, DIES, tmp_path, 2, data=str(tmp_path/'X.npy'))
    _,err = first.communicate(timeout=200)
    second.communicate(timeout=200)
    assert second.returncode==9 and first.returncode==1 and 'another process of this torchrun stopped' in err

def test_memory_map(X, plain, tmp_path):
    np.save(tmp_path/'X.npy', X)
    m = np.load(tmp_path/'X.npy', mmap_mode='r')
    np.testing.assert_array_equal(fit_head(m, 5, **QUICK).probs, plain.probs)
    half = fit_head(m, 5, sample=300, **QUICK)
    assert half.config['searched']==300 and len(half)==400 and (half.confidence>0).all()
    np.testing.assert_array_equal(half.probs, fit_head(X, 5, sample=300, **QUICK).probs)
    bad = X.copy(); bad[333,3] = np.nan
    np.save(tmp_path/'bad.npy', bad)
    with pytest.raises(ValueError, match='row 333'):
        fit_head(np.load(tmp_path/'bad.npy', mmap_mode='r'), 5, sample=300, **QUICK)

@pytest.mark.parametrize('change', ['cut', 'grow', 'remove'])
def test_memory_map_that_changes(X, tmp_path, change):
    file = tmp_path/'X.npy'
    np.save(file, X)
    class Change(Callback):
        def on_fit_end(self, run):
            if change=='cut': os.truncate(file, file.stat().st_size//2)
            elif change=='grow': file.write_bytes(file.read_bytes()+b'more')
            else: file.unlink()
    with pytest.raises(OSError, match='was changed, cut or removed'):
        fit_head(np.load(file, mmap_mode='r'), 5, sample=300, callbacks=[Change()], **QUICK)

def test_ctrl_c_keeps_the_model_so_far(X, caplog):
    class Press(Callback):
        def on_epoch_end(self, run):
            seen.append(run.stage)
            if run.stage=='teach' and seen.count('teach')==2: signal.raise_signal(signal.SIGINT)
    seen = []
    c = fit_head(X, 5, n_heads=4, epochs=30, callbacks=[Press()])
    assert seen.count('teach')==3 and len(c)==400 and 'Ctrl-C' in caplog.text

def test_a_second_ctrl_c_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    with loop.note_ctrl_c() as note: signal.raise_signal(signal.SIGINT)
    assert note.asked
    def twice():
        with loop.note_ctrl_c():
            for _ in range(2): signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt): twice()
    assert signal.getsignal(signal.SIGINT) is before

def test_disk_full_is_told_once_and_the_fit_ends(X, plain, tmp_path, monkeypatch, caplog):
    def full(*a, **k): raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(loop, 'save_file', full)
    np.testing.assert_array_equal(fit_head(X, 5, resume=tmp_path/'fit', **QUICK).probs, plain.probs)
    assert caplog.text.count('No space left') == 1

def test_folder_that_cannot_be_made(X, tmp_path):
    (tmp_path/'file').write_text('')
    with pytest.raises(OSError): fit_head(X, 5, resume=tmp_path/'file'/'fit', **QUICK)
    (tmp_path/'photos').mkdir(); (tmp_path/'photos'/'a.jpg').write_text('')
    with pytest.raises(FileExistsError, match='holds other files'):
        fit_head(X, 5, resume=tmp_path/'photos', **QUICK)

def test_kinds_of_features(X, plain):
    "Types of numbers: tests/test_bad_input.py"
    same = [np.asfortranarray(X), np.repeat(X, 2, 1)[:,::2], torch.from_numpy(X),
            pd.DataFrame(X.astype(np.int64))]
    for other in same: np.testing.assert_array_equal(fit_head(other, 5, **QUICK).probs, plain.probs)

def test_polars(X, plain):
    polars = pytest.importorskip('polars', reason='polars is not installed')
    np.testing.assert_array_equal(fit_head(polars.DataFrame(X), 5, **QUICK).probs, plain.probs)

def test_what_is_refused(X):
    with pytest.raises(ValueError, match='dense'): fit_head(sp.csr_matrix(X), 5)
    with pytest.raises(ValueError, match='device|cuda'):
        fit_head(X, 5, device='cuda:77' if torch.cuda.is_available() else 'cuda')
    with pytest.raises(ValueError): fit_head(X, 5, device='abacus')
    with pytest.raises(ValueError, match='sample'): fit_head(X, 5, sample=0)

@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_gpu_finds_what_the_cpu_finds(X, plain):
    found = fit_head(X, 5, device='cuda', **QUICK)
    assert (found.labels==plain.labels).mean()>.97

def test_blocks_keep_what_was_changed_in_memory(X, tmp_path):
    "A map opened with mode c holds changes that no file has; giving its pages back would lose them"
    np.save(tmp_path/'X.npy', np.zeros((30000, 8), np.float32))
    m = np.load(tmp_path/'X.npy', mmap_mode='c')
    m[::3] = 1
    for _ in range(2):
        assert np.array_equal(np.concatenate([b for _,b in blocks(m, 4096)])[:,0], np.arange(30000)%3==0)
    assert (take_rows(m, np.array([3, 4, 29997]))[:,0]==[1,0,1]).all()
