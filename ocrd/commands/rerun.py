"""`ocrd rerun`: the wish to have pages of delivered scans read again, left where the daemon finds it."""

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ocrd.commands.progress_bars import ProgressBars
from ocrd.config.watch import Watch
from ocrd.display import counted, shown
from ocrd.errors import DocumentError, MachineError
from ocrd.model import FileStamp
from ocrd.storage import deliveries, originals, rerun_requests
from ocrd.storage.deliveries import Delivered
from ocrd.storage.durable import make_and_delete
from ocrd.storage.job import JobRecord, Rerun
from ocrd.storage.locks import is_locked
from ocrd.storage.originals import Original
from ocrd.telemetry import status_file

MANY = 100
"""Pages beyond which a person is asked first."""
_MOST = 100_000
"""Pages in one range: beyond any scan, and no strain on memory."""
PATIENCE = 600.0
"""Seconds without a page after which nobody waits any longer."""
_NOT_RUNNING = {"stopped", "failed", "down", "dead"}
_LOOK = 0.5
"""Seconds between two looks at how a rerun gets on."""
WORDS = ("all", "problems")

Range = tuple[int, int | None]
"""The first and the last of some pages; None for the document's last."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Pages of one document that are to be read again."""

    found: Delivered
    """The document."""
    pages: tuple[int, ...]
    """Their numbers in the source, from 1."""
    original: Original
    """What they are read from."""

    @property
    def sidecar(self) -> Path:
        """Where the document lies."""
        return self.found.watch.outbox / self.found.sidecar


def run(
    names: Sequence[str],
    pages: str,
    watches: Sequence[Watch],
    sure: Callable[[int], object] = bool,
    *,
    wait_for: Path | None = None,
) -> None:
    """Ask for pages of these documents to be read again, without names of all that have problems; print what is asked.

    `sure` is called with the number of pages where that is more than `MANY`, and may raise what ends the command. If it
    is to wait until they are read, `wait_for` is the configuration of the daemon that does it. Raises DocumentError,
    once the others are asked for, if one is not; MachineError.
    """
    refused: list[DocumentError] = []
    wishes = _wishes(names, pages, watches, refused)
    if (count := sum(len(wish.pages) for wish in wishes)) > MANY:
        sure(count)
    if not wishes and not refused:
        print("No document tells of a page to look at.")
    jobs = {}
    for wish in wishes:
        job = ask(wish)
        jobs[job] = wish
        print(asked(wish, job))
    if jobs and not all(is_locked(wish.found.watch.work_folder) for wish in jobs.values()):
        print("No ocrd runs now: it is read at the next start, or by `ocrd once`.")
    if wait_for and jobs:
        refused += _waited(jobs, wait_for)
    for refusal in refused[:-1]:
        print(f"ocrd: {refusal.what}\n{refusal.remedy}", file=sys.stderr)
    if refused:
        raise refused[-1]


def _wishes(names: Sequence[str], pages: str, watches: Sequence[Watch], refused: list[DocumentError]) -> list[Wish]:
    """List what is meant; why one document can't be read again goes to `refused`."""
    if not names:
        return of_problems(watches, refused)
    wishes = []
    for name in names:
        try:
            wishes.append(of_name(name, pages, watches))
        except DocumentError as error:
            refused.append(error)
    return wishes


def _waited(jobs: Mapping[str, Wish], config: Path) -> list[DocumentError]:
    """Wait for these jobs, print what got better, and return what is wrong."""
    known = status_file.read(config)
    if known is None or status_file.judged(known, time.time()).state in _NOT_RUNNING:
        remedy = "Start it, or call `ocrd once`. What was asked for stays asked for."
        return [DocumentError("No ocrd runs that would read them now.", remedy)]
    with ProgressBars() as bars:
        left = wait(jobs, bars)
    counts, unread = better(wish for job, wish in jobs.items() if job not in left)
    print(counts)
    wrong = []
    if unread:
        what = f"Of {counted(unread, 'document')} no page could be read again."
        wrong.append(DocumentError(what, "The log says why (not reread)."))
    if left:
        remedy = "Is it hanging (ocrd status)? What was asked for stays asked for."
        wrong.append(DocumentError(f"Of {counted(len(left), 'document')} no page was read again yet.", remedy))
    return wrong


def of_name(name: str, pages: str, watches: Iterable[Watch]) -> Wish:
    """Say which pages of the document that `name` means are to be read again.

    `pages` are `all`, `problems`, or numbers and ranges: `7,12-15,20-`. Raises DocumentError if the name, the pages or
    the original can't be found, MachineError.
    """
    ranges = () if pages in WORDS else parse(pages)
    return _wish(deliveries.find(name, watches), pages, ranges)


def of_problems(watches: Iterable[Watch], refused: list[DocumentError]) -> list[Wish]:
    """List the pages of all documents that somebody should look at; why one can't be read again goes to `refused`.

    Raises MachineError.
    """
    wishes = []
    for found in deliveries.with_problems(watches):
        try:
            wishes.append(_wish(found, "problems", ()))
        except DocumentError as error:
            refused.append(error)
    return wishes


