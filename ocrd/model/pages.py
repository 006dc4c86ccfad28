"""A page as an image: its size, how it lies on its sheet, and what it shows before anybody reads it."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable


@dataclass(frozen=True, slots=True)
class PixelSize:
    """The size of a page image."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""


PageSizer = Callable[[float, float], PixelSize]
"""From a page's width and height in points (1/72 inch, as displayed) to the image size that the engine wants.

Called in the render workers, so it must be picklable: a function of a module, or a `functools.partial` of one.
"""


@runtime_checkable
class PlainPageSizer(Protocol):
    """A `PageSizer` of an engine for which scans of plain text (`PageFacts.plain`) may be smaller than other pages."""

    def __call__(self, width: float, height: float, /) -> PixelSize:
        """Give the size of other pages."""
        ...

    def plain(self, width: float, height: float) -> PixelSize:
        """Give the size of a scan of plain text."""
        ...


class PagePreparer(Protocol):
    """Makes of a page's RGB image what an engine takes instead of it.

    Called in the render workers, so it must be picklable, and hold no library that they don't have.
    """

    @property
    def room(self) -> int:
        """The most bytes that it makes of a page."""
        ...

    def __call__(self, image: Any, memory: memoryview) -> int:  # noqa: ANN401 - a PIL.Image.Image, whose library this module does without
        """Write into the memory, which has that room, and return the bytes written. Raises PageError."""
        ...


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class View:
    """What is wanted of a page, where that is not the whole of it as it seems to stand."""

    turn: int | None = None
    """Degrees clockwise to turn the page by, a multiple of 90; None: find out which way is up, and how askew it is."""
    skew: float = 0.0
    """Degrees clockwise to turn it by on top of a `turn` that is given."""
    top: float = 0.0
    """Where the part begins that is wanted: share of the upright page's height."""
    bottom: float = 1.0
    """Where that part ends."""
    layer: bool = False
    """Whether to look at the text layer, too."""
    separators: tuple[str, ...] = ()
    """Texts of barcodes to look for; none, and nobody looks."""
    any_barcode: bool = False
    """Whether to look for any barcode."""
    coarse: bool = False
    """Whether to draw it at half the size that is wanted, and enlarge that."""


@dataclass(frozen=True, slots=True)
class Placement:
    """How a page image lies on its page, so that a place on the one can be found on the other."""

    width: float = 0.0
    """Width of the page as the source shows it, in points (1/72 inch); 0 if nobody knows."""
    height: float = 0.0
    """Its height, points."""
    turn: int = 0
    """Degrees clockwise by which the page was turned to stand upright: 0, 90, 180 or 270."""
    skew: float = 0.0
    """Degrees clockwise by which it was turned after that, about its middle. The image holds all of the page, so it
    is of a slightly larger sheet then."""
    top: float = 0.0
    """Where the image begins: share of the height of the upright sheet. 0 unless it shows a part of the page."""
    bottom: float = 1.0
    """Where the image ends."""

    @property
    def upright(self) -> tuple[float, float]:
        """Width and height of the upright sheet in points: of the page, turned, and of what is around it if askew."""
        width, height = (self.height, self.width) if self.turn % 180 else (self.width, self.height)
        cos, sin = math.cos(math.radians(self.skew)), abs(math.sin(math.radians(self.skew)))
        return width * cos + height * sin, height * cos + width * sin

    def on_page(self, x: float, y: float) -> tuple[float, float]:
        """Find a place of the image, in shares of its width and height, on the page as the source shows it.

        Returns points from the page's upper left corner; beyond the page for what the image shows around it.
        """
        wide, high = self.upright
        y = self.top + y * (self.bottom - self.top)
        right, down = (x - 0.5) * wide, (y - 0.5) * high  # from the middle, where both turns leave things in place
        back = -math.radians(self.turn + self.skew)
        return (
            self.width / 2 + right * math.cos(back) - down * math.sin(back),
            self.height / 2 + right * math.sin(back) + down * math.cos(back),
        )


_SHEET_LETTERS = 120
"""Fewer than these seem to be on a separator sheet; the bars count as some 40."""


@dataclass(frozen=True, slots=True)
class TextLayer:
    """What a PDF page says of its own text."""

    letters: int
    """Letters and digits in it."""
    flaw: str
    """Why it can't be trusted, in words; empty if it is sound."""
    open_hyphens: tuple[str, ...] = ()
    """Words behind whose hyphen it has space, with what follows, such as `short- and`, in small letters."""

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read it back. Raises KeyError or TypeError if it is damaged."""
        return cls(**{**raw, "open_hyphens": tuple(raw.get("open_hyphens", ()))})


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What a page image shows before anybody reads it."""

    placement: Placement = Placement()
    """How the image lies on the page."""
    ink: float = 0.0
    """Share of the pixels that differ clearly from the paper around them, 0 to 1."""
    lines: int = 0
    """Lines of text that there seem to be, roughly."""
    letters: int = 0
    """Letters that there seem to be, very roughly, and rather too few."""
    blank: str = ""
    """Why there is nothing to read, in words; empty for a page that has something on it."""
    damage: str = ""
    """Why the image may lack some of the page, in words; empty for a page that was drawn whole."""
    other_turn: int | None = None
    """Degrees clockwise from the page as the source shows it: the next likely way up, where the image leaves doubt."""
    layer: TextLayer | None = None
    """The page's own text; None if it has none, or nobody asked."""
    separator: str = ""
    """The text of the barcode by which it begins a new document; empty for any other page."""
    barcode: str = ""
    """The text of the topmost barcode on it; empty where there is none, or nobody looked for any."""
    spread: tuple[int, ...] = ()
    """Of these letters, those in lines in each cell of the upright page, 8 across, 12 down; empty if nobody looked."""
    plain: bool = False
    """Whether it seems to be a scan of one column of text, in no small print, with nothing beside it."""

    @property
    def is_sheet(self) -> bool:
        """Whether it is a separator sheet, and not a page of text with a barcode on it."""
        return bool(self.separator) and self.letters < _SHEET_LETTERS

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read it back. Raises KeyError, TypeError or ValueError if it is damaged."""
        layer = TextLayer.from_json(raw["layer"]) if raw["layer"] else None
        spread = tuple(raw.get("spread", ()))
        return cls(**{**raw, "placement": Placement(**raw["placement"]), "layer": layer, "spread": spread})


@dataclass(frozen=True, slots=True)
class PageImage:
    """One rendered page, in memory only."""

    index: int
    """Position in the source, from 0."""
    size: PixelSize
    """Width and height of the image."""
    pixels: bytes
    """RGB, 8 bits a channel, rows from the top without padding: `3 * width * height` bytes. Empty where there is
    `prepared`."""
    dpi: float
    """Pixels per inch of the page as the source declares it; 0 where the source declares none."""
    facts: PageFacts = PageFacts()
    """What it shows."""
    prepared: memoryview | None = None
    """What the engine's `prepare` made of it. Valid until `free` is called."""
    free: Callable[[], None] = field(default=_nothing, compare=False)
    """Gives the memory of `prepared` back. Whoever has handed it on calls it at once; a second call does nothing."""
    again: "Callable[[], Awaitable[PageImage]] | None" = field(default=None, compare=False)
    """Renders the page once more, for an engine that lost it after `free`."""
