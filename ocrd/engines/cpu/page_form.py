"""The form in which this engine wants its pages: how many pixels, and grey levels only."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocrd.model import PixelSize

if TYPE_CHECKING:
    from PIL.Image import Image

DPI = 300
"""Resolution of the page images: at 200, Tesseract is a third faster, but takes the `+12` of a table for `tL,`."""
PLAIN_DPI = 225
"""That of scans of plain text, which are drawn and read in three quarters of the time."""
LONGEST_SIDE = 4096
"""Pixels; A4 at 300 dpi has 3508."""
GREY = "L"
"""Pillow's name of the mode in which a pixel is one byte."""


def page_size(width: float, height: float, dpi: float = DPI) -> PixelSize:
    """Give the image size wanted for a page of this width and height in points."""
    scale = min(dpi / 72, LONGEST_SIDE / max(width, height))
    return PixelSize(max(1, round(width * scale)), max(1, round(height * scale)))


class PageSizes:
    """The same, and less for scans of plain text. A `PlainPageSizer`."""

    def __call__(self, width: float, height: float) -> PixelSize:
        """Give the size of other pages."""
        return page_size(width, height)

    def plain(self, width: float, height: float) -> PixelSize:
        """Give the size of a scan of plain text."""
        return page_size(width, height, PLAIN_DPI)


@dataclass(frozen=True, slots=True)
class Greys:
    """Makes of a page's RGB image its grey levels, a third of the bytes; no more of it is looked at."""

    room: int = LONGEST_SIDE**2
    """The most bytes that it makes of a page."""

    def __call__(self, image: "Image", memory: memoryview) -> int:
        """Write a byte for each pixel, rows from the top without padding, and return how many there are."""
        greys = image.convert(GREY).tobytes()
        memory[: len(greys)] = greys
        return len(greys)
