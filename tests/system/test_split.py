"""One scan of several documents, taken apart at its separators."""

import asyncio
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import pytest
import yaml
import zxingcpp
from house import House, wait_for
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from real_renderer import Sync

from ocrd.concurrency.worker_pool import Limits
from ocrd.engines.cpu.page_form import page_size as large
from ocrd.engines.vllm.deepseek import page_size
from ocrd.errors import DocumentError
from ocrd.model import Document, PageFacts, PageImage, PageResult, Reading, SourceFacts, Verdict, View
from ocrd.output import front_matter, markdown, split
from ocrd.rendering import barcodes
from ocrd.rendering.renderer import Renderer

TEXTS = View(separators=("PATCHT",))
SAYS_WHERE = "<|ref|>text<|/ref|><|det|>[[80, 50, 900, 100]]<|/det|>\n"
ENGLISH = (Path(__file__).parents[2] / "ocrd/samples/english.txt").read_text(encoding="utf-8").partition("\f")[0]


def document(pages: str) -> Document:
    """Make a document: a letter for a page with text, `_` for a blank one, `|` for a separator sheet.

    A capital letter is a page of text with a barcode on it.
    """

    def page(index: int, kind: str) -> PageResult:
        match kind:
            case "_":
                return PageResult(index, Verdict.BLANK, "", None)
            case "|":
                return PageResult(index, Verdict.BLANK, "", None, facts=PageFacts(separator="PATCHT"))
            case _:
                facts = PageFacts(letters=500, separator="PATCHT" if kind.isupper() else "")
                return PageResult(index, Verdict.OK, "", Reading(index, kind, "stop", 1, 0.0), facts=facts)

    results = tuple(page(index, kind) for index, kind in enumerate(pages))
    facts = SourceFacts("pdf", len(pages), "00")
    return Document("a.pdf", facts, results, "simulated", "none", datetime(2026, 1, 1, tzinfo=UTC), 0.0)


def taken_apart(pages: str, how: split.Separator) -> list[str]:
    told = split.parts(document(pages), how)
    assert [part.part for part in told] == (
        [None] if len(told) == 1 else [(n + 1, len(told)) for n in range(len(told))]
    )
    return ["".join(pages[page.index] for page in part.pages) for part in told]


@pytest.mark.parametrize(
    ("pages", "parts"),
    [
        ("ab", ["ab"]),
        ("a_b", ["a", "_b"]),
        ("ab__cd_e", ["ab", "__cd", "_e"]),  # two blanks in a row are one separation
        ("__a_b_", ["__a", "_b_"]),  # none is made at the start, nor at the end
        ("_a_", ["_a_"]),
        ("___", ["___"]),
        ("a|b", ["a", "|b"]),  # a sheet from a time of other settings separates as well as it is blank
    ],
)
def test_blank_pages_separate(pages: str, parts: list[str]) -> None:
    assert taken_apart(pages, "blank") == parts


@pytest.mark.parametrize(
    ("pages", "parts"),
    [
        ("a_b", ["a_b"]),  # a blank page is a page like others
        ("a|b", ["a", "|b"]),
        ("|a|b|", ["|a", "|b|"]),
        ("a||b", ["a", "||b"]),
        ("a|_b_c", ["a", "|_b_c"]),  # the sheet's back is blank, and goes with it
        ("a_|_b", ["a_", "|_b"]),
        ("a|_|_b", ["a", "|_|_b"]),
        ("a|__b", ["a", "|__b"]),
        ("a|__", ["a|__"]),
        ("_|a|b", ["_|a", "|b"]),
        ("|_", ["|_"]),
        ("||", ["||"]),
        ("aBcD", ["a", "Bc", "D"]),  # stickers: their pages belong to what they begin
        ("a|B", ["a", "|B"]),
        ("Ab", ["Ab"]),
    ],
)
def test_sheets_separate(pages: str, parts: list[str]) -> None:
    assert taken_apart(pages, "barcode") == parts


@given(pages=st.text("abB_|", min_size=1, max_size=30), how=st.sampled_from(["none", "blank", "barcode"]))
def test_each_page_stands_in_one_part_in_order_and_each_part_has_something(pages: str, how: split.Separator) -> None:
    parts = taken_apart(pages, how)
    assert "".join(parts) == pages
    if len(parts) > 1:
        assert all(set(part) - set("_|") for part in parts)
    if how == "none":
        assert len(parts) == 1


