"""The daemon's life: start, recover, watch, admit, work, reload, stop. `Daemon.run` is the main path.

Each watch runs by itself, in a compartment of its own (`watch_runner.py`): a task that looks through the inbox, one
that claims (`admission.py`), and one for each job in work (`job_queue.py`). What all share are the engine, the render
workers, and a window of pages. Beside them run one task that reloads (`reload.py`), and one that tells the world how
things stand (`health.py`).
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
from ocrd.concurrency.threads import Threads
from ocrd.concurrency.worker_pool import Limits
from ocrd.config.schema import Config
from ocrd.config.watch import Watch
from ocrd.daemon import reload
from ocrd.daemon.health import Health
from ocrd.daemon.watch_runner import WatchRunner
from ocrd.engines.base import Engine
from ocrd.engines.instrumented import InstrumentedEngine
from ocrd.engines.patience import end_when_away
from ocrd.errors import ConfigError, MachineError, cause_of
from ocrd.pipeline.document import Progress, Tools
from ocrd.rendering.renderer import Renderer
from ocrd.storage.roles import Roles
from ocrd.telemetry import event_log, sd_notify
from ocrd.telemetry.events import Ended, EngineReady, Event, Events, HookEnded

log = structlog.get_logger("ocrd")

_LET_GO = 5.0
"""Seconds at the end in which steps on disks may still come to theirs; those that hang are then left behind."""


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
        self._progress = progress
        self._engine = InstrumentedEngine(engine)
        self.events = Events(event_log.write)
        """What happens, for whoever wants to listen before `run`."""
        self._roles = Roles()
        self.ended = Counter[str]()
        """Jobs ended so far, by the outcome's kind; of hooks those that failed or were left for the next start."""
        self.events.listen(self._count)
        self._runners = [self._runner(watch, config) for watch in config.watches]
        manager = manager or sd_notify.Manager()
        self._health = Health(
            config, self._engine, self._runners, self.events, manager=manager, status_file=status_file
        )
        self._reloader = reload.Reloader(config, self._runners, self._runner, self._health.configured)
        self._tools: Tools | None = None
        self._ready = asyncio.Event()
        self._hangup = asyncio.Event()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    def stop(self) -> None:
        """Ask for a clean end: pages in flight are finished, the rest goes on at the next start. Twice: at once."""
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    async def run(self) -> None:
        """Run until stopped. Raises ConfigError, SpoolError, EngineError; with `once` any MachineError."""
        async with AsyncExitStack() as stack:
            self._answer_signals(stack)
            stack.push_async_callback(self._release)
            renderer = self._open_renderer(stack)
            stack.push_async_callback(self._health.close)
            stack.callback(await self._health.serve())
            try:
                async with asyncio.TaskGroup() as group:
                    await self._live(group, renderer)
            except BaseExceptionGroup as several:
                error = cause_of(several)
                self._health.failed(error)
                raise error from None
            self._health.stopped()
        log.info("stopped", **self.ended)

    async def _live(self, group: asyncio.TaskGroup, renderer: Renderer) -> None:
        """Start all that runs beside each other, as tasks of the group, and end it when that is asked for."""

        def begin(runner: WatchRunner, before: list[WatchRunner]) -> None:
            if self._ready.is_set():  # a reload brought it
                runner.may_wait.set()
            runner.task = group.create_task(runner.run(group, renderer.count_pages, self._tools_in_time, before))

        telling = group.create_task(self._health.run())
        for runner in self._runners:
            begin(runner, [])
        tasks = [
            group.create_task(self._start(renderer)),
            group.create_task(self._reload_on_request(begin)),
        ]
        if self._once:
            tasks.append(group.create_task(end_when_away(self._engine)))
        try:
            await self._stop.wait()
            await self._drain(tasks)
            telling.cancel()
        finally:
            asyncio.get_running_loop().call_later(_LET_GO, self._abandon)

    def _answer_signals(self, stack: AsyncExitStack) -> None:
        loop = asyncio.get_running_loop()
        signals = dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), self.stop)
        if self._reread:
            signals[signal.SIGHUP] = self._hangup.set
        for number, answer in signals.items():
            loop.add_signal_handler(number, answer)
            stack.callback(loop.remove_signal_handler, number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # one that came before is answered now

    def _open_renderer(self, stack: AsyncExitStack) -> Renderer:
        settings = self._config.render
        renderer = Renderer(settings.count, Limits(settings.page_timeout, settings.memory), settings.images)
        stack.push_async_callback(renderer.close)
        stack.push_async_callback(self._engine.close)
        return renderer

    def _runner(self, watch: Watch, config: Config) -> WatchRunner:
        return WatchRunner(
            watch, config, self.events, self._roles, progress=self._progress, idle=self._end_if_idle, once=self._once
        )

    async def _start(self, renderer: Renderer) -> None:
        """Start the engine, and say that we are ready once it answers. Raises SpoolError, EngineError, ConfigError."""
        await asyncio.gather(*(runner.its.known.wait() for runner in self._runners))
        locks = [runner.locked_out for runner in self._runners if runner.locked_out]
        if len(locks) == len(self._runners):  # another ocrd has all of our folders
            raise locks[0]
        for runner in self._runners:
            runner.may_wait.set()
        began = time.monotonic()
        log.info("engine starting", kind=self._config.engine.kind)
        await self._engine.start()
        info = self._engine.info
        self.events.tell(EngineReady(info.kind, info.model, info.version, time.monotonic() - began))
        window = Window(self._engine.window + 2 * renderer.workers)  # the next pages render while these are read
        self._tools = Tools(self._engine, renderer, window, max_attempts=self._config.max_attempts)
        await self._health.ready()
        self._ready.set()
        log.info("ready", engine=info.kind, model=info.model, version=info.version, watches=len(self._runners))

    async def _tools_in_time(self) -> Tools:
        """Wait until the engine answers, and return what documents are read with."""
        await self._ready.wait()
        if self._tools is None:
            raise AssertionError
        return self._tools

    def _count(self, event: Event) -> None:
        if isinstance(event, Ended):
            self.ended[event.kind] += 1
        elif isinstance(event, HookEnded) and event.outcome != "done":
            self.ended[f"hook {event.outcome}"] += 1

    def _end_if_idle(self) -> None:
        if self._once and not any(runner.busy for runner in self._runners):
            self.stop()

    @property
    def _everyone(self) -> list[WatchRunner]:
        """All watches at work, also those that no longer stand in the configuration."""
        return [*self._runners, *self._reloader.leaving]

    async def _drain(self, tasks: list[asyncio.Task[None]]) -> None:
        """Take nothing new, finish the pages that are in flight, and leave the rest for the next start."""
        self._health.stopping()
        limit, began = self._config.service.drain, time.monotonic()
        in_work = sum(runner.jobs.in_work for runner in self._everyone)
        log.info("stopping", in_work=in_work, in_flight=self._engine.inside)
        for task in (*tasks, *(runner.task for runner in self._everyone)):
            if task:
                task.cancel()
        if self._tools:
            self._tools.window.close()
        await asyncio.gather(*(runner.jobs.drain(self._hurry, limit) for runner in self._everyone))
        left = max(0.0, began + limit - time.monotonic())
        await asyncio.gather(*(runner.hooks.close(left) for runner in self._everyone))

    def _abandon(self) -> None:
        for runner in self._everyone:
            runner.abandon()

    async def _release(self) -> None:
        """Give the folders free. Where that hangs, the end of this process does it."""
        releases = [asyncio.create_task(runner.release()) for runner in self._everyone]
        await asyncio.wait(releases, timeout=_LET_GO)
        self._abandon()
        for release in releases:
            release.cancel()
        await asyncio.gather(*releases, return_exceptions=True)

    async def _reload_on_request(self, begin: Callable[[WatchRunner, list[WatchRunner]], None]) -> None:
        """Read the configuration again whenever SIGHUP asks for it. A bad file changes nothing."""
        disk = Threads(most=1)
        await self._ready.wait()
        while self._reread:
            await self._hangup.wait()
            self._hangup.clear()
            self._health.reloading()
            try:
                fresh = await disk.run(self._reread)
                self._config = self._reloader.apply(fresh, begin)
            except (ConfigError, MachineError) as error:
                log.error("reload refused", what=error.what, remedy=f"{error.remedy} What ran before runs on.")  # noqa: TRY400 - the two sentences tell all
            except Exception:  # a defect of ours must not stop what runs
                log.exception("defect")
            self._health.reloaded()
