"""The records that pass between the rooms of ocrd. Frozen, and every field tells its unit."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self


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
