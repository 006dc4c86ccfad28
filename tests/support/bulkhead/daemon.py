"""The whole daemon with several watches in this process, with real threads, where seconds are hundredths of them."""

import asyncio
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import structlog
from crash.house import ROLES, StillRenderer, illustrated
from house import files_below
from simulated import SimulatedEngine

from bulkhead.calls import unseen
from ocrd.concurrency import threads
from ocrd.concurrency.worker_process import StallError
from ocrd.config.schema import Batch, Config, Service, Settle
from ocrd.config.watch import Watch
from ocrd.daemon import health, pause, supervisor
from ocrd.errors import MachineError
from ocrd.intake import inbox
from ocrd.model import Box, PageImage, PageResult, PageSizer, Placement, SourceFacts, View
from ocrd.storage import mounts
from ocrd.telemetry.events import Ended, Event, Paused, Resumed

R = TypeVar("R")

HANGS = 0.2
"""Seconds after which something is taken to hang, here."""
SOON = 0.02
"""Seconds between two tries."""
LET_GO = 0.2
"""Seconds that what hangs is waited for at the end, each time that it is."""
PATIENCE = 120.0
"""Seconds after which something will not happen any more, on a machine that has other things to do."""


def hurry() -> None:
    """Let the daemons in this process wait for hundredths of seconds only, and no longer for what hangs."""
    threads.HANGS = HANGS
    pause.RETRY_SECONDS = health.EVERY = SOON
    supervisor._LET_GO = LET_GO
    inbox._LEAST_GAP = 0.0
    mounts.kind_of = lambda _: "nfs"  # where nothing is watched, but all polled
    supervisor.Renderer = Renderer  # type: ignore[misc,assignment]


