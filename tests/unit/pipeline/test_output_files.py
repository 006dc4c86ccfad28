"""The files of a document: all that are wanted, of each part, and none lost with another."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ocrd.config.schema import Watch
from ocrd.errors import DocumentError, PageError
from ocrd.model import Document, PageResult, Reading, SourceFacts, Verdict
from ocrd.output import kinds
from ocrd.output.kinds import Materials, Replacement
from ocrd.output.markdown import Style
from ocrd.pipeline import output_files


async def at_once(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Take a step on the disk, as `concurrency.threads.Threads.run` does in a thread."""
    return function(*args, **kwargs)


class Workers:
    """Render workers that can make no PDF, or one that says what it was made of."""

    def __init__(self, *, broken: bool = False) -> None:
        self._broken = broken

    async def searchable(self, path: Path, pages: Sequence[PageResult], only: Sequence[int] = ()) -> bytes:
        if self._broken:
            raise PageError("It can't be made.", "Nothing.")
        return f"{path} {len(pages)} {list(only)}".encode()

    async def exchange_searchable(
        self, path: Path, delivered: Path, pages: Sequence[PageResult], places: Mapping[int, int], total: int
    ) -> bytes:
        read = [page.index for page in pages if page.reading]
        return f"{path} {delivered} {len(pages)} {read} {dict(places)} {total}".encode()


def page(index: int, text: str) -> PageResult:
    if not text:
        return PageResult(index, Verdict.BLANK, "", None)
    return PageResult(index, Verdict.OK, "", Reading(index, text, "stop", 1, 0.0), figures=(f"page-{index}.jpg",))


def document(*texts: str) -> Document:
    pages = tuple(page(index, text) for index, text in enumerate(texts))
    return Document("a.pdf", SourceFacts("pdf", len(pages), "00"), pages, "e", "m", datetime.now(UTC), 0.0)


def materials(*, broken: bool = False) -> Materials:
    return Materials(Style(front_matter=False), lambda _: b"", Path("source"), Workers(broken=broken))


def made(document: Document, *outputs: str, split: str = "none", broken: bool = False) -> dict[str, bytes]:
    watch = Watch.model_construct(outputs=outputs, split=split)
    return asyncio.run(output_files.make(document, watch, materials(broken=broken), at_once))


def test_each_part_has_each_file() -> None:
    files = made(document("one", "", "two"), "markdown", "pdf", split="blank")
    assert files == {
        "-1.pdf": b"source 3 [0]",
        "-1.md": b"<!-- page 1 -->\n\none\n",
        "-2.pdf": b"source 3 [1, 2]",
        "-2.md": b"<!-- page 2 -->\n\n> *Page 2 is blank.*\n\n<!-- page 3 -->\n\ntwo\n",
    }
    assert made(document("one"), "pdf") == {".pdf": b"source 1 []"}


def test_where_no_pdf_can_be_made_markdown_takes_its_place() -> None:
    with capture_logs() as logged:
        files = made(document("one"), "pdf", "text", broken=True)
    assert files == {".txt": b"one\n", ".md": b"<!-- page 1 -->\n\none\n"}
    assert [(line["event"], line["source"]) for line in logged] == [("no pdf", "a.pdf")]


@pytest.mark.parametrize(("endings", "wanted"), [([".html", ".pdf"], []), ([".txt", "-2.md"], ["page-0.jpg"])])
def test_the_folder_of_figures_goes_with_what_links_to_it(endings: list[str], wanted: list[str]) -> None:
    assert output_files.figures_beside(document("one"), endings) == wanted


def test_a_pdf_gets_its_pages_at_their_places_in_it(tmp_path: Path) -> None:
    new = Replacement((page(4, "x"), page(5, "y")), numbers=[4, 5, 6], total=7, rerun={}, stem="a-2")
    changed = asyncio.run(output_files.replace_pages(kinds.PDF, tmp_path / "old.pdf", new, materials(), at_once))
    assert changed.decode() == f"source {tmp_path}/old.pdf 7 [4, 5] {{4: 1, 5: 2}} 3"


def test_a_delivered_text_that_is_not_utf_8_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes(b"\xff")
    new = Replacement((page(0, "x"),), numbers=[1], total=1, rerun={}, stem="a")
    with pytest.raises(DocumentError, match=r"a\.txt is not UTF-8"):
        asyncio.run(output_files.replace_pages(kinds.TEXT, tmp_path / "old.txt", new, materials(), at_once))
