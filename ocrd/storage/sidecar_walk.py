"""The Markdown below an outbox, in an order that never changes, so that who breaks off knows where to go on."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ocrd.output import front_matter, kinds
from ocrd.storage.os_errors import machine_faults

_FIRST, _MOST = 1 << 12, 1 << 18
"""Bytes read of a sidecar: its front matter fits into the first, but for a document with many problems."""
_NOT_FOR_US = {
    errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO, errno.ENAMETOOLONG,
}  # fmt: skip
"""Collected meanwhile, a link, a socket, somebody else's: what is no reason to come back later."""

Place = tuple[str, ...]
"""The parts of a path below the outbox. Places are walked in their order as tuples."""


def sidecars(outbox: Path, after: Place) -> Iterator[Place]:
    """Walk the Markdown below a folder, from behind a place; an empty one is before all. Links are not followed.

    Raises MachineError where the folder can't be looked into: what lies there is unknown then, not absent.
    """
    with machine_faults("look into", outbox):
        listings = [(Place(), _listing(outbox))]
    while listings:
        around, names = listings[-1]
        entry = next(names, None)
        if entry is None:
            listings.pop()
            continue
        name, is_folder = entry
        place = (*around, name)
        if is_folder and place >= after[: len(place)]:
            with machine_faults("look into", outbox.joinpath(*place)):
                try:
                    listings.append((place, _listing(outbox.joinpath(*place))))
                except OSError as error:
                    _pass_over(error)
        elif not is_folder and place > after:
            yield place


def identity_at(outbox: Path, place: Place) -> dict[str, Any] | None:
    """Read of which document a sidecar is; None if it is none of ours, or gone. Raises MachineError."""
    path = os.path.join(outbox, *place)  # faster than by pathlib, which shows in many thousands
    try:
        held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(held).st_mode):
                return None
            head = os.read(held, _FIRST)
            if len(head) == _FIRST and head.startswith(b"---") and b"\n---" not in head[:-4]:
                head += os.read(held, _MOST)
            return front_matter.identity_of(head)
        finally:
            os.close(held)
    except OSError as error:
        with machine_faults("read", Path(path)):
            _pass_over(error)
        return None


def _listing(folder: Path) -> Iterator[tuple[str, bool]]:
    """List the names of Markdown files and of folders, and which of both each is, sorted."""
    with os.scandir(folder) as entries:
        found = ((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
        return iter(sorted(one for one in found if one[1] or one[0].endswith(kinds.MARKDOWN.ending)))


def _pass_over(error: OSError) -> None:
    if error.errno not in _NOT_FOR_US:
        raise error
