"""The whole daemon over the real engine: the true architecture with random weights, on the CPU."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from house import OCRD, stop, wait_for
from vllm_house import SMALL, VllmHouse

from ocrd.config.vllm import VllmSettings


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, settings: VllmSettings) -> Iterator[VllmHouse]:
    house = VllmHouse(tmp_path_factory.mktemp("daemon"))
    house.begin(settings)
    yield house
    house.close()


def test_one_engine_serves_batch_after_batch_outlives_its_own_death_and_stops_with_work_in_flight(
    house: VllmHouse,
) -> None:
    daemon = house.start()
    house.ready()
    first = house.engine()
    assert first
    for batch in (1, 2):
        for name in ("a", "b"):
            house.drop(f"{name}{batch}.pdf", 2, size=SMALL)
        wait_for(lambda batch=batch: len(house.files("archive")) == 2 * batch, 300)
    assert house.engine() == first, "the engine stays resident"

    second = subprocess.run(
        [OCRD, "run", "-c", house.root / "ocrd.yaml"], capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == os.EX_IOERR, "two daemons on one work folder"

    for number in range(3):
        house.drop(f"c{number}.pdf", 2, size=SMALL)
    wait_for(lambda: house.pages_kept() >= 1, 300)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: len(house.files("archive")) == 7, 600)
    assert house.engine() not in (None, first)
    assert house.files("error") == []
    assert len(house.files("outbox")) == 7

    house.drop("long.pdf", 12, size=SMALL)
    wait_for(lambda: house.pages_kept() >= 2, 600)
    assert stop(daemon, 120) == 0
    [job] = house.jobs()
    assert json.loads(job.read_text())["attempts"] == 0
    assert (job.parent / "source.pdf").exists()
    assert house.engine() is None


def test_a_kill_leaves_no_engine_and_what_was_begun_is_read_on(house: VllmHouse) -> None:
    kept = house.pages_kept()
    daemon = house.start()
    wait_for(lambda: house.pages_kept() > kept, 600)
    daemon.kill()
    daemon.wait()
    wait_for(lambda: house.engine() is None, 15)

    daemon = house.start()
    wait_for(lambda: "long.pdf" in house.files("archive"), 600)
    text = house.path("outbox/long.md").read_text()
    assert [f"<!-- page {n} -->" in text for n in range(1, 13)] == [True] * 12
    assert house.files("error") == []
    assert stop(daemon, 120) == 0
