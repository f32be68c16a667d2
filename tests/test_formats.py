"Embeddings of other programs, there and back, with the real libraries where they are installed"
import json, os, pickle
from pathlib import Path
import numpy as np, pytest, torch
from safetensors.torch import save_file
from scp_nb.data import digits
from scp_nb.features import Features, as_features, extract_features

X = np.random.default_rng(0).normal(size=(50,8)).astype(np.float32)
names = [f'folder/{i}.jpg' for i in range(50)]

def test_every_format_gives_the_same_rows(tmp_path):
    np.save(tmp_path/'a.npy', X)
    np.savez(tmp_path/'a.npz', X)
    np.savez_compressed(tmp_path/'b.npz', x=X.astype(np.float64), names=names, labels=np.arange(50)%3)
    save_file(dict(emb=torch.tensor(X), extra=torch.ones(3)), tmp_path/'a.safetensors')
    np.save(tmp_path/'fortran.npy', np.asfortranarray(X)); np.save(tmp_path/'half.npy', X.astype(np.float16))
    for n in ('a.npy', 'a.npz', 'b.npz', 'a.safetensors', 'fortran.npy'):
        f = as_features(tmp_path/n)
        assert np.array_equal(f.numpy(), X) and f.X.dtype==np.float32, n
    f = Features.from_file(tmp_path/'b.npz')
    assert f.names==names and f.labels.tolist()==(np.arange(50)%3).tolist()
    assert as_features(tmp_path/'half.npy').X.dtype==np.float16
    assert Features.from_file(tmp_path/'a.npy', names=names, labels=['x']*50).classes==['x']
    assert isinstance(Features.from_file(tmp_path/'a.npy').X, np.memmap)

def test_names_kept_as_objects_are_told_of(tmp_path, caplog):
    np.savez(tmp_path/'x.npz', features=X, names=np.array(names, dtype=object))
    assert as_features(tmp_path/'x.npz').names[0]=='row-00000'
    assert '"names" are Python objects' in caplog.text and 'names.astype(str)' in caplog.text
    np.savez(tmp_path/'x.npz', features=X, names=np.array(names, dtype=object).astype(str))
    assert as_features(tmp_path/'x.npz').names==names

class Evil:
    def __reduce__(self): return os.system, ('touch pwned',)

def test_no_pickle_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save('o.npy', np.array([Evil()], dtype=object), allow_pickle=True)
    np.savez('o.npz', X=X, o=np.array([Evil()], dtype=object))
    Path('p.npy').write_bytes(pickle.dumps(Evil())); torch.save(dict(X=torch.tensor(X)), 't.pt')
    with pytest.raises(ValueError, match='array of numbers'): as_features('o.npy')
    with pytest.raises(ValueError, match='array of numbers'): as_features('p.npy')
    with pytest.raises(ValueError, match='of no kind that is read'): as_features('t.pt')
    assert np.array_equal(as_features('o.npz').X, X)                 # the other array is not touched
    with pytest.raises(ValueError): Features.from_file('o.npz', column='o')
    assert not Path('pwned').exists()

@pytest.mark.parametrize('make, said', [
    (lambda d: np.save(d/'x.npy', X[0]), r'\[n, d\]'),
    (lambda d: np.savez(d/'x.npz', a=X, b=X), r'2 arrays \[n, d\]: a, b'),
    (lambda d: (d/'x.npz').write_bytes(b'PK'), 'is damaged, or no .npz'),
    (lambda d: np.save(d/'x.npy', np.where(X>2, np.nan, X)), 'NaN'),
    (lambda d: np.savez(d/'x.npz', a=X[0]), 'holds 0 arrays'),
    (lambda d: (d/'x.txt').write_text('1 2'), 'of no kind that is read here')])
def test_files_that_are_no_embeddings(tmp_path, make, said):
    make(tmp_path)
    with pytest.raises(Exception, match=said) as e: as_features(next(tmp_path.iterdir()))
    assert '\n' not in str(e.value)

