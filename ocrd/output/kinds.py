"""The registry of output kinds: all that ocrd can deliver of a document, each declared here and nowhere else. Pure.

`ALL` is the table; its order is the order of delivery. A new output is a module that writes it, an entry in this table,
its test and its documentation: the configuration, the pipeline, reruns and storage ask here. An output of the text of
the pages is a `TextKind`, one that is made of the scan itself, by the render workers, a `ScanKind`.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ocrd.model import Document, PageResult, Verdict
from ocrd.output import front_matter, html_page, json_file, markdown, plain_text
from ocrd.output.markdown import Style


class RenderWorkers(Protocol):
    """What an output can ask of the render workers; `rendering.renderer.Renderer` says more. They raise PageError."""

    async def searchable(self, path: Path, pages: Sequence[PageResult], only: Sequence[int], pipe: int) -> None:
        """Write into a pipe a PDF with invisible text of a scan, or of the pages of these indices."""
        ...

    async def exchange_searchable(  # noqa: PLR0913, PLR0917 - a PDF, and what is to stand where in it
        self, path: Path, delivered: Path, pages: Sequence[PageResult], places: Mapping[int, int], total: int, pipe: int
    ) -> None:
        """Write into a pipe such a PDF in which some pages are exchanged."""
        ...


class Stream(Protocol):
    """What lets a render worker write a file, which may be larger than the memory that there is."""

    async def __call__(self, write: Callable[[int], Awaitable[None]]) -> Path:
        """Keep what `write` puts into the pipe that it is given, and say where. Raises MachineError."""
        ...


@dataclass(frozen=True, slots=True)
class Materials:
    """What a file is made of, beside the document itself."""

    style: Style
    """How its text is written."""
    figure: Callable[[str], bytes]
    """Gives a picture cropped from a page, a JPEG, by its name. Raises MachineError."""
    source: Path
    """The scan: a file, or a folder of images."""
    workers: RenderWorkers
    """What opens it."""
    stream: Stream
    """Keeps what these write."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Pages that were read again, to be put into what was delivered of their document."""

    pages: Sequence[PageResult]
    """These pages."""
    numbers: Sequence[int]
    """All pages that the delivered document has, from 1 in the source."""
    total: int
    """Pages of the source."""
    rerun: Mapping[str, object]
    """What the document is to tell of it: `date`, `pages`, `engine`, `model`."""
    stem: str
    """The name of the document's files without their endings, for links."""
    not_in_pdf: Sequence[int] = ()
    """Those of its pages that its PDF lacks, by number."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """How a delivered file is asked about its document."""

    facts: Callable[[bytes], dict[str, Any] | None]
    """Reads what it says of itself, such as `source` and `sha256`; None where it says nothing, or is damaged."""
    pages: Callable[[bytes], list[int]]
    """Lists the numbers of its pages, from 1 in the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputKind:
    """A file that can be delivered of each document, or of each part of one."""

    name: str
    """What the configuration calls it."""
    meaning: str
    """What it is, in a few words, for the configuration's own documentation; empty if the name says it."""
    ending: str
    """Of its files' names, with the dot."""
    figures: Literal["none", "linked", "inlined"] = "none"
    """Whether it shows the pictures cropped from pages, from the folder beside it or as a part of itself."""
    has_stem: bool = False
    """Whether `result_names.STEM` in it is to become the name that it goes out under."""
    sidecar: Sidecar | None = None
    """How it is asked about its document; None for a kind that can't tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextKind(OutputKind):
    """An output of the text of the pages."""

    write: Callable[[Document, Materials], str]
    replace: Callable[[str, Replacement, Materials], str]
    """Writes it anew with other pages. Raises DocumentError if it is not what was delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanKind(OutputKind):
    """An output that is made of the scan. Where that fails, with DocumentError or PageError, Markdown stands in."""

    make: Callable[[Document, Materials], Awaitable[Path]]
    """Makes it, and says where it is kept until it goes out."""
    replace: Callable[[Path, Replacement, Materials], Awaitable[Path | None]]
    """Makes it anew with other pages, of the delivered file; None if it has none of them. Raises PageError if it can't
    be."""


