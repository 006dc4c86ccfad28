"""One document: every page of a source read, judged and illustrated, as far as it was not before."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from ocrd.concurrency.fair_window import FIRST, Turn, Window
from ocrd.concurrency.threads import OnDisk, Threads
from ocrd.config import overrides, passwords
from ocrd.config.watch import Options, Pages, Watch
from ocrd.display import shown
from ocrd.engines.base import Engine
from ocrd.errors import DocumentError, PageError, cause_of
from ocrd.markup import layout_blocks
from ocrd.model import DEFAULT_APPROACH, Approach, Document, PageResult, SourceFacts, Verdict
from ocrd.pipeline.in_flight import InFlight
from ocrd.pipeline.outcome import Outcome
from ocrd.pipeline.page_reader import PageReader
from ocrd.rendering.renderer import Renderer

log = structlog.get_logger("ocrd")

Figures = Mapping[str, bytes]
"""Pictures cropped from a page, by name."""
_UNKEPT = 64
MOST_FIGURES = 48
"""On one page; an engine that loops can name thousands."""


class Interrupted(Exception):  # noqa: N818 - a wish of the owner's, not an error
    """The window was closed before the last page: what was read is kept, and the rest left for the next start."""


class Progress:
    """Hears how documents get on; does nothing by itself."""

    def opened(self, name: str, pages: int, kept: int) -> None:
        """Tell that a source turned out to have so many pages, some of them read before a restart."""

    def page(self, name: str, result: PageResult) -> None:
        """Tell that one page is done."""

    def ended(self, name: str) -> None:
        """Tell that a document is delivered, refused or given back."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What every document is read with."""

    engine: Engine
    """Started."""
    renderer: Renderer
    """The render workers."""
    window: Window
    """The pages that are rendered or with the engine, of all documents together."""
    turn: Turn = FIRST
    """Of the documents that are read with these."""
    unkept: Window = field(default_factory=lambda: Window(_UNKEPT))
    """The pages that were begun and are not kept yet, of the documents of one watch. A disk that hangs when they are to
    be kept holds up these, and no page of another watch."""
    on_disk: OnDisk = field(default_factory=lambda: Threads().run)
    """Takes a step that may block, with its arguments, in a thread of the watch's own. Raises MachineError."""
    max_attempts: int = 3
    """Unexplained deaths after which a source is refused."""
    progress: Progress = field(default_factory=Progress)
    """Who wants to know."""
    before_end: Callable[[Outcome], None] = lambda _: None
    """Called with how a job is about to end, before that can't be undone. It may block. Raises MachineError."""
    in_flight: InFlight = field(default_factory=InFlight)
    """What content is in work, for watches that do not read the same twice."""


async def read_document(  # noqa: PLR0913 - a job has more to say than a file on the command line
    path: Path,
    name: str,
    facts: SourceFacts,
    tools: Tools,
    *,
    attempts: int = 0,
    kept: dict[int, PageResult] | None = None,
    keep: Callable[[PageResult, Figures], Awaitable[None]],
    settings: Pages,
    separators: tuple[str, ...] = (),
    any_barcode: bool = False,
    illustrate: bool = True,
    approach: Approach = DEFAULT_APPROACH,
) -> Document:
    """Read every page of a source that `kept` does not hold yet; `keep` makes each result durable with its figures.

    Raises DocumentError if not one page could be read, Interrupted, and whatever `keep` and the engine raise.
    """
    began = time.monotonic()
    pages = dict(kept or {})
    reader = PageReader(tools.engine, tools.renderer, settings, separators, any_barcode, approach)
    tools.progress.opened(name, facts.pages, len(pages))

    async def read(index: int, turn: Turn) -> None:
        if not await tools.window.enter(object(), turn):
            return  # we are to stop
        try:
            page = await reader.read(path, index, priority=len(missing))  # the same for all: they keep their order
            figures: Figures = {}
            if illustrate:
                page, figures = await _illustrated(path, page, tools)
        finally:
            tools.window.leave()
        await keep(page, figures)
        pages[index] = page
        tools.progress.page(name, page)

    missing = [index for index in range(facts.pages) if index not in pages]
    try:
        async with asyncio.TaskGroup() as group:
            for number, index in enumerate(missing):
                turn = replace(tools.turn, attempts=attempts, pages=len(missing) - number)
                if not await tools.unkept.enter(path, turn):
                    break  # we are to stop: the pages in flight are the last
                task = group.create_task(read(index, turn))
                task.add_done_callback(lambda _: tools.unkept.leave())  # also when it is cancelled before it began
    except BaseExceptionGroup as several:
        raise cause_of(several) from None
    if len(pages) < facts.pages:
        raise Interrupted
    results = tuple(pages[index] for index in range(facts.pages))
    _refuse_if_nothing_was_read(results)
    info = tools.engine.info
    return Document(
        name,
        facts,
        results,
        info.kind,
        f"{info.model} ({info.version})",
        datetime.now(UTC).astimezone(),
        time.monotonic() - began,
    )


