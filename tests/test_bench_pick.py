"The suite that compares picked images with random ones, from the command"
import json
from scp_nb.bench import pick
from scp_nb.bench.suites import scp_bench

def test_command_goes_on(tmp_path, monkeypatch, capsys):
    said = []
    def fake(name, data, seed):
        said.append((name, seed))
        return [dict(task=name, seed=seed, k=2, n=2, C=1., by=b, ACC=.5+.1*(b=='mixed'))
                for b in ('random', *pick.PICKS)]
    monkeypatch.setattr(pick, 'pick_task', fake)
    out = tmp_path/'p'
    scp_bench('pick', out=str(out), sets='digits', seeds=1)
    scp_bench('pick', out=str(out), sets='digits', seeds=2)
    assert said==[('digits', 0), ('digits', 1)]
    assert len(json.loads((out/'pick.json').read_text())['runs'])==10
    assert '| 1.0 | k |' in (out/'pick.md').read_text()
    assert 'mixed 0.600, random 0.500' in capsys.readouterr().out
    scp_bench('pick', out=str(out), sets='digits', seeds=1, force=True)
    assert len(json.loads((out/'pick.json').read_text())['runs'])==5
