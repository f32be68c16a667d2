"Notebooks, modules, README and habits agree with each other"
import shutil, subprocess, sys
from pathlib import Path
import pytest

root = Path(__file__).resolve().parent.parent
pytest.importorskip('nbdev', reason='needs the [dev] extra')

def run(*args, cwd=root):
    return subprocess.run([sys.executable, *args], cwd=cwd, capture_output=True, text=True)

@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "The checkout without its environment, to export and clean into"
    dst = tmp_path_factory.mktemp('copy')/'scp_nb'
    without = '.git', '.venv', 'venv', '_*docs', 'shared', '*.egg-info', '__pycache__', 'build'
    shutil.copytree(root, dst, ignore=shutil.ignore_patterns(*without))
    return dst

def test_modules_are_what_the_notebooks_export(copy):
    before = {p.relative_to(copy):p.read_text() for p in (copy/'scp_nb').rglob('*.py')}
    for p in (copy/'scp_nb').rglob('*.py'):
        if p!=copy/'scp_nb'/'__init__.py': p.unlink()
    r = run('-c', 'from nbdev.doclinks import nbdev_export\nnbdev_export()', cwd=copy)
    assert r.returncode==0, r.stderr
    after = {p.relative_to(copy):p.read_text() for p in (copy/'scp_nb').rglob('*.py')}
    assert set(before)==set(after)
    changed = [n for n in before if before[n]!=after[n]]
    assert not changed, f'{changed} differ from their notebooks: run nbdev-export and commit'

def test_notebooks_are_clean(copy):
    before = {p:p.read_text() for p in (copy/'nbs').rglob('*.ipynb')}
    r = run('-c', 'from nbdev.clean import nbdev_clean\nnbdev_clean()', cwd=copy)
    assert r.returncode==0, r.stderr
    assert not [p.name for p,t in before.items() if p.read_text()!=t]

def test_pages_quote_what_was_measured():
    r = run('tools/results.py', '--check')
    assert r.returncode==0, r.stdout+r.stderr

def test_readme_is_what_index_says():
    r = run('tools/readme.py', '--check')
    assert r.returncode==0, r.stderr

def test_style():
    r = run('tools/check_style.py')
    assert r.returncode==0, r.stdout

def test_style_check_can_fail(copy):
    "A private import, an undocumented parameter, a machine's path and a wide line are all found"
    import json
    path,module = copy/'nbs'/'02_pairs.ipynb',copy/'scp_nb'/'pairs.py'
    before = {p: p.read_text() for p in (path, module)}
    nb = json.loads(path.read_text())
    nb['cells'][1:1] = [dict(cell_type='code', id='bad', metadata={}, execution_count=None,
                             source=['from scp_nb.cli import scp_demo'],
                             outputs=[dict(output_type='stream', name='stdout',
                                           text=['/home/someone/photos'])])]
    for i,lines in enumerate((['#| slow\n', 'x = 1\n', f'y = "{"-"*80}"'],
                              ['#| exporti\n', 'from scp_nb.head import _hidden, ClusterHead as _Head'],
                              ['#| export\n', f'z = "{"-"*80}"'],
                              ['#| code-fold: true\n', f'w = "{"-"*80}"'])):
        nb['cells'].append(dict(cell_type='code', id=f'more{i}', metadata={}, execution_count=None,
                                source=lines, outputs=[]))
    path.write_text(json.dumps(nb))
    module.write_text('from . import __version__, head as _head\nfrom .head import _hidden\n'
                      'def f(x): return x\n')
    r = run('tools/check_style.py', cwd=copy)
    for p,text in before.items(): p.write_text(text)
    assert r.returncode==1
    for said in ('a path of this machine', 'f has no docstring', 'f has no docments for x',
                 'a line of 86 characters in the visible cell "x = 1"', '_hidden of head is private',
                 'imports _hidden, a private name of head'):
        assert said in r.stdout
    assert r.stdout.count('visible cell')==1 and r.stdout.count('private')==2

def test_the_house_stands():
    "One direction, no private imports, no inner function with many parameters, nine floors at most"
    r = run('tools/house.py')
    assert r.returncode==0, r.stdout+r.stderr

def test_the_house_check_can_fail(copy):
    """Imports to the right, in a room and between rooms, are told with their line, and so are private names
    and many parameters"""
    at,before = copy/'scp_nb'/'cluster'/'density.py',(copy/'scp_nb'/'cluster'/'density.py').read_text()
    at.write_text(before+'from .choice import WEIGHTS\nfrom ..train import fit_head\nfrom .consensus import '
                         '_hidden\ndef _f(a, b, c, d, e, f, g, h): pass\n')
    r = run('tools/house.py', cwd=copy)
    at.write_text(before)
    n = len(before.splitlines())
    assert r.returncode==1
    for said in (f'density.py:{n+1}: cluster.density imports WEIGHTS of cluster.choice',
                 f'density.py:{n+2}: cluster.density imports fit_head of train',
                 '_hidden of cluster.consensus is private', '_f takes 8 parameters'):
        assert said in r.stdout, said

def test_a_tenth_floor_is_told(copy):
    "A chain of imports that cross no border, but is too long"
    at = copy/'scp_nb'/'bench'/'text.py'
    before = at.read_text()
    at.write_text(before+'from .ablation import GRID\n')
    r = run('tools/house.py', cwd=copy)
    at.write_text(before)
    assert r.returncode==1 and 'borders crossed 0' in r.stdout
    assert 'floors 10: data <' in r.stdout and 'more than 9 floors' in r.stdout

def test_saved_outputs_are_of_the_saved_code():
    r = run('tools/run_nbs.py', '--check')
    assert r.returncode==0, r.stdout+r.stderr

def test_changed_code_is_found(copy):
    "A visible cell that changed is told; an exported one changes no output by itself"
    import json
    path = copy/'nbs'/'cluster'/'05_embed.ipynb'
    before = path.read_text()
    def change(marker):
        nb = json.loads(before)
        cell = next(c for c in nb['cells'] if c['cell_type']=='code' and marker in ''.join(c['source']))
        cell['source'] = [*cell['source'], '\n', '# another line']
        path.write_text(json.dumps(nb))
        return run('tools/run_nbs.py', '--check', str(path), cwd=copy)
    assert change('def embed_graph').returncode==0
    r = change('digits()')
    assert r.returncode==1 and 'the code has changed' in r.stdout
    path.write_text(before)

def test_settings_and_setup_agree():
    "Every requirement is explained in CONTRIBUTING.md"
    import configparser, re, shlex
    cfg = configparser.ConfigParser(delimiters=['=']); cfg.read(root/'settings.ini')
    told = (root/'CONTRIBUTING.md').read_text()
    for key in ('requirements', 'dev_requirements', 'docs_requirements', 'bench_requirements'):
        for r in shlex.split(cfg['DEFAULT'][key]):
            name = re.match(r'[\w-]+', r)[0]
            assert re.search(rf'\|.*\b{re.escape(name)}\b',
                             told), f'{name} is not explained in CONTRIBUTING.md'
