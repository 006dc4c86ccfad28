"""Files held against each other, or against what is known, by their bytes; only regular ones."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ocrd.concurrency.threads import doing
from ocrd.display import shown
from ocrd.model import FileStamp
from ocrd.storage.renames import NotAsSeenError
from ocrd.storage.safe_paths import NotRegularError, regular, spelled

_CHUNK = 2**20
"""Bytes."""


def same_file(one: Path, other: Path) -> bool:
    """Whether both exist as regular files, and are one (two names) or have the same bytes."""
    try:
        with (
            doing(lambda: f"compare {shown(one)} with {shown(spelled(other))}"),
            _reading(one) as first,
            _reading(other) as second,
        ):
            stamps = [FileStamp.of(os.fstat(file.fileno())) for file in (first, second)]
            if stamps[0] == stamps[1]:
                return True
            return stamps[0].size == stamps[1].size and all(
                data == second.read(_CHUNK) for data in iter(lambda: first.read(_CHUNK), b"")
            )
    except (NotAsSeenError, FileNotFoundError, PermissionError):
        return False


def holds(path: Path, data: bytes) -> bool:
    """Whether a regular file at `path` holds exactly these bytes."""
    try:
        with _reading(path) as file:
            return os.fstat(file.fileno()).st_size == len(data) and file.read(len(data) + 1) == data
    except (NotAsSeenError, FileNotFoundError, PermissionError):  # what we may not read, we did not write
        return False


@contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file. Raises NotAsSeenError if there is something else, which is not waited for; OSError."""
    try:
        with regular(path) as held, held.open("rb") as file:
            yield file
    except NotRegularError:
        raise NotAsSeenError from None
