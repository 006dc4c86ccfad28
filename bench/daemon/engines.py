"""Engines that read nothing: what a measurement of the daemon itself needs. Named by `bench_engines` configurations.

`create({kind: instant})` answers at once. `create({kind: card, …})` behaves like a card with a language model: so many
pages decode at once, each step takes longer the more there are, and pages are taken in one after the other.
"""

import asyncio
import heapq
import itertools
import math
import random
import time
from functools import partial
from typing import Any

import drawn

from ocrd.engines.base import EngineInfo
from ocrd.engines.vllm import deepseek
from ocrd.model import DEFAULT_APPROACH, Approach, PageImage, PageSizer, PixelSize, Reading, Rung

_AT_ONCE = 8
"""Pages that the engine of varying speed reads at once."""
_SMALL = 300
"""Pixels of the longer side of a page whose looks do not matter."""
_LASTING = 0.98
"""Of how fast it was at one page, what is left at the next: half of it is gone after 34."""


class InstantEngine:
    """Answers at once. Takes its pages as DeepSeek-OCR does, prepared in the render workers."""

    def __init__(self, window: int = 64) -> None:
        """Take the number of pages that it wants at once."""
        self.window = window
        self.info = EngineInfo("bench", "none", "1", "bench-1")
        self.page_size: PageSizer = partial(deepseek.page_size, tile=640)
        self.prepare = deepseek.Views()
        self.rungs: dict[Rung, Approach] = {}
        self.begins: list[float] = []

    async def start(self) -> None:
        """Be ready."""

    async def close(self) -> None:
        """Have nothing to close."""

    async def read(self, page: PageImage, *, priority: int = 0, approach: Approach = DEFAULT_APPROACH) -> Reading:  # noqa: ARG002
        """Read a page."""
        self.begins.append(time.monotonic())
        await self._take_time(page, priority)
        page.free()
        return Reading(page.index, drawn.text(page.index), "stop", 800, 0.0)

    async def _take_time(self, page: PageImage, priority: int) -> None:
        pass


class CardEngine(InstantEngine):
    """So many pages at once; the more there are, the longer each takes; the lowest priority enters first."""

    def __init__(self, at_once: int = 64, lone: float = 1.0, crowded: float = 4.0, intake: float = 0.01) -> None:
        """Take the pages at once, the seconds of a page alone and in a full card, and those of its intake."""
        super().__init__(at_once + 16)
        self._free = at_once
        self._at_once, self._lone, self._crowded, self._intake = at_once, lone, crowded, intake
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._door = asyncio.Lock()

    async def _take_time(self, page: PageImage, priority: int) -> None:
        await self._enter(priority)
        try:
            async with self._door:
                await asyncio.sleep(self._intake)
            page.free()
            share = 1 - self._free / self._at_once
            await asyncio.sleep(self._lone + share * (self._crowded - self._lone))
        finally:
            self._free += 1
            self._next()

    async def _enter(self, priority: int) -> None:
        call = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), call))
        self._next()
        await call

    def _next(self) -> None:
        while self._free and self._waiting:
            _, _, call = heapq.heappop(self._waiting)
            if not call.done():
                self._free -= 1
                call.set_result(None)


def _small(width: float, height: float) -> PixelSize:
    scale = _SMALL / max(width, height)
    return PixelSize(round(width * scale), round(height * scale))


class VaryingEngine(InstantEngine):
    """Reads eight pages at once; how long one takes is drawn from a seed, and drifts from minute to minute."""

    def __init__(self, seed: int, seconds: float, spread: float, drift: float, loading: float = 0.0) -> None:
        """Take the mean seconds of a page, how much pages and minutes differ (of a log-normal), and those it loads."""
        super().__init__(_AT_ONCE)
        self.prepare = None
        self.page_size = _small
        self._random = random.Random(seed)  # noqa: S311 - so that it is the same each time
        self._seconds, self._spread, self._drift = seconds, spread, drift
        self._drifted = 0.0
        self._loading = loading

    async def start(self) -> None:
        """Be ready after a while."""
        await asyncio.sleep(self._loading)

    async def _take_time(self, page: PageImage, priority: int) -> None:  # noqa: ARG002
        self._drifted = _LASTING * self._drifted + self._random.gauss(0, self._drift * (1 - _LASTING**2) ** 0.5)
        exponent = self._drifted + self._random.gauss(0, self._spread)
        mean = (self._drift**2 + self._spread**2) / 2
        await asyncio.sleep(self._seconds * math.exp(exponent - mean))


def create(options: dict[str, Any]) -> InstantEngine:
    """Be the factory that a configuration names."""
    kind = options.pop("kind", "instant")
    return {"card": CardEngine, "varying": VaryingEngine}.get(kind, InstantEngine)(**options)
