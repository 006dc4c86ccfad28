"""From a reading and the facts of its page image to a verdict, with the reason in words. Pure.

Two questions are asked. Does the text repeat itself as no page does? And is there as much of it as the page holds:
neither far less (lost) nor far more (made up, or gone round in circles)?
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ocrd.model import Attempt, PageFacts, PageImage, PageResult, Reading, Rung, Verdict

_MARKUP = re.compile(
    r"<\|ref\|>.*?<\|/ref\|>|<\|det\|>.*?<\|/det\|>|<\|[^|]*\|>|</?[a-zA-Z][^<>]*>|!\[[^\]]*\]\([^)]*\)"
)
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
"""A word, or a character of a script that writes none apart. Dots, dashes, underscores and bars are none:
leaders, rules and the lines of a form may be as long as they like."""
_IMAGE_BOX = re.compile(r"<\|ref\|>image<\|/ref\|><\|det\|>\[\[(\d+),\s*(\d+),\s*(\d+),\s*(\d+)\]")
_COUNTER = re.compile(r"^[ \t]*\d{1,4}[.)] ", re.MULTILINE)
"""The number of a list's item."""
_GRID = re.compile(r"\||<td|__|\.\.\.\.|\t")
"""Tables, forms and leaders: there the same words may well stand under one another."""
_CELL = re.compile(r"<t[dhr][^<>]*>")
_FIELD = re.compile(r"\||\t|__+")
_LEADER = re.compile(r"\.{4,}|(?:\. ){4,}")
_SENTENCE = re.compile(r"[.!?。]+\s|\n|\.{4,}")
"""What parts two sentences, lines, or the ends of a leader."""
_RUN = 3
"""Words that are compared at once: fewer would take every second `of the` for a step of a loop."""


def judge(page: PageImage, reading: Reading, rung: Rung = Rung.FIRST) -> PageResult:
    """Say what we hold of a reading, and why."""
    verdict, reason = _verdict(page.facts, reading)
    attempt = Attempt(rung, verdict, reason, reading.finish_reason, reading.tokens, reading.seconds)
    return PageResult(page.index, verdict, reason, reading, rung, page.facts, (attempt,))


def blank(page: PageImage) -> PageResult:
    """Give the result of a page whose image shows nothing to read; no engine is asked."""
    return PageResult(page.index, Verdict.BLANK, page.facts.blank, None, Rung.FIRST, page.facts)


def text_layer(reading: Reading, facts: PageFacts) -> PageResult:
    """Give the result of a page whose own text was taken, found sound before."""
    attempt = Attempt(Rung.TEXT_LAYER, Verdict.OK, "", reading.finish_reason, reading.tokens, reading.seconds)
    return PageResult(reading.index, Verdict.OK, "", reading, Rung.TEXT_LAYER, facts, (attempt,))


def failed(index: int, reason: str, rung: Rung = Rung.FIRST, facts: PageFacts | None = None) -> PageResult:
    """Give the result of a page that could not be read at all."""
    attempt = Attempt(rung, Verdict.FAILED, reason, finish_reason="", tokens=0, seconds=0.0)
    return PageResult(index, Verdict.FAILED, reason, None, rung, facts, (attempt,))


def _verdict(facts: PageFacts, reading: Reading) -> tuple[Verdict, str]:
    if reading.finish_reason == "repetition":
        return Verdict.REPEATED, "the engine repeated itself and was stopped"
    text = _MARKUP.sub(" ", reading.text)
    words = _WORD.findall(text)
    letters = sum(map(len, words))
    if reason := _loop(reading.text, words, letters, facts):
        return Verdict.REPEATED, reason
    if reading.finish_reason == "length":
        return Verdict.TRUNCATED, f"the engine stopped in the middle of the page, after {reading.tokens} tokens"
    reason = _nothing(reading.text, facts) or _too_little(reading.text, letters, facts) or _too_much(letters, facts)
    return (Verdict.SUSPECT, reason) if reason else (Verdict.OK, "")


