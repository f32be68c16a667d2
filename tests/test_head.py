"The three terms of SCP's loss against slow versions that follow the formulas letter by letter, in float64"
import math
import pytest, torch
from hypothesis import given, settings, strategies as st
from scp_nb.head import ClusterHead, balance, confidence, consistency, scp_loss

def probabilities(h, b, k, seed, sharp=1.):
    return (sharp*torch.randn(h, b, k, dtype=torch.float64,
                              generator=torch.Generator().manual_seed(seed))).softmax(-1)

def slow_consistency(P, Q, tau):
    b,k = P.shape
    def cos(u, v): return sum(a*c for a,c in zip(u,v))/math.sqrt(sum(a*a for a in u)*sum(c*c for c in v))
    columns = [[float(M[i,j]) for i in range(b)] for M in (P,Q) for j in range(k)]
    total = 0.
    for i in range(2*k):
        partner = i+k if i<k else i-k
        others = sum(math.exp(cos(columns[i], columns[e])/tau) for e in range(2*k) if e!=i)
        total -= math.log(math.exp(cos(columns[i], columns[partner])/tau)/others)
    return total/(2*k)

def slow_confidence(P, Q):
    return -sum(math.log(sum(float(a)*float(c) for a,c in zip(p,q))) for p,q in zip(P,Q))/len(P)

def slow_balance(P, prior):
    b,k = P.shape
    shares = [sum(float(P[i,j]) for i in range(b))/b for j in range(k)]
    return sum(s*math.log(s/q) for s,q in zip(shares, prior))

@settings(max_examples=25, deadline=None)
@given(st.integers(1,3), st.integers(2,12), st.integers(2,6), st.integers(0,10**6),
       st.sampled_from([.1,.5,5.]), st.sampled_from([.5,3.]))
def test_terms_equal_slow_versions(h, b, k, seed, tau, sharp):
    p,q = probabilities(h,b,k,seed,sharp),probabilities(h,b,k,seed+1,sharp)
    prior = probabilities(1,1,k,seed+2)[0,0]
    for i in range(h):
        assert consistency(p,q,tau)[i].item()==pytest.approx(slow_consistency(p[i],q[i],tau), abs=1e-9)
        assert confidence(p,q)[i].item()==pytest.approx(slow_confidence(p[i],q[i]), abs=1e-9)
        assert balance(p)[i].item()==pytest.approx(slow_balance(p[i], [1/k]*k), abs=1e-9)
        assert balance(p, prior)[i].item()==pytest.approx(slow_balance(p[i], prior.tolist()), abs=1e-9)

def test_total_is_the_weighted_sum():
    a,b = torch.randn(2,4,9,5, dtype=torch.float64)
    l = scp_loss(a, b, temperature=.7, weights=(2,3,7))
    p,q = a.softmax(-1),b.softmax(-1)
    want = [2*slow_consistency(p[i],q[i],.7)+3*slow_confidence(p[i],q[i])+
            7*(slow_balance(p[i],[.2]*5)+slow_balance(q[i],[.2]*5))/2 for i in range(4)]
    assert l.total.tolist()==pytest.approx(want, abs=1e-9)

def test_gradient_against_finite_differences():
    torch.manual_seed(0)
    a,b = torch.randn(2,2,6,3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x,y: scp_loss(x,y).total, (a,b))
    prior = torch.tensor([[[.5,.3,.2]]]*2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x,y: scp_loss(x,y,prior=prior).total, (a,b))

def test_terms_are_least_where_they_should_be():
    k,b = 4,40
    perfect = torch.eye(k, dtype=torch.float64)[torch.arange(b)%k][None]
    for seed in range(20):
        p = probabilities(1,b,k,seed,3.)
        assert consistency(p,p)>=consistency(perfect, perfect)-1e-9 and confidence(p,p)>=0
        assert balance(p)>=-1e-12
    assert confidence(perfect,perfect)==0 and balance(perfect)==pytest.approx(0, abs=1e-12)

@pytest.mark.parametrize('hidden', [None, 7])
def test_heads_do_not_touch_each_other(hidden):
    x,y = torch.randn(2,30,5)
    head = ClusterHead(5, 3, n_heads=4, hidden=hidden, seed=1)
    scp_loss(head(x), head(y)).total.sum().backward()
    alone = head.select(2)
    for p in alone.parameters(): p.requires_grad_()
    scp_loss(alone(x), alone(y)).total.sum().backward()
    for p,q in zip(head.parameters(), alone.parameters()):
        assert torch.allclose(p.grad[2:3], q.grad, atol=1e-6)
