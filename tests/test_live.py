"""The live view without a browser: traits, clicks, throttle, background, interrupts, and a notebook run by
nbclient"""
import json, re, signal, threading, time
from html import unescape
import nbformat, numpy as np, pytest
from ipywidgets import Widget
from PIL import Image
from scp_nb.cluster.clusters import Clusters
from scp_nb.cpp import CPPSettings, fit_cpp
from scp_nb.data import ImageFiles
from scp_nb.live import LiveClusters
from scp_nb.train import Callback, fit_head

pytestmark = pytest.mark.usefixtures('short_search')
rng = np.random.default_rng(0)
X = (4*np.eye(3, 8)[rng.integers(0, 3, 150)]+rng.normal(size=(150, 8))).astype(np.float32)
forever = dict(n_heads=2, epochs=1_000_000, batch_size=64)
cpp_forever = dict(steps=1_000_000, warmup=20, settings=CPPSettings(batch_size=64))
LONG = 60       # seconds after which something hangs; nothing here is meant to be measured

class Count(Callback):
    "Count epochs, and tell when the first has passed"
    def __init__(self): self.n,self.began = 0,threading.Event()
    def on_epoch_end(self, run): self.n += 1; self.began.set()

class Made(Clusters):
    "Clusters made by hand"
    def __init__(self, n, k):
        super().__init__(np.random.default_rng(1).dirichlet(np.full(k, .1), n).astype(np.float32), None, None)

@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path/'pictures'
    folder.mkdir()
    for i in range(len(X)): Image.fromarray(np.full((40, 40, 3), i, np.uint8)).save(folder/f'{i:03d}.png')
    return ImageFiles(folder)

def follow(view, epochs, seconds, draw, clock):
    "Let a made-up fit of `epochs` pass on a clock of our own, where drawing takes `draw` seconds"
    from scp_nb.cluster.loop import Run
    def drawn(run): clock[0] += draw
    view._draw,view.show = drawn,lambda: None
    run = Run(n=150, n_clusters=3, epochs=epochs)
    view.on_fit_begin(run)
    for run.epoch in range(1, epochs+1):
        clock[0] += seconds
        view.on_epoch_end(run)
    return view.budget

@pytest.mark.parametrize('seconds,draw', [(.001, .004), (.01, .03), (.05, .001), (2., .5)])
def test_throttle(seconds, draw):
    clock = [0.]
    view = LiveClusters(X, widgets=True, clock=lambda: clock[0])
    b = follow(view, 4000, seconds, draw, clock)
    assert b.drawn>10
    assert b.share<=.03+draw/b.elapsed                   # one drawing at most is not foreseen: the first
    assert b.drawn<=b.elapsed/.2+1                       # five a second at most

def test_traits(pictures):
    view = LiveClusters(X, pictures, widgets=True)
    clusters = view.run(3, n_heads=2, epochs=20)
    p = view.parts
    assert view.clusters is clusters and view.state=='done'
    assert 'scpl-done' in p.head.value and '150 images in 3 clusters' in p.head.value
    assert 'width:100.0%' in p.head.value
    # a map to explore, with the drawn one for readers without scripts
    page = unescape(re.search('srcdoc="(.*?)"', p.map.value, re.S)[1])
    assert page.count('<svg')==1 and page.count('<image')==3 and 'exploreMap' in page
    assert p.cards.value.count('<img')==3*10 and p.side.value.count('<polyline')>=1
    assert [b.description for b in p.chips.children]==['0', '1', '2']
    assert p.pause.disabled and p.stop.disabled and not p.snapshot.disabled
    state = json.dumps(Widget.get_manager_state())
    assert 'scpl-done' in state
    html = view._repr_mimebundle_()['text/html']
    assert all(w in html for w in ('<svg', '<img', 'done')) and 'src="http' not in html

