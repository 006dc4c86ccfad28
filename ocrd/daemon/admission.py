"""From what has settled in an inbox to a claimed job: batches close, and what is in them is claimed."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from ocrd.concurrency.threads import finish_in_thread
from ocrd.config.schema import Config
from ocrd.daemon import pause
from ocrd.daemon.batching import Batch, BatchPolicy
from ocrd.daemon.job_queue import JobQueue
from ocrd.daemon.pause import CLAIM
from ocrd.daemon.watch_runner import WatchRunner
from ocrd.display import shown
from ocrd.errors import DocumentError, MachineError
from ocrd.intake.inbox import PageCounter
from ocrd.model import Settled

log = structlog.get_logger("ocrd")

_EXAMINED_AT_ONCE = 64
"""Files that have settled whose pages are counted at the same time."""


class Admission:
    """Gathers settled sources of all watches into batches, claims them and queues them. For one event loop."""

    def __init__(self, config: Config, jobs: JobQueue, idle: Callable[[], None], *, once: bool) -> None:
        """Take the queue that claimed jobs go to, and what to call whenever there may be nothing left to do."""
        self._batch: Batch[tuple[WatchRunner, Settled]] = Batch(_policy(config, once=once))
        self._jobs = jobs
        self._idle = idle
        self._once = once
        self._wake = asyncio.Event()
        self._claiming = False

    @property
    def busy(self) -> bool:
        """Whether sources wait to be claimed."""
        return self._claiming or len(self._batch) > 0

    def configured(self, config: Config) -> None:
        """Take over the configuration that is in force now."""
        self._batch.policy = _policy(config, once=self._once)

    async def scan(self, runner: WatchRunner, count_pages: PageCounter) -> None:
        """Look into one inbox whenever there may be news, and put what is complete into the batch. Never returns."""
        inbox = runner.inbox
        while True:
            runner.wake.clear()
            runner.idle = False
            try:
                news = await runner.look()
                for job in await finish_in_thread(runner.spool.adopt):
                    self._jobs.add(runner, job, recovered=True)
            except MachineError as error:
                runner.fault("scan", error)
                inbox.was_away()
                runner.looked.set()
                await asyncio.sleep(pause.RETRY_SECONDS)
                continue
            runner.cured("scan")
            runner.looked.set()
            await self._gather(runner, news, count_pages)
            runner.idle = not inbox.tracker.settling
            self._idle()
            await _until(runner.wake, inbox.tracker.next_due(), longest=inbox.every)
            await asyncio.sleep(inbox.gap)

    async def _gather(self, runner: WatchRunner, news: list[Settled], count_pages: PageCounter) -> None:
        for first in range(0, len(news), _EXAMINED_AT_ONCE):  # the first of many need not wait for the last
            some = news[first : first + _EXAMINED_AT_ONCE]
            looks = (runner.moved(runner.inbox.examine(settled, count_pages)) for settled in some)
            for complete in await asyncio.gather(*looks):
                if complete:
                    settled, pages = complete
                    self._batch.add((runner, settled), pages, time.monotonic())
                    self._wake.set()

    async def run(self) -> None:
        """Close batches, and claim what is in them; what can't be claimed now stays on the list. Never returns."""
        taken: list[tuple[WatchRunner, Settled]] = []
        while True:
            await _until(self._wake, self._batch.due(), longest=pause.RETRY_SECONDS if taken else None)
            self._wake.clear()
            news = self._batch.take(time.monotonic())
            if news:
                log.info("batch", sources=len(news), in_work=self._jobs.in_work)
            taken += news
            self._claiming = bool(taken)
            taken = await self._claim_all(taken)
            self._claiming = bool(taken)
            self._idle()

    async def _claim_all(self, taken: list[tuple[WatchRunner, Settled]]) -> list[tuple[WatchRunner, Settled]]:
        """Claim what can be claimed, and return the rest: a failed claim holds up its watch, and goes to the end."""
        held: set[WatchRunner] = set()
        waiting, failed = [], []
        for runner, settled in taken:
            if runner in held:
                waiting.append((runner, settled))
            elif not await self._claim(runner, settled):
                held.add(runner)
                failed.append((runner, settled))
        return waiting + failed

    async def _claim(self, runner: WatchRunner, settled: Settled) -> bool:
        """Claim one source, unless the machine does not let us now; then it returns False."""
        if runner.leaving:
            return True
        if runner.pause.holds_intake:
            return False
        try:
            job = None if runner.outdated(settled) else await finish_in_thread(runner.claim, settled)
        except MachineError as error:
            runner.fault(CLAIM, error)
            return False
        except DocumentError as error:
            runner.log.warning("left alone", source=shown(settled.path), reason=error.what, remedy=error.remedy)
            return True
        runner.cured(CLAIM)
        if job is None:  # gone or changed: if it is there it settles anew
            runner.inbox.tracker.forget(settled.path)
            runner.idle = False
            runner.wake.set()
            return True
        self._jobs.add(runner, job, seen=runner.seen_at(settled))
        return True


def _policy(config: Config, *, once: bool) -> BatchPolicy:
    return BatchPolicy(0.0 if once else config.batch.quiet, config.batch.max_wait, config.batch.max_pages)


async def _until(event: asyncio.Event, due: float | None, longest: float | None = None) -> None:
    """Wait for the event, or until `due` on the monotonic clock, at most `longest` seconds."""
    waits = [] if longest is None else [longest]
    if due is not None:
        waits.append(max(0.0, due - time.monotonic()))
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), min(waits, default=None))
