"""Sources to page images, in worker processes with limits: the only place where a dropped file is opened.

A dropped file is hostile until it is rendered. A worker has a limit of memory, may write no file, and is killed when a
page takes too long; its death costs the page that it was at, and nothing else.
"""

import asyncio
import contextlib
import hashlib
import io
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from ocrd import pagefacts, textlayer, whole
from ocrd.errors import DocumentError, IncompleteError, MachineError, PageError
from ocrd.fsio import machine_faults, shown
from ocrd.model import (
    Box,
    FileStamp,
    PageImage,
    PagePreparer,
    PageResult,
    PageSizer,
    PixelSize,
    Placement,
    SourceFacts,
    TextLayer,
    View,
)
from ocrd.paths import NotRegularError, regular
from ocrd.slots import Shared, Slots
from ocrd.window import Window
from ocrd.workers import Limits, WorkerError, Workers

if TYPE_CHECKING:
    import pymupdf
    from PIL import Image

R = TypeVar("R")

IMAGES = 512 * 2**20
"""Most bytes of prepared page images on their way to the engine."""
LARGEST_SIDE = 14_400
"""Points: the largest page that PDF allows without a unit of its own, 5.08 m (ISO 32000-1, annex C.2)."""
_POINTS_PER_INCH = 72
_PAPER_DPI = 300
"""What an image is taken to be scanned at where it does not say, or says nonsense."""
_IMAGES = ("TIFF", "JPEG", "PNG", "WEBP")
_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)
"""Values of EXIF's orientation that turn an image by a quarter (Exif 3.0, 4.6.4)."""
_INVISIBLE = 3
"""The text rendering mode of PDF for text that is only there to be found (ISO 32000-1, 9.3.6)."""
AS_IT_SEEMS = View()
"""All of the page, set right as far as it seems to need that."""

_FIGURE_DPI = 300
"""At which a page is rendered to crop figures from it."""
_FIGURE_PAGE = 40_000_000
"""Most pixels of that rendering."""
_FIGURE_SIDE = 2000
"""Most pixels of a figure's side: half a page at 300 dpi."""
_A4 = (595, 842)
"""Points: the size of a page of which nobody knows another."""
_PAGES_IN_TIME = 50
"""Pages of a PDF that can be written in the time that one page may take."""
_PREVIEW_SIDE = 1100
"""Pixels of the longer side of a page that a person looks at beside its text."""
_PREVIEW_QUALITY = 45
"""Of WebP, 0 to 100: letters stay sharp, and the grain of the paper goes."""
_LEAST_FIGURE = 8
"""Pixels; what is smaller shows nothing."""


