"""Refused files go back to their inboxes, where they are taken like any other."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ocrd import fsio, markdown
from ocrd.config import Watch
from ocrd.errors import DocumentError
from ocrd.fsio import shown
from ocrd.scan import scan
from ocrd.spool import NOTE_SUFFIX


def bring_back(watches: Iterable[Watch], names: Sequence[Path] | None) -> Iterator[Path]:
    """Move files from the error folders back to their inboxes, and yield where they lie then.

    Each name is that of a file, or its path below the error folder, or its whole path; None is for all files. The note
    stays until the file is delivered. Raises DocumentError if a name fits no file, MachineError.
    """
    refused = [(watch, path) for watch in watches if watch.error.is_dir() for path in sorted(scan(watch.error).files)]
    if names is not None:
        chosen = [[one for one in refused if _fits(name, *one)] for name in names]
        for name, found in zip(names, chosen, strict=True):
            if not found:
                raise DocumentError(
                    f"There is no {shown(name)} in the error folders.", "Name a file that lies there, or give --all."
                )
        refused = [one for one in refused if any(one in found for found in chosen)]
    for watch, path in refused:
        yield _bring_back(watch, path)


def _fits(name: Path, watch: Watch, path: Path) -> bool:
    return name in (Path(path.name), path.relative_to(watch.error)) or name.absolute() == path


def _bring_back(watch: Watch, path: Path) -> Path:
    wanted = str(path.relative_to(watch.error))
    while True:
        target = watch.inbox / fsio.free_name(watch.inbox, wanted)
        fsio.make_folders(target.parent, below=watch.inbox)
        try:
            fsio.move_new(path, target, tag=f"retry-{os.getpid()}")
        except FileExistsError:
            continue
        note = path.with_name(path.name + NOTE_SUFFIX)
        if target != watch.inbox / wanted and note.is_file() and markdown.is_own_note(note.read_bytes()):
            fsio.remove(note)  # under its new name the file would not find it
        return target
