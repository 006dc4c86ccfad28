"""The render workers' views of a page against vLLM's own processor, bit for bit, and vLLM's reading of both."""

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_models
import torch
from conftest import noise
from PIL import Image, ImageOps
from tiny_model import make

from ocrd.concurrency.worker_pool import Limits
from ocrd.config import profile as profiles
from ocrd.config.profile import ImageRule, Profile
from ocrd.config.resolving import shipped
from ocrd.engines import prompts
from ocrd.engines.vllm import deepseek, image_size, patches
from ocrd.engines.vllm.inputs import Inputs
from ocrd.errors import PageError
from ocrd.model import PagePreparer, PageSizer
from ocrd.rendering.renderer import Renderer

BFLOAT = [float(one) for one in torch.arange(256).float().div(255).sub(0.5).div(0.5).to(torch.bfloat16)]
"""What upstream's transforms make of each level, for a model in bfloat16."""


QWEN = [one for one in map(shipped, profiles.names()) if one.worker_views and one.image.scheme == "patches"]
"""The profiles whose models see patches, and see them through the render workers."""


@pytest.fixture(scope="module", params=[640, 768])
def tile(request: pytest.FixtureRequest) -> int:
    """The tile of DeepSeek-OCR, and that of DeepSeek-OCR-2."""
    return int(request.param)


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory, tile: int) -> Iterator[Any]:
    """The front end of DeepSeek-OCR, or its second."""
    renderer = tiny_models.front_end(make(tmp_path_factory.mktemp("model"), second=tile == 768), dtype="bfloat16")
    yield renderer
    renderer.shutdown()


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Profile], Any]]:
    """Give the front end for a profile's class."""
    made: dict[str, Any] = {}

    def of(profile: Profile) -> Any:
        (name,) = profile.architectures
        if name not in made:
            model = tiny_models.make(tmp_path_factory.mktemp("model"), name)
            made[name] = tiny_models.front_end(model, dtype="bfloat16")
        return made[name]

    yield of
    for one in made.values():
        one.shutdown()


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
    inputs = Inputs(SimpleNamespace(renderer=renderer), ImageRule(scheme="deepseek", tile=tile))
    assert asyncio.run(inputs.agree(prompt, noise(*size), BFLOAT)) == ""


def test_a_difference_is_found(renderer: Any, tile: int) -> None:
    prompt = (1, *renderer.get_tokenizer().encode("<image>", add_special_tokens=False))
    inputs = Inputs(SimpleNamespace(renderer=renderer), ImageRule(scheme="deepseek", tile=tile))
    assert " of 640 x 1280 pixels" in asyncio.run(inputs.agree(prompt, noise(640, 1280), [0.0, *BFLOAT[1:]]))
    grey = Image.new("RGB", (640, 1280))
    grey.paste("white", (0, 0, 640, 640))  # brightened by us, since it would end vLLM
    assert " of 640 x 1280 pixels" in asyncio.run(inputs.agree(prompt, grey, BFLOAT))


@pytest.mark.parametrize("points", [(595, 842), (842, 595), (200, 100), (20, 20), (300, 2000)])
@pytest.mark.parametrize("profile", QWEN, ids=lambda one: one.name)
def test_both_ways_give_a_model_that_sees_patches_the_same(
    qwen: Callable[[Profile], Any], profile: Profile, points: tuple[int, int]
) -> None:
    size = image_size.page_size(*points, rule=profile.image)
    prompt = prompts.tokens(qwen(profile).get_tokenizer(), profile, profile.prompt)
    inputs = Inputs(SimpleNamespace(renderer=qwen(profile)), profile.image)
    assert asyncio.run(inputs.agree(prompt, noise(size.width, size.height), [])) == ""


@pytest.mark.parametrize("frames", [1, 2])
def test_what_vllm_is_given_is_no_longer_in_the_memory_that_is_freed(
    qwen: Callable[[Profile], Any], frames: int
) -> None:
    profile = shipped("ovis-ocr-2")
    prompt = prompts.tokens(qwen(profile).get_tokenizer(), profile, profile.prompt)
    inputs = Inputs(SimpleNamespace(renderer=qwen(profile)), profile.image)
    memory = memoryview(bytearray(inputs.scheme.views.room))
    length = inputs.scheme.views(noise(448, 480), memory)
    asyncio.run(inputs.of_views(prompt, 448, 480, memory[:length]))
    (form,) = inputs._forms.values()
    (item,) = form["mm_kwargs"]["image"]
    item["pixel_values"] = dataclasses.replace(item["pixel_values"], data=torch.empty(0, frames * 3 * 16**2))
    given = asyncio.run(inputs.of_views(prompt, 448, 480, memory[:length]))
    pixels = given["mm_kwargs"]["image"][0]["pixel_values"].data
    before = pixels.clone()
    memory[:length] = bytes(length)
    assert pixels.shape == (28 * 30, frames * 3 * 16**2)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("size", [(448, 470), (3200, 3200)])
def test_an_image_that_the_model_does_not_see_so_costs_only_its_page(size: tuple[int, int]) -> None:
    made = patches.views(shipped("ovis-ocr-2").image)
    with pytest.raises(PageError, match=f"{size[0]} x {size[1]} pixels"):
        made(Image.new("RGB", size), memoryview(bytearray(made.room)))


class Mirrored(patches.Views):
    """Patches of the page as a mirror shows it."""

    def __call__(self, image: Image.Image, memory: memoryview) -> int:
        return super().__call__(ImageOps.mirror(image), memory)


def test_patches_that_vllm_would_not_show_are_found(qwen: Callable[[Profile], Any]) -> None:
    profile = shipped("ovis-ocr-2")
    prompt = prompts.tokens(qwen(profile).get_tokenizer(), profile, profile.prompt)
    inputs = Inputs(SimpleNamespace(renderer=qwen(profile)), profile.image)
    assert asyncio.run(inputs.agree(prompt, noise(448, 480), [])) == ""
    assert asyncio.run(inputs.agree(prompt, noise(96, 96), [])) == "prompt_token_ids", "vLLM draws it larger"
    inputs.scheme.views = Mirrored(16, 448 * 480)
    assert asyncio.run(inputs.agree(prompt, noise(448, 480), [])) == "pixel_values of 448 x 480 pixels"


def test_levels_become_the_numbers_of_the_table() -> None:
    from ocrd.engines.vllm.worker_extension import numbers

    view = torch.arange(256, dtype=torch.uint8).repeat(14, 3, 4, 1)
    table = torch.tensor(BFLOAT, dtype=torch.bfloat16)
    assert torch.equal(numbers(view, table), table[view.int()])
    assert numbers(view[:0], table).shape == (0, 3, 4, 256)


@pytest.mark.parametrize(
    ("sizer", "make"),
    [
        (deepseek.page_size, deepseek.Views()),
        (partial(image_size.page_size, rule=QWEN[0].image), patches.views(QWEN[0].image)),
    ],
    ids=["tiles", "patches"],
)
def test_a_path_of_a_page_through_the_workers_ends_in_the_same_views(
    tmp_path: Path, sizer: PageSizer, make: PagePreparer
) -> None:
    noise(640, 1280).save(tmp_path / "scan.png", dpi=(300, 300))

    async def work() -> None:
        renderer = Renderer(1, Limits(60, 2**31))
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
