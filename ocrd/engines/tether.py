"""Ties an engine's process to the daemon: it dies with the daemon, and the next daemon sweeps what is left.

`tie` runs in the engine's process, before it takes any of the card's memory; the rest runs in the daemon. Linux only.
"""

import ctypes
import logging
import os
import signal
from pathlib import Path

log = logging.getLogger(__name__)

PARENT = "OCRD_ENGINE_PARENT"
"""Environment variable: the process id of the daemon."""

RECORD = "OCRD_ENGINE_RECORD"
"""Environment variable: the file that names the engine's process."""

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def announce(record: Path) -> None:
    """Tell engines started from now on whom to tie themselves to. Called in the daemon, before one is started."""
    record.unlink(missing_ok=True)
    os.environ[PARENT] = str(os.getpid())
    os.environ[RECORD] = str(record)


def tie() -> None:
    """Tie this process to the daemon that announced itself.

    - It gets SIGKILL when the daemon dies, or rather when the daemon's thread does that started it (prctl(2)): the
      daemon keeps that thread for as long as the engine.
    - It leads a session of its own, so that a Ctrl-C at the terminal or a SIGTERM to the daemon's group doesn't end
      the pages in work before the daemon has drained them.
    - It forgets the service manager's variables: only the daemon speaks to systemd.
    - It records its process id and start time, for `sweep`.
    """
    parent = int(os.environ[PARENT])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it died before the call above: no signal will come
        os._exit(1)
    if os.getsid(0) != os.getpid():
        os.setsid()
    for name in ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"):
        os.environ.pop(name, None)
    _write(Path(os.environ[RECORD]), f"{os.getpid()} {_started(os.getpid())} {parent} {_started(parent)}\n")


def _write(record: Path, line: str) -> None:
    """Whole or not at all; it needn't outlive a power cut, which the process wouldn't either."""
    part = record.with_suffix(".part")
    part.write_text(line)
    part.replace(record)


def pid_in(record: Path) -> int | None:
    """Return the process id of the engine that is recorded here, if it still runs."""
    known = _read(record)
    return known[0] if known and _started(known[0]) == known[1] else None


def kill(record: Path) -> None:
    """End the recorded engine and its workers at once, if it still runs."""
    if pid := pid_in(record):
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def sweep(record: Path) -> None:
    """End an engine that a daemon left behind when it died. One whose daemon still runs is left alone."""
    known = _read(record)
    if not known or _started(known[2]) == known[3]:
        return
    if pid := pid_in(record):
        log.warning("ending the engine process %d, which a daemon that died left behind", pid)
        kill(record)
    record.unlink(missing_ok=True)


def _read(record: Path) -> tuple[int, int, int, int] | None:
    """Read engine's id and start, daemon's id and start; None if nothing sensible is recorded."""
    try:
        pid, start, parent, parent_start = map(int, record.read_text().split())
    except (FileNotFoundError, ValueError):
        return None
    return pid, start, parent, parent_start


def _started(pid: int) -> int:
    """Return when a process started, clock ticks since boot; -1 if it is gone or only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return -1 if fields[0] in "ZX" else int(fields[19])
