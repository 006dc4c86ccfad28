"""Where a path really leads. In a folder that others can write to, a name can be swapped for a link at any moment."""

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ocrd.display import shown
from ocrd.errors import MachineError

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


def lies_at(path: str | Path) -> bool:
    """Whether anything lies at a path, a link too. Raises OSError where that can't be told; os.path would say no."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def could_lie_at(path: str | Path) -> bool:
    """Whether a file system can be asked for a name, which may be too long for it.

    Shares say so in many ways (sshfs: it is not permitted). Raises OSError if they can't be asked for another either.
    """
    try:
        lies_at(path)
    except OSError:
        lies_at(Path(path).with_name("x"))
        return False
    return True


@contextmanager
def regular(path: Path) -> Iterator[Path]:
    """Give a path of the regular file that lies at `path` now, whatever is put there meanwhile. Opened without waiting.

    Raises NotRegularError for a link, a FIFO, a device; OSError.
    """
    try:
        held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO or path.is_symlink():  # the former is a socket
            raise NotRegularError(path) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(held).st_mode):
            raise NotRegularError(path)
        yield Path(*_HELD, str(held))
    finally:
        os.close(held)


def runtime_folder() -> Path:
    """Name the folder in which this user's daemons keep what need not outlive the machine; it may not be there yet.

    Below /run wherever that can be: in /tmp anybody may take the name first, which `own_folder` finds out. Raises
    OSError if there is no place at all.
    """
    service, session = (os.environ.get(name) for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"))
    if service:
        return Path(service.partition(":")[0]).resolve()
    if session:
        return Path(session).resolve() / "ocrd"
    user = os.geteuid()
    if user and (login := Path(f"/run/user/{user}")).is_dir():
        return login / "ocrd"
    return Path(tempfile.gettempdir() if user else "/run") / f"ocrd-{user}"


@contextmanager
def own_folder(path: Path) -> Iterator[int]:
    """Give the descriptor of a folder that nobody but this user can change; made if it is not there.

    Raises MachineError if others could change it or put another in its place, or if it is a link; OSError.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=0o755)
    if not is_own_folder(path):
        raise MachineError(f"{shown(path)} is not a folder that only ocrd's user can change.", "Move it away.")
    held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield held
    finally:
        os.close(held)


def is_own_folder(path: Path) -> bool:
    """Whether a folder is there that nobody but root and this user can change, move or replace."""
    try:
        folder, around = path.lstat(), path.parent.stat()
    except OSError:
        return False
    others = stat.S_IWGRP | stat.S_IWOTH
    ours = stat.S_ISDIR(folder.st_mode) and folder.st_uid == os.geteuid() and not folder.st_mode & others
    keeps_names = around.st_mode & stat.S_ISVTX or not around.st_mode & others
    return ours and bool(keeps_names) and around.st_uid in (0, os.geteuid())


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
