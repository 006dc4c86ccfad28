"""One watch on a file system of its own, the lives of a daemon in it, and what must hold after each death."""

import asyncio
import gc
import hashlib
import json
import os
import re
import shutil
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, tzinfo
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self, TypeVar
from urllib.parse import unquote

from simulated import SimulatedEngine

from crash.reaper import Reaper, Step
from crash.trees import TEMPORARY, fingerprint
from ocrd.concurrency.fair_window import Window
from ocrd.config.duplex import Duplex
from ocrd.config.schema import Config
from ocrd.config.watch import Watch
from ocrd.daemon.watch_runner import WatchRunner
from ocrd.errors import DocumentError, MachineError
from ocrd.intake.grouping import units
from ocrd.intake.scanner import scan
from ocrd.model import (
    Box,
    FileStamp,
    Group,
    Join,
    PageFacts,
    PageImage,
    PageResult,
    PageSizer,
    PixelSize,
    Placement,
    Reading,
    Settled,
    SourceFacts,
    View,
)
from ocrd.pipeline.document import Tools
from ocrd.pipeline.job_runner import run_job
from ocrd.pipeline.rerun import run_rerun
from ocrd.storage import job_folders
from ocrd.storage.job import Job, JobRecord, Rerun
from ocrd.storage.ownership import LEFT
from ocrd.storage.roles import Roles
from ocrd.telemetry.events import Events

ROLES = ("inbox", "outbox", "archive", "error")
CLOCK = re.compile(
    rb'^(- )?(date|seconds): .*$|^ocrd, (?:watch \S+, )?\d.*$|^ +"(date|seconds)": .*$|^<!-- ocrd .*$', re.MULTILINE
)
LINK = re.compile(rb"\]\(([^()]*)\.assets/([^()]*)\)")
ENDINGS = {"markdown": ".md", "json": ".json", "text": ".txt", "pdf": ".pdf"}
Change = Callable[[], None]
R = TypeVar("R")
_scandir = os.scandir


@dataclass(frozen=True)
class Scenario:
    """What lies in the folders before the first life."""

    name: str
    sources: dict[str, bytes]
    strangers: dict[str, bytes] = field(default_factory=dict)
    """Files of other people, by path relative to the root."""
    later: dict[str, bytes] = field(default_factory=dict)
    """Files that other people put there after the first death, if the place is free."""
    apart: tuple[str, ...] = ()
    """Roles whose folder lies on another mount."""
    outputs: tuple[str, ...] = ("markdown",)
    """What is delivered; a source that begins with `illustrated` has a figure on its first page."""
    delivered: dict[str, bytes] = field(default_factory=dict)
    """What an earlier life delivered and archived."""
    rerun: Rerun | None = None
    """What of that is to be read again."""
    split: str = "none"
    """How scans are taken apart; a source that begins with `several` has four pages, of which the second is blank."""
    join: Join | Duplex = "none"
    """Which of the sources belong together."""
    links: bool = False
    """The file system has no rename that refuses a taken name, so that links are used."""


class StillRenderer:
    """Stands where the render workers stand: it only reads, so no step of it can be interrupted halfway."""

    async def open(self, path: Path) -> SourceFacts:
        data = _content(path)
        if data.startswith(b"bad"):
            raise DocumentError("This file is bad.", "Make it good.")
        return SourceFacts("pdf", 4 if data.startswith(b"several") else 2, hashlib.sha256(data).hexdigest())

    async def page(
        self, path: Path, index: int, _sizer: PageSizer, _prepare: None, _view: View, *, priority: int
    ) -> PageImage:
        assert priority >= 0
        blank = index == 1 and _content(path).startswith(b"several")
        return PageImage(index, PixelSize(1, 1), b"\0\0\0", 72.0, PageFacts(blank="nothing" if blank else ""))

    async def searchable(self, _path: Path, _pages: Sequence[PageResult], only: Sequence[int], pipe: int) -> None:
        os.write(pipe, b"pdf of %d" % len(only))

    async def exchange_searchable(
        self, _path: Path, delivered: Path, _pages: object, places: Mapping[int, int], _total: int, pipe: int
    ) -> None:
        os.write(pipe, delivered.read_bytes() + b" with %d new" % len(places))

    def telling(self, _: object) -> Self:
        return self

    def opening(self, _: object) -> Self:
        return self

    async def figures(self, _path: Path, index: int, boxes: Sequence[Box], _placement: Placement) -> list[bytes]:
        return [b"figure %d on page %d" % (number, index) for number, _ in enumerate(boxes)]


