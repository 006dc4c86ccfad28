"""The daemon's life: start, recover, watch, admit, work, reload, stop. `Daemon.run` is the main path.

These tasks run beside each other: one scan for each inbox (`admission.py`), one admission that closes batches and
claims, one task for each job in work (`job_queue.py`), one that reloads (`reload.py`), and one that tells the world how
things stand (`health.py`). A fault of the machine pauses the watch that it concerns and nothing else.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from ocrd.concurrency.fair_window import Window
from ocrd.concurrency.worker_pool import Limits
from ocrd.config.schema import Config
from ocrd.daemon import pause, reload
from ocrd.daemon.admission import Admission
from ocrd.daemon.health import Health
from ocrd.daemon.hooks import Hooks
from ocrd.daemon.job_queue import JobQueue
from ocrd.daemon.watch_runner import WatchRunner
from ocrd.engines.base import Engine
from ocrd.engines.instrumented import InstrumentedEngine
from ocrd.errors import ConfigError, MachineError, cause_of
from ocrd.pipeline.document import Progress, Tools
from ocrd.rendering.renderer import Renderer
from ocrd.telemetry import event_log, sd_notify
from ocrd.telemetry.events import EngineReady, Events

log = structlog.get_logger("ocrd")


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
        self._once = once
        self._reread = reread
        self._engine = InstrumentedEngine(engine)
        self.events = Events(event_log.write)
        """What happens, for whoever wants to listen before `run`."""
        self._runners = [WatchRunner(watch, config.settle, self.events, once=once) for watch in config.watches]
        self._jobs = JobQueue(self.events, progress or Progress(), self._end_if_idle)
        self._admission = Admission(config, self._jobs, self._end_if_idle, once=once)
        manager = manager or sd_notify.Manager()
        self._health = Health(
            config, self._engine, self._runners, self.events, manager=manager, status_file=status_file
        )
        self._hooks = Hooks(config)
        self.events.listen(self._hooks.hear)
        listeners = (self._admission.configured, self._health.configured, self._hooks.configured)
        self._reloader = reload.Reloader(config, self._runners, self.events, listeners)
        self._window: Window | None = None
        self._announcing: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._hangup = asyncio.Event()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    @property
    def ended(self) -> Counter[str]:
        """Jobs ended so far, by the outcome's kind."""
        return self._jobs.ended

    def stop(self) -> None:
        """Ask for a clean end: pages in flight are finished, the rest goes on at the next start. Twice: at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()
        self._jobs.stop()
        for runner in self._runners:
            runner.pause.try_now()

    async def run(self) -> None:
        """Run until stopped. Raises ConfigError, SpoolError, EngineError; with `once` any MachineError."""
        async with AsyncExitStack() as stack:
            renderer = self._open_tools(stack)
            stack.callback(self._health.write_status)
            stack.callback(self._health.serve_metrics())
            try:
                async with asyncio.TaskGroup() as group:
                    ending = group.create_task(self._stop.wait())
                    telling = group.create_task(self._health.run())
                    tasks = [
                        group.create_task(self._work(group, renderer)),
                        group.create_task(self._admission.run()),
                        group.create_task(self._reload_on_request(group, renderer)),
                    ]
                    for runner in self._runners:
                        runner.look_out = group.create_task(self._admission.scan(runner, renderer.count_pages))
                        runner.upkeep = group.create_task(runner.keep_ledger())
                    await ending
                    await self._drain(tasks)
                    telling.cancel()
            except BaseExceptionGroup as several:
                error = cause_of(several)
                self._health.failed(error)
                raise error from None
            self._health.stopped()
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
        for runner in self._runners:
            self._recover(runner)
        settings = self._config.render
        renderer = Renderer(settings.count, Limits(settings.page_timeout, settings.memory), settings.images)
        stack.push_async_callback(renderer.close)
        stack.push_async_callback(self._engine.close)
        return renderer

    def _release_folders(self) -> None:
        for runner in (*self._runners, *self._reloader.leaving):
            runner.inbox.close()
            runner.spool.close()

    def _recover(self, runner: WatchRunner) -> None:
        """Take a watch's folders, and queue what the last run left in work. Raises MachineError."""
        left = runner.open()
        for job in left:
            self._jobs.add(runner, job, recovered=True)
        if left:
            runner.log.info("recovered", jobs=len(left))

    async def _work(self, group: asyncio.TaskGroup, renderer: Renderer) -> None:
        """Start the engine, then run jobs as they come."""
        began = time.monotonic()
        log.info("engine starting", kind=self._config.engine.kind)
        await self._engine.start()
        info = self._engine.info
        self.events.tell(EngineReady(info.kind, info.model, info.version, time.monotonic() - began))
        self._announcing = group.create_task(self._announce())
        self._window = Window(self._engine.window + 2 * renderer.workers)  # the next pages render while these are read
        await self._jobs.run(group, Tools(self._engine, renderer, self._window, self._config.max_attempts))

    async def _announce(self) -> None:
        """Say that we are ready, once the engine answers and every inbox has been looked into."""
        await asyncio.gather(*(runner.looked.wait() for runner in self._runners))
        info = self._engine.info
        log.info("ready", engine=info.kind, model=info.model, version=info.version, watches=len(self._runners))
        self._health.ready()
        self._ready.set()

    def _end_if_idle(self) -> None:
        busy = self._admission.busy or self._jobs.in_work
        if self._once and not busy and all(runner.idle for runner in self._runners):
            self.stop()

    async def _drain(self, tasks: list[asyncio.Task[None]]) -> None:
        """Take nothing new, finish the pages that are in flight, and leave the rest for the next start."""
        self._health.stopping()
        limit, began = self._config.service.drain, time.monotonic()
        log.info("stopping", in_work=self._jobs.in_work, in_flight=self._engine.inside)
        of_runners = (task for runner in self._runners for task in (runner.look_out, runner.upkeep))
        for task in (*tasks, self._announcing, *of_runners):
            if task:
                task.cancel()
        if self._window:
            self._window.close()
        for runner in (*self._runners, *self._reloader.leaving):
            runner.pause.try_now()  # nobody is to sleep through the end
        await self._jobs.drain(self._hurry, limit)
        await self._hooks.close(max(0.0, began + limit - time.monotonic()))

    async def _reload_on_request(self, group: asyncio.TaskGroup, renderer: Renderer) -> None:
        """Read the configuration again whenever SIGHUP asks for it. A bad file changes nothing."""

        def begin(runner: WatchRunner, before: list[WatchRunner]) -> None:
            runner.look_out = group.create_task(self._begin(group, runner, before, renderer))

        await self._ready.wait()
        while self._reread:
            await self._hangup.wait()
            self._hangup.clear()
            self._health.reloading()
            try:
                fresh = await asyncio.to_thread(self._reread)
            except ConfigError as error:
                log.error("reload refused", what=error.what, remedy=f"{error.remedy} What ran before runs on.")  # noqa: TRY400 - the two sentences tell all
            else:
                self._reloader.apply(fresh, begin)
                self._config = self._reloader.config
            self._health.reloaded()

    async def _begin(
        self, group: asyncio.TaskGroup, runner: WatchRunner, before: list[WatchRunner], renderer: Renderer
    ) -> None:
        """Start a watch that a reload brought, once those `before` it have left its work folder. Never returns."""
        await reload.gone(before)
        while True:
            try:
                self._recover(runner)
                break
            except MachineError as error:
                runner.fault("open", error)
                await asyncio.sleep(pause.RETRY_SECONDS)
        runner.cured("open")
        runner.upkeep = group.create_task(runner.keep_ledger())
        await self._admission.scan(runner, renderer.count_pages)
