"The broad suite: its tasks, its runner that may be stopped, and the arithmetic of its summary"
import json, sys
import numpy as np, pandas as pd, pytest
from scp_nb.bench import broad as broad, queue as queue
from scp_nb.bench.suites import scp_bench

small = dict(say=None, tasks=['digits@50'], only=['k-means'], seeds=2, jobs=0)

def test_the_list_has_every_kind():
    tasks = broad.TASKS
    assert len(tasks)>=36 and len(set(tasks))==len(tasks)
    assert {broad.task_family(t) for t in tasks}=={'clip', 'tiny', 'photos', 'pixels'}
    ratios = {}
    for t in tasks:
        base,_,ratio = t.partition('@')
        ratios.setdefault(base, set()).update({int(ratio)} if ratio else ())
    assert sum(len(r)>=2 for r in ratios.values())>=6          # sets in several uneven versions
    assert any('*' in t for t in tasks) and any('+copies' in t for t in tasks)
    assert set(broad.QUICK)<=set(tasks)
    assert {broad.task_family(t) for t in broad.QUICK}=={broad.task_family(t) for t in tasks}
    for mark in '/@*+': assert any(mark in t for t in broad.QUICK)

def test_loading_is_deterministic_and_is_what_the_name_says(shared):
    data = shared/'data'
    for name in ('dtd/10@10', 'whurs19*12', 'signdigits+copies', 'tiny100/5.1'):
        X,y = broad.load_task(name, data)
        again,same = broad.load_task(name, data)
        assert (X==again).all() and (y==same).all() and X.dtype==np.float32
        assert np.unique(y).tolist()==list(range(y.max()+1)) and len(X)==len(y)
    sizes = np.bincount(broad.load_task('dtd/10@10', data)[1])
    assert len(sizes)==10 and sizes.max()==60 and sizes.min()==6
    assert len(broad.load_task('whurs19*12', data)[0])==8000//12*12
    X,_ = broad.load_task('signdigits+copies', data)
    assert len(X)==2062+20*103 and len(np.unique(X, axis=0))<=2062
    one,other = (broad.load_task(f'tiny100/5{draw}', data)[0] for draw in ('', '.1'))
    assert one.shape==other.shape and (one!=other).any()       # another draw takes other classes

def test_what_is_done_is_skipped_and_redone_when_asked(tmp_path):
    broad.bench_broad(tmp_path, **small)
    files = sorted((tmp_path/'runs').glob('*.json'))
    assert len(files)==2
    for f in files:                                            # a mark that only a new run can remove
        job = json.loads(f.read_text())
        job['rows'][0]['ACC'] = .123
        f.write_text(json.dumps(job))
    found = broad.bench_broad(tmp_path, **small)
    # both kept, and the files are what is summarised
    assert found['ACC'].loc['digits@50', 'k-means']==.123
    said = []
    found = broad.bench_broad(tmp_path, **dict(small, say=said.append), redo=['k-means'])
    assert said[0]=='2 jobs, 0 of them done before' and len(said)==3
    assert found['ACC'].loc['digits@50', 'k-means']>.4

def test_a_failing_method_is_recorded_and_tried_again(tmp_path, monkeypatch):
    def fails(Z, k, seed): raise MemoryError('no room\nfor it')
    real = broad.broad_methods
    bad = {'k-means': broad.Group(lambda X, seed: X, {'k-means': fails})}
    monkeypatch.setattr(broad, 'broad_methods', lambda priors=False: real(priors)|bad)
    # the next one still runs
    found = broad.bench_broad(tmp_path, **dict(small, seeds=1, only=['k-means', 'Ward']))
    assert found['failed'].error.tolist()==['MemoryError: no room for it'] and found['ACC'].shape==(1,1)
    assert 'no room' in (tmp_path/'broad.md').read_text()
    job = dict(suite='broad', task='digits@50', group='k-means', seed=0)
    written = json.loads(queue.job_file(tmp_path, job).read_text())
    assert written==dict(job, error='MemoryError: no room for it')
    monkeypatch.undo()
    said = []
    found = broad.bench_broad(tmp_path, **dict(small, seeds=1, say=said.append))
    assert said[0]=='1 jobs, 0 of them done before' and not len(found['failed']) and found['ACC'].shape==(1,2)

