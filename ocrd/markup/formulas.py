r"""Formulas in TeX: where they stand in a text, and how they are written so that every renderer takes them. Pure.

Models write `\( … \)` and `\[ … \]`; some write `$ … $` and `$$ … $$`, or an environment and nothing around it.
"""

import re
from collections.abc import Callable
from html import unescape
from typing import NamedTuple

_WORDS = r"\\(?:text|textrm|textbf|textit|mbox|mathrm)\s*\{(?:[^{}]|\{[^{}]*\})*\}"
r"""Words in a formula, where a formula may stand again: `\text{ (with \(y\) small)}`."""
_UNIT = rf"{_WORDS}|\\[^()\[\]\n]|[^\\\n]|\\?\n(?![ \t]*\n)"
r"""What a formula consists of: words, commands (`\\[2mm]` ends a line), and all else but an empty line."""
_ENVIRONMENTS = r"equation|align|aligned|gather|gathered|multline|array|cases|split|[pbvBV]?matrix|eqnarray"
_BRACKETS = re.compile(
    rf"(?<!\\)\\\((?P<inline>(?>{_UNIT})*+)\\\)|(?<!\\)\\\[(?P<display>(?>{_UNIT}|\n)*+)\\\]"
    rf"|(?P<bare>\\begin\{{(?P<name>(?:{_ENVIRONMENTS})\*?)\}}.{{1,4000}}?\\end\{{(?P=name)\}})",
    re.DOTALL,
)
_DOLLARS = re.compile(
    r"(?<![\\$])\$\$(?P<display>(?:\\.|[^\\$])+?)\$\$(?!\$)"
    r"|(?<![\\$\w])\$(?P<inline>(?![ \n])(?:\\[^\n]|[^\\$\n]|\n(?![ \t]*\n))+?(?<![ \n]))\$(?![\d$])",
    re.DOTALL,
)
"""A formula between dollars, within the bounds of Pandoc's manual: no space inside of them, no digit behind."""
_SIGN = re.compile(r"\\[A-Za-z]|[\^_=]|\A[^\w\s]*(?:[A-Za-z]|[\d.,]+)[^\w\s]*\Z")
"""What formulas have, or are, and no sum of money with words."""
_TORN = re.compile(r"(?<!\\)\\\]\s*\\\[")
_EMPTY = re.compile(r"\\\(\s*\\\)")
_BESIDE = re.compile(
    r"(?<=\\\)) (?=[,)\]，。、；：）！？”」》】]|\.(?![.\w]))|(?<=[(\[（“「《【]) (?=\\\()"  # noqa: RUF001 - Chinese print
)
"""Space between a formula and what ends or brackets it, which a model makes up. In French some stands before `:;!?`."""
_PLAIN = re.compile(r"\+? ?\d(?: ?\d)*(?:(?: ?\. ?|,)\d(?: ?\d)*)* ?\\%|\( ?\d{1,3} ?\)|[\u2460-\u2473]")
"""A share in per cent, or the number of an item: what looks the same without being a formula."""
_AMOUNT = re.compile(r"\\\(\s*\\\)\s*(?=\d)|\\ \\\((?P<sum>[\d.,]*\d)\s*\\\)|(?<=\d)\\\$(?= [a-z])")
r"""What has become of the sign of dollars where it was taken for a formula's: `\(\) 2\$ million`, `\ \(0.75\)`."""
_PROSE = re.compile(r"\W*[^\W\d_]{2,}(?:[,;:.]?\s+[^\W\d_]+)+\W*")
_GROUP = re.compile(r"\\[A-Za-z]+\s*\{[^{}]*\}|\\[A-Za-z]+")
_LONG_WORD = re.compile(r"[^\W\d_]{3,}")
_MANY_WORDS = 4
_CITED = re.compile(r"[\d\s,;*\u2013-]+")
_ENTITY = re.compile(r"&(?:amp;)?(?:lt|gt|amp|nbsp|quot|#\d+);")
_INNER = re.compile(r"\\\((.*?)\\\)|(?<!\\)\$([^$]*)(?<!\\)\$")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_DOLLAR = re.compile(r"(?<!\\)\$")
_TAG_LIKE = re.compile(r"<(?=[A-Za-z/!?])")
_LINK_LIKE = re.compile(r"(?<=\])(?=\()|(?<=!)(?=\[)")
_GAPS = re.compile(r"\A(?:\s|\\\\(?!\[)|\\\s)+|(?:\s|\\\\|\\(?=\s|\Z))+\Z")
"""Space and ends of lines that have nothing beside them."""
_EMPTY_LINES = re.compile(r"\n\s*\n|\n[ \t]+")
_BLOCK_STARTS = re.compile(r"\n(?=[-+*=>#|~`:]|\d+[.)])")
"""Where Markdown would take a line for the beginning of something else."""


class Formula(NamedTuple):
    """A formula in a text."""

    tex: str
    """Without what bounds it, in one piece; never empty."""
    display: bool
    """Whether it stands on lines of its own."""


