"""Commands of ours, in processes that begin with everything imported, which takes longer than most of what they do.

One process has imported it all, and forks for each command. That gets a process of its own with its own arguments,
folder, environment and streams, and ends with its own exit code. Where a test wants more of a process, such as another
locale, a library that is loaded before all others, or a limit, the command is started as users start it.
"""

import atexit
import contextlib
import gc
import importlib.metadata
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, NoReturn

MODULES = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
"""Where a command looks for modules: this folder, with the simulated engine, and where we look, so that it is the same
ocrd."""
Completed = subprocess.CompletedProcess[str]
_ROOMS = ("ocrd.commands", "ocrd.daemon")
_ALSO = ("ocrd.cli", "ocrd.config.loader", "simulated")
_HARMLESS = {"XDG_RUNTIME_DIR", "PYTEST_CURRENT_TEST"}
"""Variables that may differ from those of the process that forks, since nobody reads them before they are needed."""
_VLLM = any(importlib.metadata.distributions(name="vllm"))
"""Where it is installed the daemon may start processes of vLLM, which import anew what its own began with."""
_LARGEST = 1 << 17
"""Bytes of a request."""


def start(
    command: Sequence[str | Path], *, env: Mapping[str, str], **options: Any
) -> "Process | subprocess.Popen[bytes]":
    """Start a command, with options of Popen."""
    if _VLLM or not options.keys() <= {"stdin", "stdout", "stderr", "cwd"} or subprocess.PIPE in options.values():
        return subprocess.Popen(command, env=env, **options)
    differ = {name for name, _ in env.items() ^ _preloaded(_mounts()).environment.items()}
    return Process(command, env, **options) if differ <= _HARMLESS else subprocess.Popen(command, env=env, **options)


def run(command: Sequence[str | Path], *, timeout: float = 120, **options: Any) -> Completed:
    """Run a command to its end; returns what it printed, too. Raises TimeoutExpired."""
    options = {"env": {**os.environ, "PYTHONPATH": MODULES}, "stdin": subprocess.DEVNULL} | options
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = start(command, stdout=out, stderr=err, **options)
        try:
            process.wait(timeout)
        finally:
            process.kill()
        code = process.wait()
        for file in (out, err):
            file.seek(0)
        return Completed(command, code, out.read(), err.read())


class Process:
    """A command that runs, to be handled as one of `subprocess`."""

    def __init__(
        self,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        *,
        cwd: Path | None = None,
        **streams: int | IO[Any] | None,
    ) -> None:
        self.args = list(map(str, command))
        self.returncode: int | None = None
        request = {"arguments": self.args, "environment": dict(environment), "cwd": str(cwd or Path.cwd())}
        with open(os.devnull, "r+b") as null:
            told = [streams.get(name) for name in ("stdin", "stdout", "stderr")]
            files = [_number(number if one is None else one, null) for number, one in enumerate(told)]
            self._parent = _preloaded(_mounts())
            self.pid = self._parent.answer(request, files)
        self._end = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """Return its exit code if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit code. Raises TimeoutExpired after so many seconds."""
        if self.returncode is None:
            end = select.poll()
            end.register(self._end)
            if not end.poll(None if timeout is None else 1000 * timeout):
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = self._parent.answer({"ended": self.pid})
            os.close(self._end)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _number(stream: int | IO[Any], null: IO[bytes]) -> int:
    """Return the number of an open file that is given as Popen takes it."""
    if isinstance(stream, int):
        return null.fileno() if stream == subprocess.DEVNULL else stream
    return stream.fileno()


class _Preloaded:
    """The process that forks, as those see it that ask it."""

    def __init__(self) -> None:
        self.environment = {**os.environ, "PYTHONPATH": MODULES}
        self._turn = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env=self.environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        atexit.register(self._close)

    def answer(self, request: Mapping[str, Any], files: Sequence[int] = ()) -> int:
        """Ask for a process, or how one ended. Returns its number, or its exit code."""
        with self._turn:
            socket.send_fds(self._socket, [json.dumps(request).encode()], files)
            return int(self._socket.recv(_LARGEST))

    def _close(self) -> None:
        self._socket.close()
        self._process.wait()


@cache
def _preloaded(_mounts: str) -> _Preloaded:
    return _Preloaded()


def _mounts() -> str:
    """Tell which mounts this process sees; what it started before it saw them sees others."""
    return os.readlink("/proc/self/ns/mnt")


def _fork_as_asked(asking: socket.socket) -> None:
    """Do as `answer` asks until nobody can ask any more; returns in each process that is to run a command, too."""
    while True:
        message, files, *_ = socket.recv_fds(asking, _LARGEST, 3)
        if not message:
            sys.exit()
        request = json.loads(message)
        if "ended" in request:
            _, status = os.waitpid(request["ended"], 0)
            asking.send(b"%d" % os.waitstatus_to_exitcode(status))
        elif child := os.fork():
            asking.send(b"%d" % child)
            for file in files:
                os.close(file)
        else:
            asking.close()
            return _become(request, files)


def _become(request: Mapping[str, Any], files: Sequence[int]) -> None:
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = request["arguments"]


def _main() -> NoReturn:
    for room in _ROOMS:
        for module in pkgutil.iter_modules(importlib.import_module(room).__path__):
            importlib.import_module(f"{room}.{module.name}")
    for name in _ALSO:
        importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("a process with threads can't be forked safely")
    gc.freeze()
    _fork_as_asked(socket.socket(fileno=int(sys.argv[1])))
    from ocr_inbox import main

    main()


if __name__ == "__main__":
    _main()
