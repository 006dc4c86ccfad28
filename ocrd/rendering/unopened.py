"""Why a file can't be opened as an image: told by its first bytes, in the words of a person."""

import re
import struct
from collections.abc import Collection
from pathlib import Path

from ocrd.display import pip
from ocrd.errors import DocumentError
from ocrd.rendering.source import AGAIN

_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
"""How JPEG XL begins, bare and in boxes (ISO/IEC 18181-2)."""
_JPEG = b"\xff\xd8\xff"
_MAGIC = {
    "JPEG": _JPEG,
    "PNG": b"\x89PNG\r\n\x1a\n",
    "GIF": b"GIF8",
    "JPEG 2000": b"\0\0\0\x0cjP  ",
    "WebP": b"RIFF....WEBP",
    "BMP": b"BM....\0\0\0\0",
    "AVIF": b"....ftypavi[fs]",
}
"""How they begin; a point stands for any byte."""
_HEIF_BRANDS = frozenset(b"heic heix hevc hevx heim heis mif1 msf1".split())
"""The brands by which such a file tells what it is (ISO/IEC 23008-12)."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}
"""Marks behind which a JPEG tells how it has its pixels, and JPEG-LS (ITU-T T.81, table B.1; ITU-T T.87)."""
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF, 0xF7)
_USUAL_BITS = 8
_USUAL_CHANNELS = (0, 1, 3, 4)
"""None are told only by damaged ones."""
_HEAD = 65_536


def why(path: Path, readers: Collection[str]) -> DocumentError:
    """Say of a file that is neither PDF nor TIFF why no image could be read from it by Pillow, with these plugins."""
    head = first_bytes(path)
    is_heif = head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS
    if "HEIF" not in readers and is_heif:
        return DocumentError(
            "This is a HEIC image, and ocrd was installed without a reader for those.",
            f"Install it ({pip('pillow-heif')}), or save the image as JPEG.",
        )
    if "JXL" not in readers and head.startswith(_JXL):
        return DocumentError(
            "This is a JPEG XL image, and no reader for those is installed.",
            f"Install one ({pip('pillow-jxl-plugin')}), or save the image as PNG.",
        )
    if kind := unusual_jpeg(first_bytes(path, _HEAD)):
        return DocumentError(f"This is a JPEG {kind}, which ocrd can't read.", "Save it as PNG.")
    if head.startswith(_JXL) or is_heif:
        return DocumentError("This image can't be opened: it is cut off, or damaged.", AGAIN)
    if known := next((name for name, magic in _MAGIC.items() if re.match(magic, head, re.DOTALL)), ""):
        what = f"This {known} can't be opened: what its first bytes say is damaged, or of an unknown kind."
        return DocumentError(what, AGAIN)
    return DocumentError(
        "This is no PDF and no image that ocrd knows (TIFF, JPEG, PNG, WebP, HEIC, JPEG 2000, DjVu, GIF, BMP and"
        " others), whatever its name says.",
        "Open it in the program that it came from and save it as a PDF.",
    )


def first_bytes(path: Path, count: int = 16) -> bytes:
    """Read what tells of what kind a file is."""
    with path.open("rb") as file:
        return file.read(count)


def unusual_jpeg(data: bytes) -> str:
    """Say what a JPEG has that few readers know; empty for others, and for what is none."""
    place = 2
    while data.startswith(_JPEG) and place + 10 <= len(data) and data[place] == 0xFF:  # noqa: PLR2004 - any mark
        mark, length, bits, _, _, channels = struct.unpack_from(">xBHBHHB", data, place)
        if mark in _LOSSLESS:
            return "without loss"
        if mark in _FRAMES and bits != _USUAL_BITS:
            return f"of {bits} bits"
        if mark in _FRAMES:
            return "" if channels in _USUAL_CHANNELS else f"of {channels} channels"
        place += 2 + length
    return ""
