"""Worker processes with limits, for what can hang, crash or eat all memory. The only user of pebble.

A worker that dies costs the call that it was at, and a second worker tries that again, since the kernel may have been
short of memory, or somebody killed the process. A worker that dies idle, at which pebble gives up its whole pool, costs
nothing: the next call brings a new pool.
"""

import asyncio
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ocrd.concurrency.processes import die_with_parent
from ocrd.errors import MachineError

if TYPE_CHECKING:
    from pebble import ProcessPool

R = TypeVar("R")

_TRIES = 2
"""Workers that may die of one call."""
_POOLS = 5
"""Pools that may break while one call waits for its turn."""
_IDLE = 30.0
"""Seconds without a call after which the workers go, and their memory with them; new ones come in about a second."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker may use."""

    seconds: float
    """Wall-clock time of one call."""
    memory: int
    """Bytes of address space."""
    calls: int = 0
    """Calls after which a worker is replaced, for libraries that leak; 0: never."""


class WorkerError(Exception):
    """A call ran into a limit, or killed its workers. Says how, as the end of a sentence."""


class Workers:
    """A pool of processes. Its methods are coroutines of one event loop; the first call starts the processes."""

    def __init__(self, count: int, limits: Limits, prepare: Callable[[], None] | None = None) -> None:
        """Prepare `count` processes; each calls `prepare`, picklable, before its first work."""
        self.count = count
        self._limits = limits
        self._prepare = prepare
        self._pool: ProcessPool | None = None
        self._calls: set[asyncio.Future[Any]] = set()
        self._running = 0
        self._rest: asyncio.TimerHandle | None = None
        self._going: asyncio.Task[None] | None = None

    async def run(self, function: Callable[..., R], *args: object, seconds: float | None = None) -> R:
        """Call a picklable function in a worker, with `seconds` of its own to end. Cancelling kills the worker at it.

        Raises WorkerError, MachineError if no worker can be had, and whatever the function raises but MemoryError.
        """
        if self._rest:
            self._rest.cancel()
        self._running += 1
        try:
            return await self._run(function, args, seconds or self._limits.seconds)
        finally:
            self._running -= 1
            if not self._running:
                self._rest = asyncio.get_running_loop().call_later(_IDLE, self._go)

    async def _run(self, function: Callable[..., R], args: tuple[object, ...], seconds: float) -> R:
        from pebble import ProcessExpired

        died = broken = 0
        while True:
            pool = await self._working_pool()
            call: asyncio.Future[R] | None = None
            try:
                call = asyncio.wrap_future(pool.schedule(function, args=args, timeout=seconds))
                self._calls.add(call)
                return await call
            except TimeoutError as error:
                raise WorkerError(f"took longer than {seconds:g} s") from error
            except MemoryError as error:
                raise WorkerError(f"needed more than {self._limits.memory >> 20} MiB of memory") from error
            except ProcessExpired as error:  # an OSError, of all things
                died += 1
                if died == _TRIES:
                    raise WorkerError(f"killed {died} workers (exit code {error.exitcode})") from error
            except RuntimeError as error:
                if pool.active:
                    raise  # the function's own
                broken += 1
                if broken == _POOLS:
                    raise MachineError(
                        f"Of {broken} new worker processes none lived long enough to begin.",
                        "Is there memory left, and may ocrd's user start processes (LimitNPROC=, LimitNOFILE= in the "
                        "unit)? Work resumes by itself.",
                    ) from error
            finally:
                self._calls.discard(call)

    async def close(self) -> None:
        """Kill the workers; calls under way are cancelled."""
        if self._rest:
            self._rest.cancel()
        for call in self._calls:
            call.cancel()
        self._go()
        if self._going:
            await self._going

    def _go(self) -> None:
        """Let the workers go."""
        pool, self._pool = self._pool, None
        if pool is not None:
            self._going = asyncio.create_task(_stop(pool))

    async def _working_pool(self) -> "ProcessPool":
        from pebble import ProcessPool

        broken = self._pool
        if broken is not None and broken.active:
            return broken
        self._pool = pool = ProcessPool(
            max_workers=self.count,
            max_tasks=self._limits.calls,
            initializer=_confine,
            initargs=[self._limits.memory, self._prepare],
            context=multiprocessing.get_context("spawn"),  # the daemon has threads, so no fork
        )
        if broken is not None:
            await _stop(broken)
        return pool


async def _stop(pool: "ProcessPool") -> None:
    pool.stop()
    await asyncio.to_thread(pool.join)


def _confine(memory: int, prepare: Callable[[], None] | None) -> None:
    """Limit this worker before it sees a file, and let it die with the daemon."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's to handle
    # There is a worker for each core; and the stacks of many threads would not fit into the limit of memory.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime would report to its maker; nothing leaves this machine
    die_with_parent()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if prepare:
        prepare()
