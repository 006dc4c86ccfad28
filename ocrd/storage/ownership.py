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
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ocrd.concurrency import processes
from ocrd.config.watch import Watch
from ocrd.display import shown
from ocrd.errors import SpoolError
from ocrd.storage import durable, mounts, renames
from ocrd.storage.os_errors import is_there, machine_faults
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
    on_share: bool = False
    """Whether it saw the folder on a share; the file server sees a disk of its own there."""
    has_left: bool = False
    """Whether it gave the folder free."""

    @property
    def is_of_this_machine(self) -> bool:
        """Whether it runs, or ran, where we do. Names alone prove nothing: two containers may have one."""
        if self.boot == _boot():
            return True
        return bool(self.machine) and (self.host, self.machine) == (socket.gethostname(), _machine())

    def may_work(self, work: Path) -> bool:
        """Whether it may still be at work, as far as who holds its work folder's lock can tell. Raises MachineError."""
        if self.has_left or self.is_this_process:
            return False
        if self.is_of_this_machine:  # its lock might be unseen, if it has the share mounted another time
            return self.boot == _boot() and processes.started(self.pid) == self.started
        return self.on_share or is_on_a_share(work)

    @property
    def is_this_process(self) -> bool:
        """Whether it is we."""
        return (self.boot, self.pid, self.started) == (_boot(), os.getpid(), processes.started(os.getpid()))


def is_on_a_share(work: Path) -> bool:
    """Whether other machines may use a folder. Raises MachineError."""
    with machine_faults("look at", work):
        return mounts.is_shared(mounts.kind_of(work))


def take(work: Path, watch: str) -> None:
    """Record that a work folder is ours; its lock is held. Raises SpoolError if another may have it, MachineError."""
    mine = _ourselves(watch, on_share=is_on_a_share(work))
    found = owner_of(work)
    if found and found.may_work(work):
        raise SpoolError(
            f"Another ocrd may be working in {shown(work)}: that of {shown(found.host)}, since {found.since}.",
            "Give each host a work folder of its own (work: …/{host}); if that one is gone for good, call "
            f"`ocrd adopt {shown(work)}`.",
        )
    data = json.dumps(asdict(mine)).encode()
    if is_there(work / RECORD):  # of a daemon that is dead, or damaged
        durable.write_own(work / RECORD, data)
    else:
        try:
            durable.write_new(work / RECORD, data, tag=f"owner-{mine.host}")
        except FileExistsError:
            raise SpoolError(
                f"Another ocrd has just taken {shown(work)}.",
                "Give each host a work folder of its own (work: …/{host}).",
            ) from None
    durable.remove(work / LEFT)


def _ourselves(watch: str, *, on_share: bool) -> Owner:
    pid, now = os.getpid(), datetime.now(UTC).astimezone().isoformat(timespec="seconds")
    return Owner(watch, socket.gethostname(), _machine(), _boot(), pid, processes.started(pid), now, on_share)


def leave(work: Path) -> None:
    """Record that a work folder is ours no more, if it is. Raises MachineError."""
    found = owner_of(work)
    if found and found.is_this_process:
        give_up(work)


def give_up(work: Path) -> None:
    """Let a work folder be nobody's, whoever had it. Raises MachineError."""
    with machine_faults("give free", work), suppress(FileNotFoundError):
        os.rename(work / RECORD, work / LEFT)
        renames.sync_folder(work)


def owner_of(work: Path) -> Owner | None:
    """Read who has a work folder, or had it last; None if nothing tells. Raises MachineError."""
    with machine_faults("read the owner of", work):
        return _last(work)


def _last(work: Path) -> Owner | None:
    found = _read(work / RECORD)
    if found is None and (left := _read(work / LEFT)):
        return replace(left, has_left=True)
    return found


def _read(path: Path) -> Owner | None:
    """Read a record, also one of another version; what is damaged is none. Raises OSError."""
    try:
        with regular(path) as held, held.open("rb") as file:
            raw = json.loads(file.read(_LONGEST))
        return Owner(**{one.name: _typed(raw[one.name], one.type) for one in fields(Owner) if one.name in raw})
    except (FileNotFoundError, NotADirectoryError, NotRegularError, ValueError, TypeError):
        return None


def _typed(value: object, kind: object) -> Any:  # noqa: ANN401 - of the kind that is wanted
    """Return the value if it is of this kind. Raises TypeError."""
    if type(value) is not kind:
        raise TypeError(value)
    return value


def beside(watch: Watch) -> dict[Path, Owner]:
    """Find the work folders of other daemons of the same watch, if there may be any, and whose they are.

    One that we may not look into is not among them. Raises MachineError.
    """
    work = watch.work_folder
    if not watch.is_among_others:
        return {}
    with machine_faults("look into", work.parent):
        try:
            found = sorted(path for path in work.parent.iterdir() if path != work)
        except FileNotFoundError:
            return {}
        return {path: owner for path in found if (owner := _seen(path)) and owner.watch == watch.name}


def _seen(work: Path) -> Owner | None:
    with suppress(PermissionError):
        return _last(work)
    return None


def _boot() -> str:
    return _first_line("/proc/sys/kernel/random/boot_id")


def _machine() -> str:
    number = _first_line("/etc/machine-id")
    return hashlib.sha256(f"ocrd {number}".encode()).hexdigest()[:16] if number else ""


def _first_line(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text(encoding="ascii").strip()
    return ""
