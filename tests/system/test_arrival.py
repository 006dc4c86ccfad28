"""Files arrive as real programs and people bring them: each is read once, whole, and not before it is complete."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pymupdf
import pytest
from house import House, stop, wait_for
from writers import program, run, samba, slowly, syncthing

MakePdf = Callable[..., Path]
QUIET = 0.4


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One daemon for all that arrives."""
    house = House(tmp_path_factory.mktemp("house"))
    house.configure(settle={"quiet": "400ms", "patience": "1min", "rescan": "10min"})
    house.start()
    wait_for(lambda: house.events("ready") and house.events("watching"))
    yield house
    house.close()


@pytest.fixture
def scan(tmp_path: Path, make_pdf: MakePdf) -> Path:
    """A PDF of some size, of which no part but the whole can be read."""
    path = make_pdf(tmp_path / "small.pdf", pages=2)
    with pymupdf.open(path) as document:  # its table of objects comes after the attachment
        document.embfile_add("noise", os.urandom(300_000))
        document.save(tmp_path / "scan.pdf")
    return tmp_path / "scan.pdf"


def ends_of(house: House, name: str) -> list[str]:
    return [
        str(line["event"])
        for event in ("delivered", "refused", "returned")
        for line in house.events(event)
        if line["source"] == name
    ]


def delivered(house: House, name: str, scan: Path) -> None:
    """Wait until a source is archived: delivered once, with all of its bytes."""
    wait_for(lambda: house.path(f"archive/{name}").exists() and ends_of(house, name))
    assert ends_of(house, name) == ["delivered"]
    same = sha256(house.path(f"archive/{name}").read_bytes()).digest() == sha256(scan.read_bytes()).digest()
    assert same, "archived before it was complete"


def waited(house: House, name: str) -> list[str]:
    return [str(line["reason"]) for line in house.events("waiting") if line["source"] == name]


def test_rsync(house: House, scan: Path) -> None:
    os.utime(scan, (0, 922_000_000))
    run("rsync", "--times", "--bwlimit=300", scan, house.path("inbox/rsynced.pdf"))
    delivered(house, "rsynced.pdf", scan)
    assert house.path("archive/rsynced.pdf").stat().st_mtime == 922_000_000, "its time is kept, and not trusted"


def test_rsync_in_place(house: House, scan: Path) -> None:
    run("rsync", "--inplace", "--bwlimit=150", scan, house.path("inbox/inplace.pdf"))
    delivered(house, "inplace.pdf", scan)


def test_a_copy_with_reflinks_where_the_disk_has_them(house: House, scan: Path) -> None:
    run("cp", "--reflink=auto", scan, house.path("inbox/copied.pdf"))
    delivered(house, "copied.pdf", scan)


def test_a_folder_moved_in_at_once(house: House, scan: Path, tmp_path: Path) -> None:
    names = [f"{folder}/{number}.pdf" for folder in ("batch", "batch/deep/er") for number in range(5)]
    (tmp_path / "batch/deep/er").mkdir(parents=True)
    for name in names:
        (tmp_path / name).write_bytes(scan.read_bytes() + name.encode())
    run("mv", tmp_path / "batch", house.path("inbox"))
    wait_for(lambda: all(ends_of(house, name) for name in names))  # an event told of it, not the periodic scan
    assert [ends_of(house, name) for name in names] == [["delivered"]] * 10


def test_an_editor_that_saves_by_a_new_file_and_a_rename(house: House, scan: Path) -> None:
    program("vim")
    house.path("inbox/edited.pdf").write_bytes(scan.read_bytes())
    command = ["-u", "NONE", "-es", "-b", "-c", "set noswapfile backupcopy=no", "-c", "w!", "-c", "q!"]
    run("vim", *command, house.path("inbox/edited.pdf"))
    delivered(house, "edited.pdf", scan)


