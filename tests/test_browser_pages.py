"What a person meets in a browser: the report and the rendered docs, in headless Chromium"
import csv, functools, http.server, math, shutil, subprocess, sys, threading, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scp_nb.data import ImageFiles
from scp_nb.show import report

pytestmark = pytest.mark.browser
root = Path(__file__).resolve().parent.parent
NASTY = '<img src=x onerror=document.title=1>.png'
FORMULA = '=1+1.png'


@pytest.fixture(scope='module')
def chromium():
    "A headless Chromium of this machine, driven by playwright"
    api = pytest.importorskip('playwright.sync_api', reason='needs playwright, from the [dev] extra')
    path = shutil.which('chromium') or shutil.which('chromium-browser')
    if not path: pytest.skip('no chromium on this machine: apt-get install chromium')
    with api.sync_playwright() as p:
        # badges live elsewhere; there may be no network
        alone = '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1'
        browser = p.chromium.launch(executable_path=path, args=['--no-sandbox', alone])
        yield browser
        browser.close()


def listen(page):
    "Errors of the console and of scripts, as they come"
    found = []
    def note(m):
        if m.type=='error' and not m.location['url'].startswith('https:'): found.append(m.text)
    page.on('console', note)
    # of what is elsewhere, badges alone may be missing
    page.on('requestfailed', lambda r: None if r.resource_type=='image' else found.append(r.url))
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
    "Pictures that should be there and are not; those of other places cannot be"
    return page.evaluate('[...document.images].filter(i => i.complete && !i.naturalWidth && '
                         '!i.src.startsWith("https:")).map(i => i.alt || i.src)')


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
        name = {5: NASTY, 6: FORMULA}.get(i) or f'IMG_{i:04d}_with_a_name_that_is_rather_long_for_a_phone.png'
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
    # without motion: a page that still scrolls would move what a pointer aims at
    context = chromium.new_context(viewport=dict(width=1280, height=900), color_scheme='light', offline=True,
                                   reduced_motion='reduce')
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
    for part in ('.explore', '.stage', '.sizes', '.cards', '.curve', '#doubtful', '#made'):
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


# --- its map, with real pointers and keys

CANVAS = '.stage > canvas'

def zoom(page): return float(page.locator(CANVAS).get_attribute('data-zoom'))
def shown(page): return int(page.locator(CANVAS).get_attribute('data-shown'))
def said(page): return page.locator('.explore .say').inner_text()
def points(page): return page.evaluate('document.querySelector(".explore").explore.count')
def at(page, i): return page.evaluate(f'document.querySelector(".explore").explore.at({i})')

def to_map(page):
    "Bring the map into view; its box"
    page.locator('.explore').scroll_into_view_if_needed()
    # the event of this scrolling comes with a later frame, and would hide a tip
    page.evaluate('() => new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))')
    box = page.locator(CANVAS).bounding_box()
    assert box['y']>=0 and box['y']+box['height']<=page.viewport_size['height']
    return box

def draw(page, corners, shift=False):
    "Draw a lasso with the mouse"
    if shift: page.keyboard.down('Shift')
    page.mouse.move(*corners[0])
    page.mouse.down()
    for c in (*corners[1:], corners[0]): page.mouse.move(*c, steps=5)
    page.mouse.up()
    if shift: page.keyboard.up('Shift')

def around(box, a=.01):
    "Corners of nearly the whole map"
    x,y,w,h = (box[k] for k in ('x', 'y', 'width', 'height'))
    return [(x+a*w, y+a*h), (x+w-a*w, y+a*h), (x+w-a*w, y+h-a*h), (x+a*w, y+h-a*h)]


def test_map_names_the_image_at_the_pointer_and_leads_to_its_cluster(page):
    to_map(page)
    x,y = at(page, 20)
    page.mouse.move(x, y)
    tip = page.locator('.explore .tip')
    assert tip.is_visible() and 'confidence .' in tip.inner_text() and tip.locator('img, canvas').count()==1
    name,cluster = tip.locator('b').inner_text(),tip.locator('span').first.inner_text()
    assert name.endswith('.png') and cluster.startswith('Cluster')
    page.mouse.click(x, y)
    until(page, 'location.hash')
    assert page.locator(page.url[page.url.index('#'):]+' h3').inner_text()==cluster
    page.mouse.move(2, 2)
    assert tip.is_hidden()


