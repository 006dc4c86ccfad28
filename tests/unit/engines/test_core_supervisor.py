"""Which page killed the engine: the rule alone, over a made-up core that dies of chosen pages. Needs no vLLM."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from ocrd.engines.core_supervisor import SETBACKS, CoreDied, CoreSupervisor, Rest
from ocrd.errors import EngineError, PageError
from ocrd.model import Approach, PageImage, PixelSize, Reading


def page(index: int) -> PageImage:
    return PageImage(index, PixelSize(1, 1), b"\0\0\0", 72.0)


async def until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait for a condition; fail at the deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


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

    def supervisor(self, **options: Any) -> CoreSupervisor:
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
        return await asyncio.wait_for(work(), 120)

    return asyncio.run(limited())


@pytest.mark.parametrize(("pages", "deaths"), [(1, 2), (2, 2), (16, 3), (17, 3), (256, 4)])
def test_only_the_poison_is_refused_after_few_deaths(pages: int, deaths: int) -> None:
    async def work() -> None:
        machine = Machine(pages // 2)
        supervisor = machine.supervisor()
        await supervisor.start()
        told = await asyncio.gather(*(supervisor.read(page(i), 0) for i in range(pages)), return_exceptions=True)
        for index, one in enumerate(told):
            if index == pages // 2:
                assert isinstance(one, PageError)
            else:
                assert isinstance(one, Reading)
                assert one.index == index
        assert machine.built == 1 + deaths
        await supervisor.close()

    run(work)


class _Recorded(MadeUpCore):
    """Is ended by a record of which core runs, as vLLM's is; its page 0 hears late of its death."""

    running: list["_Recorded"]
    late: asyncio.Event

    async def read(self, page: PageImage, priority: int, approach: Approach) -> Reading:
        try:
            return await super().read(page, priority, approach)
        except CoreDied:
            if page.index == 0 and self is self.running[0]:
                await self.late.wait()
            raise

    def settle(self) -> None:
        if self is self.running[0] or self.late.is_set():
            super().settle()
            return
        self.machine.poisons.clear()
        self.late.set()
        asyncio.get_running_loop().call_later(0.01, super().settle)

    def kill(self) -> None:
        super().kill()
        MadeUpCore.kill(self.running[-1])


def test_a_page_that_hears_late_of_its_engines_death_leaves_the_next_one_alone() -> None:
    async def work() -> None:
        machine = Machine(1)
        _Recorded.running, _Recorded.late = [], asyncio.Event()

        async def build() -> MadeUpCore:
            machine.built += 1
            _Recorded.running.append(_Recorded(machine))
            return _Recorded.running[-1]

        supervisor = CoreSupervisor(build, 60.0, pause=machine.pause)
        await supervisor.start()
        readings = await asyncio.gather(*(supervisor.read(page(i), 0) for i in range(64)))
        assert [reading.index for reading in readings] == list(range(64))
        assert machine.built == 2
        await supervisor.close()

    run(work)


def test_two_poisons_are_both_found() -> None:
    async def work() -> None:
        supervisor = Machine(3, 30).supervisor()
        await supervisor.start()
        told = await asyncio.gather(*(supervisor.read(page(i), 0) for i in range(64)), return_exceptions=True)
        assert [index for index, one in enumerate(told) if isinstance(one, PageError)] == [3, 30]
        await supervisor.close()

    run(work)


def test_one_death_is_nobodys_fault() -> None:
    async def work() -> None:
        machine = Machine(0)
        machine.deadly_builds = 1
        supervisor = machine.supervisor()
        await supervisor.start()
        assert (await supervisor.read(page(0), 0)).index == 0
        assert machine.built == 2
        await supervisor.close()

    run(work)


def test_after_a_death_that_was_no_pages_fault_the_company_soon_grows_again() -> None:
    async def work() -> None:
        machine = Machine(0)
        machine.deadly_builds = 1
        supervisor = machine.supervisor()
        await supervisor.start()
        await asyncio.gather(*(supervisor.read(page(index), 0) for index in range(256)))
        assert machine.rounds == [256, 16, 32, 64, 128, 16]
        await supervisor.close()

    run(work)


