"""Rows of a receipt or a list of prices that were read as two columns: first the articles, then their amounts."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter

from ocrd.rendering.page_layout import Word

_MARK = 3
"""Letters of a unit, a currency or a class of tax beside an amount, at most."""
_LEAST = 3
"""Rows; fewer may be chance."""
_ALIGNED = 0.5
"""Heights of letters by which the baselines of one row may differ."""

Line = list[Word]


def found(words: Sequence[Word]) -> bool:
    """Whether most of a page's lines, in reading order, have their amounts apart, and there are no other columns.

    Of a table among other text the layout model makes rows by where its words stand.
    """
    lines = [list(line) for _, line in groupby(words, key=attrgetter("line"))]
    amounts = [line for line in lines if _is_amount(line)]
    texts = [line for line in lines if not _is_amount(line)]
    rows = sum(any(_is_left_of(text, amount) for text in texts) for amount in amounts)
    columns = sum(any(_is_left_of(text, other) for text in texts) for other in texts)
    return rows >= max(_LEAST, len(texts) / 2) and columns < rows / 2


def _is_amount(line: Line) -> bool:
    signs = "".join(word.text for word in line)
    return any(map(str.isdigit, signs)) and sum(map(str.isalpha, signs)) <= _MARK


def _is_left_of(line: Line, other: Line) -> bool:
    """Whether both stand in one row, this one first."""
    apart = abs(line[0].baseline - other[0].baseline)
    return apart <= _ALIGNED * other[0].height and line[-1].right < other[0].left
