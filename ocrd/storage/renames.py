"""Renames as the promises need them: over nothing that is there, or in exchange."""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocrd.storage import mounts
from ocrd.storage.safe_paths import lies_at

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_NO_FLAG = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK}

_libc = ctypes.CDLL(None, use_errno=True)


class NotAsSeenError(Exception):
    """The file to move is gone, or is not the file that was seen before."""


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable (fsync(2) on the folder itself)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_new(source: Path, target: Path) -> None:
    """Rename without overwriting: by what refuses a taken name, or what comes nearest on this file system."""
    if renamed_or_refused(source, target):
        return
    if lies_at(target):  # look, then rename: a stranger could slip in between
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target)


def renamed_or_refused(source: Path, target: Path) -> bool:
    """Rename by renameat2(2) with RENAME_NOREPLACE or by a hard link, which refuse a taken name (FileExistsError).

    Returns False where there is neither: on FAT, on some network shares, and for folders where the former lacks.
    """
    if _renamed(source, target, _RENAME_NOREPLACE):
        return True
    with _held(source) as held:
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if _says_no_links(error, target.parent):
                return False
            raise
        _drop_old_name(source, target, held)
    return True


def _drop_old_name(source: Path, target: Path, held: int) -> None:
    """Take away the first of a file's two names, or the second if that can't be. Raises OSError, NotAsSeenError.

    Whether it is the first name of that file still is known by what was held before: of a file's two names some file
    systems tell different numbers (sshfs, mergerfs).
    """
    try:
        sync_folder(target.parent)
        if not os.path.samestat(os.fstat(held), source.lstat()):
            raise NotAsSeenError  # noqa: TRY301 - another file has its name by now; ours goes as below
        os.unlink(source)
    except BaseException as error:
        if isinstance(error, FileNotFoundError) and target.lstat().st_nlink == 1:
            return  # ours is the last name: an NFS server that restarts answers so to a deletion that it has done
        os.unlink(target)  # in a folder with the sticky bit we may link what we may not take away
        raise


@contextmanager
def _held(path: Path) -> Iterator[int]:
    """Hold what lies at a path, a link too, without opening it: as long as that lasts it keeps its number."""
    held = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield held
    finally:
        os.close(held)


def _says_no_links(error: OSError, folder: Path) -> bool:
    """Whether a file system has no hard links at all. Programs that are one (FUSE) may call that a failure (rclone)."""
    if error.errno == errno.EIO:
        return mounts.kind_of(folder).startswith("fuse")
    return error.errno in _NO_LINKS


def rename_own(source: Path, target: Path) -> None:
    """Rename to a name that only we could have taken."""
    if _renamed(source, target, _RENAME_NOREPLACE):
        return
    if lies_at(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(source, target)


def exchange(one: Path, other: Path) -> None:
    """Let two files take each other's place: renameat2(2) with RENAME_EXCHANGE.

    Where the file system can't, the one replaces the other, which must be known elsewhere.
    """
    if not _renamed(one, other, _RENAME_EXCHANGE):
        os.rename(one, other)


def _renamed(source: Path, target: Path, flag: int) -> bool:
    """Rename by renameat2(2) with a flag; return False where the file system does not know it. Raises OSError."""
    old, new = os.fsencode(source), os.fsencode(target)
    if _libc.renameat2(_AT_FDCWD, old, _AT_FDCWD, new, flag) == 0:
        return True
    number = ctypes.get_errno()
    if number not in _NO_FLAG:
        raise OSError(number, os.strerror(number), old, None, new)
    return False
