"""A page that is one column of plain text shows it by where its words stand; any other is left to the layout model."""

from collections.abc import Callable

import pytest
from PIL import Image, ImageDraw

from ocrd.rendering import plain_layout
from ocrd.rendering.page_layout import Word

SIZE = (1000, 1414)
SENTENCE = "The gauge at the old mill bridge was read each morning before the boats came down the river"
"""A line and a bit: no line of the paragraphs below ends with it."""


def line(text: str, baseline: float, left: float = 100, height: float = 20) -> list[Word]:
    """Words of one line, each letter half as wide as it is high."""
    words = []
    for word in text.split():
        words.append(Word(word, left, left + height / 2 * len(word), baseline, height, round(baseline)))
        left += height / 2 * (len(word) + 1)
    return words


def paragraph(top: float, lines: int = 4) -> list[Word]:
    """Make lines that are 30 apart, the last one short."""
    full = [word for number in range(lines - 1) for word in line(SENTENCE[:70], top + 30 * number)]
    return [*full, *line("and after rain again.", top + 30 * (lines - 1))]


def kinds(words: list[Word], image: Image.Image | None = None) -> list[tuple[str, str]]:
    """Tell kind and Markdown of each block; none if it is not plain."""
    found = plain_layout.blocks(words, image or Image.new("L", SIZE, 255))
    return [(block.kind, block.markdown) for block in found or []]


def test_paragraphs_stand_apart() -> None:
    words = [*paragraph(200), *paragraph(370), *paragraph(540)]
    blocks = plain_layout.blocks(words, Image.new("L", SIZE, 255))
    assert blocks
    assert [block.kind for block in blocks] == ["text"] * 3
    assert [[block.holds(word) for block in blocks].index(True) for word in words] == sorted(
        [0, 1, 2] * (len(words) // 3)
    )


def test_taller_lines_that_stand_apart_are_headings_whose_level_is_the_rank_of_their_size() -> None:
    words = [
        *line("The Keeper of Small Papers", 130, height=40), *line("Of rope", 200, height=30), *paragraph(260),
        *line("Of candles", 420, height=30), *paragraph(480),
    ]  # fmt: skip
    heading = "section-header"
    assert kinds(words) == [(heading, "# "), (heading, "## "), ("text", ""), (heading, "## "), ("text", "")]


def test_a_number_above_or_below_the_text_is_the_pages() -> None:
    assert kinds([*paragraph(200), *paragraph(370), *line("318", 1300, 480)])[-1] == ("page-footer", "")
    assert kinds([*line("xiv", 60, 800), *paragraph(200), *paragraph(370)])[0] == ("page-header", "")


TEXT = [*paragraph(200), *paragraph(370)]
OTHERS: dict[str, list[Word]] = {
    "too few lines to show a column": paragraph(200),
    "a line by itself": [*TEXT, *line("Yours sincerely,", 560)],
    "a heading at the end": [*TEXT, *line("What follows", 560, height=30)],
    "a heading no taller than the text": [*TEXT, *line("Of rope", 530), *paragraph(590)],
    "a running title": [*line("The Keeper of Small Papers 12", 100), *TEXT],
    "small print": [*TEXT, *line(SENTENCE[:70], 560, height=14), *line("and more.", 590, height=14)],
    "a list": [*TEXT, *line("• " + SENTENCE[:60], 560), *line("• twine", 590)],
    "a numbered list": [*TEXT, *line("1. " + SENTENCE[:60], 560), *line("2. twine", 590)],
    "an indented quotation": [*TEXT, *line(SENTENCE[:50], 560, 160), *line("and so on.", 590, 160)],
    "rows of a table": [*TEXT, *line("January 84", 560), *line("163", 560, 600), *line("March 91", 590)],
    "columns": [*TEXT, *(word._replace(left=word.left + 500, line=word.line + 2000) for word in TEXT)],
    "short lines, as of an address": [
        *TEXT,
        *line("Harrow Quay", 560),
        *line("Mill Lane", 590),
        *line("Wexcombe", 620),
    ],
    "lines that are all sentences": [
        word for row in range(6) for word in line("All of it was said before, twice.", 200 + 30 * row)
    ],
    "a part far below": [*TEXT, *paragraph(900)],
}


@pytest.mark.parametrize("words", OTHERS.values(), ids=OTHERS)
def test_all_else_is_left_to_the_model(words: list[Word]) -> None:
    assert kinds(words) == []


@pytest.mark.parametrize(
    "draw",
    [
        lambda pen: pen.line((100, 700, 400, 700), fill=0, width=4),
        lambda pen: pen.ellipse((300, 800, 500, 1000), outline=0, width=4),
        lambda pen: pen.rectangle((900, 100, 960, 700), fill=120),
    ],
    ids=["a rule", "a signature or seal", "a grey area"],
)
def test_a_page_with_ink_beside_its_lines_is_left_to_the_model(draw: Callable[[ImageDraw.ImageDraw], None]) -> None:
    image = Image.new("L", SIZE, 255)
    assert kinds(TEXT, image)
    draw(ImageDraw.Draw(image))
    assert kinds(TEXT, image) == []


def test_specks_are_no_ink() -> None:
    image = Image.new("L", SIZE, 240)
    for number in range(100):
        image.putpixel((37 * number % SIZE[0], 911 * number % SIZE[1]), 0)
    assert kinds(TEXT, image)