def test_a_slow_scanner_that_opens_writes_and_closes(house: House, scan: Path) -> None:
    data = scan.read_bytes()
    slowly(house.path("inbox/slow.pdf"), data[: len(data) // 2], pieces=2, pause=3 * QUIET)
    wait_for(lambda: [reason for reason in waited(house, "slow.pdf") if "cut off" in reason])
    slowly(house.path("inbox/slow.pdf"), data[len(data) // 2 :], pieces=2, pause=3 * QUIET)
    delivered(house, "slow.pdf", scan)


def test_a_file_that_a_program_holds_open(house: House, scan: Path) -> None:
    with house.path("inbox/held.pdf").open("wb") as writer:
        writer.write(scan.read_bytes())
        writer.flush()
        wait_for(lambda: waited(house, "held.pdf"))
        assert waited(house, "held.pdf") == ["a program still has it open for writing"]
        assert house.path("inbox/held.pdf").exists()
    delivered(house, "held.pdf", scan)


def test_a_program_that_opens_a_file_while_it_is_looked_at_is_not_disturbed(house: House, scan: Path) -> None:
    """Whoever opens the file during the instant of our lease waits for its end, and we survive the kernel's signal."""
    path = house.path("inbox/busy.pdf")
    path.write_bytes(scan.read_bytes()[:-100])
    began = time.monotonic()
    while time.monotonic() < began + 4 * QUIET:
        path.open("ab").close()
    with path.open("ab") as file:
        file.write(scan.read_bytes()[-100:])
    delivered(house, "busy.pdf", scan)


def test_a_file_replaced_while_it_settles(house: House, scan: Path, tmp_path: Path) -> None:
    house.path("inbox/replaced.pdf").write_bytes(b"%PDF-1.7 the first try")
    time.sleep(QUIET / 2)
    (tmp_path / "second").write_bytes(scan.read_bytes())
    run("mv", tmp_path / "second", house.path("inbox/replaced.pdf"))
    delivered(house, "replaced.pdf", scan)


@pytest.mark.parametrize("when", [922_000_000, 4_000_000_000], ids=["1999", "2096"])
def test_the_time_that_a_file_brings_does_not_matter(house: House, scan: Path, when: int) -> None:
    os.utime(scan, (when, when))
    run("cp", "--preserve=timestamps", scan, house.path(f"inbox/{when}.pdf"))
    delivered(house, f"{when}.pdf", scan)


@pytest.mark.parametrize(
    "temporary",
    [".syncthing.{}.tmp", ".{}.ocTransferId7.part", "{}.crdownload", "{}.part", "{}.filepart", ".goutputstream-AB12"],
)
def test_a_temporary_name_then_a_rename(house: House, scan: Path, temporary: str) -> None:
    name = f"renamed-{sha256(temporary.encode()).hexdigest()[:8]}.pdf"
    part = house.path("inbox") / temporary.format(name)
    part.write_bytes(scan.read_bytes()[:1000])
    time.sleep(2 * QUIET)
    part.write_bytes(scan.read_bytes())
    part.rename(house.path(f"inbox/{name}"))
    delivered(house, name, scan)


def test_a_browser_that_holds_the_name_by_an_empty_file(house: House, scan: Path) -> None:
    house.path("inbox/browser.pdf").touch()
    part = house.path("inbox/browser.pdf.part")
    part.write_bytes(scan.read_bytes())
    wait_for(lambda: waited(house, "browser.pdf"))
    part.rename(house.path("inbox/browser.pdf"))
    delivered(house, "browser.pdf", scan)


def test_a_file_whose_place_is_reserved_before_it_is_filled(house: House, scan: Path) -> None:
    run("fallocate", "--length", str(scan.stat().st_size), house.path("inbox/reserved.pdf"))
    wait_for(lambda: waited(house, "reserved.pdf"))
    with house.path("inbox/reserved.pdf").open("r+b") as file:
        file.write(scan.read_bytes())
    delivered(house, "reserved.pdf", scan)


def test_samba(house: House, scan: Path, tmp_path: Path) -> None:
    with samba(tmp_path / "samba", house.path("inbox")) as server:
        server.put(scan, "shared.pdf")
        delivered(house, "shared.pdf", scan)


def test_samba_slowly(house: House, scan: Path, tmp_path: Path) -> None:
    """The whole PDF is there long before the client is done: only the open file tells."""
    data = scan.read_bytes()
    with samba(tmp_path / "samba", house.path("inbox")) as server, server.client("put - late.pdf") as client:
        assert client.stdin
        for start in range(0, len(data), len(data) // 3):
            client.stdin.write(data[start : start + len(data) // 3])
            client.stdin.flush()
            time.sleep(3 * QUIET)
        wait_for(lambda: waited(house, "late.pdf"))
        assert waited(house, "late.pdf") == ["a program still has it open for writing"]
        client.stdin.close()
        delivered(house, "late.pdf", scan)


def test_syncthing(house: House, scan: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "source", house.path("inbox/synced")
    source.mkdir()
    shutil.copy(scan, source / "synced.pdf")
    with syncthing(tmp_path / "syncthing", source, target):
        wait_for(lambda: ends_of(house, "synced/synced.pdf"))
    delivered(house, "synced/synced.pdf", scan)
    assert {path.suffix for path in house.path("archive/synced").rglob("*")} == {".pdf"}


def test_a_file_that_goes_away_while_it_is_waited_for_is_no_error(house: House) -> None:
    house.path("inbox/gone.pdf").write_bytes(b"%PDF-1.7 and no more")
    wait_for(lambda: waited(house, "gone.pdf"))
    house.path("inbox/gone.pdf").unlink()
    time.sleep(2 * QUIET)
    assert ends_of(house, "gone.pdf") == []
    assert house.events("paused") == house.events("defect") == []


# With daemons of their own


@pytest.fixture
def other(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "other")
    yield house
    house.close()


def test_what_lies_there_unfinished_at_the_start_is_waited_for_too(other: House, scan: Path) -> None:
    path = other.path("inbox/early.pdf")
    path.write_bytes(scan.read_bytes()[:-1000])
    daemon = other.start()
    wait_for(lambda: waited(other, "early.pdf"))
    with path.open("ab") as file:
        file.write(scan.read_bytes()[-1000:])
    delivered(other, "early.pdf", scan)
    assert stop(daemon) == 0


def test_patience_ends(other: House, scan: Path) -> None:
    other.configure(settle={"patience": "6s"})
    other.path("inbox/cut.pdf").write_bytes(scan.read_bytes()[:-1000])
    daemon = other.start()
    wait_for(lambda: other.files("error") == ["cut.pdf", "cut.pdf.error.md"])
    assert waited(other, "cut.pdf")
    assert stop(daemon) == 0


def test_once_waits_for_nothing_and_leaves_what_is_unfinished_and_young(other: House, scan: Path) -> None:
    other.path("inbox/cut.pdf").write_bytes(scan.read_bytes()[:-1000])
    os.utime(other.path("inbox/cut.pdf"), (0, 0))  # as a copy that carries the time of its original
    with other.path("inbox/held.pdf").open("wb") as writer:
        writer.write(scan.read_bytes())
        writer.flush()
        assert other.start("once").wait(120) == 0
        assert other.files("inbox") == ["cut.pdf", "held.pdf"], "somebody still writes to them"
    assert {line["source"] for line in other.events("left for the next time")} == {"cut.pdf", "held.pdf"}
    assert other.start("once").wait(120) == 0
    assert other.files("archive") == ["held.pdf"]
    other.configure(settle={"patience": "0s"})
    assert other.start("once").wait(120) == 65
    assert other.files("error") == ["cut.pdf", "cut.pdf.error.md"]


def test_the_owner_chooses_by_globs(other: House) -> None:
    other.configure(watch={"include": ["*.pdf"], "exclude": ["draft*", "Private/*/old.*"]})
    for name in ("a.PDF", "b.tif", "Draft of c.pdf", "drafts/d.pdf", "private/x/old.pdf", "private/x/new.pdf"):
        other.drop(name)
    assert other.start("once").wait(120) == 0
    assert other.files("archive") == ["a.PDF", "private/x/new.pdf"]
    assert other.files("inbox") == ["Draft of c.pdf", "b.tif", "drafts/d.pdf", "private/x/old.pdf"]


def test_a_folder_can_be_chosen_by_its_name(other: House) -> None:
    other.configure(watch={"include": ["letters"]})
    for name in ("letters/a.pdf", "2026/Letters/old/b.pdf", "c.pdf"):
        other.drop(name)
    assert other.start("once").wait(120) == 0
    assert other.files("archive") == ["2026/Letters/old/b.pdf", "letters/a.pdf"]
    assert other.files("inbox") == ["c.pdf"]
