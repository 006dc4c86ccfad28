"""Formulas are found between TeX's brackets and between dollars, and nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrd.markup import formulas


def written(text: str, *, dollars: bool = False) -> str:
    return formulas.replace(text, formulas.with_dollars, dollars=dollars)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\\(a <b\\)", "$a < b$"),
        ("\\( open", "\\( open"),
        ("\\(a\n\nb\\)", "\\(a\n\nb\\)"),
        ("\\(a +\nb\\)", "$a + b$"),
        ("\\[ a \\\\[2mm] b \\\\(c) \\]", "$$a \\\\[2mm] b \\\\(c)$$"),
        ("\\(x \\text{ (with \\(y\\) small)}\\)", "$x \\text{ (with }y\\text{ small)}$"),
        ("\\[\\text{if $x$ is}\\]", "$$\\text{if }x\\text{ is}$$"),
        ("\\(5$\\)", "$5\\$$"),
        ("\\( a \\\\ \\)", "$a$"),
        ("\\(p &lt; .05 &amp;amp; q\\)", "$p < .05 & q$"),
        ("\\[\na\n\n= b\n\nc\n\\]", "$$\na = b\nc\n$$"),
        ("\\begin{align*} a &= b \\\\ c \\end{align*}", "$$\\begin{align*} a &= b \\\\ c \\end{align*}$$"),
        (
            "\\[\\begin{array}{l} 1\\] \\[2\\] \\[3 \\end{array}\\]",
            "$$\\begin{array}{l} 1 \\\\{} 2 \\\\{} 3 \\end{array}$$",
        ),
        ("a\\(\\)b", "ab"),
        ("of \\(x\\) , \\(y\\) ( \\(z\\) ) and \\(v\\) . So", "of $x$, $y$ ($z$) and $v$. So"),
        ("（ \\(x\\) ），且 \\(y\\) 。", "（$x$），且 $y$。"),  # noqa: RUF001
        ("soit \\(x\\) : et \\(y\\) .5 ou \\(z\\) ...", "soit $x$ : et $y$ .5 ou $z$ ..."),
        ("\\(54.1\\%\\), \\(+2 4 . 5 \\%\\), \\(1,200\\%\\)", "54.1%, +24.5%, 1,200%"),
        ("\\((5)\\) and \\(①\\)", "(5) and ①"),
        ("\\(1, 2\\%\\), \\(-5\\%\\), \\(x\\%\\), \\(5\\)", "$1, 2\\%$, $-5\\%$, $x\\%$, $5$"),
        ("\\[5\\%\\]", "$$5\\%$$"),
        ("for\\(one day and a night\\)only", "for one day and a night only"),
        (
            "7\\(b of the rules allows 3 days, and no more, for all of this\\) so",
            "7 b of the rules allows 3 days, and no more, for all of this  so",
        ),
        (
            "\\(\\mathrm{rate} = \\frac{\\mathrm{all} \\mathrm{days}}{n}\\)",
            "$\\mathrm{rate} = \\frac{\\mathrm{all} \\mathrm{days}}{n}$",
        ),
        ("\\(a_{1} + b} + \\{c\\}\\)", "$a_{1} + b + \\{c\\}$"),
        ("\\(\\frac{a}{b + 1\\)", "$\\frac{a}{b + 1}$"),
        ("see \\[3, 4\\]", "see [3, 4]"),
        ("at \\(\\) 2\\$ million, then \\ \\(0.75\\)", "at \\$2 million, then \\$0.75"),
        ("$x$ is plain", "$x$ is plain"),
    ],
)
def test_what_becomes_of_a_formula(text: str, told: str) -> None:
    assert written(text) == told


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$x$, $x_1$ and $\\alpha$", ["x", "x_1", "\\alpha"]),
        ("$$\na = b\n$$", ["a = b"]),
        ("$5 and $10, $5-$10, US$5 and $ 6, \\$7$", []),
        ("from $5 to that$", []),
    ],
)
def test_dollars_bound_formulas_and_sums_of_money_are_none(text: str, found: list[str]) -> None:
    seen: list[str] = []
    formulas.replace(text, lambda formula: seen.append(formula.tex) or "", dollars=True)
    assert seen == found


SIGNS = [
    "\\(",
    "\\)",
    "\\[",
    "\\]",
    "\\\\",
    "\\text{",
    "}",
    "{",
    "$",
    "$$",
    "\n",
    "\n\n",
    "a",
    "7 ",
    "\\begin{array}",
    "\\end{array}",
]


@given(st.lists(st.sampled_from(SIGNS), max_size=20).map("".join), st.booleans())
def test_no_letter_is_lost_and_no_formula_ends_within_itself(text: str, dollars: bool) -> None:  # noqa: FBT001
    told = formulas.replace(text, lambda formula: f"<{formula.tex}>", dollars=dollars)
    assert told.count("a") >= text.count("a")
    assert told.count("7") == text.count("7")
    for inside in told.split("<")[1:]:
        assert not inside.partition(">")[0].replace("\\\\", "").replace("\\$", "").count("$")


@pytest.mark.parametrize(
    "spite", ["\\(", "\\[ a", "\\begin{array}", "\\( \\text{", "$a ", "$$ a", "\\(\\)", "\\(\\text{a}"]
)
def test_many_openings_take_no_time(spite: str) -> None:
    assert written(spite * 3000, dollars=True).count("a") >= spite.count("a") * 2999
