"""What the render workers do: a page drawn, looked at, and made into what others want of it."""

import hashlib
import importlib
import io
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from ocrd.concurrency.shared_memory import Shared
from ocrd.display import counted, shown
from ocrd.errors import IncompleteError, PageError
from ocrd.model import (
    Box,
    Opening,
    PageFacts,
    PageImage,
    PagePreparer,
    PageResult,
    PageSizer,
    PixelSize,
    Placement,
    PlainPageSizer,
    SourceFacts,
    View,
)
from ocrd.rendering import barcodes, page_analysis, page_layout, source, truncation
from ocrd.rendering.pdf_opening import open_pdf
from ocrd.rendering.source import AGAIN, POINTS_PER_INCH, TRANSFER, Source, page_errors, pixels_of, plain
from ocrd.rendering.sources import DuplexScan, files_of, opened, places
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.safe_paths import regular

if TYPE_CHECKING:
    import pymupdf
    from PIL import Image


R = TypeVar("R")

LARGEST_SIDE = 1_000_000
"""Points, 353 m: larger than any plan; MuPDF draws such a page at any size that is wanted."""
_FIGURE_DPI = 300
"""At which a page is rendered to crop figures from it."""
_SHEET_DPI = 200
"""At which a page is rendered to find a barcode on it: bars of 0.25 mm are two pixels wide."""
_LONGEST_BARCODE = 200
"""Characters of its text that are kept, of some thousands that it can hold."""
_MOST_PIXELS = 40_000_000
"""Of these two renderings."""
_MANY_BESIDE, _SHARE_BESIDE = 20, 0.25
"""Letters that nobody sees, and their share of those on the page, from which they belong on it: a fifth of all. One of
300 whole pages has so many."""
_FIGURE_SIDE = 2000
"""Most pixels of a figure's side: half a page at 300 dpi."""
_A4 = (595, 842)
"""Points: the size of a page of which nobody knows another."""
PREVIEW_SIDE = 1100
"""Pixels of the longer side of a page that a person looks at beside its text."""
THUMBNAIL_SIDE = 300
"""The same of a page in an index."""
_PREVIEW_QUALITY = 45
"""Of WebP, 0 to 100: letters stay sharp, and the grain of the paper goes."""
_LEAST_FIGURE = 8
"""Pixels; what is smaller shows nothing."""


def on_source(how: Opening, function: Callable[..., R], path: Path, *args: object) -> R:
    """Do one of the following with a source. Raises MachineError where the machine keeps it from being read."""
    with machine_faults("read", path), _warnings_named(path), source.opening(how):
        return function(path, *args)


