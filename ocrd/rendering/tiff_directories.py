"""The list of a TIFF's directories, one for each picture: followed byte by byte, since it tells what of a file is lost.

Each directory says where the next one is (TIFF 6.0, section 2; BigTIFF: libtiff's `tif_dirread.c`). A list that leads
out of the file was cut off, and one that leads back was spoiled; libraries read up to there and say nothing.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a TIFF begins, and a BigTIFF, in either order of bytes."""
_BIG = (b"+\0", b"\0+")
_MOST = 100_000
"""Directories; no scan has so many."""
_MOST_ENTRIES = 10_000
"""Of one directory; others have some twenty."""


class BrokenListError(ValueError):
    """The list of directories does not end as it must. Says how, as what the list does."""

    def __init__(self, how: str, count: int) -> None:
        """Take the number of directories before the break, too."""
        super().__init__(f"{how} after {count}")
        self.count = count


class CutOffError(BrokenListError):
    """It leads out of the file."""


class LoopError(BrokenListError):
    """It leads back to a directory that it had already, or goes on for ever."""


class Form(NamedTuple):
    """How a TIFF, or a BigTIFF, writes its numbers."""

    order: str
    """Byte order, as `struct` has it."""
    first: int
    """Where the place of the first directory stands."""
    entries: str
    """Of the number of entries."""
    offset: str
    entry: str

    def read(self, file: BinaryIO, form: str) -> int:
        """Read a number; 0 behind the end."""
        form = self.order + form
        (number,) = struct.unpack(form, file.read(struct.calcsize(form)).ljust(struct.calcsize(form), b"\0"))
        return int(number)


@dataclass(frozen=True, slots=True)
class Directory:
    """What is said of one picture."""

    form: Form
    table: bytes
    """Its entries as they stand in the file."""

    def entries(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Give each entry: tag, type, number of values, and the values or their place."""
        return struct.iter_unpack(self.form.order + self.form.entry, self.table)


def walk(file: BinaryIO) -> Iterator[Directory]:
    """Give a TIFF's directories in their order. Raises CutOffError, LoopError where they break off.

    Whoever takes them may read elsewhere in the file meanwhile.
    """
    size = os.fstat(file.fileno()).st_size
    form = _form(file)
    length = struct.calcsize(form.order + form.entry)
    file.seek(form.first)
    place = form.read(file, form.offset)
    seen: set[int] = set()
    while place or not seen:  # a scanner writes its directory last
        if place in seen or len(seen) == _MOST:
            raise LoopError("leads back into itself", len(seen))
        seen.add(place)
        file.seek(min(place, size))
        count = form.read(file, form.entries)
        table = file.read(length * min(count, _MOST_ENTRIES))
        if not 0 < place < size or not count or len(table) < length * count:
            raise CutOffError("breaks off", len(seen) - 1)
        following = file.tell()
        yield Directory(form, table)
        if following + struct.calcsize(form.order + form.offset) > size:
            raise CutOffError("breaks off", len(seen))  # where the next one is can't be read
        file.seek(following)
        place = form.read(file, form.offset)


def _form(file: BinaryIO) -> Form:
    file.seek(0)
    order = "<" if file.read(2) == b"II" else ">"
    big = file.read(2) in _BIG
    return Form(order, 8, "Q", "Q", "HHQ8s") if big else Form(order, 4, "H", "I", "HHI4s")
