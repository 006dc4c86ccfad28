"""What the real daemon delivers of answers in the dialects of other models."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pymupdf
import pytest
from answers import LABELS, PAGE, Part, answer
from house import House
from PIL import Image
from simulated import small_page

SIZE = small_page(0, 0)
WATCH = {"outputs": ["markdown", "json", "text", "pdf"]}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def drop(house: House, name: str, pages: int = 1) -> None:
    """Drop a PDF of grey pages with a blue square where PAGE has its picture."""
    with pymupdf.open() as document:
        for _ in range(pages):
            page = document.new_page(width=600, height=800)
            page.draw_rect(page.rect, fill=(0.6, 0.6, 0.6))
            page.draw_rect(pymupdf.Rect(48, 320, 288, 480), color=None, fill=(0, 0, 1))
        document.save(house.path(f"inbox/{name}"))


def ocrd(house: House, command: str, *arguments: str) -> int:
    return house.command(command, *arguments).returncode


@pytest.mark.parametrize("dialect", ["det", "markdown-places", "html", "layout-json", "doctags"])
def test_a_scan_becomes_all_that_it_would_with_the_default_model(house: House, dialect: str) -> None:
    house.configure(watch=WATCH, says=answer(dialect, PAGE, SIZE), dialect=dialect)
    drop(house, "a.pdf")
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == ["a.assets/page-1-figure-1.jpg", "a.json", "a.md", "a.pdf", "a.txt"]
    text = house.path("outbox/a.md").read_text()
    assert "status: complete" in text
    assert "# Growth of the harbour\n" in text
    assert "![Page 1, figure 1](a.assets/page-1-figure-1.jpg)\n\n*Figure 1. The mole*\n" in text
    assert "| pears | 7 |\n" in text
    assert "$$E = mc^2$$" in text
    figure = Image.open(house.path("outbox/a.assets/page-1-figure-1.jpg"))
    assert figure.getpixel((figure.width // 2, figure.height // 2)) == pytest.approx((0, 0, 255), abs=8)
    assert figure.width / figure.height == pytest.approx(1.5, abs=0.05)
    (page,) = json.loads(house.path("outbox/a.json").read_text())["pages"]
    assert (page["verdict"], page["figures"]) == ("ok", ["page-1-figure-1.jpg"])
    labels = ["text" if dialect == "det" and label == "list" else label for label in LABELS]
    assert [block["label"] for block in page["blocks"]] == labels
    assert page["blocks"][6]["boxes"][0] == pytest.approx((0.08, 0.4, 0.48, 0.6), abs=0.01)
    assert "pears\t7\n" in house.path("outbox/a.txt").read_text()
    with pymupdf.open(house.path("outbox/a.pdf")) as made:
        [found] = made[0].search_for("Growth of the harbour")
        assert found.y0 == pytest.approx(0.06 * 800, abs=30)


def test_answers_in_another_dialect_are_suspect_and_the_log_says_so_once(house: House) -> None:
    house.configure(watch={**WATCH, "pages": {"text_layer": "ignore"}}, says="Only *words*.", dialect="layout-json")
    drop(house, "a.pdf", pages=3)
    assert house.start("once").wait(120) == 0
    pages = json.loads(house.path("outbox/a.json").read_text())["pages"]
    assert [page["verdict"] for page in pages] == ["suspect"] * 3
    assert "layout-json" in pages[0]["reason"]
    assert "Only *words*." in house.path("outbox/a.md").read_text()
    [told] = house.events("another dialect")
    assert (told["expected"], told["level"]) == ("layout-json", "warning")


def test_what_a_dialect_is_brought_into_is_what_the_record_of_a_page_keeps(house: House) -> None:
    page = [Part("text", (80, 130, 900, 300), "Words that are <|ref|>printed<|/ref|> so.")]
    house.configure(watch=WATCH, says=answer("html", page, SIZE), dialect="html")
    drop(house, "a.pdf")
    assert house.start("once").wait(120) == 0
    (page,) = json.loads(house.path("outbox/a.json").read_text())["pages"]
    assert [block["label"] for block in page["blocks"]] == ["text"]
    assert page["text"] == "Words that are <|ref|>printed<|/ref|> so."


def test_the_review_shows_markdown_of_a_dialect_as_markdown(house: House) -> None:
    page = [Part("title", (80, 56, 900, 110), "Growth"), Part("text", (80, 130, 900, 300), "* pears ⟨x_1⟩\n* plums")]
    house.configure(watch=WATCH, says=answer("layout-json", page, SIZE), dialect="layout-json")
    drop(house, "a.pdf")
    assert house.start("once").wait(120) == 0
    written = house.root / "review.html"
    assert ocrd(house, "review", "a", "-o", str(written)) == 0
    text = written.read_text()
    assert "as corrected by hand" not in text
    assert re.search(r"<li>pears \$x_1\$</li>\s*<li>plums</li>", text)
    assert text.count("<rect ") == 2


def test_a_page_is_read_again_in_a_dialect(house: House) -> None:
    page = [Part("title", (80, 56, 900, 110), "Growth"), Part("text", (80, 130, 900, 300), "One ⟨x_1⟩.")]
    house.configure(watch=WATCH, says="Nothing of it.", dialect="html")
    drop(house, "a.pdf", pages=2)
    assert house.start("once").wait(120) == 0
    house.configure(watch=WATCH, says=answer("html", page, SIZE), dialect="html")
    assert ocrd(house, "rerun", "a", "--pages", "2") == 0
    assert house.start("once").wait(120) == 0
    text = house.path("outbox/a.md").read_text()
    assert "# Growth\n\nOne $x_1$.\n" in text.partition("<!-- page 2 -->")[2]
    first, second = json.loads(house.path("outbox/a.json").read_text())["pages"]
    assert [first["verdict"], second["verdict"]] == ["suspect", "ok"]
    assert [block["label"] for block in second["blocks"]] == ["title", "text"]
