"""Sorting files loses nothing: kills at every step, full disks, other file systems, strangers' files"""
import errno, json, os, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pytest
from scp_nb.cluster import sort
from scp_nb.cluster.sort import sort_images, undo_sort

def result(at:Path, n=60, k=3)->Path:
    "A folder of files with contents of their own, and a result that names them; some names are odd"
    rng,rows = np.random.default_rng(0),['path,cluster,confidence,caption']
    odd = ['a b', 'quote"', 'comma,', 'ü', 'x\ny', "o'clock", '\udce9' if os.name!='nt' else 'e']
    for i in range(n):
        name = f'd{i%4}/{odd[i%len(odd)]}{i//8}.png'
        p = at/'photos'/name
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_bytes(rng.bytes(200)+str(i).encode())
        quoted = '"'+name.replace('"', '""')+'"'
        c = -1 if i%11==0 else i%k
        rows.append(f'{quoted},{c},{.3 if i%7==0 else .9},{["dog/cat", "", "CON"][c] if c>=0 else ""}')
    (at/'r'/'head').mkdir(parents=True)
    (at/'r'/'assignments.csv').write_text('\n'.join(rows), encoding='utf-8', errors='surrogateescape')
    (at/'r'/'head'/'config.json').write_text(json.dumps(dict(root=str(at/'photos'))))
    return at/'r'

def add_links(photos:Path, names:list):
    "Among the images: a link to one that moves too, one to that link, and one to a file that stays"
    outside = photos.parent/'elsewhere.png'
    for name,leads_to in zip(names[:3], (photos/names[3], photos/names[0], outside)):
        (photos/name).rename(outside) if leads_to==outside else (photos/name).unlink()
        (photos/name).symlink_to(os.path.relpath(leads_to, (photos/name).parent))

def contents(folder:Path)->dict:
    "Path -> bytes of all files"
    return {os.fspath(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.is_file()}

def in_child(work)->int:
    "Run `work` in a forked process; gives its signal or exit code"
    pid = os.fork()
    if not pid:
        code = 1
        try:
            work()
            code = 0
        finally: os._exit(code)
    status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status)

STEPS = 'link', 'unlink', 'rename', 'symlink', 'fsync', 'truncate', 'mkdir'

def killed_at(n:int, work, other_disk=False):
    "Run `work` in a child that kills itself with signal 9 at its nth step on the disk, before or after it"
    def child():
        left = [n]
        def deadly(f):
            def step(*args, **kw):
                left[0] -= 1
                if left[0]==0: os.kill(os.getpid(), signal.SIGKILL)
                found = f(*args, **kw)
                left[0] -= 1
                if left[0]==0: os.kill(os.getpid(), signal.SIGKILL)
                return found
            return step
        for name in STEPS: setattr(os, name, deadly(getattr(os, name)))
        if other_disk: pretend_other_disk(setattr)
        work()
    return in_child(child)

def pretend_other_disk(setattr):
    "Files cannot be renamed between the two folders, as between two disks"
    rename = sort._rename
    def refuse(a, b):
        if a.name!=sort._PART: raise OSError(errno.EXDEV, 'another disk')
        rename(a, b)
    setattr(sort, '_rename', refuse)

needs_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')