def _wish(found: Delivered, pages: str, ranges: Iterable[Range]) -> Wish:
    numbers = _wanted(pages, ranges, found)
    _check_pages(found, numbers)
    original = originals.original(found.watch, found.facts, found.sidecar)
    if original is None:
        remedy = "Put it back there, or drop it into the inbox to have all of it read."
        raise originals.missing(found.watch, found.facts, found.sidecar, remedy)
    return Wish(found, numbers, original)


def ask(wish: Wish) -> str:
    """Ask for the pages to be read again; returns the job's id. Raises MachineError."""
    watch, found = wish.found.watch, wish.found
    stamp = FileStamp.of(wish.original.path.lstat())
    wanted = Rerun(found.sidecar, wish.pages, str(found.facts.get("sha256", "")))
    record = JobRecord(watch.name, found.source, stamp, rerun=wanted)
    job = rerun_requests.ask(watch.work_folder, record)
    with suppress(MachineError):  # only a hint, so that the daemon looks now and not in a minute
        make_and_delete(watch.inbox / ".ocrd-rerun.tmp")
    return job


def asked(wish: Wish, job: str) -> str:
    """Say what was asked for, and of which files."""
    count = f"{counted(len(wish.pages), 'page')} of {shown(wish.sidecar)}"
    return f"Asked for {count} to be read again from {shown(wish.original.path)} (job {job}).{wish.original.remark}"


def wait(
    jobs: Mapping[str, Wish], bars: ProgressBars, sleep: Callable[[float], None] = time.sleep
) -> Mapping[str, Wish]:
    """Wait until these jobs, by id, have come to their end, and show how they get on.

    Returns those that did not before `PATIENCE` seconds had gone by without a page.
    """
    for job, wish in jobs.items():
        bars.opened(_title(job, wish), len(wish.pages), 0)
    left, read, silent = dict(jobs), 0, 0.0
    while left and silent < PATIENCE:
        before, read = read, 0
        for job, wish in jobs.items():
            done = rerun_requests.progress(wish.found.watch.work_folder, job) if job in left else None
            read += len(wish.pages) if done is None else done
            bars.reached(_title(job, wish), len(wish.pages) if done is None else done)
            if done is None and job in left:
                del left[job]
                bars.ended(_title(job, wish))
        silent = silent + _LOOK if read == before else 0.0
        if left:
            sleep(_LOOK)
    return left


def _title(job: str, wish: Wish) -> str:
    return f"{wish.found.stem} ({job})"


def better(wishes: Iterable[Wish]) -> tuple[str, int]:
    """Say what became of the pages that were read again, by what the documents say now and said before.

    Returns a sentence, and how many documents could not be read.
    """
    before = after = mended = unread = 0
    for wish in wishes:
        with suppress(DocumentError):  # collected meanwhile
            now = deliveries.look(wish.found.watch, wish.found.sidecar)
            unread += "status" in now.facts and now.facts.get("reruns") == wish.found.facts.get("reruns")
            old, new = ({*deliveries.problems(one)} & {*wish.pages} for one in (wish.found, now))
            before, after, mended = before + len(old), after + len(new), mended + len(old - new)
    return f"Pages with problems: {before} before, {after} now; {mended} got better.", unread


def _wanted(pages: str, ranges: Iterable[Range], found: Delivered) -> tuple[int, ...]:
    """List the numbers of the pages that are meant. Raises DocumentError if there are none, or as `numbers` does."""
    if pages == "problems":
        numbers = deliveries.problems(found)
        if not numbers:
            raise DocumentError(f"{shown(found.sidecar)} tells of no page with a problem.", "Give the pages' numbers.")
        return tuple(numbers)
    if pages == "all":
        return tuple(deliveries.numbers(found))
    last = max(deliveries.numbers(found), default=0) if any(end is None for _, end in ranges) else 0
    return tuple(sorted({page for start, end in ranges for page in range(start, (end or max(start, last)) + 1)}))


def parse(pages: str) -> tuple[Range, ...]:
    """Read a list of pages and ranges of pages, such as `7,12-15,20-`. Raises DocumentError."""
    ranges: list[Range] = []
    for part in pages.split(","):
        bounds = re.fullmatch(r"\s*(\d{1,6})(?:\s*(-)\s*(\d{1,6})?)?\s*", part, re.ASCII)
        first = int(bounds[1]) if bounds else 0
        last = None if bounds and bounds[2] and not bounds[3] else int(bounds[3] or first) if bounds else 0
        if not 1 <= first <= (first if last is None else last) <= _MOST:
            raise DocumentError(
                f"{shown(part)!r} in --pages {shown(pages)!r} is no page and no range of pages.",
                "Give numbers from 1 and ranges, such as 7,12-15,20-; or all, or problems.",
            )
        ranges.append((first, last))
    return tuple(ranges)


def _check_pages(found: Delivered, numbers: tuple[int, ...]) -> None:
    path = found.watch.outbox / found.sidecar
    if found.facts.get("status") == "duplicate":
        raise DocumentError(
            f"{shown(path)} only points to an earlier document.", f"Name that one: {found.facts.get('duplicate_of')}."
        )
    have = deliveries.numbers(found)
    missing = [number for number in numbers if number not in have]
    if missing:
        last = max(have, default=0)
        raise DocumentError(
            f"{shown(path)} has no page {', '.join(map(str, missing[:10]))}; the last that it has is {last}.",
            "Give pages that have their marker in the sidecar.",
        )
