"""The review page: made from what was delivered, harmless, and really seen in a browser."""

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pymupdf
import pytest
from browser import needs_browser, printed, screenshot
from house import House
from PIL import Image, ImageChops
from preloaded import Completed

from ocrd.commands.review_html import ReviewPage, html
from ocrd.markup.layout_blocks import Block
from ocrd.model import Verdict

SAYS = """<|ref|>title<|/ref|><|det|>[[100, 60, 900, 110]]<|/det|>
# Quarterly report

<|ref|>text<|/ref|><|det|>[[100, 140, 900, 300]]<|/det|>
Sales rose by \\(7\\,\\%\\) where a < b <script>document.title="owned"</script> [here](javascript:alert(1)).

<|ref|>table<|/ref|><|det|>[[100, 330, 600, 450]]<|/det|>
<table onclick="alert(1)"><tr><td colspan="2">Both</td></tr><tr><td>x</td><td>y</td></tr></table>

<|ref|>image<|/ref|><|det|>[[500, 500, 950, 950]]<|/det|>"""
NARROW, WIDE = (500, 1300), (1400, 1300)  # Chromium has no window narrower than 500


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    house = House(tmp_path_factory.mktemp("delivered"))
    house.configure(watch={"outputs": ["markdown", "json"]}, says=SAYS, fail_page=1)
    with pymupdf.open() as document:
        for number in range(3):
            page = document.new_page(width=400, height=560)
            page.draw_rect(pymupdf.Rect(200, 280, 380, 532), color=None, fill=(0.85, 0.1, 0.1))
            page.insert_text((40, 60), f"Quarterly report, page {number + 1}", fontsize=18)
        (house.path("inbox/sub")).mkdir()
        document.save(house.path("inbox/sub/report.pdf"))
    assert house.start("once").wait(120) == 0
    yield house.root
    house.close()


@pytest.fixture
def house(tmp_path: Path, delivered: Path) -> House:
    """Give a copy of the folders of which a document with a bad second page was delivered."""
    shutil.copytree(delivered, tmp_path / "copy")
    house = House(tmp_path / "copy")
    house.configure(watch={"outputs": ["markdown", "json"]})
    return house


def review(house: House, name: str = "sub/report", **options: object) -> Completed:
    return house.command("review", name, "-o", house.root / "review.html", **options)


def test_into_a_folder_it_goes_under_its_own_name(house: House) -> None:
    (house.root / "pages").mkdir()
    for output, cwd in ((house.root / "pages", house.root), (Path(), house.root / "pages")):
        told = house.command("review", "sub/report", "-o", output, cwd=cwd)
        assert told.returncode == 0, told.stderr
    assert sorted(path.name for path in (house.root / "pages").iterdir()) == [
        "report.review (2).html",
        "report.review.html",
    ]


def made(house: House, name: str = "sub/report") -> str:
    done = review(house, name)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip()).read_text()


