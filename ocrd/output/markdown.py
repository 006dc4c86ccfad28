"""From a document's pages to its sidecar, and from a refusal to its note. Pure: text in, text out.

What the engine read is text, never markup of ours: it can't end the front matter, it can't forge a page marker, and
what it leaves open ends with its page.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from ocrd.display import shown
from ocrd.model import Document, PageResult, Verdict
from ocrd.output import layout_blocks, sanitize, tables
from ocrd.output.front_matter import front_matter, inline, problem
from ocrd.output.layout_blocks import Block
from ocrd.output.reflow import Part, joined
from ocrd.output.result_names import ASSETS, STEM

_HEADINGS = {"title": "# ", "sub_title": "## "}
_RUNNING = {"header": "header", "footer": "footer", "page_number": "number"}
_CAPTIONS = {"image_caption", "figure_caption", "chart_caption", "table_caption"}


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

    Links to figures hold `result.STEM` for the name that is found when it is published.
    """
    head = [_facts(document)] if style.front_matter else []
    parts = [part for page in document.pages for part in _page(page, style)]
    told = joined(parts, dehyphenate=style.dehyphenate, paragraphs=style.join_paragraphs)
    body = "\n\n".join(part.text for part in told) + "\n"
    return "\n".join([*head, body])


def section(page: PageResult, style: Style, *, noted: bool) -> str:
    """Write the words of one page, without marker and figures; `noted` begins with a visible word on any problem."""
    return _without({"marker", "figure"} if noted else {"marker", "figure", "note"}, page, style)


def body(page: PageResult, style: Style) -> str:
    """Write one page as it stands in a sidecar below its marker; links to figures hold `result.STEM`."""
    return _without({"marker"}, page, style)


def _without(kinds: set[str], page: PageResult, style: Style) -> str:
    parts = [part for part in _page(page, style) if part.kind not in kinds]
    return "\n\n".join(part.text for part in joined(parts, dehyphenate=style.dehyphenate, paragraphs=False))


def words(block: Block, style: Style) -> str:
    """Write the words of one block of a page."""
    return "\n\n".join(part.text for part in _block(block, style))


def duplicate(told: Mapping[str, str | int], earlier: str, links: Sequence[str], style: Style) -> str:
    """Write the sidecar of a scan whose content was delivered before: `told` of it, and links to the earlier one's."""
    facts = {"source": told["source"], "sha256": told["sha256"], "pages": told["pages"], "status": "duplicate"}
    facts |= {"date": told["date"], "duplicate_of": shown(earlier)}
    head = front_matter(facts) if style.front_matter else ""
    if len(links) == 1:
        return f"{head}\nThe same file was read before, as [{inline(earlier)}]({quote(links[0])}).\n"
    parts = ", ".join(f"[{number}]({quote(link)})" for number, link in enumerate(links, 1))
    return f"{head}\nThe same file was read before, as {inline(earlier)}, in {len(links)} parts: {parts}.\n"


def _facts(document: Document) -> str:
    facts = {
        "source": shown(document.source),
        **({"files": [shown(file) for file in document.facts.files]} if document.facts.files else {}),
        "sha256": document.facts.sha256,
        "pages": document.facts.pages,
        **document.told_part,
        **document.told_settings,
        "status": document.status,
        "engine": document.engine,
        "model": document.model,
        "date": document.date.isoformat(timespec="seconds"),
        "seconds": round(document.seconds, 1),
        "problems": [problem(page) for page in document.problems],
    }
    return front_matter(facts)


def _page(page: PageResult, style: Style) -> list[Part]:
    """Write the parts of a page: its marker, a visible word on any problem, and the text that there is."""
    parts = [Part("marker", f"<!-- page {page.index + 1} -->")]
    if page.verdict is not Verdict.OK:
        parts.append(Part("note", f"> *Page {page.index + 1} {_told(page)}.*"))
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


def _told(page: PageResult) -> str:
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
