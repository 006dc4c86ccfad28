"""Which files belong together, and when all of them are there. Pure."""

from dataclasses import replace
from pathlib import Path

import pytest

from ocrd.config.duplex import Duplex
from ocrd.filetypes import in_order, is_source_name
from ocrd.intake.grouping import units
from ocrd.intake.scanner import name_to_come
from ocrd.intake.settling import SettleTracker
from ocrd.model import FileStamp, Group, Join, Settled

INBOX = Path("/inbox")
STAMP = FileStamp(dev=1, ino=2, size=3, mtime_ns=4)


def found(how: Join, *names: str, coming: dict[str, str] | None = None) -> dict[str, list[str] | None]:
    """Return the groups' endings, and None for single files, by their path below the inbox."""
    on_the_way = {INBOX / name: (INBOX / later, STAMP) for name, later in (coming or {}).items()}
    sorted_out = units(INBOX, how, dict.fromkeys(map(INBOX.joinpath, names), STAMP), on_the_way, {})
    return {
        str(path.relative_to(INBOX)): list(unit.members) if isinstance(unit, Group) else None
        for path, unit in sorted_out.items()
    }


def test_without_grouping_every_file_is_single() -> None:
    assert found("none", "a-1.jpg", "a-2.jpg", "f/1.jpg") == {"a-1.jpg": None, "a-2.jpg": None, "f/1.jpg": None}


@pytest.mark.parametrize("mark", ["-", "_", " "])
def test_images_of_one_name_and_a_number_are_a_sequence_in_the_order_of_the_numbers(mark: str) -> None:
    names = [f"s/a{mark}10.jpg", f"s/a{mark}9.jpg", f"s/a{mark}1.png"]
    assert found("sequence", *names) == {"s/a": [f"{mark}1.png", f"{mark}9.jpg", f"{mark}10.jpg"]}


@pytest.mark.parametrize(
    ("names", "group", "endings"),
    [
        (["gap1.jpg", "gap10.jpg", "gap2.jpg"], "gap", ["1.jpg", "2.jpg", "10.jpg"]),
        (["page (1).jpg", "page (2).jpg"], "page", [" (1).jpg", " (2).jpg"]),
        (["Seite(1).png", "Seite(2).png"], "Seite", ["(1).png", "(2).png"]),
        (["2026-11-01-1.jpg", "2026-11-01-2.jpg"], "2026-11-01", ["-1.jpg", "-2.jpg"]),
    ],
)
def test_a_number_needs_no_mark_before_it_and_may_stand_in_brackets(
    names: list[str], group: str, endings: list[str]
) -> None:
    assert found("sequence", *names) == {group: endings}


@pytest.mark.parametrize(
    "name",
    ["2026-11-{:02}", "Scan_202611{:02}", "IMG_202601{:02}", "IMG_20260101_1203{:02}", "IMG_00{:02}", "DSC012{:02}",
     "P10100{:02}", "letter 2026-11-{:02}"],
)  # fmt: skip
def test_dates_and_cameras_names_are_no_sequence(name: str) -> None:
    names = [f"{name.format(number)}.jpg" for number in (1, 2)]
    assert found("sequence", *names) == dict.fromkeys(names)


def test_sequences_are_told_apart_by_name_and_by_folder() -> None:
    names = ["a-1.jpg", "a-2.jpg", "b-1.jpg", "b-2.jpg", "s/a-1.jpg", "s/a-2.jpg", "a (2)-1.jpg", "a (2)-2.jpg"]
    assert sorted(found("sequence", *names)) == ["a", "a (2)", "b", "s/a"]


@pytest.mark.parametrize("names", [["a-1.jpg"], ["a.jpg", "b.jpg"], ["-1.jpg", "-2.jpg"], ["a-1.pdf", "a-2.pdf"]])
def test_what_is_no_sequence_stays_single(names: list[str]) -> None:
    assert found("sequence", *names) == dict.fromkeys(names)


def test_the_images_in_each_folder_are_a_group_and_what_else_is_there_is_not() -> None:
    names = ["top.jpg", "f/2.jpg", "f/10.tif", "f/letter.pdf", "f/inner/1.png"]
    assert found("subfolder", *names) == {
        "top.jpg": None,
        "f/letter.pdf": None,
        "f": ["/2.jpg", "/10.tif"],
        "f/inner": ["/1.png"],
    }


