"""What was claimed, brought to its end: each job in a task of its own, through whatever the machine does meanwhile."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from ocrd.concurrency.fair_window import FairQueue, Turn, Window
from ocrd.concurrency.worker_process import StallError
from ocrd.daemon import pause
from ocrd.daemon.compartment import Compartment
from ocrd.display import shown
from ocrd.errors import DocumentError, EngineError, MachineError
from ocrd.model import PageResult
from ocrd.pipeline.document import Interrupted, Progress, Tools
from ocrd.pipeline.job_runner import run_job
from ocrd.pipeline.outcome import Outcome
from ocrd.pipeline.rerun import run_rerun
from ocrd.storage.job import Job, refusal_of
from ocrd.telemetry.events import Accepted, Ended, Opened, PageDone, TakenAway

_JOBS_AT_ONCE = 256
"""Jobs of a watch that have been opened at the same time; the others wait in their folders. Far above any engine's
window."""
_SOON = 60.0
"""Seconds: a job that fails again so soon after all was well is held up by itself, and not by the machine."""
_LONGEST = 300.0
"""Seconds between two tries of such a job, at most."""


class JobQueue:
    """The jobs of one watch, which run in the order of `FairQueue`. For one event loop."""

    def __init__(
        self,
        compartment: Compartment,
        progress: Progress,
        announce: Callable[[Ended], None],
        ended: Callable[[Ended], None],
        left: Callable[[], None],
    ) -> None:
        """Take whose jobs they are, and who hears how they get on.

        `ended` is called with all that is known of one that came to its end, `announce` with nearly the same just
        before, in a thread of the watch, and `left` whenever one is in work no more.
        """
        self._its = compartment
        self._progress = progress
        self._announce = announce
        self._ended = ended
        self._left = left
        self._queue: FairQueue[_Queued] = FairQueue()
        self._some = asyncio.Event()
        self._places = asyncio.Semaphore(_JOBS_AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self._attempts: set[asyncio.Future[Outcome]] = set()
        self._seen: dict[str, float] = {}
        self._pages: dict[str, int] = {}
        self._stopping = asyncio.Event()
        self._stalled_at = ""

    @property
    def in_work(self) -> int:
        """Jobs that have not ended."""
        return len(self._seen)

    @property
    def pages(self) -> int:
        """Pages of these jobs."""
        return sum(self._pages.values())

    def add(
        self, job: Job, *, recovered: bool = False, seen: float | None = None, pages: int = 1, wave: int = 0
    ) -> None:
        """Queue a job; its source was first `seen` at these seconds since the epoch, with others of its `wave`."""
        self._seen[job.id], self._pages[job.id] = seen or job.claimed, pages
        self._its.events.tell(Accepted(self._its.name, job.id, job.record.name, recovered, pages))
        queued = _Queued(job, Turn(self._its, job.record.attempts, pages, wave))
        self._queue.wait(queued, queued.turn)
        self._some.set()

    async def run(self, group: asyncio.TaskGroup, tools: Tools) -> None:
        """Run jobs as they come, each as a task of the group, until cancelled; then no job begins another page."""
        tools = replace(
            tools,
            renderer=tools.renderer.telling(self._interrupt),
            unkept=Window(tools.window.places),
            on_disk=self._its.on_disk,
        )
        try:
            while True:
                await self._some.wait()
                await self._its.pause.working()
                await self._places.acquire()  # before it is chosen whose place it is
                queued = self._next()
                report = _Report(self._its, queued.job, self._progress)
                turn = replace(queued.turn, priority=self._its.watch.rank)
                task = group.create_task(self._run(queued.job, replace(tools, progress=report, turn=turn)))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        finally:
            tools.unkept.close()

    def _next(self) -> "_Queued":
        chosen = self._queue.next()
        if chosen is None:
            raise AssertionError
        if not self._queue:
            self._some.clear()
        return chosen

    async def drain(self, hurry: asyncio.Event, limit: float) -> None:
        """Let running jobs finish the pages that are in flight, until `hurry` is set or `limit` seconds are over.

        A watch that hangs is not waited for, and no job that waits for the machine tries again.
        """
        self._stopping.set()
        self._its.pause.let_all_go()
        if self._running and self._its.pause.state is not pause.State.HANGING:
            hurried = asyncio.create_task(hurry.wait())
            finished = asyncio.create_task(asyncio.wait(set(self._running)))
            await asyncio.wait({hurried, finished}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
            finished.cancel()
        if self._running:
            self._its.log.warning("pages in flight are given up, and read again at the next start", after=limit)
        for task in self._running:
            task.cancel()

    async def _run(self, job: Job, tools: Tools) -> None:
        """Bring one job to its end. While it waits for the machine, another has its place."""
        began, met = time.monotonic(), _Met()

        def record(outcome: Outcome) -> Ended:
            latency = max(0.0, time.time() - self._seen[job.id])
            return _record(self._its.name, job, outcome, time.monotonic() - began, latency)

        tools = replace(tools, before_end=lambda outcome: self._announce(record(outcome)))
        try:
            while not isinstance(result := await self._attempt(job, tools), Outcome):
                if result and await self._was_taken(job, result):
                    self._its.events.tell(TakenAway(self._its.name, job.id, job.record.name))
                    return
                self._places.release()
                await self._wait(job, result, met)
                await self._places.acquire()
                if self._stopping.is_set():
                    return
            self._ended(record(result))
        except Interrupted:
            pass
        finally:
            self._places.release()
            del self._seen[job.id], self._pages[job.id]
            self._progress.ended(job.record.name)
            for step in met.steps:  # which nobody may want any more
                self._its.pause.succeeded(step)
            self._left()

    async def _was_taken(self, job: Job, error: MachineError) -> bool:
        """Whether a job failed since its folder is gone: another daemon was given it, as if this one were dead."""
        if isinstance(error, StallError):
            return False  # what does not answer is not asked
        with suppress(MachineError):
            return await self._its.on_disk(self._its.spool.was_taken, job)
        return False

    async def _attempt(self, job: Job, tools: Tools) -> Outcome | MachineError | None:
        """Run a job once. Returns what the machine has against it, or None if it was interrupted, to be tried again.

        Raises EngineError, Interrupted.
        """
        run = run_rerun if job.record.rerun else run_job
        attempt = asyncio.ensure_future(run(job, self._its.watch, self._its.spool, tools))
        self._attempts.add(attempt)
        try:
            return await attempt
        except MachineError as error:
            return error
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            return None
        except (EngineError, Interrupted):
            raise
        except Exception as error:  # a defect of ours must not stop the daemon, nor lose the source
            self._its.log.exception("defect", source=shown(job.record.name), job=job.id)
            what = f"ocrd itself failed on this file: {type(error).__name__}: {error}."
            with suppress(MachineError):
                sorry = refusal_of(DocumentError(what, "Please report it, with the log."))
                await self._its.on_disk(job.update, refusal=sorry)
            return _DefectError(what, "Please report it, with the log.")
        finally:
            self._attempts.discard(attempt)

    def _interrupt(self, stall: StallError) -> None:
        """Stop all attempts: the share that they read from does not answer, and they hold the render workers."""
        if self._its.once:
            return  # which the fault itself ends
        self._stalled_at = self._its.failed(stall)
        for attempt in self._attempts:
            attempt.cancel()

    async def _wait(self, job: Job, error: MachineError | None, met: "_Met") -> None:
        """Wait until it is worth trying a job again."""
        if error is None:  # perhaps all were interrupted, and one must find out whether it answers again
            met.steps.add(self._stalled_at)
            await self._its.pause.turn(self._stalled_at)
        elif isinstance(error, _DefectError) or time.monotonic() - met.all_well < _SOON:
            met.put_off += 1
            seconds = min(pause.RETRY_SECONDS * 2 ** (met.put_off - 1), _LONGEST)
            words = {"reason": error.what, "remedy": error.remedy, "seconds": seconds}
            self._its.log.warning("put off", source=shown(job.record.name), job=job.id, **words)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)
        else:
            step = self._its.failed(error)
            met.steps.add(step)
            if await self._its.pause.turn(step):
                met.all_well = time.monotonic()


@dataclass(frozen=True, slots=True, eq=False)
class _Queued:
    """A job that has not begun, and when it is its turn."""

    job: Job
    turn: Turn


@dataclass(slots=True)
class _Met:
    """What one job has met on its way."""

    steps: set[str] = field(default_factory=set)
    """Those that failed, by the machine's doing."""
    all_well: float = float("-inf")
    """When it last went on because others got through these steps, on the monotonic clock."""
    put_off: int = 0
    """How often it failed all the same."""


class _DefectError(MachineError):
    """A defect of ours. The job is refused with its next attempt."""


class _Report(Progress):
    """Tells how one job gets on, to all that listen and to the progress bars."""

    def __init__(self, compartment: Compartment, job: Job, onward: Progress) -> None:
        self._its = compartment
        self._job = job
        self._onward = onward

    def opened(self, name: str, pages: int, kept: int) -> None:
        self._its.gets_on()
        self._its.events.tell(Opened(self._its.name, self._job.id, self._job.record.name, pages, kept))
        self._onward.opened(name, pages, kept)

    def page(self, name: str, result: PageResult) -> None:
        self._its.gets_on()
        self._its.events.tell(PageDone(self._its.name, self._job.id, self._job.record.name, result))
        self._onward.page(name, result)

    def ended(self, name: str) -> None:
        self._onward.ended(name)


def _record(watch: str, job: Job, outcome: Outcome, seconds: float, latency: float) -> Ended:
    """Make the one record that tells all of a document."""
    document = outcome.document
    return Ended(
        watch,
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
