"""The daemon's life: start, recover, watch, admit, stop.

Three kinds of task run beside each other: one look-out for each inbox, one admission that closes batches and claims,
and one runner for each job in work. A fault of the machine pauses the watch that it concerns and nothing else.
"""

import asyncio
import signal
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from functools import partial
from itertools import count
from pathlib import Path

import structlog

from ocrd import inbox, service
from ocrd.batch import Batch, BatchPolicy
from ocrd.config import Config, Watch
from ocrd.engines.base import Engine
from ocrd.errors import DocumentError, EngineError, MachineError, cause_of
from ocrd.fsio import machine_faults, one_mount, shown
from ocrd.model import Settled
from ocrd.pipeline import Outcome, Progress, Tools, durably, run_job
from ocrd.render import Renderer
from ocrd.settle import SettleTracker
from ocrd.spool import Job, Spool, refusal_of
from ocrd.window import Window
from ocrd.workers import Limits

log = structlog.get_logger("ocrd")

RETRY_SECONDS = 5.0
"""Between two tries while a fault of the machine lasts."""
_JOBS_AT_ONCE = 1024
"""Jobs that have been opened at the same time; the others wait in their folders. Far above any engine's window."""
_LEAST_SCAN_GAP = 0.2
"""Seconds between two scans of an inbox, however many events come."""


class Flow:
    """One watch at work: its folders, what settles in its inbox, and the faults that hold it up."""

    def __init__(self, watch: Watch, quiet: float) -> None:
        self.watch = watch
        self.spool = Spool(watch.name, watch.inbox, watch.work_folder)
        self.tracker = SettleTracker(quiet)
        self.wake = asyncio.Event()
        self.idle = False
        self._faults: dict[str, MachineError] = {}
        self._odd: set[Path] = set()
        self.log = log.bind(watch=watch.name)

    def open(self) -> list[Job]:
        """Take the folders, and return the jobs that the last run left. Raises MachineError."""
        for folder in (self.watch.inbox, self.watch.outbox, self.watch.archive, self.watch.error):
            with machine_faults("make the folder", folder):
                folder.mkdir(parents=True, exist_ok=True)
        self.spool.open()
        if not one_mount(self.watch.work_folder, self.watch.inbox, tag="probe"):
            self.log.warning("inbox and work lie on different mounts: claims copy instead of renaming")
        return list(self.spool.recover())

    def paused(self, *, but_for: str = "") -> bool:
        """Whether a fault of the machine holds the watch up, other than that of one step."""
        return bool(self._faults.keys() - {but_for})

    def fault(self, step: str, error: MachineError) -> None:
        """Note that a step can't be done now; the first fault pauses the watch, and is logged."""
        if not self._faults:
            self.log.error("paused", what=error.what, remedy=error.remedy)
        self._faults[step] = error

    def cured(self, step: str) -> None:
        """Note that a step succeeded; the last cure resumes the watch, and is logged."""
        if self._faults.pop(step, None) and not self._faults:
            self.log.info("resumed")
            self.wake.set()

    def left_alone(self, odd: dict[Path, str]) -> None:
        """Log each thing in the inbox that is named like a source but is none, once."""
        for path in odd.keys() - self._odd:
            self.log.warning(
                "left alone", source=shown(path.relative_to(self.watch.inbox)), reason=f"it is {odd[path]}"
            )
        self._odd = set(odd)