def test_a_sheet_is_told_by_a_visible_line() -> None:
    text = markdown.sidecar(document("a|b"), markdown.Style(front_matter=False))
    assert "<!-- page 2 -->\n\n> *Page 2 is a separator sheet (PATCHT).*\n\n<!-- page 3 -->" in text


# -- what the render workers find


@pytest.fixture(scope="module")
def look() -> Iterator[Callable[..., PageFacts]]:
    with asyncio.Runner() as runner:
        renderer = Renderer(1, Limits(60, 2**31))

        def facts(path: Path, view: View = TEXTS, sizer: Any = page_size) -> PageFacts:
            page: PageImage = runner.run(renderer.page(path, 0, sizer, None, view))
            return page.facts

        yield facts
        runner.run(renderer.close())


def page_with(path: Path, text: str, kind: str, millimetres: float, *, turn: int = 0) -> Path:
    """Make a scanned page with a barcode so wide on it, a little askew and noisy as scans are."""
    code = zxingcpp.create_barcode(text, zxingcpp.barcode_format_from_str(kind))
    bars = Image.fromarray(np.asarray(code.to_image(scale=6)))
    wide = round(millimetres / 25.4 * 300)
    high = wide if kind in {"QRCode", "DataMatrix"} else 180
    page = Image.new("L", (2480, 3508), 245)
    page.paste(bars.resize((wide, high)), (500, 700))
    page = page.rotate(1.3, Image.Resampling.BICUBIC, fillcolor=245).rotate(turn, expand=True)
    noise = np.random.default_rng(1).normal(0, 8, (page.height, page.width))
    Image.fromarray((np.asarray(page) + noise).clip(0, 255).astype(np.uint8)).save(path, dpi=(300, 300))
    return path


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
@pytest.mark.parametrize(("kind", "millimetres"), [("QRCode", 20), ("DataMatrix", 20), ("Code128", 50), ("Code39", 60)])
def test_a_sheet_is_found_however_it_lies(look: Any, tmp_path: Path, kind: str, millimetres: float, turn: int) -> None:
    path = page_with(tmp_path / "sheet.png", "PATCHT", kind, millimetres, turn=turn)
    assert look(path).separator == "PATCHT"


def test_any_other_barcode_and_text_alone_are_none(look: Any, tmp_path: Path) -> None:
    assert look(page_with(tmp_path / "other.png", "PATCHTX", "QRCode", 30)).separator == ""
    assert look(page_with(tmp_path / "lower.png", "patcht", "QRCode", 30)).separator == ""
    with pymupdf.open() as scan:
        scan.new_page().insert_textbox((60, 60, 540, 780), f"PATCHT {ENGLISH}")
        scan.save(tmp_path / "text.pdf")
    assert look(tmp_path / "text.pdf").separator == ""


def test_nobody_looks_for_barcodes_where_none_separates(tmp_path: Path, look: Any) -> None:
    assert look(page_with(tmp_path / "a.png", "PATCHT", "QRCode", 30), View()).separator == ""


@pytest.mark.parametrize("sizer", [page_size, large])
@pytest.mark.parametrize("text", ["PATCHT", "Next document 7/2026"])
def test_the_sheet_to_print_is_found_also_when_it_is_scanned(look: Any, tmp_path: Path, text: str, sizer: Any) -> None:
    with pymupdf.open(stream=barcodes.sheet(text), filetype="pdf") as sheet:
        image = sheet[0].get_pixmap(dpi=150, colorspace=pymupdf.csGRAY)
        scan = Image.frombytes("L", (image.width, image.height), image.samples).rotate(2, fillcolor=255)
    file = io.BytesIO()
    scan.save(file, "JPEG", quality=40, dpi=(150, 150))
    (tmp_path / "scan.jpg").write_bytes(file.getvalue())
    assert look(tmp_path / "scan.jpg", View(separators=("PATCHT", text)), sizer).separator == text


@pytest.mark.parametrize("text", ["", " ", "ü", "a\n", "x" * 41])
def test_a_text_that_no_sheet_can_hold_is_told(text: str) -> None:
    with pytest.raises(DocumentError, match="can't stand on a separator sheet"):
        barcodes.sheet(text)


# -- the whole way


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def drop(house: House, name: str, pages: str) -> None:
    """Drop a PDF of pages as in `document`."""
    with pymupdf.open() as scan, pymupdf.open(stream=barcodes.sheet("PATCHT"), filetype="pdf") as sheet:
        for kind in pages:
            if kind == "|":
                scan.insert_pdf(sheet)
            else:
                page = scan.new_page()
                if kind != "_":
                    page.insert_text((60, 60), f"Page {kind}")
        path = house.path(f"inbox/{name}")
        path.parent.mkdir(exist_ok=True)
        scan.save(path)


