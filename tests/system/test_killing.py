"""The running daemon is killed at random under load, with real Tesseract processes at work."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House
from killing import Killer
from sampling import generator

SECONDS = float(os.environ.get("OCRD_KILL_SECONDS", "15"))
"""How long it is killed."""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    house.configure(engine={"kind": "cpu", "cpu": {"languages": ["eng"], "workers": 1}})
    yield house
    house.close()


def test_a_daemon_that_is_killed_at_random_loses_nothing(house: House) -> None:
    killer = Killer(house, generator("kills"), (200, 120))
    killer.work(SECONDS, longest_life=12.0)
    assert house.start("once").wait(600) == 0
    killer.check_end()
    print(f"{killer.kills} kills, {killer.workers_killed} of workers, {len(house.files('archive'))} sources")
