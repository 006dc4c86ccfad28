"""The running daemon is killed at random, from its first instant on, while the real engine starts and reads."""

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
from house import wait_for
from killing import Killer
from sampling import generator
from vllm_house import SMALL, VllmHouse

from ocrd.config.vllm import VllmSettings

SECONDS = float(os.environ.get("OCRD_KILL_SECONDS", "25"))
"""How long it is killed."""
DYING = 60.0
"""Seconds that processes may take to die, on a machine with other things to do."""


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory, settings: VllmSettings) -> Iterator[VllmHouse]:
    house = VllmHouse(tmp_path_factory.mktemp("kills"))
    house.begin(settings)
    yield house
    house.close()


def test_a_daemon_over_vllm_that_is_killed_at_random_loses_nothing_and_leaves_no_process(house: VllmHouse) -> None:
    def nothing_is_left() -> None:
        """See that all of a dead daemon dies with it, so that the next finds the card free."""
        with suppress(AssertionError):
            wait_for(lambda: not house.processes(), DYING)
        assert house.processes() == []

    killer = Killer(house, generator("kills"), SMALL)
    killer.work(SECONDS, longest_life=40.0, after=nothing_is_left)
    read = len(house.files("outbox"))
    assert house.start("once").wait(900) == 0
    nothing_is_left()
    killer.check_end()
    print(f"{killer.kills} kills, {killer.workers_killed} of children, {read} of {len(house.files('archive'))} read")
