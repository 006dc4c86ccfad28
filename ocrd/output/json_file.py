"""A document as JSON: all that is known of each page. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ocrd.errors import DocumentError
from ocrd.markup import layout_blocks
from ocrd.model import Document, PageResult, Verdict
from ocrd.output import front_matter, markdown, sanitize
from ocrd.output.markdown import Style
from ocrd.output.plain_text import plain

FORM = 1
"""Version of what is written."""


def write(document: Document) -> str:
    """Write all that is known of each page. Boxes are shares of the upright page, its size is in points (1/72 inch)."""
    facts = front_matter.facts(document)
    pages = [_page(page) for page in document.pages]
    return _written({"form": FORM, "kind": document.facts.kind, **facts, "pages": pages})


def replace_pages(text: str, pages: Sequence[PageResult], rerun: Mapping[str, object]) -> str:
    """Put pages in the place of their earlier readings; `rerun` is the entry about it, `date` among it.

    Raises DocumentError if it is not what ocrd writes.
    """
    try:
        raw: dict[str, Any] = json.loads(text)
        if raw["form"] != FORM:
            raise ValueError(f"its form is {raw['form']}")  # noqa: TRY301 - told as any other damage
        places = {entry["page"]: place for place, entry in enumerate(raw["pages"])}
        for page in pages:
            raw["pages"][places[page.index + 1]] = _page(page)
        sound = all(Verdict(entry["verdict"]).sound for entry in raw["pages"])
        raw |= {"status": "complete" if sound else "partial", "date": rerun["date"]}
        raw["reruns"] = [*(raw.get("reruns") or []), dict(rerun)]
    except (ValueError, KeyError, TypeError) as error:
        raise DocumentError(
            f"The JSON beside the sidecar is not what ocrd wrote: {type(error).__name__}: {error}.",
            "Move it away, and try again.",
        ) from error
    return _written(raw)


def facts_of(data: bytes) -> dict[str, Any] | None:
    """Read it back; None if it is not what ocrd writes."""
    try:
        raw = json.loads(data)
    except ValueError:
        return None
    sound = isinstance(raw, dict) and isinstance(raw.get("source"), str) and isinstance(raw.get("pages"), list)
    return raw if sound else None


def pages_of(data: bytes) -> list[int]:
    """List the numbers of the pages that it has, from 1 in the source."""
    pages = (facts_of(data) or {}).get("pages", [])
    return [page["page"] for page in pages if isinstance(page, dict) and isinstance(page.get("page"), int)]


def _written(raw: Mapping[str, object]) -> str:
    return json.dumps(raw, ensure_ascii=False, indent=1) + "\n"


def _page(page: PageResult) -> dict[str, Any]:
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
        "bans": reading and reading.bans,
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
