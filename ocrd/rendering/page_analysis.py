"""What a page image shows before anybody reads it: marks or none, letters and lines, which way up, how askew.

Pure: pixels in, facts out; runs in the render workers, in some ten milliseconds a page. All but the way up is told from
the pieces of ink in a small copy (`sight`) and their boxes: `marks`, `text_pieces`.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from ocrd.model import PageFacts, Placement
from ocrd.rendering import marks, plain_scan, upright
from ocrd.rendering.sight import STRONG, Sight
from ocrd.rendering.text_pieces import Text

if TYPE_CHECKING:
    from ocrd.rendering.sight import Array

LEAST_LETTER = 6
"""Pixels of ink that a letter has at least."""
LEAST_SKEW = 0.3
"""A skew that no engine minds, degrees."""
_BLACK = 48
"""Levels of red, green and blue below which nobody sees anything."""
_WHITE = 250
"""Level from which an edge is as white as paper: wide margins are."""
_PALE_LETTERS, _PALE_LINES = 200, 6
"""Fewer are the shadow of a fold or streaks, which have sharp edges, too."""


def facts(pixels: "Array", placement: Placement, *, stands: bool) -> PageFacts:
    """Tell what an image shows: rows of RGB pixels that lie on the page as `placement` says.

    Unless it `stands` as it is, the way up and the skew are found out too, and told as the placement that sets them
    right; the pixels then are still to be drawn so.
    """
    sight = Sight.of(pixels, *placement.upright)
    if (pale := _pale(sight, pixels, placement)) is not None:
        sight = pale
    black = PageFacts(placement, 1.0, blank="there is nothing but black", damage="it is black all over")
    if sight.colours.max() < _BLACK:
        return black
    found, dark = marks.find(sight), sight.dark
    ink = max(float(sight.pieces[found, 4].sum()) / sight.grey.size, dark)
    if pale is None and (reason := marks.blank(sight, found, dark)):
        return black if sight.inner.max() < _BLACK else PageFacts(placement, ink, blank=reason)
    turn, other = (0, None) if stands else upright.way_up(sight)
    text = Text.of(sight, turn)
    if stands and (lying := Text.of(sight, 90)).letters > 2 * text.letters:
        text = lying  # nobody turned it, but some engines read it as it lies
    skew = 0.0 if stands else text.skew()
    right = placement if stands else replace(placement, turn=turn, skew=-skew if abs(skew) >= LEAST_SKEW else 0.0)
    letters = min(text.letters, round(ink * sight.grey.size / LEAST_LETTER))  # the others are specks
    plain = plain_scan.has_grain(pixels) and text.is_plain(skew)
    return PageFacts(
        right, ink, text.lines(skew), letters, other_turn=other, spread=text.spread(right.skew), plain=plain
    )


def _pale(sight: Sight, pixels: "Array", placement: Placement) -> Sight | None:
    """Look again, with more contrast, at a page whose print may all be pale; None unless lines of text show then."""
    if not sight.pale:
        return None
    again = Sight.of(pixels, *placement.upright, gain=2 * STRONG / sight.strongest)
    if again.pieces[marks.find(again), 4].sum() < _PALE_LETTERS * LEAST_LETTER:
        return None  # specks, which more contrast makes larger
    texts = (Text.of(again, turn) for turn in (0, 90))
    return again if any(text.letters >= _PALE_LETTERS and text.lines(0) >= _PALE_LINES for text in texts) else None


def flat_at_an_edge(pixels: "Array") -> bool:
    """Whether the pixels along an edge are all the same for far longer than margins are, as where a JPEG breaks off."""
    for across in (pixels[::4, ::16], pixels[::16, ::4].swapaxes(0, 1)):
        for lines in (across, across[::-1]):
            level = lines[0, 0]
            long = math.ceil(len(lines) * (0.3 if level.min() >= _WHITE else 0.03))
            if (lines[0] == level).all() and (lines[:long] == level).all():
                return True
    return False
