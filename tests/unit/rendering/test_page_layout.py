"""Words become Markdown in their order, with all of their signs, whatever the layout model makes of them."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pymupdf
import pytest

from ocrd.markup import layout_blocks
from ocrd.rendering import page_layout
from ocrd.rendering.page_layout import Block, Word, assembled

SIZE = (1000.0, 1000.0)
PAGE = Block("text", 0, 0, 1000, 1000)


def line(number: int, text: str, left: float = 100, width: float = 10) -> list[Word]:
    """Words of one line, `width` for each letter, 20 high, 30 from line to line."""
    words = []
    for word in text.split():
        words.append(Word(word, left, left + width * len(word), 100 + 30 * number, 20, number))
        left += width * (len(word) + 1)
    return words


def lines(*texts: str) -> list[Word]:
    return [word for number, text in enumerate(texts) for word in line(number, text)]


def parts(words: list[Word], *blocks: Block, in_order: bool = True) -> list[tuple[str, str]]:
    text = assembled(words, blocks, SIZE, in_order=in_order)
    return [(block.label, block.text) for block in layout_blocks.parse(text)]


def test_full_lines_are_a_paragraph() -> None:
    words = lines("The gauge at Mill Bridge was read each", "morning before the boats came down and", "after rain.")
    assert parts(words, PAGE) == [("text", " ".join(word.text for word in words))]


def test_rows_stay_rows() -> None:
    words = lines("Bread 2,10", "Milk 1,05", "Butter from the mountains, unsalted 3,40", "Sum 6,55")
    ((_, text),) = parts(words, PAGE)
    assert text.split("\n") == ["Bread 2,10", "Milk 1,05", "Butter from the mountains, unsalted 3,40", "Sum 6,55"]


@pytest.mark.parametrize("ends", ["see number 2024-", "and the years 12-", "carried by a steam-", "sold with a USB-"])
def test_a_hyphen_at_the_end_of_a_line_stays_there(ends: str) -> None:
    ((_, text),) = parts(lines(f"The whole of it {ends}", "1177 and what there is behind it too"), PAGE)
    assert text == f"The whole of it {ends}\n1177 and what there is behind it too"


def test_columns_come_as_they_were_read() -> None:
    left, right = Block("text", 0, 0, 490, 1000), Block("text", 500, 0, 1000, 1000)
    words = [word for number in range(3) for word in line(number, "left left left", 100)]
    words += [word._replace(line=word.line + 10) for number in range(3) for word in line(number, "right right", 600)]
    assert [text.split()[0] for _, text in parts(words, right, left)] == ["left", "right"]


def test_a_heading_that_swallows_lines_of_a_column_gives_them_back() -> None:
    heading = Block("section-header", 0, 80, 1000, 200, "## Of the mill end of column")
    words = lines("end of column")
    words += [word._replace(height=40) for word in line(1, "Of the mill")]
    words += [word._replace(line=5, baseline=600) for word in line(0, "The text")]
    words += line(2, "last line of the other column")
    assert parts(words, heading) == [
        ("text", "end of column"),
        ("sub_title", "## Of the mill"),
        ("text", "The text\nlast line of the other column"),
    ]


ROWS = "|a|-1|\n|---|---|\n|b|+20|"
TABLE = Block("table", 0, 0, 1000, 1000, ROWS)


def test_italics_in_a_table_leave_no_marks() -> None:
    italic = Block("table", 0, 0, 1000, 1000, ROWS.replace("|a|", "|_a|").replace("|b|", "|b_|"))
    assert parts(lines("a -1", "b +20"), italic) == [("table", ROWS)]


def test_a_table_that_says_what_was_read_is_one() -> None:
    assert parts(lines("a -1", "b +20"), TABLE) == [("table", ROWS)]


@pytest.mark.parametrize("read", ["a 1", "a -1 -1", "a -2", "a - 1"])
def test_a_table_that_changes_a_number_or_its_sign_is_none(read: str) -> None:
    assert parts(lines(read, "b +20"), TABLE) == [("table", f"{read}\nb +20")]


def test_a_picture_without_words_keeps_its_place_in_a_text_layer() -> None:
    above, picture = Block("text", 0, 80, 500, 105), Block("picture", 0, 200, 500, 400)
    assert parts(lines("above"), above, picture, in_order=False) == [("text", "above"), ("image", "")]


def test_list_items_are_told_apart() -> None:
    item = Block("list-item", 0, 0, 1000, 1000)
    ((label, text),) = parts(lines("• the first", "• the second", "3. the third"), item)
    assert (label, text) == ("list", "- the first\n- the second\n3. the third")


def test_an_item_without_a_bullet_keeps_its_hyphens() -> None:
    item = Block("list-item", 0, 0, 1000, 1000)
    ((_, text),) = parts(lines("see the number 2024-", "1177 of it"), item)
    assert text == "- see the number 2024-\n1177 of it"


def test_words_that_no_block_holds_come_in_their_place() -> None:
    above, below = Block("text", 0, 80, 500, 105), Block("text", 0, 140, 500, 165)
    words = lines("above", "between", "below")
    assert [text for _, text in parts(words, above, below)] == ["above", "between", "below"]
    assert [text for _, text in parts(words, above, below, in_order=False)] == ["above", "between", "below"]


# -- what the model keeps of a picture --------------------------------------------------------------------------------


class ReadOnly:
    """Keeps what it made where nobody may set it."""

    _combined = property(lambda _: "pixels")


def looking_with(extractor: object) -> Any:
    """A function as PyMuPDF keeps one, of a model that looks at pictures with this."""
    MODEL = SimpleNamespace(_model=SimpleNamespace(feature_extractor=extractor))  # noqa: N806 - its name there

    def _get_layout(page: object) -> Any:
        return MODEL.predict(page)

    return _get_layout


@pytest.fixture
def _anew() -> Iterator[None]:
    page_layout._extractor.cache_clear()
    yield
    page_layout._extractor.cache_clear()


@pytest.mark.usefixtures("_anew")
def test_what_the_model_made_of_a_picture_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = SimpleNamespace(_combined="pixels", _logits="pixels", weights="stay")
    monkeypatch.setattr(pymupdf, "_get_layout", looking_with(extractor))
    page_layout._forget_picture()
    assert extractor == SimpleNamespace(_combined=None, _logits=None, weights="stay")


@pytest.mark.usefixtures("_anew")
@pytest.mark.parametrize("layout", [None, print, len, lambda page: page, looking_with(None), looking_with(ReadOnly())])
def test_a_pymupdf_that_keeps_it_in_another_way_is_left_alone(layout: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pymupdf, "_get_layout", layout)
    page_layout._forget_picture()


@pytest.mark.usefixtures("_anew")
def test_a_pymupdf_without_a_place_for_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(pymupdf, "_get_layout")
    page_layout._forget_picture()


LATE = """
import sys
from ocrd.rendering import page_layout
page_layout.put_off()
import pymupdf
assert not {"onnxruntime", "pymupdf4llm", "pymupdf.layout"} & {name for name, module in sys.modules.items() if module}
with pymupdf.open() as document:
    document.new_page().insert_text((72, 100), "A line of text.")
    print(*[block.markdown.strip() for block in page_layout.found(document)])
"""


def test_the_model_is_loaded_for_the_first_page_that_wants_it_and_not_before(run_python: Callable[..., Any]) -> None:
    told = run_python("-c", LATE)
    assert (told.returncode, told.stdout) == (0, "A line of text.\n"), told.stderr