class Seen(HTMLParser):
    """Gathers the tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("gone", ["json", "md", "neither"])
def test_pages_with_problems_come_first_and_each_has_its_image_and_its_text(house: House, gone: str) -> None:
    house.path(f"outbox/sub/report.{gone}").unlink(missing_ok=True)
    page = made(house)
    assert re.findall(r'<section id="p(\d)">', page) == ["2", "1", "3"]
    assert page.count("data:image/webp;base64,") == 3
    assert page.count("Quarterly report</h1>") == 2
    assert '<td colspan="2">Both</td>' in page
    assert "this page" in page[page.index('id="p2"') : page.index('id="p1"')], "the reason is told"
    assert page.count("<rect ") == (0 if gone == "json" else 8)


def test_it_holds_no_script_no_handler_and_nothing_from_elsewhere(house: House) -> None:
    page = made(house)
    assert "&lt;script&gt;" in page
    tags = Seen(page).tags
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & {tag for tag, _ in tags}
    for tag, attributes in tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        for name in ("src", "href"):
            if name in attributes:
                assert str(attributes[name]).startswith("data:image/webp;" if name == "src" else "#"), (tag, attributes)
    [policy] = [attributes["content"] for _, attributes in tags if attributes.get("http-equiv")]
    assert policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_an_original_that_is_gone_leaves_the_text(house: House) -> None:
    house.path("outbox/sub/report.json").unlink()
    house.path("archive/sub/report.pdf").unlink()
    page = made(house)
    assert "data:image" not in page
    assert page.count("can not be shown") == 3
    assert page.count("Quarterly report</h1>") == 2


def test_the_original_is_known_by_its_bytes_not_by_its_name(house: House) -> None:
    archived = house.path("archive/sub/report.pdf")
    archived.rename(archived.with_name("report (2).pdf"))
    archived.write_bytes(b"%PDF-1.7 another")
    assert made(house).count("data:image/webp;base64,") == 3


def test_the_scan_s_own_name_means_its_document(house: House) -> None:
    assert made(house, "sub/report.pdf") == made(house, "sub/report.md")


@pytest.mark.parametrize("name", ["nothing", "sub/other.pdf", "../escape"])
def test_a_name_that_is_no_sidecar_is_told(house: House, name: str) -> None:
    house.path("outbox/sub/report.json").unlink()
    done = review(house, name)
    assert done.returncode == 65
    assert "There is no" in done.stderr


def test_a_damaged_sidecar_is_told(house: House) -> None:
    house.path("outbox/sub/report.json").write_text('{"form": 1, "pages": [{}]}')
    done = review(house)
    assert done.returncode == 65
    assert "is not what ocrd wrote" in done.stderr


def red(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Find where the red figure of the original is seen."""
    mask = Image.eval(image.getchannel("R"), lambda level: 255 if level > 200 else 0)
    for other in ("G", "B"):
        low = Image.eval(image.getchannel(other), lambda level: 255 if level < 90 else 0)
        mask = Image.composite(mask, Image.new("L", mask.size), low)
    return mask.getbbox()


def ink(image: Image.Image, area: tuple[int, int, int, int]) -> float:
    """Share of an area that differs from its most frequent shade."""
    counts = image.crop(area).convert("L").histogram()
    paper = counts.index(max(counts))
    return sum(count for shade, count in enumerate(counts) if abs(shade - paper) > 60) / sum(counts)


