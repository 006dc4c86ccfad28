"""A file is complete once it has looked the same for the quiet time, by the tracker's own clock."""

from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrd import filetypes
from ocrd.intake import scanner
from ocrd.intake.settling import SettleTracker
from ocrd.model import FileStamp, Settled

A, B = Path("/inbox/a.pdf"), Path("/inbox/b.pdf")
STAMP = FileStamp(dev=1, ino=2, size=3, mtime_ns=4)


def test_a_file_settles_once_it_was_the_same_for_the_quiet_time() -> None:
    tracker = SettleTracker(3.0)
    assert tracker.observe({A: STAMP}, 10.0) == []
    assert tracker.observe({A: STAMP}, 12.9) == []
    assert tracker.observe({A: STAMP}, 13.0) == [Settled(A, STAMP)]


@pytest.mark.parametrize("field", ["dev", "ino", "size", "mtime_ns"])
def test_any_change_of_the_stamp_begins_the_quiet_time_anew(field: str) -> None:
    tracker, changed = SettleTracker(3.0), replace(STAMP, **{field: 99})
    tracker.observe({A: STAMP}, 0.0)
    assert tracker.observe({A: changed}, 2.9) == []
    assert tracker.observe({A: changed}, 5.8) == []
    assert tracker.observe({A: changed}, 5.9) == [Settled(A, changed)]


def test_a_change_back_is_a_change() -> None:
    tracker = SettleTracker(3.0)
    for now, size in ((0.0, 3), (1.0, 4), (2.0, 3)):
        tracker.observe({A: replace(STAMP, size=size)}, now)
    assert tracker.observe({A: STAMP}, 4.0) == []
    assert tracker.observe({A: STAMP}, 5.0) == [Settled(A, STAMP)]


@pytest.mark.parametrize("mtime", [0, -1, 2**62], ids=["1970", "before", "far ahead"])
def test_the_files_own_times_are_not_trusted(mtime: int) -> None:
    tracker, stamp = SettleTracker(3.0), replace(STAMP, mtime_ns=mtime)
    assert tracker.observe({A: stamp}, 0.0) == []
    assert tracker.observe({A: stamp}, 3.0) == [Settled(A, stamp)]


def test_a_settled_file_is_told_once() -> None:
    tracker = SettleTracker(3.0)
    told = [tracker.observe({A: STAMP}, float(now)) for now in range(9)]
    assert list(chain(*told)) == [Settled(A, STAMP)]


@pytest.mark.parametrize("quiet", [0.0, 3.0])
def test_another_file_under_the_same_name_is_told_too(quiet: float) -> None:
    tracker, other = SettleTracker(quiet), replace(STAMP, ino=77)
    told = [tracker.observe({A: STAMP}, float(now)) for now in range(5)]
    told += [tracker.observe({A: other}, float(now)) for now in range(5, 10)]
    assert list(chain(*told)) == [Settled(A, STAMP), Settled(A, other)]


def test_a_file_that_went_away_and_came_back_is_told_again() -> None:
    tracker = SettleTracker(0.0)
    assert tracker.observe({A: STAMP}, 0.0)
    assert tracker.observe({}, 1.0) == []
    assert tracker.observe({A: STAMP}, 2.0) == [Settled(A, STAMP)]


def test_a_file_that_vanishes_while_settling_is_forgotten() -> None:
    tracker = SettleTracker(3.0)
    tracker.observe({A: STAMP}, 0.0)
    assert tracker.observe({}, 3.0) == []
    assert (tracker.settling, tracker.next_due()) == (0, None)
    assert tracker.observe({A: STAMP}, 4.0) == []


def test_a_forgotten_file_settles_anew() -> None:
    tracker = SettleTracker(3.0)
    tracker.observe({A: STAMP}, 0.0)
    tracker.observe({A: STAMP}, 3.0)
    tracker.forget(A)
    assert tracker.observe({A: STAMP}, 4.0) == []
    assert tracker.observe({A: STAMP}, 7.0) == [Settled(A, STAMP)]
    tracker.forget(B)  # never seen: no error


def test_a_file_that_is_put_off_comes_again_until_its_patience_ends() -> None:
    tracker = SettleTracker(3.0, patience=8.0)
    tracker.observe({A: STAMP}, 0.0)
    assert tracker.observe({A: STAMP}, 3.0)
    assert tracker.put_off(A, 3.0)
    assert (tracker.settling, tracker.next_due()) == (1, 6.0)
    assert tracker.observe({A: STAMP}, 5.9) == []
    assert tracker.observe({A: STAMP}, 6.0) == [Settled(A, STAMP)]
    assert tracker.put_off(A, 6.0)
    assert tracker.next_due() == 8.0
    assert tracker.observe({A: STAMP}, 8.0) == [Settled(A, STAMP)]
    assert not tracker.put_off(A, 8.0)
    assert tracker.settling == 0


