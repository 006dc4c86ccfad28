"""Scans of plain text, which can be read from fewer pixels: known by where their ink lies, before anybody reads them.

`plain_layout` knows plain text better, by its words. Here a page in doubt is none: it costs more, and is read the same.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_LEAST_LINES = 8
"""Fewer show no column."""
_WIDEST_SPACE = 2.2
"""Between two words of a line, in usual heights of letters. Columns and a table's cells are farther apart."""
_ODD = 0.15
"""Share of the lines that may be otherwise: indented, or with a wide space."""
_FULL = 0.7
"""Share of the lines that have so much of the width at least."""
_STEP = 7
"""Pixels from one to the next that is looked at for the grain of paper."""


def is_column(size: float, left: "Array", right: "Array", middle: "Array") -> bool:
    """Whether letters, or words whose letters touch, stand in one column of lines, with nothing beside it.

    Pixels: their usual height, and of each its left and right edge and how far down its middle is.
    """
    import numpy as np

    if not len(middle):
        return False
    rows = (middle - middle.min()).astype(int)
    dense = np.convolve(np.bincount(rows, weights=right - left), np.ones(3), "same") > 2 * size
    starts = np.flatnonzero(np.diff(dense.astype(int), prepend=0) > 0)
    if len(starts) < _LEAST_LINES:
        return False
    lines = np.searchsorted(starts, rows + 1)
    order = np.lexsort((left, lines))
    left, right, lines = left[order], right[order], lines[order]
    new = np.diff(lines, prepend=-1) > 0
    begins, ends = left[new], np.maximum.reduceat(right, np.flatnonzero(new))
    spaces = (left[1:] - right[:-1])[~new[1:]]
    edge, width = np.median(begins), np.median(ends - begins)
    wide = np.count_nonzero(spaces > _WIDEST_SPACE * size) / len(begins)
    aligned = np.mean(np.abs(begins - edge) < size)
    full = np.mean(ends > edge + _FULL * width)
    return bool(wide <= _ODD and aligned >= 1 - _ODD and full >= _FULL)


def has_grain(pixels: "Array") -> bool:
    """Whether levels differ all over a page (rows of RGB), as on one that was scanned in grey or colour.

    What has two levels only may be a fax, whose letters are coarse.
    """
    import numpy as np

    levels = pixels[::_STEP, ::_STEP, 1]
    return int(np.bincount(levels.ravel()).max()) < levels.size / 2
