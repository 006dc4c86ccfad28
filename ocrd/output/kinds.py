"""What is delivered of a document, file by file. Pure."""

import json
from dataclasses import asdict
from typing import Any

from ocrd.config.schema import Watch
from ocrd.model import Document, PageResult
from ocrd.output import layout_blocks, markdown, sanitize, split
from ocrd.output.markdown import Style
from ocrd.output.plain_text import plain

FORM = 1
"""Version of the JSON."""
PAGE_BREAK = "\n\f"
"""Between two pages of the plain text."""


def files(document: Document, watch: Watch) -> dict[str, bytes]:
    """Write each file that the watch wants and that is text, of each part, by its ending."""
    style = style_of(watch)
    written: dict[str, str] = {}
    for part in split.parts(document, watch.split):
        if "markdown" in watch.outputs:
            written[ending(part, ".md")] = markdown.sidecar(part, style)
        if "json" in watch.outputs:
            written[ending(part, ".json")] = as_json(part)
        if "text" in watch.outputs:
            written[ending(part, ".txt")] = as_text(part, style)
    return {ending: text.encode() for ending, text in written.items()}


def ending(document: Document, suffix: str) -> str:
    """Give the end of a file's name: the suffix, after the number where it is of one part of several."""
    return f"-{document.part[0]}{suffix}" if document.part else suffix


def style_of(watch: Watch) -> Style:
    """Take out what concerns the Markdown."""
    return Style(watch.front_matter, watch.tables, watch.running, watch.dehyphenate, watch.join_paragraphs)


def with_figures(watch: Watch) -> bool:
    """Whether a watch delivers pictures cropped from the pages."""
    return watch.figures and bool({"markdown", "json"} & set(watch.outputs))


def figures(document: Document) -> list[str]:
    """List the names of all pictures cropped from the pages."""
    return [name for page in document.pages for name in page.figures if name]


def as_text(document: Document, style: Style) -> str:
    """Write the text without markup, a form feed between pages."""
    return PAGE_BREAK.join(text_of(page, style) for page in document.pages) + "\n"


def text_of(page: PageResult, style: Style) -> str:
    """Write the text of one page without markup."""
    return plain(markdown.section(page, style, noted=True))


def as_json(document: Document) -> str:
    """Write all that is known of each page. Boxes are shares of the upright page, its size is in points (1/72 inch)."""
    told = {
        "form": FORM,
        "source": sanitize.clean(document.source),
        **({"files": [sanitize.clean(file) for file in document.facts.files]} if document.facts.files else {}),
        "sha256": document.facts.sha256,
        "kind": document.facts.kind,
        **document.told_part,
        **document.told_settings,
        "status": document.status,
        "engine": document.engine,
        "model": document.model,
        "date": document.date.isoformat(timespec="seconds"),
        "seconds": round(document.seconds, 1),
        "pages": [page_of(page) for page in document.pages],
    }
    return json.dumps(told, ensure_ascii=False, indent=1) + "\n"


def page_of(page: PageResult) -> dict[str, Any]:
    """Tell in the JSON of one page."""
    reading = page.reading
    text = sanitize.clean(reading.text) if reading else ""
    placement = page.facts.placement if page.facts and page.facts.placement.width else None
    return {
        "page": page.index + 1,
        "verdict": str(page.verdict),
        "reason": sanitize.clean(page.reason),
        "rung": str(page.rung),
        "attempts": [asdict(attempt) for attempt in page.attempts],
        "size": [round(side, 2) for side in placement.upright] if placement else None,
        "placement": placement and asdict(placement),
        "finish_reason": reading and reading.finish_reason,
        "tokens": reading and reading.tokens,
        "seconds": reading and round(reading.seconds, 3),
        "text": plain(markdown.section(page, Style(), noted=False)),
        "read": text,
        "blocks": [
            {
                "label": block.label,
                "boxes": [[round(side, 4) for side in box] for box in block.boxes],
                "text": block.text,
            }
            for block in layout_blocks.parse(text)
        ],
        "figures": list(page.figures),
    }
