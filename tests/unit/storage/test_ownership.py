"""Whose a work folder is, across hosts."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import share
from share import Share
from spool_house import House

from ocrd.config.schema import Watch
from ocrd.errors import SpoolError
from ocrd.storage import ownership
from ocrd.storage.ownership import Owner
from ocrd.storage.spool import Spool

ELSEWHERE = Owner("scans", "elsewhere", "another machine", "another boot", 1, 2, "2026-01-02T03:04:05+00:00")


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path)
    house.spool = Spool("scans", house.inbox, house.work, among_others=True)
    return house


@pytest.fixture
def shared(house: House) -> Iterator[Path]:
    """Give the work folder as it is seen on a share."""
    if why := share.why_not():
        pytest.skip(why)
    mounted = house.root / "mounted"
    mounted.mkdir()
    served = Share(house.root, mounted)
    yield mounted / "work"
    served.close()


def put(work: Path, owner: Owner, name: str = ownership.RECORD) -> None:
    (work / name).write_text(json.dumps(asdict(owner)))


def test_who_takes_a_folder_says_so_and_who_leaves_it_too(house: House) -> None:
    house.spool.open()
    owner = ownership.owner_of(house.work)
    assert owner
    assert (owner.watch, owner.pid, owner.has_left) == ("scans", os.getpid(), False)
    assert owner.is_this_process
    house.spool.close()
    assert ownership.owner_of(house.work) == replace(owner, has_left=True)
    house.spool.open()
    assert sorted(os.listdir(house.work)) == [ownership.RECORD]
    house.spool.close()


def test_on_a_share_a_folder_that_another_host_has_is_refused(house: House, shared: Path) -> None:
    put(house.work, ELSEWHERE)
    for _ in range(2):  # it stays so, and no lock is left behind
        with pytest.raises(SpoolError, match=r"that of elsewhere, since 2026-01-02T03:04:05\+00:00"):
            Spool("scans", shared.parent / "inbox", shared).open()
    assert ownership.owner_of(house.work) == ELSEWHERE


def test_on_a_share_a_folder_that_another_host_has_left_is_taken(house: House, shared: Path) -> None:
    put(house.work, ELSEWHERE, ownership.LEFT)
    spool = Spool("scans", shared.parent / "inbox", shared)
    spool.open()
    assert os.listdir(house.work) == [ownership.RECORD]
    spool.close()


@pytest.mark.parametrize("on_share", [False, True])
def test_a_daemon_of_this_machine_that_died_keeps_nobody_out(house: House, shared: Path, *, on_share: bool) -> None:
    house.spool.open()
    mine = ownership.owner_of(house.work)
    house.spool.close()
    assert mine
    for dead in (replace(mine, started=1), replace(mine, boot="an earlier one", started=1)):
        put(house.work, dead)
        spool = Spool("scans", house.inbox, shared if on_share else house.work, among_others=True)
        spool.open()
        spool.close()


def test_a_daemon_of_this_machine_that_has_the_share_mounted_another_time_is_noticed(
    house: House, shared: Path
) -> None:
    """Its lock is not seen there: each mount has locks of its own."""
    house.spool.open()
    mine = ownership.owner_of(house.work)
    assert mine
    put(house.work, replace(mine, pid=os.getppid(), started=ownership.processes.started(os.getppid())))
    with pytest.raises(SpoolError, match="Another ocrd may be working"):
        Spool("scans", house.inbox, shared).open()
    house.spool.close()
    assert not (house.work / ownership.LEFT).exists(), "who is not the owner gives nothing up"


def test_on_a_disk_of_this_machine_the_lock_is_proof_enough(house: House) -> None:
    put(house.work, ELSEWHERE)
    house.spool.open()
    assert ownership.owner_of(house.work) != ELSEWHERE
    house.spool.close()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"watch": 1}', "\0"])
def test_a_record_that_is_damaged_is_none_and_keeps_nobody_out(house: House, text: str) -> None:
    (house.work / ownership.RECORD).write_text(text)
    assert ownership.owner_of(house.work) is None
    house.spool.open()
    owner = ownership.owner_of(house.work)
    assert owner
    assert owner.is_this_process
    house.spool.close()


def test_daemons_are_beside_each_other_in_a_folder_that_holds_nothing_else(tmp_path: Path) -> None:
    folders = {role: str(tmp_path / "scans" / role) for role in ("inbox", "outbox", "archive", "error")}
    watch = Watch(name="scans", work=str(tmp_path / "work/a"), **folders)
    assert ownership.beside(watch) == []
    for name, served in (("a", "scans"), ("b", "scans"), ("c", "other"), ("d", "scans")):
        (tmp_path / "work" / name).mkdir(parents=True)
        put(tmp_path / "work" / name, replace(ELSEWHERE, watch=served), ownership.LEFT if name == "d" else "owner.json")
    (tmp_path / "work/e").mkdir()
    assert ownership.beside(watch) == [tmp_path / "work/b", tmp_path / "work/d"]
    near = watch.model_copy(update={"work": tmp_path / "scans/work"})
    assert ownership.beside(near) == []
