"""The libraries that read letters, behind one form: words with their places. Runs in the workers."""

import statistics
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.etree import ElementTree as ET

from ocrd.display import pip
from ocrd.engines.cpu.languages import Letters
from ocrd.errors import ConfigError
from ocrd.rendering import torn_rows
from ocrd.rendering.page_layout import Word

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_WORD_CONFIDENCE = 50.0
"""Percent: words that Tesseract sees in the noise of a blank page come to 40 on average, words on paper to 95."""
_AS_MUCH = 0.95
"""Share of a page's letters that another way to read it must give, too."""


class Setup(NamedTuple):
    """What determines how a worker reads."""

    tessdata: str
    languages: tuple[str, ...]
    letters: Letters


@lru_cache(maxsize=2)  # another for scans with languages of their own
def reader(setup: Setup) -> "Tesseract | RapidOcr":
    """Load the library that is asked for. Raises ImportError, ConfigError, and RuntimeError for unusable data."""
    return RapidOcr() if setup.letters == "rapidocr" else Tesseract(setup)


class Tesseract:
    """Tesseract, through its own interface for C, with the languages that are asked for."""

    in_order = True
    """Words come in reading order, column by column."""

    def __init__(self, setup: Setup) -> None:
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


class RapidOcr:
    """RapidOCR, with the one model in its package."""

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
