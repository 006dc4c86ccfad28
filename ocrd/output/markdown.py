"""From a document's pages to its sidecar, and from pages that were read again to the sidecar with them. Pure.

What the engine read is text, never markup of ours: it can't end the front matter, it can't forge a page marker, and
what it leaves open ends with its page.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from ocrd.display import shown
from ocrd.errors import DocumentError
from ocrd.model import Document, PageResult, Verdict
from ocrd.output import front_matter, layout_blocks, sanitize, tables
from ocrd.output.front_matter import inline
from ocrd.output.layout_blocks import Block
from ocrd.output.reflow import Part, joined
from ocrd.output.result_names import ASSETS, STEM, with_stem

_HEADINGS = {"title": "# ", "sub_title": "## "}
_RUNNING = {"header": "header", "footer": "footer", "page_number": "number"}
_CAPTIONS = {"image_caption", "figure_caption", "chart_caption", "table_caption"}
_NOTE = re.compile(r"> \*Page \d+ [^\n]*\*\n*")


@dataclass(frozen=True, slots=True)
class Style:
    """How a watch wants its Markdown; the settings of these names say more."""

    front_matter: bool = True
    tables: Literal["markdown", "html"] = "markdown"
    running: Literal["mark", "keep", "drop"] = "mark"
    dehyphenate: bool = False
    join_paragraphs: bool = False


def sidecar(document: Document, style: Style) -> str:
    """Write the Markdown of a document: facts if wanted, then every page in order under its marker.

    Links to figures hold `result_names.STEM` for the name that is found when it is published.
    """
    facts = front_matter.facts(document) | {"problems": [front_matter.problem(page) for page in document.problems]}
    head = [front_matter.front_matter(facts)] if style.front_matter else []
    parts = [part for page in document.pages for part in _page(page, style)]
    flowing = joined(parts, dehyphenate=style.dehyphenate, paragraphs=style.join_paragraphs)
    return "\n".join([*head, _text(flowing) + "\n"])


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
    fresh = {page.index + 1: with_stem(_body(page, style), stem) for page in pages}
    written = (front_matter.renewed(divided.front, pages, rerun) if divided.front else "") + divided.head
    after_fresh = False
    for number, earlier in divided.pages:
        text = earlier
        if number in fresh:
            if written.strip() and not written.endswith("\n"):  # the marker stood in a paragraph
                written = written.rstrip() + "\n\n"
            text = f"\n\n{fresh[number]}".rstrip() + "\n\n"
        elif after_fresh:
            text = re.sub(r"\A[ \t]+", "\n\n", earlier)
        written += front_matter.marker(number) + text
        after_fresh = number in fresh
    return written.rstrip("\n") + "\n" if after_fresh else written


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


def without_note(text: str) -> str:
    """Take the visible word on a problem off the text of a page."""
    return _NOTE.sub("", text.strip("\n"), count=1)


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
    figures = iter(page.figures)
    for block in layout_blocks.parse(sanitize.clean(page.reading.text)) if page.reading else ():
        if block.label in layout_blocks.PICTURES:
            parts += [_figure(page, name) for _, name in zip(block.boxes, figures, strict=False)]
        parts += _block(block, style)
    return parts


def _block(block: Block, style: Style) -> list[Part]:
    parts = [_piece(piece, style) for piece in sanitize.pieces(block.text)]
    if not parts:
        return []
    if block.label in _RUNNING:
        if style.running == "drop":
            return []
        mark = f"<!-- {_RUNNING[block.label]} -->\n" if style.running == "mark" else ""
        return [Part("running", mark + _unbroken(part.text)) for part in parts]
    if block.label in _HEADINGS and parts[0].kind == "prose":
        return [_heading(parts[0].text, _HEADINGS[block.label]), *parts[1:]]
    if block.label in _CAPTIONS:
        return [Part("caption", _emphasised(part.text)) if part.kind == "prose" else part for part in parts]
    return parts


def _piece(piece: sanitize.Piece, style: Style) -> Part:
    text = sanitize.safe(piece)
    return Part(piece.kind, _as_wanted(text, style) if piece.kind == "table" else text)


def _as_wanted(table: str, style: Style) -> str:
    if style.tables == "html":
        return table
    caption, rows, plain = tables.parse(table)
    safe = tables.Table(sanitize.prose(caption), tuple(tuple(map(sanitize.prose, row)) for row in rows), plain)
    return tables.as_markdown(safe) or table


def _figure(page: PageResult, name: str) -> Part:
    if not name:
        return Part("figure", f"*(A picture on page {page.index + 1} could not be cropped.)*")
    number = name.rpartition("-")[2].partition(".")[0]
    return Part("figure", f"![Page {page.index + 1}, figure {number}]({STEM}{ASSETS}/{name})")


def _heading(text: str, level: str) -> Part:
    line = " ".join(text.split("\n"))
    return Part("heading", line if line.startswith("#") else level + line)


def _emphasised(text: str) -> str:
    """Set a caption off, if it is one line without signs of its own."""
    return f"*{text}*" if not re.search(r"[*_\n\\]", text) else text


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
