"""The papers' benchmark: sets and weights from a hub on this machine, cut connections, kills, caches, and
the same results every time"""
import hashlib, io, json, os, pickle, re, shutil, signal, subprocess, sys, tarfile, threading, time
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import numpy as np, pytest
from torchvision import datasets as tv
from scp_nb.bench import broad, common, cpp, k, papers as bp, queue, sets
from scp_nb.bench.broad import broad_methods, load_task
from scp_nb.bench.common import read_results
from scp_nb.data import photo_patches
from scp_nb.evaluate import partition_scores
from scp_nb.bench.published import FOOTNOTE, beside_table, papers_table, published, results_card
from scp_nb.bench.sets import SETS, fetch_file, get_set
from scp_nb.bench.suites import scp_bench

pytestmark = pytest.mark.usefixtures('short_search')

def quiet(line): pass

def without_costs(x):
    "Results without the times and memory that are never the same twice"
    if isinstance(x, dict): return {k: without_costs(v) for k,v in x.items() if k!='cost'}
    return [without_costs(v) for v in x] if isinstance(x, list) else x

class Hub(ThreadingHTTPServer):
    "Serve files as a hub of models and as a plain server; `cut` answers break off in the middle"
    daemon_threads = True
    def __init__(self, files, cut=0):
        super().__init__(('127.0.0.1', 0), Handler)
        self.files,self.cut,self.asked = files,cut,[]
        threading.Thread(target=self.serve_forever, daemon=True).start()
    @property
    def url(self): return f'http://127.0.0.1:{self.server_port}'
    def stop(self): self.shutdown(); self.server_close()

