"""A page as it is looked at: a small grey copy, and the connected pieces of ink in it.

The copy has 85 dpi for A4: letters are five pixels high there, and single specks of a scanner's noise are gone.
What differs enough from the paper around it is parted into connected pieces.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

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
_EDGES = 1920
"""Pixels of the longer side of the copy in which edges are looked at: where an image has more of them, each edge is
softer, and the grain of the paper counts for more."""
_SHARPER = 1.3
"""How much stronger its edges are than the grain of the paper. Shown-through print comes to 1.15 at most."""
_FEW = (200, 200)
"""Width and height of the copy in which large areas are looked for, of any colour."""
_CLEARLY = 64
"""Levels by which an area must differ from the paper in red, green or blue."""
RULE = 90
"""27 mm: no letter has so long a stroke."""
_BAND = 12
"""3.5 mm: no rule is so thick, and a label that is so high may have print on it."""


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
    ruled: bool
    """Whether there are straight lines, which are no pieces."""

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
        all_ink = (contrast > CONTRAST).view(np.uint8)
        ink = _without_rules(all_ink)
        ruled = cv2.countNonZero(ink) < cv2.countNonZero(all_ink)
        if ruled and (bands := _bands(rules := cv2.subtract(all_ink, ink))) is not None:
            ink = cv2.bitwise_or(ink, _without_rules(_on_bands(bands, rules, contrast)))
        few = cv2.countNonZero(ink) < 2**16  # then so are the pieces, and short labels are thrice as fast
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(ink, ltype=cv2.CV_16U if few else cv2.CV_32S)
        strong = np.bincount(labels[contrast > STRONG], minlength=count)
        return cls(grey, np.column_stack([boxes, strong])[1:], labels, _few(pixels), strongest, pale, ruled)

    @property
    def crowd(self) -> float:
        """How thick specks lie, 0 to 1: where there are many, some lie together."""
        _, _, width, height, area, _ = self.pieces.T
        return min(1.0, int(((area < 6) & (width < 4) & (height < 4)).sum()) / 300)

    @property
    def inner(self) -> "Array":
        """Its `colours` without the rims."""
        rim = round(0.12 * _FEW[0])
        return self.colours[rim:-rim, rim:-rim]

    @property
    def dark(self) -> float:
        """Share of the page, rims aside, that differs clearly from its paper: large areas, to which marks are blind."""
        import cv2
        import numpy as np

        inner = self.inner.astype(np.int16)
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

    for shape in ((1, RULE), (RULE, 1)):
        line = cv2.getStructuringElement(cv2.MORPH_RECT, shape)
        ink = cv2.subtract(ink, cv2.morphologyEx(ink, cv2.MORPH_OPEN, line))
    return ink


def _bands(rules: "Array") -> "Array | None":
    """Tell which of what was taken for rules is so thick that it may be a label with print on it, if any is."""
    import cv2

    square = cv2.getStructuringElement(cv2.MORPH_RECT, (_BAND, _BAND))
    inside = cv2.erode(rules, square)
    return cv2.dilate(inside, square) if cv2.countNonZero(inside) else None


def _on_bands(bands: "Array", rules: "Array", contrast: "Array") -> "Array":
    """Tell what is much darker than the label or the bar that it stands on."""
    import cv2
    import numpy as np

    found = np.zeros_like(rules)
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(bands)
    for band in range(1, count):
        left, top, width, height, _ = boxes[band]
        place = np.s_[top : top + height, left : left + width]
        levels = contrast[place]
        own = np.median(levels[labels[place] == band])
        found[place] |= (rules[place] > 0) & (levels > own + STRONG)
    return found
