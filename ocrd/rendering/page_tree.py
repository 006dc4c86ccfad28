"""The tree in which a PDF keeps its pages (ISO 32000-2, 7.7.3), counted where it names more of them than it tells.

What a page does not say of itself, the nodes above it do.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pymupdf

_OF_A_PAGE = {"/Page", "null"}
"""Types that a page has, the latter by mistake."""
_HIGHEST = 50
"""Nodes that are climbed."""
_REFERENCE = re.compile(r"(\d+) \d+ R")


def recounted(document: "pymupdf.Document") -> bool:
    """Let a PDF show every page that its tree names, and tell whether it said that they are fewer.

    MuPDF shows as many as the root of the tree counts, and says nothing of those behind them.
    """
    try:
        (root,) = _references(document.xref_get_key(document.pdf_catalog(), "Pages")[1])
        pages = _pages_below(document, root)
        if pages <= document.page_count:
            return False
        document.xref_set_key(root, "Count", str(pages))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - MuPDF's errors have no common base but this
        return False  # there is no such tree; whether it can be repaired is found out later
    return True


def _pages_below(document: "pymupdf.Document", root: int) -> int:
    """Count pages. A node that has others below it counts once, so that a circle ends.

    A node that counts its kids, the first of which is a page, is believed that all of them are: so of thousands of
    pages only the nodes are looked at, each time that a document is opened.
    """
    waiting, inner, pages = [root], set[int](), 0
    while waiting:
        node = waiting.pop()
        kids = _kids(document, node)
        if kids is None:
            pages += 1
        elif node not in inner:
            inner.add(node)
            if kids and _counts(document, node) == len(kids) and _kids(document, kids[0]) is None:
                pages += len(kids)
            else:
                waiting += kids
    return pages


def _counts(document: "pymupdf.Document", node: int) -> int:
    kind, value = document.xref_get_key(node, "Count")
    return int(value) if kind == "int" else -1


def _kids(document: "pymupdf.Document", node: int) -> list[int] | None:
    """List what a node has below it; None for a page. What is missing, damaged or no dictionary has nothing there."""
    try:
        if document.xref_is_stream(node) or not document.xref_get_keys(node):
            return []
        kind, value = document.xref_get_key(node, "Kids")
        if kind == "xref":
            value = document.xref_object(*_references(value))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - MuPDF's errors have no common base but this
        return []
    if kind != "null":
        return _references(value)
    return None if document.xref_get_key(node, "Type")[1] in _OF_A_PAGE else []


def _references(value: str) -> list[int]:
    return [int(number) for number in _REFERENCE.findall(value)]


def inherited(document: "pymupdf.Document", node: int, key: str) -> tuple[str, str]:
    """Look up what a page says of a key, or else what is above it does; the same goes for fields of a form.

    Returns type and value, "null" if there is none.
    """
    for _ in range(_HIGHEST):
        kind, value = document.xref_get_key(node, key)
        if kind != "null":
            return kind, value
        kind, value = document.xref_get_key(node, "Parent")
        if kind != "xref":
            break
        (node,) = _references(value)
    return "null", "null"