# How much


def _nothing(text: str, facts: PageFacts) -> str:
    if any(char.isprintable() and not char.isspace() for char in text):
        return ""
    return f"the engine found no text, but {facts.ink:.2%} of the page is ink"


def _too_little(text: str, letters: int, facts: PageFacts) -> str:
    layer = facts.layer
    if layer and not layer.flaw and layer.letters >= 40 and letters < 0.5 * layer.letters:  # noqa: PLR2004
        return f"the engine read {letters} letters where the PDF's own text has {layer.letters}"
    seen = facts.letters * (1 - min(1.0, _pictured(text)))
    if facts.lines >= 3 and seen >= 50 and letters < 0.2 * seen:  # noqa: PLR2004
        return f"the engine read {letters} letters where there seem to be some {facts.letters}"
    return ""


def _too_much(letters: int, facts: PageFacts) -> str:
    if facts.letters >= 20 and letters > 3 * facts.letters + 150:  # noqa: PLR2004
        return f"the engine read {letters} letters where there seem to be some {facts.letters}"
    if facts.ink < 0.004 and letters > 80 + 6 * facts.letters:  # noqa: PLR2004
        return f"the engine read {letters} letters on a page that is nearly blank"
    return ""


def _pictured(text: str) -> float:
    """Share of the page that the engine calls a picture, whose pieces of ink are no letters."""
    boxes = ([int(side) for side in match.groups()] for match in _IMAGE_BOX.finditer(text))
    return sum(max(0, right - left) * max(0, bottom - top) for left, top, right, bottom in boxes) / 999**2


def _room(facts: PageFacts) -> int | None:
    """Letters that the page may well hold, at most 1.5 for each that there seems to be; None where nobody looked."""
    if not facts.letters:
        return None
    layer = facts.layer.letters if facts.layer and not facts.layer.flaw else 0
    return round(1.7 * max(facts.letters, layer)) + 20


# Repetition


@dataclass(frozen=True, slots=True)
class _Circle:
    """The same words again and again, without anything between."""

    start: int
    """Number of the first word."""
    period: int
    """Words until they come again."""
    words: tuple[str, ...]
    """Those of one round."""
    text: str
    """All rounds, as they stand in the text."""
    rounds: float
    """How often they come."""

    @property
    def letters(self) -> int:
        return sum(map(len, self.words))


def _loop(raw: str, words: list[str], letters: int, facts: PageFacts) -> str:
    """Say how a text repeats itself; empty if it does so no more than a page may."""
    room = _room(facts)
    crammed = room is not None and letters > room
    long_word = max(words, key=len, default="")
    if len(long_word) > 60 and len(set(long_word)) <= 5:  # noqa: PLR2004
        return f"it says {_quoted([long_word])} in {len(long_word)} letters"
    plain = _COUNTER.sub("", _MARKUP.sub(" ", _CELL.sub("|", raw)))
    grid = len(_GRID.findall(raw)) > len(words) / 10
    return _in_circles(plain, crammed=crammed) or _again(plain, crammed=crammed, grid=grid)


def _in_circles(plain: str, *, crammed: bool) -> str:
    """Say which words come again and again without anything between, but for numbers that grow."""
    found = list(_WORD.finditer(plain))
    lower = [word[0].lower() for word in found]
    for circle in _circles(lower, found):
        if _vicious(circle, crammed=crammed):
            return f"it says {_quoted(circle.words)} {circle.rounds:.0f} times in a row"
    counted = ["#" if word.isdigit() else word for word in lower]
    for circle in _circles(counted, found):
        named = [word for word in circle.words if word != "#" and len(word) > 1]
        if len(named) >= 3 and _vicious(circle, crammed=crammed, patience=2):  # noqa: PLR2004
            return f"it says {_quoted(circle.words)} {circle.rounds:.0f} times in a row, only counting on"
    return ""


