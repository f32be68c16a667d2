"""JupyterLab in headless Chromium: the live tutorial is run, the map moves, galleries fill, and a click on
Stop stops"""
import json, os, shutil, subprocess, sys, time, urllib.request
from pathlib import Path
import pytest

sync_api = pytest.importorskip('playwright.sync_api',
                               reason='playwright is not installed: pip install playwright')
root = Path(__file__).resolve().parent.parent
chromium = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
pytestmark = pytest.mark.skipif(chromium is None, reason='no chromium on the PATH: apt-get install chromium')
SHOTS = os.environ.get('SCP_SHOTS')          # a folder: keep screenshots there

def free_port():
    import socket
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); return s.getsockname()[1]

@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    "A JupyterLab of our own, with the tutorial but for one cell"
    pytest.importorskip('jupyterlab', reason='jupyterlab is not installed: pip install jupyterlab')
    folder,port = tmp_path_factory.mktemp('lab'),free_port()
    # one view is watched and one is stopped; CPP's would keep the kernel busy in between
    nb = json.loads((root/'nbs/tutorials/watch_it_live.ipynb').read_text(encoding='utf-8'))
    nb['cells'] = [c for c in nb['cells'] if 'fit=fit_cpp' not in ''.join(c['source'])]
    (folder/'t.ipynb').write_text(json.dumps(nb), encoding='utf-8')
    home = dict(JUPYTER_CONFIG_DIR=str(folder/'.config'), JUPYTERLAB_SETTINGS_DIR=str(folder/'.settings'),
                JUPYTERLAB_WORKSPACES_DIR=str(folder/'.workspaces'))
    cmd = [sys.executable, '-m', 'jupyterlab', '--no-browser', '--ip=127.0.0.1', f'--port={port}',
           '--allow-root', '--IdentityProvider.token=',
           f'--ServerApp.root_dir={folder}', '--LabApp.news_url=None',
           '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate']
    log = open(folder/'lab.log', 'w')
    server = subprocess.Popen(cmd, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **home})
    for _ in range(120):
        try: urllib.request.urlopen(f'http://127.0.0.1:{port}/api'); break
        except OSError:
            if server.poll() is not None: break
            time.sleep(.5)
    else: server.terminate()
    if server.poll() is not None:
        pytest.fail('JupyterLab did not start: '+(folder/'lab.log').read_text()[-2000:])
    yield f'http://127.0.0.1:{port}'
    server.terminate(); server.wait(30); log.close()

@pytest.fixture(scope='module')
def page(lab):
    "The tutorial, opened, its kernel idle"
    with sync_api.sync_playwright() as pw:
        browser = pw.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
        page = browser.new_page(viewport=dict(width=1400, height=1300))
        page.set_default_timeout(60_000)
        page.goto(f'{lab}/lab/tree/t.ipynb?reset')
        page.locator('.jp-Notebook .jp-Cell').first.wait_for()
        page.get_by_text('| Idle').first.wait_for()            # before that, Run All is lost
        page.keyboard.press('Control+b')                       # no file browser
        yield page
        browser.close()

def shot(page, name):
    if SHOTS: Path(SHOTS).mkdir(parents=True, exist_ok=True); page.screenshot(path=f'{SHOTS}/{name}.png')

def dots(view):
    paths = view.locator('.scpl svg[aria-label^="map"] path')
    return paths.evaluate_all('es => es.map(e => e.getAttribute("d")).join(" ")')

def zoom_in(page, view):
    "Turn the wheel over the map of a finished view until it is larger, and check its frame"
    frame = view.locator('iframe[title^="map of 500"]')
    # JupyterLab takes cells out of the page and puts them back while others run: the frame may be another
    # one from line to line, so it is looked for anew each time, and what was lost with it is done again
    def of_map(script): return frame.evaluate(f'e => {{ {script} }}')
    def zoom():
        canvas = 'e.contentDocument?.querySelector(".stage > canvas")'
        return float(of_map(f'return {canvas}?.dataset.zoom || 0'))
    until,last = time.monotonic()+90,None
    while time.monotonic()<until:
        try:
            if zoom()>1.5:
                # the frame is as high as what is in it
                more = of_map('return e.contentDocument.documentElement.scrollHeight-e.clientHeight')
                assert more<=4
                return
            x,y = of_map('e.scrollIntoView({block: "center"}); const r = e.getBoundingClientRect(); '
                         'return [r.x+r.width/4, r.y+r.height/3]')
            page.mouse.move(x, y)
            page.mouse.wheel(0, -400)
        except sync_api.Error as e: last = e
        page.wait_for_timeout(500)
    raise AssertionError(f'the wheel does not zoom; last error: {last}')

def test_live_tutorial(page):
    page.locator('.lm-MenuBar-itemLabel', has_text='Run').first.click()
    page.locator('.lm-Menu-itemLabel').get_by_text('Run All Cells', exact=True).click()
    views = page.locator('.jp-OutputArea .widget-vbox:has(> .widget-hbox)')
    first = views.first
    first.locator('.scpl-running').wait_for()
    # the map appears
    first.locator('.scpl svg[aria-label^="map of 500 images"]').wait_for()
    before = dots(first)
    page.wait_for_function('([e, d]) => [...e.querySelectorAll(\'.scpl svg[aria-label^="map"] path\')].map(p '
                           '=> p.getAttribute("d")).join(" ") != d',
                           arg=[first.element_handle(), before])                                   # and moves
    shot(page, 'running')
    first.locator('.scpl-done').wait_for()
    # the map has come to rest and can be explored: zoomed by the wheel, and listed
    zoom_in(page, first)
    shot(page, 'explored')
    cards = first.locator('.scpl-strip img')
    # the gallery is full
    assert cards.count()>=10 and all(cards.evaluate_all('es => es.map(e => e.complete && e.naturalWidth>0)'))
    # the last cell is left running: its view has buttons that work
    mine = views.last
    mine.locator('.scpl-running').wait_for(timeout=90_000)
    page.get_by_text('| Idle').first.wait_for()
    stop = mine.get_by_role('button', name='Stop')
    mine.locator('.scpl-facts').get_by_text('teaching one head').wait_for()
    stop.scroll_into_view_if_needed()
    pause = mine.get_by_role('button', name='Pause')
    pause.click()
    mine.locator('.scpl-paused').wait_for()
    held = dots(mine)
    page.wait_for_timeout(600)
    # nothing moves
    assert dots(mine)==held
    mine.get_by_role('button', name='Go on').click()
    mine.locator('.scpl-running').wait_for()
    start = time.monotonic()
    stop.click()
    mine.locator('.scpl-stopped').wait_for()
    print(f'stopped {time.monotonic()-start:.2f} s after the click')
    mine.locator('.scpl-card').nth(5).wait_for()
    shot(page, 'stopped')
    # afterwards: a number shows its cluster alone, and two are merged by buttons
    tools = mine.get_by_role('button', name='Merge')
    tools.wait_for()
    def number(c): return mine.get_by_role('button', name=str(c), exact=True)
    number(3).click()
    mine.locator('.scpl-one').wait_for()
    assert mine.locator('.scpl-card').count()==1
    number(4).click()
    tools.click()
    mine.get_by_text('Merged 4 into 3.').wait_for()
    mine.locator('.scpl-head').get_by_text('1,797 images in 9 clusters').wait_for()
    errors = page.locator('.jp-RenderedText[data-mime-type="application/vnd.jupyter.stderr"]')
    assert not errors.count(), errors.all_inner_texts()
    shot(page, 'edited')
