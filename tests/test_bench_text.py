"The suite that compares image pairs with text pairs, from the command and on real packs"
import json
import numpy as np, pytest, torch
from scp_nb.bench import text
from scp_nb.bench.common import shared_folder
from scp_nb.bench.suites import scp_bench

pytestmark = pytest.mark.usefixtures('short_search')

def packs(folder, width=24, words=24):
    "A set like WHU-RS19 with three classes, and words"
    rng = np.random.default_rng(0)
    y = np.arange(60)%3
    centres = rng.standard_normal((3, width))+3*rng.standard_normal(width)
    X = centres[y]+.3*rng.standard_normal((60, width))
    np.savez(folder/'whurs19_clip_vitb32.npz', features=X, labels=y, classes=list('abc'),
             class_text_features=centres)
    np.savez(folder/'words_clip_vitb32.npz', features=np.resize(centres, (40, words)),
             words=['word']*40)

def test_command_goes_on_and_repeats(tmp_path, monkeypatch, capsys):
    packs(tmp_path)
    for name,few in dict(STEPS=20, COUNTS=(25,), NOISE=(.5,), SHARES=(.5,)).items():
        monkeypatch.setattr(text, name, few)
    out = tmp_path/'r'
    def run(**kw):
        scp_bench('text', out=str(out), data=str(tmp_path), jobs=0, **kw)
        return json.loads((out/'text.json').read_text())
    first = run(quick=True)
    assert {r['seed'] for r in first['runs']}=={0}
    more = run(sets='whurs19,dtd', seeds=2)['runs']
    assert more[:len(first['runs'])]==first['runs'] and {r['seed'] for r in more}=={0, 1}
    assert 'dtd is left out: no dtd_clip_vitb32.npz' in capsys.readouterr().out
    assert '## purity' in (out/'text.md').read_text()
    # who starts anew leaves the jobs of other suites in the directory alone
    other = out/'runs'/'digits~cpp, fit_cpp~0.json'
    other.write_text(json.dumps(dict(suite='cpp', task='digits', group='cpp, fit_cpp', seed=0, rows=[])))
    assert run(sets='whurs19', seeds=1, force=True)==first and other.is_file()

def test_words_of_another_network(tmp_path):
    packs(tmp_path, words=32)
    with pytest.raises(ValueError, match='24 numbers each and words 32'):
        scp_bench('text', out=str(tmp_path/'a'), data=str(tmp_path), quick=True)
    assert not (tmp_path/'a').exists()
    with pytest.raises(FileNotFoundError, match='no words_clip_vitb32.npz'):
        scp_bench('text', out=str(tmp_path/'a'), data=str(tmp_path/'none'), quick=True)

def test_bad_requests_are_told(tmp_path):
    packs(tmp_path)
    (tmp_path/'full').mkdir()
    (tmp_path/'full'/'mine.txt').write_text('keep me')
    def run(**kw): scp_bench('text', **dict(out=str(tmp_path/'a'), data=str(tmp_path), jobs=0) | kw)
    with pytest.raises(ValueError, match='seeds must be 1 or more; got -1'): run(seeds=-1)
    with pytest.raises(ValueError, match='"digits" is no set of CLIP features'): run(sets='digits')
    with pytest.raises(FileNotFoundError, match='no folder of data was given'): run(data=None)
    with pytest.raises(FileExistsError, match='"full" holds something else'): run(out=str(tmp_path/'full'))
    assert not (tmp_path/'a').exists()

data = shared_folder()/'data'

@pytest.mark.skipif(not (data/'words_clip_vitb32.npz').is_file(), reason='needs the packs of CLIP')
@pytest.mark.parametrize('name', text.TASKS)
def test_real_words_are_of_the_network_and_turned_ones_not(name, recwarn):
    if not (data/text.task_file(name)).is_file(): pytest.skip(f'needs {text.task_file(name)}')
    X,(W,_) = torch.from_numpy(text.load_task(name, data)[0]),text.load_words(data)
    text.check_words(X, W)
    assert not len(recwarn)
    turn = torch.linalg.qr(torch.randn(512, 512, generator=torch.Generator().manual_seed(0)))[0]
    with pytest.warns(UserWarning, match='another network'): text.check_words(X, W@turn)
