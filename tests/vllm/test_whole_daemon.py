"""The whole daemon over the real engine: the true architecture with random weights, on the CPU."""

import json
import os
import signal
from collections.abc import Iterator

import pytest
from house import stop, wait_for
from proc import children
from vllm_house import SMALL, VllmHouse

from ocrd.concurrency import processes
from ocrd.config.vllm import VllmSettings

LONG = 24
"""Pages of a source that is not read to its end before what befalls the daemon."""


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

    assert house.start().wait(120) == os.EX_IOERR, "two daemons on one work folder"

    for number in range(3):
        house.drop(f"c{number}.pdf", 2, size=SMALL)
    wait_for(lambda: house.pages_kept() >= 1, 300)
    os.kill(first, signal.SIGKILL)
    house.drop("d.pdf", size=SMALL)
    wait_for(lambda: len(house.files("archive")) == 8, 600)
    assert house.engine() not in (None, first)
    assert house.files("error") == []
    assert len(house.files("outbox")) == 8

    house.drop("long.pdf", LONG, size=SMALL)
    wait_for(lambda: house.pages_kept() >= 2, 600)
    assert stop(daemon, 120) == 0
    [job] = house.jobs()
    assert json.loads(job.read_text())["attempts"] == 0
    assert (job.parent / "source.pdf").exists()
    assert house.engine() is None


def test_no_engine_outlives_a_killed_daemon_and_what_was_begun_is_read_on(house: VllmHouse) -> None:
    kept = house.pages_kept()
    daemon = house.start()
    wait_for(lambda: house.pages_kept() > kept, 600)
    engine = house.engine()
    assert engine
    family = [engine, *children(engine)]
    assert len(family) > 1, "it has workers"
    daemon.kill()
    daemon.wait()
    wait_for(lambda: not [pid for pid in family if processes.started(pid) > 0])
    assert house.engine() is None

    daemon = house.start()
    wait_for(lambda: "long.pdf" in house.files("archive"), 600)
    text = house.path("outbox/long.md").read_text()
    assert [f"<!-- page {n} -->" in text for n in range(1, LONG + 1)] == [True] * LONG
    assert house.files("error") == []
    assert stop(daemon, 120) == 0
