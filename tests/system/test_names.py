"""A template of names counts for outbox and archive, and every command finds what was so called."""

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from house import House, wait_for
from PIL import Image
from writers import program

from ocrd.errors import DocumentError
from ocrd.rendering import barcodes

DATED = "{date:%Y-%m-%d} {stem}"
LONG_AGO = datetime(2020, 1, 2, 12).timestamp()  # noqa: DTZ001 - the scanner's own clock

Ocrd = Callable[..., Any]


def configure(house: House, template: str, **watch: Any) -> None:
    house.configure(watch={"file_name": template, **watch})


def drop(house: House, name: str, pages: int = 1) -> None:
    """Drop a PDF that was made long ago."""
    house.drop(name, pages)
    os.utime(house.path(f"inbox/{name}"), (LONG_AGO, LONG_AGO))


def once(house: House) -> None:
    assert house.start("once").wait(120) == 0, house.log.read_text()


def test_the_files_of_a_scan_are_called_by_the_template_and_taken_names_get_a_number(house: House) -> None:
    configure(house, DATED, outputs=["markdown", "json"])
    drop(house, "in/scan.pdf")
    house.path("inbox/in/scan.pdf.ocrd.yaml").write_text("outputs: [markdown]\n")
    once(house)
    drop(house, "in/scan.pdf", pages=2)
    once(house)
    names = ["in/2020-01-02 scan", "in/2020-01-02 scan (2)"]
    assert house.files("outbox") == sorted([f"{names[1]}.json", f"{names[1]}.md", f"{names[0]}.md"])
    assert house.files("archive") == sorted([f"{names[1]}.pdf", f"{names[0]}.pdf", f"{names[0]}.pdf.ocrd.yaml"])
    assert "source: in/scan.pdf\n" in house.path(f"outbox/{names[1]}.md").read_text()


@pytest.mark.parametrize("front_matter", [True, False])
def test_commands_find_a_document_by_its_name_and_by_that_of_its_scan(
    house: House, ocrd: Ocrd, *, front_matter: bool
) -> None:
    configure(house, "{sha:.6} {date:%Y}", front_matter=front_matter)
    drop(house, "scan.pdf", pages=3)
    once(house)
    [sidecar] = house.files("outbox")
    assert re.fullmatch(r"[0-9a-f]{6} 2020\.md", sidecar)
    for number, name in enumerate((sidecar, sidecar.removesuffix(".md"), "scan.pdf"), 1):
        told = ocrd("rerun", name, "--pages", str(number))
        assert told.returncode == 0, told.stderr
        once(house)
        assert len(house.events("reread")) == number, house.log.read_text()
        told = ocrd("review", name, "-o", house.root / f"{number}.html")
        assert told.returncode == 0, told.stdout + told.stderr
    told = ocrd("history")
    assert "scan.pdf" in told.stdout
    assert sidecar in told.stdout


@pytest.mark.parametrize(
    ("text", "name"), [("AB-12", "AB-12"), ("../../../evil", "_.._.._evil"), ("a/b:c", "a_b_c"), ("CON", "_CON")]
)
def test_the_text_of_a_barcode_becomes_a_safe_name(house: House, text: str, name: str) -> None:
    configure(house, "{barcode}")
    house.path("inbox/scan.pdf").write_bytes(barcodes.sheet(text))
    once(house)
    assert (house.files("outbox"), house.files("archive")) == ([f"{name}.md"], [f"{name}.pdf"])


def test_a_scan_without_a_barcode_and_a_refused_one_have_stated_names(house: House) -> None:
    configure(house, "{barcode} {pages} {folder}")
    house.drop("scan.pdf", pages=2)
    house.path("inbox/bad.pdf").write_bytes(b"no PDF, whatever it is called\n")
    assert house.start("once").wait(120) == 65
    assert house.files("archive") == ["no-barcode 2 scans.pdf"]
    assert house.files("error") == ["bad.pdf", "bad.pdf.error.md"]


def test_images_of_a_folder_are_archived_in_a_folder_of_the_new_name_and_found_there(house: House, ocrd: Ocrd) -> None:
    configure(house, "{pages} of {stem}", join="subfolder")
    pile = house.path("inbox/pile")
    pile.mkdir()
    for number in (1, 2):
        Image.new("RGB", (300, 400), (255, 255, 250 + number)).save(pile / f"{number}.png")
        Image.effect_noise((300, 400), 90).save(pile / f"{number}.png")
    once(house)
    assert house.files("outbox") == ["2 of pile.md"]
    assert house.files("archive") == ["2 of pile/1.png", "2 of pile/2.png"]
    assert ocrd("rerun", "2 of pile.md", "--pages", "2").returncode == 0
    once(house)
    assert len(house.events("reread")) == 1, house.log.read_text()


def test_parts_of_a_scan_are_numbered_behind_the_name(house: House) -> None:
    configure(house, "{watch} {barcode} {pages}", split="barcode", separators=["PATCHT", "DOC-*"])
    import pymupdf

    with pymupdf.open() as document:
        for text in ("one", "PATCHT", "two", "DOC-7", "three"):
            if text.isupper():
                with pymupdf.open(stream=barcodes.sheet(text)) as sheet:
                    document.insert_pdf(sheet)
            else:
                document.new_page().insert_text((50, 50), text)
        house.path("inbox/scan.pdf").write_bytes(document.tobytes())
    once(house)
    assert house.files("outbox") == [f"scans DOC-7 5-{part}.md" for part in (1, 2, 3)]
    assert house.files("archive") == ["scans DOC-7 5.pdf"]


