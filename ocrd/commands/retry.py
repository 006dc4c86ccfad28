"""Refused files go back to their inboxes, where they are taken like any other."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ocrd.config.schema import Watch
from ocrd.display import shown
from ocrd.errors import DocumentError
from ocrd.intake import grouping
from ocrd.intake.scanner import scan
from ocrd.model import Settled
from ocrd.output import front_matter
from ocrd.storage import durable, file_group, naming
from ocrd.storage.spool import NOTE_SUFFIX


def bring_back(watches: Iterable[Watch], names: Sequence[Path] | None) -> Iterator[Path]:
    """Move sources from the error folders back to their inboxes, and yield where they lie then.

    Each name is that of a file, of its note, of a group or of one of its files, or its path below the error folder, or
    its whole path; None is for all. The note stays until the source is delivered. Raises DocumentError if a name fits
    nothing, MachineError.
    """
    refused = [one for watch in watches if watch.error.is_dir() for one in _refused(watch)]
    if names is not None:
        chosen = [[one for one in refused if _fits(name, *one)] for name in names]
        for name, found in zip(names, chosen, strict=True):
            if not found:
                raise DocumentError(
                    f"There is no {shown(name)} in the error folders.", "Name a file that lies there, or give --all."
                )
        refused = [one for one in refused if any(one in found for found in chosen)]
    for watch, source in refused:
        yield _bring_back(watch, source)


def _refused(watch: Watch) -> list[tuple[Watch, Settled]]:
    there = scan(watch.error)
    found = grouping.units(watch.error, watch.join, there.files, {}, there.companions)
    return [(watch, Settled(path, stamp)) for path, stamp in sorted(found.items())]


def _fits(name: Path, watch: Watch, source: Settled) -> bool:
    name = Path(str(name).removesuffix(NOTE_SUFFIX))
    paths = (source.path, *source.files)
    return any(name in (Path(path.name), path.relative_to(watch.error)) or name.absolute() == path for path in paths)


def _bring_back(watch: Watch, source: Settled) -> Path:
    path, group = source.path, not source.single
    wanted = str(path.relative_to(watch.error))
    files = {str(file).removeprefix(str(path)): file for file in source.files}
    stamps = dict(zip(files, source.files.values(), strict=True))
    while True:
        target = watch.inbox / naming.free_name(watch.inbox, wanted, file_group.beside(path, files), whole=group)
        durable.make_folders(target.parent, below=watch.inbox)
        try:
            file_group.put_all(files, stamps, target, tag=f"retry-{os.getpid()}")
        except FileExistsError:
            continue
        if group and path.is_dir():
            durable.remove_empty(path)  # or it would take the name from the next refusal
        note = path.with_name(path.name + NOTE_SUFFIX)
        if target != watch.inbox / wanted and note.is_file() and front_matter.is_own_note(note.read_bytes()):
            durable.remove(note)  # under its new name the file would not find it
        return target
