"""What the boxes of a reading say against it: they march, lie on one another, or are too small for their text. Pure."""

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter

from ocrd.markup.layout_blocks import PICTURES, Block
from ocrd.model import Box
from ocrd.quality.words import Words, without_markup

_MARCHING = 10
"""Boxes of one size without text, in one column or row, that no page has. Marks beside a list come to four."""
_SAME = 5
"""Texts in one and the same box."""
_OVERLAPS = 6
"""Pairs of boxes of which one lies mostly within the other."""
_STEP = 4 / 999
"""Within which two lengths are the same, as a share of the page."""
_ACROSS, _DOWN = 8, 12
"""Cells of `PageFacts.spread`."""
_OUTSIDE, _MUCH = 100, 0.25
"""Letters, and share of all, that must stand outside of all boxes: notes at the margin are left out rightly."""
_TRUSTED = 0.7
"""Share of a page's letters that must be seen in lines for the others to be none."""
_HARDLY_ANY = 0.1
"""Share of a block's letters that are seen in its box, as a rule without much: so few, and it is not there."""
_TOUCHED = 0.1
"""Share of a cell in boxes from which its letters may all stand in those: boxes are often as narrow as a line."""
_FULL, _ALIKE, _SHORT, _LOST = 4, 0.6, 0.6, 150
"""Texts by which a page's measure is taken; how alike their middle ones must be, 0 to 1; share of the letters by that
measure of which a text has less if it is not all there; letters that are lost then."""
_IDEOGRAPH, _BEGINNING = re.compile(r"[\u3040-\ud7af]"), 100
_LETTERS = 60
_DENSEST = 200_000
"""Letters that would fill a page, if they were as small as an engine can read, a third of a point smaller than print
ever is: 3 points on A4. Chinese and Japanese characters are as wide as two."""


def repeated(content: Words) -> str:
    """Say that boxes come again and again; empty if they may well stand so."""
    blocks = [block for block in content.blocks if block.boxes]
    if twice := _twice(blocks):
        return f"it says “{twice[:40]}…” twice in one and the same place"
    return _too_often(blocks) if len(blocks) >= _SAME else ""


def _too_often(blocks: list[Block]) -> str:
    full = [block for block in blocks if block.text.strip()]
    empty = [block for block in blocks if not block.text.strip()] if len(full) < len(blocks) else []
    if (count := _marching(empty)) >= _MARCHING:
        return f"it sees {count} boxes of one size, one after the other, with nothing in them"
    if (same := _most(block.boxes for block in full)) >= _SAME:
        return f"it sees {same} texts in one and the same place"
    if (most := _most(text for block in full if len(text := block.text.strip()) >= _LETTERS)) >= _SAME:
        return f"it says the same in {most} places"
    overlaps = _overlapping([block.boxes[0] for block in full])
    if overlaps >= max(_OVERLAPS, len(blocks) / 5):
        return f"{overlaps} of its boxes lie on others"
    return ""


def _most(items: Iterable[Hashable]) -> int:
    """Count how often the commonest one is there."""
    return max(Counter(items).values(), default=0)


def crammed(content: Words) -> str:
    """Say that a text is far too long for its box; empty if all have room."""
    for block in content.blocks:
        area = sum((box.right - box.left) * (box.bottom - box.top) for box in block.boxes)
        if not area or len(block.text) < max(_LETTERS, area * _DENSEST):
            continue
        widths = [1 + (char >= "\u3040") for char in without_markup(block.text) if char.isalnum()]
        if len(widths) >= _LETTERS and sum(widths) > area * _DENSEST:
            return f"{len(widths)} letters are to stand in a box that has no room for them"
    return ""


def letters_in(boxes: Iterable[Box], spread: Sequence[int]) -> float:
    """Count the letters of a page (`PageFacts.spread`) that stand in boxes, each cell's alike all over it."""
    return sum(count * share for count, share in zip(spread, _covered(boxes), strict=True))


def unseen(blocks: Iterable[Block], spread: Sequence[int]) -> str:
    """Say how much of a page stands where the engine gives no box; empty if that is little, or it gives none."""
    boxes = [box for block in blocks for box in block.boxes]
    if not boxes or not spread or any(block.text.strip() and not block.boxes for block in blocks):
        return ""
    total = sum(spread)
    outside = sum(count for count, share in zip(spread, _covered(boxes), strict=True) if share < _TOUCHED)
    if outside < max(_OUTSIDE, total * _MUCH):
        return ""
    return f"some {outside:.0f} letters of about {total} stand where the engine saw nothing"


def off_the_ink(blocks: Iterable[Block], spread: Sequence[int], seen: int) -> str:
    """Say how much of a text is to stand where the page has no letters, of which some `seen` are on it in all."""
    if sum(spread) < _TRUSTED * seen or not spread:
        return ""
    outside = 0
    texts = [block for block in blocks if block.boxes and block.label not in PICTURES]
    for block in texts:
        there = _letters_there(block, spread) if len(block.text) >= _LETTERS else math.inf
        if there < _HARDLY_ANY * len(block.text):
            letters = _letters_of(block)
            outside += letters if letters >= _LETTERS and there < _HARDLY_ANY * letters else 0
    if outside < _OUTSIDE or outside < _MUCH * sum(map(_letters_of, texts)):
        return ""
    return f"{outside} letters are to stand where the page seems to have none"


