"""Measures the transformers engine on one GPU: a model of the published size with random weights, pages in memory.

    python3 bench/gpu/transformers_engine.py [--pages 24] [--tokens 800] [--device cuda:0] [--batch 8]

What `gpu.py --profile lighton-ocr-2 --parts memory` measures of vLLM, at the same size and number of tokens. Batches
are told of as they end.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bench/quality"), str(ROOT / "tests/vllm")]

import drawn  # noqa: E402 - found through the path above
from watcher import Watcher, tell  # noqa: E402

from ocrd.config.resolving import shipped  # noqa: E402
from ocrd.config.transformers import TransformersSettings  # noqa: E402
from ocrd.engines.transformers.engine import TransformersEngine  # noqa: E402
from ocrd.model import PageImage  # noqa: E402

PROFILE = "lighton-ocr-2"
"""The one whose published sizes are known for both engines."""


def pages(engine: TransformersEngine, folder: Path, count: int) -> list[PageImage]:
    """Draw pages at exactly the model's size, no two the same."""
    import pymupdf
    from PIL import Image

    size = engine.page_size(*drawn.A4)
    with pymupdf.open(drawn.pdf(folder / "pages.pdf", count)) as document:
        drawings = [page.get_pixmap(dpi=150) for page in document]
    edges = size.width, size.height
    images = [Image.frombytes("RGB", (one.width, one.height), one.samples).resize(edges) for one in drawings]
    return [PageImage(index, size, image.tobytes(), 150) for index, image in enumerate(images)]


async def main(options: argparse.Namespace) -> None:
    """Load the model and read the pages, as many at once as the engine wants."""
    from tiny_native import make

    profile, folder = shipped(PROFILE), Path(tempfile.mkdtemp(prefix="ocrd-gpu-"))
    model = await asyncio.to_thread(make, folder / "model", profile, real=not options.tiny)
    tell("model written", model)
    settings = TransformersSettings(
        model=str(model),
        device=options.device,
        dtype="float32" if options.tiny else "bfloat16",
        batch_size=options.batch or "auto",
        max_tokens=options.tokens,
    )
    engine = TransformersEngine(settings, profile)
    began = time.monotonic()
    await engine.start()
    tell("start", f"{time.monotonic() - began:.0f} s, {engine.info.facts}")
    sheets = await asyncio.to_thread(pages, engine, folder, options.pages)
    places, tokens, began = asyncio.Semaphore(engine.window), list[int](), time.monotonic()

    async def one(page: PageImage) -> None:
        async with places:
            tokens.append((await engine.read(page)).tokens)
        speed = len(tokens) / (time.monotonic() - began)
        tell("pages/s", f"{speed:.2f} of {len(tokens)} pages, {sum(tokens) / len(tokens):.0f} tokens each")

    async with Watcher([], "transformers").watch():
        await asyncio.gather(*map(one, sheets))
    await engine.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=800)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--batch", type=int, help="pages in a batch; by itself, as the engine chooses")
    parser.add_argument("--tiny", action="store_true", help="a model for the CPU, to try this script")
    asyncio.run(main(parser.parse_args()))
