"""What every opened file can tell and show, be it a PDF or an image. For the render workers alone."""

import contextlib
import contextvars
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ocrd.display import shown
from ocrd.errors import PageError
from ocrd.model import Opening, PixelSize, Placement, TextLayer

if TYPE_CHECKING:
    import numpy as np
    import pymupdf
    from PIL import Image

    Array = np.ndarray[Any, Any]

POINTS_PER_INCH = 72
_STRIP = 64
"""Rows."""
TRANSFER = "Copy or scan it again; the transfer broke off."
AGAIN = "Open it elsewhere to see whether it is whole; print it to a new PDF, or scan it again."


class Source(Protocol):
    """A dropped file that could be opened."""

    kind: str
    """`pdf`, or the name of the image format in lower case."""

    @property
    def pages(self) -> int: ...

    @property
    def attachments(self) -> tuple[str, ...]:
        """Names of files attached to it."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """Why its pages may not be all that it holds, each a sentence."""
        ...

    @property
    def repaired(self) -> bool:
        """Whether its structure is damaged, so that a page that seems blank may have lost what it holds."""
        ...

    @property
    def parts(self) -> tuple[int, ...]:
        """Indices of the pages with which another document in it begins."""
        ...

    def shape(self, index: int) -> tuple[float, float]:
        """Width and height of a page as it is shown, points."""
        ...

    def draw(self, index: int, placement: Placement, size: PixelSize) -> "Image.Image":
        """Draw what the placement holds of a page, in RGB, at this size. Called right after its `shape`."""
        ...

    def damage(self, index: int, *, closely: bool) -> str:
        """Say in words why what was drawn of a page may lack some of it; empty if it was drawn whole.

        Called after `draw`. To look closely takes ten milliseconds or more, and is worth it where little is seen.
        """
        ...

    def printed(self, index: int) -> tuple[int, int]:
        """Count the letters that a page prints in a colour other than white: on it, and where nobody sees them.

        That is beside its sheet, or without a size.
        """
        ...

    def is_drawn_unseen(self, index: int) -> bool:
        """Whether a page that seems blank draws something where nobody sees it: beside its sheet, or without a size.

        That is also so if its contents name pictures, or text, of which nothing is drawn.
        """
        ...

    def layer(self, index: int) -> TextLayer | None:
        """Judge the text layer of a page, if it has one."""
        ...

    def layer_text(self, index: int, placement: Placement) -> str:
        """Return the text layer of a page as Markdown, with the place of each block on the page as it was turned."""
        ...

    def close(self) -> None:
        """Give back the memory that it holds."""
        ...


_PLAINLY = Opening()
_opening = contextvars.ContextVar("opening", default=_PLAINLY)


@contextlib.contextmanager
def opening(how: Opening) -> Iterator[None]:
    """Open sources in this way meanwhile."""
    token = _opening.set(how)
    try:
        yield
    finally:
        _opening.reset(token)


def how_opened() -> Opening:
    """Say how sources are opened at the moment."""
    return _opening.get()


@contextlib.contextmanager
def page_errors() -> Iterator[None]:
    """Translate what goes wrong with a page: MuPDF's errors and Pillow's have no common base but Exception."""
    try:
        yield
    except (MemoryError, PageError):
        raise
    except Exception as error:
        raise PageError(f"This page can't be rendered: {plain(error)}.", AGAIN) from error


def as_pillow(pixmap: "pymupdf.Pixmap") -> "Image.Image":
    """Take what MuPDF drew in RGB, without a copy."""
    from PIL import Image

    return Image.frombuffer("RGB", (pixmap.width, pixmap.height), pixmap.samples_mv, "raw", "RGB", pixmap.stride, 1)


def pixels_of(image: "Image.Image") -> "Array":
    """Take the rows of RGB of an image. In strips: Pillow would write all of it out, and join it then."""
    import numpy as np

    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP):
        bottom = min(top + _STRIP, image.height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels


def cut_out(image: "Image.Image", sheet: PixelSize, placement: Placement, size: PixelSize) -> "Image.Image":
    """Cut the wanted part out of a drawing of the whole sheet."""
    if image.size != (sheet.width, sheet.height):  # rounding of a page's odd size
        image = image.resize((sheet.width, sheet.height))
    if sheet == size:
        return image
    top = min(round(placement.top * sheet.height), sheet.height - size.height)
    return image.crop((0, top, size.width, top + size.height))


def plain(error: Exception, path: Path | None = None) -> str:
    """Make a library's message fit into a sentence, without the path by which only we know the file."""
    text = re.sub(r"^code=\d+: ", "", str(error)).replace(f"file '{path}'", "it").replace(f"'{path}'", "it")
    return shown(" ".join(text.split()))[:200].rstrip(". ") or type(error).__name__
