"""One resident engine of perhaps several: its process's home, its supervisor, and the way it is started."""

import asyncio
import contextlib
import logging
import multiprocessing
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ocrd.config.resolving import ResolvedSettings
from ocrd.engines.core_supervisor import CoreSupervisor, Rest
from ocrd.engines.vllm import process_guard, setup
from ocrd.engines.vllm.core import Builder, VllmCore
from ocrd.engines.vllm.launch_mode import USUAL
from ocrd.engines.vllm.start_progress import StartProgress
from ocrd.errors import EngineError
from ocrd.model import Approach, PageImage, PagePreparer, Reading

log = logging.getLogger(__name__)

GIVE_UP_SECONDS = 60
"""How long an engine whose start was given up may take to end."""

PROCESS = "EngineCore"
"""How vLLM names the process that it starts (vllm/v1/engine/utils.py)."""


@dataclass(frozen=True)
class Means:
    """What all engines of this process have in common."""

    in_builder: Builder
    version: str
    """vLLM's."""
    memory: int
    """Bytes of the machine's memory at which an engine is built anew."""
    progress: StartProgress
    prepare: Callable[[], Awaitable[None]]
    """Looks after what the engine needs before each start."""


class Replica:
    """An engine of its own, in a process of its own. It outlives that process: see `core_supervisor`."""

    def __init__(self, settings: ResolvedSettings, home: process_guard.Home, means: Means) -> None:
        """Take the settings of this engine alone: its share of the card's memory is among them."""
        self.home = home
        self.pages = 0
        """Pages that are with it."""
        self.facts: tuple[str, ...] = ()
        self.phases: dict[str, float] = {}
        """How long each phase of its last start took, seconds."""
        self.views: PagePreparer | None = None
        """The model's views that it must take, since pages with them are on their way."""
        self._settings, self._means = settings, means
        self._mode = USUAL
        rest = Rest(settings.idle.after, settings.idle.do)
        self.supervisor = CoreSupervisor(
            self._build, settings.hang_after, rest, worn=lambda: self.home.memory() > means.memory, name=self.name
        )

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return f"the engine on GPU {self.home.cards}" if self.home.cards else "the engine"

    @property
    def core(self) -> VllmCore | None:
        """The engine's present life, for those that look into it."""
        core = self.supervisor.core
        return core if isinstance(core, VllmCore) else None

    @property
    def load(self) -> tuple[bool, int]:
        """Sorts engines by how soon they would read another page: the smallest first.

        One that rests is woken once another has a quarter of its places taken.
        """
        doing, core = self.supervisor.doing, self.supervisor.core
        resting, gone = doing == "resting", core is not None and not core.alive
        return doing == "loading" or gone, self.pages + resting * (self._settings.max_num_seqs // 4)

    async def start(self) -> None:
        """Build the first core. Raises ConfigError or EngineError."""
        self.home.open()
        await self.supervisor.start()

    async def read(self, page: PageImage, priority: int, approach: Approach) -> Reading:
        """Read one page; see `Engine.read`."""
        self.pages += 1
        try:
            return await self.supervisor.read(page, priority, approach)
        finally:
            self.pages -= 1

    async def close(self) -> None:
        """End it."""
        await self.supervisor.close()
        self.home.close()

    async def _build(self) -> VllmCore:
        """Build a core, prove its settings and let it read the test page; where that fails, in a slower way."""
        while True:
            await self._means.prepare()
            try:
                return await self._build_once()
            except setup.StartError as error:
                slower = self._mode.slower(f"{error}\n{self.home.messages()}")
                if slower is None and self._mode == USUAL:
                    raise
                if slower is None:
                    raise setup.no_way_left(self._means.version, self._mode, error) from error
                log.warning("%s did not start, and is started %s, which is slower: %s", self.name, slower, error)
                self._mode = slower

    async def _build_once(self) -> VllmCore:
        began = time.monotonic()
        async with self._means.progress.watched(self.home, began):
            llm = await self._construct()
            built = time.monotonic()
            core = VllmCore(llm, self._settings, self.home, self._means.in_builder)
            try:
                facts = await core.prove()
                self._check_views(core)
            except BaseException:
                await core.close()
                raise
        self.views = core.views
        self.facts = facts if self._mode == USUAL else (*facts, f"started {self._mode}, which is slower")
        self.phases = self._means.progress.finished(
            [("imports", began), *self.home.phases(), ("proof", built), ("", time.monotonic())]
        )
        return core

    def _check_views(self, core: VllmCore) -> None:
        """Refuse a core that can't take the pages that are on their way. Raises EngineError."""
        if self.views and not core.views:
            raise EngineError(
                "The engine was built anew, and no longer takes the model's views from the render workers.",
                "See the messages above; engine.vllm.views can be set to vllm.",
            )

    async def _construct(self) -> Any:  # noqa: ANN401 - an AsyncLLM
        """Let the builder's thread construct vLLM; it gives up when this is cancelled."""
        before = set(multiprocessing.active_children())
        work = asyncio.ensure_future(
            self._means.in_builder(
                lambda: setup.construct(self._settings, self.home, self._means.version, self._mode),
            )
        )
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GIVE_UP_SECONDS):
                    await self._give_up(work, before)
            raise

    async def _give_up(self, work: "asyncio.Future[Any]", before: set[Any]) -> None:
        """End what is being started, also before it has recorded itself, and wait until it is gone."""
        started: set[Any] = set()
        while not work.done():
            self.home.kill()
            children = set(multiprocessing.active_children()) - before
            started |= {child for child in children if child.name.startswith(PROCESS)}
            for child in started:
                child.kill()
            await asyncio.wait([work], timeout=0.2)
        if work.exception() is None:
            await self._means.in_builder(lambda: work.result().shutdown(timeout=0))
        await self.home.end()
        while any(child.is_alive() for child in started):
            await asyncio.sleep(0.1)
