"""Galleries, map and report at their edges: many clusters, none, missing files, names with markup, size and
width of the page"""
import base64, hashlib, json, re
from html.parser import HTMLParser
from types import SimpleNamespace
import numpy as np
import pytest
from PIL import Image
from scp_nb.data import ImageArray, ImageFiles, digits
from scp_nb.evaluate import evaluate
from scp_nb.view.pick import Thumbnails, cluster_style, pick_images, tile
from scp_nb.show import report
from scp_nb.view.pictures import map_points, plot_map, save_png, show_clusters

NASTY = '<img src=x onerror=alert(1)>.png'


def made_up(labels, k=None, names=None, seed=0):
    "An object like `Clusters` with chosen labels"
    labels = np.asarray(labels)
    k = k or int(labels.max())+1
    probs = np.random.default_rng(seed).dirichlet(np.ones(k), len(labels)).astype(np.float32)
    probs[np.arange(len(labels)), np.maximum(labels, 0)] += 1
    probs /= probs.sum(1, keepdims=True)
    return SimpleNamespace(labels=labels, probs=probs, n_clusters=k, config={}, images=None,
                           confidence=probs.max(1),
                           names=names or [f'row-{i}' for i in range(len(labels))],
                           sizes=np.bincount(labels[labels>=0], minlength=k))


def noise(n, size, seed=0, names=None):
    return ImageArray(np.random.default_rng(seed).integers(0, 256, (n,size,size,3), dtype=np.uint8),
                      names=names)


def words(fig): return [t.get_text() for ax in fig.axes for t in ax.texts]


class Page(HTMLParser):
    "Tags that were left open, addresses that are used, pictures, ids"
    void = {'meta','link','img','br','use','path','input'}
    def __init__(self, text):
        super().__init__()
        self.open, self.urls, self.imgs, self.ids, self.tags = [], [], [], [], []
        self.feed(text)
    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.tags.append(tag)
        self.urls += [a[k] for k in ('src','href') if k in a]
        if 'id' in a: self.ids.append(a['id'])
        if tag=='img': self.imgs.append(a)
        if tag not in self.void or tag=='use': self.open.append(tag)
    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs); self.open and self.open[-1]==tag and self.open.pop()
    def handle_endtag(self, tag):
        assert self.open and self.open.pop()==tag, f'</{tag}> closes nothing'


@pytest.fixture(scope='module')
def digit_report(tmp_path_factory):
    "A report of the digits, sorted by a rule instead of a fit, to be quick"
    out, images = tmp_path_factory.mktemp('digits'), digits()
    X = np.stack([np.asarray(im.convert('L'), np.float32).ravel() for im in images])
    clusters = made_up(images.labels, names=list(images.names))
    page = report(clusters, images, X, out, scores=evaluate(images.labels, clusters),
                  provenance=dict(backbone='pixels', seed=0), title='digits')
    return page, page.read_text(encoding='utf-8')


def test_report_is_one_complete_file(digit_report):
    page, text = digit_report
    p = Page(text)
    assert not p.open and p.tags.count('article')==10 and p.tags.count('script')==3
    assert all(u.startswith(('data:','#')) for u in p.urls)
    assert not re.findall(r'https?://|url\(|@import', text)
    assert {u[1:] for u in p.urls if u.startswith('#')} <= set(p.ids) and len(p.ids)==len(set(p.ids))
    assert all(i['alt'].startswith('digits-') and i['title'].startswith(i['alt']) for i in p.imgs)
    assert 'ACC' in text and 'blind' in text.lower() and 'prefers-color-scheme: dark' in text
    assert 'pixels' in text
    assert sorted(f.name for f in page.parent.iterdir())==['gallery.png','map.png','report.html']
    for f in ('gallery.png','map.png'): assert Image.open(page.parent/f).width>400


def test_only_the_reports_own_script_may_run(digit_report):
    """The policy in the page names the digest of the one script that is code; the other one is data, and the
    page may load nothing"""
    text = digit_report[1]
    policy = re.search('Content-Security-Policy" content="([^"]*)"', text)[1]
    code,data,places = re.findall('<script(?: id="[a-z]+" type="application/json")?>(.*?)</script>', text,
                                  flags=re.S)
    assert len(json.loads(places)['clusters'])==10
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "'unsafe-eval'" not in policy
    assert sum(len(names) for names,_ in json.loads(data).values())==1797
    assert not re.search(r'\son\w+=', text.split('<body>')[1].split('<script')[0])


