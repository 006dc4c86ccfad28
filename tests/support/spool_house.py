"""The folders of one watch without a daemon, and a renderer that opens no file."""

import asyncio
import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from simulated import SimulatedEngine

from ocrd.concurrency.fair_window import Window
from ocrd.config.watch import Watch
from ocrd.errors import DocumentError
from ocrd.model import (
    FileStamp,
    PageImage,
    PageSizer,
    PixelSize,
    Settled,
    SourceFacts,
    View,
)
from ocrd.pipeline.document import Tools
from ocrd.pipeline.job_runner import run_job
from ocrd.pipeline.outcome import Outcome
from ocrd.storage.job import Job, JobRecord
from ocrd.storage.spool import Spool

SCAN = b"%PDF-1.7 not really, but whole"


SHA = hashlib.sha256(SCAN).hexdigest()


ID = "20260102T030405-abcdef"


BAD = DocumentError("It is bad.", "Make it good.")


class InstantRenderer:
    """Keeps the renderer's word without opening the file: so many white pages, or the error it was given."""

    workers = 1

    def __init__(self, pages: int = 2, error: Exception | None = None) -> None:
        self._pages = pages
        self._error = error

    async def open(self, path: Path) -> SourceFacts:
        if self._error:
            raise self._error
        return SourceFacts("pdf", self._pages, hashlib.sha256(path.read_bytes()).hexdigest())

    async def page(
        self, _path: Path, index: int, _sizer: PageSizer, _prepare: None, _view: View, *, priority: int
    ) -> PageImage:
        assert priority >= 0
        return PageImage(index, PixelSize(1, 1), b"\xff\xff\xff", 72.0)


def _tell_nobody(_: Outcome) -> None:
    pass


class House:
    """The folders of one watch, and what lies in them."""

    def __init__(self, root: Path) -> None:
        roles = {role: str(root / role) for role in ("inbox", "outbox", "archive", "error", "work")}
        self.watch = Watch(name="scans", front_matter=False, history=False, **roles)
        self.root = root
        self.inbox, self.outbox, self.archive = self.watch.inbox, self.watch.outbox, self.watch.archive
        self.error, self.work = self.watch.error, self.watch.work_folder
        for role in roles:
            (root / role).mkdir(exist_ok=True)
        self.spool = Spool("scans", self.inbox, self.work)
        self.engine = SimulatedEngine()
        self.renderer = InstantRenderer()
        self.before_end = _tell_nobody

    def drop(self, name: str = "scan.pdf", data: bytes = SCAN) -> Settled:
        path = self.inbox / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return Settled(path, FileStamp.of(path.lstat()))

    def left(self, *, source: bytes | None = SCAN, name: str = "scan.pdf", **record: Any) -> Job:
        """Build a job folder as a crash leaves it."""
        folder = self.work / ID
        folder.mkdir()
        job = Job(folder, JobRecord("scans", name, FileStamp(1, 2, len(SCAN), 4), **record))
        if source is not None:
            job.source.write_bytes(source)
            job.record = replace(job.record, stamp=FileStamp.of(job.source.lstat()))
        (folder / "job.json").write_text(json.dumps(asdict(job.record)))
        return job

    def recover(self) -> list[Job]:
        return list(self.spool.recover())

    def run(self, job: Job, engine: SimulatedEngine | None = None) -> Outcome:
        tools = Tools(engine or self.engine, self.renderer, Window(4), before_end=self.before_end)  # type: ignore[arg-type]
        return asyncio.run(run_job(job, self.watch, self.spool, tools))

    def start(self) -> list[Outcome]:
        """Do what the daemon does with what it finds."""
        return [self.run(job) for job in self.recover()]

    def lies(self) -> dict[str, bytes | None]:
        """List everything, files with their bytes; a page's text is enough of a sidecar."""
        found = sorted(path for path in self.root.rglob("*") if not path.is_dir() or path.is_symlink())
        return {str(p.relative_to(self.root)): None if p.is_symlink() else p.read_bytes() for p in found}
