"""Which files have stopped changing. Pure: what was seen and the time are passed in."""

from collections.abc import Mapping
from pathlib import Path

from ocrd.model import FileStamp, Settled


class SettleTracker:
    """Remembers since when each file has looked the same.

    Only the tracker's own clock counts, not the files' times: a copy can carry an mtime of 1999 or of next week.
    """

    def __init__(self, quiet: float) -> None:
        """Take a file as settled once its stamp stayed the same for `quiet` seconds."""
        self.quiet = quiet
        self._since: dict[Path, tuple[FileStamp, float]] = {}
        self._told: dict[Path, FileStamp] = {}

    def observe(self, seen: Mapping[Path, FileStamp], now: float) -> list[Settled]:
        """Take in a scan of the whole folder and return the files that have settled since the last one.

        Each settled file is returned once; it comes again only if it changed or went away in between. `now` is in
        seconds of any clock that never goes back.
        """
        self._since = {
            path: (stamp, since if stamp == known else now)
            for path, stamp in seen.items()
            for known, since in [self._since.get(path, (None, now))]
        }
        still = {path: stamp for path, (stamp, since) in self._since.items() if now - since >= self.quiet}
        news = [Settled(path, stamp) for path, stamp in sorted(still.items()) if self._told.get(path) != stamp]
        self._told = still
        return news

    def forget(self, path: Path) -> None:
        """Let go of a file, so that it settles anew if it is still there."""
        self._since.pop(path, None)
        self._told.pop(path, None)

    @property
    def settling(self) -> int:
        """Number of files that are there but not settled yet."""
        return len(self._since) - len(self._told)

    def next_due(self) -> float | None:
        """When the next file will settle if nothing changes, in the clock's seconds; None if none is settling."""
        return min(
            (since + self.quiet for path, (_, since) in self._since.items() if path not in self._told), default=None
        )
