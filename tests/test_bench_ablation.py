"""What each part is worth: the arithmetic of what is left out, weights chosen elsewhere, and a run that may
be stopped"""
import json
import numpy as np, pandas as pd, pytest
from scp_nb.bench import ablation as ablation
from scp_nb.cluster.candidates import find_candidates
from scp_nb.cluster.choice import WEIGHTS
from scp_nb.bench.suites import scp_bench

def measured(task, **candidates):
    "Rows of candidates: silhouette, depth and ACC of each"
    return [dict(task=task, family=task[0], candidate=c, agreement=.5, silhouette=s, depth=m, evenness=.1,
                 clusters=3,
                 ACC=acc)
            for c,(s,m,acc) in candidates.items()]

def test_weights_are_chosen_on_the_other_families():
    # in a, b and c the silhouette is right and depth wrong, in d it is the other way round
    rows = [r for t in ('a1', 'b1', 'b2', 'c1') for r in measured(t, one=(.3,.1,.8), other=(.1,.9,.5))]
    rows += measured('d1', one=(.3,.1,.4), other=(.1,.9,.7))
    found = ablation.weights_left_out(pd.DataFrame(rows))
    assert found.tasks.tolist()==[1,2,1,1]
    assert np.allclose(found['default weights'], [.5,.5,.5,.7])     # .2 < .8
    assert np.allclose(found['chosen on others'], [.8,.8,.8,.4])    # which is wrong for d
    assert np.allclose(found['best there'], [.8,.8,.8,.7])
    chosen = found[list(WEIGHTS)]
    assert (.2*chosen.silhouette>.8*chosen.depth).all() and (chosen.silhouette==1).all()

def test_where_all_weights_are_equal_the_default_ones_stay():
    rows = [r for t in ('a1', 'b1') for r in measured(t, one=(.3,.9,.8), other=(.1,.1,.5))]
    found = ablation.weights_left_out(pd.DataFrame(rows))
    assert np.allclose(found[list(WEIGHTS)].astype(float), list(WEIGHTS.values()))
    assert not len(ablation.weights_left_out(pd.DataFrame(rows[:2])))       # one family has no others

@pytest.fixture(scope='module')
def one(): return ablation.ablate_task('digits@50', None)

def test_a_task_end_to_end(one):
    parts = one['parts']
    assert set(parts)=={'all', 'taught', 'best candidate', 'without refining', 'without narrowing',
                        'without doubt of heads', *(f'without {w}' for w in (*ablation.FAMILIES, *WEIGHTS))}
    assert parts['best candidate']>=parts['all']
    every = [*one['alone'].values(), *(c['ACC'] for c in one['candidates'].values())]
    assert parts['best candidate']==max(every)
    assert parts['without narrowing']!=parts['all']          # other neighbours, other clusters
    # what is scored is what the fit chose
    assert parts['all']==one['candidates'][one['chosen']]['ACC']
    assert all(0<v<=1 for v in parts.values()) and set(one['alone'])==set(ablation.FAMILIES)
    assert one['alone']['merged']==one['candidates']['merged 1']['ACC']
    assert json.loads(json.dumps(one))==one

def test_the_measures_kept_are_enough_to_choose_again(one):
    parts,_,candidates = ablation.ablation_frames([one])
    for m in WEIGHTS:
        weights = dict(WEIGHTS, **{m: 0})
        score = sum(w*candidates[c] for c,w in weights.items())
        assert candidates.ACC[score.idxmax()]==parts[f'without {m}'].iloc[0]

def test_what_is_left_out_takes_no_part():
    X = np.random.default_rng(0).standard_normal((90,5)).astype(np.float32)
    X[:30] += 4; X[30:60] -= 4
    _,space,found,_ = ablation.watched_fit(X, 3)
    for f in ablation.FAMILIES:
        assert f not in {ablation.family_of(c) for c in ablation.without_family(found, f)}
    less = ablation.without_family(found, 'heads')
    again = find_candidates(space, [f for f in ablation.FAMILIES if f!='heads'], refine=False)
    assert less.keys()==again.keys() and all((less[c]==again[c]).all() for c in less)

def test_copies_are_scored_with_what_they_copy(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150,8)).astype(np.float32)
    y = np.repeat(np.arange(3), 50)
    X[np.arange(150),y] += 9
    X,y = np.concatenate([X, X[:40]]),np.concatenate([y, y[:40]])
    monkeypatch.setattr(ablation, 'load_task', lambda name, data: (X, y))
    found = ablation.ablate_task('digits', None)
    assert (found['n'], found['searched'])==(190, 150) and found['parts']['all']==1

def test_the_command_goes_on_where_it_was_stopped(tmp_path, monkeypatch, one, capsys):
    made = []
    def fake(name, data, seed): made.append(name); return dict(one, task=name)
    monkeypatch.setattr(ablation, 'ablate_task', fake)
    call = dict(what='ablation', out=str(tmp_path/'a'))
    scp_bench(**call, sets='digits@50')
    scp_bench(**call, sets='digits@50,digits@10')
    assert made==['digits@50', 'digits@10'] and 'without refining' in capsys.readouterr().out
    # as in `TASKS`
    assert [r['task']
            for r in ablation.read_ablation(tmp_path/'a'/'ablation.json')]==['digits@10', 'digits@50']
    assert '| without refining |' in (tmp_path/'a'/'ablation.md').read_text()
    scp_bench(**call, sets='digits@50', force=True)
    assert made[2:]==['digits@50']
