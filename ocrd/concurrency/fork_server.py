"""Worker processes forked from one that has loaded their libraries: they begin in milliseconds, and share that memory.

The server begins with the first worker, and goes when the last one has nothing to do. It has one thread, loads what
workers need, forks them, and tells how they ended. It opens no document and hears of none: a worker keeps no way to it,
only a socket to the daemon. So what goes wrong in a worker, or is hostile there, ends with it. What can be learned in
one are the addresses at which the next has its libraries; so after a crash, by which somebody could try them out, the
next worker comes from a fresh server.

A server ends when its daemon is gone, and the kernel ends its workers with it (`processes.die_with_parent`). Where
libraries have started a thread, which a fork would not copy, workers are started as programs instead.

The `forkserver` of multiprocessing is one for all of a program, in which vLLM uses it, too; it imports modules, but can
load no model, and leaves workers alone when it is killed.
"""

import contextlib
import gc
import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ocrd.concurrency import processes, worker

Load = Callable[[], object]
"""What workers begin with. Picklable; it may start no thread. What it can't load is left to who needs it."""

START = 60.0
"""Seconds that the server may take to begin, and to load what a worker begins with."""
_END = 5.0
"""Seconds that it may take to end."""
_LOOK = 1.0
"""Seconds between two looks of the server at whether its daemon is there."""
_LARGEST = 1 << 16
"""Bytes of a message."""
_MOST_FILES = 16
"""That a worker gets."""
_OOM_RANK = 900
"""Of the server: where memory is short the kernel ends workers first, and the daemon last, though it be the largest."""
_KILLED = {-signal.SIGKILL, -signal.SIGTERM}
"""Exit codes of a worker that did not crash, but was ended by somebody."""
_RUNS = 1 << 16
"""In place of the exit code of a worker that has not ended."""
_ENVIRONMENT = {
    # There is a worker for each core; and the stacks of many threads would not fit into the limit of memory.
    "OMP_NUM_THREADS": "1",
    "OMP_THREAD_LIMIT": "1",  # Tesseract asks for four
    "OPENBLAS_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime would report to its maker; nothing leaves this machine
}


class _Server:
    """One server, as the daemon has it. For who has `_turn`."""

    def __init__(self) -> None:
        """Start it. Raises OSError."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(START)
        self.workers: set[int] = set()
        """Process ids of those whose end is not known."""
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
                    _program(f"fork_server.serve({theirs.fileno()})"),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env=os.environ | _ENVIRONMENT,
                )
            except OSError:
                self._socket.close()
                raise
        processes.offer_to_oom_killer(self._process.pid, _OOM_RANK)

    def start(self, load: Load, files: Sequence[int]) -> "Forked":
        """Start a worker. Raises EOFError if the server is gone, OSError if there can be no worker."""
        pid = self._answer(load, files)
        self.workers.add(pid)
        return Forked(pid, self)

    def exit_code(self, pid: int) -> int | None:
        """Tell how a worker ended; None if it has not."""
        try:
            code = self._answer(pid)
        except (EOFError, TimeoutError):
            self.close()
            code = -signal.SIGKILL  # by the kernel, with the server
        if code == _RUNS:
            return None
        self.workers.discard(pid)
        return code

    def close(self) -> int | None:
        """Let it end, and its workers with it. Returns its exit code, if it ends in time."""
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(_END)
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END)
        return self._process.returncode

    def _answer(self, request: object, files: Sequence[int] = ()) -> int:
        """Ask something. Raises EOFError if the server is gone, TimeoutError if it does not answer, and so must go."""
        try:
            socket.send_fds(self._socket, [pickle.dumps(request)], files)
            answer = self._socket.recv(_LARGEST)
        except TimeoutError as error:
            self.close()
            raise TimeoutError(f"it did not begin within {START:g} s") from error
        except OSError as error:
            raise EOFError from error
        if not answer:
            raise EOFError
        told: int | OSError = pickle.loads(answer)  # noqa: S301 - from a process of ours that runs our code
        if isinstance(told, OSError):
            raise told
        return told


_turn = threading.Lock()
_newest: _Server | None = None
"""From which the next worker comes."""


class Forked(NamedTuple):
    """A worker, as the daemon has it, which is not its parent."""

    pid: int
    """Nobody else's until `exit_code` has told its end."""
    server: _Server

    def exit_code(self) -> int | None:
        """Tell how it ended, as `subprocess` does; None if it has not. Not to be asked again when it has.

        Raises TimeoutError if the server has much else to do.
        """
        with _waited_for():
            code = self.server.exit_code(self.pid)
            if code is not None and code < 0 and code not in _KILLED:
                _retire(self.server)
            if not self.server.workers and self.server is not _newest:
                self.server.close()
            return code


