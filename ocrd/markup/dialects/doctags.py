"""Docling's tags, as granite-docling writes them: `<text><loc_10><loc_20><loc_400><loc_40>words</text>`. Pure.

The tags are those of docling-core, `docling_core/types/doc/tokens.py`, a library too large to be needed for them. Boxes
are in five-hundredths of the page; tables are in OTSL (`special_tokens`). Signs of Markdown in it stand on the page.
"""

import re
from dataclasses import dataclass, field

from ocrd.markup import special_tokens
from ocrd.markup.dialects import blocks
from ocrd.markup.layout_blocks import PICTURES, Block
from ocrd.model import PixelSize

SIGN = re.compile(r"<doctag>|<loc_\d{1,3}>")
_TAG = re.compile(r"<(?P<end>/?)(?P<name>[A-Za-z_][\w+#]{0,40})>")
_CUT = re.compile(r"</?(?P<name>[a-z_]+\d*)\Z|</?\Z")
_FULL = 500
_SIDES = 4

_ELEMENTS = {
    "caption": "caption", "chart": "chart", "checkbox_selected": "text", "checkbox_unselected": "text", "code": "code",
    "document_index": "table", "footnote": "footnote", "formula": "formula", "list_item": "list", "otsl": "table",
    "page_footer": "footer", "page_header": "header", "paragraph": "text", "picture": "image", "reference": "reference",
    "smiles": "text", "table": "table", "text": "text", "title": "title",
}  # fmt: skip
"""Of each tag for a part of the page, its label."""
_HEADING = re.compile(r"section_header_level_(\d)")
_CAPTIONED = {"chart", "code", "document_index", "otsl", "picture", "table"}
"""May have a caption within."""
_GROUPS = {"doctag", "form", "inline", "key_value_region", "ordered_list", "page_break", "unordered_list"}
_CELLS = {"fcel", "ecel", "lcel", "ucel", "xcel", "ched", "rhed", "srow", "nl"}
_PLACE = re.compile(r"loc_(\d{1,3})")
_KEY = re.compile(r"(?:key|value|link)_\d+")
_LANGUAGE = re.compile(r"_(.+)_")
_HAS_SIGN = re.compile(r"\s*(?:-|\\?\*|[+\u2022\u00b7\u25aa\u2023\u25e6]|\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)])\s")
_BOXES = {"checkbox_selected": "\u2611 ", "checkbox_unselected": "\u2610 "}


@dataclass(slots=True)
class _Element:
    """A part of the page, while its tags are read."""

    tag: str
    places: list[int] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    """Of its text."""
    says: bool = False
    """Whether it has any."""
    number: int = 0
    """Of an item of a numbered list."""
    language: str = ""
    """Of code."""


def form(text: str, size: PixelSize) -> str:
    """Write an answer in the form of `layout_blocks`, without a tag that is cut off."""
    del size
    return blocks.form(_block(element) for element in _Reader(_without_cut_tag(text)).elements)


def _without_cut_tag(text: str) -> str:
    last = max(text.rfind("<"), 0)
    cut = _CUT.match(text, last)
    if not cut:
        return text
    names = ("loc_", "section_header_level_", *_ELEMENTS, *_GROUPS, *_CELLS)
    name = (cut["name"] or "").rstrip("0123456789")
    return text[:last] if text[:last].endswith(">") or any(one.startswith(name) for one in names) else text


class _Reader:
    """Reads tags one after the other; one that is not ended ends with the next part."""

    def __init__(self, text: str) -> None:
        self.elements: list[_Element] = []
        """In reading order."""
        self._open: list[_Element] = []
        self._numbers: list[int] = []  # of each open list the number of its last item, -1 if it has none
        self._inline = False
        start = 0
        for tag in _TAG.finditer(text):
            self._say(text[start : tag.start()])
            self._read(tag)
            start = tag.end()
        self._say(text[start:])

    def _say(self, text: str) -> None:
        if not self._open and text.strip():
            self._begin("text")
        if self._open:
            current = self._open[-1]
            literal = self._inline or current.tag in ("code", "formula")
            current.parts.append(text if literal else text.replace("*", r"\*"))
            current.says = current.says or bool(text.strip())

    def _read(self, tag: "re.Match[str]") -> None:
        name, end = tag["name"], bool(tag["end"])
        if name in _GROUPS:
            self._group(name, end=end)
        elif name in _CELLS:
            if not self._open:
                self._begin("otsl")
            self._say(tag[0])
        elif name not in _ELEMENTS and not _HEADING.fullmatch(name):
            self._detail(tag)
        elif self._inline:
            self._within_line(name, end=end)
        elif end:
            self._end(name)
        else:
            self._begin(name)

    def _detail(self, tag: "re.Match[str]") -> None:
        """Take what says more of the part that is open; all else is no tag."""
        place, language = _PLACE.fullmatch(tag["name"]), _LANGUAGE.fullmatch(tag["name"])
        current = self._open[-1] if self._open else _Element("text")
        if place:
            current.places.append(int(place[1]))
        elif current.tag == "code" and language:
            current.language = "" if language[1] == "unknown" else language[1].lower()
        elif _KEY.fullmatch(tag["name"]):
            self._say(" ")
        elif current.says or _label(current.tag) not in PICTURES:  # else the kind of the picture
            self._say(tag[0])

    def _group(self, name: str, *, end: bool) -> None:
        self._open.clear()
        if name == "inline":
            self._inline = not end
            if not end:
                self._begin("text")
        elif name.endswith("_list"):
            if end:
                del self._numbers[-1:]
            else:
                self._numbers.append(0 if name == "ordered_list" else -1)

    def _begin(self, name: str) -> None:
        nested = name == "caption" and bool(self._open) and self._open[-1].tag in _CAPTIONED
        if not nested:
            self._open.clear()
        element = _Element(name)
        if name == "list_item" and self._numbers and self._numbers[-1] >= 0:
            self._numbers[-1] += 1
            element.number = self._numbers[-1]
        if nested and _label(self._open[-1].tag) not in PICTURES:
            self.elements.insert(len(self.elements) - 1, element)
        else:
            self.elements.append(element)
        self._open.append(element)

    def _end(self, name: str) -> None:
        while self._open and any(one.tag == name for one in self._open):
            self._open.pop()

    def _within_line(self, name: str, *, end: bool) -> None:
        sign = {"formula": r"\)" if end else r"\(", "code": "`"}.get(name, " ")
        self._say(sign)


def _label(tag: str) -> str:
    return blocks.label(_ELEMENTS.get(tag, "section_header"))


def _block(element: _Element) -> Block:
    text = "".join(element.parts)
    text = text.strip("\n") if element.tag == "code" else text.strip()
    sides = [element.places[start : start + _SIDES] for start in range(0, len(element.places), _SIDES)]
    found = tuple(box for four in sides for box in blocks.boxes(" ".join(map(str, four)), _FULL, _FULL))
    return blocks.block(_ELEMENTS.get(element.tag, "section_header"), found, _text(element, text) if text else "")


def _text(element: _Element, text: str) -> str:
    heading = _HEADING.fullmatch(element.tag)
    if heading:
        return f"{'#' * min(6, int(heading[1]) + 1)} {text}"
    if _label(element.tag) in ("table", "chart"):
        return special_tokens.table(text)
    if element.tag == "code":
        return f"```{element.language}\n{text}\n```" if "```" not in text else text
    if element.tag == "list_item" and not _HAS_SIGN.match(text):
        return f"{element.number}. {text}" if element.number else f"- {text}"
    return f"{_BOXES.get(element.tag, '')}{text}"
