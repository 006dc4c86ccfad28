"""TIFFs as scanners, microscopes and printers write them: 12 to 64 bits, floating point, planes, odd colour maps.

Pillow reads the usual ones; of the others it makes something black, inverted or nothing. Those are read by tifffile.
"""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocrd.rendering import tiff_directories

if TYPE_CHECKING:
    import numpy as np
    import tifffile
    from PIL import Image

    Array = np.ndarray[Any, Any]

ORIENTATION = 274
"""TIFF's Orientation, which is EXIF's, too (TIFF 6.0; Exif 3.0, 4.6.4)."""
LYING = (5, 6, 7, 8)
"""Values of it that turn a picture by a quarter."""
_BITS, _COLOUR_MAP = 258, 320
"""TIFF's BitsPerSample and ColorMap."""
_JPEGS = (6, 7, 33_007, 34_892)
"""Values of Compression of which tifffile makes RGB; the last two stand in medical and in raw photographs."""
_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType: a thumbnail, and what tells which pixels of another image count."""
_LEVELS = 255
_BEYOND = 100
"""How many times as bright as nearly all levels one is that is a mistake."""
_SIXTEEN = 257
"""From 8 to 16 bits."""


def pages(path: Path) -> list[int]:
    """List which images of a TIFF are pages, by place: at least one. Raises as tifffile does, ValueError."""
    import tifffile

    count, _ = _listed(path)
    with tifffile.TiffFile(path) as file:
        kinds = [int(getattr(page, "subfiletype", 0)) for page in islice(file.pages, count)]
    if not kinds:
        raise ValueError("its directory is missing")
    wanted = [place for place, kind in enumerate(kinds) if not kind & (_REDUCED | _MASK)]
    return wanted or list(range(len(kinds)))


def lost(path: Path) -> str:
    """Say why a TIFF may have had more pages than can be found; empty for one whose list of pictures is whole."""
    _, broken = _listed(path)
    return f"Pages of this TIFF may be missing: its list of pictures {broken}." if broken else ""


def _listed(path: Path) -> tuple[int, str]:
    """Count the pictures in a TIFF's list, and say how it breaks off, if it does."""
    with path.open("rb") as file:
        try:
            return sum(1 for _ in tiff_directories.walk(file)), ""
        except tiff_directories.BrokenListError as error:
            return error.count, str(error)


def is_usual(image: "Image.Image") -> bool:
    """Whether Pillow's idea of the TIFF's image that it shows is right."""
    tags = image.tag_v2  # type: ignore[attr-defined] # of a TiffImageFile
    bits, raw = tags.get(_BITS, (1,)), image.info.get("compression") == "raw"
    if raw and (image.mode == "YCbCr" or tags.get(ORIENTATION) in LYING):
        return False  # of those it does not know colours in less detail, and of these takes rows for columns
    return max(bits) <= 8 and image.mode not in ("I", "F", "La") and not _has_short_map(tags.get(_COLOUR_MAP, ()))  # noqa: PLR2004


def _has_short_map(colours: Sequence[int]) -> bool:
    """Whether a colour map ends at 255 instead of 65,535, as some scanners write it."""
    return 0 < max(colours, default=0) <= _LEVELS