class Renderer:
    """Stands where the render workers stand: what it reads may block, and is given up then as a worker is killed."""

    workers = 2

    def __init__(self, *_: object) -> None:
        self._real = StillRenderer()
        self._tell: Callable[[StallError], None] = lambda _: None

    async def count_pages(self, path: Path) -> int:
        with suppress(FileNotFoundError):
            await _in_worker(path.read_bytes)
        return 1

    async def open(self, path: Path) -> SourceFacts:
        return await self._run(_at_once, self._real.open, path)

    async def page(self, path: Path, index: int, sizer: PageSizer, _: None, view: View, *, priority: int) -> PageImage:
        return await self._run(_at_once, self._real.page, path, index, sizer, None, view, priority=priority)

    async def searchable(self, path: Path, pages: Sequence[PageResult], only: Sequence[int], pipe: int) -> None:
        await self._run(_at_once, self._real.searchable, path, pages, only, pipe)

    async def exchange_searchable(  # noqa: PLR0913, PLR0917 - as the real one
        self, path: Path, delivered: Path, pages: object, places: Mapping[int, int], total: int, pipe: int
    ) -> None:
        await self._run(_at_once, self._real.exchange_searchable, path, delivered, pages, places, total, pipe)

    async def figures(self, path: Path, index: int, boxes: Sequence[Box], placement: Placement) -> list[bytes]:
        return await self._run(_at_once, self._real.figures, path, index, boxes, placement)

    async def _run(self, function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
        try:
            return await _in_worker(function, *args, **kwargs)
        except StallError as error:
            self._tell(error)
            raise

    def telling(self, tell: Callable[[StallError], None]) -> "Renderer":
        told = Renderer()
        told._tell = tell
        return told

    def opening(self, _: object) -> "Renderer":
        return self

    async def close(self) -> None:
        """There is nothing to close."""


def _at_once(work: Callable[..., Awaitable[R]], *args: Any, **kwargs: Any) -> R:
    """Run what only looks like a coroutine."""
    try:
        work(*args, **kwargs).__await__().send(None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    raise AssertionError


async def _in_worker(function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Call it in a thread that is left alone when it gets no further. Raises StallError then, MachineError."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[R] = loop.create_future()

    def settle(result: R | None, error: BaseException | None) -> None:
        if ended.done():
            return  # given up
        if error:
            ended.set_exception(error)
        else:
            ended.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, error = None, None
        try:
            result = function(*args, **kwargs)
        except OSError as refused:
            error = MachineError(f"A worker could not read: {refused}.", "Look at the disk.")
        except BaseException as raised:  # noqa: BLE001 - raised again in the event loop
            error = raised  # type: ignore[assignment]
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, daemon=True, name="worker").start()
    done, _ = await asyncio.wait({ended}, timeout=HANGS)
    if not done:
        ended.cancel()
        raise StallError("A worker process neither computed nor read anything.", "Does the disk answer?")
    return ended.result()


class Lodgers:
    """Several watches below one folder, each with its own folders, and the daemons that look after them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.daemon: supervisor.Daemon | None = None
        self.paused: list[Paused] = []
        self.resumed: list[Resumed] = []
        self.ended: list[Ended] = []
        self.complaints: list[str] = []
        """What was logged of defects."""
        self.reread: Callable[[], Config] | None = None
        """How another configuration is read."""

    @unseen()
    def build(self, *names: str) -> None:
        """Make the folders of these watches anew."""
        shutil.rmtree(self.root, ignore_errors=True)
        for name in names:
            for role in ROLES:
                (self.root / name / role).mkdir(parents=True)

    def watch(self, name: str, **settings: Any) -> Watch:
        """Return the settings of a watch in the folder of its name, with others if wanted."""
        folders = {role: self.root / name / role for role in ROLES} | {"work": self.root / name / "work"}
        return Watch.model_construct(**{"name": name, "history": False} | folders | settings)

    @staticmethod
    def config(*watches: Watch) -> Config:
        return Config.model_construct(
            settle=Settle.model_construct(quiet=0.0, rescan=5 * SOON, poll=5 * SOON),
            batch=Batch.model_construct(quiet=0.0),
            service=Service.model_construct(drain=LET_GO),
            watches=watches,
        )

    @unseen()
    def drop(self, name: str, data: bytes, watch: str) -> None:
        """Put a source into an inbox, all at once."""
        path = self.root / watch / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(data)
        part.rename(path)

    @unseen()
    def files(self, watch: str, role: str) -> list[str]:
        folder = self.root / watch / role
        return sorted(
            str(path.relative_to(folder))
            for path in files_below(folder)
            if not path.is_symlink() and not path.name.startswith(".ocrd-")
        )

    def run(self, config: Config, story: Callable[[], Awaitable[None]], engine: SimulatedEngine | None = None) -> None:
        """Let a daemon live while a story is told, and stop it then, unless that was done."""
        asyncio.run(self._live(config, story, engine or SimulatedEngine(behave=illustrated)))

    async def _live(self, config: Config, story: Callable[[], Awaitable[None]], engine: SimulatedEngine) -> None:
        self.paused, self.resumed, self.ended, self.complaints = [], [], [], []
        self.daemon = supervisor.Daemon(config, engine, reread=self.reread)
        self.daemon.events.listen(self._hear)
        structlog.configure(
            processors=[structlog.processors.format_exc_info, self._note], cache_logger_on_first_use=False
        )
        running = asyncio.create_task(self.daemon.run())
        telling = asyncio.create_task(story())  # type: ignore[arg-type]
        try:
            await asyncio.wait({running, telling}, return_when=asyncio.FIRST_COMPLETED)
            if running.done() and not telling.done():
                running.result()
                raise AssertionError("the daemon ended by itself")
            await telling
        finally:
            await self.stopped(running)

    async def stopped(self, running: "asyncio.Task[None]") -> None:
        """Stop the daemon, and see that it ends in time."""
        if self.daemon is None:
            raise AssertionError
        self.daemon.stop()
        done, _ = await asyncio.wait({running}, timeout=PATIENCE)
        if not done:
            running.cancel()
        assert done, "it does not end when it is told to"
        await running

    def free_folders(self) -> None:
        """Give free what the end of a daemon's process would."""
        if self.daemon:
            for runner in self.daemon._everyone:
                runner.its.spool.close()

    def _hear(self, event: Event) -> None:
        match event:
            case Paused():
                self.paused.append(event)
            case Resumed():
                self.resumed.append(event)
            case Ended():
                self.ended.append(event)
            case _:
                pass

    def _note(self, _logger: object, method: str, event: Any) -> Any:
        if event.get("event") == "defect" or method == "exception":
            self.complaints.append(repr(event))
        raise structlog.DropEvent

    def idle(self, watch: str) -> bool:
        """Whether a watch has nothing left to do."""
        return bool(
            self.daemon
            and any(
                not r.busy and r.its.known.is_set() and not r.its.pause.reason
                for r in self.daemon._runners
                if r.watch.name == watch
            )
            and not self.files(watch, "inbox")
        )


async def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> float:
    """Wait until something holds; returns after how many seconds it did. Raises AssertionError with `what` did not."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, f"it did not happen: {what}"
        await asyncio.sleep(SOON / 4)
    return time.monotonic() - began