def test_map_zooms_at_the_pointer_and_drags(page):
    box = to_map(page)
    middle = box['x']+box['width']/2,box['y']+box['height']/2
    far = max(range(84), key=lambda i: math.dist(at(page, i), middle))
    x,y = at(page, far)
    assert math.dist((x,y), middle)>100
    page.mouse.move(x, y)
    scrolled = page.evaluate('scrollY')
    for _ in range(4): page.mouse.wheel(0, -200)
    until(page, f'+document.querySelector("{CANVAS}").dataset.zoom>3')
    # what was under the pointer is there still, and the page did not scroll
    # (an event tells whole pixels, a few times magnified here)
    u,v = at(page, far)
    assert math.dist((u,v), (x,y))<4 and page.evaluate('scrollY')==scrolled
    page.mouse.down()
    dx,dy = math.copysign(60, middle[0]-x),math.copysign(40, middle[1]-y)
    page.mouse.move(x+dx, y+dy, steps=6)
    page.mouse.up()
    assert math.dist(at(page, far), (u+dx,v+dy))<1.5 and not page.url.count('#')
    for _ in range(9): page.mouse.wheel(0, 300)
    until(page, f'+document.querySelector("{CANVAS}").dataset.zoom==1')
    # nothing left to zoom out of: the wheel belongs to the page again
    page.mouse.wheel(0, 300)
    until(page, f'scrollY>{scrolled}')
    page.locator('.explore').scroll_into_view_if_needed()
    page.get_by_role('button', name='Zoom in').click()
    assert zoom(page)>1.5
    box = page.locator(CANVAS).bounding_box()
    page.mouse.dblclick(box['x']+3, box['y']+3)
    assert zoom(page)==1


def test_map_pinches_and_a_finger_scrolls_the_page_when_it_shows_all(chromium, page_file):
    context = chromium.new_context(viewport=dict(width=390, height=844), has_touch=True, is_mobile=True,
                                   offline=True, reduced_motion='reduce')
    p = context.new_page()
    errors = listen(p)
    p.goto(page_file.as_uri())
    box,cdp = to_map(p),context.new_cdp_session(p)
    x,y = box['x']+box['width']/2,box['y']+box['height']/2
    def touch(kind, *fingers):
        cdp.send('Input.dispatchTouchEvent', dict(type=kind, touchPoints=[dict(x=a, y=b, id=i) for i,(a,b)
                                                                         in enumerate(fingers)]))
    assert p.evaluate(f'document.querySelector("{CANVAS}").style.touchAction')=='pan-y'
    touch('touchStart', (x-30,y), (x+30,y))
    for d in range(30, 121, 10): touch('touchMove', (x-d,y), (x+d,y))
    touch('touchEnd')
    until(p, f'+document.querySelector("{CANVAS}").dataset.zoom>2.5')
    assert zoom(p)<6 and p.evaluate(f'document.querySelector("{CANVAS}").style.touchAction')=='none'
    before = at(p, 20)
    touch('touchStart', (x,y))
    for d in range(10, 61, 10): touch('touchMove', (x+d,y+d))
    touch('touchEnd')
    until(p, f'document.querySelector(".explore").explore.at(20)[0]-{before[0]}>30')
    # so soon after a drag a browser takes a tap for a part of it
    p.wait_for_timeout(400)
    p.get_by_role('button', name='Show the whole map').tap()
    until(p, f'document.querySelector("{CANVAS}").dataset.zoom==1')
    # the first tap names an image, the second one on it leads to its cluster
    p.touchscreen.tap(*at(p, 20))
    until(p, '!document.querySelector(".explore .tip").hidden')
    assert '#' not in p.url
    p.touchscreen.tap(*at(p, 20))
    until(p, 'location.hash')
    assert overflow(p)<=0 and errors==[]
    context.close()