def test_names_are_sorted_as_people_count() -> None:
    names = ["b", "a10", "a9b", "a9", "A9a", "", "9", "a" + "9" * 250]
    assert sorted(names, key=in_order) == ["", "9", "a9", "A9a", "a9b", "a10", "a" + "9" * 250, "b"]


def test_a_copy_under_way_holds_its_group() -> None:
    tracker = SettleTracker(3.0)
    files = {INBOX / f"f/{number}.jpg": STAMP for number in (1, 2)}
    coming = {INBOX / "f/.3.jpg.Xa8": (INBOX / "f/3.jpg", STAMP)}
    tracker.observe(units(INBOX, "subfolder", files, {}, {}), 0.0)
    assert tracker.observe(units(INBOX, "subfolder", files, coming, {}), 2.9) == []
    grown = {path: (later, replace(STAMP, size=9)) for path, (later, _) in coming.items()}
    assert tracker.observe(units(INBOX, "subfolder", files, grown, {}), 5.8) == []
    (settled,) = tracker.observe(units(INBOX, "subfolder", files, grown, {}), 8.8)
    assert isinstance(settled.stamp, Group)
    assert list(settled.stamp.coming) == [".3.jpg.Xa8"]
    assert found("sequence", "a-1.jpg", coming={".a-2.jpg.Xa8": "a-2.jpg"}) == {"a": ["-1.jpg"]}


@pytest.mark.parametrize("change", ["grows", "comes", "goes"])
def test_the_quiet_time_counts_from_the_last_change_of_any_member(change: str) -> None:
    tracker = SettleTracker(3.0)
    files = {INBOX / f"f/{number}.jpg": STAMP for number in range(5)}
    tracker.observe(units(INBOX, "subfolder", files, {}, {}), 0.0)
    match change:
        case "grows":
            files[INBOX / "f/3.jpg"] = replace(STAMP, size=9)
        case "comes":
            files[INBOX / "f/5.jpg"] = STAMP
        case _:
            del files[INBOX / "f/4.jpg"]
    group = units(INBOX, "subfolder", files, {}, {})
    assert tracker.observe(group, 2.9) == []
    assert tracker.observe(group, 5.8) == []
    (settled,) = tracker.observe(group, 5.9)
    assert settled.files == files
    assert tracker.knows(settled)
    tracker.observe(units(INBOX, "subfolder", {**files, INBOX / "f/9.jpg": STAMP}, {}, {}), 6.0)
    assert not tracker.knows(settled), "a late member makes it another group"


@pytest.mark.parametrize(
    ("name", "later"),
    [
        (".3.jpg.Xa8f2k", "3.jpg"),
        (".a-003.JPG.Xa8f2k", "a-003.JPG"),
        ("3.jpg.part", "3.jpg"),
        ("3.jpg.ocTransferId2043513.part", "3.jpg"),
        (".syncthing.3.jpg.tmp", "3.jpg"),
        (".in.3.jpg.", "3.jpg"),
        (".in.3.jpg", "3.jpg"),
        (".unison.3.jpg.4a5b6c.unison.tmp", "3.jpg"),
        (".3.jpg.~1a2b3c4d", "3.jpg"),
        (".~3.jpg", "3.jpg"),
        ("3.jpg.4f5e6d7c.partial", "3.jpg"),
        ("3.jpg.seaftmp~", "3.jpg"),
        ("3.jpg.!sync", "3.jpg"),
        ("3.pdf.~qpdf-temp#", "3.pdf"),
        ("3.jpg_exiftool_tmp", "3.jpg"),
        ("3.jpg.0000000017", "3.jpg"),
        ("3.jpg.17", ""),
        ("3.jpg~", ""),
        ("3.jpg_original", ""),
        (".~lock.3.pdf#", ""),
        (".pureftpd-upload.6b0c1359.855.4bf3", ""),
        ("3.tif.crdownload", "3.tif"),
        (".3.jpg", "3.jpg"),
        ("._3.jpg", ""),
        ("3.jpg.xmp", ""),
        ("Thumbs.db", ""),
        (".DS_Store", ""),
        ("3.part", ""),
    ],
)
def test_a_copy_under_way_tells_the_name_that_it_will_have(name: str, later: str) -> None:
    assert not is_source_name(name)
    assert name_to_come(name) == later


