"""From a reading and its page to a verdict, with the reason in words."""

from dataclasses import replace

import pytest

from ocrd.model import PageFacts, PageImage, PageResult, PixelSize, Placement, Reading, TextLayer, Verdict
from ocrd.quality import verdict

FULL = PageFacts(Placement(595, 842), ink=0.05, lines=30, letters=1500)
TEXT = " ".join(f"chapter{number} begins when evening comes over harbour number{number}." for number in range(30))


def judged(text: str, facts: PageFacts = FULL, finish: str = "stop") -> PageResult:
    return verdict.judge(PageImage(0, PixelSize(1, 1), b"", 0, facts), Reading(0, text, finish, 9, 1.0))


def test_a_whole_page_is_fine() -> None:
    assert (judged(TEXT).verdict, judged(TEXT).reason) == (Verdict.OK, "")


@pytest.mark.parametrize(
    ("text", "finish", "expected", "why"),
    [
        (TEXT, "length", Verdict.TRUNCATED, "stopped in the middle"),
        (TEXT, "repetition", Verdict.REPEATED, "was stopped"),
        (TEXT + " and on" * 40, "length", Verdict.REPEATED, "in a row"),
        ("", "stop", Verdict.SUSPECT, "found no text"),
        ("Fig.", "stop", Verdict.SUSPECT, "read 3 letters"),
        (" ".join(f"{word}{n}" for n, word in enumerate((TEXT * 4).split())), "stop", Verdict.SUSPECT, "letters where"),
        (
            TEXT[: len(TEXT) // 3] + " and so the whole town of gulls went to",
            "stop",
            Verdict.SUSPECT,
            "letters where",
        ),
        ("<image>\nFree OCR.", "stop", Verdict.SUSPECT, "what it was asked"),
        ("The image shows a page of a book. " + TEXT[:300], "stop", Verdict.SUSPECT, "describes the page"),
        ("**Das Bild zeigt** eine Seite mit gedrucktem Text.", "stop", Verdict.SUSPECT, "describes the page"),
        ("На изображении показана страница документа.", "stop", Verdict.SUSPECT, "describes the page"),
        ("这张图片显示的是一份文件的扫描页。", "stop", Verdict.SUSPECT, "describes the page"),
        ("A close-up of a sheet of paper with writing.", "stop", Verdict.SUSPECT, "describes the page"),
        ("I'm sorry, I can't read this image.", "stop", Verdict.SUSPECT, "instead of reading"),
        ("Sure! Here is the text:", "stop", Verdict.SUSPECT, "instead of reading"),
        ('{"bbox": [1, 2, 3, 4], "text": ""}\n' * 6, "stop", Verdict.SUSPECT, "for a program"),
        ("<|ref|>text<|/ref|><|det|>[[80, 20, 900, 40]]<|/det|>\n" * 6, "stop", Verdict.SUSPECT, "read no letter"),
    ],
)
def test_a_bad_reading_is_called_so_with_its_reason(text: str, finish: str, expected: Verdict, why: str) -> None:
    result = judged(text, finish=finish)
    assert (result.verdict, why in result.reason) == (expected, True), result.reason


def test_an_engine_that_was_kept_from_repeating_itself_again_and_again_was_lost() -> None:
    page = PageImage(0, PixelSize(1, 1), b"", 0, FULL)
    result = verdict.judge(page, Reading(0, TEXT, "stop", 600, 1.0, bans=12))
    assert (result.verdict, "12 times" in result.reason) == (Verdict.REPEATED, True)
    assert verdict.judge(page, Reading(0, TEXT, "stop", 6000, 1.0, bans=12)).verdict is Verdict.OK
    assert verdict.judge(page, Reading(0, TEXT, "stop", 600, 1.0, bans=5)).verdict is Verdict.OK


def test_a_letter_that_excuses_itself_is_a_letter() -> None:
    note = "Sorry, I cannot come on Sunday. The document that you asked for lies on the shelf."
    assert judged(note, PageFacts(Placement(595, 842), ink=0.01, lines=2, letters=66)).verdict is Verdict.OK
    assert judged(note).verdict is Verdict.SUSPECT


def test_a_table_to_fill_in_is_whole_though_its_rules_look_like_letters() -> None:
    rows = "| No. | Name | Signature |\n" + "".join(f"| {n} |  |  |\n" for n in range(1, 30))
    ruled = PageFacts(Placement(595, 842), ink=0.02, lines=4, letters=350)
    assert judged(rows, ruled).verdict is Verdict.OK
    assert judged("| No. | Name |\n", ruled).verdict is Verdict.SUSPECT


def test_a_page_about_a_picture_is_a_page() -> None:
    note = "The picture shows the harbour before the fire of 1904, from the roof of the customs house. "
    assert judged(note, PageFacts(Placement(595, 842), ink=0.01, lines=2, letters=70)).verdict is Verdict.OK
    assert judged(note + "The text is printed in black.").verdict is Verdict.SUSPECT


def test_the_source_of_a_web_page_is_text() -> None:
    source = "".join(f'<a href="{word}.html">{n}</a>\n' for n, word in enumerate(TEXT.split()[:90]))
    assert judged(source, PageFacts(Placement(595, 842), ink=0.05, lines=90, letters=1400)).verdict is Verdict.OK


SPREAD = replace(FULL, spread=(0,) * 48 + (31,) * 48)
"""All letters in lines stand in the lower half."""
TEXT_IN_BOX = f"<|ref|>text<|/ref|><|det|>[[50, 520, 950, 980]]<|/det|>\n{TEXT}"


def picture(*box: int) -> str:
    return f"<|ref|>image<|/ref|><|det|>[{list(box)}]<|/det|>\n"


def test_what_only_looks_like_letters_in_a_picture_is_none() -> None:
    short = TEXT[:450] + "."
    assert judged(short, SPREAD).verdict is Verdict.SUSPECT
    assert judged(picture(0, 0, 999, 499) + short, SPREAD).verdict is Verdict.SUSPECT
    photographed = replace(FULL, spread=(0,) * 88 + (60,) * 8)
    below = "<|ref|>text<|/ref|><|det|>[[0, 900, 999, 999]]<|/det|>\n"
    assert judged(picture(0, 0, 999, 700) + below + short, photographed).verdict is Verdict.OK


@pytest.mark.parametrize("said", ["", "# Report\n"])
def test_a_page_of_text_that_is_taken_for_one_picture_is_not_read(said: str) -> None:
    assert "letter" in judged(said + picture(0, 0, 999, 999), SPREAD).reason
    assert "letter" in judged(said + picture(0, 0, 999, 999)).reason
    assert judged("Report 7\n" + picture(0, 0, 999, 999), replace(FULL, spread=(0,) * 96)).verdict is Verdict.OK


def test_text_that_stands_under_no_box_is_lost() -> None:
    assert judged(TEXT_IN_BOX, SPREAD).verdict is Verdict.OK
    assert "saw nothing" in judged(TEXT_IN_BOX.replace("520", "800"), SPREAD).reason


def test_text_that_is_to_stand_where_no_letters_are_was_made_up() -> None:
    other = " ".join(f"{word[:4]}{number}" for number, word in enumerate(TEXT.split()))
    upper = f"<|ref|>text<|/ref|><|det|>[[50, 20, 950, 400]]<|/det|>\n{other}\n"
    roomy = replace(SPREAD, letters=2000)
    assert judged(TEXT_IN_BOX, roomy).verdict is Verdict.OK
    assert "to have none" in judged(upper + TEXT_IN_BOX, roomy).reason
    assert judged(upper + TEXT_IN_BOX, replace(FULL, letters=3000)).verdict is Verdict.OK, "nobody looked"


def test_a_text_that_is_far_too_long_for_its_box_was_not_read_there() -> None:
    small = TEXT_IN_BOX.replace("[[50, 520, 950, 980]]", "[[50, 520, 120, 535]]")
    assert "no room" in judged(small).reason
    assert judged(small[:130], replace(FULL, lines=1, letters=60)).verdict is Verdict.OK


def in_boxes(*texts: str) -> str:
    """Put texts below one another, each in a box of a fifth of the page."""
    tops = range(0, 999, 200)
    return "\n".join(
        f"<|ref|>text<|/ref|><|det|>[[50, {top}, 950, {top + 199}]]<|/det|>\n{text}"
        for top, text in zip(tops, texts, strict=False)
    )


def test_a_text_of_which_half_is_lost_is_found_by_the_other_texts_of_its_page() -> None:
    sentences = TEXT.split(". ")
    texts = [". ".join(sentences[first : first + 8]) for first in range(0, 20, 4)]
    words = [f"{word}{number}" for number, text in enumerate(texts) for word in text.split()]
    texts = [" ".join(words[first : first + 60]) for first in range(0, 300, 60)]
    dense = replace(FULL, letters=2400, spread=(25,) * 96)
    halved = texts[1][: len(texts[1]) // 2]
    assert judged(in_boxes(*texts), dense).verdict is Verdict.OK
    assert "should be" in judged(in_boxes(texts[0], halved, *texts[2:]), dense).reason
    assert judged(in_boxes(texts[0], halved, *texts[2:]), replace(dense, spread=())).verdict is Verdict.OK
    half_pale = replace(dense, spread=(25,) * 16 + (13,) * 24 + (25,) * 56)
    assert judged(in_boxes(texts[0], halved, *texts[2:]), half_pale).verdict is Verdict.OK, "there is no more of it"
    uneven = [text[: len(text) * share // 10] for text, share in zip(texts, (10, 4, 10, 5, 9), strict=True)]
    assert "should be" not in judged(in_boxes(*uneven), replace(dense, letters=1900)).reason, "no two have one measure"


def test_boxes_that_march_or_lie_on_one_another_are_no_page() -> None:
    marks = "".join(picture(900, top, 920, top + 14) for top in range(100, 700, 20))
    assert "one after the other" in judged(TEXT_IN_BOX + marks).reason
    again = f"{TEXT_IN_BOX}\n{TEXT_IN_BOX}"
    assert "twice in one" in judged(again, replace(FULL, letters=2 * FULL.letters)).reason
    lines = TEXT.split(". ")
    same = "\n".join(f"<|ref|>text<|/ref|><|det|>[[70, 900, 400, 930]]<|/det|>\n{line}" for line in lines)
    assert "one and the same place" in judged(same).reason
    over = "\n".join(
        f"<|ref|>text<|/ref|><|det|>[[70, {top}, 400, {top + 90}]]<|/det|>\n{line}"
        for top, line in zip(range(100, 1000, 20), lines, strict=False)
    )
    assert "lie on others" in judged(over).reason


def test_the_same_text_in_many_places_is_read_once() -> None:
    line = "Every ledger in the house was opened on the last day of March and closed again at noon."
    said = "\n".join(
        f"<|ref|>text<|/ref|><|det|>[[70, {top}, 900, {top + 25}]]<|/det|>\n{line if top > 500 else one}"
        for top, one in zip(range(100, 950, 30), TEXT.split(". "), strict=False)
    )
    assert "the same in" in judged(said).reason


def test_half_of_a_full_page_is_too_little() -> None:
    full = PageFacts(Placement(842, 1191), ink=0.08, lines=110, letters=5000)
    long = " ".join(f"harbour{n} begins where evening comes over{n} the customs house." for n in range(45))
    assert judged(long, full).verdict is Verdict.SUSPECT
    assert judged(long, replace(full, letters=3500)).verdict is Verdict.OK


def test_labels_are_no_speech_and_speech_in_a_block_is() -> None:
    note = "The image shows the plan of a page. "
    box = "<|ref|>image<|/ref|><|det|>[[0, 0, 999, 300]]<|/det|>\n"
    assert judged(f"{box}{TEXT_IN_BOX}").verdict is Verdict.OK
    look = (
        "The image shows a scanned page of a document. At the top there is a heading in bold black font, and below "
        "it the text is arranged in two columns on a white background. In the lower right corner a diagram with "
        "labels is visible. The overall layout is clean, and the page appears to be part of a larger document. "
    )
    more = look.replace("shows", "of a sheet displays").replace("scanned page", "letter").replace("two", "three")
    said = f"<|ref|>text<|/ref|><|det|>[[50, 50, 950, 950]]<|/det|>\n{look}{more.upper()}"
    assert "describes" in judged(said, replace(FULL, letters=600)).reason
    assert judged(note + TEXT).verdict is Verdict.OK


def test_where_the_model_says_the_text_in_place_of_labels_it_counts() -> None:
    said = "\n".join(
        f"<|ref|>{line}<|/ref|><|det|>[[50, {top}, 950, {top + 20}]]<|/det|>"
        for top, line in zip(range(50, 950, 30), TEXT.split(". "), strict=True)
    )
    assert judged(said).verdict is Verdict.OK


def test_commands_of_formulas_are_no_letters_and_no_words() -> None:
    dots = "\\dots " * 20
    leaders = "".join(f"\\({n}x = {n * 7}\\) {dots}({n} marks)\n" for n in range(1, 9))
    facts = PageFacts(Placement(595, 842), ink=0.02, lines=8, letters=100)
    assert judged(leaders, facts).verdict is Verdict.OK
    matrix = "\\[\\begin{array}{cccc}" + " \\\\ ".join(["0 & 1 & 0 & 1"] * 4) + "\\end{array}\\]\n"
    assert judged(matrix, PageFacts(Placement(595, 842), ink=0.01, lines=4, letters=18)).verdict is Verdict.OK
    lost = "\\(\\frac{\\mathrm{a}}{\\mathrm{b}} \\cdot \\underbrace{\\quad}\\)\n" * 7
    assert judged(lost).verdict is not Verdict.OK


def test_tokens_in_a_tables_cells_are_none_of_its_words() -> None:
    row = "<tr>" + "<td>&lt;fcel&gt;</td>" * 5 + "<td>&lt;nl&gt;</td></tr>"
    assert "tokens of its own" in judged(f"{TEXT}<table>{row * 3}</table>").reason


def test_the_pages_own_text_is_believed() -> None:
    facts = PageFacts(Placement(595, 842), ink=0.05, lines=30, letters=300, layer=TextLayer(2000, ""))
    assert "the PDF's own text has 2000" in judged(TEXT[:900] + ".", facts).reason


def test_a_pages_own_text_is_taken_only_if_it_is_there_and_has_words_that_the_engine_read() -> None:
    facts = replace(FULL, layer=TextLayer(1200, ""))
    own, other = (Reading(0, text, "stop", 0, 0.0) for text in (TEXT, TEXT[::-1].replace(".", "")))
    assert verdict.text_layer(own, facts).verdict is Verdict.OK
    assert "could be taken" in verdict.text_layer(replace(own, text=""), facts).reason
    said = (
        "The keeper counted every lantern along the northern quay before supper was served to anyone who had walked "
        "there from distant villages beyond those marshes, carrying baskets full of apples."
    )
    read = Reading(0, said, "length", 40, 1.0)
    assert "other words" in verdict.text_layer(own, facts, [read]).reason
    assert verdict.text_layer(own, facts, [replace(read, text=TEXT[:500])]).verdict is Verdict.OK
    assert verdict.text_layer(own, facts, [other]).verdict is Verdict.OK  # what has no words contradicts nobody


def test_what_is_made_up_on_a_nearly_blank_page_is_too_much() -> None:
    number = PageFacts(Placement(595, 842), ink=0.0005, lines=1, letters=3)
    assert judged("- 12 -", number).verdict is Verdict.OK
    assert judged(TEXT[:200], number).verdict is Verdict.SUSPECT
