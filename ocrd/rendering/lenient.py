"""Images of which Pillow refuses what they say of themselves, though their pixels are there."""

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ocrd.rendering import damage
from ocrd.rendering.unopened import first_bytes

if TYPE_CHECKING:
    from PIL import Image

_MASKS, _MASKS_WITH_ALPHA = 3, 6
"""BMP's BI_BITFIELDS and BI_ALPHABITFIELDS: which bits of a pixel are red, green and blue is told."""
_EXIF, _HEAD = b"Exif\0\0", 65_536
"""How EXIF begins in a JPEG, behind its length (Exif 3.0, 4.5.4), and in how many bytes."""
_WORDS = {16: "<u2", 32: "<u4"}


@contextlib.contextmanager
def leniently() -> Iterator[None]:
    """Let Pillow take what is damaged, or missing, as far as it can."""
    from PIL import ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def opened(path: Path) -> "tuple[str, Image.Image]":
    """Open an image, and say of what kind it is. Raises as Pillow and others do; ValueError for all other kinds."""
    from PIL import Image

    head = first_bytes(path)
    if head.startswith(b"\x89PNG"):  # its checksums are looked at later
        with leniently():
            return "png", Image.open(path, formats=["PNG"])
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg", _jpeg(path.read_bytes())
    if head.startswith(b"BM"):
        return "bmp", _bmp_of_masks(path.read_bytes())
    raise ValueError("it is of another kind")


def _jpeg(data: bytes) -> "Image.Image":
    """Decode a JPEG by libjpeg alone, and keep what it says of how it lies. Raises ValueError."""
    from PIL import Image

    image = Image.fromarray(damage.decoded_jpeg(data, grey=False))
    place = data.find(_EXIF, 0, _HEAD)
    if place > 0:
        image.info["exif"] = data[place : place - 2 + int.from_bytes(data[place - 2 : place])]
    return image


def _bmp_of_masks(data: bytes) -> "Image.Image":
    """Decode a BMP whose pixels have any bits for each colour. Raises ValueError, LookupError, struct.error."""
    import numpy as np
    from PIL import Image

    place, _, width, height, _, bits, compression = struct.unpack_from("<IIiiHHI", data, 10)
    if compression not in (_MASKS, _MASKS_WITH_ALPHA):
        raise ValueError("its bits are as usual")
    wide = -(-width * bits // 32) * 32 // bits
    words = np.frombuffer(data, _WORDS[bits], wide * abs(height), place).reshape(abs(height), wide)[:, :width]
    masks = struct.unpack_from("<III", data, 54)
    levels = np.dstack([((words & mask) * (255 / (mask or 1))).astype(np.uint8) for mask in masks])
    return Image.fromarray(levels if height < 0 else levels[::-1].copy())
