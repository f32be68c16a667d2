"""Execute notebooks in place and clean them: `python tools/run_nbs.py [nbs/04_train.ipynb ...]` (all of
them if none is named).

Cells that nbdev-test would leave out (`eval: false`, the flags in pyproject.toml) are left out here too;
their saved outputs stay. Those with the flag `data` run: a notebook that has any is left as it is where
the folder of shared data is missing. Each notebook remembers a fingerprint of the code whose outputs a
reader sees; `--check` names those whose code has changed since."""
import hashlib, sys, nbformat
from pathlib import Path
from fastcore.nbio import does_cell_eval, read_nb, write_nb
from nbclient import NotebookClient
from nbdev.clean import clean_nb
from nbdev.config import get_config

cfg = get_config()
flags = set(cfg.tst_flags)-{'data'}
all_flags = '--all-flags' in sys.argv

def skipped(cell, all_flags:bool=False)->bool:
    "Would nbdev-test leave this code cell out?"
    return not does_cell_eval(cell, True) or (not all_flags and bool(flags & cell.directives.keys()))

def fingerprint(nb)->str:
    "Of the cells that are run and seen: not those that are left out, exported or hidden"
    unseen = {'export', 'exporti', 'exports', 'hide', 'default_exp'}
    cells = [c.source.strip() for c in nb.cells if c.cell_type=='code' and not skipped(c)
             and not unseen & c.directives.keys()]
    return hashlib.sha256('\n\n'.join(cells).encode()).hexdigest()[:16]

def run(path:Path)->str:
    "Run one notebook from its own folder, so that relative paths are those of nbdev-test; says what was done"
    from scp_nb.bench.common import shared_folder    # brings torch, which --check can do without
    cells = read_nb(path).cells
    if any('data' in c.directives for c in cells) and not shared_folder().is_dir():
        return 'left as it is, for want of the shared data:'
    skip = [c.cell_type=='code' and skipped(c, all_flags) for c in cells]
    nb = nbformat.read(path, 4)
    kept = [list(c.get('outputs', ())) for c in nb.cells]
    for c,s in zip(nb.cells, skip): c.metadata['tags'] = ['skip-execution'] if s else []
    nb.metadata.pop('jupytext', None)
    nb.metadata['kernelspec'] = dict(name='python3', display_name='python3', language='python')
    NotebookClient(nb, timeout=None, resources={'metadata': {'path': str(path.parent)}},
                   store_widget_state=True, coalesce_streams=True).execute()
    for c,read,s,o in zip(nb.cells, cells, skip, kept):
        if s: c.outputs = o
        elif read.has_directive('hide'):          # nobody sees what a hidden test warns of
            c.outputs = [x for x in c.outputs if x.get('name')!='stderr']
    nbformat.write(nb, path)
    clean = read_nb(path)
    clean.metadata['executed'] = fingerprint(clean)
    clean_nb(clean, allowed_metadata_keys=['executed'])
    write_nb(clean, path)
    return 'ran'

def changed(path:Path)->bool:
    "Has the code changed since the outputs were made?"
    nb = read_nb(path)
    return nb.metadata.get('executed')!=fingerprint(nb)

if __name__=='__main__':
    unknown = [a for a in sys.argv[1:] if a.startswith('-') and a not in ('--check', '--all-flags')]
    if unknown: sys.exit(f'run_nbs.py: {unknown[0]} is no option; give --check, --all-flags or notebooks')
    named = [Path(a) for a in sys.argv[1:] if not a.startswith('-')]
    everything = sorted(p for p in Path(cfg.nbs_path).rglob('*.ipynb')
                        if not any(o.startswith(('_','.')) for o in p.parts))
    if '--check' in sys.argv:
        old = [p for p in named or everything if changed(p)]
        print('\n'.join(f'{p}: the code has changed since the outputs were made; run tools/run_nbs.py {p}'
                        for p in old))
        sys.exit(bool(old))
    for p in named or everything:
        print(run(p), p, flush=True)
