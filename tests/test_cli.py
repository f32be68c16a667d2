"""The commands as a user runs them: installed in a fresh virtual environment, from an empty directory, on
real images"""
import csv, json, os, re, shutil, subprocess, sys, time, venv
from pathlib import Path
import numpy as np, pytest
from fastcore.script import anno_parser
from scp_nb import cli
from warm import Warm

root = Path(__file__).resolve().parent.parent

@pytest.fixture(scope='session')
def commands(tmp_path_factory):
    """The package installed as a wheel into a new environment, which borrows only the other packages from
    this one"""
    d = tmp_path_factory.mktemp('fresh')
    shutil.copytree(root, d/'src',
                    ignore=shutil.ignore_patterns('.git', '.venv', 'venv', '*.egg-info', 'shared', 'nbs',
                                                  'build'))
    venv.create(d/'env')
    python = d/'env'/'bin'/'python'
    site = subprocess.run([python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'],
                          capture_output=True, text=True, check=True).stdout.strip()
    import sysconfig
    # a wheel, made where no compiler is found, as somebody without a clone installs it
    none = {**os.environ, 'CC': '/nonexistent', 'CXX': '/nonexistent'}
    def pip(*args):
        subprocess.run([sys.executable, '-m', 'pip', '--python', python, *args, '-q', '--no-deps'],
                       check=True, env=none, capture_output=True)
    pip('wheel', '-w', d/'dist', d/'src')
    pip('install', *(d/'dist').glob('*.whl'))
    shutil.rmtree(d/'src')
    Path(site, 'borrowed.pth').write_text(sysconfig.get_path('purelib')+'\n')
    where = subprocess.run([python, '-c', 'import scp_nb; print(scp_nb.__file__)'], capture_output=True,
                           text=True, check=True, cwd=d).stdout
    assert site in where, 'the wheel must be found before the checkout'
    return d/'env'/'bin'

@pytest.fixture(scope='session')
def installed(commands):
    "What starts a command of this installation without importing everything once more"
    warm = Warm(commands/'python', env=plain)
    yield [*warm.python, commands]
    warm.close()

plain = {k:v for k,v in os.environ.items() if k not in ('PYTHONPATH', 'VIRTUAL_ENV')}

def run(installed, name, *args, cwd):
    *start,folder = installed
    return subprocess.run([*start, folder/name, *map(str, args)], cwd=cwd, capture_output=True, text=True,
                          env=plain | dict(HF_HUB_OFFLINE='1', COLUMNS='150'))

def acc(r): return float(re.search(r'ACC (\.?\d[\d.]*)', r.stdout)[1])

@pytest.mark.parametrize('name', ['scp_demo', 'scp_features', 'scp_cluster'])
def test_help_is_complete(commands, tmp_path, name, monkeypatch):
    "One as a process, which takes long to start, and the others here"
    assert (commands/name).is_file()
    if name=='scp_cluster':
        r = run([commands], name, '--help', cwd=tmp_path)
        assert r.returncode==0
        said = r.stdout
    else:
        monkeypatch.setenv('COLUMNS', '150')
        said = anno_parser(getattr(cli, name), name).format_help()
    assert 'usage: '+name in said
    options = re.findall(r'^  (?:-h, )?(--?[\w-]+|[a-z_]+).*$', said, flags=re.M)
    for o in options:
        text = re.search(rf'^  (?:-h, )?{re.escape(o)}\b[^\n]*(?:\n {{8,}}[^\n]*)*', said, flags=re.M)[0]
        assert len(re.sub(r'\s+', ' ', text).split(' ', 3)[-1])>10, f'{o} has no help'
    assert '--out' in options and '--force' in options

def test_demo(installed, tmp_path, monkeypatch):
    r = run(installed, 'scp_demo', '--out', 'demo', cwd=tmp_path)
    assert r.returncode==0, r.stderr
    out = tmp_path/'demo'
    assert {'report.html', 'assignments.csv', 'head', 'features', 'gallery.png', 'map.png',
            'skipped.csv'} <= {p.name for p in out.iterdir()}
    rows = list(csv.DictReader(open(out/'assignments.csv')))
    assert list(rows[0])==['path', 'cluster', 'confidence'] and len(rows)==1797
    from sklearn.datasets import load_digits
    from scp_nb.evaluate import clustering_accuracy
    # rows are in the data set's order
    y,found = load_digits().target,np.array([int(o['cluster']) for o in rows])
    assert clustering_accuracy(y, found)>=.85
    assert acc(r)==pytest.approx(clustering_accuracy(y, found), abs=.006)
    # a second run refuses to touch it, says why, and --force replaces it with the same result
    (out/'mine.txt').write_text('keep me')
    again = run(installed, 'scp_demo', '--out', 'demo', cwd=tmp_path)
    assert again.returncode==2 and again.stderr.count('\n')==1 and '--force' in again.stderr
    monkeypatch.chdir(tmp_path)
    cli.scp_demo(out='demo', force=True)
    assert (out/'mine.txt').exists()
    assert [o['cluster'] for o in csv.DictReader(open(out/'assignments.csv'))]==[o['cluster'] for o in rows]
    assert sorted(p.name for p in tmp_path.iterdir())==['demo']

def test_sign_digits_as_a_user(installed, tmp_path, shared, sign_digits):
    photos = tmp_path/'photos'
    some = sorted(sign_digits.rglob('*.jpg'))[::3]
    for p in some:
        to = photos/p.relative_to(sign_digits)
        to.parent.mkdir(parents=True, exist_ok=True)
        os.link(p, to)
    # near the size of these pictures, and a third of the work of the usual 224 pixels
    network = ['--backbone', 'timm:mobilenetv1_100?pad_type=same&img_size=128', '--checkpoint',
               shared/'models'/'mobilenetv1_100.safetensors']
    r = run(installed, 'scp_cluster', photos, '--k', 10, *network, '--evaluate', '--out', 'signs',
            cwd=tmp_path)
    assert r.returncode==0, r.stderr
    assert acc(r)>=.65, r.stdout
    rows = list(csv.DictReader(open(tmp_path/'signs'/'assignments.csv')))
    assert len(rows)==len(some) and all((photos/o['path']).exists() for o in rows)
    from scp_nb.features import Features
    from scp_nb.train import Clusters
    feats = Features.load(tmp_path/'photos-features')
    clusters = Clusters.load(tmp_path/'signs'/'head')
    assert feats.shape==(len(some),1024) and feats.names==[o['path'] for o in rows]
    np.testing.assert_array_equal(clusters.predict(feats), [int(o['cluster']) for o in rows])
    # features alone, of one folder of these, are the same ones
    cli.scp_features(str(photos/'3'), out=str(tmp_path/'f'), backbone=network[1], checkpoint=str(network[3]))
    there = [name.startswith('3/') for name in feats.names]
    # other batches round in another order
    np.testing.assert_allclose(Features.load(tmp_path/'f').numpy(), feats.numpy()[there], rtol=1e-5,
                               atol=1e-5)

def photos(path, n=12):
    from PIL import Image
    path.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n): Image.fromarray(rng.integers(0, 256, (16,16,3), dtype=np.uint8)).save(path/f'{i}.png')
    return path

