"Programs that the warm server forks end, print and die as those of plain processes do"
import os, signal, subprocess, sys, time
import pytest

ends = ['print(1); import sys; sys.exit(3)', 'raise SystemExit("no")', '1/0',
        'import os; os.kill(os.getpid(), 9)', 'import os; os.kill(os.getpid(), 15)',
        'import os, sys; print(os.getcwd(), os.environ["A"], sys.argv)',
        'import sys; print(sys.stdin.read(), file=sys.stderr)',
        'import atexit; atexit.register(print, "end")']

@pytest.mark.parametrize('code', ends)
def test_the_same_as_a_plain_process(warm, tmp_path, code):
    def run(python):
        r = subprocess.run([*python, '-c', code, 'a', 'b'], capture_output=True, text=True, cwd=tmp_path,
                           env={**os.environ, 'A': 'x'}, input='given')
        return r.returncode, r.stdout, r.stderr.strip().splitlines()[-1:]
    assert run(warm)==run([sys.executable])

def test_a_file_and_a_module(warm, tmp_path):
    (tmp_path/'m.py').write_text('import sys; print(__name__, sys.argv[1:], sys.path[0])')
    plain = [sys.executable]
    for args in ([tmp_path/'m.py', 'x'], ['-m', 'm', 'x']):
        run = [subprocess.run([*p, *args], capture_output=True, text=True, cwd=tmp_path).stdout
               for p in (warm, plain)]
        assert run[0]==run[1]!=''

def test_who_is_killed_takes_the_program_along(warm, tmp_path):
    code = f'import os, time; open({str(tmp_path/"pid")!r}, "w").write(f"{{os.getpid()}} "); time.sleep(60)'
    p = subprocess.Popen([*warm, '-c', code])
    while not (tmp_path/'pid').is_file() or not (said := (tmp_path/'pid').read_text()): time.sleep(.01)
    p.kill()
    assert p.wait()==-signal.SIGKILL
    end = time.monotonic()+10
    while os.path.exists(f'/proc/{said.strip()}') and time.monotonic()<end: time.sleep(.01)
    assert not os.path.exists(f'/proc/{said.strip()}')
