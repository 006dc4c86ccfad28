"""The cpu engine itself, reading the samples."""

import asyncio
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymupdf
import pytest

from ocrd.engines import cpu
from ocrd.engines.cpu import CpuEngine, page_size
from ocrd.errors import ConfigError, EngineError, PageError
from ocrd.model import PageImage, PixelSize

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "samples"
sys.path.append(str(ROOT / "bench"))

from cer import cer  # noqa: E402 - a script, no package

needs_russian = pytest.mark.skipif(
    "rus" not in cpu._installed_languages(),
    reason="needs Debian's tesseract-ocr-rus",
)


def pages(name: str) -> list[PageImage]:
    with pymupdf.open(SAMPLES / name) as document:
        return [rendered(page, index) for index, page in enumerate(document)]


def rendered(page: pymupdf.Page, index: int = 0, turn: int = 0) -> PageImage:
    page.set_rotation(turn) if turn else None
    size = page_size(page.rect.width, page.rect.height)
    scale = pymupdf.Matrix(size.width / page.rect.width, size.height / page.rect.height)
    pixmap = page.get_pixmap(matrix=scale, colorspace=pymupdf.csRGB, alpha=False)
    return PageImage(index, PixelSize(pixmap.width, pixmap.height), pixmap.samples, dpi=300, ink=0.05)


def noise(seed: int = 1) -> PageImage:
    """A page that keeps Tesseract busy for seconds, and says nothing."""
    from PIL import Image

    specks = Image.frombytes("L", (620, 877), random.Random(seed).randbytes(620 * 877))
    return as_page(specks.resize((2480, 3508)))


def as_page(image: "Image") -> PageImage:
    return PageImage(0, PixelSize(*image.size), image.convert("RGB").tobytes(), dpi=300, ink=0.5)


@asynccontextmanager
async def running(*languages: str, workers: int = 1, **more: Any) -> AsyncIterator[CpuEngine]:
    engine = CpuEngine(languages, workers=workers, **more)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()
        await engine.close()


@pytest.fixture(scope="module")
def read() -> Iterator[Callable[..., str]]:
    """Read a sample's pages in turn, with one engine for each set of languages."""
    with asyncio.Runner() as runner:
        engines: dict[str, CpuEngine] = {}

        def read_all(images: list[PageImage], language: str = "eng") -> str:
            if language not in engines:
                engines[language] = CpuEngine((language,), workers=1)
                runner.run(engines[language].start())
            readings = [runner.run(engines[language].read(image)) for image in images]
            assert [reading.index for reading in readings] == [image.index for image in images]
            assert {reading.finish_reason for reading in readings} == {"stop"}
            return "\f".join(reading.text for reading in readings)

        yield read_all
        for engine in engines.values():
            runner.run(engine.close())


@pytest.mark.parametrize("name", ["english.pdf", "table.pdf", "columns.pdf", "turned.pdf", "letter.jpg", "fax.tif"])
def test_reads_english(read: Callable[..., str], name: str) -> None:
    truth = (SAMPLES / name).with_suffix(".txt").read_text(encoding="utf-8")
    assert cer(truth, read(pages(name))) < 0.005


@needs_russian
def test_reads_russian(read: Callable[..., str]) -> None:
    truth = (SAMPLES / "russian.txt").read_text(encoding="utf-8")
    assert cer(truth, read(pages("russian.pdf"), "rus")) < 0.005


def test_a_heading_is_a_heading_and_a_table_is_a_table(read: Callable[..., str]) -> None:
    text = read(pages("table.pdf"))
    assert text.startswith("# Rainfall and river level, 2024\n\nThe gauge at Mill Bridge")
    assert "|January|84.2|163|+12|Osgood|\n" in text
    assert "|Total|446.8||-19||\n" in text


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_page_is_turned_back(read: Callable[..., str], turn: int) -> None:
    with pymupdf.open(SAMPLES / "fax.tif") as fax, pymupdf.open("pdf", fax.convert_to_pdf()) as document:
        text = read([rendered(document[1], turn=turn)])
    truth = (SAMPLES / "fax.txt").read_text(encoding="utf-8").split("\f")[1]
    assert cer(truth, text) < 0.005


def test_a_blank_page_is_empty_and_the_others_are_not(read: Callable[..., str]) -> None:
    text = read(pages("blank.pdf"))
    first, blank, third = text.split("\f")
    assert (bool(first), blank, bool(third)) == (True, "", True)


def test_a_picture_leaves_no_trace(read: Callable[..., str]) -> None:
    from PIL import Image

    (page,) = pages("turned.pdf")
    image = Image.frombytes("RGB", (page.size.width, page.size.height), page.pixels).rotate(-90, expand=True)
    image.paste(Image.effect_mandelbrot((1500, 1000), (-2, -1.5, 1, 1.5), 100), (500, 2200))
    truth = (SAMPLES / "turned.txt").read_text(encoding="utf-8")
    text = read([as_page(image)])
    assert cer(truth, text) < 0.01
    assert not {"<", "![", "picture text"} & set(text)


def test_nothing_is_printed(read: Callable[..., str], capfd: pytest.CaptureFixture[str]) -> None:
    read([noise(), *pages("blank.pdf")])
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("size", [PixelSize(1, 1), PixelSize(1, 300), PixelSize(4096, 1)])
def test_the_smallest_pages_can_be_read(read: Callable[..., str], size: PixelSize) -> None:
    assert not read([PageImage(0, size, bytes(3 * size.width * size.height), dpi=300, ink=1)])


