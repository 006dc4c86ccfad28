"""Several daemons take from one inbox, as hosts do that have it on a share."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import share
from company import Company
from house import House, wait_for
from sampling import generator
from share import Share

SECONDS = float(os.environ.get("OCRD_KILL_SECONDS", "15")) / 2
"""How long daemons are killed, in each of the tests that do."""
READ_AT_ONCE = 4
"""Pages that the simulated engine reads at the same time."""


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def mounts(house: House) -> Iterator[list[Path]]:
    """Show the folders of the house at two more places, as two hosts see a share."""
    if why := share.why_not():
        pytest.skip(why)
    places = [house.root / f"mount {number}" for number in range(2)]
    (house.root / "share").mkdir()
    house.path("").rename(house.root / "share/scans")
    (house.root / "scans").symlink_to("share/scans")
    shares = []
    for place in places:
        place.mkdir()
        shares.append(Share(house.root / "share", place))
    yield places
    for one in shares:
        one.close()


def all_out(company: Company) -> bool:
    return len(company.house.files("archive")) == len(company.pages)


@pytest.mark.parametrize("count", [2, 3])
def test_daemons_on_one_inbox_that_are_killed_at_random_lose_nothing_and_deliver_nothing_twice(
    house: House, count: int
) -> None:
    company, chance = Company(house, dict.fromkeys("abc"[:count], house.root)), generator("company")
    try:
        company.harass(SECONDS, chance)
        dead, *alive = company.names
        wait_for(lambda: list(company.work(dead).glob("*/job.json")) or company.drop(2, chance))
        company.kill(dead)
        left = len(list(company.work(dead).glob("*/job.json")))
        told = company.command(alive[0], "adopt", company.work(dead))
        assert told.returncode == 0, told.stderr
        wait_for(lambda: all_out(company))
        for name in alive:
            assert company.stop(name) == 0
        company.check_end()
        again = company.reads() - sum(company.pages.values())
        assert 0 <= again <= company.kills * READ_AT_ONCE, "only what a dead one was at is read again"
        assert not any(company.events(name, "paused") for name in company.names)
        print(f"{company.kills} kills, {len(company.pages)} scans, {again} pages again, {left} jobs adopted")
    finally:
        company.close()


@pytest.mark.parametrize("copies", [False, True])
def test_on_two_mounts_of_a_share_it_is_the_same(house: House, mounts: list[Path], *, copies: bool) -> None:
    """Also where claims are copies, since inbox and work lie on different mounts."""
    works = dict(zip("ab", mounts, strict=True))
    company = Company(house, dict.fromkeys("ab", house.root) if copies else works, works=works)
    chance = generator("company", copies)
    try:
        company.harass(SECONDS / 2, chance)
        wait_for(lambda: all_out(company))
        for name in company.names:
            assert company.stop(name) == 0
        company.check_end()
        told = [name for name in company.names if "claims copy instead of renaming" in company.log(name)]
        assert told == (["a", "b"] if copies else [])
        print(f"{company.kills} kills, {len(company.pages)} scans")
    finally:
        company.close()


def test_who_is_done_first_takes_the_rest_and_knows_what_the_other_has_delivered(house: House) -> None:
    roots, chance = dict.fromkeys("ab", house.root), generator("company")
    company = Company(house, roots, seconds={"a": 10.0, "b": 0.01}, duplicates="skip")
    try:
        for name in company.names:
            company.start(name)
        wait_for(lambda: all(company.events(name, "ready") for name in company.names))
        company.drop(60, chance)
        wait_for(lambda: sum(len(company.events(name, "delivered")) for name in company.names) == len(company.pages))
        slow, fast = (len(company.events(name, "delivered")) for name in company.names)
        assert slow
        assert fast > 2 * slow
        assert company.stop("a") == 0
        first = str(company.events("a", "delivered")[0]["source"])
        twin = house.path("inbox/twin.pdf")
        twin.with_suffix(".part").write_bytes(house.path(f"archive/{first}").read_bytes())
        twin.with_suffix(".part").rename(twin)
        wait_for(lambda: house.path("archive/twin.pdf").exists())
        wait_for(lambda: company.events("b", "skipped"))
        told = house.command("history", "--json").stdout.splitlines()
        assert not told, "whose configuration has another work folder"
        told = company.command("b", "history", "--json").stdout.splitlines()
        sources = [json.loads(line)["source"] for line in told]
        assert sorted(sources) == [*sorted(company.pages), "twin.pdf"]
        assert "shares its inbox with the ocrd on" in company.command("b", "check").stdout
    finally:
        company.close()


def test_a_daemon_that_is_robbed_while_it_works_loses_nothing(house: House) -> None:
    """As by `ocrd adopt --yes` of a host that was taken for dead."""
    company = Company(house, dict.fromkeys("ab", house.root), seconds={"a": 3.0, "b": 0.01})
    try:
        company.start("a")
        wait_for(lambda: company.events("a", "ready"))
        company.drop(2, generator("company"))
        wait_for(lambda: len(company.events("a", "accepted")) == 2)
        company.start("b")
        wait_for(lambda: company.events("b", "ready"))
        for job in company.work("a").glob("*/job.json"):
            job.parent.rename(company.work("b") / f"adopted-{job.parent.name}")
        wait_for(lambda: all_out(company))
        wait_for(lambda: len(company.events("a", "taken away")) == 2)
        assert not company.events("a", "paused"), "its watch works on"
        assert [company.stop(name) for name in "ab"] == [0, 0]
        company.check_end()
    finally:
        company.close()
