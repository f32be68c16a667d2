"""Make the picture of the README, nbs/images/clusters.png: `python tools/pictures.py`. Real clusters of
scikit-learn's digits and of patches of its two photos"""
from pathlib import Path
import torch
from PIL import Image
from scp_nb.data import digits, photo_patches
from scp_nb.features import extract_features
from scp_nb.view.pictures import save_png, show_clusters
from scp_nb.train import fit_head

def gallery(images, spec, k, path, **kwargs):
    "Cluster `images` and draw some of the clusters"
    feats = extract_features(images, spec, progress=False)
    clusters = fit_head(feats, k)
    save_png(show_clusters(clusters, images, features=feats, **kwargs), path, force=True)
    return Image.open(path).convert('RGB')

if __name__=='__main__':
    torch.set_num_threads(2)
    out = Path(__file__).resolve().parent.parent/'nbs'/'images'
    out.mkdir(exist_ok=True)
    left = gallery(digits(), 'pixels?size=8', 10, out/'left.png', n_images=10, max_clusters=10, size=40)
    right = gallery(photo_patches(), 'pixels?size=16', 8, out/'right.png', n_images=10, max_clusters=8,
                    size=52)
    h = max(left.height, right.height)
    both = Image.new('RGB', (left.width+right.width+30, h), 'white')
    both.paste(left, (0, 0)); both.paste(right, (left.width+30, 0))
    both.save(out/'clusters.png', optimize=True)
    for name in ('left.png', 'right.png'): (out/name).unlink()
