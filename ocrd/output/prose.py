r"""Prose: what an engine wrote as text, written as Markdown that shows these words and does nothing else. Pure.

Models mean some signs as Markdown: `**bold**`, lists, escapes and, where they name no blocks, headings, rules and HTML.
All others stand on the page: a line that begins with `>` or with spaces, a row of dashes, `5*3*2`, `$5`. They are
escaped where CommonMark 0.31 would take them for its own, and left where it would not.
"""

import re
import unicodedata
from html import unescape
from typing import NamedTuple

from ocrd.markup import formulas
from ocrd.markup.formulas import Formula

SIGNS = frozenset({"b", "i", "u", "s", "em", "strong", "sub", "sup"})
"""HTML that Markdown may hold: in pairs within a line, without attributes."""

_MARK = re.compile("\ue000(\\d+)\ue001")
_APART = re.compile("[ \\t]*\\n?[ \\t]*\ue002(\ue000\\d+\ue001)[ \\t]*\\n?[ \\t]*")
_CENTRED = re.compile(r"</?center>", re.IGNORECASE)
_CODE = re.compile(r"(?<![\\`])(`+)(?!`)([^\n]*?[^`\n])\1(?!`)")
_MARKDOWN_SIGNS = "\\`*_[]()!~$"
_MARKDOWN_SIGN = re.compile(f"[{re.escape(_MARKDOWN_SIGNS)}|]")
_TAG_LIKE = re.compile(r"<(?=[A-Za-z/!?])")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_ESCAPED_TWICE = re.compile(r"\\{1,2}([!-/:-@\[\]^-`{-~])|\\(?=\\)")
"""Where no Markdown is meant, a backslash may come twice before a sign; two before a letter are two."""
_ENTITY = re.compile(r"&(?:amp;)?(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z][A-Za-z\d]{1,31});")
_BREAK = re.compile(r"[ \t]*<br\s*/?>[ \t]*\n?", re.IGNORECASE)
_PAIR = re.compile(
    rf"<(?P<sign>{'|'.join(sorted(SIGNS))})(?:\s[^<>\n]*)?>\s*(?P<text>[^\s<>][^<>\n]*?)[ \t]*</(?P=sign)>",
    re.IGNORECASE,
)
_IMAGE = re.compile(r"!\[([^\[\]\n]*)\]\((?!\w+:)[^\s()]+\.(?:png|jpe?g|gif|webp|svg|tiff?|bmp)\)", re.IGNORECASE)
_LINK = re.compile(r"(?<=\])\((?:https?://|mailto:)[^\s()<>\\`]*\)")
_BOLD = re.compile(r"(?<!\*)\*\*(?=[^\s*])([^*\n]*[^\s*])\*\*(?!\*)")
_ITALIC = re.compile(r"(?<![\w*])\*(?=[\w\"'(\[\u2018-\u201f\ue000])([^*\n]*[^\s*(\[])\*(?![\w*])")
_UNDERLINED = re.compile(r"(?<![\w_])(__?)(?=[^\W_])([^_\n]*+)(?<=\S)\1(?![\w_])")
"""Of a single word the underscores stand on the page: `__init__`."""
_SPECIAL = re.compile(r"\\(?=\ue000|\n|\Z)|`|~{2,}|<(?=[A-Za-z/!?\ue000])|-->|&(?=#?\w+;)|\](?=[(:])|!(?=\[)|\*+|_+|\$")

_INDENT = re.compile(r"[ \t]*")
_ITEM = re.compile(r"(?P<sign>[-*+])[ \t]+(?=\S)|(?P<number>\d{1,3})(?P<point>[.)])[ \t]+(?=\S)")
_HEADING = re.compile(r"#{1,6}[ \t]+(?=\S)")
_RULE = re.compile(r"([-*_])(?:[ \t]*\1){2,}[ \t]*\Z")
_DELIMITERS = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?\Z")
_BLOCK_SIGN = re.compile(r"\A(?:(?:#{1,6}|[-+*])(?=[ \t]|\Z)|>|=+[ \t]*\Z|-+[ \t]*\Z|([-*_])(?:[ \t]*\1){2,}[ \t]*\Z)")
_POINT = re.compile(r"\A(\d{1,9})([.)])(?=[ \t]|\Z)")
_LAST_NUMBER = re.compile(r"^(\d{1,3})[.)] ", re.MULTILINE)
_LETTERED = re.compile(
    r"[ \t]*(?:\(?(?:[A-Za-z]|[ivx]{2,4})[.)]|[A-H][、．]|[(（]\d{1,2}[)）]|[\u2460-\u2473])\s*(?:[^\W_]|\ue000)"  # noqa: RUF001 - Chinese print
)
"""An item with a letter or a number in brackets, of which Markdown makes no list."""
_CLOSING = re.compile(r"(?<=[ \t])(#+[ \t]*\Z)")
_PAGE_NUMBER = re.compile(r"-[ \t]*\S{1,8}[ \t]*-\Z")


