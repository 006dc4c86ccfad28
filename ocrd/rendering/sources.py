"""A dropped file, or a group of them, opened by its content, whatever its name says. For the render workers alone."""

import contextlib
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ocrd.display import counted, shown
from ocrd.errors import DocumentError, IncompleteError, PageError
from ocrd.filetypes import DUPLEX_FOLDER, IMAGE_SUFFIXES, SOURCE_SUFFIXES, in_order
from ocrd.model import FileStamp, Opening, PixelSize, Placement, TextLayer, duplex_place
from ocrd.rendering import djvu, truncation
from ocrd.rendering.image_source import Djvu, Images
from ocrd.rendering.pdf_source import Pdf
from ocrd.rendering.source import TRANSFER, Source, how_opened, opening

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
    worn = _looks >= _MOST_LOOKS and _opened is not None and _opened[-1].kind in ("pdf", "duplex")
    if _opened is None or _opened[:-1] != known or worn:
        last, _opened, _looks = _opened, None, 0
        if last is not None:
            last[-1].close()
        _opened = (*known, _open(path))
    _looks += 1
    return _opened[-1]


def files_of(path: Path) -> list[Path]:
    """List the files of a source in their order: itself, the images of a group, or first fronts and then backs."""
    if not path.is_dir():
        return [path]
    suffixes = SOURCE_SUFFIXES if path.suffix == DUPLEX_FOLDER else IMAGE_SUFFIXES
    inside = sorted(path.iterdir(), key=lambda file: in_order(file.name))
    return [file for file in inside if file.suffix.lower() in suffixes and file.is_file()]


def _open(path: Path) -> Source:
    if path.is_dir():
        return DuplexScan(path) if path.suffix == DUPLEX_FOLDER else _Several(path)
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
    """Tell of each page in which file it is, and which page of that.

    Raises DocumentError if that can't be told of a duplex scan.
    """
    if path.is_dir() and path.suffix == DUPLEX_FOLDER:
        return DuplexScan(path).places
    return [place for file in files_of(path) for place in _looked_at(file)[0]]


class _Joined(ABC):
    """Files that are one document: each page is as its own file has it."""

    def __init__(self, places: list[tuple[Path, int]]) -> None:
        self.places = places
        self.pages = len(places)

    @abstractmethod
    def _at(self, index: int) -> tuple[Source, int]:
        """Give the source in which a page is, and which of its pages it is. Raises PageError."""

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

    def is_drawn_unseen(self, index: int) -> bool:
        source, page = self._at(index)
        return source.is_drawn_unseen(page)

    def layer(self, index: int) -> TextLayer | None:
        source, page = self._at(index)
        return source.layer(page)

    def layer_text(self, index: int, placement: Placement) -> str:
        source, page = self._at(index)
        return source.layer_text(page, placement)


class _Several(_Joined):
    """Images that are one document. One that can't be opened is a page that can't be read, and costs no other."""

    kind = "group"
    attachments = parts = ()

    def __init__(self, folder: Path) -> None:
        files = [_looked_at(file) for file in files_of(folder)]
        super().__init__([place for places, _ in files for place in places])
        self.problems = tuple(problem for _, problems in files for problem in problems)
        self._current: tuple[Path, Source] | None = None
        if not self.places:
            raise DocumentError(
                "There is no image in this folder.", "Put its pages there, as TIFF, JPEG, PNG, WebP or HEIC."
            )

    @property
    def repaired(self) -> bool:
        """Whether that is so of the image that was shown last."""
        return self._current is not None and self._current[1].repaired

    def _at(self, index: int) -> tuple[Source, int]:
        path, page = self.places[index]
        if self._current is None or self._current[0] != path:
            self.close()  # one image in memory at a time
            self._current = (path, _opened_for_a_page(path))
        return self._current[1], page

    def close(self) -> None:
        last, self._current = self._current, None
        if last is not None:
            last[1].close()


class DuplexScan(_Joined):
    """A file of fronts and one of backs, last first, which are one document. Both stay open, as pages alternate."""

    kind = "duplex"
    parts = ()

    def __init__(self, folder: Path) -> None:
        files = files_of(folder)
        with opening(replace(how_opened(), embedded=False)):  # what is attached to them has no backs
            self._sources = {file: _opened_side(file) for file in files}
        self.attachments = tuple(name for source in self._sources.values() for name in source.attachments)
        self.problems = tuple(problem for source in self._sources.values() for problem in source.problems)
        self.repaired = any(source.repaired for source in self._sources.values())
        counts = [source.pages for source in self._sources.values()]
        if len(set(counts)) > 1:
            fronts, backs = (
                f"{_dropped_name(file)} has {counted(count, 'page')}" for file, count in zip(files, counts, strict=True)
            )
            raise DocumentError(
                f"Fronts and backs must be as many, but {fronts}, and {backs}.",
                "Each sheet has two sides, also where nothing is on one: scan those that lack, and move both files "
                "back into the inbox together.",
            )
        total = sum(counts)
        sides = (duplex_place(index, total) for index in range(total))
        super().__init__([(files[side], page) for side, page in sides])

    def _at(self, index: int) -> tuple[Source, int]:
        path, page = self.places[index]
        return self._sources[path], page

    @property
    def pdfs(self) -> list[Path]:
        """Those of its files that are PDFs."""
        return [path for path, source in self._sources.items() if source.kind == "pdf"]

    def close(self) -> None:
        for source in self._sources.values():
            source.close()


def _opened_side(path: Path) -> Source:
    try:
        return _open(path)
    except DocumentError as error:
        raise DocumentError(f"{_dropped_name(path)}: {error.what}", error.remedy) from error


def _dropped_name(path: Path) -> str:
    """Return the name of one side of a duplex scan, for a person, without the number that it has while it is ours."""
    return shown(path.name.partition("-")[2])


def _looked_at(path: Path) -> tuple[list[tuple[Path, int]], list[str]]:
    """List the pages of a file, and say why they may not be all that it holds."""
    try:
        with contextlib.closing(_open(path)) as source:
            problems = [f"{shown(path.name)}: {problem}" for problem in source.problems]
            return [(path, page) for page in range(source.pages)], problems
    except DocumentError:
        return [(path, 0)], []


def _opened_for_a_page(path: Path) -> Source:
    try:
        return _open(path)
    except DocumentError as error:
        raise PageError(f"{shown(path.name)}: {error.what}", error.remedy) from error
