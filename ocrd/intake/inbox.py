"""One inbox: how it is watched, what lies in it, and which of that is complete.

Events are hints: they wake us, and say at which paths to look. The scan of all of it is the truth, and comes every
minute, or every five of them where there are hundreds of inboxes. Where events can't be had or can't be trusted the
inbox is polled, which is a more frequent scan, and nothing else.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from ocrd.concurrency.threads import OnDisk
from ocrd.config.schema import Settle
from ocrd.config.watch import Watch
from ocrd.display import duration, shown
from ocrd.errors import DocumentError, IncompleteError, MachineError
from ocrd.intake import grouping
from ocrd.intake.inotify import FolderEvents
from ocrd.intake.open_writers import unfinished
from ocrd.intake.scanner import Scan, Wanted, refresh, scan
from ocrd.intake.settling import SettleTracker
from ocrd.intake.unwritten import unwritten
from ocrd.model import COMPANION, Settled
from ocrd.storage import mounts
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.roles import Identity

_TRY_AGAIN = 600.0
"""Seconds until an inbox that can't be watched is tried again."""
_STRIKES = 2
"""So many scans in a row that find what no event told of, though events come: then events are not trusted here."""
_LEAST_GAP = 0.2
"""Seconds between two scans, however many events come."""
_MOST_SCANNING = 0.1
"""Share of the time that may go into scans, however large the inbox is."""
_WATCHES_AT_PACE = 100
"""So many inboxes are scanned every `settle.rescan`."""
_MOST_STRETCHED = 5.0
"""So many times longer may it take where there are more."""

_MOST_KINDS = 100
"""So many kinds of files are told not to be read: temporary files of some programs end in something new each time."""
_GAPS_FOR_ZEROS = frozenset({"zfs"})
"""File systems that keep zeros that were written as gaps."""

PageCounter = Callable[[Path], Awaitable[int]]
"""Counts the pages of a file. Raises IncompleteError if it looks as if more of it were to come, MachineError if nothing
can be read there now."""

Check = Callable[[], frozenset[Identity]]


def rescan(settle: Settle, watches: int) -> float:
    """Give the seconds between two scans of an inbox that events come from, of so many.

    To scan hundreds of inboxes is all that a service at rest does, and nothing is found but what no event told of.
    """
    return settle.rescan * min(max(1.0, watches / _WATCHES_AT_PACE), _MOST_STRETCHED)


