"""What somebody else can put where ocrd works: things that block, lead elsewhere, can't be read or never end."""

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ENDLESS = os.makedev(1, 5)
"""The device /dev/zero, which brings bytes without end."""
HUGE = 2**40
"""Bytes of a file that takes no room, and that nobody reads to its end."""


class Outside:
    """What lies outside of all folders of ocrd, and must stay as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "folder"
        self.file = folder / "file"
        self.absent = folder / "absent"
        self.folder.mkdir(parents=True)
        self.file.write_bytes(b"precious")
        (self.folder / "inside.pdf").write_bytes(b"precious")
        self._before = self._look()

    def check(self) -> None:
        """Assert that nothing was touched."""
        assert self._look() == self._before, "something outside was touched"

    def _look(self) -> list[tuple[object, ...]]:
        paths = sorted((self.file.parent, *self.file.parent.rglob("*")))
        return [(path, tuple(path.lstat())[:7], path.lstat().st_mtime_ns, _content(path)) for path in paths]


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


Placing = Callable[[Path, Outside], None]


def _unreadable(path: Path, _: Outside) -> None:
    path.write_bytes(b"secret")
    path.chmod(0)


def _huge(path: Path, _: Outside) -> None:
    with path.open("wb") as file:
        file.truncate(HUGE)


KINDS: dict[str, Placing] = {
    "FIFO": lambda path, _: os.mkfifo(path),
    "socket": lambda path, _: os.mknod(path, stat.S_IFSOCK | 0o644),
    "endless device": lambda path, _: os.mknod(path, stat.S_IFCHR | 0o644, ENDLESS),
    "dangling link": lambda path, outside: path.symlink_to(outside.absent),
    "circular link": lambda path, _: path.symlink_to(path.name),
    "link to a file": lambda path, outside: path.symlink_to(outside.file),
    "link to a folder": lambda path, outside: path.symlink_to(outside.folder),
    "folder": lambda path, _: path.mkdir(),
    "unreadable file": _unreadable,
    "huge file": _huge,
    "changing file": lambda path, _: path.write_bytes(b"at first"),
}


class Stranger:
    """One thing of somebody else's."""

    def __init__(self, kind: str, path: Path, outside: Outside) -> None:
        """Put it there. Raises OSError if that can't be done."""
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        KINDS[kind](path, outside)
        self.path = path
        self._changes = kind == "changing file"
        status = path.lstat()
        self._identity = (status.st_dev, status.st_ino)

    def change(self) -> None:
        """Let it change, if it is of that kind."""
        if self._changes and self.is_there:
            with self.path.open("ab") as file:
                file.write(b", and later")

    @property
    def is_there(self) -> bool:
        """Whether it lies where it was put."""
        try:
            status = self.path.lstat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def go(self) -> None:
        """Take it away again."""
        if self.is_there:
            if self.path.is_dir() and not self.path.is_symlink():
                with suppress(OSError):  # somebody uses it by now
                    self.path.rmdir()
            else:
                self.path.unlink()
