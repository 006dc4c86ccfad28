"""Worker processes with limits, for what can hang, crash or eat all memory.

Each process is served by a thread of its own, which takes the next call and hands it over. Whatever goes wrong there
ends that process and fails that call, and nothing else; the next call gets a new process.

A call is to blame for running out of its processor time or memory, and for a crash, if two workers crash at it. It is
not to blame if no worker can be started, or if one waits for a share that does not answer; nor for a worker that was
killed, which the kernel does where memory is short, unless it meets that again and again while nothing else runs.
"""

import asyncio
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ocrd.concurrency import fork_server
from ocrd.concurrency.fork_server import Load
from ocrd.concurrency.worker import Setup
from ocrd.concurrency.worker_process import START, DeadError, OvertimeError, StallError, WorkerProcess, not_started
from ocrd.errors import MachineError

R = TypeVar("R")

_IDLE = 30.0
"""Seconds without a call after which a worker goes, and with the last one what is loaded for all: a second or two."""
_TRIES = 2
"""Workers that may crash at one call."""
_APART = 10.0
"""Seconds that must lie between two killings of workers to count as two."""
_KILLINGS = 5
"""Of a call that runs alone, after which it is to blame."""
_SUSPECTS = 1000
"""Calls that are remembered for having been killed."""
_CLOSE = 5.0
"""Seconds that the workers may take to end."""
_KILLED = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGBUS}
"""Exit codes of a process that somebody else ended, or that the kernel could not give the memory which it has."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker may use."""

    seconds: float
    """Processor time of one call."""
    memory: int
    """Bytes of address space."""
    calls: int = 0
    """Calls after which a worker is replaced, for libraries that leak; 0: never."""


class WorkerError(Exception):
    """A call ran into a limit, or crashed its workers. Says how, as the end of a sentence."""


def nothing() -> None:
    """Load nothing."""


class Workers:
    """A pool of processes, which start with the first calls. Its coroutines may be called from any event loop."""

    def __init__(
        self,
        count: int,
        limits: Limits,
        prepare: Callable[..., None] | None = None,
        files: Sequence[int] = (),
        load: Load = nothing,
    ) -> None:
        """Prepare `count` processes; each calls `prepare`, picklable, before its first work.

        `files` are open in each of them, and are what `prepare` is called with, by their numbers there.
        """
        self.count = count
        self.limits = limits
        self.load = load
        """Loads what each of them needs, once for all of them."""
        self._setup = Setup(limits.memory, prepare)
        self._files = tuple(files)
        self._changed = threading.Condition()
        self._calls = deque[_Call]()
        self._workers: set[_Worker] = set()
        self._leaving: set[_Worker] = set()
        self._idle = self._lost = 0
        self._closed = False
        self.turns = _Turns()
        """Who of the workers may run when."""
        self._left: list[WorkerProcess] = []
        """Processes that were killed and have not ended yet."""
        self._killed: dict[Hashable, list[float]] = {}

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers that run."""
        return [worker.process.pid for worker in list(self._workers) if worker.process]

    async def run(
        self,
        function: Callable[..., R],
        *args: object,
        seconds: float | None = None,
        about: Hashable = None,
        pipe: int | None = None,
    ) -> R:
        """Call a picklable function in a worker, with `seconds` of its own to end. Cancelling kills the worker at it.

        `about` is what the call is known by when it is made again. What is too large to be returned it can write into
        the `pipe`, its last argument; such a call is made once. Raises WorkerError, MachineError if no worker can be
        had, or it is kept from its work, and whatever the function raises but MemoryError.
        """
        seconds = seconds or self.limits.seconds
        alone = about in self._killed
        codes: set[int] = set()
        tries = 1 if alone or pipe is not None else _TRIES
        for _ in range(tries):
            try:
                result: R = await self._result(_Call(function, args, seconds, alone, pipe))
            except OvertimeError as error:
                raise WorkerError(f"took longer than {seconds:g} s") from error
            except MemoryError as error:
                raise WorkerError(f"needed more than {self.limits.memory >> 20} MiB of memory") from error
            except DeadError as error:
                codes.add(error.code)
            else:
                self._killed.pop(about, None)
                return result
        if not codes & _KILLED:
            raise WorkerError(f"crashed {tries} worker{'s' * (tries > 1)} (exit code {codes.pop()})")
        self._note_killing(about)
        raise MachineError(
            "A worker process was killed.",
            "Is there memory enough (MemoryMax= in the unit, render.workers)? The kernel's log tells what it ended.",
        )

    def _note_killing(self, about: Hashable) -> None:
        """Remember that a call's worker was killed. Raises WorkerError if that was often enough to blame the call."""
        now, times = time.monotonic(), self._killed.setdefault(about, [])
        if not times or now - times[-1] >= _APART:
            times.append(now)
        if about is None or len(self._killed) > _SUSPECTS:
            del self._killed[next(iter(self._killed))]
        if len(times) > _KILLINGS:
            raise WorkerError(f"had its worker killed {len(times)} times, though nothing else ran beside it")

    async def close(self) -> None:
        """Kill the workers; calls under way are cancelled."""
        with self._changed:
            self._closed = True
            calls = [*self._calls, *(worker.call for worker in self._workers if worker.call)]
            self._calls.clear()
            self._changed.notify_all()
        for call in calls:
            call.future.cancel()
        deadline = time.monotonic() + _CLOSE
        tidying = threading.Thread(target=self._tidy_up, args=(deadline,), name="ocrd worker", daemon=True)
        with suppress(RuntimeError):  # no thread can be had; all ends with the process
            tidying.start()
        while tidying.is_alive() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    async def _result(self, call: "_Call") -> Any:  # noqa: ANN401 - whatever the function returns
        """Wait for what a call returns. Raises what `WorkerProcess` does."""
        self._put(call)
        result = asyncio.wrap_future(call.future)
        try:
            while not result.done():
                await asyncio.wait({result}, timeout=START)
                if not result.done() and call.worker and call.worker.hangs:
                    self._give_up(call.worker)
                    raise not_started("the system does not come back from it")
            return result.result()
        finally:
            result.cancel()

    def _put(self, call: "_Call") -> None:
        """Queue a call, and see that somebody takes it. Raises MachineError if there is nobody."""
        with self._changed:
            if self._closed:
                raise RuntimeError("the workers are gone")
            if self._idle <= len(self._calls) and len(self._workers) < self.count:
                self._hire()
            self._calls.append(call)
            self._changed.notify()

    def _hire(self) -> None:
        worker = _Worker(self)
        self._workers.add(worker)
        try:
            if self._lost > self.count:
                raise not_started("the system did not come back from it before")
            worker.start()
        except (RuntimeError, MachineError) as error:  # the former where there are no more threads
            self._workers.discard(worker)
            if self._workers:
                return  # the others will do
            raise not_started(str(error)) if isinstance(error, RuntimeError) else error from error

    def _give_up(self, worker: "_Worker") -> None:
        """Count no more on a thread that is stuck in the start of a process."""
        with self._changed:
            self._workers.discard(worker)
            self._lost += 1

    def _tidy_up(self, deadline: float) -> None:
        """Wait for the workers' end, but only so long."""
        while (self._workers or self._leaving or self._left) and time.monotonic() < deadline:
            time.sleep(0.01)
            self._see_off()
        fork_server.rest()

    # What follows is for the workers' own threads.

    def take(self, worker: "_Worker") -> "_Call | None":
        """Wait for the next call; None if the worker is not needed any more."""
        self._see_off()
        with self._changed:
            if worker not in self._workers:
                self._lost -= 1  # it came back after all
                return None
            self._idle += 1
            self._changed.wait_for(lambda: self._calls or self._closed, _IDLE)
            self._idle -= 1
            if not self._calls:
                self._workers.discard(worker)
                self._leaving.add(worker)
                return None
            worker.call = self._calls.popleft()
            worker.call.worker = worker
            return worker.call

    def gone(self, worker: "_Worker") -> None:
        """Hear that a worker to which `take` gave nothing has ended its process."""
        with self._changed:
            self._leaving.discard(worker)

    def left(self, process: WorkerProcess) -> None:
        """Take over a process that was killed, until it has ended."""
        with self._changed:
            self._left.append(process)

    def _see_off(self) -> None:
        """Let go those that have ended by now."""
        with self._changed:
            ended = [one for one in self._left if not one.alive]  # asked once: it may end at any moment
            self._left = [one for one in self._left if one not in ended]
        for process in ended:
            process.end()

    def start_process(self) -> WorkerProcess:
        """Start a process. Raises MachineError."""
        return WorkerProcess(self._setup, self.load, self._files)


