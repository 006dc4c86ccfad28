"""Real files in real render workers: exact sizes, clear refusals, and a worker's death costs one page at most."""

import asyncio
import hashlib
import os
import signal
import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from PIL import Image, ImageDraw
from real_renderer import Sync, as_image, dark, fit

from ocrd.concurrency import processes
from ocrd.errors import IncompleteError, PageError
from ocrd.model import Opening, PageImage, PixelSize, SourceFacts, View
from ocrd.rendering import sources, tasks

MakePdf = Callable[..., Path]
SAMPLES = Path(__file__).parents[3] / "ocrd/samples"


def odd(_width: float, _height: float) -> PixelSize:
    return PixelSize(333, 777)


def kill_worker_once(marker: str, width: float, height: float) -> PixelSize:
    if not Path(marker).exists():
        Path(marker).mkdir()
        os.kill(os.getpid(), signal.SIGKILL)
    return fit(width, height)


def crash_workers_twice(marker: str, width: float, height: float) -> PixelSize:
    for number in range(2):
        if not Path(f"{marker}-{number}").exists():
            Path(f"{marker}-{number}").mkdir()
            crash_worker(width, height)
    return fit(width, height)


def crash_worker(_width: float, _height: float) -> PixelSize:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def write_a_file(path: str, width: float, height: float) -> PixelSize:
    try:
        Path(path).write_bytes(b"x")
    except OSError:
        return fit(width, height)
    raise AssertionError


@pytest.fixture(scope="module")
def renderer() -> Iterator[Sync]:
    """One worker for all tests that leave it whole."""
    made = Sync()
    yield made
    made.close()


@pytest.fixture
def mortal() -> Iterator[Sync]:
    """A worker to be killed."""
    made = Sync()
    yield made
    made.close()


@pytest.fixture
def frail() -> Iterator[Sync]:
    """A worker with the least memory that can be configured, and little time."""
    made = Sync(seconds=30.0, memory=2**30)
    yield made
    made.close()


# What can be read


def test_a_pdf_is_known_by_its_pages_and_its_hash(renderer: Sync, tmp_path: Path, make_pdf: MakePdf) -> None:
    path = make_pdf(tmp_path / "scan.pdf", pages=3)
    assert renderer.open(path) == SourceFacts("pdf", 3, hashlib.sha256(path.read_bytes()).hexdigest())
    assert asyncio.run(renderer.renderer.count_pages(path)) == 3
    assert renderer.page(path, 2).index == 2


def test_a_kind_is_told_by_the_content_and_not_by_the_name(renderer: Sync, tmp_path: Path, make_pdf: MakePdf) -> None:
    assert renderer.open(make_pdf(tmp_path / "really-a-pdf.png")).kind == "pdf"
    Image.new("RGB", (10, 10)).save(tmp_path / "really-a-png.pdf", "PNG")
    assert renderer.open(tmp_path / "really-a-png.pdf").kind == "png"


@pytest.mark.parametrize(
    ("width", "height"), [(595, 842), (841.89, 595.276), (100.3, 777.7), (14400, 14400), (3, 2000), (1, 1)]
)
def test_a_page_has_exactly_the_pixels_that_the_engine_wants(
    renderer: Sync, tmp_path: Path, make_pdf: MakePdf, width: float, height: float
) -> None:
    path = make_pdf(tmp_path / "scan.pdf", width=width, height=height)
    page = renderer.page(path)
    assert page.size == fit(width, height)
    assert as_image(page)
    assert page.dpi == pytest.approx(72 * page.size.width / width, rel=0.01, abs=0.1)
    assert renderer.page(path, sizer=odd).size == PixelSize(333, 777)


