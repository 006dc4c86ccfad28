"""Daemons over the real engine: the true architecture with random weights, on the CPU."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from house import Daemon, House, wait_for

from ocrd.config.vllm import VllmSettings
from ocrd.engines.vllm.process_guard import pid_in

SMALL = (140, 140)
"""Points: a page that fits one tile of the model, the quickest to read."""


class VllmHouse(House):
    """Daemons over vLLM, which keep the records of their engines here."""

    def begin(self, settings: VllmSettings) -> None:
        """Write the configuration, with this engine."""
        self.runtime.mkdir()
        once = {"pages": {"text_layer": "ignore", "second_readings": []}}  # noise would be read again and again
        self.configure(
            engine={"kind": "vllm", "vllm": settings.model_dump(mode="json")},
            service={"drain": "1s"},  # so that a stop finds work that it must leave
            watch=once,
        )

    @property
    def runtime(self) -> Path:
        return self.root / "run"

    def start(self, command: str = "run", *, env: Mapping[str, str] | None = None, **how: Any) -> Daemon:
        return super().start(command, env={"XDG_RUNTIME_DIR": str(self.runtime), **(env or {})}, **how)

    def records(self) -> list[Path]:
        return list((self.runtime / "ocrd/engines").glob("*/engine.pid"))

    def engine(self) -> int | None:
        """The process id of the engine that runs."""
        return next((pid for pid in map(pid_in, self.records()) if pid), None)

    def ready(self, times: int = 1) -> None:
        wait_for(lambda: len(self.events("ready")) >= times, 300)

    def pages_kept(self) -> int:
        return len(list((self.root / "scans" / ".inbox.ocrd-work").glob("*/pages/*.json")))

    def processes(self) -> list[str]:
        """All that was started here and lives, whoever its parent is now: process ids with their command lines.

        Known by a file below our folder that it holds, or by its environment, which some write a title over.
        """
        return [f"{one.name}: {_told(one)}" for one in Path("/proc").glob("[0-9]*") if self._is_ours(one)]

    def _is_ours(self, process: Path) -> bool:
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            held = [os.readlink(file) for file in (process / "fd").iterdir()]
            ours = os.fsencode(f"XDG_RUNTIME_DIR={self.runtime}")
            return process.name != str(os.getpid()) and (
                ours in (process / "environ").read_bytes().split(b"\0")
                or any(file.startswith(str(self.root)) for file in held)
            )
        return False


def _told(process: Path) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return "gone meanwhile"
