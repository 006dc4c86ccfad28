"""Images as scanners, faxes and telephones make them are read with all their pages, upright and in proportion."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from real_renderer import Sync, as_image, dark

from ocrd.concurrency.threads import Threads
from ocrd.display import pip
from ocrd.errors import PageError
from ocrd.pipeline import output_files

Saved = dict[str, Any]


@pytest.fixture(scope="module")
def renderer() -> Iterator[Sync]:
    made = Sync()
    yield made
    made.close()


def page(corner: int = 0, size: tuple[int, int] = (400, 600)) -> Image.Image:
    """Draw a page of which one quarter is dark: 0 top left, 1 top right, 2 bottom left, 3 bottom right."""
    image = Image.new("RGB", size, "white")
    left, top = (corner % 2) * size[0] // 2, (corner // 2) * size[1] // 2
    ImageDraw.Draw(image).rectangle((left, top, left + size[0] // 2 - 1, top + size[1] // 2 - 1), fill="black")
    return image


@pytest.mark.parametrize(
    ("mode", "saved"),
    [
        ("1", {"compression": "group3"}),
        ("1", {"compression": "group4"}),
        ("1", {"compression": "packbits"}),
        ("1", {}),
        ("1", {"compression": "group4", "tiffinfo": {262: 0}}),
        ("L", {"compression": "jpeg"}),
        ("RGB", {"compression": "jpeg"}),
        ("RGB", {"compression": "tiff_lzw"}),
        ("CMYK", {"compression": "tiff_adobe_deflate"}),
        ("P", {}),
        ("I;16", {}),
    ],
    ids=str,
)
def test_the_tiffs_that_scanners_make(renderer: Sync, tmp_path: Path, mode: str, saved: Saved) -> None:
    path = tmp_path / "scan.tif"
    pages = [_as(page(corner), mode) for corner in range(4)]
    pages[0].save(path, "TIFF", save_all=True, append_images=pages[1:], **saved)
    facts = renderer.open(path)
    assert (facts.kind, facts.pages) == ("tiff", 4)
    for corner in range(4):
        assert dark(as_image(renderer.page(path, corner))) == tuple(corner == number for number in range(4))


def _as(image: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return image.convert("I").point(lambda value: value * 257).convert("I;16")
    return image.convert(mode)


def test_a_fax_has_its_proportions_back(renderer: Sync, tmp_path: Path) -> None:
    page(size=(1728, 1143)).convert("1").save(tmp_path / "fax.tif", compression="group3", dpi=(204, 98))
    size = renderer.page(tmp_path / "fax.tif").size
    assert size.height / size.width == pytest.approx((1143 / 98) / (1728 / 204), rel=0.01)


@pytest.mark.parametrize(("orientation", "corner"), [(1, 0), (2, 1), (3, 3), (4, 2), (5, 0), (6, 1), (7, 3), (8, 2)])
def test_a_photograph_is_turned_as_it_says(renderer: Sync, tmp_path: Path, orientation: int, corner: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    page(0).save(tmp_path / "photo.jpg", exif=exif, dpi=(300, 300))
    read = renderer.page(tmp_path / "photo.jpg")
    assert dark(as_image(read)) == tuple(number == corner for number in range(4))
    assert (read.size.width > read.size.height) == (orientation >= 5)


def test_the_second_picture_in_a_telephones_jpeg_is_no_page(renderer: Sync, tmp_path: Path) -> None:
    page(2).save(tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[page(1, (80, 60))])
    facts = renderer.open(tmp_path / "photo.jpg")
    assert (facts.kind, facts.pages) == ("jpeg", 1)
    assert dark(as_image(renderer.page(tmp_path / "photo.jpg"))) == (False, False, True, False)


@pytest.mark.parametrize("kind", ["webp", "png"])
def test_a_moving_picture_is_one_page(renderer: Sync, tmp_path: Path, kind: str) -> None:
    page(1).save(tmp_path / "moving", kind, save_all=True, append_images=[page(2)])
    assert renderer.open(tmp_path / "moving").pages == 1
    assert dark(as_image(renderer.page(tmp_path / "moving"))) == (False, True, False, False)


@pytest.mark.parametrize("saved", [{"lossless": True}, {"quality": 50}], ids=str)
def test_webp(renderer: Sync, tmp_path: Path, saved: Saved) -> None:
    page(3).save(tmp_path / "scan.webp", **saved)
    assert renderer.open(tmp_path / "scan.webp").kind == "webp"
    assert dark(as_image(renderer.page(tmp_path / "scan.webp"))) == (False, False, False, True)


def test_heic(renderer: Sync, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    heif.from_pillow(page(1)).save(tmp_path / "photo.heic")
    facts = renderer.open(tmp_path / "photo.heic")
    assert (facts.kind, facts.pages) == ("heif", 1)
    assert dark(as_image(renderer.page(tmp_path / "photo.heic"))) == (False, True, False, False)


def test_heic_without_its_reader_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ocrd.errors import DocumentError
    from ocrd.rendering import image_source, sources

    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    monkeypatch.setattr(image_source, "_plugins", tuple)
    with pytest.raises(DocumentError) as caught:
        sources._open(tmp_path / "photo.heic")
    assert pip("pillow-heif") in caught.value.remedy


def group(folder: Path) -> Path:
    """Make a folder of images: of two pages, one that can't be read, and one page; in this order as people count."""
    folder.mkdir()
    page(0).save(folder / "2.tif", save_all=True, append_images=[page(1)])
    (folder / "9.jpg").write_bytes(b"no image")
    page(3).save(folder / "10.jpg")
    (folder / "notes.txt").write_text("no page")
    return folder


def test_several_images_are_one_source_and_one_that_is_bad_costs_no_other(renderer: Sync, tmp_path: Path) -> None:
    folder = group(tmp_path / "group")
    facts = renderer.open(folder)
    assert (facts.kind, facts.pages) == ("group", 4)
    for index, corner in ((0, 0), (1, 1), (3, 3), (0, 0)):
        assert dark(as_image(renderer.page(folder, index))) == tuple(number == corner for number in range(4))
    with pytest.raises(PageError, match=r"9\.jpg: This is no PDF and no image"):
        renderer.page(folder, 2)


def test_the_digest_of_a_group_is_that_of_its_files_in_their_order(renderer: Sync, tmp_path: Path) -> None:
    folder = group(tmp_path / "one")
    before = renderer.open(folder).sha256
    assert renderer.open(folder.rename(tmp_path / "other")).sha256 == before
    (tmp_path / "other/10.jpg").rename(tmp_path / "other/1.jpg")
    assert renderer.open(tmp_path / "other").sha256 != before


def test_several_images_become_one_pdf_that_can_be_searched(renderer: Sync, tmp_path: Path) -> None:
    import asyncio

    import pymupdf

    from ocrd.model import PageFacts, PageResult, Placement, Reading, Verdict

    folder = group(tmp_path / "group")
    facts = [PageFacts(Placement(96, 144)) if index != 2 else None for index in range(4)]
    pages = [
        PageResult(index, Verdict.OK, "", Reading(index, f"words {index}", "stop", 1, 0.0), facts=known)
        for index, known in enumerate(facts)
    ]
    stream = output_files.streaming(tmp_path, Threads().run)

    async def make() -> Path:
        return await stream(lambda pipe: renderer.renderer.searchable(folder, pages, (), pipe))

    with pymupdf.open(asyncio.run(make()), filetype="pdf") as document:
        assert ["words" in sheet.get_text() for sheet in document] == [True, True, False, True]
        assert [len(sheet.get_images()) for sheet in document] == [1, 1, 0, 1]
