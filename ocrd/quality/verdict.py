"""From a reading and the facts of its page image to a verdict, with the reason in words. Pure.

Three questions are asked. Does the text repeat itself as no page does? Is there as much of it as the page holds:
neither far less (lost) nor far more (made up)? And is it a text at all?
"""

import re
from dataclasses import replace

from ocrd.model import Attempt, PageFacts, PageImage, PageResult, Reading, Rung, Verdict
from ocrd.quality import chatter, gibberish, repetition
from ocrd.quality.words import Words

_IMAGE_BOX = re.compile(r"<\|ref\|>image<\|/ref\|><\|det\|>\[\[(\d+),\s*(\d+),\s*(\d+),\s*(\d+)\]")
_UNFINISHED = re.compile(r"(?:[^\W\d_]+[,;:]?\s){7}[^\W\d_]*[^\W\d_A-Z]-?\s*\Z")
_TAIL = 200
"""Characters of an end that tells."""

_LOOK = "Open the original to see what it holds, and scan or print it again."

_CELL = 6
"""Letters that the rules around a table's cell may look like."""


def judge(page: PageImage, reading: Reading, rung: Rung = Rung.FIRST) -> PageResult:
    """Say what we hold of a reading, and why."""
    verdict, reason = _verdict(page.facts, reading)
    attempt = Attempt(rung, verdict, reason, reading.finish_reason, reading.tokens, reading.seconds)
    return PageResult(page.index, verdict, reason, reading, rung, page.facts, (attempt,))


def blank(page: PageImage) -> PageResult:
    """Give the result of a page whose image shows nothing to read, and which no engine is asked about.

    Only one that was drawn whole is blank. Of another nobody knows what it holds.
    """
    facts = page.facts
    if facts.damage:
        return failed(page.index, f"Nothing of this page can be seen, and {facts.damage}. {_LOOK}", facts=facts)
    return PageResult(page.index, Verdict.BLANK, facts.blank, None, Rung.FIRST, facts)


def with_damage(result: PageResult) -> PageResult:
    """Say of a page that was read what it may lack because it could not be drawn whole."""
    damage = result.facts.damage if result.facts else ""
    if not damage or result.verdict is Verdict.FAILED:
        return result
    reason = f"some of this page may be missing: {damage}"
    if result.verdict is Verdict.OK:
        return replace(result, verdict=Verdict.SUSPECT, reason=reason)
    return replace(result, reason=f"{result.reason}; {reason}")


def separator(page: PageImage) -> PageResult:
    """Give the result of a separator sheet; no engine is asked."""
    reason = f"it is a separator sheet ({page.facts.separator})"
    return PageResult(page.index, Verdict.BLANK, reason, None, Rung.FIRST, page.facts)


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
    told = Words.of(reading.text)
    letters = told.letters
    if reason := repetition.found(told, _room(facts)):
        return Verdict.REPEATED, reason
    if reading.finish_reason == "length":
        return Verdict.TRUNCATED, f"the engine stopped in the middle of the page, after {reading.tokens} tokens"
    reason = (
        _nothing(told, facts)
        or chatter.found(told, fits=0.7 * facts.letters < letters < 1.7 * facts.letters)
        or _too_little(told, facts)
        or _too_much(letters, facts)
        or gibberish.found(told)
    )
    return (Verdict.SUSPECT, reason) if reason else (Verdict.OK, "")


# How much


def _nothing(told: Words, facts: PageFacts) -> str:
    if not any(char.isprintable() and not char.isspace() for char in told.raw):
        return f"the engine found no text, but {facts.ink:.2%} of the page is ink"
    if not told.letters and _seen(told.raw, facts) >= 20 and "![" not in told.raw:  # noqa: PLR2004
        return f"the engine read no letter where there seem to be some {facts.letters}"
    return ""


def _too_little(told: Words, facts: PageFacts) -> str:
    layer, letters = facts.layer, told.letters
    if layer and not layer.flaw and layer.letters >= 40 and letters < 0.5 * layer.letters:  # noqa: PLR2004
        return f"the engine read {letters} letters where the PDF's own text has {layer.letters}"
    seen = _seen(told.raw, facts) - _CELL * told.plain.count("|")
    few = letters < 0.33 * seen or (letters < 0.55 * seen and _breaks_off(told.raw))
    if facts.lines >= 3 and seen >= 50 and few:  # noqa: PLR2004
        return f"the engine read {letters} letters where there seem to be some {facts.letters}"
    return ""


def _breaks_off(text: str) -> bool:
    """Whether the last sentence is of some length and does not end."""
    return _UNFINISHED.search(text[-_TAIL:]) is not None


def _too_much(letters: int, facts: PageFacts) -> str:
    if facts.letters >= 20 and letters > 2.2 * facts.letters + 80:  # noqa: PLR2004
        return f"the engine read {letters} letters where there seem to be some {facts.letters}"
    if facts.ink < 0.004 and letters > 50 + 4 * facts.letters:  # noqa: PLR2004
        return f"the engine read {letters} letters on a page that is nearly blank"
    return ""


def _seen(text: str, facts: PageFacts) -> float:
    """Letters that there seem to be outside of what the engine calls a picture, whose pieces of ink are none."""
    boxes = ([int(side) for side in match.groups()] for match in _IMAGE_BOX.finditer(text))
    pictured = sum(max(0, right - left) * max(0, bottom - top) for left, top, right, bottom in boxes) / 999**2
    return facts.letters * (1 - min(1.0, pictured))


def _room(facts: PageFacts) -> repetition.Room:
    """Give what the page seems to hold, by its image or its own text."""
    layer = facts.layer.letters if facts.layer and not facts.layer.flaw else 0
    return repetition.Room(max(facts.letters, layer) if facts.letters else 0, facts.lines)