def illustrated(page: PageImage, _priority: int) -> Reading:
    """Read a first page with a figure, and others without."""
    tag = "<|ref|>image<|/ref|><|det|>[[100, 100, 900, 500]]<|/det|>"
    return Reading(page.index, "page" if page.index else f"{tag}\npage 1", "stop", 2, 0.0)


def _content(source: Path) -> bytes:
    """Return the bytes of a source; a group's are those of its files."""
    files = sorted(source.iterdir()) if source.is_dir() else [source]
    return b"".join(path.read_bytes() for path in files if path.exists())  # archived before its companion, it is gone


def _lasting(data: bytes) -> bytes:
    """Take out what is another in each run: the time, and the name in the links to figures."""
    return LINK.sub(rb"](\2)", CLOCK.sub(b"", data))


def _mirror(source: Path, target: Path) -> None:
    """Make a folder like another, with the same inodes: no file is ever written again once it has its name."""
    shutil.rmtree(target, ignore_errors=True)

    def copy(old: str, new: str) -> None:
        (_copied if TEMPORARY in old and not old.endswith(".taken") else os.link)(old, new)

    shutil.copytree(source, target, copy_function=copy)


def _copied(old: str, new: str) -> None:
    shutil.copy2(old, new)


class _Calendar(datetime):
    """A clock on which each life has a day of its own, and all that happens in it one instant."""

    day: ClassVar[int] = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime(2026, 1, 1, tzinfo=tz) + timedelta(days=cls.day)


class _Sorted:
    """What os.scandir returns, in an order that says nothing of which file came first."""

    def __init__(self, path: Any) -> None:
        with _scandir(path) as entries:
            self._entries = iter(sorted(entries, key=lambda entry: entry.name))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""


def leave_nothing_to_chance() -> None:
    """Let this process have no clock but the calendar; number the jobs, and sort what lies in a folder."""
    number = count()
    os.scandir = _Sorted  # type: ignore[misc,assignment]
    for name, module in list(sys.modules.items()):  # all of ocrd: one clock that was forgotten shows once in a while
        if name.startswith("ocrd.") and getattr(module, "datetime", None) is datetime:
            module.datetime = _Calendar  # type: ignore[attr-defined]
    job_folders.new_id = lambda: f"{_Calendar.now():%Y%m%dT%H%M%S}-{next(number):06x}"


