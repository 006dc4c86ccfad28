"""Where a path really leads. In a folder that others can write to, a name can be swapped for a link at any moment."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_HELD = ("/", "proc", "self", "fd")


class NotRegularError(Exception):
    """There is something else than a regular file."""


@contextmanager
def beneath(folder: Path, relative: str, make: Callable[[str, int], None] | None = None) -> Iterator[Path]:
    """Give a path of `folder/relative` that leads nowhere else while it is used.

    Each subfolder is opened in the one before and held, never through a link (open(2), O_NOFOLLOW); the path given
    goes by the last one's descriptor (proc(5), /proc/PID/fd). With `make`, called with a name and the descriptor of the
    folder around it, missing subfolders are made. Raises OSError; ENOTDIR where a link or a file stands in the way.
    """
    *parents, name = Path(relative).parts
    if ".." in (*parents, name):
        raise ValueError(relative)
    if not parents:
        yield folder / name
        return
    held = os.open(folder, _FOLDER)
    try:
        for part in parents:
            if make:
                with suppress(FileExistsError):
                    make(part, held)
            inner = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=held)
            os.close(held)
            held = inner
        yield Path(*_HELD, str(held), name)
    finally:
        os.close(held)


@contextmanager
def regular(path: Path) -> Iterator[Path]:
    """Give a path of the regular file that lies at `path` now, whatever is put there meanwhile. Opened without waiting.

    Raises NotRegularError for a link, a FIFO, a device; OSError.
    """
    try:
        held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if path.is_symlink():
            raise NotRegularError(path) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(held).st_mode):
            raise NotRegularError(path)
        yield Path(*_HELD, str(held))
    finally:
        os.close(held)


def for_children(held: Path) -> Path:
    """Spell a path of `regular` for the processes that we have started; good as long as it is held here."""
    return Path("/proc", str(os.getpid()), *held.parts[len(_HELD) - 1 :])


def spelled(path: Path) -> Path:
    """Spell a path of `beneath` as a person knows it."""
    if path.parts[:4] != _HELD:
        return path
    with suppress(OSError):
        return Path(os.readlink(Path(*path.parts[:5]))).joinpath(*path.parts[5:])
    return path
