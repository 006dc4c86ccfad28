"""The transformers engine with the real library: tiny models of each class, and a daemon whose model misbehaves."""

import asyncio
import json
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymupdf
import pytest
import sampling
import tiny_models
import torch
import transformers
import yaml
from conftest import page, until
from house import House, stop, wait_for
from PIL import Image
from proc import children, command_line
from test_profiles import documented
from tiny_native import make

from ocrd.concurrency import processes
from ocrd.config import profile as profiles
from ocrd.config.profile import Profile
from ocrd.config.resolving import shipped
from ocrd.config.transformers import TransformersSettings
from ocrd.engines import prompts
from ocrd.engines.transformers import setup
from ocrd.engines.transformers.engine import TransformersEngine
from ocrd.engines.transformers.model import Asked, Bans, Model
from ocrd.engines.vllm import image_size, ngram
from ocrd.errors import ConfigError, EngineError
from ocrd.model import Approach, PixelSize

DOCS = Path(__file__).parents[2] / "docs/engines.md"

NEWER = {"unlimited-ocr"}
"""Wants a newer transformers than the oldest that ocrd takes."""

BY_CLASS = {
    known.architectures: known
    for known in map(shipped, profiles.names())
    if hasattr(transformers, known.native_class or "".join(known.architectures))
}
"""One profile for each class that the installed transformers has."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums come out the same, whatever is reckoned beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("profile", [*BY_CLASS.values(), documented()], ids=lambda one: one.name)
def test_each_class_reads_a_batch_as_it_reads_its_pages_alone(profile: Profile, tmp_path: Path) -> None:
    settings = TransformersSettings(model=str(make(tmp_path / "a model", profile)), device="cpu", dtype="float32")
    model = Model(setup.orders(settings, profile))
    assert model.batch == 8, "a tiny model has memory for as many as there may be"
    for points in ((595, 842), (842, 595), (200, 100)):
        size = image_size.page_size(*points, rule=profile.image)
        assert tokens_of_the_image(model, profile, size) == image_size.tokens(size, profile.image), points
    size = image_size.page_size(60, 80, rule=profile.image)
    chance = random.Random(profile.name)  # noqa: S311 - the same in each run: no answer ends by chance
    pages = [chance.randbytes(3 * size.width) * size.height for _ in range(2)]
    asked = Asked(size.width, size.height, profile.prompt, 8, 0.0, 3, 90, (), special_tokens=True)
    steps: list[int] = []
    alone = [model.read(asked, [page], lambda so_far: steps.append(so_far) or [False])[0] for page in pages]
    assert model.read(asked, pages, lambda _: [False, False]) == alone
    assert steps == [*range(1, alone[0].tokens + 1), *range(1, alone[1].tokens + 1)]
    given_up = model.read(asked, [pages[0]], lambda so_far: [so_far == 3])[0]
    assert given_up.tokens == 3
    assert alone[0].text.startswith(given_up.text.rstrip("\N{REPLACEMENT CHARACTER}"))


def tokens_of_the_image(model: Model, profile: Profile, size: PixelSize) -> int:
    """Count what stands most often in the prompt as upstream's processor makes it."""
    text = prompts.text(model._processor, profile, profile.prompt)
    image = Image.new("RGB", (size.width, size.height))
    made = model._processor(text=[text], images=[[image]], add_special_tokens=False, return_tensors="pt")
    return Counter(made["input_ids"][0].tolist()).most_common(1)[0][1]


