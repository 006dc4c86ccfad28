"""Which way to read a page next, which reading wins, and how halves are joined."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrd.model import PageFacts, PageImage, PageResult, PixelSize, Placement, Reading, Rung, TextLayer, Verdict
from ocrd.pipeline import fallbacks
from ocrd.quality import verdict

ALL = ("turn", "prompt", "warm", "halves", "text_layer")
ENGINE = {Rung.PROMPT, Rung.WARM, Rung.HALVES}
FACTS = PageFacts(Placement(595, 842), letters=1000, lines=30)


def result(rung: Rung, verdict: Verdict, letters: int = 0, facts: PageFacts = FACTS) -> PageResult:
    return PageResult(0, verdict, "", Reading(0, "x" * letters, "stop", letters, 1.0), rung, facts)


def climbed(verdict: Verdict, facts: PageFacts = FACTS, engine: set[Rung] = ENGINE) -> list[Rung]:
    results = [result(Rung.FIRST, verdict, facts=facts)]
    while rung := fallbacks.next_rung(results, ALL, engine):
        results.append(result(rung, verdict, facts=facts))
    return [result.rung for result in results[1:]]


def test_a_good_page_climbs_nothing() -> None:
    assert climbed(Verdict.OK) == climbed(Verdict.BLANK) == []


def test_each_rung_is_tried_once_and_only_where_it_may_help() -> None:
    layer = replace(FACTS, other_turn=180, layer=TextLayer(900, ""))
    assert climbed(Verdict.REPEATED, layer) == [Rung.TURN, Rung.PROMPT, Rung.WARM, Rung.HALVES, Rung.TEXT_LAYER]
    assert climbed(Verdict.SUSPECT) == [Rung.PROMPT, Rung.HALVES]
    assert climbed(Verdict.FAILED, layer) == [Rung.TEXT_LAYER]
    assert climbed(Verdict.REPEATED, engine=set()) == []
    assert climbed(Verdict.SUSPECT, replace(FACTS, layer=TextLayer(900, "it is hidden")), set()) == []


def test_the_best_reading_wins_and_all_attempts_are_told() -> None:
    page = PageImage(0, PixelSize(1, 1), b"", 0, FACTS)
    long = " ".join(f"word{number}" for number in range(150))
    results = [
        verdict.judge(page, Reading(0, "word", "stop", 1, 1.0)),
        verdict.judge(page, Reading(0, long, "length", 150, 2.0), Rung.PROMPT),
        verdict.failed(0, "gone", Rung.WARM, FACTS),
    ]
    best = fallbacks.outcome(results)
    assert (best.rung, best.verdict) == (Rung.PROMPT, Verdict.TRUNCATED)
    told = [(attempt.rung, attempt.verdict) for attempt in best.attempts]
    assert told == [
        (Rung.FIRST, Verdict.SUSPECT),
        (Rung.PROMPT, Verdict.TRUNCATED),
        (Rung.WARM, Verdict.FAILED),
    ]
    good = result(Rung.HALVES, Verdict.OK, 10)
    assert fallbacks.outcome([*results, good]).rung is Rung.HALVES


def test_halves_are_joined_with_what_both_have_once() -> None:
    lines = [f"Line {number} says {'abcdefgh'[number % 8]} and {number * 7}." for number in range(40)]
    upper, lower = "\n".join([*lines[:22], "Line 22 sa"]), "\n".join(["ays d and 126.", *lines[19:]])
    assert fallbacks.joined(upper, lower) == "\n".join(lines)


def test_halves_without_overlap_lose_nothing() -> None:
    assert fallbacks.joined("All of the upper.\n", "\nAll of the lower.") == "All of the upper.\n\nAll of the lower."


def test_boxes_of_halves_are_brought_to_the_page() -> None:
    box = "<|ref|>text<|/ref|><|det|>[[10, 0, 990, 999]]<|/det|>"
    assert fallbacks.joined(f"{box}\na", f"{box}\nb") == (
        "<|ref|>text<|/ref|><|det|>[[10, 0, 990, 549]]<|/det|>\na\n\n"
        "<|ref|>text<|/ref|><|det|>[[10, 450, 990, 999]]<|/det|>\nb"
    )


@given(st.lists(st.sampled_from(["a", "b", "c", "d\n"]), max_size=300), st.integers(0, 60), st.integers(0, 60))
def test_no_word_far_from_the_overlap_is_lost(words: list[str], above: int, below: int) -> None:
    middle = [f"w{number}" for number in range(12)]
    upper, lower = [f"u{n}" for n in range(above)], [f"l{n}" for n in range(below)]
    told = fallbacks.joined(" ".join([*upper, *middle]), " ".join([*middle, *lower])).split()
    assert told == [*upper, *middle, *lower]
    assert fallbacks.joined(" ".join(words), "").split() == " ".join(words).split()


@pytest.mark.parametrize(("letters", "sound"), [(400, False), (900, True), (9000, False)])
def test_a_stamp_on_a_scan_is_no_text_layer_of_the_page_nor_is_what_nobody_sees(letters: int, sound: bool) -> None:  # noqa: FBT001
    assert fallbacks.layer_is_sound(replace(FACTS, layer=TextLayer(letters, ""))) is sound
