"""Each call that a watch makes on its disks blocks for longer than any limit, fails once, or comes back late.

Two watches live in one daemon, each with folders of its own. Once the chosen call of the one is met, all in that folder
blocks, as on a share whose server is gone. Meanwhile the other watch must deliver as usual, and the daemon tell what
hangs and where. Then the share comes back, or the daemon is told to end and another one starts.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from crash.house import illustrated
from simulated import SimulatedEngine

from bulkhead.calls import Call, Calls, in_event_loop, unseen
from bulkhead.daemon import LET_GO, SOON, Lodgers, until
from ocrd.concurrency import threads
from ocrd.config.schema import Config
from ocrd.daemon import pause
from ocrd.model import FileStamp, Settled
from ocrd.storage import ownership, rerun_requests
from ocrd.storage.job import JobRecord, Rerun
from ocrd.storage.spool import Spool

Kind = Literal["comes back", "is left", "fails once", "is not wanted"]
KINDS: tuple[Kind, ...] = ("comes back", "is left", "fails once")
"""Those of which all must be delivered; `is not wanted` fails once, and then what was in the inbox is taken away."""
GROUP = "root"
"""Of the watch that suffers; the other one has none."""
USUAL = 60.0
"""Seconds in which the other watch delivers a page, on a machine that has other things to do."""
TOLD = 60.0
"""Seconds within which the daemon tells what hangs."""
_AGES = 300.0
"""Seconds for which a call hangs unless it is let go: more than all that others may take meanwhile."""
LATER = 0.3
"""Seconds until what failed is tried again, where meanwhile others are to see that it is not wanted any more."""
UNNAMED = "come to the end of a step"
"""What is told where nobody said what was going on."""
STOPS = 4 * LET_GO + 60.0
"""Seconds in which the daemon ends, whatever hangs."""
BAD = {"x.pdf": b"bad source"}
SOURCES = {"a.pdf": b"illustrated a", "sub/1.jpg": b"page 1", "sub/2.jpg": b"page 2", **BAD}
OUTPUTS = ("markdown", "json", "pdf")


@dataclass(frozen=True)
class Life:
    """What a daemon has to do while something hangs."""

    name: str
    sources: dict[str, bytes] = field(default_factory=lambda: dict(SOURCES))
    """In the inbox of the watch that suffers."""
    claimed: bool = False
    """Whether an earlier daemon has claimed the single ones, and died then."""
    delivered: dict[str, bytes] = field(default_factory=dict)
    """What was delivered and archived before."""
    rerun: Rerun | None = None
    """What of that is to be read again."""
    reload: bool = False
    """Whether another configuration comes once all that was there is done; then the calls count from there on."""


@dataclass
class Tally:
    """What was tried, and what came of it."""

    cases: int = 0
    failed: int = 0
    """Cases in which a call failed once."""
    told: int = 0
    """Those in which one hung, and was told of."""
    untold: int = 0
    """Those in which nobody waited for what hung."""
    failures: list[str] = field(default_factory=list)
    """What did not hold."""


class Explorer:
    """Lives one life after the other, each with another call that hangs."""

    def __init__(self, root: Path, calls: Calls) -> None:
        self._lodgers = Lodgers(root)
        self._calls = calls

    def count(self, life: Life) -> tuple[int, list[str]]:
        """Return how many calls the watch makes in an undisturbed life, and those that would not be told by name."""
        case = _Case(self._lodgers, self._calls, life, 10**9, "comes back")
        case.live()
        return case.met, case.unnamed

    def explore(self, life: Life, cases: Iterable[tuple[int, Kind]]) -> Tally:
        """Try each of these calls in its way."""
        tally = Tally()
        for number, kind in cases:
            case = _Case(self._lodgers, self._calls, life, number, kind)
            try:
                case.live()
            except AssertionError as error:
                told = [event.what for event in self._lodgers.paused]
                where = f"{life.name}, call {number} {kind}: {case.struck}"
                tally.failures.append(f"{where}: {error}; told: {told} {self._lodgers.complaints[:1]}")
            finally:
                case.cure()
            tally.cases += 1
            tally.told += case.told
            tally.untold += bool(case.struck) and not case._fails and not case.told
            tally.failed += bool(case.struck) and case._fails
        return tally


class _Case:
    """One life in which one call hangs or fails."""

    def __init__(self, lodgers: Lodgers, calls: Calls, life: Life, number: int, kind: Kind) -> None:
        self._lodgers = lodgers
        self._calls = calls
        self._life = life
        self._number = number
        self._kind = kind
        self._well = threading.Event()
        self._lock = threading.Lock()
        self._counting = not life.reload
        self._blocked = 0
        self.met = 0
        self.struck: Call | None = None
        self.told = False
        self.unnamed: list[str] = []
        self._told_to_end = 0.0
        self._in_loop: list[Call] = []

    # -- the disk -------------------------------------------------------------------------------------------------

    def _decide(self, call: Call) -> None:
        if not (self._counting and self._is_its(call)):
            return
        with self._lock:
            self.met += 1
            if self.met == self._number:
                self.struck = call
            hangs = self.struck and self._hangs_with(call)
        if in_event_loop():
            self._in_loop.append(call)
            return
        if (step := threads._here.step) and not self._named_in(step.doing(), call):
            self.unnamed.append(f"{call} while it is told to {step.doing()}")
        if self._fails:
            if self.met == self._number and self.struck is call:
                raise OSError(5, "Input/output error", call.path)
        elif hangs:
            self._blocked += 1
            self._well.wait(_AGES)
            self._blocked -= 1

    def _named_in(self, told: str, call: Call) -> bool:
        """Whether a person would read what hangs, and not only in which step."""
        return self._place(call) in told and UNNAMED not in told

    def _is_its(self, call: Call) -> bool:
        if call.path.endswith("(deleted)"):
            return False  # of an earlier life, whose end did not wait for it
        return call.path == GROUP or call.path.startswith(f"{self._lodgers.root}/a")

    def _hangs_with(self, call: Call) -> bool:
        return self.struck is not None and self._place(call) == self._place(self.struck)

    def _place(self, call: Call) -> str:
        """Name the folder of a role that a call is about."""
        return "/".join(Path(call.path).relative_to(self._lodgers.root).parts[:2]) if call.path != GROUP else GROUP

    def cure(self) -> None:
        """Let the disk answer again, and see that all that hung is over: no thread outlives a real daemon's end."""
        pause.RETRY_SECONDS = SOON
        self._well.set()
        deadline = time.monotonic() + 120
        while self._blocked and time.monotonic() < deadline:
            time.sleep(SOON)
        for thread in threading.enumerate():
            if thread.name.startswith("ocrd "):
                thread.join(max(0.0, deadline - time.monotonic()))
        self._calls.decide = lambda _: None

    # -- the daemon -----------------------------------------------------------------------------------------------

    def live(self) -> None:
        """Live it, and check all that must hold."""
        self._prepare()
        if self._kind == "is not wanted":
            pause.RETRY_SECONDS = LATER
        self._calls.decide = self._decide
        self._lodgers.run(self._config(), self._story, SimulatedEngine(behave=illustrated))
        if self.struck and self._kind == "is left":
            assert time.monotonic() - self._told_to_end < STOPS, "it does not end in time"
        self.cure()
        assert not self._in_loop, f"on the event loop: {self._in_loop[0]}"
        self._lodgers.free_folders()
        if self.struck and (self._kind == "is left" or self._left()):
            assert self._kind != "comes back", f"left in work: {self._left()}"
            self._lodgers.run(self._config(reloaded=self._life.reload), self._finish)
            self._lodgers.free_folders()
        if self._kind != "is not wanted":
            self._check_end()

    async def _story(self) -> None:
        if self._life.reload:
            await until(lambda: self._done("a"), "the first life")
            self._lodgers.drop("again.pdf", b"again", "a")
            self._counting = True
            self._lodgers.daemon._hangup.set()  # type: ignore[union-attr]
        self._lodgers.drop("b.pdf", b"source b", "b")
        await until(lambda: self.struck or self._done("a"), "neither a fault nor an end")
        self._told_to_end = time.monotonic()
        if not self.struck:
            return
        if self._kind == "is not wanted":
            await self._take_away()
        elif self._kind != "fails once":
            await self._suffer()
        self._told_to_end = time.monotonic()
        if self._kind != "is left":
            self._well.set()
            await self._finish()

    @property
    def _fails(self) -> bool:
        return self._kind in {"fails once", "is not wanted"}

    async def _take_away(self) -> None:
        """Let a person take back what is in the inbox as soon as it can't be taken in, and bring something else."""
        with unseen():
            for path in (self._lodgers.root / "a/inbox").rglob("*.*"):
                path.unlink(missing_ok=True)
        self._lodgers.drop("later.pdf", b"later", "a")
        await until(lambda: "later.pdf" in self._lodgers.files("a", "archive"), "what comes later is delivered")

    async def _suffer(self) -> None:
        """See what others notice, and what a person is told."""
        self._lodgers.drop("late.pdf", b"late b", "b")
        await until(lambda: "late.pdf" in self._lodgers.files("b", "archive"), "the other watch delivers", USUAL)
        if self._blocked:
            await until(lambda: self._told_of() or not self._waited_for(), f"{self.struck} is told", TOLD)
            self.told = self._told_of()

    def _told_of(self) -> bool:
        """Whether a person can read what hangs and where."""
        if self.struck is None:
            return False
        place = GROUP if self.struck.path == GROUP else self._place(self.struck)
        return any(place in event.what or "worker process" in event.what for event in self._lodgers.paused)

    def _waited_for(self) -> bool:
        """Whether the watch has something to do that hangs."""
        return not self._lodgers.idle("a")

    async def _finish(self) -> None:
        await until(lambda: self._done("a") and self._done("b"), "all is delivered after the cure")

    def _done(self, watch: str) -> bool:
        return self._lodgers.idle(watch)

    # -- the scene ------------------------------------------------------------------------------------------------

    @unseen()
    def _prepare(self) -> None:
        lodgers, life = self._lodgers, self._life
        lodgers.build("a", "b")
        lodgers.reread = (lambda: self._config(reloaded=True)) if life.reload else None
        for name, data in life.sources.items():
            lodgers.drop(name, data, "a")
        for name, data in life.delivered.items():
            path = lodgers.root / "a" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if life.claimed:
            self._claim()
        if life.rerun:
            work = lodgers.root / "a/work"
            work.mkdir()
            rerun_requests.ask(work, JobRecord("a", "a.pdf", FileStamp(0, 0, 0, 0), rerun=life.rerun))

    def _claim(self) -> None:
        """Leave what a daemon leaves that dies once it has claimed, and begun one."""
        inbox = self._lodgers.root / "a/inbox"
        spool = Spool("a", inbox, self._lodgers.root / "a/work")
        spool.open()
        for path in filter(Path.is_file, inbox.iterdir()):
            job = spool.claim(Settled(path, FileStamp.of(path.lstat())))
            if job and path.name == "a.pdf":
                job.charge()
        spool.close()

    def _config(self, *, reloaded: bool = False) -> Config:
        folders = {role: self._lodgers.root / "a/other" / role for role in ("outbox", "error")} if reloaded else {}
        suffers = self._lodgers.watch("a", outputs=OUTPUTS, join="subfolder", group=GROUP, **folders)
        return self._lodgers.config(suffers, self._lodgers.watch("b"))

    @unseen()
    def _check_end(self) -> None:
        """Assert that all was delivered once, and nothing refused but what is bad."""
        lodgers, life = self._lodgers, self._life
        assert not lodgers.complaints, lodgers.complaints[0]
        bad = {name for name, data in life.sources.items() if data.startswith(b"bad")}
        refused = [name for role in ("error", "other/error") for name in lodgers.files("a", role)]
        assert set(refused) == bad | {f"{name}.error.md" for name in bad}, f"refused: {refused}"
        good = {*life.sources} - bad | ({"again.pdf"} if life.reload else set())
        before = {name.removeprefix("archive/") for name in life.delivered if name.startswith("archive/")}
        archived = lodgers.files("a", "archive")
        assert archived == sorted(good | before), f"archived: {archived}"
        outbox = [name for role in ("outbox", "other/outbox") for name in lodgers.files("a", role)]
        sidecars = sorted(name for name in outbox if name.endswith(".md"))
        stems = {"sub" if name.startswith("sub/") else Path(name).stem for name in good | before}
        if life.reload and self._kind != "comes back":  # one that was being delivered has a new outbox
            sidecars = sorted(set(sidecars))
        assert sidecars == sorted(f"{stem}.md" for stem in stems), f"delivered: {sidecars}"
        assert not life.rerun or "a.md.bak" in outbox
        assert not lodgers.files("a", "inbox")
        assert not self._left(), f"left in work: {self._left()}"

    @unseen()
    def _left(self) -> list[Path]:
        """List what is left of jobs; what is not a source's waits there for the next start if it can't be deleted."""
        there = (self._lodgers.root / "a/work").glob("*")
        return [
            path for path in there if "ledger" not in path.name and path.name not in {ownership.RECORD, ownership.LEFT}
        ]
