"""A configuration with its folders, and real daemons started on it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import preloaded
import pymupdf
import yaml
from preloaded import MODULES

SUPPORT = Path(__file__).parent
OCRD = Path(sys.executable).with_name("ocrd")

Daemon = subprocess.Popen[bytes] | preloaded.Process


class House:
    """A configuration with its folders, and the daemons started on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tally = root / "tally"
        self.log = root / "log"
        self._daemons: list[Daemon] = []
        self.configure()

    def configure(
        self,
        names: tuple[str, ...] = ("scans",),
        engine: dict[str, Any] | None = None,
        *,
        settle: dict[str, Any] | None = None,
        service: dict[str, Any] | None = None,
        watch: dict[str, Any] | None = None,
        **options: object,
    ) -> None:
        """Write the configuration: the simulated engine with these options, unless another is given.

        `settle` and `service` are further settings of these sections, `watch` of every watch.
        """
        watches = [
            {"name": name, "pages": {"text_layer": "ignore"}}
            | {role: f"{name}/{role}" for role in ("inbox", "outbox", "archive", "error")}
            | (watch or {})
            for name in names
        ]
        for name in names:
            (self.root / name / "inbox").mkdir(parents=True, exist_ok=True)
        engine = engine or {"kind": "simulated:create", "options": {"tally": str(self.tally), **options}}
        config = {
            "engine": engine,
            "settle": {"quiet": "200ms"} | (settle or {}),
            "service": service or {},
            "batch": {"quiet": "100ms"},
            "render": {"workers": 1},
            "log": {"format": "json"},
            "watches": watches,
        }
        (self.root / "ocrd.yaml").write_text(yaml.safe_dump(config))

    def start(self, command: str = "run", *, env: Mapping[str, str] | None = None, **how: Any) -> Daemon:
        """Start a daemon, with more environment and with options of Popen."""
        environment = {"XDG_RUNTIME_DIR": str(self.root / "run"), **os.environ, **(env or {}), "PYTHONPATH": MODULES}
        with self.log.open("ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stderr": log}
            program = [OCRD, command, "-c", self.root / "ocrd.yaml"]
            daemon = preloaded.start(program, env=environment, **(streams | how))
        self._daemons.append(daemon)
        return daemon

    def command(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, **options: Any
    ) -> preloaded.Completed:
        """Run a command on the configuration to its end, with more environment and with options of Popen."""
        environment = {**os.environ, **(env or {}), "PYTHONPATH": MODULES}
        return preloaded.run([OCRD, *arguments, "-c", self.root / "ocrd.yaml"], env=environment, **options)

    def drop(self, name: str, pages: int = 1, watch: str = "scans", size: tuple[int, int] = (595, 842)) -> None:
        """Drop a PDF with pages of this size in points."""
        document = pymupdf.open()
        for number in range(pages):
            document.new_page(width=size[0], height=size[1]).insert_text((20, 40), f"{name} {number}")
        part = self.root / watch / "inbox" / f"{name}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        document.save(part)
        part.rename(part.with_suffix(""))

    def path(self, name: str, watch: str = "scans") -> Path:
        return self.root / watch / name

    def files(self, role: str, watch: str = "scans") -> list[str]:
        folder = self.root / watch / role
        return sorted(str(path.relative_to(folder)) for path in files_below(folder))

    def events(self, event: str) -> list[dict[str, object]]:
        """Return the lines of the log about this, as far as they are written whole."""
        written = self.log.read_bytes() if self.log.exists() else b""
        lines = written[: written.rfind(b"\n") + 1].decode().splitlines()
        name = json.dumps(event)  # only such lines are parsed: a test that waits looks here again and again
        told = [json.loads(line) for line in lines if line.startswith("{") and name in line]  # libraries print, too
        return [line for line in told if line["event"] == event]

    def told(self, event: str, watch: str) -> list[dict[str, object]]:
        return [line for line in self.events(event) if line.get("watch") == watch]

    def reads(self) -> list[int]:
        return [int(line) for line in self.tally.read_text().split()] if self.tally.exists() else []

    def jobs(self) -> list[Path]:
        return sorted((self.root / "scans" / ".inbox.ocrd-work").glob("*/job.json"))

    def close(self) -> None:
        for daemon in self._daemons:
            if daemon.poll() is None:
                daemon.kill()
            daemon.wait()


def files_below(folder: Path) -> list[Path]:
    """List the files in a folder and below it, while a daemon may move them, and remove folders (unlike `rglob`)."""
    paths = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return [path for path in paths if path.is_file()]


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def stop(daemon: Daemon, seconds: float = 120) -> int:
    daemon.terminate()
    return daemon.wait(timeout=seconds)
