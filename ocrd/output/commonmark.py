"""The Markdown that outputs are written in, read back: CommonMark with GFM's tables, and formulas between dollars."""

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline

_FORMULA = re.compile(r"\$\$(?:\\.|[^\\$])+\$\$|\$(?:\\.|[^\\$\n])+\$", re.DOTALL)


@cache
def parser() -> "MarkdownIt":
    """Give a parser for which a formula is text, word for word, dollars included; HTML is rendered as it stands."""
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    markdown.inline.ruler.before("escape", "formula", _formula)
    return markdown


def _formula(state: "StateInline", silent: bool) -> bool:  # noqa: FBT001 - markdown-it calls it so
    found = _FORMULA.match(state.src, state.pos) if state.src[state.pos] == "$" else None
    if found is None:
        return False
    if not silent:
        state.push("text", "", 0).content = found[0]
    state.pos = found.end()
    return True
