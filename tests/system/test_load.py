"""Thousands of files dropped at once, more than the kernel keeps events for: all come out, and nothing grows."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from house import House, stop, wait_for
from load import Usage, drop_at_once, watch_over

FILES = int(os.environ.get("OCRD_LOAD_FILES", "500"))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    house.configure(tally="/dev/null")
    yield house
    house.close()


def test_thousands_of_files_at_once_all_come_out_and_nothing_grows(house: House) -> None:
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    drop_at_once(house, daemon, FILES)
    seen: list[Usage] = []
    for usage in watch_over(house, daemon, 1):
        if not seen or usage.done in range(seen[-1].done + FILES // 20, FILES) or usage.done == FILES:
            seen.append(usage)
            print(usage)
        if usage.done == FILES:
            break
        assert daemon.poll() is None
    assert stop(daemon) == 0
    assert len(house.files("outbox")) == FILES
    assert house.files("error") == house.files("inbox") == []
    assert "events were lost" in house.log.read_text()
    quarters = [next(usage for usage in seen if usage.done >= FILES * part / 4) for part in (1, 2, 3, 4)]
    assert quarters[3].rss <= quarters[0].rss + 16
    assert quarters[3].files <= quarters[0].files + 4
    assert quarters[3].threads <= quarters[0].threads + 2
    assert quarters[3].children_rss <= quarters[0].children_rss + 64
    costs = [(b.cpu - a.cpu) / (b.done - a.done) for a, b in pairwise(quarters)]
    assert costs[-1] < 2 * costs[0], f"seconds of a core for each file: {costs}"