@dataclass(eq=False, slots=True)
class _Call:
    function: Callable[..., Any]
    arguments: tuple[object, ...]
    seconds: float
    alone: bool
    """Whether nothing else may run beside it."""
    pipe: int | None = None
    """What it writes into."""
    future: Future[Any] = field(default_factory=Future)
    worker: "_Worker | None" = None


class _Worker(threading.Thread):
    """A thread with its process, as long as there is something to do."""

    def __init__(self, pool: Workers) -> None:
        super().__init__(name="ocrd worker", daemon=True)
        self._pool = pool
        self._left = pool.limits.calls
        self.call: _Call | None = None
        self.process: WorkerProcess | None = None
        self._starting = 0.0

    @property
    def hangs(self) -> bool:
        """Whether it has not come back for long from the start of a process."""
        return bool(self._starting) and time.monotonic() - self._starting > START

    def run(self) -> None:
        while call := self._pool.take(self):
            call.future.add_done_callback(self._kill_if_cancelled)
            self._serve(call)
            self.call = None
        self._end()
        fork_server.rest()
        self._pool.gone(self)

    def _serve(self, call: _Call) -> None:
        try:
            if self.process and not self.process.alive:  # it died while there was nothing to do
                self._end()
            if self.process is None:
                self._starting = time.monotonic()
                self.process = self._pool.start_process()
                self._starting, self._left = 0.0, self._pool.limits.calls
            with self._pool.turns.turn(alone=call.alone):
                if call.future.cancelled():
                    return
                good, answer = self.process.ask(call.function, call.arguments, call.seconds, call.pipe)
        except StallError as error:
            _answer(call.future.set_exception, error)
            self._leave()
            return
        except BaseException as error:  # noqa: BLE001 - raised again where the call was made
            _answer(call.future.set_exception, error)
            self._end()
            return
        _answer(call.future.set_result if good else call.future.set_exception, answer)
        self._left -= 1
        if not self._left:
            self._end()

    def _kill_if_cancelled(self, future: Future[Any]) -> None:
        if future.cancelled() and self.process:
            self.process.kill()

    def _leave(self) -> None:
        """Kill the process, and do not wait for its end: it may be long in coming."""
        process, self.process = self.process, None
        if process:
            process.kill()
            self._pool.left(process)

    def _end(self) -> None:
        process, self.process, self._starting = self.process, None, 0.0
        if process:
            process.end()


def _answer(tell: Callable[[Any], None], answer: object) -> None:
    with suppress(InvalidStateError):  # nobody waits any more
        tell(answer)


class _Turns:
    """Lets calls run beside each other, but for one that is to run alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._alone = False

    @contextmanager
    def turn(self, *, alone: bool) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = alone
            self._changed.wait_for(lambda: not alone or not self._running)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._alone = self._alone and not alone
                self._changed.notify_all()
