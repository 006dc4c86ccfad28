"""One run of a program of the owner's, bounded in its time and in what it prints."""

import json
import os
import select
import signal
import subprocess
import threading
import time
from contextlib import suppress

from ocrd.daemon.hook_facts import Facts, variables

LOGGED, LINES = 16 * 1024, 50
"""Bytes and lines of a program's output that go to the log, at most."""
_LOOK = 0.1
"""Seconds between two looks whether a program is to be ended."""


class Program:
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
