"""From what lies in an inbox to claimed jobs, by three loops of which none waits for another.

The inbox is looked through; what has settled is examined, and put into a batch if it is complete; batches close, and
what is in them is claimed. So what comes later need not wait until all that came before was examined and claimed.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from ocrd.concurrency.fair_window import FairQueue, Turn
from ocrd.config.schema import Config
from ocrd.daemon.batching import Batch, BatchPolicy
from ocrd.daemon.compartment import Compartment
from ocrd.daemon.job_queue import JobQueue
from ocrd.display import shown
from ocrd.errors import DocumentError, MachineError
from ocrd.intake.inbox import Inbox, PageCounter
from ocrd.model import Settled
from ocrd.storage import ownership
from ocrd.storage.job import Job
from ocrd.storage.naming import require_room
from ocrd.storage.roles import Identity
from ocrd.telemetry.events import Looked, WatchAdded

if TYPE_CHECKING:
    from pathlib import Path

_LOOK, _EXAMINE, _CLAIM = "look", "examine", "claim"
"""Stand for the steps where a fault was not met by one on a disk, but for instance by a worker that counts pages."""
_EXAMINED_AT_ONCE = 16
"""Files that have settled whose pages are counted at the same time: enough for all render workers, and few enough that
what comes next does not wait long for them."""


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A source that has settled, on its way to being claimed."""

    settled: Settled
    wave: int
    """Of which look it is; the latest go first."""
    pages: int = 1

    @property
    def turn(self) -> Turn:
        return Turn(pages=self.pages, wave=self.wave)


