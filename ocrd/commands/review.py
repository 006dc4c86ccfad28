"""`ocrd review`: one HTML page of a delivered document, its originals beside what was read."""

import asyncio
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from ocrd.commands.review_html import ReviewPage, html
from ocrd.concurrency.worker_pool import Limits
from ocrd.config.schema import Config, Watch
from ocrd.display import shown
from ocrd.errors import DocumentError, PageError
from ocrd.model import Box, Placement, Verdict
from ocrd.output import kinds, layout_blocks
from ocrd.output.layout_blocks import Block
from ocrd.rendering.renderer import Renderer
from ocrd.storage import deliveries, durable, naming

_MARKER = re.compile(r"^<!-- page (\d+) -->$", re.MULTILINE)
_FRONT = re.compile(r"---\n(.*?\n)---\n", re.DOTALL)
_NOTE = re.compile(r"> \*Page \d+ [^\n]*\*\n*")
_SHOWN = ("source", "status", "engine", "model", "date", "seconds", "sha256")
_A4 = (595.0, 842.0)


@dataclass(frozen=True, slots=True)
class _Told:
    """What a delivered document says of itself."""

    facts: dict[str, Any]
    """As in the front matter."""
    pages: tuple[tuple[ReviewPage, Placement], ...]
    """Still without images."""


def write(name: str, settings: Config, output: Path | None) -> Path:
    """Write the review page of the sidecar `name`, beside which no suffix is needed. Returns where it lies.

    Raises DocumentError if there is no such sidecar, MachineError.
    """
    sidecar, watch = _find(name, settings)
    told = _read(sidecar)
    original = deliveries.original(watch, told.facts, str(sidecar.relative_to(watch.outbox)))
    pages = [page for page, _ in told.pages]
    if original:
        with (
            TemporaryDirectory(prefix="ocrd-review-") as scratch,
            deliveries.held_open(original, Path(scratch, "original")) as source,
        ):
            pages = asyncio.run(_with_images(told, source, settings))
    facts = [(fact, str(told.facts[fact])) for fact in _SHOWN if told.facts.get(fact) not in (None, "")]
    data = html(sidecar.with_suffix("").name, facts, pages).encode()
    target = output or Path(f"{sidecar.stem}.review.html")
    path = target.parent / naming.free_name(target.parent, target.name)
    durable.write_new(path, data, tag="review")
    return path


def _find(name: str, settings: Config) -> tuple[Path, Watch]:
    """Find the sidecar in the outboxes, named with or without its suffix."""
    stem = re.sub(r"\.(md|json)$", "", name)
    found = [
        (path, watch)
        for watch in settings.watches
        for path in (watch.outbox / f"{stem}.json", watch.outbox / f"{stem}.md")
        if path.is_file()
    ]
    if not found:
        outboxes = ", ".join(str(watch.outbox) for watch in settings.watches)
        raise DocumentError(
            f"There is no {shown(stem)}.md or {shown(stem)}.json in {outboxes}.",
            "Give the name of a sidecar as it lies in its outbox, with its subfolder.",
        )
    if len({watch.name for _, watch in found}) > 1:
        paths = ", ".join(shown(path) for path, _ in found)
        raise DocumentError(f"Several watches have one of this name: {paths}.", "Rename one of them.")
    return found[0]


def _read(sidecar: Path) -> _Told:
    try:
        text = sidecar.read_text(encoding="utf-8")
        return _from_json(json.loads(text)) if sidecar.suffix == ".json" else _from_markdown(text)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise DocumentError(
            f"{shown(sidecar)} is not what ocrd wrote: {type(error).__name__}: {error}.", "Drop the scan again."
        ) from error


def _from_json(raw: dict[str, Any]) -> _Told:
    if raw["form"] != kinds.FORM:
        raise ValueError(f"its form is {raw['form']}, and this ocrd knows {kinds.FORM}")
    return _Told(raw, tuple(_page_from_json(page) for page in raw["pages"]))


def _page_from_json(raw: dict[str, Any]) -> tuple[ReviewPage, Placement]:
    blocks = [
        Block(block["label"], tuple(Box(*box) for box in block["boxes"]), block["text"]) for block in raw["blocks"]
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


def _from_markdown(text: str) -> _Told:
    front = _FRONT.match(text)
    facts: dict[str, Any] = yaml.safe_load(front[1]) if front else {}
    problems = {problem["page"]: problem for problem in facts.get("problems", ())}
    _, *pieces = _MARKER.split(text[front.end() if front else 0 :])
    pages = []
    for number, body in zip(map(int, pieces[::2]), pieces[1::2], strict=True):
        problem = problems.get(number)
        words = _NOTE.sub("", body.strip("\n"), count=1)
        verdict = Verdict(problem["verdict"]) if problem else Verdict.OK if words.strip() else Verdict.BLANK
        blocks = layout_blocks.parse(words)
        pages.append((ReviewPage(number, verdict, problem["reason"] if problem else "", b"", _A4, blocks), Placement()))
    return _Told(facts, tuple(pages))


async def _with_images(told: _Told, source: Path, settings: Config) -> list[ReviewPage]:
    renderer = Renderer(settings.render.count, Limits(settings.render.page_timeout, settings.render.memory))
    try:
        return list(await asyncio.gather(*(_with_image(*page, source, renderer) for page in told.pages)))
    finally:
        await renderer.close()


async def _with_image(page: ReviewPage, placement: Placement, source: Path, renderer: Renderer) -> ReviewPage:
    try:
        image = await renderer.preview(source, page.number - 1, placement)
    except (PageError, DocumentError):
        return page  # it says that it can't be shown
    return replace(page, image=image)
