"""How a page of a PDF shows its text, as MuPDF tells it, and set right. For the render workers."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pymupdf

INVISIBLE = 3
"""The text rendering mode of PDF for text that is only there to be found (ISO 32000-1, 9.3.6)."""
_FILLED = 0
"""The mode of usual text."""
Span = dict[str, Any]
"""Letters in one font and size, as PyMuPDF describes them."""
_BEFORE_ALL: Span = {"seqno": -1}


def traced(page: "pymupdf.Page") -> list[Span]:
    """List the spans of a page, in the order in which they are shown.

    Letters that are drawings (fonts of Type 3) MuPDF draws as such, and then shows them once more as if they were
    hidden, each in a span of its own. Where a drawing comes before it, it is visible; the hidden text of an earlier OCR
    has whole lines in a span.
    """
    spans: list[Span] = page.get_texttrace()
    if any(span["type"] == INVISIBLE for span in spans):
        fonts = _fonts_of_drawings(page)
        for last, span in pairwise([_BEFORE_ALL, *spans]):
            if span["type"] == INVISIBLE and span["font"] in fonts and _is_drawn(last, span):
                span["type"] = _FILLED
    return spans


def _is_drawn(last: Span, span: Span) -> bool:
    return len(span["chars"]) == 1 and span["seqno"] - last["seqno"] > 1


def _fonts_of_drawings(page: "pymupdf.Page") -> set[str]:
    """List the names that MuPDF has for such fonts of a page."""
    fonts = [(number, name) for number, _, kind, name, *_ in page.get_fonts() if kind == "Type3"]
    return {name or f"Type3 ({number} 0 R)" for number, name in fonts}
