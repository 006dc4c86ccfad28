"""The text of a PDF that can be searched lies where it was read, however the page is turned, and shows nothing."""

import io
import json
from pathlib import Path

import pymupdf
import pytest

from ocrd.model import PageFacts, PageResult, Placement, Reading, ReadWord, TextLayer, Verdict
from ocrd.rendering.searchable_pdf import searchable
from ocrd.rendering.text_placement import Strip, strips

PLACED = "<|ref|>text<|/ref|><|det|>[[100, 200, 500, 240]]<|/det|>\n"
LETTERS = "Zürich Привет ἀρχή 世界 日本語 😀 ﬁ"


def read(text: str, placement: Placement, layer: TextLayer | None = None) -> PageResult:
    reading = Reading(0, text, "stop", 1, 0.1)
    return PageResult(0, Verdict.OK, "", reading, facts=PageFacts(placement, layer=layer))


def blank(width: float = 400, height: float = 600, *, rotation: int = 0, cropped: bool = False) -> pymupdf.Document:
    document = pymupdf.open()
    page = document.new_page(width=width, height=height)
    page.draw_line((10, 10), (90, 200))
    if cropped:
        page.set_cropbox(pymupdf.Rect(20, 30, width - 20, height - 40))
    page.set_rotation(rotation)
    return document


def made_searchable(source: pymupdf.Document, layers: list[list[Strip]]) -> bytes:
    out = io.BytesIO()
    searchable(source, layers, out)
    return out.getvalue()


def shown(page: pymupdf.Page, words: str) -> pymupdf.Rect:
    """Find words where a reader sees them."""
    [found] = page.search_for(words)
    return found * page.rotation_matrix


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("cropped", [False, True])
def test_words_are_found_at_their_place(rotation: int, *, cropped: bool) -> None:
    source = blank(rotation=rotation, cropped=cropped)
    width, height = source[0].rect.width, source[0].rect.height
    before = source[0].get_pixmap().samples
    data = made_searchable(source, [strips(read(PLACED + "needle and more", Placement(width, height)))])
    with pymupdf.open("pdf", data) as made:
        page = made[0]
        assert (page.rotation, page.rect.width, page.rect.height) == (rotation, width, height)
        assert page.get_pixmap().samples == before
        found = shown(page, "needle")
        assert found.x0 == pytest.approx(width * 100 / 999, abs=1)
        assert found.x1 == pytest.approx(width * (100 + 400 * 6 / 15) / 999, abs=2)
        assert height * 0.19 < found.y0 < found.y1 < height * 0.25


@pytest.mark.parametrize(("turn", "corner"), [(0, (40, 120)), (90, (80, 540)), (180, (360, 480)), (270, (320, 60))])
def test_words_of_a_page_that_was_read_turned_lie_on_the_page_as_it_is(turn: int, corner: tuple[int, int]) -> None:
    """`corner` is where the upper left corner of the box lies: 0.1 to the right and 0.2 down, seen upright."""
    placement = Placement(400, 600, turn=turn)
    assert placement.on_page(0.1, 0.2) == pytest.approx(corner)
    data = made_searchable(blank(), [strips(read(PLACED + "needle", placement))])
    with pymupdf.open("pdf", data) as made:
        found = shown(made[0], "needle")
    along = found.height if turn % 180 else found.width
    assert along == pytest.approx(placement.upright[0] * 0.4, abs=2)
    assert min(abs(found.x0 - corner[0]), abs(found.x1 - corner[0])) < 8
    assert min(abs(found.y0 - corner[1]), abs(found.y1 - corner[1])) < 8


@pytest.mark.parametrize("text", [LETTERS, "שלום עולם", "مرحبا بالعالم"])
def test_every_letter_comes_out_as_it_went_in(text: str) -> None:
    data = made_searchable(blank(), [strips(read(PLACED + text, Placement(400, 600)))])
    with pymupdf.open("pdf", data) as made:
        assert made[0].get_text().strip() == text


