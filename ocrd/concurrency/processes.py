"""What the kernel tells of processes, and what this one asks for itself: its end with its parent, and little memory."""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

GONE = -1
"""In place of the start of a process that is gone, or only waits to be reaped."""
_PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""From glibc's malloc.h."""
_BLOCK = 4 << 20
"""Bytes from which on a block of memory is the system's again as soon as it is freed; images of pages are larger."""
_SPARE = 16 << 20
"""Bytes of freed memory that are kept for later."""


class Process(NamedTuple):
    """A process, as proc(5) has it in /proc/PID/stat."""

    pid: int
    state: str
    """One letter, of its first thread only; Z and X are dead."""
    session: int
    threads: int
    """Those that have not ended, and the first, ended or not."""
    started: int
    """Clock ticks since boot. With the pid it names one process for ever, since pids come back."""
    resident: int
    """Bytes of memory."""

    @property
    def gone(self) -> bool:
        """Whether it only waits to be reaped.

        A first thread that has ended is not enough: the last one to end gives the memory back, the card's, too.
        """
        return self.state in "ZX" and self.threads <= 1


def find(pid: int) -> Process | None:
    """Look one process up; None if there is none of that number."""
    with suppress(FileNotFoundError, ProcessLookupError):
        fields = _fields(f"/proc/{pid}/stat")
        resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        return Process(pid, fields[0], int(fields[3]), int(fields[17]), int(fields[19]), resident)
    return None


def offer_to_oom_killer(pid: int, rank: int = 1000) -> None:
    """Let the kernel end this process before others where memory is short (proc(5), /proc/PID/oom_score_adj).

    By itself a process has the rank 0; one of 1000 goes first.
    """
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(rank), encoding="ascii")


class Used(NamedTuple):
    """What a process has used since it began."""

    seconds: float
    """Of processor time."""
    read: int
    """Bytes, from files and sockets."""


def used(pid: int) -> Used:
    """Tell what a process has used (proc(5), /proc/PID/stat and /proc/PID/io); nothing if it is gone."""
    with suppress(OSError):
        return Used(_seconds(f"/proc/{pid}/stat"), int(_read(f"/proc/{pid}/io").split()[1]))
    return Used(0.0, 0)


def thread_seconds(thread: int) -> float:
    """Tell the seconds of processor time that a thread of this process has used; none if it is gone."""
    with suppress(OSError):
        return _seconds(f"/proc/self/task/{thread}/stat")
    return 0.0


def _seconds(stat: str) -> float:
    fields = _fields(stat)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _fields(stat: str) -> list[str]:
    """List what a stat file has from its third field on, behind the program's name, which can hold anything."""
    return _read(stat).rpartition(b")")[2].decode().split()


def _read(path: str) -> bytes:
    """Read a short file of proc(5), for which `Path.read_text` takes four times as long: this is done for each page."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, 4096)
    finally:
        os.close(file)


def ancestors() -> Iterator[int]:
    """List the process that started this one, the one that started that, and so on up to the first of all."""
    pid = os.getpid()
    with suppress(FileNotFoundError, ProcessLookupError):  # one that ended meanwhile ends the list
        while pid := int(_fields(f"/proc/{pid}/stat")[1]):
            yield pid


def running() -> Iterator[Process]:
    """List every process of this machine, or of this container."""
    for folder in Path("/proc").glob("[0-9]*"):
        if process := find(int(folder.name)):
            yield process


def started(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; GONE if it is dead."""
    process = find(pid)
    return GONE if process is None or process.gone else process.started


def keep_little_memory() -> None:
    """Let the C library give freed memory back soon (mallopt(3)).

    By itself, glibc raises both thresholds to the largest block that was ever freed, up to 32 and 64 MiB.
    """
    with suppress(AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _SPARE)


def give_back_memory() -> None:
    """Let the C library give back what was freed between blocks that are still used (malloc_trim(3))."""
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def die_with_parent() -> None:
    """Let this process get SIGKILL when the thread that started it is gone (prctl(2), PR_SET_PDEATHSIG).

    Raises OSError. Who was orphaned before the call gets no signal, and must look at its parent afterwards.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