def prose(text: str, *, own_markdown: bool = False, number: int = 0) -> str:
    """Write text as paragraphs, lists and so on. `own_markdown`: its writer names no blocks and means Markdown's.

    `number` is that of the item with which the text right before it ends, if it does.
    """
    hidden = Hidden(text)
    return hidden.shown(_Lines(own_markdown, number).written(_inline(hidden, own_markdown=own_markdown)))


def last_number(written: str) -> int:
    """Tell the number of the item with which prose ends; 0 if it does not end with one."""
    last = re.split(r"\n\n(?=\S)", written)[-1]
    numbers = _LAST_NUMBER.findall(last)
    return int(numbers[-1]) if numbers else 0


def line(text: str, *, dollars: bool = False) -> str:
    """Write text that stands where no block can begin, such as a table's cell; with other `dollars` beside it."""
    hidden = Hidden(text, in_line=True)
    return hidden.shown(_inline(hidden, own_markdown=False, dollars=dollars)).strip()


def heading(text: str, level: str) -> str:
    """Write text as a heading of that many `#`, unless it comes with its own; lines are joined."""
    text = " ".join(_BREAK.sub(" ", text).split())
    own = _HEADING.match(text)
    text = text[own.end() :] if own else text
    return f"{own[0].strip() if own else level} {_CLOSING.sub(_escaped_first, line(text))}"


class Hidden:
    """What is safe already, hidden behind marks while the rest of a text is escaped."""

    def __init__(self, text: str, *, in_line: bool = False) -> None:
        self._in_line = in_line
        self.text = _MARK.sub(lambda match: f"\ue000 {match[1]}\ue001", text).replace("\ue002\ue000", "\ue000")
        """The text, without marks of its own."""
        self.formulas = 0
        self._safe: list[str] = []

    def hide(self, safe: str) -> str:
        """Give the mark that stands for it."""
        self._safe.append(safe)
        return f"\ue000{len(self._safe) - 1}\ue001"

    def hide_formula(self, formula: Formula) -> str:
        """Give the mark that stands for a formula between dollars."""
        self.formulas += 1
        if self._in_line:
            formula = formula._replace(tex=" ".join(formula.tex.split()))
        apart = "\ue002" if formula.display and not self._in_line else ""
        return apart + self.hide(formulas.with_dollars(formula))

    def shown(self, text: str) -> str:
        """Put everything in the place of its mark."""
        while _MARK.search(text):  # what is hidden may hold marks of what was hidden before
            text = _MARK.sub(lambda match: self._safe[int(match[1])], text)
        return text


def _inline(hidden: Hidden, *, own_markdown: bool, dollars: bool = False) -> str:
    """Escape all that is no block: afterwards there are only marks and plain text."""
    hide = hidden.hide
    text = _CENTRED.sub("", hidden.text)
    if own_markdown:
        text = _CODE.sub(lambda match: hide(_code(match)), text)
    if "\\" in text or "$" in text:
        text = formulas.replace(text, hidden.hide_formula, dollars=own_markdown)
        text = _APART.sub(r"\n\1\n", text)  # two of them in one line would be taken for one
    if not own_markdown:  # in a formula it is a quotation mark
        text = _CODE.sub(lambda match: hide(_code(match)), text)
    escaped = _ESCAPED if own_markdown else _ESCAPED_TWICE
    text = escaped.sub(lambda match: hide(_escape_of(match[1])), text)
    text = _ENTITY.sub(lambda match: _character(match, hidden), text)
    if "<" in text:
        text = _BREAK.sub("  \n", text)
        text = _pairs(text, hidden)
    if "](" in text:
        text = _IMAGE.sub(lambda match: "" if match[1].lower() == "image" else match[1], text) if own_markdown else text
        text = _LINK.sub(lambda match: hide(match[0]), text)
    if "*" in text:
        text = _BOLD.sub(lambda match: _emphasis(match, match[1], "**", hidden), text)
        text = _ITALIC.sub(lambda match: _emphasis(match, match[1], "*", hidden), text)
    if own_markdown and "_" in text:
        text = _UNDERLINED.sub(
            lambda match: _emphasis(match, match[2], "*" * len(match[1]), hidden) if " " in match[2] else match[0], text
        )
    dollars = dollars or text.count("$") + hidden.formulas > 1
    return _SPECIAL.sub(lambda match: _escape(match, dollars=dollars), text)