def test_a_language_that_is_not_installed_is_refused_with_its_command() -> None:
    with pytest.raises(ConfigError, match=r"'xxx_yyy' .* read with tesseract; .* eng.* tesseract-ocr-xxx-yyy`"):
        asyncio.run(CpuEngine(("eng", "xxx_yyy")).start())


def test_rapidocr_refuses_the_languages_that_it_would_drop() -> None:
    with pytest.raises(ConfigError, match=r"'rus' .* rapidocr; .* chi_sim, .* engine.cpu.letters to tesseract"):
        asyncio.run(CpuEngine(("rus",), letters="rapidocr").start())


def test_data_may_lie_in_several_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.traineddata").symlink_to(cpu._installed_languages()["eng"])
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))

    async def use() -> None:
        async with running("mine", "eng") as engine:
            assert engine.info.model.endswith(" (mine+eng)")
            (page,) = pages("turned.pdf")
            assert "half past" not in (await engine.read(page)).text

    asyncio.run(use())


def test_damaged_data_is_the_owners_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.traineddata").write_bytes(b"no model")
    monkeypatch.setenv("TESSDATA_PREFIX", str(tmp_path))

    async def use() -> None:
        with pytest.raises(ConfigError, match="can't load its data for bad"):
            async with running("bad"):
                pass

    asyncio.run(use())


def test_the_fingerprint_tells_the_languages_apart() -> None:
    async def fingerprint(*languages: str) -> str:
        async with running(*languages) as engine:
            return engine.info.fingerprint

    async def compare() -> tuple[str, ...]:
        return await fingerprint("eng"), await fingerprint("eng"), await fingerprint("eng", "deu")

    first, again, other = asyncio.run(compare())
    assert first == again != other


def workers() -> dict[int, float]:
    """Seconds of CPU that each worker has used."""
    used = {}
    for child in multiprocessing.active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        used[child.pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


async def all_busy(eventually: Callable[..., None]) -> list[int]:
    """Wait until every worker is in the middle of a page."""
    before = workers()
    await asyncio.to_thread(eventually, lambda: all(now > before[pid] + 0.2 for pid, now in workers().items()))
    return list(before)


def test_a_killed_worker_costs_its_page_only(eventually: Callable[..., None]) -> None:
    async def use() -> None:
        (page,) = pages("turned.pdf")
        async with running("eng", workers=2) as engine:
            await asyncio.gather(engine.read(page), engine.read(page))  # both have loaded their libraries
            tasks = [asyncio.create_task(engine.read(page)) for _ in range(engine.window)]
            victim, _ = await all_busy(eventually)
            os.kill(victim, signal.SIGKILL)
            lost, kept = sorted(
                await asyncio.gather(*tasks, return_exceptions=True), key=lambda it: it.__class__.__name__
            )
            assert isinstance(lost, PageError)
            assert "killed its worker (exit code -9)" in lost.what
            assert kept == replace((await engine.read(page)), seconds=kept.seconds)

    asyncio.run(use())


def test_a_worker_killed_between_pages_costs_nothing() -> None:
    async def use() -> None:
        (page,) = pages("turned.pdf")
        async with running("eng") as engine:
            (worker,) = workers()
            os.kill(worker, signal.SIGKILL)
            assert (await engine.read(page)).text

    asyncio.run(use())


def test_a_page_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        async with running("eng") as engine:
            with monkeypatch.context() as hurry, pytest.raises(PageError, match=r"took longer than 0.3 s\."):
                hurry.setattr(cpu, "PAGE_SECONDS", 0.3)
                await engine.read(noise())
            (page,) = pages("turned.pdf")
            assert (await engine.read(page)).text

    asyncio.run(use())


def test_a_cancelled_page_is_given_up(eventually: Callable[..., None]) -> None:
    async def use() -> None:
        async with running("eng") as engine:
            task = asyncio.create_task(engine.read(noise()))
            (worker,) = await all_busy(eventually)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            await asyncio.to_thread(eventually, lambda: worker not in workers())

    asyncio.run(use())


def test_closing_gives_up_what_is_under_way(eventually: Callable[..., None]) -> None:
    async def use() -> None:
        async with running("eng") as engine:
            task = asyncio.create_task(engine.read(noise()))
            await all_busy(eventually)
            await engine.close()
            await asyncio.wait([task])
            assert task.cancelled()
            assert not workers()
            with pytest.raises(EngineError):
                await engine.read(noise())

    asyncio.run(use())


def test_no_worker_outlives_the_daemon(eventually: Callable[..., None], run_python: Callable[..., Any]) -> None:
    program = """
import asyncio, multiprocessing, os, signal
from ocrd.engines.cpu import CpuEngine

async def main():
    await CpuEngine(("eng",), workers=1).start()
    print(multiprocessing.active_children()[0].pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    asyncio.run(main())
"""
    told = run_python("-c", program)
    assert told.returncode == -signal.SIGKILL, told.stderr
    eventually(lambda: not Path(f"/proc/{int(told.stdout)}").exists())


def test_importing_the_engine_loads_no_heavy_library(run_python: Callable[..., Any]) -> None:
    told = run_python("-c", "import sys, ocrd.engines.cpu; print(*sys.modules)")
    assert not set(told.stdout.split()) & {
        "pymupdf",
        "pymupdf4llm",
        "onnxruntime",
        "tesserocr",
        "PIL",
        "numpy",
        "pebble",
    }
