"""The files of a document: all that are wanted, of each part, and none lost with another."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from structlog.testing import capture_logs

from ocrd.concurrency.threads import Threads
from ocrd.concurrency.worker_pool import Limits, WorkerError, Workers
from ocrd.config.watch import Watch
from ocrd.errors import DocumentError, MachineError, PageError
from ocrd.model import Document, PageResult, Reading, SourceFacts, Verdict
from ocrd.output import kinds
from ocrd.output.kinds import Materials, Replacement
from ocrd.output.markdown import Style
from ocrd.pipeline import output_files
from ocrd.storage.result import keep


async def at_once(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Take a step on the disk, as `concurrency.threads.Threads.run` does in a thread."""
    return function(*args, **kwargs)


class MadeUpWorkers:
    """Render workers that can make no PDF, or one that says what it was made of."""

    def __init__(self, *, broken: bool = False) -> None:
        self._broken = broken

    async def searchable(self, path: Path, pages: Sequence[PageResult], only: Sequence[int], pipe: int) -> None:
        if self._broken:
            raise PageError("It can't be made.", "Nothing.")
        os.write(pipe, f"{path} {len(pages)} {list(only)}".encode())

    async def exchange_searchable(  # noqa: PLR0913, PLR0917 - as the real one
        self, path: Path, delivered: Path, pages: Sequence[PageResult], places: Mapping[int, int], total: int, pipe: int
    ) -> None:
        read = [page.index for page in pages if page.reading]
        os.write(pipe, f"{path} {delivered} {len(pages)} {read} {dict(places)} {total}".encode())


def page(index: int, text: str) -> PageResult:
    if not text:
        return PageResult(index, Verdict.BLANK, "", None)
    return PageResult(index, Verdict.OK, "", Reading(index, text, "stop", 1, 0.0), figures=(f"page-{index}.jpg",))


def document(*texts: str) -> Document:
    pages = tuple(page(index, text) for index, text in enumerate(texts))
    return Document("a.pdf", SourceFacts("pdf", len(pages), "00"), pages, "e", "m", datetime.now(UTC), 0.0)


def materials(folder: Path, *, broken: bool = False) -> Materials:
    stream = output_files.streaming(folder, at_once)
    return Materials(Style(front_matter=False), lambda _: b"", Path("source"), MadeUpWorkers(broken=broken), stream)


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., dict[str, bytes]]:
    def make(document: Document, *outputs: str, split: str = "none", broken: bool = False) -> dict[str, bytes]:
        watch = Watch.model_construct(outputs=outputs, split=split)
        files = asyncio.run(output_files.make(document, watch, materials(tmp_path, broken=broken), at_once))
        return {
            ending: content.read_bytes() if isinstance(content, Path) else content for ending, content in files.items()
        }

    return make


def test_each_part_has_each_file(made: Callable[..., dict[str, bytes]]) -> None:
    files = made(document("one", "", "two"), "markdown", "pdf", split="blank")
    assert files == {
        "-1.pdf": b"source 3 [0]",
        "-1.md": b"<!-- page 1 -->\n\none\n",
        "-2.pdf": b"source 3 [1, 2]",
        "-2.md": b"<!-- page 2 -->\n\n> *Page 2 is blank.*\n\n<!-- page 3 -->\n\ntwo\n",
    }
    assert made(document("one"), "pdf") == {".pdf": b"source 1 []"}


def test_where_no_pdf_can_be_made_markdown_takes_its_place(made: Callable[..., dict[str, bytes]]) -> None:
    with capture_logs() as logged:
        files = made(document("one"), "pdf", "text", broken=True)
    assert files == {".txt": b"one\n", ".md": b"<!-- page 1 -->\n\none\n"}
    assert [(line["event"], line["source"]) for line in logged] == [("no pdf", "a.pdf")]


@pytest.mark.parametrize(("endings", "wanted"), [([".html", ".pdf"], []), ([".txt", "-2.md"], ["page-0.jpg"])])
def test_the_folder_of_figures_goes_with_what_links_to_it(endings: list[str], wanted: list[str]) -> None:
    assert output_files.figures_beside(document("one"), endings) == wanted


def test_a_pdf_gets_its_pages_at_their_places_in_it(tmp_path: Path) -> None:
    new = Replacement((page(4, "x"), page(5, "y")), numbers=[4, 5, 6], total=7, rerun={}, stem="a-2")
    given = materials(tmp_path)
    changed = asyncio.run(output_files.replace_pages(kinds.PDF, tmp_path / "old.pdf", new, given, at_once))
    assert isinstance(changed, Path)
    assert changed.read_text() == f"source {tmp_path}/old.pdf 7 [4, 5] {{4: 1, 5: 2}} 3"


def test_a_pdf_without_any_of_the_pages_stays_as_it_is(tmp_path: Path) -> None:
    new = Replacement((page(4, "x"),), numbers=[4, 5], total=7, rerun={}, stem="a-2", not_in_pdf=(5,))
    given = materials(tmp_path)
    assert asyncio.run(output_files.replace_pages(kinds.PDF, tmp_path / "old.pdf", new, given, at_once)) is None


def test_a_delivered_text_that_is_not_utf_8_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes(b"\xff")
    new = Replacement((page(0, "x"),), numbers=[1], total=1, rerun={}, stem="a")
    with pytest.raises(DocumentError, match=r"a\.txt is not UTF-8"):
        asyncio.run(output_files.replace_pages(kinds.TEXT, tmp_path / "old.txt", new, materials(tmp_path), at_once))


def write_much(mebibytes: int, pipe: BinaryIO) -> None:
    pipe.writelines(bytes(2**20) for _ in range(mebibytes))


def die_in_the_middle(pipe: BinaryIO) -> None:
    pipe.write(bytes(2**20))
    os.kill(os.getpid(), signal.SIGSEGV)


def streamed(folder: Path, function: Callable[..., None], *args: object) -> Path:
    """Let a real worker write through a pipe."""

    async def run() -> Path:
        pool = Workers(1, Limits(seconds=30, memory=2**31))
        stream = output_files.streaming(folder, Threads().run)
        try:
            return await stream(lambda pipe: pool.run(function, *args, pipe=pipe))
        finally:
            await pool.close()

    return asyncio.run(run())


def peak() -> int:
    """Return the most memory that this process had since it was asked before, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    Path("/proc/self/clear_refs").write_text("5")
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) >> 10


def test_a_file_larger_than_any_memory_passes_the_daemon_in_pieces(tmp_path: Path) -> None:
    peak()
    before = peak()
    assert streamed(tmp_path, write_much, 128).stat().st_size == 128 * 2**20
    assert peak() - before < 32


def test_a_full_disk_is_the_machines_fault_though_it_is_the_worker_whose_pipe_breaks(small_disk: Path) -> None:
    with pytest.raises(MachineError, match="No space left on device") as caught:
        streamed(small_disk, write_much, 4)
    assert str(small_disk) in caught.value.remedy
    assert not list(small_disk.iterdir())


def test_a_worker_that_dies_while_it_writes_is_told_as_any_other(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="crashed 1 worker"):
        streamed(tmp_path, die_in_the_middle)


def test_a_file_that_replaces_another_is_whole_at_every_instant(tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").write_bytes(b"old")
    (tmp_path / "new").write_bytes(b"new")
    keep(tmp_path / "new", tmp_path / "scan.pdf")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("scan.pdf", b"new")]
