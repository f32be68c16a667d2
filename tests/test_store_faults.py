"What lies in a directory and is not ours stays as it is, and files that have changed are found"
import os, sys, tarfile
from pathlib import Path
import numpy as np, pytest
from PIL import Image
from scp_nb import cli
from scp_nb.features import extract_features

def draw(folder, n=8, end='png', size=24):
    "Different pictures of noise"
    folder.mkdir(parents=True)
    for i in range(n): noise(i, size).save(folder/f'{i}.{end}')
    return folder

def noise(seed, size=24):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size,size,3), dtype=np.uint8))

def extract(images, out, **kw):
    return extract_features(images, 'pixels?size=8', out=out, progress=False, **kw)

@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    "Photos `p` in the working directory"
    monkeypatch.chdir(tmp_path)
    draw(Path('p'))

@pytest.fixture
def refused(monkeypatch, capsys):
    "Run a command as a person does; gives the line with which it refuses"
    def run(command, *args, **kw):
        monkeypatch.setattr(sys, 'argv', [command.__name__])
        with pytest.raises(SystemExit) as e: command(*args, **kw)
        line = capsys.readouterr().err.strip()
        assert e.value.code==2 and '\n' not in line, line
        return line
    return run

# ---- a folder of the user's own that is called `unfinished`

@pytest.mark.parametrize('finished', [False, True])
@pytest.mark.parametrize('force', [False, True])
def test_somebody_elses_unfinished_folder_is_not_touched(refused, finished, force):
    if finished: extract('p', 'art')
    novel = Path('art/unfinished/novel.txt')
    novel.parent.mkdir(parents=True); novel.write_text('mywork')
    line = refused(cli.scp_features, 'p', 'art', 'pixels', force=force)
    assert 'unfinished' in line and 'novel.txt' in line
    assert 'art' in refused(cli.scp_cluster, 'p', k='3', backbone='pixels', features='art')
    assert novel.read_text()=='mywork' and not Path('p-clusters').exists()

def test_files_of_the_system_do_not_stop_a_run(monkeypatch):
    "A window that was opened on a run that stopped leaves its own files there"
    def stop(*args): raise KeyboardInterrupt
    with monkeypatch.context() as m:
        m.setattr('scp_nb.extract.store._append_rows', stop)
        with pytest.raises(KeyboardInterrupt): extract('p', 'f')
    assert list(Path('f/unfinished').glob('*.part'))
    for name in ('.DS_Store', 'desktop.ini'): Path('f/unfinished', name).write_text('')
    assert len(extract('p', 'f'))==8 and not Path('f/unfinished').exists()

# ---- what --force may replace

def everything(folder): return {p.as_posix(): p.read_bytes() for p in Path(folder).rglob('*') if p.is_file()}

@pytest.mark.parametrize('name', ['map.png', 'gallery.png', 'report.html', 'skipped.csv', 'export.csv',
                                  'head/config.json', 'features'])
def test_force_replaces_nothing_that_no_run_wrote(refused, name):
    mine = Path('mine', name)
    mine.parent.mkdir(parents=True)
    if name.endswith('.png'): noise(99).save(mine)
    else: mine.write_text('my work')
    before = everything('.')
    for command,kw in ((cli.scp_cluster, dict(folder='p', backbone='pixels', export='csv')),
                       (cli.scp_demo, {})):
        if name==('features' if command is cli.scp_cluster else 'export.csv'): continue
        line = refused(command, k='3', out='mine', force=True, **kw)
        assert name.split('/')[0] in line and 'not ours' in line and everything('.')==before

@pytest.mark.parametrize('name', ['meta.json', 'skipped.csv', 'timing.json', 'features.npy'])
def test_force_replaces_no_file_that_only_has_the_name_of_features(refused, name):
    Path('mine').mkdir(); Path('mine', name).write_text('{}')
    before = everything('.')
    line = refused(cli.scp_features, 'p', 'mine', 'pixels', force=True)
    assert name in line and 'not ours' in line and everything('.')==before

