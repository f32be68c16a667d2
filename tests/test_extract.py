"""Extraction that may be killed, repeated, shared out and refused: the bytes on disk are those of one quiet
run"""
import errno, json, os, re, shutil, subprocess, sys
from pathlib import Path
import numpy as np, pytest, torch
from torch import nn
from scp_nb import data
from scp_nb.extract import store
from scp_nb.data import ImageFiles, as_images, photo_patches
from scp_nb.features import Features, extract_features, load_backbone

# timing.json is the one file that tells how long it took
same = ('features.npy', 'index.jsonl', 'meta.json', 'skipped.csv')

def done_in(work):
    "Images that the parts of an unfinished run tell of, and rows that are in them"
    told = [json.loads(p.read_bytes().partition(b'\n')[0])['images'] for p in work.glob('*.part')]
    return sum(map(len, told)), sum(why is None for part in told for _,_,_,why,*_ in part)

def contents(d): return {n: (d/n).read_bytes() for n in same}
def tree(d): return sorted(p.relative_to(d).as_posix() for p in d.rglob('*'))
def to_tensor(im): return torch.tensor(np.asarray(im.resize((8,8)))/255, dtype=torch.float32).permute(2,0,1)

class Tiny(nn.Module):
    "A small network with weights that never change, which counts what it is shown"
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net,self.seen = nn.Sequential(nn.Conv2d(3,16,3), nn.ReLU(), nn.Flatten(), nn.Linear(16*36,24)),0
    def forward(self, x): self.seen += len(x); return self.net(x)

def tiny(): return load_backbone(Tiny(), transform=to_tensor, device='cpu')
def seen(b): n,b.model.seen = b.model.seen,0; return n
def extract(images, b, out, **kw):
    return extract_features(images, b, out=out, progress=False, **{'batch_size': 4, **kw})

def fill(path, n=60, size=40):
    "A folder with distinct photos, copies of some, and some that are no images"
    path.mkdir()
    patches = photo_patches(size=48, stride=32)
    for i in range(n):
        name = path/f'{i:03d}.png'
        if i%17==5: name.write_bytes(b'no image')
        elif i%13==9: name.write_bytes((path/f'{i-7:03d}.png').read_bytes())
        else: patches[i].resize((size,size)).save(name)
    return path

@pytest.fixture
def photos(tmp_path): return fill(tmp_path/'photos')

# ---- killed

program = '''
import os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_extract import Tiny, to_tensor, contents, done_in, extract
from scp_nb.features import load_backbone
import torch
torch.set_num_threads(1)
folder,out = Path(sys.argv[2]),Path(sys.argv[3])
rng,kills,went = random.Random(int(sys.argv[4])),0,[]
def slow(im): time.sleep(.005); return to_tensor(im)
def rows(): return done_in(out/'unfinished')[0]
# the parts go as their rows are moved
def complete(): return any((p/'meta.json').exists() for p in (out, out/'unfinished'))
def child():
    pid = os.fork()
    if pid: return pid
    try:
        b = load_backbone(Tiny(), transform=slow, device='cpu'); b.model.seen = 0
        extract(folder, b, out)
        print('computed', b.model.seen, flush=True)
    finally: os._exit(0)
while kills<40:
    had,pid = rows(),child()
    time.sleep(rng.uniform(0, .15))
    os.kill(pid, signal.SIGKILL)
    ended = os.WIFEXITED(os.waitpid(pid, 0)[1])
    if ended and (out/'meta.json').exists(): break
    kills += 1; went.append(rows()-had)
    assert complete() or rows()>=had, 'work was lost'
os.waitpid(child(), 0)
print('kills', kills, 'images in between', went)
'''