@contextmanager
def _warnings_named(path: Path) -> Iterator[None]:
    """Let what libraries warn of say of which file they do."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print(f"{type(message).__name__}: {shown(path)}: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def open_source(path: Path) -> SourceFacts:
    """Tell what a source is. Raises DocumentError."""
    source = opened(path)
    digests = [_digest(file) for file in files_of(path)]
    digest = hashlib.sha256(" ".join(digests).encode()).hexdigest() if path.is_dir() else digests[0]
    return SourceFacts(
        source.kind,
        source.pages,
        digest,
        attachments=source.attachments,
        problems=source.problems,
        parts=source.parts,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def count_pages(path: Path) -> int:
    """Count pages, of a file that others can still swap for a link or a FIFO. Raises IncompleteError, DocumentError."""
    with regular(path) as held:
        if lacking := truncation.lacks(held):
            raise IncompleteError(f"This file seems cut off: {lacking}.", TRANSFER)
        return opened(held).pages


def render_page(path: Path, index: int, sizer: PageSizer, view: View) -> PageImage:
    """Draw a page as it is to be read. Raises PageError."""
    page, image = _rendered(path, index, sizer, view)
    return replace(page, pixels=image.tobytes())


def _rendered(path: Path, index: int, sizer: PageSizer, view: View) -> tuple[PageImage, "Image.Image"]:
    """Draw a page, look at it, and draw it anew if it doesn't lie right; what is known of it has no pixels."""
    source = opened(path)
    with page_errors():
        width, height = source.shape(index)
        _check_size(width, height)
        first = Placement(width, height, view.turn or 0, view.skew, view.top, view.bottom)
        least = sizer.plain if isinstance(sizer, PlainPageSizer) else sizer
        image, size = _drawn(source, index, least, first, coarse=view.coarse)
        pixels = pixels_of(image)
        facts = page_analysis.facts(pixels, first, stands=view.turn is not None)
        wanted = least if facts.plain else sizer
        if facts.placement != first or wanted is not least:
            del image, pixels  # before there are two of them
            image, size = _drawn(source, index, wanted, facts.placement, coarse=view.coarse)
            pixels = pixels_of(image)
        closely = bool(facts.blank) or page_analysis.flat_at_an_edge(pixels)
        facts = _checked(partial(_with_damage, closely=closely), source, index, facts)
        facts = _checked(_in_doubt, source, index, facts)
        if (view.separators or view.any_barcode) and not facts.blank:
            sheet, _ = _drawn(source, index, partial(_at, _SHEET_DPI), Placement(width, height))
            texts = barcodes.on(sheet)
            barcode = next(filter(None, texts), "")[:_LONGEST_BARCODE] if view.any_barcode else ""
            facts = replace(facts, separator=barcodes.separator(texts, view.separators), barcode=barcode)
        if view.layer:
            facts = _checked(_with_layer, source, index, facts)
        dpi = round(POINTS_PER_INCH * size.width / facts.placement.upright[0], 1)
        return PageImage(index, size, b"", dpi, facts), image


def _checked(
    check: Callable[[Source, int, PageFacts], PageFacts], source: Source, index: int, facts: PageFacts
) -> PageFacts:
    """Add what a check of a page finds. One that fails costs nothing of what was drawn, which may lack some, though."""
    try:
        return check(source, index, facts)
    except (MemoryError, PageError):
        raise
    except Exception:  # noqa: BLE001 - MuPDF's errors have no common base but this
        return replace(facts, damage=facts.damage or "its objects are damaged")


def _with_damage(source: Source, index: int, facts: PageFacts, *, closely: bool) -> PageFacts:
    """Say what the drawing may lack of its page."""
    return replace(facts, damage=facts.damage or source.damage(index, closely=closely))


def _with_layer(source: Source, index: int, facts: PageFacts) -> PageFacts:
    return replace(facts, layer=source.layer(index))


def _in_doubt(source: Source, index: int, facts: PageFacts) -> PageFacts:
    """See by what a page prints whether it is blank if it seems so, and else whether much of it can't be seen."""
    on_page, beside = source.printed(index)
    if not facts.blank:
        many = beside >= max(_MANY_BESIDE, on_page * _SHARE_BESIDE)
        return replace(facts, damage=facts.damage or ("some of its text lies outside of it" if many else ""))
    if on_page:  # grey or yellow, in which the page is not looked at
        return replace(facts, blank="", letters=on_page)
    return replace(facts, damage=facts.damage or _unseen(source, index, beside))


def _unseen(source: Source, index: int, beside: int) -> str:
    """Say what a page that seems blank may hold all the same, if it prints so many letters where nobody sees them."""
    if beside:
        return "its text lies outside of it"
    if source.is_drawn_unseen(index):
        return "what it shows lies outside of it"
    return "the structure of its file is damaged" if source.repaired else ""


