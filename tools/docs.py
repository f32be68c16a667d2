"""Render the docs: `python tools/docs.py` makes _site with Sphinx and needs no Quarto; `--quarto` makes
_docs, the published site.

Both start from the same processed notebooks. Notebooks can be named (`python tools/docs.py
nbs/view/01_pictures.ipynb`), `--out DIR` gives another folder, which is replaced. Exit code 1 if anything
is wrong: a warning of Sphinx, a directive that shows, a link that leads nowhere."""
import argparse, html.parser, io, re, shutil, subprocess, sys, tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit
import nbformat, yaml
from fastcore.nbio import nb2str, read_nb
from nbdev import processors, serve, showdoc
from nbdev.config import get_config
from nbdev.process import Processor
from nbdev.processors import FilterDefaults, _is_showdoc, exec_show_docs

root = Path(__file__).resolve().parent.parent
cfg = get_config(path=root)
nbs = Path(cfg.nbs_path)
processors.get_config = cache(get_config)       # nbdev reads the file anew for every cell

def short_types(text:str)->str:
    """Types in a signature by their last name: Tensor, not torch.Tensor; comments and defaults stay as they
    are"""
    def short(line):
        code,*comment = line.partition(' # ')
        return re.sub(r'(?<=[:>\[(|, ])(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])', '', code)+''.join(comment)
    return re.sub(r'^```python\n.*?^```', lambda m: '\n'.join(map(short, m[0].splitlines())), text, count=1,
                  flags=re.S|re.M)

class show_docs(Processor):
    """Fill `show_doc` cells from the exported module; nbdev would run every cell that imports something
    instead, tests included"""
    def begin(self):
        name = next((c.directives_['default_exp'] for c in self.nb.cells if 'default_exp' in c.directives_),
                    '').removesuffix('.__init__')
        self.known = vars(import_module(f'{cfg.lib_name}.{name}')) if name else {}
    def __call__(self, cell):
        if not _is_showdoc(cell): return
        call = re.sub(r'^#\|.*\n', '', cell.source, flags=re.M)
        name = re.search(r'show_doc\(([\w.]+)', call)[1]
        of = eval(name, dict(self.known))
        if isinstance(of, type) and not getattr(of.__init__, '__module__',
                                                cfg.lib_name).startswith(cfg.lib_name):
            text = f'### {name}\n\n*{of.__doc__}*'      # its parameters are those of another library
        else: text = short_types(eval(call, dict(self.known, show_doc=showdoc.show_doc))._repr_markdown_())
        cell['outputs'] = [dict(output_type='display_data', metadata={}, data={'text/markdown': text})]

class Docs(FilterDefaults):
    "nbdev's processors, with this `show_docs`"
    def base_procs(self): return [show_docs if p is exec_show_docs else p for p in super().base_procs()]

def page_name(path:Path)->Path:
    "Place of a notebook's page: 03b_clusters.ipynb -> clusters"
    return path.with_name(re.sub(r'^\d+[a-z]?_', '', path.stem))

@cache
def sidebar()->list:
    "(caption, notebooks) as nbs/sidebar.yml has them"
    sidebar = yaml.safe_load((nbs/'sidebar.yml').read_text(encoding='utf-8'))
    contents = sidebar['website']['sidebar']['contents']
    return [('', [c]) if isinstance(c, str) else (c['section'], c['contents']) for c in contents]

def notebooks()->list:
    "All notebooks that have a page, relative to nbs"
    found = (p.relative_to(nbs) for p in nbs.rglob('*.ipynb'))
    return sorted(p for p in found if not any(o.startswith(('_', '.')) for o in p.parts))

# --- from nbdev's processed notebooks, which are written for Quarto, to what myst-nb reads

def directives(source:str)->dict: return dict(re.findall(r'^#\|\s*([\w-]+):\s*(.+?)\s*$', source, flags=re.M))

def slug(anchor:str)->str: return re.sub(r'[^\w\- ]', '', anchor.lower()).replace(' ', '-')

