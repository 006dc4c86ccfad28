"""What a URL of the owner's is told: the facts of each document that ended, at least once.

They are written down in the work folder, `notify-<job>.json`, before the document's end can't be undone, and deleted
when the URL has taken them or `hook_patience` is over. So a crash loses none, though one may be sent twice: by the same
id, and with the same text. They are sent one after the other, and no document waits for that.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from pathlib import Path

import structlog

from ocrd.concurrency.threads import Threads
from ocrd.config.hooks import Hook
from ocrd.daemon import hook_facts
from ocrd.daemon.compartment import Compartment
from ocrd.daemon.hook_facts import Facts
from ocrd.display import duration, shown
from ocrd.errors import MachineError
from ocrd.storage import durable
from ocrd.storage.job import RECORD
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.safe_paths import NotRegularError, lies_at
from ocrd.telemetry import webhook
from ocrd.telemetry.events import HookEnded, HookOutcome
from ocrd.telemetry.webhook import NotTakenError

log = structlog.get_logger("ocrd")

LONGEST = 300.0
"""Seconds between two attempts, at most."""
_WRITTEN = re.compile(r"notify-[0-9A-Za-z-]+\.json")


@dataclass(slots=True, eq=False)
class Message:
    """What a URL is to be told of one document."""

    facts: Facts
    since: float
    """When the document ended, seconds since 1970."""
    failures: int = 0
    """Attempts so far."""

    @property
    def job(self) -> str:
        """Of which job it tells; the message's own id, too."""
        return str(self.facts["job"])

    @property
    def file_name(self) -> str:
        """Under which it is written down in the work folder."""
        return f"notify-{self.job}.json"

    @property
    def body(self) -> bytes:
        return json.dumps(self.facts).encode()


def wait_after(failures: int) -> float:
    """Return the seconds until the next attempt."""
    return float(min(2 ** (failures - 1), LONGEST)) if failures else 0.0


