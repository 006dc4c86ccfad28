"""What lacks bytes is told from what is whole, by format; nothing that can be read is held back."""

import contextlib
import os
import random
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