async def opening_for(watch: Watch, tools: Tools) -> Tools:
    """Give the tools that open sources as a watch wants it. Raises MachineError if its passwords can't be read."""
    if not watch.passwords_file and watch.split == "none":
        return tools
    return replace(tools, renderer=tools.renderer.opening(await tools.on_disk(passwords.opening, watch)))


def approach_of(options: Options, engine: Engine, where: str) -> Approach:
    """Say how the engine is to read a scan with these settings, which stand `where` a person can find them.

    Raises DocumentError if it can't read so.
    """
    approach = overrides.approach(options)
    if approach == DEFAULT_APPROACH:
        return approach
    try:
        engine.accept(approach)
    except DocumentError as error:
        raise DocumentError(f"{where}: {error.what}", error.remedy) from error
    return approach


def provenance(facts: SourceFacts, watch: Watch, approach: Approach, tools: Tools) -> str:
    """Name all that a reading depends on: a page that was kept counts only for the same."""
    sheets = f" {watch.sheets}" if watch.sheets else ""
    barcode = " barcode" if watch.looks_for_barcodes else ""
    own = f" {approach}" if approach != DEFAULT_APPROACH else ""
    return f"{facts.sha256} {tools.engine.info.fingerprint} {watch.pages.model_dump_json()}{sheets}{barcode}{own}"


async def _illustrated(path: Path, page: PageResult, tools: Tools) -> tuple[PageResult, Figures]:
    """Crop the pictures of a page. One that can't be cropped costs only itself."""
    boxes = layout_blocks.pictures(page.reading.text)[:MOST_FIGURES] if page.reading else []
    if not boxes or page.facts is None:
        return page, {}
    reason = "they are too small to show anything"
    try:
        images = await tools.renderer.figures(path, page.index, boxes, page.facts.placement)
    except PageError as error:
        images, reason = [b"" for _ in boxes], str(error)
    if b"" in images:
        log.warning("figures lost", source=shown(path), page=page.index + 1, figures=images.count(b""), reason=reason)
    names = [f"page-{page.index + 1}-figure-{number}.jpg" for number in range(1, len(images) + 1)]
    figures = {name: image for name, image in zip(names, images, strict=True) if image}
    return replace(page, figures=tuple(name if name in figures else "" for name in names)), figures


def _refuse_if_nothing_was_read(pages: tuple[PageResult, ...]) -> None:
    """Keep a sidecar of placeholders alone from going out: it would look delivered and hold nothing."""
    if all(page.verdict is Verdict.FAILED for page in pages):
        whose = "Its only page" if len(pages) == 1 else f"None of its {len(pages)} pages"
        verb = "could not be read" if len(pages) == 1 else "could be read; the first"
        raise DocumentError(f"{whose} {verb}: {pages[0].reason}", "The pages' own reasons tell what to do.")
