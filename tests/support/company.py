"""Several daemons on one inbox, each with a work folder of its own, which are killed at random."""

import json
import os
import random
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import preloaded
import yaml
from house import OCRD, Daemon, House, wait_for
from preloaded import MODULES

PAGES = (1, 1, 1, 2, 5)
"""Scans have so many pages, by chance."""


class Company:
    """Daemons with names of their own, whose folders one house has; each sees them at a `root` of its own."""

    def __init__(
        self,
        house: House,
        roots: dict[str, Path],
        *,
        works: dict[str, Path] | None = None,
        seconds: dict[str, float] | None = None,
        **of_watch: object,
    ) -> None:
        """Take the root of each by its name, and that of its work folder if it is another one.

        The engine of each takes so many `seconds` for a page.
        """
        self.house = house
        self._running: dict[str, Daemon] = {}
        self._started: list[Daemon] = []
        self._told_before: dict[str, int] = {}
        """How much of each log is of earlier lives."""
        self.pages: dict[str, int] = {}
        """Of each scan that was dropped."""
        self.kills = 0
        config = yaml.safe_load((house.root / "ocrd.yaml").read_text())
        config |= {"max_attempts": 10**6, "settle": {"quiet": "100ms", "poll": "200ms"}}
        config["batch"]["max_pages"] = 40 if seconds is None else 4
        for name, root in roots.items():
            watch = config["watches"][0]
            watch |= of_watch
            watch |= {role: str(root / "scans" / role) for role in ("inbox", "outbox", "archive", "error")}
            watch["work"] = str((works or roots)[name] / "scans/.work" / f"{{host}}-{name}")
            config["engine"]["options"] |= {
                "tally": str(house.root / f"tally-{name}"),
                "seconds": (seconds or {}).get(name, 0.05),
            }
            self.config(name).write_text(yaml.safe_dump(config))
        self.names = tuple(roots)

    def config(self, name: str) -> Path:
        return self.house.root / f"{name}.yaml"

    def work(self, name: str) -> Path:
        """Where the jobs of a daemon are, whether it runs or not."""
        return self.house.root / "scans/.work" / f"{socket.gethostname()}-{name}"

    def log(self, name: str) -> str:
        path = self.house.root / f"log-{name}"
        return path.read_text() if path.exists() else ""

    def start(self, name: str) -> None:
        self._told_before[name] = len(self.log(name))
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.house.root / "run" / name), "PYTHONPATH": MODULES}
        with (self.house.root / f"log-{name}").open("ab") as log:
            program = [OCRD, "run", "-c", self.config(name)]
            daemon = preloaded.start(program, env=environment, stdin=subprocess.DEVNULL, stderr=log)
        self._running[name] = daemon
        self._started.append(daemon)

    def kill(self, name: str) -> None:
        if daemon := self._running.pop(name, None):
            daemon.kill()
            daemon.wait()
            self.kills += 1

    def stop(self, name: str) -> int:
        daemon = self._running.pop(name)
        daemon.terminate()
        return daemon.wait(timeout=120)

    def command(self, name: str, *arguments: str | Path) -> preloaded.Completed:
        """Run a command with the configuration of one of them."""
        return preloaded.run([OCRD, *arguments, "-c", self.config(name)], env={**os.environ, "PYTHONPATH": MODULES})

    def drop(self, count: int, chance: random.Random) -> None:
        for _ in range(count):
            name = f"{len(self.pages):04}.pdf"
            self.pages[name] = chance.choice(PAGES)
            self.house.drop(name, self.pages[name], size=(120, 80))

    def harass(self, seconds: float, chance: random.Random) -> None:
        """For so long drop scans, kill one daemon after the other and start it again; in the end all run."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.drop(chance.randint(1, 6), chance)
            for name in self.names:
                if name not in self._running:
                    self.start(name)
            end = time.monotonic() + chance.uniform(0.2, 2.0)
            wait_for(lambda end=end: time.monotonic() > end, 120)
            self.kill(chance.choice(self.names))
            self.check()
        for name in self.names:
            if name not in self._running:
                self.start(name)
        wait_for(lambda: all('"ready"' in self.log(name)[before:] for name, before in self._told_before.items()))

    def check(self) -> None:
        """Assert that each scan is somewhere, and each result is whole, while daemons work on."""
        for _ in range(10):  # one may move from a folder that is looked at later to one that was looked at before
            found = self._found()
            if not self.pages.keys() - found:
                break
        assert self.pages.keys() - found == set()
        for sidecar in self.house.path("outbox").glob("*.md"):
            assert sidecar.read_text().count("<!-- page ") == self.pages[f"{sidecar.stem}.pdf"], (
                f"{sidecar} is not whole"
            )

    def _found(self) -> set[str]:
        asides = {path.name[len(".ocrd-") :].rpartition("-")[0] for path in self.house.path("inbox").glob("*.taken")}
        places = [self.house.path(role) for role in ("inbox", "archive", "error")]
        found = {path.name for place in places for path in place.rglob("*.pdf")}
        for job in self.house.path(".work").glob("*/*/job.json"):
            try:
                if job.parent.name in asides or any(job.parent.glob("source*")):
                    found.add(json.loads(job.read_text())["name"])
            except FileNotFoundError:
                continue
        return found

    def check_end(self) -> None:
        """Assert that each scan came out, once."""
        assert self.house.files("archive") == sorted(self.pages)
        assert self.house.files("error") == []
        assert self.house.files("inbox") == []
        assert self.house.files("outbox") == sorted(name.replace(".pdf", ".md") for name in self.pages)
        assert not list(self.house.path(".work").glob("*/*/job.json"))
        self.check()
        told = Counter(str(line["source"]) for name in self.names for line in self.events(name, "delivered"))
        assert set(told.values()) == {1}, "no scan is delivered by two daemons"

    def events(self, name: str, event: str) -> list[dict[str, object]]:
        lines = (json.loads(line) for line in self.log(name).splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == event]

    def reads(self) -> int:
        """Count the pages that were read, also those of daemons that died then."""
        tallies = [self.house.root / f"tally-{name}" for name in self.names]
        return sum(len(tally.read_text().split()) for tally in tallies if tally.exists())

    def close(self) -> None:
        for daemon in self._started:
            if daemon.poll() is None:
                daemon.kill()
            daemon.wait()
