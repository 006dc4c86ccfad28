"""Whose a work folder is, across hosts."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import share
from share import Share
from spool_house import House

from ocrd.config.watch import Watch
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


def test_on_the_file_servers_own_disk_the_lock_proves_nothing_against_who_has_it_as_a_share(house: House) -> None:
    put(house.work, replace(ELSEWHERE, on_share=True))
    with pytest.raises(SpoolError, match="that of elsewhere"):
        house.spool.open()


def test_without_a_machine_id_a_name_is_no_proof_that_it_is_the_same_machine(house: House, shared: Path) -> None:
    """Two containers on two hosts may well be called alike."""
    put(house.work, replace(ELSEWHERE, host=socket.gethostname(), machine=""))
    with pytest.raises(SpoolError, match="Another ocrd may be working"):
        Spool("scans", house.inbox, shared).open()


def test_of_two_that_find_a_folder_free_one_gets_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other may not see the record yet, as a client of NFS that still knows there was none."""
    house.spool.open()
    mine = ownership.owner_of(house.work)
    monkeypatch.setattr(ownership, "owner_of", lambda _: None)
    monkeypatch.setattr(ownership, "is_there", lambda _: False)
    with pytest.raises(SpoolError, match="has just taken"):
        ownership.take(house.work, "scans")
    monkeypatch.undo()
    assert ownership.owner_of(house.work) == mine
    house.spool.close()


def test_a_record_of_a_later_version_is_understood(house: House) -> None:
    (house.work / ownership.RECORD).write_text(json.dumps(asdict(ELSEWHERE) | {"later": 1}))
    assert ownership.owner_of(house.work) == ELSEWHERE


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "5", '{"watch": 1}', json.dumps(asdict(ELSEWHERE) | {"host": 1}), "\0"]
)
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
    watch = Watch(name="scans", work=str(tmp_path / "work/{host}"), **folders)
    assert ownership.beside(watch) == {}
    own = watch.work_folder.name
    for name, served in ((own, "scans"), ("b", "scans"), ("c", "other"), ("d", "scans")):
        (tmp_path / "work" / name).mkdir(parents=True)
        put(tmp_path / "work" / name, replace(ELSEWHERE, watch=served), ownership.LEFT if name == "d" else "owner.json")
    (tmp_path / "work/e").mkdir()
    (tmp_path / "work/f").write_text("no folder")
    left = replace(ELSEWHERE, has_left=True)
    assert ownership.beside(watch) == {tmp_path / "work/b": ELSEWHERE, tmp_path / "work/d": left}
    alone = watch.model_copy(update={"work": tmp_path / "work" / own})
    assert ownership.beside(alone) == {}, "whose configuration says nothing of other hosts"


def test_a_folder_that_may_not_be_looked_into_is_nobodys(
    tmp_path: Path, run_python: Callable[..., Any], plain_user: dict[str, Any]
) -> None:
    for name in ("a", "b"):
        (tmp_path / "work" / name).mkdir(parents=True)
        put(tmp_path / "work" / name, ELSEWHERE)
    (tmp_path / "work/b").chmod(0)
    look = (
        "import sys; from ocrd.config.watch import Watch; from ocrd.storage import ownership\n"
        "roles = {role: f'/nowhere/{role}' for role in ('inbox', 'outbox', 'archive', 'error')}\n"
        "watch = Watch(name='scans', work=f'{sys.argv[1]}/{{host}}', **roles)\n"
        "print(*(path.name for path in ownership.beside(watch)))"
    )
    told = run_python("-c", look, tmp_path / "work", **plain_user)
    assert told.stdout == "a\n"
