"""What lies in an inbox. Events are hints that wake us; the scan is the truth."""

import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from ocrd.errors import MachineError
from ocrd.fsio import machine_faults
from ocrd.model import FileStamp

if TYPE_CHECKING:
    from watchdog.observers.api import ObservedWatch

SOURCE_SUFFIXES = frozenset({".pdf", ".tif", ".tiff", ".jpg", ".jpeg", ".png"})
"""What is taken for a source, by its name; what it really is shows only when it is opened."""

_TEMPORARY_STARTS = (".", "~$", "._")
_TEMPORARY_NAMES = frozenset({"thumbs.db", "desktop.ini"})
_SYSTEM_FOLDERS = frozenset({"@eadir", "__macosx", "#recycle", "lost+found"})


def is_source_name(name: str) -> bool:
    """Whether a file of this name can be a source.

    Names of copies under way (`scan.pdf.part`, `.scan.pdf.x8Ff2a`, `~$scan.pdf`) are not: their own suffix or their
    first character gives them away.
    """
    if name.startswith(_TEMPORARY_STARTS) or name.lower() in _TEMPORARY_NAMES:
        return False
    return PurePath(name).suffix.lower() in SOURCE_SUFFIXES


def is_hidden_folder(name: str) -> bool:
    """Whether a folder belongs to a system or a program (`.stfolder`, `@eaDir`, `lost+found`), not to a person."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


# Not opens, nor closes without a write: our own scan would wake itself.
_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent, FileModifiedEvent, FileMovedEvent, FileClosedEvent, DirCreatedEvent, DirMovedEvent,
]  # fmt: skip


@dataclass(slots=True)
class Scan:
    """What one look through an inbox found."""

    files: dict[Path, FileStamp] = field(default_factory=dict)
    """Regular files that can be sources by their name."""
    odd: dict[Path, str] = field(default_factory=dict)
    """Things that are named like a source but are none, with what they are. They are left alone."""


def scan(inbox: Path) -> Scan:
    """Look through an inbox and its subfolders, without following links. Raises MachineError if it can't be read."""
    found = Scan()
    folders = [inbox]
    while folders:
        folder = folders.pop()
        try:
            with machine_faults("look into the inbox", folder), os.scandir(folder) as entries:
                for entry in entries:
                    _sort(entry, folders, found)
        except MachineError as error:
            if folder == inbox:
                raise
            if not isinstance(error.__cause__, FileNotFoundError):  # else it went away meanwhile
                found.odd[folder] = "a folder that can't be read"
    return found


def _sort(entry: "os.DirEntry[str]", folders: list[Path], found: Scan) -> None:
    if entry.is_dir(follow_symlinks=False):
        if is_source_name(entry.name):
            found.odd[Path(entry.path)] = "a folder"
        elif not is_hidden_folder(entry.name):
            folders.append(Path(entry.path))
    elif is_source_name(entry.name):
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return  # it went away meanwhile, which is no error
        if stat.S_ISREG(status.st_mode):
            found.files[Path(entry.path)] = FileStamp.of(status)
        else:
            found.odd[Path(entry.path)] = "a symbolic link" if entry.is_symlink() else "a special file"


class Watcher(FileSystemEventHandler):
    """Wakes us when something happens in an inbox. Runs in watchdog's thread."""

    def __init__(self, wake: Callable[[], object]) -> None:
        """Call `wake`, from another thread, on every event. Nothing is watched yet."""
        self._wake = wake
        self._watched: dict[Path, ObservedWatch] = {}
        self._observer = Observer()
        self._observer.start()

    def watch(self, inbox: Path) -> None:
        """Begin to watch an inbox and its subfolders. Raises MachineError if the kernel refuses."""
        with machine_faults("watch", inbox):
            self._watched[inbox] = self._observer.schedule(self, str(inbox), recursive=True, event_filter=_EVENTS)

    def unwatch(self, inbox: Path) -> None:
        """Let go of an inbox, if it is watched."""
        watched = self._watched.pop(inbox, None)
        if watched is not None:
            self._observer.unschedule(watched)

    @property
    def alive(self) -> bool:
        """Whether the thread that hears of events still runs."""
        return self._observer.is_alive()

    def on_any_event(self, event: FileSystemEvent) -> None:  # noqa: ARG002 - what happened is for the scan to find
        """Wake the scan."""
        self._wake()

    def close(self) -> None:
        """Stop watching."""
        logging.getLogger("watchdog").setLevel(logging.CRITICAL)  # it complains of events that come in this moment
        self._observer.stop()
        self._observer.join()
