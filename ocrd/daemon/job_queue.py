"""What was claimed, brought to its end: each job in a task of its own, through whatever the machine does meanwhile."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import count

import structlog

from ocrd.concurrency.threads import finish_in_thread
from ocrd.daemon.watch_runner import WatchRunner
from ocrd.display import shown
from ocrd.errors import DocumentError, EngineError, MachineError
from ocrd.model import PageResult
from ocrd.pipeline.document import Interrupted, Progress, Tools
from ocrd.pipeline.job_runner import Outcome, run_job
from ocrd.pipeline.rerun import run_rerun
from ocrd.storage.job import Job, refusal_of
from ocrd.storage.os_errors import machine_faults
from ocrd.telemetry.events import Accepted, Ended, Events, Opened, PageDone

log = structlog.get_logger("ocrd")

_JOBS_AT_ONCE = 1024
"""Jobs that have been opened at the same time; the others wait in their folders. Far above any engine's window."""


class JobQueue:
    """The jobs in work, of all watches: those never tried before run first. For one event loop."""

    def __init__(self, events: Events, progress: Progress, idle: Callable[[], None]) -> None:
        """Take who is told of jobs, and what to call whenever there may be nothing left to do."""
        self._events = events
        self._progress = progress
        self._idle = idle
        self._queue: asyncio.PriorityQueue[tuple[int, int, WatchRunner, Job]] = asyncio.PriorityQueue()
        self._number = count()
        self._active = 0
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.ended: Counter[str] = Counter()
        """Jobs ended so far, by the outcome's kind."""

    @property
    def in_work(self) -> int:
        """Jobs that wait or run."""
        return self._active + self._queue.qsize()

    def add(self, runner: WatchRunner, job: Job, *, recovered: bool = False, seen: float | None = None) -> None:
        """Queue a job of a watch; its source was first `seen` at these seconds since the epoch."""
        runner.jobs[job.id] = seen or job.claimed
        self._events.tell(Accepted(runner.watch.name, job.id, job.record.name, recovered=recovered))
        self._queue.put_nowait((job.record.attempts, next(self._number), runner, job))

    async def run(self, group: asyncio.TaskGroup, tools: Tools) -> None:
        """Run jobs as they come, each as a task of the group. Never returns."""
        places = asyncio.Semaphore(_JOBS_AT_ONCE)
        while True:
            await places.acquire()
            _, _, runner, job = await self._queue.get()
            self._active += 1
            report = _Report(runner, job, self._events, self._progress)
            task = group.create_task(self._run(runner, job, replace(tools, progress=report)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            task.add_done_callback(lambda _: places.release())

    async def drain(self, hurry: asyncio.Event, limit: float) -> None:
        """Let running jobs finish the pages that are in flight, until `hurry` is set or `limit` seconds are over."""
        hurried = asyncio.create_task(hurry.wait())
        finished = asyncio.create_task(_all_done(self._running))
        await asyncio.wait({hurried, finished}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        finished.cancel()
        if self._running:
            log.warning("pages in flight are given up, and read again at the next start", after=limit)
        for task in self._running:
            task.cancel()

    def stop(self) -> None:
        """Let no job that waits for the machine try again."""
        self._stopping = True

    async def _run(self, runner: WatchRunner, job: Job, tools: Tools) -> None:
        """Bring one job to its end."""
        began = time.monotonic()
        try:
            while (outcome := await self._attempt(runner, job, tools)) is None:
                if not self._stopping:
                    await runner.pause.worth_a_try(job.id)
                if self._stopping:
                    return
        except Interrupted:
            return
        finally:
            self._active -= 1
            seen = runner.jobs.pop(job.id)
            runner.release()
            self._progress.ended(job.record.name)
        self.ended[outcome.kind] += 1
        self._events.tell(_ended(job, outcome, time.monotonic() - began, max(0.0, time.time() - seen)))
        self._idle()

    async def _attempt(self, runner: WatchRunner, job: Job, tools: Tools) -> Outcome | None:
        """Run a job once; None if it has to be tried again. Raises EngineError, Interrupted."""
        try:
            with machine_faults("work on", job.source):
                run = run_rerun if job.record.rerun else run_job
                outcome = await run(job, runner.watch, runner.spool, tools)
        except MachineError as error:
            runner.fault(job.id, error)
            return None
        except (EngineError, Interrupted):
            raise
        except Exception as error:  # a defect of ours must not stop the daemon, nor lose the source
            runner.log.exception("defect", source=shown(job.record.name), job=job.id)
            sorry = DocumentError(
                f"ocrd itself failed on this file: {type(error).__name__}: {error}.", "Please report it, with the log."
            )
            with suppress(MachineError):
                await finish_in_thread(job.update, refusal=refusal_of(sorry))
            return None
        runner.cured(job.id)
        return outcome


class _Report(Progress):
    """Tells how one job gets on, to all that listen and to the progress bars."""

    def __init__(self, runner: WatchRunner, job: Job, events: Events, onward: Progress) -> None:
        self._who = (runner.watch.name, job.id, job.record.name)
        self._events = events
        self._onward = onward

    def opened(self, name: str, pages: int, kept: int) -> None:
        self._events.tell(Opened(*self._who, pages, kept))
        self._onward.opened(name, pages, kept)

    def page(self, name: str, result: PageResult) -> None:
        self._events.tell(PageDone(*self._who, result))
        self._onward.page(name, result)

    def ended(self, name: str) -> None:
        self._onward.ended(name)


def _ended(job: Job, outcome: Outcome, seconds: float, latency: float) -> Ended:
    """Make the one record that tells all of a document."""
    document = outcome.document
    return Ended(
        job.record.watch,
        job.id,
        job.record.name,
        outcome.kind,
        outcome.path,
        outcome.original,
        seconds,
        latency=latency,
        pages=len(document.pages) if document else outcome.facts.get("pages"),
        status=document.status if document else outcome.facts.get("status", ""),
        verdicts=Counter(str(page.verdict) for page in document.pages) if document else {},
        problems=document.problems if document else (),
        reason=outcome.reason,
        files=outcome.files,
        originals=outcome.originals,
    )


async def _all_done(tasks: set[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(set(tasks))