class Renderer:
    """A pool of render workers. Methods are coroutines of one event loop."""

    def __init__(self, workers: int, limits: Limits, images: int = IMAGES) -> None:
        """Prepare the pool, with at most so many bytes of prepared images; the workers start with the first page."""
        self.workers = workers
        self._seconds = limits.seconds
        self._slots = Slots(images)
        self._door = Window(2 * workers)
        self._pool = Workers(workers, limits, prepare=partial(_share, self._slots))  # type: ignore[arg-type] # a Shared there

    async def open(self, path: Path) -> SourceFacts:
        """Find out what a source is. Raises DocumentError if it can't be read as one, MachineError."""
        try:
            return await self._run(_open_source, path)
        except WorkerError as error:
            raise DocumentError(
                f"Opening this file {error}.",
                "It is damaged or made to do harm; print it to a new PDF, or scan it again.",
            ) from error

    async def count_pages(self, path: Path) -> int:
        """Count the pages of a file that is not ours yet; whatever is wrong with it counts as one page.

        Raises IncompleteError if it looks as if more of it were to come.
        """
        try:
            return await self._run(_count_pages, path)
        except IncompleteError:
            raise
        except (DocumentError, MachineError, NotRegularError, WorkerError):
            return 1

    async def page(  # noqa: PLR0913 - a page, how it is wanted, and how soon
        self,
        path: Path,
        index: int,
        sizer: PageSizer,
        prepare: PagePreparer | None = None,
        view: View = AS_IT_SEEMS,
        *,
        priority: int = 0,
    ) -> PageImage:
        """Render one page, or what `view` wants of it, tell what it shows, and make of it what the engine takes.

        `sizer` says at which size; the lowest priority is rendered first, as `Turns` has it. A prepared image stands in
        shared memory, of which there is only so much: it is to be freed soon. A blank page is not prepared. Raises
        PageError, DocumentError if the file went bad.
        """
        try:
            async with self._turn(priority):
                if prepare is None:
                    return await self._run(_render_page, path, index, sizer, view)
                image = await self._prepared(path, index, sizer, prepare, view)
            again = partial(self.page, path, index, sizer, prepare, view, priority=priority)
            return replace(image, again=again) if image.prepared is not None else image
        except WorkerError as error:
            raise PageError(
                f"Rendering this page {error}.", "Print the page to a new PDF, or scan it again."
            ) from error

    async def layer(self, path: Path, index: int) -> str:
        """Take a PDF page's own text, as Markdown. Raises PageError, DocumentError if the file went bad."""
        try:
            return await self._run(_layer_text, path, index)
        except WorkerError as error:
            raise PageError(f"Taking the text of this page {error}.", "Print the page to a new PDF.") from error

    @contextlib.asynccontextmanager
    async def _turn(self, priority: int) -> AsyncIterator[None]:
        """Let few pages more to the workers than there are, so that one that is urgent does not wait behind all."""
        await self._door.enter(object(), pages_left=priority)
        try:
            yield
        finally:
            self._door.leave()

    async def _prepared(self, path: Path, index: int, sizer: PageSizer, prepare: PagePreparer, view: View) -> PageImage:
        slot = await self._slots.take(prepare.room)
        try:
            image, length = await self._run(
                _prepare_page, path, index, sizer, prepare, view, slot.offset, self._slots.room
            )
        except (asyncio.CancelledError, WorkerError):
            slot.free_later()
            raise
        except BaseException:
            slot.free()
            raise
        if not length:
            slot.free()
            return image
        return replace(image, prepared=slot.view(length), free=slot.free)

    async def figures(self, path: Path, index: int, boxes: Sequence[Box], placement: Placement) -> list[bytes]:
        """Crop parts of a page, upright as its placement says, from the source: anew and sharper than for reading.

        Returns a JPEG for each box, or b"" where it can't be cropped. Raises PageError if none of them can.
        """
        try:
            return await self._run(_crop, path, index, tuple(boxes), placement)
        except WorkerError as error:
            raise PageError(
                f"Cropping the figures of this page {error}.", "Print the page to a new PDF, or scan it again."
            ) from error

    async def preview(self, path: Path, index: int, placement: Placement) -> bytes:
        """Render a page for a person to look at, upright as its placement says, as WebP. Raises PageError."""
        try:
            return await self._run(_preview, path, index, placement)
        except WorkerError as error:
            raise PageError(f"Rendering this page {error}.", "Open the original.") from error

    async def searchable(self, path: Path, pages: Sequence[PageResult]) -> bytes:
        """Make a PDF of the source, with the text of its pages invisible over them. Raises PageError if it can't be."""
        try:
            seconds = self._seconds * (1 + len(pages) / _PAGES_IN_TIME)
            return await self._run(_searchable, path, tuple(pages), seconds=seconds)
        except WorkerError as error:
            raise PageError(f"Making a PDF that can be searched {error}.", "Set render.memory higher.") from error

    async def close(self) -> None:
        """Stop the workers; pages under way are given up."""
        await self._pool.close()
        self._slots.close()

    async def _run(self, function: Callable[..., R], path: Path, *args: object, seconds: float | None = None) -> R:
        with machine_faults("read", path):
            return await self._pool.run(function, path, *args, seconds=seconds)


# What follows runs in the workers.


class _Source(Protocol):
    kind: str

    @property
    def pages(self) -> int: ...

    def shape(self, index: int) -> tuple[float, float]:
        """Width and height of a page as it is shown, points."""
        ...

    def draw(self, index: int, placement: Placement, size: PixelSize) -> "Image.Image":
        """Draw what the placement holds of a page, in RGB, at this size. Called right after its `shape`."""
        ...

    def layer(self, index: int) -> TextLayer | None:
        """Judge the text layer of a page, if it has one."""
        ...

    def layer_text(self, index: int) -> str:
        """Return the text layer of a page as Markdown."""
        ...


_opened: tuple[Path, FileStamp, _Source] | None = None  # the source of the last page, most likely that of the next


def _source(path: Path) -> _Source:
    global _opened  # noqa: PLW0603 - a cache of one in a process that serves one page at a time
    stamp = FileStamp.of(path.stat())
    if _opened is None or _opened[:2] != (path, stamp):
        _opened = None
        _opened = (path, stamp, _open(path))
    return _opened[2]


