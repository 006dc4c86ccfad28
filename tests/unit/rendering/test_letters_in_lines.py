"""Where a page has letters in lines, and where it only looks so."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from ocrd.model import Placement
from ocrd.rendering import page_analysis, text_pieces

ENGLISH = (Path(__file__).parents[3] / "ocrd/samples/english.txt").read_text(encoding="utf-8").split("\f")[0]
SIZE = (1240, 1754)
PLACEMENT = Placement(595, 842)


def sheet() -> Image.Image:
    return Image.new("RGB", SIZE, "white")


def with_text(image: Image.Image, top: int, lines: int) -> Image.Image:
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=26)
    words = ENGLISH.split()
    for line in range(lines):
        draw.text((120, top + 40 * line), " ".join(words[9 * line : 9 * line + 9]), "black", font)
    return image


def with_photograph(image: Image.Image, top: int, bottom: int) -> Image.Image:
    """Lay a picture of many shades and sizes over the page."""
    noise = np.random.default_rng(7)
    shades = sum(
        np.asarray(Image.fromarray(noise.integers(0, 256, (n, n), np.uint8)).resize((1000, bottom - top)), float) / k
        for n, k in ((300, 2), (90, 3), (20, 4))
    )
    image.paste(Image.fromarray(np.clip(shades, 0, 255).astype(np.uint8)).convert("RGB"), (120, top))
    return image


def spread(image: Image.Image, *, stands: bool = True) -> tuple[int, np.ndarray]:
    facts = page_analysis.facts(np.asarray(image), PLACEMENT, stands=stands)
    return facts.letters, np.reshape(facts.spread, text_pieces.SPREAD[::-1])


def test_letters_are_counted_where_their_lines_stand() -> None:
    letters, cells = spread(with_text(sheet(), 1000, 14))
    assert 0.75 * letters < cells.sum() <= 1.02 * letters
    assert cells[:6].sum() == 0
    assert cells[7:10].sum() > 0.7 * cells.sum()


def test_a_photograph_has_no_lines() -> None:
    letters, cells = spread(with_photograph(with_text(sheet(), 1000, 14), 120, 800))
    alone, text = spread(with_text(sheet(), 1000, 14))
    assert letters > alone + 80, "it looks as if it had letters"
    assert cells[:6].sum() < 0.25 * (letters - alone)
    assert cells[7:].sum() > 0.7 * text[7:].sum()


@pytest.mark.parametrize("askew", [3.5, -3.5])
def test_lines_of_a_page_that_is_askew_are_found_where_they_stand_once_it_is_set_right(askew: float) -> None:
    image = with_text(sheet(), 300, 30)
    _, straight = spread(image)
    letters, cells = spread(image.rotate(-askew, fillcolor="white"), stands=False)
    assert cells.sum() > 0.7 * letters
    assert abs(cells - straight).sum() < 0.35 * straight.sum()


def test_an_empty_page_has_none() -> None:
    assert page_analysis.facts(np.asarray(sheet()), PLACEMENT, stands=True).spread == ()
