"""Start Python programs in milliseconds, though each imports torch and the package.

`Warm(python)` starts a server, which imports them once. A program is then started as any other is, with
`[*warm.python, '-c', code]` in place of `[sys.executable, '-c', code]`: that is a small process which lends
the server its arguments, environment, directory and streams. The server forks, the fork runs the program,
and the small process ends as the program did. For programs that are killed from outside, or that set
what is read while modules are imported, take a plain process."""
import atexit, gc, json, os, selectors, signal, socket, subprocess, sys, tempfile, threading, traceback
from pathlib import Path

IMPORTS = 'scp_nb.cli, torch.distributed, torch.distributed.run'

def can_wait()->bool:
    "Can processes be waited for along with other things?"
    try: os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError): return False
    return True

class Warm:
    "A server that runs programs with what it has imported; it ends with the process that began it"
    def __init__(self, python=sys.executable, **how):
        self.python = [str(python)]      # plain processes do where these cannot be had
        if not can_wait(): return
        self.folder = tempfile.TemporaryDirectory()
        place = os.path.join(self.folder.name, 's')
        self.server = subprocess.Popen([python, __file__, '--serve', place], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, **how)
        if self.server.stdout.readline()!=b'ready\n': raise RuntimeError('the server of processes has failed')
        # without site packages it starts at once
        self.python = [sys.executable, '-I', '-S', __file__, place]

    def close(self):
        if not hasattr(self, 'server'): return
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()
        self.folder.cleanup()

def ask(place, argv):
    "Have the server run a program, and end as it does"
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(place)
        job = json.dumps(dict(argv=argv, cwd=os.getcwd(), env=dict(os.environ))).encode()
        socket.send_fds(s, [len(job).to_bytes(4, 'big')], [0, 1, 2])
        s.sendall(job)
        for fd in range(3): os.close(fd)     # whoever reads these sees their end when the program ends
        code = int(s.makefile().readline())
    if code<0:
        if -code!=signal.SIGKILL: signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)

def receive(s):
    "Arguments, environment, directory, and the three streams"
    size,streams,_,_ = socket.recv_fds(s, 4, 3)
    size,job = int.from_bytes(size, 'big'),b''
    while len(job)<size: job += s.recv(size-len(job))
    return json.loads(job), streams

def serve(place):
    "Fork for each program; in the server this never returns, in a fork it gives the job"
    sel,running = selectors.DefaultSelector(),{}
    door = socket.socket(socket.AF_UNIX)
    door.bind(place)
    door.listen()
    sel.register(door, selectors.EVENT_READ)
    sel.register(sys.stdin, selectors.EVENT_READ)
    print('ready', flush=True)
    def end(pidfd):
        "Tell how the program ended"
        pid,s = running.pop(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for f in (pidfd, s): sel.unregister(f)
        try: s.sendall(f'{code}\n'.encode())
        except OSError: pass       # whoever asked is gone
        os.close(pidfd)
        s.close()
    while True:
        for key,_ in sel.select():
            if key.fileobj is sys.stdin:
                for pid,_ in running.values(): os.kill(pid, signal.SIGKILL)
                os._exit(0)
            elif key.fileobj is door:
                s,_ = door.accept()
                job,streams = receive(s)
                pid = os.fork()
                if not pid:
                    for to,fd in enumerate(streams): os.dup2(fd, to)
                    for f in (*streams, *running): os.close(f)
                    for f in (door, s, *(s for _,s in running.values()), sel): f.close()
                    return job
                for fd in streams: os.close(fd)
                pidfd = os.pidfd_open(pid)
                running[pidfd] = pid, s
                sel.register(pidfd, selectors.EVENT_READ)
                sel.register(s, selectors.EVENT_READ, pidfd)
            elif isinstance(key.fileobj, int):
                if key.fileobj in running: end(key.fileobj)
            elif key.data in running:     # killed: so is the program
                os.kill(running[key.data][0], signal.SIGKILL)
                end(key.data)

def become(job):
    "Run a program as Python does: `-c CODE`, `-m MODULE` or a file"
    import runpy, torch
    os.chdir(job['cwd'])
    os.environ.clear()
    os.environ.update(job['env'])
    first,*rest = job['argv']
    if threads := os.environ.get('OMP_NUM_THREADS'): torch.set_num_threads(int(threads))
    sys.stdin,sys.stdout,sys.stderr = (open(fd, mode, closefd=False, buffering=1 if fd else -1)
                                       for fd,mode in enumerate('rww'))
    sys.__stdout__,sys.__stderr__ = sys.stdout,sys.stderr
    if first=='-c':
        sys.argv,sys.path[0] = ['-c', *rest[1:]],''
        exec(compile(rest[0], '<string>', 'exec'), vars(sys.modules['__main__']))
    elif first=='-m':
        sys.argv,sys.path[0] = rest,os.getcwd()
        runpy.run_module(rest[0], run_name='__main__', alter_sys=True)
    else:
        sys.argv,sys.path[0] = [first, *rest],str(Path(first).parent)
        runpy.run_path(first, run_name='__main__')

def run(job):
    "Run a program and end, without the second that Python needs to take a thousand modules down"
    code = 0
    try: become(job)
    except SystemExit as e:
        code = e.code
        if code is not None and not isinstance(code, int): print(code, file=sys.stderr)
        code = 0 if code is None else code if isinstance(code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()          # waits for threads
    atexit._run_exitfuncs()
    for f in (sys.stdout, sys.stderr):
        try: f.flush()
        except (OSError, ValueError): pass
    os._exit(code)

if __name__=='__main__':
    if sys.argv[1]=='--serve':
        exec(f'import {IMPORTS}')
        gc.freeze()
        run(serve(sys.argv[2]))
    else: ask(sys.argv[1], sys.argv[2:])