def markers(house: House, name: str) -> list[int]:
    return front_matter.pages_of(house.path(f"outbox/{name}").read_text())


ALL = ["markdown", "json", "text", "html", "pdf"]


def test_the_parts_go_out_with_all_that_is_theirs_and_the_original_is_archived_once(house: House) -> None:
    house.configure(watch={"split": "barcode", "outputs": ALL}, says="words")
    drop(house, "sub/a.pdf", "ab|_c|d")
    assert house.start("once").wait(120) == 0
    assert house.files("archive") == ["sub/a.pdf"]
    assert house.files("outbox") == sorted(
        f"sub/a-{n}.{ending}" for n in (1, 2, 3) for ending in ("md", "json", "txt", "html", "pdf")
    )
    assert sorted(house.reads()) == [0, 1, 4, 6], "a separator sheet was read"
    assert [markers(house, f"sub/a-{n}.md") for n in (1, 2, 3)] == [[1, 2], [3, 4, 5], [6, 7]]
    text = house.path("outbox/sub/a-2.md").read_text()
    assert "> *Page 3 is a separator sheet (PATCHT).*" in text
    facts = yaml.safe_load(text.split("---\n")[1])
    assert (facts["part"], facts["pages"], facts["source"], facts["status"]) == ("2 of 3", 7, "sub/a.pdf", "complete")
    told = json.loads(house.path("outbox/sub/a-3.json").read_text())
    assert (told["part"], [page["page"] for page in told["pages"]]) == ("3 of 3", [6, 7])
    assert house.path("outbox/sub/a-1.txt").read_text() == "words\n\fwords\n"
    html = house.path("outbox/sub/a-2.html").read_text()
    assert "<title>sub/a.pdf, part 2 of 3</title>" in html
    assert re.findall('<section id="page-(.*?)"', html) == ["3", "4", "5"]
    with pymupdf.open(house.path("outbox/sub/a-2.pdf")) as part, pymupdf.open(house.path("archive/sub/a.pdf")) as scan:
        assert len(part) == 3
        assert part[0].get_pixmap().samples == scan[2].get_pixmap().samples
        assert "words" not in part[0].get_text()
        assert "words" in part[2].get_text()
    [line] = house.events("delivered")
    assert line["path"] == str(house.path("outbox/sub/a-3.md"))


def test_a_scan_of_one_document_stays_whole(house: House) -> None:
    house.configure(watch={"split": "blank"})
    for name, pages in (("a.pdf", "ab_"), ("b.pdf", "_c"), ("c.pdf", "d|e")):
        drop(house, name, pages)
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == ["a.md", "b.md", "c.md"]
    assert "part:" not in house.path("outbox/a.md").read_text()


def test_blank_pages_alone_are_one_document(house: House) -> None:
    house.configure(watch={"split": "blank"})
    drop(house, "a.pdf", "___")
    assert house.start("once").wait(120) == 0
    assert markers(house, "a.md") == [1, 2, 3]


def test_the_parts_share_one_free_name_and_their_figures_are_found(house: House) -> None:
    says = "<|ref|>image<|/ref|><|det|>[[100, 100, 900, 500]]<|/det|>\nwords"
    house.configure(watch={"split": "blank"}, says=says)
    house.path("outbox").mkdir()
    house.path("outbox/a-2.md").write_text("mine")
    house.path("outbox/a (2).assets").mkdir()
    drop(house, "a.pdf", "a_b")
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == [
        *(f"a (3)-{n}.md" for n in (1, 2)),
        *(f"a (3).assets/page-{n}-figure-1.jpg" for n in (1, 3)),
        "a-2.md",
    ]
    assert "](a%20%283%29.assets/page-3-figure-1.jpg)" in house.path("outbox/a (3)-2.md").read_text()


def test_pages_read_before_the_setting_changed_are_read_again(house: House) -> None:
    house.configure(hold=7)
    drop(house, "a.pdf", "ab|cdefgh")
    daemon = house.start()
    wait_for(lambda: len(house.reads()) > 7)
    daemon.kill()
    daemon.wait()
    house.configure(watch={"split": "barcode"})
    assert house.start("once").wait(120) == 0
    assert [markers(house, f"a-{n}.md") for n in (1, 2)] == [[1, 2], [3, 4, 5, 6, 7, 8, 9]]


