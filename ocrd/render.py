"""Sources to page images, in worker processes with limits: the only place where a dropped file is opened.

A dropped file is hostile until it is rendered. A worker has a limit of memory, may write no file, and is killed when a
page takes too long; its death costs the page that it was at, and nothing else.
"""

import asyncio
import ctypes
import hashlib
import multiprocessing
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pebble import ProcessExpired, ProcessPool

from ocrd.errors import DocumentError, MachineError, PageError
from ocrd.fsio import machine_faults, shown
from ocrd.model import FileStamp, PageImage, PageSizer, PixelSize, SourceFacts

if TYPE_CHECKING:
    import pymupdf
    from PIL import Image

R = TypeVar("R")

LARGEST_SIDE = 14_400
"""Points: the largest page that PDF allows without a unit of its own, 5.08 m (ISO 32000-1, annex C.2)."""
_POINTS_PER_INCH = 72
_PAPER_DPI = 300
"""What an image is taken to be scanned at where it does not say, or says nonsense."""
_INK_DARKER = 64
"""Grey levels, of 256, by which a pixel must be darker than the paper to be ink: more than noise and shadow."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker may use."""

    page_seconds: float
    """Wall-clock seconds for one page, or for opening a source."""
    memory: int
    """Bytes of address space."""


class Renderer:
    """A pool of render workers. Methods are coroutines of one event loop."""

    def __init__(self, workers: int, limits: Limits) -> None:
        """Prepare the pool; the workers start with the first page."""
        self.workers = workers
        self._limits = limits
        self._pool = ProcessPool(
            max_workers=workers,
            initializer=_confine,
            initargs=[limits.memory],
            context=multiprocessing.get_context("spawn"),  # the daemon has threads, so no fork
        )

    async def open(self, path: Path) -> SourceFacts:
        """Find out what a source is. Raises DocumentError if it can't be read as one."""
        try:
            return await self._run(_open_source, path)
        except (TimeoutError, ProcessExpired, MemoryError) as error:
            raise DocumentError(
                f"Opening this file {_how_it_died(error, self._limits)}.",
                "It is damaged or made to do harm; print it to a new PDF, or scan it again.",
            ) from error

    async def count_pages(self, path: Path) -> int:
        """Count the pages of a file that is not ours yet; whatever is wrong with it counts as one page."""
        try:
            return await self._run(_count_pages, path)
        except (DocumentError, MachineError, TimeoutError, ProcessExpired, MemoryError):
            return 1

    async def page(self, path: Path, index: int, sizer: PageSizer) -> PageImage:
        """Render one page at the size that `sizer` wants. Raises PageError, DocumentError if the file went bad."""
        try:
            return await self._run(_render_page, path, index, sizer)
        except (TimeoutError, ProcessExpired, MemoryError) as error:
            raise PageError(
                f"Rendering this page {_how_it_died(error, self._limits)}.",
                "Print the page to a new PDF, or scan it again.",
            ) from error

    async def _run(self, function: Callable[..., R], path: Path, *args: Any) -> R:  # noqa: ANN401 - passed through
        for last in (False, True):
            future = self._pool.schedule(function, args=(path, *args), timeout=self._limits.page_seconds)
            try:
                return await asyncio.wrap_future(future)
            except (TimeoutError, MemoryError):
                raise
            except OSError as error:
                with machine_faults("read", path):
                    raise error from None
            except ProcessExpired:  # perhaps the kernel was short of memory: not the page's fault the first time
                if last:
                    raise
        raise AssertionError

    async def close(self) -> None:
        """Stop the workers; pages under way are given up."""
        self._pool.stop()
        await asyncio.to_thread(self._pool.join)


def _how_it_died(error: Exception, limits: Limits) -> str:
    match error:
        case TimeoutError():
            return f"took longer than {limits.page_seconds:g} s"
        case MemoryError():
            return f"needed more than {limits.memory // 2**20} MiB of memory"
        case _:
            return f"killed the worker twice ({error})"


# What follows runs in the workers.


class _Source(Protocol):
    kind: str

    @property
    def pages(self) -> int: ...

    def render(self, index: int, sizer: PageSizer) -> PageImage: ...