def test_exit_code_from_the_shell(installed, tmp_path):
    "One process; the other cases run in this one, in test_bad_input.py"
    photos(tmp_path/'p')
    r = run(installed, 'scp_cluster', 'p', '--k', 'many', '--backbone', 'pixels', cwd=tmp_path)
    assert r.returncode==2 and "2 or more; got 'many'" in r.stderr, r.stderr
    assert r.stderr.startswith('scp_cluster: ') and r.stderr.count('\n')==1, r.stderr
    assert sorted(o.name for o in tmp_path.iterdir())==['p']

def test_k_auto(installed, tmp_path):
    "The estimate is printed, followed, kept with the head and shown in the report; labels have no say in it"
    from scp_nb.data import digits
    from scp_nb.estimate_k import estimate_k
    from scp_nb.features import Features
    images = digits()
    for i in range(120):
        folder = tmp_path/'p'/str(int(images.labels[i]))
        folder.mkdir(parents=True, exist_ok=True)
        images[i].save(folder/f'{i:03d}.png')
    r = run(installed, 'scp_cluster', 'p', '--k', 'auto', '--evaluate', '--backbone', 'pixels?size=8',
            '--out', 'o', cwd=tmp_path)
    assert r.returncode==0, r.stderr
    found = estimate_k(Features.load(tmp_path/'p-features').numpy())
    assert re.search(rf'^Clusters\?   {found.k} \(', r.stdout,
                     flags=re.M) and found.note in r.stdout, r.stdout
    assert r.stdout.index('Clusters?')<r.stdout.index('Training')
    rows = list(csv.DictReader(open(tmp_path/'o'/'assignments.csv')))
    assert {o['cluster'] for o in rows}=={str(c) for c in range(max(2, found.k))}
    kept = json.loads((tmp_path/'o'/'head'/'config.json').read_text())['fit']['k_estimate']
    assert kept==found.to_dict()
    page = (tmp_path/'o'/'report.html').read_text()
    assert f'The estimate is {found.k}' in page and 'The curve is the coding length' in page
    assert found.note in page

