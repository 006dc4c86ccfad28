"""What the real daemon delivers of a scan: Markdown with figures, JSON, text, and a PDF that can be searched."""

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pymupdf
import pytest
from house import House
from PIL import Image, ImageDraw

SAYS = """<|ref|>title<|/ref|><|det|>[[80, 50, 900, 100]]<|/det|>
# Отчёт 報告 Report

<|ref|>image<|/ref|><|det|>[[500, 500, 999, 999]]<|/det|>

<|ref|>image_caption<|/ref|><|det|>[[80, 700, 400, 740]]<|/det|>
<center>Figure 1. A square</center>

<|ref|>table<|/ref|><|det|>[[80, 300, 400, 400]]<|/det|>
<table><tr><td>pears</td><td>7</td></tr></table>"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    house.configure(watch={"outputs": ["markdown", "json", "text", "pdf"]}, says=SAYS)
    yield house
    house.close()


def drop(house: House, name: str) -> None:
    """Drop a PDF of a red page whose lower right quarter is blue."""
    with pymupdf.open() as document:
        page = document.new_page(width=400, height=600)
        page.draw_rect(page.rect, fill=(1, 0, 0))
        page.draw_rect(pymupdf.Rect(200, 300, 400, 600), color=None, fill=(0, 0, 1))
        document.save(house.path(f"inbox/{name}"))


def test_all_outputs_share_a_name_and_the_figure_is_cropped_from_its_place(house: House) -> None:
    drop(house, "Übersicht 1.pdf")
    assert house.start("once").wait(120) == 0
    name = "Übersicht 1"
    assert house.files("outbox") == sorted(
        [f"{name}.assets/page-1-figure-1.jpg", *(f"{name}.{ending}" for ending in ("json", "md", "pdf", "txt"))]
    )
    text = house.path(f"outbox/{name}.md").read_text()
    assert "# Отчёт 報告 Report" in text
    assert "![Page 1, figure 1](%C3%9Cbersicht%201.assets/page-1-figure-1.jpg)\n\n*Figure 1. A square*\n" in text
    assert "| pears | 7 |" in text
    figure = Image.open(house.path(f"outbox/{name}.assets/page-1-figure-1.jpg"))
    assert figure.size == pytest.approx((835, 1250), abs=8)  # 200 by 300 points at 300 dpi
    for place in ((5, 5), (figure.width - 5, figure.height - 5)):
        assert figure.getpixel(place) == pytest.approx((0, 0, 255), abs=8)


def test_json_and_text_tell_the_page(house: House) -> None:
    drop(house, "a.pdf")
    assert house.start("once").wait(120) == 0
    assert house.path("outbox/a.txt").read_text() == "Отчёт 報告 Report\n\nFigure 1. A square\n\npears\t7\n"
    told = json.loads(house.path("outbox/a.json").read_text())
    [page] = told["pages"]
    assert (told["source"], told["status"], page["verdict"], page["finish_reason"]) == (
        "a.pdf",
        "complete",
        "ok",
        "stop",
    )
    assert page["size"] == [400, 600]
    assert [block["label"] for block in page["blocks"]] == ["title", "image", "image_caption", "table"]
    assert page["blocks"][1]["boxes"] == [[0.5005, 0.5005, 1, 1]]
    assert page["figures"] == ["page-1-figure-1.jpg"]
    assert page["read"] == SAYS


def test_the_pdf_shows_the_same_page_and_its_text_is_found_at_its_place(house: House) -> None:
    drop(house, "a.pdf")
    assert house.start("once").wait(120) == 0
    with pymupdf.open(house.path("archive/a.pdf")) as before, pymupdf.open(house.path("outbox/a.pdf")) as after:
        assert before[0].get_pixmap().samples == after[0].get_pixmap().samples, "the text can be seen"
        assert "Отчёт 報告 Report" in after[0].get_text()
        [found] = after[0].search_for("報告")
        assert found in pymupdf.Rect(0.08 * 400, 0.05 * 600, 0.9 * 400, 0.1 * 600 + 3)
        [found] = after[0].search_for("pears")
        assert found in pymupdf.Rect(0.08 * 400 - 1, 0.3 * 600 - 9, 0.4 * 400, 0.4 * 600 + 9)


@pytest.mark.parametrize("form", ["JPEG", "TIFF", "PNG"])
def test_an_image_becomes_a_pdf_of_its_own_pages(house: House, form: str) -> None:
    pages = [Image.new("L", (300, 400), shade) for shade in (250, 240)][: 2 if form == "TIFF" else 1]
    for page in pages:
        ImageDraw.Draw(page).text((60, 40), "A page that is not blank", fill=0)
    file = io.BytesIO()
    pages[0].save(
        file, form, dpi=(100, 100), **({"save_all": True, "append_images": pages[1:]} if form == "TIFF" else {})
    )
    house.path("inbox/a." + form.lower()).write_bytes(file.getvalue())
    assert house.start("once").wait(120) == 0
    with pymupdf.open(house.path("outbox/a.pdf")) as made:
        assert len(made) == len(pages)
        assert tuple(made[0].rect) == pytest.approx((0, 0, 216, 288), abs=0.01)
        assert "Отчёт 報告 Report" in made[-1].get_text()
        assert made[0].get_pixmap().pixel(5, 200) == (250, 250, 250)
        if form == "JPEG":
            assert made.extract_image(made[0].get_images()[0][0])["image"] == file.getvalue()


def test_a_figure_that_cannot_be_cropped_costs_only_itself_and_is_told(house: House) -> None:
    tiny = "<|ref|>image<|/ref|><|det|>[[1, 1, 3, 3]]<|/det|>\n"
    house.configure(says=tiny + SAYS)
    drop(house, "a.pdf")
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == ["a.assets/page-1-figure-2.jpg", "a.md"]
    text = house.path("outbox/a.md").read_text()
    assert "status: complete" in text
    assert "*(A picture on page 1 could not be cropped.)*" in text
    [told] = house.events("figures lost")
    assert (told["page"], told["figures"]) == (1, 1)


def test_no_figures_where_they_are_not_wanted(house: House) -> None:
    house.configure(watch={"figures": False}, says=SAYS)
    drop(house, "a.pdf")
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == ["a.md"]


def test_pdf_alone_can_be_wanted(house: House) -> None:
    house.configure(watch={"outputs": ["pdf"]}, says=SAYS)
    drop(house, "a.pdf")
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == ["a.pdf"]


def test_html_alone_holds_the_figure_itself_and_needs_no_folder(house: House) -> None:
    house.configure(watch={"outputs": ["html"]}, says=SAYS)
    drop(house, "a.pdf")
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == ["a.html"]
    html = house.path("outbox/a.html").read_text()
    [data] = re.findall('src="data:image/jpeg;base64,(.*?)"', html)
    assert Image.open(io.BytesIO(base64.b64decode(data))).getpixel((5, 5)) == pytest.approx((0, 0, 255), abs=8)
    assert "<h1>Отчёт 報告 Report</h1>" in html


def test_a_set_never_mixes_with_a_strangers_files(house: House) -> None:
    house.path("outbox/a.assets").mkdir(parents=True)
    house.path("outbox/a.assets/mine.txt").write_text("a stranger's")
    drop(house, "a.pdf")
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == [
        "a (2).assets/page-1-figure-1.jpg", "a (2).json", "a (2).md", "a (2).pdf", "a (2).txt", "a.assets/mine.txt",
    ]  # fmt: skip
    assert "](a%20%282%29.assets/page-1-figure-1.jpg)" in house.path("outbox/a (2).md").read_text()


def test_no_two_documents_have_one_stem_whatever_kinds_of_files_they_have(tmp_path: Path) -> None:
    house = House(tmp_path / "stems")
    for outputs in (["markdown"], ["json"], ["html"]):
        house.configure(watch={"outputs": outputs})
        house.drop("a.pdf")
        assert house.start("once").wait(120) == 0
    house.close()
    assert house.files("outbox") == ["a (2).json", "a (3).html", "a.md"]
