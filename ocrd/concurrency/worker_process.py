"""One worker process, as the daemon's thread sees it that serves it: started, asked, looked at, and ended.

What a call may use are seconds of processor time. A worker that neither computes nor reads a byte for a while waits for
something else than its work, such as a share that does not answer.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ocrd.concurrency import own_code, processes
from ocrd.concurrency.worker import Channel, Setup
from ocrd.errors import MachineError

STALL = 10.0
"""Seconds in which a worker neither computes nor reads, after which it is taken to wait for ever."""
START = 60.0
"""Seconds that a worker may take to start."""
_LOOK = 0.1
"""Seconds between two looks at a worker that works."""
_END = 5.0
"""Seconds that a killed process may take to end; in the middle of a read from a dead share it can't."""
_ENVIRONMENT = {
    # There is a worker for each core; and the stacks of many threads would not fit into the limit of memory.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime would report to its maker; nothing leaves this machine
}


class DeadError(Exception):
    """The worker died of a call. Raised with its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class OvertimeError(Exception):
    """A call has used up its processor time."""


class StallError(MachineError):
    """A worker got no further for `STALL` seconds: something that it waits for does not answer."""


class WorkerProcess:
    """One process. For the thread that made it, which must live as long: with it the kernel ends the process."""

    def __init__(self, setup: Setup, descriptors: Sequence[int]) -> None:
        """Start it, with these files open. Raises MachineError if it can't be started."""
        own_code.check()
        self.sign = time.monotonic()
        """When it last got on, on the monotonic clock."""
        ours, theirs = socket.socketpair()
        with theirs:
            code = (
                f"import sys; sys.path[:] = {sys.path!r}; "
                f"from ocrd.concurrency import worker; worker.live({theirs.fileno()})"
            )
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and code
                    [sys.executable, "-c", code],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *descriptors),
                    env=os.environ | _ENVIRONMENT,
                )
            except OSError as error:
                ours.close()
                raise not_started(os.strerror(error.errno or 0)) from error
        processes.offer_to_oom_killer(self.pid)
        self._socket = ours
        ours.settimeout(_LOOK)
        self._look: Callable[[], None] = self._look_at_start
        self._channel = Channel(ours, lambda: self._look())  # noqa: PLW0108 - another one from call to call
        try:
            self._channel.send(setup)
            self._channel.receive()
        except (EOFError, OSError) as error:
            raise not_started(f"it ended at once, with exit code {self.end()}") from error
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(
        self, function: Callable[..., Any], arguments: tuple[object, ...], seconds: float, pipe: int | None = None
    ) -> tuple[bool, Any]:
        """Let it call a function, with a pipe to write to as the last argument if there is one.

        Returns whether that came to its end, and what it returned or raised.

        Raises DeadError, OvertimeError, StallError, after which the process is to be ended; and what pickle raises.
        """
        began = used = processes.used(self.pid)
        self.sign = time.monotonic()

        def look() -> None:
            nonlocal used
            now, before = processes.used(self.pid), used
            if now.seconds - began.seconds > seconds:
                raise OvertimeError
            if now != before:
                used, self.sign = now, time.monotonic()
            elif time.monotonic() - self.sign > STALL:
                raise StallError(
                    f"A worker process neither computed nor read anything for {STALL:g} s.",
                    "Does the disk or the share answer that it reads from?",
                )

        self._look = look
        try:
            self._channel.send((function, arguments, pipe is not None), pipe)
            answer: tuple[bool, Any] = self._channel.receive()
        except (EOFError, ConnectionError) as error:
            raise DeadError(self.end()) from error
        return answer

    def kill(self) -> None:
        """Let it end at once; may be called from any thread."""
        self._process.kill()

    def end(self) -> int:
        """End it, and return its exit code, if it ends in time."""
        with suppress(subprocess.TimeoutExpired):  # unless it dies by itself at this very moment
            self._process.wait(_LOOK)
        self._process.kill()
        self._socket.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END)
        return self._process.returncode or 0

    def _look_at_start(self) -> None:
        if time.monotonic() - self.sign > START:
            raise not_started(f"it did not begin within {START:g} s")


def not_started(why: str) -> MachineError:
    """Say that no worker can be had."""
    return MachineError(
        f"A worker process can't be started: {why}.",
        "Is there memory left, and may ocrd's user start more processes and threads and open more files (TasksMax=, "
        "LimitNPROC=, LimitNOFILE= in the unit)?",
    )
