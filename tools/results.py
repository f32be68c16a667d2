"""Put measured figures into the pages that quote them: `python tools/results.py`, or `--check` to compare.

Tables and three paragraphs of nbs/index.ipynb and nbs/results.ipynb are made from broad.json, speed.json and
k.json in nbs/bench, which `scp_bench quality --suite broad`, `scp_bench speed` and `scp_bench k` wrote. The
page says which tasks a table shows."""
import json, re, sys
from pathlib import Path
from scp_nb.bench.broad import broad_summary, read_broad
from scp_nb.bench.k import k_coverage, k_errors, k_scale, read_k

nbs = Path(__file__).resolve().parent.parent/'nbs'
FAMILIES = {'features of CLIP': 'clip', 'Tiny ImageNet, MobileNetV1': 'tiny',
            'photos, MobileNetV1': 'photos', 'pixels': 'pixels', 'all tasks': 'all tasks'}
TABLE = re.compile(r'^\| tasks? \|.*\n(?:\|.*\n?)+', re.M)

def number(x, digits=3)->str: return '' if x!=x else f'{x:.{digits}f}'.removeprefix('0')
def factor(x)->str: return number(x, 1)
def one_line(text)->str: return ' '.join(text.split())
def points(x)->str: return f'{abs(x)*100:.1f}'.removesuffix('.0')

def fill_table(text:str, found:dict)->str:
    "The same table with the figures of today; the best method of a row is bold"
    header,rule,*rows = text.strip().splitlines()
    columns = [c.strip().strip('`') for c in header.strip('|').split('|')]
    methods = [c for c in columns[1:] if c!='ECE']
    # tasks that all methods can run, so that means compare
    common = found['ACC'][[c for c in found['ACC'] if not c.startswith('fit_head, ')]].dropna()
    lines = [header, rule]
    for row in rows:
        name = re.sub(r' \(\d+\)$', '', row.strip('|').split('|')[0].strip())
        if name in FAMILIES:
            some = common if name=='all tasks' else common[found['family'][common.index]==FAMILIES[name]]
            ACC,name = some.mean(),f'{name} ({len(some)})'
        else: ACC = found['ACC'].loc[name]
        best = ACC[methods].max()
        cells = [f'**{number(ACC[m])}**' if ACC[m]>=best-.0005 else number(ACC[m]) for m in methods]
        if 'ECE' in columns: cells.append(number(found['ECE'][name]))
        lines.append('| '+' | '.join([name, *cells])+' |')
    return '\n'.join(lines)+'\n'

def quality_text(found:dict)->str:
    "What the broad suite says, in a paragraph"
    means,margins = found['families']['all tasks'],found['margins']
    peers = means.drop(['fit_head', 'best peer of each task'])
    clip = found['families']['clip']
    over,over_clip = (t['fit_head']-t['best peer of each task'] for t in (means, clip))
    side = 'above' if over>=0 else 'below'
    behind = margins[margins.margin<-.02]
    losses = behind.head(5).iterrows()
    worst = ', '.join(f'{t} {round(-r.margin*100)} points (to {r["best peer"]})' for t,r in losses)
    spread,n = found['spread'].fit_head.dropna(),len(margins)
    first = found['methods']['first']['fit_head']
    return one_line(f'''`scp_bench quality --suite broad`
        measures all {n} tasks ([tables](bench/07_broad.ipynb)). The
        mean of `fit_head` is {points(means["fit_head"]-peers.max())} points above that of the best
        other method, {peers.idxmax()}; {side} what one would get by knowing the best other method for
        each task, by {points(over)} points ({points(over_clip)} above on features of CLIP). It is first
        in {100*first/n:.0f} % of the tasks, and more than two points below the best of the others in
        {len(behind)} of them. The largest losses: {worst}. Drawings and digits of uneven sizes are
        where density-based clusters do better. Over seeds the accuracy varies by at most .02 in
        {int((spread<=.02).sum())} of the {len(spread)} tasks. *ECE* is the expected calibration error
        of `clusters.confidence`, which is calibrated without labels: {number(found["ECE"].mean())} in
        the mean, {number(found["ECE"].max())} at most. [This page](explanations/ablation.ipynb) tells
        what each part of the recipe gives, with weights chosen on other families of sets than those
        they are judged on.''')

