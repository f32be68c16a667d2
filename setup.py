"Add to pyproject.toml what settings.ini says: every key `X_requirements` becomes the extra `[X]`, and `[all]` is their union"
import shlex
from configparser import ConfigParser
from pathlib import Path
from setuptools import setup

parser = ConfigParser(delimiters=['='])
parser.read(Path(__file__).parent/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']

suffix = '_requirements'
extras = {k.removesuffix(suffix): shlex.split(v) for k,v in cfg.items() if k.endswith(suffix)}
extras['all'] = sorted({r for reqs in extras.values() for r in reqs})

setup(install_requires=shlex.split(cfg['requirements']), extras_require=extras,
      entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': ['scp_nb=scp_nb._modidx:d']})
