"""Images in every form that scanners and programs give their pixels: each shows the same page, and becomes a PDF."""

import contextlib
import importlib.util
import io
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import pytest
import tifffile
from PIL import Image, ImageDraw, ImageOps

from ocrd.errors import DocumentError, PageError
from ocrd.filetypes import is_source_name
from ocrd.model import Opening, PageResult, PixelSize, Verdict, View
from ocrd.rendering import image_source, jpeg2000, source, tasks, truncation
from ocrd.rendering.tiff import ORIENTATION

FILES = Path(__file__).parents[2] / "files"
SIZE = PixelSize(300, 400)
Array = np.ndarray[Any, Any]


def size(_width: float, _height: float) -> PixelSize:
    return SIZE


def page() -> Image.Image:
    image = Image.new("L", (600, 800), 240)
    draw = ImageDraw.Draw(image)
    for line in range(18):
        for word in range(6):
            draw.rectangle((60 + 80 * word, 60 + 35 * line, 110 + 80 * word, 75 + 35 * line), 20 + 10 * (line % 3))
    return image


GREY = np.asarray(page())
RGB = np.stack([GREY, GREY, GREY], axis=-1)
CMYK = np.dstack([np.zeros((*GREY.shape, 3), np.uint8), 255 - GREY])


def tiff(pixels: Array, **how: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **how)
    return file.getvalue()


def pillow(kind: str, mode: str = "L", **how: Any) -> bytes:
    file = io.BytesIO()
    page().convert(mode).save(file, kind, **how)
    return file.getvalue()


def short_map() -> bytes:
    """A TIFF with a colour map of 8 bits; tifffile writes those of 16."""
    levels = np.arange(256, dtype=np.uint16)
    return tiff(GREY, photometric="palette", colormap=np.stack([levels] * 3))


