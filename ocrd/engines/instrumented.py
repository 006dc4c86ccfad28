"""An engine under observation: whether it answers, and how fast it reads, found out by looking on."""

import time
from collections.abc import Callable, Iterable, Mapping

from ocrd.engines.base import Engine, EngineInfo, Finding, complete
from ocrd.model import DEFAULT_APPROACH, Approach, EngineState, PageImage, PagePreparer, PageSizer, Reading, Rung


class InstrumentedEngine(Engine):
    """Passes everything on to the engine proper, and counts."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the engine, and a clock in seconds that never goes back."""
        self._engine = complete(engine)
        self._clock = clock
        self._last = clock()
        self._generated = 0
        self.inside = 0
        """Pages that are with the engine now."""
        self.tokens = 0
        """Tokens read so far."""

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    @property
    def window(self) -> int:
        return self._engine.window

    @property
    def page_size(self) -> PageSizer:
        return self._engine.page_size

    @property
    def prepare(self) -> PagePreparer | None:
        return self._engine.prepare

    @property
    def rungs(self) -> Mapping[Rung, Approach]:
        return self._engine.rungs

    @property
    def state(self) -> EngineState:
        return self._engine.state

    def accept(self, approach: Approach) -> None:
        self._engine.accept(approach)

    def preflight(self) -> Iterable[Finding]:
        return self._engine.preflight()

    def silence(self) -> float:
        """Return for how many seconds the engine has had pages without getting on with any of them."""
        if self._generated != (generated := self._engine.state.generated):
            self._generated, self._last = generated, self._clock()
        return self._clock() - self._last if self.inside else 0.0

    async def start(self) -> None:
        await self._engine.start()

    async def read(self, page: PageImage, *, priority: int = 0, approach: Approach = DEFAULT_APPROACH) -> Reading:
        if not self.inside:
            self._last = self._clock()
        self.inside += 1
        try:
            reading = await self._engine.read(page, priority=priority, approach=approach)
        finally:
            self.inside -= 1
            self._last = self._clock()  # a refusal is an answer, too
        self.tokens += reading.tokens
        return reading

    async def close(self) -> None:
        await self._engine.close()
