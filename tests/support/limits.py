"""What a machine has only so much of, brought down to what a daemon uses, or a little more, and given back."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count, islice
from pathlib import Path

from house import Daemon

from ocrd.concurrency import processes as process

BLOCK = 4096
"""Bytes of a page of memory, in which such file systems count."""
_GROUPS = Path("/sys/fs/cgroup")
_FILES = {"pids": ("pids.current", "pids.max"), "memory": ("memory.usage_in_bytes", "memory.limit_in_bytes")}
"""Of control groups, of the first version: what tells how much is in use, and what limits it."""
_ROOMY = 2**40
"""More than anybody uses."""


@contextmanager
def processes(daemon: Daemon, more: int) -> Iterator[None]:
    """Let it have no more processes and threads than it has, but for these."""
    with _grouped(daemon, "pids", more):
        yield


@contextmanager
def memory(daemon: Daemon, more: int) -> Iterator[None]:
    """Let it and its children have no more memory than they have, but for so many MiB.

    The kernel weighs whom to end by all that a process has, libraries that other groups pay for included, and by its
    rank as a share of the limit: below what the daemon itself has so, no rank of its workers could spare it.
    """
    found = process.find(daemon.pid)
    with _grouped(daemon, "memory", more << 20, least=int(1.2 * found.resident) if found else 0):
        yield


def why_not_grouped(controller: str) -> str:
    """Say why no control group can limit something here; empty if one can."""
    return "" if (_GROUPS / controller / "cgroup.procs").exists() else f"no control groups for {controller} (v1) here"


def join_groups() -> None:
    """Put this process into control groups of its own; what it has used before counts for none of them."""
    for controller in _FILES:
        if not why_not_grouped(controller):
            group = _GROUPS / controller / f"ocrd-test-{os.getpid()}"
            group.mkdir(exist_ok=True)
            (group / "cgroup.procs").write_text(str(os.getpid()))


@contextmanager
def _grouped(daemon: Daemon, controller: str, more: int, least: int = 0) -> Iterator[None]:
    used, most = _FILES[controller]
    group = _GROUPS / controller / f"ocrd-test-{daemon.pid}"
    (group / most).write_text(str(max(least, int((group / used).read_text())) + more))
    try:
        yield
    finally:
        (group / most).write_text(str(_ROOMY if controller == "memory" else "max"))


def leave_no_group(daemon: Daemon) -> None:
    """Remove the control groups of a daemon that has ended."""
    for controller in _FILES:
        with suppress(OSError):
            (_GROUPS / controller / f"ocrd-test-{daemon.pid}").rmdir()


@contextmanager
def open_files(daemon: Daemon, more: int) -> Iterator[None]:
    """Let it have no more files open than it has, but for these: the limit is the first number that none gets."""
    taken = {int(path.name) for path in Path(f"/proc/{daemon.pid}/fd").iterdir()}
    free = (number for number in count() if number not in taken)
    with _limit(daemon, resource.RLIMIT_NOFILE, next(islice(free, more, None))):
        yield


@contextmanager
def _limit(daemon: Daemon, what: int, most: int) -> Iterator[None]:
    before = resource.prlimit(daemon.pid, what)
    resource.prlimit(daemon.pid, what, (most, before[1]))
    try:
        yield
    finally:
        resource.prlimit(daemon.pid, what, before)


@contextmanager
def space(folder: Path, more: int) -> Iterator[None]:
    """Let there be no room on the file system of a folder, but for so many blocks."""
    ballast = folder / ".ballast"
    with ballast.open("wb", buffering=0) as file:
        with suppress(OSError):
            while file.write(bytes(BLOCK)):
                pass
        file.truncate(max(0, file.tell() - more * BLOCK))
    try:
        yield
    finally:
        ballast.unlink()