def decoded(path: Path, place: int) -> "Image.Image":
    """Decode one image of a TIFF as grey or RGB of 8 bits; what is transparent is paper. Raises what tifffile does.

    How it lies is told as by EXIF.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        page: Any = file.pages[place]
        if not all(page.databytecounts):  # tifffile would leave black what is missing
            raise ValueError("parts of it are missing")
        image = _shown(page)
        image.getexif()[ORIENTATION] = page.tags.valueof(ORIENTATION, 1)
    return image


def _shown(page: "tifffile.TiffPage") -> "Image.Image":
    import numpy as np
    import tifffile
    from PIL import Image

    kind = _kind(page)
    pixels = _of_blocks(page) if kind == "YCBCR" and _has_blocks(page) else page.asarray()
    extra = [getattr(sample, "name", "") for sample in page.extrasamples]
    separate = page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim > 2  # noqa: PLR2004
    colours = getattr(page, "colormap", None)
    if kind == "PALETTE" and colours is not None:
        levels = colours.T // (1 if _has_short_map(colours.ravel().tolist()) else _SIXTEEN)
        return Image.fromarray(levels.astype(np.uint8)[pixels.view(np.uint8) if pixels.dtype == bool else pixels])
    pixels = np.moveaxis(pixels, 0, -1) if separate else pixels
    levels = _eight_bits(np.atleast_3d(pixels), _bits(page))
    shades = levels[..., : levels.shape[-1] - len(extra)]
    image = _as_image(_LEVELS - shades if kind == "MINISWHITE" else shades, kind)
    if extra and extra[0].endswith("ALPHA") and kind != "SEPARATED":
        alpha = Image.fromarray(levels[..., shades.shape[-1]])
        return Image.composite(image, Image.new(image.mode, image.size, "white"), alpha)
    return image


def _has_blocks(page: "tifffile.TiffPage") -> bool:
    plain = page.compression == 1 and page.planarconfig == 1 and not page.is_tiled
    return plain and page.subsampling not in (None, (1, 1))


def _of_blocks(page: "tifffile.TiffPage") -> "Array":
    """Decode YCbCr whose colours stand once for a block of pixels, behind these (TIFF 6.0, section 21)."""
    import numpy as np

    across, down = page.subsampling or (1, 1)
    wide = -(-page.imagewidth // across)
    extents = zip(page.dataoffsets, page.databytecounts, strict=True)
    data = b"".join(os.pread(page.parent.filehandle.fileno(), length, place) for place, length in extents)
    blocks = np.frombuffer(data, np.uint8).reshape(-1, wide, down * across + 2)
    light = blocks[..., :-2].reshape(-1, wide, down, across).swapaxes(1, 2).reshape(-1, wide * across)
    colours = blocks[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    return np.dstack([light, colours])[: page.imagelength, : page.imagewidth]


def _kind(page: "tifffile.TiffPage") -> str:
    """Tell what the samples mean that tifffile decodes. Raises ValueError."""
    import tifffile

    kind = tifffile.PHOTOMETRIC(page.photometric)
    return "RGB" if kind == tifffile.PHOTOMETRIC.YCBCR and int(page.compression) in _JPEGS else kind.name


def _bits(page: "tifffile.TiffPage") -> int:
    """Tell how many bits a level has; where they differ, as in RGB of 5, 6 and 5, tifffile makes eight of them."""
    return page.bitspersample if isinstance(page.bitspersample, int) else 8


def _as_image(shades: "Array", kind: str) -> "Image.Image":
    from PIL import Image

    if kind == "SEPARATED":
        return Image.fromarray(shades[..., :4].copy(), "CMYK").convert("RGB")
    if kind == "YCBCR":
        return Image.fromarray(shades[..., :3].copy(), "YCbCr").convert("RGB")
    if kind == "CIELAB" or shades.shape[-1] < 3:  # noqa: PLR2004
        return Image.fromarray(shades[..., 0])  # of Lab the lightness is enough to read by
    return Image.fromarray(shades[..., :3].copy())


def _eight_bits(values: "Array", bits: int) -> "Array":
    """Bring levels of any type to 0 to 255: by the least usual range that holds them, or else by their own."""
    import numpy as np

    if values.dtype == np.uint8:
        full = np.arange(_LEVELS + 1) * _LEVELS // (2 ** min(bits, 8) - 1)  # where it has fewer bits, 3 may be white
        return np.asarray(full.clip(0, _LEVELS), np.uint8)[values]
    whole = values.dtype.kind in "ui"
    values = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    bottom = 0.0 if low >= 0 else low
    tops = (1.0, *(2.0**bits - 1 for bits in (8, 10, 12, 14, 15, 16, 24, 32) if whole)) if low >= 0 else ()
    top = next((top for top in tops if high <= top * 1.0001), 0.0) or _brightest(values, high)
    return np.asarray(((values - bottom) * (_LEVELS / ((top - bottom) or 1))).clip(0, _LEVELS), np.uint8)


def _brightest(values: "Array", high: float) -> float:
    """Tell which level is white where levels have no usual range, and a few may be far beyond all others."""
    import numpy as np

    bright = float(np.percentile(values, 99.9))
    return bright if 0 < bright * _BEYOND < high else high