def of_blocks() -> bytes:
    """A TIFF with colours once for each block of four pixels, which no library at hand writes."""
    blocks = np.asarray(page().convert("YCbCr")).reshape(400, 2, 300, 2, 3).swapaxes(1, 2)
    data = np.dstack([blocks[..., 0].reshape(400, 300, 4), blocks[:, :, 0, 0, 1:]]).tobytes()
    tags = {256: 600, 257: 800, 258: 8, 259: 1, 262: 6, 273: 8, 277: 3, 278: 800, 279: len(data)}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    entries += [struct.pack("<HHIHH", 284, 3, 1, 1, 0), struct.pack("<HHIHH", 530, 3, 2, 2, 2)]
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return head + data + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def bmp_of_masks(*masks: int, bits: int = 32, upwards: bool = True) -> bytes:
    """A BMP with these bits for red, green and blue, which no library at hand writes."""
    words = sum((RGB[..., place].astype(np.uint32) * mask // 255) & mask for place, mask in enumerate(masks))
    pixels = np.asarray(words, f"<u{bits // 8}")[:: -1 if upwards else 1].tobytes()
    head = struct.pack("<2sIIIIiiHH", b"BM", 66 + len(pixels), 0, 66, 40, 600, 800 if upwards else -800, 1, bits)
    return head + struct.pack("<IIiiIIIII", 3, len(pixels), 0, 0, 0, 0, *masks) + pixels


def jpeg_2000_of_two() -> bytes:
    """One whose second channel has zeros, and is said to be of no kind instead of opacity."""
    file = io.BytesIO()
    Image.merge("LA", (page(), Image.new("L", page().size))).save(file, "JPEG2000")
    opacity, no_kind = (b"cdef" + struct.pack(">7H", 2, 0, 0, 1, 1, kind, 0) for kind in (1, 65_535))
    assert file.getvalue().count(opacity) == 1
    return file.getvalue().replace(opacity, no_kind)


def with_alpha() -> Array:
    """Black all over, and transparent where the paper is."""
    return np.dstack([np.zeros((*GREY.shape, 3), np.uint16), (255 - GREY.astype(np.uint16)) * 257])


FORMS: dict[str, Callable[[], bytes]] = {
    "16 bits": lambda: tiff(GREY.astype(np.uint16) * 257),
    "16 bits, white is zero": lambda: tiff((255 - GREY.astype(np.uint16)) * 257, photometric="miniswhite"),
    "12 of 16 bits": lambda: tiff(GREY.astype(np.uint16) * 16),
    "32 bits": lambda: tiff(GREY.astype(np.uint32) * 16843009, compression="lzw"),
    "32 bits, white is zero": lambda: tiff((255 - GREY.astype(np.uint32)) * 16843009, photometric="miniswhite"),
    "float": lambda: tiff((GREY / 255).astype(np.float32), compression="zlib", predictor=3),
    "float of 64 bits": lambda: tiff(GREY / 255 - 0.5),
    "float of 16 bits": lambda: tiff((GREY / 255).astype(np.float16)),
    "float above 1": lambda: tiff((GREY / 160).astype(np.float32)),
    "float with one level beyond all": lambda: tiff(np.where(np.arange(GREY.size).reshape(GREY.shape), GREY, 1e9)),
    "float RGB": lambda: tiff((RGB / 255).astype(np.float32), photometric="rgb"),
    "planes of 16 bits": lambda: tiff(
        np.moveaxis(RGB, 2, 0).astype(np.uint16) * 257, photometric="rgb", planarconfig="separate"
    ),
    "big-endian BigTIFF": lambda: tiff(GREY, bigtiff=True, byteorder=">"),
    "tiles of 16 bits": lambda: tiff(GREY.astype(np.uint16) * 257, tile=(64, 64), compression="lzw"),
    "a colour map of 8 bits": short_map,
    "planes of RGB and alpha": lambda: tiff(
        np.moveaxis(with_alpha() >> 8, 2, 0).astype(np.uint8),
        photometric="rgb",
        planarconfig="separate",
        extrasamples=["unassalpha"],
    ),
    "grey with alpha": lambda: tiff(
        (with_alpha()[..., 2:] >> 8).astype(np.uint8), photometric="minisblack", extrasamples=["assocalpha"]
    ),
    "planes of YCbCr": lambda: tiff(
        np.moveaxis(np.asarray(page().convert("YCbCr")), 2, 0), photometric="ycbcr", planarconfig="separate"
    ),
    "blocks of YCbCr": of_blocks,
    "WebP in TIFF": lambda: tiff(RGB, photometric="rgb", compression="webp"),
    "3 bits": lambda: tiff(GREY >> 5, bitspersample=3),
    "6 bits, white is zero": lambda: tiff(63 - (GREY >> 2), bitspersample=6, photometric="miniswhite"),
    "RGB of 4 bits": lambda: tiff(RGB >> 4, bitspersample=4, photometric="rgb"),
    "alpha of 4 bits": lambda: tiff(
        (with_alpha() >> 12).astype(np.uint8), bitspersample=4, photometric="rgb", extrasamples=["unassalpha"]
    ),
    "CMYK": lambda: tiff(CMYK, photometric="separated"),
    "CMYK of 16 bits": lambda: tiff(CMYK.astype(np.uint16) * 257, photometric="separated"),
    "alpha of 16 bits": lambda: tiff(with_alpha(), photometric="rgb", extrasamples=["unassalpha"]),
    "CMYK JPEG": lambda: pillow("JPEG", "CMYK"),
    "JPEG without its end": lambda: pillow("JPEG")[:-2],
    "BMP": lambda: pillow("BMP"),
    "BMP of odd masks": lambda: bmp_of_masks(0x3FF00000, 0x000FFC00, 0x000003FF),
    "BMP of 12 bits": lambda: bmp_of_masks(0xF00, 0xF0, 0xF, bits=16, upwards=False),
    "JPEG with an odd head": lambda: b"\xff\xd8\xff\xe0\0\7JFIF\0" + pillow("JPEG")[20:],
    "GIF": lambda: pillow("GIF"),
    "JPEG 2000": lambda: pillow("JPEG2000"),
    "JPEG 2000 of two channels": jpeg_2000_of_two,
    "PGM": lambda: pillow("PPM"),
    "PBM": lambda: pillow("PPM", "1"),
    "AVIF": lambda: pillow("AVIF", "RGB"),
    "LAB": lambda: tiff(np.dstack([GREY, np.zeros((*GREY.shape, 2), np.uint8)]), photometric="cielab"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_shows_the_same_page_and_becomes_a_pdf(tmp_path: Path, form: str) -> None:
    path = tmp_path / "scan"
    path.write_bytes(FORMS[form]())
    shown = tasks.render_page(path, 0, size, View(turn=0))
    assert not shown.facts.damage
    assert same(Image.frombytes("RGB", (SIZE.width, SIZE.height), shown.pixels))
    result = PageResult(0, Verdict.BLANK, "", None, facts=shown.facts)
    made = io.BytesIO()
    tasks.make_searchable(path, (result,), (), made)
    with pymupdf.open(stream=made.getvalue(), filetype="pdf") as document:
        drawn = document[0].get_pixmap(dpi=100)
    assert same(Image.frombytes("RGB", (drawn.width, drawn.height), drawn.samples))


def same(image: Image.Image) -> bool:
    ours, expected = (np.asarray(one.convert("L").resize((300, 400)), float).ravel() for one in (image, page()))
    return bool(ours.std() > 30 and np.corrcoef(ours, expected)[0, 1] > 0.95)


def test_letters_that_are_no_box_say_nothing_of_a_jpeg_2000(tmp_path: Path) -> None:
    (tmp_path / "a.jp2").write_bytes(b"<xml>0123456789abcdefghijkl</xml>" * 3)
    assert jpeg2000.may_be_transparent(tmp_path / "a.jp2")
    (tmp_path / "b.jp2").write_bytes(b"<xml>abcdefgh</xml>" + jpeg_2000_of_two())
    assert not jpeg2000.may_be_transparent(tmp_path / "b.jp2")


@pytest.mark.parametrize("name", ["colormap-8bit.tif", "cmyk.tif"])
def test_files_of_scanners_are_read(name: str) -> None:
    facts = tasks.render_page(FILES / name, 0, lambda w, h: PixelSize(1240, round(1240 * h / w)), View(turn=0)).facts
    assert not facts.blank
    assert facts.letters > 20


def test_a_thumbnail_is_no_page() -> None:
    assert tasks.open_source(FILES / "two-pages-one-thumbnail.tif").pages == 1


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
def test_a_tiff_whose_directory_is_missing_is_refused(tmp_path: Path, kept: float) -> None:
    data = pillow("TIFF", compression="tiff_lzw")
    (tmp_path / "scan.tif").write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DocumentError, match=r"This TIFF can't be opened"):
        tasks.open_source(tmp_path / "scan.tif")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_one_page_or_one_for_each_picture(kind: str, tmp_path: Path) -> None:
    frames = [page().resize((200, 300)), Image.new("L", (200, 300), "white")]
    path = tmp_path / "scan"
    frames[0].save(path, kind, save_all=True, append_images=frames[1:])
    assert tasks.open_source(path).pages == 1
    each = Opening(frames=True)
    assert tasks.on_source(each, tasks.open_source, path).pages == 2
    pages = [tasks.on_source(each, tasks.render_page, path, index, size, View()) for index in range(2)]
    assert [bool(one.facts.blank) for one in pages] == [False, True]


@pytest.mark.skipif(not shutil.which("cjb2"), reason="no DjVuLibre is installed: apt-get install djvulibre-bin")
def test_djvu_is_read_page_by_page_and_becomes_a_pdf(tmp_path: Path) -> None:
    page().convert("1").save(tmp_path / "a.pbm")
    page().convert("RGB").save(tmp_path / "b.ppm")
    for command in ("cjb2 -dpi 200 a.pbm a.djvu", "c44 -dpi 100 b.ppm b.djvu", "djvm -c scan.djvu a.djvu b.djvu"):
        subprocess.run(command.split(), cwd=tmp_path, check=True)
    facts = tasks.open_source(tmp_path / "scan.djvu")
    assert (facts.kind, facts.pages) == ("djvu", 2)
    seen = [tasks.render_page(tmp_path / "scan.djvu", index, size, View()) for index in range(2)]
    assert [(round(one.facts.placement.width), one.facts.damage) for one in seen] == [(216, ""), (432, "")]
    assert all(one.facts.lines == seen[0].facts.lines > 10 for one in seen)
    pages = tuple(PageResult(one.index, Verdict.OK, "", None, facts=one.facts) for one in seen)
    made = io.BytesIO()
    tasks.make_searchable(tmp_path / "scan.djvu", pages, (), made)
    with pymupdf.open(stream=made.getvalue(), filetype="pdf") as pdf:
        assert [round(sheet.rect.width) for sheet in pdf] == [216, 432]
    whole = (tmp_path / "scan.djvu").read_bytes()
    (tmp_path / "cut.djvu").write_bytes(whole[:-100])
    assert truncation.lacks(tmp_path / "cut.djvu") == "its end is missing"
    assert truncation.lacks(tmp_path / "scan.djvu") == ""
    (tmp_path / "bad.djvu").write_bytes(whole[:200] + bytes(len(whole) - 200))
    with pytest.raises((DocumentError, PageError)):
        tasks.render_page(tmp_path / "bad.djvu", 1, size, View())


def test_jpeg_xl_is_read_where_pillow_can(tmp_path: Path) -> None:
    (tmp_path / "a.jxl").write_bytes(b"\xff\x0a\xff\x07")
    if importlib.util.find_spec("pillow_jxl"):
        import pillow_jxl  # noqa: F401 - registers itself

        page().save(tmp_path / "a.jxl")
        assert tasks.render_page(tmp_path / "a.jxl", 0, size, View()).facts.lines > 10
    else:
        with pytest.raises(DocumentError, match="JPEG XL"):
            tasks.open_source(tmp_path / "a.jxl")


def jpeg_of(frame: int, bits: int) -> bytes:
    """The head of a JPEG of another kind than Pillow reads, behind a note; without pixels."""
    return b"\xff\xd8\xff\xfe\0\x05\xff\xc3\x08" + struct.pack(">BBHBHHB", 255, frame, 8, bits, 9, 9, 0)


@pytest.mark.parametrize("head", [b"\xff\x0a\xff\x07", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"])
def test_an_image_of_a_known_kind_that_is_cut_off_is_not_called_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(image_source, "_plugins", lambda: ("HEIF", "JXL"))
    (tmp_path / "scan").write_bytes(head)
    with pytest.raises(DocumentError, match="cut off, or damaged"):
        image_source.Images(tmp_path / "scan")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (jpeg_of(0xC1, 12), "This is a JPEG of 12 bits, which ocrd can't read."),
        (jpeg_of(0xC3, 8), "This is a JPEG without loss, which ocrd can't read."),
        (jpeg_of(0xC0, 8), "This JPEG can't be opened: what its first bytes say is damaged, or"),
        (b"BM" + bytes(60), "This BMP can't be opened: what its first bytes say is damaged, or"),
        (b"RIFF\x14\0\0\0WEBPVP8 " + bytes(12), "This WebP can't be opened: what its first bytes say is damaged, or"),
        (
            b"\0\0\0\x14ftypavif\0\0\0\0avif",
            "This AVIF can't be opened: what its first bytes say is damaged, or",
        ),
    ],
)
def test_an_image_that_can_not_be_opened_is_called_what_it_is(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "scan").write_bytes(data)
    with pytest.raises(DocumentError, match=re.escape(reason)):
        image_source.Images(tmp_path / "scan")


def test_a_jpeg_that_only_libjpeg_opens_lies_as_its_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image = page()
    image.save(tmp_path / "good.jpg", exif=exif)
    data = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "odd.jpg").write_bytes(
        data[:2] + b"\xff\xe0\0\7JFIF\0" + data[2:].replace(b"\xff\xe0\0\x10JFIF", b"\xff\xec\0\x10JFIF")
    )
    for name in ("good.jpg", "odd.jpg"):
        assert image_source.picture(tmp_path / name, 0).size == (image.height, image.width)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("rubbish", [b"\xff\xff\xff\xff\0\0\0\x08", b"II*\0\x08\0\0\0\x02\0", b"II*\0"])
def test_a_page_is_none_the_worse_for_rubbish_in_its_exif(tmp_path: Path, rubbish: bytes) -> None:
    path = tmp_path / "scan.jpg"
    page().save(path, exif=b"Exif\0\0" + rubbish)
    shown = tasks.render_page(path, 0, size, View(turn=0))
    assert same(Image.frombytes("RGB", (SIZE.width, SIZE.height), shown.pixels))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_page_is_shown_as_its_exif_says_that_it_lies(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    whole = Image.new("L", (600, 800), "white")
    whole.paste(page().resize((300, 200)), (200, 50))
    lying = next(one for one in lyings(whole) if as_exif_says(one, exif).tobytes() == whole.tobytes())
    lying.save(tmp_path / "scan.png", exif=exif)
    assert image_source.picture(tmp_path / "scan.png", 0).tobytes() == whole.tobytes()
    how = [(274, "H", 1, orientation, True)]
    for name, levels in {"8.tif": np.asarray(lying), "16.tif": np.asarray(lying).astype(np.uint16) * 257}.items():
        tifffile.imwrite(tmp_path / name, levels, extratags=how)
        assert image_source.picture(tmp_path / name, 0).tobytes() == whole.tobytes(), name


def lyings(image: Image.Image) -> list[Image.Image]:
    return [image, *(image.transpose(way) for way in Image.Transpose)]


def as_exif_says(image: Image.Image, exif: Image.Exif) -> Image.Image:
    """What Pillow makes of it, in a copy."""
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    return ImageOps.exif_transpose(Image.open(file))


def of_three(tmp_path: Path, **how: Any) -> Path:
    path = tmp_path / "scan.tif"
    first, *others = (Image.effect_noise((60, 80), 40) for _ in range(3))
    first.save(path, save_all=True, append_images=others, **how)
    return path


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_cut_off_behind_a_page_says_that_pages_may_be_missing(tmp_path: Path, big: bool) -> None:  # noqa: FBT001
    path = of_three(tmp_path, big_tiff=big)
    assert not tasks.open_source(path).problems
    with tifffile.TiffFile(path) as file:
        os.truncate(path, file.pages[2].offset)
    facts = tasks.open_source(path)
    assert facts.pages == 2
    assert facts.problems == ("Pages of this TIFF may be missing: its list of pictures breaks off after 2.",)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("page", [0, 1])
def test_a_tiff_cut_off_within_what_it_says_of_a_page_is_not_delivered_as_whole(
    tmp_path: Path, page: int, *, big: bool
) -> None:
    path = of_three(tmp_path, big_tiff=big)
    with tifffile.TiffFile(path) as file:
        last = file.pages[page]
        end = last.offset + (8 + 20 * len(last.tags) + 8 if big else 2 + 12 * len(last.tags) + 4)
    for length in range(end - 1, end - 20, -1):
        os.truncate(path, length)
        assert truncation.lacks(path)
        with contextlib.suppress(DocumentError):
            (problem,) = tasks.open_source(path).problems
            assert problem.startswith("Pages of this TIFF may be missing: its list of pictures breaks off after ")


def test_a_tiff_whose_list_of_pictures_leads_back_has_each_once(tmp_path: Path) -> None:
    path = of_three(tmp_path)
    with tifffile.TiffFile(path) as file:
        first, _, last = (page.offset for page in file.pages)
        behind = last + 2 + 12 * len(file.pages[2].tags)
    data = bytearray(path.read_bytes())
    data[behind : behind + 4] = first.to_bytes(4, "little")
    path.write_bytes(data)
    facts = tasks.open_source(path)
    assert facts.pages == 3
    assert facts.problems == (
        "Pages of this TIFF may be missing: its list of pictures leads back into itself after 3.",
    )


def test_pictures_behind_the_first_of_a_pnm_are_told(tmp_path: Path) -> None:
    path = tmp_path / "scan.pgm"
    page().convert("L").save(path)
    once = path.read_bytes()
    path.write_bytes(once + b"\n")
    assert not tasks.open_source(path).problems
    path.write_bytes(once + b"\n" + once)
    (problem,) = tasks.open_source(path).problems
    assert problem.startswith("Only the first picture in this file was read.")


def test_a_tiff_whose_compression_is_not_known_says_which_it_is(tmp_path: Path) -> None:
    page().save(tmp_path / "scan.tif", compression="tiff_lzw")
    data = (tmp_path / "scan.tif").read_bytes()
    lzw, webp = (bytes((3, 1, 3, 0, 1, 0, 0, 0)) + number.to_bytes(2, "little") for number in (5, 50_001))
    assert data.count(lzw) == 1, "the entry of its directory that says how it is compressed"
    (tmp_path / "scan.tif").write_bytes(data.replace(lzw, webp))
    with pytest.raises(PageError, match="This TIFF, compressed as webp, can't be decoded"):
        tasks.render_page(tmp_path / "scan.tif", 0, size, View())


def broken(data: bytes, tag: int, value: int) -> bytes:
    """Change what a TIFF says in one entry of its directory, of one short number."""
    (changed,) = re.findall(re.escape(struct.pack("<HHI", tag, 3, 1)) + b"....", data, re.DOTALL)
    return data.replace(changed, changed[:8] + struct.pack("<HH", value, 0))


def test_a_tiff_without_one_of_its_strips_is_not_blank(tmp_path: Path) -> None:
    data = tiff(GREY.astype(np.uint16), photometric="miniswhite")
    there, missing = (struct.pack("<HHII", 279, 4, 1, length) for length in (2 * GREY.size, 0))
    assert data.count(there) == 1
    (tmp_path / "scan.tif").write_bytes(data.replace(there, missing))
    assert tasks.render_page(tmp_path / "scan.tif", 0, size, View()).facts.damage


REASON = "it is damaged, or of a kind that ocrd doesn't know"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (broken(tiff(GREY.astype(np.uint16)), 259, 4242), REASON),
        (broken(of_blocks(), 284, 2), REASON),
        (broken(pillow("TIFF", compression="tiff_lzw"), 259, 50_001), rf"{REASON} \(decoder error -2\)"),
    ],
)
def test_why_a_tiff_can_not_be_decoded_is_told_in_words(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "scan.tif").write_bytes(data)
    with pytest.raises(PageError, match=rf"This .+ can't be decoded: {reason}\. "):
        tasks.render_page(tmp_path / "scan.tif", 0, size, View())


def test_a_lack_of_memory_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(image_source, "_what_pillow_can", without_memory)
    (tmp_path / "scan.png").write_bytes(pillow("PNG")[:500])
    with pytest.raises(MemoryError):
        image_source.picture(tmp_path / "scan.png", 0)


@pytest.mark.parametrize(
    "suffix", ["jxl", "djvu", "jfif", "jpe", "bmp", "gif", "jp2", "j2k", "avif", "pbm", "pgm", "ppm"]
)
def test_images_are_sources_by_their_names(suffix: str) -> None:
    assert is_source_name(f"scan.{suffix}")
    assert is_source_name(f"SCAN.{suffix.upper()}")


@pytest.mark.parametrize("shape", [(1, 1), (64, 3), (65, 7), (200, 130)])
def test_the_rows_of_an_image_are_its_own_whatever_its_height(shape: tuple[int, int]) -> None:
    levels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert (source.pixels_of(Image.fromarray(levels)) == levels).all()
