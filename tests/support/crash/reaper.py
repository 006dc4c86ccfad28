"""Kills a process at a chosen step on the file system, or records all its steps."""

import ctypes
import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ocrd.storage import renames

_BY_PATH = ("mkdir", "rmdir", "unlink", "rename", "link", "utime")
_HELD = "/proc/self/fd/"


@dataclass(frozen=True, slots=True)
class Step:
    """One call that changes the file system or makes a change durable."""

    call: str
    path: str
    other: str = ""


class Reaper:
    """Counts the steps below one folder; dies by SIGKILL before step `die_at` (from 1), so that it never happens.

    A write counts as two, each of half the bytes: a file can be cut off anywhere.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._armed = self._links = False
        self._before: Callable[[list[Step]], None] | None = None
        self._die_at: int | None = None
        self._files: dict[int, str] = {}
        self.steps: list[Step] = []

    def arm(
        self, die_at: int | None = None, *, links: bool = False, before: Callable[[list[Step]], None] | None = None
    ) -> None:
        """Begin to count. With `links`, the kernel seems not to know renameat2, and files are linked and unlinked.

        `before` is called before each step with all up to it; what it does counts for none. If it raises, the step
        fails so.
        """
        self.steps = []
        self._before = before
        self._armed, self._die_at, self._links = True, die_at, links

    def disarm(self) -> None:
        """Look away again."""
        self._armed = self._links = False

    def install(self) -> None:
        """Take the place of the calls in this process; there is no way back."""
        for name in _BY_PATH:
            setattr(os, name, self._by_path(name, getattr(os, name)))
        self._install_files()
        real = renames._libc.renameat2
        renames._libc = _Libc(lambda old, new, flags: self._renamed(real, old, new, flags))  # type: ignore[assignment]

    def _step(self, call: str, path: object, other: object = "") -> None:
        if not self._armed:
            return
        spelled = self._spelled(path)
        if not spelled.startswith(self._root):
            return
        self.steps.append(Step(call, spelled, self._spelled(other)))
        if len(self.steps) == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._before:
            self._armed = False
            try:
                self._before(self.steps)
            finally:
                self._armed = True

    def _spelled(self, path: object) -> str:
        """Spell a path as a person does, also one that goes by a folder's descriptor."""
        spelled = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
        number, _, rest = spelled.removeprefix(_HELD).partition("/")
        folder = self._files.get(int(number)) if spelled.startswith(_HELD) else None
        return f"{folder}/{rest}".rstrip("/") if folder else spelled

    def _by_path(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(path: Any, *args: Any, **kwargs: Any) -> Any:
            if "dir_fd" in kwargs and kwargs["dir_fd"] is not None:  # shutil.rmtree works by descriptors
                self._step(name, f"{self._files.get(kwargs['dir_fd'], '')}/{path}")
            else:
                self._step(name, self._files.get(path, path), args[0] if name in ("rename", "link") else "")
            try:
                return real(path, *args, **kwargs)
            except OSError:
                if name == "rename" and self._armed and self.steps:
                    self.steps[-1] = replace(self.steps[-1], call="failed rename")
                raise

        return wrapped

    def _install_files(self) -> None:
        real_open, real_write, real_fsync, real_close = os.open, os.write, os.fsync, os.close

        def open_(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            folder = self._files.get(kwargs.get("dir_fd") or -1)
            name = f"{folder}/{path}" if folder else self._spelled(path)
            if flags & os.O_CREAT:
                self._step("create", name)
            descriptor = real_open(path, flags, *args, **kwargs)
            self._files[descriptor] = name
            return descriptor

        def write(descriptor: int, data: Any) -> int:
            path = self._files.get(descriptor)
            if path is None:
                return real_write(descriptor, data)
            half = len(data) // 2
            self._step("write", path)
            written = real_write(descriptor, data[:half])
            self._step("write", path)
            return written + real_write(descriptor, data[half:])

        def fsync(descriptor: int) -> None:
            self._step("fsync", self._files.get(descriptor, ""))
            real_fsync(descriptor)

        def close(descriptor: int) -> None:
            self._files.pop(descriptor, None)
            real_close(descriptor)

        os.open, os.write, os.fsync, os.close = open_, write, fsync, close  # type: ignore[assignment]

    def _renamed(self, real: Callable[..., int], old: bytes, new: bytes, flags: int) -> int:
        if self._links:
            ctypes.set_errno(errno.EINVAL)
            return -1
        self._step("rename", old, new)
        result = real(-100, old, -100, new, flags)
        if result != 0 and self._armed and self.steps:
            self.steps[-1] = replace(self.steps[-1], call="failed rename")
        return result


class _Libc:
    def __init__(self, renameat2: Callable[[bytes, bytes, int], int]) -> None:
        self._renameat2 = renameat2

    def renameat2(self, _old_at: int, old: bytes, _new_at: int, new: bytes, flags: int) -> int:
        return self._renameat2(old, new, flags)