def _again(plain: str, *, crammed: bool, grid: bool) -> str:
    """Say how much of a text came before, in whatever order."""
    lower = _WORD.findall(plain.lower())
    again = _said_before(lower)
    if len(lower) > 100 and again > 0.75 + 0.15 * grid:  # noqa: PLR2004
        return f"{again:.0%} of its words say what it has said before"
    if crammed and max(again, _said_before(lower, 3)) > 0.5:  # noqa: PLR2004
        return f"{again:.0%} of its words say what it has said before, and the page has no room for so many"
    if (told := _told_again(plain)) > (0.5 if crammed else 0.7):
        return f"{told:.0%} of its sentences stand there before"
    return ""


def _told_again(plain: str) -> float:
    """Share, by letters, of the sentences and lines that came before; 0 where they are few or a form's.

    Under a ban of repeated words in a row an engine goes on in whole sentences, each time in another order.
    """
    if len(_FIELD.findall(plain)) > 20:  # noqa: PLR2004
        return 0.0
    parts = [" ".join(_WORD.findall(part.lower())) for part in _SENTENCE.split(plain)]
    parts = [part for part in parts if len(part) >= 10]  # noqa: PLR2004
    if len(parts) < 20 or len(set(parts)) < 4:  # noqa: PLR2004 - a form may well have one line, or three, many times
        return 0.0
    return 1 - sum(map(len, set(parts))) / sum(map(len, parts))


def _vicious(circle: _Circle, *, crammed: bool, patience: int = 1) -> bool:
    """Whether no page would say this so often: the longer the words, the fewer times are too many.

    Where the text has no room on its page there is no doubt; in tables and forms there is more.
    """
    rounds = circle.rounds / patience
    if crammed:
        return rounds >= 3 and circle.letters * circle.rounds >= 60  # noqa: PLR2004
    if circle.letters >= 80:  # noqa: PLR2004
        return rounds >= 2.8  # noqa: PLR2004
    named = any(len(word) > 1 and word.isalpha() for word in circle.words)
    numbered = any(word.isdigit() and word.strip("0") for word in circle.words)
    if numbered and len(_LEADER.findall(circle.text)) >= circle.rounds / 2:
        return rounds >= (5 if named else 10)  # a table of contents names a place once, with its page
    if len(_GRID.findall(circle.text)) > len(circle.words) * circle.rounds / 10:
        return rounds >= (8 if circle.letters >= 20 else 24 if circle.letters >= 10 else 40 if named else 1000)  # noqa: PLR2004
    if circle.letters >= 20:  # noqa: PLR2004
        return rounds >= 4  # noqa: PLR2004
    return rounds >= 8 and circle.letters * circle.rounds >= 60  # noqa: PLR2004


def _circles(words: list[str], found: list[re.Match[str]]) -> Iterator[_Circle]:
    """Find the stretches in which every word stands as it stood some constant number of words before.

    The words are to be compared; `found` tells where each stands.
    """
    last: dict[tuple[str, ...], int] = {}
    start, period = 0, 0
    for place in range(len(words) - _RUN + 2):
        run = tuple(words[place : place + _RUN])
        back = place - last[run] if run in last and len(run) == _RUN else 0
        if back != period:
            if period and place - start >= period:
                yield _circle(words, found, start, place + _RUN - 1, period)
            start, period = place, back
        last[run] = place


def _circle(words: list[str], found: list[re.Match[str]], start: int, end: int, period: int) -> _Circle:
    first = start - period
    text = found[first].string[found[first].start() : found[min(end, len(found)) - 1].end()]
    return _Circle(first, period, tuple(words[first:start]), text, (end - first) / period)


def _said_before(words: list[str], length: int = 5) -> float:
    """Share of the runs of so many words that came before."""
    runs = [tuple(words[place : place + length]) for place in range(len(words) - length + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def _quoted(words: "list[str] | tuple[str, ...]") -> str:
    text = " ".join(words)
    return f"“{text[:40]}…”" if len(text) > 40 else f"“{text}”"  # noqa: PLR2004