def start(load: Load, files: Sequence[int]) -> Forked:
    """Start a worker that has these files open (see `worker.live`). Raises OSError if that can't be done."""
    global _newest  # noqa: PLW0603 - one for all of the process
    with _waited_for():
        if _newest:
            with contextlib.suppress(EOFError):  # somebody killed it
                return _newest.start(load, files)
            _newest.close()
        _newest = None  # if none can be started
        _newest = _Server()
        try:
            return _newest.start(load, files)
        except EOFError as error:
            raise OSError(0, f"it ended at once, with exit code {_newest.close()}") from error


def rest() -> None:
    """Let the server go if it has no workers, and its memory with it."""
    with contextlib.suppress(TimeoutError), _waited_for():
        if _newest and not _newest.workers:
            _newest.close()
            _retire(_newest)


def _retire(server: _Server) -> None:
    """Let no worker more come from a server."""
    global _newest  # noqa: PLW0603 - see above
    if server is _newest:
        _newest = None


@contextlib.contextmanager
def _waited_for() -> Iterator[None]:
    if not _turn.acquire(timeout=START):
        raise TimeoutError(f"others kept the server for {START:g} s")
    try:
        yield
    finally:
        _turn.release()


def _program(call: str) -> list[str]:
    """Give the command by which another process makes a call in this package."""
    modules = f"import sys; sys.path[:] = {sys.path!r}; from ocrd.concurrency import fork_server, worker"
    return [sys.executable, "-c", f"{modules}; {call}"]


# What follows runs in the server.


def serve(descriptor: int) -> None:
    """Start workers, and tell how they ended, until the daemon is gone. In each worker it is that one's life."""
    server = os.getpid()
    if files := _forked(socket.socket(fileno=descriptor)):
        worker.live(server, *files)
    else:
        os._exit(0)  # what is loaded need not be tidied up


def _forked(control: socket.socket) -> list[int]:
    """Do as the daemon asks, until it is gone. Returns in each worker, with the files that it gets."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's to handle
    processes.keep_little_memory()
    control.set_inheritable(False)
    control.settimeout(_LOOK)
    daemon, loaded = os.getppid(), set[bytes]()
    while os.getppid() == daemon:  # a process that it forked may keep its end of the socket open
        try:
            request, files, *_ = socket.recv_fds(control, _LARGEST, _MOST_FILES)
        except TimeoutError:
            continue
        if not request:
            break
        if files and request not in loaded:
            loaded.add(request)
            _load(pickle.loads(request))  # noqa: S301 - from our daemon
        try:
            told: int | OSError = _start(files) if files else _exit_code(pickle.loads(request))  # noqa: S301 - the same
        except OSError as error:
            told = error
        if files and told == 0:
            control.close()
            return files
        for file in files:
            os.close(file)
        control.send(pickle.dumps(told))
    return []


def _load(load: Load) -> None:
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):  # libraries print
        load()
    gc.collect()
    gc.freeze()  # or else each worker's first collection would copy nearly all of it
    processes.give_back_memory()


def _start(files: Sequence[int]) -> int:
    """Start a worker; returns its process id, or 0 in it. Raises OSError."""
    if len(os.listdir("/proc/self/task")) == 1:
        return os.fork()
    arguments = ", ".join(map(str, (os.getpid(), *files)))
    return os.posix_spawn(sys.executable, _program(f"worker.live({arguments})"), os.environ)


def _exit_code(pid: int) -> int:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else _RUNS
