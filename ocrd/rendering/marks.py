"""Whether a page is blank: which pieces of ink somebody may have put there to be read."""

import math
from typing import TYPE_CHECKING

from ocrd.rendering import stains
from ocrd.rendering.sight import LONG_SIDE, RULE, Sight

if TYPE_CHECKING:
    from ocrd.rendering.sight import Array

_CORNER = 8
"""2 mm: nothing is printed so near to two edges."""
_STAPLED = 100
"""30 mm: no staple is farther from a corner."""


def blank(sight: Sight, found: "Array", dark: float) -> str:
    """Say in words why there is nothing to read; empty if there may be something: marks, or large dark areas."""
    import numpy as np

    if dark > 0.01:
        return ""
    if found.any():
        numbers = np.flatnonzero(found)
        left = np.column_stack([sight.pieces[numbers, :5], numbers + 1])
        if not stains.only(left, sight.labels, sight.grey, sight.colours):
            return ""
    if len(sight.pieces) == 0 and not sight.ruled:
        return "the page is blank"
    return "there is nothing on the page but lines, specks, holes, creases, shadows or stains"


def find(sight: Sight) -> "Array":
    """Tell for each piece whether somebody may have put it there to be read."""
    import numpy as np

    high, wide = sight.grey.shape
    left, top, width, height, area, strong = sight.pieces.T
    longer, shorter = np.maximum(width, height), np.minimum(width, height)
    crowd = sight.crowd
    kept: Array = (longer >= 4 + 2 * crowd) & (area >= 7 + 4 * crowd)
    kept &= (strong >= 3) & (strong > area / (8 + 8 * (longer > RULE)))  # shadows and what shines through are soft
    # streaks, creases and lone rules: long and thin, also when a little askew
    kept &= longer < 15 * shorter
    kept &= (shorter > 1) | (longer < 8)
    # rims: along an edge of the sheet
    reach = 0.12 * LONG_SIDE
    upright = (height > 0.12 * high) & (width < reach) & ((left <= 2) | (left + width >= wide - 2))
    lying = (width > 0.12 * wide) & (height < reach) & ((top <= 2) | (top + height >= high - 2))
    touching = (left <= 1) | (top <= 1) | (left + width >= wide - 1) | (top + height >= high - 1)
    kept &= ~(upright | lying | (touching & ((shorter < 12) | (longer < 60))))
    # punched holes: round, 5 to 8 mm, near an edge
    x, y = left + width / 2, top + height / 2
    margin = 0.085 * LONG_SIDE
    beside, above = (x < margin) | (x > wide - margin), (y < margin) | (y > high - margin)
    round_ = (np.abs(width - height) <= 3) & (shorter >= 14) & (longer <= 32) & (area > 0.7 * width * height)
    kept &= ~((beside | above) & round_)
    # the grainy end of a shadow: runs along the edge beside it
    kept &= ~((beside & (height > 8 * width)) | (above & (width > 8 * height)))
    brink = (left <= _CORNER) | (left + width >= wide - _CORNER), (top <= _CORNER) | (top + height >= high - _CORNER)
    kept &= ~((brink[0] & (width <= 3)) | (brink[1] & (height <= 3)))
    # torn corners
    kept &= ~(brink[0] & brink[1] & (longer < 0.3 * LONG_SIDE))
    # creases, also of a corner that was turned down, and staples
    far_x, far_y = np.minimum(x, wide - x), np.minimum(y, high - y)
    staple = (longer >= 20) & (longer < 60) & (far_x < _STAPLED) & (far_y < _STAPLED)
    thin = kept & (area < 5 * np.hypot(width, height)) & (staple | (longer > RULE))
    few = np.flatnonzero(thin)[:20]  # where there are more, something stands there
    kept[few] &= ~_straight(sight, few)
    return kept


def _straight(sight: Sight, pieces: "Array") -> "Array":
    """Tell which pieces are one straight stroke: their pixels hardly leave a line."""
    import numpy as np

    round_ones = []
    for piece in pieces:
        left, top, width, height = sight.pieces[piece, :4]
        rows, columns = np.nonzero(sight.labels[top : top + height, left : left + width] == piece + 1)
        spread = np.linalg.eigvalsh(np.cov(rows, columns))
        round_ones.append(math.sqrt(max(0.0, spread[0])) < 1.1 + 0.01 * max(width, height))
    return np.array(round_ones, dtype=bool)
