"""A page is blank only if it was drawn whole: damaged files, of which libraries show what is left and go on."""

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pymupdf
import pytest
import tifffile
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from real_renderer import Sync

from ocrd.engines.cpu.page_form import page_size
from ocrd.model import PageFacts, PageImage, PixelSize, Placement, Reading, Verdict
from ocrd.quality import verdict
from ocrd.rendering import damage, page_analysis, tiff_strips

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


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    return file.getvalue()


def holed(data: bytes, start: float, end: float) -> bytes:
    """Zeros in place of a share of the data."""
    first, last = int(len(data) * start), int(len(data) * end)
    return data[:first] + bytes(last - first) + data[last:]


def fax(image: Image.Image) -> bytes:
    """Encode as a fax in one strip."""
    file = io.BytesIO()
    bilevel = image.point(lambda level: 255 * (level > 127), "1")
    bilevel.save(file, "TIFF", compression="group4", tiffinfo={278: image.height})
    with Image.open(file) as tiff:
        place, length = tiff.tag_v2[273][0], tiff.tag_v2[279][0]  # type: ignore[attr-defined] # of a TiffImageFile
    return file.getvalue()[place : place + length]


def jbig2_of_noise(width: int, height: int, length: int) -> bytes:
    """Make what a changed bit leaves of JBIG2: so many bytes that mean nothing, and decode to noise (ITU-T T.88, 7)."""
    area = width.to_bytes(4) + height.to_bytes(4)
    page = area + bytes(8) + b"\0\0\0"
    region = area + bytes(8) + b"\0" + b"\0" + bytes.fromhex("03fffdff02fefefe") + random.Random(3).randbytes(length)  # noqa: S311
    segments = ((0, 48, page), (1, 38, region))
    return b"".join(
        number.to_bytes(4) + bytes((kind, 0, 1)) + len(body).to_bytes(4) + body for number, kind, body in segments
    )


def scanned(
    path: Path, change: Callable[[bytes], bytes] = bytes, kind: str = "JPEG", image: Image.Image | None = None
) -> Path:
    """Make a PDF of one scan, whose encoded picture is changed."""
    image = image or written()
    filters, bits, data = {
        "JPEG": ("DCTDecode", 8, lambda: jpeg(image)),
        "Flate": ("FlateDecode", 8, lambda: zlib.compress(image.tobytes())),
        "fax": ("CCITTFaxDecode", 1, lambda: fax(image)),
        "JBIG2": ("JBIG2Decode", 1, lambda: b""),
    }[kind]
    with pymupdf.open() as document:
        page = document.new_page(width=595, height=842)
        picture, contents = document.get_new_xref(), document.get_new_xref()
        size = f"/Width {image.width}/Height {image.height}/BitsPerComponent {bits}"
        document.update_object(picture, f"<</Type/XObject/Subtype/Image/ColorSpace/DeviceGray{size}>>")
        document.update_stream(picture, change(data()), compress=0)
        document.xref_set_key(picture, "Filter", f"/{filters}")
        if kind == "fax":
            document.xref_set_key(picture, "DecodeParms", f"<</K -1/Columns {image.width}>>")
            document.xref_set_key(picture, "Decode", "[1 0]")
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


@pytest.mark.parametrize("margin", [0, 0.5, 20, 40])
def test_a_picture_that_comes_out_black_is_not_blank_whatever_margin_is_around_it(
    renderer: Sync, tmp_path: Path, margin: float
) -> None:
    with pymupdf.open() as document:
        page = document.new_page()
        place = (margin, margin, page.rect.width - margin, page.rect.height - margin)
        page.insert_image(place, stream=jpeg(Image.new("L", (850, 1203), 4)))
        document.save(tmp_path / "scan.pdf")
    assert facts(renderer, tmp_path / "scan.pdf").damage == "it is black all over"


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


