"""The whole daemon on a machine that fails at a chosen step, and goes on failing until a person mends what it tells.

It lives in this very process, with no thread beside it, so that its steps come in one order; the engine and the render
workers only read, and what waits for seconds waits for milliseconds.
"""

import asyncio
import errno
import os
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from simulated import SimulatedEngine

from crash.house import ROLES, House, StillRenderer, illustrated
from crash.reaper import Reaper, Step
from ocrd.config.schema import Batch, Config, Settle
from ocrd.config.watch import Watch
from ocrd.daemon import health, pause, supervisor
from ocrd.errors import MachineError
from ocrd.intake import inbox
from ocrd.intake.scanner import scan
from ocrd.storage import mounts
from ocrd.telemetry import status
from ocrd.telemetry.events import Ended, Event, Paused, Resumed

_BYTES = {"write", "fsync"}  # the latter where the file system takes its time, or is another machine's
_NEW_NAMES = {"create", "mkdir", "rename", "link"}
_NAMES = _NEW_NAMES | {"rmdir", "unlink"}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_SOON = 0.005
"""Seconds for what takes seconds in earnest."""
_PATIENCE = 120.0
"""Seconds after which something will not happen any more."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with the machine."""

    number: int
    """Of the error (errno(3))."""
    calls: AbstractSet[str]
    """What is refused."""

    def __str__(self) -> str:
        return os.strerror(self.number)


FAULTS = {
    "no space": Fault(errno.ENOSPC, _BYTES | _NEW_NAMES),
    "no space for bytes": Fault(errno.ENOSPC, _BYTES),
    "quota": Fault(errno.EDQUOT, _BYTES | _NEW_NAMES),
    "failing": Fault(errno.EIO, _BYTES | _NAMES),
    "read-only": Fault(errno.EROFS, _BYTES | _NAMES),
    "forbidden": Fault(errno.EACCES, _NAMES),
}


@dataclass
class Told:
    """How many steps failed at first, and what came of it."""

    faults: int = 0
    """Lives in which a step failed."""
    paused: int = 0
    """The watch paused, and resumed."""
    at_start: int = 0
    """The daemon ended, before it had begun: its service manager starts it again."""

    @property
    def done_without(self) -> int:
        """What failed was not needed: the work came to its end, and the next start made up for it."""
        return self.faults - self.paused - self.at_start


def hurry() -> None:
    """Let the daemons in this process wait for nothing, and do all in one thread."""
    pause.RETRY_SECONDS = health.EVERY = _SOON
    inbox._LEAST_GAP = 0.0
    mounts.kind_of = lambda _: "nfs"  # where nothing is watched, but all polled
    supervisor.Renderer = _Renderer  # type: ignore[misc,assignment]


class _Renderer(StillRenderer):
    workers = 1

    def __init__(self, *_: object) -> None:
        """Take what the daemon would give to its workers."""

    async def count_pages(self, _path: Path) -> int:
        return 1

    async def close(self) -> None:
        """There is nothing to close."""


