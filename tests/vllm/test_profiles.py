"""Each profile's class in the real vLLM, tiny and with random weights: what is shown of a page, and a page read.

A start takes half a minute, so `make test` reads with two of the classes, drawn by the seed, and `make test-all`
(OCRD_PROFILES=0) with all of them. What none of them can show here is in docs/engines.md.
"""

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sampling
import yaml
from conftest import EXTRA, Running, page
from PIL import Image
from tiny_models import front_end, make

from ocrd.config import profile as profiles
from ocrd.config.profile import Profile
from ocrd.config.resolving import shipped
from ocrd.config.vllm import VllmSettings
from ocrd.engines import prompts
from ocrd.engines.vllm import image_size, setup
from ocrd.engines.vllm.inputs import Inputs
from ocrd.errors import ConfigError
from ocrd.model import PixelSize

BY_CLASS = {shipped(name).architectures: shipped(name) for name in reversed(profiles.names()) if name != "markdown"}
"""One profile for each class."""

COUNT = int(os.environ.get("OCRD_PROFILES", "2"))
"""How many classes read in this run; 0: all."""

NOT_ON_THE_CPU = {"unlimited-ocr"}
"""Its attention has no kernel for the CPU; its front end is the same everywhere."""

BFLOAT = {"Qwen3_5ForConditionalGeneration": {"dtype": "bfloat16"}}
"""What its linear attention takes on the CPU."""

CONTEXT = 8192


