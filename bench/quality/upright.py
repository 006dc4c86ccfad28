"""What setting pages right is worth, and what verdicts hold of true readings: the cpu engine over the samples.

`python bench/quality/upright.py [SEED]`

The first page of each sample is scanned at 150 dpi, straight, turned and askew, and read with
`watches.pages.orientation` off and auto. Prints the character error rates and the verdicts; then how many of the good
readings, spoiled as `quality.py` does, are called bad.
"""

import asyncio
import random
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import pymupdf
import quality
import spoiled as bad
from cer import cer
from PIL import Image

from ocrd.concurrency.worker_pool import Limits
from ocrd.config.watch import Pages
from ocrd.engines.cpu.engine import CpuEngine
from ocrd.model import PageResult
from ocrd.pipeline.page_reader import PageReader
from ocrd.rendering.renderer import Renderer

SAMPLES = Path(__file__).parents[2] / "ocrd/samples"
NAMES = ("english", "russian", "table", "columns")
WAYS = {
    "straight": (0, 0.0),
    "on its side": (90, 0.0),
    "on its head": (180, 0.0),
    "askew 3°": (0, -3.0),
    "on its side, askew 2°": (270, 2.0),
}
"""Degrees clockwise: of the whole sheet, and of what is on it."""
TAGS = re.compile(r"<\|ref\|>.*?<\|/det\|>")
"""What an engine says of the places of its text."""
GOOD = 0.05
"""Share of wrong characters up to which a reading is good."""
LOST = 0.5
"""Share from which hardly anything was read."""


def scan(name: str, turn: int, skew: float, path: Path) -> None:
    """Scan the first page of a sample."""
    with pymupdf.open(SAMPLES / f"{name}.pdf") as document:
        pixmap = document[0].get_pixmap(dpi=150)
    flat = Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)
    paper = flat.getpixel((20, 20))
    askew = flat.rotate(-skew, Image.Resampling.BICUBIC, fillcolor=paper)
    askew.rotate(-turn, expand=True).save(path, dpi=(150, 150))


async def readings(folder: Path) -> AsyncIterator[tuple[str, str, str, PageResult]]:
    """Read every sample in every way with each setting: name, way, setting and result."""
    engine, renderer = CpuEngine(), Renderer(1, Limits(120, 2**31))
    await engine.start()
    try:
        for name in NAMES:
            for way, (turn, skew) in WAYS.items():
                path = folder / f"{name} {turn} {skew}.png"
                scan(name, turn, skew, path)
                for orientation in ("off", "auto"):
                    settings = Pages.model_validate({"orientation": orientation})
                    reader = PageReader(engine, renderer, settings)
                    yield name, way, orientation, await reader.read(path, 0, priority=0)
    finally:
        await engine.close()
        await renderer.close()


def spoiled(seed: str, results: list[PageResult]) -> dict[str, list[bool]]:
    """Spoil good readings in every way; returns for each whether each was called bad."""
    right = defaultdict(list)
    for number, result in enumerate(results):
        if result.reading is None or result.facts is None:
            continue
        for spoil in bad.TUNED:
            chance = random.Random(f"{seed} {number} {spoil.__name__}")  # noqa: S311
            text, finish = spoil(chance, result.reading.text)
            right[spoil.__name__].append(not quality.read(result.facts, text, finish))
    return right


async def main() -> None:
    """Print the tables."""
    good: list[PageResult] = []
    kept: dict[str, list[bool]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="ocrd-upright-") as folder:
        async for name, way, orientation, result in readings(Path(folder)):
            truth = (SAMPLES / f"{name}.txt").read_text(encoding="utf-8").partition("\f")[0]
            text = result.reading.text if result.reading else ""
            wrong = cer(truth, TAGS.sub("", text))
            if wrong <= GOOD:
                good.append(result)
                kept["good readings called good"].append(result.verdict.sound)
            elif wrong >= LOST:
                kept["lost readings called bad"].append(not result.verdict.sound)
            print(f"{name:9} {way:22} {orientation:5} {wrong:8.2%}  {result.verdict} {result.reason}", flush=True)
    for kind, cases in [*kept.items(), *spoiled(sys.argv[1] if len(sys.argv) > 1 else "true", good).items()]:
        print(f"{kind:30} {sum(cases):4} of {len(cases):4} right  {sum(cases) / len(cases):7.2%}")


if __name__ == "__main__":
    asyncio.run(main())
