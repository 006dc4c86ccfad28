"""What lacks bytes is told from what is whole, by format; nothing that can be read is held back."""

import contextlib
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pillow_heif import register_heif_opener

from ocrd.errors import DocumentError, PageError
from ocrd.model import PixelSize, View
from ocrd.rendering import tasks, truncation

register_heif_opener()
KINDS = {
    "jpeg": {},
    "png": {},
    "webp": {},
    "tiff": {"compression": "jpeg", "save_all": True, "append_images": [Image.new("RGB", (90, 90))]},
    "tiff-ccitt": {"compression": "group4"},
    "tiff-raw": {"strip_size": 512},
    "tiff-big": {"big_tiff": True},
    "heif": {},
    "avif": {},
    "jpeg2000": {},
    "jpeg2000-bare": {"no_jp2": True},
    "bmp": {},
    "gif": {},
    "ppm": {},
    "ppm-grey": {},
    "ppm-bilevel": {},
}
MODES = {"tiff-ccitt": "1", "ppm-bilevel": "1", "ppm-grey": "L"}


def size(_width: float, _height: float) -> PixelSize:
    return PixelSize(300, 400)


@pytest.fixture(params=KINDS)
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    data = random.Random(1).randbytes(3 * 120 * 160)  # noqa: S311 - always the same: one in 256 GIFs ends like a whole one
    noise = Image.frombytes("RGB", (120, 160), data)
    path = tmp_path / "scan"
    noise.convert(MODES.get(request.param, "RGB")).save(path, request.param.partition("-")[0], **KINDS[request.param])
    return path


def test_a_whole_image_lacks_nothing(image: Path) -> None:
    assert truncation.lacks(image) == ""


@pytest.mark.parametrize("kind", ["png", "heif", "avif", "jpeg2000", "webp", "tiff"])
def test_what_a_program_wrote_behind_an_image_does_not_make_it_incomplete(tmp_path: Path, kind: str) -> None:
    Image.effect_noise((90, 90), 50).convert("RGB").save(tmp_path / "scan", kind)
    with (tmp_path / "scan").open("ab") as file:
        file.write(b"MotionPhoto_Data\xff\xfe" + bytes(range(256)) * 20)
    assert truncation.lacks(tmp_path / "scan") == ""
    assert tasks.open_source(tmp_path / "scan").problems == ()


@pytest.mark.parametrize("part", [0.0, 0.3, 0.7, 0.97])
def test_an_image_lacks_what_has_not_arrived(image: Path, part: float) -> None:
    os.truncate(image, int(image.stat().st_size * part))
    assert truncation.lacks(image)


@pytest.mark.parametrize("part", [0.5, 0.9])
def test_an_image_that_stays_cut_off_is_never_whole(image: Path, part: float) -> None:
    os.truncate(image, int(image.stat().st_size * part))
    with contextlib.suppress(DocumentError, PageError):  # it can't be opened, or a page of it not be drawn
        source = tasks.open_source(image)
        facts = tasks.render_page(image, source.pages - 1, size, View()).facts
        assert facts.damage or source.problems


def test_what_a_tiff_says_of_its_pixels_behind_them_belongs_to_it(tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    Image.new("RGB", (600, 800), "white").save(path, compression="jpeg")
    assert truncation.lacks(path) == ""
    with tifffile.TiffFile(path) as file:
        tables = file.pages[0].tags[347]
    assert tables.valueoffset + tables.count == path.stat().st_size
    os.truncate(path, path.stat().st_size - 1)
    assert truncation.lacks(path) == "its end is missing"


def a_white_tiff_without_its_end(path: Path) -> None:
    tifffile.imwrite(path, np.full((800, 600), 65_535, np.uint16), compression="lzw", rowsperstrip=800)
    os.truncate(path, path.stat().st_size - 1)


def test_a_page_that_seems_blank_in_a_file_that_is_cut_off_is_not(tmp_path: Path) -> None:
    a_white_tiff_without_its_end(tmp_path / "scan.tif")
    assert tasks.open_source(tmp_path / "scan.tif").problems == ("This file is cut off: its end is missing.",)
    assert tasks.render_page(tmp_path / "scan.tif", 0, size, View()).facts.damage


def test_a_file_of_a_group_that_is_cut_off_is_told_by_its_name(tmp_path: Path) -> None:
    Image.new("RGB", (600, 800), "white").save(tmp_path / "1.png")
    a_white_tiff_without_its_end(tmp_path / "2.tif")
    assert tasks.open_source(tmp_path).problems == ("2.tif: This file is cut off: its end is missing.",)
    damages = [tasks.render_page(tmp_path, index, size, View()).facts.damage for index in (1, 0)]
    assert list(map(bool, damages)) == [True, False]


def small_tiff(path: Path, changed: dict[int, tuple[int, int, int]], pixels: bytes = bytes(60_000)) -> Path:
    """Write a TIFF of 300 x 200 grey levels in two strips; of some tags type, number and value are others."""
    tags = {256: (4, 1, 300), 257: (4, 1, 200), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}
    strips = {278: (4, 1, 100), 273: (4, 2, 8 + len(pixels)), 279: (4, 2, 16 + len(pixels))}
    entries = b"".join(struct.pack("<HHII", tag, *told) for tag, told in sorted((tags | strips | changed).items()))
    values = struct.pack("<4I", 8, 30_008, 30_000, 30_000)
    count = len(entries) // 12
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, 24 + len(pixels))
        + pixels
        + values
        + struct.pack("<H", count)
        + entries
        + bytes(4)
    )
    return path