async def _make_pdf(part: Document, given: Materials) -> Path:
    kept = [page.index for page in part.pages if page.index + 1 not in part.not_in_pdf]
    only = kept if len(kept) < part.facts.pages else []
    pages = _every_page(part.pages, part.facts.pages)
    return await given.stream(lambda pipe: given.workers.searchable(given.source, pages, only, pipe))


async def _replace_in_pdf(delivered: Path, new: Replacement, given: Materials) -> Path | None:
    numbers = [number for number in new.numbers if number not in new.not_in_pdf]
    places = {page.index: numbers.index(page.index + 1) for page in new.pages if page.index + 1 in numbers}
    if not places:
        return None
    pages = _every_page(new.pages, new.total)
    return await given.stream(
        lambda pipe: given.workers.exchange_searchable(given.source, delivered, pages, places, len(numbers), pipe)
    )


def _every_page(known: Iterable[PageResult], total: int) -> list[PageResult]:
    """List a result for each page of the source, without text where none is known."""
    results = {page.index: page for page in known}
    return [results.get(index) or PageResult(index, Verdict.OK, "", None) for index in range(total)]


MARKDOWN = TextKind(
    name="markdown",
    meaning="",
    ending=".md",
    figures="linked",
    has_stem=True,
    sidecar=Sidecar(
        facts=front_matter.facts_of, pages=lambda data: front_matter.pages_of(data.decode(errors="replace"))
    ),
    write=lambda part, given: markdown.sidecar(part, given.style),
    replace=lambda old, new, given: markdown.replace_pages(old, new.pages, given.style, new.rerun, new.stem),
)
JSON = TextKind(
    name="json",
    meaning="all that is known of each page",
    ending=".json",
    figures="linked",
    sidecar=Sidecar(facts=json_file.facts_of, pages=json_file.pages_of),
    write=lambda part, _: json_file.write(part),
    replace=lambda old, new, _: json_file.replace_pages(old, new.pages, new.rerun),
)
TEXT = TextKind(
    name="text",
    meaning="without markup",
    ending=".txt",
    sidecar=Sidecar(facts=lambda _: None, pages=lambda data: plain_text.pages_of(data.decode(errors="replace"))),
    write=lambda part, given: plain_text.write(part, given.style),
    replace=lambda old, new, given: plain_text.replace_pages(old, new.pages, new.numbers, given.style),
)
HTML = TextKind(
    name="html",
    meaning="one page for a browser or a printer, with its pictures in it",
    ending=".html",
    figures="inlined",
    write=lambda part, given: html_page.write(part, given.style, given.figure),
    replace=lambda old, new, given: html_page.replace_pages(old, new.pages, given.style, new.rerun, given.figure),
)
PDF = ScanKind(
    name="pdf",
    meaning="a copy of the scan that can be searched",
    ending=".pdf",
    make=_make_pdf,
    replace=_replace_in_pdf,
)

Kind = TextKind | ScanKind
ALL: tuple[Kind, ...] = (PDF, HTML, TEXT, JSON, MARKDOWN)
"""In the order of delivery: what links comes after what it links to, and the last one says that all are there."""
NAMES = tuple(kind.name for kind in reversed(ALL))
"""What the configuration can name, the most usual first."""
SIDECARS = {kind.ending: kind.sidecar for kind in reversed(ALL) if kind.sidecar}
"""Files that tell of their document, by ending, in the order in which they are asked."""


def named(names: Iterable[str]) -> list[Kind]:
    """List the kinds of these names, in the order of delivery."""
    wanted = set(names)
    return [kind for kind in ALL if kind.name in wanted]


def ending_in(suffix: str) -> Kind | None:
    """Find the kind whose files end so; None if there is none, as of a file that a later version delivered."""
    return next((kind for kind in ALL if kind.ending == suffix), None)


def show_figures(names: Iterable[str]) -> bool:
    """Whether one of the kinds of these names shows pictures cropped from the pages."""
    return any(kind.figures != "none" for kind in named(names))


def link_figures(suffixes: Iterable[str]) -> bool:
    """Whether files with one of these suffixes need the folder of figures beside them."""
    return any(kind.figures == "linked" for suffix in suffixes if (kind := ending_in(suffix)))


def in_words() -> str:
    """Describe each kind, for the configuration's own documentation."""
    return "; ".join(f"{kind.name} ({kind.meaning})" if kind.meaning else kind.name for kind in reversed(ALL))
