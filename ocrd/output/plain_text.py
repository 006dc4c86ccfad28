"""A document as plain text: what a reader sees, without any signs of markup. Pure."""

import re
from collections.abc import Iterator, Sequence
from html import unescape
from typing import TYPE_CHECKING

from ocrd.display import counted
from ocrd.errors import DocumentError
from ocrd.model import Document, PageResult
from ocrd.output import commonmark, markdown, tables
from ocrd.output.markdown import Style

if TYPE_CHECKING:
    from markdown_it.token import Token

PAGE_BREAK = "\n\f"
"""Between two pages."""
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def write(document: Document, style: Style) -> str:
    """Write the text of every page, a form feed between two."""
    style = style.of(document.pages)
    return PAGE_BREAK.join(_page(page, style) for page in document.pages) + "\n"


def divided(text: str) -> list[str]:
    """Take a text apart at its form feeds: a page each."""
    return text.removesuffix("\n").split(PAGE_BREAK)


def pages_of(text: str) -> list[int]:
    """List its pages, counted from 1: those of the source, unless it is one part of a scan."""
    return list(range(1, len(divided(text)) + 1))


def replace_pages(text: str, pages: Sequence[PageResult], numbers: Sequence[int], style: Style) -> str:
    """Put pages in the place of their earlier readings.

    Raises DocumentError if it has not pages of these `numbers`, counted from 1 in the source.
    """
    parts = divided(text)
    if len(parts) != len(numbers):
        raise DocumentError(
            f"The text beside it has {counted(len(parts), 'page')} between form feeds, and the sidecar {len(numbers)}.",
            "Move it away, and try again.",
        )
    for page in pages:
        parts[numbers.index(page.index + 1)] = _page(page, style)
    return PAGE_BREAK.join(parts) + "\n"


def plain(text: str) -> str:
    """Take the markup off Markdown: an empty line between paragraphs, tabs between the cells of a table."""
    return "\n\n".join(text for text in _blocks(commonmark.parser().parse(text)) if text.strip())


def _page(page: PageResult, style: Style) -> str:
    return plain(markdown.section(page, style, noted=True))


def _blocks(tokens: "list[Token]") -> Iterator[str]:
    row: list[str] | None = None
    rows: list[str] = []
    marks: list[str] = []
    for token in tokens:
        match token.type:
            case "tr_open":
                row = []
            case "tr_close":
                rows.append("\t".join(row or ()))
                row = None
            case "table_close":
                yield "\n".join(rows)
                rows = []
            case "list_item_open":
                marks.append(f"{token.info}{token.markup} " if token.info else f"{token.markup} ")
            case "inline" if row is not None:
                row.append(_inline(token))
            case "inline":
                yield "".join(marks) + _inline(token)
                marks = []
            case "fence" | "code_block":
                yield token.content.rstrip("\n")
            case "html_block":
                yield _html(token.content)


def _inline(token: "Token") -> str:
    parts = []
    for child in token.children or ():
        match child.type:
            case "softbreak" | "hardbreak":
                parts.append("\n")
            case "image":
                pass  # a link of ours to a figure
            case "html_inline":
                parts.append("\n" if child.content.startswith("<br") else "")
            case _:
                parts.append(child.content)
    return re.sub(r"  +", " ", "".join(parts)).strip()


def _html(text: str) -> str:
    """Read a table as its rows, and take the tags off anything else."""
    text = _COMMENT.sub("", text)
    if not text.lstrip().startswith("<table"):
        return _TAG.sub("", text).strip()
    caption, rows, _ = tables.parse(text)
    lines = ("\t".join(" ".join(_bare(cell).split()) for cell in row) for row in rows)
    return "\n".join([_bare(caption), *lines] if caption else lines)


def _bare(markup: str) -> str:
    return unescape(_TAG.sub("", markup))