def markdown(text:str, here:Path)->str:
    "Callouts, link attributes and links to other pages, as MyST writes them"
    text = re.sub(r'^:::+\s*\{\.callout-(\w+)[^}]*\}', r':::{\1}', text, flags=re.M)
    text = re.sub(r'\]\(([^()\s]*)\)\{[^}\n]*\}', r'](\1)', text)
    up,site = '../'*(len(here.parts)-1),re.escape(f'{cfg.doc_host}{cfg.doc_baseurl}/')
    text = re.sub(rf'{site}([\w/]+)\.html(?:#([\w.\-]+))?',
                  lambda m: f'{up}{m[1]}.ipynb'+(f'#{slug(m[2])}' if m[2] else ''), text)
    def local(m):
        name,anchor = m[1],m[2]
        place = f'#{slug(anchor)}' if anchor else ''
        return f']({Path(name).parent.as_posix()}/{page_name(Path(name)).name}.ipynb{place})'
    text = re.sub(r'\]\((?!https?:)([\w./-]+)\.ipynb(?:#([\w.\-]+))?\)', local, text)
    # nbdev links every name in backticks, also one that is the text of a link already: that one stays
    return re.sub(r'\[([^\[\]\n]*)\[([^\[\]\n]+)\]\([^()\s]*\)([^\[\]\n]*)\]\(([^()\s]*)\)', r'[\1\2\3](\4)',
                  text)

def title(source:str):
    "nbdev's front matter as a heading and a line under it"
    meta = yaml.safe_load(source.strip().strip('-')) or {}
    line = f'\n\n```{{rst-class}} subtitle\n```\n\n{meta["description"]}' if meta.get('description') else ''
    return nbformat.v4.new_markdown_cell(f'# {meta.get("title", "")}{line}')

def convert(cell, here:Path):
    "One cell for myst-nb, or None"
    if cell.cell_type=='raw': return title(cell.source)
    if cell.cell_type=='markdown':
        if 'AUTOGENERATED' in cell.source: return None
        cell.source = markdown(cell.source, here)
        return cell
    said = directives(cell.source)
    cell.source = re.sub(r'^#\|.*\n?', '', cell.source, flags=re.M).strip()
    if said.get('output')=='asis':      # prose: headings then have anchors and stand in the table of contents
        text = '\n\n'.join(o.data['text/markdown'] for o in cell.outputs
                           if 'text/markdown' in o.get('data', {}))
        # under its heading
        text = re.sub(r'\A[-\s]*\[source\]\(([^)\s]*)\)(?:\{[^}\n]*\})?\s*^(#+ .*)$', r'\2\n\n[source](\1)',
                      text, flags=re.M)
        return nbformat.v4.new_markdown_cell(re.sub(r'^\[source\]\((.*)\)$', r'[source](\1){.source}',
                                                    markdown(text.lstrip('-\n'), here), flags=re.M))
    if said.get('include')=='false' or not (cell.source or cell.outputs): return None
    tags = [tag for key,tag in (('echo','remove-input'), ('output','remove-output'))
            if said.get(key)=='false']
    if said.get('code-fold') in ('true', 'show'): tags.append('hide-input')
    if tags: cell.metadata['tags'] = tags
    return cell

def levels(cells:list):
    "Raise the heading of a symbol to H2 where nothing but the title stands above it"
    last = 1
    for c in cells:
        if c.cell_type!='markdown': continue
        if last==1: c.source = re.sub(r'^### (?=[\w.]+$)', '## ', c.source, flags=re.M)
        for m in re.findall(r'^(#+) ', re.sub(r'```.*?```', '', c.source, flags=re.S), flags=re.M):
            last = len(m)

def toctree(pages:list, wanted:list, caption:str='')->str:
    "What Sphinx makes a part of the sidebar from; nothing where no page is wanted"
    pages = ['/'+page_name(Path(p)).as_posix() for p in pages if Path(p) in wanted and p!='index.ipynb']
    return '\n'.join(['```{toctree}', ':hidden:', *([f':caption: {caption}'] if caption else []), '', *pages,
                      '```']) if pages else ''

def is_room(pages:list)->bool: return pages[0].endswith('/index.ipynb')

def tree(wanted:list)->str:
    """The table of contents, from the sidebar: rooms come last, and their pages are folded into their front
    doors"""
    parts = [toctree(pages, wanted, caption) for caption,pages in sidebar() if not is_room(pages)]
    doors = [pages[0] for _,pages in sidebar() if is_room(pages)]
    return '\n\n'.join(filter(None, [*parts, toctree(doors, wanted, 'Rooms')]))

