"""Job folders by themselves: what they are called, and what one holds that a crash may have left."""

import re
import secrets
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from ocrd.display import shown
from ocrd.errors import DocumentError
from ocrd.model import FileStamp
from ocrd.storage import durable
from ocrd.storage.job import COMPANION_FILE, DAMAGE, RECORD, Job, JobRecord, refusal_of

log = structlog.get_logger("ocrd")

JOB_ID = r"\d{8}T\d{6}-[0-9a-f]{6,10}"
"""What the name of a job's folder matches, as a pattern: the job's id."""
ADOPTED = "adopted-"
"""Before the name of a job folder that came from another daemon, and that this one has not come by yet."""
_OURS = re.compile(
    r"(.+/)?\.ocrd-.+\.tmp|(job|result|again)\.json|(source|original)(\.duplex)?|original(\.duplex)?/.+"
    r"|pages(/\d+\.json)?|figures(/page-.+)?|result(/scan.+)?|again(/(old|new)\..+)?"
)
"""What a job's folder holds of ours once its source is gone, by paths in it."""
_STILL_OPEN = re.compile(r"\.(nfs|fuse_hidden)[0-9a-f]+")
"""What NFS and FUSE call a file that was deleted while a program had it open: the name goes when it is closed."""


def new_id() -> str:
    """Make an id that sorts by time, to the microsecond; its last digits are drawn, since many hosts may make ids."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}-{now.microsecond:05x}{secrets.randbelow(1 << 20):05x}"


def make_new(work: Path) -> Path:
    """Make a folder for one job alone: an id that another job has already is drawn again. Raises MachineError."""
    while True:
        folder = work / new_id()
        with suppress(FileExistsError):
            durable.make_new_folder(folder)
            return folder


def recorded(folder: Path) -> Job | None:
    """Read the job that a folder is of; None without a sound record. Raises OSError."""
    with suppress(FileNotFoundError, *DAMAGE):
        return Job(folder, JobRecord.parse((folder / RECORD).read_bytes()))
    return None


def without_record(folder: Path, watch: str) -> Job | None:
    """Make a job of a source without a sound record of its own: it goes to error/, named after the folder.

    None if there is no source. Raises MachineError, OSError.
    """
    companion = folder / COMPANION_FILE
    for source in sorted(folder.glob("source*"), key=lambda path: path == companion):
        if source.is_dir() and not source.is_symlink():
            whole = sorted(path for path in source.iterdir() if not path.name.startswith("."))  # no broken copy
            group = {f"/{path.name}": FileStamp.of(path.lstat()) for path in whole}
            if not group:
                continue
            job = Job(folder, JobRecord(watch, folder.name, None, group))
        elif is_regular(source):
            stamp = FileStamp.of(source.lstat())
            job = Job(folder, JobRecord(watch, folder.name + source.suffix, stamp))
        else:
            continue
        if source != job.source:
            durable.move_new(source, job.source, tag=job.id)
        if source != companion and is_regular(companion):
            job.record = replace(job.record, companion=FileStamp.of(companion.lstat()))
        damage = DocumentError("The record of this job is damaged, its name and place lost.", "Drop the file again.")
        job.update(refusal=refusal_of(damage))
        return job
    return None


def clear(folder: Path, *, at_start: bool = False) -> bool:
    """Delete what is left of a job without a source. What somebody else put there stays, and is told of.

    Returns False where the folder stays for now, since a program still has a deleted file of it open: call again. What
    is so called `at_start`, when none of ours is open, stays for good. Raises MachineError.
    """
    left = durable.remove_own(folder, _OURS.fullmatch)
    if foreign := [name for name in left if at_start or not _STILL_OPEN.fullmatch(name)]:
        log.warning("foreign files in work stay", path=shown(folder), files=[shown(name) for name in foreign])
    return bool(foreign) or not left


def is_regular(path: Path) -> bool:
    """Whether it is a plain file, and no link to one."""
    return path.is_file() and not path.is_symlink()
