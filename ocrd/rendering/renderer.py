"""Sources to page images, in worker processes with limits: the only place where a dropped file is opened.

A dropped file is hostile until it is rendered. A worker has a limit of memory, may write no file, and is killed when a
page takes too long; its death costs the page that it was at, and nothing else.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from ocrd.concurrency.fair_window import Turn, Window
from ocrd.concurrency.shared_memory import Slots
from ocrd.concurrency.worker_pool import Limits, WorkerError, Workers
from ocrd.concurrency.worker_process import StallError
from ocrd.display import shown
from ocrd.errors import DocumentError, IncompleteError, MachineError, PageError
from ocrd.model import Box, Opening, PageImage, PagePreparer, PageResult, PageSizer, Placement, SourceFacts, View
from ocrd.rendering import tasks
from ocrd.storage.os_errors import stray_faults
from ocrd.storage.safe_paths import NotRegularError

R = TypeVar("R")

IMAGES = 512 * 2**20
"""Most bytes of prepared page images on their way to the engine."""
_PAGES_IN_TIME = 50
"""Pages of a PDF that can be written in the time that one page may take."""
_PRINT_OR_SCAN = "Print the page to a new PDF, or scan it again."
AS_IT_SEEMS = View()
"""All of the page, set right as far as it seems to need that."""


@contextlib.contextmanager
def _limits_told(doing: str, remedy: str, kind: type[DocumentError | PageError] = PageError) -> Iterator[None]:
    """Say what a worker was at when it ran into a limit or died, and what a person can do."""
    try:
        yield
    except WorkerError as error:
        raise kind(f"{doing} {error}.", remedy) from error


class Renderer:
    """A pool of render workers. Methods are coroutines of one event loop."""

    def __init__(self, workers: int, limits: Limits, images: int = IMAGES) -> None:
        """Prepare the pool, with at most so many bytes of prepared images; the workers start with the first page."""
        self.workers = workers
        self._seconds = limits.seconds
        self._slots = Slots(images)
        self._door = Window(2 * workers)  # so that a page that is urgent does not wait behind all others
        self.how = Opening()
        """How sources are opened."""
        self._pool = Workers(workers, limits, tasks.share, [self._slots.shared.fd], tasks.load)
        self._tell: Callable[[StallError], None] = lambda _: None

    def telling(self, tell: Callable[[StallError], None]) -> Self:
        """Return the same workers, for who is to be told at once when what they read does not answer.

        Whoever called then may hear of it much later, if it must first come to the end of something else there.
        """
        other = copy(self)
        other._tell = tell  # noqa: SLF001 - of another one of this class
        return other

    def opening(self, how: Opening) -> Self:
        """Return the same pool, which opens sources in another way."""
        other = copy(self)
        other.how = how
        return other

    async def open(self, path: Path) -> SourceFacts:
        """Find out what a source is. Raises DocumentError if it can't be read as one, MachineError."""
        remedy = "It is damaged or made to do harm; print it to a new PDF, or scan it again."
        with _limits_told("Opening this file", remedy, DocumentError):
            return await self._run(tasks.open_source, path)

    async def count_pages(self, path: Path) -> int:
        """Count the pages of a file that is not ours yet; whatever is wrong with it counts as one page.

        Raises IncompleteError if it looks as if more of it were to come, StallError if it does not answer.
        """
        try:
            return await self._run(tasks.count_pages, path)
        except (IncompleteError, StallError):
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

        `sizer` says at which size; the lowest priority is rendered first (`FairQueue`). A prepared image stands in
        shared memory, of which there is only so much: it is to be freed soon. A blank page is not prepared. One that
        runs into a limit is drawn again at half the size. Raises PageError, DocumentError if the file went bad.
        """
        with _limits_told("Rendering this page", _PRINT_OR_SCAN):
            async with self._door.turn(Turn(pages=priority)):
                try:
                    image = await self._drawn(path, index, sizer, prepare, view)
                except WorkerError:  # a lack of memory can be a crash, too
                    view = replace(view, coarse=True)
                    image = await self._drawn(path, index, sizer, prepare, view)
        again = partial(self.page, path, index, sizer, prepare, view, priority=priority)
        return replace(image, again=again) if image.prepared is not None else image

    async def _drawn(
        self, path: Path, index: int, sizer: PageSizer, prepare: PagePreparer | None, view: View
    ) -> PageImage:
        if prepare is None:
            return await self._run(tasks.render_page, path, index, sizer, view)
        return await self._prepared(path, index, sizer, prepare, view)

    async def layer(self, path: Path, index: int, placement: Placement) -> str:
        """Take a PDF page's own text, as Markdown with the place of each block, on the page as it was turned.

        Raises PageError, DocumentError if the file went bad.
        """
        with _limits_told("Taking the text of this page", "Print the page to a new PDF."):
            return await self._run(tasks.layer_text, path, index, placement)

    async def _prepared(self, path: Path, index: int, sizer: PageSizer, prepare: PagePreparer, view: View) -> PageImage:
        slot = await self._slots.take(prepare.room)
        try:
            image, length = await self._run(
                tasks.prepare_page, path, index, sizer, prepare, view, slot.offset, self._slots.room
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
        with _limits_told("Cropping the figures of this page", _PRINT_OR_SCAN):
            return await self._run(tasks.crop, path, index, tuple(boxes), placement)

    async def preview(self, path: Path, index: int, placement: Placement, *, small: bool = False) -> bytes:
        """Render a page for a person to look at, upright as its placement says, as WebP. Raises PageError."""
        side = tasks.THUMBNAIL_SIDE if small else tasks.PREVIEW_SIDE
        with _limits_told("Rendering this page", "Open the original."):
            return await self._run(tasks.preview, path, index, placement, side)

    async def searchable(self, path: Path, pages: Sequence[PageResult], only: Sequence[int], pipe: int) -> None:
        """Write into a pipe a PDF of the source, with the text of its pages invisible over them.

        Raises PageError if that can't be made.
        `pages` holds one for each page of the source; `only` those, by their index, that are wanted, if not all are.
        """
        with _limits_told("Making a PDF that can be searched", "Set render.memory higher."):
            seconds = self._seconds * (1 + len(pages) / _PAGES_IN_TIME)
            await self._run(tasks.make_searchable, path, tuple(pages), tuple(only), seconds=seconds, pipe=pipe)

    async def exchange_searchable(  # noqa: PLR0913, PLR0917 - a PDF, and what is to stand where in it
        self, path: Path, delivered: Path, pages: Sequence[PageResult], places: Mapping[int, int], total: int, pipe: int
    ) -> None:
        """Write into a pipe a PDF of `total` pages that `searchable` made before, with other pages. Raises PageError.

        `pages` holds one for each page of the source; `places` tells of those that are fresh, by their index, where in
        that PDF they stand.
        """
        with _limits_told("Changing the PDF that can be searched", "Set render.memory higher."):
            seconds = self._seconds * (1 + len(pages) / _PAGES_IN_TIME)
            arguments = (delivered, tuple(pages), dict(places), total)
            await self._run(tasks.exchange_searchable, path, *arguments, seconds=seconds, pipe=pipe)

    async def close(self) -> None:
        """Stop the workers; pages under way are given up."""
        await self._pool.close()
        self._slots.close()

    async def _run(
        self,
        function: Callable[..., R],
        path: Path,
        *args: object,
        seconds: float | None = None,
        pipe: int | None = None,
    ) -> R:
        about = (function.__name__, path, *(one for one in args[:1] if isinstance(one, int)))  # the page
        with stray_faults("read", path):
            try:
                call = tasks.on_source, self.how, function, path
                return await self._pool.run(*call, *args, seconds=seconds, about=about, pipe=pipe)
            except StallError as error:
                stall = StallError(f"Reading {shown(path)}: {error.what}", error.remedy)
                self._tell(stall)
                raise stall from error
