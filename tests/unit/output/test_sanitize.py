"""Whatever is printed on a page, its Markdown is harmless, and nothing of it is dropped."""

import html
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ocrd.output import sanitize

SPITEFUL = [
    "<script>", "alert(1)", "</script>", "<img src=x onerror=alert(1)>", "<a href='javascript:alert(1)'>", "<!--",
    "-->", "<iframe>", "<svg/onload=alert(1)>", "<style>", "<textarea>", "<plaintext>", "<![CDATA[", "<?php",
    "<!DOCTYPE x>",
    "[x](javascript:alert(1))", "![x](http://evil/y.png)", "[x]: javascript:alert(1)", "<javascript:alert(1)>", "[x]",
    "[y](<javascript:alert(1)>)", "&#106;avascript:", "](", "![", "]:", "\\", "`", "``", "```", "~~~", "    ", "\t",
    "> ", "- ", "1. ", "| ", "---", "\n", "\n\n", " ", "<table>", "<tr>", "<td>", "<td colspan=2>", "</td>", "</tr>",
    "</table>", "<td onclick='x'>", "<table onclick=alert(1)>", "<b>", "</b>", "<br>", "<center>", "</center>",
    "<sup>", "</sup>",
    "\\(", "\\)", "\\[", "\\]", "$", "a<b", "x<y>z", "word", "é", "\ue0000\ue001", "\x00", "\u2028",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(SPITEFUL), max_size=14).map("".join) | st.text(max_size=80)


def safe(text: str) -> str:
    return "\n\n".join(map(sanitize.safe, sanitize.pieces(sanitize.clean(text))))


class Tags(HTMLParser):
    """Gathers what a browser would take for tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.odd: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_comment(self, data: str) -> None:
        self.odd.append(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


OURS = {
    "table",
    "caption",
    "thead",
    "tbody",
    "tfoot",
    "tr",
    "td",
    "th",
    "b",
    "i",
    "u",
    "s",
    "em",
    "strong",
    "sub",
    "sup",
    "br",
}
MARKDOWN = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "hr", "a"}


@settings(max_examples=1500)
@given(TEXTS)
@example("- a\n  ```\n<script>x</script>\n  ```")
@example("foo `bar\nbaz` <script>x</script> `y`")
@example("\\`<script>x</script>`")
@example("`<script>\n\n</script>`")
@example("[x\\](javascript:alert(1))")
@example("<br>\n```\n<script>\n```")
@example("<table>\n\n```\n<script>x</script>\n```")
@example("\\<script>x</script> \\\\<script>")
@example("> ```\n<script>")
@example("```\n<script>\n")
@example("1. ~~~\n<img src=x onerror=alert(1)>")
def test_rendered_by_commonmark_nothing_but_harmless_tags_is_left(text: str) -> None:
    seen = Tags(MarkdownIt("commonmark", {"html": True}).enable("table").render(safe(text)))
    assert not seen.odd
    for tag, attributes in seen.found:
        assert tag in OURS | MARKDOWN
        assert attributes.keys() <= {"colspan", "rowspan", "href", "start", "class", "style", "title"}
        assert re.match(r"https?://|mailto:|$", attributes.get("href") or "")
        assert attributes.keys() & {"class"} == set() or tag == "code"


@given(TEXTS)
def test_what_is_read_cannot_run_over_its_end(text: str) -> None:
    shown = MarkdownIt("commonmark", {"html": True}).render(f"{safe(text)}\n\n<!-- page 2 -->\n\n*after*\n")
    assert "<!-- page 2 -->\n<p><em>after</em></p>\n" in shown


ALLOWED = re.compile(rf"</?(?:{'|'.join(OURS)})(?:\s[^<>]*)?/?>|</?center>", re.IGNORECASE)


def letters(text: str) -> Counter[str]:
    return Counter(char for char in html.unescape(text) if char.isalnum())


@settings(max_examples=1500)
@given(TEXTS)
@example("<table><tr><td>a</td></tr>tail</table> after <table>b")
@example("<table><caption>c</caption>x<tr>y<td>z")
@example("a < b and x<y>z and <b and c>")
@example("<td>lone</td> <table>")
def test_no_letter_is_lost(text: str) -> None:
    assert not letters(ALLOWED.sub("", sanitize.clean(text.replace("&#106;", "")))) - letters(safe(text))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a < b && c > d", "a < b && c > d"),
        ("x<y>z", "x&lt;y>z"),
        ("see `if (a<b)`, `x`", "see <code>if \\(a&lt;b\\)</code>, `x`"),
        ("```c\nif (a<b) <T>\n```", "```c\nif (a<b) <T>\n```"),
        ("```\nopen", "```\nopen\n```"),
        ("H<sub>2</sub>O and <b>bold", "H<sub>2</sub>O and &lt;b>bold"),
        ("<center>Figure 1</center>", "Figure 1"),
        ("one<br>two", "one  \ntwo"),
        ("\\(a <b\\) and \\[ x_1 \\]", "$a < b$ and\n$$x_1$$"),
        ("\\[\n\\frac{a}{b}\n\\]", "$$\\frac{a}{b}$$"),
        ("\\( open", "\\( open"),
        ("[ok](https://a.example/b)", "[ok](https://a.example/b)"),
        ("[no](javascript:x)", "[no]\\(javascript:x)"),
        ("![no](https://a.example/b.png)", "!\\[no](https://a.example/b.png)"),
        ("[1]: Smith", "[1]\\: Smith"),
        ("<!-- page 2 -->", "&lt;!-- page 2 --&gt;"),
        ("[click](http://x)", "[click](http://x)"),
    ],
)
def test_what_becomes_of(text: str, told: str) -> None:
    assert safe(text) == told


def test_a_table_keeps_its_spans_and_loses_its_handlers() -> None:
    text = '<table onclick="x"><tr><td colspan="2" rowspan=3 style="color:red">a<script>b</script></td></tr>'
    assert safe(text) == (
        '<table><tbody><tr><td colspan="2" rowspan="3">a&lt;script&gt;b&lt;/script&gt;</td></tr></tbody></table>'
    )


def test_an_empty_line_cannot_end_a_table() -> None:
    assert "\n\n" not in safe("<table><tr><td>a\n\n \n\nb</td></tr></table>")


@given(st.text())
def test_clean_text_is_utf_8_without_controls(text: str) -> None:
    text = sanitize.clean(text + "\ud800\x00\r\n\r")
    text.encode()
    assert not set(text) & {chr(code) for code in (*range(9), *range(11, 32), *range(127, 160))}
