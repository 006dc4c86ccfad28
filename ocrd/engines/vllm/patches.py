"""What the vision towers of the Qwen models see of a page image: its pixels, patch by patch. Pure pixels, without vLLM.

The source is `patchify` of transformers/models/qwen2_vl/image_processing_qwen2_vl.py (5.19). Four patches become one
token, and stand one behind the other. What upstream does last, to make numbers of the levels, vLLM leaves to the card
where it can (`mm_device_do_normalize`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ocrd.config.profile import ImageRule
from ocrd.engines.vllm import image_size
from ocrd.errors import PageError

if TYPE_CHECKING:
    from PIL.Image import Image

MERGED = 2
"""Patches wide and high that become one token."""


@dataclass(frozen=True)
class Views:
    """Makes the patches of a page image, one byte for each level. See `PagePreparer`.

    It is `3 * width * height` bytes: rows of tokens, tokens, the rows of patches in one, patches, channels, and the
    rows of pixels in a patch.
    """

    edge: int
    """Of a patch, pixels."""
    most: int
    """Pixels of an image, at most."""

    @property
    def room(self) -> int:
        """The most bytes of a page."""
        return 3 * self.most

    def __call__(self, image: "Image", memory: memoryview) -> int:
        """Write the patches of an RGB image. Raises PageError unless it is made of whole tokens, and no larger."""
        import numpy as np

        token = MERGED * self.edge
        wide, high = (length // token for length in image.size)
        if (wide * token, high * token) != image.size or wide * high * token**2 > self.most:
            raise PageError(
                f"The page image of {image.width} x {image.height} pixels is not as the model sees one.",
                "Report this; another engine may read the page.",
            )
        shape = (high, MERGED, self.edge, wide, MERGED, self.edge, 3)
        patches = np.asarray(image).reshape(shape).transpose(0, 3, 1, 4, 6, 2, 5)
        np.frombuffer(memory, np.uint8, patches.size).reshape(patches.shape)[:] = patches
        return patches.size


def views(rule: ImageRule) -> Views:
    """Return what makes the patches of images that follow a rule."""
    return Views(rule.factor // MERGED, image_size.most_pixels(rule) or 0)