def test_a_file_that_was_forgotten_can_be_put_off() -> None:
    tracker = SettleTracker(3.0, patience=8.0)
    tracker.observe({A: STAMP}, 0.0)
    tracker.observe({A: STAMP}, 3.0)
    tracker.forget(A)
    assert tracker.put_off(A, 3.0)
    assert tracker.observe({A: STAMP}, 4.0) == []
    assert tracker.observe({A: STAMP}, 7.0) == [Settled(A, STAMP)]


def test_a_change_gives_new_patience() -> None:
    tracker, grown = SettleTracker(3.0, patience=8.0), replace(STAMP, size=77)
    tracker.observe({A: STAMP}, 0.0)
    tracker.observe({A: STAMP}, 7.9)
    assert tracker.put_off(A, 7.9)
    assert tracker.observe({A: grown}, 8.0) == []
    assert tracker.observe({A: grown}, 11.0) == [Settled(A, grown)]
    assert tracker.put_off(A, 11.0)


def test_without_patience_nothing_is_put_off() -> None:
    tracker = SettleTracker(3.0)
    tracker.observe({A: STAMP}, 0.0)
    tracker.observe({A: STAMP}, 3.0)
    assert not tracker.put_off(A, 3.0)
    assert tracker.settling == 0


def test_the_tracker_says_when_to_look_again() -> None:
    tracker = SettleTracker(3.0)
    assert tracker.next_due() is None
    tracker.observe({A: STAMP}, 0.0)
    tracker.observe({A: STAMP, B: STAMP}, 2.0)
    assert (tracker.next_due(), tracker.settling) == (3.0, 2)
    tracker.observe({A: STAMP, B: STAMP}, 3.0)
    assert (tracker.next_due(), tracker.settling) == (5.0, 1)
    tracker.observe({A: STAMP, B: STAMP}, 5.0)
    assert (tracker.next_due(), tracker.settling) == (None, 0)


@given(
    quiet=st.integers(1, 4),
    seen=st.lists(st.dictionaries(st.sampled_from([A, B]), st.integers(1, 3)), max_size=25),
)
def test_what_is_told_had_not_changed_for_the_quiet_time_and_is_told_once(
    quiet: int, seen: list[dict[Path, int]]
) -> None:
    tracker = SettleTracker(quiet)
    stamps = [{path: replace(STAMP, size=size) for path, size in now.items()} for now in seen]
    told = [tracker.observe(files, now) for now, files in enumerate(stamps)]
    for path in (A, B):
        since: tuple[FileStamp | None, int] = (None, 0)
        for now, (files, news) in enumerate(zip(stamps, told, strict=True)):
            if files.get(path) != since[0]:
                since = (files.get(path), now)
            due = since[0] is not None and now - since[1] == quiet
            assert (Settled(path, files.get(path, STAMP)) in news) == due


@pytest.mark.parametrize("name", ["scan.pdf", "SCAN.PDF", "a.b.tif", "x.tiff", "x.jpg", "x.PNG", "ü\udcff.pdf"])
def test_a_source_is_known_by_its_suffix(name: str) -> None:
    assert filetypes.is_source_name(name)


@pytest.mark.parametrize(
    "name",
    ["scan.pdf.part", "scan.pdf.crdownload", "scan.pdf~", ".scan.pdf.x8Ff2a", ".scan.pdf", "~$scan.pdf", "._scan.pdf",
     "Thumbs.db", "scan.txt", "pdf", ".pdf", "scan", "scan.pdf.filepart", "scan.tmp"],
)  # fmt: skip
def test_a_temporary_or_foreign_name_is_no_source(name: str) -> None:
    assert not filetypes.is_source_name(name)


@pytest.mark.parametrize(
    "name",
    [".stfolder", "@eaDir", "__MACOSX", "#recycle", "lost+found", "Network Trash Folder", "Temporary Items",
     "~snapshot", "RECYCLER", "(A Document Being Saved By Preview 2)"],
)  # fmt: skip
def test_folders_of_programs_are_not_looked_into(name: str) -> None:
    assert scanner.is_hidden_folder(name)
    assert not scanner.is_hidden_folder("Invoices 2024")


def test_a_file_with_a_limit_of_its_own_is_put_off_once_for_all_of_it() -> None:
    tracker = SettleTracker(3.0, patience=8.0)
    tracker.observe({A: STAMP}, 0.0)
    assert tracker.observe({A: STAMP}, 3.0)
    assert tracker.put_off(A, 3.0, 20.0)
    assert tracker.next_due() == 20.0
    assert tracker.observe({A: STAMP}, 19.9) == []
    assert tracker.observe({A: STAMP}, 20.0) == [Settled(A, STAMP)]
    assert not tracker.put_off(A, 20.0, 20.0)
