"""The text of a page, made harmless and kept whole: code, tables and prose that can stand between our markers. Pure.

What an engine read may be anything that is printed on paper, and it ends up in files that others render. So no HTML is
left but tables and a few signs, no link but to the web, no image, no comment, and no open end that could swallow what
follows. What is not allowed is not deleted: it is escaped, and shows as the text that it is.

The rules by which Markdown finds code and HTML are those of CommonMark 0.31; they are kept simple here by allowing
only what begins at the margin, and code between backticks.
"""

import html
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from ocrd.markup import formulas
from ocrd.markup.formulas import Formula
from ocrd.output import prose
from ocrd.output.prose import SIGNS, Hidden

Kind = Literal["prose", "table", "code"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Unicode's category Cc, but for tab and line feed."""
_FENCE = re.compile(r"^ {0,3}(`{3,})([^`\n]*)$", re.MULTILINE)
_TABLE = re.compile(r"<table(?:\s[^<>]*)?>", re.IGNORECASE)
_TABLE_ENDS = re.compile(r"<(/?)table(?:\s[^<>]*)?>", re.IGNORECASE)

_TABLE_PARTS = frozenset({"table", "caption", "thead", "tbody", "tfoot", "tr", "td", "th"})
_ATTRIBUTE = r"""\s+[A-Za-z-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=`]+)"""
_TABLE_TAG = re.compile(
    rf"</?(?:{'|'.join(_TABLE_PARTS)})(?:{_ATTRIBUTE})*\s*>|</?(?:{'|'.join(SIGNS)})>|<br\s*/?>", re.IGNORECASE
)
_SPANS = {"colspan", "rowspan"}
_CELL_BREAK = re.compile(r"<(?:p|div|li)(?:\s[^<>]*)?>", re.IGNORECASE)
_CELL_SHAPE = re.compile(r"</?(?:p|div|li|ul|ol|span|center)(?:\s[^<>]*)?>", re.IGNORECASE)
_FIRST_BREAKS = re.compile(r"(?<=<t[dh]>)(?:\s*<br>)+")
_CELL_TEXT = re.compile(r"[^<>]+")
_ESCAPED = re.compile(r"\\([*_~#%$])")
_ESCAPED_TWICE = re.compile(r"&amp;(?=(?:#\d+|#x[\da-f]+|[a-z]+\d*);)", re.IGNORECASE)


class Piece(NamedTuple):
    """A stretch of text of one kind."""

    kind: Kind
    text: str


def clean(text: str) -> str:
    """Make any string valid: UTF-8 without control characters, lines ended by line feeds."""
    text = text.encode("utf-8", "replace").decode()
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", text)


def pieces(text: str) -> Iterator[Piece]:
    """Take clean text apart into fenced code, tables and prose. Open ends are closed, and tables harmless already."""
    start = 0
    while start < len(text):
        fence, table = _FENCE.search(text, start), _TABLE.search(text, start)
        if fence and (table is None or fence.start() < table.start()):
            begin = fence.start()
            end, found = _fenced(text, fence)
        elif table:
            begin, end = table.start(), _table_end(text, table.end())
            found = list(_table(text[begin:end]))
        else:
            break
        if text[start:begin].strip():
            yield Piece("prose", text[start:begin].strip("\n"))
        yield from found
        start = end
    if text[start:].strip():
        yield Piece("prose", text[start:].strip("\n"))


def safe(piece: Piece, *, own_markdown: bool = False, number: int = 0) -> str:
    """Make a piece harmless Markdown; tables stay HTML. `prose.prose` says what the others tell of its writer."""
    match piece.kind:
        case "code":
            return _without_comments(piece.text)  # it can't look like a marker of ours
        case "table":
            return _CELL_TEXT.sub(lambda match: _cell_text(match[0]), piece.text)
        case "prose":
            return prose.prose(piece.text, own_markdown=own_markdown, number=number)


def rendered(page: str) -> str:
    """Make what Markdown was rendered to harmless: only what Markdown itself can make is left."""
    import nh3

    texts = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "hr", "a"}
    return nh3.clean(
        page,
        tags=set(texts | _TABLE_PARTS | SIGNS | {"br"}),
        attributes={"td": _SPANS, "th": _SPANS, "a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        clean_content_tags=set(),
    )


def _fenced(text: str, fence: "re.Match[str]") -> tuple[int, list[Piece]]:
    """Find the end of fenced code, and write it at the margin with both of its fences."""
    ticks, about = fence[1], fence[2].strip()
    close = re.compile(rf"^ {{0,3}}`{{{len(ticks)},}}[ \t]*$", re.MULTILINE).search(text, fence.end())
    inside = text[fence.end() : close.start() if close else len(text)].strip("\n")
    end = close.end() if close else len(text)
    return end, [Piece("code", f"{ticks}{about}\n{inside}\n{ticks}")]


def _table(text: str) -> Iterator[Piece]:
    """Make a table harmless and whole: its own tags with their spans are left, closed; all others are shown.

    Text between its cells, which HTML has no place for, comes before it.
    """
    import nh3

    text = _ESCAPED_TWICE.sub("&", _CELL_SHAPE.sub("", _CELL_BREAK.sub("<br>", text)))
    whole = nh3.clean(
        _without_comments(_escaped_but(_TABLE_TAG, text)),
        tags=set(_TABLE_PARTS | SIGNS | {"br"}),
        attributes={"td": _SPANS, "th": _SPANS},
        clean_content_tags=set(),
        link_rel=None,
    )
    whole = _FIRST_BREAKS.sub("", whole)
    start, end = whole.find("<table"), whole.rfind("</table>") + len("</table>")
    before, table, after = (whole[:start], whole[start:end], whole[end:]) if start >= 0 else (whole, "", "")
    if before.strip():
        yield Piece("prose", _untagged(before))
    if table:
        yield Piece("table", re.sub(r"\n\s*\n", "\n", table))  # an empty line would end the HTML
    if after.strip():
        yield Piece("prose", _untagged(after))


def _untagged(markup: str) -> str:
    return html.unescape(re.sub(r"<[^<>]*>", "", markup)).strip("\n")


def _table_end(text: str, start: int) -> int:
    depth = 1
    for tag in _TABLE_ENDS.finditer(text, start):
        depth += -1 if tag[1] else 1
        if depth == 0:
            return tag.end()
    return len(text)


def _escaped_but(allowed: "re.Pattern[str]", text: str) -> str:
    """Escape every `<` that does not begin an allowed tag."""
    parts = []
    end = 0
    for tag in allowed.finditer(text):
        parts += [text[end : tag.start()].replace("<", "&lt;"), tag[0]]
        end = tag.end()
    return "".join([*parts, text[end:].replace("<", "&lt;")])


def _without_comments(text: str) -> str:
    return text.replace("<!--", "&lt;!--").replace("-->", "--&gt;")


def _cell_text(text: str) -> str:
    """Write the text between two tags: formulas between dollars, and without the backslashes that Markdown knows."""
    if "\\" not in text:
        return text
    hidden = Hidden(text)

    def kept(formula: Formula) -> str:
        return hidden.hide(html.escape(formulas.with_dollars(formula), quote=False))

    return hidden.shown(_ESCAPED.sub(r"\1", formulas.replace(hidden.text, kept, dollars=False)))
