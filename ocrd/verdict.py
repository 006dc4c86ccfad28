"""From a reading and the facts of its page image to a verdict, with the reason in words. Pure.

Three questions are asked. Does the text repeat itself as no page does? Is there as much of it as the page holds:
neither far less (lost) nor far more (made up)? And is it a text at all?
"""

import re

from ocrd import nonsense, repetition
from ocrd.model import Attempt, PageFacts, PageImage, PageResult, Reading, Rung, Verdict
from ocrd.wording import Wording

_IMAGE_BOX = re.compile(r"<\|ref\|>image<\|/ref\|><\|det\|>\[\[(\d+),\s*(\d+),\s*(\d+),\s*(\d+)\]")
_QUESTION = re.compile(
    r"(?:<image>|<\|grounding\|>|free ocr|convert the document to markdown|ocr this image|parse the figure"
    r"|describe this image in detail|[.\s])+",
    re.IGNORECASE,
)
"""What such models are asked, and nothing else."""
_EXCUSE = re.compile(
    r"\b(?:sorry|apologi[sz]e|cannot|can['’]t|unable|as an ai|too (?:blurry|small|dark)|unclear|illegible|upside down"
    r"|(?:does not|doesn['’]t) (?:contain|show)|appears to be|no (?:readable |visible )?text)\b",
    re.IGNORECASE,
)
_EXCUSED = re.compile(r"\b(image|picture|photo|request)|document|text|page|scan", re.IGNORECASE)
"""What an excuse is about: an image, which no letter speaks of, or what may as well be meant by one."""
_UNFINISHED = re.compile(r"(?:[^\W\d_]+[,;:]?\s){7}[^\W\d_]*[^\W\d_A-Z]-?\s*\Z")
_TAIL = 200
"""Characters of an end that tells."""
_TELLING = re.compile(
    r"\s*(?:the|this) (?:image|picture|photo(?:graph)?|scan) (?:shows|appears|contains|depicts|displays|is|features)\b",
    re.IGNORECASE,
)
"""The beginning of a description. A page that begins so is about another picture; that is a risk worth its note."""
_SHORT = 250
"""Letters of the longest excuse."""


def judge(page: PageImage, reading: Reading, rung: Rung = Rung.FIRST) -> PageResult:
    """Say what we hold of a reading, and why."""
    verdict, reason = _verdict(page.facts, reading)
    attempt = Attempt(rung, verdict, reason, reading.finish_reason, reading.tokens, reading.seconds)
    return PageResult(page.index, verdict, reason, reading, rung, page.facts, (attempt,))


def blank(page: PageImage) -> PageResult:
    """Give the result of a page whose image shows nothing to read; no engine is asked."""
    return PageResult(page.index, Verdict.BLANK, page.facts.blank, None, Rung.FIRST, page.facts)


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
    told = Wording.of(reading.text)
    letters = told.letters
    if reason := repetition.found(told, _room(facts), facts.lines):
        return Verdict.REPEATED, reason
    if reading.finish_reason == "length":
        return Verdict.TRUNCATED, f"the engine stopped in the middle of the page, after {reading.tokens} tokens"
    reason = (
        _nothing(reading.text, facts)
        or _no_reading(told, facts)
        or _too_little(reading.text, letters, facts)
        or _too_much(letters, facts)
        or nonsense.found(told)
    )
    return (Verdict.SUSPECT, reason) if reason else (Verdict.OK, "")


# How much


def _nothing(text: str, facts: PageFacts) -> str:
    if any(char.isprintable() and not char.isspace() for char in text):
        return ""
    return f"the engine found no text, but {facts.ink:.2%} of the page is ink"


def _no_reading(told: Wording, facts: PageFacts) -> str:
    """Say that the engine speaks about the page, or repeats the question, instead of reading."""
    if _QUESTION.fullmatch(told.raw):
        return "the engine repeated what it was asked"
    if _TELLING.match(told.raw) and told.letters < 4 * _SHORT:
        return "the engine describes the page instead of reading it"
    if told.letters > _SHORT or not _EXCUSE.search(told.raw):
        return ""
    about = _EXCUSED.search(told.raw)
    fits = 0.7 * facts.letters < told.letters < 1.7 * facts.letters
    if about and (about[1] or not fits):
        return "the engine speaks about the page instead of reading it"
    return ""


def _too_little(text: str, letters: int, facts: PageFacts) -> str:
    layer = facts.layer
    if layer and not layer.flaw and layer.letters >= 40 and letters < 0.5 * layer.letters:  # noqa: PLR2004
        return f"the engine read {letters} letters where the PDF's own text has {layer.letters}"
    seen = facts.letters * (1 - min(1.0, _pictured(text)))
    few = letters < 0.33 * seen or (letters < 0.55 * seen and _breaks_off(text))
    if facts.lines >= 3 and seen >= 50 and few:  # noqa: PLR2004
        return f"the engine read {letters} letters where there seem to be some {facts.letters}"
    return ""


def _breaks_off(text: str) -> bool:
    """Whether the last sentence is of some length and does not end."""
    return _UNFINISHED.search(text[-_TAIL:]) is not None


def _too_much(letters: int, facts: PageFacts) -> str:
    if facts.letters >= 20 and letters > 2.5 * facts.letters + 100:  # noqa: PLR2004
        return f"the engine read {letters} letters where there seem to be some {facts.letters}"
    if facts.ink < 0.004 and letters > 50 + 4 * facts.letters:  # noqa: PLR2004
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