def test_a_duplicate_that_is_linked_has_a_name_by_the_template_too(house: House) -> None:
    configure(house, "{pages} {stem}", duplicates="link")
    drop(house, "one.pdf")
    data = house.path("inbox/one.pdf").read_bytes()
    once(house)
    house.path("inbox/two.pdf").write_bytes(data)
    once(house)
    assert house.files("archive") == ["1 one.pdf", "1 two.pdf"]
    assert "(1%20one.md)" in house.path("outbox/1 two.md").read_text()


def test_a_time_that_no_calendar_has_is_no_fault(house: House) -> None:
    configure(house, "{date:%Y} {stem}")
    house.drop("scan.pdf")
    os.utime(house.path("inbox/scan.pdf"), (2**40, 2**40))
    once(house)
    assert len(house.files("archive")) == 1
    assert house.files("error") == []


def drop_deep(inbox: Path, length: int, data: bytes) -> None:
    """Make folders below the inbox, and in them a PDF whose path has this length, be it more than Linux takes."""
    place, at = os.open(inbox, os.O_DIRECTORY), len(os.fsencode(inbox))
    while length - at > 255:
        name = "d" * min(200, length - at - 20)
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=place)
        below = os.open(name, os.O_DIRECTORY, dir_fd=place)
        os.close(place)
        place, at = below, at + 1 + len(name)
    name = "s" * (length - at - len("/.pdf")) + ".pdf"
    with open(os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=place), "wb") as file:
        file.write(data)
    os.close(place)


def test_what_lies_too_deep_for_its_results_is_left_alone_with_a_remedy_and_costs_no_other_scan(house: House) -> None:
    house.drop("scan.pdf")
    data = house.path("inbox/scan.pdf").read_bytes()
    for length in (4090, 4110, 4600):
        drop_deep(house.path("inbox"), length, data)
    once(house)
    assert house.files("outbox") == ["scan.md"]
    told = house.events("left alone")
    assert sorted(bool(line.get("remedy")) for line in told) == [False, False, True]
    assert all("horten the names of" in line.get("remedy", line["reason"]) for line in told)
    assert not house.events("paused")
    assert not house.events("put off")
    left = [os.path.join(place, name) for place, _, names in os.walk(house.path("inbox")) for name in names]
    assert sorted(map(len, left)) == [4090, 4110], "they still lie there, and a walk gets no farther"


def test_a_name_that_is_too_long_leaves_room_for_numbers_and_endings(house: House) -> None:
    configure(house, "{stem} {stem} {stem}", outputs=["markdown", "json"])
    name = "ü" * 120
    for pages in (1, 2):
        house.drop(f"{name}.pdf", pages)
        once(house)
    stems = {Path(one).stem for one in house.files("archive")}
    assert stems == {Path(one).stem for one in house.files("outbox")}
    assert sorted(len(os.fsencode(stem)) for stem in stems) == [179, 183], "whole letters, up to 180 bytes"


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that encrypts names, of which 175 bytes are left, and tells of 189 (encfs(1))."""
    if not Path("/dev/fuse").exists():
        pytest.skip("this kernel has no FUSE")
    behind, mounted = tmp_path / "behind", tmp_path / "encrypted"
    behind.mkdir()
    mounted.mkdir()
    command = [program("encfs"), "-f", "--standard", "--stdinpass", behind, mounted]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as server:
        assert server.stdin
        server.stdin.write(b"password\n")
        server.stdin.close()
        wait_for(mounted.is_mount)
        yield mounted
        subprocess.run(["umount", "--lazy", mounted], check=True)
        server.terminate()


def test_names_that_are_too_long_for_the_file_system_of_results_are_shortened(house: House, encrypted: Path) -> None:
    folders = {role: str(encrypted / role) for role in ("outbox", "archive", "error")}
    house.configure(watch={"outputs": ["markdown", "json"], **folders})
    for name, pages in (("ü" * 100, 1), ("x" * 200, 2), ("x" * 130, 1)):
        house.drop(f"{name}.pdf", pages)
    house.path("inbox/broken.pdf").write_bytes(b"no PDF")
    house.path("inbox/broken.pdf").rename(house.path(f"inbox/{'y' * 240}.pdf"))
    assert house.start("once").wait(120) == DocumentError.exit_code, house.log.read_text()
    assert not house.events("paused")
    left = {role: sorted(path.name for path in Path(folder).iterdir()) for role, folder in folders.items()}
    assert [len(left[role]) for role in ("archive", "outbox", "error")] == [3, 6, 2]
    assert f"{'x' * 130}.pdf" in left["archive"], "what fits stays as it is"
    assert {f"{'x' * 130}.md", f"{'x' * 130}.json"} < set(left["outbox"])
    assert max(len(os.fsencode(name)) for names in left.values() for name in names) == 143
