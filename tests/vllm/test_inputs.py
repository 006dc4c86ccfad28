"""The render workers' views of a page against vLLM's own processor, bit for bit, and vLLM's reading of both."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import noise
from PIL import Image
from tiny_model import make

from ocrd.concurrency.worker_pool import Limits
from ocrd.engines.vllm import deepseek
from ocrd.engines.vllm.inputs import Inputs
from ocrd.rendering.renderer import Renderer

BFLOAT = [float(one) for one in torch.arange(256).float().div(255).sub(0.5).div(0.5).to(torch.bfloat16)]
"""What upstream's transforms make of each level, for a model in bfloat16."""


@pytest.fixture(scope="module", params=[640, 768])
def tile(request: pytest.FixtureRequest) -> int:
    """The tile of DeepSeek-OCR, and that of DeepSeek-OCR-2."""
    return int(request.param)


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory, tile: int) -> Iterator[Any]:
    """vLLM's front end for the model in bfloat16, without an engine behind it."""
    from vllm import AsyncEngineArgs
    from vllm.renderers import renderer_from_config

    model = make(tmp_path_factory.mktemp("model"), second=tile == 768)
    config = AsyncEngineArgs(
        model=str(model), load_format="dummy", dtype="bfloat16", max_model_len=2048, mm_processor_cache_gb=0
    ).create_engine_config()
    renderer = renderer_from_config(config)
    yield renderer
    renderer.shutdown()


@pytest.mark.parametrize(
    "size",
    [
        *deepseek.GRIDS,  # in tiles; the others in pixels
        (640, 640), (320, 200), (1, 1),  # seen as the overview alone
        (641, 300), (769, 800), (1190, 1684), (1684, 1190), (800, 1000), (1000, 800), (3000, 700),  # to be resampled
    ],
)  # fmt: skip
def test_both_ways_give_the_model_the_same(renderer: Any, tile: int, size: tuple[int, int]) -> None:
    if 1 < size[0] * size[1] <= 6:
        size = (size[0] * tile, size[1] * tile)
    tokenizer = renderer.get_tokenizer()
    prompt = (tokenizer.bos_token_id, *tokenizer.encode("<image>\nFree OCR.", add_special_tokens=False))
    inputs = Inputs(SimpleNamespace(renderer=renderer), tile)
    assert asyncio.run(inputs.agree(prompt, noise(*size), BFLOAT)) == ""


def test_a_difference_is_found(renderer: Any, tile: int) -> None:
    prompt = (1, *renderer.get_tokenizer().encode("<image>", add_special_tokens=False))
    inputs = Inputs(SimpleNamespace(renderer=renderer), tile)
    assert " of 640 x 1280 pixels" in asyncio.run(inputs.agree(prompt, noise(640, 1280), [0.0, *BFLOAT[1:]]))
    grey = Image.new("RGB", (640, 1280))
    grey.paste("white", (0, 0, 640, 640))  # brightened by us, since it would end vLLM
    assert " of 640 x 1280 pixels" in asyncio.run(inputs.agree(prompt, grey, BFLOAT))


def test_levels_become_the_numbers_of_the_table() -> None:
    from ocrd.engines.vllm.worker_extension import numbers

    view = torch.arange(256, dtype=torch.uint8).repeat(14, 3, 4, 1)
    table = torch.tensor(BFLOAT, dtype=torch.bfloat16)
    assert torch.equal(numbers(view, table), table[view.int()])
    assert numbers(view[:0], table).shape == (0, 3, 4, 256)


def test_a_path_of_a_page_through_the_workers_ends_in_the_same_views(tmp_path: Path) -> None:
    noise(640, 1280).save(tmp_path / "scan.png", dpi=(300, 300))

    async def work() -> None:
        renderer = Renderer(1, Limits(60, 2**31))
        sizer, make = deepseek.page_size, deepseek.Views()
        try:
            plain = await renderer.page(tmp_path / "scan.png", 0, sizer)
            ready = await renderer.page(tmp_path / "scan.png", 0, sizer, make)
            memory = memoryview(bytearray(make.room))
            image = Image.frombytes("RGB", (plain.size.width, plain.size.height), plain.pixels)
            assert ready.prepared == memory[: make(image, memory)]
            assert (ready.size, ready.facts, ready.pixels) == (plain.size, plain.facts, b"")
            assert ready.again is not None
            ready.free()
            assert (await ready.again()).size == plain.size
        finally:
            await renderer.close()

    asyncio.run(work())
