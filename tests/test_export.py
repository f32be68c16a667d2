"""What other tools make of our exports: their own readers and schemas, where they are installed"""
import importlib.util, json, os
from pathlib import Path
import numpy as np, pytest
from scp_nb.cluster.export import EXPORTS, fiftyone_dataset, label_names
from scp_nb.cluster.clusters import Clusters
from scp_nb.data import ImageFiles, digits
from scp_nb.features import as_features
from scp_nb.train import fit_head

@pytest.fixture
def made(tmp_path):
    "Clusters of images in a folder, with names that need care and two outliers"
    images,folder = digits(),tmp_path/'photos'/'d'
    folder.mkdir(parents=True)
    for i in range(40): images[i].save(folder/f'{i} ü%,"{i}.png')
    files = ImageFiles(tmp_path/'photos')
    X = np.stack([np.asarray(x.convert('L'), float).ravel() for x in files])
    clusters = fit_head(as_features(X), 3, seed=0).rename(0, 'round & <"x">').rename(2, 'round & <"x">')
    clusters.images,clusters.names = files,files.names
    return clusters.mark_outliers(share=.05)

def in_memory(clusters):
    "The same clusters of pictures that are no files"
    clusters.images = digits().subset(range(40))
    clusters.names = list(clusters.images.names)
    clusters.features.meta.pop('root', None)
    return clusters

@pytest.mark.parametrize('files', [True, False])
def test_hugging_face_reads_it(made, tmp_path, files):
    datasets = pytest.importorskip('datasets', reason='needs datasets: pip install "scp_nb[data]"')
    c = made if files else in_memory(made)
    c.export(tmp_path/'hf', to='huggingface')
    data = datasets.load_dataset(str(tmp_path/'hf'), split='train', cache_dir=str(tmp_path/'cache'))
    assert isinstance(data.features['image'], datasets.Image)
    assert isinstance(data.features['label'], datasets.ClassLabel)
    assert data.features['label'].names==label_names(c)==['round & <"x">', 'cluster 1', 'round & <"x">-2']
    np.testing.assert_array_equal(data['label'], c.labels)
    np.testing.assert_allclose(data['confidence'], c.confidence, atol=1e-6)
    for i in (0, 17, 39): np.testing.assert_array_equal(data[i]['image'].convert('RGB'), c.images[i])
    if files:                                    # the bytes of the files themselves
        raw = data.cast_column('image', datasets.Image(decode=False))[5]['image']
        assert raw['bytes']==(tmp_path/'photos'/c.names[5]).read_bytes() and raw['path']==c.names[5]

def test_many_images_make_several_files(made, tmp_path, monkeypatch):
    datasets = pytest.importorskip('datasets', reason='needs datasets: pip install "scp_nb[data]"')
    from scp_nb.cluster import export
    monkeypatch.setattr(export, '_SHARD', 1000)
    made.export(tmp_path/'hf', to='huggingface')
    assert len(list((tmp_path/'hf').rglob('*.parquet')))>2
    data = datasets.load_dataset(str(tmp_path/'hf'), split='train', cache_dir=str(tmp_path/'cache'))
    np.testing.assert_array_equal(data['label'], made.labels)

@pytest.mark.parametrize('files', [True, False])
def test_label_studio_takes_it(made, tmp_path, files):
    sdk = pytest.importorskip('label_studio_sdk.label_interface', reason='needs label-studio-sdk')
    c = made if files else in_memory(made)
    c.export(tmp_path/'ls', to='label_studio')
    config = sdk.LabelInterface((tmp_path/'ls'/'label_config.xml').read_text(encoding='utf-8'))
    config.validate()
    tasks = json.loads((tmp_path/'ls'/'tasks.json').read_text(encoding='utf-8'))
    assert len(tasks)==40 and sum(not t['predictions'] for t in tasks)==2
    assert all(config.validate_task(dict(data=t['data'])) for t in tasks)
    found = [p for t in tasks for p in t['predictions']]
    assert all(config.validate_prediction(p) for p in found)
    found[0]['result'][0]['value']['choices'] = ['another']
    assert not config.validate_prediction(found[0])

