"""Which files have stopped changing. Pure: what was seen and the time are passed in."""

from collections.abc import Mapping
from pathlib import Path, PurePath

from ocrd.model import FileStamp, Settled

SOURCE_SUFFIXES = frozenset({".pdf", ".tif", ".tiff", ".jpg", ".jpeg", ".png"})
"""What is taken for a source, by its name; what it really is shows only when it is opened."""

_TEMPORARY_STARTS = (".", "~$", "._")
_TEMPORARY_NAMES = frozenset({"thumbs.db", "desktop.ini"})
_SYSTEM_FOLDERS = frozenset({"@eadir", "__macosx", "#recycle", "lost+found"})


def is_source_name(name: str) -> bool:
    """Whether a file of this name can be a source.

    Names of copies under way (`scan.pdf.part`, `.scan.pdf.x8Ff2a`, `~$scan.pdf`) are not: their own suffix or their
    first character gives them away.
    """
    if name.startswith(_TEMPORARY_STARTS) or name.lower() in _TEMPORARY_NAMES:
        return False
    return PurePath(name).suffix.lower() in SOURCE_SUFFIXES


def is_hidden_folder(name: str) -> bool:
    """Whether a folder belongs to a system or a program (`.stfolder`, `@eaDir`, `lost+found`), not to a person."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


class SettleTracker:
    """Remembers since when each file has looked the same.

    Only the tracker's own clock counts, not the files' times: a copy can carry an mtime of 1999 or of next week.
    """

    def __init__(self, quiet: float) -> None:
        """Take a file as settled once its stamp stayed the same for `quiet` seconds."""
        self._quiet = quiet
        self._since: dict[Path, tuple[FileStamp, float]] = {}
        self._told: set[Path] = set()

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
        still = {path for path, (_, since) in self._since.items() if now - since >= self._quiet}
        news = still - self._told
        self._told = still
        return [Settled(path, seen[path]) for path in sorted(news)]

    def forget(self, path: Path) -> None:
        """Let go of a file, so that it settles anew if it is still there."""
        self._since.pop(path, None)
        self._told.discard(path)

    @property
    def settling(self) -> int:
        """Number of files that are there but not settled yet."""
        return len(self._since) - len(self._told)

    def next_due(self) -> float | None:
        """When the next file will settle if nothing changes, in the clock's seconds; None if none is settling."""
        return min(
            (since + self._quiet for path, (_, since) in self._since.items() if path not in self._told), default=None
        )
