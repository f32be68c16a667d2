"What a person meets in a browser: the report and the rendered docs, in headless Chromium"
import functools, http.server, shutil, subprocess, sys, threading, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pytest
from PIL import Image
from scp_nb.data import ImageFiles
from scp_nb.show import report

pytestmark = pytest.mark.browser
root = Path(__file__).resolve().parent.parent
NASTY = '<img src=x onerror=document.title=1>.png'


@pytest.fixture(scope='module')
def chromium():
    "A headless Chromium of this machine, driven by playwright"
    api = pytest.importorskip('playwright.sync_api', reason='needs playwright, from the [dev] extra')
    path = shutil.which('chromium') or shutil.which('chromium-browser')
    if not path: pytest.skip('no chromium on this machine: apt-get install chromium')
    with api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=['--no-sandbox'])
        yield browser
        browser.close()


def listen(page):
    "Errors of the console and of scripts, as they come"
    found = []
    page.on('console', lambda m: found.append(m.text) if m.type=='error' else None)
    page.on('pageerror', lambda e: found.append(str(e)))
    return found


def until(page, script, seconds=10):
    "Wait for a condition; playwright's own wait would need `eval`, which the report forbids"
    end = time.time()+seconds
    while not page.evaluate(script):
        assert time.time()<end, f'never came true: {script}'
        time.sleep(.03)


def overflow(page):
    return page.evaluate('document.documentElement.scrollWidth-document.documentElement.clientWidth')
def broken(page):
    return page.evaluate('[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.alt || '
                         'i.src)')


# --- the report

def made_up(k=7, per=12):
    """Clusters of small coloured files, one of them gone since, one with markup in its name, some clusters
    with a caption"""
    labels = np.repeat(np.arange(k), per)
    probs = np.random.default_rng(0).dirichlet(np.ones(k), len(labels)).astype(np.float32)
    probs[np.arange(len(labels)), labels] += 1
    probs /= probs.sum(1, keepdims=True)
    long = 'an unusually long caption that does not fit into one line of a card'
    captions = [None, 'red bicycle', 'A & B <b>bold</b>', long] + [None]*(k-4)
    return SimpleNamespace(labels=labels, probs=probs, n_clusters=k, config=dict(seed=0), images=None,
                           confidence=probs.max(1),
                           sizes=np.bincount(labels, minlength=k), captions=captions)


@pytest.fixture(scope='module')
def page_file(tmp_path_factory):
    "A report with everything in it"
    d = tmp_path_factory.mktemp('report')
    c,src = made_up(),d/'photos'
    src.mkdir()
    for i,l in enumerate(c.labels):
        name = NASTY if i==5 else f'IMG_{i:04d}_with_a_name_that_is_rather_long_for_a_phone.png'
        Image.new('RGB', (70,50), tuple(np.random.default_rng(l).integers(0, 256, 3).tolist())).save(src/name)
    images = ImageFiles(src)
    c.names = list(images.names)
    (src/c.names[40]).unlink()
    X = np.eye(7)[c.labels]+np.random.default_rng(1).normal(size=(len(c.labels),7))*.2
    estimate = SimpleNamespace(k=7, interval=(6,9),
                               curve=dict(k=[2,4,7,9,12], bits=[90e3,70e3,60e3,61e3,66e3]))
    return report(c, images, X, d/'out', k_estimate=estimate)


@pytest.fixture
def page(chromium, page_file):
    "The report opened as a file; a console error fails the test that made it"
    context = chromium.new_context(viewport=dict(width=1280, height=900), color_scheme='light', offline=True)
    p = context.new_page()
    p.errors = listen(p)
    p.goto(page_file.as_uri())
    yield p
    assert p.errors==[]
    context.close()


@pytest.mark.parametrize('width', [390, 1280])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_report_fits_its_window(page, width, scheme):
    page.set_viewport_size(dict(width=width, height=900))
    page.emulate_media(color_scheme=scheme)
    page.evaluate('for (const i of document.images) i.loading = "eager"')
    until(page, '[...document.images].every(i => i.complete)')
    assert overflow(page)<=0 and broken(page)==[] and page.locator('.card img').count()>70
    assert page.title()!='1' and page.get_by_text('missing', exact=True).count()>=1
    assert page.get_by_text('1 file could not be read any more').count()==1
    for part in ('.map', '.sizes', '.cards', '.curve', '#doubtful', '#made'):
        box = page.locator(part).bounding_box()
        assert box['x']>=0 and box['x']+box['width']<=width and box['height']>0