@pytest.mark.parametrize('files', [True, False])
def test_label_studio_schema(made, tmp_path, files):
    "The documented form, and addresses that lead to the files"
    from urllib.parse import parse_qs, urlsplit
    from xml.etree import ElementTree
    c = made if files else in_memory(made)
    c.export(tmp_path/'ls', to='label_studio')
    xml = ElementTree.parse(tmp_path/'ls'/'label_config.xml')
    choices = [e.get('value') for e in xml.iter('Choice')]
    assert choices==label_names(c) and xml.find('Choices').get('toName')==xml.find('Image').get('name')
    for i,t in enumerate(json.loads((tmp_path/'ls'/'tasks.json').read_text(encoding='utf-8'))):
        at = urlsplit(t['data']['image'])
        assert at.path=='/data/local-files/' and (tmp_path/parse_qs(at.query)['d'][0]).is_file()
        for p in t['predictions']:
            assert 0<=p['score']<=1 and p['model_version']
            r, = p['result']
            assert (r['from_name'], r['to_name'], r['type'])==('cluster', 'image', 'choices')
            assert r['value']['choices']==[choices[c.labels[i]]]

@pytest.mark.parametrize('files', [True, False])
def test_fiftyone_takes_it(made, tmp_path, files, monkeypatch):
    "Its importer, which needs no database; the data set itself does"
    monkeypatch.setenv('FIFTYONE_DO_NOT_TRACK', 'true')
    importers = pytest.importorskip('fiftyone.utils.data.importers', reason='needs fiftyone')
    c = made if files else in_memory(made)
    o = c.export(tmp_path/'fo', to='fiftyone')
    data = o/'data.json' if files else o/'data'
    with importers.FiftyOneImageClassificationDatasetImporter(
            data_path=str(data), labels_path=str(o/'labels.json')) as found:
        rows = list(found)
    names = label_names(c)
    assert [r[2].label if r[2] else None for r in rows]==[names[l] if l>=0 else None for l in c.labels]
    for i,(path,_,label) in enumerate(rows):
        assert os.path.isfile(path)
        if files: assert path==str(tmp_path/'photos'/c.names[i])
        if label: assert label.confidence==pytest.approx(c.confidence[i], abs=1e-5)

def test_fiftyone_form(made, tmp_path):
    "The documented form, without the package"
    o = made.export(tmp_path/'fo', to='fiftyone')
    labels,data = (json.loads((o/f).read_text(encoding='utf-8')) for f in ('labels.json', 'data.json'))
    assert labels['labels'].keys()==data.keys() and all(Path(p).is_file() for p in data.values())
    for key,l in zip(sorted(data), made.labels):
        assert labels['labels'][key] is None if l<0 else labels['labels'][key]['label']==l
    if not importlib.util.find_spec('fiftyone'):
        with pytest.raises(ImportError, match='pip install fiftyone'): fiftyone_dataset(o)

def test_saved_clusters_know_their_folder(made, tmp_path):
    back = Clusters.load(made.save(tmp_path/'c'))
    assert back.images is None and back.root==str(tmp_path/'photos')
    for to in EXPORTS:
        if to=='huggingface': pytest.importorskip('pyarrow', reason='needs pyarrow')
        a,b = (x.export(tmp_path/f'{to}{i}', to) for i,x in enumerate((made, back)))
        files = [a] if a.is_file() else sorted(p for p in a.rglob('*') if p.is_file())
        assert files and all(p.read_bytes()==(b/p.relative_to(a)).read_bytes() for p in files)

def test_a_folder_of_photos_is_never_replaced(tmp_path):
    "A directory that holds `images` but was not written by an export is refused, whatever is asked for"
    (tmp_path/'project'/'images').mkdir(parents=True)
    (tmp_path/'project'/'images'/'a.jpg').write_bytes(b'mine')
    probs = np.eye(3, dtype=np.float32)[np.arange(12)%3]
    pictures = np.zeros((12, 8, 8), np.uint8)
    with pytest.raises(FileExistsError, match='other things than an export'):
        Clusters(probs, None, None).export(tmp_path/'project', 'label_studio', images=pictures, force=True)
    assert (tmp_path/'project'/'images'/'a.jpg').read_bytes()==b'mine'
    for _ in range(2):
        Clusters(probs, None, None).export(tmp_path/'x', 'label_studio', images=pictures, force=True)
    assert (tmp_path/'x'/'tasks.json').is_file()
