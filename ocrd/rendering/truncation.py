"""Whether a file has all of its bytes, as far as its format tells: what is still on its way looks cut off.

Only heads, tails and directories are read. Nothing here refuses a file: what seems to lack something is waited for.
"""

import mmap
import os
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from ocrd.rendering import tiff_directories

_HEAD = 1024
_TAIL = 2048
_JPEG_TAIL = 65_536
_TIFF_LONGEST = 1 << 20
_TIFF_PLACES, _TIFF_LENGTHS = {273, 324}, {279, 325}
"""StripOffsets and TileOffsets, StripByteCounts and TileByteCounts."""
_TIFF_TYPES = {3: "H", 4: "I", 16: "Q"}
_TIFF_NEEDED = {256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 320, 324, 325, 347, 519, 520, 521, 529, 530, 532}
"""Tags without which the pixels can't be read, or are others (TIFF 6.0)."""
_TIFF_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""How many a value of each type has."""
_OBJECT = re.compile(rb"\d+ \d+ obj\b")
_VERSION = re.compile(rb"%PDF-[12]\.\d")
_RUBBISH = 16 * 2**20
"""Bytes before a PDF in which it is looked for."""
_PNG, _PNG_END, _PNG_CHUNK = b"\x89PNG", b"IEND", 12
"""How a PNG begins, the name of its last chunk, and the bytes of a chunk beside its data (ISO/IEC 15948, 5.3)."""
_MARKS = {
    b"\xff\xd8\xff": (b"\xff\xd9", _JPEG_TAIL),
    b"\xff\x4f\xff\x51": (b"\xff\xd9", _TAIL),
    _PNG: (_PNG_END, _TAIL),
}
"""How JPEG, JPEG 2000 without boxes, and PNG begin; the mark of their end, and in how many of the last bytes it is."""
_FIRST_BOXES = (b"ftyp", b"jP  ", b"JXL ")
"""With which files of boxes begin (ISO/IEC 14496-12, 4.3; ISO/IEC 15444-1, annex I; ISO/IEC 18181-2)."""
_BMP, _GIF = b"BM", b"GIF8"
_SIDES = rb"\s+(?:#[^\n]*\n\s*)*(\d{1,9})" * 2
_PBM = re.compile(rb"P4" + _SIDES + rb"\s")
_PNM = re.compile(rb"P([56])" + _SIDES + rb"\s+(?:#[^\n]*\n\s*)*(\d{1,5})\s")
"""How PBM, PGM and PPM begin whose pixels are bytes: width, height, and of the latter kind and highest level."""
_LENGTHS: "dict[bytes, tuple[int, Literal['little', 'big']]]" = {b"RIFF": (4, "little"), b"AT&TFORM": (8, "big")}
"""How WebP and DjVu begin; where the length of what follows is told, and in which order of bytes."""
_MOST_CHUNKS, _MOST_BOXES = 100_000, 10_000
_PIXELS = frozenset(b"mdat jp2c jxlc jxlp".split())
_BOXES = _PIXELS.union(b"meta moov free skip uuid mpvd jp2i Exif brob jxli asoc".split(), [b"xml "])
"""Names of boxes with pixels, and of all that may come behind those."""
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
    if head.startswith(tiff_directories.MAGIC):
        return _tiff_has_end(file, size)
    if head[4:8] in _FIRST_BOXES:  # HEIC, AVIF, JPEG 2000, JPEG XL
        return _boxes_have_end(file, size)
    for start, (mark, length) in _MARKS.items():
        if head.startswith(start):
            return mark in _tail(file, size, length) or (start == _PNG and _png_has_end(file))
    if head.startswith(_GIF):
        return _tail(file, size, _TAIL).rstrip(b"\0").endswith(b";")
    return size >= declared(head)


def declared(head: bytes) -> int:
    """Give how many bytes a file has at least, if its head tells: of WebP, DjVu, BMP, PBM, PGM, PPM; else 0."""
    for start, (place, order) in _LENGTHS.items():
        if head.startswith(start):
            return place + 4 + int.from_bytes(head[place : place + 4], order)
    if head.startswith(_BMP):
        return int.from_bytes(head[2:6], "little")
    if found := _PBM.match(head):
        width, height = map(int, found.groups())
        return found.end() + (width + 7) // 8 * height  # a bit for each pixel
    if found := _PNM.match(head):
        kind, width, height, highest = map(int, found.groups())
        return found.end() + width * height * (3 if kind == 6 else 1) * (2 if highest > 255 else 1)  # noqa: PLR2004
    return 0


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
    declared = _LINEAR.search(head)
    return not declared or int(declared[1]) <= size


def _png_has_end(file: BinaryIO) -> bool:
    """Follow the chunks of a PNG, behind whose last any program may have written something of its own."""
    place = 8
    for _ in range(_MOST_CHUNKS):
        head = _at(file, place, 8)  # length and name
        if head[4:] in (_PNG_END, b""):
            break
        place += _PNG_CHUNK + int.from_bytes(head[:4])
    return head[4:] == _PNG_END


def _at(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(length)


def _boxes_have_end(file: BinaryIO, size: int) -> bool:
    """Follow the boxes of a file from length to length. The last may say that it goes on to the end of the file.

    Behind it any program may have written something of its own, which has none of their names.
    """
    place, has_pixels = 0, False
    for _ in range(_MOST_BOXES):
        if place >= size:
            return place == size
        head = _at(file, place, 16).ljust(16, b"\0")
        if has_pixels and head[4:8] not in _BOXES:
            return True
        has_pixels |= head[4:8] in _PIXELS
        length = int.from_bytes(head[:4])
        if length == 1:
            length = int.from_bytes(head[8:])
        if length < 8:  # noqa: PLR2004 - its own head; 0 stands for the rest of the file
            return True
        place += length
    return True


def _tiff_has_end(file: BinaryIO, size: int) -> bool:
    """See that the directories of a TIFF, and all strips and tiles, lie within the file (TIFF 6.0)."""
    try:
        for directory in tiff_directories.walk(file):
            if _tiff_end(file, size, directory) > size:
                return False
    except tiff_directories.CutOffError:
        return False
    except tiff_directories.LoopError:
        return True  # all bytes that it asks for are there
    return True


def _tiff_end(file: BinaryIO, size: int, directory: tiff_directories.Directory) -> int:
    """Find where the last strip or tile of one directory ends, or what else its pixels need, in bytes."""
    values: dict[int, tuple[int, ...]] = {}
    form, last = directory.form, 0
    for tag, kind, count, value in directory.entries():
        if tag not in _TIFF_NEEDED:
            continue
        length = count * _TIFF_BYTES.get(kind, 0)
        data = value[:length]
        if length > len(value):
            (place,) = struct.unpack(form.order + form.offset, value)
            last = max(last, place + length)
            data = _at(file, place, length) if length <= _TIFF_LONGEST and last <= size else b""
        if kind in _TIFF_TYPES and data:
            values[tag] = struct.unpack(f"{form.order}{count}{_TIFF_TYPES[kind]}", data)
    places: list[int] = [place for tag in sorted(_TIFF_PLACES & values.keys()) for place in values[tag]]
    lengths: list[int] = [length for tag in sorted(_TIFF_LENGTHS & values.keys()) for length in values[tag]]
    ends: list[int] = [place + length for place, length in zip(places, _not_too_long(lengths, values), strict=False)]
    return max(last, *ends, 0)


def _not_too_long(lengths: list[int], values: Mapping[int, Sequence[int]]) -> Iterator[int]:
    """Take no more of each strip than its rows need, where that is known: some writers give all the same length."""
    width, height, compression, samples, rows = (values.get(tag, (0,))[0] for tag in (256, 257, 259, 277, 278))
    bits, contiguous = values.get(258, (1,)), values.get(284, (1,)) == (1,)
    if compression != 1 or not rows or not contiguous or values.get(262) == (6,):  # packed, tiled, in planes, or YCbCr
        yield from lengths
        return
    row = -(-width * (sum(bits) if len(bits) > 1 else bits[0] * max(1, samples)) // 8)
    for number, length in enumerate(lengths):
        yield min(length, row * max(0, min(rows, height - number * rows)))
