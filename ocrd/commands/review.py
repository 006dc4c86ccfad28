"""`ocrd review`: one HTML page of a delivered document, its originals beside what was read."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

from ocrd.commands import problems_html
from ocrd.commands.problems_html import Entry
from ocrd.commands.progress_bars import ProgressBars
from ocrd.commands.review_html import ReviewPage, html
from ocrd.concurrency.worker_pool import Limits
from ocrd.config import passwords
from ocrd.config.schema import Config
from ocrd.display import shown
from ocrd.errors import DocumentError, MachineError, PageError
from ocrd.markup import layout_blocks
from ocrd.markup.layout_blocks import Block
from ocrd.model import Box, Opening, PageResult, Placement, Reading, Verdict
from ocrd.output import front_matter, json_file, kinds, markdown, plain_text, result_names
from ocrd.rendering.renderer import Renderer
from ocrd.storage import deliveries, durable, naming, originals
from ocrd.storage.deliveries import Delivered
from ocrd.storage.originals import Original
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
    with ProgressBars() as bars:
        bars.opened(delivered.stem, len(document.pages), 0)
        pages = asyncio.run(_shown_pages(delivered, document, settings, lambda: bars.next_page(delivered.stem)))
    stem = Path(delivered.stem).name
    target = Path(result_names.review_of(stem))
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
    with ProgressBars() as bars:
        bars.opened("documents", len(found), 0)
        entries = asyncio.run(_entries(found, settings, folder, lambda: bars.next_page("documents")))
    return _written(folder / "index.html", problems_html.html(entries))


async def _entries(found: Iterable[Delivered], settings: Config, folder: Path, done: Callable[[], None]) -> list[Entry]:
    """Write the review pages, one after the other; what ocrd did not write is left out, and logged."""
    entries = []
    async with _renderer(settings) as renderer:
        for delivered in found:
            try:
                entries.append(await _entry(delivered, renderer, folder))
            except DocumentError as error:
                log.warning("not in the index", sidecar=shown(delivered.sidecar), reason=str(error))
            done()
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
    review = _written(folder / result_names.review_of(delivered.stem), page)
    about = (delivered.watch.name, str(document.facts.get("date", "")), str(document.facts.get("engine", "")))
    return Entry(delivered.stem, " · ".join(filter(None, about)), review.name, small)


def _written(target: Path, text: str) -> Path:
    path = target.parent / naming.free_name(target.parent, target.name)
    durable.write_new(path, text.encode(), tag="review")
    return path


def _facts(document: _Reviewed) -> list[tuple[str, str]]:
    return [(fact, str(document.facts[fact])) for fact in _SHOWN if document.facts.get(fact) not in (None, "")]


def _read(delivered: Delivered) -> _Reviewed:
    """Read the JSON of a document, which knows where each block stands, or the Markdown or text where there is none.

    What a person corrected in the Markdown beside the JSON goes before it.
    """
    outbox, name = delivered.watch.outbox, delivered.stem + kinds.JSON.ending
    has_json = (outbox / name).is_file()
    name = name if has_json else delivered.sidecar
    try:
        if has_json:
            document = _from_json(json.loads(_text(outbox, name)))
            is_beside = delivered.ending == kinds.MARKDOWN.ending
            return _corrected(document, _text(outbox, delivered.sidecar), delivered) if is_beside else document
        if delivered.ending == kinds.TEXT.ending:
            return _from_text(_text(outbox, name), delivered)
        return _from_markdown(_text(outbox, name), delivered.facts)
    except (ValueError, KeyError, TypeError) as error:
        raise DocumentError(
            f"{shown(outbox / name)} is not what ocrd wrote: {type(error).__name__}: {error}.", "Drop the scan again."
        ) from error


def _text(outbox: Path, name: str) -> str:
    return deliveries.read(outbox, name).decode("utf-8-sig").replace("\r\n", "\n")


def _corrected(document: _Reviewed, sidecar: str, delivered: Delivered) -> _Reviewed:
    """Take each page from the Markdown that reads otherwise there than what ocrd would have written of it."""
    texts = {number: markdown.without_own_marks(body) for number, body in front_matter.divided(sidecar).pages}
    read = [_result(raw) for raw in document.facts["pages"]]
    style = delivered.watch.style.of(read)
    pages = []
    for (page, placement), result in zip(document.pages, read, strict=True):
        own = texts.get(page.number)
        if own is not None and _letters(own) != _letters(markdown.section(result, style, noted=False)):
            page = replace(page, blocks=layout_blocks.parse(own), corrected=True)  # noqa: PLW2901 - as it is shown
        pages.append((page, placement))
    return replace(document, pages=tuple(pages))


def _result(raw: dict[str, Any]) -> PageResult:
    """Make the page again that a JSON tells of, as far as its text goes."""
    index, verdict = raw["page"] - 1, Verdict(raw["verdict"])
    reading = None if raw["tokens"] is None else Reading(index, raw["read"], "stop", 0, 0.0)
    return PageResult(index, verdict, raw["reason"], reading, figures=tuple(raw["figures"]))


def _letters(text: str) -> str:
    """Keep of Markdown what a person would change: neither markup nor how lines are broken."""
    return "".join(char for char in plain_text.plain(text) if char.isalnum())


def _from_text(text: str, delivered: Delivered) -> _Reviewed:
    pages = []
    for number, page in enumerate(plain_text.divided(text), 1):
        verdict = Verdict.OK if page.strip() else Verdict.BLANK
        blocks = [Block("text", (), page)] if page.strip() else []
        pages.append((ReviewPage(number, verdict, "", b"", _A4, blocks), Placement()))
    return _Reviewed(delivered.facts, tuple(pages))


def _from_json(raw: dict[str, Any]) -> _Reviewed:
    if raw["form"] != json_file.FORM:
        raise ValueError(f"its form is {raw['form']}, and this ocrd knows {json_file.FORM}")
    return _Reviewed(raw, tuple(_page_from_json(page) for page in raw["pages"]))


def _page_from_json(raw: dict[str, Any]) -> tuple[ReviewPage, Placement]:
    own_markdown = layout_blocks.in_markdown(raw["read"]) or not any(block["boxes"] for block in raw["blocks"])
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


async def _shown_pages(
    delivered: Delivered, document: _Reviewed, settings: Config, done: Callable[[], None]
) -> list[ReviewPage]:
    with _original(delivered, document) as source:
        async with _renderer(settings) as renderer:
            return await _with_images(document, source, renderer.opening(_opening(delivered)), done)


def _opening(delivered: Delivered) -> Opening:
    """Tell how an original is opened: without passwords, if whoever looks may not read them."""
    try:
        return passwords.opening(delivered.watch)
    except MachineError as error:
        log.warning("passwords not read", reason=str(error))
        return passwords.without_passwords(delivered.watch)


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
    original = originals.original(delivered.watch, document.facts, delivered.sidecar)
    if original is None:
        yield None
        return
    _tell_of(original, delivered)
    with (
        TemporaryDirectory(prefix="ocrd-review-") as scratch,
        originals.opened(original, Path(scratch, "original")) as source,
    ):
        yield source


def _tell_of(original: Original, delivered: Delivered) -> None:
    """Say which file is shown where it is not the one that was archived under its name."""
    if original.others or shown(original.files[0]) not in {delivered.source, *delivered.facts.get("files", ())}:
        print(f"The original lies at {shown(original.path)}.{original.remark}", file=sys.stderr)


async def _with_images(
    document: _Reviewed,
    source: Path | None,
    renderer: Renderer,
    done: Callable[[], None] = lambda: None,
    *,
    small: bool = False,
) -> list[ReviewPage]:
    if source is None:
        return [page for page, _ in document.pages]

    async def drawn(page: ReviewPage, placement: Placement) -> ReviewPage:
        shown_page = await _with_image(page, placement, source, renderer, small=small)
        done()
        return shown_page

    return list(await asyncio.gather(*(drawn(*page) for page in document.pages)))


async def _with_image(
    page: ReviewPage, placement: Placement, source: Path, renderer: Renderer, *, small: bool
) -> ReviewPage:
    try:
        image = await renderer.preview(source, page.number - 1, placement, small=small)
    except (PageError, DocumentError):
        return page  # it says that it can't be shown
    return replace(page, image=image)
