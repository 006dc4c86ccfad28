"""The whole daemon over the real engine: the true architecture with random weights, on the CPU."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import OCRD, House, stop, wait_for

from ocrd.engines.tether import pid_in
from ocrd.vllm_settings import VllmSettings

SMALL = (140, 140)
"""Points: a page that fits one tile of the model, the quickest to read."""


class VllmHouse(House):
    """Daemons over vLLM, with the record of their engine."""

    def records(self) -> list[Path]:
        return list((self.root / "run" / "ocrd-engines").glob("*/engine.pid"))

    def engine(self) -> int | None:
        """The process id of the engine that runs."""
        return next((pid for pid in map(pid_in, self.records()) if pid), None)

    def ready(self, times: int = 1) -> None:
        wait_for(lambda: len(self.events("ready")) >= times, 300)

    def pages_kept(self) -> int:
        return len(list((self.root / "scans" / ".inbox.ocrd-work").glob("*/pages/*.json")))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, settings: VllmSettings) -> Iterator[VllmHouse]:
    root = tmp_path_factory.mktemp("daemon")
    (root / "run").mkdir()
    os.environ["XDG_RUNTIME_DIR"] = str(root / "run")
    house = VllmHouse(root)
    once = {"pages": {"text_layer": "ignore", "second_readings": []}}  # noise would be read again and again
    house.configure(
        engine={"kind": "vllm", "vllm": settings.model_dump(mode="json")},
        service={"drain": "1s"},  # so that a stop finds work that it must leave
        watch=once,
    )
    yield house
    house.close()


def test_one_engine_serves_batch_after_batch_and_outlives_its_own_death(house: VllmHouse) -> None:
    daemon = house.start()
    house.ready()
    first = house.engine()
    assert first
    for batch in (1, 2):
        for name in ("a", "b"):
            house.drop(f"{name}{batch}.pdf", 2, size=SMALL)
        wait_for(lambda batch=batch: len(house.files("archive")) == 2 * batch, 120)
    assert house.engine() == first, "the engine stays resident"

    second = subprocess.run(
        [OCRD, "run", "-c", house.root / "ocrd.yaml"], capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == os.EX_IOERR, "two daemons on one work folder"

    for number in range(3):
        house.drop(f"c{number}.pdf", 2, size=SMALL)
    wait_for(lambda: house.pages_kept() >= 1, 120)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: len(house.files("archive")) == 7, 400)
    assert house.engine() not in (None, first)
    assert house.files("error") == []
    assert len(house.files("outbox")) == 7
    assert stop(daemon, 60) == 0
    assert house.engine() is None


def test_a_stop_with_work_in_flight_loses_nothing_and_a_kill_leaves_no_engine(house: VllmHouse) -> None:
    house.drop("long.pdf", 12, size=SMALL)
    daemon = house.start()
    wait_for(lambda: house.pages_kept() >= 2, 300)
    assert stop(daemon, 60) == 0
    kept = house.pages_kept()
    [job] = house.jobs()
    assert json.loads(job.read_text())["attempts"] == 0
    assert (job.parent / "source.pdf").exists()
    assert house.engine() is None

    daemon = house.start()
    wait_for(lambda: house.pages_kept() > kept, 300)
    daemon.kill()
    daemon.wait()
    wait_for(lambda: house.engine() is None, 15)

    daemon = house.start()
    wait_for(lambda: "long.pdf" in house.files("archive"), 300)
    text = house.path("outbox/long.md").read_text()
    assert [f"<!-- page {n} -->" in text for n in range(1, 13)] == [True] * 12
    assert house.files("error") == []
    assert stop(daemon, 60) == 0