def _drawn(
    source: Source, index: int, sizer: PageSizer, placement: Placement, *, coarse: bool = False
) -> tuple["Image.Image", PixelSize]:
    wide, high = placement.upright
    size = sizer(wide, high * (placement.bottom - placement.top))
    if not coarse:
        return source.draw(index, placement, size), size
    half = PixelSize(max(1, size.width // 2), max(1, size.height // 2))
    return source.draw(index, placement, half).resize((size.width, size.height)), size


def layer_text(path: Path, index: int, placement: Placement) -> str:
    """Take a page's own text, as Markdown. Raises PageError."""
    source = opened(path)
    with page_errors():
        return source.layer_text(index, placement)


_shared: Shared | None = None


def load() -> None:
    """Load what any page needs, in the process that the workers are forked from (`fork_server`)."""
    page_layout.put_off()
    for library in ("PIL.Image", "cv2", "numpy", "pymupdf"):
        importlib.import_module(library)


def share(memory: int) -> None:
    """Begin a worker's life: with the memory for prepared images, an open file."""
    global _shared  # noqa: PLW0603 - given to each worker once, before its first work
    _shared = Shared(memory)
    page_layout.put_off()


def prepare_page(  # noqa: PLR0913, PLR0917 - a page, what is to be made of it, and where to put that
    path: Path, index: int, sizer: PageSizer, prepare: PagePreparer, view: View, offset: int, room: int
) -> tuple[PageImage, int]:
    """Render a page, and write what the engine takes into its slot; returns what else is known, and the bytes."""
    if _shared is None:
        raise AssertionError(offset)
    page, image = _rendered(path, index, sizer, view)
    if page.facts.blank or page.facts.is_sheet:
        return page, 0
    with _shared.window(offset, room) as slot, memoryview(slot) as memory:
        return page, prepare(image, memory)


def _at(dpi: float, width: float, height: float) -> PixelSize:
    """Give the size of a page at a resolution, unless it is too large for that; sides in points."""
    scale = min(dpi / POINTS_PER_INCH, (_MOST_PIXELS / (width * height)) ** 0.5)
    return PixelSize(max(1, round(width * scale)), max(1, round(height * scale)))


def crop(path: Path, index: int, boxes: tuple[Box, ...], placement: Placement) -> list[bytes]:
    """Cut parts out of a page, as JPEG; b"" where nothing is left of one. Raises PageError."""
    page = _upright(path, index, partial(_at, _FIGURE_DPI), placement)
    return [_cropped(page, box) for box in boxes]


def preview(path: Path, index: int, placement: Placement, side: int) -> bytes:
    """Render a page for a person to look at, as WebP whose longer side has so many pixels. Raises PageError."""
    page = _upright(path, index, partial(_preview_page, side), placement)
    file = io.BytesIO()
    page.save(file, "WEBP", quality=_PREVIEW_QUALITY, method=6)
    return file.getvalue()


def _preview_page(side: int, width: float, height: float) -> PixelSize:
    scale = side / max(width, height)
    return PixelSize(max(1, round(width * scale)), max(1, round(height * scale)))


def _upright(path: Path, index: int, sizer: PageSizer, placement: Placement) -> "Image.Image":
    """Render a page and turn it as it was turned for reading."""
    source = opened(path)
    with page_errors():
        width, height = source.shape(index)
        image, _ = _drawn(source, index, sizer, replace(placement, width=width, height=height))
    return image


def make_searchable(path: Path, pages: tuple[PageResult, ...], only: tuple[int, ...], out: BinaryIO) -> None:
    """Write a PDF of the source with the text of its pages invisible over them.

    Raises PageError, also if `out` takes no more.

    `pages` holds one for each page of the source; `only` those, by their index, that are wanted, if not all are.
    """
    from ocrd.rendering import searchable_pdf
    from ocrd.rendering.text_placement import strips

    opened(path)  # it knows how to complain
    try:
        with _as_pdf(path, [_page_size(page) for page in pages]) as document:
            if only:
                document.select(only)
            wanted = [pages[index] for index in only] or pages
            searchable_pdf.searchable(document, [strips(page) for page in wanted], out)
    except MemoryError:
        raise
    except Exception as error:
        raise PageError(f"No PDF that can be searched can be made of this: {plain(error, path)}.", AGAIN) from error


@contextmanager
def _as_pdf(path: Path, sizes: Sequence[tuple[float, float]]) -> "Iterator[pymupdf.Document]":
    """Give a source as a PDF, an image on a page of its size in points. Raises DocumentError."""
    from ocrd.rendering import searchable_pdf

    source = opened(path)
    with ExitStack() as stack:
        if source.kind == "pdf":
            yield stack.enter_context(open_pdf(path).document)
            return
        pdfs = {}
        if isinstance(source, DuplexScan):
            pdfs = {file: stack.enter_context(open_pdf(file).document) for file in source.pdfs}
        yield stack.enter_context(searchable_pdf.of_images(places(path), sizes, pdfs))


def exchange_searchable(  # noqa: PLR0913, PLR0917 - a PDF, and what is to stand where in it
    path: Path, delivered: Path, pages: tuple[PageResult, ...], places: dict[int, int], total: int, out: BinaryIO
) -> None:
    """Write a PDF of `total` pages of the source that was made before, with other pages.

    Raises PageError, also if `out` takes no more.

    `pages` are as for `make_searchable`; `places` tells for each that is fresh, by its index, where the PDF has it.
    """
    import pymupdf

    from ocrd.rendering.searchable_pdf import write

    made = io.BytesIO()
    make_searchable(path, pages, tuple(places), made)
    try:
        with (
            pymupdf.open(stream=made.getvalue(), filetype="pdf") as source,
            pymupdf.open(delivered, filetype="pdf") as target,
        ):
            if target.page_count == total:
                for number, place in enumerate(places.values()):
                    _renew_page(target, place, source, number)
                write(target, out, garbage=3)
                return
            count = target.page_count
    except MemoryError:
        raise
    except Exception as error:
        raise PageError(f"The PDF beside the sidecar can't be changed: {plain(error, delivered)}.", AGAIN) from error
    raise PageError(
        f"The PDF beside the sidecar has {counted(count, 'page')}, and the sidecar {total}.", "Move it away."
    )


_PAGE_KEYS = ("Contents", "Resources", "MediaBox", "CropBox", "Rotate", "UserUnit")
"""What a page looks like (ISO 32000-1, table 30). The rest is its reader's: bookmarks lead to it, notes are on it."""


def _renew_page(target: "pymupdf.Document", place: int, source: "pymupdf.Document", number: int) -> None:
    """Let a page look like one of another PDF; what points to it and what was written on it stays."""
    target.insert_pdf(source, from_page=number, to_page=number, links=False, annots=False)
    old, new = (target.page_xref(index) for index in (place, target.page_count - 1))
    for key in _PAGE_KEYS:
        target.xref_set_key(old, key, target.xref_get_key(new, key)[1])
    target.delete_page(target.page_count - 1)


def _page_size(page: PageResult) -> tuple[float, float]:
    placement = page.facts.placement if page.facts else Placement()
    return placement.width or _A4[0], placement.height or _A4[1]


def _cropped(page: "Image.Image", box: Box) -> bytes:
    """Cut out one figure, as a JPEG; b"" if nothing is left of it."""
    width, height = page.size
    edges = (int(box.left * width), int(box.top * height), ceil(box.right * width), ceil(box.bottom * height))
    if edges[2] - edges[0] < _LEAST_FIGURE or edges[3] - edges[1] < _LEAST_FIGURE:
        return b""
    figure = page.crop(edges)
    figure.thumbnail((_FIGURE_SIDE, _FIGURE_SIDE))
    file = io.BytesIO()
    figure.save(file, "JPEG", quality=88, optimize=True)
    return file.getvalue()


def _check_size(width: float, height: float) -> None:
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        metres = 0.0254 / POINTS_PER_INCH
        raise PageError(
            f"This page is {width * metres:.2f} m wide and {height * metres:.2f} m high; no more than"
            f" {LARGEST_SIDE * metres:.0f} m can be drawn.",
            "Print it to a new PDF on paper of a usual size.",
        )
