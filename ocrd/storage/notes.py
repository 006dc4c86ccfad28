"""The note beside a source in the error folder, which says why it was refused: NAME.error.md."""

from collections.abc import Callable, Iterable
from pathlib import Path

from ocrd.storage import durable
from ocrd.storage.job import Job
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.safe_paths import NotRegularError, beneath, could_lie_at, lies_at, regular

SUFFIX = ".error.md"
_LONGEST = 2**20
"""Bytes."""


def clear(job: Job, folder: Path, is_ours: Callable[[bytes], bool]) -> None:
    """Delete the note of an earlier refusal, once its source was brought back from `folder` to the inbox.

    Of a duplex scan also those of one side alone. Only notes that are ours by `is_ours`, with no source beside
    them any more. Raises MachineError.
    """
    record = job.record
    if "error" in record.names:
        return  # it may be the note of this very refusal
    _clear(folder, record.name, record.stamps, is_ours)
    for name in {*record.paths, *record.dropped.values()} if record.duplex else ():
        _clear(folder, name, ("",), is_ours)


def _clear(folder: Path, source: str, endings: Iterable[str], is_ours: Callable[[bytes], bool]) -> None:
    """Delete the note on a source, by its path below a folder and the endings of its files, if none of them is there.

    Raises MachineError.
    """
    name = f"{source}{SUFFIX}"
    with machine_faults("read", folder / name):
        if not could_lie_at(folder / name):
            return
        try:
            with beneath(folder, name) as note, regular(note) as held:
                beside = note.with_name(note.name.removesuffix(SUFFIX))
                there = any(lies_at(f"{beside}{ending}") for ending in endings)
                if not there and is_ours(read(held)):  # else it is that of another file
                    durable.remove(note)
        except (FileNotFoundError, NotADirectoryError, NotRegularError):
            return


def read(path: Path) -> bytes:
    """Read what may be a note of ours, as far as one can be long. Raises OSError."""
    with path.open("rb") as file:
        return file.read(_LONGEST)
