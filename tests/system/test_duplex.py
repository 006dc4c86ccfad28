"""Fronts in one file and backs in another, last first, become one document in the order of its pages."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymupdf
import pytest
import yaml
from house import House, stop, wait_for
from PIL import Image

from ocrd.config.watch import Watch
from ocrd.storage import originals

WIDE = 300
"""Points across the first page; each page is a point wider than the one before, by which it is known again."""
FIRST_BACK = 400


def pdf(path: Path, widths: list[int], *, blank: tuple[int, ...] = ()) -> Path:
    """Make a PDF of pages of these widths, each with text of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pymupdf.open() as document:
        for width in widths:
            page = document.new_page(width=width, height=500)
            if width not in blank:
                page.insert_text((30, 60), f"word{width} and a few more words of page {width}")
                page.draw_rect((40, 100, 250, 300), fill=(0, 0, 0))
        document.save(path)
    return path


def images(path: Path, widths: list[int]) -> Path:
    """Make a TIFF of pages of these widths, or one image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pages = [Image.new("L", (2 * width, 1000), 255) for width in widths]
    for page in pages:
        page.paste(0, (80, 200, 500, 600))
    more = {"save_all": True, "append_images": pages[1:]} if len(pages) > 1 else {}
    pages[0].save(path, dpi=(144, 144), **more)
    return path


MAKERS: dict[str, Callable[[Path, list[int]], Path]] = {".pdf": pdf, ".tif": images, ".png": images, ".jpg": images}


def scan(folder: Path, name: str, sheets: int, endings: tuple[str, str] = (".pdf", ".pdf")) -> list[int]:
    """Drop both files of a duplex scan, the last back first; returns the widths of the pages in their order."""
    fronts = [WIDE + sheet for sheet in range(sheets)]
    backs = [FIRST_BACK + sheet for sheet in range(sheets)]
    MAKERS[endings[0]](folder / f"{name}-front{endings[0]}", fronts)
    MAKERS[endings[1]](folder / f"{name}-back{endings[1]}", backs[::-1])
    return [width for sheet in zip(fronts, backs, strict=True) for width in sheet]


def front(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = yaml.safe_load(path.read_text().split("---\n")[1])
    return facts


def widths_in(house: House, name: str) -> list[int]:
    return [round(page["size"][0]) for page in json.loads(house.path(f"outbox/{name}").read_text())["pages"]]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    configure(house)
    yield house
    house.close()


def configure(house: House, **watch: Any) -> None:
    house.configure(watch={"join": "duplex", "outputs": ["markdown", "json", "pdf"]} | watch)


def once(house: House) -> int:
    return house.start("once").wait(120)


@pytest.mark.parametrize(
    ("sheets", "endings"),
    [(3, (".pdf", ".pdf")), (3, (".tif", ".pdf")), (2, (".pdf", ".tif")), (1, (".jpg", ".png")), (1, (".png", ".pdf"))],
)
def test_the_pages_come_in_their_order_in_each_output_and_both_originals_stay_as_they_are(
    house: House, sheets: int, endings: tuple[str, str]
) -> None:
    order = scan(house.path("inbox"), "letter", sheets, endings)
    before = {path.name: path.read_bytes() for path in house.path("inbox").iterdir()}
    assert once(house) == 0
    assert widths_in(house, "letter.json") == order
    with pymupdf.open(house.path("outbox/letter.pdf")) as made:
        assert [round(page.rect.width) for page in made] == order
        words = [" ".join(page.get_text().split()) for page in made]
    for number, (width, text) in enumerate(zip(order, words, strict=True), 1):
        assert text.endswith(f"page {number}"), "the invisible text is that of another page"
        ending = endings[(number - 1) % 2]
        assert ending != ".pdf" or f"word{width}" in text, "the page itself is another"
    facts = front(house.path("outbox/letter.md"))
    names = [f"letter-front{endings[0]}", f"letter-back{endings[1]}"]
    assert (facts["source"], facts["files"], facts["pages"]) == ("letter", names, 2 * sheets)
    assert facts["duplex"][1] == f"{names[0]}, page 1"
    assert facts["duplex"][2] == f"{names[1]}, page {sheets}"
    assert facts["duplex"][2 * sheets] == f"{names[1]}, page 1"
    assert {path.name: path.read_bytes() for path in house.path("archive").iterdir()} == before
    assert not house.files("inbox")
    assert not house.jobs()


@pytest.mark.parametrize("sheets", [(5, 4), (2, 3)])
def test_counts_that_do_not_fit_refuse_both_with_one_note_and_both_come_back(
    house: House, ocrd: Callable[..., Any], sheets: tuple[int, int]
) -> None:
    pdf(house.path("inbox/sub/a-front.pdf"), list(range(300, 300 + sheets[0])))
    pdf(house.path("inbox/sub/a-back.pdf"), list(range(400, 400 + sheets[1])))
    assert once(house) == 65
    assert house.files("error") == ["sub/a-back.pdf", "sub/a-front.pdf", "sub/a.error.md"]
    note = house.path("error/sub/a.error.md").read_text()
    counts = f"a-front.pdf has {sheets[0]} pages, and a-back.pdf has {sheets[1]} pages"
    assert counts in note.replace("\\", "")
    assert "scan those that lack" in note
    assert house.files("outbox") == []
    pdf(house.path("error/sub/a-front.pdf"), [300, 301])  # mended where it lies
    pdf(house.path("error/sub/a-back.pdf"), [401, 400])
    assert ocrd("retry", "a", "-c", house.root / "ocrd.yaml").returncode == 0
    assert house.files("inbox") == ["sub/a-back.pdf", "sub/a-front.pdf"]
    assert once(house) == 0
    assert widths_in(house, "sub/a.json") == [300, 400, 301, 401]
    assert house.files("error") == []


def test_a_side_that_can_not_be_opened_refuses_both_and_is_named(house: House) -> None:
    pdf(house.path("inbox/a-front.pdf"), [300])
    house.path("inbox/a-back.pdf").write_bytes(b"%PDF-1.4 nothing at all\n%%EOF\n")
    assert once(house) == 65
    assert house.files("error") == ["a-back.pdf", "a-front.pdf", "a.error.md"]
    assert "a-back.pdf: This PDF" in house.path("error/a.error.md").read_text()


def test_a_taken_name_gets_a_number_before_the_side(house: House) -> None:
    for _ in range(2):
        scan(house.path("inbox"), "a", 1)
        assert once(house) == 0
    assert house.files("archive") == ["a (2)-back.pdf", "a (2)-front.pdf", "a-back.pdf", "a-front.pdf"]
    assert {"a.md", "a (2).md"} <= set(house.files("outbox"))


@pytest.mark.parametrize("front_matter", [True, False])
def test_pages_are_read_again_and_reviewed_in_their_order(
    house: House, ocrd: Callable[..., Any], *, front_matter: bool
) -> None:
    more = {} if front_matter else {"front_matter": False, "outputs": ["markdown", "pdf"]}
    configure(house, **more)
    scan(house.path("inbox"), "a", 2)
    assert once(house) == 0
    house.path("archive/2026").mkdir()
    for path in sorted(house.path("archive").glob("a-*.pdf")):  # somebody tidies up
        path.rename(house.path("archive/2026") / path.name)
    reviewed = ocrd("review", "a", "-c", house.root / "ocrd.yaml", "-o", house.root / "review.html")
    assert reviewed.returncode == 0, reviewed.stderr
    assert (house.root / "review.html").read_text().count("data:image/webp") == 4
    house.configure(watch={"join": "none", "outputs": ["markdown", "pdf"], **more}, says="better")
    asked = ocrd("rerun", "a", "--pages", "2", "-c", house.root / "ocrd.yaml")
    assert asked.returncode == 0, asked.stderr
    assert once(house) == 0
    [line] = house.events("reread")
    assert line["pages"] == 1
    with pymupdf.open(house.path("outbox/a.pdf")) as made:
        assert [round(page.rect.width) for page in made] == [300, 400, 301, 401]
        assert ["better" in page.get_text() for page in made] == [False, True, False, False]
    assert house.path("outbox/a.md").read_text().count("better") == 1
    assert [name for name in house.files("archive") if "digests" not in name] == ["2026/a-back.pdf", "2026/a-front.pdf"]
    assert not [path for path in house.path(".inbox.ocrd-work").iterdir() if "ledger" not in path.name]


@pytest.mark.parametrize("blank_backs", ["keep", "drop"])
def test_blank_backs_are_left_out_only_if_asked(house: House, ocrd: Callable[..., Any], blank_backs: str) -> None:
    configure(house, duplex={"blank_backs": blank_backs})
    pdf(house.path("inbox/a-front.pdf"), [300, 301, 302], blank=(301,))
    pdf(house.path("inbox/a-back.pdf"), [402, 401, 400], blank=(401, 402))
    assert once(house) == 0
    dropped = blank_backs == "drop"
    order = [300, 400, 301, 302] if dropped else [300, 400, 301, 401, 302, 402]
    facts = front(house.path("outbox/a.md"))
    assert facts.get("blank_backs_left_out") == ("4,6" if dropped else None)
    assert list(facts["duplex"]) == ([1, 2, 3, 5] if dropped else [1, 2, 3, 4, 5, 6])
    assert ("<!-- page 4 -->" in house.path("outbox/a.md").read_text()) == (not dropped)
    with pymupdf.open(house.path("outbox/a.pdf")) as made:
        assert [round(page.rect.width) for page in made] == order
    house.configure(watch={"join": "duplex", "outputs": ["markdown", "json", "pdf"]}, says="better")
    asked = ocrd("rerun", "a", "--pages", "5", "-c", house.root / "ocrd.yaml")
    assert asked.returncode == 0, asked.stderr
    assert once(house) == 0
    with pymupdf.open(house.path("outbox/a.pdf")) as made:
        assert [round(page.rect.width) for page in made if "better" in page.get_text()] == [302]


def test_one_side_alone_waits_in_sight_and_is_joined_when_the_other_comes(house: House) -> None:
    house.configure(watch={"join": "duplex"}, settle={"rescan": "1s"})
    daemon = house.start()
    wait_for(lambda: house.events("watching"))
    pdf(house.path("inbox/a-back.pdf"), [401, 400])
    wait_for(lambda: house.events("waiting"))
    [line] = house.events("waiting")
    assert (line["source"], line["reason"]) == ("a-back.pdf", "the fronts, a-front, are not there")
    assert line["longest"] == 600
    assert house.files("inbox") == ["a-back.pdf"]
    pdf(house.path("inbox/b.pdf"), [300])  # which waits for nothing
    wait_for(lambda: "b.md" in house.files("outbox"))
    pdf(house.path("inbox/a-front.pdf"), [300, 301])
    wait_for(lambda: len(house.events("delivered")) == 2)
    assert [line["pages"] for line in house.events("delivered") if line["source"] == "a"] == [4]
    assert stop(daemon) == 0


@pytest.mark.parametrize("alone", ["refuse", "read"])
def test_one_side_that_stays_alone_is_refused_or_read_as_is_said(
    house: House, ocrd: Callable[..., Any], alone: str
) -> None:
    configure(house, duplex={"alone": alone, "wait": "1s"})
    pdf(house.path("inbox/a-front.pdf"), [300, 301])
    daemon = house.start()
    wait_for(lambda: house.events("delivered") or house.events("refused"))
    assert stop(daemon) == 0
    if alone == "read":
        assert house.files("archive") == ["a-front.pdf"]
        assert widths_in(house, "a-front.json") == [300, 301]
        return
    assert house.files("outbox") == []
    assert house.files("error") == ["a-front.pdf", "a-front.pdf.error.md"]
    note = house.path("error/a-front.pdf.error.md").read_text()
    assert "was not joined with the other within 1 s: the backs, a-back, are not there." in note
    assert ocrd("retry", "a-front.pdf", "-c", house.root / "ocrd.yaml").returncode == 0
    pdf(house.path("inbox/a-back.pdf"), [401, 400])
    assert once(house) == 0
    assert widths_in(house, "a.json") == [300, 400, 301, 401]
    assert house.files("error") == [], "the note on one side stays though both were read"


def test_once_leaves_one_side_for_the_next_time(house: House) -> None:
    pdf(house.path("inbox/a-front.pdf"), [300])
    assert once(house) == 0
    assert house.files("inbox") == ["a-front.pdf"]
    [line] = house.events("left for the next time")
    assert line["reason"] == "the backs, a-back, are not there"


def test_two_files_in_a_row_are_fronts_and_backs(house: House, ocrd: Callable[..., Any]) -> None:
    configure(house, duplex={"pairs": "in_a_row"})
    written = [("Scan_9.pdf", [300, 301]), ("Scan_10.pdf", [401, 400]), ("Scan_11.pdf", [302]), ("A.pdf", [402])]
    for number, (name, widths) in enumerate(written):
        path = pdf(house.path(f"inbox/office/{name}"), widths)
        os.utime(path, ns=(0, 1_790_000_000_000_000_000 + number * 10**9))
    assert once(house) == 0
    assert widths_in(house, "office/Scan_9.json") == [300, 400, 301, 401]
    assert widths_in(house, "office/Scan_11.json") == [302, 402]
    assert house.files("archive") == [
        f"office/{name}" for name in ("Scan_11-back.pdf", "Scan_11-front.pdf", "Scan_9-back.pdf", "Scan_9-front.pdf")
    ]
    facts = front(house.path("outbox/office/Scan_9.md"))
    assert facts["dropped_as"] == ["office/Scan_9.pdf", "office/Scan_10.pdf"]
    assert facts["files"] == ["office/Scan_9-front.pdf", "office/Scan_9-back.pdf"]
    house.configure(watch={"join": "none", "outputs": ["markdown", "json", "pdf"]}, says="better")
    assert ocrd("rerun", "Scan_9", "--pages", "2", "-c", house.root / "ocrd.yaml").returncode == 0
    assert once(house) == 0
    with pymupdf.open(house.path("outbox/office/Scan_9.pdf")) as made:
        assert [round(page.rect.width) for page in made if "better" in page.get_text()] == [400]


def test_the_longest_names_there_are_can_be_in_a_row(house: House) -> None:
    configure(house, duplex={"pairs": "in_a_row"})
    for number, letter in enumerate("ab"):
        path = pdf(house.path(f"inbox/{letter * 251}.pdf"), [300])
        os.utime(path, ns=(0, 1_790_000_000_000_000_000 + number * 10**9))
    assert once(house) == 0
    names = house.files("archive")
    assert [name.strip("a") for name in names] == ["-back.pdf", "-front.pdf"]
    assert max(map(len, names)) == 255


def test_of_a_row_what_was_refused_comes_back_as_a_pair(house: House, ocrd: Callable[..., Any]) -> None:
    configure(house, duplex={"pairs": "in_a_row"})
    for number, (name, widths) in enumerate((("1.pdf", [300, 301]), ("2.pdf", [400]))):
        os.utime(pdf(house.path(f"inbox/{name}"), widths), ns=(0, 1_790_000_000_000_000_000 + number * 10**9))
    assert once(house) == 65
    assert house.files("error") == ["1-back.pdf", "1-front.pdf", "1.error.md"]
    pdf(house.path("error/1-back.pdf"), [401, 400])
    assert ocrd("retry", "--all", "-c", house.root / "ocrd.yaml").returncode == 0
    pdf(house.path("inbox/0.pdf"), [500])
    assert once(house) == 0
    assert widths_in(house, "1.json") == [300, 400, 301, 401]


def test_the_same_scan_again_is_known(house: House) -> None:
    configure(house, duplicates="link")
    scan(house.path("inbox"), "a", 1)
    kept = {path.name: path.read_bytes() for path in house.path("inbox").iterdir()}
    assert once(house) == 0
    for name, data in kept.items():
        house.path(f"inbox/{name.replace('a', 'b', 1)}").write_bytes(data)
    assert once(house) == 0
    assert "The same file was read before" in house.path("outbox/b.md").read_text()


def test_a_companion_is_for_both(house: House) -> None:
    scan(house.path("inbox"), "a", 1)
    house.path("inbox/a.ocrd.yaml").write_text("outputs: [text]\n")
    assert once(house) == 0
    assert house.files("outbox") == ["a.txt"]
    assert house.files("archive") == ["a-back.pdf", "a-front.pdf", "a.ocrd.yaml"]


def test_a_kill_in_work_reads_both_again_and_loses_nothing(house: House) -> None:
    house.configure(watch={"join": "duplex"}, seconds=0.5)
    scan(house.path("inbox"), "a", 4)
    daemon = house.start()
    wait_for(lambda: len(house.reads()) >= 2)
    daemon.kill()
    daemon.wait()
    assert once(house) == 0
    assert house.files("outbox") == ["a.md"]
    assert house.files("archive") == ["a-back.pdf", "a-front.pdf"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"split": "blank"}, "split: must not be blank with join: duplex"),
        ({"duplex": {"fronts": "front-*"}}, "duplex.fronts: must be * for the name of the scan"),
        ({"duplex": {"fronts": "*"}}, "duplex.fronts: must be * for the name of the scan"),
        ({"duplex": {"backs": "*-front"}}, "duplex.backs: must tell backs from fronts"),
        ({"duplex": {"fronts": "*-back"}}, "duplex.backs: must tell backs from fronts"),
        ({"duplex": {"backs": "*-B/*"}}, "duplex.backs: must be * for the name of the scan"),
        ({"duplex": {"pairs": "always"}}, "duplex.pairs: "),
    ],
)
def test_settings_that_make_no_sense_are_named_with_their_line(
    house: House, ocrd: Callable[..., Any], settings: dict[str, Any], told: str
) -> None:
    configure(house, **settings)
    checked = ocrd("config", "show", "-c", house.root / "ocrd.yaml")
    assert checked.returncode == 78
    assert f"watches.0.{told}" in checked.stderr
    configure(house, split="blank", duplex={"blank_backs": "drop"})
    assert ocrd("config", "show", "-c", house.root / "ocrd.yaml").returncode == 0


def test_originals_are_found_under_the_name_of_a_template_with_another_number_than_their_sidecar(house: House) -> None:
    watch = Watch(**{"name": "w"} | {role: str(house.path(role)) for role in ("inbox", "outbox", "archive", "error")})
    names = ("sub/invoice-front.pdf", "sub/invoice-back.pdf")
    digests = [hashlib.sha256(pdf(house.path(f"archive/{name}"), [300]).read_bytes()).hexdigest() for name in names]
    facts = {"source": "a", "sha256": hashlib.sha256(" ".join(digests).encode()).hexdigest()}
    files = ["a-front.pdf", "a-back.pdf"]
    for more in ({"files": files, "duplex": {1: "a-front.pdf, page 1"}}, {}):
        for sidecar in ("invoice (2).md", "invoice-3.md"):
            found = originals.original(watch, facts | more, sidecar)
            assert found, f"{sidecar}, {more}"
            assert (found.files, found.duplex) == (names, True)
