"""From a reading and its page to a verdict, with the reason in words."""

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


def test_a_picture_holds_no_letters() -> None:
    box = "<|ref|>image<|/ref|><|det|>[[0, 0, 999, 700]]<|/det|>\n"
    assert judged(TEXT[:450] + ".").verdict is Verdict.SUSPECT
    assert judged(box + TEXT[:450] + ".").verdict is Verdict.OK


def test_the_pages_own_text_is_believed() -> None:
    facts = PageFacts(Placement(595, 842), ink=0.05, lines=30, letters=300, layer=TextLayer(2000, ""))
    assert "the PDF's own text has 2000" in judged(TEXT[:900] + ".", facts).reason


def test_what_is_made_up_on_a_nearly_blank_page_is_too_much() -> None:
    number = PageFacts(Placement(595, 842), ink=0.0005, lines=1, letters=3)
    assert judged("- 12 -", number).verdict is Verdict.OK
    assert judged(TEXT[:200], number).verdict is Verdict.SUSPECT
