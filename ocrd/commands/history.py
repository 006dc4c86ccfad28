"""`ocrd history`: what came to its end, as the ledgers of the watches tell."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from heapq import merge
from itertools import repeat

from ocrd.config.schema import Watch
from ocrd.config.units import seconds
from ocrd.display import shown
from ocrd.errors import ConfigError, DocumentError, MachineError
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


def entries(
    watches: Iterable[Watch], wanted: Wanted, broken: list[MachineError] | None = None
) -> Iterator[tuple[str, Entry]]:
    """Go through the entries of these watches by date, each with its watch's name.

    A ledger that can't be read does not hide the others: what is wrong with it goes to `broken`.
    """
    own = (zip(repeat(watch.name), _of(watch, broken if broken is not None else [])) for watch in watches)
    return (entry for entry in merge(*own, key=lambda entry: entry[1].date) if wanted(entry[1]))


def being_made_anew(watches: Iterable[Watch]) -> list[str]:
    """List the watches whose ledger does not hold all yet; one that can't be read is told of by `entries`."""
    found = []
    for watch in watches:
        with suppress(MachineError):
            if not Ledger(watch.work_folder).is_whole():
                found.append(watch.name)
    return found


def _of(watch: Watch, broken: list[MachineError]) -> Iterator[Entry]:
    try:
        yield from Ledger(watch.work_folder).entries()
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