def test_the_profiles_that_can_be_read_with_are_those_of_the_table() -> None:
    read_with = {one.name for one in map(shipped, profiles.names()) if one.architectures in BY_CLASS}
    rows = re.findall(r"^\| (`[a-z0-9`, -]+`) \|.*\| yes[^|]* \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert read_with | NEWER == {name for row in rows for name in re.findall("[a-z0-9-]+", row)}


@pytest.mark.parametrize("seed", range(20))
def test_the_bans_are_upstreams(seed: int) -> None:
    from vllm.model_executor.models.deepseek_ocr import NoRepeatNGramLogitsProcessor

    chance = sampling.generator("bans", seed)
    size, window = chance.randint(1, 4), chance.randint(1, 30)
    limits = ngram.Limits(size, window, frozenset(chance.sample(range(4), 1)))
    upstream = NoRepeatNGramLogitsProcessor(limits.ngram_size, limits.window_size, set(limits.whitelist))
    rows = [[chance.randrange(4) for _ in range(40)] for _ in range(3)]
    prompt = [[0, 1, 2, 3, 0, 1]] * len(rows)
    ours = Bans(limits, prompt=6)
    for length in range(len(rows[0])):
        given = torch.tensor([[*asked, *row[:length]] for asked, row in zip(prompt, rows, strict=True)])
        expected = torch.stack([upstream(row[:length], torch.zeros(4)) for row in rows])
        assert torch.equal(ours(given, torch.zeros(len(rows), 4)), expected)


CODE = """
import functools
import os
import time

import torch
from transformers import Qwen2_5_VLForConditionalGeneration


class MoodyModel(Qwen2_5_VLForConditionalGeneration):
    def generate(self, **inputs):
        pages = inputs["pixel_values"].chunk(len(inputs["input_ids"]))
        if len(pages) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if any(page.mean() < 0 for page in pages):
            os.kill(os.getpid(), 9)
        return super().generate(**inputs)

    @functools.wraps(Qwen2_5_VLForConditionalGeneration.forward)
    def forward(self, *inputs, **more):
        time.sleep(0.05)
        return super().forward(*inputs, **more)
"""
"""A model that has memory for two pages, and dies of a black one."""


@pytest.fixture(scope="module")
def moody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of such a model, which is its own code; transformers copies that to run it."""
    folder = make(tmp_path_factory.mktemp("moody"), shipped("olmocr-2"))
    (folder / "modeling_moody.py").write_text(CODE)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "architectures": ["MoodyModel"],
        "auto_map": {"AutoModelForImageTextToText": "modeling_moody.MoodyModel"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HF_MODULES_CACHE", str(tmp_path_factory.mktemp("copies")))
        yield folder


PROFILE: dict[str, Any] = {
    "source": "these tests",
    "licence": "MIT",
    "architectures": ["MoodyModel"],
    "prompt": "<image>Read.",
    "chat": True,
    "dialect": "markdown",
    "max_tokens": 6,
    "max_model_len": 2048,
    "image": {"scheme": "patches", "dpi": 72, "factor": 28},
}


class TransformersHouse(House):
    """Daemons over the model that misbehaves."""

    def begin(self, model: Path) -> None:
        (self.root / "moody.yaml").write_text(yaml.safe_dump(PROFILE))
        settings = {
            "model": str(model),
            "device": "cpu",
            "trust_remote_code": True,
            "batch_size": 8,
            "hang_after": "10s",
        }
        self.configure(
            engine={"kind": "transformers", "profile": "moody.yaml", "transformers": settings},
            watch={"pages": {"text_layer": "ignore", "second_readings": []}},  # noise would be read again and again
        )

    def drop(self, name: str, pages: int = 1, *, dark: int | None = None) -> None:
        """Drop a PDF of small pages, one of which may be dark for the most part."""
        document = pymupdf.open()
        for number in range(pages):
            page = document.new_page(width=140, height=140)
            page.insert_text((20, 30), f"{name} {number}")
            if number == dark:
                page.draw_rect((0, 40, 140, 140), fill=0)
        document.save(self.root / "part.pdf")
        (self.root / "part.pdf").rename(self.path(f"inbox/{name}"))

    def delivered(self, name: str, pages: int) -> str:
        """Wait until a document is delivered, and return its text, which has each of its pages."""
        wait_for(lambda: name in self.files("archive") or self.events("failed"))
        assert not self.events("failed")
        text = self.path(f"outbox/{name}").with_suffix(".md").read_text()
        assert [f"<!-- page {number} -->" in text for number in range(1, pages + 1)] == [True] * pages
        assert self.files("error") == []
        return text

    def pages_kept(self) -> int:
        return len(list((self.root / "scans" / ".inbox.ocrd-work").glob("*/pages/*.json")))

    def restarts(self) -> int:
        status = self.command("status", "--json")
        return int(json.loads(status.stdout)["engine"]["restarts"])


def worker(daemon: Any) -> int:
    """Wait for the model's process, and return its id."""
    found: list[int] = []

    def look() -> bool:
        found[:] = [pid for pid in children(daemon.pid) if b"transformers import worker" in command_line(pid)]
        return bool(found)

    wait_for(look)
    return found[0]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, moody: Path) -> Iterator[TransformersHouse]:
    house = TransformersHouse(tmp_path_factory.mktemp("a house"))
    house.begin(moody)
    yield house
    house.close()