def test_same_result():
    for fit,kw in ((fit_head, dict(n_heads=2, epochs=5)), (fit_cpp, dict(steps=20, warmup=20))):
        seen = LiveClusters(X, widgets=True, every=0, budget=1).run(3, fit, **kw)
        np.testing.assert_array_equal(seen.probs, fit(X, 3, **kw).probs)

@pytest.mark.parametrize('fit,kw',
                         [(fit_head, forever), (fit_cpp, cpp_forever)])
def test_background_stop(fit, kw):
    view,count = LiveClusters(X, widgets=True),Count()
    assert view.run(3, fit, background=True, callbacks=[count], **kw) is None
    assert count.began.wait(LONG)
    assert not view.parts.stop.disabled
    with pytest.raises(RuntimeError, match='still following'): view.run(3)
    view.parts.stop.click()
    n = count.n
    clusters = view.wait(LONG)
    # the epoch under way, and one of the next round
    assert clusters is not None and view.state=='stopped' and count.n<=n+2
    assert clusters.n_clusters==3 and 'scpl-stopped' in view.parts.head.value

def test_pause():
    view,count = LiveClusters(X, widgets=True),Count()
    view.run(3, background=True, callbacks=[count], **forever)
    assert count.began.wait(LONG)
    view.parts.pause.click()
    until = time.monotonic()+LONG
    while view.state!='paused' and time.monotonic()<until: time.sleep(.01)
    n = count.n
    assert view.parts.pause.description=='Go on' and 'scpl-paused' in view.parts.head.value
    time.sleep(.3)
    assert count.n<=n+1
    view.parts.pause.click()
    n = count.n
    while count.n<n+5 and time.monotonic()<until: time.sleep(.01)
    assert count.n>=n+5 and view.budget.idle>.2
    view.parts.pause.click(); view.parts.stop.click()                            # stopping ends a pause, too
    assert view.wait(LONG) is not None

@pytest.mark.parametrize('fit,kw',
                         [(fit_head, forever), (fit_cpp, cpp_forever)])
def test_ctrl_c(fit, kw):
    "One Ctrl-C in the foreground: the model so far, and no exception"
    view,count = LiveClusters(X, widgets=False),Count()
    def press():
        count.began.wait(LONG)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    threading.Thread(target=press, daemon=True).start()
    clusters = view.run(3, fit, callbacks=[count], **kw)
    assert clusters.n_clusters==3 and view.state=='stopped'

def test_error_in_training():
    view = LiveClusters(X, widgets=True)
    def fit(features, k, callbacks): raise FloatingPointError('the <loss> is not finite')
    view.run(3, fit, background=True)
    with pytest.raises(FloatingPointError, match='not finite'): view.wait(LONG)
    assert view.state=='failed' and 'the &lt;loss&gt; is' in view.parts.head.value
    with pytest.raises(ValueError, match='n_clusters'): view.run(0)
    assert view.run(3, n_heads=2, epochs=2).n_clusters==3                        # and can be used again
    assert view.state=='done' and view.error is None

def test_error_in_view(caplog):
    view = LiveClusters(X, widgets=True, every=0, budget=1)
    view._draw_map = lambda: 1/0
    # of the last drawing, after training
    with pytest.raises(ZeroDivisionError): view.run(3, n_heads=2, epochs=5)
    assert view.broken and sum('live view failed' in r.message for r in caplog.records)==1

def test_lines(capsys):
    view = LiveClusters(X)                                                       # pytest is no notebook
    assert not view.widgets
    view.run(3, n_heads=2, epochs=5)
    out = capsys.readouterr().out
    assert 'searching with many heads · epoch 1 of' in out and 'done:' in out
    assert 'Clusters: 150 images' in out and '<' not in out

def test_as_callback():
    view = LiveClusters(X, widgets=True)
    clusters = fit_head(X, 3, n_heads=2, epochs=5, callbacks=[view])
    assert view.state=='done' and view.clusters is None and view.parts.stop.disabled
    view.finish(clusters)
    assert len(view.parts.tools.children)==1

