"""Refused files go back to their inboxes, where they are taken like any other."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from ocrd.config.duplex import Duplex
from ocrd.config.watch import Watch
from ocrd.display import shown
from ocrd.errors import DocumentError
from ocrd.intake import grouping
from ocrd.intake.scanner import scan
from ocrd.model import Settled
from ocrd.output import front_matter
from ocrd.storage import durable, file_group, naming, notes
from ocrd.storage.roles import Identity
from ocrd.storage.safe_paths import NotRegularError, regular

Refused = tuple[Watch, Settled]
"""A source in an error folder, and the watch that it came from."""


def bring_back(watches: Iterable[Watch], names: Sequence[Path] | None) -> Iterator[Path]:
    """Move sources from the error folders back to their inboxes, and yield where they lie then.

    Each name is the whole path of a file, of its note, of a group or of one of its files, or its path below the error
    folder, or, if it fits one alone, its last part; None is for all. The note stays until the source is delivered.
    Raises DocumentError if a name fits nothing or several, or nothing tells which of the watches that share an error
    folder a source came from; MachineError.
    """
    refused = _refused(list(watches))
    chosen = refused if names is None else [one for name in names for one in _named(name, refused)]
    known = Counter(file for _, source in refused for file in source.files)
    doubtful = [one for one in chosen if any(known[file] > 1 for file in one[1].files)]
    for one in chosen:
        if one not in doubtful:
            yield _bring_back(*one)
    if doubtful:
        several = ", ".join(sorted({watch.name for watch, _ in doubtful}))
        raise DocumentError(
            f"Nothing tells which of the watches {several} {shown(doubtful[0][1].path)} came from: it has no note.",
            "Move it into the right inbox by hand.",
        )


def _refused(watches: Sequence[Watch]) -> list[Refused]:
    """List what lies in the error folders, each for the watch that its note names; without one, for all that may be."""
    delivered = {identity for watch in watches for identity in _identities(watch.outbox, watch.archive)}
    found = [(watch, source) for watch in watches if watch.error.is_dir() for source in _units(watch, delivered)]
    noted = [(watch, source) for watch, source in found if front_matter.watch_in_note(_note_of(source)) == watch.name]
    taken = {file for _, source in noted for file in source.files}
    return noted + [(watch, source) for watch, source in found if taken.isdisjoint(source.files)]


def _units(watch: Watch, delivered: AbstractSet[Identity]) -> list[Settled]:
    """List the sources in an error folder: what has a note of its own was refused alone.

    Where something is `delivered`, only what has a note was refused at all.
    """
    there = scan(watch.error, closed=frozenset(delivered))
    alone = {path: stamp for path, stamp in there.files.items() if os.path.lexists(f"{path}{notes.SUFFIX}")}
    others = {path: stamp for path, stamp in there.files.items() if path not in alone}
    joins = watch.joins
    if isinstance(joins, Duplex):
        joins = joins.model_copy(update={"pairs": "names"})  # which pairs have here, however they were found
    found = grouping.units(watch.error, "none", alone, {}, there.companions)
    found |= grouping.units(watch.error, joins, others, {}, there.companions)
    units = [Settled(path, stamp) for path, stamp in sorted(found.items())]
    if delivered.isdisjoint(_identities(watch.error)):
        return units
    return [source for source in units if front_matter.is_own_note(_note_of(source))]


def _identities(*folders: Path) -> Iterator[Identity]:
    """Tell what folders are, as far as they are there."""
    for folder in folders:
        with suppress(OSError):
            status = folder.stat()
            yield status.st_dev, status.st_ino


def _note_of(source: Settled) -> bytes:
    """Read the note beside a source; nothing if there is none."""
    try:
        with regular(source.path.with_name(source.path.name + notes.SUFFIX)) as held:
            return notes.read(held)
    except (OSError, NotRegularError):
        return b""


def _named(name: Path, refused: Sequence[Refused]) -> list[Refused]:
    """Find the one source that a person means, for each watch that it may be of.

    Raises DocumentError if there is none, or several.
    """
    name = Path(str(name).removesuffix(notes.SUFFIX))
    ways: tuple[tuple[Path, Callable[[Watch, Path], Path]], ...] = (
        (name.absolute(), lambda _, path: path),
        (name, lambda watch, path: path.relative_to(watch.error)),
        (name, lambda _, path: Path(path.name)),
    )
    for wanted, spelled in ways:
        fits = [
            (watch, source)
            for watch, source in refused
            if wanted in {spelled(watch, path) for path in (source.path, *source.files)}
        ]
        paths = sorted({source.path for _, source in fits})
        if len(paths) > 1:
            listed = ", ".join(map(shown, paths))
            raise DocumentError(f"{shown(name)} can mean several: {listed}.", "Give the whole path of one of these.")
        if fits:
            return fits
    remedy = "Name a file that lies there, or give --all."
    raise DocumentError(f"There is no {shown(name)} in the error folders.", remedy)


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
        note = path.with_name(path.name + notes.SUFFIX)
        if target != watch.inbox / wanted and note.is_file() and front_matter.is_own_note(note.read_bytes()):
            durable.remove(note)  # under its new name the file would not find it
        return target
