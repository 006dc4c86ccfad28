"""What a file may be by its name, and the order in which people count names."""

import re

IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        "tif", "tiff", "jpg", "jpeg", "jpe", "jfif", "png", "webp", "heic", "heif", "avif",
        "jp2", "j2k", "jxl", "djvu", "djv", "bmp", "gif", "pbm", "pgm", "ppm",
    )
)  # fmt: skip
"""Sources that hold pictures; they can be joined into one document."""


_NUMBER = re.compile(r"([0-9]+)")


def in_order(name: str) -> tuple[tuple[object, ...], str]:
    """Give the key by which names are sorted as people count: `page-2` before `page-10`."""
    parts = _NUMBER.split(name.casefold())
    return tuple(int(part) if at % 2 else part for at, part in enumerate(parts)), name


SOURCE_SUFFIXES = IMAGE_SUFFIXES | {".pdf"}
"""What is taken for a source, by its name; what it really is shows only when it is opened."""


DUPLEX_FOLDER = ".duplex"
"""How the name of a folder ends that holds a duplex scan: a file of fronts, and one of backs, last first."""


_SUFFIXES = frozenset(suffix.removeprefix(".") for suffix in SOURCE_SUFFIXES)


_TEMPORARY_STARTS = (".", "~$")


def is_source_name(name: str) -> bool:
    """Whether a file of this name can be a source.

    Names of copies under way (`scan.pdf.part`, `.scan.pdf.x8Ff2a`, `~$scan.pdf`) are not: their own suffix or their
    first character gives them away.
    """
    stem, _, suffix = name.rpartition(".")
    return suffix.lower() in _SUFFIXES and bool(stem) and not name.startswith(_TEMPORARY_STARTS)