def _code(match: "re.Match[str]") -> str:
    """Write code, where it has signs of HTML so that it is harmless even to who takes it for text."""
    if not _TAG_LIKE.search(match[2]):
        return match[0]
    text = match[2].strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<code>{_MARKDOWN_SIGN.sub(_escaped_first, text)}</code>"


def _escape_of(sign: str | None) -> str:
    """Write a sign that came with a backslash, or the backslash alone."""
    match sign:
        case None:
            return r"\\"
        case "<":
            return "&lt;"
        case "&":
            return "&amp;"
        case _:
            return f"\\{sign}"


def _character(entity: "re.Match[str]", hidden: Hidden) -> str:
    """Write the character that an entity names, also one that was escaped twice."""
    char, following = unescape(unescape(entity[0])), entity.string[entity.end() :]
    if char.endswith(";") and len(char) > 1:  # there is none of this name
        return hidden.hide(f"&amp;{entity[0][1:]}")
    if char == "<":
        return hidden.hide("&lt;" if re.match(r"[A-Za-z/!?&\ue000]", following) else "<")
    if char == "&":
        return hidden.hide("&amp;" if re.match(r"#?\w+;", following) else "&")
    if char in _MARKDOWN_SIGNS:
        return hidden.hide(f"\\{char}")
    return "".join(one for one in char if one.isprintable()) or " "


def _pairs(text: str, hidden: Hidden) -> str:
    """Keep the signs of HTML that come in pairs, the inner ones first."""

    def kept(match: "re.Match[str]") -> str:
        sign = match["sign"].lower()
        return f"{hidden.hide(f'<{sign}>')}{match['text']}{hidden.hide(f'</{sign}>')}"

    while (more := _PAIR.sub(kept, text)) != text:
        text = more
    return text


def _emphasis(match: "re.Match[str]", inside: str, sign: str, hidden: Hidden) -> str:
    """Keep emphasis of words; as HTML where CommonMark does not see it beside these letters and signs."""
    text, before, after = match.string, match.start() - 1, match.end()
    one = text[before] if before >= 0 else " "
    other = text[after] if after < len(text) else " "
    bold = len(sign) > 1
    if not any(map(str.isalnum, inside)) or (one.isascii() and one.isalnum() and other.isascii() and other.isalnum()):
        return match[0]
    seen = (_apart(one) or not _apart(inside[0])) and (_apart(other) or not _apart(inside[-1]))
    opening, closing = (sign, sign) if seen else ("<strong>", "</strong>") if bold else ("<em>", "</em>")
    return f"{hidden.hide(opening)}{inside}{hidden.hide(closing)}"


def _apart(char: str) -> bool:
    """Whether a character is space or punctuation, which Markdown's emphasis asks for."""
    return char.isspace() or unicodedata.category(char)[0] in "PSC"


def _escape(match: "re.Match[str]", *, dollars: bool) -> str:
    text = match[0]
    match text[0]:
        case "<":
            return "&lt;"
        case "&":
            return "&amp;"
        case "-":
            return "--&gt;"
        case "]":
            return "]\\"
        case "!":
            return "!\\"
        case "$":
            return "\\$" if dollars else "$"
        case "*" | "_" if _harmless(match):
            return text
        case "*" | "_" | "~":
            return "".join(f"\\{sign}" for sign in text)
        case _:
            return f"\\{text}"


