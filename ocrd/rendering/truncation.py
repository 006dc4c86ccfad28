"""Whether a file has all of its bytes, as far as its format tells: what is still on its way looks cut off.

Only heads, tails and directories are read. Nothing here refuses a file: what seems to lack something is waited for.
"""

import mmap
import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

_HEAD = 1024
_TAIL = 2048
_JPEG_TAIL = 65_536
_TIFF_FRAMES = 10_000
_TIFF_LONGEST = 1 << 20
_TIFF_PLACES, _TIFF_LENGTHS = {273, 324}, {279, 325}
"""StripOffsets and TileOffsets, StripByteCounts and TileByteCounts."""
_TIFF_TYPES = {3: "H", 4: "I"}
_OBJECT = re.compile(rb"\d+ \d+ obj\b")
_VERSION = re.compile(rb"%PDF-[12]\.\d")
_RUBBISH = 16 * 2**20
"""Bytes before a PDF in which it is looked for."""
_LINEAR = re.compile(rb"/Linearized[^>]{0,200}?/L\s+(\d+)")


def lacks(path: Path) -> str:
    """Say in words what a file lacks; empty if it seems whole, or is of a kind that does not tell."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(_HEAD)
        if not head:
            return "it is empty so far"
        if not head.strip(b"\0"):
            return "it begins with nothing but zeros"
        return "" if _has_end(file, head, size) else "its end is missing"


def _has_end(file: BinaryIO, head: bytes, size: int) -> bool:
    if b"%PDF-" in head:
        return _pdf_has_end(head, size)
    if head.startswith(b"\xff\xd8\xff"):  # JPEG
        return b"\xff\xd9" in _tail(file, size, _JPEG_TAIL)
    if head.startswith(b"\x89PNG"):
        return b"IEND" in _tail(file, size, _TAIL)
    if head.startswith(b"RIFF"):  # WebP
        return size >= int.from_bytes(head[4:8], "little") + 8
    if head.startswith((b"II*\0", b"MM\0*")):
        return _tiff_has_end(file, size)
    return True


def has_pdf_end(path: Path) -> bool:
    """Whether a PDF ends as it must (ISO 32000-1, 7.5.5), with any rubbish behind but more of its objects."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        end = data.rfind(b"%%EOF")
        return end >= 0 and _OBJECT.search(data, end) is None


def has_pdf_behind_rubbish(path: Path) -> bool:
    """Whether a whole PDF begins somewhere in the first megabytes of a file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = _VERSION.search(data, 0, _RUBBISH) is not None
    return found and has_pdf_end(path)


def _tail(file: BinaryIO, size: int, length: int) -> bytes:
    file.seek(max(0, size - length))
    return file.read(length)


def _pdf_has_end(head: bytes, size: int) -> bool:
    """Compare with the length that a PDF made for the web tells (ISO 32000-1, F.3.1); its end mark comes early, too.

    Any other PDF tells only when it is parsed.
    """
    told = _LINEAR.search(head)
    return not told or int(told[1]) <= size


def _tiff_has_end(file: BinaryIO, size: int) -> bool:
    """Follow the directories of a TIFF, and see that they and all strips and tiles lie within the file (TIFF 6.0)."""
    file.seek(0)
    order = "<" if file.read(4).startswith(b"II") else ">"
    (place,) = struct.unpack(order + "I", file.read(4).ljust(4, b"\0"))
    if not place:
        return False  # a scanner writes its directory last
    seen: set[int] = set()
    while place and place not in seen and len(seen) < _TIFF_FRAMES:
        seen.add(place)
        file.seek(place)
        (entries,) = struct.unpack(order + "H", file.read(2).ljust(2, b"\0"))
        table = file.read(12 * entries + 4)
        if not entries or len(table) < 12 * entries + 4:
            return False
        if _tiff_end(file, table[:-4], order) > size:
            return False
        (place,) = struct.unpack(order + "I", table[-4:])
    return True


def _tiff_end(file: BinaryIO, table: bytes, order: str) -> int:
    """Find where the last strip or tile of one directory ends, in bytes from the start of the file."""
    values: dict[int, tuple[int, ...]] = {}
    for tag, kind, count, value in struct.iter_unpack(order + "HHI4s", table):
        if tag in _TIFF_PLACES | _TIFF_LENGTHS and kind in _TIFF_TYPES:
            form = f"{order}{count}{_TIFF_TYPES[kind]}"
            length = struct.calcsize(form)
            if length > _TIFF_LONGEST:
                return 0  # no scan has so many strips; whoever decodes it will tell
            if length > len(value):
                (start,) = struct.unpack(order + "I", value)
                file.seek(start)
                data = file.read(length)
                if len(data) < length:
                    return int(start) + length
            else:
                data = value[:length]
            values[tag] = struct.unpack(form, data)
    places: list[int] = [place for tag in sorted(_TIFF_PLACES & values.keys()) for place in values[tag]]
    lengths: list[int] = [length for tag in sorted(_TIFF_LENGTHS & values.keys()) for length in values[tag]]
    ends: list[int] = [place + length for place, length in zip(places, lengths, strict=False)]
    return max(ends, default=0)
