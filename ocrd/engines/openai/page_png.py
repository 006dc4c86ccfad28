"""A page image as a PNG: not one level of it is lost, and it has the pixels that the model sees.

The render workers make it (`PngPages`), so that it costs the daemon's process nothing.
"""

import io
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocrd.config.profile import ImageRule
from ocrd.engines.vllm import deepseek
from ocrd.errors import PageError
from ocrd.model import PageImage

if TYPE_CHECKING:
    from PIL.Image import Image

QUICK: dict[str, int] = {"compress_level": 1, "compress_type": zlib.Z_RLE}
"""How it is packed: looking for runs only is quicker than for any repetition, and makes a scan smaller, too; higher
levels take several times as long to spare a tenth."""


_FRAME = 12
"""Bytes of a chunk beside what it holds."""


@dataclass(frozen=True)
class PngPages:
    """Makes the PNG of a page: an `ocrd.model.PagePreparer`."""

    rule: ImageRule
    pixels: int
    """Most of a page."""

    @property
    def room(self) -> int:
        """The most bytes of a page: what can't be compressed grows by less than a hundredth."""
        return 3 * self.pixels + 3 * self.pixels // 100 + 2**16

    def __call__(self, image: "Image", memory: memoryview) -> int:
        """Write the PNG of an image. Raises PageError for one that would end the server."""
        made = png(image, self.rule)
        if len(made) > len(memory):
            raise PageError(
                f"The page image of {image.width} x {image.height} pixels is larger than what the model sees.",
                "Report this; another engine may read the page.",
            )
        memory[: len(made)] = made
        return len(made)


def png(image: "Image", rule: ImageRule) -> bytes:
    """Pack an image; one without colours in one channel, which is a third. Raises PageError as above."""
    if rule.scheme == "deepseek":
        image = deepseek.survivable(image, tile=rule.tile)
    file = io.BytesIO()
    (image.getchannel(0) if _is_grey(image) else image).save(file, "png", **QUICK)
    return file.getvalue()


def of_page(page: PageImage, rule: ImageRule) -> bytes:
    """Pack a page that is there as RGB. Raises PageError as above."""
    from PIL import Image

    return png(Image.frombytes("RGB", (page.size.width, page.size.height), page.pixels), rule)


def grown(made: bytes, size: int) -> bytes:
    """Make a PNG at least so many bytes large, by a chunk that every reader passes over (RFC 2083, 3.3)."""
    if size <= len(made):
        return made
    lack = max(0, size - len(made) - _FRAME)
    chunk = b"ocRd" + bytes(lack)
    filling = lack.to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    return made[:-_FRAME] + filling + made[-_FRAME:]  # before the empty chunk that ends it


def _is_grey(image: "Image") -> bool:
    from PIL import ImageChops

    red, green, blue = image.split()
    return not (ImageChops.difference(red, green).getbbox() or ImageChops.difference(red, blue).getbbox())
