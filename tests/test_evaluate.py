"The scores against slow loops written from their definitions, on random partitions"
import math
from itertools import combinations, permutations
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scp_nb.evaluate import (Scores, blind_scores, clustering_accuracy, evaluate, match_clusters,
                             partition_scores, plot_confusion,
                             random_partition)

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4)), min_size=1, max_size=40)


def slow_acc(y, c):
    "All one-to-one mappings, one by one"
    ids, classes = sorted(set(c)-{-1}), sorted(set(y))
    slots = [*classes, *['none']*len(ids)]
    return max(sum(dict(zip(ids, p)).get(b, 'none')==a for a,b in zip(y, c))
               for p in set(permutations(slots, len(ids))))/len(y) if ids else 0.


def entropy(x): return -sum((p:=x.count(v)/len(x))*math.log(p) for v in set(x))


def slow_nmi(y, c):
    "Arithmetic-mean normalised mutual information, in nats, by loops"
    hy, hc, hyc = entropy(y), entropy(c), entropy(list(zip(y, c)))
    return 1. if len(set(y))==len(set(c))==1 else (hy+hc-hyc)/((hy+hc)/2)


def slow_ari(y, c):
    "Adjusted Rand index by looking at every pair of images"
    together = list(combinations(range(len(y)), 2))
    a = sum(y[i]==y[j] for i,j in together)
    b = sum(c[i]==c[j] for i,j in together)
    both = sum(y[i]==y[j] and c[i]==c[j] for i,j in together)
    if not together: return 1.
    expected, top = a*b/len(together), (a+b)/2
    return 1. if top==expected else (both-expected)/(top-expected)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), min_size=1, max_size=25))
def test_acc_is_the_best_of_all_mappings(rows):
    y, c = [r[0] for r in rows], [r[1] for r in rows]
    assert clustering_accuracy(y, c)==pytest.approx(slow_acc(y, c), abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(pairs)
def test_nmi_and_ari_are_their_definitions(rows):
    y, c = [r[0] for r in rows], [r[1] for r in rows]
    got = partition_scores(y, c)
    assert got['NMI']==pytest.approx(slow_nmi(y, c), abs=1e-9)
    assert got['ARI']==pytest.approx(slow_ari(y, c), abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(pairs, st.permutations(range(5)))
def test_scores_do_not_see_the_numbers_of_clusters(rows, names):
    y, c = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    renamed = np.array([names[v] if v>=0 else -1 for v in c])
    assert partition_scores(y, c)==pytest.approx(partition_scores(y, renamed), abs=1e-12)


@settings(max_examples=80, deadline=None)
@given(pairs)
def test_match_keeps_every_image(rows):
    y, c = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    m = match_clusters(y, c)
    assert m.n==len(y) and m.table.sum()==(c>=0).sum() and m.outliers.sum()==(c<0).sum()
    assert len(set(m.mapping.values()))==len(m.mapping)
    right = sum(m.mapping.get(b, None)==a for a,b in zip(y.tolist(), c.tolist()) if b>=0)
    assert m.accuracy==pytest.approx(right/len(y)) and list(m.mapping)==m.clusters[:len(m.mapping)]


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(0, 9))
def test_blind_partition_has_the_same_sizes(rows, seed):
    c = np.array([r[1] for r in rows])
    np.testing.assert_array_equal(np.sort(random_partition(c, seed)), np.sort(c))


def test_blind_batch_of_1024_in_1000_classes():
    "literature.md 2.4: a partition that saw nothing scores about .62 ACC and .95 NMI on such a batch"
    y = np.random.default_rng(1).integers(1000, size=1024)
    got = blind_scores(y, np.arange(1024)%1000, draws=2)
    assert got['ACC'][0]==pytest.approx(.62, abs=.03) and got['NMI'][0]==pytest.approx(.952, abs=.01)
    assert abs(got['ARI'][0])<.002


def test_more_and_fewer_clusters_than_classes():
    y = [0]*4+[1]*4
    assert clustering_accuracy(y, [0,0,1,1,2,2,3,3])==.5
    assert clustering_accuracy(y, [0]*8)==.5
    assert clustering_accuracy(['x']*3, [5,5,6])==pytest.approx(2/3)


@pytest.mark.parametrize('labels,clusters,word', [
    (None, [0], 'labels are missing'), ([0], None, 'clusters are missing'), ([0,1], [0], 'One'),
    ([], [], 'shape [0]'), ([[0]], [0], 'shape [1, 1]'),
    ([-1,0], [0,0], 'without a label'), ([0,1], [0,-3], 'for outliers'), ([0.5,1], [0,1], 'fractions'),
    ([float('nan'),1], [0,1], 'NaN')])
def test_bad_input_says_what_is_wrong(labels, clusters, word):
    with pytest.raises(ValueError, match='(?i)'+word.replace('[', r'\[')) as e: evaluate(labels, clusters)
    assert '\n' not in str(e.value)


def test_scores_object():
    s = evaluate(np.repeat(['a','b'], 50), np.r_[np.repeat([0,1], 45), [-1]*10], draws=3)
    assert isinstance(s, Scores) and (s.n, s.n_clusters, s.n_classes, s.noise)==(100, 2, 2, .1)
    assert s.values.keys()==s.blind.keys()=={'ACC','NMI','ARI'}
    md = s._repr_markdown_()
    assert md.count('\n|')>=4 and '10.0% outliers' in md and 'sd of 3' in md and 'blind' in repr(s)
    assert evaluate([0,1]*9, [0,1]*9, seed=1).blind==evaluate([0,1]*9, [0,1]*9, seed=1).blind


def test_torch_tensors_and_pandas_are_accepted():
    pd, torch = pytest.importorskip('pandas'), pytest.importorskip('torch')
    assert clustering_accuracy(torch.tensor([0,0,1]), pd.Series([1,1,0]))==1
    assert clustering_accuracy(pd.Series(['a','b']), torch.tensor([3,9]))==1


def test_confusion_of_more_clusters_than_classes_and_outliers(tmp_path):
    ax = plot_confusion(np.arange(300)%3, np.r_[np.arange(290)%7, [-1]*10])
    assert [t.get_text() for t in ax.get_xticklabels()][-1]=='none'
    ax.figure.savefig(tmp_path/'c.png')
    assert (tmp_path/'c.png').stat().st_size>1000