@pytest.mark.parametrize(("turn", "expected"), [(0, 0), (90, 1), (180, 3), (270, 2)])
def test_a_turned_page_is_rendered_as_it_is_displayed(renderer: Sync, tmp_path: Path, turn: int, expected: int) -> None:
    with pymupdf.open() as document:
        page = document.new_page(width=200, height=301)
        page.draw_rect((0, 0, 100, 150), fill=(0, 0, 0))
        page.set_rotation(turn)
        document.save(tmp_path / "scan.pdf")
    image = as_image(renderer.page(tmp_path / "scan.pdf"))
    assert image.size == ((532, 800) if turn in (0, 180) else (800, 532))
    assert dark(image) == tuple(quarter == expected for quarter in range(4))


def test_a_pdf_that_only_its_owner_may_change_is_read(renderer: Sync, tmp_path: Path, make_pdf: MakePdf) -> None:
    path = make_pdf(tmp_path / "scan.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, owner_pw="owner", permissions=0)
    assert renderer.open(path).pages == 1
    assert renderer.page(path).facts.ink > 0


def test_every_page_of_a_tiff_is_read(renderer: Sync, tmp_path: Path) -> None:
    pages = [Image.new("L", (200 + 10 * number, 300), 255) for number in range(3)]
    pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:], dpi=(100, 100))
    assert (renderer.open(tmp_path / "scan.tif").kind, renderer.open(tmp_path / "scan.tif").pages) == ("tiff", 3)
    for index in (2, 0, 1):
        page = renderer.page(tmp_path / "scan.tif", index)
        assert (page.index, page.size) == (index, fit(200 + 10 * index, 300))
        assert page.dpi == pytest.approx(100 * page.size.height / 300, rel=0.01)


def test_a_worker_does_not_grow_with_the_files_that_it_has_shown(tmp_path: Path) -> None:
    scan = (SAMPLES / "english.pdf").read_bytes()
    resident = []
    for number in range(60):
        path = tmp_path / f"{number}.pdf"
        path.write_bytes(scan)
        tasks.render_page(path, 0, fit, View())
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    assert resident[-1] - resident[10] < 8 * 2**20


def test_a_fax_of_one_bit_is_black_on_white(renderer: Sync, tmp_path: Path) -> None:
    image = Image.new("1", (400, 600), 1)
    ImageDraw.Draw(image).rectangle((0, 0, 200, 300), fill=0)
    image.save(tmp_path / "fax.tif", compression="group4", dpi=(204, 196))
    page = renderer.page(tmp_path / "fax.tif")
    assert dark(as_image(page)) == (True, False, False, False)
    assert page.facts.ink == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("orientation", "expected"), [(1, 0), (3, 3), (6, 1), (8, 2)])