def test_lasso_lists_what_it_holds_and_gives_the_names(page, tmp_path):
    box = to_map(page)
    page.get_by_role('button', name='Lasso').click()
    draw(page, around(box))
    until(page, '!document.querySelector(".caught").hidden')
    assert said(page).startswith('The lasso holds 84 images: 12 of Cluster')
    assert page.locator('.caught li').count()==60
    assert page.locator('.caught li').first.locator('img, canvas').count()==1
    with page.expect_download() as d: page.get_by_role('button', name='Download the names').click()
    d.value.save_as(tmp_path/'names.csv')
    with open(tmp_path/'names.csv', encoding='utf-8', newline='') as f: rows = list(csv.DictReader(f))
    names = [r['name'] for r in rows]
    assert len(rows)==84 and NASTY in names and './'+FORMULA in names        # no spreadsheet calculates it
    assert {r['cluster'] for r in rows}==set('0123456') and all(0<=float(r['confidence'])<=1 for r in rows)
    page.context.grant_permissions(['clipboard-read', 'clipboard-write'])
    page.get_by_role('button', name='Copy the names').click()
    until(page, 'document.querySelector(".explore .say").textContent.startsWith("Copied")')
    assert said(page)=='Copied 84 names.'
    page.evaluate('navigator.clipboard.readText().then(t => window.copied = t)')
    until(page, 'window.copied !== undefined')
    assert sorted(page.evaluate('copied').split('\n'))==sorted(n.removeprefix('./') for n in names)
    page.get_by_role('button', name='Close the list').click()
    assert page.locator('.caught').is_hidden()
    # one point alone, by Shift and drag, without the button
    to_map(page)
    x,y = at(page, 20)
    draw(page, [(x-3,y-3), (x+3,y-3), (x+3,y+3), (x-3,y+3)], shift=True)
    until(page, '!document.querySelector(".caught").hidden')
    assert page.locator('.caught li').count()<=4 and page.title()!='1'


def test_a_lasso_around_nothing_says_so(page):
    box = to_map(page)
    x,y = box['x']+2,box['y']+2
    for corners in ([(x,y), (x+5,y), (x+5,y+5)], [(x,y)]):
        page.get_by_role('button', name='Lasso').click()
        draw(page, corners)
        assert said(page)=='The lasso holds no image. Draw it around some of the marks.'
        assert page.locator('.caught').is_hidden()
        page.keyboard.press('Escape')


def test_map_and_cards_choose_together(page):
    to_map(page)
    cards = page.locator('.card:visible')
    page.locator('.explore select').select_option('c2')
    assert shown(page)==12 and cards.count()==1 and cards.get_attribute('id')=='c2'
    assert said(page)=='12 of 84 images shown.' and page.locator('.sizes li:visible').count()==1
    pressed = page.locator('#c2 .onmap')
    assert pressed.get_attribute('aria-pressed')=='true'
    pressed.click()
    assert shown(page)==84 and cards.count()==7 and page.locator('#view').is_hidden()
    page.locator('#c1 .onmap').click()
    assert page.locator('.explore select').input_value()=='c1' and shown(page)==12
    assert 'show 1 of 7 clusters' in page.locator('#chosen').inner_text()
    page.get_by_role('button', name='Show all', exact=True).click()
    assert cards.count()==7 and shown(page)==84 and page.locator('#chosen').is_hidden()
    page.locator('#c1 .onmap').click()
    # a link to a card that the map hides shows it
    page.locator('.doubt a[href="#c0"]').first.click()
    until(page, '!document.querySelector("#c0").hidden')
    assert shown(page)==84
    page.keyboard.press('Escape')
    low = page.get_by_label('Confidence at least')
    low.focus()
    for _ in range(6): page.keyboard.press('PageUp')
    least = int(low.input_value())
    names = page.evaluate('JSON.parse(document.querySelector("#names").textContent)')
    kept = sum(p>=least for _,ps in names.values() for p in ps)
    assert 0<kept<84 and shown(page)==kept and said(page)==f'{kept} of 84 images shown.'
    assert page.locator('.card .thumbs .out').count()>0
    dim = page.evaluate('[...document.querySelectorAll(".card .thumbs .out")].map(e => e.alt)')
    sure = {n:p for ns,ps in names.values() for n,p in zip(ns, ps)}
    assert all(sure[n]<least for n in dim if n)
    # the lower handle stops at the upper one
    page.get_by_label('Confidence at most').focus()
    for _ in range(20): page.keyboard.press('PageDown')
    assert int(page.get_by_label('Confidence at most').input_value())==least
    # the search and the filters add up
    page.get_by_label('Confidence at most').press('End'); low.press('Home')
    page.locator('.explore select').select_option('c1')
    page.fill('#q', 'no such thing')
    until(page, 'document.querySelector("#status").textContent.startsWith("Nothing")')
    page.fill('#q', '')
    until(page, 'document.querySelector("#found").hidden')
    assert page.locator('.card:visible').count()==1


