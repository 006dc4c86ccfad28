"""A document as one HTML page that needs nothing else. Pure.

It runs no script and asks nothing of anybody, and says so to the browser: what was read from paper can do nothing here.
Pages stand by themselves, each in a section of its own that a rerun can exchange; what was read can't make a section,
and the only pictures are those that were cropped from the pages, as data.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from html import escape
from itertools import groupby
from pathlib import Path

from ocrd.display import shown
from ocrd.errors import DocumentError
from ocrd.model import Document, PageResult, Verdict
from ocrd.output import commonmark, front_matter, markdown, sanitize
from ocrd.output.markdown import Style
from ocrd.output.reflow import Part

Figure = Callable[[str], bytes]
"""Gives a picture cropped from a page, a JPEG, by its name."""
MOST_PICTURES = 64 * 2**20
"""Bytes of pictures in one file: what a browser, a mail and our own memory hold without strain."""
_SECTION = re.compile(r'<section id="page-(\d+)" class="([a-z]+)">\n.*?</section>\n', re.DOTALL)
_SET_OFF = frozenset({"note", "running", "caption", "figure"})
"""Parts of a page that are not written together with their neighbours."""
_SOUND = frozenset(str(verdict) for verdict in Verdict if verdict.sound)


def write(document: Document, style: Style, figure: Figure) -> str:
    """Write the whole page: facts if wanted, links to the pages with problems, then every page in order."""
    title = document.source + (f", part {document.part[0]} of {document.part[1]}" if document.part else "")
    pictures = _Pictures(figure)
    style = style.of(document.pages)
    sections = "".join(_section(page, style, pictures) for page in document.pages)
    head = f'<p class="source">{escape(shown(title))}</p>\n{_facts(document) if style.front_matter else ""}'
    body = f"<header>\n{head}{_links(_problems(sections))}</header>\n<main>\n{sections}</main>\n"
    return shell(title, _style_sheet(), body)


def replace_pages(
    html: str, pages: Sequence[PageResult], style: Style, rerun: Mapping[str, object], figure: Figure
) -> str:
    """Put pages in the place of their earlier readings; `rerun` says of it `date`, `pages`, `engine` and `model`.

    Raises DocumentError if the section of a page is not there, or twice.
    """
    found = [int(match[1]) for match in _SECTION.finditer(html)]
    for page in pages:
        if found.count(page.index + 1) != 1:
            raise DocumentError(
                f"The HTML beside the sidecar has the section of page {page.index + 1} "
                f"{found.count(page.index + 1)} times.",
                "Move it away, and try again.",
            )
    pictures = _Pictures(figure)
    fresh = {page.index + 1: _section(page, style, pictures) for page in pages}
    head, main, sections = html.partition("<main>\n")
    sections = _SECTION.sub(lambda match: fresh.get(int(match[1]), match[0]), sections)
    return _renewed(head, sections, rerun) + main + sections


def shell(title: str, style: str, body: str, language: str = "", script: str = "") -> str:
    """Write an HTML file around a body: its title, the only style sheet that it obeys, and the only script, if any.

    `language` is that of the body, as BCP 47 has it; empty if nobody knows. A script may ask who sent it, and nobody
    else.
    """
    policy = f"default-src 'none'; img-src data:; style-src {_digest(style)}; base-uri 'none'; form-action 'none'"
    if script:
        policy += f"; script-src {_digest(script)}; connect-src 'self'"
        body += f"<script>{script}</script>\n"
    spoken = f' lang="{language}"' if language else ""
    return (
        f'<!DOCTYPE html>\n<html{spoken}>\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(shown(title))}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _digest(text: str) -> str:
    """Name a style or a script as a content security policy does (CSP level 3, 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def rendered(text: str) -> str:
    """Render safe Markdown to harmless HTML, without pictures."""
    return sanitize.rendered(commonmark.parser().render(text))


class _Pictures:
    """Writes the pictures of one file, as far as there is room for them."""

    def __init__(self, figure: Figure) -> None:
        self._figure = figure
        self._room = MOST_PICTURES

    def written(self, page: int, number: int, name: str) -> str:
        """Write the picture of this name; `page` and `number`, from 1, are for the reader."""
        data = self._figure(name)
        if len(data) > self._room:
            return f"<p>(Figure {number} of page {page} is left out: this file would be too large.)</p>\n"
        self._room -= len(data)
        source = f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
        return f'<figure><img src="{source}" alt="Page {page}, figure {number}"></figure>\n'


def _section(page: PageResult, style: Style, pictures: _Pictures) -> str:
    number = page.index + 1
    figures = iter(enumerate(page.figures, 1))
    content = ""
    for kind, parts in groupby(markdown.page_parts(page, style), key=_set_off):
        if kind == "figure":
            for part, (place, name) in zip(parts, figures, strict=False):
                content += pictures.written(number, place, name) if name else rendered(part.text)
        else:
            text = rendered("\n\n".join(part.text for part in parts))
            content += f'<div class="{kind}">\n{text}</div>\n' if kind else text
    return (
        f'<section id="page-{number}" class="{page.verdict}">\n'
        f'<p class="marker"><a href="#page-{number}">Page {number}</a></p>\n{content}</section>\n'
    )


def _set_off(part: Part) -> str:
    """Name the kind of a part that is not written together with its neighbours; empty for any other."""
    return part.kind if part.kind in _SET_OFF else ""


def _facts(document: Document) -> str:
    rows = "".join(_row(name, value) for name, value in front_matter.facts(document).items())
    count = f"{len(document.pages)} page{'s' if len(document.pages) > 1 else ''}"
    summary = f'<summary>{count}, <span class="status">{document.status}</span></summary>'
    return f"<details>\n{summary}\n<dl>\n{rows}</dl>\n</details>\n"


def _row(name: str, value: object) -> str:
    return f"<dt>{escape(name)}</dt><dd>{escape(_spelled(value))}</dd>\n"


def _spelled(value: object) -> str:
    match value:
        case Mapping():
            return "; ".join(f"{shown(str(name))}: {_spelled(item)}" for name, item in value.items())
        case list() | tuple():
            return ", ".join(map(_spelled, value))
        case _:
            return shown(str(value))


def _problems(sections: str) -> list[tuple[str, str]]:
    """List the number and the verdict of each page that a person should look at."""
    return [(number, verdict) for number, verdict in _SECTION.findall(sections) if verdict not in _SOUND]


def _links(problems: Sequence[tuple[str, str]]) -> str:
    links = ", ".join(f'<a href="#page-{number}">page {number} ({verdict})</a>' for number, verdict in problems)
    return f"<nav>{links and 'To look at: '}{links}</nav>\n"


def _renewed(head: str, sections: str, rerun: Mapping[str, object]) -> str:
    """Write the head anew, as far as it has facts."""
    problems = _problems(sections)
    status = "partial" if problems else "complete"
    head = re.sub(r'(<span class="status">|<dt>status</dt><dd>)[^<]*', rf"\g<1>{status}", head)
    head = re.sub(r"(<dt>date</dt><dd>)[^<]*", lambda match: match[1] + escape(_spelled(rerun["date"])), head)
    head = head.replace("</dl>\n", f"{_row('rerun', rerun)}</dl>\n", 1)
    return re.sub(r"<nav>.*?</nav>\n", lambda _: _links(problems), head, count=1)


@cache
def _style_sheet() -> str:
    return Path(__file__).with_name("html_page.css").read_text(encoding="utf-8")
