"""The engine as the daemon sees it: languages, workers, and a page's way through two of them."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import TypeVar

import ocrd
from ocrd.concurrency.fair_window import Turn, Window
from ocrd.concurrency.worker_pool import Limits, WorkerError, Workers
from ocrd.engines.base import Engine, EngineInfo
from ocrd.engines.cpu import steps
from ocrd.engines.cpu.languages import Letters, chosen, installed_languages
from ocrd.engines.cpu.letters import Setup
from ocrd.engines.cpu.page_form import DPI, GREY, PLAIN_DPI, Greys, PageSizes, page_size
from ocrd.errors import ConfigError, DocumentError, EngineError, PageError
from ocrd.model import DEFAULT_APPROACH, Approach, PageImage, PageSizer, Reading, ReadWord, Rung
from ocrd.rendering import page_layout
from ocrd.rendering.page_layout import Word

R = TypeVar("R")

PLAIN_LANGUAGES = frozenset({"deu", "eng", "rus"})
"""Those in which scans of plain text were measured to lose nothing at fewer pixels."""
PAGE_SECONDS = 300.0
"""Seconds of processor time after which a page is given up; a dense one takes three."""
PAGE_MEMORY = 4 * 2**30
"""Bytes of address space for one worker; it needs a third of that for a dense page."""
PAGES_PER_LAYOUT = 25
"""After so many pages a worker with the layout model makes way for a fresh one: it keeps 4 MB of each dense page."""
PAGES_PER_WORKER = 500
"""The same of those that read letters, in case that their libraries keep something, too."""
_LAYOUT, _LETTERS = Turn(pages=0), Turn(pages=1)
"""What is to be done with a page: one that has been begun comes first."""


class CpuEngine(Engine):
    """Reads as many pages at once as it has workers. Keeps to `ocrd.engines.base.Engine`."""

    def __init__(self, languages: tuple[str, ...] = (), letters: Letters = "tesseract", workers: int = 0) -> None:
        """Prepare. `languages` are named as Tesseract does, () means all that it has; 0 `workers` means all cores."""
        self._languages = languages
        self._letters = letters
        count = workers or len(os.sched_getaffinity(0))
        self._pool = Workers(count, Limits(PAGE_SECONDS, PAGE_MEMORY, PAGES_PER_WORKER), steps.prepare)
        # To read the letters of a page takes twice as long, and half of the memory.
        limits = Limits(PAGE_SECONDS, PAGE_MEMORY, PAGES_PER_LAYOUT)
        self._layouts = Workers((count + 1) // 2, limits, steps.prepare, load=page_layout.load)
        self._door = Window(count)  # no more processes work at a time: each takes a core, and memory meanwhile
        self._tessdata: tempfile.TemporaryDirectory[str] | None = None
        self._info: EngineInfo | None = None

    @property
    def info(self) -> EngineInfo:
        """Valid once started."""
        if self._info is None:
            raise EngineError("The cpu engine is not running.", "Start it first.")
        return self._info

    @property
    def window(self) -> int:
        """One page for each worker: none of them waits in here, so priorities have nothing to order."""
        return self._pool.count

    @property
    def page_size(self) -> PageSizer:
        """300 dpi, or 225 for scans of plain text in some languages, within a limit."""
        plain = self._letters == "tesseract" and PLAIN_LANGUAGES.issuperset(self._languages)
        return PageSizes() if plain else page_size

    @property
    def prepare(self) -> Greys:
        """Grey is what letters are read from."""
        return Greys()

    @property
    def rungs(self) -> dict[Rung, Approach]:
        """None: a second look at the same pixels reads the same."""
        return {}

    async def start(self) -> None:
        """Find the languages, start the workers, and let one of them load its libraries."""
        installed = installed_languages()
        self._languages = chosen(self._languages, self._letters, installed)
        needed = {language: installed[language] for language in self._languages if language in installed}
        self._tessdata = tempfile.TemporaryDirectory(prefix="ocrd-tessdata-")
        for path in installed.values():  # Tesseract wants them all in one folder
            Path(self._tessdata.name, path.name).symlink_to(path)
        try:
            self._pool.load = partial(steps.load_letters, self._setup())
            program, versions = await self._run(steps.load)
            await self._layouts.run(steps.load_layout)
        except WorkerError as error:
            raise EngineError(
                f"The first worker of the cpu engine {error}.",
                "See the kernel's log; each worker needs 1 GiB of memory.",
            ) from error
        digest = hashlib.sha256(repr((ocrd.__version__, program, versions, self._languages)).encode())
        for path in needed.values():
            digest.update(path.read_bytes())
        self._info = EngineInfo(
            kind="cpu",
            model=f"{program} ({'+'.join(self._languages)})",
            version=f"pymupdf4llm {versions['pymupdf4llm']}",
            fingerprint=digest.hexdigest()[:16],
        )

    async def read(
        self,
        page: PageImage,
        *,
        priority: int = 0,  # noqa: ARG002 - see window
        approach: Approach = DEFAULT_APPROACH,
    ) -> Reading:
        """Read one page. A page that takes too long or kills its workers raises PageError, and costs no other page."""
        start = time.monotonic()
        size = page.size.width, page.size.height
        try:
            async with self._door.turn(_LETTERS):
                mode, pixels = ("RGB", page.pixels) if page.prepared is None else (GREY, bytes(page.prepared))
                page.free()
                known_as = page.index, hash(pixels)
                dpi = round(min(max(page.dpi, PLAIN_DPI), DPI))
                found = await self._run(
                    steps.read, mode, size, dpi, pixels, languages=approach.languages, about=known_as
                )
                del pixels
            text = found.text
            if found.picture:
                async with self._door.turn(_LAYOUT):
                    text = await self._layouts.run(steps.lay_out, found, size, about=known_as)
        except WorkerError as error:
            raise PageError(f"Reading this page {error}.", steps.REMEDY) from error
        seconds = time.monotonic() - start
        placed = tuple(_placed(word, *size) for word in found.words)
        return Reading(page.index, text, "stop", tokens=len(text), seconds=seconds, words=placed)

    def accept(self, approach: Approach) -> None:
        """Raise DocumentError for a prompt, and for languages that can't be read."""
        if approach.prompt is not None:
            raise DocumentError(
                f"The cpu engine takes no prompt, such as {approach.prompt!r}.", "Take it out of the scan's settings."
            )
        try:
            chosen(approach.languages or (), self._letters, installed_languages(), "the scan's settings")
        except ConfigError as error:
            raise DocumentError(error.what, error.remedy) from error

    async def close(self) -> None:
        """Kill the workers and remove the folder of languages. Pages under way are cancelled."""
        await self._pool.close()
        await self._layouts.close()
        if self._tessdata is not None:
            self._tessdata.cleanup()
            self._tessdata = None

    async def _run(
        self,
        function: Callable[..., R],
        *args: object,
        languages: tuple[str, ...] | None = None,
        about: Hashable = None,
    ) -> R:
        """Call `function(setup, *args)` in a worker; `about` is what it is known by when it is made again."""
        return await self._pool.run(function, self._setup(languages), *args, about=about)

    def _setup(self, languages: tuple[str, ...] | None = None) -> Setup:
        if self._tessdata is None:
            raise EngineError("The cpu engine is not running.", "Start it first.")
        return Setup(self._tessdata.name, languages or self._languages, self._letters)


def _placed(word: Word, width: int, height: int) -> ReadWord:
    sides = (word.left / width, word.right / width, word.baseline / height, word.height / height)
    return ReadWord(word.text, *(round(side, 5) for side in sides))
