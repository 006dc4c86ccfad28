"""The sidecar: every page under its own marker, whatever the engine, a file name or a library says."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from ocrd.model import Document, PageResult, Reading, SourceFacts, Verdict
from ocrd.output import front_matter, markdown
from ocrd.output.markdown import Style
from ocrd.output.result_names import STEM

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
    while kept != (less := kept.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")):
        kept = less
    kept = kept.replace("\\", "")
    kept = re.sub("</?code>|`", "", kept)  # code may be marked in either way
    return re.sub("-{3,}", "---", kept)  # a rule is as wide as the page, however it is written


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
@example([("`<?`", Verdict.OK, "")], False)
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
    text = front_matter.note("scan.pdf", "This file is empty (0 bytes).", "Scan it again.", "2026-01-02T03:04:05+00:00")
    assert text.startswith("# scan.pdf was not read\n")
    assert "**What happened:** This file is empty (0 bytes).\n" in text
    assert "**What to do:** Scan it again.\n" in text
    assert "move it back into the inbox" in text
    assert "\nocrd, 2026-01-02T03:04:05+00:00\n" in text


@given(ANY_TEXT, ANY_TEXT)
@example("*b* _i_ [x](y) <b>.pdf", "\ud800")
@example("a\n# b", "")
def test_a_note_keeps_its_form_whatever_the_name_and_the_reason(name: str, what: str) -> None:
    text = front_matter.note(name, what, "Do it.", "2026")
    text.encode()
    assert len(text.splitlines()) == len(front_matter.note("x", "y", "Do it.", "2026").splitlines())
    assert not re.search(r"(?<!\\)[<*_`\[#]", text.splitlines()[0].removeprefix("# ").replace("\\\\", ""))


# What DeepSeek's labels become


def tag(label: str) -> str:
    return f"<|ref|>{label}<|/ref|><|det|>[[1, 2, 300, 400]]<|/det|>\n"


def body(text: str, style: Style | None = None, figures: tuple[str, ...] = ()) -> str:
    result = replace(page(0, text), figures=figures)
    told = markdown.sidecar(document([result]), replace(style or Style(), front_matter=False))
    return told.removeprefix("<!-- page 1 -->").strip("\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (tag("title") + "Report", "# Report"),
        (tag("title") + "# Report\nof 2026", "# Report of 2026"),
        (tag("sub_title") + "Sales", "## Sales"),
        (tag("sub_title") + "### Sales", "### Sales"),
        (tag("text") + "one\n\n" + tag("text") + "two", "one\n\ntwo"),
        (tag("table_caption") + "Table 1. Sums", "*Table 1. Sums*"),
        (tag("image_caption") + "<center>Figure 1. A *new* plan </center>  ", "Figure 1. A *new* plan"),
        (tag("image_caption") + "<center>Figure 1. 5*3 </center>   ", "*Figure 1. 5\\*3*"),
        (tag("image_caption") + "<center>One\nTwo </center>", "One\nTwo"),
        (tag("figure_title") + "Figure 2", "*Figure 2*"),
        (tag("title") + "# One\n# Two\n\nsmall print", "# One\n\n# Two\n\nsmall print"),
        (tag("text") + "# Parameter:\nx=1", "\\# Parameter:\nx=1"),
        (tag("text") + "a long- term plan", "a long-term plan"),
        (tag("text") + "7. one\n" + tag("text") + "9. two", "7. one\n\n9\\. two"),
        (tag("text") + "7. one\n" + tag("text") + "8. two", "7. one\n\n8. two"),
        (tag("text") + "cut\n<|ref|>text<|/ref|><|det|>[[1, 2", "cut"),
        (
            tag("table") + tag("table_caption") + "Table 1\n\n<table><tr><td>5</td></tr></table>",
            "*Table 1*\n\n| 5 |\n| --- |",
        ),
        (tag("equation") + "\\[ a = b \\]", "$$a = b$$"),
        (tag("header") + "Annual\n\nReport", "<!-- header -->\nAnnual\nReport"),
        (tag("page_number") + "17", "<!-- number -->\n17"),
        (tag("image"), ""),
        (tag("image") + "text in it", "text in it"),
    ],
)
def test_what_becomes_of_a_block(text: str, told: str) -> None:
    assert body(text) == told


def test_running_lines_can_be_kept_as_text_or_left_out() -> None:
    text = tag("text") + "words\n\n" + tag("footer") + "foot"
    assert body(text, Style(running="keep")) == "words\n\nfoot"


def running(label: str, said: str) -> str:
    return f"<|ref|>{label}<|/ref|><|det|>[[1, 2, 300, 400]]<|/det|>\n{said}\n\n"


DROP = Style(running="drop")


def test_only_what_runs_over_pages_or_is_a_number_is_left_out_and_counted() -> None:
    pages = [
        page(
            n,
            running("header", f"Report, part {n + 3}")
            + tag("text")
            + f"words{n}\n\n"
            + running("page_number", f"- {n} -"),
        )
        for n in range(2)
    ]
    pages.append(page(2, running("header", "PS: the sum of 940 crowns is due") + running("footer", "Seite 3 von 3")))
    told = markdown.sidecar(document(pages), DROP)
    facts, text = front(told)
    assert facts["running_lines_left_out"] == 5
    assert "Report" not in text
    assert "PS: the sum of 940 crowns is due" in text
    assert "Seite" not in text
    assert text.count("<!-- 2 running lines left out -->") == 2
    kept, _ = front(markdown.sidecar(document(pages[:1]), DROP))
    assert kept["running_lines_left_out"] == 1, "a title that stands on one page does not run"


@pytest.mark.parametrize(
    "said",
    [("Sum due: 1250 crowns", "Sum due: 940 crowns"), ("Signed 12.3.2024", "Signed 30.5.2025"), ("1,250", "12.50")],
)
def test_what_differs_by_more_than_the_pages_number_is_no_running_title(said: tuple[str, str]) -> None:
    pages = [page(n, tag("text") + f"words{n}\n\n" + running("footer", text)) for n, text in enumerate(said)]
    told = markdown.sidecar(document(pages), DROP)
    assert [text for text in said if text in told] == list(said)


def test_a_running_title_may_hold_the_number_of_its_page_beside_others() -> None:
    pages = [
        page(n, tag("text") + f"words{n}\n\n" + running("footer", f"Act 12/2020, page {n + 41} of 99"))
        for n in range(3)
    ]
    facts, text = front(markdown.sidecar(document(pages), DROP))
    assert facts["running_lines_left_out"] == 3
    assert "Act" not in text


def test_a_page_is_never_emptied() -> None:
    pages = [page(n, running("header", "Report") + running("page_number", f"{n}")) for n in range(2)]
    facts, text = front(markdown.sidecar(document(pages), DROP))
    assert text.count("Report") == 2
    assert "running_lines_left_out" not in facts


def test_a_rerun_counts_what_is_left_out_anew() -> None:
    pages = [page(n, running("header", "Report") + tag("text") + f"words{n}") for n in range(3)]
    old = markdown.sidecar(document(pages), DROP)
    new = markdown.replace_pages(old, [pages[1]], DROP, {"date": "2026-02-01"}, "scan")
    facts, text = front(new)
    assert (facts["running_lines_left_out"], text.count("Report")) == (2, 1)


JOINS = Style(front_matter=False, dehyphenate=True)


@pytest.mark.parametrize("style", [JOINS, replace(JOINS, join_paragraphs=True)])
@pytest.mark.parametrize("again", [(0,), (1,), (2,), (0, 1), (0, 2), (0, 1, 2)])
def test_a_rerun_keeps_every_half_of_a_joined_word(style: Style, again: tuple[int, ...]) -> None:
    said = ["It is an exam-", "ple of a long para-", "graph, as you see."]
    old = markdown.sidecar(document(page(index, text) for index, text in enumerate(said)), style)
    fresh = [page(index, said[index].upper().lower()) for index in again]
    new = markdown.replace_pages(old, fresh, style, {}, "scan")
    assert front_matter.pages_of(new) == [1, 2, 3]
    seen = re.sub(r"<!-- .*? -->", " ", new)
    assert letters(seen.lower()) == letters("".join(said).lower())
    assert re.sub(r"[-\s]", "", seen.lower()) == re.sub(r"[-\s]", "", "".join(said).lower())


@given(
    st.lists(
        st.lists(st.sampled_from(["exam-", "ple,", "and", "so.", "\n", "\n\n", "Foot"]), max_size=6),
        min_size=2,
        max_size=4,
    ),
    st.booleans(),
    st.data(),
)
def test_no_letter_is_lost_or_doubled_by_a_rerun(said: list[list[str]], joins: bool, data: st.DataObject) -> None:  # noqa: FBT001
    style = replace(JOINS, join_paragraphs=joins)
    pages = [page(index, " ".join(words)) for index, words in enumerate(said)]
    old = markdown.sidecar(document(pages), style)
    again = data.draw(st.lists(st.sampled_from(pages), min_size=1, max_size=2, unique_by=lambda one: one.index))
    new = markdown.replace_pages(old, again, style, {}, "scan")
    assert letters(re.sub(r"<!-- .*? -->", " ", new)) == letters(" ".join(" ".join(words) for words in said))


def test_figures_are_linked_in_their_places_and_one_that_failed_says_so() -> None:
    text = "before\n" + tag("image") + tag("image_caption") + "Figure 1\n" + tag("figure") + "after"
    assert body(text, figures=("page-1-figure-1.jpg", "")) == (
        f"before\n\n![Page 1, figure 1]({STEM}.assets/page-1-figure-1.jpg)\n\n*Figure 1*\n\n"
        "*(A picture on page 1 could not be cropped.)*\n\nafter"
    )


def test_code_and_tables_left_open_end_with_their_page() -> None:
    pages = [page(0, "```\ncode"), page(1, "<table><tr><td>cell"), page(2, "after")]
    told = markdown.sidecar(document(pages), Style(front_matter=False, tables="html"))
    assert "```\ncode\n```\n\n<!-- page 2 -->" in told
    assert "cell</td></tr></tbody></table>\n\n<!-- page 3 -->" in told


def test_the_styles_of_a_watch_reach_the_markdown() -> None:
    pages = [page(0, "an exam-"), page(1, "ple that goes"), page(2, "on.")]
    told = markdown.sidecar(document(pages), Style(front_matter=False, dehyphenate=True, join_paragraphs=True))
    assert told == (
        "<!-- page 1 -->\n\nan example <!-- divided exam- ple --> <!-- page 2 --> that goes <!-- page 3 --> on.\n"
    )


TOKENS = [
    tag("title"),
    tag("image"),
    tag("footer"),
    "<table><tr><td>",
    "</table>",
    "```",
    "\\(",
    "\\)",
    "$",
    "word",
    "e-\n",
    " ",
]


@given(
    st.lists(st.lists(st.sampled_from([*TOKENS, *SPITEFUL]), max_size=10).map("".join), min_size=1, max_size=4),
    st.builds(
        Style,
        tables=st.sampled_from(["markdown", "html"]),
        running=st.sampled_from(["mark", "keep"]),
        dehyphenate=st.booleans(),
        join_paragraphs=st.booleans(),
    ),
)
def test_in_every_style_each_marker_is_there_once_and_no_letter_is_lost(read: list[str], style: Style) -> None:
    told = markdown.sidecar(document(page(index, text) for index, text in enumerate(read)), style)
    told.encode()
    _, told = front(told)
    assert [int(number) for number in re.findall(r"<!-- page (\d+) -->", told)] == list(range(1, len(read) + 1))
    assert told.startswith("\n<!-- page 1 -->\n")
    said = "".join(re.sub(r"<\|ref\|>\w+<\|/ref\|><\|det\|>[^<]*<\|/det\|>|</?t\w+>", "", text) for text in read)
    told = re.sub(r"<!-- .*? -->|</?t\w+>|&\w+;", "", told)
    assert not letters(re.sub(r"&\w+;", "", said)) - letters(told)


def letters(text: str) -> Counter[str]:
    return Counter(filter(str.isalnum, text))


MARKUP = [
    *SPITEFUL, "<table>", "</table>", "<tr>", "</tr>", "<td>", "<td colspan=2>", "</td>", "<caption>", "<br>",
    "<center>", "</center>", "<b>", "</b>", "<code>", "<script>", "<td", "<!DOCTYPE", "<![CDATA[", "<?", "?>",
    "<|ref|>", "<|det|>[[", "<|ref|>title<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>",
    "<|ref|>header<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>",
    "<|ref|>image<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>", "\\(", "\\)", "\\[", "\\]", "$$", "~~~", "![x](y)",
    "[x]: y", "[x](javascript:a)", "| a | b |\n| - | - |\n", "# ", "1. ", "    ", "\ue000",
    "\ue0000\ue001", "-\n", "&amp;", "漢",
]  # fmt: skip
STYLES = st.builds(
    Style,
    tables=st.sampled_from(["markdown", "html"]),
    running=st.sampled_from(["mark", "keep"]),
    dehyphenate=st.booleans(),
    join_paragraphs=st.booleans(),
)


@given(st.lists(st.lists(st.sampled_from(MARKUP), max_size=12), min_size=1, max_size=3), STYLES)
def test_between_whatever_markup_no_word_is_dropped_or_told_twice(read: list[list[str]], style: Style) -> None:
    words = [[f"qz{page}x{number}zq" for number in range(len(marks))] for page, marks in enumerate(read)]
    texts = [
        "".join(f"{mark} {word} " for mark, word in zip(*page, strict=True)) for page in zip(read, words, strict=True)
    ]
    text = markdown.sidecar(document(page(index, said) for index, said in enumerate(texts)), style)
    text.encode()
    assert [int(number) for number in re.findall(r"<!-- page (\d+) -->", text)] == list(range(1, len(read) + 1))
    assert Counter(re.findall(r"qz\d+x\d+zq", text)) == Counter(word for page in words for word in page)


def test_a_source_that_is_named_like_a_marker_is_no_page() -> None:
    sidecar = markdown.sidecar(document([page(0)], "<!-- page 1 -->.pdf"), Style())
    assert front_matter.pages_of(sidecar) == [1]
    divided = front_matter.divided(sidecar)
    assert divided.front + divided.head + front_matter.marker(1) + divided.pages[0][1] == sidecar


@pytest.mark.parametrize(
    ("files", "missing"),
    [
        (["s-1.jpg", "s-2.jpg"], []),
        (["s-1.jpg", "s-4.png"], [2, 3]),
        (["s (1).jpg", "s (3).jpg"], [2]),
        (["s/1.jpg", "s/3.jpg"], []),
        (["s-1.jpg", "s-500.jpg"], []),
        ([], []),
    ],
)
def test_numbers_that_a_sequence_leaves_out_are_known(files: list[str], missing: list[int]) -> None:
    assert front_matter.missing_numbers("s", files) == missing
