"""What the owner wants at the end of a document: programs that index, mail or copy it, and URLs that are told.

A program runs after the document's own end, so whatever it does can't harm it. One that has to wait is written down in
the work folder, `hook-<job>.json`, and that file is deleted when its turn comes: what a stop or a crash leaves waiting
runs after the next start. It runs at most once: a crash in that instant loses it, and nothing else. What a URL is to be
told is sent at least once: notifications.py.
"""

import asyncio
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import structlog

from ocrd.concurrency.threads import Threads
from ocrd.config.hooks import Hook
from ocrd.config.watch import Watch
from ocrd.daemon import hook_facts, notifications
from ocrd.daemon.compartment import Compartment
from ocrd.daemon.hook_facts import Facts
from ocrd.daemon.notifications import Notifications
from ocrd.daemon.program import Program
from ocrd.display import shown
from ocrd.errors import MachineError
from ocrd.storage import durable
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.safe_paths import NotRegularError
from ocrd.telemetry.events import Ended, HookEnded, HookOutcome

log = structlog.get_logger("ocrd")

AT_ONCE = 4
"""Hooks of a watch that run at the same time; the others wait."""
_WAITING = re.compile(r"hook-[0-9A-Za-z-]+\.json")
_SETTINGS = {"delivered": "on_delivered", "reread": "on_delivered", "refused": "on_refused"}
"""By the kind of an end, the setting that says what is wanted then."""


class Hooks:
    """Runs what one watch wants at the end of its documents. For one event loop."""

    def __init__(self, compartment: Compartment, idle: Callable[[], None]) -> None:
        """Take whose hooks they are, and what to call whenever there may be nothing left to do."""
        self._its = compartment
        self._idle = idle
        self._places = asyncio.Semaphore(AT_ONCE)
        self.threads = Threads(most=AT_ONCE)
        """In which the programs are waited for."""
        self._running: set[asyncio.Task[None]] = set()
        self._urls = {setting: Notifications(compartment, setting, idle) for setting in set(_SETTINGS.values())}

    @property
    def busy(self) -> bool:
        """Whether a program runs or waits, or a URL is to be told something."""
        return bool(self._running) or any(url.busy for url in self._urls.values())

    def announce(self, event: Ended) -> None:
        """Write down what a URL is to be told of a document that is about to end. It may block. Raises MachineError."""
        if _wanted(self._its.watch, event.kind).url:
            self._urls[_SETTINGS[event.kind]].write(hook_facts.of(event))

    def run(self, event: Ended) -> None:
        """Do what is wanted at the end of a document."""
        known = hook_facts.of(event)
        self._begin(known)
        if _wanted(self._its.watch, event.kind).url:
            self._urls[_SETTINGS[event.kind]].add(known)

    async def resume(self) -> None:
        """Do what the last run left to be done; nothing is begun before all of it is known. Raises MachineError."""
        its, programs, messages = self._its, [], []
        for path, known in await its.on_disk(_left_waiting, its.watch.work_folder):
            if known and _wanted(its.watch, known["event"]).program:
                programs.append((path, known))
            else:
                await its.on_disk(durable.remove, path)
        for path, message in await its.on_disk(notifications.left_waiting, its.watch.work_folder):
            if message and _wanted(its.watch, message.facts["event"]).url:
                messages.append(message)
            else:
                await its.on_disk(durable.remove, path)
        for path, known in programs:
            self._begin(known | {"watch": its.name}, written=path)
        for message in messages:
            self._urls[_SETTINGS[message.facts["event"]]].send(message)

    async def leave(self) -> None:
        """Send nothing more: another may have the work folder soon. Programs go on to their end."""
        seconds = self._its.watch.hook_timeout
        await asyncio.gather(*(url.close(seconds) for url in self._urls.values()))

    def abandon(self) -> None:
        """Wait no longer for what hangs: the process is about to end."""
        self.threads.abandon()
        for url in self._urls.values():
            url.threads.abandon()

    async def close(self, seconds: float) -> None:
        """Let what runs come to its end, for at most so many seconds; what waits is left for the next start."""
        await asyncio.gather(self._close_programs(seconds), *(url.close(seconds) for url in self._urls.values()))

    async def _close_programs(self, seconds: float) -> None:
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _begin(self, known: Facts, written: Path | None = None) -> None:
        """Start the program that the watch wants now that this is known, if it wants one."""
        watch = self._its.watch
        command = _wanted(watch, known["event"]).program
        if not command:
            return
        program = Program(command, known, watch.hook_timeout)
        task = asyncio.get_running_loop().create_task(self._attend(program, known, written))
        self._running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._idle()

    async def _attend(self, program: Program, known: Facts, written: Path | None) -> None:
        """Run a hook when it is its turn, and tell how that ended."""
        about = self._its.log.bind(job=known["job"], source=shown(known["source"]), hook=program.command[0])
        outcome: HookOutcome = "failed"
        try:
            if self._places.locked():
                written = written or await self._write(known, about)
                outcome = "left" if written else "failed"
            async with self._places:
                if written:
                    await self._its.on_disk(durable.remove, written)
                outcome = "failed"
                reason = await self._run(program)
            for line in program.said:
                about.info("hook says", line=shown(line))
            if reason:
                about.warning("hook failed", reason=reason)
            else:
                outcome = "done"
        except MachineError as error:
            about.warning("hook failed", reason=str(error))
        except asyncio.CancelledError:
            if outcome == "left":
                about.info("hook left for the next start")
            else:
                about.warning("hook failed", reason="ocrd stopped before it had run to its end.")
            raise
        finally:
            self._its.events.tell(HookEnded(self._its.name, known["job"], outcome))

    async def _run(self, program: Program) -> str | None:
        """Run a program to its end. Returns what went wrong. Raises MachineError."""
        running = asyncio.ensure_future(self.threads.run(program.run))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            program.stop()
            await asyncio.wait({running})
            raise

    async def _write(self, known: Facts, about: structlog.stdlib.BoundLogger) -> Path | None:
        """Write down a hook that has to wait; None if that can't be done, which is logged."""
        path = self._its.watch.work_folder / f"hook-{known['job']}.json"
        try:
            await self._its.on_disk(durable.write_own, path, json.dumps(known).encode())
        except MachineError as error:
            about.warning("hook waits, and a stop would lose it", reason=str(error))
            return None
        return path


def _wanted(watch: Watch, kind: str) -> Hook:
    """Return what a watch wants at an end of this kind."""
    found: Hook = getattr(watch, _SETTINGS[kind]) if kind in _SETTINGS else Hook()
    return found


def _left_waiting(work: Path) -> list[tuple[Path, Facts | None]]:
    """List the programs that were written down. Raises MachineError."""
    with machine_faults("look into the work folder", work):
        return [(work / name, _read(work / name)) for name in sorted(filter(_WAITING.fullmatch, os.listdir(work)))]


def _read(path: Path) -> Facts | None:
    """Read what was written down of a hook; None if it can't be told, which is logged."""
    try:
        return hook_facts.checked(hook_facts.read(path))
    except (NotRegularError, *hook_facts.DAMAGE) as error:
        log.warning("hook lost", path=shown(path), reason=f"What was written down of it can't be read: {error}")
        return None