def changed(path, at):
    data = bytearray(path.read_bytes()); data[at] ^= 1; path.write_bytes(data)

@pytest.mark.parametrize('make', [
    lambda d: (d/'x.npy').touch(), lambda d: (d/'x.safetensors').touch(),
    lambda d: save_file(dict(a=torch.tensor(X)), d/'x.safetensors') or os.truncate(d/'x.safetensors', 900),
    lambda d: np.savez(d/'x.npz', a=X) or changed(d/'x.npz', 700),
    lambda d: np.savez_compressed(d/'x.npz', a=X) or changed(d/'x.npz', 700),
    lambda d: np.savez_compressed(d/'x.npz', a=X) or changed(d/'x.npz', 2)])
def test_damaged_files_are_named(tmp_path, make):
    make(tmp_path)
    path = next(tmp_path.iterdir())
    with pytest.raises(ValueError, match=f'^"{path.name}" is damaged') as e: as_features(path)
    assert '\n' not in str(e.value)

# ---- pyarrow

@pytest.fixture
def pa(): return pytest.importorskip('pyarrow', reason='pyarrow is not installed')

def test_parquet_there_and_back(tmp_path, pa):
    import pyarrow.parquet as pq
    f = extract_features(digits(), 'pixels?size=8', out=tmp_path/'f', progress=False)
    assert f.to_parquet(tmp_path/'f.parquet')==tmp_path/'f.parquet'
    assert not [p for p in tmp_path.iterdir() if p.name.startswith('.')]
    g = as_features(tmp_path/'f.parquet')
    assert np.array_equal(g.X, f.X) and g.names==f.names and g.labels.tolist()==f.labels.tolist()
    table = pq.read_table(tmp_path/'f.parquet')
    assert table.column_names==['name', 'label', 'features']
    assert json.loads(table.schema.metadata[b'scp_nb'])['spec']=='pixels?size=8'
    h = Features.from_array(X.astype(np.float16), ['\udcff', 'a\nb', *names[2:]])
    h.to_parquet(tmp_path/'h.parquet'); k = as_features(tmp_path/'h.parquet')
    assert k.X.dtype==np.float16 and np.array_equal(k.X, h.X) and k.names==['?', 'a\nb', *names[2:]]
    assert k.labels is None
    with pytest.raises(FileNotFoundError, match='no folder'): h.to_parquet(tmp_path/'no'/'h.parquet')
    part = f[10:25000]; part.to_parquet(tmp_path/'f.parquet')
    assert len(as_features(tmp_path/'f.parquet'))==1787

@pytest.mark.parametrize('kind', ['list', 'large_list', 'fixed', 'float64', 'chunks', 'sliced'])
def test_columns_of_any_kind_of_list(tmp_path, pa, kind):
    import pyarrow.feather as pf, pyarrow.parquet as pq
    types = dict(list=pa.list_(pa.float32()), large_list=pa.large_list(pa.float32()),
                 fixed=pa.list_(pa.float32(), 8), float64=pa.list_(pa.float64()))
    column = pa.array(X.tolist(), types.get(kind, types['list']))
    if kind=='chunks': column = pa.chunked_array([column[:7], column[7:7], column[7:]])
    if kind=='sliced': column = pa.concat_arrays([column, column])[25:75]
    t = pa.table(dict(url=names, emb=column, caption=['x']*50))
    pq.write_table(t, tmp_path/'t.parquet'); pf.write_feather(t, tmp_path/'t.feather')
    with pa.ipc.new_stream(tmp_path/'t.arrow', t.schema) as w: w.write_table(t)
    want = np.roll(X, -25, 0) if kind=='sliced' else X
    for n in ('t.parquet', 't.feather', 't.arrow'):
        f = as_features(tmp_path/n)
        assert np.allclose(f.X, want) and f.names==names, n

