"""What a reading says: its words, without the markup around them. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from html import unescape
from itertools import chain
from typing import NamedTuple, Self

from ocrd.markup import formulas, layout_blocks
from ocrd.markup.layout_blocks import Block

_MARKUP = re.compile(
    r"</?t[rdh]\b[^<>]*>|!\[[^\[\]]*\]\([^()]*\)"
    r"|</?(?:table|caption|thead|tbody|tfoot|b|i|u|s|em|strong|sub|sup|center|br|hr|p|div|span|h[1-6]|[uo]l|li"
    r"|img|figure|figcaption)\b[^<>]*>",
    re.IGNORECASE,
)
"""Pictures, and what engines write for the look of a text. Any other tag stands on the page: the print of a program, or
of the source of a web page."""
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
"""A word, or a character of a script that writes none apart. Dots, dashes, underscores and bars are none:
leaders, rules and the lines of a form may be as long as they like."""
_LINE = re.compile(r"[^\W_].*")
_COUNTER = re.compile(r"\n[ \t]*\(?(?:\d{1,4}|[a-z]{1,2}|[ivxlc]{1,8})[.)] ")
"""The number or letter of a list's item, behind the end of the line before."""
_CELL = re.compile(r"<t[dh]\b[^<>]*>")
_BREAK = re.compile(r"<(?=(?:tr|br|p|div|li|h[1-6])\b)")
"""What begins a line."""


RUN = 3
"""Words that are compared at once: fewer would take every second `of the` for a step of a loop."""
_SOME = 200
"""Words that tell which script they all are of."""
_SIGNS = range(0x100, 0x110000)
"""Characters for a million different words; those of the first 65,000 take two bytes."""
_ONCE, NUMBER, _NO_WORD = "-", "#", "?"
"""Characters for all words that stand only once, of which no repetition is made, for a number, whatever it is, and for
what is none of the words."""
PHRASE = 5
"""Words that make a phrase."""
_FEW = 28
"""Repeated phrases that mean nothing."""


class Paragraph(NamedTuple):
    """A part of a text."""

    words: list[str]
    place: int
    """Number of its block."""
    density: float
    """Letters that its block would have if it filled the page; 0 where nobody knows."""


