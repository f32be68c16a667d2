"What lies in a directory and is not ours stays as it is, and files that have changed are found"
import sys
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
