"""What the daemon tells the world of itself: heartbeat and status line to systemd, the status file, the metrics.

A look at how things stand, about once a second. The heart beats only while all that must move does.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from ocrd.concurrency.threads import Threads
from ocrd.config import secret_file
from ocrd.config.schema import Config
from ocrd.daemon.watch_runner import WatchRunner
from ocrd.display import counted
from ocrd.engines.instrumented import InstrumentedEngine
from ocrd.errors import MachineError
from ocrd.intake.inbox import rescan
from ocrd.output import result_names
from ocrd.telemetry import log_throttle, sd_notify, status, status_board, status_file
from ocrd.telemetry.events import EngineRestarted, Events
from ocrd.telemetry.sd_notify import Manager
from ocrd.telemetry.trend import Trend

log = structlog.get_logger("ocrd")

EVERY = 1.0
"""Seconds between two looks at how things stand."""
LOOK_SECONDS = 300.0
"""That one look through an inbox may take, and the counting of pages after it, while nothing fails or hangs."""


class Health:
    """Knows how things stand, and tells it. For one event loop."""

    def __init__(  # noqa: PLR0913 - what is looked at, and who is told
        self,
        config: Config,
        engine: InstrumentedEngine,
        runners: list[WatchRunner],
        events: Events,
        *,
        manager: sd_notify.Manager,
        status_file: Path | None,
    ) -> None:
        """Take what is looked at and who is told; the list of runners is the daemon's own, kept up to date."""
        self._config = config
        self._engine = engine
        self._runners = runners
        self._events = events
        self._manager = manager
        self._file = status_file
        self._unwritten = ""
        self._disk = Threads(most=1)
        self._board = status_board.StatusBoard(config)
        self._seen = self._board.snapshot()
        self._heart = Heartbeat(manager)
        self._heart.needs(self._look_outs_move)
        self._heart.needs(self._engine_answers)
        self._ready = False
        self._trend = Trend()
        events.listen(self._board.hear)
        events.listen(self._trend.hear)

    def configured(self, config: Config) -> None:
        """Take over the configuration that is in force now."""
        self._config = config
        self._board.configured(config)

    # -- the daemon's life, as it is told -------------------------------------------------------------------------

    async def ready(self) -> None:
        """Say that we are ready: in the status first, so that whoever hears of it finds it there."""
        self._board.state = "ready"
        self._tell(time.monotonic())
        await self._write_in_time()
        self._ready = True  # only now, since the heart would beat before systemd hears that it may
        self._manager.notify(sd_notify.READY)

    def reloading(self) -> None:
        """Say that the configuration is read again."""
        self._manager.reloading()

    def reloaded(self) -> None:
        """Say that this is over, whatever came of it."""
        self._manager.notify(sd_notify.READY)

    def stopping(self) -> None:
        """Say that the end has begun. From now on look-outs may end: they do before the pages in flight."""
        self._board.state = "stopping"
        self._manager.notify(sd_notify.STOPPING)

    def stopped(self) -> None:
        """Note a clean end, for the last status."""
        self._board.state = "stopped"

    def failed(self, error: BaseException) -> None:
        """Note what ended us, for the last status."""
        self._board.state, self._board.complaint = "failed", str(error)

    # -- once a second --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look and tell until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat_on())
            group.create_task(self._keep_status())

    async def _beat_on(self) -> None:
        began, restarts = time.monotonic(), 0
        while True:
            now = time.monotonic()
            log_throttle.repeats.tell()
            state = self._engine.state
            if state.restarts > restarts:
                restarts = state.restarts
                self._events.tell(EngineRestarted(restarts))
            self._beat(now, now - began)
            self._tell(now)
            await asyncio.sleep(min(EVERY, (self._manager.watchdog or 4 * EVERY) / 4))

    def _tell(self, now: float) -> None:
        self._board.observe(self._engine, self._heart.complaint, now)
        self._seen = self._board.snapshot()
        self._trend.observe(now, self._seen.pages_left)
        self._manager.status(status.line(self._seen))

    def _beat(self, now: float, since: float) -> None:
        """Send the heartbeat, or before we are ready ask for more time; `since` are the seconds that we run."""
        if not self._ready:
            if since < self._config.service.loading:
                self._manager.wait_longer(30 * EVERY)
        elif complaint := self._heart.beat(now):
            log.error("hanging", what=complaint, remedy="The heartbeat has ended, and systemd will start ocrd again.")

    def _look_outs_move(self, now: float) -> str | None:
        if self._board.state == "stopping":
            return None
        longest = rescan(self._config.settle, len(self._runners)) + LOOK_SECONDS
        for runner in self._runners:
            still = now - (runner.admission.sign or now)
            if still > longest and not runner.its.pause.reason:  # else a person was told, and a restart mends nothing
                return f"the look-out of watch {runner.watch.name} has not moved for {still:.0f} s"
        return None

    def _engine_answers(self, _now: float) -> str | None:
        patience, silent, doing = self._config.service, self._engine.silence(), self._engine.state.doing
        if doing == "away":  # a person was told, and a restart mends nothing
            return None
        if silent > (patience.loading if doing == "loading" else patience.silence):
            return (
                f"the engine has had {counted(self._engine.inside, 'page')} for {silent:.0f} s without answering to any"
            )
        return None

    async def _keep_status(self) -> None:
        """Write the status file when it has news, beside the heartbeat, which must not wait for a disk."""
        written = float("-inf")
        while True:
            if self._board.news or time.monotonic() - written >= status_file.STALE / 3:
                written = time.monotonic()
                await self._write_status()
            await asyncio.sleep(EVERY)

    async def close(self) -> None:
        """Write the last status, unless that hangs."""
        writing = await self._write_in_time()
        self._disk.abandon()
        await asyncio.gather(writing, return_exceptions=True)

    async def _write_in_time(self) -> asyncio.Task[None]:
        """Write the status now; a disk that hangs is left to it. Returns the writing, which may go on."""
        writing = asyncio.create_task(self._write_status())
        await asyncio.wait({writing}, timeout=EVERY)
        return writing

    async def _write_status(self) -> None:
        """Write how things stand. Where that can't be done, it is told once."""
        if self._file is None:
            return
        try:
            await self._disk.run(status_file.write, self._file, self._board.data())
            self._unwritten = ""
        except MachineError as error:
            if error.what != self._unwritten:
                log.warning("no status file", what=error.what, remedy=error.remedy)
            self._unwritten = error.what

    # -- for whoever asks -----------------------------------------------------------------------------------------

    async def serve(self) -> Callable[[], None]:
        """Serve numbers and page, if the owner wants them. Returns what ends that. Raises ConfigError, MachineError."""
        wanted = self._config.metrics
        if not wanted.listen:
            return lambda: None
        from ocrd.telemetry import metrics, web_server

        token = await self._disk.run(secret_file.token, wanted.token_file) if wanted.token_file else ""
        numbers = metrics.Metrics(self._standing)
        self._events.listen(numbers.hear)
        shown = web_server.Shown(partial(self._page, wanted.reviews) if wanted.page else None, wanted.reviews, token)
        return web_server.Server(numbers, self._standing, wanted.listen, shown).close

    def _page(self, reviews: Path | None) -> str:
        """Write the page for a browser, in another thread; the folder of reviews is that of the start."""
        from ocrd.telemetry import status_page

        return status_page.html(self._seen, self._trend.minutes, time.time(), partial(_review, reviews))

    def _standing(self) -> status.Status:
        """Tell another thread how things stood at the last look."""
        return self._seen


def _review(folder: Path | None, sidecar: str) -> str:
    """Name the review page of a sidecar, if it is there."""
    name = result_names.review_of(str(Path(sidecar).with_suffix("")))
    with suppress(OSError):  # a name that is too long, a folder that may not be looked into: the page goes on without
        return name if folder and (folder / name).is_file() else ""
    return ""


Sign = Callable[[float], str | None]
"""Looks at one thing that must move, at a time in monotonic seconds: what is wrong with it, or None."""


class Heartbeat:
    """Beats only while all that must move does, so that a daemon that merely exists is not taken for one that works.

    That the event loop turns is proven by the call itself; look-outs and engine give their signs.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._signs: list[Sign] = []
        self.complaint: str | None = None
        """Why it does not beat; None while it does."""

    def needs(self, sign: Sign) -> None:
        """Beat only while this sign is good, too."""
        self._signs.append(sign)

    def beat(self, now: float) -> str | None:
        """Beat if every sign is good. Returns what is wrong when that is new, for the log."""
        before, self.complaint = self.complaint, next(filter(None, (sign(now) for sign in self._signs)), None)
        if self.complaint is None:
            self._manager.beat()
            return None
        return self.complaint if before is None else None
