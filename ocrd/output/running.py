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
    r"(?![.,]\d)(?:[\W_]*(?:of|von|sur|de|di|z)?[\W_]*\d{1,5})?[\W_]*"
)
_DIGITS = re.compile(r"\d+")
_LONGEST = 5
"""Digits of a page's number."""


def titles(pages: Iterable[PageResult]) -> frozenset[str]:
    """List the headers and footers that stand on several pages, whatever page's number is in them; for `is_running`."""
    seen: Counter[str] = Counter()
    for page in pages:
        blocks = layout_blocks.parse(page.reading.text) if page.reading else []
        seen.update({key for block in blocks if block.label in LABELS for key in _keys(block.text, page.index)})
    return frozenset(key for key, pages_with in seen.items() if pages_with > 1)


def is_running(text: str, index: int, known: frozenset[str]) -> bool:
    """Whether a header or footer of the page of this index is one of its document's `titles`, or a page's number."""
    keys = _keys(text, index)
    return "" in keys or not known.isdisjoint(keys) or _NUMBER.fullmatch(text.strip().lower()) is not None


def _keys(text: str, index: int) -> set[str]:
    """Write what may be the same on every page: the text as it is, or one number of it less that of the page.

    Other numbers, such as sums and dates, are what a line says.
    """
    words = " ".join(re.sub(r"[^\w\s]|_", " ", text.casefold()).split())
    return {words} | {
        f"{words[: found.start()]}#{int(found[0]) - index}#{words[found.end() :]}"
        for found in _DIGITS.finditer(words)
        if len(found[0]) <= _LONGEST
    }
