"""Scans whose words are known, render workers that take them for what they are, and an engine that reads at once.

A scan is text: a line that makes it unlike any other, then its pages, a form feed before each. On a page stand words
of its own, `q0017z`, which no other page has; `_` is a blank page, `|` a separator sheet, and a scan that begins with
`bad` is none. A page with `!` on it fails while the engine is out of sorts.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from simulated import SimulatedEngine

from ocrd.errors import DocumentError, PageError
from ocrd.filetypes import DUPLEX_FOLDER
from ocrd.model import (
    Box,
    PageFacts,
    PageImage,
    PageResult,
    PageSizer,
    PixelSize,
    Placement,
    Reading,
    SourceFacts,
    TextLayer,
    View,
)
from ocrd.rendering import tasks
from ocrd.rendering.sources import files_of

HEADER = "<|ref|>header<|/ref|><|det|>[[50, 10, 950, 40]]<|/det|>\nACME annual report\n\n"
TEXT = "<|ref|>text<|/ref|><|det|>[[50, 100, 950, 800]]<|/det|>\n"
_WORD = re.compile(r"q\d{4}z")
PICTURE = "\n\n<|ref|>image<|/ref|><|det|>[[100, 820, 900, 950]]<|/det|>\n"


def page(words: Sequence[str], *, fails: bool = False, picture: bool = False) -> str:
    """Write a page of these words; the first is divided at the end of a line."""
    first, *others = words
    text = f"Of {first[:3]}-\n{first[3:]} and {' '.join(others)} it says so."
    return f"{'!' if fails else ''}{HEADER}{TEXT}{text}{PICTURE if picture else ''}"


def words(page: str) -> list[str]:
    """List the words of a page, in one piece."""
    return _WORD.findall(page.replace("-\n", ""))


def scan(title: str, pages: Sequence[str]) -> bytes:
    """Write a scan."""
    return "\f".join([title, *pages]).encode()


def pages_in(*paths: Path) -> list[str]:
    """List the pages of a scan, or of all files of a group; where they are fronts and backs, in their order."""
    files = [file for path in paths for file in files_of(path)]
    texts = [file.read_text().split("\f")[1:] for file in files]
    if [file.stem.rpartition("-")[2] for file in files] == ["front", "back"] and len(texts[0]) == len(texts[1]):
        fronts, backs = texts
        return [page for sheet in zip(fronts, reversed(backs), strict=True) for page in sheet]
    return [page for pages in texts for page in pages]


class Renderer:
    """Stands where the render workers stand."""

    workers = 1

    def __init__(self, *_: object) -> None:
        """Need nothing."""

    def opening(self, *_: object) -> "Renderer":
        return self

    def telling(self, *_: object) -> "Renderer":
        return self

    async def open(self, path: Path) -> SourceFacts:
        if any(file.read_bytes().startswith(b"bad") for file in files_of(path)):
            raise DocumentError("This file is bad.", "Make it good.")
        is_duplex = path.suffix == DUPLEX_FOLDER
        if is_duplex and len({len(pages_in(file)) for file in files_of(path)}) > 1:
            raise DocumentError("The counts do not fit.", "Scan more.")
        digests = [tasks._digest(file) for file in files_of(path)]
        digest = tasks.hashlib.sha256(" ".join(digests).encode()).hexdigest() if path.is_dir() else digests[0]
        kind = "duplex" if is_duplex else "images" if path.is_dir() else "pdf"
        return SourceFacts(kind, len(pages_in(path)), digest)

    async def count_pages(self, path: Path) -> int:
        return len(pages_in(path)) or 1

    async def page(
        self, path: Path, index: int, _sizer: PageSizer, _prepare: None, view: View, *, priority: int
    ) -> PageImage:
        assert priority >= 0
        text = pages_in(path)[index]
        separator = "PATCHT" if text == "|" and "PATCHT" in view.separators else ""
        layer = TextLayer(40, "") if view.layer and text not in {"_", "|"} else None
        blank = "nothing is on it" if text == "_" else ""
        facts = PageFacts(
            Placement(600, 800), 0.05, 5, 60 if len(text) > 1 else 0, blank=blank, separator=separator, layer=layer
        )
        return PageImage(index, PixelSize(1, 1), text.encode(), 72.0, facts)

    async def layer(self, path: Path, index: int, _placement: Placement) -> str:
        return pages_in(path)[index].removeprefix("!")

    async def figures(self, path: Path, index: int, boxes: Sequence[Box], _placement: Placement) -> list[bytes]:
        return [f"figure {number} on page {index} of {path.name}".encode() for number, _ in enumerate(boxes)]

    async def preview(self, path: Path, index: int, _placement: Placement, *, small: bool) -> bytes:
        return f"{small} {pages_in(path)[index]}".encode()

    async def searchable(self, path: Path, pages: Sequence[PageResult], only: Sequence[int], pipe: int) -> None:
        wanted = list(only) or range(len(pages_in(path)))
        os.write(pipe, json.dumps([self._words(pages[index]) for index in wanted]).encode())

    async def exchange_searchable(  # noqa: PLR0913, PLR0917 - as the workers have it
        self, path: Path, delivered: Path, pages: Sequence[PageResult], places: Mapping[int, int], total: int, pipe: int
    ) -> None:
        assert path.exists()
        texts = json.loads(delivered.read_bytes())
        if len(texts) != total:
            raise PageError(f"The PDF has {len(texts)} pages, and not {total}.", "Move it away.")
        for index, place in places.items():
            texts[place] = self._words(pages[index])
        os.write(pipe, json.dumps(texts).encode())

    async def close(self) -> None:
        """Hold nothing."""

    @staticmethod
    def _words(result: PageResult) -> str:
        return result.reading.text if result.reading else ""


class Mood:
    """How the engine is today."""

    def __init__(self) -> None:
        self.fails = False
        """Whether it is out of sorts."""
        self.edition = 0
        """What it adds to each page, so that readings can be told apart: `v3v`."""


def engine(mood: Mood, seconds: float = 0.0, begin: Callable[[PageImage], None] | None = None) -> SimulatedEngine:
    """Make an engine that reads what stands on the paper, each page in so many seconds; `begin` is called before."""

    def behave(image: PageImage, _priority: int) -> Reading | Exception:
        text = image.pixels.decode()
        if text.startswith("!") and mood.fails:
            return PageError("The engine is out of sorts.", "Try again.")
        text = text.removeprefix("!").replace(" it says so.", f" it says so, v{mood.edition}v.")
        return Reading(image.index, text, "stop", 9, 0.0)

    return SimulatedEngine(begin=begin, behave=behave, seconds=seconds)