def speed_text(speed:dict)->str:
    "What the benchmark of speed says, in a paragraph"
    times = {(r['n'], r['k'], r['threads']): r['ratio'] for r in speed['umap']}
    def list_of(k, threads):
        sizes = [n for n in (1_000, 5_000, 20_000, 60_000) if (n, k, threads) in times]
        return ', '.join(f'{factor(times[n,k,threads])} on {n:,}' for n in sizes)
    busy = max(r['times'] for r in speed['busy'] if r['what'].startswith('fit_head'))
    has_two = any(threads==2 for _,_,threads in times)
    two = f'With two threads each: {list_of(10, 2)}, and {list_of(100, 2)}.' if has_two else ''
    return one_line(f'''In time: `scp_demo`
        takes about half a minute on two cores without a GPU. Beside UMAP and
        k-means (`scp_bench speed`, ratios of one run, rows × 512), a fit on one thread takes so many
        times as long: with ten clusters {list_of(10,1)}, with a hundred {list_of(100,1)}. Above 20,000
        rows a sample is searched. {two} Another busy program on one of two cores makes a fit at most
        {factor(busy)} times as long. A graphics card is used where there is one.''')

def k_text(runs)->str:
    "What the benchmark of the number of clusters says, in a paragraph"
    errors,doubt,seconds = k_errors(runs),k_coverage(runs).loc['all but made'],k_scale(runs).seconds
    own = errors.loc['estimate_k']
    said = {'coding length': 'the coding length alone', 'eigengap': 'the eigengap'}
    def pair(name): return f"{number(errors['all'][name], 2)} ({number(errors['clip'][name], 2)})"
    rest = errors.drop('estimate_k')
    others = ', '.join(f'{said.get(name, name)} {pair(name)}' for name in rest.sort_values('all').index)
    def of(words): return round(float(next(s for name,s in seconds.items() if name.startswith(words))))
    return one_line(f'''The number of clusters, where nobody gives it: on
        {len(runs[(runs.method=='estimate_k') & (runs.family!='made')].task.unique())} of these tasks, two
        seeds each, `estimate_k` is off by {100*own['median error']:.0f} % in the median
        ({100*own['median, clip']:.0f} % on features of CLIP), and one of its levels by
        {100*doubt['median error, nearest level']:.0f} %; {100*doubt['interval holds k']:.0f} % of its
        intervals hold the number of classes. The mean of |log(estimate/classes)| is {pair('estimate_k')} over
        all (on CLIP), of {others}. 5,000 rows × 512 take {of('5,000')} seconds on one thread, 100,000 rows
        of 1,000 groups {of('100,000')}, a million {of('1,000,000')}. `scp_bench k` measures it, [and shows it
        task by task](bench/09_k.ipynb).''')

def fill(text:str, paragraphs:list, found:dict)->str:
    "A markdown cell with the figures of today"
    text = TABLE.sub(lambda m: fill_table(m[0], found), text+'\n')[:-1]
    for new in paragraphs:
        start = re.escape(new[:18])                      # a paragraph is known by how it begins
        text = re.sub(rf'^{start}.*$', lambda m: new, text, flags=re.M)
    return text

def main():
    runs = read_broad(nbs/'bench'/'broad.json')
    found,speed = broad_summary(runs),json.loads((nbs/'bench'/'speed.json').read_text(encoding='utf-8'))
    found['family'] = runs.groupby('task').family.first()
    found['ECE'] = runs[runs.method=='fit_head'].groupby('task').ECE.mean()
    paragraphs = [quality_text(found), speed_text(speed), k_text(read_k(nbs/'bench'/'k.json'))]
    stale = []
    for path in (nbs/'index.ipynb', nbs/'results.ipynb'):
        nb = json.loads(path.read_text(encoding='utf-8'))
        before = json.dumps(nb)
        for cell in nb['cells']:
            if cell['cell_type']!='markdown': continue
            cell['source'] = fill(''.join(cell['source']), paragraphs, found).splitlines(keepends=True)
        if json.dumps(nb)==before: continue
        stale.append(f'{path.name} quotes other figures than nbs/bench: run python tools/results.py')
        if '--check' not in sys.argv:
            text = json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True)
            path.write_text(text+'\n', encoding='utf-8')
    if '--check' in sys.argv and stale: sys.exit('\n'.join(stale))

if __name__=='__main__': main()