class Inbox:
    """Owns watching, polling and scanning of one folder. Its methods are for one event loop."""

    def __init__(
        self, watch: Watch, settle: Settle, wake: asyncio.Event, on_disk: OnDisk, *, once: bool = False
    ) -> None:
        """Prepare; the first `look` begins to watch. `wake` is set when there may be news.

        `on_disk` takes steps that may block. With `once` nothing is watched, and nothing is waited for but the quiet
        time.
        """
        self.folder = watch.inbox
        self.tracker = SettleTracker(settle.quiet, 0.0 if once else settle.patience)
        self.how = "once" if once else "polling"
        """`events`, `polling`, or `once`."""
        self.why = ""
        """Why it is polled."""
        self.found_by_scan = 0
        """Files that a scan found and no event had told of."""
        self._settle = settle
        self._watches = 1
        self._wanted = Wanted(watch.include, watch.exclude)
        self._joins, self._duplex = watch.joins, watch.duplex
        self._event = wake
        self._on_disk = on_disk
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._once = once
        self._log = structlog.get_logger("ocrd").bind(watch=watch.name)
        self._watching: FolderEvents | None = None
        self._place: tuple[int, int] | None = None
        self._local = False
        self._gaps_tell = False
        self._try_at = 0.0
        self._looked = 0.0
        self._seconds = 0.0
        self._found = Scan()
        self._taken: set[Path] = set()
        self._look_through = True
        self._scan_due = 0.0
        self._scan_seconds = 0.0
        self.files: set[Path] = set()
        """What lay there at the last look."""
        self._unheard: tuple[set[Path], float] = (set(), 0.0)
        self._strikes = 0
        self._away = False
        self._odd: set[Path] = set()
        self._unread: set[str] = set()
        self._waiting: dict[Path, str] = {}

    @property
    def every(self) -> float:
        """Seconds after which to look again though nothing is due and no event came."""
        settle = self._settle
        return rescan(settle, self._watches) if self.how == "events" else min(settle.poll, settle.rescan)

    @property
    def rest(self) -> float:
        """Seconds until to look again though nothing is due and no event comes."""
        return 0.0 if self._look_through else max(0.0, self._scan_due - time.monotonic())

    @property
    def gap(self) -> float:
        """Seconds to let pass before the next look, whatever happens."""
        return self._gap_after(self._seconds)

    def _gap_after(self, seconds: float) -> float:
        return min(max(_LEAST_GAP, seconds / _MOST_SCANNING), self._settle.rescan)

    async def look(self, check: Check = frozenset) -> list[Settled]:
        """Look into the folder, and return what has settled since the last look. Raises MachineError.

        It is looked at what may have changed, and at times through all of it. Before that `check`, which may block,
        says which folders are not to be looked into; it raises MachineError if the inbox is not what it was.
        """
        self._loop = asyncio.get_running_loop()
        before, began = self._looked, time.monotonic()
        whole = await self._on_disk(self._look, began, check, self._restless())
        found, looked = self._found, time.monotonic()
        self._looked = began
        self._count_what_came_without_events(set(found.files), before, whole=whole)
        seen = grouping.units(self.folder, self._joins, found.files, found.coming, found.companions)
        alone = {Path(f"{path}{COMPANION}"): path for path in found.companions if path not in seen}
        self._tell_odd(found.odd | {one: f"for {shown(path.name)}, which is not here" for one, path in alone.items()})
        self._tell_unread(found.unread)
        self._waiting = {path: why for path, why in self._waiting.items() if path in seen}
        news = self.tracker.observe(seen, began)
        self._seconds += time.monotonic() - looked
        return news

    @property
    def unfinished(self) -> dict[str, str]:
        """Sources that are held back, relative to the inbox, and why; as a person is shown them."""
        return {self._name(path): why for path, why in self._waiting.items()}

    async def examine(self, settled: Settled, count_pages: PageCounter) -> int | None:
        """Return the number of pages of a settled file or group; None if it is held back, since it looks unfinished.

        It is held back as long as there is patience, and comes again from a later look. One side of a duplex scan is
        held back until the other is there, or need not be waited for any more. Raises MachineError.
        """
        if (lacks := settled.group.lacks) and await self._waits(settled, lacks, self._duplex.wait, alone=True):
            return None
        why = await self._on_disk(self._unfinished, settled)
        if not why:
            try:
                await self._on_disk(self._see_all_written, settled)
                return await _count_all(settled, count_pages)
            except IncompleteError as error:
                why = error.what
                if self._once and not await self._on_disk(self._is_young, settled, self._settle.patience):
                    return 1
        return None if await self._waits(settled, why, self._settle.patience) else 1

    async def _waits(self, settled: Settled, why: str, longest: float, *, alone: bool = False) -> bool:
        """Hold a source back that lacks something, as long as there is patience. Returns whether it waits."""
        if self._once:
            if alone and not await self._on_disk(self._is_young, settled, longest):
                return False
            self._log.warning("left for the next time", source=self._name(settled.path), reason=why)
            return True
        if not self.tracker.put_off(settled.path, time.monotonic(), longest if alone else None):
            return False
        if self._waiting.get(settled.path) != why:
            self._waiting[settled.path] = why
            self._log.info("waiting", source=self._name(settled.path), reason=why, longest=longest)
        return True

    def refusal_of(self, settled: Settled) -> DocumentError | None:
        """Say why a source that has settled is not to be read: one side of a duplex scan, of which the other lacks."""
        if not settled.group.lacks or self._duplex.alone == "read":
            return None
        return DocumentError(
            f"It is one side of a duplex scan, and was not joined with the other within {duration(self._duplex.wait)}: "
            f"{settled.group.lacks}.",
            "Move it back into the inbox together with the other, or set duplex.alone: read to have it read by itself.",
        )

    def settle(self, settle: Settle, watches: int) -> None:
        """Take over other settings, and how many watches there are, without forgetting what was seen."""
        self._settle, self._watches = settle, watches
        self.tracker.quiet = settle.quiet
        self.tracker.patience = 0.0 if self._once else settle.patience

    def was_away(self) -> None:
        """Test the watching anew at the next look: the folder could not be reached for a while.

        What is mounted again can bear the very numbers of what was there before, without its watches.
        """
        self._away = True
        self.look_through()

    def look_through(self) -> None:
        """Look through all of the inbox at the next look: what was seen may not be true any more."""
        self._look_through = True

    def took(self, settled: Settled) -> None:
        """Hear that what had settled was moved out of the inbox, and so is news should it come back."""
        self.tracker.forget(settled.path)
        self._taken |= settled.files.keys()

    def choose(self, watch: Watch) -> None:
        """Take over another choice among the files, and of what belongs together."""
        self._wanted = Wanted(watch.include, watch.exclude)
        self._joins, self._duplex = watch.joins, watch.duplex
        self.look_through()

    def close(self) -> None:
        """Stop watching, for good."""
        self._closed = True
        self._unwatch()

    def _restless(self) -> set[Path]:
        """List the paths at which things change without an event: where writers write, and where we claimed."""
        taken, self._taken = self._taken, set()
        settling = {path for settled in self.tracker.unsettled() for path in settled.files}
        return taken | settling | self._found.coming.keys()

    # What follows runs in other threads, one look at a time.

    def _wake(self) -> None:
        if self._loop:
            self._loop.call_soon_threadsafe(self._event.set)

    def _unwatch(self) -> None:
        if self._watching:
            self._watching.close()
            self._watching = None

    def _look(self, now: float, check: Check, restless: set[Path]) -> bool:
        """Look into the inbox. Returns whether it was looked through whole."""
        closed = check()
        with machine_faults("look into the inbox", self.folder):
            status = self.folder.stat()
        if (status.st_dev, status.st_ino) != self._place:
            self._arrived_at((status.st_dev, status.st_ino))
        if not self._once:
            self._tend(now)
        heard = self._watching.heard() if self._watching else set()
        began, coming = time.monotonic(), self._joins != "none"
        whole = self._look_through or self.how != "events" or began >= self._scan_due
        if whole:
            self._look_through = False
            self._found = scan(self.folder, self._wanted, coming=coming, closed=closed)
        else:
            refresh(self._found, heard | restless, self.folder, self._wanted, coming=coming, closed=closed)
        self._seconds = time.monotonic() - began
        self._plan_scan(whole=whole)
        return whole

    def _plan_scan(self, *, whole: bool) -> None:
        """Say when to look through all of it next: in time, or soon where a folder came, in which more may happen."""
        now = time.monotonic()
        if whole:
            self._scan_seconds = self._seconds
            self._scan_due = now + max(self.every, self._gap_after(self._scan_seconds))
            self._seconds = self._seconds if self.how != "events" else 0.0
        if self._watching and self._watching.folders_changed:
            self._watching.folders_changed = False
            soon = now + max(self._settle.quiet, self._gap_after(self._scan_seconds))
            self._scan_due = min(self._scan_due, soon)

    def _unfinished(self, settled: Settled) -> str:
        for path, stamp in settled.files.items():
            with machine_faults("look whether anybody writes to", path):
                why = unfinished(path, stamp, local=self._local)
            if why:
                return why if path == settled.path else f"of {shown(path.name)}: {why}"
        return ""

    def _see_all_written(self, settled: Settled) -> None:
        """Raise IncompleteError if parts of a file are still to be written."""
        for path in settled.files:
            with machine_faults("look whether all was written of", path):
                why = unwritten(path, gaps=self._gaps_tell)
            if why:
                error = IncompleteError(why, "Wait, or copy it again.")
                raise error if path == settled.path else _of_one(path, error)

    def _is_young(self, settled: Settled, longest: float) -> bool:
        """Whether one of its files was written, or moved here, so few seconds ago that more of it may be on its way.

        By the time of its last change that nobody can set, since a copy can carry the mtime of its original.
        """
        now = time.time()
        with machine_faults("look at", settled.path):
            try:
                return any(abs(now - path.lstat().st_ctime) < longest for path in settled.files)
            except FileNotFoundError:
                return True  # it is not there any more: the claim would find that out

    def _arrived_at(self, place: tuple[int, int]) -> None:
        """Begin with a folder that is new under this name: at the start, mounted, or made anew."""
        with machine_faults("look into the inbox", self.folder):
            kind = mounts.kind_of(self.folder)
        if self._watching:
            self._watch_anew("the inbox is another folder now")
        self._place, self._local, self._try_at, self._strikes = place, not mounts.is_shared(kind), 0.0, 0
        self._gaps_tell = self._local and kind not in _GAPS_FOR_ZEROS
        if not self._local:
            self._poll(f"other machines can write to it unseen, since it is on {kind}", float("inf"))

    def _tend(self, now: float) -> None:
        """See that events come, if they can."""
        unheard, since = self._unheard
        self._unheard = (set(), 0.0)
        if self._watching and not self._watching.alive():
            self._watch_anew("the inbox was deleted, or its observer ended")
        elif self._watching and self._away and not self._watching.arrive(self.folder):
            self._watching.distrust()
            self._watch_anew("no event came after it was away")
        elif self._watching and unheard and self._watching.last_event < since:
            self.found_by_scan += len(unheard)
            self._doubt(self._watching, unheard)
        self._away = False
        if self._watching is None and now >= self._try_at:
            self._watch(now)
        if self._watching and self._watching.overflowed:
            self._watching.overflowed = False
            self.look_through()
            self._log.warning(
                "events were lost, so the inbox was looked through",
                what="More happened at once than the kernel keeps (fs.inotify.max_queued_events).",
            )

    def _watch(self, now: float) -> None:
        try:
            self._watching = FolderEvents(self.folder, self._wake)
            heard = self._watching.arrive(self.folder)
        except MachineError as error:
            self._unwatch()
            self._poll(error.what, now + _TRY_AGAIN, error.remedy)
            return
        if self._closed:  # while this went on
            self._unwatch()
        if not heard:
            self._watching.distrust()
            self._unwatch()
            self._poll("a test file that appeared in it brought no event", now + _TRY_AGAIN)
            return
        self.how, self.why = "events", ""
        self.look_through()

    def _doubt(self, watching: FolderEvents, unheard: set[Path]) -> None:
        """Find out why files came without events: none come any more, or others write them unseen."""
        folder = min(unheard).parent
        try:
            heard = watching.arrive(folder)
        except MachineError:
            return  # the folder is gone again, or the machine will tell in its own time
        self._strikes += 1
        if not heard:
            watching.distrust()
            self._watch_anew(f"no event came from {shown(folder)}")
        elif self._strikes >= _STRIKES:
            self._unwatch()
            self._poll("files appear in it without events; do other machines write to it?", float("inf"))

    def _watch_anew(self, why: str) -> None:
        self._unwatch()
        self._try_at = 0.0
        self.how, self.why = "polling", why
        self._log.warning("watching anew", reason=why)

    def _poll(self, why: str, try_at: float, remedy: str = "") -> None:
        if (self.how, self.why) != ("polling", why):
            self._log.warning("polled", inbox=shown(self.folder), reason=why, remedy=remedy, every=self._settle.poll)
        self.how, self.why, self._try_at = "polling", why, try_at

    # And this in the event loop again.

    def _count_what_came_without_events(self, files: set[Path], before: float, *, whole: bool) -> None:
        """Note new files that no event has told of since the look before; the next look holds them against events."""
        new = files - self.files if before else set()
        self.files = files
        if self._watching is None:
            self.found_by_scan += 0 if self._once else len(new)
        elif new and whole and self._watching.last_event < before:
            self._unheard = (new, before)
        elif new:
            self._strikes = 0

    def _tell_odd(self, odd: dict[Path, str]) -> None:
        """Log each thing that is named like a source but is none, once."""
        for path in odd.keys() - self._odd:
            self._log.warning("left alone", source=self._name(path), reason=f"it is {odd[path]}")
        self._odd = set(odd)

    def _tell_unread(self, unread: dict[str, Path]) -> None:
        """Log once of each kind of file that it is not read, with an example."""
        for ending in sorted(unread.keys() - self._unread)[: _MOST_KINDS - len(self._unread)]:
            self._unread.add(ending)
            reason = f"its name ends in {shown(ending)!r}, which ocrd does not read" if ending else "it has no ending"
            self._log.info("left alone", source=self._name(unread[ending]), reason=reason)

    def _name(self, path: Path) -> str:
        return shown(path.relative_to(self.folder))


async def _count_all(settled: Settled, count_pages: PageCounter) -> int:
    """Count the pages of all files. Raises IncompleteError if one more is coming, or one has not all of its bytes."""
    for name in settled.group.coming:
        raise IncompleteError(f"{shown(name)} is still being copied.", "Wait, or delete it.")
    pages = 0
    for path in settled.sources:
        try:
            pages += await count_pages(path)
        except IncompleteError as error:
            raise error if path == settled.path else _of_one(path, error) from error
    return pages


def _of_one(path: Path, error: IncompleteError) -> IncompleteError:
    return IncompleteError(f"Of {shown(path.name)}: {error.what}", error.remedy)
