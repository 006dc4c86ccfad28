"""From a reading and the facts of its page image to a verdict, with the reason in words. Pure.

Three questions are asked. Does the text repeat itself as no page does? Is there as much of it as the page holds:
neither far less (lost) nor far more (made up)? And is it a text at all?
"""

import re
from collections.abc import Iterable
from dataclasses import replace

from ocrd.markup.layout_blocks import PICTURES
from ocrd.model import Attempt, PageFacts, PageImage, PageResult, Reading, Rung, Verdict
from ocrd.quality import chatter, gibberish, places, repetition
from ocrd.quality.words import Words

_UNFINISHED = re.compile(r"(?:[^\W\d_]+[,;:]?\s){7}[^\W\d_]*[^\W\d_A-Z]-?\s*\Z")
_TAIL = 200
"""Characters of an end that tells."""

_BANS, _BANNED = 8, 0.01
"""Bans, and bans for each token, that no page explains: a third of its runs of thirty tokens came again."""
_FEW = 20
"""Letters that are seen where there are none."""
_LINES = 3
_NEARLY_BLANK = 0.004
"""Share of ink."""
_WHOLE = 0.8
"""Share of a page that a picture fills which is a page's picture."""
_LONG, _MANY, _COMMON = 4, 20, 0.25
"""Letters of words, and different ones, by which two texts of a page are compared; least share that both have."""
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


def text_layer(reading: Reading, facts: PageFacts, others: Iterable[Reading] = ()) -> PageResult:
    """Give the result of a page whose own text was taken, found sound before: compared with `others`, the engine's."""
    letters = Words.of(reading.text).letters
    if facts.layer and letters < facts.layer.letters / 2:
        reason = f"only {letters} letters of the PDF's own text could be taken, which has {facts.layer.letters}"
        return failed(reading.index, reason, Rung.TEXT_LAYER, facts)
    if any(_contradicts(other, reading) for other in others):
        return failed(reading.index, "the PDF's own text has other words than the page", Rung.TEXT_LAYER, facts)
    attempt = Attempt(Rung.TEXT_LAYER, Verdict.OK, "", reading.finish_reason, reading.tokens, reading.seconds)
    return PageResult(reading.index, Verdict.OK, "", reading, Rung.TEXT_LAYER, facts, (attempt,))


def _contradicts(reading: Reading, layer: Reading) -> bool:
    """Whether what an engine read has other words than the page's own text, and does read."""
    content = Words.of(reading.text)
    words = {word for word in content.words if len(word) >= _LONG and word.isalpha()}
    common = words.intersection(Words.of(layer.text).words)
    if len(words) < _MANY or len(common) >= _COMMON * len(words):
        return False
    return not gibberish.found(content) and not chatter.found(content, fits=True)


def failed(index: int, reason: str, rung: Rung = Rung.FIRST, facts: PageFacts | None = None) -> PageResult:
    """Give the result of a page that could not be read at all."""
    attempt = Attempt(rung, Verdict.FAILED, reason, finish_reason="", tokens=0, seconds=0.0)
    return PageResult(index, Verdict.FAILED, reason, None, rung, facts, (attempt,))


def _verdict(facts: PageFacts, reading: Reading) -> tuple[Verdict, str]:
    if reading.finish_reason == "repetition":
        return Verdict.REPEATED, "the engine repeated itself and was stopped"
    content = Words.of(reading.text)
    letters = content.letters
    if reason := places.repeated(content) or repetition.found(content, _room(facts)):
        return Verdict.REPEATED, reason
    if reading.bans >= max(_BANS, _BANNED * reading.tokens):
        return Verdict.REPEATED, f"the engine was kept from repeating itself {reading.bans} times"
    if reading.finish_reason == "length":
        return Verdict.TRUNCATED, f"the engine stopped in the middle of the page, after {reading.tokens} tokens"
    reason = (
        _missed(reading)
        or _nothing(content, facts)
        or chatter.found(content, fits=0.7 * facts.letters < letters < 1.7 * facts.letters)
        or _too_little(content, facts)
        or _too_much(letters, facts)
        or places.crammed(content)
        or places.unseen(content.blocks, facts.spread)
        or places.off_the_ink(content.blocks, facts.spread, facts.letters)
        or places.shortened(content.blocks, facts.spread, facts.letters)
        or gibberish.found(content)
    )
    return (Verdict.SUSPECT, reason) if reason else (Verdict.OK, "")


def _missed(reading: Reading) -> str:
    if not reading.missed_dialect:
        return ""
    return (
        f"the engine did not answer in the form that was expected ({reading.missed_dialect}), and was read as Markdown"
    )


# How much


def _nothing(content: Words, facts: PageFacts) -> str:
    if not any(char.isprintable() and not char.isspace() for char in content.text):
        if not any(block.boxes for block in content.blocks):
            return f"the engine found no text, but {facts.ink:.2%} of the page is ink"
    elif content.letters or "![" in content.raw:
        return ""
    if not content.letters and _seen(content, facts) >= _FEW:
        return f"the engine read no letter where there seem to be some {facts.letters}"
    return ""


def _too_little(content: Words, facts: PageFacts) -> str:
    layer, letters = facts.layer, content.letters
    if layer and not layer.flaw and layer.letters >= 2 * _FEW and letters < 0.5 * layer.letters:
        return f"the engine read {letters} letters where the PDF's own text has {layer.letters}"
    seen = _seen(content, facts) - _CELL * content.plain.count("|")
    few = letters < _least_share(seen) * seen or (letters < 0.55 * seen and _breaks_off(content.text))
    if facts.lines >= _LINES and seen >= 2.5 * _FEW and few:
        return f"the engine read {letters} letters where there seem to be some {facts.letters}"
    return ""


def _least_share(seen: float) -> float:
    """Tell how many letters must have been read for each one seen: on full pages, fewer are wrongly seen."""
    return 0.33 + 0.29 * min(1.0, max(0.0, (seen - 800) / 2200))


def _breaks_off(text: str) -> bool:
    """Whether the last sentence is of some length and does not end."""
    return _UNFINISHED.search(text[-_TAIL:]) is not None


def _too_much(letters: int, facts: PageFacts) -> str:
    if facts.letters >= _FEW and letters > 2.2 * facts.letters + 4 * _FEW:
        return f"the engine read {letters} letters where there seem to be some {facts.letters}"
    if facts.ink < _NEARLY_BLANK and letters > 50 + 4 * facts.letters:
        return f"the engine read {letters} letters on a page that is nearly blank"
    return ""


def _seen(content: Words, facts: PageFacts) -> float:
    """Letters that there seem to be, but for what only looks so in what the engine calls a picture."""
    if not facts.spread:
        return facts.letters
    boxes = [box for block in content.blocks if block.label in PICTURES for box in block.boxes]
    area = min(1.0, sum((box.right - box.left) * (box.bottom - box.top) for box in boxes))
    hidden = places.letters_in(boxes, facts.spread)
    least = _FEW if area > _WHOLE else 5 * _FEW  # a drawing may have labels
    return facts.letters * (1 - area) + (hidden if hidden >= least else 0)


def _room(facts: PageFacts) -> repetition.Room:
    """Give what the page seems to hold, by its image or its own text."""
    layer = facts.layer.letters if facts.layer and not facts.layer.flaw else 0
    return repetition.Room(max(facts.letters, layer) if facts.letters else 0, facts.lines)