def room_tree(path:Path, wanted:list)->str:
    "The pages behind the front door `path`"
    return next((toctree(pages[1:], wanted) for _,pages in sidebar() if pages[0]==str(path)), '')

def prepare(path:Path, wanted:list, src:Path):
    "Write the notebook `path` (relative to nbs) for myst-nb"
    raw = read_nb(nbs/path)
    Docs()(raw)
    for c in raw.cells: c.pop('has_sd', None)                     # nbdev's own mark
    nb,here = nbformat.reads(nb2str(raw), 4),page_name(path).with_suffix('.ipynb')
    nb.cells = [o for o in (convert(c, here) for c in nb.cells) if o is not None]
    levels(nb.cells)
    nb.metadata.pop('widgets', None)                              # pages show the snapshot and need no script
    nb.metadata['language_info'] = dict(name='python')
    if path.name=='index.ipynb':
        nb.cells.append(nbformat.v4.new_markdown_cell(tree(wanted) if str(path)=='index.ipynb'
                                                      else room_tree(path, wanted)))
    elif not any(str(path)==p for _,pages in sidebar() for p in pages): nb.metadata['orphan'] = True
    (src/here).parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, src/here)

# --- Sphinx; this file is also the extension that writes formulas as MathML

def setup(app):
    from docutils import nodes
    from latex2mathml.converter import convert as mathml
    from sphinx.util import logging
    def show(visitor, node, display):
        try: text = mathml(node.astext().strip(), display=display)
        except Exception as e:
            logging.getLogger(__name__).warning('formula %r: %r', node.astext()[:60], e, location=node)
            text = ''
        visitor.body.append(text if display=='inline' else f'<div class="math">{text}</div>')
        raise nodes.SkipNode
    app.add_html_math_renderer('mathml', (lambda v,n: show(v, n, 'inline'), None),
                               (lambda v,n: show(v, n, 'block'), None))
    return dict(parallel_read_safe=True, parallel_write_safe=True)

def settings()->dict:
    widgets_as_html = [('html', 'application/vnd.jupyter.widget-view+json', None)]
    return dict(project=cfg.title, author=cfg.author, copyright=cfg.copyright, root_doc='index',
                html_theme='furo', html_title=cfg.title,
        extensions=['myst_nb', 'sphinx_copybutton', 'docs'], html_math_renderer='mathml',
                nb_execution_mode='off', nb_merge_streams=True,
        nb_mime_priority_overrides=widgets_as_html, nb_render_markdown_format='gfm',
                myst_enable_extensions=['dollarmath', 'amsmath', 'colon_fence', 'attrs_inline'],
                myst_heading_anchors=4,
        html_static_path=[str(root/'tools'/'docs.css')], html_css_files=['docs.css'],
                html_favicon=str(nbs/'images'/'icon.svg'),
        html_copy_source=False, html_show_sphinx=False,
        html_theme_options=dict(source_repository=cfg.git_url, source_branch=cfg.branch,
                                source_directory='nbs/', top_of_page_buttons=[]),
        copybutton_selector='div.cell_input div.highlight pre, div.highlight-bash pre, div.highlight-python '
                            'pre',
        language='en', suppress_warnings=['mystnb.unknown_mime_type'],
                exclude_patterns=['**.ipynb_checkpoints'])

def sphinx(src:Path, out:Path)->list:
    "Build, and give Sphinx's warnings"
    from sphinx.application import Sphinx
    sys.path.insert(0, str(root/'tools'))
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as d:
        app = Sphinx(src, None, out, d, 'html', settings(), status=None, warning=said, freshenv=True)
        app.build(force_all=True)
    return [re.sub(r'\x1b\[[\d;]*m', '', l).replace(str(src)+'/', '') for l in said.getvalue().splitlines()
            if l.strip()]

# --- does every page hold together?

class Page(html.parser.HTMLParser):
    "Addresses, ids and text of a page"
    def __init__(self, path):
        super().__init__()
        self.urls,self.ids,self.text,self.prose,self.skip,self.code = [],set(),[],[],0,0
        self.feed(path.read_text(encoding='utf-8'))
    def handle_starttag(self, tag, attrs):
        d = dict(attrs)
        self.urls += [d[k] for k in ('href', 'src') if d.get(k)]
        if 'id' in d: self.ids.add(d['id'])
        self.skip += tag in ('script', 'style')
        self.code += tag in ('pre', 'code')
    def handle_endtag(self, tag):
        self.skip -= tag in ('script', 'style')
        self.code -= tag in ('pre', 'code')
    def handle_data(self, data):
        self.text += [] if self.skip else [data]
        self.prose += [] if self.skip or self.code else [data]

