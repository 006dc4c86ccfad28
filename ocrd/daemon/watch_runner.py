"""One watch at work: its folders, what settles in its inbox, and the faults that hold it up."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

import structlog

from ocrd.config.schema import Settle, Watch
from ocrd.daemon.pause import Pause
from ocrd.errors import MachineError
from ocrd.intake.inbox import Inbox
from ocrd.model import Settled
from ocrd.pipeline import ledger_upkeep
from ocrd.storage.durable import one_mount
from ocrd.storage.job import Job
from ocrd.storage.ledger import UnusableError
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.spool import Spool
from ocrd.telemetry.events import Events, Looked, Paused, Resumed, WatchAdded

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

log = structlog.get_logger("ocrd")

_LEDGER_SECONDS = 60.0
"""Between two looks whether the ledger is whole."""


class WatchRunner:
    """One watch at work: its folders, what settles in its inbox, and the faults that hold it up.

    It begins and ends by itself, so that a reload can add, change and remove watches while others work on.
    """

    def __init__(self, watch: Watch, settle: Settle, events: Events | None = None, *, once: bool = False) -> None:
        self.watch = watch
        self.spool = Spool(watch.name, watch.inbox, watch.work_folder)
        self.wake = asyncio.Event()
        self.inbox = Inbox(watch, settle, self.wake, once=once)
        self.idle = False
        self.looked = asyncio.Event()
        """Set once the inbox was looked into, or could not be."""
        self.sign = time.monotonic()
        """When the look-out last moved."""
        self.first_seen: dict[Path, float] = {}
        """When each file in the inbox was first seen, seconds since the epoch."""
        self.scanning = False
        self.jobs: dict[str, float] = {}
        """Jobs that have not ended, by id: when their source was first seen, seconds since the epoch."""
        self.leaving = False
        """No longer in the configuration: what is in work goes on to its end, nothing new is claimed."""
        self.gone = asyncio.Event()
        """Set when the work folder is free again."""
        self.look_out: asyncio.Task[None] | None = None
        self.upkeep: asyncio.Task[None] | None = None
        self._events = events or Events()
        self._once = once
        self.pause = Pause()
        self._how = ""
        self.log = log.bind(watch=watch.name)

    def open(self) -> list[Job]:
        """Take the folders, and return the jobs that the last run left. Raises MachineError."""
        for folder in (self.watch.inbox, self.watch.outbox, self.watch.archive, self.watch.error):
            with machine_faults("make the folder", folder):
                folder.mkdir(parents=True, exist_ok=True)
        self.spool.open(self.watch.outbox, self.watch.archive, self.watch.error)
        if not one_mount(self.watch.work_folder, self.watch.inbox, tag="probe"):
            self.log.warning("inbox and work lie on different mounts: claims copy instead of renaming")
        return list(self.spool.recover())

    def fault(self, step: str, error: MachineError) -> None:
        """Note that a step can't be done now, which pauses the intake; each new reason is told once.

        In a run that ends by itself (`once`) nothing is waited for: there it raises the error.
        """
        if self._once:
            raise error
        if self.pause.met(step, error):
            self._events.tell(Paused(self.watch.name, error.what, error.remedy))

    def cured(self, step: str) -> None:
        """Note that a step succeeded; the last cure resumes the watch, and is told."""
        if self.pause.over(step):
            self._events.tell(Resumed(self.watch.name))
            self.wake.set()

    async def look(self) -> list[Settled]:
        """Look through the inbox, and return what has settled. Raises MachineError."""
        self.scanning, self.sign = True, time.monotonic()
        try:
            await asyncio.to_thread(self.spool.check_mount, self.watch.inbox)
            news = await self.inbox.look()
        finally:
            self.scanning, self.sign = False, time.monotonic()
        self._tell()
        return news

    async def moved(self, step: Awaitable[T]) -> T:
        """Take a step of the look-out, whose end is a sign that it moves."""
        try:
            return await step
        finally:
            self.sign = time.monotonic()

    def _tell(self) -> None:
        """Tell what a look found, and how the inbox is watched if that is new."""
        now, inbox = time.time(), self.inbox
        self.first_seen = {path: self.first_seen.get(path, now) for path in inbox.files}
        if inbox.how != self._how:
            self._how = inbox.how
            self._events.tell(WatchAdded(self.watch.name, inbox.how, inbox.every))
        settling = inbox.tracker.settling
        waiting = inbox.tracker.known - settling
        self._events.tell(Looked(self.watch.name, settling, waiting, inbox.why, inbox.found_by_scan))

    def outdated(self, settled: Settled) -> bool:
        """Whether a scan has told since that this is not what settled any more: more of a group may have come."""
        return not self.spool.begun and not self.inbox.tracker.knows(settled)

    def claim(self, settled: Settled) -> Job | None:
        """Claim, as the spool does, what is not outdated."""
        begun = self.spool.begun
        job = self.spool.claim(settled)
        if begun:
            self.inbox.tracker.forget_all()  # it saw the inbox without what was given back to it now
        return job

    def seen_at(self, settled: Settled) -> float | None:
        """When the first file of a source was first seen, seconds since the epoch."""
        return min((seen for path in settled.files if (seen := self.first_seen.pop(path, None))), default=None)

    async def keep_ledger(self) -> None:
        """See to it that the ledger is whole and written, also after a fault that it had. Never returns."""
        while True:
            if self.watch.history or self.watch.duplicates != "process":
                try:
                    await ledger_upkeep.make_whole(self.spool, self.watch.outbox)
                except UnusableError:
                    pass  # logged where it was found
                except MachineError as error:  # it holds up nobody but who waits for it, and they tell
                    self.log.warning("the ledger can't be made whole now", reason=error.what, remedy=error.remedy)
                except Exception:  # a defect of ours in what is a convenience
                    self.log.exception("defect")
            await asyncio.sleep(_LEDGER_SECONDS)

    def release(self) -> None:
        """Give the work folder free, if the watch is to leave and nothing of it is in work any more."""
        if self.leaving and not self.jobs:
            self.spool.close()
            self.gone.set()
