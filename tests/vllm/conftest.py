"""What the tests of the real engine share: the tiny model, and one running engine, hence one worker."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny_model import make

from ocrd.config.profile import Profile
from ocrd.config.vllm import VllmSettings
from ocrd.engines.vllm.engine import VllmEngine
from ocrd.model import PageImage, PixelSize

os.environ.update(
    HF_HUB_OFFLINE="1",
    VLLM_CPU_OMP_THREADS_BIND="nobind",  # vLLM would keep one of two cores for itself
    OMP_NUM_THREADS="1",  # threads that wait for each other spin, and several engines share the cores
)


EXTRA = {
    "load_format": "dummy",
    "enforce_eager": True,
    "dtype": "float32",
    "skip_mm_profiling": True,
    "kv_cache_memory_bytes": 128 << 20,  # much for a tiny model, and quickly filled
}
"""How vLLM starts quickly with a model that has no weights."""


FIRST = (
    *("test_openai", "test_engine", "test_whole_daemon"),
    *("test_random_kills", "test_launch", "test_two_engines", "test_transformers", "test_profiles"),
)
"""Files with which the workers begin: one of the longest for each of three, and then what evens them out.

A worker takes another file as soon as it has two tests left, so those of few tests are followed by a short one.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("default"))  # vLLM's own imports warn


@pytest.fixture(scope="module", autouse=True)
def _no_thread_is_left_behind() -> None:
    """Not kept here: pyzmq and tqdm hold threads for the life of the process."""


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> VllmSettings:
    model = make(tmp_path_factory.mktemp("model"))
    return VllmSettings(
        model=str(model),
        prompt="<image>\nFree OCR.",
        max_tokens=24,
        ngram_size=3,
        max_num_seqs=2,
        max_num_batched_tokens=2048,
        max_model_len=2048,
        hang_after="1min",
        extra=EXTRA,
    )


class Running:
    """An engine with the event loop that it belongs to."""

    def __init__(self, settings: VllmSettings, folder: Path, profile: Profile | None = None) -> None:
        self._runner = asyncio.Runner()
        self.engine = VllmEngine(settings, folder, profile)
        self.run(self.engine.start())

    def run(self, work: Awaitable[Any]) -> Any:
        async def waited() -> Any:
            return await asyncio.wait_for(work, 400)

        return self._runner.run(waited())

    @property
    def residence(self) -> Any:
        return self.engine.replicas[0].supervisor

    @property
    def core(self) -> Any:
        return self.residence._core

    @property
    def pid(self) -> int:
        from ocrd.engines.vllm.process_guard import pid_in

        pid = pid_in(self.engine.replicas[0].home.record)
        assert pid is not None
        return pid

    def close(self) -> None:
        self.run(self.engine.close())
        self._runner.close()


@pytest.fixture(scope="session")
def running(settings: VllmSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(settings, tmp_path_factory.mktemp("engines"))
    yield running
    running.close()


def noise(width: int, height: int) -> Image.Image:
    """Every level and every channel differs; on the whole dark, so that nothing has to be brightened."""
    chance = random.Random(width * height)  # noqa: S311 - no secret
    planes = [Image.frombytes("L", (width, height), chance.randbytes(width * height)) for _ in "rgb"]
    half = Image.merge("RGB", planes).point(lambda level: level if level < 250 else 0)
    half.paste("black", (0, 0, width, height // 2))
    return half


def page(index: int = 0, size: tuple[int, int] = (320, 320), *, half_black: bool = False) -> PageImage:
    """A page, white or half black."""
    count = size[0] * size[1] * 3
    pixels = b"\0" * (count // 2) + b"\xff" * (count // 2) if half_black else b"\xff" * count
    return PageImage(index, PixelSize(*size), pixels, dpi=0)


async def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait for a condition; fail at the deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)
