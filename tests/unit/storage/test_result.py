"""A result of several files: finished all at once, and published as a set that takes nobody's name."""

import json
import os
from pathlib import Path

import pytest

from ocrd.errors import MachineError
from ocrd.output.result_names import STEM
from ocrd.storage import durable, renames
from ocrd.storage.publish import publish
from ocrd.storage.result import Result

FILES = {".md": f"![x]({STEM}.assets/page-1-figure-1.jpg)".encode(), ".json": b"{}", ".pdf": b"%PDF"}
FIGURE = "page-1-figure-1.jpg"


@pytest.fixture
def result(tmp_path: Path) -> Result:
    (tmp_path / "work").mkdir()
    (tmp_path / "outbox").mkdir()
    result = Result(tmp_path / "work")
    result.keep_figures({FIGURE: b"a figure"})
    return result


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


class Names:
    """What a job records, and what lay in the outbox at that time."""

    def __init__(self, recorded: str | None = None) -> None:
        self.name = recorded
        self.history: list[str] = []

    def publish(self, result: Result, outbox: Path, source: str = "scan.pdf") -> Path:
        return publish(
            result, outbox, str(Path(source).with_suffix("")), tag="job", recorded=self.name, record=self.record
        )

    def record(self, name: str) -> None:
        self.name = name
        self.history.append(name)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def whole(stem: str, link: str) -> dict[str, bytes]:
    return {
        f"{stem}.assets/{FIGURE}": b"a figure",
        f"{stem}.json": b"{}",
        f"{stem}.md": f"![x]({link}.assets/{FIGURE})".encode(),
        f"{stem}.pdf": b"%PDF",
    }


