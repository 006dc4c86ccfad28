"""Requests for reruns: files in a work folder, put there whole by another process, of which the daemon makes jobs."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import structlog

from ocrd.display import shown
from ocrd.model import Access
from ocrd.storage import durable
from ocrd.storage.job import DAMAGE, RECORD, JobRecord
from ocrd.storage.job_folders import new_id
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.safe_paths import NotRegularError, regular

log = structlog.get_logger("ocrd")


def ask(work: Path, record: JobRecord) -> str:
    """Leave a request in a work folder that may be another process's. Returns its id. Raises MachineError."""
    number = new_id()
    with durable.sharing(Access(0o644)):  # the daemon may be another user
        durable.write_new(work / f"rerun-{number}.json", json.dumps(asdict(record)).encode(), tag=f"rerun-{number}")
    return number


def progress(work: Path, job: str) -> int | None:
    """Count the pages that a rerun has read so far; None once it has come to its end."""
    if os.path.lexists(work / f"rerun-{job}.json"):
        return 0
    return len(list((work / job / "pages").glob("*.json"))) if os.path.lexists(work / job / RECORD) else None


def asked_in(path: Path) -> JobRecord | None:
    """Read what is asked for; None if it can't be told, which the log says. Raises MachineError."""
    with machine_faults("read", path):
        try:
            with regular(path) as held:
                asked = JobRecord.parse(held.read_bytes())
        except (NotRegularError, PermissionError, *DAMAGE) as error:
            log.warning("rerun refused", path=shown(path), reason=f"its request can't be read: {error}")
            return None
    return JobRecord("", asked.name, asked.stamp, rerun=asked.rerun) if asked.rerun else None