def test_killed_and_started_again(commands, installed, tmp_path, monkeypatch):
    "kill -9 while features are computed; the same command goes on, and ends as if nothing had happened"
    from PIL import Image
    rng = np.random.default_rng(0)
    (tmp_path/'p').mkdir()
    for i in range(120):
        small = Image.fromarray(rng.integers(0, 256, (4,4,3), dtype=np.uint8))
        small.resize((900,900)).save(tmp_path/'p'/f'{i:03d}.jpg')
    args = 'p', '--k', 3, '--backbone', 'pixels?size=8', '--batch-size', 8
    killed = subprocess.Popen([commands/'scp_cluster', *map(str, args)], cwd=tmp_path, env=plain,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while killed.poll() is None and not any(tmp_path.glob('p-features/*/*.part')): time.sleep(.005)
    killed.kill()
    killed.wait()
    done = list(tmp_path.glob('p-features/*/*.part'))
    if not done: pytest.skip('it was faster than the kill')
    assert not (tmp_path/'p-clusters').exists()
    r = run(installed, 'scp_cluster', *args, cwd=tmp_path)
    assert r.returncode==0, r.stderr
    assert sorted(p.name for p in tmp_path.iterdir())==['p', 'p-clusters', 'p-features']
    with open(tmp_path/'p-features'/'timing.json') as f: assert json.load(f)['seconds']>0
    whole = tmp_path/'whole'
    whole.mkdir()
    (tmp_path/'p').rename(whole/'p')
    monkeypatch.chdir(whole)
    cli.scp_cluster('p', k='3', backbone='pixels?size=8', batch_size=8)
    for name in ('p-features/features.npy', 'p-clusters/assignments.csv'):
        assert (tmp_path/name).read_bytes()==(whole/name).read_bytes(), name

def test_names_that_are_no_text(installed, tmp_path):
    "Bytes that are no UTF-8, a carriage return, a quote: clustered, listed, sorted and put back"
    from scp_nb.data import digits
    (tmp_path/'p').mkdir()
    names = [f'{i}.png'.encode() for i in range(30)]
    names[:3] = b'bad\xff\xfe.png', b'cr\rx.png', b'"q", <b>.png'
    for i,name in enumerate(names): digits()[i].save(os.path.join(os.fsencode(tmp_path/'p'), name), 'PNG')
    before = sorted(os.listdir(os.fsencode(tmp_path/'p')))
    r = run(installed, 'scp_cluster', 'p', '--k', 3, '--backbone', 'pixels?size=8', cwd=tmp_path)
    assert r.returncode==0, r.stderr
    r = run(installed, 'scp_sort', 'p-clusters', '--into', 's', '--move', cwd=tmp_path)
    assert r.returncode==0 and not os.listdir(tmp_path/'p'), r.stderr
    r = run(installed, 'scp_sort', '--undo', 's/scp_sort.jsonl', cwd=tmp_path)
    assert r.returncode==0 and sorted(os.listdir(os.fsencode(tmp_path/'p')))==before, r.stderr
