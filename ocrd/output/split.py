"""One scan of several documents, taken apart at its separators, and the names of the parts' files. Pure.

Pages of a separation lead the document that they introduce, so that each page stands in one sidecar; those behind the
last document end it. Every part has a page with something on it: a scan without two such parts stays whole. A document
within another, such as one in a portfolio, is a part of its own.
"""

import re
from dataclasses import replace
from typing import Literal

from ocrd.model import Document, PageResult, Verdict

Separator = Literal["none", "blank", "barcode"]
"""What a new document begins behind."""
_ENDING = re.compile(r"-(\d+)(\..*)")


def parts(document: Document, separator: Separator) -> tuple[Document, ...]:
    """Take a document apart; one that holds no separator between two others' pages is returned as it is."""
    groups: list[list[PageResult]] = [[]]
    between: list[PageResult] = []
    begun = False
    inner = frozenset() if separator == "none" else frozenset(document.facts.parts)
    for page in document.pages:
        if page.index in inner and begun:
            groups[-1] += between
            between, begun = [], False
            groups.append([])
        separates = _separates(page, separator)
        if page.verdict is Verdict.BLANK and (separates or between):  # a sheet's back goes with it
            between.append(page)
            continue
        if (between or separates) and begun:  # a page of text that separates has a barcode on it
            groups.append([])
        groups[-1] += [*between, page]
        between = []
        begun = begun or page.verdict is not Verdict.BLANK
    groups[-1] += between
    if len(groups) == 1:
        return (document,)
    return tuple(
        replace(document, pages=tuple(pages), part=(number, len(groups))) for number, pages in enumerate(groups, 1)
    )


def without_blank_backs(document: Document) -> Document:
    """Leave out the pages of a duplex scan that are backs with nothing on them."""
    if document.facts.kind != "duplex":
        return document
    blank = [page for page in document.pages if page.index % 2 and page.verdict is Verdict.BLANK]
    kept = tuple(page for page in document.pages if page not in blank)
    return replace(document, pages=kept, blank_backs=tuple(page.index + 1 for page in blank))


def separation(document: Document, separator: Separator) -> tuple[int, ...]:
    """List the pages without text that separate, and those that go with them, by their numbers from 1 in the source.

    Not all that there are: a document is never emptied.
    """
    found, run = [], False
    for page in document.pages:
        run = page.verdict is Verdict.BLANK and (run or _separates(page, separator))
        found += [page.index + 1] if run else []
    return tuple(found) if len(found) < len(document.pages) else ()


def _separates(page: PageResult, separator: Separator) -> bool:
    match separator:
        case "none":
            return False
        case "blank":
            return page.verdict is Verdict.BLANK
        case "barcode":
            return bool(page.facts and page.facts.separator)


def ending(document: Document, suffix: str) -> str:
    """Return how the name of a document's file ends: `.md`, or `-2.md` for the second of several parts."""
    return f"-{document.part[0]}{suffix}" if document.part else suffix


def part_and_suffix(ending: str) -> tuple[int, str]:
    """Return the number of the part, 0 for a whole document, and the suffix of what `ending` made."""
    match = _ENDING.fullmatch(ending)
    return (int(match[1]), match[2]) if match else (0, ending)
