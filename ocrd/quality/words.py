"""What a reading says: its words, without the markup around them. Pure."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Self

_MARKUP = re.compile(
    r"</?t[rdh]\b[^<>]*>|<\|(ref|det)\|>(?:(?!<\|).)*<\|/\1\|>|<\|[^|]*\|>|!\[[^\[\]]*\]\([^()]*\)"
    r"|</?(?:table|caption|thead|tbody|tfoot|b|i|u|s|em|strong|sub|sup|center|br|hr|p|div|span|h[1-6]|[uo]l|li"
    r"|img|figure|figcaption)\b[^<>]*>",
    re.IGNORECASE,
)
"""Places, pictures, and what engines write for the look of a text. Any other tag stands on the page: the print of a
program, or of the source of a web page."""
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
"""A word, or a character of a script that writes none apart. Dots, dashes, underscores and bars are none:
leaders, rules and the lines of a form may be as long as they like."""
_LINE = re.compile(r"[^\W_].*")
_COUNTER = re.compile(r"^[ \t]*\(?(?:\d{1,4}|[a-z]{1,2}|[ivxlc]{1,8})[.)] ", re.MULTILINE)
"""The number or letter of a list's item."""
_CELL = re.compile(r"<t[dh]\b[^<>]*>")
_BREAK = re.compile(r"<(?=(?:tr|br|p|div|li|h[1-6])\b)")
"""What begins a line."""


@dataclass(frozen=True)
class Words:
    """A text taken apart."""

    raw: str
    """As the engine gave it."""
    plain: str
    """Without markup and the numbers of lists; each row of a table is a line, its cells between bars."""
    words: list[str]
    """Its words, in small letters."""
    letters: int
    """Letters and digits that the engine gave, those of the lists' numbers too."""

    @classmethod
    def of(cls, raw: str) -> Self:
        """Take a text apart."""
        plain = raw
        if "<" in raw:
            plain = _CELL.sub("|", _BREAK.sub("\n<", plain))
        if "<" in raw or "![" in raw:
            plain = _MARKUP.sub(" ", plain)
        plain, counters = _without_counters(plain)
        words = _WORD.findall(plain.lower())
        return cls(raw, plain, words, sum(map(len, words)) + counters)

    @cached_property
    def places(self) -> list[re.Match[str]]:
        """Where each of the words stands in the text in small letters."""
        return list(_WORD.finditer(self.plain.lower()))

    @cached_property
    def lines(self) -> int:
        """How many lines have a word in them."""
        return len(_LINE.findall(self.plain))

    @cached_property
    def numbers(self) -> int:
        """How many of the words are numbers."""
        return sum(map(str.isdigit, self.words))


def _without_counters(plain: str) -> tuple[str, int]:
    counters = _COUNTER.findall(plain)
    if not counters:
        return plain, 0
    return _COUNTER.sub("", plain), sum(map(str.isalnum, "".join(counters)))
