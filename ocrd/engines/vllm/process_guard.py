"""Ties an engine's process to the daemon: it dies with the daemon, and the next daemon sweeps what is left.

`tie` runs in the engine's process, before it takes any of the card's memory; the rest runs in the daemon. Linux only.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TextIO

from ocrd.concurrency import processes
from ocrd.errors import MachineError
from ocrd.storage.safe_paths import own_folder, runtime_folder
from ocrd.telemetry import output_capture

log = logging.getLogger(__name__)

PARENT = "OCRD_ENGINE_PARENT"
"""Environment variable: the process id of the daemon."""

ABOVE = "OCRD_ENGINE_ABOVE"
"""Environment variable: the process ids of those that started the daemon. One of them adopts what the daemon leaves
behind, if not the first process of all (prctl(2), PR_SET_CHILD_SUBREAPER; `systemd --user` does)."""

RECORD = "OCRD_ENGINE_RECORD"
"""Environment variable: the file that names the engine's process."""

PHASES = "OCRD_ENGINE_PHASES"
"""Environment variable: the file that takes down the phases of the engine's start."""

END_SECONDS = 20
"""How long a killed engine may take to end: the driver takes back its card's memory meanwhile, some seconds' work."""


class Printed(logging.StreamHandler[TextIO]):
    """Prints the messages of the engine's processes where the daemon logs them; does nothing in the daemon."""

    def emit(self, record: logging.LogRecord) -> None:
        if output_capture.CAPTURED in os.environ and os.environ.get(PARENT) != str(os.getpid()):
            super().emit(record)


def default_folder() -> Path:
    """Return where all daemons of this user keep their engines' records, the same after a restart. Raises OSError."""
    return runtime_folder() / "engines"


class Home:
    """The folder of one of a daemon's engines, among those of all daemons: its record and messages; and its cards."""

    def __init__(self, among: Path, number: int = 0, cards: str = "") -> None:
        """Take the folder of all daemons, the engine's number, and its cards as CUDA_VISIBLE_DEVICES names them.

        Without cards the engine takes those that it finds.
        """
        self.cards = cards
        self.folder = among / (f"{os.getpid()}-{number}" if number else str(os.getpid()))
        self.record = self.folder / "engine.pid"
        self.log = self.folder / "engine.log"
        self.phase_file = self.folder / "phases"

    def open(self) -> None:
        """Make the folder, and end the engines of daemons that died. Raises MachineError."""
        among = self.folder.parent
        try:
            with own_folder(among.parent), own_folder(among):  # a record there is trusted
                sweep(among)
                self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise MachineError(
                f"The folder for the engine's record can't be made: {error}.", "Mend its rights."
            ) from error

    def announce(self) -> None:
        """Tell an engine that is started from now on its cards and whom to tie itself to, and begin its messages."""
        self.record.unlink(missing_ok=True)
        self.log.write_text("")
        self.phase_file.write_text("")
        os.environ[PARENT] = str(os.getpid())
        os.environ[ABOVE] = " ".join(map(str, processes.ancestors()))
        os.environ[RECORD] = str(self.record)
        os.environ[PHASES] = str(self.phase_file)
        if self.cards:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.cards
            os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as nvidia-smi counts them

    @property
    def pid(self) -> int | None:
        """The process id of the engine, if it runs."""
        return pid_in(self.record)

    def memory(self) -> int:
        """Return the bytes of memory that the engine and its workers hold, which all belong to its session."""
        pid = self.pid
        return 0 if pid is None else sum(one.resident for one in processes.running() if one.session == pid)

    def processes(self) -> set[int]:
        """List the process ids of the engine and its workers."""
        leader = self.pid
        return set() if leader is None else {one.pid for one in processes.running() if one.session == leader}

    def messages(self) -> str:
        """Return what the engine's process warned of since `announce`."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def phases(self) -> list[tuple[str, float]]:
        """List the phases of the engine's start that have begun, each with its time (`time.monotonic`, seconds)."""
        lines = self.phase_file.read_text().splitlines() if self.phase_file.exists() else []
        return [(name, float(began)) for name, began in (line.split() for line in lines)]

    def kill(self) -> bool:
        """Kill the engine and its workers, if they still run; say whether there was anything to kill."""
        return kill(self.record)

    async def end(self) -> None:
        """Kill the engine and its workers, and wait until they are gone, and the card's memory is free again.

        What the kernel does not let go of is left after END_SECONDS, with a warning.
        """
        try:
            async with asyncio.timeout(END_SECONDS):
                while await asyncio.to_thread(self.kill):  # it looks at every process of the machine
                    await asyncio.sleep(0.1)
        except TimeoutError:
            log.warning("the engine was killed %d s ago and has not ended: its driver or a disk holds it", END_SECONDS)

    def close(self) -> None:
        """End the engine and forget it."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


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
    die_with_parent()
    if os.getppid() != parent:  # it died before the call above: no signal will come
        os.kill(os.getpid(), signal.SIGKILL)
    if os.getsid(0) != os.getpid():
        os.setsid()
    for name in ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"):
        os.environ.pop(name, None)
    _write(
        Path(os.environ[RECORD]),
        f"{os.getpid()} {processes.started(os.getpid())} {parent} {processes.started(parent)}\n",
    )


def record_phase(name: str, began: float) -> None:
    """Note that a phase of the engine's start begins now (`time.monotonic`, seconds; the same in all processes)."""
    with Path(os.environ[PHASES]).open("a") as file:
        file.write(f"{name} {began:.2f}\n")


