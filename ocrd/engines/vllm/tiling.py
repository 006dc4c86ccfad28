"""Grids of tiles, and which of them a model chooses for an image: DeepSeek's and InternVL's models do it alike.

The source is `find_closest_aspect_ratio` in vLLM's `transformers_utils/processors/deepseek_ocr.py` and `internvl.py`.
"""

from functools import cache

Grid = tuple[int, int]
"""How many tiles wide and high."""


@cache
def grids(fewest: int, most: int) -> tuple[Grid, ...]:
    """Return the grids of so many tiles, those with the most tiles first."""
    edges = range(1, most + 1)
    every = ((wide, high) for wide in edges for high in edges if fewest <= wide * high <= most)
    return tuple(sorted(every, key=lambda grid: -grid[0] * grid[1]))


def nearest(width: float, height: float, tile: int, among: tuple[Grid, ...]) -> Grid:
    """Return the grid whose aspect is nearest to that of an image of so many pixels.

    Of grids that are equally near, the one with more tiles where the image has the pixels for half of them.
    """
    chosen, least = (1, 1), float("inf")
    for grid in reversed(among):
        distance = abs(width / height - grid[0] / grid[1])
        if distance < least or (distance == least and width * height > 0.5 * tile * tile * grid[0] * grid[1]):
            chosen, least = grid, distance
    return chosen
