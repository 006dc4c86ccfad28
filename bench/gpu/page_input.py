"""Measures what it costs to make vLLM's input of a page, without a card: by vLLM, and from the render workers' views.

    python bench/gpu/page_input.py [--profile ovis-ocr-2] [--pages 20]

CPU milliseconds for an A4 page, in turns:

    vllm      vLLM's own processor, in the service's process
    views     the views put into vLLM's form, in the service's process
    worker    the views made of the drawn page, in a render worker
"""
# ruff: noqa: D103 - a script

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bench/quality"), str(ROOT / "tests/vllm")]

import drawn  # noqa: E402 - found through the path above

from ocrd.config.resolving import shipped  # noqa: E402
from ocrd.engines import prompts, vision_model  # noqa: E402
from ocrd.engines.vllm.inputs import Inputs  # noqa: E402


async def main(options: argparse.Namespace) -> None:
    import tiny_models
    import torch
    from PIL import Image

    torch.set_num_threads(1)
    profile = shipped(options.profile)
    folder = tempfile.TemporaryDirectory()
    model = tiny_models.make(Path(folder.name), profile.architectures[0])
    renderer = tiny_models.front_end(model, dtype="bfloat16")
    inputs = Inputs(SimpleNamespace(renderer=renderer), profile.image)
    prompt = prompts.tokens(renderer.get_tokenizer(), profile, profile.prompt)
    size = vision_model.page_size(profile.image)(*drawn.A4)
    image = Image.effect_noise((size.width, size.height), 60).convert("RGB")
    memory = memoryview(bytearray(inputs.scheme.views.room))
    length = inputs.scheme.views(image, memory)

    async def vllm() -> None:
        await inputs.upstream(prompt, image)

    async def views() -> None:
        await inputs.of_views(prompt, size.width, size.height, memory[:length])

    async def worker() -> None:
        inputs.scheme.views(image, memory)

    print(f"{profile.name}: {size.width} x {size.height} pixels")
    ways = (vllm, views, worker)
    found: dict[str, list[float]] = {way.__name__: [] for way in ways}
    for turn in range(options.pages + 1):
        for way in ways:
            began = time.process_time()
            await way()
            if turn:  # the first makes the form
                found[way.__name__].append((time.process_time() - began) * 1000)
    for name, took in found.items():
        print(f"{name:6} {median(took):6.1f} ms a page ({min(took):.1f} to {max(took):.1f})")
    renderer.shutdown()
    folder.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="ovis-ocr-2")
    parser.add_argument("--pages", type=int, default=20)
    asyncio.run(main(parser.parse_args()))
