"""`ocrd history`: what came to its end, as the ledgers of the watches tell."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from heapq import merge
from itertools import repeat
from pathlib import Path

from ocrd.config.units import seconds
from ocrd.config.watch import Watch
from ocrd.display import shown
from ocrd.errors import ConfigError, DocumentError, MachineError
from ocrd.storage import ownership
from ocrd.storage.ledger import Entry, Ledger


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are asked for."""

    since: datetime | None = None
    """Those from then on."""
    status: str = ""
    """Those of this status or kind: `partial`, `skipped`."""
    name: str = ""
    """Those whose source or sidecar has this in its path, or is matched by it as a glob."""

    def __call__(self, entry: Entry) -> bool:
        """Whether an entry is one of these."""
        return (
            (self.since is None or datetime.fromisoformat(entry.date) >= self.since)
            and self.status in {"", entry.status, entry.kind}
            and any(_is_like(path, self.name) for path in (entry.source, entry.sidecar))
        )


def show(watches: Sequence[Watch], wanted: Wanted, *, as_json: bool) -> None:
    """Print a line for each entry, of all watches that can tell. Raises MachineError at the end if one can't."""
    for name in being_made_anew(watches):
        print(f"The ledger of {name} is being made anew: not all that was delivered is listed yet.", file=sys.stderr)
    wide = max(len(watch.name) for watch in watches)
    broken: list[MachineError] = []
    for name, one in entries(watches, wanted, broken):
        if as_json:
            print(json.dumps({"watch": name} | asdict(one), ensure_ascii=False))
        else:
            print(f"{one.date}  {name:{wide}}  {one.kind:9}  {one.pages:5} p.  {one.source} -> {one.sidecar}")
    if broken:
        raise broken[0]


def entries(
    watches: Iterable[Watch], wanted: Wanted, broken: list[MachineError] | None = None
) -> Iterator[tuple[str, Entry]]:
    """Go through the entries of these watches by date, each with its watch's name.

    A ledger that can't be read does not hide the others: what is wrong with it goes to `broken`.
    """
    broken = broken if broken is not None else []
    own = (zip(repeat(watch.name), _of(work, broken)) for watch in watches for work in _works(watch))
    return (entry for entry in _each_once(merge(*own, key=lambda entry: entry[1].date)) if wanted(entry[1]))


def _each_once(found: Iterable[tuple[str, Entry]]) -> Iterator[tuple[str, Entry]]:
    """Leave out a delivery that several daemons know: one that begins later finds it in the outbox."""
    date, seen = "", set[tuple[str, str]]()
    for name, one in found:
        if one.date != date:
            date, seen = one.date, set()
        if one.kind not in {"delivered", "linked"} or (name, one.sidecar) not in seen:
            seen.add((name, one.sidecar))
            yield name, one


def being_made_anew(watches: Iterable[Watch]) -> list[str]:
    """List the watches whose ledger does not hold all yet; one that can't be read is told of by `entries`."""
    found = []
    for watch in watches:
        with suppress(MachineError):
            if not Ledger(watch.work_folder).is_whole():
                found.append(watch.name)
    return found


def _works(watch: Watch) -> list[Path]:
    """List the work folders of all daemons of a watch, of which each has a ledger."""
    return [watch.work_folder, *ownership.beside(watch)]


def _of(work: Path, broken: list[MachineError]) -> Iterator[Entry]:
    try:
        yield from Ledger(work).entries()
    except MachineError as error:
        broken.append(error)


def of_name(watches: Sequence[Watch], name: str) -> Sequence[Watch]:
    """Choose the watch of this name; all where it is empty. Raises ConfigError if there is none."""
    chosen = [watch for watch in watches if name in {"", watch.name}]
    if not chosen:
        known = ", ".join(watch.name for watch in watches)
        raise ConfigError(f"There is no watch {shown(name)!r}.", f"Give one of these: {known}.")
    return chosen


def moment(text: str, now: datetime) -> datetime:
    """Read a point in time: a date, a date and time (of this machine's zone, unless another is given), or `7d` ago.

    Raises DocumentError.
    """
    try:
        return now - timedelta(seconds=seconds(text))
    except (ValueError, OverflowError):
        pass
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise DocumentError(
            f"{shown(text)!r} is no point in time.",
            "Give a date such as 2026-11-01, or how long ago, such as 7d or 12h.",
        ) from None


def now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


def _is_like(path: str, name: str) -> bool:
    return name.casefold() in path.casefold() or fnmatchcase(path.casefold(), name.casefold())