@pytest.mark.parametrize('seed', [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_killed_again_and_again(tmp_path, photos, seed, warm):
    """kill -9 at random moments, some of them in the first and last steps; then the bytes are those of a run
    that nobody disturbed"""
    def run(text, out):
        r = subprocess.run([*warm, '-c', text, Path(__file__).parent, photos, tmp_path/out,
                            str(seed)], capture_output=True, text=True, timeout=300)
        assert r.returncode==0, r.stderr
        return r
    r = run(program, 'killed')
    run(program.replace('kills<40', 'False'), 'quiet')
    assert int(r.stdout.split('kills ')[1].split()[0])>=1, f'too fast to be killed: {r.stdout}'
    assert contents(tmp_path/'killed')==contents(tmp_path/'quiet')
    assert tree(tmp_path/'killed')==tree(tmp_path/'quiet')==sorted([*same, 'timing.json'])

@pytest.mark.parametrize('stop', range(6))
def test_killed_while_the_files_are_put_in_their_place(tmp_path, photos, monkeypatch, stop):
    """The last step is a few renames: stopped after each of them, the same call takes the rest, and computes
    nothing"""
    b = tiny(); extract(photos, b, tmp_path/'quiet')
    replace,moved = os.replace,[]
    def stops(a, b):
        if Path(b).parent==tmp_path/'f':
            if len(moved)==stop: raise KeyboardInterrupt
            moved.append(Path(b).name)
        replace(a, b)
    monkeypatch.setattr(os, 'replace', stops)
    try: extract(photos, b, tmp_path/'f')
    except KeyboardInterrupt:
        with pytest.raises(FileNotFoundError): Features.load(tmp_path/'f')
    else: assert stop==5, 'there are five files to move'
    monkeypatch.setattr(os, 'replace', replace); seen(b)
    extract(photos, b, tmp_path/'f')
    assert not seen(b) and contents(tmp_path/'f')==contents(tmp_path/'quiet')
    assert tree(tmp_path/'f')==tree(tmp_path/'quiet')

@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError('device lost'),
                                   OSError(errno.EIO, 'Input/output error')])
def test_stopped_runs_lose_one_batch_at_most(tmp_path, photos, error):
    b = tiny()
    quiet = extract(photos, b, tmp_path/'quiet')
    total,encode = seen(b),b.encode
    def stops(x):
        if b.model.seen>=20: raise error
        return encode(x)
    b.encode = stops
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        extract(photos, b, tmp_path/'f')
    done = seen(b)
    assert tree(tmp_path/'f')[0]=='unfinished' and not (tmp_path/'f'/'meta.json').exists()
    with pytest.raises(FileNotFoundError, match='not finished yet'): Features.load(tmp_path/'f')
    b.encode = encode
    f = extract(photos, b, tmp_path/'f')
    assert done+seen(b)<=total+4 and np.array_equal(f.X, quiet.X) and f.skipped==quiet.skipped
    assert f.names==quiet.names
    assert contents(tmp_path/'f')==contents(tmp_path/'quiet')

def test_a_projection_learned_here_goes_on(tmp_path, photos, monkeypatch):
    from scp_nb.extract.backbones import Backbone
    extract(photos, 'pixels?size=8', tmp_path/'quiet')
    encode,calls = Backbone.encode,[]
    def stops(self, x):
        calls.append(1)
        if len(calls)==6: raise KeyboardInterrupt
        return encode(self, x)
    monkeypatch.setattr(Backbone, 'encode', stops)
    with pytest.raises(KeyboardInterrupt): extract(photos, 'pixels?size=8', tmp_path/'f')
    monkeypatch.setattr(Backbone, 'fit', lambda *a: pytest.fail('fitted twice'))
    extract(photos, 'pixels?size=8', tmp_path/'f')
    assert contents(tmp_path/'f')==contents(tmp_path/'quiet')
    for n in ('projection.safetensors',):
        assert (tmp_path/'f'/n).read_bytes()==(tmp_path/'quiet'/n).read_bytes()

# ---- recognised, refused, extended