@needs_fork
@pytest.mark.parametrize('other_disk,links', [(False, False), (True, False), (False, True)])
def test_a_kill_at_any_step_loses_nothing(tmp_path, other_disk, links, monkeypatch):
    """Killed while moving, then put back; killed again while putting back; killed and gone on with: every
    time all files are there, byte for byte"""
    r,into = result(tmp_path, 30),tmp_path/'sorted'
    if links: add_links(tmp_path/'photos', sorted(contents(tmp_path/'photos')))
    before = contents(tmp_path/'photos')
    def move(): sort_images(r, into, 'move')
    def back(): undo_sort(into)
    if other_disk: pretend_other_disk(monkeypatch.setattr)
    kills = 0
    for n in (*range(1, 40, 2), 41, 60, 77, 100, 121, 150, 1000):
        code = killed_at(n, move, other_disk)
        assert code in (0, -signal.SIGKILL)
        kills += code!=0
        if (into/sort.JOURNAL).is_file() and (into/sort.JOURNAL).stat().st_size:
            here = {*contents(tmp_path/'photos').values(), *contents(into).values()}
            assert here>=set(before.values()), n                                # in one place or the other
            if n%3==0: killed_at(n//2+1, back, other_disk)
            if n%2==0:
                sort_images(r, into, 'move')                                    # goes on
                assert not contents(tmp_path/'photos')
                there = [p.read_bytes() for p in into.rglob('*.png')]           # no link leads nowhere
                assert sorted(there)==sorted(before.values())
            assert not (into/sort.JOURNAL).exists() or not undo_sort(into).problems
        assert contents(tmp_path/'photos')==before, n
        assert not into.exists() or not contents(into)
    assert kills>15

def test_kill_9_of_the_command(tmp_path):
    "The command itself, in a process of its own, killed from outside"
    r,into = result(tmp_path, 400),tmp_path/'sorted'
    before = contents(tmp_path/'photos')
    code = ('import sys, time, os; from scp_nb.cluster import sort\n'
            'unlink = os.unlink\n'
            'def slow(*a, **k): time.sleep(.01); unlink(*a, **k)\n'
            f'os.unlink = slow; sort.scp_sort({str(r)!r}, into={str(into)!r}, move=True)')
    p = subprocess.Popen([sys.executable, '-c', code])
    while p.poll() is None and len(list(into.rglob('*.png')))<30: time.sleep(.02)
    p.kill()
    assert p.wait()==-signal.SIGKILL
    left = contents(tmp_path/'photos')
    assert 0<len(left)<len(before)
    done = undo_sort(into/sort.JOURNAL)
    assert not done.problems and contents(tmp_path/'photos')==before and not into.exists()

@pytest.mark.parametrize('how', sort.HOW)
def test_sorted_files_are_the_files(tmp_path, how):
    r,into = result(tmp_path),tmp_path/'sorted'
    before = contents(tmp_path/'photos')
    told = sort_images(r, into)
    assert not into.exists()
    plan = sort_images(r, into, how)
    assert plan.files==told.files and plan.counts==told.counts and len(plan.files)==len(before)
    for name,to in plan.files.items(): assert (into/to).read_bytes()==before[name]
    folders = {p.name for p in into.iterdir() if p.is_dir()}
    assert folders=={'dog_cat', 'cluster 1', '_CON', 'outliers', 'doubtful'}
    assert contents(tmp_path/'photos')==({} if how=='move' else before)
    stamp = {p: os.lstat(p).st_mtime_ns for p in into.rglob('*.png')}
    again = sort_images(r, into, how)                            # nothing is left to do
    assert again.files==plan.files and not again.missing
    assert stamp=={p: os.lstat(p).st_mtime_ns for p in into.rglob('*.png')}
    if how=='link': assert all(os.path.isabs(os.readlink(into/to)) for to in plan.files.values())
    with pytest.raises(FileExistsError, match='another sort'): sort_images(r, into, how, min_confidence=0)

def test_a_full_disk_stops_with_one_line(tmp_path, monkeypatch):
    "In the middle of a copy between disks, and of a line of the journal"
    r,into = result(tmp_path),tmp_path/'sorted'
    before = contents(tmp_path/'photos')
    pretend_other_disk(monkeypatch.setattr)
    copy,left = sort.shutil.copy2,[20]
    def full(a, b):
        left[0] -= 1
        if left[0]: return copy(a, b)
        Path(b).write_bytes(b'half')
        raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr(sort.shutil, 'copy2', full)
    with pytest.raises(OSError, match='No space left.*goes on.*--undo') as e: sort_images(r, into, 'move')
    assert '\n' not in str(e.value) and len(contents(tmp_path/'photos'))==len(before)-19
    assert not list(into.rglob('.scp_sort.part'))
    monkeypatch.setattr(sort.shutil, 'copy2', copy)
    assert undo_sort(into).restored==len(before) and contents(tmp_path/'photos')==before
    def limited():                     # a real limit on the size of files: the journal's first lines fit
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))
        sort_images(r, into, 'move')
    assert in_child(limited)==1
    assert contents(tmp_path/'photos')==before and (into/sort.JOURNAL).stat().st_size<=700
    assert len(sort_images(r, into, 'move').files)==len(before)           # the cut line is no obstacle
    assert not undo_sort(into).problems and contents(tmp_path/'photos')==before

def test_real_other_disk(tmp_path):
    shm = Path('/dev/shm')
    if not shm.is_dir() or not os.access(shm, os.W_OK) or os.stat(shm).st_dev==os.stat(tmp_path).st_dev:
        pytest.skip('needs a second file system')
    r,into = result(tmp_path),shm/f'scp_sort_{os.getpid()}'
    before = contents(tmp_path/'photos')
    old = os.stat(tmp_path/'photos'/next(iter(before))).st_mtime_ns
    plan = sort_images(r, into, 'move')
    assert not contents(tmp_path/'photos') and not plan.missing
    assert not undo_sort(into).problems and contents(tmp_path/'photos')==before
    assert not into.exists() and os.stat(tmp_path/'photos'/next(iter(before))).st_mtime_ns==old