def test_edit_by_clicks():
    view = LiveClusters(X, widgets=True)
    clusters = view.run(3, n_heads=2, epochs=20)
    chips = view.parts.chips
    chips.children[0].click(); chips.children[2].click()
    assert view.chosen=={0, 2}
    view.edit.merge.click()
    assert view.clusters.n_clusters==2 and len(chips.children)==2 and clusters.n_clusters==3
    assert view.clusters.sizes.sum()==150 and '150 images in 2 clusters' in view.parts.head.value
    view.chosen = {0}
    view.edit.name.value = '<i>mine</i>'; view.edit.rename.click()
    assert '&lt;i&gt;mine' in view.parts.cards.value and '<i>mine' not in view.parts.cards.value
    view.edit.below.value = 1; view.edit.aside.click()
    assert view.clusters.n_outliers>0 and chips.children[-1].description=='outliers'
    chips.children[-1].click()
    assert -1 in view.chosen and 'outliers' in view.parts.cards.value
    for _ in range(3): view.edit.undo.click()
    assert view.clusters is clusters and view.edit.undo.disabled

def test_many_clusters():
    "Two hundred: a mark of its own for each of the first 160, few styles, a page of bearable size"
    Y = np.random.default_rng(0).normal(size=(3000, 16)).astype(np.float32)
    view = LiveClusters(Y, widgets=True)
    before = len(Widget.get_manager_state()['state'])
    view._build(); view._reset(200); view.finish(Made(3000, 200))
    assert len(view.parts.chips.children)==200 and len(view.on)==20
    assert len(Widget.get_manager_state()['state'])-before<300
    assert view.parts.side.value.count('<rect')==200 and len(view._page())<300_000

@pytest.mark.parametrize('n,k', [(1, 1), (2, 1), (2, 2)])
def test_few(n, k):
    view = LiveClusters(X[:n], widgets=True)
    view._build(); view._reset(k); view.finish(Made(n, k))
    assert f'{n} image{"s"*(n>1)} in {k} cluster{"s"*(k>1)}<' in view.parts.head.value
    view.choose(0)

def test_missing_images(pictures, tmp_path):
    for p in sorted((tmp_path/'pictures').iterdir())[:150]: p.unlink()
    view = LiveClusters(X, pictures, widgets=True)
    view.run(3, n_heads=2, epochs=60)
    assert view.stamps.missing>=3*10 and f'{view.stamps.missing} could not be read' in view.parts.head.value
    assert view.parts.cards.value.count('<img')==30                              # grey tiles

def test_notebook(tmp_path):
    """In a kernel without a browser: the widget is displayed, its state is saved, and the page that stays is
    that of the end"""
    from nbclient import NotebookClient
    code = ('import numpy as np\nfrom scp_nb.live import LiveClusters\nX = '
            'np.random.default_rng(0).normal(size=(90,8)).astype("f4")\nlive = LiveClusters(X)')
    cells = [code, 'live.run(3, n_heads=2, epochs=5, background=True)', 'clusters = live.wait()',
             'fg = LiveClusters(X); fg.run(2, n_heads=2, epochs=5)']
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nb.metadata['kernelspec'] = dict(name='python3', display_name='python3', language='python')
    NotebookClient(nb, timeout=120, resources={'metadata': {'path': str(tmp_path)}},
                   store_widget_state=True).execute()
    for i in (1, 3):
        data = nb.cells[i].outputs[0]['data']
        assert 'application/vnd.jupyter.widget-view+json' in data
        assert 'scpl-done' in data['text/html'] and '<svg' in data['text/html']
    assert nb.cells[2].outputs==[]
    state = nb.metadata['widgets']['application/vnd.jupyter.widget-state+json']['state']
    assert any('scpl-done' in str(w['state'].get('value')) for w in state.values())