class House:
    """The folders of a scenario. `other` is a second mount for those that lie apart."""

    def __init__(self, scenario: Scenario, root: Path, other: Path, reaper: Reaper) -> None:
        self.scenario = scenario
        self._reaper = reaper
        self._expected: dict[str, bytes] = {}
        self._ballast: Path | None = None
        self.faults = 0
        self.root = root / "house"
        self._other = other / "house"

    def folder(self, role: str) -> Path:
        return (self._other if role in self.scenario.apart else self.root) / role

    def build(self) -> None:
        for place in (self.root, self._other):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        for role in ROLES:
            self.folder(role).mkdir()
        for name, data in self.scenario.sources.items():
            self._put("inbox/" + name, data)
        for name, data in (*self.scenario.strangers.items(), *self.scenario.delivered.items()):
            self._put(name, data)
        if self.scenario.rerun:
            record = JobRecord("crash", "a.pdf", FileStamp(0, 0, 0, 0), rerun=self.scenario.rerun)
            self._put("work/rerun-20260101T000000-abcdef.json", json.dumps(asdict(record)).encode())

    def strangers_come(self) -> None:
        for name, data in self.scenario.later.items():
            role, _, rest = name.partition("/")
            if not (self.folder(role) / rest).exists():
                self._put(name, data)

    def drop(self, name: str, data: bytes) -> None:
        """Put one more source into the inbox."""
        self._put(f"inbox/{name}", data)

    def _put(self, name: str, data: bytes) -> None:
        role, _, rest = name.partition("/")
        path = self.folder(role) / rest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def live(self, die_at: int, change: Change | None = None) -> bool:
        """Let a daemon live in a process of its own until it dies; returns whether it came to its end before."""
        _Calendar.day += 1
        child = os.fork()
        if child == 0:
            self._live_as_child(die_at, change)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            return False
        assert os.waitstatus_to_exitcode(status) == 0, "the daemon failed by itself"
        return True

    def _live_as_child(self, die_at: int, change: Change | None) -> NoReturn:
        code = 1
        try:
            gc.disable()  # a collection would copy every page of memory
            if change:
                change()
            self._reaper.arm(die_at, links=self.scenario.links)
            self._life()
            code = 0
        except Exception:  # noqa: BLE001 - told here, since nobody above may go on in this process
            traceback.print_exc()
        finally:
            os._exit(code)

    def live_on(self, before: Callable[[list[Step]], None] | None = None) -> list[Step]:
        """Let a daemon live in this very process until all is done, with a look `before` each step; returns them."""
        _Calendar.day += 1
        self._reaper.arm(links=self.scenario.links, before=before)
        try:
            self._life()
        finally:
            self._reaper.disarm()
        return self._reaper.steps

    def remember(self, name: str) -> None:
        """Keep the folders as they are now."""
        for place in (self.root, self._other):
            _mirror(place, place.with_name(name))

    def go_back(self, name: str) -> None:
        """Put the folders back as they were remembered."""
        for place in (self.root, self._other):
            _mirror(place.with_name(name), place)

    def forget(self, name: str) -> None:
        """Keep them no longer."""
        for place in (self.root, self._other):
            shutil.rmtree(place.with_name(name))

    def fingerprint(self) -> bytes:
        """Digest all that a daemon can find in the folders."""
        return fingerprint({role: self.folder(role) for role in (*ROLES, "work")}, self.folder("inbox"))

    def _life(self) -> None:
        """Do what the daemon does from start to an empty inbox, one thing after the other."""
        joins = self.scenario.join
        watch = Watch.model_construct(
            name="crash",
            **{role: self.folder(role) for role in ROLES},
            work=self.folder("work"),
            outputs=self.scenario.outputs,
            split=self.scenario.split,
            **({"join": "duplex", "duplex": joins} if isinstance(joins, Duplex) else {"join": joins}),
            history=False,  # SQLite keeps its own promises, and nothing here rests on them
        )
        flow = WatchRunner(watch, Config.model_construct(watches=(watch,)), Events(), Roles())
        jobs = self._through(flow._take_folders)
        while claimed := [job for settled in self._settled(watch) if (job := self._claimed(flow, settled))]:
            jobs += claimed

        async def work() -> None:
            for job in jobs:
                original = watch.archive / job.record.name if job.record.rerun else job.source
                behave = illustrated if _content(original).startswith(b"illustrated") else None
                engine = SimulatedEngine(behave=behave)
                tools = Tools(engine, StillRenderer(), Window(1), max_attempts=10**6)  # type: ignore[arg-type]
                while True:
                    try:
                        await (run_rerun if job.record.rerun else run_job)(job, watch, flow.its.spool, tools)
                        break
                    except MachineError as error:
                        self._cure(error)

        asyncio.run(work())
        flow.its.spool.close()

    def _settled(self, watch: Watch) -> list[Settled]:
        there = scan(watch.inbox)
        found = units(watch.inbox, watch.joins, there.files, {}, there.companions)
        return [Settled(path, found[path]) for path in sorted(found)]

    def _claimed(self, flow: WatchRunner, settled: Settled) -> Job | None:
        """Claim; after a claim that broke off, only another look tells what lies in the inbox."""
        return self._through(lambda: flow.its.spool.claim(settled))

    def _through(self, step: Callable[[], R]) -> R:
        while True:
            try:
                return step()
            except MachineError as error:
                self._cure(error)

    def _cure(self, error: MachineError) -> None:
        """Mend what is wrong with the machine, as a person would, if it is a full disk."""
        if self._ballast is None:
            raise error
        assert "No space left on device" in error.what
        assert str(self._other.parent) in error.what + error.remedy, "the fault is not told where it is"
        self.check(self._expected)
        self._ballast.unlink(missing_ok=True)
        self.faults += 1

    def live_with_a_full_disk(self, full_at: int, expected: dict[str, bytes]) -> None:
        """Let a daemon live in this process, with the other file system full from step `full_at` on until it is told.

        `faults` counts how often that was.
        """
        self._expected, self._ballast = expected, self._other.with_name("ballast")
        self._reaper.arm(
            links=self.scenario.links, before=lambda steps: self._fill() if len(steps) == full_at else None
        )
        try:
            self._life()
        finally:
            self._reaper.disarm()
            self._ballast.unlink(missing_ok=True)
            self._ballast = None

    def _fill(self) -> None:
        """Use up every byte."""
        if self._ballast is None:
            raise AssertionError
        with self._ballast.open("wb", buffering=0) as ballast, suppress(OSError):
            while ballast.write(bytes(2**16)):
                pass

    def files(self) -> dict[str, bytes]:
        """Everything that a person sees, by role and path, and what a claim put aside; temporary files are left out."""
        return {
            f"{role}/{path.relative_to(self.folder(role))}": path.read_bytes()
            for role in (*ROLES, "work")
            if self.folder(role).exists()
            for path in self.folder(role).rglob("*")
            if path.is_file() and ("/.ocrd-" not in str(path) or path.suffix == ".taken")
        }

    def check(self, undisturbed: dict[str, bytes]) -> None:
        """Assert what must hold at every instant."""
        files = self.files()
        for data in self.scenario.sources.values():
            places = [name for name, found in files.items() if found == data]
            twins = bool(self.scenario.apart) or self.scenario.links  # an instant with two whole files
            assert len(places) == 1 or (twins and len(places) == 2), f"the source is at {places}"
        self._check_strangers(files)
        self._check_delivered(files, undisturbed)
        allowed = Counter(_lasting(data) for data in undisturbed.values())
        allowed.update([*self.scenario.strangers.values(), *self.scenario.later.values()])
        allowed.update(map(_lasting, self.scenario.delivered.values()))
        for name, data in files.items():
            if name.startswith(("outbox/", "error/", "archive/")):
                assert _lasting(data) in allowed, f"{name} is not complete: {data!r}"

        self._check_sets(files)

    def _check_sets(self, files: dict[str, bytes]) -> None:
        """Assert that a sidecar that can be seen has all its companions: it is the last to come."""
        strange = [*self.scenario.strangers.values(), *self.scenario.later.values()]
        for name, data in files.items():
            if name.startswith("outbox/") and name.endswith(".md") and data not in strange:
                stem = name.removesuffix(".md")
                wanted = {stem + ENDINGS[output] for output in self.scenario.outputs}
                base, _, number = stem.rpartition("-")
                if self.scenario.split != "none":  # the last part says that all are there
                    wanted |= {f"{base}-{before}.md" for before in range(1, int(number))}
                folder = str(Path(name).parent)
                wanted |= {f"{folder}/{unquote(m[1].decode())}.assets/{m[2].decode()}" for m in LINK.finditer(data)}
                assert wanted <= files.keys(), f"{name} came before {wanted - files.keys()}"

    def _check_delivered(self, files: dict[str, bytes], undisturbed: dict[str, bytes]) -> None:
        """Assert that what was archived stays, and what was delivered is there, as it was or as it will be."""
        for name, data in self.scenario.delivered.items():
            if name.startswith("archive/"):
                assert [place for place, found in files.items() if found == data] == [name]
                continue
            whole = {_lasting(data), _lasting(undisturbed[name])}
            assert name in files, f"{name} is not there"
            assert _lasting(files[name]) in whole, f"{name} is neither old nor new: {files[name]!r}"
            if files[name] != data:
                assert data in [found for place, found in files.items() if place.endswith(".bak")], (
                    f"{name} is not kept"
                )

    def _check_groups(self) -> None:
        """Assert that what came as one group lies together under one name."""

        def groups(folder: Path) -> list[frozenset[bytes]]:
            there = scan(folder)
            found = units(folder, self.scenario.join, there.files, {}, there.companions).items()
            together = [
                frozenset(map(Path.read_bytes, Settled(*one).files)) for one in found if isinstance(one[1], Group)
            ]
            return [data for data in together if data <= {*self.scenario.sources.values()}]

        came = self.root / "came"
        came.mkdir()
        for name, data in self.scenario.sources.items():
            (came / name).parent.mkdir(parents=True, exist_ok=True)
            (came / name).write_bytes(data)
        assert Counter(groups(came)) == Counter(groups(self.folder("archive")) + groups(self.folder("error")))
        shutil.rmtree(came)

    def _check_strangers(self, files: dict[str, bytes]) -> None:
        for name, data in self.scenario.strangers.items():
            assert files.get(name) == data, f"a stranger's {name} was touched"
        found = Counter(files.values())
        for name, data in self.scenario.later.items():
            assert found[data] <= 1, f"a stranger's {name} was copied"

    def check_end(self, undisturbed: dict[str, bytes]) -> None:
        """Assert what must hold once a life came to its end."""
        self.check(undisturbed)
        self._check_groups()
        left = [path for place in (self.root, self._other) for path in place.rglob(".ocrd-*")]
        assert not left, f"temporary files were left: {left}"
        assert {path.name for path in self.folder("work").iterdir()} <= {LEFT}, "a job was left"
        strange = [*self.scenario.strangers.values(), *self.scenario.later.values()]
        mine = Counter(_lasting(data) for data in self.files().values() if data not in strange)
        expected = Counter(_lasting(data) for data in undisturbed.values() if data not in strange)
        wrong = f"missing: {list(expected - mine)}, too much: {list(mine - expected)}"
        assert mine == expected, f"not one sidecar, one note and one original for each source; {wrong}"
