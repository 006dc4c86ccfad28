"""Pages that a model wrote as HTML are the Markdown that says the same; printed HTML is text."""

import pytest

from ocrd.markup.html_structure import as_markdown


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("<div class='x'><span>one</span></div>", "one"),
        ("<ul><li>one</li><li>two<ol><li>inner</li></ol></li></ul>", "- one\n- two\n\n    1. inner"),
        ("<h2>Title</h2>text<hr>", "## Title\n\ntext\n\n---"),
        ('<a href="https://a.example/">there</a>', "[there](https://a.example/)"),
        ("<html><body><header>one</header><pre>two\n three</pre></body></html>", "one\n\ntwo\n three"),
        ("one\n<img>a stamp</img>\n<page_number>7</page_number>", "one\na stamp\n7"),
        ("<p>one <b>two</b></p><div><p>cut o", "one <b>two</b>\n\ncut o"),
    ],
)
def test_html_is_taken_as_what_it_is(text: str, written: str) -> None:
    assert as_markdown(text).strip() == written


def test_around_a_table_or_code_it_goes_and_those_stay() -> None:
    table, code = "<table><tr><td><p>7</p></td></tr></table>", "```html\n<p>code\n```"
    assert as_markdown(f"<div><html>{table}</html></div>").strip() == table
    assert as_markdown(f"<p>one</p>\n{code}\n<p>two</p>").split() == ["one", *code.split(), "two"]


@pytest.mark.parametrize(
    "text",
    [
        "<p>not closed",
        "write <p> and </p> or </b>",
        "<p>printed <script>x</script></p>",
        "<p>one</p> </div>",
        "a < b > c",
    ],
)
def test_the_source_of_a_page_is_text(text: str) -> None:
    assert as_markdown(text) == text
