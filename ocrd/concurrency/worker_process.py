"""One worker process, as the daemon's thread sees it that serves it: started, asked, looked at, and ended.

What a call may use are seconds of processor time. A worker that neither computes nor reads a byte for a while waits for
something else than its work, such as a share that does not answer.
"""

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from ocrd.concurrency import fork_server, own_code, processes
from ocrd.concurrency.fork_server import Load
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
_MOMENT = 0.005
"""Seconds between two questions whether it has ended."""


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
    """One process. For the thread that made it, but for `kill`."""

    def __init__(self, setup: Setup, load: Load, files: Sequence[int]) -> None:
        """Start it, with what `load` loads, and these files open. Raises MachineError if it can't be started."""
        own_code.check()
        self.sign = time.monotonic()
        """When it last got on, on the monotonic clock."""
        self._code: int | None = None
        self._ending = False
        self._deciding = threading.Lock()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._forked = fork_server.start(load, [theirs.fileno(), *files])
            except OSError as error:
                ours.close()
                raise not_started(error.strerror or str(error)) from error
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
        return self._forked.pid

    @property
    def alive(self) -> bool:
        """Whether it holds its end of the socket."""
        end = select.poll()
        end.register(self._socket, select.POLLHUP)
        return not end.poll(0)

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
        with self._deciding:
            if not self._ending:  # its number is its own
                os.kill(self.pid, signal.SIGKILL)

    def end(self) -> int:
        """End it, and return its exit code, if it ends in time."""
        with self._deciding:
            self._ending = True
        if not self._ends_within(_LOOK):  # unless it dies by itself at this very moment
            with suppress(ProcessLookupError):  # it did, with its server
                os.kill(self.pid, signal.SIGKILL)
        self._socket.close()
        self._ends_within(_END)
        return self._code or 0

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._code is None and time.monotonic() < deadline:
            with suppress(TimeoutError):
                self._code = self._forked.exit_code()
            time.sleep(_MOMENT if self._code is None else 0)
        return self._code is not None

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
