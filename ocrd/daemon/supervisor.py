"""The daemon's life: start, recover, watch, admit, reload, stop.

These tasks run beside each other: one look-out for each inbox, one admission that closes batches and claims, one runner
for each job in work, one that reloads, and the pulse (`pulse.py`), which tells the world how things stand.
A fault of the machine pauses the watch that it concerns and nothing else.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import structlog

from ocrd.concurrency.fair_window import Window
from ocrd.concurrency.threads import durably
from ocrd.concurrency.worker_pool import Limits
from ocrd.config.schema import Config
from ocrd.daemon import reload
from ocrd.daemon.batching import Batch, BatchPolicy
from ocrd.daemon.health import Pulse
from ocrd.daemon.hooks import Hooks
from ocrd.daemon.pause import CLAIM, RETRY_SECONDS
from ocrd.daemon.watch_runner import Flow
from ocrd.display import shown
from ocrd.engines.base import Engine
from ocrd.engines.instrumented import Attended
from ocrd.errors import ConfigError, DocumentError, EngineError, MachineError, cause_of
from ocrd.model import PageResult, Settled
from ocrd.pipeline.document import Interrupted, Progress, Tools
from ocrd.pipeline.job_runner import Outcome, run_job
from ocrd.pipeline.rerun import run_rerun
from ocrd.rendering.renderer import Renderer
from ocrd.storage.job import Job, refusal_of
from ocrd.storage.os_errors import machine_faults
from ocrd.telemetry import event_log, logs, sd_notify
from ocrd.telemetry.events import Accepted, Ended, EngineReady, Events, Opened, PageDone, WatchRemoved

log = structlog.get_logger("ocrd")

_JOBS_AT_ONCE = 1024
"""Jobs that have been opened at the same time; the others wait in their folders. Far above any engine's window."""
_LOOKS_AT_ONCE = 64
"""Files that have settled whose pages are counted at the same time."""


class _Report(Progress):
    """Tells how one job gets on, to all that listen and to the progress bars."""

    def __init__(self, flow: Flow, job: Job, events: Events, onward: Progress) -> None:
        self._who = (flow.watch.name, job.id, job.record.name)
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


