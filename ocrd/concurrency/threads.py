"""Steps on disks, beside the event loop, in threads of which one thing after the other has only so many.

A step can hang: a share does not answer, a lock is not given free. Nothing can end it, and nothing may take its place,
since it may come back at any time and go on. So it keeps its thread, and those that wait for one of the same `Threads`
wait with it; others have threads of their own. While it hangs, whoever watches the threads is told what it is at.

To start a thread costs more than most steps. So one that has come to the end of its step takes another for a while, of
anybody; a step waits for none, and has a new one where none is free.
"""

import asyncio
import contextvars
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from ocrd.concurrency import processes
from ocrd.errors import MachineError

R = TypeVar("R")

HANGS = 10.0
"""Seconds without a sign of getting on after which a step is taken to hang."""
MOST = 8
"""Threads that steps of one kind, such as those of one watch, have at a time."""
_MOST_FREE = 16
"""Threads that wait for a step at the same time."""
_WAIT = 1.0
"""Seconds for which they do."""
_FREE = "free for a step"


class OnDisk(Protocol):
    """What takes a step that may block beside the event loop."""

    async def __call__(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:  # noqa: ANN401 - passed on
        """Call it with these arguments. Raises MachineError, and what it raises."""
        ...


class Watcher(Protocol):
    """Who is told how steps get on, by their names. In the event loop."""

    def succeeded(self, step: str) -> None:
        """Hear that a step came to its end without a fault of the machine."""

    def hangs(self, step: str, error: MachineError) -> None:
        """Hear that a step hangs, and at what."""

    def came_back(self, step: str) -> None:
        """Hear that a step that hung gets on, or came to an end, of which `succeeded` tells if it was a good one."""


class Threads:
    """Runs steps, at most so many at a time. For one event loop; a step is a function that may block."""

    def __init__(self, watcher: Watcher | None = None, most: int = MOST) -> None:
        self._watcher = watcher
        self._places = asyncio.Semaphore(most)
        self._steps: set[_Step] = set()
        self._abandoned = False

    async def run(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:  # noqa: ANN401 - passed on
        """Take a step. A cancel waits for its end: none is left half known, unless all are abandoned.

        Raises MachineError where no thread can be had, and what the step raises; a MachineError is given its name.
        """
        name = getattr(function, "__name__", type(function).__name__)
        step = _Step(partial(function, *args, **kwargs), name)
        async with self._places:
            if self._abandoned:
                raise asyncio.CancelledError
            self._steps.add(step)
            try:
                step.start()
                result: R = await self._end_of(step)
            except MachineError as error:
                error.step = step.name
                raise
            finally:
                self._steps.discard(step)
        return result

    def abandon(self) -> None:
        """Wait no longer for steps that run, and begin no other: the process is about to end, and they with it."""
        self._abandoned = True
        for step in self._steps:
            step.ended.cancel()

    async def _end_of(self, step: "_Step") -> Any:  # noqa: ANN401 - what the step returns
        cancelled: asyncio.CancelledError | None = None
        while not step.ended.done():
            try:
                await asyncio.wait({step.ended}, timeout=HANGS / 4)
            except asyncio.CancelledError as cancel:
                cancelled = cancel
            self._look_at(step)
        error = None if step.ended.cancelled() else step.ended.exception()
        if self._watcher and not isinstance(error, MachineError):
            self._watcher.succeeded(step.name)  # whatever else it raises is not the disk's doing
        if cancelled:
            raise cancelled
        return step.ended.result()

    def _look_at(self, step: "_Step") -> None:
        hung, step.hangs = step.hangs, not step.ended.done() and step.stands_still()
        if self._watcher and step.hangs and not hung:
            self._watcher.hangs(step.name, step.as_error())
        elif self._watcher and hung and not step.hangs:
            self._watcher.came_back(step.name)


class _Thread(threading.Thread):
    """Takes one step after the other. A process does not wait for such threads at its end."""

    def __init__(self) -> None:
        super().__init__(name=_FREE, daemon=True)
        self.steps: queue.SimpleQueue[_Step] = queue.SimpleQueue()

    def run(self) -> None:
        """Work until nothing comes for a while."""
        while self._work():
            pass

    def _work(self) -> bool:
        """Take a step, and return whether to wait for another."""
        try:
            step = self.steps.get(timeout=_WAIT)
        except queue.Empty:
            try:
                _free.remove(self)
            except ValueError:  # it has just been taken
                return True
            return False
        self.name = f"ocrd {step.name}"
        step.work()
        self.name = _FREE
        stays = len(_free) < _MOST_FREE
        if stays:
            _free.append(self)
        step.tell()
        return stays


_free: list[_Thread] = []
"""Those that wait for a step, of all event loops; what is done with it is done at once for all threads."""
os.register_at_fork(after_in_child=_free.clear)  # none of them is there


class _Step:
    """One step, in a thread that does nothing else meanwhile."""

    def __init__(self, function: Callable[[], object], name: str) -> None:
        self.name = name
        self.hangs = False
        self.doing: Callable[[], str] = lambda: f"come to the end of a step ({name})"
        """Says what it is at, behind "to"."""
        self.sign = time.monotonic()
        """When it last got on."""
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[Any] = self._loop.create_future()
        self._context = contextvars.copy_context()
        self._function = function
        self._thread: _Thread | None = None
        self._computed = 0.0
        self._result: object = None
        self._error: BaseException | None = None

    def start(self) -> None:
        """Let a free thread take it, or a new one. Raises MachineError."""
        self.sign = time.monotonic()
        try:
            self._thread = _free.pop()
        except IndexError:
            self._thread = _started()
        self._thread.steps.put(self)

    def stands_still(self) -> bool:
        """Whether there was no sign of its getting on for too long."""
        computed = processes.thread_seconds((self._thread and self._thread.native_id) or 0)
        if computed > self._computed:
            self._computed, self.sign = computed, time.monotonic()
        return time.monotonic() - self.sign >= HANGS

    def as_error(self) -> MachineError:
        return MachineError(
            f"No answer for {HANGS:g} s to the attempt to {self.doing()}.",
            "Does the disk or the share answer? If it is gone for good, mount it anew and start ocrd again.",
        )

    def work(self) -> None:
        """Take it, in its thread."""
        _here.step = self
        try:
            self._result = self._context.run(self._function)
        except StopIteration as stop:  # which a future can't hold
            self._error = RuntimeError(repr(stop))
        except BaseException as raised:  # noqa: BLE001 - raised again in the event loop
            self._error = raised
        _here.step = None

    def tell(self) -> None:
        """Let the event loop hear of its end, unless it is closed: nobody waits any more."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if self.ended.done():
            return  # abandoned
        if self._error is None:
            self.ended.set_result(self._result)
        else:
            self.ended.set_exception(self._error)


def _started() -> _Thread:
    thread = _Thread()
    try:
        thread.start()
    except RuntimeError as error:
        raise MachineError(
            f"No thread can be had: {error}.", "May ocrd's user start more (TasksMax=, LimitNPROC= in the unit)?"
        ) from error
    return thread


class _Here(threading.local):
    step: _Step | None = None


_here = _Here()


@contextmanager
def doing(what: Callable[[], str]) -> Iterator[None]:
    """Say of the step that this thread takes, if it does, what it is at in here, behind "to"."""
    step = _here.step
    if step is None:
        yield
        return
    before, step.doing, step.sign = step.doing, what, time.monotonic()
    try:
        yield
    finally:
        step.doing, step.sign = before, time.monotonic()


def getting_on() -> None:
    """Give a sign that the step which this thread takes, if it does, gets on, though it takes long."""
    if _here.step:
        _here.step.sign = time.monotonic()
