"""Hold the habits of the house: `python tools/check_style.py` prints what breaks them and exits 1 if
anything does.

Checked: prose between code, saved outputs without tracebacks or paths of a machine, docments on public
symbols, lines of visible cells that fit a page, lines of other code of 110 characters, and that no module
imports a private name of another one. The length of cells and modules is left to judgement; who may
import whom is held by tools/house.py."""
import ast, json, re, sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent
limits = dict(line_width=110, page_width=80, code_per_prose=4)
exported = {'export', 'exporti', 'exports'}
machine_path = re.compile(r'(?<![\w.:/])/(root|home|tmp|work|Users|var|private|mnt)/')

def notebooks():
    "All notebooks that are ours to judge"
    return sorted(p for p in (root/'nbs').rglob('*.ipynb')
                  if not any(o.startswith(('_', '.')) for o in p.relative_to(root).parts))

def source(cell)->str: return ''.join(cell['source'])
def directives(cell)->set: return set(re.findall(r'^#\|\s*(\w+)', source(cell), flags=re.M))
def first_line(cell)->str:
    "The first line of a cell that is no directive"
    return next((l for l in source(cell).splitlines() if l.strip() and not l.startswith('#|')), '')
def is_visible(cell)->bool:
    "Does the page show the code of this cell at once?"
    return cell['cell_type']=='code' and not re.search(
        r'^#\|\s*(hide|export|exporti|exports|default_exp|code-fold|(echo|include)\s*:\s*false)\b',
        source(cell), flags=re.M)
def check_outputs(path, cells):
    "Saved outputs: present, without errors, stderr or paths of this machine"
    code = [c for c in cells if c['cell_type']=='code' and source(c).strip()]
    shown = [c for c in code if not directives(c) & {'hide', 'export', 'exporti', 'default_exp', 'eval'}]
    if shown and not any(c.get('outputs') for c in shown):
        yield 'no visible cell has a saved output: run tools/run_nbs.py'
    for c in code:
        for o in c.get('outputs', []):
            first = source(c).strip().splitlines()[0]
            if o['output_type']=='error': yield f'a saved output is an error, in the cell "{first}"'
            if o.get('name')=='stderr': yield f'a saved output is stderr, in the cell "{first}"'
            text = json.dumps({k:v for k,v in o.get('data', {}).items()
                               if not k.startswith('image/')})+json.dumps(o.get('text', ''))
            text = re.sub(r'data:[\w/]+;base64,[\w+/=]+', '', text)
            if machine_path.search(text):
                yield f'a saved output shows a path of this machine, in the cell "{first}"'
        if c.get('execution_count') is not None: yield 'not cleaned: run nbdev-clean'

def check_cells(path, cells):
    "A title, what the page gives, and prose between code"
    code = [c for c in cells if c['cell_type']=='code']
    prose = sum(c['cell_type']=='markdown' for c in cells)
    if len(code)>8 and prose*limits['code_per_prose']<len(code):
        yield f'{prose} prose cells for {len(code)} code cells'
    first = source(cells[0])
    if not first.startswith('# ') or not re.search(r'^> \S', first, flags=re.M):
        yield 'the first cell must be a title and a line starting with >'

def wide_lines(path, code):
    "Lines that are too long, but for those of `__all__`, which nbdev writes"
    most = limits['line_width']
    code = re.sub(r"^__all__ = \[.*?\]$", '', code, flags=re.M|re.S)
    for l in code.splitlines():
        if len(l)>most and l[0] not in '!%':
            yield f'a line of {len(l)} characters, above {most}: {l.strip()[:60]}'

def check_widths(path, cells):
    "Lines of visible cells fit the page, which shows a scroll bar otherwise; other code has a limit too"
    for c in cells:
        if c['cell_type']!='code' or is_visible(c): continue
        yield from wide_lines(path, source(c))
    for c in filter(is_visible, cells):
        widest = max((len(l) for l in source(c).splitlines() if not l.startswith('#|')), default=0)
        if widest>limits['page_width']:
            yield (f'a line of {widest} characters in the visible cell "{first_line(c)}": break it within '
                   f'{limits["page_width"]}')

def private_imports(code)->list[tuple]:
    "Module and name of each import of a private name from a module of the package"
    found = [(n, (n.module or '').split('.')[-1]) for n in ast.walk(ast.parse(code))
             if isinstance(n, ast.ImportFrom)
             and (n.level or (n.module or '').split('.')[0]=='scp_nb')]
    return [(module or 'scp_nb', a.name) for n,module in found for a in n.names
            if re.match(r'_(?!_.*__$)', a.name)]

def check_private(path, cells):
    "Exported cells import public names alone"
    for c in cells:
        if c['cell_type']!='code' or not directives(c) & exported: continue
        for module,name in private_imports(source(c)):
            yield (f'{name} of {module} is private, and imported in the exported cell "{first_line(c)}": '
                   'give it a public name')

def documented(fn, lines)->list[str]:
    "Parameters of the function `fn` that have no comment on their line"
    args = [a for a in [*fn.args.posonlyargs, *fn.args.args, *fn.args.kwonlyargs, fn.args.vararg,
                        fn.args.kwarg] if a]
    return [a.arg for a in args if a.arg not in ('self', 'cls') and '#' not in lines[a.end_lineno-1]
            and '#' not in lines[a.lineno-1]]

def check_module(path):
    "Public symbols have one-line docstrings and docments; lines stay short"
    text = path.read_text(encoding='utf-8')
    lines = text.splitlines()
    if path.name!='_modidx.py': yield from wide_lines(path, text)
    for module,name in private_imports(text):
        yield f'imports {name}, a private name of {module}: give it a public name there'
    if path.name.startswith('_'): return
    for node in ast.parse(text).body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith('_'): continue
        members = [m for m in node.body if isinstance(m, ast.FunctionDef)
                   and (not m.name.startswith('_') or m.name=='__init__')] \
            if isinstance(node, ast.ClassDef) else []
        for o in [node, *members]:
            name = o.name if o is node else f'{node.name}.{o.name}'
            doc = ast.get_docstring(o)
            if o.name!='__init__' and not any(isinstance(d, ast.Name) and d.id=='property'
                                              for d in o.decorator_list):
                if not doc: yield f'{name} has no docstring'
                elif len(doc.splitlines())>1:
                    yield f'{name} has a docstring of several lines; explain in the notebook'
            if isinstance(o, ast.FunctionDef):
                if missing := documented(o, lines): yield f'{name} has no docments for {", ".join(missing)}'

def main():
    found = []
    for p in notebooks():
        cells = json.loads(p.read_text(encoding='utf-8'))['cells']
        for check in (check_outputs, check_cells, check_widths, check_private):
            found += [f'{p.relative_to(root)}: {m}' for m in check(p, cells)]
    for p in sorted((root/'scp_nb').rglob('*.py')):
        found += [f'{p.relative_to(root)}: {m}' for m in check_module(p)]
    for p in sorted(p for folder in ('tests', 'tools') for p in (root/folder).glob('*.py')):
        found += [f'{p.relative_to(root)}: {m}' for m in wide_lines(p, p.read_text(encoding='utf-8'))]
    print('\n'.join(found) or 'style: nothing to say')
    sys.exit(bool(found))

if __name__=='__main__': main()
