"""Whether letters make words, in languages with and without vowels."""

import random

import pytest

from ocrd.quality import gibberish
from ocrd.quality.words import Words

TEXTS = {
    "english": "When the town of Harrow Quay closed its customs house nobody asked what should become of the papers, "
    "and there were forty-one shelves of them, tide tables, rope receipts and complaints about gulls.",
    "german": "Der Dampfer legte kurz nach sechs Uhr ab, und wer jetzt noch auf der Brücke stand, winkte nur den "
    "Möwen; im Gepäcknetz lagen zwei Schachteln mit Schrauben und ein Brief ohne Absender.",
    "russian": "Летом в окна светило почти до полуночи, и сотрудники работали без ламп, а зимой архивом заведовала "
    "женщина, которая знала каждую полку и каждую папку по имени человека, который её принёс.",
    "czech": "Když přístavní celnice zavřela, nikdo se neptal, co bude s papíry. Regálů bylo čtyřicet jedna, ležely "
    "v nich tabulky přílivu, účtenky za provazy a kniha stížností na racky.",
}


def shuffled(text: str) -> str:
    letters = [char for char in text if char.isalpha()]
    random.Random(3).shuffle(letters)  # noqa: S311
    return "".join(letters.pop() if char.isalpha() else char for char in text)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_letters_of_a_language_make_words_until_they_are_shuffled(text: str) -> None:
    assert gibberish.found(Words.of(text)) == ""
    assert gibberish.found(Words.of(shuffled(text))) == "its letters make no words"


@pytest.mark.parametrize("text", ["", "XKR 17 B", "GmbH & Co. KG", "0x1f " * 400, "brrr " * 300, "т.д. " * 99])
def test_too_few_different_words_prove_nothing(text: str) -> None:
    assert gibberish.found(Words.of(text)) == ""


def test_an_alphabet_without_vowels_is_told_by_its_neighbours() -> None:
    text = (
        "כאשר נסגר בית המכס בנמל לא שאל איש מה יעשו בניירות היו שם ארבעים ואחת קומות של מדפים ועליהן לוחות גאות קבלות "
        "על חבלים וספר תלונות על שחפים הבניין נמכר באביב ובעליו החדש ביקש שיפונה עד יוני ולכן השאילה בתו של השומר "
        "עגלה והובילה את הניירות הביתה מדי ערב אנשים ראו אותה עוברת ברחוב הראשי וכל אחד סיפר על כך דבר אחר "
        "המורה חשב שהיא בונה סירה מנייר הדייגים אמרו שהיא מחפשת מכתב ישן של סבתה ובעל החנות היה בטוח שתמכור הכול "
        "לאספנים מחוץ לעיר רק הילדים שאלו אותה ישר והיא ענתה שמישהו צריך לזכור מה נכנס לנמל ומה יצא ממנו"
    )
    assert gibberish.found(Words.of(text)) == ""
    assert gibberish.found(Words.of(shuffled(text))) == "its letters make no words"


def test_characters_that_never_come_back_make_no_text() -> None:
    chance = random.Random(4)  # noqa: S311
    assert (
        gibberish.found(Words.of("海关关门的时候没有人问那些文件该怎么办书架一共四十一层上面放着的是潮汐表" * 4)) == ""
    )
    assert gibberish.found(Words.of("".join(chr(chance.randrange(0x4E00, 0x9FA0)) for _ in range(200))))


def test_characters_that_are_common_nowhere_make_no_text() -> None:
    few = "海关关门的时候没有人问那些文件该怎么办書架一共四十一層"
    assert gibberish.found(Words.of(few)) == ""
    rare = "".join(chr(0x4E00 + 83 * n) for n in range(40))
    assert gibberish.found(Words.of(rare)) == "its characters are common nowhere"


@pytest.mark.parametrize("sign", ["\ufffd", "(cid:12)", "&#1090;"])
def test_characters_that_were_not_decoded_are_none(sign: str) -> None:
    assert gibberish.found(Words.of(f"Caf{sign} " * 9)) == ""
    assert gibberish.found(Words.of(sign * 40)) == "its characters were not decoded"


def test_what_stands_on_its_head_looks_like_two_scripts() -> None:
    read = (
        "pres Jey} HI ur OUTe puy Pjno лэчиэи рие ansojejed sures ay рaje quotd sıde 4304 SuULIOOU лэлo uNOD 0з зиэм "
    )
    assert gibberish.found(Words.of(read * 2)) == "it mixes letters of two scripts"
    assert gibberish.found(Words.of("дом house окно window кот cat лес wood снег snow год year мост bridge " * 3)) == ""
