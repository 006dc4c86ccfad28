"""From a reading and the facts of its page image to a verdict. Pure."""

from ocrd.model import Attempt, PageImage, PageResult, Reading, Rung, Verdict

_EMPTY_INK = 0.00002
"""Share of ink below which a page holds nothing: a lone digit has twice as much, noise is too faint to count."""


def judge(page: PageImage, reading: Reading, rung: Rung = Rung.FIRST) -> PageResult:
    """Say what we hold of a reading, and why."""
    verdict, reason = _verdict(page, reading)
    attempt = Attempt(rung, verdict, reason, reading.finish_reason, reading.tokens, reading.seconds)
    return PageResult(page.index, verdict, reason, reading, rung, page.facts, (attempt,))


def _verdict(page: PageImage, reading: Reading) -> tuple[Verdict, str]:
    if reading.finish_reason == "length":
        return Verdict.TRUNCATED, f"the engine stopped in the middle of the page, after {reading.tokens} tokens"
    if reading.finish_reason == "repetition":
        return Verdict.REPEATED, "the engine repeated itself and was stopped"
    if any(char.isprintable() and not char.isspace() for char in reading.text):
        return Verdict.OK, ""
    if page.facts.ink < _EMPTY_INK:
        return Verdict.BLANK, "the page is blank"
    return Verdict.SUSPECT, f"the engine found no text, but {page.facts.ink:.1%} of the page is ink"


def failed(index: int, reason: str, rung: Rung = Rung.FIRST) -> PageResult:
    """Give the result of a page that could not be read at all."""
    attempt = Attempt(rung, Verdict.FAILED, reason, finish_reason="", tokens=0, seconds=0.0)
    return PageResult(index, Verdict.FAILED, reason, None, rung, None, (attempt,))
