"""Running titles and page numbers: which headers and footers of a document are no text of their own pages. Pure."""

import re
from collections import Counter
from collections.abc import Iterable

from ocrd.markup import layout_blocks
from ocrd.model import PageResult

LABELS = {"header": "header", "footer": "footer", "page_number": "number"}
"""What blocks at the head and the foot of a page are called, by the model and in the Markdown."""
_NUMBER = re.compile(
    r"[\W_]*(?:page|seite|blatt|pagina|página|strona|s|p|nr|no)?[\W_]*(?:\d{1,5}|[ivxlc]{1,8})"
    r"(?:[\W_]*(?:of|von|sur|de|di|z)?[\W_]*\d{1,5})?[\W_]*"
)
_DIGITS = re.compile(r"\d+")


def titles(pages: Iterable[PageResult]) -> frozenset[str]:
    """List the headers and footers that stand on several pages, whatever numbers they have; for `is_running`."""
    seen: Counter[str] = Counter()
    for page in pages:
        blocks = layout_blocks.parse(page.reading.text) if page.reading else []
        seen.update({_key(block.text) for block in blocks if block.label in LABELS})
    return frozenset(key for key, pages_with in seen.items() if pages_with > 1)


def is_running(text: str, known: frozenset[str]) -> bool:
    """Whether a header or footer is one of the `titles` of its document, or a page's number."""
    key = _key(text)
    return not key or key in known or _NUMBER.fullmatch(text.strip().lower()) is not None


def _key(text: str) -> str:
    """Write what is the same on every page."""
    return " ".join(_DIGITS.sub("#", re.sub(r"[^\w\s]|_", " ", text.casefold())).split())
