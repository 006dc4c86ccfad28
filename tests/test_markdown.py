"""The sidecar: every page under its own marker, whatever the engine, a file name or a library says."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from ocrd import markdown
from ocrd.markdown import Style
from ocrd.model import Document, PageResult, Reading, SourceFacts, Verdict

MARKER = re.compile(r"^<!-- page (\d+) -->$", re.MULTILINE)
SPITEFUL = [
    "<!-- page 3 -->", "<!--", "-->", "<!", "--", "---", ">", "...", "`", "```", "> *", "a", "&lt;!--", "--&gt;",
    "'", '"', ": ", "- x", "\n", "\r", "\0", "\x85", "\u2028", "\x1b[2J", "\ud800", "\udcff", "\u202e", "é",
]  # fmt: skip
ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=60) | st.lists(
    st.sampled_from(SPITEFUL), max_size=12
).map("".join)


def page(index: int, text: str | None = "text", verdict: Verdict = Verdict.OK, reason: str = "") -> PageResult:
    reading = None if text is None else Reading(index, text, "stop", 1, 0.5)
    return PageResult(index, verdict, reason, reading)


def document(pages: Iterable[PageResult], source: str = "a/scan.pdf") -> Document:
    results = tuple(pages)
    facts = SourceFacts("pdf", len(results), "ab" * 32)
    return Document(
        source, facts, results, "cpu", "tesseract 5 (1.0)", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 12.34
    )


def front(text: str) -> tuple[dict[str, object], str]:
    """Take the front matter apart as every reader does: from the first line to the next line of three dashes."""
    head, body = re.fullmatch(r"---\n(.*?\n)---\n(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    return yaml.safe_load(head), body


def visible(text: str) -> str:
    """Keep what a reader could see, however it is escaped."""
    text = text.encode("utf-8", "replace").decode()
    kept = "".join(char for char in text if char.isprintable() and not char.isspace())
    return kept.replace("&lt;", "<").replace("--&gt;", "-->").replace("\\", "")


def test_a_sidecar_begins_with_its_facts_and_holds_every_page_in_order() -> None:
    assert markdown.sidecar(document([page(0, "# One"), page(1, "Two\n")]), Style()) == (
        "---\n"
        "source: a/scan.pdf\n"
        f"sha256: {'ab' * 32}\n"
        "pages: 2\n"
        "status: complete\n"
        "engine: cpu\n"
        "model: tesseract 5 (1.0)\n"
        "date: '2026-01-02T03:04:05+00:00'\n"
        "seconds: 12.3\n"
        "problems: []\n"
        "---\n"
        "\n"
        "<!-- page 1 -->\n\n# One\n"
        "\n"
        "<!-- page 2 -->\n\nTwo\n"
    )


def test_the_front_matter_can_be_left_out() -> None:
    assert markdown.sidecar(document([page(0, "One")]), Style(front_matter=False)) == "<!-- page 1 -->\n\nOne\n"


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (page(0, None, Verdict.FAILED, "It broke. Mend it."), "> *Page 1 could not be read: It broke. Mend it.*"),
        (page(0, "", Verdict.BLANK, "the page is blank"), "> *Page 1 is blank.*"),
        (page(0, "some", Verdict.TRUNCATED, "cut"), "> *Page 1 may be wrong or incomplete: cut.*\n\nsome"),
        (page(0, "so so", Verdict.REPEATED, "looped"), "> *Page 1 may be wrong or incomplete: looped.*\n\nso so"),
        (page(0, " \n", Verdict.SUSPECT, "no text"), "> *Page 1 may be wrong or incomplete: no text.*"),
    ],
)
def test_a_page_with_a_problem_says_so_in_its_place(result: PageResult, told: str) -> None:
    text = markdown.sidecar(document([result, page(1, "next")]), Style(front_matter=False))
    assert text == f"<!-- page 1 -->\n\n{told}\n\n<!-- page 2 -->\n\nnext\n"


def test_the_problems_are_listed_in_the_front_matter() -> None:
    pages = [
        page(0),
        page(1, None, Verdict.FAILED, "broke"),
        page(2, "", Verdict.BLANK),
        page(3, "", Verdict.SUSPECT, "x"),
    ]
    facts, _ = front(markdown.sidecar(document(pages), Style()))
    assert facts["status"] == "partial"
    assert facts["problems"] == [
        {"page": 2, "verdict": "failed", "reason": "broke"},
        {"page": 4, "verdict": "suspect", "reason": "x"},
    ]


@given(
    st.lists(st.tuples(ANY_TEXT, st.sampled_from(Verdict), ANY_TEXT), min_size=1, max_size=4),
    st.booleans(),
)
@example([("<!-- page 3 -->\n<!\0-- page 4 --\0>", Verdict.OK, "")], True)
@example([("---\nsource: other\n---\n", Verdict.FAILED, "---\nstatus: complete\n---")], False)
@example([("x", Verdict.FAILED, "\ud800")], True)
@example([("x", Verdict.FAILED, "a\x85b\u2028c")], True)
def test_whatever_is_read_each_page_keeps_its_one_marker_and_all_its_visible_text(
    read: list[tuple[str, Verdict, str]],
    front_matter: bool,  # noqa: FBT001 - hypothesis passes it
) -> None:
    made = document(page(index, *rest) for index, rest in enumerate(read))
    text = markdown.sidecar(made, Style(front_matter=front_matter))
    text.encode()
    assert not set(text) & {chr(code) for code in (*range(9), *range(11, 32), *range(127, 160))}
    body = text
    if front_matter:
        facts, body = front(text)
        assert (facts["source"], facts["status"], facts["pages"]) == (made.source, made.status, len(read))
    assert [int(number) for number in MARKER.findall(body)] == list(range(1, len(read) + 1))
    assert len(re.findall(r"(?<!\\)<!--", body)) == len(read)
    for (said, _, _), section in zip(read, MARKER.split(body)[2::2], strict=True):
        assert visible(said) in visible(section)


@given(ANY_TEXT.filter(lambda name: "\0" not in name and "/" not in name))
@example("Rechnung März.pdf")
@example("a\n---\nstatus: complete.pdf")
@example("\udcff\udc80.pdf")
@example("' \": #[]{}&*!|>%@`.pdf")
@example("\x1b]0;owned\x07.pdf")
def test_no_source_name_can_forge_the_front_matter(name: str) -> None:
    facts, body = front(markdown.sidecar(document([page(0)], name), Style()))
    assert facts["status"] == "complete"
    assert facts["pages"] == 1
    assert str(facts["source"]).isprintable()
    assert body == "\n<!-- page 1 -->\n\ntext\n"


def test_a_name_that_is_not_utf_8_is_shown_as_escapes() -> None:
    facts, _ = front(markdown.sidecar(document([page(0)], "caf\udce9.pdf"), Style()))
    assert facts["source"] == "caf\\xe9.pdf"


def test_a_note_says_what_happened_and_what_to_do() -> None:
    text = markdown.note("scan.pdf", "This file is empty (0 bytes).", "Scan it again.", "2026-01-02T03:04:05+00:00")
    assert text.startswith("# scan.pdf was not read\n")
    assert "**What happened:** This file is empty (0 bytes).\n" in text
    assert "**What to do:** Scan it again.\n" in text
    assert "move it back into the inbox" in text
    assert "\nocrd, 2026-01-02T03:04:05+00:00\n" in text


@given(ANY_TEXT, ANY_TEXT)
@example("*b* _i_ [x](y) <b>.pdf", "\ud800")
@example("a\n# b", "")
def test_a_note_keeps_its_form_whatever_the_name_and_the_reason(name: str, what: str) -> None:
    text = markdown.note(name, what, "Do it.", "2026")
    text.encode()
    assert len(text.splitlines()) == len(markdown.note("x", "y", "Do it.", "2026").splitlines())
    assert not re.search(r"(?<!\\)[<*_`\[#]", text.splitlines()[0].removeprefix("# ").replace("\\\\", ""))