def test_more_letters_than_one_font_holds() -> None:
    text = "".join(chr(0x4E00 + number) for number in range(700))
    data = made_searchable(blank(), [strips(read(PLACED + text, Placement(400, 600)))])
    with pymupdf.open("pdf", data) as made:
        assert "".join(made[0].get_text().split()) == text


def test_text_without_a_place_is_spread_over_the_page_in_lines() -> None:
    text = "first line\n\nsecond line\n\nlast line"
    data = made_searchable(blank(), [strips(read(text, Placement(400, 600)))])
    with pymupdf.open("pdf", data) as made:
        tops = [shown(made[0], words).y0 for words in ("first", "second", "last")]
        assert tops == sorted(tops)
        assert made[0].get_text().split() == text.split()


def test_a_page_with_sound_text_of_its_own_gets_no_other() -> None:
    assert strips(read("words", Placement(400, 600), TextLayer(5, ""))) == ()
    assert strips(read("words", Placement(400, 600), TextLayer(5, "it is garbled"))) != ()


def test_a_page_that_was_not_read_stays_as_it_is() -> None:
    source = blank()
    data = made_searchable(source, [strips(PageResult(0, Verdict.FAILED, "bad", None))])
    with pymupdf.open("pdf", data) as made:
        assert made[0].get_text() == ""


def test_a_page_whose_object_is_missing_costs_no_other() -> None:
    files = Path(__file__).parents[2] / "files"
    with pymupdf.open(files / "page-object-zeroed.pdf") as source:
        data = made_searchable(source, [[], [], [], []])
    with pymupdf.open("pdf", data) as made:
        letters = [len(page.get_text()) for page in made]
    assert letters[1] == 0
    assert all(letters[index] > 900 for index in (0, 2, 3))


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_each_word_lies_where_the_engine_says(turn: int) -> None:
    words = tuple(
        ReadWord(text, 0.1 + 0.2 * place, 0.25 + 0.2 * place, 0.3 + 0.1 * line, 0.02)
        for line, row in enumerate(("First of all", "comes what follows"))
        for place, text in enumerate(row.split())
    )
    placement = Placement(400, 600, turn=turn)
    wide, high = placement.upright
    page = read(PLACED + "whatever the Markdown says", placement)
    reading = Reading(0, "whatever", "stop", 1, 0.1, words=words)
    page = PageResult(0, Verdict.OK, "", reading, facts=page.facts)
    assert PageResult.from_json(json.loads(json.dumps(page.to_json()))) == page
    with pymupdf.open("pdf", made_searchable(blank(), [strips(page)])) as made:
        made[0].set_rotation(turn)
        found = made[0].get_text("words", sort=False)
        assert [word[4] for word in found] == ["First", "of", "all", "comes", "what", "follows"]
        for word, box in zip(words, found, strict=True):
            seen = pymupdf.Rect(box[:4]) * made[0].rotation_matrix
            assert seen.x0 == pytest.approx(word.left * wide, abs=1)
            assert seen.x1 == pytest.approx(word.right * wide, abs=1)
            assert seen.y0 < (word.baseline - word.height / 2) * high < seen.y1


def test_text_that_stands_in_several_boxes_is_laid_over_all_of_them() -> None:
    boxes = "[[50, 50, 450, 950], [550, 50, 950, 500]]"
    words = " ".join(f"word{number}" for number in range(120))
    laid = strips(read(f"<|ref|>text<|/ref|><|det|>{boxes}<|/det|>\n{words}", Placement(400, 600)))
    left = [strip for strip in laid if strip.x < 200]
    right = [strip for strip in laid if strip.x > 200]
    assert " ".join(strip.text.strip() for strip in [*left, *right]) == words
    assert 1.2 < len(" ".join(strip.text for strip in left)) / len(" ".join(strip.text for strip in right)) < 3
    assert max(strip.y for strip in right) < 310 < max(strip.y for strip in left)
