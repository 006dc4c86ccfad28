"""Where the text of a page goes in a copy of it that can be searched. Pure.

The cpu engine tells where each word stands. Others tell where a block does, but not its lines: those are guessed from
the amount of text, good enough to find a word, and to see its place on the page marked.
"""

import math
import re
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import NamedTuple

from ocrd.markup import layout_blocks
from ocrd.model import Box, PageResult, Placement, ReadWord, TextLayer
from ocrd.output import markdown, sanitize
from ocrd.output.markdown import Style
from ocrd.output.plain_text import plain

_WIDE = 0.5
"""Width of a letter and of a space, as a share of the letters' height, on average over Latin and Cyrillic."""
_APART = 1.3
"""From one line to the next, as a share of the letters' height."""
_RIGHT_TO_LEFT = re.compile(
    r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]+(?: [\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]+)*"
)
"""Hebrew and Arabic, several words together."""
_SPACE = re.compile(r"\s|(?<=[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
"""Where a text may be divided."""
_WHOLE = Box(0.08, 0.06, 0.92, 0.94)
"""Where text is taken to stand of which the engine does not say where: the page without its margins."""


class Strip(NamedTuple):
    """One line of text, to be laid over the page."""

    text: str
    x: float
    """Where it begins, on its baseline: points from the left of the page as the source shows it."""
    y: float
    """Points from its top."""
    length: float
    """Points that the line is long."""
    height: float
    """Height of its letters, points."""
    angle: float
    """Degrees clockwise in which it runs; 0 is to the right."""


def strips(page: PageResult) -> tuple[Strip, ...]:
    """Lay out what was read on a page; nothing where the page has sound text of its own."""
    facts = page.facts
    if page.reading is None or facts is None or not facts.placement.width or _sound(facts.layer):
        return ()
    if page.reading.words:
        words = (word._replace(text=sanitize.clean(word.text)) for word in page.reading.words)
        return tuple(_word(word, facts.placement) for word in words if word.text.strip())
    placed: list[Strip] = []
    homeless: list[str] = []
    for block in layout_blocks.parse(sanitize.clean(page.reading.text)):
        text = plain(markdown.words(block, Style(running="keep")))
        if not text:
            continue
        if block.boxes:
            placed += [strip for part, box in _over(text, block.boxes) for strip in _fill(part, box, facts.placement)]
        else:
            homeless.append(text)
    return (*placed, *_fill("\n".join(homeless), _WHOLE, facts.placement))


def _word(word: ReadWord, placement: Placement) -> Strip:
    """Lay a word where it was read, with a space behind it."""
    wide, high = placement.upright
    x, y = placement.on_page(word.left, word.baseline)
    length = wide * (word.right - word.left) * (len(word.text) + 1) / len(word.text)
    height = high * (placement.bottom - placement.top) * word.height
    return Strip(f"{_drawn(word.text)} ", x, y, length, height, -(placement.turn + placement.skew))


def _sound(layer: TextLayer | None) -> bool:
    return layer is not None and not layer.flaw and layer.letters > 0


def _over(text: str, boxes: Sequence[Box]) -> Iterator[tuple[str, Box]]:
    """Divide text, between words, over the boxes that it stands in one after the other, by how large they are."""
    sizes = [(box.right - box.left) * (box.bottom - box.top) for box in boxes]
    begun = 0
    for number, box in enumerate(boxes[:-1], 1):
        wanted = round(len(text) * sum(sizes[:number]) / sum(sizes))
        gap = _SPACE.search(text, max(begun, wanted))
        end = gap.start() if gap else len(text)
        yield text[begun:end].strip(), box
        begun = end
    yield text[begun:].strip(), boxes[-1]


def _fill(text: str, box: Box, placement: Placement) -> Iterator[Strip]:
    """Divide text into lines that fill a box of the upright page."""
    wide, high = placement.upright
    wide, high = wide * (box.right - box.left), high * (box.bottom - box.top) * (placement.bottom - placement.top)
    lines = _lines(text, wide, high)
    if not lines:
        return
    step = high / len(lines)
    longest = max(map(len, lines))
    for number, line in enumerate(lines):
        y = box.top + (box.bottom - box.top) * (number + 0.8) / len(lines)
        x_on_page, y_on_page = placement.on_page(box.left, y)
        angle = -(placement.turn + placement.skew)
        yield Strip(_drawn(line), x_on_page, y_on_page, wide * len(line) / longest, step / _APART, angle)


def _drawn(line: str) -> str:
    """Put right-to-left words in the order in which they are drawn; readers of PDF turn them back."""
    return _RIGHT_TO_LEFT.sub(lambda match: match[0][::-1], line)


def _lines(text: str, wide: float, high: float) -> list[str]:
    """Keep the lines that the text has, where it has some; else guess how many fit."""
    lines = [line for line in text.replace("\t", "  ").split("\n") if line.strip()]
    letters = sum(map(len, lines))
    if not letters:
        return []
    size = math.sqrt(wide * high / (_WIDE * _APART * letters))
    fitting = max(1, round(high / (_APART * size)))
    if len(lines) >= fitting:
        return lines
    width = max(math.ceil(letters / fitting), 1)
    return [part for line in lines for part in wrap(line, width + 1, break_long_words=len(line) > 2 * width)]
