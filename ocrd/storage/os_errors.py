"""Errors of the operating system, made sentences: what could not be done, where, why, and what to do about it."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ocrd.concurrency.threads import doing
from ocrd.display import shown
from ocrd.errors import MachineError
from ocrd.storage.mounts import mount_point
from ocrd.storage.safe_paths import lies_at, spelled

Find = Callable[[Path], Path]


@contextmanager
def machine_faults(what: str, path: Path) -> Iterator[None]:
    """Turn an OSError into a MachineError that says what could not be done, where, and why.

    FileExistsError passes, since a taken name is no fault: the caller picks another. While it lasts, a step that hangs
    is told to be at this.
    """
    with doing(lambda: f"{what} {shown(spelled(path))}"):
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            raise _translated(error, what, spelled(path), _mount_of, _in_the_way) from error


def is_there(path: str | Path) -> bool:
    """Whether anything lies at a path, a link too. Raises MachineError where that can't be told."""
    with machine_faults("look at", Path(path)):
        return lies_at(path)


def check_mount(folder: Path, expected: Path) -> None:
    """Raise MachineError if a folder lies no longer on what is mounted at `expected`, but on what was hidden below it.

    What is written there then would vanish from sight when the share is mounted again.
    """
    with machine_faults("reach", folder):
        now = mount_point(folder)
    if now != expected and expected.is_relative_to(now):
        raise MachineError(
            f"Nothing is mounted any more at {shown(expected)}, where {shown(folder)} lay.",
            f"Mount {shown(expected)} again.",
        )


@contextmanager
def stray_faults(what: str, path: Path) -> Iterator[None]:
    """Do the same in the event loop, where nothing may be looked up on a disk, for what nobody else has translated."""
    try:
        yield
    except OSError as error:
        raise _translated(error, what, path, lambda path: path, lambda path: path) from error


@contextmanager
def all_faults(doing_what: str, around: Path) -> Iterator[None]:
    """Do the same with whatever a whole step lets through, in which `around` a folder something was to be done."""
    with doing(lambda: f"{doing_what} around {shown(around)}"):
        try:
            yield
        except OSError as error:
            path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else around
            raise _translated(error, "use", spelled(path), _mount_of, _in_the_way) from error


def _translated(error: OSError, what: str, path: Path, mount: Find, in_the_way: Find) -> MachineError:
    why = os.strerror(error.errno) if error.errno else str(error)
    return MachineError(f"Could not {what} {shown(path)}: {why}.", _remedy(error.errno, path, mount, in_the_way))


_REMEDIES = {
    errno.ENOSPC: "Free some space on the file system of {mount}.",
    errno.EROFS: "Mount {mount} for writing.",
    errno.EACCES: "Give the user that runs ocrd (uid {user}) permission to read and write there.",
    errno.ENOTDIR: "Move away the link or file that stands where {in_the_way} should be a folder.",
    errno.ENOENT: "Is the share mounted, or was the folder deleted?",
    errno.ENAMETOOLONG: "Shorten the names of the file and of its folders: a path may have 4,095 bytes, each name 255.",
    errno.EMFILE: "Raise the limit of open files (LimitNOFILE= in the unit).",
}
_ALIKE = {
    errno.EDQUOT: errno.ENOSPC,
    errno.EPERM: errno.EACCES,
    errno.ELOOP: errno.ENOTDIR,
    errno.ENOTCONN: errno.ENOENT,
    errno.ESTALE: errno.ENOENT,
    errno.ENFILE: errno.EMFILE,
}


def _remedy(number: int | None, path: Path, mount: Find, in_the_way: Find) -> str:
    known = _REMEDIES.get(_ALIKE.get(number or 0, number or 0), "Look at the disk and the kernel's log.")
    there = shown(mount(path)) if "{mount}" in known else ""
    way = shown(in_the_way(path)) if "{in_the_way}" in known else ""
    return known.format(mount=there, in_the_way=way, user=os.geteuid())


def _in_the_way(path: Path) -> Path:
    """Find what keeps a path from being one of folders: the first on it that is none, or else the last that is a link.

    Folders above may well be links; which of them are ours to follow is not known here.
    """
    along = [*reversed(path.parents), path]
    with suppress(OSError):
        for part in along:
            if os.path.lexists(part) and not part.is_dir():
                return part
        return next((part for part in reversed(along) if part.is_symlink()), path)
    return path


def _mount_of(path: Path) -> Path:
    """Say where the file system is mounted on which a path lies or would lie: the same for all that lies there."""
    while not path.is_dir() and path != path.parent:
        path = path.parent
    try:
        return mount_point(path)
    except OSError:
        return path
