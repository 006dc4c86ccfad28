"""Which languages can be read on this machine, and how to have more."""

import os
import sys
from pathlib import Path
from typing import Literal

from ocrd.display import pip
from ocrd.errors import ConfigError

Letters = Literal["tesseract", "rapidocr"]
"""What reads the letters."""

RAPIDOCR_LANGUAGES = ("chi_sim", "chi_tra", "eng", "jpn")
"""What the model in RapidOCR's package is good at. It drops the letters that it lacks (Cyrillic, Hangul) silently."""
PYPI_LANGUAGES = ("deu", "eng", "jpn")
"""Languages with a package `tessdata-fast-...` on PyPI. Debian has a package for each language of Tesseract."""


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


def chosen(
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
