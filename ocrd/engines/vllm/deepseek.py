"""What DeepSeek-OCR makes of a page image: the size it sees, and the images that would end vLLM.

Pure geometry and pixels, without vLLM. The source for all of it is vLLM's
`transformers_utils/processors/deepseek_ocr.py` and `model_executor/models/deepseek_ocr.py` (0.24 and 0.32 agree).

The model sees a page twice: as an overview, fitted into 1024 x 1024 with its aspect kept, and as two to six tiles,
for which the page is stretched over the grid of tiles whose aspect is nearest to its own. An image that fits into one
tile is seen as the overview alone.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ocrd.engines.vllm import tiling
from ocrd.errors import PageError
from ocrd.model import PixelSize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL.Image import Image

OVERVIEW = 1024
"""Edge of the overview, pixels."""

PATCH = 64
"""Edge of what becomes one token, pixels."""

FEWEST_TILES, MOST_TILES = 2, 6
SHARPEST = 300 / 72
"""Pixels per point beyond which a small page gains nothing: 300 dpi."""

GREY = 127.5
"""The level that the model's normalisation turns into zero."""

NEUTRAL = 0.25
"""How near to GREY, in levels, the mean of a view may lie before it counts as able to vanish. Rounding to bfloat16
moves a level by at most half a part in 256, so the mean of a view by at most a quarter of a level."""

GRIDS = tiling.grids(FEWEST_TILES, MOST_TILES)
"""The grids of tiles, those with the most tiles first."""


FAR = 16
"""Levels from GREY beyond which the mean of an image leaves no view of it neutral: resampling moves it by less than
one, and the grey bars beside the overview of a page six times as high as wide stand for two and a half."""

BRIGHTER = [min(level + 2, 255) for level in range(256)] * 3
"""Table for `Image.point`: every channel of an RGB image two levels up."""


def page_size(width: float, height: float, *, tile: int = 640) -> PixelSize:
    """Return the image size, for a page of this width and height (any unit for the shape; points for small pages).

    It is exactly the size of the model's grid of tiles, so that nothing is resampled on the way: 1280 x 1920 for an
    A4 page. The page is to be stretched over it, as upstream's `dynamic_preprocess` would; the tiles then are the
    same as from a larger image, and the overview is stretched alike (by 6 % for A4). Only a page so small that 300 dpi
    fit into one tile keeps its own size, so that a label isn't blown up to a full page.
    """
    if max(width, height) * SHARPEST <= tile:
        return PixelSize(max(1, round(width * SHARPEST)), max(1, round(height * SHARPEST)))
    wide, high = _grid(width, height)
    return PixelSize(wide * tile, high * tile)


def _grid(width: float, height: float) -> tuple[int, int]:
    """Choose the tile counts whose aspect is nearest; of two that are equally near, the one with more tiles."""
    return min(GRIDS, key=lambda grid: abs(width / height - grid[0] / grid[1]))


def tiles_seen(width: int, height: int, *, tile: int = 640) -> tuple[int, int]:
    """Return how many tiles wide and high the model sees an image of so many pixels; 1, 1: only as the overview.

    This is upstream's own choice (`find_closest_aspect_ratio`), ties included. It agrees with `page_size`.
    """
    if max(width, height) <= tile:
        return 1, 1
    return tiling.nearest(width, height, tile, GRIDS)


def image_tokens(width: int, height: int, *, tile: int) -> int:
    """Return how many tokens an image of so many pixels takes (`get_num_image_tokens` of the models in vLLM).

    A patch of 64 x 64 pixels is a token. DeepSeek-OCR, with tiles of 640 pixels, ends each row with one more; after the
    overview comes a separator.
    """
    wide, high = tiles_seen(width, height, tile=tile)
    ends = int(tile == Views.tile)
    edge, patches = OVERVIEW // PATCH, tile // PATCH
    tiles = high * patches * (wide * patches + ends) if wide * high > 1 else 0
    return edge * (edge + ends) + 1 + tiles


