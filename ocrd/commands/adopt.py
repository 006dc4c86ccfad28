"""`ocrd adopt`: the jobs of a daemon that is gone go over to the one of this configuration."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ocrd.config.watch import Watch
from ocrd.display import counted, shown
from ocrd.errors import ConfigError, MachineError
from ocrd.storage import adoption
from ocrd.storage.adoption import Left
from ocrd.storage.durable import make_and_delete
from ocrd.storage.locks import is_locked


def run(watches: Sequence[Watch], folder: Path, name: str, *, sure: bool) -> None:
    """Take over what lies in a work folder, for the watch of this name, or the one that it was of; print what it was.

    Raises ConfigError, SpoolError where the daemon of that folder works or may work, MachineError.
    """
    folder = folder.absolute()
    left = adoption.look(folder)
    watch = _chosen(watches, left, name)
    work = watch.work_folder
    print(f"{shown(folder)} has {counted(len(left.jobs), 'job')}, {_whose(left)}.")
    if folder.resolve() == work.resolve():
        with adoption.sole(left, sure=sure):
            pass
        print(f"It is free for this host now: {_goes_on(work)}")
        return
    with adoption.sole(left, sure=sure):
        moved = adoption.move(left, work)
    print(f"{counted(moved, 'job')} went to {shown(work)}: {_goes_on(work)}" if moved else "There was nothing to take.")
    with suppress(MachineError):  # which wakes the daemon; it will look by itself, too
        make_and_delete(watch.inbox / ".ocrd-adopt.tmp")


def _whose(left: Left) -> str:
    if left.owner is None:
        return "of an ocrd that left no word"
    ended = "which has given it free" if left.owner.has_left else "which has not given it free"
    return f"of the ocrd on {left.host}, {ended}; taken {left.owner.since}"


def _goes_on(work: Path) -> str:
    return f"ocrd here goes on with it{'' if is_locked(work) else ' when it is started'}."


def _chosen(watches: Sequence[Watch], left: Left, name: str) -> Watch:
    """Choose the watch of this name, or the one that a work folder was of. Raises ConfigError."""
    wanted = name or (left.owner.watch if left.owner else "")
    chosen = [watch for watch in watches if watch.name == wanted] or ([] if name else list(watches))
    if len(chosen) != 1:
        known = ", ".join(watch.name for watch in watches)
        doubt = (
            f"There is no watch {shown(name)!r}." if name else f"Nothing tells of which watch {shown(left.folder)} is."
        )
        raise ConfigError(doubt, f"Give one of these with --watch: {known}.")
    return chosen[0]