def test_undo_tells_what_has_moved_since_and_restores_the_others(tmp_path):
    r,into = result(tmp_path),tmp_path/'sorted'
    before = contents(tmp_path/'photos')
    plan = sort_images(r, into, 'move')
    gone,edited,taken,folder,copied = list(plan.files)[:5]
    (into/plan.files[gone]).unlink()
    (into/plan.files[edited]).write_bytes(b'turned by hand')          # still the user's picture: it goes back
    (tmp_path/'photos'/taken).write_bytes(b'a new one')
    (into/plan.files[folder]).unlink()
    (into/plan.files[folder]).mkdir()
    (tmp_path/'photos'/copied).write_bytes(before[copied])            # put back by hand, as a copy
    (into/'dog_cat'/'note.txt').write_text('mine')
    done = undo_sort(into)
    assert done.restored==len(before)-3 and len(done.problems)==3, done
    for name,said in ((gone, 'not at'), (taken, 'another file is there now'), (folder, 'is a folder now')):
        assert sum(p.startswith(f'{name}: ') and said in p for p in done.problems)==1
    now = contents(tmp_path/'photos')
    assert now[edited]==b'turned by hand' and now[taken]==b'a new one' and now[copied]==before[copied]
    assert (into/plan.files[taken]).read_bytes()==before[taken] and (into/'dog_cat'/'note.txt').exists()
    # mended by hand, the same undo goes on
    (tmp_path/'photos'/taken).unlink()
    (into/plan.files[folder]).rmdir()
    for name in (gone, folder): (tmp_path/'photos'/name).write_bytes(before[name])
    assert not undo_sort(into).problems
    assert contents(tmp_path/'photos')==before | {edited: b'turned by hand'}
    assert contents(into)=={os.path.join('dog_cat', 'note.txt'): b'mine'}

def test_strangers_files_are_never_replaced(tmp_path):
    "A file that appears in the directory of an earlier run, and one at a place that the journal names"
    r,into = result(tmp_path),tmp_path/'sorted'
    before = contents(tmp_path/'photos')
    def move(): sort_images(r, into, 'move')
    if not hasattr(os, 'fork'): pytest.skip('needs fork')
    killed_at(60, move)
    steps = sort._Journal(into/sort.JOURNAL).steps
    name,to = next((n, s['to']) for n,s in reversed(steps.items()) if (tmp_path/'photos'/n).exists())
    (into/to).parent.mkdir(parents=True, exist_ok=True)
    (into/to).write_bytes(b'strange')
    plan = sort_images(r, into, 'move')
    assert (into/to).read_bytes()==b'strange' and (into/plan.files[name]).read_bytes()==before[name]
    assert plan.files[name]!=to
    assert not undo_sort(into).problems and contents(tmp_path/'photos')==before
    assert contents(into)=={to: b'strange'}

def test_links_among_the_images_move_as_links(tmp_path):
    r,into = result(tmp_path, 8),tmp_path/'sorted'
    names = list(contents(tmp_path/'photos'))
    p = tmp_path/'photos'/names[0]
    p.rename(tmp_path/'elsewhere.png')
    p.symlink_to('../../elsewhere.png')
    want = p.read_bytes()
    plan = sort_images(r, into, 'move')
    at = into/plan.files[names[0]]
    assert at.is_symlink() and at.read_bytes()==want and not os.path.lexists(p)
    assert not undo_sort(into).problems and os.readlink(p)=='../../elsewhere.png' and p.read_bytes()==want

def test_moved_links_lead_to_the_moved_images(tmp_path):
    "Also where more images than one batch come before their links, and a sort is gone on with"
    r,into = result(tmp_path, 420),tmp_path/'sorted'
    photos,names = tmp_path/'photos',list(contents(tmp_path/'photos'))
    add_links(photos, names)
    for name in names[10:40]:
        (photos/name).unlink()
        (photos/name).symlink_to(photos/names[50])
    before,texts = contents(photos),{n: os.readlink(photos/n) for n in names if (photos/n).is_symlink()}
    plan = sort_images(r, into, 'move')
    assert not plan.missing and {n: (into/to).read_bytes() for n,to in plan.files.items()}==before
    assert len(texts)==33 and all((into/plan.files[n]).is_symlink() for n in texts)
    assert not sort_images(r, into, 'move').missing
    assert not undo_sort(into).problems and contents(photos)==before
    assert texts=={n: os.readlink(photos/n) for n in names if (photos/n).is_symlink()}

