"""The cpu engine itself, reading the samples."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from PIL import Image, ImageDraw, ImageFont

from ocrd.concurrency import processes
from ocrd.engines.cpu import layout, steps
from ocrd.engines.cpu.engine import CpuEngine
from ocrd.engines.cpu.languages import installed_languages
from ocrd.engines.cpu.page_form import DPI, page_size
from ocrd.errors import ConfigError, EngineError, PageError
from ocrd.markup import layout_blocks
from ocrd.model import Opening, PageImage, PixelSize, View
from ocrd.rendering import source as page_source
from ocrd.rendering import tasks
from ocrd.rendering.page_layout import Word

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "ocrd/samples"
sys.path.append(str(ROOT / "bench/quality"))

from cer import cer  # noqa: E402 - a script, no package

needs_russian = pytest.mark.skipif("rus" not in installed_languages(), reason="needs Debian's tesseract-ocr-rus")

Read = Callable[..., str]
Workers = Callable[[], dict[int, float]]


def pages(name: str) -> list[PageImage]:
    with pymupdf.open(SAMPLES / name) as document:
        return [rendered(page, index) for index, page in enumerate(document)]


def rendered(page: pymupdf.Page, index: int) -> PageImage:
    size = page_size(page.rect.width, page.rect.height)
    scale = pymupdf.Matrix(size.width / page.rect.width, size.height / page.rect.height)
    pixmap = page.get_pixmap(matrix=scale, colorspace=pymupdf.csRGB, alpha=False)
    return PageImage(index, PixelSize(pixmap.width, pixmap.height), pixmap.samples, dpi=300)


def as_image(page: PageImage) -> Image.Image:
    return Image.frombytes("RGB", (page.size.width, page.size.height), page.pixels)


def as_page(image: Image.Image) -> PageImage:
    return PageImage(0, PixelSize(*image.size), image.convert("RGB").tobytes(), dpi=300)


def noise() -> PageImage:
    """Make a page that keeps Tesseract busy for seconds, and says nothing."""
    specks = Image.frombytes("L", (620, 877), random.Random(1).randbytes(620 * 877))  # noqa: S311 - the same each time
    return as_page(specks.resize((2480, 3508)))


def truth(name: str) -> str:
    return (SAMPLES / name).with_suffix(".txt").read_text(encoding="utf-8")


def untagged(text: str) -> str:
    return "\n\n".join(block.text for block in layout_blocks.parse(text))


@pytest.fixture(scope="module")
def read() -> Iterator[Read]:
    """Read pages, or a sample once; with one engine for each language."""
    with asyncio.Runner() as runner:
        engines: dict[str, CpuEngine] = {}
        known: dict[str, str] = {}

        def read_all(what: str | list[PageImage], language: str = "eng") -> str:
            if isinstance(what, str):
                if what not in known:
                    known[what] = read_all(pages(what), language)
                return known[what]
            if language not in engines:
                engines[language] = CpuEngine((language,), workers=1)
                runner.run(engines[language].start())
            readings = [runner.run(engines[language].read(image)) for image in what]
            assert [reading.index for reading in readings] == [image.index for image in what]
            assert {reading.finish_reason for reading in readings} == {"stop"}
            read_all.raw = "".join(reading.text for reading in readings)  # type: ignore[attr-defined]
            return "\f".join(untagged(reading.text) for reading in readings)

        yield read_all
        for engine in engines.values():
            runner.run(engine.close())


@pytest.mark.parametrize("name", ["english.pdf", "table.pdf", "columns.pdf", "letter.jpg", "fax.tif"])
def test_reads_english(read: Read, name: str) -> None:
    assert cer(truth(name), read(name)) < 0.005


@needs_russian
def test_reads_russian(read: Read) -> None:
    assert cer(truth("russian.pdf"), read("russian.pdf", "rus")) < 0.005


def test_a_heading_is_a_heading_and_a_table_is_a_table(read: Read) -> None:
    text = read("table.pdf")
    assert text.startswith("# Rainfall and river level, 2024\n\nThe gauge at Mill Bridge")
    assert "|January|84.2|163|+12|Osgood|\n" in text
    assert "|Total|446.8||-19||\n" in text


TABLE = (0.163, 299 / 1415, 0.687, 706 / 1415)
"""Where the table of its sample stands."""


def test_each_block_comes_with_its_place(read: Read) -> None:
    read(pages("table.pdf"))
    blocks = layout_blocks.parse(read.raw)  # type: ignore[attr-defined]
    assert [block.label for block in blocks[:3]] == ["sub_title", "text", "table"]
    boxes = [box for block in blocks for box in block.boxes]
    assert len(boxes) == len(blocks)
    assert all(above.bottom <= below.top + 0.01 for above, below in pairwise(boxes))
    assert boxes[2] == pytest.approx(TABLE, abs=0.03)


@pytest.mark.parametrize(("name", "plain"), [("english.pdf", True), ("turned.pdf", True), ("table.pdf", False)])
def test_a_page_of_plain_text_is_read_without_the_layout_model_and_comes_out_as_with_it(
    *, name: str, plain: bool
) -> None:
    image = as_image(pages(name)[0]).convert("L")
    if name == "turned.pdf":
        image = image.rotate(-90, expand=True)

    async def use() -> None:
        async with running("eng") as (engine, _):
            found = await engine._run(steps.read, "L", image.size, DPI, image.tobytes())
            assert bool(found.text) == plain
            assert bool(found.picture) != plain
            if plain:
                with_model = found._replace(picture=layout.as_jpeg(image.reduce(2)))
                theirs = await engine._layouts.run(steps.lay_out, with_model, image.size)
                both = [layout_blocks.parse(text) for text in (found.text, theirs)]
                ours, others = ([(block.label, block.text) for block in blocks] for blocks in both)
                assert ours == others

    asyncio.run(use())


def test_a_number_keeps_its_hyphen_at_the_end_of_a_line(read: Read) -> None:
    lines = [
        "The gauge was read for the first time on a day in spring that",
        "the records of this mill name only by its number, and that is 2024-",
        "1177, which is the number of the order as well; those of 12-",
        "13 are lost, since the box in which they lay was sold with the",
        "house, and nobody asked for it again before the winter came.",
    ]
    with pymupdf.open() as document:
        page = document.new_page()
        for number, line in enumerate(lines):
            page.insert_text((72, 100 + 16 * number), line, fontsize=12, fontname="tiro")
        pixmap = page.get_pixmap(dpi=300)
    text = read([as_page(Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples))])
    assert "2024-\n1177," in text
    assert "12-\n13 are" in text


def test_the_prices_of_a_receipt_stand_behind_its_articles(read: Read) -> None:
    image = Image.new("L", (1240, 1100), 255)
    draw, font = ImageDraw.Draw(image), ImageFont.truetype("DejaVuSansMono.ttf", 36)
    articles = {
        "Whole milk": "1.29", "Rye bread": "3.40", "Six eggs": "2.19", "Coffee beans": "11.90", "Oat flakes": "0.99",
        "Butter": "2.79", "Red apples": "4.35", "Candles": "5.50", "Total": "32.41",
    }  # fmt: skip
    draw.text((430, 90), "HARBOUR STORES", 0, font)
    for row, (article, price) in enumerate(articles.items()):
        draw.text((140, 220 + 80 * row), article, 0, font)
        draw.text((1100, 220 + 80 * row), price, 0, font, anchor="ra")
    words = " ".join(untagged(read([as_page(image)])).replace("|", " ").split())
    assert [f"{article} {price}" for article, price in articles.items() if f"{article} {price}" not in words] == []


def test_a_note_that_runs_up_the_margin_costs_nothing_of_the_page(read: Read) -> None:
    sheet = as_image(pages("fax.tif")[1])
    beside = sheet.rotate(90, expand=True).resize((sheet.width // 2, sheet.height))
    both = Image.new("RGB", (sheet.width + beside.width, sheet.height), "white")
    both.paste(beside, (0, 0))
    both.paste(sheet, (beside.width, 0))
    text = read([as_page(both)])
    words = set(truth("fax.tif").split("\f")[1].split())
    assert len(words & set(text.split())) > 0.8 * len(words)


def test_a_blank_page_is_empty_and_the_others_are_not(read: Read) -> None:
    first, blank, third = read("blank.pdf").split("\f")
    assert (bool(first), blank, bool(third)) == (True, "", True)


def test_a_picture_leaves_no_trace(read: Read) -> None:
    (page,) = pages("turned.pdf")
    image = as_image(page).rotate(-90, expand=True)
    image.paste(Image.effect_mandelbrot((1500, 1000), (-2, -1.5, 1, 1.5), 100), (500, 2200))
    assert cer(truth("turned.pdf"), read([as_page(image)])) < 0.005


def test_nothing_is_printed(read: Read, capfd: pytest.CaptureFixture[str]) -> None:
    read(pages("fax.tif"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [PixelSize(1, 1), PixelSize(1, 300), PixelSize(4096, 1)])
def test_the_smallest_pages_can_be_read(read: Read, size: PixelSize) -> None:
    assert not read([PageImage(0, size, bytes(3 * size.width * size.height), dpi=300)])


@pytest.mark.parametrize(
    ("points", "pixels"),
    [((595, 842), (2479, 3508)), ((842, 595), (3508, 2479)), ((14400, 7200), (4096, 2048)), ((14400, 1), (4096, 1))],
)
def test_pages_have_300_dpi_within_a_limit(points: tuple[float, float], pixels: tuple[int, int]) -> None:
    assert page_size(*points) == PixelSize(*pixels)


@pytest.mark.parametrize(
    ("name", "dpi"), [("english.pdf", 225), ("table.pdf", 300), ("columns.pdf", 300), ("fax.tif", 300)]
)
def test_scans_of_plain_text_are_read_as_well_from_fewer_pixels(read: Read, name: str, dpi: int) -> None:
    sizes = CpuEngine(("eng",)).page_size
    with page_source.opening(Opening()):
        images = [tasks.render_page(SAMPLES / name, index, sizes, View()) for index in range(len(pages(name)))]
    assert {round(image.dpi) for image in images} == {dpi}
    assert cer(truth(name), untagged(read(images))) < 0.005


def test_other_languages_are_read_from_all_pixels() -> None:
    assert CpuEngine(("eng", "jpn")).page_size is page_size
    assert CpuEngine(("eng",), letters="rapidocr").page_size is page_size


def test_a_language_that_is_not_installed_is_refused_with_its_command() -> None:
    with pytest.raises(ConfigError, match=r"'xxx_yyy' .* with tesseract; .*eng.* `apt-get .*-xxx-yyy`, or take it out"):
        asyncio.run(CpuEngine(("eng", "xxx_yyy")).start())


def test_rapidocr_refuses_the_languages_that_it_would_drop() -> None:
    with pytest.raises(ConfigError, match=r"'rus' .* with rapidocr; .*chi_sim.* engine.cpu.letters to tesseract"):
        asyncio.run(CpuEngine(("rus",), letters="rapidocr").start())


@asynccontextmanager
async def running(*languages: str, workers: int = 1) -> AsyncIterator[tuple[CpuEngine, Workers]]:
    """Run an engine; give also what tells the seconds of CPU used by each of its workers, by process id."""

    def used() -> dict[int, float]:
        return {pid: processes.used(pid).seconds for pid in engine._pool.pids}

    engine = CpuEngine(languages, workers=workers)
    try:
        await engine.start()
        yield engine, used
    finally:
        await engine.close()
        await engine.close()


async def wait_for_work(workers: Workers, eventually: Callable[..., None]) -> list[int]:
    """Wait until every worker is in the middle of a page."""
    before = workers()
    await asyncio.to_thread(eventually, lambda: all(now > before[pid] + 0.2 for pid, now in workers().items()))
    return list(before)


def test_languages_may_lie_in_several_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.traineddata").symlink_to(installed_languages()["eng"])
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))

    async def start(*languages: str) -> tuple[str, str]:
        async with running(*languages) as (engine, _):
            return engine.info.model.partition(" (")[2], engine.info.fingerprint

    both, alone = asyncio.run(start("mine", "eng")), asyncio.run(start("mine"))
    assert (both[0], alone[0]) == ("mine+eng)", "mine)")
    assert both[1] != alone[1]


def test_damaged_language_data_is_the_owners_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.traineddata").write_bytes(b"no model")
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))
    engine = CpuEngine(("bad",), workers=1)

    async def start() -> None:
        try:
            await engine.start()
        finally:
            await engine.close()

    with pytest.raises(ConfigError, match="can't load its data for bad"):
        asyncio.run(start())


def test_a_grey_page_in_shared_memory_reads_as_in_colour_and_gives_its_memory_back_at_once() -> None:
    (page,) = pages("letter.jpg")
    freed: list[str] = []

    async def use() -> None:
        async with running("eng") as (engine, _):
            memory = memoryview(bytearray(engine.prepare.room))
            length = engine.prepare(as_image(page), memory)
            assert length == page.size.width * page.size.height
            grey = replace(page, pixels=b"", prepared=memory[:length], free=lambda: freed.append("at once"))
            reading = asyncio.ensure_future(engine.read(grey))
            await asyncio.sleep(0)
            assert freed == ["at once"]
            memory[:] = bytes(len(memory))  # it is somebody else's now
            in_colour = await engine.read(page)
            assert ((await reading).text, (await reading).words) == (in_colour.text, in_colour.words)
            assert in_colour.text

    asyncio.run(use())


def test_a_worker_holds_little_memory_between_pages() -> None:
    async def use() -> None:
        async with running("eng") as (engine, workers):
            for page in pages("english.pdf"):
                assert (await engine.read(page)).text
            (worker,) = workers()
            rollup = Path(f"/proc/{worker}/smaps_rollup").read_text()
            (own,) = (int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_Dirty:"))
            assert own < 180 << 10  # KiB; what the model makes of a picture is 60 MiB

    asyncio.run(use())


def test_a_word_that_the_font_can_not_show_is_laid_as_one_of_the_same_length() -> None:
    font = pymupdf.Font(layout.FONT)

    def drawn(text: str) -> str:
        return layout._drawn(Word(text, 100, 300, 500, 40, 0), font, 0.24, 842)

    assert drawn("\U0001f600a") == drawn("xx") != drawn("xa")


def test_a_killed_worker_costs_no_page(eventually: Callable[..., None]) -> None:
    async def use() -> None:
        (page,) = pages("letter.jpg")
        async with running("eng", workers=2) as (engine, workers):
            await asyncio.gather(engine.read(page), engine.read(page))  # both have loaded their libraries
            tasks = [asyncio.create_task(engine.read(page)) for _ in range(engine.window)]
            victim, _ = await wait_for_work(workers, eventually)
            os.kill(victim, signal.SIGKILL)
            assert all(reading.text for reading in await asyncio.gather(*tasks))  # another worker read it
            assert (await engine.read(page)).text

    asyncio.run(use())


def test_a_worker_killed_between_pages_costs_nothing() -> None:
    async def use() -> None:
        (page,) = pages("letter.jpg")
        async with running("eng") as (engine, workers):
            (worker,) = workers()
            os.kill(worker, signal.SIGKILL)
            assert (await engine.read(page)).text

    asyncio.run(use())


def test_a_page_that_takes_too_long_is_given_up() -> None:
    async def use() -> None:
        async with running("eng") as (engine, _):
            engine._pool.limits = replace(engine._pool.limits, seconds=0.3)
            await engine.read(noise())

    with pytest.raises(PageError, match=r"took longer than 0\.3 s\."):
        asyncio.run(use())


def test_a_cancelled_page_is_given_up(eventually: Callable[..., None]) -> None:
    async def use() -> None:
        async with running("eng") as (engine, workers):
            task = asyncio.create_task(engine.read(noise()))
            (worker,) = await wait_for_work(workers, eventually)
            task.cancel()
            await asyncio.to_thread(eventually, lambda: worker not in workers())
            assert task.cancelled()

    asyncio.run(use())


def test_closing_gives_up_what_is_under_way(eventually: Callable[..., None]) -> None:
    async def use() -> None:
        async with running("eng") as (engine, workers):
            task = asyncio.create_task(engine.read(noise()))
            await wait_for_work(workers, eventually)
            await engine.close()
            assert task.cancelled()
            assert not workers()
            with pytest.raises(EngineError):
                await engine.read(noise())

    asyncio.run(use())


def test_no_worker_outlives_the_daemon(tmp_path: Path, eventually: Callable[..., None], run_python: Any) -> None:
    program = tmp_path / "program.py"
    program.write_text("""
import asyncio, os, signal
from ocrd.engines.cpu.engine import CpuEngine

async def main():
    engine = CpuEngine(("eng",), workers=1)
    await engine.start()
    print(*engine._pool.pids, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    asyncio.run(main())
""")
    told = run_python(program)
    assert told.returncode == -signal.SIGKILL, told.stderr
    eventually(lambda: not Path(f"/proc/{int(told.stdout)}/exe").exists())


def test_importing_the_engine_loads_no_heavy_library(run_python: Callable[..., Any]) -> None:
    told = run_python("-c", "import sys, ocrd.engines.cpu.engine; print(*sys.modules)")
    heavy = {"pymupdf", "pymupdf4llm", "onnxruntime", "tesserocr", "PIL", "numpy"}
    assert not set(told.stdout.split()) & heavy
