"""The resident engine: a model in vLLM's `AsyncLLM`, as its profile says, its caches off, built once and kept.

Importing this module is cheap: vLLM comes in when an engine is started, through `setup`. `replica` is one engine with a
process of its own, of which each card gets one or two (`placement`, `mps`); `core` is one life of it.

Works with vLLM 0.24 to 0.33.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ocrd.config import profile as profiles
from ocrd.config.profile import Profile
from ocrd.config.resolving import resolve
from ocrd.config.vllm import VllmSettings
from ocrd.display import counted
from ocrd.engines import model_fetch, vision_model
from ocrd.engines.base import Engine, EngineInfo, Finding
from ocrd.engines.vllm import mps, placement, preflight, process_guard, setup
from ocrd.engines.vllm.gpu_memory import Card
from ocrd.engines.vllm.placement import Device, Placement
from ocrd.engines.vllm.replica import Means, Replica
from ocrd.engines.vllm.start_progress import StartProgress, default_file
from ocrd.errors import ConfigError, EngineError
from ocrd.model import (
    DEFAULT_APPROACH,
    Approach,
    CardState,
    EngineState,
    PageImage,
    PagePreparer,
    PageSizer,
    Reading,
    Rung,
)

log = logging.getLogger(__name__)


STARTS = 3
"""How often a further engine is started before it is given up."""

Result = TypeVar("Result")


def physical_memory() -> int:
    """Return the machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class VllmEngine(Engine):
    """Reads pages with a model on this machine's GPU. See `ocrd.engines.base.Engine`."""

    def __init__(self, settings: VllmSettings, folder: Path | None = None, profile: Profile | None = None) -> None:
        """Take the settings, where daemons keep the records of their engines, if not in the usual place, and the model.

        Without a profile that is the default one. Raises ConfigError for settings that don't fit it.
        """
        self._settings = resolve(settings, profile)
        self._profile = self._settings.profile
        self._folder = folder or process_guard.default_folder()
        self.replicas: list[Replica] = []
        """The engines that read, or are started; at least one once this is started."""
        self._placement = Placement()
        self._lost = 0
        """Engines of the placement that did not start, or were given up."""
        self._mps: mps.Mps | None = None
        self._card = Card(self._processes)
        self._info: EngineInfo | None = None
        self._progress = StartProgress(default_file() if folder is None else folder / "start.json")
        self._growing: asyncio.Task[None] | None = None
        self._closing = False
        # One thread starts every engine and stays: the kernel kills an engine when the thread that started it ends.
        self._builder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vllm-builder")

    @property
    def info(self) -> EngineInfo:
        """Valid once started."""
        if self._info is None:
            raise RuntimeError("the engine is not started")
        facts = self.replicas[0].facts if self.replicas else ()
        named = () if self._profile.name == profiles.DEFAULT else (f"profile {self._profile.name}",)
        return replace(self._info, facts=(*named, *facts, *self._facts_of_placement()))

    def _facts_of_placement(self) -> Iterable[str]:
        """Say how many engines there are, or are to be, where that is not simply one on the card."""
        cards = len(self._placement.cards)
        if self._expected > 1 or cards > 1:
            on = "the card" if cards == 1 else f"the cards {' and '.join(self._placement.cards)}"
            how = (", under CUDA MPS" if self._mps else ", by turns") if self._placement.per_card > 1 else ""
            yield f"{counted(self._expected, 'engine')} on {on}{how}"
        if self._placement.why_not:
            yield f"one engine on a card, since {self._placement.why_not}"
        if self._lost:
            yield f"{counted(self._lost, 'engine')} less than there could be, see the log"

    @property
    def _expected(self) -> int:
        """How many engines read, or will soon."""
        return len(self._placement.engines) - self._lost

    def _processes(self) -> dict[str, set[int]]:
        """List the process ids of the engines by their cards."""
        found: dict[str, set[int]] = {}
        for one in self.replicas:
            found.setdefault(one.home.cards, set()).update(one.home.processes())
        return found

    @property
    def window(self) -> int:
        """As many pages as decode at once, and a few more that are being made ready. Grows with the start."""
        return self._expected * (self._settings.max_num_seqs + 2 * self._settings.renderer_num_workers)

    @property
    def page_size(self) -> PageSizer:
        """Exactly the pixels that the model sees."""
        return vision_model.page_size(self._profile.image)

    @property
    def prepare(self) -> PagePreparer | None:
        """The model's views, where the engine takes them."""
        return self.replicas[0].views if self.replicas else None

    @property
    def rungs(self) -> dict[Rung, Approach]:
        """Every way; the other prompt only where it is another one."""
        return vision_model.rungs(self._settings.prompt, self._settings.other_prompt)

    @property
    def state(self) -> EngineState:
        """How it is; loading while all engines that have pages are."""
        memory = self._card.memory
        state = EngineState(progress=self._progress.text)
        if memory:
            state = replace(state, memory=memory.engine, memory_used=memory.used, memory_total=memory.total)
        if not self.replicas:
            return replace(state, doing="loading")
        return replace(
            state,
            doing=_together(self.replicas),
            restarts=sum(one.supervisor.restarts for one in self.replicas),
            engines=len(self.replicas),
            cards=tuple(map(self._card_state, self._placement.cards)) if len(self._placement.cards) > 1 else (),
        )

    def _card_state(self, name: str) -> CardState:
        on = [one for one in self.replicas if one.home.cards == name]
        memory = self._card.by_card.get(name)
        return CardState(
            name=name,
            doing=_together(on),
            engines=len(on),
            pages=sum(one.pages for one in on),
            memory_used=memory.used if memory else None,
            memory_total=memory.total if memory else None,
        )

    def preflight(self) -> Iterable[Finding]:
        """Look at the driver, the card, the versions, the disk and the model."""
        return preflight.findings(self._settings)

    async def start(self) -> None:
        """Build the engine and let it read a test page; 30 seconds to some minutes.

        Where there are to be several, this returns with the first; the others join it one by one.
        """
        version = setup.check_version(self._profile)
        devices = await asyncio.to_thread(preflight.require_cards, self._settings)
        process_guard.Home(self._folder).open()
        await self._place(devices)
        self._card.watch()
        model = await self._in_builder(lambda: setup.identify(self._settings))
        self._warn()
        await model_fetch.fetch(self._settings.model, self._settings.revision, self._progress.fetching)
        self._info = EngineInfo("vllm", model, version, setup.fingerprint(self._settings, model, version))
        others = await self._start_first(self._make(version))
        self._growing = asyncio.create_task(self._grow(others))

    def _make(self, version: str) -> list[Replica]:
        """Make the engines, which are started later, each with its share of its card and of the machine's memory."""
        share = {"gpu_memory_utilization": self._settings.gpu_memory_utilization / self._placement.per_card}
        settings = self._settings.model_copy(update=share)
        memory = (self._settings.recycle_at or physical_memory() // 2) // self._expected
        means = Means(self._in_builder, version, memory, self._progress, self._prepare_build)
        return [
            Replica(settings, process_guard.Home(self._folder, number, cards), means)
            for number, cards in enumerate(self._placement.engines)
        ]

    async def _start_first(self, made: list[Replica]) -> list[Replica]:
        """Start the first engine that can be; return those behind it. Raises ConfigError, or the last EngineError."""
        for number, one in enumerate(made):
            self.replicas = [one]
            try:
                await one.start()
            except EngineError as error:
                if number + 1 == len(self._placement.cards):
                    raise
                await self._lose(one, error)
            else:
                return made[number + 1 :]
        raise AssertionError("each card has an engine")

    def _warn(self) -> None:
        """Say in the log what an owner should know of the model."""
        if self._profile.restriction and self._settings.model == self._profile.model:
            log.warning("the licence of %s restricts its use: %s", self._profile.model, self._profile.restriction)
        if setup.runs_its_code(self._settings):
            log.warning("Python code that comes with %s is run (trust_remote_code)", self._settings.model)

    async def _place(self, devices: list[Device]) -> None:
        """Find out where engines are to be, and let them share a card. Raises ConfigError."""
        where = placement.choose(self._settings, devices) if devices else Placement()
        if where.per_card > 1:
            pipes = self._folder / f"{os.getpid()}-mps"
            try:
                self._mps = await self._in_builder(lambda: mps.begin(pipes))
            except mps.NoMps as error:
                where = Placement(where.cards, 1, str(error))
        if where.why_not and self._settings.engines_per_card == 2:  # noqa: PLR2004 - the setting's own number
            raise ConfigError(f"engine.vllm.engines_per_card is 2, but {where.why_not}.", "Set it to auto, or to 1.")
        self._placement = where
        if len(where.cards) > 1:
            log.info("engines are started on the cards %s", " and ".join(where.cards))
        if where.why_not:
            log.info("one engine reads on a card, since %s", where.why_not)

    async def _prepare_build(self) -> None:
        """Put an engine that is built now under MPS, if that still runs."""
        used = self._mps
        if (
            used and not await self._in_builder(used.answers) and self._mps is used
        ):  # else the other engine saw it first
            await self._end_mps()
            log.error("CUDA MPS has ended: the engines go on without it, by turns, which is slower; restart ocrd")
        if self._mps:
            os.environ.update(self._mps.environment)

    async def _end_mps(self) -> None:
        ended, self._mps = self._mps, None
        if ended:
            for name in ended.environment:
                os.environ.pop(name, None)
            await self._in_builder(ended.close)

    async def _grow(self, others: list[Replica]) -> None:
        """Start the other engines, one by one: two at a time would take each other's memory for their own."""
        for one in others:
            one.views = self.replicas[0].views
            try:
                await self._start_patiently(one)
            except Exception as error:  # noqa: BLE001 - whatever it was, others read
                await self._lose(one, error)
            except asyncio.CancelledError:
                await one.close()
                raise
            else:
                self.replicas.append(one)
                log.info("%d engines read, the newest is %s", len(self.replicas), one.name)

    @staticmethod
    async def _start_patiently(one: Replica) -> None:
        """Start an engine; again if that fails, since one that dies meanwhile on the same card spoils its reckoning."""
        for left in reversed(range(STARTS)):
            try:
                await one.start()
            except EngineError as error:
                if not left:
                    raise
                log.warning("%s did not start, which is tried again: %s", one.name, error)
            else:
                return

    async def _lose(self, gone: Replica, error: Exception) -> None:
        """Go on without an engine."""
        self._lost += 1
        log.error("%s was given up, and the others read without it until ocrd is started again: %s", gone.name, error)
        await gone.close()

    async def read(self, page: PageImage, *, priority: int = 0, approach: Approach = DEFAULT_APPROACH) -> Reading:
        """Read one page; see `Engine.read`. It goes to the engine that has the fewest."""
        if self._info is None:
            raise RuntimeError("the engine is not started")
        while True:
            chosen = min(self.replicas, key=lambda one: one.load)
            try:
                return await chosen.read(page, priority, approach)
            except EngineError as error:
                if not await self._without(chosen, error) or page.again is None:
                    raise
            page = await page.again()

    async def _without(self, gone: Replica, error: EngineError) -> bool:
        """Go on without an engine that was given up, if there is another."""
        if gone in self.replicas and len(self.replicas) > 1 and not self._closing:
            self.replicas.remove(gone)
            await self._lose(gone, error)
        return gone not in self.replicas

    def accept(self, approach: Approach) -> None:
        """Raise DocumentError for languages: the model finds out by itself what it reads."""
        vision_model.refuse_languages(approach)

    async def close(self) -> None:
        """Stop and free everything."""
        self._closing = True
        self._card.close()
        if self._growing:
            self._growing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._growing
        await asyncio.gather(*(one.close() for one in self.replicas))
        await self._end_mps()
        self._builder.shutdown(wait=False)
        process_guard.Home(self._folder).close()

    async def _in_builder(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._builder, work)


def _together(replicas: Sequence[Replica]) -> str:
    """Say in a word how engines are: loading while all that have pages are; so are those that are not there yet."""
    doing = {one.supervisor.doing for one in replicas if one.pages} or {one.supervisor.doing for one in replicas}
    return next((one for one in ("ready", "loading", "resting") if one in doing), "loading")
