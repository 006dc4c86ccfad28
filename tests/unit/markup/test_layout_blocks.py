"""DeepSeek's tags: what has their exact form becomes blocks with boxes, and everything else stays text."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ocrd.markup import layout_blocks
from ocrd.markup.layout_blocks import Block
from ocrd.model import Box

BOX = "[[0, 0, 999, 500]]"
PLACED = Box(0.0, 0.0, 1.0, 500 / 999)


def tag(label: str, boxes: str = BOX) -> str:
    return f"<|ref|>{label}<|/ref|><|det|>{boxes}<|/det|>"


def test_a_page_comes_apart_into_its_blocks() -> None:
    text = f"{tag('title')}\n# Report\n\n{tag('text', '[[1, 2, 3, 4], [5, 6, 7, 8]]')}\nOne\ntwo\n"
    assert layout_blocks.parse(text) == [
        Block("title", (PLACED,), "# Report"),
        Block("text", (Box(1 / 999, 2 / 999, 3 / 999, 4 / 999), Box(5 / 999, 6 / 999, 7 / 999, 8 / 999)), "One\ntwo"),
    ]


def test_text_without_tags_is_one_block_of_its_writers_own_markdown() -> None:
    assert layout_blocks.parse("\nfree text\n\nmore\n") == [Block("text", (), "free text\n\nmore", own_markdown=True)]
    assert layout_blocks.parse(" \n") == []


@pytest.mark.parametrize(
    ("said", "page"),
    [
        ("```markdown\n# Title\n\ntext\n```", "# Title\n\ntext"),
        ("```markdown\n# Title\n\ncut o", "# Title\n\ncut o"),
        ("Here it is:\n\n```md\none\n```python\ncode\n```\ntwo\n```", "Here it is:\n\none\n```python\ncode\n```\ntwo"),
        ("```python\ncode\n```", "```python\ncode\n```"),
        ("---\nprimary_language: en\nis_table: False\n---\n# Title", "# Title"),
        ("---\nname: en\n---\n# Title", "---\nname: en\n---\n# Title"),
    ],
)
def test_a_page_given_as_code_in_markdown_is_no_code(said: str, page: str) -> None:
    assert layout_blocks.parse(said) == [Block("text", (), page, own_markdown=True)]


def test_where_the_model_says_the_text_in_place_of_a_label_it_is_text() -> None:
    assert layout_blocks.parse(f"{tag('Invoice')}\n{tag('No. 7')}\n{tag('paid')}") == [
        Block("text", (PLACED,), "Invoice"),
        Block("text", (PLACED,), "No. 7"),
        Block("text", (PLACED,), "paid"),
    ]


def test_a_label_of_other_models_is_none_of_the_words() -> None:
    text = f"{tag('figure_title')}\nFigure 7\n{tag('paragraph')}\nIt grows.\n{tag('margin_note')}\nsee below"
    assert [(block.label, block.text) for block in layout_blocks.parse(f"{text}\n{tag('margin_note')}")] == [
        ("image_caption", "Figure 7"),
        ("text", "It grows."),
        ("text", "see below"),
        ("text", ""),
    ]


@pytest.mark.parametrize(
    ("damaged", "label", "boxes"),
    [
        ("<|ref|>title<|/ref|>", "title", 0),
        ("<|ref|>title", "title", 0),
        ("<|ref|>title<|det|>[[1, 2, 3, 4]]<|/det|>", "title", 1),
        ("<|ref|>title<|/ref|><|det|>[[1, 2, 3]]<|/det|>", "title", 0),
        ("<|ref|>title<|/ref|><|det|>[[1, 2, 3, 4]<|/det|>", "title", 1),
        ("<|ref|>title<|/ref|><|det|>[[1, 2, 3, 4]]", "title", 1),
        ("<|ref|>title<|/ref|><|det|><|/det|>", "title", 0),
        ("<|det|>[[1, 2, 3, 4]]<|/det|>", "text", 1),
        ("<\uff5cref\uff5c>title<\uff5c/ref\uff5c><\uff5cdet\uff5c>[[1, 2, 3, 4]]<\uff5c/det\uff5c>", "title", 1),
    ],
)
def test_what_can_be_told_of_a_damaged_tag_is(damaged: str, label: str, boxes: int) -> None:
    (block,) = layout_blocks.parse(f"{damaged}\n7 words")
    assert (block.label, len(block.boxes), block.text.strip()) == (label, boxes, "7 words")


def test_what_is_no_box_is_text_and_is_not_evaluated() -> None:
    (block,) = layout_blocks.parse("<|ref|>title<|/ref|><|det|>[[1, 2, 3, __import__('os')]]<|/det|>\nwords")
    assert block == Block("title", (), "__import__('os')]]\nwords")


@pytest.mark.parametrize(
    "cut",
    [
        "<|",
        "<|end\u2581of",
        "<|re",
        "<|ref|",
        "<|ref|>",
        "<|ref|>te",
        "<|ref|>text<|/re",
        "<|ref|>text<|/ref|><|det|>[[7, 8",
    ],
)
def test_a_tag_that_is_cut_off_is_no_text(cut: str) -> None:
    assert [block.text for block in layout_blocks.parse(f"{tag('text')}\nwords\n{cut}")] == ["words"]


def test_special_tokens_are_no_text() -> None:
    said = "<|grounding|>one<|end_of_line|>two<\uff5cend\u2581of\u2581sentence\uff5c>"
    assert layout_blocks.parse(said) == [Block("text", (), "one\ntwo", own_markdown=True)]


def test_a_table_behind_its_captions_tag_comes_to_its_own() -> None:
    above, below = "[[100, 60, 300, 80]]", "[[100, 510, 300, 530]]"
    table = "<table><tr><td>7</td></tr></table>"
    text = f"{tag('table', '[[100, 90, 900, 500]]')}\n{tag('table_caption', above)}\nTable 7\n\n{table}\n"
    blocks = layout_blocks.parse(text)
    assert [(block.label, block.text) for block in blocks] == [("table_caption", "Table 7"), ("table", table)]
    assert round(blocks[1].boxes[0].bottom * 999) == 500
    blocks = layout_blocks.parse(text.replace(above, below))
    assert [block.label for block in blocks] == ["table", "table_caption"]


def test_of_two_tables_each_comes_to_the_tag_that_is_near() -> None:
    places = [("[[10, 40, 490, 200]]", "[[10, 20, 490, 35]]"), ("[[10, 640, 490, 800]]", "[[10, 620, 490, 635]]")]
    tags = "\n".join(tag("table", box) for box, _ in places)
    said = "\n".join(f"{tag('table_caption', place)}\nT\n<table>{place}</table>" for _, place in places)
    told = [block for block in layout_blocks.parse(f"{tags}\n{said}") if block.label == "table"]
    assert [(round(block.boxes[0].top * 999), block.text[7:12]) for block in told] == [(40, "[[10,"), (640, "[[10,")]
    assert "20, 490" in told[0].text


def test_a_table_behind_a_caption_without_a_tag_of_its_own_is_a_table() -> None:
    blocks = layout_blocks.parse(f"{tag('table_caption')}\nTable 7\n<table><tr><td>7</td></tr></table>\nnote")
    assert [block.label for block in blocks] == ["table_caption", "table"]
    assert blocks[1].text.endswith("</table>\nnote")


@pytest.mark.parametrize("boxes", ["[[500, 1, 400, 9]]", "[[1, 9, 5, 9]]", "[[0, 0, 0, 0]]"])
def test_a_box_without_extent_is_none(boxes: str) -> None:
    assert layout_blocks.parse(f"{tag('text', boxes)}\nwords") == [Block("text", (), "words")]


def test_a_box_beyond_the_page_ends_at_its_edge() -> None:
    assert layout_blocks.parse(tag("image", "[[10, 10, 1005, 9999]]"))[0].boxes == (Box(10 / 999, 10 / 999, 1.0, 1.0),)


def test_pictures_are_found_in_order() -> None:
    text = f"{tag('image')}\n{tag('text')}\nx\n{tag('figure', '[[1, 1, 2, 2], [3, 3, 4, 4]]')}"
    assert [round(box.left * 999) for box in layout_blocks.pictures(text)] == [0, 1, 3]


SPITEFUL = [
    "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "title", "image", "[[", "]]", "1, 2, 30, 40", tag("text"),
    tag("table"), tag("table_caption"), "<table>", "</table>", "\n", "<|end_of_line|>", "<fcel>", "<nl>",
    "&lt;fcel&gt;",
    "\uff5c", "<", "|", ">",
]  # fmt: skip


@given(st.lists(st.sampled_from(SPITEFUL), max_size=14))
def test_no_word_is_lost_and_no_token_left(marks: list[str]) -> None:
    words = [f"Q{number}q" for number in range(len(marks))]
    text = "".join(f"{mark} {word} " for mark, word in zip(marks, words, strict=True))
    told = "".join(block.text for block in layout_blocks.parse(text))
    assert sorted(re.findall(r"Q\d+q", told)) == sorted(words)
    assert not re.search(r"<\|/?(?:ref|det|end_of_line)\|>|<fcel>|<nl>", told)


@given(st.text(max_size=60))
def test_whatever_is_read_comes_apart(text: str) -> None:
    assume(not re.search(r"(?:<|&lt;)[/|\w]", text))  # a token, which hypothesis may have seen in the code
    told = "".join(block.text for block in layout_blocks.parse(text))
    assert [char for char in text if char.isalnum()] == [char for char in told if char.isalnum()]