def test_report_search_finds_names_captions_and_nothing(page):
    cards,status = page.locator('.card:visible'),page.locator('#status')
    assert cards.count()==7 and page.locator('#found').is_hidden()
    page.keyboard.press('/')
    page.keyboard.type('RED bic')
    until(page, 'document.querySelector("#status").textContent')
    assert cards.count()==1 and 'red bicycle' in cards.inner_text()
    assert page.locator('.sizes li:visible').count()==1
    page.fill('#q', 'img_0013')
    until(page, 'document.querySelector(".hits li")')
    assert cards.count()==1 and cards.get_attribute('id')=='c1'
    assert page.locator('.hits mark').inner_text()=='IMG_0013'
    assert page.locator('.map use.hit').count()==1
    page.fill('#q', '<img src=x')
    until(page, 'document.querySelector(".hits b")?.title.includes("<img")')
    assert page.locator('.hits b').inner_text()==NASTY and page.locator('.hits img[src="x"]').count()==0
    assert page.title()!='1'
    page.fill('#q', 'no such thing')
    until(page, 'document.querySelector("#status").textContent.startsWith("Nothing")')
    assert cards.count()==0 and 'Try part of' in status.inner_text()
    page.keyboard.press('Escape')
    until(page, 'document.querySelector("#found").hidden')
    assert cards.count()==7


def test_a_link_to_a_card_that_the_search_hides_shows_it(page):
    page.fill('#q', 'red bicycle')
    until(page, 'document.querySelector("#c0").hidden')
    page.locator('.doubt a[href="#c0"]').first.click()
    until(page, '!document.querySelector("#c0").hidden')


def test_report_changes_its_colours_and_remembers(page):
    light = page.evaluate('getComputedStyle(document.body).backgroundColor')
    page.get_by_role('button', name='Dark colours').click()
    dark = page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert sum(map(int, dark[4:-1].split(',')))<150<600<sum(map(int, light[4:-1].split(',')))
    page.reload()
    assert page.evaluate('getComputedStyle(document.body).backgroundColor')==dark
    page.get_by_role('button', name='Light colours').click()
    assert page.evaluate('getComputedStyle(document.body).backgroundColor')==light
    page.emulate_media(color_scheme='dark')
    # without a choice it follows the system
    assert page.evaluate('getComputedStyle(document.body).backgroundColor')==dark


def test_report_by_keyboard(page):
    """Skip link, arrows from card to card, Enter opens one, arrows turn the pages, Escape comes back to the
    card"""
    focus = lambda: page.evaluate('document.activeElement.closest(".card")?.id')
    page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.className')=='skip'
    page.keyboard.press('Enter')
    page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.id')=='level'
    page.keyboard.press('Tab')
    assert focus()=='c0'
    assert page.evaluate('getComputedStyle(document.activeElement.closest(".card"))' '.outlineStyle')=='solid'
    page.keyboard.press('ArrowRight')
    assert focus()=='c1'
    page.keyboard.press('ArrowDown')
    columns = page.evaluate('getComputedStyle(document.querySelector(".cards")).gridTemplateColumns.split(" '
                            '").length')
    assert focus()==f'c{1+columns}'
    page.keyboard.press('Home')
    assert focus()=='c0'
    page.keyboard.press('Enter')
    view = page.locator('#view')
    assert view.is_visible() and view.locator('h2').inner_text()=='Cluster 0'
    assert view.locator('.large img').count()==12
    page.keyboard.press('ArrowRight'); page.keyboard.press('ArrowRight')
    assert view.locator('h2').inner_text()=='Cluster 2: A & B <b>bold</b>'
    page.keyboard.press('Escape')
    assert view.is_hidden()
    until(page, 'document.activeElement.closest(".card")?.id=="c2"')


def test_report_groups_its_clusters(page):
    "The slider shows coarser levels by keyboard: every card stays, below the heading of its group"
    ids = 'return [...document.querySelectorAll(".cards > .card")].map(c => c.id)'
    def cards(): return page.evaluate(f'() => {{ {ids} }}')
    def headings():
        return page.evaluate('[...document.querySelectorAll(".cards > .group")].map(h => h.textContent)')
    first = cards()
    assert len(first)==7 and headings()==[]
    page.focus('#level')
    for _ in range(4): page.keyboard.press('ArrowLeft')
    assert page.locator('.groups output').text_content()=='3 groups of 7 clusters'
    said = headings()
    assert len(said)==3 and sum(int(h.split(' cluster')[0]) for h in said)==7
    assert sum(int(h.split(', ')[1].split()[0]) for h in said)==84
    assert sorted(cards())==sorted(first)
    page.keyboard.press('End')
    assert headings()==[] and cards()==first


def test_report_cards_open_by_mouse_and_fit_a_phone(page):
    page.set_viewport_size(dict(width=390, height=800))
    page.locator('#c3 .thumbs').first.click()
    view = page.locator('#view')
    assert view.is_visible() and overflow(page)<=0 and view.evaluate('e => e.scrollWidth-e.clientWidth')<=0
    view.locator('summary').click()
    until(page, 'document.querySelectorAll("#view .files li").length==12')
    page.get_by_role('button', name='Close').click()
    assert view.is_hidden()


