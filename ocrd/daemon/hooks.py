"""The owner's commands at the end of a document: to index, mail or copy it.

A hook runs after the document's own end, so whatever it does can't harm it. One that has to wait is written down in the
work folder, `hook-<job>.json`, and that file is deleted when its turn comes: what a stop or a crash leaves waiting runs
after the next start. It runs at most once: a crash in that instant loses it, and nothing else.
"""

import asyncio
import json
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from ocrd.concurrency.threads import Threads
from ocrd.daemon.compartment import Compartment
from ocrd.display import shown
from ocrd.errors import MachineError
from ocrd.storage import durable
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.safe_paths import NotRegularError, regular
from ocrd.storage.spool import NOTE_SUFFIX
from ocrd.telemetry.events import Ended, HookEnded, HookOutcome

log = structlog.get_logger("ocrd")

AT_ONCE = 4
"""Hooks of a watch that run at the same time; the others wait."""
LOGGED, LINES = 16 * 1024, 50
"""Bytes and lines of a hook's output that go to the log, at most."""
_LOOK = 0.1
"""Seconds between two looks whether a program is to be ended."""
_WAITING = re.compile(r"hook-[0-9A-Za-z-]+\.json")

Facts = dict[str, Any]
"""What a hook finds on its standard input."""


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

    @property
    def busy(self) -> bool:
        """Whether a hook runs or waits."""
        return bool(self._running)

    def run(self, event: Ended) -> None:
        """Start the hook for the end of a document, if there is one."""
        self._begin(facts(event))

    async def resume(self) -> None:
        """Start the hooks that the last run left waiting. Raises MachineError."""
        for path, known in await self._its.on_disk(_left_waiting, self._its.watch.work_folder):
            if not known or not self._begin(known | {"watch": self._its.name}, written=path):
                await self._its.on_disk(durable.remove, path)

    async def close(self, seconds: float) -> None:
        """Let the hooks that run come to their end, for at most so many seconds; those that wait are left."""
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _begin(self, known: Facts, written: Path | None = None) -> bool:
        """Start what the watch wants now that this is known. Returns False if it wants nothing."""
        watch = self._its.watch
        commands = {"delivered": watch.on_delivered, "reread": watch.on_delivered, "refused": watch.on_refused}
        command = commands.get(known["event"])
        if not command:
            return False
        program = _Program(command, known, watch.hook_timeout)
        task = asyncio.get_running_loop().create_task(self._attend(program, known, written))
        self._running.add(task)
        task.add_done_callback(self._done)
        return True

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._idle()

    async def _attend(self, program: "_Program", known: Facts, written: Path | None) -> None:
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

    async def _run(self, program: "_Program") -> str | None:
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


def _left_waiting(work: Path) -> list[tuple[Path, Facts | None]]:
    """List what was written down of hooks. Raises MachineError."""
    with machine_faults("look into the work folder", work):
        return [(work / name, _read(work / name)) for name in sorted(filter(_WAITING.fullmatch, os.listdir(work)))]


def _read(path: Path) -> Facts | None:
    """Read what was written down of a hook; None if it can't be told, which is logged."""
    try:
        with regular(path) as held:
            known: Facts = json.loads(held.read_bytes())
        if not all(isinstance(known[key], str) for key in ("event", "job", "source")):
            raise TypeError("a name is no text")  # noqa: TRY301 - as of whatever else is damaged
    except (NotRegularError, OSError, ValueError, KeyError, TypeError) as error:
        log.warning("hook lost", path=shown(path), reason=f"What was written down of it can't be read: {error}")
        return None
    return known


class _Program:
    """One run of a command: `run` waits for its end, in a thread of its own; `stop` ends it from another."""

    def __init__(self, command: tuple[str, ...], known: Facts, seconds: float) -> None:
        """Take what it finds on its standard input and, each single fact, in its environment."""
        self.command = command
        self._known = known
        self._seconds = seconds
        self._stopped = threading.Event()
        self._output = b""

    @property
    def said(self) -> list[str]:
        """The beginning of what it printed, by lines."""
        return self._output.decode(errors="backslashreplace").splitlines()[:LINES]

    def stop(self) -> None:
        """End it soon."""
        self._stopped.set()

    def run(self) -> str | None:
        """Run it to its end. Returns what went wrong."""
        try:
            process = self._start()
        except (OSError, ValueError) as error:
            return f"It can't be started: {error}."
        with process:
            try:
                return self._ended(process)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def _ended(self, process: "subprocess.Popen[bytes]") -> str | None:
        """Wait for its end, and keep the beginning of what it prints. Returns what went wrong."""
        output = process.stdout.fileno() if process.stdout else -1
        news, open_ = select.poll(), True
        news.register(output, select.POLLIN)
        deadline = time.monotonic() + self._seconds
        while time.monotonic() < deadline and not self._stopped.is_set():
            if open_ and news.poll(_LOOK * 1000):
                data = os.read(output, 65536)
                self._output += data[: LOGGED - len(self._output)]
                open_ = bool(data)
            elif not open_:
                with suppress(subprocess.TimeoutExpired):
                    code = process.wait(_LOOK)
                    return f"It ended with exit code {code}." if code else None
        return f"It took longer than {self._seconds:g} s, and was ended."

    def _start(self) -> "subprocess.Popen[bytes]":
        """Start it. What it reads is a file in memory, which no slow reader holds up."""
        with open(os.memfd_create("ocrd-hook"), "w+b") as facts:
            facts.write(json.dumps(self._known).encode())
            facts.seek(0)
            return subprocess.Popen(  # noqa: S603 - the owner's own program
                self.command,
                env=os.environ | variables(self._known),
                stdin=facts,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that all that it starts can be ended with it
            )


def facts(event: Ended) -> Facts:
    """Return what a hook finds on its standard input, as JSON takes it."""
    known = {
        "event": event.kind,
        "watch": event.watch,
        "job": event.job,
        "source": event.source,
        "original": str(event.original),
        "originals": [str(path) for path in event.originals],
        "seconds": round(event.seconds, 2),
    }
    if event.kind == "refused":
        return known | {"note": f"{event.path}{NOTE_SUFFIX}", "reason": event.reason}
    return known | {
        "sidecar": str(event.path),
        "files": [str(path) for path in event.files],
        "pages": event.pages,
        "status": event.status,
        "verdicts": dict(event.verdicts),
    }


def variables(known: Facts) -> dict[str, str]:
    """Return what a hook finds in its environment: each single fact, `sidecar` as OCRD_SIDECAR."""
    single = {key: value for key, value in known.items() if value and isinstance(value, str | int | float)}
    return {f"OCRD_{key.upper()}": str(value) for key, value in single.items()}