def survivable(image: "Image", *, tile: int = 640) -> "Image":
    """Return the image, made harmless if it would end vLLM.

    vLLM takes views whose values sum to exactly zero for views that aren't there (`_encode_local_features`, and in
    0.24 `_parse_and_validate_image_input` too), then misses their tokens and dies. The sum is zero where the mean
    level is mid-grey: a page half black and half white, a scan of a grey card. Making every pixel two levels brighter,
    which nobody can see, moves the sum far away from zero, and the page is read like any other.

    Raises PageError for the image, too narrow to exist in practice, that brightening doesn't help.
    """
    if abs(_mean(image) - GREY) > FAR:  # nearly every page
        return image
    for _ in range(4):
        if not any(_neutral(view, share) for view, share in _views(image, tile)):
            return image
        image = image.point(BRIGHTER)
    raise PageError(
        f"The page image of {image.width} x {image.height} pixels is evenly grey in a way that the model can't take.",
        "Scan the page again with more contrast.",
    )


def _mean(image: "Image") -> float:
    """Mean level over all pixels and channels, exact."""
    counts = image.histogram()
    return sum((index % 256) * count for index, count in enumerate(counts)) / sum(counts)


def _neutral(view: "Image", share: float) -> bool:
    return abs(_mean(view) - GREY) < NEUTRAL * share


def _views(image: "Image", tile: int) -> "Iterator[tuple[Image, float]]":
    """Return the views as the model's processor makes them: the overview, then the page on its grid of tiles, uncut.

    With each comes the share of it that the page covers; the rest are bars of one grey, which rounds exactly.
    """
    from PIL import ImageOps

    overview = ImageOps.pad(image, (OVERVIEW, OVERVIEW), color=(127, 127, 127))
    yield overview, min(image.size) / max(image.size)
    wide, high = tiles_seen(*image.size, tile=tile)
    if wide * high > 1:
        yield image.resize((wide * tile, high * tile)), 1.0


@dataclass(frozen=True)
class Views:
    """Makes the model's views of a page: an `ocrd.model.PagePreparer`.

    It does what upstream's processor does (`DeepseekOCRProcessor`), but for the last step, which turns each level of
    0 to 255 into a number. The views are written one after the other: the overview, and then the tiles, row by row
    from the upper left, each as three planes, red, green and blue, of one byte a pixel.
    """

    tile: int = 640
    """Edge of the tiles, pixels."""

    @property
    def room(self) -> int:
        """The most bytes of a page: its overview and six tiles."""
        return 3 * (OVERVIEW**2 + MOST_TILES * self.tile**2)

    def __call__(self, image: "Image", memory: memoryview) -> int:
        """Write the views of an image that can't end vLLM. Raises PageError for one that would."""
        place = 0
        for plane in self._planes(survivable(image, tile=self.tile)):
            memory[place : place + len(plane)] = plane
            place += len(plane)
        return place

    def _planes(self, image: "Image") -> "Iterator[bytes]":
        for view, edge in zip((view for view, _ in _views(image, self.tile)), (OVERVIEW, self.tile), strict=False):
            channels = view.split()
            for top in range(0, view.height, edge):
                for left in range(0, view.width, edge):
                    for channel in channels:
                        yield channel.crop((left, top, left + edge, top + edge)).tobytes()


def with_head_dim(config: Any) -> Any:  # noqa: ANN401 - a configuration of transformers
    """Give the language model's configuration the head size that vLLM up to 0.24 takes as 0 with transformers 5.

    FlashAttention 3 dies of it on Hopper ("Floating point exception"). To be passed as vLLM's `hf_overrides`; vLLM
    calls it with other configurations too, which have no language model.
    """
    text = getattr(config, "text_config", None)
    if text is not None and not getattr(text, "head_dim", None):
        text.head_dim = text.hidden_size // text.num_attention_heads
    return config