def test_map_by_keyboard(page):
    page.locator(CANVAS).focus()
    label = page.locator(CANVAS).get_attribute('aria-label')
    assert label.startswith('Map of 84 images in 7 clusters') and 'L starts a lasso' in label
    page.keyboard.press('+'); page.keyboard.press('+')
    assert zoom(page)>1.9
    before = at(page, 0)
    page.keyboard.press('ArrowRight'); page.keyboard.press('ArrowDown')
    after = at(page, 0)
    assert (after[0]-before[0], after[1]-before[1])==pytest.approx((-60, -60), abs=1)
    page.keyboard.press('0')
    assert zoom(page)==1
    # the image nearest to the middle is named, aloud too, and Enter leads to its cluster
    assert page.locator('.explore .tip').is_visible()
    until(page, 'document.querySelector(".explore .say").textContent.includes(", confidence .")')
    page.keyboard.press('v')
    assert said(page).startswith('In view: 84 images') and page.locator('.caught li').count()==60
    page.keyboard.press('Escape')
    assert page.locator('.caught').is_hidden()
    page.keyboard.press('l')
    assert page.locator('.explore [aria-pressed=true]').inner_text()=='Lasso'
    page.keyboard.press('Escape')
    assert page.locator('.explore [aria-pressed=true]').count()==0
    page.keyboard.press('0')
    page.keyboard.press('Enter')
    until(page, 'location.hash')


def test_groups_colour_the_map(page):
    to_map(page)
    colours = """() => { const c = document.querySelector('.stage > canvas'), seen = new Set(),
        d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data
        for (let i = 0; i < d.length; i += 4) if (d[i+3] == 255) seen.add(d[i]*65536+d[i+1]*256+d[i+2])
        return [...seen] }"""
    from scp_nb.view.pick import cluster_style
    def drawn():
        page.wait_for_timeout(150)
        found = set(page.evaluate(colours))
        return sum(int(cluster_style(c).colour[1:], 16) in found for c in range(7))
    assert drawn()==7
    page.focus('#level')
    for _ in range(5): page.keyboard.press('ArrowLeft')
    assert drawn()==2
    page.keyboard.press('End')
    assert drawn()==7


def test_the_whole_map_is_printed_whatever_is_chosen(page):
    page.locator('.explore select').select_option('c2')
    assert page.locator('.map').is_hidden()
    page.emulate_media(media='print')
    assert page.locator('.map').is_visible() and page.locator('.explore').is_hidden()
    assert page.locator('.map use').count()==84


def test_a_map_whose_images_are_gone_still_names_them(chromium, tmp_path):
    src = tmp_path/'photos'
    src.mkdir()
    c = made_up()
    for i in range(84): Image.new('RGB', (40,40)).save(src/f'{i:02d}.png')
    images = ImageFiles(src)
    c.names = list(images.names)
    shutil.rmtree(src)
    made = report(c, images, np.random.default_rng(0).normal(size=(84,3)), tmp_path/'out')
    p = chromium.new_page(viewport=dict(width=1280, height=900))
    errors = listen(p)
    p.goto(made.as_uri())
    to_map(p)
    p.mouse.move(*at(p, 20))
    assert '.png' in p.locator('.explore .tip').inner_text() and p.locator('.tip canvas').count()==0
    for _ in range(4): p.mouse.wheel(0, -300)
    p.get_by_role('button', name='List the images in view').click()
    assert said(p).startswith('In view') and errors==[]
    p.close()


def test_report_lists_what_to_label_next(chromium, tmp_path):
    from scp_nb.data import ImageArray
    c = made_up()
    c.names = [f'"{i}", comma.png' if i!=3 else NASTY for i in range(84)]
    im = ImageArray(np.random.default_rng(0).integers(0, 256, (84,40,40,3), dtype=np.uint8), names=c.names)
    rows = np.random.default_rng(1).permutation(84)[:60]
    table = pd.DataFrame(dict(row=rows, name=[c.names[r] for r in rows], cluster=c.labels[rows],
                              reason=['<b>between</b> two clusters']*60))
    made = report(c, im, None, tmp_path, pick=table)
    p = chromium.new_page()
    errors = listen(p)
    p.goto(made.as_uri())
    assert p.locator('.picked li').count()==48 and p.locator('#next').count()==1
    assert p.locator('.picked .why').first.inner_text()=='<b>between</b> two clusters'
    with p.expect_download() as d: p.get_by_role('button', name='Download the list').click()
    d.value.save_as(tmp_path/'next.csv')
    assert pd.read_csv(tmp_path/'next.csv').equals(table.drop(columns='row').reset_index(drop=True))
    assert p.locator('.explore').count()==0 and errors==[] and p.title()!='1'
    p.close()