@pytest.mark.parametrize("tag", [306, 65_000])
def test_what_has_nothing_to_do_with_its_pixels_does_not_make_a_tiff_incomplete(tmp_path: Path, tag: int) -> None:
    assert truncation.lacks(small_tiff(tmp_path / "a.tif", {tag: (2, 20, 10_000_000)})) == ""


def test_a_last_strip_that_is_said_to_be_as_long_as_the_others_is_whole(tmp_path: Path) -> None:
    whole = small_tiff(tmp_path / "b.tif", {}).read_bytes()
    (tmp_path / "b.tif").write_bytes(
        whole.replace(struct.pack("<2I", 30_000, 30_000), struct.pack("<2I", 30_000, 99_000))
    )
    assert truncation.lacks(tmp_path / "b.tif") == ""


@pytest.mark.parametrize(("tag", "lacking"), [(273, "its end is missing"), (279, "")])
def test_a_tiff_whose_strips_are_told_at_its_very_beginning_is_looked_at_like_any(
    tmp_path: Path, tag: int, lacking: str
) -> None:
    assert truncation.lacks(small_tiff(tmp_path / "a.tif", {tag: (4, 2, 0)})) == lacking


@pytest.mark.parametrize("pixels", [b"  ", b"5\n", b"\n\n"])
def test_pixels_of_a_bitmap_are_no_part_of_its_head(tmp_path: Path, pixels: bytes) -> None:
    (tmp_path / "a.pbm").write_bytes(b"P4\n16 100\n" + pixels * 100)
    assert truncation.lacks(tmp_path / "a.pbm") == ""


def test_a_bitmap_that_says_it_is_larger_than_any_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6\n999999999 999999999\n65535\n" + bytes(100))
    assert tasks.open_source(tmp_path / "a.ppm").problems == ("This file is cut off: its end is missing.",)


def test_a_reserved_place_is_no_file_yet(tmp_path: Path) -> None:
    (tmp_path / "scan").write_bytes(bytes(5000))
    assert truncation.lacks(tmp_path / "scan") == "it begins with nothing but zeros"


def test_a_pdf_for_the_web_tells_its_length(tmp_path: Path) -> None:
    data = b"%PDF-1.7\n1 0 obj\n<</Linearized 1/L 5000/H[1 2]/O 3/E 9/N 1/T 7>>\nendobj\nstartxref\n0\n%%EOF\n"
    path = tmp_path / "scan.pdf"
    path.write_bytes(data)
    assert truncation.lacks(path) == "its end is missing"
    path.write_bytes(data.ljust(5000))
    assert truncation.lacks(path) == ""


def test_other_pdfs_tell_when_they_are_parsed(tmp_path: Path, make_pdf: Callable[..., Path]) -> None:
    assert truncation.lacks(make_pdf(tmp_path / "scan.pdf")) == ""
    assert truncation.has_pdf_end(tmp_path / "scan.pdf")


HEADS = [b"", b"II*\0", b"MM\0*", b"MM\0+", b"RIFF", b"\xff\xd8\xff", b"%PDF-", b"\0\0\0\x0cjP  "]


@given(
    head=st.sampled_from([b"", b"II*\0", b"MM\0*", b"MM\0+", b"RIFF", b"\xff\xd8\xff", b"%PDF-", b"\0\0\0\x0cjP  "]),
    rest=st.binary(max_size=300),
)
def test_no_bytes_make_it_fail(tmp_path_factory: pytest.TempPathFactory, head: bytes, rest: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(head + rest)
    truncation.lacks(path)