class Patient:
    """One daemon, its fault, and the person who mends it."""

    def __init__(self, house: House, reaper: Reaper, status_file: Path) -> None:
        self._house = house
        self._reaper = reaper
        self._status_file = status_file

    def suffer(self, role: str, fault: Fault, late: dict[str, bytes]) -> Told:
        """Let each step in a folder fail so, one life after the other, and check all that must hold.

        While the fault lasts somebody drops what comes `late`.
        """
        self._role, self._fault, self._late, self._scenario = role, fault, late, self._house.scenario
        self._struck = 0
        expected = self._undisturbed()
        told = Told()
        for step in range(1, 10_000):
            self._house.scenario = self._scenario
            self._house.build()
            try:
                if not self._one(step, expected, told):
                    return told
            except AssertionError as error:
                error.add_note(f"{fault} at step {step} in {role}: {self._failed}")
                raise
        raise AssertionError

    def _undisturbed(self) -> dict[str, bytes]:
        self._house.build()
        self._late_ones_come()
        self._live(0)
        return self._house.files()

    def _late_ones_come(self) -> None:
        """Drop what comes late."""
        for name, data in self._late.items():
            self._house.drop(name, data)
        self._house.scenario = replace(self._scenario, sources=self._scenario.sources | self._late)

    def _one(self, step: int, expected: dict[str, bytes], told: Told) -> bool:
        """Let one step fail, and what comes after it. Returns False if there is no such step."""
        self._expected = expected
        at_start = False
        try:
            self._live(step)
        except MachineError as error:
            self._check_words(error.what)
            at_start = True
        if not self._struck:
            return False
        told.faults += 1
        told.at_start += at_start
        told.paused += bool(self._pauses)
        if self._house.scenario is self._scenario:
            self._late_ones_come()
        self._live(0)  # what was left goes at the next start
        self._house.check_end(expected)
        return True

    def _live(self, at: int) -> None:
        """Let a daemon live until all is done. From step `at` in the folder on, all fails until it is mended."""
        self._at, self._seen, self._struck, self._mended = at, 0, 0, at == 0
        self._pauses: list[Paused] = []
        self._resumed = False
        self._failed: Step | None = None
        self._ended = 0
        self._reaper.arm(before=lambda steps: self._fail(steps[-1]))
        access, os.access = os.access, self._may
        try:
            asyncio.run(self._story())
        finally:
            os.access = access
            self._reaper.disarm()

    # -- the fault ------------------------------------------------------------------------------------------------

    def _fail(self, step: Step) -> None:
        if self._mended or not self._fails(step):
            return
        self._seen += 1
        if self._seen >= self._at:
            self._failed = self._failed or step
            self._struck += 1
            raise OSError(self._fault.number, str(self._fault), step.path)

    def _fails(self, step: Step) -> bool:
        """Whether it is one that the fault refuses; to take a name out of a full folder is not."""
        out_of = self._within(step.path) and self._fault.number not in _FULL
        return step.call in self._fault.calls and (out_of or self._within(step.other or step.path))

    def _within(self, path: object) -> bool:
        folder = str(self._house.folder(self._role))
        return str(path) == folder or str(path).startswith(f"{folder}/")

    def _may(self, path: Any, mode: int, **_: object) -> bool:
        """Answer access(2) for somebody who is not root."""
        failing = self._fault.number == errno.EACCES and self._struck and not self._mended
        return mode == os.F_OK or not (failing and self._within(path))

    # -- the daemon, and the person -------------------------------------------------------------------------------

    async def _story(self) -> None:
        one = supervisor.Daemon(self._config(), SimulatedEngine(behave=illustrated), status_file=self._status_file)
        one.events.listen(self._hear)
        running = asyncio.create_task(one.run())
        watching = asyncio.create_task(self._watch_over(one))
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                await watching
                one.stop()
            await running
        finally:
            for task in (running, watching):
                task.cancel()
                with suppress(asyncio.CancelledError, MachineError):
                    await task

    async def _watch_over(self, one: supervisor.Daemon) -> None:
        await _until(lambda: self._pauses or self._done(one))
        if self._pauses:
            await self._mend()
            await _until(lambda: self._done(one) and self._resumed)
            await _until(lambda: not self._shown())

    def _done(self, one: supervisor.Daemon) -> bool:
        """Whether nothing is left to do."""
        folder = self._house.folder("inbox")
        runner = one._runners[0]
        busy = runner.admission._claiming or runner.jobs.in_work or not runner.its.known.is_set()
        return not busy and not scan(folder).files

    async def _mend(self) -> None:
        """See what a person sees while the fault lasts, drop more, and mend it once it was tried again in vain."""
        [paused] = self._pauses
        self._check_words(paused.what)
        assert paused.remedy.endswith(" Work resumes by itself.")
        await _until(lambda: self._resumed or self._shown() == paused.what)
        self._house.check(self._expected)
        self._late_ones_come()
        before, jobs = self._struck, self._jobs()
        await _until(lambda: self._resumed or self._struck > before + 1)
        if not self._resumed:
            assert self._jobs() <= jobs, "each try leaves something"
            assert self._pauses == [paused], "told more than once"
            waiting = {f"inbox/{name}" for name in self._late}
            assert waiting <= self._house.files().keys(), "the intake goes on"
        self._house.check(self._expected)
        self._mended = True

    def _jobs(self) -> set[Path]:
        """List the job folders."""
        return set(self._house.folder("work").glob("*"))

    def _check_words(self, what: str) -> None:
        assert str(self._fault) in what
        assert str(self._house.folder(self._role)) in what, f"it is not told where the fault is: {what}"

    def _shown(self) -> str:
        """Return what `ocrd status` shows to be wrong."""
        [watch] = status.Status.parse(self._status_file.read_bytes()).watches
        return watch.paused.what if watch.paused else ""

    def _hear(self, event: Event) -> None:
        match event:
            case Paused():
                self._pauses.append(event)
            case Resumed():
                self._resumed = True
            case Ended():
                self._ended += 1
            case _:
                pass

    def _config(self) -> Config:
        scenario = self._scenario
        watch = Watch.model_construct(
            name="crash",
            **{role: self._house.folder(role) for role in ROLES},
            work=self._house.folder("work"),
            outputs=scenario.outputs,
            join=scenario.join,
            history=False,
        )
        return Config.model_construct(
            settle=Settle.model_construct(quiet=0.0, rescan=_SOON, poll=_SOON),
            batch=Batch.model_construct(quiet=0.0),
            watches=(watch,),
        )


async def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen: {condition}"
        await asyncio.sleep(_SOON / 5)