def _confine(memory: int) -> None:
    """Limit this worker before it sees a file, and let it die with the daemon."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's to handle
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


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
    return _source(path).pages


def _render_page(path: Path, index: int, sizer: PageSizer) -> PageImage:
    return _source(path).render(index, sizer)


def _open(path: Path) -> _Source:
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except PermissionError as error:
        raise DocumentError(
            "ocrd may not read this file: permission denied.", "Make it readable (chmod a+r) and drop it again."
        ) from error
    if not head:
        raise DocumentError("This file is empty (0 bytes).", "Scan or copy it again; the transfer may have broken off.")
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
        except MemoryError:
            raise
        except Exception as error:  # MuPDF's errors have no common base but this
            raise DocumentError(f"This PDF can't be opened: {_plain(error)}.", _AGAIN) from error
        if locked:
            raise DocumentError("This PDF asks for a password.", "Save a copy without the password and drop that.")
        if self.pages == 0:
            raise _no_pages(path)

    def render(self, index: int, sizer: PageSizer) -> PageImage:
        import pymupdf

        try:
            page = self._document.load_page(index)
            width, height = page.rect.width, page.rect.height
            _check_size(width, height)
            size = sizer(width, height)
            scale = pymupdf.Matrix(size.width / width, size.height / height)
            pixmap = page.get_pixmap(matrix=scale, colorspace=pymupdf.csRGB, alpha=False)
        except (MemoryError, PageError):
            raise
        except Exception as error:
            raise PageError(f"This page can't be rendered: {_plain(error)}.", _AGAIN) from error
        return _page_image(index, _as_pillow(pixmap), size, dpi=_POINTS_PER_INCH * size.width / width)


class _Images:
    def __init__(self, path: Path) -> None:
        from PIL import Image

        try:
            self._image = Image.open(path, formats=["TIFF", "JPEG", "PNG"])
            self.pages = getattr(self._image, "n_frames", 1)
        except MemoryError:
            raise
        except Exception as error:
            raise DocumentError(
                "This is no PDF and no image that ocrd knows (TIFF, JPEG, PNG), whatever its name says.",
                "Open it in the program that it came from and save it as a PDF.",
            ) from error
        self.kind = (self._image.format or "").lower()

    def render(self, index: int, sizer: PageSizer) -> PageImage:
        from PIL import Image, ImageOps

        try:
            self._image.seek(index)
            image = ImageOps.exif_transpose(self._image).convert("RGB")
        except MemoryError:
            raise
        except Exception as error:
            raise PageError(f"This image can't be decoded: {_plain(error)}.", _AGAIN) from error
        dpi = float(self._image.info.get("dpi", (0, 0))[0])
        if not _POINTS_PER_INCH <= dpi <= 2 * 1200:
            dpi = _PAPER_DPI
        width, height = (side * _POINTS_PER_INCH / dpi for side in image.size)
        _check_size(width, height)
        size = sizer(width, height)
        image = image.resize((size.width, size.height), Image.Resampling.LANCZOS, reducing_gap=2.0)
        return _page_image(index, image, size, dpi=_POINTS_PER_INCH * size.width / width)


_AGAIN = "Open it elsewhere to see whether it is whole; print it to a new PDF, or scan it again."


def _check_size(width: float, height: float) -> None:
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE):
        metres = 0.0254 / _POINTS_PER_INCH
        raise PageError(
            f"This page is {width * metres:.2f} m wide and {height * metres:.2f} m high; PDF ends at 5.08 m.",
            "Print it to a new PDF on paper of a usual size.",
        )


def _no_pages(path: Path) -> DocumentError:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2048))
        whole = b"%%EOF" in file.read()
    if whole:
        return DocumentError("This PDF has no pages.", "Export it again from the program that made it.")
    return DocumentError("This PDF is cut off: its end is missing.", "Copy or scan it again; the transfer broke off.")


def _as_pillow(pixmap: "pymupdf.Pixmap") -> "Image.Image":
    from PIL import Image

    return Image.frombuffer("RGB", (pixmap.width, pixmap.height), pixmap.samples_mv, "raw", "RGB", pixmap.stride, 1)


def _page_image(index: int, image: "Image.Image", size: PixelSize, dpi: float) -> PageImage:
    if image.size != (size.width, size.height):  # rounding of a page's odd size
        image = image.resize((size.width, size.height))
    return PageImage(index, size, image.tobytes(), round(dpi, 1), _ink(image))


def _ink(image: "Image.Image") -> float:
    """Share of the pixels that are clearly darker than the paper, which is taken to be the brighter half's middle."""
    histogram = image.convert("L").reduce(2).histogram()
    total, seen, paper = sum(histogram), 0, 255
    while paper > 0 and seen < total // 4:
        seen += histogram[paper]
        paper -= 1
    return sum(histogram[: max(0, paper - _INK_DARKER)]) / total


def _plain(error: Exception) -> str:
    """Make a library's message fit into a sentence."""
    return shown(" ".join(str(error).split()))[:200].rstrip(". ") or type(error).__name__