def test_bad_undo_files(tmp_path):
    r,into = result(tmp_path, 20),tmp_path/'sorted'
    before = contents(tmp_path/'photos')
    with pytest.raises(FileNotFoundError, match='no undo file'): undo_sort(tmp_path/'none')
    (tmp_path/'f').write_text('{"a": 1}\n')
    with pytest.raises(ValueError, match='is no undo file'): undo_sort(tmp_path/'f')
    sort_images(r, into, 'move')
    file = into/sort.JOURNAL
    lines = file.read_text().splitlines()
    hostile = json.dumps({'from': '../out.png', 'to': 'x'})
    file.write_text('\n'.join([*lines[:3], 'no json', hostile, *lines[3:]])+'\n{"from": "cut')
    done = undo_sort(file)
    assert done.problems==[f'line {i} of the undo file cannot be read' for i in (4, 5)]
    assert contents(tmp_path/'photos')==before and not (tmp_path/'out.png').exists()
    # the folder of the images has another name now
    file.unlink()
    sort_images(r, into, 'move')
    (tmp_path/'photos').rename(tmp_path/'pictures')
    with pytest.raises(FileNotFoundError, match='--images'): undo_sort(into)
    assert not undo_sort(into, tmp_path/'pictures').problems and contents(tmp_path/'pictures')==before

def test_images_that_are_gone_are_told(tmp_path):
    r = result(tmp_path, 20)
    gone = tmp_path/'photos'/next(iter(contents(tmp_path/'photos')))
    gone.unlink()
    for how in (None, 'copy'):
        plan = sort_images(r, tmp_path/'sorted', how)
        assert len(plan.missing)==1
        assert sum(plan.counts.values())==19 and '1 not there, such as' in plan.tree()
    (r/'head'/'config.json').write_text('{}')
    with pytest.raises(ValueError, match='does not tell the folder'): sort_images(r, tmp_path/'s2')
    assert sort_images(r, tmp_path/'s2', images=tmp_path/'photos').missing
    (r/'assignments.csv').write_text('path,cluster,confidence\n../../etc/passwd,0,.9\n')
    with pytest.raises(ValueError, match='no path within'): sort_images(r, tmp_path/'s2', 'move')
    (r/'assignments.csv').write_text('path,cluster\n')
    with pytest.raises(ValueError, match='holds no images'): sort_images(r, tmp_path/'s2', 'move')
    assert not (tmp_path/'s2').exists()

def test_two_at_once(tmp_path):
    from filelock import FileLock
    r,into = result(tmp_path, 20),tmp_path/'sorted'
    into.mkdir()
    with FileLock(into/'.scp_sort.lock'):
        with pytest.raises(RuntimeError, match='another scp_sort'): sort_images(r, into, 'copy')
    assert len(contents(tmp_path/'photos'))==20

def test_printing_in_a_narrow_terminal(tmp_path, monkeypatch):
    import io
    r = result(tmp_path, 20)
    (tmp_path/'photos'/next(iter(contents(tmp_path/'photos')))).unlink()
    for encoding,branch in (('ascii', b'|-- '), ('cp1252', b'|-- '), ('utf-8', '├── '.encode())):
        out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, 'stdout', out)
        sort.scp_sort(str(r), into=str(tmp_path/'s'))
        assert branch in out.buffer.getvalue()
    monkeypatch.setattr(sys, 'stdout', None)                  # a window of its own, as pythonw has
    sort.scp_sort(str(r), into=str(tmp_path/'s'))

def test_a_pipe_that_was_closed(tmp_path, warm):
    "As with `scp_sort ... | head -1`: everything is moved, and no error is told"
    r,into = result(tmp_path, 20),tmp_path/'sorted'
    code = ('import sys; sys.argv = ["scp_sort"]; from scp_nb.cluster.sort import scp_sort; '
            f'scp_sort({str(r)!r}, into={str(into)!r}, move=True)')
    read,write = os.pipe()
    os.close(read)
    done = subprocess.run([*warm, '-c', code], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr)==(0, '') and not contents(tmp_path/'photos')
    assert not undo_sort(into).problems and len(contents(tmp_path/'photos'))==20