def test_a_photograph_is_turned_as_its_camera_says(
    renderer: Sync, tmp_path: Path, orientation: int, expected: int
) -> None:
    image = Image.new("RGB", (400, 600), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 199, 299), fill="black")
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "photo.jpg", exif=exif)
    page = as_image(renderer.page(tmp_path / "photo.jpg"))
    assert page.size == ((533, 800) if orientation in (1, 3) else (800, 533))
    assert dark(page) == tuple(quarter == expected for quarter in range(4))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_paper(renderer: Sync, tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (400, 600), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((0, 0, 200, 300), fill=(0, 0, 0, 255))
    image.convert(mode).save(tmp_path / "scan.png")
    assert dark(as_image(renderer.page(tmp_path / "scan.png"))) == (True, False, False, False)


def test_sixteen_bits_of_grey_are_no_white_page(renderer: Sync, tmp_path: Path) -> None:
    dark_row, row = (2000).to_bytes(2, "little") * 200, (60000).to_bytes(2, "little") * 200
    pixels = (dark_row + row) * 300 + (row + row) * 300
    Image.frombytes("I;16", (400, 600), pixels).save(tmp_path / "scan.png")
    assert dark(as_image(renderer.page(tmp_path / "scan.png"))) == (True, False, False, False)


@pytest.mark.parametrize("dpi", [None, (0, 0), (1, 1), (100000, 100000)])
def test_an_image_that_does_not_say_how_large_it_is_has_been_scanned_at_300_dpi(
    renderer: Sync, tmp_path: Path, dpi: tuple[int, int] | None
) -> None:
    Image.new("RGB", (2480, 3508), "white").save(tmp_path / "scan.png", **({"dpi": dpi} if dpi else {}))
    page = renderer.page(tmp_path / "scan.png")
    assert page.dpi == pytest.approx(300 * 800 / 3508, rel=0.01)


def test_a_large_engineering_drawing_is_an_image(renderer: Sync, tmp_path: Path) -> None:
    Image.new("1", (19866, 28087), 1).save(tmp_path / "a0.tif", compression="group4", dpi=(600, 600))
    assert renderer.open(tmp_path / "a0.tif").pages == 1


# What can't be read


def test_an_empty_file_is_refused(renderer: Sync, tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").touch()
    assert renderer.refusal(tmp_path / "scan.pdf").what == "This file is empty (0 bytes)."


@pytest.mark.parametrize(
    "data",
    [b"Dear Sir,\n", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", b"\0" * 5000, b"PK\x03\x04 a zip"],
)
def test_what_is_only_named_like_a_source_is_refused(renderer: Sync, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "scan.pdf").write_bytes(data)
    assert "no PDF and no image that ocrd knows" in renderer.refusal(tmp_path / "scan.pdf").what


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_pdf_that_is_cut_off_is_refused_as_that(
    renderer: Sync, tmp_path: Path, make_pdf: MakePdf, share: float
) -> None:
    path = make_pdf(tmp_path / "scan.pdf", pages=4)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "cut off" in renderer.refusal(path).what


def test_a_pdf_with_a_password_is_refused(renderer: Sync, tmp_path: Path, make_pdf: MakePdf) -> None:
    path = make_pdf(tmp_path / "scan.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, owner_pw="owner", user_pw="user")
    error = renderer.refusal(path)
    assert error.what == "This PDF asks for a password."
    assert "without the password" in error.remedy


def test_a_pdf_without_pages_is_refused(renderer: Sync, tmp_path: Path, raw_pdf: MakePdf) -> None:
    path = raw_pdf(tmp_path / "scan.pdf", b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>")
    assert renderer.refusal(path).what == "This PDF has no pages."


def test_a_pdf_of_garbage_is_refused(renderer: Sync, tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.7\n" + b"\xffgarbage" * 500 + b"\n%%EOF\n")
    assert "This PDF" in renderer.refusal(tmp_path / "scan.pdf").what


@pytest.mark.parametrize("unit", [b"", b"/UserUnit 10"])
def test_a_page_of_two_kilometres_is_refused(renderer: Sync, tmp_path: Path, raw_pdf: MakePdf, unit: bytes) -> None:
    side = b"566930" if unit else b"5669300"
    path = raw_pdf(
        tmp_path / "scan.pdf",
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R%b/MediaBox[0 0 %b %b]>>" % (unit, side, side),
    )
    assert renderer.open(path).pages == 1
    with pytest.raises(PageError, match=r"This page is 2000\.00 m wide and 2000\.00 m high; no more than 353 m"):
        renderer.page(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_of_an_image_that_is_cut_off_the_rest_is_shown_as_damaged(renderer: Sync, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "scan.img"
    Image.effect_noise((300, 400), 80).save(path, kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    facts = renderer.page(path).facts
    assert not facts.blank
    assert facts.damage == "data of it can't be decoded"


def test_a_file_without_read_permission_is_refused(
    tmp_path: Path, run_python: Callable[..., Any], plain_user: dict[str, Any], make_pdf: MakePdf
) -> None:
    make_pdf(tmp_path / "scan.pdf").chmod(0)
    script = tmp_path / "try.py"
    script.write_text(
        "import asyncio, sys; from pathlib import Path\n"
        "from ocrd.rendering.renderer import Renderer; from ocrd.concurrency.worker_pool import Limits\n"
        "async def life():\n"
        "    renderer = Renderer(1, Limits(30, 2**31))\n"
        "    try: await renderer.open(Path(sys.argv[1]))\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
        "    await renderer.close()\n"
        "if __name__ == '__main__': asyncio.run(life())\n"
    )
    told = run_python(script, tmp_path / "scan.pdf", **plain_user)
    assert told.stdout.startswith("DocumentError ocrd may not read this file: permission denied. Make it readable"), (
        told.stderr
    )


# What does harm


def test_a_page_that_runs_into_a_limit_is_drawn_again_at_half_the_size(
    mortal: Sync, tmp_path: Path, make_pdf: MakePdf
) -> None:
    path = make_pdf(tmp_path / "scan.pdf")
    page = mortal.page(path, sizer=partial(crash_workers_twice, str(tmp_path / "crashed")))
    assert (tmp_path / "crashed-1").exists()
    assert page.size == fit(200, 300)
    assert page.facts.ink > 0


def test_a_page_that_takes_for_ever_is_given_up_and_the_next_one_is_read(
    tmp_path: Path, make_pdf: MakePdf, hanging_pdf: MakePdf
) -> None:
    short = Sync(seconds=3.0)
    try:
        path = hanging_pdf(tmp_path / "hanging.pdf")
        assert path.stat().st_size < 5000
        assert short.open(path).pages == 1
        with pytest.raises(PageError, match="Rendering this page took longer than 3 s"):
            short.page(path)
        assert short.page(make_pdf(tmp_path / "good.pdf")).facts.ink > 0
    finally:
        short.close()


def test_the_least_memory_that_can_be_configured_is_enough_for_an_ordinary_scan(
    frail: Sync, tmp_path: Path, make_pdf: MakePdf
) -> None:
    Image.effect_noise((2480, 3508), 80).convert("RGB").save(tmp_path / "scan.jpg", dpi=(300, 300))
    assert frail.page(tmp_path / "scan.jpg").size == fit(2480, 3508)
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.7 bad")
    frail.refusal(tmp_path / "bad.pdf")
    assert frail.page(make_pdf(tmp_path / "scan.pdf")).facts.ink > 0


def test_a_memory_bomb_is_given_up_and_the_next_page_is_read(frail: Sync, tmp_path: Path, make_pdf: MakePdf) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    side = 18000
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + 4 * side)) for _ in range(side)) + packer.flush()
    head = side.to_bytes(4) * 2 + b"\x08\x06\0\0\0"
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    with pytest.raises(PageError, match="needed more than 1024 MiB of memory"):
        frail.page(bomb)
    assert frail.page(make_pdf(tmp_path / "good.pdf")).facts.ink > 0


def test_a_worker_that_dies_once_is_forgiven(tmp_path: Path, make_pdf: MakePdf, mortal: Sync) -> None:
    path = make_pdf(tmp_path / "scan.pdf")
    page = mortal.page(path, sizer=partial(kill_worker_once, str(tmp_path / "killed")))
    assert (tmp_path / "killed").is_dir()
    assert page.size == fit(200, 300)


def test_a_page_that_crashes_its_worker_twice_is_given_up_and_the_others_are_read(
    tmp_path: Path, make_pdf: MakePdf, mortal: Sync
) -> None:
    path = make_pdf(tmp_path / "scan.pdf", pages=3)

    async def all_three() -> list[PageImage | BaseException]:
        sizers = [fit, crash_worker, fit]
        pages = [mortal.renderer.page(path, index, sizer) for index, sizer in enumerate(sizers)]
        return await asyncio.gather(*pages, return_exceptions=True)

    first, second, third = asyncio.run(all_three())
    assert isinstance(second, PageError)
    assert "crashed 2 workers" in second.what
    assert isinstance(first, PageImage)
    assert isinstance(third, PageImage)


def test_a_worker_killed_from_outside_costs_no_page(
    tmp_path: Path, make_pdf: MakePdf, mortal: Sync, eventually: Callable[..., None]
) -> None:
    path = make_pdf(tmp_path / "scan.pdf")
    mortal.page(path)
    (worker,) = mortal.renderer._pool.pids
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: processes.started(worker) == processes.GONE)
    assert mortal.page(path).facts.ink > 0


def test_a_worker_may_write_no_file(tmp_path: Path, make_pdf: MakePdf, renderer: Sync) -> None:
    path = make_pdf(tmp_path / "scan.pdf")
    assert renderer.page(path, sizer=partial(write_a_file, str(tmp_path / "written"))).facts.ink > 0


def test_a_page_that_is_not_there_is_the_pages_fault(renderer: Sync, tmp_path: Path, make_pdf: MakePdf) -> None:
    with pytest.raises(PageError):
        renderer.page(make_pdf(tmp_path / "scan.pdf"), 7)


def test_a_count_fails_only_where_more_is_to_come(renderer: Sync, tmp_path: Path, hanging_pdf: MakePdf) -> None:
    (tmp_path / "empty.pdf").touch()
    with pytest.raises(IncompleteError):
        asyncio.run(renderer.renderer.count_pages(tmp_path / "empty.pdf"))
    for path in (tmp_path / "gone.pdf", tmp_path, hanging_pdf(tmp_path / "hanging.pdf")):
        assert asyncio.run(renderer.renderer.count_pages(path)) == 1


# Ink


def noisy_paper(grey: int, sigma: float) -> Image.Image:
    noise = Image.effect_noise((1240, 1754), sigma)
    return noise.point(lambda value: max(0, min(255, value - 128 + grey)))


@pytest.mark.parametrize(("grey", "sigma"), [(255, 0), (235, 10), (200, 15), (245, 20)])
def test_a_blank_page_has_no_ink_however_noisy_the_scanner(
    renderer: Sync, tmp_path: Path, grey: int, sigma: float
) -> None:
    noisy_paper(grey, sigma).convert("RGB").save(tmp_path / "blank.jpg", dpi=(150, 150), quality=75)
    assert renderer.page(tmp_path / "blank.jpg").facts.blank


@pytest.mark.parametrize("text", ["7", "- 12 -"])
def test_a_lone_page_number_is_ink(renderer: Sync, tmp_path: Path, text: str) -> None:
    with pymupdf.open() as document:
        document.new_page(width=595, height=842).insert_text((290, 800), text, fontsize=11)
        document.save(tmp_path / "scan.pdf")
    assert not renderer.page(tmp_path / "scan.pdf").facts.blank


def test_white_letters_on_black_are_ink(renderer: Sync, tmp_path: Path) -> None:
    image = Image.new("L", (1240, 1754), 10)
    ImageDraw.Draw(image).rectangle((200, 200, 600, 260), fill=245)
    image.save(tmp_path / "negative.png", dpi=(150, 150))
    assert not renderer.page(tmp_path / "negative.png").facts.blank


def test_a_long_pdf_is_opened_anew_from_time_to_time_and_a_long_tiff_is_not(
    make_pdf: MakePdf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens: list[Path] = []
    really = sources._open
    monkeypatch.setattr(sources, "_MOST_LOOKS", 3)
    monkeypatch.setattr(sources, "_open", lambda path: opens.append(path) or really(path))
    path = make_pdf(tmp_path / "a.pdf")
    for _ in range(7):
        assert sources.opened(path).pages == 1
    assert opens == [path] * 3
    opens.clear()
    fax, sheet = tmp_path / "fax.tif", Image.new("1", (100, 100), 1)
    sheet.save(fax, save_all=True, append_images=[sheet] * 6, compression="group4")
    for _ in range(7):
        assert sources.opened(fax).pages == 7
    assert opens == [fax]
    sources.opened(path)  # which closes the other


@pytest.mark.filterwarnings("default")
def test_what_a_library_warns_of_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def warn(_: Path) -> None:
        warnings.warn("odd colours", UserWarning, stacklevel=1)

    tasks.on_source(Opening(), warn, tmp_path / "scan.pdf")
    assert capsys.readouterr().err == f"UserWarning: {tmp_path}/scan.pdf: odd colours\n"