def test_tiny_images_are_kept_pixel_by_pixel(digit_report):
    p = Page(digit_report[1])
    assert all('px' in i.get('class', '').split() and i['src'].startswith('data:image/png') for i in p.imgs)


def test_names_with_markup_are_text(tmp_path):
    names = [NASTY, '"><script>alert(2)</script>.jpg', "it's {{ 7*7 }} & more.png", 'bad\udce4.png']
    c = made_up([0,0,1,1], names=names)
    im = noise(4, 40, names=names)
    im.skipped[NASTY+'2'] = '<i>broken</i>'
    text = report(c, im, np.eye(4), tmp_path, provenance={'<u>': NASTY, 'versions': None},
                  title=NASTY).read_text(encoding='utf-8')
    p = Page(text)
    assert not p.open and p.tags.count('script')==3 and 'u' not in p.tags
    listed = json.loads(re.search('type="application/json">(.*?)</script>', text, flags=re.S)[1])
    assert sorted(n for v in listed.values() for n in v[0])==sorted(names)
    assert all('onerror' not in i and i['src'].startswith('data:') for i in p.imgs)
    assert {i['alt'] for i in p.imgs}=={*names[:3],
                                        'bad?.png'} and '49' not in re.findall(r'it&#39;s .*? more', text)[0]
    assert '&lt;i&gt;broken' in text


def test_size_stays_bounded(tmp_path):
    "10,000 images in 300 clusters, thumbnails of the worst kind for JPEG"
    n, im = 10_000, noise(400, 96)
    class Repeat(ImageArray):
        def __getitem__(self, i): return im[int(i)%400]
    many = Repeat(np.zeros((n,1,1), np.uint8))
    c = made_up(np.random.default_rng(0).integers(300, size=n), k=300, names=list(many.names))
    page = report(c, many, None, tmp_path)
    assert page.stat().st_size<15e6
    text = page.read_text()
    assert text.count('<article')==200 and 'And 100 more clusters' in text


def test_missing_files_are_grey_and_counted(tmp_path):
    src = tmp_path/'photos'
    src.mkdir()
    for i in range(6): Image.new('RGB', (50,40), (40*i,0,0)).save(src/f'{i}.png')
    images = ImageFiles(src)
    for i in (1,4): (src/f'{i}.png').unlink()
    c = made_up([0,0,0,1,1,1], names=list(images.names))
    text = report(c, images, np.eye(6), tmp_path/'out').read_text()
    assert '2 files could not be read any more' in text and text.count('class="gone')>=2
    assert '<h1>photos</h1>' in text
    assert words(show_clusters(c, images))[-1]=='2 images could not be read (grey)'


@pytest.mark.parametrize('labels,k',
                         [([0], 1), ([0,0], 3), ([0,-1,-1,1], 2), ([-1,-1], 2), (list(range(200)), 200)])
def test_every_shape_of_clustering_draws(labels, k, tmp_path):
    c = made_up(labels, k)
    im = noise(len(labels), 20)
    X = np.random.default_rng(0).normal(size=(len(labels), 5))
    fig = show_clusters(c, im, features=X)
    assert fig._repr_png_()[1:4]==b'PNG'
    ax = plot_map(X, c, method='pca')
    assert ax.get_xlabel() and ax.figure._repr_png_()[1:4]==b'PNG'
    p = Page(report(c, im, X, tmp_path).read_text())
    assert not p.open and p.tags.count('article')==k+(-1 in labels)


def test_gallery_order_and_cut():
    c = made_up([0]*5+[1]*30+[2]*12)
    im = noise(47, 10)
    assert [p.cluster for p in pick_images(c)]==[1,2,0]
    p = pick_images(c)[0]
    # no features: confidence is centrality
    assert list(c.confidence[p.central])==sorted(c.confidence[p.central], reverse=True)
    assert c.confidence[p.doubtful].max()<=np.sort(c.confidence[c.labels==1])[2]
    w = words(show_clusters(c, im, max_clusters=2))
    assert w[:2]==['cluster 1', p.note] and w[-1].startswith('and 1 more cluster:')
    assert words(show_clusters(c, im, which=[0]))[0]=='cluster 0'