def _harmless(match: "re.Match[str]") -> bool:
    """Whether asterisks or underscores stand alone, or are underscores within a word or behind one."""
    text, end = match.string, match.end()
    before = text[match.start() - 1] if match.start() else " "
    after = text[end] if end < len(text) else " "
    if match[0][0] == "_" and before.isalnum():
        return after.isalnum() or after.isspace()
    return before.isspace() and after.isspace()


def _escaped_first(match: "re.Match[str]") -> str:
    return f"\\{match[0]}"


class _Item(NamedTuple):
    """An item of a list that goes on."""

    indent: int
    """Columns before its sign, as it was read."""
    within: int
    """Columns before what belongs to it, as it is written."""
    sign: str
    number: int


class _Lines:
    """Writes the lines of a text one after the other; only what is meant begins a block."""

    def __init__(self, own_markdown: bool, number: int) -> None:  # noqa: FBT001 - there are no others
        self._own = own_markdown
        self._items = [_Item(0, 0, sign, number) for sign in ".)" if number]
        self._before = ""
        self._signs: dict[str, int] = {}

    def written(self, text: str) -> str:
        lines = text.split("\n")
        for one in lines:
            if item := _ITEM.match(one.lstrip(" \t")):
                self._signs[item["sign"] or "1"] = self._signs.get(item["sign"] or "1", 0) + 1
        return _with_items_apart([self._line(one) for one in lines]).strip("\n").rstrip()

    def _line(self, text: str) -> str:
        """Write one line, and remember what it means for the next."""
        gap = _INDENT.match(text)
        indent = len(gap[0].expandtabs(4)) if gap else 0
        bare = text.strip(" \t")
        end = "  " if bare and text.endswith("  ") else ""
        text = self._block(bare, indent) if bare else ""
        self._before = bare
        return f"{text}{end}" if bare else ""

    def _block(self, text: str, indent: int) -> str:
        item = _ITEM.match(text)
        if item and self._means(item, indent):
            return self._item(item, text, indent)
        if not self._before or item:
            self._items = [open_ for open_ in self._items if open_.indent < indent]
        within = " " * (self._items[-1].within if self._items else 0)
        if not self._before and self._own and not within:
            if (sign := _HEADING.match(text)) is not None:
                return sign[0] + _CLOSING.sub(_escaped_first, text[sign.end() :])
            if _RULE.match(text):
                return "---"
        if "|" in self._before and "|" in text and _DELIMITERS.match(text):
            return text
        text = _BLOCK_SIGN.sub(_escaped_first, text)
        apart = "\n" if item and self._before else ""  # it would go on the item before it
        return apart + within + _POINT.sub(r"\1\\\2", text)

    def _means(self, item: "re.Match[str]", indent: int) -> bool:
        """Whether a sign begins an item: a dash, the number that comes next, or another sign that is not alone."""
        text = item.string
        if not any(map(str.isalnum, text[item.end() :])) and "\ue000" not in text[item.end() :]:
            return False
        if item["number"]:
            same = [one for one in self._items if one.sign == item["point"] and one.indent <= indent < one.indent + 2]
            return not same or int(item["number"]) == same[-1].number + 1
        if item["sign"] == "-":
            return not _PAGE_NUMBER.match(text)
        return self._own and self._signs[item["sign"]] > 1

    def _item(self, item: "re.Match[str]", text: str, indent: int) -> str:
        self._items = [open_ for open_ in self._items if open_.indent < indent - 1]
        before = self._items[-1].within if self._items else 0
        sign = f"{item['sign'] or item['number'] + item['point']} "
        self._items.append(_Item(indent, before + len(sign), item["sign"] or item["point"], int(item["number"] or 0)))
        inside = text[item.end() :]
        return " " * before + sign + _inner(inside)


def _with_items_apart(lines: list[str]) -> str:
    """Join lines; before items that are no list, such as the answers to a question, each line ends in Markdown, too."""
    lettered = [_LETTERED.match(line) is not None for line in lines]
    if sum(lettered) > 1:
        for number in range(1, len(lines)):
            before = lines[number - 1].rstrip()
            if lettered[number] and before and not _MARK.fullmatch(before):  # a formula may stand on lines of its own
                lines[number - 1] = f"{before}  "
    return "\n".join(lines)


def _inner(text: str) -> str:
    """Keep the text of an item from beginning a block of its own."""
    return _POINT.sub(r"\1\\\2", _BLOCK_SIGN.sub(_escaped_first, text))
