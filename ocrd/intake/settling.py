"""Which files have stopped changing. Pure: what was seen and the time are passed in."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ocrd.model import FileStamp, Group, Settled


@dataclass(slots=True)
class _Known:
    stamp: FileStamp | Group
    since: float
    due: float
    reported: bool = False


class SettleTracker:
    """Remembers since when each file, or group of files, has looked the same.

    Only the tracker's own clock counts, not the files' times: a copy can carry an mtime of 1999 or of next week.
    """

    def __init__(self, quiet: float, patience: float = 0.0) -> None:
        """Take a file as settled once its stamp stayed the same for `quiet` seconds.

        One that still looks unfinished then can be put off (`put_off`), until it has stayed the same for `patience`.
        """
        self.quiet = quiet
        self.patience = patience
        self._known: dict[Path, _Known] = {}

    def observe(self, seen: Mapping[Path, FileStamp | Group], now: float) -> list[Settled]:
        """Take in a scan of the whole folder and return the files that have settled since the last one.

        Each settled file is returned once; it comes again only if it changed, went away in between, or was put off.
        `now` is in seconds of any clock that never goes back.
        """
        known: dict[Path, _Known] = {}
        for path, stamp in seen.items():
            before = self._known.get(path)
            fresh = before is None or before.stamp != stamp
            known[path] = _Known(stamp, now, now + self.quiet) if before is None or fresh else before
        self._known = known
        news = sorted(path for path, file in known.items() if not file.reported and now >= file.due)
        for path in news:
            known[path].reported = True
        return [Settled(path, known[path].stamp) for path in news]

    def put_off(self, path: Path, now: float, longest: float | None = None) -> bool:
        """Let a settled file wait on, `quiet` seconds at a time. Returns False if its patience is used up.

        With `longest` it has that patience in place of the usual one, and waits for all of it unless it changes. One
        that was forgotten meanwhile settles anew, and so waits on, too.
        """
        file = self._known.get(path)
        if file is None:
            return True
        end = file.since + (self.patience if longest is None else longest)
        if now >= end:
            return False
        file.due = end if longest is not None else min(now + max(self.quiet, 1.0), end)
        file.reported = False
        return True

    def forget(self, path: Path) -> None:
        """Let go of a file, so that it settles anew if it is still there."""
        self._known.pop(path, None)

    def forget_all(self) -> None:
        """Let go of everything: what was seen does not count any more."""
        self._known.clear()

    def knows(self, settled: Settled) -> bool:
        """Whether a file, or a group, is still what it was when it settled, as far as scans have reported since."""
        file = self._known.get(settled.path)
        return file is not None and file.stamp == settled.stamp

    @property
    def known(self) -> int:
        """Number of files and groups that are there."""
        return len(self._known)

    @property
    def settling(self) -> int:
        """Number of files that are there but not settled yet, or put off."""
        return sum(not file.reported for file in self._known.values())

    def unsettled(self) -> list[Settled]:
        """List the files and groups that are settling, as they were seen last."""
        return [Settled(path, file.stamp) for path, file in self._known.items() if not file.reported]

    def next_due(self) -> float | None:
        """When the next file will settle if nothing changes, in the clock's seconds; None if none is settling."""
        return min((file.due for file in self._known.values() if not file.reported), default=None)