def die_with_parent() -> None:
    """Let this process, one of the engine's, get SIGKILL once the one that started it is gone. Raises OSError."""
    if os.environ.get(PARENT) in (None, str(os.getpid())):
        return  # the daemon itself
    processes.die_with_parent()
    adopters = {"1", *os.environ.get(ABOVE, "").split()} - {os.environ[PARENT]}
    if str(os.getppid()) in adopters:  # its own parent died before the call above: no signal will come
        os.kill(os.getpid(), signal.SIGKILL)


def _write(record: Path, line: str) -> None:
    """Whole or not at all; it needn't outlive a power cut, which the process wouldn't either."""
    part = record.with_suffix(".part")
    part.write_text(line)
    part.replace(record)


def pid_in(record: Path) -> int | None:
    """Return the process id of the engine that is recorded here, if it still runs."""
    known = _read(record)
    return known[0] if known and processes.started(known[0]) == known[1] else None


def kill(record: Path) -> bool:
    """Kill the recorded engine, and its workers, which outlive it for as long as they load; say if there were any."""
    if pid := pid_in(record):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    known = _read(record)
    if known is None or processes.started(known[0]) not in (known[1], processes.GONE):
        return False  # another process has its number, which it could not have while a worker lived
    workers = [one.pid for one in processes.running() if one.session == known[0] and _may_be_ours(one)]
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    return pid is not None or bool(workers)


def _may_be_ours(process: processes.Process) -> bool:
    """Whether a process lives and runs our own interpreter, or is just ending, when the kernel no longer tells which.

    What else may have got the number of a session of long ago is not ours.
    """
    if process.gone:
        return False
    try:
        return Path(f"/proc/{process.pid}/exe").readlink() == Path(sys.executable).resolve()
    except FileNotFoundError:
        return True
    except (ProcessLookupError, PermissionError):
        return False


def sweep(among: Path) -> None:
    """End the engines that daemons left behind when they died; those of living daemons are left alone."""
    for record in among.glob("*/engine.pid"):
        known = _read(record)
        if known and processes.started(known[2]) == known[3]:
            continue
        if pid := pid_in(record):
            log.warning("ending the engine process %d, which a daemon that died left behind", pid)
        kill(record)
        shutil.rmtree(record.parent, ignore_errors=True)


def _read(record: Path) -> tuple[int, int, int, int] | None:
    """Read engine's id and start, daemon's id and start; None if nothing sensible is recorded."""
    try:
        pid, start, parent, parent_start = map(int, record.read_text().split())
    except (FileNotFoundError, ValueError):
        return None
    return pid, start, parent, parent_start
