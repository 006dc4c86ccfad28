"""Blocks of a page that is one column of plain text, found by where its words stand, without the layout model.

Most pages of letters and books are such: paragraphs, perhaps headings between them and the page's number above or
below. What it takes is strict, since the model knows the rest better: lists, tables, notes, captions, running titles,
pictures, columns, all that is indented or set in lines of its own.
"""

import re
import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from ocrd.rendering.page_layout import A4_HEIGHT, Block, Word

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_LINES = 5
"""Fewer show no column."""
_WIDEST_SPACE = 2.0
"""Between two words, in heights of their letters. Those between a table's cells are wider."""
_EDGE = 0.6
"""Heights of letters by which the left edges of the lines may differ."""
_BODY = (0.82, 1.18)
"""Heights of the lines of paragraphs, over the usual one."""
_HEADING = (1.18, 3.0)
"""Heights of headings."""
_APART = 1.3
"""Distances of lines, over the usual one, from which a paragraph begins."""
_FAR = 4.0
"""Such distances from which what follows may be no part of the text."""
_NUMBER_APART = 1.5
"""Such a distance that a page's number keeps at least."""
_FULL = 0.6
"""Share of the column's width that each line of a paragraph has, but for the last."""
_SHRUNK = 4
"""By which a page is reduced to look for ink that is no letter."""
_INK = 60
"""Levels of grey, of 256, by which ink is darker than paper."""
_STRAY = 1e-4
"""Share of the page that may be ink outside of its lines: specks. A rule or a signature is more."""
_ENDS = (".", ":", "!", "?")
"""How sentences end. Where most lines do so, they are no paragraph."""
_ITEM = re.compile(r"[^\w\"'“\u2018„«(]|(?:\d{1,3}|[A-Za-z]|[ivxIVX]+)[.)]")
"""How an item of a list begins, or something else that is no sentence."""
_NUMBER = re.compile(r"\d{1,4}|[ivxlc]{1,7}")
"""A page's number."""
_DEEPEST = 6
"""Level of a heading."""
_HEADER = "section-header"


class _Line(NamedTuple):
    """A line as it stands on the page; lengths in pixels."""

    words: list[Word]
    left: float
    right: float
    baseline: float
    height: float

    @classmethod
    def of(cls, words: Iterable[Word]) -> "_Line":
        found = list(words)
        heights, baselines = ([getattr(word, name) for word in found] for name in ("height", "baseline"))
        edges = min(word.left for word in found), max(word.right for word in found)
        return cls(found, *edges, statistics.median(baselines), statistics.median(heights))

    @property
    def is_number(self) -> bool:
        return len(self.words) == 1 and bool(_NUMBER.fullmatch(self.words[0].text))


class _Part(NamedTuple):
    """Lines of one block, and its kind as the layout model calls it."""

    kind: str
    lines: Sequence[_Line]


def blocks(words: Sequence[Word], grey: "Image") -> list[Block] | None:
    """Find the paragraphs and headings of a grey page by its words, in reading order; None if that takes the model."""
    lines = [_Line.of(line) for _, line in groupby(words, key=attrgetter("line"))]
    if len(lines) < LEAST_LINES:
        return None
    parts = _parts(lines)
    if not parts or _stray_ink(grey, lines) > _STRAY:
        return None
    return _blocks(parts, A4_HEIGHT / max(grey.size))


def _parts(lines: list[_Line]) -> list[_Part]:
    """Divide a page's lines into blocks; none if they are not plain."""
    pitch = statistics.median(below.baseline - line.baseline for line, below in pairwise(lines))
    head, foot = lines[0], lines[-1]
    numbered = head.is_number and lines[1].baseline - head.baseline >= _NUMBER_APART * pitch
    above = [_Part("page-header", [head])] if numbered else []
    numbered = foot.is_number and foot.baseline - lines[-2].baseline >= _NUMBER_APART * pitch
    below = [_Part("page-footer", [foot])] if numbered else []
    text = _column(lines[len(above) : len(lines) - len(below)], pitch)
    return [*above, *text, *below] if text else []


def _column(lines: Sequence[_Line], pitch: float) -> list[_Part]:
    """Divide the lines of a column into paragraphs and headings; none if they are anything else."""
    height = statistics.median(line.height for line in lines for _ in line.words)
    left, right = min(line.left for line in lines), max(line.right for line in lines)
    if pitch < height or not all(_is_even(line, left, height) for line in lines):
        return []
    groups = [[lines[0]]]
    for line, below in pairwise(lines):
        distance = (below.baseline - line.baseline) / pitch
        if not 1 / _APART < distance < _FAR:
            return []
        if distance > _APART:
            groups.append([])
        groups[-1].append(below)
    kinds = [_kind(group, height, right - left) for group in groups]
    if not all(kinds) or kinds[-1] == _HEADER:
        return []
    return [_Part(kind, group) for kind, group in zip(kinds, groups, strict=True)]


def _kind(lines: Sequence[_Line], height: float, width: float) -> str:
    """Say what lines are that stand by themselves; nothing if that can't be said so simply."""
    if len(lines) == 1:
        return _HEADER if _within(_HEADING, lines[0], height) else ""
    full = all(line.right - line.left >= _FULL * width for line in lines[:-1])
    flows = sum(line.words[-1].text.endswith(_ENDS) for line in lines[:-1]) < len(lines) / 2
    even = all(_within(_BODY, line, height) for line in lines)
    return "text" if full and flows and even and not any(_ITEM.match(line.words[0].text) for line in lines) else ""


def _within(bounds: tuple[float, float], line: _Line, height: float) -> bool:
    least, most = bounds
    return least * height <= line.height <= most * height


def _is_even(line: _Line, left: float, height: float) -> bool:
    """Whether a line begins at the left edge of the column and has no wide gap."""
    spaces = (after.left - word.right for word, after in pairwise(line.words))
    return line.left - left <= _EDGE * height and all(space <= _WIDEST_SPACE * line.height for space in spaces)


def _stray_ink(grey: "Image", lines: Sequence[_Line]) -> float:
    """Give the share of the page that is dark and lies in none of its lines."""
    import numpy as np

    small = np.asarray(grey.reduce(_SHRUNK))
    dark = small < np.median(small) - _INK
    for line in lines:
        edges = (
            line.baseline - 1.25 * line.height, line.baseline + 0.75 * line.height,
            line.left - line.height, line.right + line.height,
        )  # fmt: skip
        top, bottom, left, right = (max(0, round(edge / _SHRUNK)) for edge in edges)
        dark[top:bottom, left:right] = False
    return float(dark.mean())


def _blocks(parts: Sequence[_Part], scale: float) -> list[Block]:
    """Make blocks; a heading's level is the rank of its size among the page's, as the model's library has it."""
    sizes = sorted({_size(part, scale) for part in parts if part.kind == _HEADER}, reverse=True)
    return [_block(part, sizes.index(_size(part, scale)) + 1 if part.kind == _HEADER else 0) for part in parts]


def _size(part: _Part, scale: float) -> int:
    return round(part.lines[0].height * scale)


def _block(part: _Part, level: int) -> Block:
    lines = part.lines
    top = min(line.baseline - line.height for line in lines)
    bottom = max(line.baseline + line.height / 3 for line in lines)
    edges = min(line.left for line in lines), top, max(line.right for line in lines), bottom
    return Block(part.kind, *edges, "#" * min(level, _DEEPEST) + " " if level else "")
