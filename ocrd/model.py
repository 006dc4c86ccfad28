"""The records that pass between the rooms of ocrd. Frozen, and every field tells its unit."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Self


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file is known by from outside: as long as its stamp stays the same, we take it as unchanged."""

    dev: int
    """Number of the device that holds the file."""
    ino: int
    """Inode number on that device."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Last modification, nanoseconds since the epoch. Only compared, never trusted as a time."""

    @classmethod
    def of(cls, stat: os.stat_result) -> Self:
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Settled:
    """A file in an inbox that has stopped changing."""

    path: Path
    """Where it lies, absolute."""
    stamp: FileStamp
    """Its stamp, the same for the whole quiet time."""


@dataclass(frozen=True, slots=True)
class PixelSize:
    """The size of a page image."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""


PageSizer = Callable[[float, float], PixelSize]
"""From a page's width and height in points (1/72 inch, as displayed) to the image size that the engine wants.

Called in the render workers, so it must be picklable: a function of a module, or a `functools.partial` of one.
"""


@dataclass(frozen=True, slots=True)
class PageImage:
    """One rendered page, in memory only."""

    index: int
    """Position in the source, from 0."""
    size: PixelSize
    """Width and height of the image."""
    pixels: bytes
    """RGB, 8 bits a channel, rows from the top without padding: `3 * width * height` bytes."""
    dpi: float
    """Pixels per inch of the page as the source declares it; 0 where the source declares none."""
    ink: float
    """Share of the pixels that differ clearly from the paper, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the engine returned for one page image."""

    index: int
    """Position of the page in the source, from 0."""
    text: str
    """The text as the engine gave it, Markdown or the engine's own markup."""
    finish_reason: str
    """Why the engine stopped: `stop` (done), `length` (cut off), `repetition` (looped)."""
    tokens: int
    """Tokens generated; for engines without tokens, characters."""
    seconds: float
    """From the engine's taking the page to its answer."""


class Verdict(StrEnum):
    """What we hold of a reading."""

    OK = "ok"
    BLANK = "blank"
    REPEATED = "repeated"
    TRUNCATED = "truncated"
    SUSPECT = "suspect"
    FAILED = "failed"

    @property
    def sound(self) -> bool:
        """Whether a page with this verdict needs no attention from a person."""
        return self in (Verdict.OK, Verdict.BLANK)


class Box(NamedTuple):
    """Where something stands on a page image: shares of its width and height, from the upper left corner, 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class PageResult:
    """What became of one page."""

    index: int
    """Position in the source, from 0."""
    verdict: Verdict
    """What we hold of the reading."""
    reason: str
    """Why, in words for a person; empty for a page that is ok."""
    reading: Reading | None
    """What the engine returned; None where it was not asked or had no answer."""
    attempts: int
    """How often the page was read."""
    size: PixelSize | None = None
    """Of the page image that was read."""
    figures: tuple[str, ...] = ()
    """Names of the pictures cropped from the page, in reading order; empty for one that could not be cropped."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Self:
        """Read it back. Raises KeyError, TypeError or ValueError if it is damaged."""
        reading = Reading(**raw["reading"]) if raw["reading"] else None
        size = PixelSize(**raw["size"]) if raw["size"] else None
        figures = tuple(raw["figures"])
        return cls(raw["index"], Verdict(raw["verdict"]), raw["reason"], reading, raw["attempts"], size, figures)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of a source once a worker has opened it."""

    kind: str
    """`pdf`, or the name of the image format in lower case, by content and not by name."""
    pages: int
    """Number of pages, at least 1."""
    sha256: str
    """Of the whole file, in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Document:
    """A source that was read, page by page: all that its sidecar tells."""

    source: str
    """Path of the source relative to its inbox, as it was dropped."""
    facts: SourceFacts
    """What the file is."""
    pages: tuple[PageResult, ...]
    """One result for every page, in order."""
    engine: str
    """Kind of the engine that read it."""
    model: str
    """What read it, with version."""
    date: datetime
    """When it was finished, with time zone."""
    seconds: float
    """From the claim's start of work to the last page."""

    @property
    def problems(self) -> tuple[PageResult, ...]:
        """The pages that a person should look at."""
        return tuple(page for page in self.pages if not page.verdict.sound)

    @property
    def status(self) -> str:
        """`complete`, or `partial` where pages have problems."""
        return "partial" if self.problems else "complete"