def _open_source(path: Path) -> SourceFacts:
    source = _source(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SourceFacts(source.kind, source.pages, digest)


def _count_pages(path: Path) -> int:
    """Look at a file that others can still swap for a link or a FIFO."""
    with regular(path) as held:
        if lacking := whole.lacks(held):
            raise IncompleteError(f"This file seems cut off: {lacking}.", _TRANSFER)
        return _source(held).pages


def _render_page(path: Path, index: int, sizer: PageSizer, view: View) -> PageImage:
    """Draw a page, look at it, and draw it anew if it doesn't lie right."""
    import numpy as np

    source = _source(path)
    with _page_errors():
        width, height = source.shape(index)
        _check_size(width, height)
        first = Placement(width, height, view.turn or 0, view.skew, view.top, view.bottom)
        image, size = _drawn(source, index, sizer, first)
        facts = pagefacts.facts(np.asarray(image), first, stands=view.turn is not None)
        if facts.placement != first:
            image, size = _drawn(source, index, sizer, facts.placement)
        if view.layer:
            facts = replace(facts, layer=source.layer(index))
        dpi = round(_POINTS_PER_INCH * size.width / facts.placement.upright[0], 1)
        return PageImage(index, size, image.tobytes(), dpi, facts)


def _drawn(source: _Source, index: int, sizer: PageSizer, placement: Placement) -> tuple["Image.Image", PixelSize]:
    wide, high = placement.upright
    size = sizer(wide, high * (placement.bottom - placement.top))
    return source.draw(index, placement, size), size


def _layer_text(path: Path, index: int) -> str:
    source = _source(path)
    with _page_errors():
        return source.layer_text(index)


@contextlib.contextmanager
def _page_errors() -> Iterator[None]:
    """Translate what goes wrong with a page: MuPDF's errors and Pillow's have no common base but Exception."""
    try:
        yield
    except (MemoryError, PageError):
        raise
    except Exception as error:
        raise PageError(f"This page can't be rendered: {_plain(error)}.", _AGAIN) from error


_shared: Shared | None = None


def _share(memory: Shared) -> None:
    global _shared  # noqa: PLW0603 - given to each worker once, before its first work
    _shared = memory
    # Where this is installed pymupdf loads it, and a neural network with it: 60 MB and seconds that nobody needs here.
    sys.modules["pymupdf.layout"] = None  # type: ignore[assignment] # as the import system has it


def _prepare_page(  # noqa: PLR0913, PLR0917 - a page, what is to be made of it, and where to put that
    path: Path, index: int, sizer: PageSizer, prepare: PagePreparer, view: View, offset: int, room: int
) -> tuple[PageImage, int]:
    """Render a page, and write what the engine takes into its slot; returns what else is known, and the bytes."""
    from PIL import Image

    if _shared is None:
        raise AssertionError(offset)
    page = _render_page(path, index, sizer, view)
    if page.facts.blank:
        return replace(page, pixels=b""), 0
    image = Image.frombuffer("RGB", (page.size.width, page.size.height), page.pixels)
    with _shared.window(offset, room) as slot, memoryview(slot) as memory:
        length = prepare(image, memory)
    return replace(page, pixels=b""), length


def _figure_page(width: float, height: float) -> PixelSize:
    """Give the size at which a page is rendered to crop figures from it; sides in points."""
    scale = min(_FIGURE_DPI / _POINTS_PER_INCH, (_FIGURE_PAGE / (width * height)) ** 0.5)
    return PixelSize(max(1, round(width * scale)), max(1, round(height * scale)))


def _crop(path: Path, index: int, boxes: tuple[Box, ...], placement: Placement) -> list[bytes]:
    page = _upright(path, index, _figure_page, placement)
    return [_cropped(page, box) for box in boxes]


def _preview(path: Path, index: int, placement: Placement) -> bytes:
    page = _upright(path, index, _preview_page, placement)
    file = io.BytesIO()
    page.save(file, "WEBP", quality=_PREVIEW_QUALITY, method=6)
    return file.getvalue()


def _preview_page(width: float, height: float) -> PixelSize:
    scale = _PREVIEW_SIDE / max(width, height)
    return PixelSize(max(1, round(width * scale)), max(1, round(height * scale)))


def _upright(path: Path, index: int, sizer: PageSizer, placement: Placement) -> "Image.Image":
    """Render a page and turn it as it was turned for reading."""
    source = _source(path)
    with _page_errors():
        width, height = source.shape(index)
        image, _ = _drawn(source, index, sizer, replace(placement, width=width, height=height))
    return image


def _searchable(path: Path, pages: tuple[PageResult, ...]) -> bytes:
    import pymupdf

    from ocrd import searchable
    from ocrd.overlay import strips

    _source(path)  # knows how to complain
    try:
        with path.open("rb") as file:
            pdf = b"%PDF-" in file.read(1024)
        sizes = [_page_size(page) for page in pages]
        with pymupdf.open(path, filetype="pdf") if pdf else searchable.of_images(path, sizes) as document:
            return searchable.searchable(document, [strips(page) for page in pages])
    except MemoryError:
        raise
    except Exception as error:
        raise PageError(f"No PDF that can be searched can be made of this: {_plain(error, path)}.", _AGAIN) from error


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


def _open(path: Path) -> _Source:
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except PermissionError as error:
        raise DocumentError(
            "ocrd may not read this file: permission denied.", "Make it readable (chmod a+r) and drop it again."
        ) from error
    if not head:
        raise IncompleteError("This file is empty (0 bytes).", _TRANSFER)
    return _Pdf(path) if b"%PDF-" in head else _Images(path)


class _Pdf:
    kind = "pdf"

    def __init__(self, path: Path) -> None:
        import pymupdf

        pymupdf.TOOLS.mupdf_display_errors(False)
        pymupdf.TOOLS.mupdf_display_warnings(False)
        try:
            self._document = pymupdf.open(path, filetype="pdf")
            locked = self._document.needs_pass
            self.pages = 0 if locked else self._document.page_count
            sound = not self._document.is_repaired or whole.has_pdf_end(path)
        except MemoryError:
            raise
        except Exception as error:  # MuPDF's errors have no common base but this
            if not whole.has_pdf_end(path):
                raise _cut_off() from error
            raise DocumentError(f"This PDF can't be opened: {_plain(error, path)}.", _AGAIN) from error
        if not sound:  # MuPDF would show what is left, with pages or their contents missing
            raise _cut_off()
        if locked:
            raise DocumentError("This PDF asks for a password.", "Save a copy without the password and drop that.")
        if self.pages == 0:
            raise DocumentError("This PDF has no pages.", "Export it again from the program that made it.")

    def shape(self, index: int) -> tuple[float, float]:
        rect = self._document.load_page(index).rect
        return rect.width, rect.height

    def draw(self, index: int, placement: Placement, size: PixelSize) -> "Image.Image":
        import pymupdf

        page = self._document.load_page(index)
        rect, (wide, high) = page.rect, placement.upright
        share = placement.bottom - placement.top
        sheet = PixelSize(size.width, round(size.height / share))
        matrix = pymupdf.Matrix(1, 0, 0, 1, -(rect.x0 + rect.x1) / 2, -(rect.y0 + rect.y1) / 2)
        matrix *= pymupdf.Matrix(placement.turn + placement.skew)
        matrix *= pymupdf.Matrix(1, 0, 0, 1, wide / 2, high / 2)
        matrix *= pymupdf.Matrix(sheet.width / wide, sheet.height / high)
        pixmap = page.get_pixmap(matrix=matrix, colorspace=pymupdf.csRGB, alpha=False)
        return _part(_as_pillow(pixmap), sheet, placement, size)

    def layer(self, index: int) -> TextLayer | None:
        page = self._document.load_page(index)
        text = page.get_text("text")
        if not any(map(str.isalnum, text)):
            return None
        modes = [(span["type"], len(span["chars"])) for span in page.get_texttrace()]
        hidden = sum(count for mode, count in modes if mode == _INVISIBLE) / (sum(count for _, count in modes) or 1)
        return textlayer.judge(text, hidden)

    def layer_text(self, index: int) -> str:
        import pymupdf4llm

        with contextlib.redirect_stdout(io.StringIO()):  # it prints
            text: str = pymupdf4llm.to_markdown(self._document, pages=[index], use_ocr=False)
        return text


class _Images:
    def __init__(self, path: Path) -> None:
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = None  # the worker's memory is the limit: a large drawing is no bomb
        heif = _heif_can_be_read()
        try:
            self._image = Image.open(path, formats=[*_IMAGES, *(["HEIF"] if heif else [])])
            self.kind = (self._image.format or "").lower().replace("mpo", "jpeg")
            # The other pictures of a telephone's JPEG, or of an animated PNG or WebP, are no pages.
            self.pages = getattr(self._image, "n_frames", 1) if self.kind in ("tiff", "heif") else 1
        except MemoryError:
            raise
        except Exception as error:
            if not heif and _is_heif(path):
                raise DocumentError(
                    "This is a HEIC image, and ocrd was installed without a reader for those.",
                    "Install it (pip install 'ocrd[heic]'), or save the image as JPEG.",
                ) from error
            raise DocumentError(
                "This is no PDF and no image that ocrd knows (TIFF, JPEG, PNG, WebP, HEIC), whatever its name says.",
                "Open it in the program that it came from and save it as a PDF.",
            ) from error

    def shape(self, index: int) -> tuple[float, float]:
        from PIL import ImageOps

        try:
            self._image.seek(index)
            self._displayed = _on_paper(ImageOps.exif_transpose(self._image))
        except MemoryError:
            raise
        except Exception as error:
            raise PageError(f"This image can't be decoded: {_plain(error)}.", _AGAIN) from error
        dpi = _resolution(self._image)
        across, down = self._displayed.size
        return across * _POINTS_PER_INCH / dpi[0], down * _POINTS_PER_INCH / dpi[1]

    def draw(self, index: int, placement: Placement, size: PixelSize) -> "Image.Image":  # noqa: ARG002 - see protocol
        from PIL import Image

        image = self._displayed
        if placement.skew:  # a fax's pixels are no squares, and can't be turned a little as they are
            square = max(image.width / placement.width, image.height / placement.height)
            image = image.resize((round(placement.width * square), round(placement.height * square)))
        if placement.turn:
            turns = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
            image = image.transpose(turns[placement.turn])  # Pillow counts the other way
        if placement.skew:
            image = image.rotate(-placement.skew, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
        sheet = PixelSize(size.width, round(size.height / (placement.bottom - placement.top)))
        image = image.resize((sheet.width, sheet.height), Image.Resampling.LANCZOS, reducing_gap=2.0)
        return _part(image.convert("RGB"), sheet, placement, size)

    def layer(self, index: int) -> TextLayer | None:  # noqa: ARG002 - images have none
        return None

    def layer_text(self, index: int) -> str:
        raise AssertionError(index)


def _resolution(image: "Image.Image") -> tuple[float, float]:
    """Tell the dots per inch across and down, as displayed. A fax has twice as many across as down (ITU-T T.4)."""
    across, down = (float(value) for value in image.info.get("dpi", (0, 0)))
    if not all(_POINTS_PER_INCH <= value <= 2 * 1200 for value in (across, down)):
        across = down = _PAPER_DPI
    turned = image.getexif().get(_ORIENTATION, 1) in _LYING
    return (down, across) if turned else (across, down)


def _heif_can_be_read() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _is_heif(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in (
        b"heic",
        b"heix",
        b"hevc",
        b"hevx",
        b"heim",
        b"heis",
        b"mif1",
        b"msf1",
    )


def _on_paper(image: "Image.Image") -> "Image.Image":
    """Make an image of any mode grey or RGB: what is transparent is white paper, and 16 bits become 8."""
    from PIL import Image

    if image.mode.startswith("I"):  # convert() would cut the values off instead of scaling them
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


_TRANSFER = "Copy or scan it again; the transfer broke off."
_AGAIN = "Open it elsewhere to see whether it is whole; print it to a new PDF, or scan it again."


def _check_size(width: float, height: float) -> None:
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        metres = 0.0254 / _POINTS_PER_INCH
        raise PageError(
            f"This page is {width * metres:.2f} m wide and {height * metres:.2f} m high; PDF ends at 5.08 m.",
            "Print it to a new PDF on paper of a usual size.",
        )


def _cut_off() -> IncompleteError:
    return IncompleteError("This PDF is cut off: its end is missing.", _TRANSFER)


def _as_pillow(pixmap: "pymupdf.Pixmap") -> "Image.Image":
    from PIL import Image

    return Image.frombuffer("RGB", (pixmap.width, pixmap.height), pixmap.samples_mv, "raw", "RGB", pixmap.stride, 1)


def _part(image: "Image.Image", sheet: PixelSize, placement: Placement, size: PixelSize) -> "Image.Image":
    """Cut the wanted part out of a drawing of the whole sheet."""
    if image.size != (sheet.width, sheet.height):  # rounding of a page's odd size
        image = image.resize((sheet.width, sheet.height))
    if sheet == size:
        return image
    top = min(round(placement.top * sheet.height), sheet.height - size.height)
    return image.crop((0, top, size.width, top + size.height))


def _plain(error: Exception, path: Path | None = None) -> str:
    """Make a library's message fit into a sentence, without the path by which only we know the file."""
    text = str(error).replace(f"'{path}'", "it")
    return shown(" ".join(text.split()))[:200].rstrip(". ") or type(error).__name__
