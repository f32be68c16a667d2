"""Measure the report of many images: `python tools/report_speed.py [images]` prints the time to write it, its
size, the time to open it, and frames a second while its map is zoomed by the wheel. It needs playwright and
Debian's chromium.

The images are crops of the two photos that scikit-learn has with it, the clusters k-means of their pixels:
what is measured depends on neither."""
import shutil, sys, tempfile, time
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_sample_images
from scp_nb.data import ImageArray
from scp_nb.show import report

WATCH = ('() => { window.times = []; const step = t => { if (!window.times) return; times.push(t); '
         'requestAnimationFrame(step) }; requestAnimationFrame(step) }')

def crops(n:int, side:int=128)->ImageArray:
    "`n` crops of different places and sizes"
    rng,photos = np.random.default_rng(0),load_sample_images().images
    found = np.empty((n,side,side,3), np.uint8)
    for i in range(n):
        a,w = photos[i%2],int(rng.integers(side, 400))
        y,x = (int(rng.integers(0, s-w)) for s in a.shape[:2])
        found[i] = np.asarray(Image.fromarray(a[y:y+w, x:x+w]).resize((side,side)))
    return ImageArray(found, names=[f'photos/2026/IMG_{i:05d}.jpg' for i in range(n)])

def clustered(images:ImageArray, k:int=12)->tuple:
    "Something like `Clusters`, and the features it is of"
    X = np.stack([np.asarray(im.resize((8,8)), np.float32).ravel() for im in images])
    d = MiniBatchKMeans(k, random_state=0, n_init=3).fit_transform(X)
    p = np.exp(-4*(d-d.min(1, keepdims=True))/d.std())
    p = (p/p.sum(1, keepdims=True)).astype(np.float32)
    labels = p.argmax(1)
    return SimpleNamespace(labels=labels, probs=p, n_clusters=k, config={}, images=None, names=images.names,
                           captions=None, confidence=p.max(1), sizes=np.bincount(labels, minlength=k)),X

def zoomed(page)->np.ndarray:
    "Milliseconds of each frame while the wheel zooms in and out, at two places of the map"
    page.locator('.stage').scroll_into_view_if_needed()
    box,found = page.locator('.stage > canvas').bounding_box(),[]
    for at in (.5, .25):
        page.mouse.move(box['x']+box['width']*at, box['y']+box['height']/2)
        page.evaluate(WATCH)
        for step in (-50, 50):
            for _ in range(30):
                page.mouse.wheel(0, step)
                page.wait_for_timeout(12)
        found.append(np.diff(page.evaluate('() => { const t = times; window.times = null; return t }')))
    return np.concatenate(found)

if __name__=='__main__':
    n = int(sys.argv[1]) if len(sys.argv)>1 else 10_000
    images = crops(n)
    clusters,X = clustered(images)
    with tempfile.TemporaryDirectory() as d, sync_playwright() as p:
        start = time.perf_counter()
        page_file = report(clusters, images, X, Path(d), title='crops')
        made = time.perf_counter()-start
        browser = p.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox'])
        page = browser.new_page(viewport=dict(width=1280, height=1000))
        page.goto(page_file.as_uri())
        opened = page.evaluate('performance.timing.loadEventEnd-performance.timing.navigationStart')
        frames = zoomed(page)
        browser.close()
        print(f'{n:,} images: written in {made:.1f} s, {page_file.stat().st_size/1e6:.1f} MB, opened in '
              f'{opened/1000:.2f} s')
        print(f'zooming: {1000/frames.mean():.0f} frames a second; 95 of 100 frames within '
              f'{np.percentile(frames, 95):.0f} ms')
