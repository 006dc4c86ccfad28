"""Originals and sidecars are found after somebody has tidied up, by their digests."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymupdf
import pytest
import yaml
from house import House
from PIL import Image

from ocrd.config.watch import Watch
from ocrd.output import front_matter
from ocrd.storage import originals

MakePdf = Callable[..., Path]


def delivered(house: House, *names: str, **settings: Any) -> None:
    house.configure(**settings)
    for name in names:
        house.drop(name, pages=2)
    assert house.start("once").wait(120) == 0


def move(path: Path, target: str) -> Path:
    moved = path.parent / target
    moved.parent.mkdir(parents=True, exist_ok=True)
    return path.rename(moved)


@pytest.mark.parametrize("target", ["2026/a.pdf", "2026/Invoice of May.pdf"])
def test_an_original_in_another_folder_is_found_and_named(
    house: House, ocrd: Callable[..., Any], make_pdf: MakePdf, target: str
) -> None:
    delivered(house, "a.pdf", "b.pdf")
    moved = move(house.path("archive/a.pdf"), target)
    other = make_pdf(house.path("archive/a.pdf"), 5)
    told = ocrd("rerun", "a", "--pages", "2")
    assert told.returncode == 0, told.stderr
    assert f"from {moved} (job" in told.stdout
    assert f"{other} is another file, by its digest." in told.stdout
    house.configure(says="better")
    assert house.start("once").wait(120) == 0
    assert "better" in house.path("outbox/a.md").read_text()
    told = ocrd("review", "a", "-o", house.root)
    assert told.returncode == 0
    assert f"The original lies at {moved}." in told.stderr
    assert "data:image/webp" in (house.root / "a.review.html").read_text()


def test_the_index_is_made_once_and_anew_for_what_changed(house: House) -> None:
    delivered(house, "a.pdf", "b.pdf", "c.pdf")
    watch = Watch(**{"name": "w"} | {role: str(house.path(role)) for role in ("inbox", "outbox", "archive", "error")})
    facts = front_matter.facts_of(house.path("outbox/a.md").read_bytes())
    assert facts
    moved = move(house.path("archive/a.pdf"), "2026/x.pdf")
    index = house.path(f"archive/{originals.INDEX}")
    assert not index.exists()
    found = originals.original(watch, facts, "a.md")
    assert found
    assert found.path == moved
    known = json.loads(index.read_text())
    assert sorted(known) == ["2026/x.pdf", "b.pdf", "c.pdf"]
    index.write_text(json.dumps(known | {"b.pdf": [*known["b.pdf"][:2], facts["sha256"]]}))  # anybody can write there
    found = originals.original(watch, facts, "a.md")
    assert found
    assert found.path == moved
    moved = move(moved, "../2027/y.pdf")
    found = originals.original(watch, facts, "a.md")
    assert found
    assert found.path.samefile(moved)
    for damaged in ("{", "[]", '{"b.pdf": 1}', '{"b.pdf": [1, 2]}', "\xff"):
        index.write_text(damaged)
        assert originals.original(watch, facts, "a.md")
    index.unlink()
    index.symlink_to(house.root / "elsewhere")
    assert originals.original(watch, facts, "a.md")
    assert not (house.root / "elsewhere").exists()


@pytest.mark.parametrize("front_matter", [True, False])
@pytest.mark.parametrize("join", ["subfolder", "sequence"])
def test_images_that_became_one_document_are_found_in_another_folder(
    house: House, ocrd: Callable[..., Any], join: str, *, front_matter: bool
) -> None:
    watch = {"join": join, "front_matter": front_matter}
    house.configure(watch=watch)
    house.path("inbox/f").mkdir()
    for number in (1, 2):
        image = Image.new("L", (300, 400), 255)
        image.paste(0, (40, 40, 260, 100 * number))
        image.save(house.path(f"inbox/f/s-{number}.png"))
    assert house.start("once").wait(120) == 0
    name = "f" if join == "subfolder" else "f/s"
    move(house.path("archive/f"), f"2026/old/{'g' if front_matter or join == 'subfolder' else 'f'}")
    told = ocrd("rerun", name, "--pages", "2")
    assert told.returncode == 0, told.stderr
    assert "archive/2026/old/" in told.stdout
    house.configure(watch=watch, says="better")
    assert house.start("once").wait(120) == 0
    assert "better" in house.path(f"outbox/{name}.md").read_text()


@pytest.mark.parametrize("join", ["subfolder", "sequence"])
def test_of_two_groups_of_images_with_one_name_that_were_moved_each_document_finds_its_own(
    house: House, ocrd: Callable[..., Any], join: str
) -> None:
    house.configure(watch={"join": join})
    for dropped in (1, 2):
        house.path("inbox/f").mkdir(exist_ok=True)
        for number in (1, 2):
            image = Image.new("L", (300, 400), 255)
            image.paste(0, (40 * dropped, 40, 260, 100 * number))
            image.save(house.path(f"inbox/f/s-{number}.png"))
        assert house.start("once").wait(120) == 0
    first, second = ("f", "f (2)") if join == "subfolder" else ("f/s", "f/s (2)")
    for folder in sorted(path for path in house.path("archive").iterdir() if path.is_dir()):
        move(folder, f"2026/{folder.name}")
    for name in (first, second):
        told = ocrd("rerun", house.path(f"outbox/{name}.md"), "--pages", "2")
        assert told.returncode == 0, told.stderr
        assert (
            f"from {house.path('archive/2026')}/{name}{'/s-1.png' if join == 'subfolder' else '-1.png'}" in told.stdout
        )


@pytest.mark.parametrize("outputs", [["markdown"], ["json"]])
@pytest.mark.parametrize("target", ["2026/a", "2026/Invoice of May"])
def test_a_sidecar_in_another_folder_is_found_by_its_old_name_and_its_scans(
    house: House, ocrd: Callable[..., Any], outputs: list[str], target: str
) -> None:
    delivered(house, "a.pdf", "b.pdf", watch={"outputs": outputs})
    ending = ".md" if outputs == ["markdown"] else ".json"
    move(house.path(f"outbox/a{ending}"), f"{target}{ending}")
    house.configure(watch={"outputs": outputs}, says="better")
    for name in ("a", f"a{ending}", "a.pdf", str(house.path("archive/a.pdf")), Path(target).name):
        told = ocrd("rerun", name, "--pages", "2")
        assert (told.returncode, told.stderr) == (0, ""), name
        assert f"of {house.path(f'outbox/{target}{ending}')} to be" in told.stdout
    assert house.start("once").wait(120) == 0
    assert "better" in house.path(f"outbox/{target}{ending}").read_text()


def test_a_moved_sidecar_still_tells_its_problems(house: House, ocrd: Callable[..., Any]) -> None:
    pages = {"text_layer": "ignore", "second_readings": []}
    delivered(house, "a.pdf", watch={"pages": pages}, fail_page=1)
    move(house.path("outbox/a.md"), "2026/b.md")
    told = ocrd("rerun", "a.pdf", "--problems")
    assert f"Asked for 1 page of {house.path('outbox/2026/b.md')}" in told.stdout, told.stderr


def test_a_moved_sidecar_of_a_shared_outbox_is_known_to_be_its_watchs(house: House, ocrd: Callable[..., Any]) -> None:
    house.configure(("a", "b"))
    raw = yaml.safe_load((house.root / "ocrd.yaml").read_text())
    raw["watches"] = [one | {"outbox": "outbox", "archive": "archive"} for one in raw["watches"]]
    (house.root / "ocrd.yaml").write_text(yaml.safe_dump(raw))
    house.drop("x.pdf", watch="b")
    assert house.start("once").wait(120) == 0
    move(house.root / "outbox/x.md", "2026/y.md")
    assert ocrd("rerun", "x.pdf", "--pages", "1").returncode == 0
    assert len(list(house.path(".inbox.ocrd-work", "b").glob("rerun-*"))) == 1
    assert house.start("once").wait(120) == 0
    told = ocrd("rerun", "x.pdf", "--pages", "1")
    assert (told.returncode, told.stderr) == (0, ""), "the ledger knows its new place by now"


def test_of_two_sidecars_of_one_content_the_moved_one_is_meant(
    house: House, ocrd: Callable[..., Any], make_pdf: MakePdf
) -> None:
    make_pdf(house.path("inbox/a.pdf"), 2)
    shutil.copy(house.path("inbox/a.pdf"), house.path("inbox/b.pdf"))
    assert house.start("once").wait(120) == 0
    move(house.path("outbox/a.md"), "2026/x.md")
    told = ocrd("rerun", "a", "--pages", "2")
    assert told.returncode == 0, told.stderr
    assert str(house.path("outbox/2026/x.md")) in told.stdout


def test_a_path_from_where_one_stands_is_understood(
    house: House, ocrd: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered(house, "a.pdf", "sub/a.pdf")
    monkeypatch.chdir(house.path("outbox/sub"))
    told = ocrd("rerun", "a.md", "--pages", "2")
    assert f"of {house.path('outbox/sub/a.md')} to be" in told.stdout, told.stderr


def test_a_name_that_several_have_is_not_guessed(house: House, ocrd: Callable[..., Any]) -> None:
    delivered(house, "x/a.pdf", "y/a.pdf")
    told = ocrd("rerun", "a.pdf", "--pages", "2")
    assert told.returncode == 65
    assert "a.pdf can mean several" in told.stderr
    house.path("outbox/x/a.md").unlink()
    told = ocrd("rerun", "x/a.pdf", "--pages", "2")
    assert told.returncode == 65, "another document is not taken for it"
    assert "There is no sidecar of x/a.pdf" in told.stderr


@pytest.mark.parametrize(("front_matter", "target"), [(True, "2026/a"), (True, "2026/May"), (False, "2026/a")])
def test_a_sidecar_that_is_moved_after_it_was_asked_for_is_read_again_where_it_lies(
    house: House, ocrd: Callable[..., Any], target: str, *, front_matter: bool
) -> None:
    watch = {"front_matter": front_matter}
    delivered(house, "a.pdf", "b.pdf", watch=watch)
    assert ocrd("rerun", "a", "--pages", "2").returncode == 0
    moved = move(house.path("outbox/a.md"), f"{target}.md")
    house.configure(watch=watch, says="better")
    assert house.start("once").wait(120) == 0
    assert "better" in moved.read_text()
    assert "better" not in house.path("outbox/b.md").read_text()
    [line] = house.events("sidecar was moved")
    assert line["sidecar"] == str(moved)


def test_a_deleted_sidecar_that_was_asked_for_is_not_taken_for_that_of_the_same_scan_dropped_twice(
    house: House, ocrd: Callable[..., Any]
) -> None:
    delivered(house, "a.pdf")
    shutil.copy(house.path("archive/a.pdf"), house.path("inbox/a.pdf"))
    assert house.start("once").wait(120) == 0
    assert ocrd("rerun", "a.md", "--pages", "2").returncode == 0
    house.path("outbox/a.md").unlink()
    house.configure(says="better")
    assert house.start("once").wait(120) == 65
    assert "better" not in house.path("outbox/a (2).md").read_text()


def test_a_moved_sidecar_without_front_matter_is_found_by_its_scan_and_a_renamed_one_is_told_as_unknown(
    house: House, ocrd: Callable[..., Any]
) -> None:
    delivered(house, "a.pdf", "b.pdf", watch={"front_matter": False})
    moved = move(house.path("outbox/a.md"), "2026/a.md")
    for name in ("a.pdf", "a", "2026/a", str(house.path("archive/a.pdf")), str(moved)):
        told = ocrd("rerun", name, "--pages", "2")
        assert (told.returncode, told.stderr) == (0, ""), name
        assert f"of {moved} to be read again from {house.path('archive/a.pdf')}" in told.stdout
    move(moved, "Invoice.md")
    told = ocrd("rerun", "2026/Invoice", "--pages", "2")
    assert told.returncode == 65
    assert "Nothing tells what 2026/Invoice.md was read from" in told.stderr


def test_without_front_matter_and_ledger_a_sidecar_is_not_overwritten_by_one_of_several_scans_of_its_name(
    house: House, ocrd: Callable[..., Any], make_pdf: MakePdf
) -> None:
    delivered(house, "a.pdf", watch={"front_matter": False})
    house.path(".inbox.ocrd-work/ledger.sqlite3").unlink()
    assert ocrd("rerun", "a.md", "--pages", "2").returncode == 0
    second = make_pdf(house.path("archive/a (2).pdf"), 5)
    told = ocrd("rerun", "a.md", "--pages", "2")
    assert told.returncode == 65
    one = house.path("archive/a.pdf")
    assert f"Nothing tells which of these a.md was read from: {second}, {one}." in told.stderr


@pytest.mark.parametrize("outputs", [["markdown"], ["markdown", "json"]])
def test_without_front_matter_only_a_json_beside_it_tells_of_problems_and_not_that_there_are_none(
    house: House, ocrd: Callable[..., Any], outputs: list[str]
) -> None:
    pages = {"text_layer": "ignore", "second_readings": []}
    delivered(house, "a.pdf", watch={"front_matter": False, "outputs": outputs, "pages": pages}, fail_page=1)
    told = ocrd("rerun", "--problems")
    assert told.returncode == 0, told.stderr
    asked = f"Asked for 1 page of {house.path('outbox/a.md')}" if "json" in outputs else "No document tells of a page"
    assert asked in told.stdout


@pytest.mark.parametrize("outputs", [["markdown"], ["markdown", "json"]])
def test_without_front_matter_only_a_json_beside_it_tells_of_which_scan_a_part_or_a_renamed_one_is(
    house: House, ocrd: Callable[..., Any], outputs: list[str]
) -> None:
    house.configure(watch={"front_matter": False, "outputs": outputs, "split": "blank"})
    with pymupdf.open() as scan:
        for text in ("one", "", "two"):
            scan.new_page().insert_text((20, 40), text * 20)
        scan.save(house.path("inbox/s.pdf"))
    assert house.start("once").wait(120) == 0
    assert ocrd("rerun", "s-2", "--pages", "3").returncode == 0
    for output in outputs:
        ending = ".md" if output == "markdown" else f".{output}"
        move(house.path(f"outbox/s-2{ending}"), f"May{ending}")
    for name, page in (("s-1", "1"), ("May", "3")):
        told = ocrd("rerun", name, "--pages", page)
        assert told.returncode == (0 if "json" in outputs else 65), told.stdout + told.stderr
        assert "json" in outputs or "Nothing tells" in told.stderr


@pytest.mark.parametrize("away", ["missing", "a file", "a dangling link"])
@pytest.mark.parametrize(
    "command", [("rerun", "a", "--pages", "1"), ("rerun", "--problems"), ("review", "a"), ("review", "--problems")]
)
def test_an_outbox_that_is_away_is_not_taken_for_one_without_documents(
    house: House, ocrd: Callable[..., Any], command: tuple[str, ...], away: str
) -> None:
    outbox = house.path("outbox")
    if away == "a file":
        outbox.touch()
    elif away == "a dangling link":
        outbox.symlink_to("elsewhere")
    told = ocrd(*command)
    assert told.returncode == 74
    assert f"ocrd: Could not look into {outbox}: " in told.stderr
    assert told.stdout == ""
