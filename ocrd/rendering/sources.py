"""A dropped file, or a group of them, opened by its content, whatever its name says. For the render workers alone."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from ocrd.display import shown
from ocrd.errors import DocumentError, IncompleteError, PageError
from ocrd.filetypes import IMAGE_SUFFIXES, in_order
from ocrd.model import FileStamp, Opening, PixelSize, Placement, TextLayer
from ocrd.rendering import djvu, truncation
from ocrd.rendering.image_source import Djvu, Images
from ocrd.rendering.pdf_source import Pdf
from ocrd.rendering.source import TRANSFER, Source, how_opened

if TYPE_CHECKING:
    from PIL import Image

_MOST_LOOKS = 50
"""Pages after which a PDF is opened anew: MuPDF keeps every object that it has parsed once.

A TIFF is not: to open one means to walk all of its images.
"""
_opened: tuple[Path, FileStamp, Opening, Source] | None = None
"""The source of the last page, most likely that of the next."""
_looks = 0


def opened(path: Path) -> Source:
    """Open a source by its content, unless it is what was opened last. Raises DocumentError, IncompleteError."""
    global _opened, _looks  # noqa: PLW0603 - a cache of one in a process that serves one page at a time
    known = path, FileStamp.of(path.stat()), how_opened()
    worn = _looks >= _MOST_LOOKS and _opened is not None and _opened[-1].kind == "pdf"
    if _opened is None or _opened[:-1] != known or worn:
        last, _opened, _looks = _opened, None, 0
        if last is not None:
            last[-1].close()
        _opened = (*known, _open(path))
    _looks += 1
    return _opened[-1]


def files_of(path: Path) -> list[Path]:
    """List the files of a source in the order of their pages: itself, or the images in the folder of a group."""
    if not path.is_dir():
        return [path]
    inside = sorted(path.iterdir(), key=lambda file: in_order(file.name))
    return [file for file in inside if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]


def _open(path: Path) -> Source:
    if path.is_dir():
        return _Several(path)
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except PermissionError as error:
        raise DocumentError(
            "ocrd may not read this file: permission denied.", "Make it readable (chmod a+r) and drop it again."
        ) from error
    if not head:
        raise IncompleteError("This file is empty (0 bytes).", TRANSFER)
    if b"%PDF-" in head:
        return Pdf(path)
    if head.startswith(djvu.MAGIC):
        return Djvu(path)
    try:
        return Images(path)
    except DocumentError:
        if truncation.has_pdf_behind_rubbish(path):
            return Pdf(path)
        raise


def places(path: Path) -> list[tuple[Path, int]]:
    """Tell of each page in which file it is, and which page of that."""
    return [place for file in files_of(path) for place in _places(file)]


class _Several:
    """Images that are one document. One that can't be opened is a page that can't be read, and costs no other."""

    kind = "group"
    repaired = False
    attachments = problems = parts = ()

    def __init__(self, folder: Path) -> None:
        self._pages = places(folder)
        self._current: tuple[Path, Source] | None = None
        self.pages = len(self._pages)
        if not self._pages:
            raise DocumentError(
                "There is no image in this folder.", "Put its pages there, as TIFF, JPEG, PNG, WebP or HEIC."
            )

    def shape(self, index: int) -> tuple[float, float]:
        source, page = self._at(index)
        return source.shape(page)

    def draw(self, index: int, placement: Placement, size: PixelSize) -> "Image.Image":
        source, page = self._at(index)
        return source.draw(page, placement, size)

    def damage(self, index: int, *, closely: bool) -> str:
        source, page = self._at(index)
        return source.damage(page, closely=closely)

    def printed(self, index: int) -> tuple[int, int]:
        source, page = self._at(index)
        return source.printed(page)

    def layer(self, index: int) -> TextLayer | None:
        source, page = self._at(index)
        return source.layer(page)

    def layer_text(self, index: int, placement: Placement) -> str:
        source, page = self._at(index)
        return source.layer_text(page, placement)

    def _at(self, index: int) -> tuple[Source, int]:
        """Give the source in which a page is, and which of its pages it is. Raises PageError."""
        path, page = self._pages[index]
        if self._current is None or self._current[0] != path:
            self.close()  # one image in memory at a time
            self._current = (path, _opened_for_a_page(path))
        return self._current[1], page

    def close(self) -> None:
        last, self._current = self._current, None
        if last is not None:
            last[1].close()


def _places(path: Path) -> list[tuple[Path, int]]:
    try:
        with contextlib.closing(_open(path)) as source:
            return [(path, page) for page in range(source.pages)]
    except DocumentError:
        return [(path, 0)]


def _opened_for_a_page(path: Path) -> Source:
    try:
        return _open(path)
    except DocumentError as error:
        raise PageError(f"{shown(path.name)}: {error.what}", error.remedy) from error