def test_force_replaces_nothing_that_is_read(refused):
    "Photos with the names of our own files, before a run and beside what it wrote; a list that a run wrote"
    kw = dict(k='3', backbone='pixels', features='f', force=True)
    for name in ('map.png', 'gallery.png'): noise(len(name)).save(Path('p', name))
    before = everything('.')
    assert 'gallery.png' in refused(cli.scp_cluster, 'p', out='p', **kw) and everything('.')==before
    for name in ('map.png', 'gallery.png'): Path('p', name).unlink()
    for _ in range(2): cli.scp_cluster('p', out='p', **kw)
    for name in ('report.html', 'assignments.csv'):
        kept = everything('p')
        if name=='assignments.csv': line = refused(cli.scp_cluster, f'p/{name}', out='p', **kw)
        else:
            Path('p', name).rename('elsewhere.html')      # now map.png counts as one of the photos
            line = refused(cli.scp_cluster, 'p', out='p', **kw)
            Path('elsewhere.html').rename(Path('p', name))
        assert 'is read' in line and everything('p')==kept
    draw(Path('p/head/more'))
    assert 'is read' in refused(cli.scp_cluster, 'p/head/more', out='p', **kw)
    assert Path('p/head/more/0.png').exists()

# ---- pictures that were changed in place

def edit(path, at):
    "Change a byte between those at the start, in the middle and at the end; with a new time"
    data = bytearray(path.read_bytes())
    data[at] ^= 255
    path.write_bytes(data); os.utime(path, (1,1))

@pytest.mark.parametrize('kind', ['bmp', 'tiff'])
def test_an_uncompressed_picture_changed_in_place_is_found(kind):
    pictures = draw(Path('raw'), 6, kind, 96)
    assert (pictures/f'2.{kind}').stat().st_size==(pictures/f'3.{kind}').stat().st_size>24_000
    before = extract('raw', 'f').X
    edit(pictures/f'2.{kind}', 6000)
    os.utime(pictures/f'3.{kind}', (1,1))      # and this one was only touched
    with pytest.raises(FileExistsError, match=f'1 has changed .*2.{kind}'): extract('raw', 'f')
    after = extract('raw', 'f', update=True).X
    assert np.flatnonzero((before!=after).any(1)).tolist()==[2]

def test_an_uncompressed_picture_changed_in_a_tar_is_found():
    pictures = draw(Path('raw'), 6, 'bmp', 96)
    def pack(place):
        with tarfile.open(place, 'w') as t:
            for p in sorted(pictures.iterdir()): t.add(p, p.name)
    pack('a.tar')
    before = extract('a.tar', 'f').X
    for p in pictures.iterdir(): os.utime(p, (1,1))
    pack('a.tar')
    assert np.array_equal(extract('a.tar', 'f').X, before), 'packed again, nothing has changed'
    edit(pictures/'2.bmp', 6000); pack('a.tar')
    with pytest.raises(FileExistsError, match='1 has changed .*2.bmp'): extract('a.tar', 'f')
    assert np.flatnonzero((before!=extract('a.tar', 'f', update=True).X).any(1)).tolist()==[2]

# ---- one folder by several routes

def test_a_folder_by_another_route_has_the_same_features(tmp_path, capsys):
    "By .., by a link, by a link of another name; a folder of the same name elsewhere has features of its own"
    draw(Path('photos')); Path('q').mkdir()
    Path('link').symlink_to('photos'); Path('q/photos').symlink_to('../photos')
    run = {'k': '3', 'backbone': 'pixels'}
    for route in ('photos', 'q/../photos/', f'../{tmp_path.name}/photos', 'link', 'q/photos'):
        cli.scp_cluster(route, **run)
        assert ('earlier run' in capsys.readouterr().out)==(route!='photos')
    draw(Path('other/photos'), 9); cli.scp_cluster('other/photos', **run)
    assert sorted(map(str, Path().glob('*-features*')))==['photos-features', 'photos-features-2']

# ---- features and clusters in one place

@pytest.mark.parametrize('out', ['same', 'same/../same', 'p/../same/'])
@pytest.mark.parametrize('kept', [False, True])
def test_out_and_features_are_two_directories(refused, out, kept):
    if kept: extract('p', 'same')
    before = everything('.')
    for force in (False, True):
        line = refused(cli.scp_cluster, 'p', k='3', backbone='pixels', out=out, features='same', force=force)
        assert 'same' in line and everything('.')==before and Path('same').exists()==kept
    if kept: assert 'same' in refused(cli.scp_cluster, 'same', k='3', out=out, force=True)

def test_features_in_out_are_refused_before_the_work(refused):
    kw = dict(k='3', backbone='pixels', out='res', features='res/features')
    assert 'res/features' in refused(cli.scp_cluster, 'p', **kw) and not Path('res').exists()
    cli.scp_cluster('p', force=True, **kw)
    assert Path('res/features/features.npy').exists() and Path('res/report.html').exists()