class Daemon:
    """Owns everything that runs. One `run` in one event loop."""

    def __init__(  # noqa: PLR0913 - what it works with, and who wants to know of it
        self,
        config: Config,
        engine: Engine,
        *,
        once: bool = False,
        progress: Progress | None = None,
        manager: sd_notify.Manager | None = None,
        reread: Callable[[], Config] | None = None,
        status_file: Path | None = None,
    ) -> None:
        """Prepare. With `once`, `run` ends when the inboxes are worked off, and a fault of the machine ends it too.

        `reread` reads the configuration again when SIGHUP asks for it; it raises ConfigError. Without it, SIGHUP ends
        the run. `status_file` is where `ocrd status` finds how things stand.
        """
        self._config = config
        self._engine = Attended(engine)
        self._once = once
        self._progress = progress or Progress()
        self._reread = reread
        self.events = Events(event_log.write)
        """What happens, for whoever wants to listen before `run`."""
        self._flows = [Flow(watch, config.settle, self.events, once=once) for watch in config.watches]
        self._pulse = Pulse(
            config,
            self._engine,
            self._flows,
            self.events,
            manager=manager or sd_notify.Manager(),
            status_file=status_file,
        )
        self._hooks = Hooks(config)
        self.events.listen(self._hooks.hear)
        self._leaving: list[Flow] = []
        self._batch: Batch[tuple[Flow, Settled]] = Batch(_policy(config, once=once))
        self._admit = asyncio.Event()
        self._queue: asyncio.PriorityQueue[tuple[int, int, Flow, Job]] = asyncio.PriorityQueue()
        self._number = count()
        self._claiming = False
        self._active = 0
        self._running: set[asyncio.Task[None]] = set()
        self._window: Window | None = None
        self._ready = asyncio.Event()
        self._announcing: asyncio.Task[None] | None = None
        self._hangup = asyncio.Event()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self.ended: Counter[str] = Counter()
        """Jobs ended so far, by the outcome's kind."""

    def stop(self) -> None:
        """Ask for a clean end: pages in flight are finished, the rest goes on at the next start. Twice: at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()
        for flow in self._flows:
            flow.pause.try_now()

    async def run(self) -> None:
        """Run until stopped. Raises ConfigError, SpoolError, EngineError; with `once` any MachineError."""
        async with AsyncExitStack() as stack:
            renderer = self._open_tools(stack)
            stack.callback(self._pulse.write_status)
            stack.callback(self._pulse.serve_metrics())
            try:
                async with asyncio.TaskGroup() as group:
                    ending = group.create_task(self._stop.wait())
                    telling = group.create_task(self._pulse.run())
                    tasks = [
                        group.create_task(self._work(group, renderer)),
                        group.create_task(self._admission()),
                        group.create_task(self._reloading(group, renderer)),
                    ]
                    for flow in self._flows:
                        flow.look_out = group.create_task(self._look_out(flow, renderer))
                    await ending
                    await self._drain(tasks)
                    telling.cancel()
            except BaseExceptionGroup as several:
                error = cause_of(several)
                self._pulse.failed(error)
                raise error from None
            self._pulse.stopped()
        log.info("stopped", **self.ended)

    def _open_tools(self, stack: AsyncExitStack) -> Renderer:
        loop = asyncio.get_running_loop()
        signals = dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), self.stop)
        if self._reread:
            signals[signal.SIGHUP] = self._hangup.set
        for number, answer in signals.items():
            loop.add_signal_handler(number, answer)
            stack.callback(loop.remove_signal_handler, number)
        stack.callback(self._release_folders)
        for flow in self._flows:
            self._recover(flow)
        settings = self._config.render
        renderer = Renderer(settings.count, Limits(settings.page_timeout, settings.memory), settings.images)
        stack.push_async_callback(renderer.close)
        stack.push_async_callback(self._engine.close)
        return renderer

    def _release_folders(self) -> None:
        for flow in (*self._flows, *self._leaving):
            flow.inbox.close()
            flow.spool.close()

    def _recover(self, flow: Flow) -> None:
        """Take a watch's folders, and queue what the last run left in work. Raises MachineError."""
        left = flow.open()
        for job in left:
            self._enqueue(flow, job, recovered=True)
        if left:
            flow.log.info("recovered", jobs=len(left))

    async def _look_out(self, flow: Flow, renderer: Renderer) -> None:
        """Look into one inbox whenever there may be news, and put what is complete into the batch."""
        inbox = flow.inbox
        while True:
            flow.wake.clear()
            flow.idle = False
            try:
                news = await flow.look()
                for job in await durably(flow.spool.adopt):
                    self._enqueue(flow, job, recovered=True)
            except MachineError as error:
                self._fault(flow, "scan", error)
                inbox.was_away()
                flow.looked.set()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            flow.cured("scan")
            flow.looked.set()
            for some in range(0, len(news), _LOOKS_AT_ONCE):  # the first of many need not wait for the last
                looks = (inbox.examine(settled, renderer.count_pages) for settled in news[some : some + _LOOKS_AT_ONCE])
                for complete in await asyncio.gather(*map(flow.moved, looks)):
                    if complete:
                        settled, pages = complete
                        self._batch.add((flow, settled), pages, time.monotonic())
                        self._admit.set()
            flow.idle = not inbox.tracker.settling
            self._end_if_idle()
            await _until(flow.wake, inbox.tracker.next_due(), longest=inbox.every)
            await asyncio.sleep(inbox.gap)

    async def _admission(self) -> None:
        """Close batches, and claim what is in them; what can't be claimed now stays on the list."""
        taken: list[tuple[Flow, Settled]] = []
        while True:
            await _until(self._admit, self._batch.due(), longest=RETRY_SECONDS if taken else None)
            self._admit.clear()
            news = self._batch.take(time.monotonic())
            if news:
                log.info("batch", sources=len(news), in_work=self._active + self._queue.qsize())
            taken += news
            self._claiming = bool(taken)
            taken = await self._claim_all(taken)
            self._claiming = bool(taken)
            self._end_if_idle()

    async def _claim_all(self, taken: list[tuple[Flow, Settled]]) -> list[tuple[Flow, Settled]]:
        """Claim what can be claimed, and return the rest: a failed claim holds up its watch, and goes to the end."""
        held: set[Flow] = set()
        waiting, failed = [], []
        for flow, settled in taken:
            if flow in held:
                waiting.append((flow, settled))
            elif not await self._claim(flow, settled):
                held.add(flow)
                failed.append((flow, settled))
        return waiting + failed

    async def _claim(self, flow: Flow, settled: Settled) -> bool:
        """Claim one source, unless the machine does not let us now; then it returns False."""
        if flow.leaving:
            return True
        if flow.pause.holds_intake:
            return False
        try:
            job = None if flow.outdated(settled) else await durably(flow.claim, settled)
        except MachineError as error:
            self._fault(flow, CLAIM, error)
            return False
        except DocumentError as error:
            flow.log.warning("left alone", source=shown(settled.path), reason=error.what, remedy=error.remedy)
            return True
        flow.cured(CLAIM)
        if job is None:  # gone or changed: if it is there it settles anew
            flow.inbox.tracker.forget(settled.path)
            flow.idle = False
            flow.wake.set()
            return True
        self._enqueue(flow, job, seen=flow.seen_at(settled))
        return True

    def _enqueue(self, flow: Flow, job: Job, *, recovered: bool = False, seen: float | None = None) -> None:
        flow.jobs[job.id] = seen or job.claimed
        self.events.tell(Accepted(flow.watch.name, job.id, job.record.name, recovered=recovered))
        self._queue.put_nowait((job.record.attempts, next(self._number), flow, job))

    async def _work(self, group: asyncio.TaskGroup, renderer: Renderer) -> None:
        """Start the engine, then run jobs as they come."""
        began = time.monotonic()
        log.info("engine starting", kind=self._config.engine.kind)
        await self._engine.start()
        info = self._engine.info
        self.events.tell(EngineReady(info.kind, info.model, info.version, time.monotonic() - began))
        self._announcing = group.create_task(self._announce())
        self._window = Window(self._engine.window + 2 * renderer.workers)  # the next pages render while these are read
        tools = Tools(self._engine, renderer, self._window, self._config.max_attempts)
        places = asyncio.Semaphore(_JOBS_AT_ONCE)
        while True:
            await places.acquire()
            _, _, flow, job = await self._queue.get()
            self._active += 1
            report = _Report(flow, job, self.events, self._progress)
            task = group.create_task(self._run(flow, job, replace(tools, progress=report)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            task.add_done_callback(lambda _: places.release())

    async def _announce(self) -> None:
        """Say that we are ready, once the engine answers and every inbox has been looked into."""
        await asyncio.gather(*(flow.looked.wait() for flow in self._flows))
        info = self._engine.info
        log.info("ready", engine=info.kind, model=info.model, version=info.version, watches=len(self._flows))
        self._pulse.ready()
        self._ready.set()

    async def _run(self, flow: Flow, job: Job, tools: Tools) -> None:
        """Bring one job to its end, through whatever the machine does meanwhile."""
        began = time.monotonic()
        try:
            while (outcome := await self._attempt(flow, job, tools)) is None:
                if not self._stop.is_set():
                    await flow.pause.worth_a_try(job.id)
                if self._stop.is_set():
                    return
        except Interrupted:
            return
        finally:
            self._active -= 1
            seen = flow.jobs.pop(job.id)
            flow.release()
            self._progress.ended(job.record.name)
        self.ended[outcome.kind] += 1
        self.events.tell(_ended(job, outcome, time.monotonic() - began, max(0.0, time.time() - seen)))
        self._end_if_idle()

    async def _attempt(self, flow: Flow, job: Job, tools: Tools) -> Outcome | None:
        try:
            with machine_faults("work on", job.source):
                run = run_rerun if job.record.rerun else run_job
                outcome = await run(job, flow.watch, flow.spool, tools)
        except MachineError as error:
            self._fault(flow, job.id, error)
            return None
        except (EngineError, Interrupted):
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

    # -- stop -----------------------------------------------------------------------------------------------------

    async def _drain(self, tasks: list[asyncio.Task[None]]) -> None:
        """Take nothing new, finish the pages that are in flight, and leave the rest for the next start."""
        self._pulse.stopping()
        limit, began = self._config.service.drain, time.monotonic()
        log.info("stopping", in_work=self._active + self._queue.qsize(), in_flight=self._engine.inside)
        for task in (*tasks, self._announcing, *(flow.look_out for flow in self._flows)):
            if task:
                task.cancel()
        if self._window:
            self._window.close()
        for flow in (*self._flows, *self._leaving):
            flow.pause.try_now()  # nobody is to sleep through the end
        hurry = asyncio.create_task(self._hurry.wait())
        ends = asyncio.create_task(_all_done(self._running))
        await asyncio.wait({hurry, ends}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        ends.cancel()
        if self._running:
            log.warning("pages in flight are given up, and read again at the next start", after=limit)
        for task in self._running:
            task.cancel()
        await self._hooks.close(max(0.0, began + limit - time.monotonic()))

    # -- reload ---------------------------------------------------------------------------------------------------

    async def _reloading(self, group: asyncio.TaskGroup, renderer: Renderer) -> None:
        """Read the configuration again whenever SIGHUP asks for it. A bad file changes nothing."""
        await self._ready.wait()
        while self._reread:
            await self._hangup.wait()
            self._hangup.clear()
            self._pulse.reloading()
            try:
                fresh = await asyncio.to_thread(self._reread)
            except ConfigError as error:
                log.error("reload refused", what=error.what, remedy=f"{error.remedy} What ran before runs on.")  # noqa: TRY400 - the two sentences tell all
            else:
                self._apply(fresh, partial(self._begin, group, renderer))
            self._pulse.reloaded()

    def _apply(self, fresh: Config, begin: Callable[[Flow], None]) -> None:
        """Go over to another configuration without touching the pages in flight."""
        change = reload.compare(self._config, fresh)
        known = {flow.watch.name: flow for flow in self._flows}
        self._config = reload.in_force(self._config, fresh)
        self._batch.policy = _policy(fresh, once=self._once)
        logs.set_level(fresh.log.level)
        for flow in self._flows:
            flow.inbox.settle(fresh.settle)
        for watch in change.altered:
            known[watch.name].watch = watch  # jobs in work end by the old one, the next by this
            known[watch.name].inbox.choose(watch.include, watch.exclude, watch.join)
        for name in (*change.removed, *(watch.name for watch in change.moved)):
            self._end(known[name])
        for watch in (*change.added, *change.moved):
            begin(Flow(watch, fresh.settle, self.events))
        self._pulse.configured(self._config)
        self._hooks.configured(self._config)
        log.info("reloaded", **change.told)
        if change.unheeded:
            log.warning("some settings count only after a restart", settings=", ".join(change.unheeded))

    def _begin(self, group: asyncio.TaskGroup, renderer: Renderer, flow: Flow) -> None:
        """Start a watch that a reload brought; those that leave the same work folder end their work first."""
        before = [other for other in self._leaving if other.watch.work_folder == flow.watch.work_folder]

        async def begin() -> None:
            for other in before:
                await other.gone.wait()
            while True:
                try:
                    self._recover(flow)
                    break
                except MachineError as error:
                    flow.fault("open", error)
                    await asyncio.sleep(RETRY_SECONDS)
            flow.cured("open")
            await self._look_out(flow, renderer)

        self._flows.append(flow)
        flow.look_out = group.create_task(begin())

    def _end(self, flow: Flow) -> None:
        """Stop looking after a watch; what was claimed from it is still brought to its end."""
        self._flows.remove(flow)
        self._leaving = [other for other in (*self._leaving, flow) if not other.gone.is_set()]
        flow.leaving = True
        if flow.look_out:
            flow.look_out.cancel()
        flow.inbox.close()
        self.events.tell(WatchRemoved(flow.watch.name))
        flow.release()


def _policy(config: Config, *, once: bool) -> BatchPolicy:
    return BatchPolicy(0.0 if once else config.batch.quiet, config.batch.max_wait, config.batch.max_pages)


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
        pages=len(document.pages) if document else None,
        status=document.status if document else "",
        verdicts=Counter(str(page.verdict) for page in document.pages) if document else {},
        reason=outcome.reason,
    )


async def _all_done(tasks: set[asyncio.Task[None]]) -> None:
    if tasks:
        await asyncio.wait(set(tasks))


async def _until(event: asyncio.Event, due: float | None, longest: float | None = None) -> None:
    """Wait for the event, or until `due` on the monotonic clock, at most `longest` seconds."""
    waits = [] if longest is None else [longest]
    if due is not None:
        waits.append(max(0.0, due - time.monotonic()))
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), min(waits, default=None))
