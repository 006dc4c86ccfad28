"""Words and paragraphs that paper takes apart are joined on request, and no marker is lost over it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrd.output.reflow import Part, joined, parted


def pages(*texts: str | tuple[Part, ...]) -> list[Part]:
    parts = []
    for number, text in enumerate(texts, 1):
        parts.append(Part("marker", f"<!-- page {number} -->"))
        parts += (Part("prose", text),) if isinstance(text, str) else text
    return parts


def told(parts: list[Part], *, dehyphenate: bool = False, paragraphs: bool = False) -> str:
    return "\n\n".join(part.text for part in joined(parts, dehyphenate=dehyphenate, paragraphs=paragraphs))


def test_nothing_is_joined_unless_it_is_wanted() -> None:
    assert told(pages("exam-\nple and so", "on it goes")) == (
        "<!-- page 1 -->\n\nexam-\nple and so\n\n<!-- page 2 -->\n\non it goes"
    )


@pytest.mark.parametrize(
    ("text", "joins"),
    [
        ("exam-\nple", "example"),
        ("сло-\nво", "слово"),  # noqa: RUF001 - Russian, as it is written
        ("exam\u00ad\n  ple", "example"),
        ("North-\nSouth", "North-\nSouth"),
        ("USB-\nstick", "USB-\nstick"),
        ("2024-\nb", "2024-\nb"),
        ("1990-\n2000", "1990-\n2000"),
        ("a list:\n- one\n- two", "a list:\n- one\n- two"),
        ("dash -\nmore", "dash -\nmore"),
    ],
)
def test_words_divided_at_the_end_of_a_line(text: str, joins: str) -> None:
    assert told([Part("prose", text)], dehyphenate=True) == joins


def test_code_and_tables_are_left() -> None:
    parts = [Part("code", "```\na-\nb\n```"), Part("table", "<table>a-\nb</table>")]
    assert joined(parts, dehyphenate=True, paragraphs=True) == parts


def test_a_word_divided_between_pages_is_whole_on_the_first() -> None:
    assert told(pages("it is an exam-", "ple, you see."), dehyphenate=True) == (
        "<!-- page 1 -->\n\nit is an example,\n\n<!-- divided exam- ple, -->\n<!-- page 2 -->\n\nyou see."
    )


def test_numbers_and_capitals_are_not_joined_over_a_page() -> None:
    for last in ("in the years 12-", "sold with a USB-"):
        assert f"{last}\n" in told(pages(last, "stick to it."), dehyphenate=True)


def test_a_paragraph_goes_on_over_a_page_and_holds_its_marker() -> None:
    assert told(pages("it goes", "on and on", "and on."), paragraphs=True) == (
        "<!-- page 1 -->\n\nit goes <!-- page 2 --> on and on <!-- page 3 --> and on."
    )
    assert told(pages("an exam-", "ple of it."), dehyphenate=True, paragraphs=True) == (
        "<!-- page 1 -->\n\nan example <!-- divided exam- ple --> <!-- page 2 --> of it."
    )


@pytest.mark.parametrize("rest", ["ple<b>", "ple-->", "ple--", "ple*"])
def test_what_no_comment_could_hold_is_not_joined_over_a_page(rest: str) -> None:
    assert "divided" not in told(pages("an exam-", f"{rest} of it."), dehyphenate=True)


@pytest.mark.parametrize("paragraphs", [False, True])
def test_a_joined_word_can_be_taken_apart_again(paragraphs: bool) -> None:  # noqa: FBT001 - pytest passes it
    joint = told(pages("it is an exam-", "ple, you see."), dehyphenate=True, paragraphs=paragraphs)
    before, after = parted(*joint.removeprefix("<!-- page 1 -->").split("<!-- page 2 -->"))
    assert (before.strip(), after.strip()) == ("it is an exam-", "ple, you see.")
    assert parted("as it was", "and is") == ("as it was", "and is")
    changed = parted("it is a sample,\n\n<!-- divided exam- ple, -->\n", "\n\nyou see.")
    assert changed == ("it is a sample,\n\n", "\n\nple, you see.")


@pytest.mark.parametrize(
    ("before", "after"),
    [("It ends.", "it begins"), ("it goes", "On"), ("# heading", "text"), ("| a |", "b"), ("it goes", "- item")],
)
def test_a_paragraph_that_is_complete_stays(before: str, after: str) -> None:
    assert told(pages(before, after), paragraphs=True) == f"<!-- page 1 -->\n\n{before}\n\n<!-- page 2 -->\n\n{after}"


def test_footers_and_headers_stand_aside() -> None:
    foot, head = Part("running", "foot"), Part("running", "head")
    parts = pages((Part("prose", "it goes"), foot), (head, Part("prose", "on.")))
    assert told(parts, paragraphs=True) == "<!-- page 1 -->\n\nfoot\n\nit goes <!-- page 2 --> on.\n\nhead"


@pytest.mark.parametrize("between", [Part("note", "> *bad*"), Part("table", "<table></table>"), Part("heading", "# x")])
def test_nothing_is_joined_over_what_comes_between(between: Part) -> None:
    parts = pages("it goes", (between, Part("prose", "on.")))
    assert joined(parts, dehyphenate=True, paragraphs=True) == parts


KINDS = st.sampled_from(["note", "heading", "prose", "table", "code", "figure", "caption", "running"])
PARTS = st.lists(st.builds(Part, KINDS, st.text("ab-. \n#|", min_size=1).filter(str.strip)), max_size=3)


@given(st.lists(PARTS, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_every_marker_stays_once_and_no_letter_is_lost(
    made: list[list[Part]],
    dehyphenate: bool,  # noqa: FBT001 - hypothesis passes it
    paragraphs: bool,  # noqa: FBT001
) -> None:
    parts = pages(*map(tuple, made))
    text = told(parts, dehyphenate=dehyphenate, paragraphs=paragraphs)
    assert re.findall(r"<!-- page (\d+) -->", text) == [str(number) for number in range(1, len(made) + 1)]
    before = "".join(part.text for part in parts)
    text = re.sub(r"<!-- divided .*? -->", "", text)
    assert sorted(filter(str.isalpha, text)) == sorted(filter(str.isalpha, before))