@dataclass(frozen=True)
class Words:
    """A text taken apart."""

    raw: str
    """As the engine gave it."""
    blocks: tuple[Block, ...]
    """The blocks that the engine gave; one without a box where it names none."""
    text: str
    """Without tags of places and special tokens."""
    plain: str
    """Without any markup, and without the numbers of lists; each row of a table is a line, its cells between bars."""
    words: list[str]
    """Its words, in small letters."""
    letters: int
    """Letters and digits that stand on the page if this is what it says, those of the lists' numbers too."""

    @classmethod
    def of(cls, raw: str) -> Self:
        """Take a text apart."""
        blocks = tuple(layout_blocks.parse(raw))
        text = "\n".join(block.text for block in blocks)
        plain, counters = _without_counters(without_markup(text))
        words = _WORD.findall(plain.lower())
        return cls(raw, blocks, text, plain, words, len("".join(words)) + counters)

    def between(self, first: int, last: int) -> str:
        """Give the text from one of the words to another, the number of each given, in small letters."""
        places = self._places
        return places[first].string[places[first].start() : places[last].end()]

    @cached_property
    def _places(self) -> list[re.Match[str]]:
        return list(_WORD.finditer(self.plain.lower()))

    @cached_property
    def lines(self) -> int:
        """How many lines have a word in them."""
        return len(_LINE.findall(self.plain))

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each of the words stands there."""
        return Counter(self.words)

    @cached_property
    def numbers(self) -> int:
        """How many of the words are numbers."""
        return sum(map(self.counts.__getitem__, self._numerals))

    @cached_property
    def _numerals(self) -> list[str]:
        """The different numbers among the words."""
        return list(filter(str.isdigit, self.counts))

    @cached_property
    def paragraphs(self) -> list[Paragraph]:
        """Each block, or each line of it; a table in one."""
        found = []
        for place, block in enumerate(self.blocks):
            parts = [_WORD.findall(without_markup(part).lower()) for part in _parts(block.text)]
            area = sum((box.right - box.left) * (box.bottom - box.top) for box in block.boxes)
            letters = sum(len("".join(part)) for part in parts)
            found += [Paragraph(part, place, letters / area if area else 0.0) for part in parts]
        return found

    @cached_property
    def spelled(self) -> str:
        """One character for each word, the same for the same; `_ONCE` for those that stand only once, numbers aside."""
        numerals = dict(zip(self._numerals, map(chr, _SIGNS[len(self.counts) :]), strict=False))
        return self._written(self._signs | numerals)

    @cached_property
    def numbered(self) -> str:
        """One character for each word, the same for all numbers."""
        return self._written(self._signs | dict.fromkeys(self._numerals, NUMBER)) if self._numerals else self.spelled

    def _written(self, signs: dict[str, str]) -> str:
        return "".join(map(signs.__getitem__, self.words))

    def spell(self, words: Iterable[str]) -> str:
        """Write one character for each of its words, or for what is none of them, such as the number of an item."""
        return "".join([self._alphabet.get(word, _NO_WORD) for word in words])

    @cached_property
    def _alphabet(self) -> dict[str, str]:
        return dict(zip(self.counts, map(chr, _SIGNS), strict=False))

    @cached_property
    def _signs(self) -> dict[str, str]:
        often = [word for word, times in self.counts.items() if times > 1]
        return dict.fromkeys(self.counts, _ONCE) | dict(zip(often, map(chr, _SIGNS), strict=False))

    @cached_property
    def _echoes(self) -> bytes:
        """For each run of RUN words, numbers aside: 1 if it stands more than once, and may be a part of a phrase."""
        length = RUN * self.scale
        stretches = list(recurring(self.numbered, PHRASE * self.scale))
        runs = [runs_of(self.numbered[begin:end], length) for begin, end in stretches]
        often = Counter(chain.from_iterable(runs))
        if len(often) == sum(map(len, runs)):
            return b""
        echoes = bytearray(len(self.words))
        for (begin, end), inside in zip(stretches, runs, strict=True):
            echoes[begin : end - length + 1] = bytes(map((1).__lt__, map(often.__getitem__, inside)))
        return bytes(echoes)

    def echoing(self, length: int) -> Iterator[tuple[int, int]]:
        """Find the words, from the first up to one, of which so many runs, one after the other, stand more than once.

        A run is of RUN words, or of twice as many characters; together they must be at least a phrase.
        """
        more = RUN * self.scale - 1
        return ((run.start(), run.end() + more) for run in re.finditer(b"\1{%d,}" % length, self._echoes))

    def echo(self, length: int) -> int:
        """Count the places of which so many runs, one after the other, stand more than once."""
        found = re.findall(b"\1{%d,}" % length, self._echoes)
        return sum(map(len, found)) - (length - 1) * len(found)

    @cached_property
    def repeats(self) -> int:
        """How many phrases stand there before, if that may be many."""
        return self._old.count(1)

    def repeats_within(self, length: int) -> int:
        """Give the most of them, or some more, that stand in any stretch of so many words."""
        starts = range(0, len(self._old), max(1, length // 2))
        return max((self._old.count(1, start, start + length * 3 // 2) for start in starts), default=0)

    @cached_property
    def _old(self) -> bytes:
        """For each phrase: 1 if it stands there before; nothing if there are few of those."""
        length, least = PHRASE * self.scale, (PHRASE - RUN) * self.scale + 1
        if self.echo(least) < min(_FEW, len(self.words) / 10):
            return b""
        old, known = bytearray(len(self.words)), set[str]()
        for begin, end in self.echoing(least):
            for place, phrase in enumerate(runs_of(self.spelled[begin:end], length), begin):
                if phrase in known:
                    old[place] = 1
                known.add(phrase)
        return bytes(old)

    @cached_property
    def scale(self) -> int:
        """How many of the words make one: 2 where most of them are Chinese, Japanese or Korean characters, else 1."""
        some = self.words[:: max(1, len(self.words) // _SOME)]
        if max(some, default="") < "\u3040":
            return 1
        return 2 if 2 * sum("\u3040" <= word <= "\ud7af" for word in some) > len(some) else 1


def runs_of(spelled: str, length: int) -> list[str]:
    """Give all runs of so many words, each spelled as one character."""
    return [spelled[start : start + length] for start in range(len(spelled) - length + 1)]


def recurring(spelled: str, length: int) -> Iterator[tuple[int, int]]:
    """Find the stretches of at least so many words of which each stands more than once: from where up to where."""
    return (stretch.span() for stretch in re.finditer(f"[^{_ONCE}]{{{length},}}", spelled))


def candidates(spelled: str, length: int) -> dict[int, str]:
    """Give the runs of so many words that may stand more than once, by their places: those of which each word does."""
    return {
        start: spelled[start : start + length]
        for begin, end in recurring(spelled, length)
        for start in range(begin, end - length + 1)
    }


def repeats(spelled: str, length: int) -> int:
    """Count the runs of so many words that stand there before."""
    runs = candidates(spelled, length)
    return len(runs) - len(set(runs.values()))


def _parts(text: str) -> list[str]:
    return [text] if "<t" in text else [part for part in text.split("\n") if part]


def without_markup(text: str) -> str:
    """Take off HTML, entities and TeX's commands."""
    if "<" in text:
        text = _CELL.sub("|", _BREAK.sub("\n<", text))
    if "<" in text or "![" in text:
        text = _MARKUP.sub(" ", text)
    if "&" in text:
        text = unescape(unescape(text))
    return formulas.without_commands(text) if "\\" in text else text


def _without_counters(plain: str) -> tuple[str, int]:
    lines = f"\n{plain}"
    counters = _COUNTER.findall(lines)
    if not counters:
        return plain, 0
    return _COUNTER.sub("\n", lines)[1:], sum(map(str.isalnum, "".join(counters)))