def frame():
    "Three tasks, three methods, two seeds; the last task is beyond Ward"
    ACC = dict(a=dict(fit_head=.8, A=.7, Ward=.75), b=dict(fit_head=.6, A=.6004, Ward=.5),
               c=dict(fit_head=.5, A=.53))
    def run(t, m, seed, acc):
        acc += (seed-.5)*.06 if (t,m)==('a', 'fit_head') else 0
        return dict(task=t, family='tiny' if t=='c' else 'clip', method=broad.UMAP_PEER if m=='A' else m,
                    seed=seed,
                    n=dict(a=500, b=900, c=9000)[t], ACC=acc, NMI=acc, ARI=acc, noise=0., clusters=4,
                    seconds=2. if m=='fit_head' else 4., ECE=.1 if t=='c' else .02, empty=int(t=='b'))
    return pd.DataFrame([run(t, m, s, acc) for t,row in ACC.items() for m,acc in row.items()
                         for s in range(2)])

def test_the_arithmetic_of_the_summary():
    found = broad.broad_summary(frame())
    A,methods = broad.UMAP_PEER,found['methods']
    assert methods['first'].to_dict()=={'fit_head': 2, 'Ward': 0, A: 2}            # b is a tie within .0005
    assert methods['alone'].to_dict()=={'fit_head': 1, 'Ward': 0, A: 1}
    assert methods.tasks['Ward']==2 and np.isclose(methods['fit_head there']['Ward'], .7)
    families = found['families']
    best = families.loc['best peer of each task']
    assert np.isclose(best['clip'], (.75+.6004)/2) and np.isclose(best['all tasks'], (.75+.6004+.53)/3)
    assert np.isclose(best['all families'], ((.75+.6004)/2+.53)/2) and np.isnan(families.loc['Ward', 'tiny'])
    assert found['common'].tasks['fit_head']==2
    margins = found['margins']
    assert margins.index.tolist()==['c', 'b', 'a'] and np.allclose(margins.margin, [-.03, -.0004, .05])
    assert margins['best peer'].tolist()==[A, A, 'Ward']
    lines = found['headline'].set_index('figure')
    assert lines.value['worst margin']==-.03 and lines['where']['worst margin']==f'c: {A}'
    # a moves by .03
    assert np.isclose(lines.value['share of tasks with spread ≤ .02'], 2/3, atol=1e-4)
    assert np.isclose(lines.value['mean ECE'], .14/3, atol=1e-4) and lines['where']['worst ECE']=='c'
    assert lines.value['tasks with an empty cluster']==1
    assert lines['where']['tasks with an empty ' 'cluster']=='b'
    assert found['time'].ratio.tolist()==[.5, .5, .5] and found['time'].tasks.tolist()==[2, 1, 3]
    assert found['tasks'].loc['a', 'fit_head']=='0.800 ± 0.030' and found['tasks'].loc['c', 'Ward']==''

def test_priors_have_their_own_table_and_are_never_first():
    runs = frame()
    ours = runs[runs.method=='fit_head']
    runs = pd.concat([runs, ours.assign(method='fit_head, uniform', ACC=ours.ACC+.1),
                      ours.assign(method='fit_head, learned', ACC=.1)])
    found = broad.broad_summary(runs)
    assert np.allclose(found['priors'].short, .1) and 'fit_head, uniform' not in found['methods'].index
    assert found['methods']['first']['fit_head']==2

def test_the_command_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scp_bench('quality', suite='broad', out='r', sets='digits@50,digits@10', only='k-means', seeds=1, jobs=1)
    said = capsys.readouterr().out
    assert '2 jobs, 0 of them done before' in said and 'broad.json' in said
    runs = broad.read_broad('r/broad.json')
    assert runs.task.tolist()==['digits@10', 'digits@50'] and set(runs.method)=={'k-means'}
    assert (runs.ACC>.3).all()
    assert '## methods' in (tmp_path/'r'/'broad.md').read_text()
    assert set(json.loads((tmp_path/'r'/'broad.json').read_text()))=={'versions', 'columns', 'runs'}
    monkeypatch.setattr(sys, 'argv', ['scp_bench'])
    for kw,what in [(dict(), 'no folder of data'), (dict(data='none'), 'no folder "none"'),
                    (dict(data='.'), '"." lacks'),
                    (dict(sets='digits', only='k-mean'), 'no method'),
                    (dict(sets='digit'), 'no task "digit"')]:
        with pytest.raises(SystemExit) as e: scp_bench('quality', suite='broad', out='s', **kw)
        line = capsys.readouterr().err
        assert e.value.code==2 and what in line and line.count('\n')==1, line
    assert not (tmp_path/'s').exists()
