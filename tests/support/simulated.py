"""An engine that keeps the real protocol, is quick, and misbehaves when told to."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ocrd.daemon import pause
from ocrd.engines.base import Engine, EngineInfo, EngineState
from ocrd.errors import EngineError, PageError
from ocrd.markup import dialects
from ocrd.model import DEFAULT_APPROACH, Approach, PageImage, PagePreparer, PageSizer, PixelSize, Reading, Rung

Behaviour = Callable[[PageImage, int], "Reading | Exception | None"]


def small_page(_width: float, _height: float) -> PixelSize:
    return PixelSize(120, 160)


_HELD = 3600.0
"""Seconds for which a page is held."""


class SimulatedEngine(Engine):
    """Reads every page as `page N`, unless its behaviour says otherwise; counts what it is asked."""

    state = EngineState()

    def __init__(  # noqa: PLR0913 - each is one way to misbehave
        self,
        *,
        window: int = 4,
        begin: Callable[[PageImage], None] | None = None,
        behave: Behaviour | None = None,
        seconds: float = 0.0,
        rungs: dict[Rung, Approach] | None = None,
        prepare: PagePreparer | None = None,
        prompt: str = "",
        together: int = 1,
        hold: int | None = None,
    ) -> None:
        self._hold = hold
        self._prompt = prompt
        self._window = window
        self._begin = begin
        self._behave = behave
        self._seconds = seconds
        self._rungs = rungs or {}
        self._prepare = prepare
        self._together = asyncio.Barrier(together)
        self.reads: list[int] = []
        self.approaches: list[Approach] = []
        self.at_once = 0
        self.most_at_once = 0
        self.closed = 0

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("simulated", "none", "1", f"simulated-1{self._prompt}")

    @property
    def window(self) -> int:
        return self._window

    @property
    def page_size(self) -> PageSizer:
        return small_page

    @property
    def prepare(self) -> PagePreparer | None:
        return self._prepare

    @property
    def rungs(self) -> dict[Rung, Approach]:
        return self._rungs

    async def start(self) -> None:
        await asyncio.sleep(0)

    async def read(self, page: PageImage, *, priority: int = 0, approach: Approach = DEFAULT_APPROACH) -> Reading:
        self.reads.append(page.index)
        self.approaches.append(approach)
        if self._begin:
            self._begin(page)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self._together.wait()
            await asyncio.sleep(self._seconds if self._hold is None or page.index < self._hold else _HELD)
            answer = self._behave(page, priority) if self._behave else None
        finally:
            self.at_once -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer or Reading(page.index, f"page {page.index + 1}", "stop", 2, 0.0)

    async def close(self) -> None:
        self.closed += 1


def create(options: dict[str, Any]) -> SimulatedEngine:
    """Be the factory that a configuration can name.

    Options: `seconds` a page, `window`, `fail_page` (index), `die` (at the first page), `prompt` (another one gives
    another text), `says` (what every page reads as), `dialect` (in which it says that, and expects it), `tally` (a
    file that gets a line for each page read), `together` (so many pages must be inside before one of them is read),
    `hold` (the index of a page: it and those behind it are not answered), `retry` (seconds between two tries of what
    the machine refused, instead of five).
    """
    pause.RETRY_SECONDS = options.get("retry", pause.RETRY_SECONDS)

    def count(page: PageImage) -> None:
        if "tally" in options:
            with Path(options["tally"]).open("a") as tally:
                tally.write(f"{page.index}\n")

    def behave(page: PageImage, _priority: int) -> Reading | Exception | None:
        if page.index == options.get("fail_page"):
            return PageError("The simulated engine can't read this page.", "There is nothing to do.")
        if options.get("die"):
            return EngineError("The simulated engine died.", "Start it again.")
        if "says" not in options:
            return None
        said = dialects.normalise(options["says"], options.get("dialect", "grounding"), page.size)
        return Reading(page.index, said.text, "stop", 9, 0.0, missed_dialect=said.missed_dialect)

    return SimulatedEngine(
        window=options.get("window", 4),
        behave=behave,
        begin=count,
        seconds=options.get("seconds", 0.0),
        prompt=options.get("prompt", ""),
        together=options.get("together", 1),
        hold=options.get("hold"),
    )
