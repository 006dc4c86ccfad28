"""Which page killed the engine: the rule alone, over a made-up core that dies of chosen pages. Needs no vLLM."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from conftest import page, until

from ocrd.engines.vllm.core_supervisor import SETBACKS, CoreDied, CoreSupervisor, Rest
from ocrd.errors import EngineError, PageError
from ocrd.model import Approach, PageImage, Reading


class Machine:
    """Builds cores that die of the poisons, and counts."""

    def __init__(self, *poisons: int) -> None:
        self.poisons = set(poisons)
        self.built = 0
        self.waits: list[float] = []
        self.good_builds = 1000
        self.deadly_builds = 1000
        self.most_company = 0
        self.rounds: list[int] = []

    async def build(self) -> "MadeUpCore":
        self.built += 1
        if self.built > self.deadly_builds:
            self.poisons.clear()
        if self.built > self.good_builds:
            raise EngineError("No card.", "Wait.")
        return MadeUpCore(self)

    async def pause(self, seconds: float) -> None:
        self.waits.append(seconds)

    def residence(self, **options: Any) -> CoreSupervisor:
        return CoreSupervisor(self.build, options.pop("hang_after", 60.0), pause=self.pause, **options)


class MadeUpCore:
    """Reads once everyone who is coming has come; dies of a poison with everyone in it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.alive = True
        self.asleep = self.closed = False
        self.last_sign = asyncio.get_running_loop().time()
        self.inside: dict[int, asyncio.Future[None]] = {}
        self.deaf = False

    async def read(self, page: PageImage, priority: int, _approach: Approach) -> Reading:
        assert self.alive
        assert not self.asleep
        answer = asyncio.get_running_loop().create_future()
        self.inside[page.index] = answer
        self.machine.most_company = len(self.inside)
        if len(self.inside) == 1 and not self.deaf:
            asyncio.get_running_loop().call_later(0.001, self.settle)
        try:
            await answer
        finally:
            self.inside.pop(page.index, None)
        return Reading(page.index, f"priority {priority}", "stop", 1, 0.0)

    def settle(self) -> None:
        self.machine.rounds.append(len(self.inside))
        if self.machine.poisons & self.inside.keys():
            self.kill()
        for answer in self.inside.values():
            if not answer.done():
                answer.set_result(None)

    def kill(self) -> None:
        self.alive = False
        for answer in self.inside.values():
            if not answer.done():
                answer.set_exception(CoreDied("killed"))

    async def sleep(self) -> None:
        self.asleep = True

    async def wake(self) -> None:
        self.asleep = False

    async def close(self) -> None:
        self.kill()
        self.closed = True


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(work(), 20)

    return asyncio.run(limited())


