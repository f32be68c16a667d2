"Build the package from what settings.ini says: every key `X_requirements` becomes the extra `[X]`, and `[all]` is their union"
import shlex
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

root = Path(__file__).parent
parser = ConfigParser(delimiters=['='])
parser.read(root/'settings.ini', encoding='utf-8')
cfg = parser['DEFAULT']

suffix = '_requirements'
extras = {k.removesuffix(suffix): shlex.split(v) for k,v in cfg.items() if k.endswith(suffix)}
extras['all'] = sorted({r for reqs in extras.values() for r in reqs})

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'].split(),
    author=cfg['author'], author_email=cfg['author_email'], license='Apache-2.0', url=cfg['git_url'],
    long_description=(root/'README.md').read_text(encoding='utf-8') if (root/'README.md').exists() else '',
    long_description_content_type='text/markdown',
    classifiers=['Development Status :: 3 - Alpha', f"Intended Audience :: {cfg['audience']}", 'Natural Language :: English',
                 *(f'Programming Language :: Python :: 3.{v}' for v in range(10, 14))],
    packages=find_packages(include=['scp_nb', 'scp_nb.*']), include_package_data=True,
    python_requires=f">={cfg['min_python']}", install_requires=shlex.split(cfg['requirements']), extras_require=extras,
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"]},
    zip_safe=False)
