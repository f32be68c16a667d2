"""Measure the work with a folder: `python tools/folder_check.py [pictures] [files]` reads 2,000 pictures as
files, zip, tar and Parquet, says whether the features are the same to the last bit, and times `sort_images`
with 10,000 files, and its way back. HEIC is among the formats where pillow-heif is there to write it."""
import os, sys, tarfile, tempfile, time, zipfile
from pathlib import Path
import numpy as np, torch
from PIL import features
from torch import nn
from scp_nb.cluster.clusters import Clusters
from scp_nb.cluster.sort import sort_images, undo_sort
from scp_nb.data import as_images, photo_patches
from scp_nb.features import extract_features, load_backbone

def to_tensor(im):
    return torch.tensor(np.asarray(im.resize((32, 32)))/255, dtype=torch.float32).permute(2, 0, 1)

def backbone():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1600, 64))
    return load_backbone(net, transform=to_tensor, device='cpu')

def write_pictures(folder, n):
    "Pictures in the formats that can be written here; gives these formats"
    kinds = ['jpg', 'png'] + ['avif']*features.check('avif')
    try:
        from pillow_heif import register_heif_opener
        register_heif_opener()
        kinds.append('heic')
    except ImportError: pass
    patches = photo_patches()
    for i in range(n):
        patches[i%len(patches)].rotate(i%360).save(folder/f'{i:05d}.{kinds[i%len(kinds)]}')
    return kinds

def pack(folder, out):
    "The same files as zip, tar and Parquet"
    files = sorted(folder.iterdir())
    with zipfile.ZipFile(out/'p.zip', 'w') as z:
        for f in files: z.write(f, f.name)
    with tarfile.open(out/'p.tar', 'w') as t:
        for f in files: t.add(f, f.name)
    found = [out/'p.zip', out/'p.tar']
    try: import pyarrow as pa, pyarrow.parquet as pq
    except ImportError: return found
    rows = [dict(bytes=f.read_bytes(), path=f.name) for f in files]
    pq.write_table(pa.table(dict(image=rows)), out/'p.parquet')
    return [*found, out/'p.parquet']

def check_sources(d, n):
    (d/'p').mkdir()
    kinds = write_pictures(d/'p', n)
    for place in (d/'p', *pack(d/'p', d)):
        start = time.perf_counter()
        X = extract_features(as_images(place), backbone(), progress=False)
        said = '' if place==d/'p' else f', {"the same" if np.array_equal(X.X, whole.X) else "OTHER"} rows'
        if place==d/'p': whole = X
        print(f'{place.name:10s} {len(X):,} of {", ".join(kinds)} in {time.perf_counter()-start:.1f} s{said}')

def check_sort(d, n):
    folder,result = d/'many',d/'result'
    folder.mkdir()
    names = [f'{i:05d}.png' for i in range(n)]
    for name in names: (folder/name).write_bytes(b'x')
    clusters = Clusters(np.eye(20, dtype=np.float32)[np.arange(n)%20], None, None, names)
    result.mkdir()
    clusters.to_frame().rename(columns=dict(name='path')).to_csv(result/'assignments.csv', index=False)
    for how in ('link', 'copy', 'move'):
        start = time.perf_counter()
        sort_images(result, d/how, how, images=folder)
        print(f'{how:10s} {n:,} files in {time.perf_counter()-start:.2f} s')
    start = time.perf_counter()
    undo_sort(d/'move'/'scp_sort.jsonl', folder)
    print(f'undo       {len(os.listdir(folder)):,} files in {time.perf_counter()-start:.2f} s')

if __name__=='__main__':
    pictures,files = (int(a) for a in (sys.argv[1:]+['2000', '10000'][len(sys.argv)-1:]))
    with tempfile.TemporaryDirectory() as d:
        check_sources(Path(d), pictures)
        check_sort(Path(d), files)