@pytest.mark.parametrize("ends", [(0, 595), (50, 500)], ids=["from edge to edge", "within"])
def test_a_page_of_lines_is_not_said_to_have_nothing_on_it(
    renderer: Sync, tmp_path: Path, ends: tuple[int, int]
) -> None:
    with pymupdf.open() as document:
        page = document.new_page()
        for line in range(10):
            page.draw_line((ends[0], 100 + 50 * line), (ends[1], 100 + 50 * line), width=1)
        document.save(tmp_path / "a.pdf")
    assert facts(renderer, tmp_path / "a.pdf").blank.startswith("there is nothing on the page but lines,")


@pytest.mark.parametrize("height", [25, 35])
@pytest.mark.parametrize("colour", [(190, 180, 255), (255, 155, 180)], ids=["lilac", "pink"])
def test_print_on_a_long_label_is_seen_and_a_bar_with_nothing_on_it_is_a_line(
    renderer: Sync, tmp_path: Path, colour: tuple[int, int, int], height: int
) -> None:
    image = Image.new("RGB", (1240, 1754), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((400, 600, 700, 600 + height), fill=colour)
    image.save(tmp_path / "bar.png", dpi=(150, 150))
    draw.text((420, 600), "INITIAL HERE", "black", ImageFont.load_default(round(0.7 * height)))
    image.save(tmp_path / "label.png", dpi=(150, 150))
    assert not facts(renderer, tmp_path / "label.png").blank
    assert facts(renderer, tmp_path / "bar.png").blank.startswith("there is nothing on the page but lines,")


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


@pytest.mark.parametrize("size", [(1275, 1650), (2550, 3300)])
def test_pale_print_is_seen_whatever_resolution_the_engine_wants(size: tuple[int, int]) -> None:
    sheet = Image.new("L", (1275, 1650), 255)
    for line in range(28):
        text = "A line about harbours and the ships that lie in them at night"
        ImageDraw.Draw(sheet).text((120, 120 + 50 * line), text, font=ImageFont.load_default(26), fill=0)
    ink = 1 - np.asarray(sheet.filter(ImageFilter.GaussianBlur(0.8))) / 255
    levels = 232 - 38 * ink + np.random.default_rng(1).normal(0, 3, ink.shape)
    scan = Image.fromarray(levels.clip(0, 255).astype(np.uint8)).convert("RGB")
    pixels = np.asarray(scan.resize(size, Image.Resampling.BICUBIC))
    assert page_analysis.facts(pixels, Placement(612, 792), stands=True).letters > 1000


def test_specks_in_a_shadow_are_no_pale_print(renderer: Sync, tmp_path: Path) -> None:
    chance = np.random.default_rng(4)
    shadow = np.clip((np.arange(850) / 850 - 0.8) / 0.2, 0, 1) ** 2
    sheet = np.broadcast_to(205 * (1 - shadow), (1100, 850))
    specks = chance.random(sheet.shape)
    sheet = np.where(specks < 0.0015, 0, np.where(specks > 0.9985, 255, sheet))
    Image.fromarray(sheet.astype(np.uint8)).save(tmp_path / "scan.png")
    assert facts(renderer, tmp_path / "scan.png").blank


def whitened(data: bytes) -> bytes:
    """Change the bit of a JPEG that says whether its first square is darker or lighter than grey.

    Each square says by how much it differs from the one before: if the first, black, becomes white, all others do.
    """
    start = data.index(b"\xff\xda")
    start += 2 + int.from_bytes(data[start + 2 : start + 4])
    assert data[start] == 0b11110011, "five bits say that a number of seven follows, which is negative"
    return data[:start] + bytes([data[start] ^ 4]) + data[start + 1 :]


def test_a_jpeg_that_one_bit_makes_white_is_not_blank(renderer: Sync, tmp_path: Path) -> None:
    for name, page, change, damaged in (
        ("spoilt.jpg", written(), whitened, True),
        ("good.jpg", paper(), bytes, False),
    ):
        page.paste(0, (0, 0, 8, 8))
        (tmp_path / name).write_bytes(change(jpeg(page)))
        found = facts(renderer, tmp_path / name)
        assert found.blank
        assert bool(found.damage) == damaged


@pytest.mark.parametrize("kind", ["JPEG", "Flate", "fax"])
def test_a_picture_whose_height_is_wrong_is_not_blank(renderer: Sync, tmp_path: Path, kind: str) -> None:
    page = paper()
    page.paste(written().crop((0, 400, 850, 1100)), (0, 400))  # its upper part is empty
    path = scanned(tmp_path / "scan.pdf", kind=kind, image=page)
    path.write_bytes(path.read_bytes().replace(b"/Height 1100", b"/Height 0300"))
    found = facts(renderer, path)
    assert found.blank
    assert found.damage == "data of it can't be decoded"
    assert not facts(renderer, scanned(tmp_path / "good.pdf", kind=kind, image=page)).damage


# Something to be seen


@pytest.mark.parametrize("kind", ["JPEG", "Flate", "fax"])
def test_a_picture_whose_width_is_wrong_is_a_problem(renderer: Sync, tmp_path: Path, kind: str) -> None:
    path = scanned(tmp_path / "scan.pdf", kind=kind)
    path.write_bytes(path.read_bytes().replace(b"/Width 850", b"/Width 250"))
    assert facts(renderer, path).damage == "data of it can't be decoded"


def test_a_jpeg_in_a_pdf_whose_codes_are_shifted_is_a_problem(renderer: Sync, tmp_path: Path) -> None:
    path = scanned(tmp_path / "scan.pdf", lambda data: data[: len(data) // 2] + data[len(data) // 2 + 300 :])
    found = facts(renderer, path)
    assert not found.blank
    assert found.damage == "data of it can't be decoded"


def test_bytes_behind_the_pixels_of_a_jpeg_are_filling_or_pixels_that_were_not_shown(
    renderer: Sync, tmp_path: Path
) -> None:
    for filling, damaged in ((bytes(7), False), (b"\r\n", False), (b"\x5a\x81\x2f\x44\x19\x6e", True)):
        data = encoded("JPEG")
        data = data[:-2] + filling + data[-2:]
        (tmp_path / "scan.jpg").write_bytes(data)
        scanned(tmp_path / "scan.pdf", lambda _, data=data: data)  # type: ignore[misc] # a default
        for name in ("scan.jpg", "scan.pdf"):
            assert bool(facts(renderer, tmp_path / name).damage) == damaged, (name, filling)


def test_noise_that_can_not_be_in_so_little_data_is_a_problem(renderer: Sync, tmp_path: Path) -> None:
    for length, damaged in ((5_000, True), (150_000, False)):
        path = scanned(tmp_path / f"{length}.pdf", lambda _, n=length: jbig2_of_noise(850, 1100, n), "JBIG2")  # type: ignore[misc] # a default
        found = facts(renderer, path)
        assert not found.blank
        assert bool(found.damage) == damaged


def test_a_small_picture_that_came_out_white_has_more_data_than_white_needs() -> None:
    white = Image.new("L", (400, 400), 255)
    assert damage.of_bilevel(500, white)
    assert not damage.of_bilevel(250, white)


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


def test_whatever_libjpeg_says_of_a_jpeg_in_cmyk_is_heard(renderer: Sync, tmp_path: Path) -> None:
    data = jpeg(written().convert("CMYK"))
    (tmp_path / "scan.jpg").write_bytes(data)
    assert not facts(renderer, tmp_path / "scan.jpg").damage
    (tmp_path / "scan.jpg").write_bytes(holed(data, 0.5, 0.52))
    assert facts(renderer, tmp_path / "scan.jpg").damage


def old_tiff(jpeg: bytes) -> bytes:
    """A TIFF as old scanners wrote it, with a whole JPEG in it (TIFF 6.0, section 22); without the JPEG's length."""
    tags = {256: 850, 257: 1100, 258: 8, 259: 6, 262: 6, 273: 8, 277: 3, 278: 1100, 279: len(jpeg), 513: 8}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHI", b"II", 42, 8 + len(jpeg)) + jpeg + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    "written_as",
    [
        lambda: encoded("TIFF", compression="jpeg"),
        lambda: encoded("TIFF", compression="jpeg", tiffinfo={278: 1104}),
        lambda: old_tiff(jpeg(written().convert("RGB"))),
    ],
)
def test_whatever_libjpeg_says_of_a_tiff_is_heard(
    renderer: Sync, tmp_path: Path, written_as: Callable[[], bytes]
) -> None:
    data = written_as()
    (tmp_path / "scan.tif").write_bytes(data)
    assert not facts(renderer, tmp_path / "scan.tif").damage
    (tmp_path / "scan.tif").write_bytes(holed(data, 0.5, 0.52))
    assert facts(renderer, tmp_path / "scan.tif").damage == "data of it can't be decoded"


@pytest.mark.parametrize("gap", [-1, 20])
def test_an_old_tiff_with_the_head_of_its_jpeg_elsewhere_is_whole(tmp_path: Path, gap: int) -> None:
    data = jpeg(written().convert("RGB"))
    begin = data.index(b"\xff\xda")
    head, pixels = data[:begin], data[begin:]
    parts = (pixels, head) if gap < 0 else (head, bytes(gap), pixels)
    body = b"".join(parts)
    strip, start = (8, 8 + len(pixels)) if gap < 0 else (8 + len(head) + gap, 8)
    tags = {256: 850, 257: 1100, 258: 8, 259: 6, 262: 6, 273: strip, 277: 3, 278: 1100, 279: len(pixels), 513: start}
    tags |= {514: len(head)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    (tmp_path / "scan.tif").write_bytes(
        struct.pack("<2sHI", b"II", 42, 8 + len(body)) + body + struct.pack("<H", len(tags)) + entries + bytes(4)
    )
    assert list(tiff_strips.jpegs(tmp_path / "scan.tif", tags | {273: (strip,), 279: (len(pixels),)})) == [data]


@pytest.mark.parametrize("rows", [3508, 26, 8])
def test_a_blank_fax_is_blank_however_many_strips_it_has(renderer: Sync, tmp_path: Path, rows: int) -> None:
    Image.new("1", (2480, 3508), 1).save(tmp_path / "fax.tif", compression="group4", tiffinfo={278: rows})
    page = facts(renderer, tmp_path / "fax.tif")
    assert (page.blank, page.damage) == ("the page is blank", "")


def test_a_page_behind_a_fax_is_none(renderer: Sync, tmp_path: Path) -> None:
    written().convert("1").save(tmp_path / "a.tif", compression="group4")
    with tifffile.TiffWriter(tmp_path / "a.tif", append=True) as file:
        file.write(np.asarray(written(), np.float64) / 255)
    assert not facts(renderer, tmp_path / "a.tif", 1).damage


def test_a_lossless_jpeg_in_a_tiff_is_none_that_could_be_looked_at(tmp_path: Path) -> None:
    strips = b"\xff\xd8ab\xff\xd9", b"\xff\xd8\xff\xc3\0\x0b\x08\0\0\0\xff\xd9"
    tags = {259: 7, 273: (4, 10), 279: tuple(map(len, strips)), 347: b"\xff\xd8\xff\xdb\0\3T\xff\xd9"}
    (tmp_path / "scan.tif").write_bytes(b"II*\0" + b"".join(strips))
    assert list(tiff_strips.jpegs(tmp_path / "scan.tif", tags)) == [b"\xff\xd8\xff\xdb\0\3Tab\xff\xd9"]


def test_a_small_hole_in_the_picture_of_a_scan_is_a_problem(renderer: Sync, tmp_path: Path) -> None:
    path = scanned(tmp_path / "scan.pdf", lambda data: holed(data, 0.4, 0.42))
    assert facts(renderer, path).damage == "data of it can't be decoded"


def test_a_png_is_held_against_its_checksums(renderer: Sync, tmp_path: Path) -> None:
    data = bytearray(encoded("PNG", compress_level=0))  # any bit of it is a bit of a pixel
    data[len(data) // 2] ^= 1
    (tmp_path / "scan.png").write_bytes(data)
    assert facts(renderer, tmp_path / "scan.png").damage


def test_a_png_with_a_damaged_note_is_read(renderer: Sync, tmp_path: Path) -> None:
    data = encoded("PNG", dpi=(100, 100))
    assert data.count(b"pHYs") == 1
    (tmp_path / "scan.png").write_bytes(data.replace(b"pHYs\0", b"pHYs\1"))
    page = facts(renderer, tmp_path / "scan.png")
    assert page.damage == "data of it can't be decoded"
    assert page.letters > 300


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


def shown_by(path: Path, contents: bytes) -> Path:
    """Make a PDF of one picture, /P, which these contents show."""
    with pymupdf.open() as document:
        page = document.new_page(width=612, height=792)
        page.insert_image(page.rect, stream=jpeg(written()))
        (picture,) = page.get_images()
        document.xref_set_key(page.xref, "Resources", f"<</XObject<</P {picture[0]} 0 R>>>>")
        document.update_stream(page.get_contents()[0], contents)
        document.save(path)
    return path


@pytest.mark.parametrize(
    "contents",
    [
        b"q 612 0 0 792 900 0 cm /P Do Q",
        b"q 612 0 0 79200 0 cm /P Do Q",
        b"q 61200 0 792 0 0 cm /P Do Q",
        b"1 612 0 0 792 0 0 cm /P Do Q",
        b"q %12 0 0 792 0 0 cm /P Do Q",
        b"q 612 0 0 792 0 0 cm /P0Do Q",
    ],
    ids=["beside", "too high", "without a height", "turned", "a comment", "another name"],
)
def test_a_page_whose_picture_is_not_drawn_on_it_is_not_blank(renderer: Sync, tmp_path: Path, contents: bytes) -> None:
    assert facts(renderer, shown_by(tmp_path / "scan.pdf", contents)).damage


def test_a_blank_page_that_has_the_pictures_of_others_among_its_resources_is_blank(
    renderer: Sync, tmp_path: Path
) -> None:
    seen = facts(renderer, shown_by(tmp_path / "scan.pdf", b"q Q"))
    assert (seen.blank, seen.damage) == ("the page is blank", "")


def test_a_page_of_invisible_text_alone_is_blank(renderer: Sync, tmp_path: Path) -> None:
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 72), "Nobody sees this", render_mode=3)
        document.save(tmp_path / "a.pdf")
    seen = facts(renderer, tmp_path / "a.pdf")
    assert (seen.blank, seen.damage) == ("the page is blank", "")


@pytest.mark.parametrize(("lines", "lost"), [(1, False), (12, True)])
def test_text_that_lies_beside_the_sheet_is_told_unless_it_is_little(
    renderer: Sync, tmp_path: Path, *, lines: int, lost: bool
) -> None:
    with pymupdf.open() as document:
        page = document.new_page()
        for line in range(24):
            aside = 2000 if line < lines else 0
            page.insert_text((72 + aside, 72 + 20 * line), "A line about harbours and the ships in them", fontsize=12)
        document.save(tmp_path / "a.pdf")
    assert bool(facts(renderer, tmp_path / "a.pdf").damage) is lost


@pytest.mark.parametrize(("wide", "lost"), [(2, True), (8.5, True), (60, False), (612, False)])
def test_a_scan_on_a_page_of_a_few_points_is_told(renderer: Sync, tmp_path: Path, wide: float, *, lost: bool) -> None:
    with pymupdf.open() as document:
        page = document.new_page(width=wide, height=wide * 11 / 8.5)
        page.insert_image(page.rect, stream=jpeg(written()))
        document.save(tmp_path / "a.pdf")
    seen = renderer.page(tmp_path / "a.pdf", sizer=page_size).facts
    assert seen.damage == ("it is too small a page for the picture on it" if lost else "")


def filled_in(path: Path, change: Callable[[pymupdf.Document, pymupdf.Page], None]) -> Path:
    """Make a page with a form field and a note, and change it."""
    with pymupdf.open() as document:
        page = document.new_page()
        page.insert_text((72, 72), "A form with something in it")
        field = pymupdf.Widget()
        field.field_type, field.field_name, field.field_value = pymupdf.PDF_WIDGET_TYPE_TEXT, "name", "Mr Miller"
        field.rect = pymupdf.Rect(72, 100, 300, 130)
        page.add_widget(field)
        page.add_freetext_annot((72, 200, 300, 230), "A note")
        change(document, page)
        document.save(path)
    return path


@pytest.mark.parametrize(
    ("annotations", "lost"),
    [
        ("", False),
        ("[]", False),
        ("null", False),
        ("[<</Type/Annot/Subtype/Text/Rect[1 2 3 4]/Parent 9999 0 R>>]", False),
        ("[9999 0 R]", True),
        ("9999 0 R", True),
    ],
)
@pytest.mark.parametrize("sound", [True, False])
def test_a_page_whose_notes_or_form_fields_are_missing_in_a_damaged_file_is_a_problem(
    renderer: Sync, tmp_path: Path, annotations: str, *, lost: bool, sound: bool
) -> None:
    def change(document: pymupdf.Document, page: pymupdf.Page) -> None:
        if annotations:
            document.xref_set_key(page.xref, "Annots", annotations)

    path = filled_in(tmp_path / "a.pdf", change)
    if not sound:
        path.write_bytes(path.read_bytes().replace(b"startxref\n", b"startxref\n1"))
    seen = facts(renderer, path)
    assert seen.damage == ("notes or form fields on it are missing" if lost and not sound else "")
    assert not seen.blank


def test_a_note_that_was_overwritten_with_zeros_is_missing(renderer: Sync, tmp_path: Path) -> None:
    path = filled_in(tmp_path / "a.pdf", lambda *_: None)
    data = path.read_bytes()
    place = data.index(b"A note")
    begins, ends = data.rindex(b"\n", 0, data.rindex(b" obj", 0, place)), data.index(b"endobj", place)
    path.write_bytes(data[:begins] + bytes(ends - begins) + data[ends:])
    assert facts(renderer, path).damage == "notes or form fields on it are missing"


@pytest.mark.parametrize(
    "said",
    [
        "openjpeg warning: Non conformant codestream TPsot==TNsot.",
        "Loop found in structure tree. Ignoring structure.",
        "popped too many layers!",
        "ignoring unknown CIDToGIDMap entry",
    ],
)
def test_a_harmless_word_of_mupdf_is_no_problem(said: str) -> None:
    assert not damage.of_messages([said], closely=True)


def deflated(data: bytes, end: int) -> bytes:
    """Compress data up to a flush; `end` says how the stream is closed then (zlib's modes), or 0 for not at all."""
    deflate = zlib.compressobj()
    begun = deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return begun + deflate.flush(end) if end else begun


@pytest.mark.parametrize("place", ["contents", "form", "picture", "field"])
@pytest.mark.parametrize(
    ("shortened", "lost"),
    [
        (lambda data: deflated(data, zlib.Z_FINISH), False),
        (lambda data: deflated(data, zlib.Z_FINISH)[:-3], False),
        (lambda data: deflated(data, 0), False),
        (lambda data: deflated(data, 0)[:-20], True),
    ],
    ids=["whole", "without its checksum", "flushed", "cut off"],
)
def test_only_instructions_that_break_off_are_a_problem_of_a_page_with_little_on_it(
    renderer: Sync, tmp_path: Path, place: str, shortened: Callable[[bytes], bytes], *, lost: bool
) -> None:
    def change(document: pymupdf.Document, page: pymupdf.Page) -> None:
        stream = page.get_contents()[0]
        data = document.xref_stream(stream) + b" 72 600 40 2 re f" * 20
        if place == "form":
            stream = document.get_new_xref()
            document.update_object(stream, "<</Type/XObject/Subtype/Form/BBox[0 0 595 842]>>")
            document.xref_set_key(page.xref, "Resources", f"<</XObject<</Form {stream} 0 R>>>>")
            document.update_stream(page.get_contents()[0], b"/Form Do")
            data = b"72 500 40 2 re f " * 20
        if place == "picture":
            picture = pymupdf.Pixmap(pymupdf.csGRAY, (0, 0, 100, 100))
            picture.clear_with(90)
            page.insert_image((72, 400, 172, 500), pixmap=picture)
            ((stream, *_),) = page.get_images()
            data = document.xref_stream(stream)
        if place == "field":
            (field,) = page.widgets()
            stream = int(document.xref_get_key(field.xref, "AP/N")[1].partition(" ")[0])
            data = document.xref_stream(stream) + b" " * 50
        document.update_stream(stream, shortened(data), compress=False)
        document.xref_set_key(stream, "Filter", "/FlateDecode")

    assert bool(facts(renderer, filled_in(tmp_path / "a.pdf", change)).damage) is lost


@pytest.mark.parametrize(
    ("before", "codes", "lost"),
    [
        ("", "02240222023102230235", True),
        ("Hello ", "02240222023102230235", True),
        ("A line about harbours, and a bullet", "0224", False),
    ],
    ids=["nothing else", "little else", "a sign"],
)
def test_a_page_whose_letters_have_no_shape_without_their_font_is_not_blank(
    renderer: Sync, tmp_path: Path, before: str, codes: str, *, lost: bool
) -> None:
    with pymupdf.open() as document:
        page = document.new_page()
        page.insert_text((72, 72), before or " ")
        numbered, described, inner = (document.get_new_xref() for _ in range(3))
        system = "/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>"
        names = "/Type/Font/BaseFont/Arial"
        document.update_object(described, "<</Type/FontDescriptor/FontName/Arial/Flags 32/FontBBox[0 0 1000 1000]>>")
        document.update_object(inner, f"<<{names}/Subtype/CIDFontType2{system}/FontDescriptor {described} 0 R>>")
        document.update_object(numbered, f"<<{names}/Subtype/Type0/Encoding/Identity-H/DescendantFonts[{inner} 0 R]>>")
        fonts = document.xref_get_key(page.xref, "Resources")
        helv = document.xref_object(int(fonts[1].partition(" ")[0]), compressed=True)
        document.xref_set_key(page.xref, "Resources", helv.replace("/Font<<", f"/Font<</Arial {numbered} 0 R", 1))
        contents = page.get_contents()[-1]
        more = b" BT /Arial 12 Tf 72 600 Td <%b> Tj ET" % codes.encode()
        document.update_stream(contents, document.xref_stream(contents) + more)
        document.save(tmp_path / "a.pdf")
    seen = facts(renderer, tmp_path / "a.pdf")
    assert seen.damage == ("a font that it needs is not in the file" if lost else "")


def test_instructions_that_break_off_where_they_are_not_looked_for_are_a_problem(
    renderer: Sync, tmp_path: Path
) -> None:
    def change(document: pymupdf.Document, page: pymupdf.Page) -> None:
        pattern = document.get_new_xref()
        sizes = "/Type/Pattern/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 90 90]/XStep 99/YStep 99/Resources<<>>"
        document.update_object(pattern, f"<<{sizes}>>")
        document.update_stream(pattern, deflated(b"10 10 40 2 re f " * 30, 0)[:-20], compress=False)
        document.xref_set_key(pattern, "Filter", "/FlateDecode")
        document.xref_set_key(page.xref, "Resources", f"<</Pattern<</P {pattern} 0 R>>>>")
        document.update_stream(page.get_contents()[0], b"/Pattern cs /P scn 72 500 300 200 re f")

    assert facts(renderer, filled_in(tmp_path / "a.pdf", change)).damage == damage.UNDECODED


def test_a_form_field_that_pymupdf_cannot_make_out_costs_nothing(renderer: Sync, tmp_path: Path) -> None:
    def change(document: pymupdf.Document, page: pymupdf.Page) -> None:
        (field,) = page.widgets()
        document.xref_set_key(field.xref, "DA", "(/Helv 12 Tf 0,5 g)")
        stream = page.get_contents()[0]
        document.update_stream(stream, deflated(document.xref_stream(stream), zlib.Z_FINISH)[:-3], compress=False)
        document.xref_set_key(stream, "Filter", "/FlateDecode")

    seen = facts(renderer, filled_in(tmp_path / "a.pdf", change))
    assert (seen.damage, seen.blank) == ("", "")
