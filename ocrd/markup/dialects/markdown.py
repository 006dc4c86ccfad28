"""Markdown, with tables in HTML, formulas in LaTeX, and places of pictures. Pure.

A picture stands where the name of its file says: `<img src="images/bbox_LEFT_TOP_RIGHT_BOTTOM.jpg" />` in thousandths
(OvisOCR2), or `![description](page_X_Y_WIDTH_HEIGHT.png)` in pixels of the image that the model saw (olmOCR 2); or the
numbers behind it, `![image](image_1.png)LEFT,TOP,RIGHT,BOTTOM`, in thousandths (LightOnOCR-2-bbox). What a model says
of a picture that is shown is left out: it stands on no page.
"""

import re
from collections.abc import Iterator

from ocrd.markup.dialects import blocks
from ocrd.markup.layout_blocks import Block
from ocrd.model import PixelSize

_PICTURE = re.compile(
    r"!\[image\]\(image_\d{1,4}\.png\)[ ]?(?P<behind>\d{1,4}(?:,[ ]?\d{1,4}){3})(?![\d,])"
    r"|<img\b[^<>\n]*>|!\[[^\[\]\n]*\]\([^()\s<>]*\)",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"(?<![A-Za-z0-9])(?P<unit>bbox|page)(?P<sides>(?:_\d{1,5}){4})\.(?:jpe?g|png|webp)\b", re.IGNORECASE
)
_CUT = re.compile(r"(?:<img?(?:\s[^<>\n]*)?|!\[[^\[\]\n]*\]\([^()\s<>]*)\Z", re.IGNORECASE)
_WHOLE = re.compile(r"^`{3}.*?(?:^`{3}|\Z)|<table\b.*?(?:</table>|\Z)", re.DOTALL | re.MULTILINE | re.IGNORECASE)
"""Code and tables, in which no block begins."""


def form(text: str, size: PixelSize) -> str:
    """Write a page in Markdown in the form of `layout_blocks`, without a picture that is cut off."""
    return blocks.form(_blocks(_CUT.sub("", text), size))


def _blocks(text: str, size: PixelSize) -> Iterator[Block]:
    """Give pictures and what stands between them; those in a table come behind the text that it is in."""
    said: list[str] = []
    waiting: list[Block] = []
    start = 0
    for whole in [*_WHOLE.finditer(text), None]:
        for piece, picture in _pieces(text[start : whole.start() if whole else len(text)], size):
            said.append(piece)
            if picture:
                yield from (_text(said), *waiting, picture)
                said, waiting = [], []
        if whole:
            inside = [(whole[0], None)] if whole[0].startswith("`") else list(_pieces(whole[0], size))
            said += [piece for piece, _ in inside]
            waiting += [picture for _, picture in inside if picture]
            start = whole.end()
    yield from (_text(said), *waiting)


def _text(said: list[str]) -> Block:
    return Block("text", (), "".join(said), own_markdown=True)


def _pieces(text: str, size: PixelSize) -> Iterator[tuple[str, Block | None]]:
    """Take text apart: each piece with the picture behind it, if that tells its place."""
    start = 0
    for found in _PICTURE.finditer(text):
        if picture := _picture(found, size):
            yield text[start : found.start()], picture
            start = found.end()
    yield text[start:], None


def _picture(found: "re.Match[str]", size: PixelSize) -> Block | None:
    place = _PLACE.search(found[0])
    if found["behind"]:
        box = blocks.boxes(found["behind"])
    elif not place:
        return None
    elif place["unit"].lower() == "bbox":
        box = blocks.boxes(place["sides"])
    else:
        left, top, wide, high = map(int, place["sides"].strip("_").split("_"))
        box = blocks.boxes(f"{left} {top} {left + wide} {top + high}", size.width, size.height)
    return Block("image", box, "", own_markdown=True)