def test_an_image_is_freed_while_others_are_read_and_rendered_again() -> None:
    async def work() -> None:
        machine, freed, made = Machine(0), Counter[int](), Counter[int]()
        machine.deadly_builds = 1
        supervisor = machine.supervisor()

        def sheet(index: int) -> PageImage:
            async def again() -> PageImage:
                return sheet(index)

            made[index] += 1
            return replace(page(index), free=lambda: freed.update([index]), again=again)

        await supervisor.start()
        await asyncio.gather(*(supervisor.read(sheet(index), 0) for index in range(32)))
        assert set(made.values()) == {2}
        assert all(freed[index] >= made[index] for index in made)
        await supervisor.close()

    run(work)


def test_a_machine_that_kills_every_page_is_not_the_pages_fault() -> None:
    async def work() -> None:
        machine = Machine(0)
        machine.good_builds = 2
        supervisor = machine.supervisor()
        await supervisor.start()
        with pytest.raises(EngineError, match=f"{SETBACKS} times in a row"):
            await supervisor.read(page(0), 0)
        assert machine.waits == sorted(machine.waits)
        with pytest.raises(EngineError):
            await supervisor.read(page(1), 0)
        await supervisor.close()

    run(work)


def test_a_silent_core_is_killed_and_its_pages_read_again() -> None:
    async def work() -> None:
        machine = Machine()
        supervisor = machine.supervisor(hang_after=0.5)
        await supervisor.start()
        supervisor._core.deaf = True
        assert (await supervisor.read(page(4), 0)).index == 4
        assert machine.built == 2
        assert (supervisor.restarts, supervisor.doing) == (1, "ready")
        await supervisor.close()

    run(work)


def test_a_core_that_has_grown_too_large_reads_its_pages_and_is_built_anew() -> None:
    async def work() -> None:
        machine = Machine()
        worn = iter([True])
        supervisor = machine.supervisor(worn=lambda: next(worn, False))
        await supervisor.start()
        first = supervisor._core
        readings = await asyncio.gather(*(supervisor.read(page(index), 0) for index in range(4)))
        assert [reading.index for reading in readings] == [0, 1, 2, 3]
        assert not first.alive
        assert (await supervisor.read(page(5), 0)).index == 5
        assert machine.built == 2
        assert supervisor._setbacks == 0
        assert machine.waits == []
        assert supervisor.restarts == 0, "it did not die"
        await supervisor.close()

    run(work)


@pytest.mark.parametrize(("how", "built"), [("sleep", 1), ("unload", 2)])
def test_rest_and_return(how: Any, built: int) -> None:
    async def work() -> None:
        machine = Machine()
        supervisor = machine.supervisor(rest=Rest(0.01, how))
        await supervisor.start()
        core = supervisor._core
        await until(lambda: core.asleep or core.closed)
        assert (await supervisor.read(page(1), 0)).index == 1
        assert machine.built == built
        await supervisor.close()

    run(work)


def test_a_cancelled_page_leaves_and_the_others_go_on() -> None:
    async def work() -> None:
        machine = Machine()
        supervisor = machine.supervisor()
        await supervisor.start()
        supervisor._core.deaf = True
        given_up, kept = (asyncio.create_task(supervisor.read(page(i), 0)) for i in range(2))
        await until(lambda: len(supervisor._core.inside) == 2)
        given_up.cancel()
        await until(lambda: len(supervisor._core.inside) == 1)
        supervisor._core.settle()
        assert (await kept).index == 1
        await asyncio.wait([given_up])
        assert given_up.cancelled()
        assert not supervisor._inside
        await supervisor.close()

    run(work)


def test_closing_gives_up_the_pages_inside() -> None:
    async def work() -> None:
        supervisor = Machine().supervisor()
        await supervisor.start()
        supervisor._core.deaf = True
        reading = asyncio.create_task(supervisor.read(page(0), 0))
        await until(lambda: supervisor._core.inside)
        await supervisor.close()
        with pytest.raises(EngineError, match="closed"):
            await reading
        await supervisor.close()

    run(work)