def test_missing_names_are_numbered(tmp_path, pa):
    import pyarrow.parquet as pq
    path = ['a.jpg', None, 'row-00001', *names[3:49], None]
    pq.write_table(pa.table(dict(path=path, emb=X.tolist())), tmp_path/'t.parquet')
    found = as_features(tmp_path/'t.parquet').names
    assert found==['a.jpg', 'row_-00001', 'row-00001', *names[3:49], 'row_-00049']
    pq.write_table(pa.table(dict(path=pa.nulls(50, pa.string()), emb=X.tolist())), tmp_path/'t.parquet')
    assert as_features(tmp_path/'t.parquet').names[1]=='row-00001'

def test_missing_labels_are_told(tmp_path, pa, caplog):
    import pyarrow.parquet as pq
    label = [None, *range(48), None]
    pq.write_table(pa.table(dict(emb=X.tolist(), label=label)), tmp_path/'t.parquet')
    assert as_features(tmp_path/'t.parquet').labels is None
    assert '"t.parquet": 2 of 50 labels in "label" are missing, so none is used.' in caplog.text

def test_a_parquet_cut_short(tmp_path, pa):
    import pyarrow.parquet as pq
    pq.write_table(pa.table(dict(emb=X.tolist())), tmp_path/'x.parquet')
    os.truncate(tmp_path/'x.parquet', 900)
    with pytest.raises(ValueError, match='^"x.parquet" is damaged') as e: as_features(tmp_path/'x.parquet')
    assert '\n' not in str(e.value)

def test_columns_that_are_no_arrays(tmp_path, pa):
    import pyarrow.parquet as pq
    for t,said in [(dict(a=X.tolist(), b=X.tolist()), 'holds 2 columns of vectors'),
                   (dict(a=[[1.,2.],[3.]]), 'different lengths'), (dict(a=[[1.,2.],None]), 'missing'),
                   (dict(a=[[1.],[2.,3.],[4.,5.,6.]]), 'different lengths'),
                   (dict(a=['x']), 'holds 0 columns')]:
        pq.write_table(pa.table(t), tmp_path/'t.parquet')
        with pytest.raises(ValueError, match=said): as_features(tmp_path/'t.parquet')
    with pytest.raises(ValueError, match='wanted lists of numbers'):
        Features.from_file(tmp_path/'t.parquet', column='a')

def test_a_folder_of_clip_retrieval(tmp_path, pa):
    import pyarrow.parquet as pq
    (tmp_path/'img_emb').mkdir(); (tmp_path/'metadata').mkdir(); (tmp_path/'text_emb').mkdir()
    at = [0, 3, 9, 10, 30, 31, 33, 35, 36, 38, 40, 50]
    for i,(a,b) in enumerate(zip(at, at[1:])):
        np.save(tmp_path/'img_emb'/f'img_emb_{i}.npy', X[a:b].astype(np.float16))
        pq.write_table(pa.table(dict(image_path=names[a:b], caption=['c']*(b-a))),
                       tmp_path/'metadata'/f'metadata_{i}.parquet')
    f = as_features(tmp_path)
    assert f.names==names and np.array_equal(f.X, X.astype(np.float16))
    (tmp_path/'metadata'/'metadata_3.parquet').unlink()
    with pytest.raises(ValueError, match='50 embeddings and 30 paths'): as_features(tmp_path)

def test_a_hugging_face_data_set(tmp_path):
    datasets = pytest.importorskip('datasets', reason='datasets is not installed')
    features = datasets.Features(dict(emb=datasets.Sequence(datasets.Value('float32')),
                                      kind=datasets.ClassLabel(names=['a','b']),
                                      path=datasets.Value('string')))
    import pyarrow as pa
    table = pa.table(dict(emb=X.tolist(), kind=[i%2 for i in range(50)],
                          path=names)).cast(features.arrow_schema)
    ds = datasets.Dataset(datasets.table.InMemoryTable(table), fingerprint='mine')
    f = Features.from_dataset(ds)
    assert np.array_equal(f.X, X) and f.names==names and f.classes==['a', 'b']
    assert f.labels.tolist()==[i%2 for i in range(50)]
    with pytest.raises(ValueError, match='wanted one column of vectors'):
        Features.from_dataset(ds, column='x')
