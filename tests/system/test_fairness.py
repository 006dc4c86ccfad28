"""One file that comes behind a backlog, in its own inbox or in another one, does not wait for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from house import House, stop, wait_for

BACKLOG = 250
EACH = 120
"""Documents of two priorities."""
AHEAD = 100
"""So many documents may come out between the drop of a lone file and its delivery: what is rendered and read already,
and what is claimed and examined while it settles."""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    house.configure(("full", "other"), tally="/dev/null", seconds=0.15)
    yield house
    house.close()


def delivered(house: House) -> list[str]:
    """The names of all that was delivered, in this order."""
    return [str(line["source"]) for line in house.events("delivered")]


@pytest.mark.parametrize("watch", ["full", "other"])
def test_a_lone_file_goes_before_a_backlog(house: House, watch: str) -> None:
    for number in range(BACKLOG):
        house.drop(f"{number}.pdf", watch="full")
    daemon = house.start()
    wait_for(lambda: len(delivered(house)) >= 20)
    house.drop("lone.pdf", watch=watch)
    before = len(delivered(house))
    wait_for(lambda: "lone.pdf" in delivered(house))
    assert delivered(house).index("lone.pdf") - before <= AHEAD
    assert stop(daemon) == 0


def test_a_high_priority_goes_before_a_low_one_which_comes_on_all_the_same(house: House) -> None:
    config = yaml.safe_load((house.root / "ocrd.yaml").read_text())
    for watch, priority in zip(config["watches"], ("low", "high"), strict=True):
        watch["priority"] = priority
    (house.root / "ocrd.yaml").write_text(yaml.safe_dump(config))
    for number in range(EACH):
        for watch in ("full", "other"):
            house.drop(f"{watch}-{number}.pdf", watch=watch)
    daemon = house.start()
    wait_for(lambda: len(house.told("delivered", "other")) == EACH, 180)
    low = [name.startswith("full") for name in delivered(house)]
    while low[-1]:
        low.pop()  # behind the last high one
    assert EACH / 10 < sum(low) < EACH * 2 / 3, f"{sum(low)} of low came before the last of {EACH} of high"
    assert stop(daemon) == 0
