"""How far the engine's start has come, and how long the rest takes, by how long it took last time."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from ocrd.engines.vllm.process_guard import Home

log = logging.getLogger(__name__)

EVERY = 0.5
"""Seconds between two looks at what the engine has recorded."""


def default_file() -> Path:
    """Return where the durations of the last start are kept."""
    cache = os.environ.get("CACHE_DIRECTORY") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "ocrd-engine-start.json")


class StartProgress:
    """Follows the starts of one process's engines, one at a time."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = file, clock
        self._last = _read(file)
        self._doing: tuple[str, float] | None = None
        self._fetching = ""

    @property
    def text(self) -> str:
        """What the engine is doing, in words; empty while none starts."""
        if self._fetching or self._doing is None:
            return self._fetching
        phase, began = self._doing
        return f"{phase} for {self._clock() - began:.0f} s{self._last_time(phase)}"

    def fetching(self, text: str) -> None:
        """Note how far the fetching of the model is; nothing once it is there."""
        self._fetching = text

    @contextlib.asynccontextmanager
    async def watched(self, home: Home, began: float) -> AsyncIterator[None]:
        """Follow the start of the engine that records its phases in `home`."""
        watching = asyncio.create_task(self._watch(home, began))
        try:
            yield
        finally:
            watching.cancel()
            self._doing = None

    async def _watch(self, home: Home, began: float) -> None:
        total = f" (last time {sum(self._last.values()):.0f} s)" if self._last else ", which takes some minutes"
        log.info("the engine is started%s", total)
        self._doing = ("imports", began)
        while True:
            await asyncio.sleep(EVERY)
            phases = [(name, at) for name, at in home.phases() if at >= began]
            if phases and phases[-1] != self._doing:
                self._doing = phases[-1]
                log.info("the engine's start: %s%s", phases[-1][0], self._last_time(phases[-1][0]))

    def _last_time(self, phase: str) -> str:
        return f" (last time {self._last[phase]:.0f} s)" if phase in self._last else ""

    def finished(self, begins: list[tuple[str, float]]) -> dict[str, float]:
        """Keep how long each phase of a start took; return it. `begins` are in order, the end under no name."""
        took = {phase: end - begin for (phase, begin), (_, end) in itertools.pairwise(begins)}
        self._last = took
        spent = ", ".join(f"{phase} {seconds:.0f}" for phase, seconds in took.items())
        log.info("the engine is ready after %.0f seconds (%s)", sum(took.values()), spent)
        with contextlib.suppress(OSError):  # only a comfort
            self._file.parent.mkdir(parents=True, exist_ok=True)
            part = self._file.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(took))
            part.replace(self._file)
        return took


def _read(file: Path) -> dict[str, float]:
    try:
        return {str(phase): float(seconds) for phase, seconds in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