class Daemon:
    """Owns everything that runs. One `run` in one event loop."""

    def __init__(self, config: Config, engine: Engine, *, once: bool = False, progress: Progress | None = None) -> None:
        """Prepare. With `once`, `run` ends when the inboxes are worked off, and a fault of the machine ends it too."""
        self._config = config
        self._engine = engine
        self._once = once
        self._progress = progress or Progress()
        self._flows = [Flow(watch, config.settle.quiet) for watch in config.watches]
        policy = BatchPolicy(0.0 if once else config.batch.quiet, config.batch.max_wait, config.batch.max_pages)
        self._batch: Batch[tuple[Flow, Settled]] = Batch(policy)
        self._admit = asyncio.Event()
        self._queue: asyncio.PriorityQueue[tuple[int, int, Flow, Job]] = asyncio.PriorityQueue()
        self._number = count()
        self._claiming = False
        self._active = 0
        self._stop = asyncio.Event()
        self.ended: Counter[str] = Counter()
        """Jobs ended so far, by the outcome's kind."""

    def stop(self) -> None:
        """Ask for a clean end: what is in work stays there, and goes on at the next start."""
        self._stop.set()

    async def run(self) -> None:
        """Run until stopped. Raises ConfigError, SpoolError, EngineError; with `once` any MachineError."""
        async with AsyncExitStack() as stack:
            renderer, watcher = self._open_tools(stack)
            try:
                async with asyncio.TaskGroup() as group:
                    ending = group.create_task(self._stop.wait())
                    tasks = [
                        group.create_task(self._work(group, renderer)),
                        group.create_task(self._admission()),
                        *(group.create_task(self._look_out(flow, renderer, watcher)) for flow in self._flows),
                    ]
                    await ending
                    service.notify(service.STOPPING)
                    log.info("stopping", in_work=self._active + self._queue.qsize())
                    for task in tasks:
                        task.cancel()
            except BaseExceptionGroup as several:
                raise cause_of(several) from None
        log.info("stopped", **self.ended)

    def _open_tools(self, stack: AsyncExitStack) -> tuple[Renderer, inbox.Watcher]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
            stack.callback(loop.remove_signal_handler, number)
        for flow in self._flows:
            left = flow.open()
            stack.callback(flow.spool.close)
            for job in left:
                self._enqueue(flow, job)
            if left:
                flow.log.info("recovered", jobs=len(left))
        settings = self._config.render
        renderer = Renderer(settings.count, Limits(settings.page_timeout, settings.memory))
        stack.push_async_callback(renderer.close)
        stack.push_async_callback(self._engine.close)
        watcher = inbox.Watcher(partial(loop.call_soon_threadsafe, self._wake_all))
        stack.callback(watcher.close)
        return renderer, watcher

    def _wake_all(self) -> None:
        for flow in self._flows:
            flow.wake.set()

    async def _look_out(self, flow: Flow, renderer: Renderer, watcher: inbox.Watcher) -> None:
        """Scan one inbox whenever there may be news, and put what has settled into the batch."""
        rescan = self._config.settle.rescan
        try:
            await asyncio.to_thread(watcher.watch, flow.watch.inbox)
        except MachineError as error:
            rescan = min(rescan, RETRY_SECONDS)
            flow.log.warning("no events from this inbox, so it is polled", what=error.what, every=rescan)
        while True:
            flow.wake.clear()
            flow.idle = False
            try:
                found = await asyncio.to_thread(inbox.scan, flow.watch.inbox)
            except MachineError as error:
                self._fault(flow, "scan", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            flow.cured("scan")
            flow.left_alone(found.odd)
            news = flow.tracker.observe(found.files, time.monotonic())
            counts = await asyncio.gather(*(renderer.count_pages(settled.path) for settled in news))
            for settled, pages in zip(news, counts, strict=True):
                self._batch.add((flow, settled), pages, time.monotonic())
                self._admit.set()
            flow.idle = not flow.tracker.settling
            self._end_if_idle()
            await _until(flow.wake, flow.tracker.next_due(), longest=rescan)
            await asyncio.sleep(_LEAST_SCAN_GAP)

    async def _admission(self) -> None:
        """Close batches, and claim what is in them."""
        while True:
            await _until(self._admit, self._batch.due())
            self._admit.clear()
            taken = self._batch.take(time.monotonic())
            self._claiming = bool(taken)
            if taken:
                log.info("batch", sources=len(taken), in_work=self._active + self._queue.qsize())
            for flow, settled in taken:
                await self._claim(flow, settled)
            self._claiming = False
            self._end_if_idle()

    async def _claim(self, flow: Flow, settled: Settled) -> None:
        try:
            job = None if flow.paused(but_for="claim") else await durably(flow.spool.claim, settled)
        except MachineError as error:
            self._fault(flow, "claim", error)
            job = None
        if job is None:  # gone, changed, or not now: if it is there it settles anew
            flow.tracker.forget(settled.path)
            flow.idle = False
            flow.wake.set()
            return
        flow.cured("claim")
        flow.log.info("accepted", source=shown(job.record.name), job=job.id)
        self._enqueue(flow, job)

    def _enqueue(self, flow: Flow, job: Job) -> None:
        self._queue.put_nowait((job.record.attempts, next(self._number), flow, job))

    async def _work(self, group: asyncio.TaskGroup, renderer: Renderer) -> None:
        """Start the engine, then run jobs as they come."""
        log.info("engine starting", kind=self._config.engine.kind)
        await self._engine.start()
        info = self._engine.info
        log.info("ready", engine=info.kind, model=info.model, version=info.version, watches=len(self._flows))
        service.notify(service.READY)
        window = Window(self._engine.window + 2 * renderer.workers)  # the next pages render while these are read
        tools = Tools(self._engine, renderer, window, self._config.max_attempts, self._progress)
        places = asyncio.Semaphore(_JOBS_AT_ONCE)
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                await places.acquire()
                _, _, flow, job = await self._queue.get()
                self._active += 1
                task = group.create_task(self._run(flow, job, tools))
                running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(lambda _: places.release())
        finally:
            for task in running:
                task.cancel()

    async def _run(self, flow: Flow, job: Job, tools: Tools) -> None:
        """Bring one job to its end, through whatever the machine does meanwhile."""
        began = time.monotonic()
        try:
            while (outcome := await self._attempt(flow, job, tools)) is None:
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._active -= 1
            self._progress.ended(job.record.name)
        self.ended[outcome.kind] += 1
        _tell(flow, job, outcome, time.monotonic() - began)
        self._end_if_idle()

    async def _attempt(self, flow: Flow, job: Job, tools: Tools) -> Outcome | None:
        try:
            outcome = await run_job(job, flow.watch, flow.spool, tools)
        except MachineError as error:
            self._fault(flow, job.id, error)
            return None
        except EngineError:
            raise
        except Exception as error:  # a defect of ours must not stop the daemon, nor lose the source
            flow.log.exception("defect", source=shown(job.record.name), job=job.id)
            sorry = DocumentError(
                f"ocrd itself failed on this file: {type(error).__name__}: {error}.", "Please report it, with the log."
            )
            with suppress(MachineError):
                await durably(job.update, refusal=refusal_of(sorry))
            return None
        flow.cured(job.id)
        return outcome

    def _fault(self, flow: Flow, step: str, error: MachineError) -> None:
        if self._once:
            raise error
        flow.fault(step, error)

    def _end_if_idle(self) -> None:
        busy = self._claiming or self._active or len(self._batch) or not self._queue.empty()
        if self._once and not busy and all(flow.idle for flow in self._flows):
            self.stop()


def _tell(flow: Flow, job: Job, outcome: Outcome, seconds: float) -> None:
    """Write the one line that tells all of a document."""
    facts: dict[str, object] = {"source": shown(job.record.name), "job": job.id, "seconds": round(seconds, 2)}
    if outcome.document:
        verdicts = Counter(str(page.verdict) for page in outcome.document.pages)
        facts |= {"pages": len(outcome.document.pages), "status": outcome.document.status, **verdicts}
    if outcome.reason:
        facts["reason"] = outcome.reason
    level = flow.log.info if outcome.kind == "delivered" else flow.log.warning
    level(outcome.kind, path=shown(outcome.path), **facts)


async def _until(event: asyncio.Event, due: float | None, longest: float | None = None) -> None:
    """Wait for the event, or until `due` on the monotonic clock, at most `longest` seconds."""
    waits = [] if longest is None else [longest]
    if due is not None:
        waits.append(max(0.0, due - time.monotonic()))
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), min(waits, default=None))