@needs_browser
def test_the_original_and_its_text_are_really_seen_side_by_side_or_one_below_the_other(house: House) -> None:
    page = house.root / "review.html"
    page.write_text(re.sub(r'<section id="p2">.*?</section>', "", made(house), flags=re.DOTALL))  # it has no text
    wide = screenshot(page, WIDE)
    figure = red(wide)
    assert figure
    assert 100 < figure[0] < figure[2] < WIDE[0] // 2, "the original is at the left"
    assert (figure[3] - figure[1]) / (figure[2] - figure[0]) == pytest.approx(252 / 180, rel=0.15)
    assert 0.01 < ink(wide, (WIDE[0] // 2 + 20, 180, WIDE[0] - 60, 500)) < 0.4, "the text at the right"
    narrow = screenshot(page, NARROW)
    figure = red(narrow)
    assert figure
    assert figure[2] - figure[0] > NARROW[0] // 3, "the original has the whole width"
    assert 0.01 < ink(narrow, (30, figure[3] + 60, 470, figure[3] + 400)) < 0.4, "the text is below"


@needs_browser
def test_it_is_dark_where_the_reader_wants_that(house: House) -> None:
    made(house)
    shades = [screenshot(house.root / "review.html", WIDE, dark=dark).getpixel((5, 500)) for dark in (False, True)]
    assert min(shades[0]) > 230  # type: ignore[type-var, arg-type]
    assert max(shades[1]) < 60  # type: ignore[type-var, arg-type]


def test_a_document_of_several_images_is_shown(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.configure(watch={"join": "subfolder", "outputs": ["markdown", "json"]})
    house.path("inbox/f").mkdir()
    for number in (1, 2):
        image = Image.new("L", (300, 400), 255)
        image.paste(0, (40, 40, 260, 100 * number))
        image.save(house.path(f"inbox/f/{number}.png"))
    assert house.start("once").wait(120) == 0
    shown = Seen(made(house, "f")).tags
    house.close()
    assert len([attrs for tag, attrs in shown if tag == "img"]) == 2


def test_the_keyboard_comes_to_the_first_page_past_the_pages_without_problems(house: House) -> None:
    links = [attrs for tag, attrs in Seen(made(house)).tags if tag == "a"]
    assert links[0] == {"class": "skip", "href": "#p2"}, "the page with a problem comes first"
    chips = {attrs["href"]: attrs.get("tabindex") for attrs in links if "chip" in str(attrs.get("class"))}
    assert chips == {"#p1": "-1", "#p2": None, "#p3": "-1"}


def test_every_page_is_found_also_where_its_marker_stands_within_a_paragraph(house: House) -> None:
    house.path("outbox/sub/report.json").unlink()
    sidecar = house.path("outbox/sub/report.md")
    front = sidecar.read_text().partition("\n---\n")[0]
    sidecar.write_text(
        f"{front}\n---\n\n<!-- page 1 -->\n\n<!-- header -->\nAnnual\n\nan example <!-- divided exam- ple --> "
        "<!-- page 2 --> that goes <!-- page 3 --> on.\n"
    )
    page = made(house)
    assert sorted(re.findall(r'<section id="p(\d)">', page)) == ["1", "2", "3"]
    assert "divided" not in page
    assert "&lt;!--" not in page


# The index of all problems


def index(house: House, *options: str) -> Completed:
    return house.command("review", "--problems", *options, cwd=house.root)


def bad_sidecar(name: str, verdict: str, reason: str, pages: int = 1) -> str:
    problems = "".join(f"- {{page: {n}, verdict: {verdict}, reason: {reason}}}\n" for n in range(1, pages + 1))
    facts = f"source: {name}.pdf\nsha256: {'ab' * 32}\npages: {pages}\nstatus: partial\ndate: '2026-01-02'\n"
    text = "".join(f"<!-- page {n} -->\n\nwords\n\n" for n in range(1, pages + 1))
    return f"---\n{facts}problems:\n{problems}---\n\n{text}"


@pytest.fixture
def troubled(house: House) -> House:
    """Give folders of three more documents with problems, of which the originals are gone, and one without."""
    for name, verdict, pages in (("a", "suspect", 3), ("b", "repeated", 1), ("c & <d>", "suspect", 1)):
        house.path(f"outbox/{name}.md").write_text(bad_sidecar(name, verdict, f"it is {verdict}", pages))
    good = re.sub(r"problems:\n(- .*\n)+", "problems: []\n", bad_sidecar("good", "suspect", "x"))
    house.path("outbox/good.md").write_text(good.replace("partial", "complete"))
    return house


def test_the_index_has_every_document_with_problems_the_worst_first(troubled: House) -> None:
    done = index(troubled)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "problems/index.html"
    page = (troubled.root / "problems/index.html").read_text()
    titles = re.findall(r"<h2><a href=\"[^\"]*\">(.*?)</a>", page)
    assert titles == ["sub/report", "b", "a", "c &amp; &lt;d&gt;"], "failed, repeated, three suspect pages, one"
    assert "6 pages to look at in 4 documents" in page
    assert page.count("data:image/webp;base64,") == 1, "of the one whose original is there"
    assert "this page" in page


def test_every_link_of_the_index_leads_to_a_page_beside_it(troubled: House) -> None:
    index(troubled, "-o", "look")
    folder = troubled.root / "look"
    links = [str(attrs["href"]) for tag, attrs in Seen((folder / "index.html").read_text()).tags if tag == "a"]
    assert len(links) == 4 + 6
    for link in links:
        name, _, place = unquote(link).partition("#")
        review = (folder / name).read_text()
        assert not place or f'id="{place}"' in review
    assert 'id="p1"' not in (folder / "sub - report.review.html").read_text(), "only the pages to look at"


def test_the_index_holds_no_script_and_nothing_from_elsewhere(troubled: House) -> None:
    index(troubled)
    tags = Seen((troubled.root / "problems/index.html").read_text()).tags
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & {tag for tag, _ in tags}
    sources = [str(attrs["src"]) for _, attrs in tags if "src" in attrs]
    assert sources
    assert all(source.startswith("data:image/webp;base64,") for source in sources)


def test_where_no_page_has_problems_there_is_no_index(house: House) -> None:
    for path in house.path("outbox/sub").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = index(house)
    assert (done.returncode, done.stdout.strip()) == (0, "No document tells of a page to look at.")
    assert not (house.root / "problems").exists()


def test_a_folder_that_is_there_is_left_alone(house: House) -> None:
    (house.root / "problems").mkdir()
    done = index(house)
    assert done.returncode == 65
    assert "is there already" in done.stderr


def test_a_damaged_sidecar_does_not_keep_the_others_from_the_index(troubled: House) -> None:
    troubled.path("outbox/b.json").write_text('{"form": 1, "pages": [{}]}')
    done = index(troubled)
    assert done.returncode == 0, done.stderr
    assert "3 documents" in (troubled.root / "problems/index.html").read_text()


@pytest.mark.parametrize("wrong", [["--problems", "sub/report"], []])
def test_either_a_name_or_problems_is_wanted(house: House, wrong: list[str]) -> None:
    done = house.command("review", *wrong)
    assert done.returncode == 2
    assert "--problems" in done.stderr


@needs_browser
def test_the_index_is_really_seen_with_its_thumbnails(troubled: House) -> None:
    index(troubled)
    page = troubled.root / "problems/index.html"
    for size in (WIDE, NARROW):
        view = screenshot(page, size)
        figure = red(view)
        assert figure, "the original of the failed page is seen"
        assert figure[1] < size[1] // 2, "and the worst comes first"
        assert figure[2] - figure[0] < 120, "small"
        assert 0.005 < ink(view, (20, 60, size[0] - 20, 700)) < 0.4
    assert min(screenshot(page, WIDE, dark=True).getpixel((5, 900))) < 60  # type: ignore[type-var, arg-type]


@needs_browser
def test_boxes_are_seen_with_the_order_of_their_blocks(house: House) -> None:
    page = made(house)
    assert re.findall(r"<text [^>]*>(\d+)</text>", page) == ["1", "2", "3", "4"] * 2
    assert [label for label, *_ in re.findall(r'class="place" [^>]*>(\d: \w+)</a>', page)]
    lone = house.root / "lone.html"
    text = re.sub(r'<section id="p[23]">.*?</section>', "", page, flags=re.DOTALL)
    lone.write_text(text)
    with_numbers = screenshot(lone, WIDE)
    lone.write_text(re.sub(r"<text [^>]*>\d+</text>", "", text))
    without = screenshot(lone, WIDE)
    changed = ImageChops.difference(with_numbers, without).getbbox()
    assert changed
    assert changed[2] < WIDE[0] // 2 + 40, "on the original, at the left"


# Corrected, printed, by the keyboard


def test_what_was_corrected_in_the_markdown_is_shown_and_the_other_pages_keep_their_boxes(house: House) -> None:
    sidecar = house.path("outbox/sub/report.md")
    text = sidecar.read_text()
    first, rest = text.split("<!-- page 3 -->")
    sidecar.write_text(first.replace("Sales rose", "Profits rose") + "<!-- page 3 -->" + rest.replace("\n\n", "\n\n\n"))
    page = made(house)
    one, three = page[page.index('id="p1"') : page.index('id="p3"')], page[page.index('id="p3"') :]
    assert "Profits rose" in one
    assert "Sales rose" not in one
    assert "as corrected by hand" in one
    assert "as corrected by hand" not in three, "empty lines change nothing"
    assert (one.count("<rect "), three.count("<rect ")) == (0, 4)


@pytest.mark.parametrize(
    "settings", [{"running": "drop"}, {"tables": "html"}, {"running": "keep", "front_matter": False}]
)
def test_a_text_that_nobody_touched_is_not_taken_for_corrected(tmp_path: Path, settings: dict[str, object]) -> None:
    house = House(tmp_path)
    says = f"{SAYS}\n\n<|ref|>footer<|/ref|><|det|>[[100, 960, 900, 990]]<|/det|>\nACME 7"
    house.configure(watch={"outputs": ["markdown", "json"], **settings}, says=says)
    house.drop("a.pdf", pages=3)
    assert house.start("once").wait(120) == 0
    assert "as corrected by hand" not in made(house, "a")
    house.close()


def test_a_document_of_which_only_text_was_delivered_is_shown(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.configure(watch={"outputs": ["text"]}, says="a < b\n# no heading")
    house.drop("a.pdf", pages=3)
    assert house.start("once").wait(120) == 0
    page = made(house, "a.pdf")
    assert page.count("data:image/webp;base64,") == 3
    assert page.count("a &lt; b") == 3
    house.close()


def test_from_each_problem_the_first_link_leads_to_the_next() -> None:
    pages = [
        ReviewPage(number, Verdict("suspect" if number % 2 else "ok"), "", b"", (1, 1), []) for number in range(1, 6)
    ]
    page = html("t", [], pages)
    first = [re.search(r"<a [^>]*>", section) for section in page.split("<section ")[1:]]
    assert [link and link[0] for link in first] == [
        '<a class="step" href="#p3" accesskey="n">',
        '<a class="step" href="#p5" accesskey="n">',
        '<a class="step" href="#p3" accesskey="p">',
        None,
        None,
    ]


@needs_browser
def test_on_paper_each_page_stands_beside_its_picture_on_one_sheet(house: House) -> None:
    page = house.root / "review.html"
    made(house)
    with pymupdf.open(printed(page)) as pdf:
        assert len(pdf) == 3
        for sheet, number in zip(pdf, (2, 1, 3), strict=True):
            assert sheet.rect.width > sheet.rect.height
            assert f"Page {number}" in sheet.get_text()
            pictures = [pymupdf.Rect(image["bbox"]) for image in sheet.get_image_info()]
            assert len(pictures) == 1
            assert sheet.rect.contains(pictures[0])
            assert pictures[0].height > sheet.rect.height / 2
            words = [word for word in sheet.get_text("words") if word[4] in {"Sales", "Both"}]
            assert all(word[0] > pictures[0].x1 for word in words)
            strokes = [shape for shape in sheet.get_drawings() if shape.get("color") and 0.5 < shape["color"][2] < 0.6]
            boxes = [shape["rect"] for shape in strokes if shape["rect"].width > 20]
            assert all(box in pictures[0] + (-3, -3, 3, 3) for box in boxes), [pictures, boxes]
            assert len(boxes) == (0 if number == 2 else 4)


@needs_browser
def test_a_long_text_goes_on_over_sheets_and_nothing_else_does(tmp_path: Path) -> None:
    blocks = [Block("text", (), " ".join(f"word{number}" for number in range(2500)))]
    short = [Block("text", (), "short")]
    page = tmp_path / "long.html"
    page.write_text(
        html(
            "t",
            [],
            [ReviewPage(1, Verdict.OK, "", b"", (1, 1), blocks), ReviewPage(2, Verdict.OK, "", b"", (1, 1), short)],
        )
    )
    with pymupdf.open(printed(page)) as pdf:
        words = " ".join(sheet.get_text() for sheet in pdf).split()
        assert [word for word in words if word.startswith("word")] == [f"word{number}" for number in range(2500)]
        assert all(sheet.get_text("words") for sheet in pdf)
        assert "short" in pdf[-1].get_text()
        assert "word" not in pdf[-1].get_text()
