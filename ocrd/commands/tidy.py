"""`ocrd tidy`: what lies about in outboxes and error folders; shown, and moved to a folder only when told."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ocrd.config.watch import Watch
from ocrd.display import counted, shown
from ocrd.errors import DocumentError
from ocrd.storage import durable, leftovers, naming
from ocrd.storage.leftovers import Leftover
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.renames import NotAsSeenError
from ocrd.storage.safe_paths import beneath


def run(watches: Sequence[Watch], folder: Path | None) -> None:
    """Print what lies about; move it to the folder, if there is one, and print where it lies then."""
    lying = found(watches)
    if folder:
        for path in move(lying, folder, watches):
            print(shown(path))
    elif lying:
        for leftover in lying:
            print(f"{shown(leftover.path)}  ({leftover.why})")
        print(f"{counted(len(lying), 'file')}. To move all of it away: ocrd tidy --to FOLDER")
    if not lying:
        print("Nothing lies about.")


def found(watches: Iterable[Watch]) -> list[Leftover]:
    """List what lies about, each file once, also where watches share folders."""
    lying: dict[Path, Leftover] = {}
    for watch in watches:
        for leftover in leftovers.of(watch):
            lying.setdefault(leftover.path, leftover)
    return list(lying.values())


def move(lying: Iterable[Leftover], folder: Path, watches: Iterable[Watch]) -> Iterator[Path]:
    """Move what lies about to a folder, by watch and role as it lay, and yield where it lies then.

    Raises DocumentError if the folder lies in one of a watch's, MachineError.
    """
    folder = folder.absolute()
    for watch in watches:
        for own in watch.folders.values():
            if folder.resolve().is_relative_to(own.resolve()):
                raise DocumentError(f"{shown(folder)} lies in a folder of watch {watch.name}.", "Give another folder.")
    for leftover in lying:
        wanted = str(Path(leftover.watch.name, leftover.role, leftover.name))
        if (moved := _moved(leftover, folder, wanted)) is not None:
            yield moved


def _moved(leftover: Leftover, folder: Path, wanted: str) -> Path | None:
    """Move one file; None if it is not there any more."""
    tag = f"tidy-{os.getpid()}"
    while True:
        target = folder / naming.free_name(folder, wanted)
        durable.make_folders(target.parent)
        try:
            with machine_faults("move", leftover.path), beneath(leftover.folder, leftover.name) as held:
                durable.move_new(held, target, tag=tag)
        except FileExistsError:
            continue
        except NotAsSeenError:
            return None
        return target
