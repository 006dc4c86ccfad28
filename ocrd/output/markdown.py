"""From a document's pages to its sidecar, and from pages that were read again to the sidecar with them. Pure.

What the engine read is text, never markup of ours: it can't end the front matter, it can't forge a page marker, and
what it leaves open ends with its page.
"""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal
from urllib.parse import quote

from ocrd.display import shown
from ocrd.errors import DocumentError
from ocrd.markup import html_structure, layout_blocks
from ocrd.markup.layout_blocks import Block
from ocrd.model import Document, PageResult, Verdict
from ocrd.output import front_matter, hyphens, prose, reflow, running, sanitize, tables
from ocrd.output.front_matter import inline
from ocrd.output.reflow import Part, joined
from ocrd.output.result_names import ASSETS, STEM, with_stem
from ocrd.output.sanitize import Piece

_HEADINGS = {"title": "#", "sub_title": "##"}
_HEADINGS_APART = re.compile(r"\n\s*\n|\n(?=#)")
_OWN_EMPHASIS = re.compile(r"\n|(?<!\\)\*|<strong>|<em>|^[-+#>|]|^\d+[.)]")
_NOTHING = Part("marker", "")
_CAPTIONS = {"image_caption", "figure_caption", "chart_caption", "table_caption"}
_OWN_COMMENT = re.compile(r"[ \t]*<!-- (?:header|footer|number|divided \S+ \S+|\d+ running lines? left out) -->\n?")
_NOTE = re.compile(r"> \*Page \d+ [^\n]*\*\n*")


@dataclass(frozen=True, slots=True)
class Style:
    """How a watch wants its Markdown; the settings of these names say more."""

    front_matter: bool = True
    tables: Literal["markdown", "html"] = "markdown"
    running: Literal["mark", "keep", "drop"] = "mark"
    dehyphenate: bool = False
    join_paragraphs: bool = False
    join_hyphens: bool = True
    running_titles: frozenset[str] = frozenset()
    """`running.titles` of the document, which `running: drop` leaves out."""

    def of(self, pages: Sequence[PageResult]) -> "Style":
        """Return the style for these pages of one document."""
        return replace(self, running_titles=running.titles(pages)) if self.running == "drop" else self


def sidecar(document: Document, style: Style) -> str:
    """Write the Markdown of a document: facts if wanted, then every page in order under its marker.

    Links to figures hold `result_names.STEM` for the name that is found when it is published.
    """
    style = style.of(document.pages)
    parts = [part for page in document.pages for part in _page(page, style)]
    body = _text(joined(parts, dehyphenate=style.dehyphenate, paragraphs=style.join_paragraphs)) + "\n"
    facts = front_matter.facts(document) | front_matter.left_out(body)
    facts |= {"problems": front_matter.problems(document)}
    return "\n".join([front_matter.front_matter(facts), body]) if style.front_matter else body


def replace_pages(
    sidecar: str, pages: Sequence[PageResult], style: Style, rerun: Mapping[str, object], stem: str
) -> str:
    """Put pages in the place of their earlier readings; what stands elsewhere stays as its owner left it.

    `rerun` is the entry about it in the front matter, if there is one; `stem` the name of the sidecar, for links.
    Raises DocumentError if a page's marker is not there, or twice, or the front matter can't be read.
    """
    divided = front_matter.divided(sidecar)
    found = [number for number, _ in divided.pages]
    for page in pages:
        if found.count(page.index + 1) != 1:
            raise DocumentError(
                f"The sidecar has the marker of page {page.index + 1} {found.count(page.index + 1)} times.",
                f"Write the line {front_matter.marker(page.index + 1)} where that page begins, once, or drop the scan "
                "again.",
            )
    fresh = {page.index + 1: f"\n\n{with_stem(_body(page, style), stem)}".rstrip() + "\n\n" for page in pages}
    numbers, texts = zip(*divided.pages, strict=True)
    body = divided.head + _exchanged(numbers, list(texts), fresh)
    return (front_matter.renewed(divided.front, pages, rerun, body) if divided.front else "") + body


