"""Pages are spread over the engines of a card by load; one that is given up leaves the others reading."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ocrd.config.resolving import ResolvedSettings, resolve
from ocrd.config.vllm import VllmSettings
from ocrd.engines.base import EngineInfo
from ocrd.engines.core_supervisor import CoreDied
from ocrd.engines.vllm import mps, setup
from ocrd.engines.vllm.engine import VllmEngine
from ocrd.engines.vllm.placement import Placement
from ocrd.engines.vllm.process_guard import Home
from ocrd.engines.vllm.replica import Means, Replica
from ocrd.engines.vllm.start_progress import StartProgress
from ocrd.errors import EngineError
from ocrd.model import Approach, CardState, PageImage, PixelSize, Reading


@dataclass
class FakeCore:
    """An engine's life without vLLM: reads when it is let, and dies when it is killed."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    alive: bool = True
    last_sign: float = 0.0
    views: None = None
    read_pages: list[int] = field(default_factory=list)
    death: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, page: PageImage, priority: int, approach: Approach) -> Reading:  # noqa: ARG002
        waits = [asyncio.create_task(one.wait()) for one in (self.gate, self.death)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in waits:
            one.cancel()
        if self.death.is_set():
            raise CoreDied("killed")
        self.read_pages.append(page.index)
        return Reading(page.index, "text", "stop", 1, 0.1)

    async def sleep(self) -> None: ...

    async def wake(self) -> None: ...

    def kill(self) -> None:
        self.alive = False
        self.death.set()

    async def close(self) -> None:
        self.kill()


class FakeReplica(Replica):
    """The real one over fake cores; `fails` says how often a build fails."""

    def __init__(self, settings: ResolvedSettings, home: Home, means: Means) -> None:
        super().__init__(settings, home, means)
        self.cores: list[FakeCore] = []
        self.fails = 0
        self.building: asyncio.Event | None = None

    async def _build(self) -> Any:
        await self._means.prepare()
        if self.building:
            await self.building.wait()
        if self.fails:
            self.fails -= 1
            raise EngineError("The card is full.", "Empty it.")
        self.cores.append(FakeCore())
        return self.cores[-1]


def page(index: int) -> PageImage:
    async def again() -> PageImage:
        return page(index)

    return PageImage(index, PixelSize(1, 1), b"\0\0\0", dpi=0, again=again)


async def engine_of(tmp_path: Path, count: int, cards: tuple[str, ...] = ("",)) -> VllmEngine:
    settings = VllmSettings(max_num_seqs=8)
    engine = VllmEngine(settings, tmp_path)
    progress = StartProgress(tmp_path / "start.json")
    means = Means(engine._in_builder, "0.33.0", 1 << 60, progress, engine._prepare_build)
    engine._info = EngineInfo("vllm", "m", "0.33.0", "f")
    engine._placement = Placement(cards, count // len(cards))
    engine.replicas = [
        FakeReplica(resolve(settings), Home(tmp_path, number, card), means)
        for number, card in enumerate(engine._placement.engines)
    ]
    for one in engine.replicas:
        one.supervisor.pause = _at_once
        await one.start()
    return engine


async def _at_once(_: float) -> None:
    await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.001)


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 120))


def test_each_page_goes_to_the_engine_that_has_the_fewest(tmp_path: Path) -> None:
    async def spread() -> None:
        engine = await engine_of(tmp_path, 2)
        tasks = [asyncio.create_task(engine.read(page(index))) for index in range(10)]
        await until(lambda: sum(one.pages for one in engine.replicas) == 10)
        assert [one.pages for one in engine.replicas] == [5, 5]
        for one in engine.replicas:
            one.cores[0].gate.set()
        assert [reading.index for reading in await asyncio.gather(*tasks)] == list(range(10))
        assert [one.pages for one in engine.replicas] == [0, 0]
        await engine.close()

    run(spread)


def test_while_one_is_built_anew_the_other_gets_all_new_pages(tmp_path: Path) -> None:
    async def kill_one() -> None:
        engine = await engine_of(tmp_path, 2)
        first, second = engine.replicas
        early = [asyncio.create_task(engine.read(page(index))) for index in range(4)]
        await until(lambda: first.pages == second.pages == 2)
        first.building = asyncio.Event()
        first.cores[0].kill()
        await until(lambda: first.supervisor.doing == "loading")
        second.cores[0].gate.set()
        late = [asyncio.create_task(engine.read(page(index))) for index in range(4, 8)]
        await asyncio.gather(*late)
        assert set(second.cores[0].read_pages) >= {4, 5, 6, 7}
        assert engine.state.doing == "loading", "all pages left are in the engine that is built"
        first.building.set()
        await until(lambda: len(first.cores) > 1)
        first.cores[1].gate.set()
        assert sorted(reading.index for reading in await asyncio.gather(*early)) == [0, 1, 2, 3]
        assert engine.state.restarts == 1
        assert engine.state.engines == 2
        await engine.close()

    run(kill_one)


def test_an_engine_that_is_given_up_hands_its_pages_to_the_other(tmp_path: Path) -> None:
    async def give_up() -> None:
        engine = await engine_of(tmp_path, 2)
        first, second = engine.replicas
        tasks = [asyncio.create_task(engine.read(page(index))) for index in range(4)]
        await until(lambda: first.pages == second.pages == 2)
        second.cores[0].gate.set()
        first.fails = 100
        first.cores[0].kill()
        assert sorted(reading.index for reading in await asyncio.gather(*tasks)) == [0, 1, 2, 3]
        assert engine.replicas == [second]
        assert "1 engine less than there could be, see the log" in engine.info.facts
        await engine.close()

    run(give_up)


