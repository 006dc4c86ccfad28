"""The review page: one HTML file that shows every page beside its text. Pure.

It needs nothing from elsewhere, runs no script, and says so to the browser: what was read from paper can do nothing
here. Boxes are links to their text, and each text has one to its box.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from pathlib import Path

from ocrd.display import shown
from ocrd.markup.layout_blocks import PICTURES, Block
from ocrd.model import Verdict
from ocrd.output import html_page, markdown
from ocrd.output.markdown import Style


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """One page to look at."""

    number: int
    """From 1."""
    verdict: Verdict
    """What we hold of its reading."""
    reason: str
    """Why, in words."""
    image: bytes
    """WebP; empty if it can't be shown."""
    size: tuple[float, float]
    """Width and height of the upright page; only their ratio counts."""
    blocks: Sequence[Block]
    """What was read."""
    attempts: Sequence[str] = field(default=())
    """What was tried, in words."""
    corrected: bool = False
    """Whether its text is what a person made of it since."""


def html(title: str, facts: Sequence[tuple[str, str]], pages: Sequence[ReviewPage]) -> str:
    """Write the whole page: facts of the document, the pages with problems first, then the others."""
    style = Path(__file__).with_name("review.css").read_text(encoding="utf-8")
    ordered = sorted(pages, key=lambda page: page.verdict.sound)
    problems = sum(not page.verdict.sound for page in pages)
    word = "page" if problems == 1 else "pages"
    summary = f"{problems} {word} to look at" if problems else "nothing to look at"
    skip = f'<a class="skip" href="#p{ordered[0].number}">To the first page</a>' if ordered else ""
    tab_stop = {True: ' tabindex="-1"', False: ""}  # a thousand good pages are no thousand steps for the keyboard
    links = "".join(
        f'<a class="chip {page.verdict}" href="#p{page.number}" title="{escape(str(page.verdict))}"'
        f"{tab_stop[page.verdict.sound]}>{page.number}</a>"
        for page in pages
    )
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(shown(value))}</dd>" for name, value in facts)
    steps = _steps([page for page in ordered if not page.verdict.sound])
    body = (
        f'{skip}<header><h1>{escape(shown(title))}</h1><p class="summary {"bad" if problems else "good"}">{summary}, '
        f'{len(pages)} in all</p><nav aria-label="Pages">{links}</nav></header>\n'
        f"<details class=facts><summary>About this document</summary><dl>{rows}</dl></details>\n"
        f"<main>\n{''.join(_page(page, steps.get(page.number, '')) for page in ordered)}</main>\n"
    )
    return html_page.shell(f"{title} · review", style, body, "en")


def _steps(problems: Sequence[ReviewPage]) -> dict[int, str]:
    """Write the links from each page with problems to the next and the one before, by number.

    The next one is the first that a tab leads to from there, and has a key of its own (`accesskey`).
    """
    links = {page.number: "" for page in problems}
    for page, following in pairwise(problems):
        links[page.number] += f'<a class="step" href="#p{following.number}" accesskey="n">Next problem</a>'
    for before, page in pairwise(problems):
        links[page.number] += f'<a class="step" href="#p{before.number}" accesskey="p">Problem before</a>'
    return links


def _page(page: ReviewPage, steps: str) -> str:
    name = f"p{page.number}"
    corrected = '<span class="corrected">as corrected by hand</span>' if page.corrected else ""
    reason = f'<p class="reason">{escape(shown(page.reason))}</p>' if page.reason else ""
    attempts = "".join(f"<li>{escape(shown(attempt))}</li>" for attempt in page.attempts)
    tried = f'<details class="tried"><summary>What was tried</summary><ol>{attempts}</ol></details>' if attempts else ""
    text = "".join(_block(name, number, block) for number, block in enumerate(page.blocks, 1))
    return (
        f'<section id="{name}">\n<h2>Page {page.number} <span class="badge {page.verdict}">{page.verdict}</span> '
        f'{corrected}{steps}</h2>\n{reason}<div class="pair"><figure>{_image(name, page)}</figure>\n'
        f'<div class="words">{text or "<p class=none>Nothing was read here.</p>"}</div></div>\n{tried}</section>\n'
    )


def _image(name: str, page: ReviewPage) -> str:
    if not page.image:
        return '<p class="none">The original of this page can not be shown.</p>'
    width, height = 1000.0, 1000.0 * page.size[1] / page.size[0]
    data = base64.b64encode(page.image).decode()
    boxes = "".join(_boxes(name, number, block, height) for number, block in enumerate(page.blocks, 1))
    return (
        f'<img src="data:image/webp;base64,{data}" alt="Page {page.number} of the original" '
        f'width="{width:.0f}" height="{height:.0f}">'
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="group" aria-label="What stands where">{boxes}</svg>'
    )


def _boxes(page: str, number: int, block: Block, height: float) -> str:
    """Draw the boxes of a block with its number in the order of reading, on an image 1000 wide and of this height."""
    drawn = ""
    for place, box in enumerate(block.boxes):
        name = f' id="{page}x{number}"' if place == 0 else ""
        left, top = box.left * 1000, box.top * height
        drawn += (
            f'<a{name} href="#{page}b{number}"><title>{number}: {escape(block.label)}</title>'
            f'<rect class="{escape(block.label)}" x="{left:.0f}" y="{top:.0f}" '
            f'width="{box.right * 1000 - left:.0f}" height="{box.bottom * height - top:.0f}" rx="4"/>'
            f'<text x="{left + 4:.0f}" y="{top + 18:.0f}">{number}</text></a>'
        )
    return drawn


def _block(page: str, number: int, block: Block) -> str:
    words = markdown.words(block, Style(running="keep"))
    inside = html_page.rendered(words) if words else ""
    if block.label in PICTURES:
        inside = f'<p class="picture">Picture</p>{inside}'
    place = (
        f'<a class="place" href="#{page}x{number}">{number}: {escape(block.label.replace("_", " "))}</a>'
        if block.boxes
        else ""
    )
    return f'<div class="block {escape(block.label)}" id="{page}b{number}">{place}{inside}</div>'
