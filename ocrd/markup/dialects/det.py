"""Unlimited-OCR's tags, `<|det|>label [x1, y1, x2, y2]<|/det|>text`, as DeepSeek-OCR has them. Pure.

Labels: header, title, subtitle, text, image, image_caption, table, formula, footer, page_number; boxes in thousandths.
The model sometimes writes DeepSeek-OCR's own tags, which stay.
"""

import re

from ocrd.markup.dialects import blocks
from ocrd.markup.special_tokens import with_plain_bars
from ocrd.model import PixelSize

SIGN = re.compile(r"<\|det\|>[ \t]*[a-z]|<\|ref\|>")
_TAG = re.compile(r"<\|det\|>[ \t]*(?P<name>[a-z][a-z_]{0,30})?[ \t]*(?P<box>\[[\d\s,.]*\])?[ \t]*<\|/det\|>")
_CUT = re.compile(r"<\|det\|>[ \t]*[a-z_]{0,31}[ \t]*(?P<box>\[[\d\s,.]*\]?)?(?:<\|?)?\Z")


def form(text: str, size: PixelSize) -> str:
    """Write tags as `layout_blocks` knows them, without one that is cut off."""
    del size
    return _TAG.sub(_tag, _CUT.sub("", with_plain_bars(text)))


def _tag(tag: "re.Match[str]") -> str:
    det = f"<|det|>[{tag['box']}]<|/det|>" if tag["box"] else ""
    return f"<|ref|>{blocks.label(tag['name'] or 'text')}<|/ref|>{det}"
