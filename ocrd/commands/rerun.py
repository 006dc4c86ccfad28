"""`ocrd rerun`: the wish to have pages of a delivered document read again, left where the daemon finds it."""

import re
from collections.abc import Iterable
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

_MOST = 100_000
"""Pages in one range: beyond any scan, and no strain on memory."""


def ask(name: str, pages: str, watches: Iterable[Watch]) -> str:
    """Ask for pages (`7,12-15`) of the document that `name` means to be read again; returns a sentence for a person.

    Raises DocumentError if the name, the pages or the original can't be found, MachineError.
    """
    numbers = parse(pages)
    found = deliveries.find(name, watches)
    _check_pages(found, numbers)
    watch = found.watch
    original = deliveries.original(watch, found.facts, found.sidecar)
    if original is None:
        raise DocumentError(
            f"The original of {shown(found.sidecar)} is neither in {shown(watch.archive)} nor in {shown(watch.error)}.",
            "Put it back there, or drop it into the inbox to have all of it read.",
        )
    record = JobRecord(
        watch.name, found.source, FileStamp.of(original.path.lstat()), rerun=Rerun(found.sidecar, numbers)
    )
    job = ask_for_rerun(watch.work_folder, record)
    with suppress(MachineError):  # only a hint, so that the daemon looks now and not in a minute
        make_and_delete(watch.inbox / ".ocrd-rerun.tmp")
    return f"Asked for {len(numbers)} page(s) of {shown(watch.outbox / found.sidecar)} to be read again (job {job})."


def parse(pages: str) -> tuple[int, ...]:
    """Read a list of pages and ranges of pages, such as `7,12-15`. Raises DocumentError."""
    numbers: set[int] = set()
    for part in pages.split(","):
        bounds = re.fullmatch(r"\s*(\d{1,6})(?:\s*-\s*(\d{1,6}))?\s*", part, re.ASCII)
        first, last = (int(bounds[1]), int(bounds[2] or bounds[1])) if bounds else (0, 0)
        if not 1 <= first <= last <= _MOST:
            raise DocumentError(
                f"{shown(part)!r} in --pages {shown(pages)!r} is no page and no range of pages.",
                "Give numbers from 1 and ranges, such as 7,12-15.",
            )
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))


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