class Admission:
    """Looks through the inbox of one watch, and claims what has settled. For one event loop."""

    def __init__(
        self,
        compartment: Compartment,
        config: Config,
        jobs: JobQueue,
        prepare: Callable[[], Awaitable[None]],
        idle: Callable[[], None],
    ) -> None:
        """Take the queue that claimed jobs go to.

        `prepare` is called before each look, `idle` whenever there may be nothing left to do.
        """
        self._its = compartment
        self._jobs = jobs
        self._prepare = prepare
        self._idle = idle
        self.wake = asyncio.Event()
        """Set when there may be news in the inbox."""
        self.inbox = Inbox(compartment.watch, config.settle, self.wake, compartment.on_disk, once=compartment.once)
        self.inbox.settle(config.settle, len(config.watches))
        self.sign: float | None = None
        """When the look-out last moved, on the monotonic clock, as long as there is one."""
        self._news: FairQueue[_Found] = FairQueue()
        self._some_news = asyncio.Event()
        self._batch: Batch[_Found] = Batch(_policy(config, once=compartment.once))
        self._due = asyncio.Event()
        self._to_claim: FairQueue[_Found] = FairQueue()
        self._waves = count()
        self._settling = True
        self._examining = False
        self._claiming = False
        self._others: tuple[str, ...] = ()
        """Hosts of other daemons that take from the same inbox."""
        self._closing = False
        self._how = ""
        self._first_seen: dict[Path, float] = {}
        self._met: defaultdict[str, set[str]] = defaultdict(set)
        """Steps at which looks, examinations and claims failed since the last one that came to its end."""

    @property
    def busy(self) -> bool:
        """Whether there is, or may be, something to claim."""
        waiting = len(self._news) + len(self._batch) + len(self._to_claim)
        return self._settling or self._examining or self._claiming or waiting > 0

    def configured(self, config: Config) -> None:
        """Take over the settings that are in force now; those of the watch come with its compartment."""
        watch = self._its.watch
        self.inbox.settle(config.settle, len(config.watches))
        self.inbox.choose(watch)
        self._batch.policy = _policy(config, once=self._its.once)
        self.wake.set()

    def close(self) -> None:
        """Take in nothing more: all loops come to their end, though a step that hangs is waited for."""
        self._closing = True
        self.wake.set()
        self._some_news.set()
        self._due.set()

    async def look_out(self) -> None:
        """Look into the inbox whenever there may be news, until closed."""
        while not self._closing:
            self.wake.clear()
            self._settling = True
            self.sign = time.monotonic()
            try:
                with self._its.own_defects():
                    await self._prepare()
                    await self._look()
            except MachineError as error:
                self.inbox.was_away()
                await self._its.pause.turn(self._failed(error, _LOOK))
                continue
            self._settling = self.inbox.tracker.settling > 0
            self._passed(_LOOK)
            if not (self._settling or self._news or self._examining):  # what could not be examined is there no more
                self._passed(_EXAMINE)
            self._idle()
            await _until(self.wake, self.inbox.tracker.next_due(), longest=self.inbox.rest)
            await asyncio.sleep(self.inbox.gap)
        self.sign = None

    async def _look(self) -> None:
        adopted: list[Job] = []

        def check() -> frozenset[Identity]:  # what takes a step of its own costs as much as the look
            adopted.extend(self._its.spool.adopt())
            beside = ownership.beside(self._its.watch).values()
            self._others = tuple(owner.host for owner in beside if not owner.has_left)
            return self._its.check_inbox()

        try:
            news = await self.inbox.look(check)
        finally:
            for job in adopted:
                self._jobs.add(job, recovered=True)
        self._its.known.set()
        self._tell()
        wave = next(self._waves)
        for settled in news:
            found = _Found(settled, wave)
            self._news.wait(found, found.turn)
            self._some_news.set()

    async def examine(self, count_pages: PageCounter) -> None:
        """Look closer at what has settled, and put what is complete into the batch, until closed."""
        while not self._closing:
            await self._some_news.wait()
            news = [found for _ in range(_EXAMINED_AT_ONCE) if (found := self._news.next())]
            if not self._news:
                self._some_news.clear()
            self._examining = True
            try:
                with self._its.own_defects():
                    await self._examine_all([found for found in news if self._is_there(found)], count_pages)
                self._passed(_EXAMINE)
            except MachineError as error:
                for found in news:
                    self.inbox.tracker.forget(found.settled.path)  # so that a later look finds it again
                await self._its.pause.turn(self._failed(error, _EXAMINE))
                self._look_again()
            self._examining = False
            self._idle()

    async def _examine_all(self, news: list[_Found], count_pages: PageCounter) -> None:
        """Examine these beside each other, until one can't be. Raises what the first one does that can't be."""
        tasks = [asyncio.create_task(self._examine(found, count_pages)) for found in news]
        try:
            if tasks:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()  # the others would keep the render workers waiting for the same share
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for error in ended:
            if error and not isinstance(error, asyncio.CancelledError):
                raise error

    async def _examine(self, found: _Found, count_pages: PageCounter) -> None:
        pages = await self.inbox.examine(found.settled, count_pages)
        if pages is None:  # it is put off
            self._look_again()
        else:
            self._batch.add(replace(found, pages=pages), pages, time.monotonic())
            self._due.set()

    def _look_again(self) -> None:
        self._settling = True
        self.wake.set()

    def _tell(self) -> None:
        """Tell what a look found, and how the inbox is watched if that is new."""
        now, inbox = time.time(), self.inbox
        self._first_seen = {path: self._first_seen.get(path, now) for path in inbox.files}
        if inbox.how != self._how:
            self._how = inbox.how
            self._its.events.tell(WatchAdded(self._its.name, inbox.how, inbox.every))
        settling = inbox.tracker.settling
        waiting = inbox.tracker.known - settling
        looked = Looked(
            self._its.name, settling, waiting, inbox.why, inbox.found_by_scan, inbox.unfinished, self._others
        )
        self._its.events.tell(looked)

    async def admit(self) -> None:
        """Close batches, and claim what is in them, until closed."""
        while not self._closing:
            if not self._to_claim or self._leaves_the_rest:
                await _until(self._due, self._batch.due())
                self._due.clear()
            if news := self._batch.take(time.monotonic()):
                self._its.log.info("batch", sources=len(news), in_work=self._jobs.in_work)
            for found in news:
                self._to_claim.wait(found, found.turn)
            if not self._leaves_the_rest and (chosen := self._to_claim.next()):
                self._claiming = True
                await self._claim(chosen)
                self._claiming = False
                self._idle()

    @property
    def _leaves_the_rest(self) -> bool:
        """Whether enough is in work here, and what is left is for whichever daemon is done first."""
        return bool(self._others) and self._jobs.pages >= self._batch.policy.max_pages

    def job_left(self) -> None:
        """Hear that a job came to its end: there may be room for another."""
        self._due.set()

    async def _claim(self, found: _Found) -> None:
        """Claim one source, as soon as the machine lets us, if it is still what settled."""
        settled = found.settled
        await self._its.pause.working()
        while not self._closing:
            try:
                with self._its.own_defects():
                    job = await self._its.on_disk(self._claimed, settled) if self._is_there(found) else None
            except MachineError as error:
                await self._its.pause.turn(self._failed(error, _CLAIM))
                continue
            except DocumentError as error:
                self._passed(_CLAIM)
                source = shown(settled.path.relative_to(self.inbox.folder))
                self._its.log.warning("left alone", source=source, reason=error.what, remedy=error.remedy)
                return
            self._passed(_CLAIM)
            if job is None:  # gone or changed: if it is there it settles anew
                self.inbox.tracker.forget(settled.path)
                self._look_again()
            else:
                self.inbox.took(settled)
                seen = (first for path in settled.files if (first := self._first_seen.pop(path, None)))
                self._jobs.add(job, seen=min(seen, default=None), pages=found.pages, wave=found.wave)
            return

    def _failed(self, error: MachineError, kind: str) -> str:
        """Note a fault of the machine at a look, an examination or a claim; returns the step that it is known by."""
        step = self._its.failed(error, kind)
        self._met[kind].add(step)
        return step

    def _passed(self, kind: str) -> None:
        """Note that one of these came to its end: nobody may want the steps any more at which it had failed."""
        for step in {kind, *self._met.pop(kind, ())}:
            self._its.pause.succeeded(step)

    def _is_there(self, found: _Found) -> bool:
        """Whether it is still what settled, as far as looks have shown since: more of a group may have come."""
        return self._its.spool.begun or self.inbox.tracker.knows(found.settled)

    def _claimed(self, settled: Settled) -> Job | None:
        """Claim, as the spool does. Raises DocumentError for what can't be delivered from where it lies."""
        require_room(settled.path.relative_to(self.inbox.folder), self._its.watch)
        begun = self._its.spool.begun
        job = self._its.spool.claim(settled, self.inbox.refusal_of(settled))
        if begun:
            self.inbox.look_through()
            self.inbox.tracker.forget_all()  # it saw the inbox without what was given back to it now
        return job


def _policy(config: Config, *, once: bool) -> BatchPolicy:
    return BatchPolicy(0.0 if once else config.batch.quiet, config.batch.max_wait, config.batch.max_pages)


async def _until(event: asyncio.Event, due: float | None, longest: float | None = None) -> None:
    """Wait for the event, or until `due` on the monotonic clock, at most `longest` seconds."""
    waits = [] if longest is None else [longest]
    if due is not None:
        waits.append(max(0.0, due - time.monotonic()))
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), min(waits, default=None))