def _exchanged(numbers: Sequence[int], texts: list[str], fresh: Mapping[int, str]) -> str:
    """Write the pages of these numbers and texts, some `fresh`. A marker stands in no paragraph beside those."""
    for place, (number, following) in enumerate(pairwise(numbers)):
        if (number in fresh) != (following in fresh):
            texts[place : place + 2] = reflow.parted(texts[place], texts[place + 1])
    written = ""
    for place, number in enumerate(numbers):
        text = fresh.get(number, texts[place])
        if number in fresh and written.strip() and not written.endswith("\n"):
            written = written.rstrip() + "\n\n"
        if number not in fresh and place and numbers[place - 1] in fresh:
            text = re.sub(r"\A[ \t]+", "\n\n", text)
        written += front_matter.marker(number) + text
    return written.rstrip("\n") + "\n" if numbers[-1] in fresh else written


def section(page: PageResult, style: Style, *, noted: bool) -> str:
    """Write the words of one page, without marker and figures; `noted` begins with a visible word on any problem."""
    without = {"figure"} if noted else {"figure", "note"}
    return _text(part for part in page_parts(page, style) if part.kind not in without)


def page_parts(page: PageResult, style: Style) -> list[Part]:
    """Write one page by itself, part by part, without its marker.

    There is a part for each of the page's `figures`, in their order; its link holds `result_names.STEM`.
    """
    parts = [part for part in _page(page, style) if part.kind != "marker"]
    return joined(parts, dehyphenate=style.dehyphenate, paragraphs=False)


def words(block: Block, style: Style) -> str:
    """Write the words of one block of a page."""
    return _text(_block(block, style))


def without_own_marks(text: str) -> str:
    """Take off the text of a page what is no text of it: the visible word on a problem, and comments."""
    return _NOTE.sub("", _OWN_COMMENT.sub("", text).strip("\n"), count=1)


def duplicate(facts: Mapping[str, str | int], earlier: str, links: Sequence[str], style: Style) -> str:
    """Write the sidecar of a scan whose content was delivered before as `earlier`, with links to the sidecars of that.

    `facts` are `source`, `sha256`, `pages` and `date` of this scan.
    """
    written = {"source": facts["source"], "sha256": facts["sha256"], "pages": facts["pages"], "status": "duplicate"}
    written |= {"date": facts["date"], "duplicate_of": shown(earlier)}
    head = front_matter.front_matter(written) if style.front_matter else ""
    if len(links) == 1:
        return f"{head}\nThe same file was read before, as [{inline(earlier)}]({quote(links[0])}).\n"
    parts = ", ".join(f"[{number}]({quote(link)})" for number, link in enumerate(links, 1))
    return f"{head}\nThe same file was read before, as {inline(earlier)}, in {len(links)} parts: {parts}.\n"


def _body(page: PageResult, style: Style) -> str:
    """Write one page as it stands in a sidecar below its marker; links to figures hold `result_names.STEM`."""
    return _text(page_parts(page, style))


def _text(parts: Iterable[Part]) -> str:
    return "\n\n".join(part.text for part in parts)


def _page(page: PageResult, style: Style) -> list[Part]:
    """Write the parts of a page: its marker, a visible word on any problem, and the text that there is."""
    parts = [Part("marker", front_matter.marker(page.index + 1))]
    if page.verdict is not Verdict.OK:
        parts.append(Part("note", f"> *Page {page.index + 1} {_in_words(page)}.*"))
    blocks = layout_blocks.parse(sanitize.clean(page.reading.text)) if page.reading else []
    kept = [block for block in blocks if not _left_out(block, page.index, style)]
    if any(block.text.strip() for block in kept):  # a page is never emptied
        if gone := len(blocks) - len(kept):
            parts.append(Part("left_out", front_matter.left_out_mark(gone)))
        blocks = kept
    figures = iter(page.figures)
    suspended = page.facts.layer.open_hyphens if page.facts and page.facts.layer else ()
    for block in blocks:
        if block.label in layout_blocks.PICTURES:
            parts += [_figure(page, name) for _, name in zip(block.boxes, figures, strict=False)]
        parts += _block(block, style, suspended, after=parts[-1])
    return parts


