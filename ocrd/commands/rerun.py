"""`ocrd rerun`: the wish to have pages of a delivered document read again, left where the daemon finds it."""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress

from ocrd.config.schema import Watch
from ocrd.display import shown
from ocrd.errors import DocumentError, MachineError
from ocrd.model import FileStamp
from ocrd.storage import deliveries
from ocrd.storage.deliveries import Delivered
from ocrd.storage.durable import make_and_delete
from ocrd.storage.job import JobRecord, Rerun
from ocrd.storage.spool import ask_for_rerun

MANY = 100
"""Pages beyond which a person is asked first."""
_MOST = 100_000
"""Pages in one range: beyond any scan, and no strain on memory."""
WORDS = ("all", "problems")

Range = tuple[int, int | None]
"""The first and the last of some pages; None for the document's last."""


def ask(name: str, pages: str, watches: Iterable[Watch], sure: Callable[[int], object] = bool) -> str:
    """Ask for pages of the document that `name` means to be read again; returns a sentence for a person.

    `pages` are `all`, `problems`, or numbers and ranges: `7,12-15,20-`. `sure` is called with their number where that
    is more than `MANY`, and may raise what ends the command. Raises DocumentError if the name, the pages or the
    original can't be found, MachineError.
    """
    ranges = () if pages in WORDS else parse(pages)
    found = deliveries.find(name, watches)
    numbers = _wanted(pages, ranges, found)
    _check_pages(found, numbers)
    watch = found.watch
    original = deliveries.original(watch, found.facts, found.sidecar)
    if original is None:
        raise DocumentError(
            f"The original of {shown(found.sidecar)} is neither in {shown(watch.archive)} nor in {shown(watch.error)}.",
            "Put it back there, or drop it into the inbox to have all of it read.",
        )
    if len(numbers) > MANY:
        sure(len(numbers))
    record = JobRecord(
        watch.name, found.source, FileStamp.of(original.path.lstat()), rerun=Rerun(found.sidecar, numbers)
    )
    job = ask_for_rerun(watch.work_folder, record)
    with suppress(MachineError):  # only a hint, so that the daemon looks now and not in a minute
        make_and_delete(watch.inbox / ".ocrd-rerun.tmp")
    return f"Asked for {len(numbers)} page(s) of {shown(watch.outbox / found.sidecar)} to be read again (job {job})."


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
