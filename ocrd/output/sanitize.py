"""The text of a page, made harmless and kept whole: code, tables and prose that can stand between our markers. Pure.

What an engine read may be anything that is printed on paper, and it ends up in files that others render. So no HTML is
left but tables and a few signs, no link but to the web, no image, no comment, and no open end that could swallow what
follows. What is not allowed is not deleted: it is escaped, and shows as the text that it is.

The rules by which Markdown finds code and HTML are those of CommonMark 0.31; they are kept simple here by allowing
only what begins at the margin.
"""

import html
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal["prose", "table", "code"]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Unicode's category Cc, but for tab and line feed."""
_FENCE = re.compile(r"^ {0,3}(?:(?P<ticks>`{3,})(?P<info>[^`\n]*)|(?P<tildes>~{3,})(?P<about>[^\n]*))$", re.MULTILINE)
_TABLE = re.compile(r"<table(?:\s[^<>]*)?>", re.IGNORECASE)
_TABLE_ENDS = re.compile(r"<(/?)table(?:\s[^<>]*)?>", re.IGNORECASE)

_TABLE_PARTS = frozenset({"table", "caption", "thead", "tbody", "tfoot", "tr", "td", "th"})
_SIGNS = frozenset({"b", "i", "u", "s", "em", "strong", "sub", "sup"})
_ATTRIBUTE = r"""\s+[A-Za-z-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=`]+)"""
_TABLE_TAG = re.compile(
    rf"</?(?:{'|'.join(_TABLE_PARTS)})(?:{_ATTRIBUTE})*\s*>|</?(?:{'|'.join(_SIGNS)})>|<br\s*/?>", re.IGNORECASE
)
_SPANS = {"colspan", "rowspan"}

_PAIR = re.compile(rf"<({'|'.join(_SIGNS)})>([^<>\n]+)</\1>")
_CENTRED = re.compile(r"<center>((?:(?!</?center>).)*)</center>", re.DOTALL | re.IGNORECASE)
_BREAK = re.compile(r"<br\s*/?>[ \t]*\n?", re.IGNORECASE)
_CODE = re.compile(r"(?<![\\`])(`+)(?!`)([^\n]*?[^`\n])\1(?!`)")
_MARKUP = re.compile(r"<(?=[A-Za-z/!?])")
_LINK = re.compile(r"\](?=\()(?!\((?:https?://|mailto:)[^\s()<>\\]*\))\(")
_INNER_FENCE = re.compile(r"^([ \t>*+\-\d.)]*)(?=```|~~~)", re.MULTILINE)
_INLINE_FORMULA = re.compile(r"\\\([ \t]*(\S(?:(?!\\[()\[\]])[^\n])*?)[ \t]*\\\)")
_FORMULA = re.compile(r"\\\[\s*(\S(?:(?!\\[()\[\]]|\n[ \t]*\n).)*?)\s*\\\]", re.DOTALL)
_SPECIAL = re.compile(r"([\\`*_[\]()!~$|])")
_BACKSLASHED = r"\\\1"
_DOLLARS = re.compile(r"\$\$[^$`]+\$\$|\$[^$`\n]+\$")
_KEPT = "\ue000{}\ue001"
"""Stands for what is safe already, while the rest is escaped; text that has these signs itself loses its formatting."""
_KEPT_MARK = re.compile("\ue000(\\d+)\ue001")


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


def safe(piece: Piece) -> str:
    """Make a piece harmless Markdown."""
    match piece.kind:
        case "code":
            return _without_comments(piece.text)  # it can't look like a marker of ours
        case "table":
            return piece.text
        case "prose":
            return prose(piece.text)


def with_formulas(text: str) -> str:
    """Write safe Markdown so that a renderer that knows no formulas shows what they say."""
    return _DOLLARS.sub(lambda match: _SPECIAL.sub(_BACKSLASHED, match[0]), text)


def rendered(page: str) -> str:
    """Make what Markdown was rendered to harmless: only what Markdown itself can make is left."""
    import nh3

    texts = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "hr", "a"}
    return nh3.clean(
        page,
        tags=set(texts | _TABLE_PARTS | _SIGNS | {"br"}),
        attributes={"td": _SPANS, "th": _SPANS, "a": {"href"}, "ol": {"start"}},
        url_schemes={"http", "https", "mailto"},
        clean_content_tags=set(),
    )


def prose(text: str) -> str:
    """Make a piece of prose harmless."""
    kept: list[str] = []

    def keep(safe: str) -> str:
        kept.append(safe)
        return _KEPT.format(len(kept) - 1)

    text = _KEPT_MARK.sub(lambda match: f"\ue000 {match[1]}\ue001", text)
    text = _CENTRED.sub(r"\1", text)
    text = _CODE.sub(lambda match: keep(_inline_code(match)) if _MARKUP.search(match[2]) else match[0], text)
    text = _formulas(text)
    text = _BREAK.sub("  \n", text)
    text = _PAIR.sub(lambda match: keep(f"<{match[1]}>") + match[2] + keep(f"</{match[1]}>"), text)
    text = _without_comments(_MARKUP.sub("&lt;", text))
    text = _LINK.sub(r"]\\(", text).replace("]:", "]\\:").replace("![", "!\\[")
    text = _INNER_FENCE.sub(r"\1\\", text)
    return _KEPT_MARK.sub(lambda match: kept[int(match[1])], text)


def _fenced(text: str, fence: "re.Match[str]") -> tuple[int, list[Piece]]:
    """Find the end of fenced code, and write it at the margin with both of its fences."""
    ticks = fence["ticks"] or fence["tildes"]
    about = (fence["info"] or fence["about"] or "").strip()
    close = re.compile(rf"^ {{0,3}}{ticks[0]}{{{len(ticks)},}}[ \t]*$", re.MULTILINE).search(text, fence.end())
    inside = text[fence.end() : close.start() if close else len(text)].strip("\n")
    end = close.end() if close else len(text)
    return end, [Piece("code", f"{ticks}{about}\n{inside}\n{ticks}")]


def _table(text: str) -> Iterator[Piece]:
    """Make a table harmless and whole: its own tags with their spans are left, closed; all others are shown.

    Text between its cells, which HTML has no place for, comes before it.
    """
    import nh3

    whole = nh3.clean(
        _without_comments(_escaped_but(_TABLE_TAG, _formulas(text))),
        tags=set(_TABLE_PARTS | _SIGNS | {"br"}),
        attributes={"td": _SPANS, "th": _SPANS},
        clean_content_tags=set(),
        link_rel=None,
    )
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


def _inline_code(match: "re.Match[str]") -> str:
    """Write code with signs of HTML so that it is harmless even to who takes it for text."""
    text = match[2].strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<code>{_SPECIAL.sub(_BACKSLASHED, text)}</code>"


def _formulas(text: str) -> str:
    """Write TeX's brackets as the dollars that Markdown renderers know."""
    text = _INLINE_FORMULA.sub(lambda match: f"${_spaced(match[1])}$", text)
    return _FORMULA.sub(lambda match: ("$$\n{}\n$$" if "\n" in match[0] else "$${}$$").format(_spaced(match[1])), text)


def _spaced(formula: str) -> str:
    """Keep a formula's `<` from looking like HTML; spaces mean nothing in TeX."""
    return _MARKUP.sub("< ", formula)
