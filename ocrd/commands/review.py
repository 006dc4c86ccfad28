"""`ocrd review`: one HTML page of a delivered document, its originals beside what was read."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

from ocrd.commands import problems_html
from ocrd.commands.problems_html import Entry
from ocrd.commands.review_html import ReviewPage, html
from ocrd.concurrency.worker_pool import Limits
from ocrd.config import passwords
from ocrd.config.schema import Config
from ocrd.display import shown
from ocrd.errors import DocumentError, MachineError, PageError
from ocrd.markup import layout_blocks
from ocrd.markup.layout_blocks import Block
from ocrd.model import Box, Opening, Placement, Verdict
from ocrd.output import front_matter, json_file, kinds, markdown
from ocrd.rendering.renderer import Renderer
from ocrd.storage import deliveries, durable, naming
from ocrd.storage.deliveries import Delivered
from ocrd.storage.os_errors import machine_faults

log = structlog.get_logger("ocrd")

_SHOWN = ("source", "status", "engine", "model", "date", "seconds", "sha256")
"""Facts of a document that are shown."""
_A4 = (595.0, 842.0)
"""Points."""


@dataclass(frozen=True, slots=True)
class _Reviewed:
    """A delivered document, as far as its sidecar tells of it."""

    facts: dict[str, Any]
    """As in the front matter."""
    pages: tuple[tuple[ReviewPage, Placement], ...]
    """Still without images."""


def write(name: str, settings: Config, output: Path | None) -> Path:
    """Write the review page of the delivered document that `name` means. Returns where it lies.

    Raises DocumentError if there is none or several, MachineError.
    """
    delivered = deliveries.find(name, settings.watches)
    document = _read(delivered)
    pages = asyncio.run(_shown_pages(delivered, document, settings))
    stem = Path(delivered.stem).name
    target = Path(f"{stem}.review.html")
    if output:
        target = output / target if output.is_dir() else output
    return _written(target, html(stem, _facts(document), pages))


def write_problems(settings: Config, output: Path | None) -> Path | None:
    """Write an index of all pages to look at, and a review page of each document's, into a folder that is made for it.

    Returns where the index lies; None if there is no such page. Raises DocumentError if the folder is there already,
    MachineError.
    """
    found = list(deliveries.with_problems(settings.watches))
    if not found:
        return None
    folder = output or Path("problems")
    with machine_faults("create", folder):
        try:
            folder.mkdir(parents=True)
        except FileExistsError as error:
            raise DocumentError(f"{shown(folder)} is there already.", "Give another folder with --output.") from error
    entries = asyncio.run(_entries(found, settings, folder))
    return _written(folder / "index.html", problems_html.html(entries))


async def _entries(found: Iterable[Delivered], settings: Config, folder: Path) -> list[Entry]:
    """Write the review pages, one after the other; what ocrd did not write is left out, and logged."""
    entries = []
    async with _renderer(settings) as renderer:
        for delivered in found:
            try:
                entries.append(await _entry(delivered, renderer, folder))
            except DocumentError as error:
                log.warning("not in the index", sidecar=shown(delivered.sidecar), reason=str(error))
    return entries


async def _entry(delivered: Delivered, renderer: Renderer, folder: Path) -> Entry:
    """Write the review page of a document's pages to look at. Raises DocumentError, MachineError."""
    document = _read(delivered)
    document = replace(document, pages=tuple(one for one in document.pages if not one[0].verdict.sound))
    with _original(delivered, document) as source:
        renderer = renderer.opening(_opening(delivered))
        large = await _with_images(document, source, renderer)
        small = await _with_images(document, source, renderer, small=True)
    page = html(Path(delivered.stem).name, _facts(document), large)
    review = _written(folder / f"{delivered.stem.replace('/', ' - ')}.review.html", page)
    about = (delivered.watch.name, str(document.facts.get("date", "")), str(document.facts.get("engine", "")))
    return Entry(delivered.stem, " · ".join(filter(None, about)), review.name, small)


def _written(target: Path, text: str) -> Path:
    path = target.parent / naming.free_name(target.parent, target.name)
    durable.write_new(path, text.encode(), tag="review")
    return path


def _facts(document: _Reviewed) -> list[tuple[str, str]]:
    return [(fact, str(document.facts[fact])) for fact in _SHOWN if document.facts.get(fact) not in (None, "")]