def replace(text: str, write: Callable[[Formula], str], *, dollars: bool) -> str:
    """Put what `write` returns in the place of each formula; `dollars` may bound one, too.

    Brackets and dollars around plain words or sums of money bound none: of those the words are left.
    """
    if _EMPTY.search(text):
        text = _AMOUNT.sub(lambda match: "" if match[0] == r"\$" else f"\\${match['sum'] or ''}", text)
    text = _BESIDE.sub("", _TORN.sub(_mended, text))
    text = _BRACKETS.sub(lambda match: _bracketed(match, write), text)
    return _DOLLARS.sub(lambda match: _between_dollars(match, write), text) if dollars else text


def _mended(torn: "re.Match[str]") -> str:
    r"""Write `\\` where a formula ends and another begins in the middle of an environment: rows written as formulas."""
    before = torn.string[: torn.start()]
    return r" \\{} " if before.count(r"\begin{") > before.count(r"\end{") else torn[0]


def _bracketed(match: "re.Match[str]", write: Callable[[Formula], str]) -> str:
    inside = match["bare"] or match["display"] or match["inline"] or ""
    display = match["inline"] is None
    if match["bare"] is None and display and _CITED.fullmatch(inside):
        return f"[{inside}]"  # Markdown's escapes
    if _is_prose(inside):
        return f" {inside.strip()} "
    tex = _tex(inside)
    return write(Formula(tex, display)) if tex else ""


def _is_prose(inside: str) -> bool:
    """Whether what stands between brackets is words in a row, and no formula: most of it, but for TeX's commands."""
    if _PROSE.fullmatch(inside):
        return True
    bare = _GROUP.sub("", inside)
    words = _LONG_WORD.findall(bare)
    return len(words) >= _MANY_WORDS and sum(map(len, words)) > 0.6 * len("".join(bare.split()))


def _between_dollars(match: "re.Match[str]", write: Callable[[Formula], str]) -> str:
    display = match["display"] is not None
    tex = _tex(match["display"] or match["inline"])
    return write(Formula(tex, display)) if tex and (display or _SIGN.search(match["inline"])) else match[0]


def with_dollars(formula: Formula) -> str:
    """Write it as Markdown renderers know formulas, or as text if it is none in earnest."""
    if not formula.display:
        tex = " ".join(formula.tex.split())
        return tex.replace("\\%", "%").replace(" ", "") if _PLAIN.fullmatch(tex) else f"${tex}$"
    tex = _BLOCK_STARTS.sub(" ", formula.tex)
    return f"$$\n{tex}\n$$" if "\n" in tex else f"$${tex}$$"


def _tex(inside: str) -> str:
    r"""Write what is inside so that neither HTML nor Markdown sees anything in it.

    No dollar is left that would end it: a formula within `\text{…}` stands outside of that then, which means the same.
    """
    tex = _ENTITY.sub(lambda match: unescape(unescape(match[0])).replace("\xa0", "~"), inside)
    tex = _INNER.sub(lambda match: f"}}{match[1] or match[2] or ''}\\text{{", tex)
    tex = _DOLLAR.sub(r"\\$", tex).replace("`", r"\lq ")
    tex = _LINK_LIKE.sub(" ", _TAG_LIKE.sub("< ", tex))
    return _balanced(_EMPTY_LINES.sub("\n", _GAPS.sub("", tex)))


def _balanced(tex: str) -> str:
    """Leave out braces that end nothing, and end those that have no end: no parser takes a formula with either."""
    depth = 0

    def kept(match: "re.Match[str]") -> str:
        nonlocal depth
        if match[0] == "}" and depth == 0:
            return ""
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        return match[0]

    return _BRACE.sub(kept, tex) + "}" * depth


def without_commands(text: str) -> str:
    """Give what a reader sees of formulas, roughly: letters and digits, leaders as dots. Without formulas all stays."""
    if not _COMMANDS.search(text):
        return text
    text = _LEADERS.sub(" ........ ", text)
    return _COMMAND.sub(lambda match: "x" if match[1] in _GREEK else " ", text)


_COMMANDS = re.compile(r"\\[(\[{]|\\(?:begin|frac|sqrt|mathrm|text|left|sum|int|cdot|times|[lc]?dots|quad)\b|\$")
_DOTS, _STYLED = r"[lc]?dots?\b[\s{},]*", r"(?:mathrm|text|cdotp?)\b[\s{.]*\}?\s*"
_LEADERS = re.compile(rf"\\(?:{_DOTS}(?:\\{_DOTS})+|{_STYLED}(?:\\{_STYLED}){{3,}})")
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}(?:\{[^{}]*\})?|\\([A-Za-z]+|.)")
_LETTERS = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi
chi psi omega"""
_GREEK = {
    f"{variant}{name}"
    for letter in _LETTERS.split()
    for name in (letter, letter.capitalize())
    for variant in ("", "var")
}
"""Commands that are letters."""
