"""Pages exchanged in files that were delivered before. Pure: text in, text out.

Only what stands between the markers of the pages that were read again is another after it: what the owner wrote
elsewhere stays.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ocrd.errors import DocumentError
from ocrd.model import PageResult, Verdict
from ocrd.output import front_matter, kinds, markdown
from ocrd.output.markdown import Style
from ocrd.storage.result import with_stem

_FRONT = re.compile(r"---\r?\n.*?\n---\r?\n", re.DOTALL)


def in_markdown(sidecar: str, pages: Sequence[PageResult], style: Style, told: Mapping[str, object], stem: str) -> str:
    """Put pages in the place of their earlier readings, and tell of it in the front matter, if there is one.

    `told` is what the front matter is to say of this rerun, `date` among it; `stem` the name of the sidecar, for links.
    Raises DocumentError if a page's marker is not there, or twice, or the front matter can't be read.
    """
    found = front_matter.pages_of(sidecar)
    for page in pages:
        if found.count(page.index + 1) != 1:
            raise DocumentError(
                f"The sidecar has the marker of page {page.index + 1} {found.count(page.index + 1)} times.",
                f"Write the line <!-- page {page.index + 1} --> where that page begins, once, or drop the scan again.",
            )
    fresh = {page.index + 1: with_stem(markdown.body(page, style).encode(), stem).decode() for page in pages}
    head, *pieces = front_matter.MARKER.split(sidecar)
    front = _FRONT.match(head)
    written = _renewed(front[0], pages, told) + head[front.end() :] if front else head
    after_fresh = False
    for number, text in zip(map(int, pieces[::2]), pieces[1::2], strict=True):
        if number in fresh and written.strip() and not written.endswith("\n"):  # the marker stood in a paragraph
            written = written.rstrip() + "\n\n"
        body = text
        if number in fresh:
            body = f"\n\n{fresh[number]}".rstrip() + "\n\n"
        elif after_fresh:
            body = re.sub(r"\A[ \t]+", "\n\n", text)
        written += f"<!-- page {number} -->{body}"
        after_fresh = number in fresh
    return written.rstrip("\n") + "\n" if after_fresh else written


def _renewed(front: str, pages: Sequence[PageResult], told: Mapping[str, object]) -> str:
    facts = front_matter.facts_of(front.replace("\r\n", "\n").encode())
    problems = facts and facts.get("problems", [])
    if facts is None or not isinstance(problems, list):
        raise DocumentError("The front matter of the sidecar is damaged.", "Mend it, or delete it, and try again.")
    numbers = {page.index + 1 for page in pages}
    left = [one for one in problems if not (isinstance(one, dict) and one.get("page") in numbers)]
    left += [front_matter.problem(page) for page in pages if not page.verdict.sound]
    left.sort(key=lambda one: one.get("page", 0) if isinstance(one, dict) else 0)
    facts |= {"status": "partial" if left else "complete", "date": told["date"], "problems": left}
    return front_matter.front_matter(facts | {"reruns": [*facts.get("reruns", []), dict(told)]})


def in_json(text: str, pages: Sequence[PageResult], told: Mapping[str, object]) -> str:
    """Put pages in the place of their earlier readings. Raises DocumentError if it is not what ocrd writes."""
    try:
        raw: dict[str, Any] = json.loads(text)
        if raw["form"] != kinds.FORM:
            raise ValueError(f"its form is {raw['form']}")  # noqa: TRY301 - told as any other damage
        places = {entry["page"]: place for place, entry in enumerate(raw["pages"])}
        for page in pages:
            raw["pages"][places[page.index + 1]] = kinds.page_of(page)
        sound = all(Verdict(entry["verdict"]).sound for entry in raw["pages"])
        raw |= {"status": "complete" if sound else "partial", "date": told["date"]}
        raw["reruns"] = [*raw.get("reruns", []), dict(told)]
    except (ValueError, KeyError, TypeError) as error:
        raise DocumentError(
            f"The JSON beside the sidecar is not what ocrd wrote: {type(error).__name__}: {error}.",
            "Move it away, and try again.",
        ) from error
    return json.dumps(raw, ensure_ascii=False, indent=1) + "\n"


def in_text(text: str, pages: Sequence[PageResult], numbers: Sequence[int], style: Style) -> str:
    """Put pages in the place of their earlier readings. Raises DocumentError if it has not pages of these `numbers`."""
    parts = text.removesuffix("\n").split(kinds.PAGE_BREAK)
    if len(parts) != len(numbers):
        raise DocumentError(
            f"The text beside it has {len(parts)} page(s), between form feeds, and the sidecar {len(numbers)}.",
            "Move it away, and try again.",
        )
    for page in pages:
        parts[numbers.index(page.index + 1)] = kinds.text_of(page, style)
    return kinds.PAGE_BREAK.join(parts) + "\n"
