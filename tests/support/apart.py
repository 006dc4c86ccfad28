"""An engine whose pages are read by a process of its own, so that it can be stopped like a real one."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from simulated import small_page

from ocrd.engines.base import EngineInfo
from ocrd.errors import EngineError
from ocrd.model import Approach, PageImage, PageSizer, Reading, Rung

_READER = """
import sys, time
for line in sys.stdin:
    time.sleep(float(sys.argv[1]))
    print("page", int(line) + 1, flush=True)
"""


class ApartEngine:
    """Asks its process for the text of each page, one at a time."""

    def __init__(self, seconds: float, pid_file: Path | None, start: float, hangs: Path | None = None) -> None:
        self._seconds = seconds
        self._start = start
        self._pid_file = pid_file
        self._hangs = hangs
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    @property
    def info(self) -> EngineInfo:
        return EngineInfo("apart", "none", "1", "apart-1")

    @property
    def window(self) -> int:
        return 2

    @property
    def prepare(self) -> None:
        """RGB is taken."""

    @property
    def page_size(self) -> PageSizer:
        return small_page

    @property
    def rungs(self) -> dict[Rung, Approach]:
        return {}

    async def start(self) -> None:
        await asyncio.sleep(self._start)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _READER, str(self._seconds),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        if self._pid_file:
            self._pid_file.write_text(str(self._process.pid))
        print("the engine's own words")  # as libraries do
        print("WARNING: the engine warns", file=sys.stderr)

    async def read(self, page: PageImage, **_: object) -> Reading:
        assert self._process
        assert self._process.stdin
        assert self._process.stdout
        if self._hangs and not self._hangs.exists():
            self._hangs.touch()
            time.sleep(600)  # noqa: ASYNC251 - a defect: nothing in the event loop turns any more
        async with self._turn:
            self._process.stdin.write(f"{page.index}\n".encode())
            text = await self._process.stdout.readline()
        if not text:
            raise EngineError("The engine's process is gone.", "Start it again.")
        return Reading(page.index, text.decode().strip(), "stop", 2, self._seconds)

    async def close(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def create(options: dict[str, Any]) -> ApartEngine:
    """Be the factory that a configuration can name.

    Options: `seconds` a page, `pid` (a file that names its process), `start` (seconds that it loads), `hangs` (a file:
    while it is not there, the first page makes it, and holds up the whole event loop).
    """
    pid_file = Path(options["pid"]) if "pid" in options else None
    hangs = Path(options["hangs"]) if "hangs" in options else None
    return ApartEngine(options.get("seconds", 0.0), pid_file, options.get("start", 0.0), hangs)
