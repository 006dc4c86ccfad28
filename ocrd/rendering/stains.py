"""What a cup or a staple leaves on a sheet, where nothing else is on it. Pure: pieces of ink in, the answer out.

Each is told by all of its marks at once, so that a circle that somebody drew, a tick or a page number is none. Lengths
are pixels of `pagefacts`' small copy, whose longer side has a thousand: 3.4 to a millimetre of A4.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_MOST = 12
"""Pieces of ink; where there are more, something stands there."""
_DOT = 8
"""A staple's leg, with its rust, is no wider."""
_CORNER = 100
"""30 mm: no staple is farther from a corner."""
_CROWN = (24, 47)
"""7 to 14 mm from one leg of a staple to the other."""
_ARC = 40
"""Least length of a piece of a ring."""
_RADIUS = (75, 180)
"""Cups are 45 to 106 mm wide."""
_ASTRAY = 0.04
"""Share of the radius by which the pixels of a ring lie beside the circle, root mean square."""
_THICK = 3.2
"""Pixels. A pen that draws so thick a line, a millimetre, leaves more of its ink on it than `_PALE`."""
_PALE = 110
"""Levels by which nine of ten pixels of a ring differ at most from the paper."""


def only(pieces: "Array", labels: "Array", grey: "Array", colours: "Array") -> bool:
    """Tell whether these pieces are a ring of a cup with its drops, or the two holes of a staple, and nothing else.

    `pieces` has left, top, width, height, area and the number in `labels` of each; `grey` are the levels of the page,
    `colours` those of its red, green and blue in fewer pixels.
    """
    if len(pieces) > _MOST:
        return False
    return _holes(pieces, grey.shape) or _ring(pieces, labels, grey, colours)


def _holes(pieces: "Array", shape: tuple[int, ...]) -> bool:
    """Whether they are two compact dots near a corner, as far apart as the legs of a staple."""
    if len(pieces) != 2:  # noqa: PLR2004 - a staple has two legs
        return False
    import numpy as np

    left, top, width, height, area, _ = pieces.T
    if (np.maximum(width, height) > _DOT).any() or (area < 0.5 * width * height).any():
        return False
    x, y = left + width / 2, top + height / 2
    far_x, far_y = np.minimum(x, shape[1] - x), np.minimum(y, shape[0] - y)
    apart = float(np.hypot(np.ptp(x), np.ptp(y)))
    return bool((far_x < _CORNER).all() and (far_y < _CORNER).all()) and _CROWN[0] <= apart <= _CROWN[1]


def _ring(pieces: "Array", labels: "Array", grey: "Array", colours: "Array") -> bool:
    """Whether they are thick, pale, brown arcs of one circle as wide as a cup, and perhaps drops."""
    import numpy as np

    arcs = np.maximum(pieces[:, 2], pieces[:, 3]) >= _ARC
    if not arcs.any():
        return False
    rows, columns = np.hstack([_pixels(piece, labels) for piece in pieces[arcs]])
    x, y, radius = _circle(columns.astype(float), rows.astype(float))
    away = np.hypot(columns - x, rows - y) - radius
    if not _RADIUS[0] < radius < _RADIUS[1] or float(np.sqrt(np.mean(away**2))) > _ASTRAY * radius:
        return False
    turns = np.unique((np.arctan2(rows - y, columns - x) * radius).astype(int))  # the pixels of the circle it covers
    depth = float(np.median(grey)) - np.quantile(grey[rows, columns], 0.1)
    if len(rows) < _THICK * len(turns) or depth > _PALE:
        return False
    left, top, width, height, area, _ = pieces[~arcs].T
    beside = np.abs(np.hypot(left + width / 2 - x, top + height / 2 - y) - radius)
    drops = (area > 0.5 * width * height) | (beside < 0.1 * radius)
    return bool(drops.all()) and all(_brown(piece, labels, colours) for piece in pieces)


def _circle(x: "Array", y: "Array") -> tuple[float, float, float]:
    """Fit a circle to points by least squares (Kåsa 1976): its middle and radius."""
    import numpy as np

    (a, b, c), *_ = np.linalg.lstsq(np.column_stack([2 * x, 2 * y, np.ones(len(x))]), x**2 + y**2, rcond=None)
    return float(a), float(b), float(np.sqrt(max(0.0, c + a**2 + b**2)))


def _pixels(piece: "Array", labels: "Array") -> "Array":
    """Give the rows and the columns of its pixels."""
    import numpy as np

    left, top, width, height, _, number = piece
    rows, columns = np.nonzero(labels[top : top + height, left : left + width] == number)
    return np.stack([rows + top, columns + left])


def _brown(piece: "Array", labels: "Array", colours: "Array") -> bool:
    """Whether it swallows most of the paper's blue, less of its green and least of its red, as coffee and tea do."""
    import numpy as np

    rows, columns = _pixels(piece, labels)
    high, wide = colours.shape[:2]
    seen = colours[rows * high // labels.shape[0], columns * wide // labels.shape[1]].mean(axis=0)
    red, green, blue = 1 - seen / np.maximum(1, np.median(colours, axis=(0, 1)))
    return bool(blue > 1.05 * green and 0.95 * green > red > 0.4 * blue)