class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args): pass
    def do_HEAD(self): self.answer(False)
    def do_GET(self): self.answer(True)
    def answer(self, body):
        data = self.server.files.get(self.path.split('/')[-1])
        if data is None: return self.send_error(404)
        start = int((self.headers.get('Range') or 'bytes=0-').split('=')[1].split('-')[0])
        if body: self.server.asked.append((self.path.split('/')[-1], start))
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(data)-start))
        if start: self.send_header('Content-Range', f'bytes {start}-{len(data)-1}/{len(data)}')
        self.send_header('Accept-Ranges', 'bytes')
        self.send_header('ETag', f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header('X-Repo-Commit', '0'*40)
        self.end_headers()
        if not body: return
        if self.server.cut and not start:
            self.server.cut -= 1
            self.wfile.write(data[:len(data)//2]); self.wfile.flush()
            return self.connection.shutdown(2)
        self.wfile.write(data[start:])

def tiny_imagenet(n=24):
    "An archive like Tiny-ImageNet's: two classes, `n` images to learn from and `n` to score"
    photos,by = photo_patches(size=32, stride=48),[]
    by = [np.flatnonzero(photos.labels==c) for c in (0, 1)]
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as z:
        for i in range(2*n):
            picture,w = io.BytesIO(),f'n{i%2:08d}'
            photos[int(by[i%2][i//2])].save(picture, 'PNG')
            z.writestr('tiny-imagenet-200/'+(f'train/{w}/images/{w}_{i}.JPEG' if i<n
                                             else f'val/images/val_{i}.JPEG'), picture.getvalue())
        z.writestr('tiny-imagenet-200/val/val_annotations.txt',
                   ''.join(f'val_{i}.JPEG\tn{i%2:08d}\t0\t0\t9\t9\n' for i in range(n, 2*n)))
    return out.getvalue()

# ---- the recipe against a hub on this machine: a model of open_clip and an archive of images

tiny_clip = dict(embed_dim=16, vision_cfg=dict(image_size=32, layers=1, width=32, head_width=16,
                                               patch_size=16),
                 text_cfg=dict(context_length=8, vocab_size=64, width=16, heads=2, layers=1))

recipe = '''
import sys, json, torch
from dataclasses import replace
from pathlib import Path
torch.set_num_threads(1)
import open_clip
from open_clip import pretrained
from scp_nb.bench.sets import SETS
tmp,url,md5,out = sys.argv[1:]
open_clip.add_model_config(Path(tmp)/'configs')
pretrained._PRETRAINED['tiny-P'] = dict(test=pretrained._pcfg(hf_hub='scp-nb/tiny/'))
SETS['tinyimagenet'] = replace(SETS['tinyimagenet'], splits=dict(train=24, val=24),
                               files=((url+'/tiny-imagenet-200.zip', md5),))
from scp_nb.bench.suites import scp_bench
scp_bench('papers', out=out, sets='Tiny-ImageNet', backbones='open_clip:tiny-P/test', seeds=2,
          methods='SCP, neighbours;SCP, views;k-means;spectral, 10-NN;Ward;random partition', views=2)
'''

@pytest.mark.slow
def test_the_recipe_on_a_hub_of_our_own(tmp_path):
    """Download, checksum, a cut connection, a kill, and then everything once more from the caches with the
    hub gone"""
    import open_clip, torch
    from safetensors.torch import save_file
    (tmp_path/'configs').mkdir()
    (tmp_path/'configs'/'tiny-P.json').write_text(json.dumps(tiny_clip))
    open_clip.add_model_config(tmp_path/'configs')
    torch.manual_seed(0)
    save_file({k: v.contiguous() for k,v in open_clip.create_model('tiny-P').state_dict().items()},
              tmp_path/'weights')
    archive = tiny_imagenet()
    hub = Hub({'tiny-imagenet-200.zip': archive,
               'open_clip_model.safetensors': (tmp_path/'weights').read_bytes()}, cut=2)
    env = dict(os.environ, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path/'hf'), SCP_DATA=str(tmp_path/'sets'),
               NO_PROXY='127.0.0.1', no_proxy='127.0.0.1',
               PYTHONPATH=str(Path(__file__).resolve().parent.parent), OMP_NUM_THREADS='1')
    for name in ('HF_HUB_OFFLINE', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'TRANSFORMERS_OFFLINE'):
        env.pop(name, None)
    def start(out):
        return subprocess.Popen([sys.executable, '-c', recipe, str(tmp_path), hub.url,
                                 hashlib.md5(archive).hexdigest(), str(tmp_path/out)],
                                env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    def runs():
        return (tmp_path/'a'/'papers.json').is_file() and '"ACC"' in (tmp_path/'a'/'papers.json').read_text()

    first = start('a')
    end = time.monotonic()+120
    while first.poll() is None and not runs() and time.monotonic()<end: time.sleep(.01)
    first.send_signal(signal.SIGKILL)
    said = first.communicate()[0]
    assert runs(), said
    kept = json.loads((tmp_path/'a'/'papers.json').read_text())['runs']
    assert 0<len(kept)<11, 'it was killed too late to show anything'

    second = start('a')
    assert second.communicate(timeout=120)[0] and second.returncode==0
    found = json.loads((tmp_path/'a'/'papers.json').read_text())
    # Ward runs once
    assert found['runs'][:len(kept)]==kept and len(found['runs'])==11 and not found['failed']
    assert {r['learned_on'] for r in found['runs'] if r['method'] in ('Ward', 'random partition')}=={'val'}
    assert {r['learned_on'] for r in found['runs'] if r['method']=='k-means'}=={'train'}

    starts = {name: [s for n,s in hub.asked if n==name] for name in hub.files}
    # cut once, then the rest, then the cache
    assert starts['tiny-imagenet-200.zip']==[0, len(archive)//2]
    assert starts['open_clip_model.safetensors'][0]==0 and len(starts['open_clip_model.safetensors'])==2
    hub.stop()
    third = start('b')
    said = third.communicate(timeout=120)[0]
    assert third.returncode==0, said
    again = json.loads((tmp_path/'b'/'papers.json').read_text())
    assert without_costs(again)==without_costs(found)
    for name in ('papers.json', 'papers.md'): assert str(tmp_path) not in (tmp_path/'a'/name).read_text()

# ---- sets

def targz(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as t:
        for name,data in files.items():
            info = tarfile.TarInfo(name); info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()

def test_cifar_through_torchvision(tmp_path, monkeypatch):
    "torchvision's own reader and checks; only address, checksums and sizes are others"
    rng = np.random.default_rng(0)
    def batch(n):
        return pickle.dumps({'data': rng.integers(0, 256, (n, 3072), dtype=np.uint8),
                             'labels': (np.arange(n)%10).tolist()})
    meta = pickle.dumps({'label_names': [f'class {i}' for i in range(10)]})
    files = {'data_batch_1': batch(20), 'test_batch': batch(10), 'batches.meta': meta}
    md5 = {n: hashlib.md5(d).hexdigest() for n,d in files.items()}
    monkeypatch.setattr(tv.CIFAR10, 'train_list', [['data_batch_1', md5['data_batch_1']]])
    monkeypatch.setattr(tv.CIFAR10, 'test_list', [['test_batch', md5['test_batch']]])
    monkeypatch.setattr(tv.CIFAR10, 'meta', dict(tv.CIFAR10.meta, md5=md5['batches.meta']))
    archive = targz({f'cifar-10-batches-py/{n}': d for n,d in files.items()})
    hub = Hub({'cifar-10-python.tar.gz': archive})
    monkeypatch.setitem(SETS, 'cifar10', replace(SETS['cifar10'], splits=dict(train=20, test=10), files=(
        (f'{hub.url}/cifar-10-python.tar.gz', hashlib.md5(archive).hexdigest()),)))
    train,test = (get_set('CIFAR-10', s, root=tmp_path) for s in ('train', None))
    hub.stop()
    assert (len(train), len(test), test.classes[3])==(20, 10, 'class 3')
    assert test.labels.tolist()==list(range(10))
    assert test[0].size==(32, 32) and len(get_set('cifar10', root=tmp_path, download=False))==10
    (tmp_path/'cifar-10-python'/'cifar-10-batches-py'/'test_batch').write_bytes(b'damaged')
    with pytest.raises(RuntimeError): get_set('cifar10', root=tmp_path)

def test_dtd_through_torchvision(tmp_path, monkeypatch):
    picture = io.BytesIO(); photo_patches()[0].save(picture, 'JPEG')
    lists = {split: [f'{c}/{c}_{i}.jpg' for c in 'ab'] for i,split in enumerate(('train1', 'val1', 'test1'))}
    files = {f'dtd/images/{n}': picture.getvalue() for names in lists.values() for n in names}
    archive = targz(files|{f'dtd/labels/{l}.txt': '\n'.join(names).encode() for l,names in lists.items()})
    hub = Hub({'dtd-r1.0.1.tar.gz': archive})
    monkeypatch.setitem(SETS, 'dtd', replace(SETS['dtd'], splits=dict(trainval=4, test=2), files=(
        (f'{hub.url}/dtd-r1.0.1.tar.gz', hashlib.md5(archive).hexdigest()),)))
    learn,score = get_set('DTD', 'trainval', root=tmp_path),get_set('DTD', root=tmp_path)
    hub.stop()
    assert (learn.labels.tolist(), score.labels.tolist(), learn.classes)==([0, 1, 0, 1], [0, 1], ['a', 'b'])
    assert learn[3].mode=='RGB'

def test_download_cut_wrong_and_killed(tmp_path):
    data = np.random.default_rng(0).bytes(100_000)
    hub,md5 = Hub(dict(a=data), cut=1),hashlib.md5(data).hexdigest()
    assert fetch_file(f'{hub.url}/a', tmp_path/'a', md5).read_bytes()==data
    assert hub.asked==[('a', 0), ('a', 50_000)]
    (tmp_path/'b.part').write_bytes(data[:30_000])                         # what a killed process leaves
    assert fetch_file(f'{hub.url}/a', tmp_path/'b', md5).read_bytes()==data and hub.asked[-1]==('a', 30_000)
    (tmp_path/'c.part').write_bytes(b'x'*30_000)                           # the rest of another file
    with pytest.raises(ValueError, match='wanted '+md5): fetch_file(f'{hub.url}/a', tmp_path/'c', md5)
    assert not (tmp_path/'c').exists() and not (tmp_path/'c.part').exists()
    assert fetch_file(f'{hub.url}/a', tmp_path/'c', md5).read_bytes()==data
    n = len(hub.asked)
    fetch_file(f'{hub.url}/a', tmp_path/'c', md5)
    # the cache is asked, not the server
    assert len(hub.asked)==n
    with pytest.raises(FileNotFoundError, match='404'): fetch_file(f'{hub.url}/none', tmp_path/'none')
    hub.stop()
    with pytest.raises(ConnectionError, match='call again'):
        fetch_file(f'{hub.url}/a', tmp_path/'d', tries=2, pause=0)

def test_a_killed_unpacking_is_done_again(tmp_path, monkeypatch):
    archive = tiny_imagenet(4)
    (tmp_path/'downloads').mkdir(parents=True)
    # put there by hand, as where there is no network
    (tmp_path/'downloads'/'tiny-imagenet-200.zip').write_bytes(archive)
    (tmp_path/'tiny-imagenet-200.part'/'tiny-imagenet-200').mkdir(parents=True)
    (tmp_path/'tiny-imagenet-200.part'/'half').write_text('a kill left this')
    monkeypatch.setitem(SETS, 'tinyimagenet',
                        replace(SETS['tinyimagenet'], splits=dict(train=4, val=4), files=(
        ('http://no-such-host.invalid/tiny-imagenet-200.zip', hashlib.md5(archive).hexdigest()),)))
    assert len(get_set('Tiny-ImageNet', root=tmp_path))==4
    assert sorted(p.name for p in tmp_path.iterdir())==['downloads', 'tiny-imagenet-200']

def test_packs(shared):
    for key in ('mnist', 'signdigits', 'cifar1020k'):
        images = get_set(key)
        assert len(images)==SETS[key].splits[SETS[key].score] and images[5].mode=='RGB'
        assert len(set(images.labels.tolist()))==10
    assert get_set('mnist')[0].size==(28, 28) and get_set('CIFAR-10, 20k', 'train').labels[0] in range(10)

# ---- the benchmark

methods = ['SCP, neighbours', 'SCP, views', 'CPP', 'k-means', 'spectral, 10-NN', 'Ward', 'random partition']
def small(out, **kw):
    return bp.bench_papers(out, quiet,
                           **{**dict(sets=['digits'], methods=methods, quick=True, seeds=1, limit=80), **kw})

def test_the_same_twice_and_after_any_kill(tmp_path, monkeypatch):
    "Stopped before each run in turn, and before each write in turn, it ends with the table of one quiet run"
    once = small(tmp_path/'once')
    assert len(once['runs'])==7 and not once['failed']
    assert without_costs(small(tmp_path/'twice', force=True))==without_costs(once)
    true = common.replace_file
    class Kill(BaseException): pass
    for attempt in range(30):
        # each attempt gets one write further, then dies
        left = [1]
        def dying(path, text):
            if not left[0]: raise Kill
            left[0] -= path.name=='papers.json' and len(json.loads(text)['runs'])>done
            return true(path, text)
        done = (len(json.loads((tmp_path/'k'/'papers.json').read_text())['runs'])
                if (tmp_path/'k'/'papers.json').is_file() else 0)
        monkeypatch.setattr(common, 'replace_file', dying)
        try: found = small(tmp_path/'k'); break
        except Kill: pass
    assert attempt>=7 and without_costs(found)==without_costs(once)
    def table(f): return papers_table(f, 'digits').drop(columns=['s', 'MiB'])
    # rows are sorted by ACC, and their costs are those of the first time
    assert table(found).equals(table(once))

def test_a_set_that_cannot_be_had_leaves_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv('SCP_DATA', str(tmp_path/'sets'))
    monkeypatch.delenv('SCP_IMAGENET', raising=False)
    monkeypatch.setitem(SETS, 'stl10',
                        replace(SETS['stl10'], files=(('http://no-such-host.invalid/stl.tar.gz', '0'*32),)))
    monkeypatch.setitem(bp._OURS, 'CPP', lambda *args: 1/0)
    monkeypatch.setitem(sets._OPEN, 'archive', lambda *args: {}['a mistake of ours'])
    scp_bench('papers', out=str(tmp_path/'r'), sets='stl10,imagenet10,tinyimagenet,digits',
              backbones='pixels,timm:no_such_model',
              methods='k-means;CPP', seeds=1, limit=100)
    found = json.loads((tmp_path/'r'/'papers.json').read_text())
    assert [(r['set'], r['method']) for r in found['runs']]==[('digits', 'k-means')]
    why = {(r['set'], r['backbone'], r.get('method')): r['why'] for r in found['failed']}
    assert 'no network' in why['stl10', 'pixels', None] and 'licence' in why['imagenet10', 'pixels', None]
    assert 'a mistake of ours' in why['tinyimagenet', 'pixels', None]
    assert 'no_such_model' in why['digits', 'timm:no_such_model', None]
    assert 'ZeroDivisionError' in why['digits', 'pixels', 'CPP']
    card = (tmp_path/'r'/'papers.md').read_text()
    assert 'Labels were read for scores alone' in card and str(tmp_path) not in card and '## Left out' in card
    assert (tmp_path/'r'/'papers.png').stat().st_size>1000

def test_other_features_are_other_runs(tmp_path, monkeypatch):
    "Rows of an earlier call are taken only for the same arrays; those of other sets stay"
    y = np.repeat(np.arange(3), 30)
    def write(seed):
        np.savez(tmp_path/'own.npz', labels=y,
                 features=np.eye(3)[y]*3+np.random.default_rng(seed).normal(size=(90, 3)))
    def run(*names, **kw):
        return bp.bench_papers(tmp_path/'r', quiet, list(names), methods=['k-means'], seeds=1, **kw)
    write(0); first = run(str(tmp_path/'own.npz'))
    write(1); second = run(str(tmp_path/'own.npz'), 'digits', limit=90)
    assert first['runs'][0]['features']!=second['runs'][0]['features'] and len(second['runs'])==2
    third = run('digits', limit=90)
    assert [r['set'] for r in third['runs']]==['digits', 'own'] and set(third['sets'])=={'digits', 'own'}
    # with its time: it was not run again
    assert third['runs'][0]==second['runs'][1]
    # another version may give other clusters
    monkeypatch.setattr(bp, '__version__', '99')
    assert [r['scp_nb'] for r in run('digits', limit=90)['runs']]==['99', third['runs'][1]['scp_nb']]

def test_a_set_without_labels_has_no_scores(tmp_path, monkeypatch):
    for i in range(30):
        (tmp_path/'own').mkdir(exist_ok=True); photo_patches()[i*7].save(tmp_path/'own'/f'{i}.png')
    monkeypatch.setattr(bp, '_estimate', lambda X, seed: dict(k_hat=3, k_low=2, k_high=4))
    found = bp.bench_papers(tmp_path/'r', quiet, [str(tmp_path/'own')], ['pixels'],
                            ['k-means', 'SCP, k estimated'], seeds=1)
    row, = found['runs']
    assert row['method']=='SCP, k estimated' and row['k_hat']==3 and 'ACC' not in row and row['k'] is None
    assert papers_table(found, 'own').ACC.tolist()==['-'] and 'no classes' in results_card(found)

def test_labels_never_reach_a_method(tmp_path, monkeypatch):
    "Permuted labels change the scores and nothing else"
    X,y = np.random.default_rng(0).normal(size=(80, 5)).astype(np.float32),np.arange(80)%4
    seen = []
    def spy(*args): seen.append(args[:4]); return np.arange(80)%4
    monkeypatch.setitem(bp._OURS, 'k-means', spy)
    for labels in (y, np.random.default_rng(1).permutation(y)):
        np.savez(tmp_path/'own.npz', features=X, labels=labels)
        bp.bench_papers(tmp_path/'r', quiet, [str(tmp_path/'own.npz')], methods=['k-means'], seeds=1,
                        force=True)
    (a,*more),(b,*rest) = seen
    assert (a==b).all() and more[1:]==rest[1:]

# columns of the notes' table 3.1, in their order; what stands under "other" begins with the name there
COLUMNS = 'cifar10 cifar20 cifar100 stl10 imagenet10 imagenetdogs imagenet'.split()
OTHER = dict(tinyimagenet='TinyIN', dtd='DTD', ucf101='UCF', caltech101='Caltech-101')
# sets of section 3.2, in its order; later methods name none and stand for the first of a list
SHORT = dict(STL='stl10', C10='cifar10', C20='cifar20', IN10='imagenet10', Dogs='imagenetdogs', DTD='dtd',
             UCF='ucf101', IN1k='imagenet')

def cell_scores(cell):
    "Scores of a cell of the notes: ACC, NMI and ARI by place, or by the names that stand there"
    cell = re.sub(r'\([^()]*\)|\[R\][^|;,]*', '', cell).replace('8.06e+3', '')
    named = {s: float(v) for v,s in re.findall(r'([\d.]+) (ACC|NMI|ARI)', cell)}
    named |= {s: float(v) for s,v in re.findall(r'(ACC|NMI|ARI) ([\d.]+)', cell)}
    placed = re.search(r'\d+(?:\.\d+)?(?:/\d+(?:\.\d+)?)*', cell)
    return named or (dict(zip(('ACC', 'NMI', 'ARI'), map(float, placed[0].split('/')))) if placed else {})

def seen_figures(notes):
    "Rows of table 3.1: name, features, and scores by set"
    rows,start = [],notes.index('### 3.1 ')
    for line in notes[start:notes.index('### 3.2 ')].splitlines():
        cells = [c.strip() for c in line.strip('|').split('|')]
        if not line.startswith('| ') or len(cells)<11 or cells[0].startswith('method'): continue
        if 'DROWCULA' in cells[0]:                           # "UMAP / t-SNE" in each cell; UMAP is ours
            cells = [re.sub(r'([\d.]+) ?/ ?[\d.]+', r'\1', c) for c in cells]
        found = {key: cell_scores(c) for key,c in zip(COLUMNS, cells[3:10])}
        for part in re.split('[;,] ', re.sub(r'(UCF[^;|]*), ', r'\1 & ', cells[10])):
            for key,name in OTHER.items():
                if part.startswith(name):
                    got = cell_scores(part.removeprefix(name).replace('-101', '', 1))
                    found[key] = dict(NMI=got['ACC']) if '(NMI)' in cells[10] else got
        rows.append((cells[0], cells[2], found))
    return rows

def recalled_figures(notes):
    "Section 3.2: by name, scores by set. The notes give NMI/ACC/ARI"
    section = notes[notes.index('### 3.2 '):notes.index('### 3.3 ')]
    assert 'NMI/ACC/ARI — all [R]' in section.splitlines()[0]
    found = {}
    for part in section.splitlines()[1].split('. '):
        name,_,text = part.partition(': ')
        triples = re.findall(r'(?:([A-Z]\w*) )?([\d.]+)/([\d.]+)/([\d.]+)', text)
        if '(' in name or len(triples)<5: continue
        keys = [SHORT[s] if s else key for (s,*_),key in zip(triples, SHORT.values())]
        found[name] = {key: dict(NMI=float(n), ACC=float(a), ARI=float(r.rstrip('.')))
                       for key,(_,n,a,r) in zip(keys, triples)}
    return found

# what stands elsewhere in the notes, with the place: MLC as fractions, CPP in words, a digest's k-means
ELSEWHERE = {('MLC', 'cifar10'): (dict(ACC=92.2, NMI=85.5), '.922/.855 (MoCoV2)'),
             ('MLC', 'cifar20'): (dict(ACC=58.3, NMI=59.6), '.583/.596'),
             ('CPP', 'imagenet'): (dict(ACC=66.), '"66" [S abstract]'),
             ('CLIP + k-means', 'ucf101'): (dict(ACC=58.2), 'CLIP k-means 58.2) [S]')}
NAMES = {'UMAP + k-means, on train': 'DROWCULA', 'SCP': 'SCP-CLIP', 'CLIP + k-means': 'CLIP k-means',
         'TAC, without training (WordNet)': 'TAC no-train', 'CLIP zero-shot (class names)': 'CLIP zero-shot'}

def wrong_figures(notes, rows):
    "Rows of `published` that the notes do not bear out, score by score"
    seen,recalled,wrong = seen_figures(notes),recalled_figures(notes),[]
    for r in rows:
        name = NAMES.get(r['method'], r['method'].split(' (')[0])
        there,place = ELSEWHERE.get((r['method'], r['set']), ({}, ''))
        there = dict(there) if place in notes else {}
        for method,features,found in seen:
            if not re.match(re.escape(name)+r'\b(?!-)', method): continue
            if name!='TEMI' or features.startswith(r['features']):           # three rows of one method
                there |= found.get(r['set'], {})
        memory = recalled.get(name, {}).get(r['set'], {})
        wrong += [(r['set'], r['method'], s, r[s]) for s in ('ACC', 'NMI', 'ARI')
                  if r[s] is not None and (memory if s in r['recalled'] else there).get(s)!=r[s]]
    return wrong

def test_published_numbers_were_seen(shared):
    """Every number stands in the notes on the literature, for its method, set and score; what stands there
    only as recalled from memory is marked so"""
    file = shared/'reference'/'literature.md'
    if not file.is_file(): pytest.skip('no notes on the literature beside the data')
    notes,rows = file.read_text(),[r for key in dict.fromkeys([*SETS, *bp.PACKS]) for r in published(key)]
    assert len(rows)>50 and wrong_figures(notes, rows)==[]
    # two scores of one row, changed with each other, are found
    for r in rows:
        if None in (r['NMI'], r['ACC']) or r['NMI']==r['ACC']: continue
        assert wrong_figures(notes, [dict(r, ACC=r['NMI'], NMI=r['ACC'])]), r

# ---- beside the published figures, on features at hand

def write_packs(folder, *names, classes=4):
    "Files as the packs are, but small"
    folder.mkdir(exist_ok=True)
    for i,name in enumerate(names):
        y,rng = np.repeat(np.arange(classes), 25),np.random.default_rng(i)
        X = np.eye(classes, 8)[y]+rng.normal(size=(len(y), 8))*.2
        np.savez(folder/bp.PACKS[name].file, features=X.astype(np.float16), labels=y)
    return folder

def test_packs_twice_and_after_a_stop(tmp_path):
    data = write_packs(tmp_path/'data', *bp.PACKS)
    some = dict(seeds=2, methods=['fit_head', 'k-means', 'Ward', 'random partition'], jobs=0)
    once = bp.bench_packs(tmp_path/'a', data, quiet, **some)
    assert list(once['sets'])==list(bp.PACKS) and not once['failed'] and len(once['runs'])==3*(2+2+1+2)
    # all but the slow runs of two sets once more
    shutil.copytree(tmp_path/'a', tmp_path/'b')
    for file in (tmp_path/'b'/'runs').iterdir():
        if 'fit_head' not in file.name or file.name.startswith('dtd'): file.unlink()
    assert len(list((tmp_path/'b'/'runs').iterdir()))==2*2
    (tmp_path/'b'/'papers.json').unlink()
    bp.bench_packs(tmp_path/'b', data, quiet, **some)
    # a job that a stop left undone, and one that failed
    (tmp_path/'b'/'runs'/'dtd~k-means~1.json').unlink()
    failed = dict(suite='papers', task='dtd', group='Ward', seed=0, error='MemoryError: no room')
    (tmp_path/'b'/'runs'/'dtd~Ward~0.json').write_text(json.dumps(failed))
    said = []
    bp.bench_packs(tmp_path/'b', data, said.append, **some)
    assert said[0]=='21 jobs, 19 of them done before'
    def read(d): return without_costs(json.loads((tmp_path/d/'papers.json').read_text()))
    assert read('a')==read('b') and str(tmp_path) not in (tmp_path/'a'/'papers.md').read_text()
    assert (tmp_path/'a'/'papers.png').stat().st_size>1000

def test_absent_and_damaged_packs_are_left_out_with_the_reason(tmp_path, capsys):
    data = write_packs(tmp_path/'data', 'dtd')
    (data/bp.PACKS['ucf101'].file).write_bytes(b'not an archive')
    scp_bench('papers', data=str(data), out=str(tmp_path/'r'), methods='k-means', seeds=1, jobs=0)
    found = json.loads((tmp_path/'r'/'papers.json').read_text())
    assert [r['set'] for r in found['runs']]==['dtd']
    why = {r['set']: r['why'] for r in found['failed']}
    assert set(why)=={'ucf101', 'caltech101'} and 'no caltech101_clip_vitb32.npz' in why['caltech101']
    assert 'caltech101 is left out: no caltech' in capsys.readouterr().out
    assert '## Left out' in (tmp_path/'r'/'papers.md').read_text() and str(tmp_path) not in json.dumps(found)
    # what was measured before stays when its file is gone
    write_packs(data, 'ucf101')
    (data/bp.PACKS['dtd'].file).unlink()
    again = bp.bench_packs(tmp_path/'r', data, quiet, methods=['k-means'], seeds=1, jobs=0)
    assert [r['set'] for r in again['runs']]==['dtd', 'ucf101'] and again['runs'][0]==found['runs'][0]

def test_what_packs_refuse(tmp_path):
    data = write_packs(tmp_path/'data', 'dtd')
    for given,error,what in (
            (dict(sets=['dtds']), ValueError, 'no set "dtds". There are: dtd; ucf101; caltech101'),
            (dict(methods=['k-mean']), ValueError, 'no method "k-mean"'),
            (dict(seeds=0), ValueError, 'seeds must be 1 or more'),
            (dict(redo=['magic']), ValueError, 'no method "magic"'),
            (dict(sets=['ucf101']), FileNotFoundError, 'ucf101_clip_vitb32.npz'),
            (dict(data=tmp_path/'none'), FileNotFoundError, 'no folder')):
        with pytest.raises(error, match=re.escape(what)) as e:
            bp.bench_packs(tmp_path/'r', **dict(dict(data=data, say=quiet), **given))
        assert '\n' not in str(e.value) and not (tmp_path/'r').exists()
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine'/'letter.txt').write_text('dear')
    def start(name): bp.bench_packs(tmp_path/name, data, quiet, methods=['k-means'], seeds=1, jobs=0)
    with pytest.raises(FileExistsError, match='something else'): start('mine')
    # the two kinds of results never mix
    start('r')
    with pytest.raises(FileExistsError, match='on packs'): small(tmp_path/'r')
    small(tmp_path/'own', methods=['k-means'])
    with pytest.raises(FileExistsError, match='something else'): start('own')

def test_cpp_gets_fewer_seeds_unless_it_is_named(tmp_path, monkeypatch):
    data = write_packs(tmp_path/'data', 'dtd')
    def fake(X, y, k, seed): return np.arange(len(X))%k,{}
    monkeypatch.setitem(cpp.CPP_GROUPS, 'cpp, fit_cpp', fake)
    monkeypatch.setattr(bp, 'CPP_SEEDS', 2)
    def runs(**kw):
        found = bp.bench_packs(tmp_path/'-'.join(map(str, kw)), data, quiet, jobs=0, **kw)
        return {m: sum(r['method']==m for r in found['runs']) for m in ('fit_cpp', 'k-means', 'Ward')}
    monkeypatch.setattr(bp, 'why_not', lambda needs, most, n: 'not here' if needs else None)
    monkeypatch.setattr(bp, 'broad_methods', lambda priors=False: {
        m: g for m,g in broad_methods().items() if m in ('k-means', 'Ward')})
    assert runs(seeds=4)=={'fit_cpp': 2, 'k-means': 4, 'Ward': 1}
    assert runs(seeds=4, methods=['fit_cpp'])=={'fit_cpp': 4, 'k-means': 0, 'Ward': 0}
    assert runs(quick=True)=={'fit_cpp': 0, 'k-means': 1, 'Ward': 1}

def test_runs_of_cpp_are_shared_with_its_suite(tmp_path, monkeypatch):
    "What one of the two commands has done, the other takes over; what else CPP's suite does is not for packs"
    data,done = write_packs(tmp_path/'data', 'dtd'),[]
    def fake(X, y, k, seed):
        done.append(seed)
        return (np.arange(len(X))+seed)%k,dict(precision_z=.5)
    for name in ('fit_cpp', 'no gamma'): monkeypatch.setitem(cpp.CPP_GROUPS, f'cpp, {name}', fake)
    def group_rows(group, job, data):
        if job['group']=='k-means': done.append(job['seed'])
        return broad.group_rows(group, job, data)
    monkeypatch.setattr(bp, 'group_rows', group_rows)
    names,out = ['fit_cpp', 'no gamma', 'k-means'],tmp_path/'r'
    def own(): return cpp.bench_cpp(out, data, quiet, ['dtd'], 2, names, jobs=0)
    def packs(n): return bp.bench_packs(out, data, quiet, ['dtd'], ['fit_cpp', 'k-means'], n, jobs=0)
    rows = own()
    assert len(done)==len(rows)==6
    found = packs(3)
    assert len(done)==8
    theirs,ours = ({(r['method'], r['seed']): r['ACC'] for r in some} for some in (rows, found['runs']))
    assert ours.keys()=={(m, s) for m in ('k-means', 'fit_cpp') for s in range(3)}
    assert all(abs(theirs[run]-ours[run])<1e-4 for run in ours.keys() & theirs.keys())
    own(), packs(3)
    assert len(done)==8
    def fails(X, y, k, seed): raise ValueError('no')
    monkeypatch.setitem(cpp.CPP_GROUPS, 'cpp, fit_cpp', fails)
    assert ('fit_cpp', 'seed 3: ValueError: no') in [(r['method'], r['why']) for r in packs(4)['failed']]

def test_other_data_are_measured_again(tmp_path, monkeypatch):
    """Jobs of another file of the same name are done anew, and those not asked for are left out; files
    without a digest count as they are; another version is another result"""
    data,some = write_packs(tmp_path/'data', 'dtd'),dict(seeds=2, jobs=0)
    def run(methods=('k-means', 'Ward'), **kw):
        said = []
        found = bp.bench_packs(tmp_path/'r', data, said.append, sets=['dtd'], methods=list(methods),
                                  **(some|kw))
        return found['runs'],next(line for line in said if 'done before' in line)
    first,_ = run()
    assert run()==(first, '3 jobs, 3 of them done before')
    y = np.repeat(np.arange(4), 25)
    X = np.random.default_rng(5).normal(size=(100, 8)).astype(np.float16)
    np.savez(data/bp.PACKS['dtd'].file, features=X, labels=y)
    second,said = run(['k-means'])
    assert said=='2 jobs, 0 of them done before' and {r['method'] for r in second}=={'k-means'}
    assert all(a['ACC']>.9>b['ACC'] for a,b in zip([r for r in first if r['method']=='k-means'], second))
    # other labels are other data too
    np.savez(data/bp.PACKS['dtd'].file, features=X, labels=y[::-1].copy()//2)
    assert run(['k-means'])[1]=='2 jobs, 0 of them done before'
    for file in (tmp_path/'r'/'runs').glob('*k-means*.json'):
        job = json.loads(file.read_text())
        assert (len(job.pop('digest')), job.pop('scp_nb'))==(16, queue.__version__)
        file.write_text(json.dumps(job))
    assert run(['k-means'])[1]=='2 jobs, 2 of them done before'
    assert run(['k-means'], force=True)[1]=='2 jobs, 0 of them done before'
    assert not (tmp_path/'r'/'runs'/'dtd~Ward~0.json').exists()          # all that was there is forgotten
    monkeypatch.setattr(queue, '__version__', '99')
    assert run(['k-means'])[1]=='2 jobs, 0 of them done before'

def shell(warm, folder, *words):
    "Run the command as a shell does: code, output, errors"
    (folder/'scp_bench').write_text('from scp_nb.bench.suites import scp_bench\nscp_bench()\n')
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run([*warm, str(folder/'scp_bench'), *map(str, words)], capture_output=True,
                          text=True, env=dict(os.environ, PYTHONPATH=root, OMP_NUM_THREADS='1'), timeout=120)
    return done.returncode,done.stdout,done.stderr

def damage(file, how):
    "Make a file that is no pack"
    whole = file.read_bytes()
    if how=='text': file.write_bytes(b'not an archive')
    elif how=='empty': file.write_bytes(b'')
    elif how=='cut': file.write_bytes(whole[:len(whole)//2])
    elif how=='bits': file.write_bytes(whole[:200]+bytes(64)+whole[264:])
    elif how=='array': np.save(file.open('wb'), np.zeros(3))
    elif how=='objects': np.savez(file, features=np.array([{}]), labels=np.zeros(1))
    elif how=='labels': np.savez(file, features=np.zeros((3, 2)))

@pytest.mark.parametrize('how,what', [*((how, 'damaged or cut short. Fetch it again.') for how in
    ('text', 'empty', 'cut', 'bits', 'array')), ('objects', 'holds Python objects'),
    ('labels', 'holds features; it lacks labels.')])
def test_a_damaged_pack_is_told_in_a_line(tmp_path, how, what):
    file = write_packs(tmp_path, 'dtd')/bp.PACKS['dtd'].file
    load_task('dtd', tmp_path)
    damage(file, how)
    for call in (lambda: common.load_pack(file, 'features', 'labels'), lambda: load_task('dtd', tmp_path),
                 lambda: sets.load_set(str(file)), lambda: bp._features_of_file(str(file))):
        with pytest.raises(ValueError, match=re.escape(what)) as e: call()
        assert str(e.value).startswith(f'"{file.name}"') and '\n' not in str(e.value)
        assert 'pickle' not in str(e.value)

def test_nothing_measured_is_an_error(tmp_path, monkeypatch, warm):
    data = write_packs(tmp_path/'data', *bp.PACKS)
    for key in ('dtd', 'ucf101'): damage(data/bp.PACKS[key].file, 'cut')
    (data/bp.PACKS['caltech101'].file).unlink()
    code,out,err = shell(warm, tmp_path, 'papers', '--data', data, '--out', tmp_path/'r', '--quick')
    assert code==2 and 'Wrote' not in out and err.count('\n')==1 and not (tmp_path/'r').exists()
    assert 'dtd: "dtd_clip_vitb32.npz" cannot be read' in err and 'caltech101: no caltech' in err
    write_packs(data, 'dtd')
    def run(**kw): bp.bench_packs(tmp_path/'r', data, quiet, methods=['Ward'], jobs=0, **kw)
    with monkeypatch.context() as m:
        m.setattr(bp, 'job_rows', lambda job, data: 1/0)
        with pytest.raises(RuntimeError, match='every job failed. The first: ZeroDivisionError'): run()
    run()                                             # and what failed is tried again
    assert (tmp_path/'r'/'papers.json').is_file()
    monkeypatch.setattr(bp, 'why_not', lambda *args: 'not here')
    with pytest.raises(ValueError, match='none of these methods is installed'): run()
    with pytest.raises(RuntimeError, match='nothing was measured.*licence'):
        bp.bench_papers(tmp_path/'pictures', quiet, ['imagenet10'], ['pixels'], ['k-means'])

def test_no_option_is_dropped_without_a_word(tmp_path):
    data = write_packs(tmp_path/'data', 'dtd')
    for option in (dict(limit=9), dict(backbones='pixels'), dict(views=2), dict(device='cpu')):
        with pytest.raises(ValueError, match=f'--{next(iter(option))}'):
            scp_bench('papers', data=str(data), out=str(tmp_path/'r'), methods='Ward', jobs=0, **option)
    assert not (tmp_path/'r').exists()
    def run(**kw):
        scp_bench('papers', data=str(data), out=str(tmp_path/'r'), jobs=0, seeds=1, **kw)
        return [r['method'] for r in read_results(tmp_path/'r'/'papers.json')['runs']]
    assert run(methods='Ward')==['Ward'] and run(methods='k-means')==['k-means', 'Ward']
    assert run(methods='k-means', force=True)==['k-means']

def test_packs_and_the_broad_suite_never_share_a_directory(tmp_path):
    data = write_packs(tmp_path/'data', 'dtd')
    def packs(out, **kw): bp.bench_packs(tmp_path/out, data, quiet, methods=['Ward'], jobs=0, **kw)
    def many(out): broad.bench_broad(tmp_path/out, data, quiet, ['dtd'], only=['Ward'], jobs=0)
    def state(): return {f: f.read_bytes() for f in tmp_path.rglob('*') if f.is_file()}
    packs('p'); many('b')
    before = state()
    for call in (lambda: packs('b'), lambda: packs('b', force=True), lambda: many('p')):
        with pytest.raises(FileExistsError, match='another suite'): call()
    assert state()==before

def test_names_given_twice_count_once_and_the_command_tells_what_gave_the_rows(tmp_path):
    data,said = write_packs(tmp_path/'data', 'dtd', 'ucf101'),[]
    def run(**kw):
        found = bp.bench_packs(tmp_path/'r', data, said.append, jobs=0, **kw)
        assert found==read_results(tmp_path/'r'/'papers.json')
        return found['settings']['command']
    first = run(sets=['dtd', 'dtd'], methods=['Ward', 'k-means'], seeds=2)
    assert '3 jobs, 0 of them done before' in said
    assert "--sets dtd --methods 'Ward;k-means' --seeds 2" in first
    # nothing new: the rows are those of before
    assert run(sets=['dtd'], methods=['k-means'], quick=True)==first
    second = run(sets=['ucf101'], methods=['Ward']).splitlines()
    assert second[0]==first and len(second)==2 and '--sets ucf101' in second[1]
    assert all(f'    {line}\n' in (tmp_path/'r'/'papers.md').read_text() for line in second)
    # one that gives all of them stands alone
    whole = run(sets=['dtd', 'ucf101'], methods=['Ward', 'k-means'], seeds=2)
    assert '\n' not in whole and 'dtd,ucf101' in whole
    # nothing is claimed where an earlier call was stopped before it told its command
    (tmp_path/'r'/'papers.json').unlink()
    assert run(sets=['dtd'], methods=['Ward'])==''
    broad.bench_broad(tmp_path/'b', data, said.append, ['digits@50', 'digits@50'], 1, ['k-means'], jobs=0)
    assert said[-2]=='1 jobs, 0 of them done before'

@pytest.mark.parametrize('suite', ['packs', 'broad', 'k', 'cpp'])
def test_fewer_than_no_workers(tmp_path, monkeypatch, suite):
    "An error, and nobody waits for workers"
    def waits(*args): raise AssertionError('this would wait for ever')
    monkeypatch.setattr(queue, '_share_out', waits)
    data = write_packs(tmp_path/'data', 'dtd')
    module,name = dict(packs=(bp, 'sets'), broad=(broad, 'tasks'), k=(k, 'tasks'), cpp=(cpp, 'tasks'))[suite]
    with pytest.raises(ValueError, match='jobs must be 0 or more; got -1'):
        getattr(module, f'bench_{suite}')(tmp_path/'r', data, quiet, **{name: ['dtd']}, jobs=-1)
    assert not (tmp_path/'r').exists()

def test_rows_of_the_table_can_be_told_apart():
    "Features that are only recalled keep their mark; those of several backbones stand in the name"
    def found(*backbones):
        runs = [dict(set='dtd', backbone=b, method='Ward', seed=0, learned_on='', clusters=2, ACC=.4+i/10,
                     NMI=.5, ARI=.3, cost=dict(seconds=1.)) for i,b in enumerate(backbones)]
        return dict(sets=dict(dtd=dict(name='DTD')), runs=runs)
    one = beside_table(found('CLIP ViT-B/32')).index
    assert one[0]=='Ward' and {'TAC (WordNet), published',
                               'GradNorm (WordNet), published, CLIP ViT-B/32†'}<=set(one)
    two = beside_table(found('CLIP ViT-B/32', 'CLIP ViT-L/14'))
    assert list(two.index[:2])==['Ward, CLIP ViT-L/14', 'Ward, CLIP ViT-B/32'] and two.index.is_unique
    assert 'TAC (WordNet), published, CLIP ViT-B/32' in two.index

# ---- what the pages show

nbs = Path(__file__).resolve().parent.parent/'nbs'

def test_the_page_shows_what_was_measured():
    "The saved tables of the page hold the figures of `papers.json`, with recalled ones marked"
    found = read_results(nbs/'bench'/'papers.json')
    cells = json.loads((nbs/'bench'/'08_papers.ipynb').read_text())['cells']
    saved = ''.join(str(o) for c in cells if c['cell_type']=='code' for o in c['outputs'])
    assert set(found['sets'])==set(bp.PACKS) and not found['failed']
    for key in bp.PACKS:
        table = papers_table(found, key)
        ours = table[table.method=='fit_head'].iloc[0]
        assert int(ours.runs)==10
        for row in table.itertuples():
            for v in (row.ACC, row.NMI, row.ARI): assert v=='-' or v in saved, (key, row.method, v)
        for r in published(key):
            assert all(f'{r[s]:.1f}†' in saved for s in r['recalled'])
    assert any(FOOTNOTE in ''.join(c['source']) for c in cells)

def test_the_saved_figures_come_from_the_packs(shared):
    "A deterministic method, measured again, gives what `papers.json` holds"
    found = read_results(nbs/'bench'/'papers.json')
    X,y = load_task('dtd', shared/'data')
    saved, = (r for r in found['runs'] if (r['set'], r['method'])==('dtd', 'Ward'))
    assert saved['n_score']==len(X)
    scores = partition_scores(y, common.ward(common.prepare_rows(X), saved['k']))
    for s in ('ACC', 'NMI', 'ARI'): assert abs(scores[s]-saved[s])<.005, s

def test_recalled_figures_are_marked_wherever_they_are_printed():
    sets = {k: dict(name=p.name, k=2, learn='', score='', source='', note='') for k,p in bp.PACKS.items()}
    found = dict(header='', settings=dict(command=''), versions={}, sets=sets, extractions=[], runs=[],
                 failed=[])
    table = papers_table(found, 'ucf101').set_index('method')
    assert table.loc['CLIP + k-means', ['ACC', 'NMI', 'ARI']].tolist()==['58.2', '79.5†', '47.6†']
    card = results_card(found)
    # DTD and UCF-101 quote recalled figures, Caltech-101 none
    assert card.count(FOOTNOTE)==2 and '57.3†' in card and '| 57.3 |' not in card
