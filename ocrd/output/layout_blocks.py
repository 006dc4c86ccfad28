"""What DeepSeek-OCR says of a page, block by block: what each is, where it stands, and its text. Pure.

The model writes `<|ref|>LABEL<|/ref|><|det|>[[x1, y1, x2, y2], …]<|/det|>` before each block, in thousandths of the
page image: 0 to 999 (upstream's `run_dpsk_ocr_image.py`). For the prompt `OCR this image.` it puts the text itself
where the label stands. Only what has exactly this form is taken for a tag; anything else is text, and nothing is
evaluated. Text without tags, as other engines write it, is one block.
"""

import re
from typing import NamedTuple

from ocrd.model import Box

_TEXTS = {"title", "sub_title", "text", "list", "ref_text", "aside_text", "abstract", "code", "algorithm", "footnote"}
_SHOWN = {"image", "figure", "chart", "table", "equation", "formula"}
_OF_THEM = {f"{shown}_{what}" for shown in _SHOWN for what in ("caption", "footnote")}
LABELS = frozenset(_TEXTS | _SHOWN | _OF_THEM | {"header", "footer", "page_number", "page_footnote"})
"""The names that the model gives to blocks."""
PICTURES = frozenset({"image", "figure", "chart"})
"""Blocks that are shown by cropping them from the page."""
_FULL = 999
_BOX = r"\[\s*\d{1,4}(?:\s*,\s*\d{1,4}){3}\s*\]"
_TAG = re.compile(
    rf"<\|ref\|>((?:(?!<\|).)*)<\|/ref\|><\|det\|>(\[\s*{_BOX}(?:\s*,\s*{_BOX})*\s*\])<\|/det\|>[ \t]*", re.DOTALL
)


class Block(NamedTuple):
    """A part of a page."""

    label: str
    """One of LABELS; `text` where the engine names none."""
    boxes: tuple[Box, ...]
    """Where it stands; none where the engine doesn't say."""
    text: str
    """Markdown, HTML and formulas as the engine wrote them."""


def parse(text: str) -> list[Block]:
    """Take the text of a page apart. All of it but the tags is in the blocks, in order."""
    pieces = _TAG.split(text)
    blocks = [Block("text", (), pieces[0])]
    for named, boxes, following in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
        label = named.strip()
        if label in LABELS:
            blocks.append(Block(label, _boxes(boxes), following))
        else:
            blocks.append(Block("text", _boxes(boxes), f"{named}{following}"))
    trimmed = [block._replace(text=block.text.strip("\n")) for block in blocks]
    return [block for block in trimmed if block.text.strip() or block.boxes]


def pictures(text: str) -> list[Box]:
    """List the boxes of the pictures on a page, in order."""
    return [box for block in parse(text) if block.label in PICTURES for box in block.boxes]


def _boxes(text: str) -> tuple[Box, ...]:
    numbers = [min(int(digits), _FULL) / _FULL for digits in re.findall(r"\d+", text)]
    boxes = (Box(*numbers[start : start + 4]) for start in range(0, len(numbers), 4))
    return tuple(box for box in boxes if box.left < box.right and box.top < box.bottom)
