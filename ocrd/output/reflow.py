"""Puts together again what the lines and pages of paper take apart: words and paragraphs. Pure.

On request only, since a hyphen at the end of a line can be the word's own.
"""

import re
from collections import deque
from collections.abc import Iterable
from typing import Literal, NamedTuple

_DIVIDED = re.compile(r"([^\W\d_])[-\u00ad\u2010]\n[ \t]*(?=([^\W\d_]))")
_ENDS_DIVIDED = re.compile(r"[\w'\u2019]*[^\W\d_][-\u00ad\u2010]\Z")
_REST = re.compile(r"[^\W\d_][\w.,;:!?'\u2019\u201d\"»)\]]*(?=\s|\Z)")
"""The rest of a word with what stands behind it, and nothing that a comment could not hold."""
_SEAM = re.compile(r"\s*<!-- divided (\S+) (\S+) -->\s*\Z")
"""Behind a word that was joined over the break of two pages: its halves, so that each page can get its own back."""
_ENDS = tuple(".!?:;…\"'»”\u2019)]|>*`$")  # a paragraph that ends so is complete, or more than plain text
_NEXT_LINE = "\n"
_ALONGSIDE = {"running", "left_out", "figure", "caption"}
"""What a paragraph may go on behind."""


class Part(NamedTuple):
    """A part of a page's Markdown."""

    kind: Literal["marker", "note", "heading", "prose", "table", "code", "figure", "caption", "running", "left_out"]
    """What it is."""
    text: str
    """Markdown, without empty lines around."""


def joined(parts: Iterable[Part], *, dehyphenate: bool, paragraphs: bool) -> list[Part]:
    """Join what is wanted. Every marker stays, once and in its order."""
    remaining = deque(_undivided(part) for part in parts) if dehyphenate else deque(parts)
    if not dehyphenate and not paragraphs:
        return list(remaining)
    written: list[Part] = []
    while remaining:
        part = remaining.popleft()
        if part.kind == "marker":
            _join_over(written, part, remaining, dehyphenate=dehyphenate, paragraphs=paragraphs)
        else:
            written.append(part)
    return written


def parted(before: str, after: str) -> tuple[str, str]:
    """Give the texts of two pages each its half of the word that was joined over their break, if one was."""
    seam = _SEAM.search(before)
    if seam is None:
        return before, after
    half, rest = seam.groups()
    before = before[: seam.start()]
    if before.endswith(half[:-1] + rest):
        before = before[: -len(half[:-1] + rest)] + half
    text = after.lstrip()
    gap = after[: len(after) - len(text)] or "\n\n"
    return f"{before}\n\n", f"{gap}{rest}{' ' if text else ''}{text}"


def _undivided(part: Part) -> Part:
    """Join words that are divided between lines; never numbers, nor where a capital is beside the hyphen."""
    if part.kind not in ("prose", "heading"):
        return part
    return part._replace(text=_DIVIDED.sub(_joined_word, part.text))


def _joined_word(match: re.Match[str]) -> str:
    return match[1] if not match[1].isupper() and match[2].islower() else match[0]


def _join_over(
    written: list[Part], marker: Part, remaining: deque[Part], *, dehyphenate: bool, paragraphs: bool
) -> None:
    """Put a marker after what is written, and before or into what remains."""
    back, ahead = _prose(reversed(written)), _prose(remaining)
    last, first = ("" if back is None else written[-1 - back].text), ("" if ahead is None else remaining[ahead].text)
    divided = _ENDS_DIVIDED.search(last) if dehyphenate and _REST.match(first) else None
    if divided and divided[0][-2].isupper():
        divided = None
    if back is None or ahead is None or not first[:1].islower() or not (divided or (paragraphs and _goes_on(last))):
        written.append(marker)
        return
    if divided:
        rest, first = _cut(first)
        marker = marker._replace(text=f"<!-- divided {divided[0]} {rest} -->\n{marker.text}")
        last = last[:-1] + rest
    del written[-1 - back], remaining[ahead]
    if paragraphs:  # what stands alongside, such as a footer, comes before it
        written.append(Part("prose", f"{last} {marker.text.replace(_NEXT_LINE, ' ')} {first}".rstrip()))
        return
    written.insert(len(written) - back, Part("prose", last))
    written.append(marker)
    if first:
        remaining.insert(ahead, Part("prose", first))


def _prose(parts: Iterable[Part]) -> int | None:
    """Find how far away the text is that a page break may divide, unless more than what stands alongside intervenes."""
    for place, part in enumerate(parts):
        if part.kind == "prose":
            return place
        if part.kind not in _ALONGSIDE:
            return None
    return None


def _goes_on(text: str) -> bool:
    """Whether the last paragraph looks unfinished."""
    paragraph = text.rpartition("\n\n")[2]
    return not paragraph.endswith(_ENDS) and not paragraph.startswith(("#", "|", "<", "`", "$"))


def _cut(text: str) -> tuple[str, str]:
    """Take the rest of a word, with its punctuation, off the beginning of a text."""
    rest, *more = text.split(maxsplit=1)
    return rest, "".join(more)
