"""The index of pages to look at: one HTML file of all delivered documents that have some, the worst first. Pure.

Like the review page it needs nothing from elsewhere and runs no script; each page links to its place in the review of
its document, a file beside it.
"""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

from ocrd.commands.review_html import ReviewPage
from ocrd.display import shown
from ocrd.model import Verdict
from ocrd.output import html_page

_WORST_FIRST = (Verdict.FAILED, Verdict.REPEATED, Verdict.TRUNCATED, Verdict.SUSPECT)


@dataclass(frozen=True, slots=True)
class Entry:
    """A document with pages to look at."""

    title: str
    """Its path below the outbox, without ending."""
    about: str
    """Its watch, date and so on, in a line."""
    review: str
    """Name of the file with its review page."""
    pages: Sequence[ReviewPage]
    """Those to look at; their images are small."""


def html(entries: Sequence[Entry]) -> str:
    """Write the index: the documents with the worst pages first, and of each its pages so."""
    style = Path(__file__).with_name("review.css").read_text(encoding="utf-8")
    verdicts = Counter(page.verdict for entry in entries for page in entry.pages)
    pages = sum(verdicts.values())
    counts = " ".join(
        f'<span class="chip {verdict}">{verdicts[verdict]} {verdict}</span>'
        for verdict in _WORST_FIRST
        if verdicts[verdict]
    )
    summary = f"{_counted(pages, 'page')} to look at in {_counted(len(entries), 'document')}"
    body = (
        f'<header><h1>Pages to look at</h1><p class="summary {"bad" if pages else "good"}">{summary}</p>'
        f'<nav aria-label="Verdicts">{counts}</nav></header>\n'
        f"<main>\n{''.join(_document(entry) for entry in sorted(entries, key=_badness))}</main>\n"
    )
    return html_page.shell("Pages to look at", style, body, "en")


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _badness(entry: Entry) -> tuple[int, int, str]:
    """Order documents: by their worst page, then by how many there are."""
    worst = min(map(_rank, entry.pages), default=len(_WORST_FIRST))
    return worst, -len(entry.pages), entry.title


def _rank(page: ReviewPage) -> int:
    return _WORST_FIRST.index(page.verdict) if page.verdict in _WORST_FIRST else len(_WORST_FIRST)


def _document(entry: Entry) -> str:
    link = escape(quote(entry.review))
    cards = "".join(_card(page, link) for page in sorted(entry.pages, key=lambda page: (_rank(page), page.number)))
    return (
        f'<section class="document">\n<h2><a href="{link}">{escape(shown(entry.title))}</a></h2>\n'
        f'<p class="about">{escape(shown(entry.about))}</p>\n<div class="cards">{cards}</div>\n</section>\n'
    )


def _card(page: ReviewPage, link: str) -> str:
    name = f"Page {page.number}"
    picture = '<span class="none">not shown</span>'
    if page.image:
        data = base64.b64encode(page.image).decode()
        picture = f'<img src="data:image/webp;base64,{data}" alt="{name} of the original" loading="lazy">'
    return (
        f'<a class="card {page.verdict}" href="{link}#p{page.number}">{picture}'
        f'<div>{name} <span class="badge {page.verdict}">{page.verdict}</span>'
        f'<p class="reason">{escape(shown(page.reason))}</p></div></a>\n'
    )
