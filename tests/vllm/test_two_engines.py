"""Two real engines side by side, as they share a card; here they share the processor."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import page, until
from sampling import generator

from ocrd.config.vllm import VllmSettings
from ocrd.engines.vllm.engine import VllmEngine
from ocrd.engines.vllm.placement import Device, Placement


class Two(VllmEngine):
    async def _place(self, devices: list[Device]) -> None:
        assert devices == [], "vLLM for the CPU asks for no card"
        self._placement = Placement(per_card=2)


def run(settings: VllmSettings, folder: Path, work: Callable[[VllmEngine], Any]) -> None:
    """Let two engines work, and see that none of them is left; another test's may run beside them."""
    before = engines_running()

    async def all_of_it() -> None:
        engine = Two(settings, folder)
        try:
            await engine.start()
            await work(engine)
        finally:
            await asyncio.wait_for(engine.close(), 60)

    asyncio.run(all_of_it())
    assert engines_running() == before


def engines_running() -> set[int | None]:
    children = multiprocessing.active_children()
    return {child.pid for child in children if child.name.startswith("EngineCore")}


def test_the_other_joins_and_reads_on_when_the_first_is_killed(settings: VllmSettings, tmp_path: Path) -> None:
    async def work(engine: VllmEngine) -> None:
        assert len(engine.replicas) == 1, "the first reads while the other starts"
        assert (await engine.read(page(0))).tokens == 24
        await until(lambda: len(engine.replicas) == 2, 400)
        first, second = engine.replicas
        assert first.home.pid != second.home.pid
        assert first.facts == second.facts
        assert "2 engines on the card, by turns" in engine.info.facts
        tasks = [asyncio.create_task(engine.read(page(index))) for index in range(4)]
        await until(lambda: first.pages == second.pages == 2)
        os.kill(first.home.pid or 0, signal.SIGKILL)
        await until(lambda: first.supervisor.doing == "loading")
        assert (await engine.read(page(9))).index == 9
        assert first.supervisor.doing == "loading", "the page was read while the first was still built anew"
        assert [reading.index for reading in await asyncio.gather(*tasks)] == [0, 1, 2, 3]
        assert engine.state.restarts == 1

    run(settings, tmp_path, work)
    assert list(tmp_path.glob("*/engine.pid")) == []


def test_a_stop_while_the_other_starts_does_not_wait_for_it(settings: VllmSettings, tmp_path: Path) -> None:
    seconds = generator("stop").uniform(0, 4)

    async def work(_: VllmEngine) -> None:
        await asyncio.sleep(seconds)

    run(settings, tmp_path, work)
