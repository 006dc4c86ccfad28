"""A file taken out of a folder in which others may reach for it at the same time: one of them gets it.

On one mount that is a rename. Between two mounts the file is copied, and the original put aside: renamed to a hidden
name in its own folder, which one of several can do. Only then the copy gets its name, and the original goes. So what
lies where tells how far one came that died, or that a server told wrong (`finish`).
"""

import errno
import os
import zlib
from contextlib import suppress
from pathlib import Path

from ocrd.display import shown
from ocrd.model import FileStamp
from ocrd.storage import comparing, durable, renames
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.renames import NotAsSeenError
from ocrd.storage.safe_paths import lies_at, spelled


def take(source: Path, target: Path, *, tag: str) -> None:
    """Move a file into a folder of ours alone. After any other error than NotAsSeenError, `finish` is to be called.

    `tag` is another one for each who reaches for it. Raises NotAsSeenError if another got it or it changes meanwhile,
    FileExistsError, MachineError.
    """
    with machine_faults(f"move {shown(spelled(source))} to", target):
        try:
            try:
                renames.rename_own(source, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                _take_by_copy(source, target, tag)
        except FileNotFoundError:
            # What another host took some shares show for seconds: then it is what lacks if the other folder is there.
            if not lies_at(source) or lies_at(target.parent):
                raise NotAsSeenError from None
            raise
        renames.sync_folder(target.parent)
        renames.sync_folder(source.parent)


def _take_by_copy(source: Path, target: Path, tag: str) -> None:
    before, aside = durable.seen(source), _aside(source, tag)
    temporary = durable.copy_temporary(source, target.parent, tag, as_it_was=True)
    try:
        _put_aside(source, aside)
        _check(aside, before, source, tag)
        renames.rename_new(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    renames.sync_folder(target.parent)
    _delete(aside)


def finish(source: Path, target: Path, *, tag: str) -> None:
    """Bring a `take` to its end that broke off: the original goes if its copy is there, else back to its place.

    Raises MachineError.
    """
    with machine_faults("give back", source):
        aside = _aside(source, tag)
        if not lies_at(aside):
            return
        if comparing.same_file(aside, target) or _are_one(aside, source):
            _delete(aside)
        else:
            _give_back(aside, source, tag)
        renames.sync_folder(source.parent)


def _aside(source: Path, tag: str) -> Path:
    """Name it after its own name, too: a job may have several files in a folder."""
    return source.with_name(f".ocrd-{tag}-{zlib.crc32(os.fsencode(source.name)):08x}.taken")


def _put_aside(source: Path, aside: Path) -> None:
    try:
        os.rename(source, aside)
    except FileNotFoundError:
        if not lies_at(aside):  # else it was done: an NFS server that restarts may deny that when it is asked again
            raise NotAsSeenError from None
    renames.sync_folder(aside.parent)


def _check(aside: Path, before: FileStamp, source: Path, tag: str) -> None:
    """Give back what is not the file that was copied, but another that has its name since. Raises NotAsSeenError."""
    if durable.seen(aside) != before:
        _give_back(aside, source, tag)
        raise NotAsSeenError


def _give_back(aside: Path, source: Path, tag: str) -> None:
    try:
        renames.rename_new(aside, source)
    except FileExistsError:  # another file of its name came meanwhile
        renames.rename_new(aside, source.with_name(f"{source.stem} ({tag}){source.suffix}"))


def _delete(aside: Path) -> None:
    with suppress(FileNotFoundError):
        os.unlink(aside)


def _are_one(one: Path, other: Path) -> bool:
    """Whether both are names of one file, as a rename by links leaves them when it dies."""
    return lies_at(other) and FileStamp.of(one.lstat()) == FileStamp.of(other.lstat())
