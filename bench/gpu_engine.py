"""Measures the resident engine on one GPU, through ocrd's own module: speed, a killed EngineCore, rest and return.

    python3 bench/gpu_engine.py [--pages 256] [--tokens 800] [--seconds 560]

Takes a model of DeepSeek-OCR's real size with random weights, so the speed is the real model's at equal token counts
and the text is noise. Prints each figure as soon as it is there, and begins no part that may not end in time.
"""
# ruff: noqa: SLF001 - it measures what the engine hides

import argparse
import asyncio
import itertools
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "vllm")]

from ocrd.engines.residence import Rest  # noqa: E402 - found through the path above
from ocrd.engines.vllm import VllmEngine  # noqa: E402
from ocrd.model import PageImage, PixelSize  # noqa: E402
from ocrd.vllm_settings import Idle, VllmSettings  # noqa: E402

A4 = (595.0, 842.0)
BEGAN = time.monotonic()


def tell(what: str, value: object) -> None:
    """Print a figure, with the seconds since the beginning."""
    print(f"{time.monotonic() - BEGAN:6.0f} s | {what}: {value}", flush=True)


def card() -> str:
    """Return the memory that the card has in use."""
    command = ["nvidia-smi", "--query-gpu=memory.used,memory.total", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def drawn_pages(size: PixelSize, count: int) -> list[PageImage]:
    """Draw pages of letters, so that no two are the same."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=24)
    dice = random.Random(1)  # noqa: S311 - no secret
    pages = []
    for index in range(count):
        image = Image.new("RGB", (size.width, size.height), "white")
        draw = ImageDraw.Draw(image)
        for top in range(100, size.height - 100, 36):
            draw.text((100, top), "".join(dice.choices("abcdefghij klmnopqrst", k=80)), fill="black", font=font)
        pages.append(PageImage(index, size, image.tobytes(), dpi=155))
    return pages


class Bench:
    """One engine and the parts of the measurement."""

    def __init__(self, engine: VllmEngine, pages: list[PageImage]) -> None:
        self.engine = engine
        self.pages = pages

    async def read(self, count: int) -> float:
        """Read so many pages, as many at once as the engine wants; return the seconds."""
        window = asyncio.Semaphore(self.engine.window)

        async def one(page: PageImage) -> int:
            async with window:
                return (await self.engine.read(page)).tokens

        began = time.monotonic()
        tokens = await asyncio.gather(*map(one, itertools.islice(itertools.cycle(self.pages), count)))
        seconds = time.monotonic() - began
        tell(
            f"{count} pages", f"{seconds:.1f} s, {count / seconds:.2f} pages/s, {sum(tokens) / count:.0f} tokens a page"
        )
        return seconds

    async def speed(self, count: int, tokens: int) -> None:
        core = self.engine._residence._core
        core._params = lambda *_: core._sampling(max_tokens=tokens, ignore_eos=True)
        await self.read(16)  # the first pages compile kernels
        before = time.process_time()
        await self.read(count)
        tell("CPU of this process, a page", f"{(time.process_time() - before) / count * 1000:.0f} ms")

    async def half_black(self) -> None:
        size = self.pages[0].size
        half = size.width * size.height * 3 // 2
        pid = self.engine._home.pid
        await self.engine.read(PageImage(0, size, b"\0" * half + b"\xff" * half, dpi=155))
        tell("half-black page", f"read, the engine lives on: {self.engine._home.pid == pid}")

    async def killed(self, count: int) -> None:
        pages = asyncio.create_task(self.read(count))
        await asyncio.sleep(8)
        os.kill(self.engine._home.pid, signal.SIGKILL)
        tell("EngineCore killed with pages in it", f"{self.engine._home.pid} is gone")
        await pages
        tell("all pages finished after the kill, with", f"{self.engine._residence._setbacks} setbacks left over")

    async def rest(self, how: str) -> None:
        residence = self.engine._residence
        tell(f"card before {how}", card())
        residence.rest = Rest(0.5, how)
        residence._plan_rest()
        while not (residence._asleep or residence._core is None) or residence._change.locked():
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)  # the driver takes a moment to give memory back
        tell(f"card after {how}", card())
        residence.rest = Rest(3600, "keep")
        began = time.monotonic()
        await self.engine.read(self.pages[0])
        tell(f"first page after {how}", f"{time.monotonic() - began:.1f} s")
        tell("card awake again", card())


async def main(options: argparse.Namespace) -> None:
    """Start the engine and go through the parts."""
    from tiny_model import REAL, make

    settings = VllmSettings(
        model=str(make(Path(tempfile.mkdtemp()), REAL)),
        max_tokens=options.tokens,
        renderer_num_workers=8,
        idle=Idle(after="1h", do="sleep"),
        extra={"load_format": "dummy", "dtype": "bfloat16"},
    )
    engine = VllmEngine(settings)
    tell("card before the start", card())
    began = time.monotonic()
    await engine.start()
    start = time.monotonic() - began
    tell("start", f"{start:.0f} s")
    tell("engine", engine.info)
    tell("card with the engine", card())
    bench = Bench(engine, drawn_pages(engine.page_size(*A4), 32))

    async def part(name: str, work: Callable[[], Awaitable[object]], needs: float) -> None:
        if time.monotonic() - BEGAN + needs > options.seconds:
            tell(name, f"left out: it may take {needs:.0f} s")
            return
        await work()

    await part("speed", lambda: bench.speed(options.pages, options.tokens), options.pages / 3 + 20)
    await part("half-black page", bench.half_black, 20)
    await part("sleep", lambda: bench.rest("sleep"), 40)
    await part("killed EngineCore", lambda: bench.killed(64), start + 60)
    await part("unload", lambda: bench.rest("unload"), start + 30)
    await engine.close()
    tell("card after the end", card())


if __name__ == "__main__":  # vLLM's processes import this file
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("ocrd").setLevel(logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=800)
    parser.add_argument("--seconds", type=float, default=560)
    asyncio.run(main(parser.parse_args()))
