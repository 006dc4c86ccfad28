"""What goes round in circles, or on and on, and what only looks so."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrd.quality import repetition
from ocrd.quality.words import Words, repeats

PAGE = (
    "When the town closed its customs house, nobody asked what should become of the papers. There were forty-one "
    "shelves of them, and a ledger of complaints about the gulls. The building was sold in spring, and the new owner "
    "wanted it empty by June, so the watchman's daughter borrowed a barrow and carried them home every evening. "
)


def said(text: str, *, room: int = 0, lines: int = 0) -> str:
    return repetition.found(Words.of(text), repetition.Room(room, lines))


@pytest.mark.parametrize(
    "text",
    [
        PAGE,
        "\n".join(f"{n}. Chapter of {word} {'.' * 40} {n * 7}" for n, word in enumerate(PAGE.split()[:30], 1)),
        "\n".join("Name: ____________________ Date: ____________________" for _ in range(14)),
        "\n".join(["_" * 90] * 45),
        "| A | B | C |\n| --- | --- | --- |\n" + "| 0,00 | 0,00 | 0,00 |\n" * 7,
        "<table>" + "<tr>" + "<td></td>" * 12 + "</tr>" * 30 + "</table>",
        "\n".join(" ".join(str(day) for day in range(1, last + 1)) for last in (31, 28, 31, 30) * 3),
    ],
    ids=["prose", "contents", "form", "lines to write on", "same rows", "empty table", "calendar"],
)
def test_what_pages_have_is_no_loop(text: str) -> None:
    assert said(text, lines=45) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PAGE + "the end of " * 30, "times in a row"),
        (PAGE + "".join(f"{n}. the gulls of June\n" for n in range(40)), "times in a row"),
        (PAGE.replace("a ledger", "a ledger" + " of complaints, a ledger" * 20), "times in a row"),
        (PAGE + "".join(f"In {1800 + n} it had {n * 37} gulls. " for n in range(30)), "only counting on"),
        (PAGE + " ".join(map(str, range(100))), "counts on and on"),
        ("".join(f"| {n} | {n + 1} | {n + 2} |\n" for n in range(90)), "counts on and on"),
        (PAGE + "<td></td>" * 400, "dots, rules or empty cells"),
        (PAGE + "- \n" * 200, "dots, rules or empty cells"),
        (PAGE + "." * 900, "dots, rules or empty cells"),
        (PAGE + "ha" * 60, "letters"),
        (PAGE + "0." + "1415926535" * 20, "a word of 200 letters"),
        (PAGE + "https://example.org/" + "a/b.c?d=e&f/" * 40, "without a space"),
        (PAGE + "<div>" * 200, "dots, rules or empty cells"),
        (PAGE + "0." + "0" * 45, "goes on so"),
        (PAGE + "\\[" + "\\quad " * 80 + "\\]", "over and over"),
        (PAGE + "\\[" + "\\alpha \\cdot " * 60 + "\\]", "over and over"),
        (
            PAGE + "".join(f"<tr>{''.join(f'<td>{(n + m) / 100:.2f}</td>' for m in range(9))}</tr>" for n in range(20)),
            "step",
        ),
        (PAGE + "who had once been the harbour master of this place " * 3, "times in a row"),
        (f"{PAGE}\n\n{PAGE.replace('gulls', 'crows')}\n\nAnd so on.", "a paragraph of"),
        (" ".join(f"{word} {word}" for word in PAGE.split()), "every word twice"),
        ("\n".join(f"{word} {n}\n{word} {n}" for n, word in enumerate(PAGE.split()[:20])), "every line twice"),
    ],
)
def test_loops_are_found_wherever_they_are(text: str, why: str) -> None:
    assert why in said(text)


def test_a_line_in_ever_the_same_few_spellings_is_a_loop_and_names_that_are_alike_are_none() -> None:
    spellings = ["Harbour pass N.", "Harbour pas N.", "Harb Harbour pass N.", "Harbour pass", "Harbour pass N."]
    lines = [spellings[int(which)] for which in "0214003120134021300421043120314"]
    assert "in 4 spellings" in said("\n".join(lines), room=500, lines=31)
    names = [f"Schneider, {name}." for name in PAGE.split()[:30]]
    assert said("\n".join(names), room=500, lines=31) == ""
    assert said("\n".join(["The harbour master"] * 8 + [*names, "The harbour master"]), room=600, lines=40) == ""


def test_a_loop_in_the_middle_of_a_row_is_found_in_a_table_too() -> None:
    rows = [f"| {word} | {n} | {n * n} |" for n, word in enumerate(PAGE.split()[:20])]
    assert said("\n".join(rows)) == ""
    rows[10] += " 7 | 12 |" * 40
    assert "times in a row" in said("\n".join(rows))


def test_sentences_in_changing_order_are_found() -> None:
    parts, chance = PAGE.split(". "), random.Random(1)  # noqa: S311
    assert said(". ".join(chance.choice(parts) for _ in range(60)))


def test_a_page_that_ends_in_old_phrases_has_lost_its_way() -> None:
    chance, words = random.Random(2), PAGE.split()  # noqa: S311
    fresh = " ".join(f"{word}{number}x" for number, word in enumerate(words * 8))
    stale = " ".join(" ".join(words[start : start + 40]) for start in (chance.randrange(15) for _ in range(8)))
    assert said(fresh) == ""
    assert "said before" in said(f"{fresh} {PAGE} {stale}")


def test_more_lines_than_the_page_has_are_no_page() -> None:
    rows = "".join(f"<tr><td>{word}{n}</td><td>{n * 31 % 97}</td></tr>" for n, word in enumerate(PAGE.split()))
    assert said(rows, lines=60) == said(rows) == ""
    assert "rows where there seem to be 20 lines" in said(rows, lines=20)
    assert "lines where there seem to be 3" in said("\n".join(PAGE.split()), lines=3)


def test_without_room_on_the_page_less_is_enough() -> None:
    refrain = "O the gulls, the gulls of Harrow Quay, they cry.\n" * 3
    assert said(PAGE + refrain) == said(PAGE + refrain, room=1000) == ""
    assert said(PAGE + refrain, room=200)


def test_what_the_page_has_in_as_many_lines_is_no_loop() -> None:
    label = "Town of Harrow Quay\nCustoms House\n12345 Harrow Quay\n"
    assert "times in a row" in said(label * 12)
    assert said(label * 12, room=500, lines=36) == ""
    assert said(label * 12, room=500, lines=20)
    assert said(label * 12, room=200, lines=36)
    assert "times in a row" in said(PAGE + label.replace("\n", " ") * 12, room=900, lines=1)


def test_the_same_words_around_ever_other_ones_fill_no_more_lines_than_the_page_has() -> None:
    litany = "".join(f"{word}{n} the gull, pray for us. " for n, word in enumerate(PAGE.split()))
    assert said(litany, room=2000, lines=40) == ""
    assert "each time with other words" in said(litany, room=2000, lines=15)
    assert "each time with other words" in said(litany, room=600, lines=40)


def test_chinese_is_measured_in_characters() -> None:
    page = (
        "海关关闭那年没有人问文件该怎么办架子有四十一层插着潮汐表缆绳收据和对海鸥的抱怨房子春天卖掉了新主人要求六月搬空"
    )
    assert said(page) == ""
    assert said(f"{page}海关关闭那年有四十一层架子{page[:12]}") == ""
    assert "times in a row" in said(page + "新主人要求六月搬空" * 9)


def placed(*texts: str) -> str:
    return "\n".join(
        f"<|ref|>text<|/ref|><|det|>[[80, {top}, 900, {top + 20 + len(text) // 6}]]<|/det|>\n{text}"
        for top, text in zip(range(20, 940, 900 // len(texts)), texts, strict=False)
    )


def test_notices_that_say_the_same_far_from_one_another_are_no_loop_and_a_paragraph_read_twice_is_one() -> None:
    others = [f"{PAGE[n : n + 50]} {n * 37} of the {word}s" for n, word in enumerate(PAGE.split()[:8])]
    assert said(placed(PAGE, *others, PAGE, "the end")) == ""
    assert "a paragraph of" in said(placed(*others, PAGE, PAGE, "the end"))
    assert "a paragraph of" in said(f"{PAGE}\n{' '.join(others)}\n{PAGE}"), "where nobody knows where they stand"


def test_a_long_notice_again_after_others_is_no_loop_and_soon_again_is_one() -> None:
    notice = " ".join(f"{word}n{number % 60}" for number, word in enumerate(PAGE.split() * 3))
    others = [" ".join(f"{word}o{number}{n}" for n, word in enumerate(PAGE.split() * 2)) for number in range(4)]
    assert said(placed(notice, *others, notice)) == ""
    assert said(placed(notice, others[0], notice))


def test_what_comes_again_under_other_numbers_is_a_loop_unless_the_page_has_so_many_lines() -> None:
    articles = [f"Article {n}: everyone who brings a ledger to the house is welcome." for n in range(1, 9)]
    chinese = [f"第{n}条每个把账本带到海关旧楼来的人都受到欢迎可以从正门进来坐下喝茶。" for n in "二三四五六七八九"]
    assert "only counting on" in said("\n\n".join([PAGE, *articles]))
    assert "under another number" in said("\n\n".join([PAGE, *articles[:6]]))
    assert "under another number" in said("\n\n".join([PAGE, *chinese]))
    letters = sum(map(str.isalnum, "".join(articles)))
    assert said("\n".join(articles), room=letters, lines=8) == ""
    assert said("\n\n".join([PAGE, *articles[:3]])) == ""


def test_a_column_that_says_the_same_in_every_row_is_a_table() -> None:
    rows = "".join(f"| sales {word}{n} | east |\n" for n, word in enumerate(PAGE.split()[:16]))
    assert said(rows, room=60, lines=16) == ""


def test_two_copies_of_a_slip_on_one_page_are_no_loop() -> None:
    assert said(f"{PAGE}\n{PAGE}", room=560) == ""
    assert "a paragraph of" in said(f"{PAGE}\n{PAGE}", room=320)


def test_the_same_page_twice_has_no_room() -> None:
    assert said(PAGE * 2, room=500) == ""
    assert "no room for so many" in said(PAGE * 2, room=200)


@given(st.lists(st.sampled_from(["a1", "be", "see", "dee", "7", "12", "once", "more"]), max_size=60))
def test_runs_are_counted_as_if_every_one_of_them_were_looked_at(told: list[str]) -> None:
    content = Words.of(" ".join(told))
    for length in (3, 5):
        runs = [tuple(told[start : start + length]) for start in range(len(told) - length + 1)]
        assert repeats(content.spelled, length) == len(runs) - len(set(runs))
