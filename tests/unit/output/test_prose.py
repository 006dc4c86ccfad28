"""What is no markup shows as it stands on the page, and what is markup works."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

from ocrd.output import commonmark
from ocrd.output.prose import heading, last_number, line, prose

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")
WITH_FORMULAS = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin, double_inline=True)


def html(text: str, *, own_markdown: bool = False) -> str:
    return MARKDOWN.render(prose(text, own_markdown=own_markdown)).strip()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("> 5 mm", "\\> 5 mm"),
        ("    far from the margin", "far from the margin"),
        ("Total\n-----", "Total\n\\-----"),
        ("Total\n===", "Total\n\\==="),
        ("~~~~", "\\~\\~\\~\\~"),
        ("# Parameter:", "\\# Parameter:"),
        ("#1 of 3", "#1 of 3"),
        ("5*3*2", "5\\*3\\*2"),
        ("a * b", "a * b"),
        ("2.46**", "2.46\\*\\*"),
        ("Smith\\*, Jones\\\\*", "Smith\\*, Jones\\*"),
        ("\\\\server\\share", "\\\\\\server\\share"),
        ("snake_case __init__", "snake_case \\_\\_init__"),
        ("Name ____ Date ____", "Name ____ Date ____"),
        ("(____) or (____)", "(\\_\\_\\_\\_) or (\\_\\_\\_\\_)"),
        ("+ 5 °C", "\\+ 5 °C"),
        ("* p < .05", "\\* p < .05"),
        ("- 12 -", "\\- 12 -"),
        ("1984. A novel", "1984\\. A novel"),
        ("---", "\\---"),
        ("a `b` c`", "a `b` c\\`"),
        ("&amp;gt; 5 &lt; 7 &amp; 8, R&D, AT&amp;T", "\\> 5 < 7 & 8, R&D, AT&T"),
        ("&lt;b&gt;", "&lt;b>"),
        ("&nosuch; &#35;", "&amp;nosuch; #"),
        ("costs $5", "costs $5"),
        ("$5 to $10", "\\$5 to \\$10"),
        ("\\(x\\) for $5", "$x$ for \\$5"),
        ("[读](dú)", "[读]\\(dú)"),
        ("ends with \\", "ends with \\\\"),
        ("**bold** and *slanted* words", "**bold** and *slanted* words"),
        ("前**“要点”**后", "前<strong>“要点”</strong>后"),
        ("2**3**4", "2\\*\\*3\\*\\*4"),
        ("Which?\nA. one\nB. two \nC. three", "Which?  \nA. one  \nB. two  \nC. three"),
        ("A. \\(x\\)\nB. \\(y\\)", "A. $x$  \nB. $y$"),
        ("如下:\n(1)甲\n②乙", "如下:  \n(1)甲  \n②乙"),
        ("a letter to Mr\nA. Smith", "a letter to Mr\nA. Smith"),
        ("- one\n- two", "- one\n- two"),
        ("- one\n  - inner\n- two", "- one\n  - inner\n- two"),
        ("1. one\n2. two", "1. one\n2. two"),
        ("3. one\n3. two", "3. one\n\n3\\. two"),
        ("H<sub>2</sub>O, <u>under <b>bold</b></u>", "H<sub>2</sub>O, <u>under <b>bold</b></u>"),
        ("<sup>open", "&lt;sup>open"),
        ("one<br>two", "one  \ntwo"),
        ("see \\[1, 2\\]", "see [1, 2]"),
        ("\\(\\)", ""),
        ("at \\(\\) 2\\$ million", "at \\$2 million"),
        ("\\[x\\] \\[y\\]", "$$x$$\n\n$$y$$"),
        ("<p>one</p>", "&lt;p>one&lt;/p>"),
    ],
)
def test_what_becomes_of_plain_text(text: str, written: str) -> None:
    assert prose(text) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("# Title\ntext", "# Title\ntext"),
        ("f = 1\n# a comment", "f = 1\n\\# a comment"),
        ("# C #", "# C \\#"),
        ("above\n\n---\n\nbelow", "above\n\n---\n\nbelow"),
        ("Total\n-----", "Total\n\\-----"),
        ("> 5 mm", "\\> 5 mm"),
        ("* one\n* two", "* one\n* two"),
        ("_a whole phrase_ _x_", "*a whole phrase* \\_x_"),
        ("$x_1$ for $5 or $6", "$x_1$ for \\$5 or \\$6"),
        ("$$\nx\n$$", "$$x$$"),
        ("![a plan](page_7.png)", "a plan"),
        ("![image](image_1.png)", ""),
        ("![a plan](https://a.example/7.png)", "!\\[a plan](https://a.example/7.png)"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "| a | b |\n|---|---|\n| 1 | 2 |"),
        ("<p>not closed", "&lt;p>not closed"),
        ("<p>printed <script>x</script></p>", "&lt;p>printed &lt;script>x&lt;/script>&lt;/p>"),
    ],
)
def test_what_becomes_of_a_writers_own_markdown(text: str, written: str) -> None:
    assert prose(text, own_markdown=True) == written


SIGNS = st.sampled_from(
    ["a", "B7", "é", "漢", "1", " ", "    ", "\n", "\n\n", "\t", "# ", "#", "> ", "- ", "-", "+ ", "* ", "*", "**", "_",
     "__", "~", "~~~", "= ", "===", "---", "1. ", "2) ", "12. ", "$", "$$", "(", ")", "[", "]", "!", ":", "|",
     "| - |", "`", ".", "&", "<", ">", '"'],
)  # fmt: skip


def told(tokens: list[Token]) -> str:
    """Give all that a reader sees, signs of lists with it."""
    parts = []
    for token in tokens:
        parts.append(told(token.children or []) if token.type == "inline" else "")
        parts.append(f"{token.info}{token.markup}" if token.type == "list_item_open" else "")
        parts.append(token.content if token.type in ("text", "code_inline", "fence", "code_block") else "")
    return "".join(parts)


def visible(text: str) -> str:
    """Keep what emphasis and code have no part in."""
    return re.sub(r"[\s*`]+", "", text)


@settings(max_examples=2000)
@given(st.lists(SIGNS, max_size=14).map("".join))
@example("- a\n\n      b")
@example("a\n=")
@example("1. a\n1. b")
@example("2. a\n\n3. b\n\n7. c")
@example("$a $b$")
@example("x **a**b**")
def test_every_sign_of_plain_text_is_seen(text: str) -> None:
    tokens = commonmark.parser().parse(prose(text))
    assert not {token.type for token in tokens} & {"blockquote_open", "code_block", "heading_open", "hr", "fence"}
    assert visible(told(tokens)) == visible(text)


@settings(max_examples=1000)
@given(
    st.lists(
        SIGNS | st.sampled_from(["\\(", "\\)", "\\[", "\\]", "\\", "\\*", "&amp;", "<b>", "</b>", "<br>"]), max_size=14
    )
)
def test_in_every_mode_every_word_is_seen_once(signs: list[str]) -> None:
    words = [f"q{number}w" for number in range(len(signs))]
    text = "".join(f"{sign}{word}" for sign, word in zip(signs, words, strict=True))
    for own in (False, True):
        tokens = MARKDOWN.parse(prose(text, own_markdown=own))
        found = re.findall(r"q\d+w", "".join(token.content for token in tokens if token.type != "html_block"))
        assert found == words
        assert not any(token.type == "html_block" for token in tokens)


@given(st.lists(SIGNS, max_size=10).map("".join))
def test_what_was_written_is_written_the_same_again(text: str) -> None:
    once = prose(text, own_markdown=True)
    assert visible(told(commonmark.parser().parse(prose(once, own_markdown=True)))) == visible(
        told(commonmark.parser().parse(once))
    )


FORMULAS = [
    "\\(a <b\\)", "\\(a +\nb\\)", "\\(x \\text{ (with \\(y\\) small)}\\)", "\\[ a \\\\[2mm] b \\\\(c) \\]",
    "\\(5\\$\\)",
    "\\[\n\na\n\n= b\n- c\n\\]", "\\begin{align*} a &= b \\\\ c \\end{align*}", "\\( a \\\\ \\)", "\\(p &lt; .05\\)",
    "\\(`x'\\)", "\\(|x|\\)", "\\(![a](b)\\)", "\\[\\text{$z$}\\]",
]  # fmt: skip


@given(
    st.lists(st.sampled_from(FORMULAS), min_size=1, max_size=4), st.sampled_from([" ", " and ", "\n", "\n\n", "$5 "])
)
def test_every_formula_stays_in_one_piece(made: list[str], between: str) -> None:
    tokens = WITH_FORMULAS.parse(prose(between.join(made)))
    flat = [child for token in tokens for child in (token.children or [token])]
    seen = [token.content for token in flat if token.type.startswith("math")]
    assert len(seen) == len(made)
    assert not any(re.search(r"(?<!\\)\$", text) for text in seen)
    assert not any(re.search(r"\\[()]", token.content) for token in flat if token.type == "text")


def test_items_of_neighbouring_blocks_keep_their_numbers() -> None:
    first = prose("41. one\n42. two")
    assert last_number(first) == 42
    assert prose("43. three", number=last_number(first)) == "43. three"
    assert prose("45. four", number=last_number(first)) == "45\\. four"
    assert last_number("1. one\n\ntext") == 0


def test_a_heading_is_one_line_of_its_own_level_or_of_that_given() -> None:
    assert heading("Report\nof 2026", "##") == "## Report of 2026"
    assert heading("### Report", "##") == "### Report"
    assert heading("In C #", "#") == "# In C \\#"
    assert heading("One<br>Two", "#") == "# One Two"


def test_in_a_line_nothing_begins_a_block() -> None:
    assert line("# a\n- b, \\[x\n+ y\\]") == "# a\n- b, $$x + y$$"
    assert line("$5", dollars=True) == "\\$5"
