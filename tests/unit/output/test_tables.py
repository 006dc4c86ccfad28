"""Tables become Markdown where it can hold them, and stay HTML where it can't."""

from html import escape, unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ocrd.markup import layout_blocks
from ocrd.markup.layout_blocks import Block
from ocrd.output import markdown, tables
from ocrd.output.markdown import Style
from ocrd.output.plain_text import plain


def written(html: str, style: Style | None = None) -> str:
    return markdown.words(Block("table", (), html), style or Style())


def test_a_plain_table_becomes_markdown() -> None:
    assert written("<table><tr><td>Name</td><td>Sum</td></tr><tr><td>a|b</td><td>1 < 2<br>x</td></tr></table>") == (
        "| Name | Sum |\n| --- | --- |\n| a\\|b | 1 < 2<br>x |"
    )


def test_html_can_be_wanted() -> None:
    assert written("<table><tr><td>a</td></tr></table>", Style(tables="html")) == (
        "<table><tbody><tr><td>a</td></tr></tbody></table>"
    )


@pytest.mark.parametrize(
    "html",
    [
        '<table><tr><td colspan="2">a</td></tr><tr><td>b</td><td>c</td></tr></table>',
        "<table><tr><td rowspan=2>a</td></tr></table>",
        "<table><tr><td>a</td></tr><tr><td>b</td><td>c</td></tr></table>",
        "<table><tr><td><table><tr><td>a</td></tr></table></td></tr></table>",
    ],
)
def test_what_markdown_cannot_hold_stays_html(html: str) -> None:
    assert written(html).startswith("<table><tbody>")


def test_a_table_that_was_cut_off_is_closed() -> None:
    assert written("<table><tr><td>a</td><td>b</td></tr><tr><td>c") == (
        "<table><tbody><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></tbody></table>"
    )


def test_a_caption_stands_before_it() -> None:
    assert written("<table><caption>Table 1</caption><tr><td>a</td></tr></table>") == "Table 1\n\n| a |\n| --- |"


def test_text_around_a_table_stays_around_it() -> None:
    assert written("before\n<table><tr><td>a</td></tr></table>\nafter") == "before\n\n| a |\n| --- |\n\nafter"


@pytest.mark.parametrize(
    ("cell", "markdown", "html"),
    [
        ("\\(x_1 < 2\\)", "$x_1 < 2$", "$x_1 &lt; 2$"),
        ("6\\~7 \\%", "6\\~7 \\%", "6~7 %"),
        ("&amp;gt; 5", "> 5", "&gt; 5"),
        ("x<sup>2</sup>", "x<sup>2</sup>", "x<sup>2</sup>"),
        ("<p>one</p><p>two</p>", "one<br>two", "one<br>two"),
        ("2.46**", "2.46\\*\\*", "2.46**"),
        ("&lt;b&gt;", "&lt;b>", "&lt;b&gt;"),
        ("&lt;fcel&gt;", "", ""),
        ("|x|", "\\|x\\|", "|x|"),
    ],
)
def test_what_becomes_of_a_cell(cell: str, markdown: str, html: str) -> None:
    (block,) = layout_blocks.parse(f"<table><tr><td>{cell}</td></tr></table>")
    assert written(block.text) == f"| {markdown} |\n| --- |"
    assert written(block.text, Style(tables="html")).replace(" </td>", "</td>").replace("<td> ", "<td>") == (
        f"<table><tbody><tr><td>{html}</td></tr></tbody></table>"
    )


def test_sums_of_money_in_two_cells_are_no_formula() -> None:
    assert written("<table><tr><td>$5</td><td>$6</td></tr></table>") == "| \\$5 | \\$6 |\n| --- | --- |"


def test_a_formula_does_not_go_on_in_the_next_cell() -> None:
    assert written("<table><tr><td>\\(a</td><td>b\\)</td></tr></table>", Style(tables="html")).count("<td>") == 2


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=6)
ROWS = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1))


@given(ROWS)
def test_the_rows_of_a_table_are_the_rows_that_were_read(rows: list[list[str]]) -> None:
    lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    table = tables.parse(f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>")
    assert [list(map(unescape, row)) for row in table.rows] == rows
    text = tables.as_markdown(tables.Table("", tuple(tuple("x" for _ in row) for row in rows), plain=True))
    assert text
    shown = MarkdownIt("commonmark").enable("table").render(text)
    assert (shown.count("<tr>"), shown.count(">x</")) == (len(rows), sum(map(len, rows)))


def test_plain_text_of_both_kinds_of_table() -> None:
    assert plain(written("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>")) == "a\tb\nc\td"
    assert plain(written("<table><tr><td>a</td><td>b</td></tr><tr><td colspan=2>c</td></tr></table>")) == "a\tb\nc"
