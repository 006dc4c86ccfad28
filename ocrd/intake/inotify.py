"""Wake-ups when something happens in an inbox, and proof that they come. The only user of watchdog."""

import errno
import logging
import os
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from ocrd.display import shown
from ocrd.errors import MachineError
from ocrd.storage.durable import make_and_delete
from ocrd.storage.os_errors import machine_faults

CANARY = ".ocrd-canary.tmp"
"""A file that appears in an inbox for an instant, to see whether its event arrives."""
_CANARY_SECONDS = 5.0
"""How long its event may take: watchdog holds some events back for half a second."""
_MOST_HEARD = 10_000
"""Paths that are kept until they are looked at; of more than these all of the inbox is looked through."""

# Of a folder that it finds twice, made while it looked through the one around it.
warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)

_LOGGERS = tuple(logging.getLogger(f"watchdog.observers.{name}") for name in ("inotify", "inotify_c"))

# Not opens, nor closes without a write, nor what leaves: our own scans and claims would wake us. Not single writes: a
# file that grows for minutes is looked at when it is due, and when it is closed.
_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent, FileMovedEvent, FileClosedEvent, DirCreatedEvent, DirMovedEvent, DirDeletedEvent,
]  # fmt: skip


class _Observers:
    """One observer for all inboxes, since each takes an inotify instance, of which a user has 128 (inotify(7)).

    It lives as long as it has users. One that died or fell silent gets no new ones: each of those that it has finds out
    by itself, and comes back for another.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._current: BaseObserver | None = None
        self._users: Counter[BaseObserver] = Counter()
        self._fitted = float("-inf")
        """When the last look began at which one more folder fitted, on the monotonic clock."""

    def join(self) -> BaseObserver:
        """Return an observer that runs. Raises OSError, RuntimeError if the kernel refuses."""
        with self.lock:
            if self._current is None or not self._current.is_alive():
                observer = Observer()
                observer.start()
                self._current = observer
            self._users[self._current] += 1
            return self._current

    def see_that_one_more_fits(self, observer: BaseObserver, handler: FileSystemEventHandler) -> None:
        """Watch one more folder for an instant: of subfolders without a place in the kernel watchdog says nothing.

        The kernel takes its time to let go of one: of many inboxes that are taken up at once, few need a look of their
        own. Raises OSError, RuntimeError if the kernel refuses.
        """
        taken = time.monotonic()
        with self.lock:
            if self._fitted > taken:
                return
            began = time.monotonic()
            observer.unschedule(observer.schedule(handler, "/proc", event_filter=_EVENTS))
            self._fitted = began

    def distrust(self, observer: BaseObserver) -> None:
        """Give it to nobody any more."""
        with self.lock:
            if self._current is observer:
                self._current = None

    def leave(self, observer: BaseObserver) -> None:
        """End it, if this was the last who used it."""
        with self.lock:
            self._users[observer] -= 1
            if self._users[observer]:
                return
            del self._users[observer]
            if self._current is observer:
                self._current = None
        observer.stop()
        observer.join()


_observers = _Observers()


class FolderEvents(FileSystemEventHandler):
    """The events of one inbox."""

    def __init__(self, folder: Path, wake: Callable[[], object]) -> None:
        """Watch a folder and its subfolders, and call `wake` from another thread on every event.

        Raises MachineError if the kernel refuses, with the setting that holds it up.
        """
        self._folder = folder.resolve()  # of a link the kernel would tell nothing
        self._wake = wake
        self._place = folder
        self._canary = threading.Event()
        self._closing = False
        self._heard: set[Path] = set()
        self._lock = threading.Lock()
        self.last_event = float("-inf")
        """When the last event came, on the monotonic clock."""
        self.overflowed = False
        """Whether events were dropped since this was last set to False: nobody fetched them in time."""
        self.folders_changed = False
        """Whether a folder came or went since this was last set to False: more may have happened in it unseen."""
        for logger in _LOGGERS:
            logger.addFilter(self._hear)
        self._watch: ObservedWatch | None = None
        try:
            self._observer = _observers.join()
        except (OSError, RuntimeError) as error:
            self._forget_loggers()
            raise _refused(error, folder) from error
        try:
            self._watch = self._observer.schedule(self, str(self._folder), recursive=True, event_filter=_EVENTS)
            self._emitter = next(one for one in self._observer.emitters if one.watch is self._watch)
            _observers.see_that_one_more_fits(self._observer, self)
        except (OSError, RuntimeError) as error:
            self.close()
            raise _refused(error, folder) from error

    def alive(self) -> bool:
        """Whether the threads that carry events still run. A deleted or unmounted inbox ends one of them."""
        return self._observer.is_alive() and self._emitter.is_alive()

    def distrust(self) -> None:
        """Let no inbox be watched any more by what this one was watched by in vain."""
        _observers.distrust(self._observer)

    def arrive(self, folder: Path) -> bool:
        """Let a hidden file appear for an instant in the inbox, or a folder of it; return whether its event comes.

        That shows what this machine does itself: on a share it may be seen though another machine's doing is not.
        Raises MachineError if the file can't be made.
        """
        self._canary.clear()
        make_and_delete(folder / CANARY)
        return self._canary.wait(_CANARY_SECONDS)

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Wake the scan: what happened is for it to find."""
        if str(event.src_path).endswith(CANARY):
            self._canary.set()
            return
        paths = {Path(os.fsdecode(path)) for path in (event.src_path, event.dest_path) if path}
        with self._lock:
            self._heard |= {self._place / path.relative_to(self._folder) for path in paths if self._holds(path)}
            self.overflowed |= len(self._heard) > _MOST_HEARD
            self.folders_changed |= event.is_directory
        self.last_event = time.monotonic()
        self._wake()

    def heard(self) -> set[Path]:
        """Return the paths at which something happened since this was last asked for."""
        with self._lock:
            heard, self._heard = self._heard, set()
        return heard

    def _holds(self, path: Path) -> bool:
        return self._folder in path.parents

    def close(self) -> None:
        """Stop watching."""
        self._closing = True
        self._canary.set()  # nobody needs to wait for it any more
        if self._watch:
            with suppress(KeyError):  # it ended by itself
                self._observer.unschedule(self._watch)
        _observers.leave(self._observer)
        self._forget_loggers()

    def _hear(self, record: logging.LogRecord) -> bool:
        """Listen to watchdog's own log. Of an overflow it tells nowhere else; it watches new folders then by itself."""
        if "overflowed" in str(record.msg):
            if isinstance(record.args, tuple) and os.fsencode(self._folder) in record.args:
                self.overflowed = True
                self._wake()
            return False
        return not self._closing  # it complains of events that come while it stops

    def _forget_loggers(self) -> None:
        for logger in _LOGGERS:
            logger.removeFilter(self._hear)


def _refused(error: OSError | RuntimeError, folder: Path) -> MachineError:
    """Name the kernel's limit that is reached (inotify(7)); watchdog passes the numbers through."""
    if isinstance(error, RuntimeError):  # no more threads
        return MachineError(f"No events from {shown(folder)}: {error}.", "May ocrd's user start more (TasksMax=)?")
    match error.errno:
        case errno.ENOSPC:
            return _limit("folders", "max_user_watches", folder, 524_288)
        case errno.EMFILE:
            return _limit("programs", "max_user_instances", folder, 1024)
        case _:
            try:
                with machine_faults("watch", folder):
                    raise error
            except MachineError as translated:
                return translated


def _limit(what: str, name: str, folder: Path, better: int) -> MachineError:
    path = Path("/proc/sys/fs/inotify") / name
    value = path.read_text(encoding="ascii").strip() if path.exists() else "unknown"
    return MachineError(
        f"No events from {shown(folder)}: the kernel lets no more {what} of this user be watched "
        f"(fs.inotify.{name} is {value}).",
        f"Raise it: sysctl fs.inotify.{name}={better}, and a line with that in /etc/sysctl.d/ocrd.conf.",
    )
