"Pages whose cells read the shared data, run where the data are there; elsewhere they keep what they showed"
import os, subprocess, sys
from pathlib import Path
import pytest
from fastcore.nbio import read_nb
from scp_nb.bench.common import shared_folder

root = Path(__file__).resolve().parent.parent

def pages():
    "Notebooks with cells for which nbdev-test wants the flag `data`"
    return [p for p in sorted((root/'nbs').rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts
            and any(c.cell_type=='code' and '#| data' in c.source for c in read_nb(p).cells)]

@pytest.mark.slow
@pytest.mark.skipif(not shared_folder().is_dir(), reason='the folder of shared data is missing')
@pytest.mark.parametrize('page', pages(), ids=lambda p: p.stem)
def test_page_runs_on_the_shared_data(page):
    tool = str(Path(sys.executable).parent/'nbdev-test')
    command = [tool, str(page), '--flags', 'data', '--n-workers', '0']
    r = subprocess.run(command, cwd=root, capture_output=True, text=True,
                       env=os.environ | dict(OMP_NUM_THREADS='1'))
    assert not r.returncode, r.stdout[-2000:]+r.stderr[-4000:]
