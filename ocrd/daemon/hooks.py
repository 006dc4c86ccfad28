"""The owner's commands at the end of a document: to index, mail or copy it.

A hook runs after the document's own end, so whatever it does can't harm it. It runs at most once: a crash in that
instant loses it, and nothing else.
"""

import asyncio
import os
import signal
from contextlib import suppress

import structlog

from ocrd.config.schema import Config, Watch
from ocrd.display import shown
from ocrd.storage.spool import NOTE_SUFFIX
from ocrd.telemetry.events import Ended, Event

log = structlog.get_logger("ocrd")

AT_ONCE = 4
"""Hooks that run at the same time; the others wait."""
LOGGED, LINES = 16 * 1024, 50
"""Bytes and lines of a hook's output that go to the log, at most."""


class Hooks:
    """Hears of the ends of documents, and runs what the watch wants then. For one event loop."""

    def __init__(self, config: Config) -> None:
        self._watches: dict[str, Watch] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._running: set[asyncio.Task[None]] = set()
        self.configured(config)

    def configured(self, config: Config) -> None:
        """Take over the watches of a configuration; one that is gone may still end documents."""
        self._watches |= {watch.name: watch for watch in config.watches}

    def hear(self, event: Event) -> None:
        """Start the hook for an event that has one."""
        if not isinstance(event, Ended):
            return
        watch = self._watches[event.watch]
        command = {"delivered": watch.on_delivered, "reread": watch.on_delivered, "refused": watch.on_refused}.get(
            event.kind
        )
        if command:
            task = asyncio.get_running_loop().create_task(self._attend(command, event, watch.hook_timeout))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def close(self, seconds: float) -> None:
        """Let the hooks that run come to their end, for at most so many seconds."""
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _attend(self, command: tuple[str, ...], event: Ended, seconds: float) -> None:
        about = log.bind(watch=event.watch, job=event.job, source=shown(event.source), hook=command[0])
        try:
            await self._run(command, event, seconds, about)
        except asyncio.CancelledError:
            about.warning("hook failed", reason="ocrd stopped before it had run to its end.")
            raise

    async def _run(
        self, command: tuple[str, ...], event: Ended, seconds: float, about: structlog.stdlib.BoundLogger
    ) -> None:
        async with self._places:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    env=os.environ | facts(event),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,  # so that all that it starts can be ended with it
                )
            except (OSError, ValueError) as error:
                about.warning("hook failed", reason=f"It can't be started: {error}.")
                return
            try:
                async with asyncio.timeout(seconds):
                    output = await _output(process)
                    code = await process.wait()
            except TimeoutError:
                about.warning("hook failed", reason=f"It took longer than {seconds:g} s, and was ended.")
                return
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        for line in output.decode(errors="backslashreplace").splitlines()[:LINES]:
            about.info("hook says", line=shown(line))
        if code:
            about.warning("hook failed", reason=f"It ended with exit code {code}.")


def facts(event: Ended) -> dict[str, str]:
    """Return what a hook finds in its environment."""
    known = {
        "OCRD_EVENT": event.kind,
        "OCRD_WATCH": event.watch,
        "OCRD_JOB": event.job,
        "OCRD_SOURCE": event.source,
        "OCRD_ORIGINAL": str(event.original),
        "OCRD_SECONDS": f"{event.seconds:.2f}",
    }
    if event.kind == "refused":
        return known | {"OCRD_NOTE": f"{event.path}{NOTE_SUFFIX}", "OCRD_REASON": event.reason}
    pages = {} if event.pages is None else {"OCRD_PAGES": str(event.pages), "OCRD_STATUS": event.status}
    return known | {"OCRD_SIDECAR": str(event.path)} | pages


async def _output(process: asyncio.subprocess.Process) -> bytes:
    """Read all that it prints, and keep the beginning."""
    kept = b""
    while process.stdout and (data := await process.stdout.read(65536)):
        kept += data[: LOGGED - len(kept)]
    return kept
