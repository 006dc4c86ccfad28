"""The folders of a watch that joins images, without a daemon."""

import asyncio
from pathlib import Path
from typing import Any

from simulated import SimulatedEngine
from spool_house import InstantRenderer

from ocrd.concurrency.fair_window import Window
from ocrd.config.watch import Watch
from ocrd.errors import DocumentError
from ocrd.intake.grouping import units
from ocrd.intake.scanner import scan
from ocrd.model import Settled, SourceFacts
from ocrd.pipeline.document import Tools
from ocrd.pipeline.job_runner import run_job
from ocrd.pipeline.outcome import Outcome
from ocrd.storage.job import Job
from ocrd.storage.spool import Spool

ROLES = ("inbox", "outbox", "archive", "error", "work")


SEQUENCE = ("s/a-1.jpg", "s/a-2.jpg", "s/a-10.jpg")


FOLDER = ("v 1.5/1.jpg", "v 1.5/2.jpg", "v 1.5/10.jpg")


class OneRenderer(InstantRenderer):
    async def open(self, path: Path) -> SourceFacts:
        if any(file.read_bytes() == b"bad" for file in path.iterdir()):
            raise DocumentError("This is bad.", "Make it good.")
        return SourceFacts("group", 2, "hash")


class House:
    """The folders of a watch that joins images."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root
        roles = {role: str(root / role) for role in ROLES}
        self.watch = Watch(name="scans", history=False, **roles, **settings)
        for role in ROLES:
            (root / role).mkdir(exist_ok=True)
        self.spool = Spool("scans", self.watch.inbox, self.watch.work_folder)

    def put(self, *names: str, role: str = "inbox", data: bytes | None = None) -> None:
        for name in names:
            path = self.root / role / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data or name.encode())

    def settled(self) -> list[Settled]:
        there = scan(self.watch.inbox)
        found = units(self.watch.inbox, self.watch.joins, there.files, {}, there.companions)
        return [Settled(*one) for one in sorted(found.items())]

    def claim(self) -> Job:
        (settled,) = self.settled()
        job = self.spool.claim(settled)
        assert job
        return job

    def run(self, job: Job) -> Outcome:
        tools = Tools(SimulatedEngine(), OneRenderer(), Window(4))  # type: ignore[arg-type]
        return asyncio.run(run_job(job, self.watch, self.spool, tools))

    def lie(self, role: str) -> list[str]:
        folder = self.root / role
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