def _left_out(block: Block, index: int, style: Style) -> bool:
    return (
        style.running == "drop"
        and block.label in running.LABELS
        and running.is_running(block.text, index, style.running_titles)
    )


def _block(block: Block, style: Style, suspended: Container[str] = (), after: Part = _NOTHING) -> list[Part]:
    own_html = block.own_markdown or "<table" in block.text
    pieces = list(sanitize.pieces(html_structure.as_markdown(block.text) if own_html else block.text))
    if style.join_hyphens:
        pieces = [_with_closed_hyphens(piece, suspended) for piece in pieces]
    parts: list[Part] = []
    for piece in pieces:
        if block.label in _HEADINGS and piece.kind == "prose" and not parts:
            parts += _headings(piece.text, _HEADINGS[block.label])
        else:
            before = parts[-1] if parts else after
            number = prose.last_number(before.text) if before.kind == "prose" else 0
            part = _piece(piece, style, own_markdown=block.own_markdown, number=number)
            parts += [part] if part.text else []
    if block.label in running.LABELS and style.running != "drop":
        mark = f"<!-- {running.LABELS[block.label]} -->\n" if style.running == "mark" else ""
        return [Part("running", mark + _unbroken(part.text)) for part in parts]
    if block.label in _CAPTIONS:
        return [Part("caption", _emphasised(part.text)) if part.kind == "prose" else part for part in parts]
    return parts


def _with_closed_hyphens(piece: Piece, suspended: Container[str]) -> Piece:
    return piece if piece.kind == "code" else piece._replace(text=hyphens.closed(piece.text, suspended))


def _piece(piece: Piece, style: Style, *, own_markdown: bool, number: int) -> Part:
    if piece.kind == "table" and style.tables == "markdown" and (table := _as_markdown(piece.text)):
        return Part("table", table)
    return Part(piece.kind, sanitize.safe(piece, own_markdown=own_markdown, number=number))


def _as_markdown(html: str) -> str | None:
    caption, rows, plain = tables.parse(html)
    dollars = html.count("$") > 1
    safe = tuple(tuple(prose.line(cell, dollars=dollars) for cell in row) for row in rows)
    return tables.as_markdown(tables.Table(prose.prose(caption), safe, plain))


def _headings(text: str, level: str) -> list[Part]:
    """Write what was called a heading: of several paragraphs the first, and those with a heading's own sign."""
    parts: list[Part] = []
    for paragraph in _HEADINGS_APART.split(text.strip()):
        if not parts or paragraph.startswith("#"):
            parts.append(Part("heading", prose.heading(paragraph, level)))
        elif written := prose.prose(paragraph):
            parts.append(Part("prose", written))
    return parts


def _figure(page: PageResult, name: str) -> Part:
    if not name:
        return Part("figure", f"*(A picture on page {page.index + 1} could not be cropped.)*")
    number = name.rpartition("-")[2].partition(".")[0]
    return Part("figure", f"![Page {page.index + 1}, figure {number}]({STEM}{ASSETS}/{name})")


def _emphasised(text: str) -> str:
    """Set a caption off, if it is one line without emphasis of its own."""
    return text if _OWN_EMPHASIS.search(text) else f"*{text}*"


def _unbroken(text: str) -> str:
    """Keep a running line together below its mark."""
    return re.sub(r"\n\s*\n", "\n", text)


def _in_words(page: PageResult) -> str:
    reason = inline(page.reason).rstrip(".")
    match page.verdict:
        case Verdict.BLANK if page.facts and page.facts.separator:
            return f"is a separator sheet ({inline(page.facts.separator)})"
        case Verdict.BLANK:
            return "is blank"
        case Verdict.FAILED:
            return f"could not be read: {reason}"
        case _:
            return f"may be wrong or incomplete: {reason}"