def test_the_last_engine_that_is_given_up_ends_all(tmp_path: Path) -> None:
    async def give_up() -> None:
        engine = await engine_of(tmp_path, 1)
        (only,) = engine.replicas
        task = asyncio.create_task(engine.read(page(0)))
        await until(lambda: only.pages)
        only.fails = 100
        only.cores[0].kill()
        with pytest.raises(EngineError, match="died or failed to start"):
            await task
        await engine.close()

    run(give_up)


def test_a_close_gives_every_page_up_and_none_to_the_other_engine(tmp_path: Path) -> None:
    async def close() -> None:
        engine = await engine_of(tmp_path, 2)
        tasks = [asyncio.create_task(engine.read(page(index))) for index in range(4)]
        await until(lambda: sum(one.pages for one in engine.replicas) == 4)
        closing = asyncio.create_task(engine.close())
        ended = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 120)
        await closing
        assert all(isinstance(one, EngineError) and "closed" in str(one) for one in ended)
        assert len(engine.replicas) == 2, "none was given up"

    run(close)


def test_a_second_engine_that_does_not_start_leaves_the_first_reading(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def grow() -> None:
        engine = await engine_of(tmp_path, 2)
        first, second = engine.replicas
        engine.replicas = [first]
        another = FakeReplica(engine._settings, Home(tmp_path, 3), second._means)
        another.fails = 3
        await engine._grow([another])
        assert engine.replicas == [first]
        assert "The card is full" in caplog.text
        third = FakeReplica(engine._settings, Home(tmp_path, 4), second._means)
        third.fails = 2
        await engine._grow([third])
        assert engine.replicas == [first, third]
        await second.close()
        await engine.close()

    run(grow)


def test_each_card_is_told_of_and_one_that_is_given_up_leaves_the_other_reading(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def two_cards() -> None:
        engine = await engine_of(tmp_path, 4, ("0", "1"))
        assert "4 engines on the cards 0 and 1, by turns" in engine.info.facts
        tasks = [asyncio.create_task(engine.read(page(index))) for index in range(8)]
        await until(lambda: all(one.pages == 2 for one in engine.replicas))
        assert engine.state.cards == (CardState("0", "ready", 2, 4), CardState("1", "ready", 2, 4))
        first, second, third, fourth = engine.replicas
        for one in (second, fourth):
            one.cores[0].gate.set()
        for one in (first, third):
            one.fails = 100
            one.cores[0].kill()
        assert sorted(reading.index for reading in await asyncio.gather(*tasks)) == list(range(8))
        assert engine.replicas == [second, fourth]
        assert engine.state.cards == (CardState("0", "loading", 0, 0), CardState("1", "ready", 2, 0))
        assert "the engine on GPU 0 died with 2 pages in it" in caplog.text
        assert "the engine on GPU 0 was given up" in caplog.text
        assert "the engine on GPU 1 died" not in caplog.text
        await engine.close()

    run(two_cards)


@pytest.mark.parametrize("broken", [1, 2, 3])
def test_a_card_on_which_nothing_starts_is_left_out_and_the_others_start(broken: int, tmp_path: Path) -> None:
    async def start() -> None:
        engine = await engine_of(tmp_path, 3, ("0", "1", "2"))
        made: list[Replica] = list(engine.replicas)
        for one in engine.replicas[:broken]:
            await one.close()
        fresh = [
            FakeReplica(engine._settings, Home(tmp_path, 9 + n, one.home.cards), one._means)
            for n, one in enumerate(made)
        ]
        for one in fresh[:broken]:
            one.fails = 1
        if broken == len(fresh):
            with pytest.raises(EngineError, match="The card is full"):
                await engine._start_first(list(fresh))
        else:
            await engine._grow(await engine._start_first(list(fresh)))
            assert engine.replicas == fresh[broken:]
            assert f"{broken} engine{'s' * (broken > 1)} less than there could be, see the log" in engine.info.facts
        for one in made[broken:]:
            await one.close()
        await engine.close()

    run(start)


def test_an_engine_sees_only_its_own_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    for home, seen in ((Home(tmp_path / "a"), "2,3"), (Home(tmp_path / "a", 1, "3"), "3")):
        home.folder.mkdir(parents=True)
        home.announce()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
    assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_once_mps_has_ended_the_engines_are_built_without_it_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(mps.PIPES, "")
    answers = True
    fake = SimpleNamespace(environment={mps.PIPES: "/pipes"}, answers=lambda: answers, close=lambda: None)

    async def die() -> None:
        nonlocal answers
        engine = await engine_of(tmp_path, 2)
        engine._mps = fake  # type: ignore[assignment]
        await engine._prepare_build()
        assert os.environ[mps.PIPES] == "/pipes"
        assert "2 engines on the card, under CUDA MPS" in engine.info.facts
        answers = False
        for one in engine.replicas:
            one.cores[0].kill()
        tasks = [asyncio.create_task(engine.read(page(index))) for index in range(4)]
        await until(lambda: all(len(one.cores) > 1 for one in engine.replicas))
        assert mps.PIPES not in os.environ
        for one in engine.replicas:
            one.cores[1].gate.set()
        await asyncio.gather(*tasks)
        assert caplog.text.count("CUDA MPS has ended") == 1
        assert "2 engines on the card, by turns" in engine.info.facts
        await engine.close()

    run(die)


def test_the_number_of_engines_does_not_change_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup.importlib.metadata, "version", lambda _: "1")
    one, two = (setup.fingerprint(resolve(VllmSettings(engines_per_card=count)), "m", "0.33.0") for count in (1, 2))
    assert one == two
