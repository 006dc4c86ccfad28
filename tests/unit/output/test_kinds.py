"""Every output can be written of anything that an engine may say, and says what it was."""

import ast
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import ocrd
from ocrd.config.watch import Options, Watch
from ocrd.model import Document, PageFacts, PageResult, Placement, Reading, SourceFacts, Verdict
from ocrd.output import kinds
from ocrd.output.kinds import Materials, TextKind
from ocrd.output.markdown import Style
from ocrd.rendering.text_placement import strips

TAG = "<|ref|>text<|/ref|><|det|>[[10, 20, 300, 400]]<|/det|>"
TOKENS = [TAG, "<table><tr><td>", "</table>", "```", "`", "\\(", "\\)", "$", "*", "# ", "- ", "1. ", "> ", "|", "---",
          "\n", "\n\n", "word", "x<y", "[a](http://b)", "\x00", "\ud800", "\f", "&amp;", "<br>", "    "]  # fmt: skip
TEXTS = st.lists(st.sampled_from(TOKENS), max_size=12).map("".join) | st.text(st.characters(codec=None), max_size=60)
PLACE = Placement(400, 600)
NO_WORKERS: Any = None
NO_STREAM: Any = None
"""An output of the text asks nothing of them."""


def document(*pages: PageResult) -> Document:
    facts = SourceFacts("pdf", len(pages), "ab" * 32)
    return Document("a/scan.pdf", facts, pages, "cpu", "m", datetime(2026, 1, 2, tzinfo=UTC), 1.0)


def page(text: str, index: int = 0, verdict: Verdict = Verdict.OK, reason: str = "") -> PageResult:
    reading = Reading(index, text, "stop", 1, 0.5)
    return PageResult(index, verdict, reason, reading, facts=PageFacts(PLACE))


def written(document: Document, *names: str) -> dict[str, str]:
    """Write a document as these kinds do, by ending."""
    given = Materials(Style(), lambda _: b"", Path("scan.pdf"), NO_WORKERS, NO_STREAM)
    return {kind.ending: kind.write(document, given) for kind in kinds.named(names) if isinstance(kind, TextKind)}


def watch(*wanted: str, **settings: object) -> Watch:
    return Watch.model_construct(outputs=wanted, **settings)


@given(st.lists(TEXTS, min_size=1, max_size=3), TEXTS)
@example(["\ud800"], "\ud800")
def test_all_of_them_are_utf_8_whatever_was_read(texts: list[str], reason: str) -> None:
    made = document(*(page(text, index, Verdict.SUSPECT, reason) for index, text in enumerate(texts)))
    files = written(made, "text", "json", "markdown", "html")
    assert files.keys() == {".md", ".json", ".txt", ".html"}
    assert all(text.encode() for text in files.values())
    told = json.loads(files[".json"])
    assert [each["page"] for each in told["pages"]] == list(range(1, len(texts) + 1))
    assert files[".txt"].count("\f") == len(texts) - 1
    assert files[".md"].count("<!-- page ") == len(texts)
    assert files[".html"].count("<section ") == files[".html"].count("</section>") == len(texts)


@given(TEXTS)
@example(TAG * 3)
@example("שלום")
def test_what_can_be_searched_is_all_that_was_read_and_lies_on_the_page(text: str) -> None:
    laid = strips(page(text))
    for strip in laid:
        strip.text.encode()
        assert strip.text.strip()
        assert strip.length > 0
        assert strip.height > 0
        assert 0 <= strip.x <= 400
        assert 0 <= strip.y <= 600
    if "word" in text:
        assert "word" in "".join(strip.text for strip in laid).replace(" ", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# Title\n\nSome *words*\nand more.", "Title\n\nSome words\nand more."),
        ("- one\n- two\n\n3. three", "- one\n\n- two\n\n3. three"),
        ("| a | b |\n| --- | --- |\n| c | d |", "a\tb\nc\td"),
        ("H<sub>2</sub>O and x<y", "H2O and x<y"),
        ("\\(a_1 * b_1\\)", "$a_1 * b_1$"),
        ("```\nif a < b:\n```", "if a < b:"),
        ("one<br>two", "one\ntwo"),
    ],
)
def test_plain_text_has_no_markup(text: str, told: str) -> None:
    assert written(document(page(text)), "text")[".txt"] == told + "\n"


def test_a_page_with_a_problem_says_so_in_the_text_too() -> None:
    failed = PageResult(1, Verdict.FAILED, "It broke.", None)
    text = written(document(page("one"), failed), "text")[".txt"]
    assert text == "one\n\fPage 2 could not be read: It broke.\n"


def test_figures_are_cropped_only_for_what_can_show_them() -> None:
    assert watch("markdown").illustrated
    assert watch("json", "pdf").illustrated
    assert watch("html").illustrated
    assert not watch("pdf", "text").illustrated
    assert not watch("markdown", figures=False).illustrated


# -- the registry


def test_each_kind_has_a_name_and_an_ending_of_its_own() -> None:
    assert len({kind.name for kind in kinds.ALL}) == len({kind.ending for kind in kinds.ALL}) == len(kinds.ALL)
    assert [kinds.ending_in(kind.ending) for kind in kinds.ALL] == list(kinds.ALL)
    assert kinds.ending_in(".docx") is None


def test_what_links_goes_out_after_what_it_links_to_and_the_markdown_last() -> None:
    assert kinds.named(["markdown", "pdf", "html"]) == [kinds.PDF, kinds.HTML, kinds.MARKDOWN]
    assert kinds.ALL[-1] is kinds.MARKDOWN
    assert list(kinds.SIDECARS) == [".md", ".json", ".txt"]


def test_the_configuration_allows_what_the_registry_has_and_says_what_it_is() -> None:
    schema = Watch.model_json_schema(mode="serialization")["properties"]["outputs"]
    assert tuple(schema["items"]["enum"]) == kinds.NAMES
    for kind in kinds.ALL:
        assert f"{kind.name} ({kind.meaning})" in schema["description"] or not kind.meaning
        assert Options.model_validate({"outputs": [kind.name]}).outputs == (kind.name,)


HOUSE = Path(ocrd.__file__).parent
OTHER_USES = {".json", ".pdf"}
"""Endings of records and of sources, too."""


@pytest.mark.parametrize("path", [path for path in sorted(HOUSE.rglob("*.py")) if path != Path(kinds.__file__)])
def test_no_other_module_names_the_ending_of_an_output(path: Path) -> None:
    strings = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
    assert not strings & ({kind.ending for kind in kinds.ALL} - OTHER_USES)
