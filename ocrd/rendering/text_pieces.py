"""The pieces of ink that may be letters: how many, in how many lines, where on the page, and how askew."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ocrd.rendering import plain_scan
from ocrd.rendering.sight import LONG_SIDE, Sight

if TYPE_CHECKING:
    from ocrd.rendering.sight import Array

STEEPEST = 4.0
"""The steepest skew that is looked for, degrees."""
SPREAD = (8, 12)
"""Cells across and down a page in which letters are counted by themselves."""
_IN_LINES = 1.6
"""Variance of the pieces in a row, over their mean, from which they stand in lines: about 1 where they lie by chance,
as in photographs, 3 and more in straight lines of text."""
SKEW_PIECES = 30
"""Fewer pieces than this have no skew worth the name."""
_LARGE_PRINT = 8
"""Pixels: usual height of what is one piece, letters or words whose letters touch, from some 9 points on."""


@dataclass(frozen=True, slots=True)
class Text:
    """The pieces that may be letters, or words whose letters touch, of the upright page."""

    left: "Array"
    top: "Array"
    width: "Array"
    height: "Array"
    sheet: tuple[int, int]
    """Width and height of that page."""

    @classmethod
    def of(cls, sight: Sight, turn: int) -> Self:
        """Choose them, and turn them clockwise by `turn` degrees, a multiple of 90."""
        import numpy as np

        left, top, width, height, area, strong = sight.pieces.T
        longer, shorter = np.maximum(width, height), np.minimum(width, height)
        kept = (
            (longer >= 4)
            & (area >= 6 + 4 * sight.crowd)
            & (strong >= 1)
            & (longer < LONG_SIDE / 5)
            & (shorter < LONG_SIDE / 20)
        )
        kept &= (shorter > 3) | (longer <= 12)  # what is left of rules, and the lines of a form
        kept &= (shorter < 12) | (area > 0.2 * width * height)  # frames, such as a table's cells
        left, top, width, height = (side[kept].astype(float) for side in (left, top, width, height))
        high, wide = sight.grey.shape
        for _ in range(turn // 90):
            left, top, width, height = high - top - height, left, height, width
            high, wide = wide, high
        return cls(left, top, width, height, (wide, high))

    def __len__(self) -> int:
        return len(self.left)

    @property
    def letters(self) -> int:
        """Roughly how many letters they are."""
        return int(self._letters()[1].sum())

    def spread(self, skew: float) -> tuple[int, ...]:
        """Count roughly how many letters that stand in lines each cell of the page has, once it is turned by `skew`.

        Returns the counts row by row, SPREAD cells across and down. What a photograph is taken for is not counted: its
        pieces lie anywhere, so that each row of it holds about as many; of text, most rows hold none.
        """
        import numpy as np

        across, down = SPREAD
        size, letters = self._letters()
        kept = np.flatnonzero(letters)
        if not len(kept):
            return ()
        x, y = self._turned(self.left[kept] + self.width[kept] / 2, self.top[kept] + self.height[kept] / 2, skew)
        column = np.clip(x * across, 0, across - 1).astype(int)
        high = self.sheet[1]
        fine = max(1, round(high / down / (size / 2)))  # rows of half a letter in each cell
        row = np.clip(y * down * fine, 0, down * fine - 1).astype(int)
        rows = np.bincount(row * across + column, minlength=down * fine * across).reshape(down, fine, across)
        mean = rows.mean(axis=1)
        in_lines = rows.var(axis=1) > _IN_LINES * mean
        counts = np.bincount(row // fine * across + column, letters[kept], down * across).reshape(down, across)
        return tuple(int(count) for count in (counts * in_lines).ravel())

    def _letters(self) -> "tuple[float, Array]":
        """Give the usual height of a letter, pixels, and roughly how many letters each piece is."""
        import numpy as np

        if not len(self):
            return 1.0, np.zeros(0)
        high = self.height[self.height > 3]  # dots of a leader can be more than the letters
        size = float(np.median(high if len(high) else self.height))
        like = (self.height > 0.45 * size) & (self.height < 4 * size)
        like &= (self.width > 3) | (self.height < 2 * size)  # the sides of a table's cells
        return size, like * np.maximum(1, np.round(self.width / (0.85 * size)))

    def is_plain(self, skew: float) -> bool:
        """Whether they are no small print, in one column of lines, with nothing beside it, `skew` degrees askew."""
        size, letters = self._letters()
        kept = letters > 0
        left, right = self.left[kept], self.left[kept] + self.width[kept]
        middle = self.top[kept] + self.height[kept] / 2 - math.tan(math.radians(skew)) * (left + right) / 2
        return size >= _LARGE_PRINT and plain_scan.is_column(size, left, right, middle)

    def _turned(self, x: "Array", y: "Array", skew: float) -> "tuple[Array, Array]":
        """Find places on the page, pixels, once it is turned clockwise by `skew` degrees: shares of the sheet then."""
        import numpy as np

        wide, high = self.sheet
        cos, sin = math.cos(math.radians(skew)), math.sin(math.radians(skew))
        right, down = x - wide / 2, y - high / 2
        return (
            np.asarray(0.5 + (right * cos - down * sin) / (wide * cos + high * abs(sin))),
            np.asarray(0.5 + (right * sin + down * cos) / (high * cos + wide * abs(sin))),
        )

    def lines(self, skew: float) -> int:
        """Count roughly how many rows they stand in, on a page that is `skew` degrees askew (clockwise)."""
        import numpy as np

        if not len(self):
            return 0
        size = float(np.median(self.height))
        middles = self.top + self.height / 2 - math.tan(math.radians(skew)) * (self.left + self.width / 2)
        rows = np.bincount((middles - middles.min()).astype(int), weights=self.width)
        dense = np.convolve(rows, np.ones(3), "same") > 2 * size
        return int(np.diff(dense.astype(int), prepend=0).clip(0).sum())

    def skew(self) -> float:
        """Find by how many degrees, clockwise, the lines are askew; 0 if that can't be told."""
        import numpy as np

        if not len(self):
            return 0.0
        size = float(np.median(self.height))
        like = (self.height > size / 2) & (self.height < 2 * size) & (self.width < 8 * size)
        along, heads = (self.left + self.width / 2)[like], self.top[like]
        feet = heads + self.height[like]
        if len(feet) < SKEW_PIECES:
            return 0.0
        degrees = np.arange(-STEEPEST, STEEPEST + 0.01, 0.25)
        found = [(side, _alignment(side, along, degrees)) for side in (feet, heads)]
        side, energy = max(found, key=lambda one: float(one[1].max()))
        elsewhere = np.abs(degrees - degrees[energy.argmax()]) > 1
        if energy.max() < 1.25 * energy[elsewhere].max():  # rows, but which?
            return 0.0
        fine = degrees[energy.argmax()] + np.arange(-0.25, 0.26, 0.05)
        return float(fine[_alignment(side, along, fine).argmax()])


def _alignment(across: "Array", along: "Array", degrees: "Array") -> "Array":
    """Tell for each slope how well points fall into rows: the sum of the squared numbers of points in each row.

    After H. S. Baird, The Skew Angle of Printed Documents, 1987.
    """
    import numpy as np

    rows = across[None, :] - np.tan(np.radians(degrees))[:, None] * along[None, :]
    rows = (rows - rows.min()).astype(np.int64)
    bins = int(rows.max()) + 2
    rows += np.arange(len(degrees))[:, None] * bins
    counts = np.bincount(rows.ravel(), minlength=bins * len(degrees)).reshape(len(degrees), bins)
    energy: Array = ((counts[:, 1:] + counts[:, :-1]).astype(float) ** 2).sum(axis=1)
    return energy