def test_a_settled_group_knows_its_files() -> None:
    assert Settled(INBOX / "a", Group({"-1.jpg": STAMP})).files == {INBOX / "a-1.jpg": STAMP}
    assert Settled(INBOX / "a.pdf", STAMP).files == {INBOX / "a.pdf": STAMP}


def duplex(how: Duplex, *names: str, apart: float = 1.0, coming: str = "") -> dict[str, list[str] | str]:
    """Return the names of the files of each pair, and what each file alone lacks, by their path below the inbox.

    The files were written in this order, so many seconds apart.
    """
    files = {INBOX / name: replace(STAMP, mtime_ns=int(number * apart * 1e9)) for number, name in enumerate(names)}
    found = units(INBOX, how, files, {INBOX / ".x": (INBOX / coming, STAMP)} if coming else {}, {})
    return {
        str(path.relative_to(INBOX)): [str(file.relative_to(INBOX)) for file in Settled(path, unit).sources]
        if isinstance(unit, Group) and unit.duplex
        else unit.lacks
        if isinstance(unit, Group)
        else ""
        for path, unit in found.items()
    }


def test_fronts_and_backs_are_known_by_their_names_and_the_fronts_come_first() -> None:
    names = ["s/a-back.pdf", "s/a-front.tif", "b.pdf", "C_FRONT.pdf", "c-Back.PDF", "C-front.pdf", "C-BACK.jpg"]
    assert duplex(Duplex(), *names) == {
        "s/a": ["s/a-front.tif", "s/a-back.pdf"],
        "b.pdf": "",
        "C_FRONT.pdf": "",
        "c-Back.PDF": "the fronts, c-front, are not there",
        "C": ["C-front.pdf", "C-BACK.jpg"],
    }


def test_other_names_can_be_set() -> None:
    how = Duplex(fronts="*_A", backs="* (rück)")
    assert duplex(how, "x_a.pdf", "x (RÜCK).pdf", "x-front.pdf") == {
        "x": ["x_a.pdf", "x (RÜCK).pdf"],
        "x-front.pdf": "",
    }
    assert duplex(how, "_A.pdf") == {"_A.pdf": ""}, "a scan has a name"


def test_sides_in_different_folders_are_no_pair() -> None:
    assert duplex(Duplex(), "s/a-front.pdf", "a-back.pdf") == {
        "s/a-front.pdf": "the backs, a-back, are not there",
        "a-back.pdf": "the fronts, a-front, are not there",
    }


def test_of_three_sides_none_is_chosen() -> None:
    why = "these are not one file of fronts and one of backs: a-front.pdf, a-front.tif, a-back.pdf"
    names = ["a-front.pdf", "a-back.pdf", "a-front.tif"]
    assert duplex(Duplex(), *names) == dict.fromkeys(names, why)


def test_two_in_a_row_are_a_pair_in_the_order_in_which_they_were_written() -> None:
    how = Duplex(pairs="in_a_row")
    names = ["9.pdf", "s/1.tif", "10.pdf", "a-back.pdf", "s/0.pdf", "a-front.pdf", "1.pdf"]
    assert duplex(how, *names) == {
        "9": ["9.pdf", "10.pdf"],
        "s/1": ["s/1.tif", "s/0.pdf"],
        "a": ["a-front.pdf", "a-back.pdf"],
        "1.pdf": "the file with the other sides of its sheets is not there",
    }
    assert duplex(how, "a.pdf", "b.pdf", "a.tif", "c.pdf") == {"a": ["a.pdf", "b.pdf"], "a.tif": ["a.tif", "c.pdf"]}


def test_what_was_written_long_after_is_no_other_side() -> None:
    how = Duplex(pairs="in_a_row")
    assert duplex(how, "1.pdf", "2.pdf", apart=600) == {"1": ["1.pdf", "2.pdf"]}
    assert list(duplex(how, "1.pdf", "2.pdf", apart=601)) == ["1.pdf", "2.pdf"]


def test_a_copy_under_way_keeps_one_side_waiting() -> None:
    path = INBOX / "a-front.pdf"
    tracker = SettleTracker(quiet=3.0)
    for second, size in enumerate(range(4)):
        grown = replace(STAMP, size=size)
        seen = units(INBOX, Duplex(), {path: STAMP}, {INBOX / ".back.x": (INBOX / "a-back.pdf", grown)}, {})
        tracker.observe(seen, float(second))
    assert tracker.next_due() == 6.0
