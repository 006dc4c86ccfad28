"""The size of the page image that a model wants, and how many tokens it takes. Pure arithmetic, without vLLM.

The page is drawn at a size that the model's own processor leaves as it is, so that nothing is resampled on the way.
Where each scheme has its source is said at its function; names of vLLM's source files are those of 0.32, of
transformers' those of 5.19.
"""

import math
from fractions import Fraction

from ocrd.config.profile import ImageRule
from ocrd.engines.vllm import deepseek, tiling
from ocrd.model import PixelSize

POINTS = 72
"""In an inch."""


def page_size(width: float, height: float, *, rule: ImageRule) -> PixelSize:
    """Return the image size for a page of this width and height in points."""
    match rule.scheme:
        case "deepseek":
            return deepseek.page_size(width, height, tile=rule.tile)
        case "internvl":
            return _tiled(width, height, rule)
        case "idefics3":
            return _widened(width, height, rule)
        case _:
            scale = _scale(width, height, rule)
            return fitted(width * scale, height * scale, rule)


def tokens(size: PixelSize, rule: ImageRule) -> int:
    """Return how many tokens an image takes that `page_size` has chosen the size of."""
    wide, high = size.width // max(rule.tile, 1), size.height // max(rule.tile, 1)
    match rule.scheme:
        case "deepseek":
            return deepseek.image_tokens(size.width, size.height, tile=rule.tile)
        case "internvl" | "idefics3":
            return wide * high * rule.tile_tokens + (wide * high > 1) * rule.overview_tokens
        case _:
            return (size.width // rule.factor) * (size.height // rule.factor)


def most_pixels(rule: ImageRule) -> int | None:
    """Return how many pixels a page image may have at most; None where nothing bounds them."""
    if rule.scheme == "deepseek":
        return deepseek.MOST_TILES * rule.tile**2
    if rule.scheme == "internvl":
        return rule.most_tiles * rule.tile**2
    edges = [rule.longest_edge**2] if rule.longest_edge else []
    return min([*edges, *([rule.max_pixels] if rule.max_pixels else [])], default=None)


def _scale(width: float, height: float, rule: ImageRule) -> float:
    """Return the pixels per point at which a page is drawn."""
    scale = rule.dpi / POINTS
    if rule.longest_edge:
        scale = min(scale, rule.longest_edge / max(width, height))
    if rule.shortest_edge:
        scale = max(scale, rule.shortest_edge / min(width, height))
    return scale


def fitted(width: float, height: float, rule: ImageRule) -> PixelSize:
    """Return the size nearest to so many pixels of which both edges are multiples of the rule's factor.

    It is that of `smart_resize` (transformers/models/qwen2_vl/image_processing_qwen2_vl.py), by which the Qwen models
    and those that are made of them see an image. Pixtral's processor leaves it alone, too (`longest_edge` and patches).
    """
    factor = rule.factor
    wide, high = (max(1, round(edge / factor)) for edge in (width, height))
    if rule.max_pixels and wide * high * factor**2 > rule.max_pixels:
        shrink = math.sqrt(width * height / rule.max_pixels)
        wide, high = (max(1, math.floor(edge / shrink / factor)) for edge in (width, height))
    elif wide * high * factor**2 < rule.min_pixels:
        grow = math.sqrt(rule.min_pixels / (width * height))
        wide, high = (math.ceil(edge * grow / factor) for edge in (width, height))
    if rule.longest_edge:
        wide, high = (min(edge, rule.longest_edge // factor) for edge in (wide, high))
    return PixelSize(wide * factor, high * factor)


def _tiled(width: float, height: float, rule: ImageRule) -> PixelSize:
    """Fill the grid of tiles that the model chooses (`calculate_internvl_targets` of vLLM's internvl.py)."""
    scale = _scale(width, height, rule)
    among = tiling.grids(1, rule.most_tiles)
    wide, high = tiling.nearest(width * scale, height * scale, rule.tile, among)
    return PixelSize(wide * rule.tile, high * rule.tile)


def _widened(width: float, height: float, rule: ImageRule) -> PixelSize:
    """Fill whole tiles, the longer edge being as the rule has it (transformers' image_processing_idefics3.py)."""
    longest = rule.longest_edge or rule.tile
    share = Fraction(min(width, height)) / Fraction(max(width, height))
    shorter = max(1, math.ceil(share * longest / rule.tile)) * rule.tile
    return PixelSize(longest, shorter) if width >= height else PixelSize(shorter, longest)