def test_a_part_can_be_read_again_and_the_history_has_one_line_for_a_scan(
    house: House, ocrd: Callable[..., Any]
) -> None:
    house.configure(watch={"split": "blank", "outputs": ALL}, says="before")
    drop(house, "a.pdf", "ab_cd")
    assert house.start("once").wait(120) == 0
    assert len(ocrd("history").stdout.splitlines()) == 1
    house.configure(watch={"split": "blank", "outputs": ALL}, says="after")
    told = ocrd("rerun", "a.pdf", "--pages", "4")
    assert (told.returncode, "a-1.md" in told.stderr, "a-2.md" in told.stderr) == (65, True, True)
    assert "has no page 4" in ocrd("rerun", "a-1", "--pages", "4").stderr
    assert ocrd("rerun", "a-2", "--pages", "4").returncode == 0
    assert house.start("once").wait(120) == 0
    assert markers(house, "a-2.md") == [3, 4, 5]
    assert house.path("outbox/a-2.txt").read_text().split("\n\f")[1:] == ["after", "before\n"]
    assert re.findall("<p>(before|after)</p>", house.path("outbox/a-2.html").read_text()) == ["after", "before"]
    with pymupdf.open(house.path("outbox/a-2.pdf")) as part:
        assert ["after" in page.get_text() for page in part] == [False, True, False]
    assert len(house.events("reread")) == 1


def test_the_command_writes_a_sheet_and_nothing_over_another(tmp_path: Path, run_python: Callable[..., Any]) -> None:
    path = tmp_path / "sheet.pdf"
    assert run_python("-m", "ocrd", "split-sheet", path).returncode == 0
    with pymupdf.open(path) as sheet:
        assert "PATCHT" in sheet[0].get_text()
    again = run_python("-m", "ocrd", "split-sheet", path, "--text", "B")
    assert (again.returncode, "There is already a file" in again.stderr) == (74, True)
    wrong = run_python("-m", "ocrd", "split-sheet", tmp_path / "b.pdf", "--text", "ü")
    assert (wrong.returncode, "can't stand on a separator sheet" in wrong.stderr) == (65, True)


def test_a_duplicate_links_to_every_part(house: House) -> None:
    house.configure(watch={"split": "blank", "duplicates": "link"})
    drop(house, "a.pdf", "a_b_c")
    assert house.start("once").wait(120) == 0
    house.path("inbox/sub").mkdir()
    shutil.copy(house.path("archive/a.pdf"), house.path("inbox/sub/b.pdf"))
    assert house.start("once").wait(120) == 0
    assert "as a.pdf, in 3 parts: [1](../a-1.md), [2](../a-2.md), [3](../a-3.md)." in (
        house.path("outbox/sub/b.md").read_text()
    )


def test_a_duplicate_links_to_a_part_that_was_renamed(house: House) -> None:
    house.configure(watch={"split": "blank", "duplicates": "link"})
    drop(house, "a.pdf", "a_b_c")
    assert house.start("once").wait(120) == 0
    house.path("outbox/a-2.md").rename(house.path("outbox/The second.md"))
    shutil.copy(house.path("archive/a.pdf"), house.path("inbox/b.pdf"))
    assert house.start("once").wait(120) == 0
    assert "[1](a-1.md), [2](The%20second.md), [3](a-3.md)." in house.path("outbox/b.md").read_text()


def test_a_duplicate_links_to_parts_of_which_the_last_was_renamed_or_that_were_sorted_away(house: House) -> None:
    house.configure(watch={"split": "blank", "duplicates": "link"})
    drop(house, "a.pdf", "a_b")
    assert house.start("once").wait(120) == 0
    house.path("outbox/2026").mkdir()
    for number, name in ((1, "a-1.md"), (2, "The last.md")):
        house.path(f"outbox/a-{number}.md").rename(house.path(f"outbox/2026/{name}"))
    shutil.copy(house.path("archive/a.pdf"), house.path("inbox/b.pdf"))
    assert house.start("once").wait(120) == 0
    assert "[1](2026/a-1.md), [2](2026/The%20last.md)." in house.path("outbox/b.md").read_text()


