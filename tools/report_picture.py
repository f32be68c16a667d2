"""Make the picture of the report, nbs/images/report.png: `python tools/report_picture.py`. It needs
playwright and Debian's chromium.

Real clusters of what scikit-learn has with it: the digits on a desktop in light colours, patches of its
two photos on a phone in dark ones."""
import io, shutil, tempfile
from pathlib import Path
import numpy as np
from PIL import Image, ImageDraw
from playwright.sync_api import sync_playwright
from scp_nb.data import digits, photo_patches
from scp_nb.evaluate import evaluate
from scp_nb.features import extract_features
from scp_nb.show import report
from scp_nb.train import fit_head

def shoot(browser, page:Path, width:int, height:int, scheme:str, script:str='')->Image.Image:
    "The upper part of the report in a window of this size"
    p = browser.new_page(viewport=dict(width=width, height=height), color_scheme=scheme)
    p.goto(page.as_uri())
    p.evaluate('for (const i of document.images) i.loading = "eager"')
    if script: p.evaluate(script)
    p.evaluate('document.activeElement.blur()')
    p.wait_for_timeout(800)
    shot = Image.open(io.BytesIO(p.screenshot())).convert('RGB')
    p.close()
    return shot

def framed(im:Image.Image, radius:int, edge:str)->Image.Image:
    "Round corners and a thin edge"
    mask = Image.new('L', (im.width*2, im.height*2), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, im.width*2-1, im.height*2-1), radius*2, fill=255)
    out = im.convert('RGBA')
    ImageDraw.Draw(out).rounded_rectangle((0, 0, im.width-1, im.height-1), radius, outline=edge, width=2)
    out.putalpha(mask.resize(im.size))
    return out

def made(images, spec:str, k:int, out:Path, title:str)->tuple:
    "Cluster, write a report, and give it with the clusters"
    features = extract_features(images, spec, progress=False)
    clusters = fit_head(features, k)
    scores = None if features.labels is None else evaluate(features.labels, clusters)
    return report(clusters, images, features, out, title=title, scores=scores),clusters

def liveliest(images, clusters)->int:
    "The cluster whose pictures are the most colourful"
    colour = lambda c: np.mean([np.ptp(np.asarray(images[i], float).mean((0,1)))
                                for i in np.flatnonzero(clusters.labels==c)])
    return int(np.argmax([colour(c) for c in range(clusters.n_clusters)]))

if __name__=='__main__':
    with tempfile.TemporaryDirectory() as d, sync_playwright() as p:
        wide,_ = made(digits(), 'pixels?size=8', 10, Path(d)/'digits', 'Digits')
        photos = photo_patches()
        small,clusters = made(photos, 'pixels?size=16', 8, Path(d)/'photos', 'Two photos in pieces')
        browser = p.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox'])
        desk = shoot(browser, wide, 1240, 1270, 'light')
        phone = shoot(browser, small, 390, 800, 'dark',
                      f'document.querySelector("#c{liveliest(photos, clusters)}").scrollIntoView()')
        browser.close()
    both = Image.new('RGBA', (1480, 1300), '#ffffff')
    desk = framed(desk, 16, '#d9d9d4')
    phone = framed(phone.resize((351, 720), Image.Resampling.LANCZOS), 30, '#3a3f49')
    both.alpha_composite(desk, (10, 14))
    both.alpha_composite(phone, (1480-351-12, 1300-720-16))
    out = Path(__file__).resolve().parent.parent/'nbs'/'images'/'report.png'
    both.convert('RGB').quantize(224, dither=Image.Dither.FLOYDSTEINBERG).save(out, optimize=True)
    print(out, both.size, f'{out.stat().st_size/1000:.0f} kB')