def _read(delivered: Delivered) -> _Reviewed:
    """Read the JSON of a document, which knows where each block stands, or the Markdown where there is no JSON."""
    outbox, name = delivered.watch.outbox, delivered.stem + kinds.JSON.ending
    has_json = (outbox / name).is_file()
    name = name if has_json else delivered.sidecar
    data = deliveries.read(outbox, name)
    try:
        text = data.decode().replace("\r\n", "\n")
        return _from_json(json.loads(text)) if has_json else _from_markdown(text, delivered.facts)
    except (ValueError, KeyError, TypeError) as error:
        raise DocumentError(
            f"{shown(outbox / name)} is not what ocrd wrote: {type(error).__name__}: {error}.", "Drop the scan again."
        ) from error


def _from_json(raw: dict[str, Any]) -> _Reviewed:
    if raw["form"] != json_file.FORM:
        raise ValueError(f"its form is {raw['form']}, and this ocrd knows {json_file.FORM}")
    return _Reviewed(raw, tuple(_page_from_json(page) for page in raw["pages"]))


def _page_from_json(raw: dict[str, Any]) -> tuple[ReviewPage, Placement]:
    own_markdown = not any(block["boxes"] for block in raw["blocks"])
    blocks = [
        Block(block["label"], tuple(Box(*box) for box in block["boxes"]), block["text"], own_markdown)
        for block in raw["blocks"]
    ]
    attempts = [
        f"{attempt['rung']}: {attempt['verdict']}{attempt['reason'] and ', '}{attempt['reason']} "
        f"({attempt['tokens']} tokens, {attempt['seconds']:.1f} s)"
        for attempt in raw["attempts"]
    ]
    placement = Placement(**raw["placement"]) if raw["placement"] else Placement()
    width, height = raw["size"] or _A4
    page = ReviewPage(raw["page"], Verdict(raw["verdict"]), raw["reason"], b"", (width, height), blocks, attempts)
    return page, placement


def _from_markdown(text: str, facts: dict[str, Any]) -> _Reviewed:
    problems = {problem["page"]: problem for problem in facts.get("problems", ())}
    pages = []
    for number, body in front_matter.divided(text).pages:
        problem = problems.get(number)
        words = markdown.without_own_marks(body)
        verdict = Verdict(problem["verdict"]) if problem else Verdict.OK if words.strip() else Verdict.BLANK
        reason = problem["reason"] if problem else ""
        page = ReviewPage(number, verdict, reason, b"", _A4, layout_blocks.parse(words))
        pages.append((page, Placement()))
    return _Reviewed(facts, tuple(pages))


async def _shown_pages(delivered: Delivered, document: _Reviewed, settings: Config) -> list[ReviewPage]:
    with _original(delivered, document) as source:
        async with _renderer(settings) as renderer:
            return await _with_images(document, source, renderer.opening(_opening(delivered)))


def _opening(delivered: Delivered) -> Opening:
    """Tell how an original is opened: without passwords, if whoever looks may not read them."""
    try:
        return passwords.opening(delivered.watch)
    except MachineError as error:
        log.warning("passwords not read", reason=str(error))
        return Opening(embedded=delivered.watch.split != "none")


@asynccontextmanager
async def _renderer(settings: Config) -> AsyncIterator[Renderer]:
    renderer = Renderer(settings.render.count, Limits(settings.render.page_timeout, settings.render.memory))
    try:
        yield renderer
    finally:
        await renderer.close()


@contextmanager
def _original(delivered: Delivered, document: _Reviewed) -> Iterator[Path | None]:
    """Keep the original of a document open; None if it is gone."""
    original = deliveries.original(delivered.watch, document.facts, delivered.sidecar)
    if original is None:
        yield None
        return
    with (
        TemporaryDirectory(prefix="ocrd-review-") as scratch,
        deliveries.opened_original(original, Path(scratch, "original")) as source,
    ):
        yield source


async def _with_images(
    document: _Reviewed, source: Path | None, renderer: Renderer, *, small: bool = False
) -> list[ReviewPage]:
    if source is None:
        return [page for page, _ in document.pages]
    pages = (_with_image(*page, source, renderer, small=small) for page in document.pages)
    return list(await asyncio.gather(*pages))


async def _with_image(
    page: ReviewPage, placement: Placement, source: Path, renderer: Renderer, *, small: bool
) -> ReviewPage:
    try:
        image = await renderer.preview(source, page.number - 1, placement, small=small)
    except (PageError, DocumentError):
        return page  # it says that it can't be shown
    return replace(page, image=image)
