"""DeepSeek's tags: what has their exact form becomes blocks with boxes, and everything else stays text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocrd.model import Box
from ocrd.output import layout_blocks
from ocrd.output.layout_blocks import Block

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


def test_text_without_tags_is_one_block() -> None:
    assert layout_blocks.parse("\nfree text\n\nmore\n") == [Block("text", (), "free text\n\nmore")]
    assert layout_blocks.parse(" \n") == []


def test_where_the_model_says_the_text_in_place_of_a_label_it_is_text() -> None:
    assert layout_blocks.parse(f"{tag('Invoice')}\n{tag('No. 7')}") == [
        Block("text", (PLACED,), "Invoice"),
        Block("text", (PLACED,), "No. 7"),
    ]


@pytest.mark.parametrize(
    "wild",
    [
        "<|ref|>title<|/ref|>",
        "<|ref|>title<|/ref|><|det|>[[1, 2, 3]]<|/det|>",
        "<|ref|>title<|/ref|><|det|>[[1, 2, 3, 4]<|/det|>",
        "<|ref|>title<|/ref|><|det|>[[1, 2, 3, 4]]",
        "<|ref|>title<|/ref|><|det|>[[1, 2, 3, __import__('os')]]<|/det|>",
        "<|det|>[[1, 2, 3, 4]]<|/det|>",
        "<|ref|>title<|/ref|><|det|>[[1e3, 2, 3, 4]]<|/det|>",
    ],
)
def test_a_wild_tag_is_text(wild: str) -> None:
    assert layout_blocks.parse(f"{wild}\nwords") == [Block("text", (), f"{wild}\nwords")]


@pytest.mark.parametrize("boxes", ["[[500, 1, 400, 9]]", "[[1, 9, 5, 9]]", "[[0, 0, 0, 0]]"])
def test_a_box_without_extent_is_none(boxes: str) -> None:
    assert layout_blocks.parse(f"{tag('text', boxes)}\nwords") == [Block("text", (), "words")]


def test_a_box_beyond_the_page_ends_at_its_edge() -> None:
    assert layout_blocks.parse(tag("image", "[[10, 10, 1005, 9999]]"))[0].boxes == (Box(10 / 999, 10 / 999, 1.0, 1.0),)


def test_pictures_are_found_in_order() -> None:
    text = f"{tag('image')}\n{tag('text')}\nx\n{tag('figure', '[[1, 1, 2, 2], [3, 3, 4, 4]]')}"
    assert [round(box.left * 999) for box in layout_blocks.pictures(text)] == [0, 1, 3]


TOKENS = [
    "<|ref|>",
    "<|/ref|>",
    "<|det|>",
    "<|/det|>",
    "title",
    "image",
    "[[",
    "]]",
    "1, 2, 30, 40",
    tag("text"),
    "\n",
    "é",
]


@given(st.text(max_size=60) | st.lists(st.sampled_from(TOKENS), max_size=14).map("".join))
@example("<|ref|>a<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>" * 3)
def test_no_text_is_lost(text: str) -> None:
    told = "".join(block.text for block in layout_blocks.parse(text))
    left = layout_blocks._TAG.sub(lambda match: "" if match[1].strip() in layout_blocks.LABELS else match[1], text)
    assert "".join(told.split()) == "".join(left.split())
