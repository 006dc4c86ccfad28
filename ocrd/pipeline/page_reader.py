"""One page, from its place in the source to a result: looked at, read, judged, and read again while that may help."""

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import structlog

from ocrd.config.watch import Pages
from ocrd.engines.base import Engine
from ocrd.errors import PageError
from ocrd.model import DEFAULT_APPROACH, Approach, PageFacts, PageImage, PageResult, Reading, Rung, View
from ocrd.pipeline import fallbacks
from ocrd.quality import verdict
from ocrd.rendering.renderer import Renderer

log = structlog.get_logger("ocrd")


@dataclass(frozen=True, slots=True)
class PageReader:
    """Reads pages as one watch wants it."""

    engine: Engine
    renderer: Renderer
    settings: Pages
    separators: tuple[str, ...] = ()
    """Texts of the barcodes that make a page a separator sheet, which is not read."""
    any_barcode: bool = False
    """Whether the text of any barcode is wanted."""
    approach: Approach = DEFAULT_APPROACH
    """What is wanted of the engine on every rung that does not ask for something else."""

    async def read(self, path: Path, index: int, *, priority: int) -> PageResult:
        """Read one page by the first way, then by others as long as it is bad. Raises EngineError, DocumentError."""
        results: list[PageResult] = []
        rung: Rung | None = Rung.FIRST
        while rung is not None:
            results.append(await _Attempt(self, path, index, priority, rung, tuple(results)).made())
            rung = fallbacks.next_rung(results, self.settings.second_readings, self.engine.rungs.keys())
        return verdict.with_damage(fallbacks.outcome(results))


@dataclass(slots=True)
class _Attempt:
    """One way to read one page."""

    by: PageReader
    path: Path
    index: int
    priority: int
    rung: Rung
    earlier: tuple[PageResult, ...]
    """What came of other ways."""
    facts: PageFacts | None = None
    """What the first look at the page has shown; then of the image that is read."""

    def __post_init__(self) -> None:
        if self.earlier:
            self.facts = self.earlier[0].facts

    async def made(self) -> PageResult:
        try:
            match self.rung:
                case Rung.FIRST:
                    return await self._first()
                case Rung.HALVES:
                    return await self._halves()
                case Rung.TEXT_LAYER:
                    return await self._layer()
                case _:
                    image = await self._image(self._view())
                    if image.facts.blank:
                        return verdict.blank(image)
                    return verdict.judge(image, await self._read(image), self.rung)
        except PageError as error:
            return verdict.failed(self.index, str(error), self.rung, self.facts)

    async def _first(self) -> PageResult:
        settings = self.by.settings
        view = View(
            turn=None if settings.orientation == "auto" else 0,
            layer=settings.text_layer != "ignore",
            separators=self.by.separators,
            any_barcode=self.by.any_barcode,
        )
        image = await self._image(view)
        self.facts = image.facts
        try:
            if image.facts.blank:
                return verdict.blank(image)
            if image.facts.is_sheet:
                return verdict.separator(image)
            if settings.text_layer == "prefer" and fallbacks.layer_is_sound(image.facts):
                self.rung = Rung.TEXT_LAYER
                return await self._layer()
            return verdict.judge(image, await self._read(image))
        finally:
            image.free()

    async def _halves(self) -> PageResult:
        """Read one half after the other: more than one image at once for one page might wait for itself."""
        facts, view = self.facts or PageFacts(), self._view()
        halves = []
        for top, bottom in fallbacks.HALVES:
            image = await self._image(View(view.turn, view.skew, top, bottom))
            halves.append(await self._read(image) if not image.facts.blank else Reading(self.index, "", "stop", 0, 0.0))
        upper, lower = halves
        reading = Reading(
            self.index,
            fallbacks.joined(upper.text, lower.text),
            next((half.finish_reason for half in halves if half.finish_reason != "stop"), "stop"),
            upper.tokens + lower.tokens,
            upper.seconds + lower.seconds,
            bans=upper.bans + lower.bans,
            missed_dialect=upper.missed_dialect or lower.missed_dialect,
        )
        size = self.by.engine.page_size(*facts.placement.upright)
        return verdict.judge(PageImage(self.index, size, b"", 0.0, facts), reading, self.rung)

    async def _layer(self) -> PageResult:
        began = time.monotonic()
        facts = self.facts or PageFacts()
        text = await self.by.renderer.layer(self.path, self.index, facts.placement)
        reading = Reading(self.index, text, "stop", tokens=0, seconds=time.monotonic() - began)
        return verdict.text_layer(reading, facts, [one.reading for one in self.earlier if one.reading])

    def _view(self) -> View:
        """Show the page as it was found to lie, or, on that rung, the other way up."""
        facts = self.facts or PageFacts()
        layer = facts.layer is not None
        if self.rung is Rung.TURN:
            return View(turn=facts.other_turn, layer=layer, any_barcode=self.by.any_barcode)
        turn, skew = facts.placement.turn, facts.placement.skew
        return View(turn=turn, skew=skew, layer=layer, any_barcode=self.by.any_barcode)

    async def _image(self, view: View) -> PageImage:
        engine = self.by.engine
        return await self.by.renderer.page(
            self.path, self.index, engine.page_size, engine.prepare, view, priority=self.priority
        )

    async def _read(self, image: PageImage) -> Reading:
        approach = self.by.engine.rungs.get(self.rung, DEFAULT_APPROACH).or_else(self.by.approach)
        try:
            reading = await self.by.engine.read(image, priority=self.priority, approach=approach)
        finally:
            image.free()
        if reading.missed_dialect:
            _log_missed(reading.missed_dialect)
        return reading


@cache
def _log_missed(dialect: str) -> None:
    """Say once that answers are in another dialect; each of their pages is `suspect` for it."""
    log.warning("another dialect", expected=dialect)