class Backlog:
    """Which message is sent next, and when. Times are seconds on the monotonic clock.

    Each waits longer after each failure, and all of them do while the URL takes nothing: so one that is never taken
    holds up no other, and thousands that wait are not sent again and again to a URL that is gone.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Message]] = []
        self._numbers = count()
        self._failures = 0
        self._quiet_until = float("-inf")

    def add(self, message: Message) -> None:
        """Let a new one wait for its turn."""
        self._wait(message, float("-inf"))

    def due(self) -> float | None:
        """Say when the next one is to be sent; None if none waits."""
        return max(self._waiting[0][0], self._quiet_until) if self._waiting else None

    def take(self) -> Message:
        """Take out the one that waits for no longer than any other."""
        return heappop(self._waiting)[-1]

    def failed(self, message: Message, now: float) -> None:
        """Let one that was not taken wait again."""
        self._failures += 1
        message.failures += 1
        self._quiet_until = now + wait_after(self._failures)
        self._wait(message, now + wait_after(message.failures))

    def taken(self) -> None:
        """Note that the URL takes what it is sent."""
        self._failures, self._quiet_until = 0, float("-inf")

    def _wait(self, message: Message, due: float) -> None:
        heappush(self._waiting, (due, next(self._numbers), message))

    def __len__(self) -> int:
        return len(self._waiting)


class Notifications:
    """Tells one URL of a watch. For one event loop."""

    def __init__(self, compartment: Compartment, setting: str, idle: Callable[[], None]) -> None:
        """Take whose URL it is, by which setting, and what to call whenever there may be nothing left to do."""
        self._its = compartment
        self._setting = setting
        self._idle = idle
        self._written: dict[str, Message] = {}
        self._backlog = Backlog()
        self._news = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.threads = Threads(most=1)
        """In which its host is looked up, which can hang."""

    @property
    def busy(self) -> bool:
        """Whether it is to be told something."""
        return self._task is not None

    @property
    def _hook(self) -> Hook:
        hook: Hook = getattr(self._its.watch, self._setting)
        return hook

    def write(self, known: Facts) -> None:
        """Write down what is to be sent once the document has ended. It may block. Raises MachineError."""
        message = Message(known, time.time())
        record = {"since": message.since, "facts": message.facts}
        durable.write_own(self._path(message), json.dumps(record).encode())
        self._written[message.job] = message

    def add(self, known: Facts) -> None:
        """Send what is known of a document that has ended: as it was written down, if it was."""
        self.send(self._written.pop(known["job"], Message(known, time.time())))

    def send(self, message: Message) -> None:
        """Send what was written down, until it is taken."""
        self._backlog.add(message)
        self._news.set()
        if self._task is None and not self._closing:
            self._task = asyncio.get_running_loop().create_task(self._send_all())

    async def close(self, seconds: float) -> None:
        """Let the attempt that is under way come to its end, for at most so many seconds; the others are left."""
        self._closing = True
        self._news.set()
        if self._task:
            await asyncio.wait({self._task}, timeout=seconds)
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._backlog:
            self._its.log.info("notifications left for the next start", waiting=len(self._backlog))
        while self._backlog:
            self._its.events.tell(HookEnded(self._its.name, self._backlog.take().job, "left"))

    async def _send_all(self) -> None:
        try:
            while not self._closing and (due := self._backlog.due()) is not None:
                self._news.clear()
                if due <= time.monotonic():
                    await self._try(self._backlog.take())
                else:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), due - time.monotonic())
        finally:
            self._task = None
            self._idle()

    async def _try(self, message: Message) -> None:
        """Try once, and do what follows from that."""
        hook, watch = self._hook, self._its.watch
        about = self._its.log.bind(job=message.job, source=shown(message.facts["source"]))
        if not hook.url:  # no longer
            await self._forget(message, about)
            return
        about = about.bind(hook=webhook.host_of(hook.url))
        try:
            reason = await self._attempt(hook, message)
        except asyncio.CancelledError:
            self._backlog.add(message)
            raise
        outcome: HookOutcome = "done"
        if reason is None:
            self._backlog.taken()
        elif time.time() - message.since >= watch.hook_patience:
            about.warning("hook failed", reason=f"{reason} It was tried for {duration(watch.hook_patience)}.")
            outcome = "failed"
        elif self._its.once:
            about.warning("hook left for the next start", reason=reason)
            outcome = "left"
        else:
            if not message.failures:
                about.warning("hook waits", reason=reason)
            self._backlog.failed(message, time.monotonic())
            return
        if outcome != "left":
            await self._forget(message, about)
        self._its.events.tell(HookEnded(self._its.name, message.job, outcome))

    async def _attempt(self, hook: Hook, message: Message) -> str | None:
        """Send it once. Returns why it was not taken."""
        seconds = self._its.watch.hook_timeout
        look_up = asyncio.ensure_future(self.threads.run(webhook.find, hook))
        look_up.add_done_callback(lambda done: done.cancelled() or done.exception())  # if nobody waits any more
        try:
            async with asyncio.timeout(seconds):
                receiver = await asyncio.shield(look_up)
                await webhook.send(receiver, message.job, message.body, time.time())
        except TimeoutError:
            return f"No answer within {seconds:g} s."
        except (NotTakenError, MachineError) as error:
            return str(error)
        except Exception as error:  # a defect of ours, or of a library, must not stop the others
            self._its.log.exception("defect")
            return f"ocrd itself failed: {type(error).__name__}: {error}."
        return None

    async def _forget(self, message: Message, about: structlog.stdlib.BoundLogger) -> None:
        try:
            await self._its.on_disk(durable.remove, self._path(message))
        except MachineError as error:
            about.warning("a notification that is done with will be sent again", reason=str(error))

    def _path(self, message: Message) -> Path:
        return self._its.watch.work_folder / message.file_name


def left_waiting(work: Path) -> list[tuple[Path, Message | None]]:
    """List what was written down of documents that have ended; None for what can't be read. Raises MachineError.

    A job that has not ended writes it down anew.
    """
    with machine_faults("look into the work folder", work):
        names = sorted(filter(_WRITTEN.fullmatch, os.listdir(work)))
        ended = [name for name in names if not lies_at(work / name[len("notify-") : -len(".json")] / RECORD)]
        return [(work / name, _read(work / name)) for name in ended]


def _read(path: Path) -> Message | None:
    try:
        raw = hook_facts.read(path)
        message = Message(hook_facts.checked(raw["facts"]), float(raw["since"]))
    except (NotRegularError, *hook_facts.DAMAGE) as error:
        log.warning("hook lost", path=shown(path), reason=f"What was written down of it can't be read: {error}")
        return None
    if path.name != message.file_name:
        log.warning("hook lost", path=shown(path), reason="What was written down there is of another job.")
        return None
    return message
