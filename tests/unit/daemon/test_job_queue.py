"""The jobs of a watch go on once what held them up is over, whatever it was that interrupted them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest
from simulated import SimulatedEngine
from spool_house import House, InstantRenderer

from ocrd.concurrency.fair_window import Window
from ocrd.concurrency.worker_process import StallError
from ocrd.daemon import pause
from ocrd.daemon.compartment import Compartment
from ocrd.daemon.job_queue import JobQueue
from ocrd.model import SourceFacts
from ocrd.pipeline.document import Progress, Tools
from ocrd.storage.roles import Roles
from ocrd.telemetry.events import Accepted, Ended, Event, Events


class StallingRenderer(InstantRenderer):
    """Says of the first source that the share does not answer, as the real one does: before the call comes back."""

    def __init__(self) -> None:
        super().__init__()
        self._tell: Callable[[StallError], None] | None = None
        self.opened = 0

    def telling(self, tell: Callable[[StallError], None]) -> Self:
        self._tell = tell
        return self

    async def open(self, path: Path) -> SourceFacts:
        self.opened += 1
        if self.opened == 1 and self._tell:
            self._tell(StallError("The share does not answer.", "Look at it."))
            await asyncio.Event().wait()
        return await super().open(path)


def test_a_stall_that_interrupts_every_job_is_found_to_be_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pause, "RETRY_SECONDS", 0.0)
    house = House(tmp_path)
    its = Compartment(house.watch, Events(), Roles())
    renderer, ended = StallingRenderer(), list[Ended]()
    tools = Tools(SimulatedEngine(), renderer, Window(4))  # type: ignore[arg-type]

    async def life() -> None:
        done = asyncio.Event()
        jobs = JobQueue(its, Progress(), lambda _: None, ended.append, done.set)
        jobs.add(house.left())
        async with asyncio.TaskGroup() as group:
            running = group.create_task(jobs.run(group, tools))
            await asyncio.wait_for(done.wait(), 120)
            running.cancel()

    asyncio.run(life())
    assert [event.kind for event in ended] == ["delivered"]
    assert renderer.opened == 2
    assert its.pause.state is pause.State.WORKING


def test_a_job_that_waits_tells_how_many_pages_were_counted(tmp_path: Path) -> None:
    house, told = House(tmp_path), list[Event]()
    its = Compartment(house.watch, Events(), Roles())
    its.events.listen(told.append)
    JobQueue(its, Progress(), lambda _: None, lambda _: None, lambda: None).add(house.left(), pages=900)
    assert [event.pages for event in told if isinstance(event, Accepted)] == [900]