def test_ten_thousand_images_fit_a_page(chromium, tmp_path):
    "Every image is on the map with its picture, in 15 MB; the page asks for nothing"
    from scp_nb.data import ImageArray
    n,k,rng = 10_000,12,np.random.default_rng(0)
    small = rng.integers(0, 256, (500,6,6,3), dtype=np.uint8)
    # smooth and large enough to be worth a tile of 64 pixels, with noise that is hard to compress
    photos = [np.asarray(Image.fromarray(s).resize((96,96), Image.Resampling.BICUBIC)) for s in small]
    photos = np.clip(np.stack(photos)+rng.integers(-20, 20, (500,96,96,3)), 0, 255).astype(np.uint8)
    class Again(ImageArray):
        def __getitem__(self, i): return Image.fromarray(photos[int(i)%500])
    c = made_up(k, n//k+1)
    for name in ('labels', 'probs', 'confidence'): setattr(c, name, getattr(c, name)[:n])
    c.sizes,c.captions = np.bincount(c.labels, minlength=k),None
    c.names = [f'photos/holiday/IMG_{i:05d}.jpg' for i in range(n)]
    X = rng.normal(size=(k,8))[c.labels]+rng.normal(size=(n,8))*.3
    made = report(c, Again(np.zeros((n,1,1), np.uint8), names=c.names), X, tmp_path)
    assert made.stat().st_size<15e6
    p,asked = chromium.new_page(viewport=dict(width=1280, height=1000)),[]
    errors = listen(p)
    p.on('request', lambda r: asked.append(r.url))
    p.goto(made.as_uri())
    assert points(p)==n==shown(p)
    to_map(p)
    p.mouse.move(*at(p, 9_000))
    for _ in range(8): p.mouse.wheel(0, -300)
    assert p.locator('.explore .tip').count()==1 and zoom(p)>10
    p.mouse.move(*at(p, 9_000))
    assert p.locator('.explore .tip :is(img, canvas)').count()==1
    assert all(u.startswith(('file:', 'data:')) for u in asked) and errors==[]
    p.close()


def test_report_without_scripts_is_still_a_report(chromium, page_file):
    context = chromium.new_context(java_script_enabled=False, viewport=dict(width=390, height=800))
    p = context.new_page()
    p.goto(page_file.as_uri())
    assert p.locator('.card:visible').count()==7
    assert p.locator('#q').is_hidden() and p.locator('#theme').is_hidden()
    # the map as a drawing, and nothing of what only a script can do
    assert p.locator('.map').bounding_box()['height']>100 and p.locator('.map use').count()==84
    assert p.locator('.explore').is_hidden() and p.locator('.onmap:visible').count()==0
    p.locator('.map a').first.locator('use').first.click(force=True)
    assert '#c' in p.url
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


def test_the_page_of_a_live_view_has_the_same_map(chromium, tmp_path):
    "A snapshot after training: zoom, a tip with a picture, the lasso; without scripts the drawn map"
    from scp_nb.cluster.clusters import Clusters
    from scp_nb.data import ImageArray
    from scp_nb.view.board import Board
    rng,names = np.random.default_rng(0),[NASTY, *(f'{i}.png' for i in range(1, 60))]
    probs = rng.dirichlet(np.full(3, .2), 60).astype(np.float32)
    im = ImageArray(rng.integers(0, 256, (60,50,50,3), dtype=np.uint8), names=names)
    board = Board(np.eye(3)[probs.argmax(1)]+rng.normal(size=(60,3))*.1, im)
    board._begin(3)
    board.finish(Clusters(probs, None, None))
    made = board.snapshot(tmp_path/'live.html')
    p = chromium.new_page(viewport=dict(width=1100, height=1000))
    errors = listen(p)
    p.goto(made.as_uri())
    box = to_map(p)
    p.mouse.move(*at(p, 30))
    assert p.locator('.explore .tip canvas').count()==1
    assert p.locator('.explore .tip b').inner_text() in names
    p.mouse.wheel(0, -200)
    until(p, f'document.querySelector("{CANVAS}").dataset.zoom>1.3')
    p.get_by_role('button', name='Show the whole map').click()
    draw(p, around(box), shift=True)
    assert said(p).startswith('The lasso holds 60 images') and p.locator('.caught li').count()==60
    p.locator('input.groups').fill('2')
    assert p.get_by_text('2 groups of 3 clusters').is_visible()
    p.locator('input.groups').fill('3')
    assert p.get_by_text('each cluster by itself').is_visible()
    assert errors==[] and overflow(p)<=0 and p.title()!='1'
    p.close()
    p = chromium.new_context(java_script_enabled=False).new_page()
    p.goto(made.as_uri())
    assert p.locator('noscript svg').first.bounding_box()['height']>100
    p.context.close()


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