def test_what_befalls_the_models_process_costs_only_the_page_that_kills_it(house: TransformersHouse) -> None:
    daemon = house.start()
    house.drop("many.pdf", 8)
    house.delivered("many.pdf", 8)
    assert "the memory is too short for so many pages at once: 2 are read from now on" in house.log.read_text()
    first = worker(daemon)

    house.drop("killer.pdf", 4, dark=1)
    text = house.delivered("killer.pdf", 4)
    assert set(re.findall("Page . ended the engine each of the . times", text)) == {
        "Page 2 ended the engine each of the 3 times"
    }, "with all four, with two, and alone"
    second = worker(daemon)
    assert second != first
    assert house.log.read_text().count("2 are read from now on") == 1, "what was found out is remembered"

    house.drop("killed.pdf", 6)
    wait_for(lambda: house.pages_kept() >= 2)
    os.kill(second, signal.SIGKILL)
    house.delivered("killed.pdf", 6)

    house.drop("hangs.pdf", 6)
    wait_for(lambda: house.pages_kept() >= 2)
    os.kill(worker(daemon), signal.SIGSTOP)
    house.delivered("hangs.pdf", 6)
    assert "gave no token for 10 seconds" in house.log.read_text()

    house.drop("long.pdf", 12)
    wait_for(lambda: house.pages_kept() >= 2)
    last = worker(daemon)
    daemon.kill()
    daemon.wait()
    wait_for(lambda: processes.started(last) < 0)
    daemon = house.start()
    house.delivered("long.pdf", 12)
    assert stop(daemon) == 0


def test_a_page_that_is_not_wanted_any_more_makes_room_for_the_next(moody: Path) -> None:
    settings = TransformersSettings(
        model=str(moody), device="cpu", trust_remote_code=True, batch_size=1, max_tokens=2000
    )
    asyncio.run(given_up(TransformersEngine(settings, Profile.model_validate(PROFILE | {"name": "moody"}))))


async def given_up(engine: TransformersEngine) -> None:
    await engine.start()
    core = engine.supervisor.core
    first = asyncio.create_task(engine.read(page(0, (140, 140))))
    await until(lambda: "1" in core._tokens)
    first.cancel()
    second = asyncio.create_task(engine.read(page(1, (140, 140)), approach=Approach(ngram_size=20)))
    await until(lambda: "2" in core._tokens)
    assert core.generated < 2000
    assert not second.done()
    await engine.close()
    with pytest.raises(EngineError, match="The engine is closed"):
        await second


def test_code_of_a_model_is_run_only_where_it_was_asked_for_and_is_pinned(moody: Path) -> None:
    profile = Profile.model_validate(PROFILE | {"name": "moody"})
    with pytest.raises(ConfigError, match="has no class MoodyModel") as refused:
        Model(setup.orders(TransformersSettings(model=str(moody), device="cpu"), profile))
    assert "trust_remote_code" in refused.value.remedy
    for revision in (None, "main", "0123456"):
        with pytest.raises(ConfigError, match="may have other code tomorrow"):
            setup.orders(TransformersSettings(model="some/Model", revision=revision, trust_remote_code=True), profile)
    pinned = TransformersSettings(model="some/Model", revision="0123456789" * 4, trust_remote_code=True)
    assert setup.orders(pinned, profile).trust_remote_code


def test_a_model_that_needs_code_of_its_own_says_so(tmp_path: Path) -> None:
    tiny_models.make(tmp_path / "model", "DeepseekOCRForCausalLM")
    settings = TransformersSettings(model=str(tmp_path / "model"), device="cpu")
    engine = TransformersEngine(settings, shipped("deepseek-ocr"))
    with pytest.raises(ConfigError, match=r"transformers 5.* has no class DeepseekOCRForCausalLM") as refused:
        asyncio.run(started(engine))
    assert "docs/engines.md" in refused.value.remedy
    tiny_models.make(tmp_path / "model", "DeepseekOCR2ForCausalLM")  # as its maker published it
    with pytest.raises(ConfigError, match="has no class DeepseekOCR2ForCausalLM"):
        Model(setup.orders(settings, shipped("deepseek-ocr-2")))


async def started(engine: TransformersEngine) -> None:
    try:
        await engine.start()
    finally:
        await engine.close()