def test_report_names_images_on_the_map(page):
    mark = page.locator('.map a[href="#c1"] use').first
    mark.hover(force=True)
    tip = page.locator('#tip').inner_text()
    assert 'red bicycle' in tip and mark.get_attribute('data-n') in tip
    mark.click(force=True)
    assert page.url.endswith('#c1')


def test_report_without_scripts_is_still_a_report(chromium, page_file):
    context = chromium.new_context(java_script_enabled=False, viewport=dict(width=390, height=800))
    p = context.new_page()
    p.goto(page_file.as_uri())
    assert p.locator('.card:visible').count()==7
    assert p.locator('#q').is_hidden() and p.locator('#theme').is_hidden()
    p.locator('.sizes a').nth(4).click()
    assert p.url.split('#')[1]==p.locator('.card').nth(4).get_attribute('id')
    context.close()


def test_two_hundred_clusters_and_one_image_open_too(chromium, tmp_path):
    from scp_nb.data import ImageArray
    for n,k in ((400,200), (1,1)):
        labels = np.arange(n)%k
        c = SimpleNamespace(labels=labels, probs=np.eye(k, dtype=np.float32)[labels], n_clusters=k, config={},
                            images=None, names=[f'row-{i}' for i in range(n)],
                            confidence=np.ones(n, np.float32), sizes=np.bincount(labels, minlength=k))
        im = ImageArray(np.random.default_rng(0).integers(0, 256, (n,12,12,3), dtype=np.uint8))
        made = report(c, im, np.random.default_rng(0).normal(size=(n,4)), tmp_path/str(n))
        p = chromium.new_page(viewport=dict(width=390, height=800))
        errors = listen(p)
        p.goto(made.as_uri())
        assert p.locator('.card').count()==k and overflow(p)<=0 and errors==[]
        p.close()


# --- the docs

@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """All pages, rendered as `python tools/docs.py` does, behind a small server; (address, folder, what the
    command said)"""
    for package in ('sphinx', 'myst_nb', 'furo', 'sphinx_copybutton', 'latex2mathml', 'nbdev'):
        pytest.importorskip(package, reason='needs the [docs] extra')
    out = tmp_path_factory.mktemp('docs')/'site'
    made = subprocess.run([sys.executable, root/'tools'/'docs.py', '--out', out], cwd=root,
                          capture_output=True, text=True, timeout=400)
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args): pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=str(out)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}', out, made
    server.shutdown()


def test_docs_render_without_a_warning_or_a_dead_link(site):
    """No warning of Sphinx, no directive that shows, no link or picture that leads nowhere: the command
    checks, and exits 1"""
    assert site[2].returncode==0, site[2].stdout[-3000:]+site[2].stderr[-3000:]


def test_every_page_of_the_docs_holds_in_a_browser(site, chromium):
    """No console error, no broken picture, no sideways scrolling at 390 and 1280 px, nor of visible code at
    1280"""
    address,out,_ = site
    wide_code = """() => [...document.querySelectorAll('.cell_input pre')].filter(
                   e => e.checkVisibility() && e.innerText.trim() && e.scrollWidth>e.clientWidth+1)
                   .map(e => e.innerText.slice(0, 60))"""
    context = chromium.new_context(color_scheme='light')
    # badges live elsewhere; there may be no network
    blank = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>'
    context.route(lambda url: not url.startswith(address),
                  lambda r: r.fulfill(body=blank, content_type='image/svg+xml'))
    p = context.new_page()
    errors,wrong = listen(p),[]
    pages = sorted(f.relative_to(out).as_posix() for f in out.rglob('*.html'))
    for name in pages:
        p.set_viewport_size(dict(width=1280, height=900))
        p.goto(f'{address}/{name}', wait_until='load')
        wide,code = overflow(p),p.evaluate(wide_code)
        p.set_viewport_size(dict(width=390, height=900))
        seen = {'console': list(errors), 'pictures': broken(p), '1280 px': max(0, wide),
                'code that scrolls': code, '390 px': max(0, overflow(p))}
        wrong += [(name, what, found) for what,found in seen.items() if found]
        errors.clear()
    assert len(pages)>30 and not wrong, wrong
    context.close()


def test_docs_search_finds_a_function(site, chromium):
    p = chromium.new_page()
    errors = listen(p)
    p.goto(f'{site[0]}/search.html?q=show_clusters')
    p.wait_for_selector('#search-results li a')
    assert any('show.html' in (a.get_attribute('href') or '')
               for a in p.locator('#search-results li a').all()) and errors==[]
    p.close()


def test_api_pages_tell_what_parameters_mean(site):
    text = (site[1]/'view'/'pictures.html').read_text(encoding='utf-8')
    # a docment of `features`
    assert 'show_clusters' in text and 'central is near the mean of these' in text
    assert '<math' in (site[1]/'mcr2.html').read_text(encoding='utf-8')
