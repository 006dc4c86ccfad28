"""Whose a work folder is, told so that other hosts can read it, and which work folders lie beside it.

The lock of a folder (flock(2)) holds within one kernel: the clients of NFS and SMB keep locks of folders to themselves.
So a daemon that takes its work folder leaves a record in it as well, on a share and where others may lie beside it:

    owner.json  a daemon has the folder, or had it when it died
    left.json   the last one that had it has stopped, and nobody has it since

`owner.json` is made only where there is none, which of several hosts one can. One that is there is given up by who can
tell that its daemon is dead: the same host, where the lock is free; any host, if the disk is this machine's alone; or a
person (`ocrd adopt`).
"""

import hashlib
import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ocrd.concurrency import processes
from ocrd.config.schema import Watch
from ocrd.display import shown
from ocrd.errors import SpoolError
from ocrd.storage import durable, mounts
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.safe_paths import NotRegularError, regular

RECORD, LEFT = "owner.json", "left.json"
_LONGEST = 1 << 14
"""Bytes of a record that are read."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A daemon that has a work folder, or had it last."""

    watch: str
    """Name of the watch that it serves from there."""
    host: str
    machine: str
    """Digest of machine-id(5); empty where there is none, as in many containers."""
    boot: str
    """Which run of which kernel: /proc/sys/kernel/random/boot_id, random(4)."""
    pid: int
    started: int
    """When the process began, clock ticks since boot (proc(5))."""
    since: str
    """When it took the folder, ISO 8601 with time zone."""
    has_left: bool = False
    """Whether it gave the folder free."""

    @property
    def is_of_this_machine(self) -> bool:
        """Whether it runs, or ran, where we do."""
        return self.boot == _boot() or (self.host, self.machine) == (socket.gethostname(), _machine())

    def may_work(self, work: Path) -> bool:
        """Whether it may still be at work, as far as who holds its work folder's lock can tell. Raises MachineError."""
        if self.has_left or self.is_this_process:
            return False
        if self.is_of_this_machine:  # its lock might be unseen, if it has the share mounted another time
            return self.boot == _boot() and processes.started(self.pid) == self.started
        return is_on_a_share(work)

    @property
    def is_this_process(self) -> bool:
        """Whether it is we."""
        return (self.boot, self.pid, self.started) == (_boot(), os.getpid(), processes.started(os.getpid()))


def is_on_a_share(work: Path) -> bool:
    """Whether other machines may use a folder. Raises MachineError."""
    with machine_faults("look at", work):
        return mounts.is_shared(mounts.kind_of(work))


def take(work: Path, watch: str) -> None:
    """Record that a work folder is ours; its lock is held. Raises SpoolError if it is another host's, MachineError."""
    mine = Owner(watch, socket.gethostname(), _machine(), _boot(), os.getpid(), processes.started(os.getpid()), _now())
    found = owner_of(work)
    if found and found.may_work(work):
        raise SpoolError(
            f"Another ocrd may be working in {shown(work)}: that of {shown(found.host)}, since {found.since}.",
            "Give each host a work folder of its own (work: …/{host}); if that one is gone for good, call "
            f"`ocrd adopt {shown(work)}`.",
        )
    _write(work, mine, anew=found is None or found.has_left)


def _write(work: Path, mine: Owner, *, anew: bool) -> None:
    data = json.dumps(asdict(mine)).encode()
    try:
        if anew:
            durable.write_new(work / RECORD, data, tag=f"owner-{mine.host}")
        else:
            durable.write_own(work / RECORD, data)
    except FileExistsError:
        if (other := owner_of(work)) and not other.has_left:
            remedy = "Give each host a work folder of its own (work: …/{host})."
            raise SpoolError(f"The ocrd on {shown(other.host)} has just taken {shown(work)}.", remedy) from None
        durable.write_own(work / RECORD, data)  # what lay there is damaged
    durable.remove(work / LEFT)


def leave(work: Path) -> None:
    """Record that a work folder is ours no more, if it is. Raises MachineError."""
    found = owner_of(work)
    if found and found.is_this_process:
        give_up(work)


def give_up(work: Path) -> None:
    """Let a work folder be nobody's, whoever had it. Raises MachineError."""
    with machine_faults("give free", work), suppress(FileNotFoundError):
        os.rename(work / RECORD, work / LEFT)
        durable.sync_folder(work)


def owner_of(work: Path) -> Owner | None:
    """Read who has a work folder, or had it last; None if nothing tells. Raises MachineError."""
    with machine_faults("read the owner of", work):
        found = _read(work / RECORD)
        if found is None and (left := _read(work / LEFT)):
            return replace(left, has_left=True)
        return found


def _read(path: Path) -> Owner | None:
    """Read a record; what is damaged or another's is none. Raises OSError."""
    try:
        with regular(path) as held, held.open("rb") as file:
            return Owner(**json.loads(file.read(_LONGEST)))
    except (FileNotFoundError, NotADirectoryError, NotRegularError, ValueError, TypeError):
        return None


def may_be_among_others(watch: Watch) -> bool:
    """Whether a work folder lies in one that holds no other folder of its watch: there is room for other daemons'."""
    others = [folder for role, folder in watch.folders.items() if role != "work"]
    return not any(folder.is_relative_to(watch.work_folder.parent) for folder in others)


def beside(watch: Watch) -> list[Path]:
    """List the work folders of other daemons of the same watch: those in the folder that holds its own.

    None if that holds other folders of the watch, too. Raises MachineError.
    """
    work = watch.work_folder
    if not may_be_among_others(watch):
        return []
    with machine_faults("look into", work.parent):
        try:
            found = sorted(path for path in work.parent.iterdir() if path != work and path.is_dir())
        except FileNotFoundError:
            return []
    return [path for path in found if (owner := owner_of(path)) and owner.watch == watch.name]


def _boot() -> str:
    return _first_line("/proc/sys/kernel/random/boot_id")


def _machine() -> str:
    number = _first_line("/etc/machine-id")
    return hashlib.sha256(f"ocrd {number}".encode()).hexdigest()[:16] if number else ""


def _first_line(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="ascii").strip()
    return ""


def _now() -> str:
    return datetime.now(UTC).astimezone().isoformat(timespec="seconds")
