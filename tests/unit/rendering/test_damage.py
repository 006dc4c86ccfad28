"""A page is blank only if it was drawn whole: damaged files, of which libraries show what is left and go on."""

import io
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pymupdf
import pytest
from PIL import Image, ImageDraw, ImageFilter
from real_renderer import Sync

from ocrd.model import PageFacts, PageImage, PixelSize, Reading, Verdict
from ocrd.quality import verdict

FILES = Path(__file__).parents[2] / "files"
"""Small files made with other programs."""


@pytest.fixture(scope="module")
def renderer() -> Iterator[Sync]:
    made = Sync()
    yield made
    made.close()


def facts(renderer: Sync, path: Path, index: int = 0) -> PageFacts:
    return renderer.page(path, index).facts


def paper() -> Image.Image:
    """An empty sheet, with the grain of a scanner."""
    chance = random.Random(1)  # noqa: S311
    return Image.frombytes("L", (850, 1100), chance.randbytes(850 * 1100)).point(lambda level: 215 + level // 8)


def written() -> Image.Image:
    """A page with lines of words."""
    chance = random.Random(2)  # noqa: S311
    page = paper()
    draw = ImageDraw.Draw(page)
    for line in range(40):
        for word in range(10):
            draw.rectangle((80 + 70 * word, 60 + 25 * line, 110 + 70 * word + chance.randrange(25), 71 + 25 * line), 20)
    return page


def faded(page: Image.Image, dark: int, blur: float) -> Image.Image:
    """Bring all ink to levels from `dark` up, and soften it."""
    page = page.point([dark + level * (235 - dark) // 255 for level in range(256)])
    return page.filter(ImageFilter.GaussianBlur(blur))


def encoded(kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    image = written()
    (image.convert("1") if how.get("compression") == "group4" else image).save(file, kind, **how)
    return file.getvalue()


def holed(data: bytes, start: float, end: float) -> bytes:
    """Zeros in place of a share of the data."""
    first, last = int(len(data) * start), int(len(data) * end)
    return data[:first] + bytes(last - first) + data[last:]


def scanned(path: Path, change: Callable[[bytes], bytes] = bytes, kind: str = "JPEG") -> Path:
    """Make a PDF of one scan, whose encoded picture is changed."""
    image = written()
    data = encoded("JPEG") if kind == "JPEG" else zlib.compress(image.tobytes())
    filters = "DCTDecode" if kind == "JPEG" else "FlateDecode"
    with pymupdf.open() as document:
        page = document.new_page(width=595, height=842)
        picture, contents = document.get_new_xref(), document.get_new_xref()
        size = f"/Width {image.width}/Height {image.height}/BitsPerComponent 8"
        document.update_object(picture, f"<</Type/XObject/Subtype/Image/ColorSpace/DeviceGray{size}>>")
        document.update_stream(picture, change(data), compress=0)
        document.xref_set_key(picture, "Filter", f"/{filters}")
        document.update_object(contents, "<<>>")
        document.update_stream(contents, b"q 595 0 0 842 0 0 cm /P Do Q")
        document.xref_set_key(page.xref, "Resources", f"<</XObject<</P {picture} 0 R>>>>")
        document.xref_set_key(page.xref, "Contents", f"{contents} 0 R")
        document.save(path)
    return path


# Nothing to be seen


def test_a_page_whose_contents_can_not_be_decoded_is_not_blank(renderer: Sync) -> None:
    assert facts(renderer, FILES / "stream-bit-flipped.pdf").damage == "data of it can't be decoded"


def test_a_page_that_is_gone_is_not_blank_and_costs_no_other(renderer: Sync) -> None:
    pages = [facts(renderer, FILES / "page-object-zeroed.pdf", index) for index in range(4)]
    assert [page.damage for page in pages] == ["", "its own object is missing", "", ""]
    assert [bool(page.blank) for page in pages] == [False, True, False, False]


def test_a_page_whose_object_is_none_is_not_blank(renderer: Sync, tmp_path: Path) -> None:
    path = scanned(tmp_path / "scan.pdf")
    path.write_bytes(path.read_bytes().replace(b"<</Type/Page/", b"<\x1c/Type/Page/"))
    assert facts(renderer, path).damage == "its own object is missing"


def test_a_page_whose_contents_are_missing_is_not_blank(renderer: Sync, tmp_path: Path) -> None:
    data = scanned(tmp_path / "scan.pdf").read_bytes()
    start = data.index(b"q 595 0 0 842")
    start, end = data.rindex(b" 0 obj", 0, start) - 2, data.index(b"endobj", start) + 6
    (tmp_path / "scan.pdf").write_bytes(data[:start] + b" " * (end - start) + data[end:])
    assert facts(renderer, tmp_path / "scan.pdf").damage == "its contents are missing"


def test_a_page_whose_contents_hang_on_a_misspelt_name_is_not_blank(renderer: Sync, tmp_path: Path) -> None:
    path = scanned(tmp_path / "scan.pdf")
    path.write_bytes(path.read_bytes().replace(b"/Contents", b"/Cont5nts"))
    assert facts(renderer, path).damage == "its contents are missing"


def test_a_page_whose_measures_leave_its_text_outside_is_not_blank(renderer: Sync, tmp_path: Path) -> None:
    with pymupdf.open() as document:
        document.new_page(width=595, height=842).insert_text((72, 700), "beyond the end of the sheet")
        document.xref_set_key(document[0].xref, "MediaBox", "[0 400 595 842]")
        document.save(tmp_path / "scan.pdf")
    assert facts(renderer, tmp_path / "scan.pdf").damage == "its text lies outside of it"


def test_a_black_page_is_not_blank(renderer: Sync, tmp_path: Path) -> None:
    Image.new("L", (850, 1100), 6).save(tmp_path / "scan.png")
    assert facts(renderer, tmp_path / "scan.png").damage == "it is black all over"


def test_a_page_with_nothing_on_it_is_blank(renderer: Sync, tmp_path: Path) -> None:
    with pymupdf.open() as document:
        document.new_page()
        document.new_page().insert_text((72, 72), " ")
        document.new_page().draw_rect((0, 0, 595, 842), color=None, fill=(1, 1, 1))
        document.save(tmp_path / "scan.pdf", deflate=True)
    paper().save(tmp_path / "scan.jpg")
    for path, index in ((tmp_path / "scan.pdf", 0), (tmp_path / "scan.pdf", 1), (tmp_path / "scan.pdf", 2),
                        (tmp_path / "scan.jpg", 0)):  # fmt: skip
        page = facts(renderer, path, index)
        assert page.blank
        assert not page.damage


def test_contents_of_no_bytes_are_those_of_a_blank_page(renderer: Sync, tmp_path: Path) -> None:
    with pymupdf.open() as document:
        page, contents = document.new_page(), document.get_new_xref()
        document.update_object(contents, "<<>>")
        document.update_stream(contents, b"", compress=0)
        document.xref_set_key(contents, "Filter", "/FlateDecode")
        document.xref_set_key(page.xref, "Contents", f"{contents} 0 R")
        document.save(tmp_path / "scan.pdf")
    page = facts(renderer, tmp_path / "scan.pdf")
    assert page.blank
    assert not page.damage


def test_a_page_that_prints_letters_of_its_own_is_not_blank(renderer: Sync, tmp_path: Path) -> None:
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 72), "yellow on white", color=(1, 1, 0.7))
        document.new_page().insert_text((72, 72), "white on white", color=(1, 1, 1))
        document.new_page().insert_text((72, 72), "hidden", render_mode=3)
        document.save(tmp_path / "scan.pdf")
    pages = [facts(renderer, tmp_path / "scan.pdf", index) for index in range(3)]
    assert [bool(page.blank) for page in pages] == [False, True, True]
    assert pages[0].letters == len("yellowonwhite")
    assert not facts(renderer, FILES / "grey-text.pdf").blank


def test_pale_print_is_seen_and_what_shines_through_is_not(renderer: Sync, tmp_path: Path) -> None:
    faded(written(), 205, 0.5).save(tmp_path / "pale.png")
    faded(written().transpose(Image.Transpose.FLIP_LEFT_RIGHT), 205, 3).save(tmp_path / "through.png")
    pale = facts(renderer, tmp_path / "pale.png")
    assert not pale.blank
    assert pale.letters > 500
    assert facts(renderer, tmp_path / "through.png").blank


# Something to be seen


@pytest.mark.parametrize("kind", ["JPEG", "Flate"])
def test_a_picture_of_a_pdf_that_breaks_off_is_a_problem(renderer: Sync, tmp_path: Path, kind: str) -> None:
    page = facts(renderer, scanned(tmp_path / "scan.pdf", lambda data: holed(data, 0.4, 1), kind))
    assert not page.blank
    assert page.damage == "data of it can't be decoded"
    assert not facts(renderer, scanned(tmp_path / "good.pdf", kind=kind)).damage


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("TIFF", {"compression": "group4"}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("JPEG", {}),
        ("PNG", {}),
    ],
)
def test_an_image_with_a_hole_is_shown_as_far_as_it_can_be(
    renderer: Sync, tmp_path: Path, kind: str, how: dict[str, object]
) -> None:
    data = encoded(kind, **how)
    (tmp_path / "scan.img").write_bytes(holed(data, 0.5, 0.9))
    page = facts(renderer, tmp_path / "scan.img")
    assert not page.blank
    assert page.damage == "data of it can't be decoded"
    (tmp_path / "good.img").write_bytes(data)
    assert not facts(renderer, tmp_path / "good.img").damage


@pytest.mark.parametrize("progressive", [False, True])
def test_whatever_libjpeg_says_of_a_jpeg_is_heard(renderer: Sync, tmp_path: Path, *, progressive: bool) -> None:
    data = encoded("JPEG", progressive=progressive)
    middle = len(data) // 2
    changes = {"hole": holed(data, 0.5, 0.52), "sent as text": data.replace(b"\n", b"\r\n")}
    if not progressive:  # its parts can lack some of their bytes, and blur the picture
        changes["bytes dropped"] = data[:middle] + data[middle + 7 :]
    for name, changed in changes.items():
        (tmp_path / "scan.jpg").write_bytes(changed)
        assert facts(renderer, tmp_path / "scan.jpg").damage, name
    for name, whole in {"no end": data[:-2], "rubbish behind": data + b"rubbish" * 50}.items():
        (tmp_path / "scan.jpg").write_bytes(whole)
        assert not facts(renderer, tmp_path / "scan.jpg").damage, name


def test_a_small_hole_in_the_picture_of_a_scan_is_a_problem(renderer: Sync, tmp_path: Path) -> None:
    path = scanned(tmp_path / "scan.pdf", lambda data: holed(data, 0.4, 0.42))
    assert facts(renderer, path).damage == "data of it can't be decoded"


def test_a_png_is_held_against_its_checksums(renderer: Sync, tmp_path: Path) -> None:
    data = bytearray(encoded("PNG", compress_level=0))  # any bit of it is a bit of a pixel
    data[len(data) // 2] ^= 1
    (tmp_path / "scan.png").write_bytes(data)
    assert facts(renderer, tmp_path / "scan.png").damage


def test_what_is_shared_by_pages_and_damaged_is_told_of_each(renderer: Sync, tmp_path: Path) -> None:
    path = scanned(tmp_path / "scan.pdf", lambda data: holed(data, 0.4, 1), "Flate")
    with pymupdf.open(path) as document:
        document.fullcopy_page(0)
        document.saveIncr()
    assert facts(renderer, path, 0).damage
    assert facts(renderer, path, 1).damage


def test_a_hole_in_uncompressed_contents_is_a_problem(renderer: Sync, tmp_path: Path) -> None:
    with pymupdf.open() as document:
        document.new_page().insert_textbox((72, 72, 500, 800), "So many words. " * 200)
        document.save(tmp_path / "scan.pdf", expand=255)
    data = (tmp_path / "scan.pdf").read_bytes()
    start = data.index(b"stream") + 2000
    (tmp_path / "scan.pdf").write_bytes(data[:start] + bytes(512) + data[start + 512 :])
    assert facts(renderer, tmp_path / "scan.pdf").damage == "data of it can't be decoded"


# What is made of it


def judged(page: PageFacts) -> Verdict:
    return verdict.blank(PageImage(0, PixelSize(1, 1), b"", 0, page)).verdict


def test_only_what_was_drawn_whole_is_blank() -> None:
    assert judged(PageFacts(blank="the page is blank")) is Verdict.BLANK
    damaged = verdict.blank(PageImage(0, PixelSize(1, 1), b"", 0, PageFacts(blank="so", damage="it is black all over")))
    assert damaged.verdict is Verdict.FAILED
    assert damaged.reason == (
        "Nothing of this page can be seen, and it is black all over."
        " Open the original to see what it holds, and scan or print it again."
    )


def test_a_page_that_was_read_in_part_has_a_problem() -> None:
    page = PageImage(0, PixelSize(1, 1), b"", 0, PageFacts(letters=5, damage="a font of it is damaged"))
    result = verdict.with_damage(verdict.judge(page, Reading(0, "Hello", "stop", 1, 1.0)))
    assert result.verdict is Verdict.SUSPECT
    assert result.reason == "some of this page may be missing: a font of it is damaged"
