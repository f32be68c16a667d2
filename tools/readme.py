"""Make README.md from nbs/index.ipynb without Quarto: `python tools/readme.py`, or `--check` to see that
it is in sync.

nbdev's processors apply the directives, nbconvert writes the markdown. Pictures go to nbs/images, where
index.ipynb links them."""
import re, sys, nbformat
from fastcore.nbio import nb2str
from nbconvert import MarkdownExporter
from nbdev.config import get_config
from nbdev.process import NBProcessor
from nbdev.processors import add_links, clean_magics, filter_stream_, hide_, hide_line, rm_export, strip_ansi

cfg = get_config()
processors = [rm_export, hide_line, filter_stream_, strip_ansi, clean_magics, hide_, add_links]

def apply_directives(cell):
    "Do what Quarto would do with `echo`, `output` and `include`"
    d = dict(re.findall(r'^#\|\s*([\w-]+):\s*(\S+)\s*$', cell.source, flags=re.M))
    cell.source = re.sub(r'^#\|.*\n?', '', cell.source, flags=re.M).strip()
    if 'false' in (d.get('output'), d.get('include')): cell.outputs = []
    if 'false' in (d.get('echo'), d.get('include')): cell.source = ''
    return cell

def build()->str:
    "The text of README.md"
    nb = NBProcessor(cfg.nbs_path/cfg.readme_nb, process=True, procs=processors, rm_directives='quarto').nb
    nb = nbformat.reads(nb2str(nb), 4)
    nb.metadata.setdefault('language_info', dict(name='python'))
    nb.cells = [apply_directives(c) if c.cell_type=='code' else c for c in nb.cells]
    text,resources = MarkdownExporter().from_notebook_node(nb)
    if resources['outputs']:
        sys.exit('index.ipynb holds figures as outputs; save them to nbs/images and link them instead.')
    text = re.sub(r'```python\s*```\n', '', text)
    # links relative to nbs/, now seen from the root
    text = re.sub(r'\]\((?:\./)?(images/|[\w/]+\.ipynb)', r'](nbs/\1', text)
    text = '\n'.join(line.rstrip() for line in text.splitlines())
    return re.sub(r'\n{3,}', '\n\n', text).strip()+'\n'

if __name__=='__main__':
    path,text = cfg.config_path/'README.md',build()
    if '--check' in sys.argv:
        if path.read_text(encoding='utf-8')!=text:
            sys.exit('README.md differs from nbs/index.ipynb: run python tools/readme.py and commit.')
    else: path.write_text(text, encoding='utf-8')
