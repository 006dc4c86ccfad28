"""One scan of several documents, taken apart at its separators. Pure.

Pages of a separation lead the document that they introduce, so that each page stands in one sidecar; those behind the
last document end it. Every part has a page with something on it: a scan without two such parts stays whole.
"""

from dataclasses import replace
from typing import Literal

from ocrd.model import Document, PageResult, Verdict

How = Literal["none", "blank", "barcode"]


def parts(document: Document, how: How) -> tuple[Document, ...]:
    """Take a document apart; one that holds no separator between two others' pages is returned as it is."""
    told: list[list[PageResult]] = [[]]
    between: list[PageResult] = []
    begun = False
    for page in document.pages:
        if _separates(page, how) or (between and page.verdict is Verdict.BLANK):  # a sheet's back goes with it
            between.append(page)
            continue
        something = page.verdict is not Verdict.BLANK
        if between and begun:
            told.append([])
        told[-1] += [*between, page]
        between = []
        begun = begun or something
    told[-1] += between
    if len(told) == 1:
        return (document,)
    return tuple(
        replace(document, pages=tuple(pages), part=(number, len(told))) for number, pages in enumerate(told, 1)
    )


def _separates(page: PageResult, how: How) -> bool:
    match how:
        case "none":
            return False
        case "blank":
            return page.verdict is Verdict.BLANK
        case "barcode":
            return bool(page.facts and page.facts.separator)
