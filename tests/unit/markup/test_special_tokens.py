"""What a model is steered by is not what it read; rows in OTSL are a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrd.markup.special_tokens import with_plain_bars, without_tokens


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a<|im_end|>", "a"),
        ("a<|end_of_line|>b", "a\nb"),
        ("a<\uff5cend\u2581of\u2581sentence\uff5c>", "a"),
        ("a<| end of sentence |>", "a"),
        ("a<\u2502grounding\u2502>", "a"),
        ("a&lt;|end_of_line|&gt;b", "a\nb"),
        ("|x| < y, a <| b |> c, <|>", "|x| < y, a <| b |> c, <|>"),
        (
            "<fcel>a<fcel>b<nl><fcel>1 & 2<ecel><nl>",
            "\n<table><tr><td>a</td><td>b</td></tr><tr><td>1 &amp; 2</td><td></td></tr></table>\n",
        ),
        (
            "<ched>a<lcel><nl><fcel>b<fcel>c<nl><ucel><fcel>d<nl>",
            (
                '\n<table><tr><td colspan="2">a</td></tr>'
                '<tr><td rowspan="2">b</td><td>c</td></tr><tr><td>d</td></tr></table>\n'
            ),
        ),
        (
            "<fcel>a<lcel><nl><ucel><fcel>b<nl>",
            "\n<table><tr><td>a</td><td></td></tr><tr><td></td><td>b</td></tr></table>\n",
        ),
        ("<table><tr><td>&lt;fcel&gt;7</td></tr></table>", "<table><tr><td> 7</td></tr></table>"),
        ("a<nl>b", "a\nb"),
        ("left<|im_end|>right", "left right"),
    ],
)
def test_what_becomes_of_tokens(text: str, told: str) -> None:
    assert without_tokens(text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Sincerely</s>", "Sincerely"),
        ("Sincerely\n<end_of_turn>\n<pad><pad>", "Sincerely\n"),
        ("<s>was</s>", "<s>was</s>"),
        ("the tag <pad> fills", "the tag <pad> fills"),
    ],
)
def test_what_ends_an_answer_is_no_text(text: str, told: str) -> None:
    assert with_plain_bars(text) == told


MARKS = ["<fcel>", "<ecel>", "<nl>", "<lcel>", "<table>", "</table>", "<|x_y|>", "&lt;nl&gt;", "<", "|", "\n"]


@given(st.lists(st.sampled_from(MARKS), max_size=14))
def test_every_word_between_tokens_stays(marks: list[str]) -> None:
    text = "".join(f"{mark}w{number}w" for number, mark in enumerate(marks))
    told = without_tokens(text)
    assert all(f"w{number}w" in told for number in range(len(marks)))
    assert not {mark for mark in ("<fcel>", "<ecel>", "<nl>", "<lcel>", "<|x_y|>", "&lt;nl&gt;") if mark in told}
