"""Ways to break ocrd on purpose, each of which the crash harness must notice."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ocrd.config.watch import Watch
from ocrd.pipeline import job_runner, rerun
from ocrd.storage import claiming, durable, file_group, naming, renames, result, spool
from ocrd.storage.job import Job


def write_in_place() -> None:
    """Use no temporary file."""

    def write(path: Path, data: bytes, *, tag: str = "") -> None:  # noqa: ARG001
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, data)
        os.close(descriptor)

    durable.write_new = write


def record_no_name() -> None:
    """Remember the name that is about to be used in memory only."""

    def name_for(job: Job, role: str, name: str) -> None:
        job.record.names[role] = name

    Job.name_for = name_for  # type: ignore[method-assign]


def archive_before_publish() -> None:
    """Send the source to the archive before its sidecar is out."""

    def deliver(job: Job, watch: Watch, of: spool.Spool) -> Path:
        (watch.archive / job.record.name).parent.mkdir(exist_ok=True)
        durable.move_new(job.source, watch.archive / job.record.name, tag="x")
        return real(job, watch, of)

    def archive(_: spool.Spool, job: Job, folder: Path, *_more: object) -> Path:
        job.record = replace(job.record, names={**job.record.names, "archive": job.record.name})
        durable.remove_folder(job.folder)
        return folder / job.record.name

    real, job_runner._deliver = job_runner._deliver, deliver
    spool.Spool.archive = archive  # type: ignore[method-assign,assignment]


def overwrite() -> None:
    """Take a taken name for no obstacle."""

    def free_name(folder: Path, wanted: str, *_: object, **__: object) -> str:  # noqa: ARG001
        return wanted

    naming.free_name = free_name
    renames.rename_new = os.rename


def publish_the_sidecar_first() -> None:
    """Put the Markdown into the outbox before what it links to."""
    result.ORDER = (".md", *result.ORDER)


def leave_a_part() -> None:
    """Leave what went out already where a stranger took the name of the rest."""
    result.Piece.withdraw = result.Folder.withdraw = lambda *_: None  # type: ignore[assignment,method-assign]


def forget_the_twin() -> None:
    """Recover without finishing a claim that copies."""
    spool.Spool._finish_claim = lambda _self, _job: None  # type: ignore[method-assign]


def claim_by_copy_alone() -> None:
    """Delete the original of a copying claim before the copy has its name."""

    def move(source: Path, target: Path, tag: str) -> None:
        temporary = durable.copy_temporary(source, target.parent, tag)
        os.unlink(source)
        os.rename(temporary, target)

    claiming._take_by_copy = move


def exchange_in_place() -> None:
    """Write the new pages over the old sidecar."""

    def replace(source: Path, target: Path, seen: Path, *, tag: str) -> None:  # noqa: ARG001
        descriptor = os.open(target, os.O_WRONLY | os.O_TRUNC)
        os.write(descriptor, source.read_bytes())
        os.close(descriptor)

    durable.replace_seen = replace


def keep_nothing() -> None:
    """Exchange the sidecar without a copy of what was there."""
    real = rerun._put

    def put(job: Job, watch: Watch, file: Path, wanted: str, *rest: Any) -> Path:
        return watch.outbox / wanted if wanted.endswith(".bak") else real(job, watch, file, wanted, *rest)

    rerun._put = put


def run_half_a_group() -> None:
    """Take a group whose claim broke off for a whole one."""
    spool._half_claimed = lambda _: False
    Job.unchanged = lambda _: True  # type: ignore[method-assign]


def leave_half_a_group() -> None:
    """Leave the files of a group that went out already where a stranger took the name of the next."""
    file_group._take_back = lambda *_: None


def forget_half_a_group() -> None:
    """Delete a job once the first of its files is gone."""

    def held(job: Job) -> dict[str, Path]:
        return real(job) if len(real(job)) == len(job.files) else {}

    real = Job.held.fget
    Job.held = property(held)  # type: ignore[method-assign,assignment]
