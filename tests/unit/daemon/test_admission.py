"""What a look at an inbox takes in, also where it fails."""

import asyncio
from pathlib import Path

import pytest
from spool_house import House

from ocrd.config.schema import Config
from ocrd.daemon.admission import Admission
from ocrd.daemon.compartment import Compartment
from ocrd.daemon.job_queue import JobQueue
from ocrd.errors import MachineError
from ocrd.model import FileStamp
from ocrd.pipeline.document import Progress
from ocrd.storage import rerun_requests
from ocrd.storage.job import JobRecord, Rerun
from ocrd.storage.roles import Roles
from ocrd.telemetry.events import Accepted, Event, Events


async def nothing() -> None: ...


def test_a_rerun_that_was_asked_for_is_queued_also_if_the_look_fails(tmp_path: Path) -> None:
    house, told = House(tmp_path), list[Event]()
    its = Compartment(house.watch, Events(), Roles())
    its.events.listen(told.append)
    record = JobRecord("scans", "a.pdf", FileStamp(1, 2, 3, 4), rerun=Rerun("a.md", (2, 3)))
    rerun_requests.ask(house.watch.work_folder, record)
    house.watch.inbox.rename(tmp_path / "away")

    async def look() -> None:
        jobs = JobQueue(its, Progress(), lambda _: None, lambda _: None, lambda: None)
        await Admission(its, Config(watches=[house.watch]), jobs, nothing, lambda: None)._look()

    with pytest.raises(MachineError):
        asyncio.run(look())
    assert [event.source for event in told if isinstance(event, Accepted)] == ["a.pdf"]
