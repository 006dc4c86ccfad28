"""The owner's commands at the end of a document: to index, mail or copy it.

A hook runs after the document's own end, so whatever it does can't harm it. One that has to wait is written down in the
work folder, `hook-<job>.json`, and that file is deleted when its turn comes: what a stop or a crash leaves waiting runs
after the next start. It runs at most once: a crash in that instant loses it, and nothing else.
"""

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from ocrd.concurrency.threads import finish_in_thread
from ocrd.config.schema import Config, Watch
from ocrd.display import shown
from ocrd.errors import MachineError
from ocrd.storage import durable
from ocrd.storage.safe_paths import NotRegularError, regular
from ocrd.storage.spool import NOTE_SUFFIX
from ocrd.telemetry.events import Ended, Event, Events, HookEnded, HookOutcome

log = structlog.get_logger("ocrd")

AT_ONCE = 4
"""Hooks that run at the same time; the others wait."""
LOGGED, LINES = 16 * 1024, 50
"""Bytes and lines of a hook's output that go to the log, at most."""
_WAITING = re.compile(r"hook-[0-9A-Za-z-]+\.json")

Facts = dict[str, Any]
"""What a hook finds on its standard input."""


class Hooks:
    """Hears of the ends of documents, and runs what the watch wants then. For one event loop."""

    def __init__(self, config: Config, events: Events, idle: Callable[[], None]) -> None:
        """Take who is told of hooks, and what to call whenever there may be nothing left to do."""
        self._watches: dict[str, Watch] = {}
        self._events = events
        self._idle = idle
        self._places = asyncio.Semaphore(AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self.ended: Counter[str] = Counter()
        """Hooks so far that failed (`hook failed`), or were left for the next start (`hook left`)."""
        self.configured(config)

    def configured(self, config: Config) -> None:
        """Take over the watches of a configuration; one that is gone may still end documents."""
        self._watches |= {watch.name: watch for watch in config.watches}

    @property
    def busy(self) -> bool:
        """Whether a hook runs or waits."""
        return bool(self._running)

    def hear(self, event: Event) -> None:
        """Start the hook for an event that has one."""
        if isinstance(event, Ended):
            self._begin(self._watches[event.watch], facts(event))

    def resume(self, watch: Watch) -> None:
        """Start the hooks of a watch that the last run left waiting. Raises MachineError."""
        for path in sorted(path for path in watch.work_folder.iterdir() if _WAITING.fullmatch(path.name)):
            known = _read(path)
            if not known or not self._begin(watch, known | {"watch": watch.name}, written=path):
                durable.remove(path)

    async def close(self, seconds: float) -> None:
        """Let the hooks that run come to their end, for at most so many seconds; those that wait are left."""
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _begin(self, watch: Watch, known: Facts, written: Path | None = None) -> bool:
        """Start what the watch wants now that this is known. Returns False if it wants nothing."""
        commands = {"delivered": watch.on_delivered, "reread": watch.on_delivered, "refused": watch.on_refused}
        command = commands.get(known["event"])
        if not command:
            return False
        task = asyncio.get_running_loop().create_task(self._attend(command, known, watch, written))
        self._running.add(task)
        task.add_done_callback(self._done)
        return True

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._idle()

    async def _attend(self, command: tuple[str, ...], known: Facts, watch: Watch, written: Path | None) -> None:
        """Run a hook when it is its turn, and tell how that ended."""
        about = log.bind(watch=watch.name, job=known["job"], source=shown(known["source"]), hook=command[0])
        outcome: HookOutcome = "failed"
        try:
            if self._places.locked():
                written = written or await _write(known, watch, about)
                outcome = "left" if written else "failed"
            async with self._places:
                if written:
                    await finish_in_thread(durable.remove, written)
                outcome = "failed"
                reason = await _run(command, known, watch.hook_timeout, about)
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
            if outcome != "done":
                self.ended[f"hook {outcome}"] += 1
            self._events.tell(HookEnded(watch.name, known["job"], outcome))


async def _write(known: Facts, watch: Watch, about: structlog.stdlib.BoundLogger) -> Path | None:
    """Write down a hook that has to wait; None if that can't be done, which is logged."""
    path = watch.work_folder / f"hook-{known['job']}.json"
    try:
        await finish_in_thread(durable.write_own, path, json.dumps(known).encode())
    except MachineError as error:
        about.warning("hook waits, and a stop would lose it", reason=str(error))
        return None
    return path


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


async def _run(
    command: tuple[str, ...], known: Facts, seconds: float, about: structlog.stdlib.BoundLogger
) -> str | None:
    """Run a hook to its end, and log what it says. Returns what went wrong."""
    try:
        process = await _started(command, known)
    except (OSError, ValueError) as error:
        return f"It can't be started: {error}."
    try:
        async with asyncio.timeout(seconds):
            output = await _output(process)
            code = await process.wait()
    except TimeoutError:
        return f"It took longer than {seconds:g} s, and was ended."
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    for line in output.decode(errors="backslashreplace").splitlines()[:LINES]:
        about.info("hook says", line=shown(line))
    return f"It ended with exit code {code}." if code else None


async def _started(command: tuple[str, ...], known: Facts) -> asyncio.subprocess.Process:
    """Start it with what is known as JSON on its standard input: a file in memory, which no slow reader holds up."""
    with open(os.memfd_create("ocrd-hook"), "w+b") as told:  # noqa: ASYNC230 - in memory
        told.write(json.dumps(known).encode())
        told.seek(0)
        return await asyncio.create_subprocess_exec(
            *command,
            env=os.environ | variables(known),
            stdin=told,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
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


async def _output(process: asyncio.subprocess.Process) -> bytes:
    """Read all that it prints, and keep the beginning."""
    kept = b""
    while process.stdout and (data := await process.stdout.read(65536)):
        kept += data[: LOGGED - len(kept)]
    return kept