def test_there_is_no_result_before_its_list_is_written(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    real = durable.write_own

    def fail(path: Path, data: bytes) -> None:
        if path.name == "result.json":
            raise MachineError("No.", "Later.")
        real(path, data)

    monkeypatch.setattr(durable, "write_own", fail)
    with pytest.raises(MachineError):
        result.finish(FILES, [FIGURE])
    assert result.pieces == ()
    monkeypatch.undo()
    result.finish(FILES, [FIGURE])
    assert [piece.ending for piece in result.pieces] == [".assets", ".pdf", ".json", ".md"]


def test_a_page_that_is_read_again_leaves_no_figure_of_the_first_time(result: Result, tmp_path: Path) -> None:
    result.keep_figures({"page-11-figure-1.jpg": b"of page 11"})
    (tmp_path / "work/figures/mine.txt").write_bytes(b"a stranger's")
    result.keep_no_figures_but({"page-11-figure-1.jpg"})
    assert list(files(tmp_path / "work")) == ["figures/mine.txt", "figures/page-11-figure-1.jpg"]


def test_keeping_a_figure_does_not_look_through_all_the_others(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "scandir")
    monkeypatch.delattr(os, "listdir")
    result.keep_figures({"page-2-figure-1.jpg": b"of page 2"})
    monkeypatch.undo()
    assert result.figure("page-2-figure-1.jpg") == b"of page 2"


def test_all_is_published_under_one_name_which_is_recorded_first(result: Result, outbox: Path) -> None:
    result.finish(FILES, [FIGURE])
    names = Names()
    assert names.publish(result, outbox, "a/scan.pdf") == outbox / "a/scan.md"
    assert names.history == ["a/scan.md"]
    assert files(outbox / "a") == whole("scan", "scan")


@pytest.mark.parametrize("taken", ["scan.md", "scan.json", "scan.pdf", "scan.assets/x"])
def test_a_name_of_which_a_part_is_taken_is_not_used(result: Result, outbox: Path, taken: str) -> None:
    result.finish(FILES, [FIGURE])
    (outbox / taken).parent.mkdir(exist_ok=True)
    (outbox / taken).write_bytes(b"a stranger's")
    assert Names().publish(result, outbox) == outbox / "scan (2).md"
    assert files(outbox) == {taken: b"a stranger's", **whole("scan (2)", "scan%20%282%29")}


@pytest.mark.parametrize("taken", ["scan.md", "scan.json", "scan.pdf", "scan.assets/x"])
def test_where_a_stranger_takes_a_part_meanwhile_ours_is_withdrawn(result: Result, outbox: Path, taken: str) -> None:
    result.finish(FILES, [FIGURE])
    (outbox / taken).parent.mkdir(exist_ok=True)
    (outbox / taken).write_bytes(b"a stranger's")
    assert Names("scan.md").publish(result, outbox) == outbox / "scan (2).md"
    assert files(outbox) == {taken: b"a stranger's", **whole("scan (2)", "scan%20%282%29")}


def test_another_document_that_is_the_same_and_comes_in_between_stays_another(result: Result, outbox: Path) -> None:
    """A template can call both alike, and both can be on their way at the same time."""
    result.finish(FILES, [FIGURE])

    class Late(Names):
        def record(self, name: str) -> None:
            if not self.history:
                Names().publish(result, outbox)
            super().record(name)

    late = Late()
    assert late.publish(result, outbox) == outbox / "scan (2).md"
    assert late.publish(result, outbox) == outbox / "scan (2).md", "what was put there before is found"
    assert files(outbox) == {**whole("scan", "scan"), **whole("scan (2)", "scan%20%282%29")}


def test_a_strangers_file_in_our_folder_stays_when_we_withdraw(result: Result, outbox: Path) -> None:
    result.finish(FILES, [FIGURE])
    Names("scan.md").publish(result, outbox)
    (outbox / "scan.md").write_bytes(b"edited")
    (outbox / "scan.assets/mine").write_bytes(b"a stranger's")
    Names("scan.md").publish(result, outbox)
    assert files(outbox)["scan.assets/mine"] == b"a stranger's"
    assert files(outbox)["scan.md"] == b"edited"
    assert whole("scan (2)", "scan%20%282%29").items() <= files(outbox).items()


@pytest.mark.parametrize("gone", ["scan.md", "scan.json", "scan.pdf", f"scan.assets/{FIGURE}"])
def test_what_a_crash_left_out_is_published_at_the_next_time(result: Result, outbox: Path, gone: str) -> None:
    result.finish(FILES, [FIGURE])
    names = Names()
    names.publish(result, outbox)
    (outbox / gone).unlink()
    if gone.startswith("scan.assets"):
        (outbox / "scan.assets").rmdir()
    before = {path: (outbox / path).stat().st_ino for path in files(outbox)}
    assert names.publish(result, outbox) == outbox / "scan.md"
    assert files(outbox) == whole("scan", "scan")
    assert {path: (outbox / path).stat().st_ino for path in before} == before, "what lay there was put anew"


def test_the_folder_of_figures_is_seen_whole_or_not_at_all(
    result: Result, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result.finish(FILES, [FIGURE])
    (outbox / ".ocrd-job.folder.tmp").mkdir()
    (outbox / ".ocrd-job.folder.tmp/half").write_bytes(b"left by a crash")
    seen = []
    real = renames.rename_new

    def rename(source: Path, target: Path) -> None:
        seen.append((target.name, sorted(path.name for path in source.iterdir()) if source.is_dir() else None))
        real(source, target)

    monkeypatch.setattr(renames, "rename_new", rename)
    Names().publish(result, outbox)
    assert seen[0] == ("scan.assets", [FIGURE])
    assert files(outbox) == whole("scan", "scan")


def test_a_name_that_is_not_utf_8_is_linked(result: Result, outbox: Path) -> None:
    result.finish(FILES, [FIGURE])
    path = Names().publish(result, outbox, "caf\udce9.pdf")
    assert b"](caf%E9.assets/" in path.read_bytes()


def left_by_another_version(tmp_path: Path, *endings: str) -> Result:
    """Make a finished result with files that end so, in this order."""
    for folder in ("outbox", "work/result"):
        (tmp_path / folder).mkdir(parents=True)
    for ending in endings:
        (tmp_path / f"work/result/scan{ending}").write_text(STEM)
    (tmp_path / "work/result.json").write_text(json.dumps({"endings": endings, "figures": []}))
    return Result(tmp_path / "work")


def test_what_an_earlier_version_finished_is_published_in_its_order(tmp_path: Path, outbox: Path) -> None:
    result = left_by_another_version(tmp_path, ".pdf", ".txt", ".json", ".md")
    assert Names().publish(result, outbox, "a b.pdf") == outbox / "a b.md"
    assert (outbox / "a b.md").read_text() == "a%20b"
    assert (outbox / "a b.json").read_text() == STEM


def test_a_file_of_a_kind_that_only_a_later_version_knows_goes_out_untouched(tmp_path: Path, outbox: Path) -> None:
    result = left_by_another_version(tmp_path, "-1.tar.gz")
    assert Names().publish(result, outbox) == outbox / "scan-1.tar.gz"
    assert (outbox / "scan-1.tar.gz").read_text() == STEM