def test_finished_is_recognised_without_reading_an_image(tmp_path, photos, monkeypatch):
    b = tiny()
    f = extract(photos, b, tmp_path/'f'); seen(b)
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path/'f').iterdir()}
    monkeypatch.setattr(data, '_open_image', lambda *a: pytest.fail('an image was opened'))
    g = extract(photos, b, tmp_path/'f')
    assert not seen(b) and np.array_equal(f.X, g.X) and g.names==f.names and g.skipped==f.skipped
    assert g.images.names==f.names
    assert before=={p.name: p.stat().st_mtime_ns for p in (tmp_path/'f').iterdir()}
    assert g.meta['seconds']==f.meta['seconds']

def changed_weights(b): b.model.net[0].weight.data[0,0,0,0] += 1e-3
def changed_transform(b): b.transform = lambda im: to_tensor(im)*.5
@pytest.mark.parametrize('change, said', [(changed_weights, 'the weights of the backbone differ'),
                                          (changed_transform, 'the transform differs'),
                                          (lambda b: setattr(b, 'spec', 'module:Other'),
                                           'the backbone was "module:Tiny" and is "module:Other"')])
@pytest.mark.parametrize('stopped', [False, True])
def test_another_backbone_is_refused(tmp_path, photos, change, said, stopped):
    b = tiny()
    if stopped:
        encode,b.encode = (b.encode,lambda x: encode(x) if b.model.seen<12
                           else (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt): extract(photos, b, tmp_path/'f')
    else: extract(photos, b, tmp_path/'f')
    was = tree(tmp_path/'f')
    b = tiny(); change(b)
    for update in (False, True):
        with pytest.raises(FileExistsError) as e: extract(photos, b, tmp_path/'f', update=update)
        assert said in str(e.value) and 'force' in str(e.value) and '\n' not in str(e.value)
        assert tree(tmp_path/'f')==was
    extract(photos, b, tmp_path/'f', force=True)
    extract(photos, b, tmp_path/'g')
    assert contents(tmp_path/'f')==contents(tmp_path/'g')

@pytest.mark.parametrize('stopped', [False, True])
def test_changed_files_are_noticed_and_update_computes_only_those(tmp_path, photos, stopped):
    b = tiny(); seen(b)
    encode = b.encode
    if stopped:
        b.encode = lambda x: encode(x) if b.model.seen<40 else (_ for _ in ()).throw(KeyboardInterrupt)
    try: extract(photos, b, tmp_path/'f')
    except KeyboardInterrupt: assert stopped
    b.encode = encode; done = seen(b)
    (photos/'000.png').unlink()
    photo_patches()[300].save(photos/'001.png')                       # changed in place
    photo_patches()[301].save(photos/'new.png')
    photo_patches()[302].save(photos/'005.png')                       # was no image
    with pytest.raises(FileExistsError) as e: extract(photos, b, tmp_path/'f')
    for said in ('1 image is new ("new.png")', '1 is gone ("000.png")',
                 '2 have changed ("001.png", "005.png")', '--update'):
        assert said in str(e.value)
    f = extract(photos, b, tmp_path/'f', update=True)
    computed = seen(b)
    fresh = extract(photos, b, tmp_path/'fresh')
    assert computed==(3 if not stopped else seen(b)-done+
                      2), 'three new ones, and what the stopped run left; one of its rows is gone, one stale'
    assert f.names==fresh.names and f.skipped==fresh.skipped
    np.testing.assert_allclose(f.X, fresh.X, atol=1e-5)
    assert tree(tmp_path/'f')==tree(tmp_path/'fresh')
    b.model.seen = 0
    assert np.array_equal(extract(photos, b, tmp_path/'f').X,
                          f.X) and not seen(b), 'recognised, without update'

def test_an_update_may_be_stopped_too(tmp_path, photos):
    b = tiny(); extract(photos, b, tmp_path/'f')
    for i in range(20): photo_patches()[100+i].save(photos/f'x{i:02d}.png')
    encode = b.encode; seen(b)
    b.encode = lambda x: encode(x) if b.model.seen<8 else (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt): extract(photos, b, tmp_path/'f', update=True)
    # the finished ones stay readable
    assert len(Features.load(tmp_path/'f'))==56 and Features.load(tmp_path/'f').shape[1]==24
    # and the folder changes again
    for i in range(3): photo_patches()[150+i].save(photos/f'y{i:02d}.png')
    b.encode = encode
    f = extract(photos, b, tmp_path/'f', update=True)
    assert seen(b)==23 and len(f)==79, 'none of them twice'
    assert sorted(p.name for p in (tmp_path/'f').iterdir())==sorted([*same, 'timing.json'])

def test_directories_of_the_version_before_are_refused(tmp_path, photos):
    b = tiny(); extract(photos, b, tmp_path/'f')
    meta = json.loads((tmp_path/'f'/'meta.json').read_text())
    del meta['identity']['version']
    (tmp_path/'f'/'meta.json').write_text(json.dumps({**meta, 'format_version': 1}))
    was = {p.name: p.read_bytes() for p in (tmp_path/'f').iterdir()}
    ways = (lambda: Features.load(tmp_path/'f'), lambda: extract(photos, b, tmp_path/'f'),
            lambda: extract(photos, b, tmp_path/'f', update=True))
    for refused in ways:
        message = 'written by an earlier version of scp_nb.*force=True'
        with pytest.raises((ValueError, FileExistsError), match=message) as e: refused()
        assert '\n' not in str(e.value)
    assert was=={p.name: p.read_bytes() for p in (tmp_path/'f').iterdir()}
    assert np.array_equal(extract(photos, b, tmp_path/'f', force=True).X, Features.load(tmp_path/'f').X)

def test_labels_arrays_and_views_are_part_of_what_features_are_of(tmp_path, photos):
    b = tiny()
    ims = photo_patches().subset(range(20))
    extract(ims, b, tmp_path/'a')
    assert np.array_equal(extract(ims, b, tmp_path/'a').X, extract(ims, b, tmp_path/'b').X)
    other = as_images(np.stack([255-np.asarray(im) for im in ims]))
    other.names,other.labels,other.classes = ims.names,ims.labels,ims.classes
    for images,said in [(other, 'pictures themselves'), (as_images(ims, [0]*20), 'labels'),
                        (ims.subset(range(19)), 'is gone'), (ims.subset(range(20)[::-1]), 'order')]:
        with pytest.raises(FileExistsError, match=said): extract(images, b, tmp_path/'a')

def test_folders_that_cannot_be_listed_are_skipped_too(tmp_path, photos, monkeypatch):
    images = ImageFiles(photos)
    # as `_walk` notes it; root may list everything
    images.skipped['locked'] = 'folder not read: permission denied'
    f = extract(images, tiny(), tmp_path/'f')
    assert f.skipped['locked']==Features.load(tmp_path/'f').skipped['locked']
    last = (tmp_path/'f'/'skipped.csv').read_text().splitlines()[-1]
    assert last=='locked,folder not read: permission denied'
    (photos/'000.png').unlink()
    with pytest.raises(FileExistsError) as e: extract(photos, tiny(), tmp_path/'f')
    assert '1 is gone ("000.png")' in str(e.value)

# ---- copies

def test_copies_are_computed_once(tmp_path):
    folder = fill(tmp_path/'p', 40)
    for i in range(100): os.link(folder/'000.png', folder/f'z{i:03d}.png')
    b = tiny(); seen(b)
    f = extract(folder, b, tmp_path/'f')
    distinct = {(folder/n).read_bytes() for n in f.names}
    assert seen(b)==len(distinct)<len(f)-100
    index = [json.loads(l) for l in open(tmp_path/'f'/'index.jsonl')]
    for r in index:
        if 'copy_of' in r:
            data = (folder/r['name']).read_bytes()
            original = next(o['row'] for o in index if (folder/o['name']).read_bytes()==data)
            assert np.array_equal(f.X[r['row']], f.X[original])
    assert sum('copy_of' in r for r in index)==len(f)-len(distinct)
    assert np.array_equal(extract_features(folder, b, batch_size=4, progress=False, processes=True,
                                           n_workers=2).X, f.X)

# ---- disks, mounts, two at a time

def test_two_runs_on_one_directory(tmp_path, photos, warm):
    b,said = tiny(),[]
    encode = b.encode
    def second(x):
        if not said:
            code = ('import sys; from scp_nb.cli import scp_features; sys.argv[0]="scp_features"; '
                    f'scp_features({str(photos)!r}, {str(tmp_path/"f")!r}, "pixels")')
            r = subprocess.run([*warm, '-c', code], capture_output=True, text=True)
            said.append((r.returncode, r.stderr))
        return encode(x)
    b.encode = second
    extract(photos, b, tmp_path/'f')
    code,line = said[0]
    assert code==2 and line.startswith('scp_features: another run is writing to "f" ' '(process ')
    assert str(os.getpid()) in line and line.count('\n')==1
    extract(photos, tiny(), tmp_path/'quiet')
    assert contents(tmp_path/'f')==contents(tmp_path/'quiet')

@pytest.mark.parametrize('at', ['features.npy', '.part.tmp', 'index.jsonl', 'list.jsonl.tmp',
                                'meta.json.tmp'])
def test_disk_full(tmp_path, photos, monkeypatch, at):
    "Whichever file the disk gets full at, the line says so, and the run goes on when there is room"
    b = tiny(); extract(photos, b, tmp_path/'quiet'); seen(b)
    full,opened,writes = [True],open,[]
    class Full:
        def __init__(self, f): self.f = f
        def __getattr__(self, k): return getattr(self.f, k)
        def __enter__(self): return self
        def __exit__(self, *a): self.f.close()
        def write(self, data):
            writes.append(len(data))
            begun = at!='features.npy' or self.f.tell()>100
            third_part = at!='.part.tmp' or len(writes)>6
            if full[0] and begun and third_part:
                self.f.write(data[:len(data)//2])                     # half of it still fits
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.f.write(data)
    def spy(p, mode='r', *a, **k):
        f = opened(p, mode, *a, **k)
        return Full(f) if Path(p).name.endswith(at) and mode not in ('r', 'rb') else f
    monkeypatch.setattr('scp_nb.extract.store.open', spy, raising=False)
    message = 'is full .No space left on device.. What is done is kept. Make room'
    with pytest.raises(OSError, match=message) as e:
        extract(photos, b, tmp_path/'f')
    assert '\n' not in str(e.value) and not (tmp_path/'f'/'meta.json').exists()
    full[0] = False
    extract(photos, b, tmp_path/'f')
    assert contents(tmp_path/'f')==contents(tmp_path/'quiet')

@pytest.fixture
def mounted(tmp_path):
    "A small file system of its own; skipped where we may not mount one"
    m = tmp_path/'mount'; m.mkdir()
    def mount(*options):
        if subprocess.run(['mount', '-t', 'tmpfs', *options, 'tmpfs', m], capture_output=True).returncode:
            pytest.skip('mounting is not allowed here')
        return m
    yield mount
    while m.is_mount(): subprocess.run(['umount', '-l', m], check=True)

def test_a_disk_that_is_really_full(mounted, photos):
    m = mounted('-o', 'size=300k')
    (m/'ballast').write_bytes(bytes(240*1024))
    big = load_backbone(type('Wide', (nn.Module,), dict(forward=lambda self, x: x.flatten(1).repeat(1,2)))(),
                        transform=to_tensor, device='cpu')
    with pytest.raises(OSError, match='MB left. Make room|is full'): extract(photos, big, m/'f')
    (m/'ballast').write_bytes(b'')
    f = extract(photos, big, m/'f', batch_size=1)
    assert len(f)==56

def test_a_disk_that_gets_full_on_the_way(mounted, photos, tmp_path):
    m = mounted('-o', 'size=400k')
    b = tiny(); encode = b.encode; b.d = 24
    def fills(x):
        if b.model.seen>=24 and not (m/'ballast').exists():
            try: (m/'ballast').write_bytes(bytes(10**6))
            except OSError: pass
        return encode(x)
    b.encode = fills; seen(b)
    try: extract(photos, b, m/'f', batch_size=2)
    except OSError as e: assert 'is full' in str(e) and 'What is done is kept' in str(e)
    else: pytest.skip('it did not get full')
    assert (m/'f'/'unfinished').is_dir()
    (m/'ballast').unlink(); b.encode = encode
    extract(photos, b, m/'f', batch_size=2); extract(photos, b, tmp_path/'quiet', batch_size=2)
    assert contents(m/'f')==contents(tmp_path/'quiet')

def test_out_on_a_read_only_mount(mounted, photos):
    m = mounted()
    extract(photos, tiny(), m/'there')
    subprocess.run(['mount', '-o', 'remount,ro', m], check=True)
    assert len(extract(photos, tiny(), m/'there'))==56, 'finished features can be used from there'
    for kw in ({}, dict(force=True)):
        with pytest.raises(PermissionError, match='cannot write to ".*": it is on a read-only file system. '
                                                  'Give a directory') as e:
            extract(photos, tiny(), m/('there' if kw else 'f'), **kw)
        assert '\n' not in str(e.value)

# ---- shared out

def torchrun(warm, script, *args, n=2, **env):
    run = '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', str(n), '--no-python'
    return subprocess.run([*warm, *run, *warm, *map(str, (script, *args))],
                          capture_output=True, text=True, timeout=300,
                          env={**os.environ, 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1', **env})

shared_program = '''
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch; torch.set_num_threads(1)
from test_extract import Tiny, to_tensor, extract
from scp_nb.features import load_backbone
b = load_backbone(Tiny(), transform=to_tensor, device='cpu'); b.model.seen = 0
if 'DIES' in os.environ and os.environ['DIES']==os.environ['RANK']:
    encode = b.encode
    def dies(x):
        if b.model.seen>=12: os._exit(9)
        return encode(x)
    b.encode = dies
f = extract(Path(sys.argv[2]), b, Path(sys.argv[3]))
sys.stdout.write(f'computed {b.model.seen} of {len(f)}; ')   # in one piece: two processes write to one pipe
'''

@pytest.fixture(scope='module')
def big(tmp_path_factory):
    p = fill(tmp_path_factory.mktemp('shared')/'big', 120)
    # copies, also of a bad one, that are in the other half of the list
    for i in range(8): shutil.copyfile(p/f'{i:03d}.png', p/f'z{i}.png')
    (p.parent/'s.py').write_text(shared_program)
    return p

def alone(warm, big, out):
    r = subprocess.run([*warm, big.parent/'s.py', Path(__file__).parent, big, out],
                       capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert r.returncode==0, r.stderr
    return int(r.stdout.split('computed ')[1].split()[0])

@pytest.fixture(scope='module')
def one(big, warm):
    "What one process makes, and how many images it computed"
    out = big.parent/'one'
    return out,alone(warm, big, out)

def test_two_that_begin_together_do_not_refuse_each_other(tmp_path, monkeypatch):
    "Another process makes the directory between two looks at it; anything but its lock is refused as before"
    def meanwhile(out, force):
        Path(out).mkdir(exist_ok=True); (Path(out)/name).touch()
        raise FileExistsError('not empty')
    monkeypatch.setattr(store, 'check_out', meanwhile)
    name = '.lock'
    assert store.check_place(tmp_path/'f', False)==tmp_path/'f'
    name = 'holiday.txt'
    with pytest.raises(FileExistsError): store.check_place(tmp_path/'g', False)

def test_two_processes_make_what_one_makes(tmp_path, big, one, warm):
    one,n = one
    r = torchrun(warm, big.parent/'s.py', Path(__file__).parent, big, tmp_path/'two')
    assert r.returncode==0, r.stderr
    counts = [int(c) for c in re.findall(r'computed (\d+)', r.stdout)]
    assert len(counts)==2 and sum(counts)==n and min(counts)>n/3, counts
    assert contents(one)==contents(tmp_path/'two') and tree(one)==tree(tmp_path/'two')
    assert sum('copy_of' in l for l in open(tmp_path/'two'/'index.jsonl'))>=7

@pytest.mark.parametrize('goes_on', ['together', 'alone'])
@pytest.mark.parametrize('dead', '01')
def test_one_of_two_dies(tmp_path, big, one, dead, goes_on, warm):
    one,n = one
    r = torchrun(warm, big.parent/'s.py', Path(__file__).parent, big, tmp_path/'two', DIES=dead)
    assert r.returncode!=0 and not (tmp_path/'two'/'meta.json').exists()
    done = done_in(tmp_path/'two'/'unfinished')[1]
    assert done>=12
    if goes_on=='alone': again = alone(warm, big, tmp_path/'two')
    else:
        r = torchrun(warm, big.parent/'s.py', Path(__file__).parent, big, tmp_path/'two')
        assert r.returncode==0, r.stderr
        again = sum(map(int, re.findall(r'computed (\d+)', r.stdout)))
    assert again==n-done, f'{again} of {n} computed again, {done} were done\n{r.stdout}'
    assert contents(one)==contents(tmp_path/'two') and tree(one)==tree(tmp_path/'two')

def test_the_command_under_torchrun(tmp_path, photos, warm):
    command = Path(sys.executable).parent/'scp_features'
    if not command.exists(): pytest.skip('scp_features is not installed as a command')
    r = torchrun(warm, command, photos, '--backbone', 'pixels?size=8', '--out', tmp_path/'two')
    assert r.returncode==0, r.stderr
    assert r.stdout.count('Wrote')==1, r.stdout
    r = subprocess.run([*warm, command, photos, '--backbone', 'pixels?size=8', '--out', tmp_path/'one'],
                       capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert r.returncode==0 and contents(tmp_path/'one')==contents(tmp_path/'two')

def test_the_command_that_is_one_process(tmp_path, photos, monkeypatch):
    "Refused in each of two that torchrun starts; how a command knows of them is tested above"
    from scp_nb.cli import scp_cluster
    monkeypatch.setattr('scp_nb.cli.ranks', lambda: (1, 2))
    with pytest.raises(RuntimeError, match='scp_cluster is one process, but torchrun started 2. Share out'):
        scp_cluster(photos, k='2', backbone='pixels?size=8', out=str(tmp_path/'c'))
    assert not (tmp_path/'c').exists()

whole_program = '''
import atexit, sys, numpy as np, torch.distributed as dist
# a thread of gloo that is left when Python ends makes it fail, now and then
atexit.register(lambda: print('still joined:', dist.is_initialized()))
from scp_nb.data import digits
from scp_nb.features import extract_features
from scp_nb.extract.parallel import ranks
from scp_nb.train import fit_head
images,out = digits()[:200],sys.argv[1]
for i in range(4): feats = extract_features(images, 'pixels', out=f'{out}/feats{i}', progress=False)
c = fit_head(feats, 5, n_heads=4, epochs=3)
extract_features(images, 'pixels', out=f'{out}/more', progress=False)
np.savez(f'{out}/p{ranks()[0]}', probs=c.probs, rows=len(feats))
assert 'torch._dynamo' not in sys.modules, 'the import of the compiler takes longer than a small fit'
'''

def test_one_program_extracts_and_then_fits(tmp_path, warm):
    """Processes that part after a step and join again for the next may meet an old address: they fail, or
    wait for ever"""
    (tmp_path/'s.py').write_text(whole_program)
    r = torchrun(warm, tmp_path/'s.py', tmp_path)
    assert r.returncode==0, r.stderr
    assert r.stdout.count('still joined: False')==2, r.stdout
    a,b = np.load(tmp_path/'p0.npz'),np.load(tmp_path/'p1.npz')
    np.testing.assert_array_equal(a['probs'], b['probs'])
    assert a['rows']==b['rows']==200

def test_nothing_is_written_outside_out(tmp_path, photos):
    "Home, temporary folder, working directory and the photos stay as they are"
    for n in ('home', 'tmp', 'cwd'): (tmp_path/n).mkdir()
    before = {p: p.stat().st_mtime_ns for p in photos.rglob('*')}
    env = {**os.environ, 'HOME': str(tmp_path/'home'), 'TMPDIR': str(tmp_path/'tmp'), 'HF_HUB_OFFLINE': '1',
           'PYTHONDONTWRITEBYTECODE': '1'}
    code = ('from scp_nb.cli import scp_features; '
            f'scp_features({str(photos)!r}, {str(tmp_path/"deep"/"out")!r}, "pixels?size=8")')
    r = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=tmp_path/'cwd',
                       env=env)
    assert r.returncode==0, r.stderr
    assert sorted(p.name for p in tmp_path.iterdir())==['cwd', 'deep', 'home', 'photos', 'tmp']
    assert [p.name for p in (tmp_path/'deep').iterdir()]==['out']
    assert not [p for n in ('tmp', 'cwd') for p in (tmp_path/n).rglob('*')]
    assert not [p for p in (tmp_path/'home').rglob('*') if p.is_file()
                and 'matplotlib' not in p.parts], 'matplotlib lists the fonts of a new home'
    assert before=={p: p.stat().st_mtime_ns for p in photos.rglob('*')}

@pytest.mark.parametrize('code', ['ENOLCK', 'EOPNOTSUPP', 'ENOSYS'])
def test_file_systems_without_locks(tmp_path, monkeypatch, code):
    "As on some network drives: a warning, the same rows, nothing left over; a second run is still refused"
    fcntl = pytest.importorskip('fcntl')
    photos,b = fill(tmp_path/'p', 12),tiny()
    want = extract(photos, b, tmp_path/'locked').X
    def flock(*args): raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
    monkeypatch.setattr(fcntl, 'flock', flock)
    with pytest.warns(UserWarning): f = extract(photos, b, tmp_path/'f')
    assert np.array_equal(f.X, want) and tree(tmp_path/'f')==tree(tmp_path/'locked')
    encode = b.encode
    def again(x):
        with pytest.raises(RuntimeError, match='another run is writing'):
            extract(photos, tiny(), tmp_path/'g')
        return encode(x)
    b.encode = again
    with pytest.warns(UserWarning): extract(photos, b, tmp_path/'g')
    assert tree(tmp_path/'g')==tree(tmp_path/'locked')

def test_a_copied_folder_is_the_same(tmp_path, photos):
    """Photos and features moved to another disk, with new times of change: nothing is computed again; what
    differs is told alone, and what changed within the same size is found"""
    b = tiny(); extract(photos, b, tmp_path/'f'); seen(b)
    shutil.copytree(photos, tmp_path/'new', copy_function=shutil.copy)      # not copy2: with new times
    for p in (tmp_path/'new').iterdir(): os.utime(p, (1,1))
    moved = tmp_path/'moved'; (tmp_path/'f').rename(moved)
    f = extract(tmp_path/'new', b, moved)
    assert not seen(b) and len(f)>50
    data = bytearray((tmp_path/'new'/'003.png').read_bytes()); data[-20] ^= 1
    (tmp_path/'new'/'003.png').write_bytes(data)
    (tmp_path/'new'/'004.png').unlink()
    with pytest.raises(FileExistsError, match='1 is gone .*; 1 has changed'):
        extract(tmp_path/'new', b, moved)
    extract(tmp_path/'new', b, moved, update=True)
    assert seen(b)<=1

def test_a_stopped_run_goes_on_in_a_copied_folder(tmp_path, photos):
    b = tiny(); encode = b.encode; seen(b)
    b.encode = lambda x: encode(x) if b.model.seen<40 else (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt): extract(photos, b, tmp_path/'f')
    done = seen(b); b.encode = encode
    for p in photos.iterdir():      # of files that were not reached the new time counts
        if p.name<'020': os.utime(p, (1,1))
    want = extract(photos, b, tmp_path/'whole'); total = seen(b)
    f = extract(photos, b, tmp_path/'f', update=True)
    assert done and seen(b)<=total-16 and np.array_equal(f.X, want.X)