def shortened(blocks: Iterable[Block], spread: Sequence[int], seen: int) -> str:
    """Say which text has far fewer letters than its box, by the measure of the page's other texts in such letters.

    Of some `seen` letters on the page, most must be seen in lines. Tables, titles and formulas have other measures.
    """
    if sum(spread) < _TRUSTED * seen or not spread:
        return ""
    texts: dict[bool, list[tuple[float, int, float]]] = {True: [], False: []}
    for block in blocks:
        if block.label == "text" and block.boxes and "<t" not in block.text:
            there = _letters_there(block, spread)
            if there >= _OUTSIDE:
                letters, start = sum(map(str.isalnum, without_markup(block.text))), block.text[:_BEGINNING]
                texts[2 * len(_IDEOGRAPH.findall(start)) > len(start)].append((letters / there, letters, there))
    return _shortest(texts[True]) or _shortest(texts[False])


def _shortest(texts: list[tuple[float, int, float]]) -> str:
    """Find a text that is too short, of those of one script: letters for each that is seen, and both by themselves."""
    ratios = sorted(ratio for ratio, _, _ in texts)
    count = len(ratios)
    if count < _FULL or ratios[count // 4] < _ALIKE * ratios[3 * count // 4]:
        return ""
    for _, letters, there in texts:
        due = there * ratios[count // 2]
        if letters < _SHORT * due and due - letters >= _LOST:
            return f"it has {letters} letters in a box where, as the others are filled, {due:.0f} should be"
    return ""


def _letters_of(block: Block) -> int:
    return sum(map(str.isalnum, block.text))


def _letters_there(block: Block, spread: Sequence[int]) -> float:
    """Count the letters that are seen in a block's boxes, twice where these lie on one another."""
    return sum(spread[cell] * share for box in block.boxes for cell, share in _cells(box))


def _covered(boxes: Iterable[Box]) -> list[float]:
    """Tell of each cell which share of it lies in a box."""
    shares = [0.0] * (_ACROSS * _DOWN)
    for box in boxes:
        for cell, share in _cells(box):
            shares[cell] += share
    return [min(1.0, share) for share in shares]


def _cells(box: Box) -> Iterator[tuple[int, float]]:
    """List the cells that a box touches, each with the share of it that lies in the box."""
    left, top, right, bottom = box
    for row in range(int(top * _DOWN), min(_DOWN, math.ceil(bottom * _DOWN))):
        high = min(bottom * _DOWN, row + 1) - max(top * _DOWN, row)
        for column in range(int(left * _ACROSS), min(_ACROSS, math.ceil(right * _ACROSS))):
            wide = min(right * _ACROSS, column + 1) - max(left * _ACROSS, column)
            yield row * _ACROSS + column, high * wide


def stacked(blocks: Iterable[Block]) -> float:
    """Return the share of its tables' heights that is left if those side by side count once: 0.5 for two alike."""
    sides = sorted((box.top, box.bottom) for block in blocks if "<t" in block.text for box in block.boxes)
    total, union, end = 0.0, 0.0, 0.0
    for top, bottom in sides:
        total += bottom - top
        union += max(0.0, bottom - max(top, end))
        end = max(end, bottom)
    return union / total if total else 1.0


def _twice(blocks: Iterable[Block]) -> str:
    """Find a text of some length that was read twice where it stands."""
    known: set[tuple[Box, str]] = set()
    for block in blocks:
        if len(block.text) < _LETTERS or block.label in PICTURES:
            continue
        if (place := (block.boxes[0], block.text.strip())) in known:
            return " ".join(place[1].split())
        known.add(place)
    return ""


def _marching(blocks: Iterable[Block]) -> int:
    """Count the boxes of the commonest size that have one side in common."""
    columns: Counter[tuple[str, int, int, int]] = Counter()
    rows: Counter[tuple[str, int, int, int]] = Counter()
    for block in blocks:
        for left, top, right, bottom in block.boxes:
            size = round((right - left) / _STEP), round((bottom - top) / _STEP)
            columns[block.label, *size, round(left / _STEP)] += 1
            rows[block.label, *size, round(top / _STEP)] += 1
    return max([*columns.values(), *rows.values()], default=0)


def _overlapping(boxes: list[Box]) -> int:
    """Count the pairs of which the smaller one lies mostly within the other."""
    count = 0
    boxes = sorted(boxes, key=itemgetter(1))
    for place, one in enumerate(boxes, 1):
        left, _, right, bottom = one
        for other in islice(boxes, place, None):
            if other[1] >= bottom:
                break
            if other[0] < right and left < other[2]:
                wide = min(right, other.right) - max(left, other.left)
                high = min(bottom, other.bottom) - other.top
                smaller = min((box.right - box.left) * (box.bottom - box.top) for box in (one, other))
                count += wide * high > smaller / 2
    return count