DOCUMENTED = re.search(
    r"^```yaml\n(source: .*?)^```$",
    (Path(__file__).parents[2] / "docs/engines.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
"""The profile that the documentation writes in ten lines."""


def drawn(count: int, *, but_for: set[str] = frozenset()) -> list[Profile]:
    """Draw so many of the classes; all for none."""
    among = [one for one in BY_CLASS.values() if one.name not in but_for]
    return sampling.generator("profiles").sample(among, count) if COUNT else among


def documented() -> Profile:
    assert DOCUMENTED
    return Profile.model_validate(yaml.safe_load(DOCUMENTED[1]) | {"name": "page-reader"})


@pytest.fixture(scope="module", params=[*drawn(COUNT + 1), documented()], ids=lambda one: one.name)
def shown(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Profile, Any]]:
    """A profile, and vLLM's front end for its model, without an engine behind it."""
    model = make(tmp_path_factory.mktemp("model"), request.param.architectures[0])
    renderer = front_end(model, dtype="float32", max_model_len=CONTEXT, **request.param.arguments)
    yield request.param, renderer
    renderer.shutdown()


@pytest.mark.parametrize("points", [(595, 842), (842, 595), (200, 100), (300, 2000), (1191, 1684)])
def test_a_page_takes_as_many_tokens_as_predicted_and_is_not_resized(
    shown: tuple[Profile, Any], points: tuple[int, int]
) -> None:
    profile, renderer = shown
    size = image_size.page_size(*points, rule=profile.image)
    form = _form(profile, renderer, size)
    (place,) = form["mm_placeholders"]["image"]
    assert place.get_num_embeds() == image_size.tokens(size, profile.image)
    pixels = {name: element.data for name, element in form["mm_kwargs"]["image"][0].items()}
    assert _pixels_seen(profile, pixels) == size.width * size.height


def _form(profile: Profile, renderer: Any, size: PixelSize) -> dict[str, Any]:
    tokens = prompts.tokens(renderer.get_tokenizer(), profile, profile.prompt)
    inputs = Inputs(SimpleNamespace(renderer=renderer), profile.image)
    return asyncio.run(inputs.upstream(tokens, Image.new("RGB", (size.width, size.height), "white")))


def _pixels_seen(profile: Profile, pixels: dict[str, Any]) -> int:
    """Count the pixels that upstream's processor made of the image, without those of the view of the whole."""
    match profile.image.scheme:
        case "deepseek":
            return int(pixels["images_crop"].numel()) // 3
        case "internvl" | "idefics3":
            tiles = pixels["pixel_values_flat" if profile.image.scheme == "internvl" else "pixel_values"]
            return (len(tiles) - (len(tiles) > 1)) * profile.image.tile**2
        case _ if "image_grid_thw" in pixels:
            frames, high, wide = pixels["image_grid_thw"].tolist()
            return frames * high * wide * (profile.image.factor // 2) ** 2
        case _:
            return int(pixels["pixel_values"].numel()) // 3


@pytest.mark.parametrize("profile", drawn(COUNT, but_for=NOT_ON_THE_CPU), ids=lambda one: one.name)
def test_the_engine_reads_a_page_as_the_profile_says(profile: Profile, tmp_path: Path) -> None:
    settings = VllmSettings(
        model=str(make(tmp_path / "model", profile.architectures[0])),
        max_tokens=24,
        max_num_seqs=2,
        max_num_batched_tokens=2048,
        max_model_len=CONTEXT,
        hang_after="3min",
        extra=EXTRA | BFLOAT.get(profile.architectures[0], {}),
    )
    running = Running(settings, tmp_path / "engines", profile)
    try:
        size = running.engine.page_size(100, 140)
        reading = running.run(running.engine.read(page(0, (size.width, size.height))))
        assert reading.finish_reason in ("stop", "length")
        assert 0 < reading.tokens <= 24
        params = running.core._params(running.engine.rungs[next(iter(running.engine.rungs))])
        assert params.stop == list(profile.stop)
        assert {"prefix cache off", "image cache off"} <= set(running.engine.info.facts)
        views = running.engine.prepare
        assert (views is not None) == profile.worker_views, running.engine.info.facts
        if views and not profile.temperature:
            running.core.views = None
            assert running.run(running.engine.read(page(0, (size.width, size.height)))).text == reading.text
    finally:
        running.close()


def test_a_model_of_another_class_is_refused_before_vllm_starts(tmp_path: Path) -> None:
    from ocrd.engines.vllm.engine import VllmEngine

    model = make(tmp_path / "model", "Idefics3ForConditionalGeneration")
    engine = VllmEngine(VllmSettings(model=str(model), extra=EXTRA), tmp_path / "engines")
    with pytest.raises(ConfigError, match="Idefics3ForConditionalGeneration, and the profile deepseek-ocr") as refused:
        asyncio.run(_start(engine))
    assert "granite-docling" in refused.value.remedy


async def _start(engine: Any) -> None:
    try:
        await engine.start()
    finally:
        await engine.close()


def test_the_prompt_goes_through_the_models_template(shown: tuple[Profile, Any]) -> None:
    profile, renderer = shown
    tokenizer = renderer.get_tokenizer()
    said = tokenizer.decode(prompts.tokens(tokenizer, profile, "Before<image>after"))
    if not profile.chat:
        assert said == f"{tokenizer.bos_token}Before<image>after"
        return
    begin, _, end = said.partition("Before")
    image, _, end = end.partition("after")
    assert begin == "<|im_start|>user\n"
    assert end == "<|im_end|>\n<|im_start|>assistant\n"
    assert image.strip() in (
        "<image>",
        "<|image_pad|>",
        "<|vision_start|><|image_pad|><|vision_end|>",
        profile.image_token,
    )


def test_a_model_without_a_template_is_refused() -> None:
    tokenizer = SimpleNamespace(chat_template=None)
    with pytest.raises(ConfigError, match="lighton-ocr-2 wants a chat template"):
        prompts.tokens(tokenizer, shipped("lighton-ocr-2"), "<image>")


def test_smart_resize_is_that_of_transformers() -> None:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    dice = sampling.generator("smart resize")
    for name in ("ovis-ocr-2", "dots-mocr"):
        rule = shipped(name).image
        assert rule.max_pixels
        for _ in range(2000):
            width, height = dice.randint(rule.factor, 6000), dice.randint(rule.factor, 6000)
            if max(width, height) < 200 * min(width, height):
                theirs = smart_resize(height, width, rule.factor, rule.min_pixels, rule.max_pixels)
                ours = image_size.fitted(width, height, rule)
                assert (ours.height, ours.width) == theirs, (name, width, height)


def test_what_is_asked_of_vllm_has_the_profiles_arguments_below_the_owners() -> None:
    from ocrd.config.resolving import resolve

    chosen = shipped("lighton-ocr-2").model_copy(update={"arguments": {"seed": 1, "dtype": "bfloat16"}})
    asked = setup.engine_arguments(resolve(VllmSettings(extra={"dtype": "float16"}), chosen), "0.33.0")
    assert (asked["seed"], asked["dtype"]) == (1, "float16")
    assert "compilation_config" not in asked, "its vision tower has no such graphs"
