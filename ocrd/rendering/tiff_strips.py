"""The encoded data of a picture in a TIFF, strip by strip or tile by tile, for who looks whether they are whole."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ocrd.rendering.unopened import unusual_jpeg

_COMPRESSION, _FAX, _OLD_JPEG, _JPEG = 259, 4, 6, 7
_PLACES, _LENGTHS = (273, 324), (279, 325)
"""StripOffsets and TileOffsets, StripByteCounts and TileByteCounts (TIFF 6.0)."""
_TABLES = 347
"""JPEGTables: what all strips have in common, as a JPEG without pixels (TIFF Technical Note 2)."""
_STREAM, _STREAM_LENGTH = 513, 514
"""JPEGInterchangeFormat and its length: where an old one has a whole JPEG (TIFF 6.0, section 22)."""
_END = b"\xff\xd9"
_MARK = 2
"""Bytes with which a JPEG begins and ends."""


def is_fax(tags: Mapping[int, Any]) -> bool:
    """Whether the picture is encoded as a fax of group 4 (ITU-T T.6)."""
    return tags.get(_COMPRESSION) == _FAX


def strips(path: Path, tags: Mapping[int, Any]) -> Iterator[bytes]:
    """Read each strip, or tile, of the picture with these tags."""
    with path.open("rb") as file:
        for place, length in _extents(tags):
            file.seek(place)
            yield file.read(length)


def jpegs(path: Path, tags: Mapping[int, Any]) -> Iterator[bytes]:
    """Read each JPEG of which the picture is made, and that libjpeg decodes."""
    tables = bytes(tags.get(_TABLES) or b"")
    found = strips(path, tags) if tags.get(_COMPRESSION) == _JPEG else _old_jpegs(path, tags)
    whole = (tables[:-_MARK] + data[_MARK:] if tables else data for data in found)
    return (data for data in whole if not unusual_jpeg(data))


def _old_jpegs(path: Path, tags: Mapping[int, Any]) -> Iterator[bytes]:
    """Read the JPEG of which the only strip is the end, or stands elsewhere. Its length is missing in some files."""
    start, extents = tags.get(_STREAM), list(_extents(tags))
    if tags.get(_COMPRESSION) == _OLD_JPEG and isinstance(start, int) and len(extents) == 1:
        (place, length), told = extents[0], int(tags.get(_STREAM_LENGTH) or 0)
        with path.open("rb") as file:
            file.seek(start)
            if told and not start <= place < start + told:  # only what comes before the pixels
                head = file.read(told).removesuffix(_END)
                file.seek(place)
                yield head + file.read(length)
            else:
                yield file.read(max(0, place + length - start, told))


def _extents(tags: Mapping[int, Any]) -> Iterator[tuple[int, int]]:
    """Give the place and the length of each strip."""
    for places, lengths in zip(_PLACES, _LENGTHS, strict=True):
        yield from zip(tags.get(places, ()), tags.get(lengths, ()), strict=False)
