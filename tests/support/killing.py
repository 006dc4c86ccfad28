"""Daemons killed at random while they work, over and over, and what must hold whenever none runs."""

import hashlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import yaml
from house import Daemon, House, wait_for
from proc import children

PAGES = (1, 1, 1, 2, 3, 7)
"""Sources have so many pages, by chance."""


class Killer:
    """Drops sources into a house and kills its daemons."""

    def __init__(self, house: House, chance: random.Random, size: tuple[int, int]) -> None:
        self._house = house
        self._chance = chance
        self._size = size
        self.kills = 0
        self.workers_killed = 0
        self._pages: dict[str, int] = {}
        config = yaml.safe_load((house.root / "ocrd.yaml").read_text())
        config["max_attempts"] = 10**6  # every death here is ours, and none the source's
        (house.root / "ocrd.yaml").write_text(yaml.safe_dump(config))

    def work(self, seconds: float, *, longest_life: float, after: Callable[[], None] = lambda: None) -> None:
        """Kill for so long; `after` each death something more is asserted."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._drop(self._chance.randint(1, 4))
            daemon = self._house.start()
            end = time.monotonic() + self._chance.uniform(0.3, longest_life)
            wait_for(lambda daemon=daemon, end=end: self._harass(daemon) or time.monotonic() > end, 120 + longest_life)
            self._drop(1)
            daemon.kill()
            daemon.wait()
            self.kills += 1
            after()
            self.check()

    def _harass(self, daemon: Daemon) -> None:
        """Now and then, kill a process of the daemon instead of it."""
        if self._chance.random() < 0.002 and (below := children(daemon.pid)):
            with suppress(ProcessLookupError):
                os.kill(self._chance.choice(below), signal.SIGKILL)
            self.workers_killed += 1

    def _drop(self, count: int) -> None:
        for _ in range(count):
            name = f"{len(self._pages):04}.pdf"
            self._pages[name] = self._chance.choice(PAGES)
            self._house.drop(name, self._pages[name], size=self._size)

    def check(self) -> None:
        """Assert that each source exists once and whole, and each sidecar is complete."""
        work = self._house.path(".inbox.ocrd-work")
        places = [*(self._house.path(role) for role in ("inbox", "archive", "error")), work]
        found = Counter(path.name for place in places[:3] for path in place.rglob("*.pdf"))
        found.update(yaml.safe_load(job.read_text())["name"] for job in work.glob("*/job.json") if _source(job))
        assert found == dict.fromkeys(self._pages, 1)
        for sidecar in self._house.path("outbox").glob("*.md"):
            text = sidecar.read_text()
            assert text.count("<!-- page ") == self._pages[f"{sidecar.stem}.pdf"], f"{sidecar} is not complete"

    def check_end(self) -> None:
        """Assert that all has come out, once."""
        self.check()
        assert self._house.files("archive") == sorted(self._pages)
        assert self._house.files("error") == []
        assert self._house.files("outbox") == sorted(name.replace(".pdf", ".md") for name in self._pages)
        for name in self._pages:
            head = self._house.path(f"outbox/{name}").with_suffix(".md").read_text().split("\n---\n")[0]
            digest = hashlib.sha256(self._house.path(f"archive/{name}").read_bytes()).hexdigest()
            assert f"sha256: {digest}" in head


def _source(job: Path) -> bool:
    return any(job.parent.glob("source*"))
