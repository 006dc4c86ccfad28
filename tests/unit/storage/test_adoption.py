"""The jobs of a daemon that is gone go over to another."""

import json
import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from spool_house import SCAN, House
from test_ownership import ELSEWHERE, put, shared  # noqa: F401 - a fixture

from ocrd.commands import adopt
from ocrd.errors import ConfigError, MachineError, SpoolError
from ocrd.model import FileStamp
from ocrd.storage import durable, locks, ownership, rerun_requests
from ocrd.storage.job import Job, JobRecord, Rerun
from ocrd.storage.spool import Spool


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def dead(house: House) -> Path:
    """Make the work folder of another daemon, as a crash leaves it."""
    work = house.root / "dead"
    work.mkdir()
    spool = Spool("scans", house.inbox, work)
    for name in ("a.pdf", "b.pdf"):
        assert spool.claim(house.drop(name))
    group = Job(work / "20260102T030405-abcdef", JobRecord("scans", "c", None, {"1.jpg": stamp(1), "2.jpg": stamp(2)}))
    group.source.mkdir(parents=True)
    group.begin()
    (group.source / "c1.jpg").write_bytes(SCAN)
    (house.inbox / "c2.jpg").write_bytes(SCAN)
    (work / "20260102T030405-abcde0").mkdir()
    rerun_requests.ask(work, JobRecord("", "old.pdf", FileStamp(1, 2, 3, 4), rerun=Rerun("old.md", (1,))))
    (work / "notify-20260102T030405-abcde1.json").write_text("{}")
    put(work, ELSEWHERE)
    return work


def stamp(number: int) -> FileStamp:
    return FileStamp(1, number, len(SCAN), 4)


def sources(house: House) -> Counter[str]:
    """Count the files of the scans, wherever they lie, by their names as they were dropped."""
    found: Counter[str] = Counter(path.name for path in house.inbox.iterdir())
    for record in house.root.glob("*/*/job.json"):
        job = Job(record.parent, JobRecord.parse(record.read_bytes()))
        found.update(job.record.dropped_as(ending) for ending in job.held)
    return found


def test_what_a_dead_daemon_had_goes_on_and_a_group_that_it_had_half_goes_back(
    house: House, dead: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    adopt.run([house.watch], dead, "", sure=False)
    told = capsys.readouterr().out
    assert f"{dead} has 4 jobs, of the ocrd on elsewhere, which has not given it free; taken 2026-01-02" in told
    assert f"3 jobs went to {house.work}: ocrd here goes on with it when it is started." in told
    assert sorted(os.listdir(dead)) == [ownership.LEFT]
    jobs = house.recover()
    assert sorted(job.record.name for job in jobs) == ["a.pdf", "b.pdf", "old.pdf"]
    assert sorted(os.listdir(house.inbox)) == ["c1.jpg", "c2.jpg"]
    assert [house.run(job).kind for job in jobs if not job.record.rerun] == ["delivered", "delivered"]
    assert (house.work / "notify-20260102T030405-abcde1.json").exists()


def test_a_daemon_that_runs_takes_them_in_with_its_next_look(house: House, dead: Path) -> None:
    house.spool.open()
    adopt.run([house.watch], dead, "", sure=False)
    assert sorted(job.record.name for job in house.spool.adopt()) == ["a.pdf", "b.pdf", "old.pdf"]
    assert house.spool.adopt() == []
    house.spool.close()


def test_one_that_breaks_off_anywhere_loses_nothing_and_can_be_called_again(
    house: House, dead: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real, calls = sources(house), durable.move_new, 0
    assert before == dict.fromkeys(("a.pdf", "b.pdf", "c1.jpg", "c2.jpg"), 1)
    for steps in range(20):
        left = steps

        def move(source: Path, target: Path, *, tag: str) -> None:
            nonlocal left, calls
            if not left:
                raise KeyboardInterrupt
            left -= 1
            calls += 1
            real(source, target, tag=tag)

        with monkeypatch.context() as context:
            context.setattr(durable, "move_new", move)
            try:
                adopt.run([house.watch], dead, "", sure=False)
            except KeyboardInterrupt:
                assert sources(house) == before
            else:
                break
    assert calls == 6, "each thing that lay there went over once"
    assert len(house.recover()) == 3
    assert sources(house) == before


def test_who_is_at_work_on_this_machine_is_not_robbed(house: House, dead: Path) -> None:
    lock = locks.lock_folder(dead)
    with pytest.raises(SpoolError, match="Another ocrd is already working"):
        adopt.run([house.watch], dead, "", sure=True)
    os.close(lock)
    assert house.recover() == []


def test_who_may_be_at_work_on_another_host_is_robbed_only_by_who_says_so(
    house: House,
    dead: Path,
    shared: Path,  # noqa: F811
) -> None:
    seen = shared.with_name("dead")
    watch = house.watch.model_copy(update={role: shared.with_name(role) for role in ("inbox", "work")})
    for owner in (ELSEWHERE, None):  # None is an older version
        if owner is None:
            (dead / ownership.RECORD).unlink()
        with pytest.raises(ConfigError, match="whether that still works can't be told") as error:
            adopt.run([watch], seen, "", sure=False)
        assert "documents may be read twice, but none is lost" in error.value.remedy
    adopt.run([watch], seen, "", sure=True)
    assert len(house.recover()) == 3


def test_its_own_folder_that_another_host_had_last_is_given_to_this_one(house: House, shared: Path) -> None:  # noqa: F811
    watch = house.watch.model_copy(update={role: shared.with_name(role) for role in ("inbox", "work")})
    put(house.work, ELSEWHERE)
    with pytest.raises(ConfigError):
        adopt.run([watch], shared, "", sure=False)
    adopt.run([watch], shared, "", sure=True)
    spool = Spool("scans", watch.inbox, shared)
    spool.open()
    spool.close()


def test_a_folder_on_another_mount_is_named_and_left(house: House, dead: Path, small_disk: Path) -> None:
    watch = house.watch.model_copy(update={"work": small_disk / "work"})
    with pytest.raises(MachineError, match="lie on different mounts"):
        adopt.run([watch], dead, "", sure=False)
    assert sources(house)["a.pdf"] == 1


def test_what_is_no_work_folder_is_refused_and_a_watch_is_chosen_by_name(house: House, dead: Path) -> None:
    with pytest.raises(ConfigError, match="is no work folder"):
        adopt.run([house.watch], house.outbox, "", sure=True)
    (dead / ownership.RECORD).write_text(json.dumps(asdict(ELSEWHERE) | {"watch": "gone"}))
    other = house.watch.model_copy(update={"name": "other", "work": house.root / "other"})
    with pytest.raises(ConfigError, match="Nothing tells of which watch"):
        adopt.run([house.watch, other], dead, "", sure=False)
    with pytest.raises(ConfigError, match="There is no watch"):
        adopt.run([house.watch, other], dead, "none", sure=False)
    adopt.run([house.watch, other], dead, "scans", sure=False)
    assert len(house.recover()) == 3
