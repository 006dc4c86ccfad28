"""Every call by which a process meets a file system, a lock or the user database: counted, and held up or refused.

Python's own functions are replaced in this process, for good: the calls go on to the real ones, once `decide` let them.
"""

import builtins
import fcntl
import grp
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrd.storage import renames

_PATHS = (
    "stat", "lstat", "open", "listdir", "scandir", "mkdir", "rmdir", "unlink", "rename", "link", "utime", "chmod",
    "chown", "readlink", "access",
)  # fmt: skip
"""Functions of `os` whose first argument is a path or a descriptor."""
_DESCRIPTORS = ("read", "write", "fsync", "fstat", "close")
"""Those whose first argument is a descriptor."""
_HELD = "/proc/self/fd/"
_readlink = os.readlink


@dataclass(frozen=True, slots=True)
class Call:
    """One call."""

    name: str
    path: str
    """What it is about; of the user database the name that is looked up."""

    def __str__(self) -> str:
        return f"{self.name} {self.path}"


class Calls:
    """All calls of this process that are about something below one folder, and look-ups of groups."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self.decide: Callable[[Call], None] = lambda _: None
        """Called before each one, in its thread; it may block, or raise OSError."""

    def install(self) -> None:
        """Take the place of the functions in this process; there is no way back."""
        for name in (*_PATHS, *_DESCRIPTORS):
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        builtins.open = io.open = self._wrapped("open", io.open)  # type: ignore[assignment]
        fcntl.flock = self._wrapped("flock", fcntl.flock)
        self._install_group_database()
        real = renames._libc
        renames._libc = _Libc(real.renameat2, self._met)  # type: ignore[assignment]

    def _install_group_database(self) -> None:
        real = grp.getgrnam

        def getgrnam(name: str) -> Any:
            self.decide(Call("getgrnam", name))
            return real(name)

        grp.getgrnam = getgrnam

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: Any = ".", *args: Any, **kwargs: Any) -> Any:
            self._met(name, path, kwargs.get("dir_fd"))
            return real(path, *args, **kwargs)

        return wrapped

    def _met(self, name: str, path: Any, around: int | None = None) -> None:
        if getattr(_here, "unseen", False):
            return
        if name == "readlink" and str(path).startswith(_HELD):
            return  # which the kernel tells by itself
        spelled = _spelled(path, around)
        if spelled.startswith(self._root):
            self.decide(Call(name, spelled))


_here = threading.local()


@contextmanager
def unseen() -> Iterator[None]:
    """Let the calls of this thread in here count for none: they are the test's own."""
    before, _here.unseen = getattr(_here, "unseen", False), True
    try:
        yield
    finally:
        _here.unseen = before


def _spelled(path: Any, around: int | None) -> str:
    """Spell a path as a person does, also one that goes by descriptors."""
    try:
        if isinstance(path, int):
            return _readlink(f"{_HELD}{path}")
        spelled = os.fsdecode(path)
        if around is not None:
            return f"{_readlink(f'{_HELD}{around}')}/{spelled}"
        if spelled.startswith(_HELD):
            number, _, rest = spelled.removeprefix(_HELD).partition("/")
            return f"{_readlink(f'{_HELD}{number}')}/{rest}".rstrip("/")
    except (OSError, TypeError):
        return ""
    return spelled


class _Libc:
    def __init__(self, renameat2: Callable[..., int], met: Callable[[str, Any], None]) -> None:
        self._renameat2 = renameat2
        self._met = met

    def renameat2(self, old_at: int, old: bytes, new_at: int, new: bytes, flags: int) -> int:
        self._met("rename", old)
        self._met("rename", new)
        return self._renameat2(old_at, old, new_at, new, flags)


def in_event_loop() -> bool:
    """Whether the thread that asks is the one in which this process has its event loop."""
    return threading.current_thread() is threading.main_thread()
