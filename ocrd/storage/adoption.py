"""The jobs of a daemon that is gone go over to another: whole job folders, each by one rename.

So each job is in one of the two work folders at every instant, and who dies in between can begin again. In the new one
a job folder is called `adopted-<id>` until the daemon there comes by it (spool.py).
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ocrd.display import shown
from ocrd.errors import ConfigError, MachineError
from ocrd.storage import durable, locks, ownership, renames
from ocrd.storage.job import RECORD
from ocrd.storage.job_folders import ADOPTED, JOB_ID
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.ownership import Owner

_JOB = re.compile(rf"(?:{ADOPTED})?({JOB_ID})")
_BESIDE_JOBS = re.compile(rf"rerun-{JOB_ID}\.json|(?:hook|notify)-[0-9A-Za-z-]+\.json")
"""What lies beside jobs: wishes for reruns, and whom to tell of documents that ended."""
_LEDGER = "ledger.sqlite3"


@dataclass(frozen=True, slots=True)
class Left:
    """What lies in the work folder of a daemon."""

    folder: Path
    owner: Owner | None
    """Who has it, or had it last; None if an older version had, which leaves no word."""
    jobs: tuple[str, ...]
    """Names of job folders."""
    others: tuple[str, ...]
    """Names of files that lie beside them and belong to a daemon's work."""

    @property
    def host(self) -> str:
        """Whose it is, for a person."""
        return shown(self.owner.host) if self.owner else "an unknown host"


def look(folder: Path) -> Left:
    """Look what a daemon left in its work folder. Raises ConfigError if it is none, MachineError."""
    with machine_faults("look into the work folder", folder):
        names = sorted(os.listdir(folder))
        jobs = tuple(name for name in names if _JOB.fullmatch(name) and (folder / name).is_dir())
    left = Left(folder, ownership.owner_of(folder), jobs, tuple(filter(_BESIDE_JOBS.fullmatch, names)))
    if not (left.owner or jobs or left.others or _LEDGER in names):
        raise ConfigError(
            f"{shown(folder)} is no work folder of an ocrd.", "Name the one of the daemon that is gone (`work`)."
        )
    return left


def is_gone(left: Left) -> bool:
    """Whether no daemon is at work there, as far as can be told from here. Raises MachineError."""
    return not locks.is_locked(left.folder) and not (left.owner and left.owner.may_work(left.folder))


@contextmanager
def sole(left: Left, *, sure: bool) -> Iterator[None]:
    """Keep daemons of this host out of a work folder that is to be emptied.

    If all goes well it is free for any host after that. Raises SpoolError if one is at work in it here; ConfigError if
    one may be, elsewhere, unless somebody is `sure`.
    """
    lock = locks.lock_folder(left.folder)
    try:
        owner = left.owner
        if not sure and (owner.may_work(left.folder) if owner else ownership.is_on_a_share(left.folder)):
            since = f", which took it {owner.since}" if owner else ""
            raise ConfigError(
                f"{shown(left.folder)} is the work folder of {left.host}{since}; whether that still works can't be "
                "told from here.",
                "Stop it there first. If that can't be had, say --yes: should it still work, documents may be read "
                "twice, but none is lost.",
            )
        yield
        ownership.give_up(left.folder)
    finally:
        os.close(lock)


def move(left: Left, work: Path) -> int:
    """Move all that lies there to the work folder of another daemon. Returns how many jobs. Raises MachineError."""
    durable.make_folders(work)
    if (left.jobs or left.others) and not durable.one_mount(left.folder, work):
        raise MachineError(
            f"{shown(left.folder)} and {shown(work)} lie on different mounts, so jobs can't go over by a rename.",
            f"Call `ocrd once` with a configuration that has work: {shown(left.folder)}.",
        )
    moved = sum(_moved(left.folder / name, work / _adopted(name)) for name in left.jobs)
    for name in left.others:
        _moved(left.folder / name, work / name)
    return moved


def _adopted(name: str) -> str:
    found = _JOB.fullmatch(name)
    return f"{ADOPTED}{found[1] if found else name}"


def _moved(path: Path, target: Path) -> bool:
    """Move a folder or file; whether there was one with a source or a record."""
    is_job = os.path.lexists(path / RECORD) or any(path.glob("source*"))
    try:
        durable.move_new(path, target, tag="adopt")
    except renames.NotAsSeenError:  # it came to its end meanwhile, or another host was faster
        return False
    except FileExistsError:
        raise MachineError(f"There is a {shown(target)} already.", f"Move {shown(path)} away.") from None
    return is_job