@pytest.mark.parametrize(("pages", "deaths"), [(1, 2), (2, 2), (16, 3), (17, 3), (256, 4)])
def test_only_the_poison_is_refused_after_few_deaths(pages: int, deaths: int) -> None:
    async def work() -> None:
        machine = Machine(pages // 2)
        residence = machine.residence()
        await residence.start()
        told = await asyncio.gather(*(residence.read(page(i), 0) for i in range(pages)), return_exceptions=True)
        for index, one in enumerate(told):
            if index == pages // 2:
                assert isinstance(one, PageError)
            else:
                assert isinstance(one, Reading)
                assert one.index == index
        assert machine.built == 1 + deaths
        await residence.close()

    run(work)


def test_two_poisons_are_both_found() -> None:
    async def work() -> None:
        residence = Machine(3, 30).residence()
        await residence.start()
        told = await asyncio.gather(*(residence.read(page(i), 0) for i in range(64)), return_exceptions=True)
        assert [index for index, one in enumerate(told) if isinstance(one, PageError)] == [3, 30]
        await residence.close()

    run(work)


def test_one_death_is_nobodys_fault() -> None:
    async def work() -> None:
        machine = Machine(0)
        machine.deadly_builds = 1
        residence = machine.residence()
        await residence.start()
        assert (await residence.read(page(0), 0)).index == 0
        assert machine.built == 2
        await residence.close()

    run(work)


def test_after_a_death_that_was_no_pages_fault_the_company_soon_grows_again() -> None:
    async def work() -> None:
        machine = Machine(0)
        machine.deadly_builds = 1
        residence = machine.residence()
        await residence.start()
        await asyncio.gather(*(residence.read(page(index), 0) for index in range(256)))
        assert machine.rounds == [256, 16, 32, 64, 128, 16]
        await residence.close()

    run(work)


def test_an_image_is_freed_while_others_are_read_and_rendered_again() -> None:
    async def work() -> None:
        machine, freed, made = Machine(0), Counter[int](), Counter[int]()
        machine.deadly_builds = 1
        residence = machine.residence()

        def sheet(index: int) -> PageImage:
            async def again() -> PageImage:
                return sheet(index)

            made[index] += 1
            return replace(page(index), free=lambda: freed.update([index]), again=again)

        await residence.start()
        await asyncio.gather(*(residence.read(sheet(index), 0) for index in range(32)))
        assert set(made.values()) == {2}
        assert all(freed[index] >= made[index] for index in made)
        await residence.close()

    run(work)


def test_a_machine_that_kills_every_page_is_not_the_pages_fault() -> None:
    async def work() -> None:
        machine = Machine(0)
        machine.good_builds = 2
        residence = machine.residence()
        await residence.start()
        with pytest.raises(EngineError, match=f"{SETBACKS} times in a row"):
            await residence.read(page(0), 0)
        assert machine.waits == sorted(machine.waits)
        with pytest.raises(EngineError):
            await residence.read(page(1), 0)
        await residence.close()

    run(work)


def test_a_silent_core_is_killed_and_its_pages_read_again() -> None:
    async def work() -> None:
        machine = Machine()
        residence = machine.residence(hang_after=0.05)
        await residence.start()
        residence._core.deaf = True
        assert (await residence.read(page(4), 0)).index == 4
        assert machine.built == 2
        assert (residence.restarts, residence.doing) == (1, "ready")
        await residence.close()

    run(work)


def test_a_core_that_has_grown_too_large_reads_its_pages_and_is_built_anew() -> None:
    async def work() -> None:
        machine = Machine()
        worn = iter([True])
        residence = machine.residence(worn=lambda: next(worn, False))
        await residence.start()
        first = residence._core
        readings = await asyncio.gather(*(residence.read(page(index), 0) for index in range(4)))
        assert [reading.index for reading in readings] == [0, 1, 2, 3]
        assert not first.alive
        assert (await residence.read(page(5), 0)).index == 5
        assert machine.built == 2
        assert residence._setbacks == 0
        assert machine.waits == []
        assert residence.restarts == 0, "it did not die"
        await residence.close()

    run(work)


@pytest.mark.parametrize(("how", "built"), [("sleep", 1), ("unload", 2)])
def test_rest_and_return(how: Any, built: int) -> None:
    async def work() -> None:
        machine = Machine()
        residence = machine.residence(rest=Rest(0.01, how))
        await residence.start()
        core = residence._core
        await until(lambda: core.asleep or core.closed, 5)
        assert (await residence.read(page(1), 0)).index == 1
        assert machine.built == built
        await residence.close()

    run(work)


def test_a_cancelled_page_leaves_and_the_others_go_on() -> None:
    async def work() -> None:
        machine = Machine()
        residence = machine.residence()
        await residence.start()
        residence._core.deaf = True
        given_up, kept = (asyncio.create_task(residence.read(page(i), 0)) for i in range(2))
        await until(lambda: len(residence._core.inside) == 2)
        given_up.cancel()
        await until(lambda: len(residence._core.inside) == 1)
        residence._core.settle()
        assert (await kept).index == 1
        await asyncio.wait([given_up])
        assert given_up.cancelled()
        assert not residence._inside
        await residence.close()

    run(work)


def test_closing_gives_up_the_pages_inside() -> None:
    async def work() -> None:
        residence = Machine().residence()
        await residence.start()
        residence._core.deaf = True
        reading = asyncio.create_task(residence.read(page(0), 0))
        await until(lambda: residence._core.inside)
        await residence.close()
        with pytest.raises(EngineError, match="closed"):
            await reading
        await residence.close()

    run(work)
