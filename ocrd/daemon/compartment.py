"""What one watch has for itself, so that whatever hangs or fails in it costs no other watch anything."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import structlog

from ocrd.concurrency.threads import Threads
from ocrd.config.watch import Watch
from ocrd.daemon.pause import Pause
from ocrd.errors import MachineError, OcrdError
from ocrd.storage import os_errors
from ocrd.storage.roles import Identity, Roles
from ocrd.storage.spool import Spool
from ocrd.telemetry.events import Events, Paused, Resumed, WatchRemoved

R = TypeVar("R")

log = structlog.get_logger("ocrd")

_ELSEWHERE = "work"
"""Stands for the step where a fault was not met by a step on a disk, but for instance by a render worker."""


class Compartment:
    """The settings, the work folder and the threads of one watch, and whether it can go on. For one event loop."""

    def __init__(self, watch: Watch, events: Events, roles: Roles, *, once: bool = False) -> None:
        self.watch = watch
        """Its settings; a reload brings others."""
        self.events = events
        """Who is told of what happens in it."""
        self.spool = Spool(watch.name, watch.inbox, watch.work_folder, among_others=watch.is_among_others)
        self.roles = roles
        """Whose each folder is, of all watches."""
        self.pause = Pause(self._tell)
        self.threads = Threads(self.pause)
        self.known = asyncio.Event()
        """Set once it is known how the watch stands: its inbox was looked into, or something holds it up."""
        self.once = once
        """Whether the run ends by itself, and waits for nothing."""

    @property
    def name(self) -> str:
        return self.watch.name

    @property
    def log(self) -> structlog.stdlib.BoundLogger:
        """A log that says of which watch it tells."""
        bound: structlog.stdlib.BoundLogger = log.bind(watch=self.name)
        return bound

    def check_inbox(self) -> frozenset[Identity]:
        """Look whether the folders are still what they were, and say which ones the inbox is not to be looked into.

        It may block. Raises MachineError.
        """
        self.spool.check_mount(self.watch.inbox)
        self.roles.look_up(self, self.watch)
        return self.roles.identities

    async def on_disk(self, step: Callable[..., R], *args: Any, **kwargs: Any) -> R:  # noqa: ANN401 - passed on
        """Take a step that may block, in a thread of this watch. Raises MachineError, and what else the step raises."""

        @wraps(step)
        def translated() -> R:
            with os_errors.all_faults(f"come to the end of a step ({step.__name__})", self.watch.inbox):
                return step(*args, **kwargs)

        return await self.threads.run(translated)

    @contextmanager
    def own_defects(self) -> Iterator[None]:
        """Make a fault like any other of what a defect of ours raises, so that it stops no other watch."""
        try:
            yield
        except OcrdError:
            raise
        except Exception as error:
            self.log.exception("defect")
            what = f"ocrd itself failed: {type(error).__name__}: {error}."
            raise MachineError(what, "Please report it, with the log.") from error

    def failed(self, error: MachineError, otherwise: str = _ELSEWHERE) -> str:
        """Note a fault of the machine, and return the step that it is known by: `otherwise`, if by none on a disk.

        In a run that ends by itself (`once`) nothing is waited for: there it raises the error.
        """
        if self.once:
            raise error
        step = error.step or otherwise
        self.pause.failed(step, error)
        return step

    def gets_on(self) -> None:
        """Note that something was done which no step on a disk shows, such as a page that was read."""
        self.pause.succeeded(_ELSEWHERE)

    def rename(self, name: str) -> None:
        """Be called otherwise from now on."""
        self.events.tell(WatchRemoved(self.name))
        self.watch = self.watch.model_copy(update={"name": name})
        self.spool.watch = name

    def _tell(self, error: MachineError | None) -> None:
        self.known.set()
        if error:
            self.events.tell(Paused(self.name, error.what, f"{error.remedy} {error.once_mended}"))
        else:
            self.events.tell(Resumed(self.name))
