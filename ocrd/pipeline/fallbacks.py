"""Which way to read a page next when it went wrong, which of its readings is the best, and how two halves are joined.

Pure. A page climbs one rung at a time, each at most once, and only those that its watch wants, that its engine knows,
and that may help against what is wrong.
"""

import difflib
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from ocrd.model import PageFacts, PageResult, Rung, Verdict

HALVES = ((0.0, 0.55), (0.45, 1.0))
"""The two parts of a page, as shares of its height. They overlap by a tenth, so that no line is cut in both."""
_BAD = {Verdict.SUSPECT, Verdict.REPEATED, Verdict.TRUNCATED}
_HELPS = {
    Rung.TURN: _BAD,
    Rung.PROMPT: _BAD,
    Rung.WARM: {Verdict.REPEATED, Verdict.TRUNCATED},
    Rung.HALVES: _BAD,
    Rung.TEXT_LAYER: _BAD | {Verdict.FAILED},
}
_RANK = {Verdict.OK: 0, Verdict.BLANK: 0, Verdict.FAILED: 2}
"""The others are 1."""
_WORD = re.compile(r"\S+")
_OVERLAP = 200
"""Words at the end of the upper half and at the beginning of the lower one among which the overlap is looked for."""
_MORE = 200
"""Letters, beyond three times those that are seen, that a page's own text may have: small print is seen badly."""
_SAME = 4
"""Words in a row that are the same in both halves, at least, to be taken for the overlap."""
_DET = re.compile(r"(<\|det\|>)(\[\[[\d\s,\[\]]*\]\])(<\|/det\|>)")
_SIDES = re.compile(r"(\d+)(\s*,\s*)(\d+)(\s*,\s*)(\d+)(\s*,\s*)(\d+)")


def next_rung(results: Sequence[PageResult], wanted: Iterable[str], engine: Collection[Rung]) -> Rung | None:
    """Choose how to read a page again after these results; None if it is good, or nothing is left to try."""
    now = best(results)
    facts = results[0].facts
    for rung in map(Rung, wanted):
        tried = any(result.rung is rung for result in results)
        if not tried and now.verdict in _HELPS[rung] and _possible(rung, facts, engine):
            return rung
    return None


def _possible(rung: Rung, facts: PageFacts | None, engine: Collection[Rung]) -> bool:
    match rung:
        case Rung.TURN:
            return facts is not None and facts.other_turn is not None
        case Rung.TEXT_LAYER:
            return facts is not None and layer_is_sound(facts)
        case _:
            return rung in engine


def layer_is_sound(facts: PageFacts) -> bool:
    """Whether a page's text layer can stand for the page: nothing is wrong with it, and it has about as many letters.

    One with far fewer is a stamp on a scan; one with far more has what nobody sees.
    """
    if facts.layer is None or facts.layer.flaw:
        return False
    return facts.letters / 2 <= facts.layer.letters and (
        not facts.letters or facts.layer.letters <= 3 * facts.letters + _MORE
    )


def best(results: Sequence[PageResult]) -> PageResult:
    """Choose a reading: a good one before a bad one, any before none, then the likeliest length, then the first.

    The likeliest length is what the page image and the text layer suggest; where they don't, the longest text wins.
    """
    if len(results) == 1:
        return results[0]
    return min(results, key=lambda result: (_RANK.get(result.verdict, 1), _unlikely(result)))


def outcome(results: Sequence[PageResult]) -> PageResult:
    """Return the best result, with all attempts on its record."""
    return replace(best(results), attempts=tuple(attempt for result in results for attempt in result.attempts))


def _unlikely(result: PageResult) -> float:
    letters = sum(map(str.isalnum, result.reading.text)) if result.reading else 0
    facts = result.facts
    expected = max(facts.letters, facts.layer.letters if facts.layer and not facts.layer.flaw else 0) if facts else 0
    return abs(math.log((letters + 1) / (expected + 1))) if expected else -letters


def joined(upper: str, lower: str) -> str:
    """Join the texts of the two HALVES, with what both have of the overlap once. Without overlap nothing is left out.

    Boxes of DeepSeek's markup are brought from thousandths of each half to thousandths of the page.
    """
    upper, lower = (_on_whole_page(text, *part) for text, part in zip((upper, lower), HALVES, strict=True))
    ends, begins = list(_WORD.finditer(upper))[-_OVERLAP:], list(_WORD.finditer(lower))[:_OVERLAP]
    match = difflib.SequenceMatcher(
        None, [word[0] for word in ends], [word[0] for word in begins], autojunk=False
    ).find_longest_match()
    cut_below = len(ends) - match.a - match.size  # words of the line that the upper half's edge cuts
    if match.size < _SAME or max(cut_below, match.b) > _OVERLAP / 4:
        return f"{upper.rstrip()}\n\n{lower.lstrip()}"
    return upper[: ends[match.a + match.size - 1].end()] + lower[begins[match.b + match.size - 1].end() :]


def _on_whole_page(text: str, top: float, bottom: float) -> str:
    def moved(sides: re.Match[str]) -> str:
        y1, y2 = (round(999 * top + int(side) * (bottom - top)) for side in (sides[3], sides[7]))
        return f"{sides[1]}{sides[2]}{y1}{sides[4]}{sides[5]}{sides[6]}{y2}"

    return _DET.sub(lambda det: det[1] + _SIDES.sub(moved, det[2]) + det[3], text)
