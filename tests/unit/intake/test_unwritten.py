"""Parts of a file that are still to be written are seen though nobody has it open, and though it looks whole."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from writers import gaps_tell

from ocrd.concurrency.threads import Threads
from ocrd.config.schema import Settle
from ocrd.config.watch import Watch
from ocrd.intake.inbox import Inbox
from ocrd.intake.unwritten import unwritten
from ocrd.model import FileStamp, Settled
from ocrd.storage import mounts

RESERVED = "In this file room was reserved that is not filled yet."
BLOCK = 1 << 16
"""Bytes; no file system of a test keeps larger ones."""

Reserve = Callable[[int, int], None]


def by_length(descriptor: int, length: int) -> None:
    """Reserve as smbd does when Windows begins to copy."""
    os.ftruncate(descriptor, length)


def by_blocks(descriptor: int, length: int) -> None:
    """Reserve as downloads do that want the room on the disk."""
    os.posix_fallocate(descriptor, 0, length)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "inbox" / "scan.pdf"
    path.parent.mkdir()
    path.write_bytes(b"scan" * BLOCK)
    return path


@pytest.fixture
def _gaps_tell(tmp_path: Path) -> None:
    if not gaps_tell(tmp_path):
        pytest.skip("this file system does not tell of gaps")


@pytest.mark.usefixtures("_gaps_tell")
@pytest.mark.parametrize("reserve", [by_length, by_blocks])
@pytest.mark.parametrize("part", ["end", "middle"])
def test_room_that_is_reserved_is_seen_until_it_is_filled(path: Path, reserve: Reserve, part: str) -> None:
    path.unlink()
    with path.open("wb") as file:
        reserve(file.fileno(), 3 * BLOCK)
        file.write(b"x" * BLOCK)
        if part == "middle":
            file.seek(2 * BLOCK)
            file.write(b"x" * BLOCK)
    assert unwritten(path, gaps=True) == RESERVED
    assert unwritten(path, gaps=False) == "", "of a file system whose gaps tell nothing"
    with path.open("r+b") as file:
        file.seek(BLOCK)
        file.write(b"x" * 2 * BLOCK)
    assert unwritten(path, gaps=True) == ""


def test_zeros_that_were_written_are_no_gap(path: Path) -> None:
    path.write_bytes(bytes(3 * BLOCK))
    assert unwritten(path, gaps=True) == ""


@pytest.mark.parametrize("ending", [".aria2", ".lftp-pget-status", ".st"])
def test_the_list_of_what_a_download_lacks_is_seen(path: Path, ending: str) -> None:
    beside = path.with_name(f"{path.name}{ending}")
    beside.touch()
    told = f"This file is not downloaded whole yet: scan.pdf{ending} lists what it lacks."
    assert unwritten(path, gaps=False) == told
    beside.unlink()
    assert unwritten(path, gaps=False) == ""


@pytest.mark.parametrize(
    "swap",
    [Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.chmod(0)],
    ids=["gone", "empty", "closed"],
)
def test_what_cannot_be_asked_is_left_to_others(path: Path, swap: Callable[[Path], object]) -> None:
    swap(path)
    assert unwritten(path, gaps=True) == ""


@pytest.mark.parametrize("swap", [os.mkfifo, lambda path: path.symlink_to("scan.pdf")], ids=["a pipe", "a loop"])
def test_what_took_its_place_holds_up_nothing(path: Path, swap: Callable[[Path], object]) -> None:
    path.unlink()
    swap(path)
    assert unwritten(path, gaps=True) == ""


def test_a_name_as_long_as_can_be_has_no_list_beside_it(path: Path) -> None:
    path = path.rename(path.with_name(f"{'x' * 251}.pdf"))
    assert unwritten(path, gaps=True) == ""


def pages_of(path: Path, *, patience: str = "10min", once: bool = False) -> int | None:
    """Have an inbox examine what has settled: the number of its pages, or None while it is held back."""
    watch = Watch(
        name="scans", **{role: str(path.parent.parent / role) for role in ("inbox", "outbox", "archive", "error")}
    )

    async def examined() -> int | None:
        inbox = Inbox(watch, Settle(quiet="0s", patience=patience), asyncio.Event(), Threads().run, once=once)
        try:
            [settled] = await inbox.look()
            assert settled == Settled(path, FileStamp.of(path.lstat()))
            return await inbox.examine(settled, five_pages)
        finally:
            inbox.close()

    return asyncio.run(examined())


async def five_pages(_path: Path) -> int:
    return 5


@pytest.mark.usefixtures("_gaps_tell")
@pytest.mark.parametrize("once", [False, True], ids=["run", "once"])
def test_such_a_file_is_held_back_as_long_as_there_is_patience(path: Path, *, once: bool) -> None:
    assert pages_of(path, once=once) == 5
    os.truncate(path, 8 * BLOCK)
    assert pages_of(path, once=once) is None
    assert pages_of(path, patience="0s", once=once) == 1, "its maker left zeros out, or does not come back"


@pytest.mark.usefixtures("_gaps_tell")
@pytest.mark.parametrize(("kind", "held"), [("ext4", True), ("zfs", False), ("nfs4", False)])
def test_where_gaps_tell_nothing_nobody_waits_for_them(
    path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, *, held: bool
) -> None:
    monkeypatch.setattr(mounts, "kind_of", lambda _folder: kind)
    os.truncate(path, 8 * BLOCK)
    assert (pages_of(path) is None) == held
