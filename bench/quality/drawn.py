"""Draws what the measurements read: PDFs of scanned-looking pages, made on the spot, and what is read on them."""

import functools
import random
from pathlib import Path

A4 = (595.0, 842.0)
"""Points."""
SCAN = (1240, 1754)
"""A4 at 150 dpi, pixels."""


WORDS = 400
"""Words of a page's text."""


def text(page: int) -> str:
    """Make up what an engine read on a page, as Markdown; after some pages the texts come again."""
    return _text(page % 64)


@functools.cache
def _text(seed: int) -> str:
    dice = random.Random(seed)  # noqa: S311 - no secret
    words = ["".join(map(dice.choice, ("bcdfghklmnprstvw", "aeiou") * dice.randint(1, 4))) for _ in range(WORDS)]
    paragraphs = [" ".join(words[first : first + 40]).capitalize() + "." for first in range(0, WORDS, 40)]
    return f"# {words[0].capitalize()} {words[1]}\n\n" + "\n\n".join(paragraphs)


def pdf(path: Path, pages: int, seed: int = 1, *, half_black: bool = False, paper: tuple[float, float] = A4) -> Path:
    """Write a PDF whose pages are each one grey image of lines of letters, no two the same."""
    import pymupdf
    from PIL import Image, ImageDraw, ImageFont

    dice = random.Random(seed)  # noqa: S311 - no secret
    font = ImageFont.load_default(size=22)
    with pymupdf.open() as document:
        for _ in range(pages):
            image = Image.new("L", SCAN, "white")
            draw = ImageDraw.Draw(image)
            for top in range(100, 1650, 34):
                draw.text((100, top), "".join(dice.choices("abcdefghij klmnop", k=80)), "black", font)
            if half_black:
                image.paste(0, (0, 0, SCAN[0], SCAN[1] // 2))
                image.paste(255, (0, SCAN[1] // 2, *SCAN))
            page = document.new_page(width=paper[0], height=paper[1])
            page.insert_image(page.rect, pixmap=pymupdf.Pixmap(pymupdf.csGRAY, *SCAN, image.tobytes(), False))
        document.save(path, deflate=True)
    return path
