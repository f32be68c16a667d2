"""Does the house stand as planned? `python tools/house.py` prints its measures, and exits 1 where a
border is crossed.

The plan is one line of chapters and rooms. A module imports only what stands to its left; in a room, what
has a lower number. No chain of imports is longer than `most_floors`."""
import ast, json, re, sys
from functools import cache
from pathlib import Path

root = Path(__file__).resolve().parent.parent
package = root/'scp_nb'
line = ('data extract features head mcr2 cluster pairs train cpp estimate_k caption evaluate view show live '
        'estimators cli bench').split()
rooms = 'extract', 'cluster', 'view', 'bench'
most_floors = 9      # whoever reads a module at the top has so many to follow down

def numbers()->dict:
    "Module -> the number of its notebook in its folder"
    found = {}
    for p in (root/'nbs').rglob('[0-9]*_*.ipynb'):
        text = p.read_text(encoding='utf-8')
        if m := re.search(r'#\| default_exp ([\w.]+)', text): found[m[1]] = int(p.name.split('_')[0])
    return found

def files()->dict:
    "Module -> its file; the front door of a room bears the name of the room"
    found = {}
    for p in sorted(package.rglob('*.py')):
        name = '.'.join(p.relative_to(package).with_suffix('').parts).removesuffix('.__init__')
        if name not in ('__init__', '_modidx'): found[name] = p
    return found

def imports(name:str, path:Path, known:dict)->list:
    "(line number, module of the package, imported name) of every import in a module, wherever it stands"
    inside = name.split('.') if path.name=='__init__.py' else name.split('.')[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom):
            whole = (node.module or '').split('.')
            if node.level: whole = [*inside[:len(inside)-node.level+1], *filter(None, whole)]
            elif whole[0]=='scp_nb': whole = whole[1:]
            else: continue
            for a in node.names:
                module = '.'.join([*whole, a.name])
                found.append((node.lineno, module if module in known else '.'.join(whole), a.name))
        elif isinstance(node, ast.Import):
            found += [(node.lineno, a.name.removeprefix('scp_nb.'), '') for a in node.names
                      if a.name.startswith('scp_nb.')]
    return [i for i in found if i[1] in known]

def place(name:str, number:dict)->tuple:
    """Where a module stands: by its chapter or room, then by its number in the room; a front door closes its
    room"""
    first,_,rest = name.partition('.')
    return line.index(first),number.get(name, 99) if first in rooms else 0

def crossings(known:dict)->list:
    "Lines that import what stands to the right, or a private name"
    number,found = numbers(),[]
    for name,path in known.items():
        if name.split('.')[0] not in line:
            found.append(f'{path.relative_to(root)}: {name} has no place in the line of tools/house.py')
            continue
        for at,module,what in imports(name, path, known):
            if module!=name and place(module, number)>=place(name, number):
                found.append(f'{path.relative_to(root)}:{at}: {name} imports {what or module} of {module}, '
                             'which stands to its right: move what both need to the left')
            if re.match(r'_(?!_)', what):
                found.append(f'{path.relative_to(root)}:{at}: {what} of {module} is private: give it a '
                             'public name there')
    return found

def wide_functions(known:dict, most:int=7)->list:
    "Functions that are not public and take more parameters than `most`; self does not count"
    found = []
    for name,path in known.items():
        tree = ast.parse(path.read_text(encoding='utf-8'))
        public = {id(f) for n in tree.body for f in ([n] if isinstance(n, ast.FunctionDef) else n.body
                                                     if isinstance(n, ast.ClassDef) else [])
                  if isinstance(f, ast.FunctionDef) and not n.name.startswith('_')
                  and (not f.name.startswith('_') or f.name=='__init__')}
        for f in ast.walk(tree):
            if not isinstance(f, ast.FunctionDef) or id(f) in public: continue
            args = [a.arg for a in [*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs]
                    if a.arg not in ('self', 'cls')]
            if len(args)>most:
                found.append(f'{path.relative_to(root)}:{f.lineno}: {f.name} takes {len(args)} parameters')
    return found

def floors(known:dict)->list:
    "The longest chain of imports, from the top"
    below = {name: sorted({m for _,m,_ in imports(name, path, known)}-{name}) for name,path in known.items()}
    @cache
    def chain(name): return [name, *max((chain(m) for m in below[name]), key=len, default=[])]
    return max((chain(n) for n in known), key=len)

def widest()->int:
    "Characters of the widest line of code that a reader sees"
    sys.path.insert(0, str(root/'tools'))
    from check_style import is_visible, notebooks, source
    cells = [c for p in notebooks() for c in json.loads(p.read_text(encoding='utf-8'))['cells']
             if is_visible(c)]
    return max(len(l) for c in cells for l in source(c).splitlines() if not l.startswith('#|'))

def main():
    known = files()
    size = {n: len(p.read_text(encoding='utf-8').splitlines()) for n,p in known.items()}
    for room in ('', *rooms):
        mine = [n for n in known if (n.split('.')[0]==room if room else n.split('.')[0] not in rooms)]
        print(f'{room or "chapters":24s} {len(mine):3d} modules  {sum(size[n] for n in mine):6,d} lines')
    crossed,wide = crossings(known),wide_functions(known)
    chain = [] if crossed else floors(known)         # imports to the right may run in a circle
    print(f'{"all":24s} {len(known):3d} modules  {sum(size.values()):6,d} lines, '
          f'{sum(s for n,s in size.items() if not n.startswith("bench")):,} without bench')
    print(f'borders crossed {len(crossed)}, inner functions above seven parameters {len(wide)}, widest '
          f'visible line {widest()}')
    if chain: print(f'floors {len(chain)}: {" < ".join(reversed(chain))}')
    tall = [f'more than {most_floors} floors: import from further down, or move down what is imported']
    tall = tall if len(chain)>most_floors else []
    print('\n'.join([*crossed, *wide, *tall]))
    sys.exit(bool(crossed or wide or tall))

if __name__=='__main__': main()