def test_convert_splits_where_it_is_asked_to(house: House, ocrd: Callable[..., Any]) -> None:
    drop(house, "a.pdf", "a_b")
    scan = house.path("inbox/a.pdf").rename(house.root / "a.pdf")
    told = ocrd("convert", scan, "--split", "blank", "-c", house.root / "ocrd.yaml")
    assert told.stdout.split() == [str(house.root / f"a-{part}.md") for part in (1, 2)], told.stderr
    assert ocrd("convert", scan, "-c", house.root / "ocrd.yaml").returncode == 0
    assert sorted(path.name for path in house.root.glob("*.md")) == ["a-1.md", "a-2.md", "a.md"]


def test_a_barcode_on_a_page_of_text_begins_a_document_and_the_page_is_read(tmp_path: Path) -> None:
    with pymupdf.open(stream=barcodes.sheet("PATCHT"), filetype="pdf") as sheet, pymupdf.open() as letter:
        page = letter.new_page()
        page.show_pdf_page(pymupdf.Rect(400, 20, 580, 270), sheet, 0)
        page.insert_textbox((60, 60, 390, 800), ENGLISH, fontsize=11)
        letter.save(tmp_path / "letter.pdf")
        sheet.save(tmp_path / "sheet.pdf")
    renderer = Sync()
    found = [renderer.page(tmp_path / name, view=TEXTS).facts for name in ("letter.pdf", "sheet.pdf")]
    renderer.close()
    assert [facts.separator for facts in found] == ["PATCHT", "PATCHT"]
    assert [facts.is_sheet for facts in found] == [False, True]


def test_the_part_s_front_matter_says_which_pages_of_the_scan_it_has() -> None:
    parts = split.parts(document("a_b|cd"), "barcode")
    told = [front_matter.facts(part).get("pages_of_scan") for part in parts]
    assert told == ["1-3", "4-6"]
    assert "pages_of_scan" not in front_matter.facts(document("ab"))
    assert front_matter.ranges([9, 1, 3, 2, 5]) == "1-3,5,9"


@pytest.mark.parametrize(
    ("pages", "how", "separating"),
    [
        ("a|_b", "barcode", (2, 3)),
        ("a_b", "barcode", ()),
        ("a_b__", "blank", (2, 4, 5)),
        ("Ab", "barcode", ()),
        ("|_", "barcode", ()),
    ],
)
def test_the_pages_that_only_separate_are_known(pages: str, how: split.Separator, separating: tuple[int, ...]) -> None:
    assert split.separation(document(pages), how) == separating


def test_the_sheets_can_be_left_out_of_the_pdf_also_after_a_rerun(house: House, ocrd: Callable[..., Any]) -> None:
    watch = {"split": "barcode", "outputs": ["markdown", "pdf"], "separators_in_pdf": False}
    house.configure(watch=watch, says=f"{SAYS_WHERE}before")
    drop(house, "a.pdf", "a|_bc")
    assert house.start("once").wait(120) == 0
    assert markers(house, "a-2.md") == [2, 3, 4, 5]
    facts = yaml.safe_load(house.path("outbox/a-2.md").read_text().split("---\n")[1])
    assert (facts["pages_of_scan"], facts["not_in_pdf"]) == ("2-5", [2, 3])
    house.configure(watch=watch, says=f"{SAYS_WHERE}after")
    assert ocrd("rerun", "a-2", "--pages", "5").returncode == 0
    assert house.start("once").wait(120) == 0
    with pymupdf.open(house.path("outbox/a-2.pdf")) as part, pymupdf.open(house.path("archive/a.pdf")) as scan:
        assert ["after" in page.get_text() for page in part] == [False, True]
        assert [page.get_pixmap().samples for page in part] == [scan[number].get_pixmap().samples for number in (3, 4)]


@pytest.mark.parametrize("text", ["", " ", " DOC", "DOC ", "A\nB"])
def test_a_separator_that_no_barcode_can_hold_is_refused(house: House, ocrd: Callable[..., Any], text: str) -> None:
    house.configure(watch={"separators": ["PATCHT", text]})
    told = ocrd("check")
    assert told.returncode == 78
    assert f"{text!r} would match none" in told.stderr


def test_a_separator_can_be_a_pattern(tmp_path: Path) -> None:
    for name, text in (("a", "DOC-0017"), ("b", "INV-1"), ("c", "[X]")):
        (tmp_path / f"{name}.pdf").write_bytes(barcodes.sheet(text))
    renderer = Sync()
    view = View(separators=("DOC-*", "[X]"))
    found = [renderer.page(tmp_path / f"{name}.pdf", view=view).facts.separator for name in "abc"]
    renderer.close()
    assert found == ["DOC-0017", "", "[X]"]