def check(out:Path, whole:bool=True)->list:
    """What is wrong with the pages: directives and links that show as text, links and pictures that lead
    nowhere"""
    pages,found = {p.resolve():Page(p) for p in sorted(out.rglob('*.html'))},[]
    for path,page in pages.items():
        name,text = path.relative_to(out.resolve()),''.join(page.text)
        shown = re.findall(r'^\s*#\|.*|^\s*:::.*|\{\.callout.*|\{target=.*', text, flags=re.M)
        found += [f'{name}: shows "{m}"' for m in shown]
        # of a link inside a link
        raw = re.findall(r'\[?[^\[\]\n]{0,60}\]\((?:https?:|[\w./-]+\.(?:ipynb|html|md))[^)\n]*\)?',
                         ''.join(page.prose))
        found += [f'{name}: shows the link "{m}" as text' for m in raw]
        # typographers make dashes of the hyphens below a table's head
        table = re.findall(r'^.{0,60}\|[ :]*[-–—]+[ :]*\|.{0,20}', ''.join(page.prose), flags=re.M)
        found += [f'{name}: shows the table "{m}" as text' for m in table]
        for u in {u for u in page.urls if not urlsplit(u).scheme and not u.startswith('//')}:
            link = urlsplit(u)
            where = (path.parent/unquote(link.path)).resolve() if link.path else path
            if where.is_dir(): where /= 'index.html'
            if not where.exists(): found += [f'{name}: {u} leads nowhere'] if whole else []
            elif link.fragment and where in pages and unquote(link.fragment) not in pages[where].ids:
                found.append(f'{name}: {u} has no such place')
    return found

def build(out:Path, only:list=())->list:
    "Render `only` these notebooks, or all, to `out`; what is wrong, as lines"
    wanted = [Path('index.ipynb'),
              *(p for p in map(Path, only) if p.name!='index.ipynb')] if only else notebooks()
    with tempfile.TemporaryDirectory() as d:
        src = Path(d)/'src'
        for p in wanted: prepare(p, wanted, src)
        for f in nbs.rglob('*'):
            if f.suffix in ('.png', '.gif', '.svg', '.jpg', '.json', '.md') and not f.name.startswith('_'):
                (src/f.relative_to(nbs)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(f, src/f.relative_to(nbs))
        said = sphinx(src, Path(d)/'out')
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(Path(d)/'out', out)
    # to pages left out
    if only:
        said = [l for l in said if 'cross-reference target not found' not in l and 'xref_missing' not in l]
    return said+check(out, whole=not only)

def quarto()->Path:
    "Render the published site with Quarto, which must be installed"
    from nbdev.quarto import _fix_quarto_nav, refresh_quarto_yml
    serve.FilterDefaults = Docs
    refresh_quarto_yml()
    made = serve.proc_nbs(force=True, n_workers=0)
    subprocess.run(['quarto', 'render', '--no-cache'], cwd=made, check=True)
    shutil.rmtree(cfg.doc_path, ignore_errors=True)
    shutil.move(made/Path(cfg.doc_path).name, cfg.config_path)
    _fix_quarto_nav(cfg.doc_path)      # the link to a page as Markdown
    return Path(cfg.doc_path)

def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('notebooks', nargs='*', type=Path, help='only these')
    p.add_argument('--out', type=Path, default=root/'_site', help='folder to replace; _site')
    p.add_argument('--quarto', action='store_true', help='render with Quarto, to _docs')
    args = p.parse_args()
    if args.quarto: return print('wrote', quarto())
    missing = [str(n) for n in notebooks() if not any(str(n)==p for _,pages in sidebar() for p in pages)]
    wrong = build(args.out, [n.resolve().relative_to(nbs.resolve()) for n in args.notebooks])
    print('\n'.join([*wrong, *(f'nbs/sidebar.yml does not name {n}' for n in missing)]))
    print(f'{len(list(args.out.rglob("*.html")))} pages in {args.out}: open {args.out/"index.html"}')
    sys.exit(bool(wrong))

if __name__=='__main__': main()
