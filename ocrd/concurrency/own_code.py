"""Whether ocrd's own files are still those that this process runs.

A process that starts later imports what lies there then. After an upgrade under a running daemon it would be of another
version, and what the two say to each other would fail on some document, which is not to blame.
"""

from pathlib import Path

from ocrd.errors import OutdatedError

_FOLDER = Path(__file__).parents[1]

_Stamps = frozenset[tuple[str, int, int]]


def stamps(folder: Path = _FOLDER) -> _Stamps:
    """Return name, size in bytes and modification time in nanoseconds of each of the files. Raises OSError.

    It takes some two milliseconds.
    """
    found = ((path, path.stat()) for path in folder.rglob("*.py"))
    return frozenset((str(path), status.st_size, status.st_mtime_ns) for path, status in found)


_at_the_start = stamps()


def check() -> None:
    """Look before a process is started that imports them. Raises OutdatedError if they are others now."""
    try:
        same = stamps() == _at_the_start
    except OSError:  # it is under way, or the files can't be reached
        same = False
    if not same:
        raise OutdatedError(
            f"ocrd's own files in {_FOLDER} have changed since it was started, as by an upgrade.",
            "Restart the service (systemctl restart ocrd).",
        )