def test_images_are_found_by_name_or_position():
    im = noise(4, 8, names=['a','b','c','d'])
    t = Thumbnails(made_up([0,1], names=['d','b']), im)
    assert (t.name(0), np.array_equal(t[0], im[3]))==('d', True)
    assert Thumbnails(made_up([0]*4), im).name(2)=='c'
    with pytest.raises(ValueError, match='do not match'): Thumbnails(made_up([0,1]), im)
    with pytest.raises(ValueError, match='Pass images='): Thumbnails(made_up([0,1]))
    assert tile(t[0], 32).shape==(32,32,3)


def test_a_map_is_seeded_and_survives_bad_geometry():
    X = np.random.default_rng(0).normal(size=(120,6))
    assert np.array_equal(map_points(X, seed=3).xy, map_points(X, seed=3).xy)
    m = map_points(X, n=50, seed=1)
    assert len(m.rows)==50 and (np.diff(m.rows)>0).all() and m.xy.shape==(50,2)
    for bad in (np.zeros((30,4)), np.repeat(X[:3], 10, 0), X[:,:1], X*1e-30, X[:1], X[:2], X[:5]):
        assert np.isfinite(map_points(bad).xy).all()
    with pytest.raises(ValueError, match='umap'): map_points(X, method='umap')


def test_colours():
    marks = [cluster_style(c) for c in range(-1, 160)]
    assert len({(m.colour, m.marker) for m in marks})==161 and len({m.colour for m in marks[1:21]})==20


def test_files_of_others_are_kept(tmp_path):
    c, im = made_up([0,1]), noise(2, 8)
    (tmp_path/'notes.txt').write_text('mine')
    report(c, im, None, tmp_path)
    # our own are replaced
    report(c, im, None, tmp_path, title='again')
    assert '<h1>again</h1>' in (tmp_path/'report.html').read_text()
    assert (tmp_path/'notes.txt').read_text()=='mine'
    (tmp_path/'report.html').write_text('mine too')
    with pytest.raises(FileExistsError, match='force=True'): report(c, im, None, tmp_path)
    assert (tmp_path/'report.html').read_text()=='mine too'
    with pytest.raises(FileExistsError): save_png(show_clusters(c, im), tmp_path/'notes.txt')
    assert sorted(f.name for f in tmp_path.iterdir())==['gallery.png','notes.txt','report.html']


@pytest.mark.parametrize('call,word', [
    (lambda c, im: show_clusters(c, im, which=[9]), 'numbered 0 to 1'),
    (lambda c, im: show_clusters(c, im, n_images=0), 'no central image'),
    (lambda c, im: show_clusters(c, im, features=np.eye(5)), '5 rows of features'),
    (lambda c, im: plot_map(np.eye(5), c), 'more rows')])
def test_wrong_calls_say_what_is_wrong(call, word):
    with pytest.raises(ValueError, match=word): call(made_up([0,0,1]), noise(3, 8))


def test_the_curve_of_k_is_drawn_and_explained(tmp_path):
    c, im = made_up([0,0,1,1]), noise(4, 20)
    k = SimpleNamespace(k=3, interval=(2,5), curve=dict(k=[2,3,5,9], bits=[90.,80.,85.,np.nan]))
    text = report(c, im, out=tmp_path, k_estimate=k).read_text()
    points = re.search('<polyline class="line" points="([^"]*)"', text)[1].split()
    assert len(points)==3 and 'The estimate is 3, between 2 and 5. This report has 2.' in text
    assert '<dt>clusters estimated</dt><dd>3</dd>' in text
    assert 'polyline' not in report(c, im, out=tmp_path,
                                    k_estimate=SimpleNamespace(k=2)).read_text().split('</style>')[1]
    with pytest.raises(TypeError, match='estimate_k'): report(c, im, out=tmp_path, k_estimate=2)


def test_what_clusters_and_features_know_of_themselves_is_told(tmp_path):
    from scp_nb.features import Features
    c, im = made_up([0,0,1,1]), noise(4, 20)
    c.config = dict(method='SCP', seed=7, device='cpu', seconds=1.25)
    f = Features(np.eye(4, dtype=np.float32), meta=dict(spec='pixels?size=8', seconds=.5))
    text = report(c, im, f, tmp_path, provenance=dict(seed=None, note='mine')).read_text()
    told = dict(re.findall('<dt>([^<]*)</dt><dd>([^<]*)</dd>', text))
    assert told['backbone']=='pixels?size=8' and told['time']=='0.5 s for features, 1.2 s for training'
    assert told['note']=='mine'
    assert 'seed' not in told and 'scp_nb' in told['versions'] and told['made']
