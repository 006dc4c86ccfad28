"""What a crash leaves in work/, and what the next start makes of it: the table of spool.py, row by row."""

import errno
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from simulated import SimulatedEngine
from spool_house import BAD, ID, SCAN, SHA, House, InstantRenderer

from ocrd.errors import DocumentError, EngineError, MachineError, SpoolError
from ocrd.model import (
    FileStamp,
    PageResult,
    Reading,
    Settled,
    Verdict,
)
from ocrd.output import front_matter
from ocrd.pipeline.outcome import Outcome
from ocrd.storage import claiming, durable, job_folders, notes, renames, rerun_requests, safe_paths
from ocrd.storage.job import Job, JobRecord, Rerun, refusal_of
from ocrd.storage.spool import Spool

SIDECAR = b"<!-- page 1 -->\n\npage 1\n\n<!-- page 2 -->\n\npage 2\n"
DONE = {"archive/scan.pdf": SCAN, "outbox/scan.md": SIDECAR}


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


# The rows of the table


def test_record_written_but_no_source_the_folder_goes_and_the_inbox_keeps_the_file(house: House) -> None:
    house.drop()
    house.left(source=None)
    assert house.start() == []
    assert house.lies() == {"inbox/scan.pdf": SCAN}
    assert os.listdir(house.work) == []


def test_folder_made_but_no_record_the_folder_goes(house: House) -> None:
    (house.work / ID).mkdir()
    (house.work / ID / ".ocrd-job.json.tmp").touch()
    assert house.start() == []
    assert os.listdir(house.work) == []


def test_claimed_the_job_is_run(house: House) -> None:
    house.left()
    assert [outcome.kind for outcome in house.start()] == ["delivered"]
    assert house.lies() == DONE
    assert os.listdir(house.work) == []


@pytest.mark.parametrize("by", [shutil.copy2, os.link])
def test_claimed_a_twin_left_in_the_inbox_goes_first(house: House, by: Callable[[Path, Path], object]) -> None:
    settled = house.drop()
    job = house.left(source=None)
    by(settled.path, job.source)
    job.update(stamp=FileStamp.of(settled.path.lstat()))
    assert [job.record.name for job in house.recover()] == ["scan.pdf"]
    assert not settled.path.exists()
    assert job.source.read_bytes() == SCAN


@pytest.mark.parametrize("data", [SCAN, b"another scan of that name", SCAN[::-1]])
def test_claimed_another_file_under_the_old_name_is_left(house: House, data: bytes) -> None:
    house.left()
    house.drop(data=data)
    assert len(house.recover()) == 1
    assert (house.inbox / "scan.pdf").read_bytes() == data


def test_attempts_charged_the_job_is_run_and_at_the_limit_refused(house: House) -> None:
    house.left(attempts=2)
    assert [outcome.kind for outcome in house.start()] == ["delivered"]
    house.left(attempts=3)
    assert [outcome.kind for outcome in house.start()] == ["refused"]
    assert house.engine.reads == [0, 1]
    assert (house.error / "scan.pdf").read_bytes() == SCAN
    assert "ocrd died 3 times while it read this file" in (house.error / "scan.pdf.error.md").read_text()


def kept(index: int, text: str) -> PageResult:
    return PageResult(index, Verdict.OK, "", Reading(index, text, "stop", 1, 0.1))


def test_some_pages_read_these_are_kept_and_the_rest_is_read(house: House) -> None:
    house.renderer = InstantRenderer(pages=5)
    job = house.left(attempts=1)
    pages = house.watch.pages.model_dump_json()
    job.keep_page(kept(0, "from before"), f"{SHA} simulated-1 {pages}")
    job.keep_page(kept(1, "of another engine"), f"{SHA} simulated-0 {pages}")
    job.keep_page(kept(2, "of another source"), f"{'0' * 64} simulated-1 {pages}")
    (job.folder / "pages/0004.json").write_text('{"provenance": ')
    (job.folder / "pages/.ocrd-0005.json.tmp").write_text("half a pa")
    (job.folder / "figures").mkdir()
    (job.folder / "figures/page-2-figure-1.jpg").write_bytes(b"cropped by the other engine")
    assert list(job.kept_pages(f"{SHA} simulated-1 {pages}")) == [0]
    assert list((job.folder / "figures").iterdir()) == []
    assert [outcome.kind for outcome in house.start()] == ["delivered"]
    assert sorted(house.engine.reads) == [1, 2, 3, 4]
    assert (house.outbox / "scan.md").read_text().splitlines()[2::4] == [
        "from before", "page 2", "page 3", "page 4", "page 5",
    ]  # fmt: skip


@pytest.mark.parametrize("lacking", ["rung", "facts", "attempts", "figures"])
def test_pages_recorded_in_an_older_form_are_read_again(house: House, lacking: str) -> None:
    house.renderer = InstantRenderer(pages=2)
    job = house.left(attempts=1)
    for index in (0, 1):
        job.keep_page(kept(index, "from before"), f"{SHA} simulated-1 {house.watch.pages.model_dump_json()}")
    path = job.folder / "pages/0002.json"
    record = json.loads(path.read_text())
    del record["page"][lacking]
    path.write_text(json.dumps(record))
    assert [outcome.kind for outcome in house.start()] == ["delivered"]
    assert house.engine.reads == [1]


def test_refusal_recorded_the_refusing_goes_on_without_reading(house: House) -> None:
    house.left(refusal=refusal_of(BAD))
    assert [outcome.reason for outcome in house.start()] == ["It is bad."]
    assert house.engine.reads == []
    assert set(house.lies()) == {"error/scan.pdf", "error/scan.pdf.error.md"}


@pytest.mark.parametrize("copied", [False, True])
def test_refusal_noted_and_perhaps_copied_the_source_follows_its_note(house: House, *, copied: bool) -> None:
    job = house.left(refusal=refusal_of(BAD), names={"error": "scan.pdf"})
    assert job.record.refusal
    note = front_matter.note("scan.pdf", BAD.what, BAD.remedy, job.record.refusal.date, "scans").encode()
    (house.error / "scan.pdf.error.md").write_bytes(note)
    if copied:
        shutil.copy2(job.source, house.error / "scan.pdf")
    house.start()
    assert house.lies() == {"error/scan.pdf": SCAN, "error/scan.pdf.error.md": note}


def test_result_written_nothing_is_read_again(house: House) -> None:
    house.left().keep_result({".md": b"the result"})
    house.start()
    assert house.engine.reads == []
    assert house.lies() == {"archive/scan.pdf": SCAN, "outbox/scan.md": b"the result"}


def test_name_recorded_it_is_used(house: House) -> None:
    house.left(names={"sidecar": "scan (5).md", "archive": "scan (7).pdf"}).keep_result({".md": b"the result"})
    house.start()
    assert house.lies() == {"archive/scan (7).pdf": SCAN, "outbox/scan (5).md": b"the result"}


def test_name_recorded_and_taken_by_a_stranger_another_is_recorded(house: House) -> None:
    house.left(names={"sidecar": "scan.md", "archive": "scan.pdf"}).keep_result({".md": b"the result"})
    (house.outbox / "scan.md").write_bytes(b"a stranger")
    (house.archive / "scan.pdf").write_bytes(b"another scan")
    house.start()
    assert house.lies() == {
        "archive/scan.pdf": b"another scan",
        "archive/scan (2).pdf": SCAN,
        "outbox/scan.md": b"a stranger",
        "outbox/scan (2).md": b"the result",
    }


@pytest.mark.parametrize("collected", [False, True])
def test_published_it_goes_on_to_the_archive_and_what_was_collected_is_published_again(
    house: House, *, collected: bool
) -> None:
    house.left(names={"sidecar": "scan.md"}).keep_result({".md": b"the result"})
    if not collected:
        (house.outbox / "scan.md").write_bytes(b"the result")
    house.start()
    assert house.lies() == {"archive/scan.pdf": SCAN, "outbox/scan.md": b"the result"}


def test_archived_by_a_copy_whose_original_was_not_deleted_yet_the_copy_counts(house: House) -> None:
    job = house.left(names={"sidecar": "scan.md", "archive": "scan.pdf"})
    job.keep_result({".md": b"the result"})
    shutil.copy2(job.source, house.archive / "scan.pdf")
    house.start()
    assert house.lies() == {"archive/scan.pdf": SCAN, "outbox/scan.md": b"the result"}


def test_archived_the_folder_goes(house: House) -> None:
    house.left(source=None, names={"sidecar": "scan.md", "archive": "scan.pdf"}).keep_result({".md": b"the result"})
    assert house.start() == []
    assert os.listdir(house.work) == []
    assert house.lies() == {}


def test_being_given_back_it_goes_back(house: House) -> None:
    house.left(names={"inbox": "scan (2).pdf"})
    assert house.start() == []
    assert house.lies() == {"inbox/scan (2).pdf": SCAN}


STAMP = {"dev": 1, "ino": 2, "size": 3, "mtime_ns": 4}
DAMAGED = [
    {"name": "../../etc/passwd"},
    {"name": "/etc/passwd"},
    {"name": ""},
    {"name": 7},
    {"name": "a\0.pdf"},
    {"names": None},
    {"names": {"archive": "../x.pdf"}},
    {"attempts": "many"},
    {"stamp": {}},
    {"stamp": None},
    {"refusal": {"what": "it is old"}},
    {"refusal": 1},
]


@pytest.mark.parametrize(
    "record",
    [b"", b"{", b"[]", b"7", b"null", b"\xff", b'{"refusal": null}']
    + [json.dumps({"watch": "scans", "name": "scan.pdf", "stamp": STAMP} | damage).encode() for damage in DAMAGED],
)
def test_a_damaged_record_does_not_lose_its_source(house: House, record: bytes) -> None:
    job = house.left()
    (job.folder / "job.json").write_bytes(record)
    assert [outcome.kind for outcome in house.start()] == ["refused"]
    assert (house.error / f"{ID}.pdf").read_bytes() == SCAN
    assert "The record of this job is damaged" in (house.error / f"{ID}.pdf.error.md").read_text()


def test_a_record_of_another_version_is_read_as_far_as_it_goes(house: House) -> None:
    job = house.left()
    record = json.loads((job.folder / "job.json").read_bytes())
    older = {key: record[key] for key in ("watch", "name", "stamp")}
    for other in (older, record | {"invented_later": {"much": 1}}):
        (job.folder / "job.json").write_text(json.dumps(other))
        assert [left.record.name for left in house.recover()] == ["scan.pdf"]
    assert [outcome.kind for outcome in house.start()] == ["delivered"]
    assert house.lies() == DONE


@pytest.mark.parametrize("name", ["source", "source.PDF", "source.tif"])
def test_a_source_that_is_not_called_as_its_record_says_is_not_lost(house: House, name: str) -> None:
    job = house.left()
    job.source.rename(job.folder / name)
    assert [outcome.kind for outcome in house.start()] == ["refused"]
    assert list(house.lies().values()).count(SCAN) == 1
    assert (house.error / f"{ID}{Path(name).suffix}").read_bytes() == SCAN
    assert house.recover() == []


def test_what_is_no_job_of_ours_in_the_work_folder_is_left_alone(house: House) -> None:
    (house.work / "holiday").mkdir()
    (house.work / "holiday/photo.jpg").write_bytes(b"precious")
    (house.work / "list.txt").write_bytes(b"precious too")
    house.start()
    assert house.lies() == {"work/holiday/photo.jpg": b"precious", "work/list.txt": b"precious too"}


# The claim


def test_a_claim_takes_the_settled_file_with_its_name(house: House) -> None:
    job = house.spool.claim(house.drop("a/Scan.PDF"))
    assert job
    assert (job.record.name, job.source.name, job.source.read_bytes()) == ("a/Scan.PDF", "source.pdf", SCAN)
    assert JobRecord.parse((job.folder / "job.json").read_bytes()) == job.record
    assert house.run(job).kind == "delivered"
    assert house.lies() == {"archive/a/Scan.PDF": SCAN, "outbox/a/Scan.md": SIDECAR}


@pytest.mark.parametrize("name", ["x" * 251 + ".pdf", "é" * 125 + "a.pdf", os.fsdecode(b"caf\xe9.pdf"), "a\nb.pdf"])
def test_any_name_that_a_file_can_have_comes_through(house: House, name: str) -> None:
    for _ in range(2):
        job = house.spool.claim(house.drop(name))
        assert job
        assert JobRecord.parse((job.folder / "job.json").read_bytes()).name == name
        house.run(job)
    assert len(os.listdir(house.archive)) == len(os.listdir(house.outbox)) == 2
    assert name in os.listdir(house.archive)


def test_two_jobs_never_share_an_id(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([ID, ID, ID[:-1] + "1"])
    monkeypatch.setattr(job_folders, "new_id", lambda: next(drawn))
    first, second = (house.spool.claim(house.drop(name, name.encode())) for name in ("one.pdf", "two.pdf"))
    assert first
    assert second
    assert [job.source.read_bytes() for job in (first, second)] == [b"one.pdf", b"two.pdf"]
    assert JobRecord.parse((first.folder / "job.json").read_bytes()).name == "one.pdf"


def test_two_names_of_one_file_are_two_sources(house: House) -> None:
    house.drop("a.pdf")
    os.link(house.inbox / "a.pdf", house.inbox / "b.pdf")
    os.link(house.inbox / "a.pdf", house.archive / "a.pdf")  # somebody's way to have it read again
    for name in ("a.pdf", "b.pdf"):
        path = house.inbox / name
        job = house.spool.claim(Settled(path, FileStamp.of(path.lstat())))
        assert job
        house.run(job)
    names = ["archive/a (2).pdf", "archive/a.pdf", "archive/b.pdf", "outbox/a.md", "outbox/b.md"]
    assert list(house.lies()) == names


def test_a_file_that_vanished_is_not_claimed(house: House) -> None:
    settled = house.drop()
    settled.path.unlink()
    assert house.spool.claim(settled) is None
    assert (house.lies(), os.listdir(house.work)) == ({}, [])


def test_a_file_that_became_a_link_is_not_claimed(house: House) -> None:
    settled = house.drop()
    settled.path.unlink()
    settled.path.symlink_to("/etc/hostname")
    assert house.spool.claim(settled) is None
    assert os.readlink(settled.path) == "/etc/hostname"
    assert os.listdir(house.work) == []


def test_a_file_that_changed_is_not_claimed_and_stays(house: House) -> None:
    settled = house.drop()
    with settled.path.open("ab") as more:
        more.write(b", and more")
    assert house.spool.claim(settled) is None
    assert house.lies() == {"inbox/scan.pdf": SCAN + b", and more"}
    assert os.listdir(house.work) == []


def test_a_claim_that_the_machine_refuses_leaves_the_file_in_the_inbox(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = house.drop()

    def refused(*_: object, **__: object) -> None:
        raise MachineError("No.", "Later.")

    monkeypatch.setattr(claiming, "take", refused)
    with pytest.raises(MachineError):
        house.spool.claim(settled)
    assert (house.inbox / "scan.pdf").read_bytes() == SCAN
    assert os.listdir(house.work) == [], "each retry would leave a folder"


def test_a_claim_that_the_machine_spoils_after_the_move_loses_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = house.drop()

    def moved_but_not_synced(source: Path, target: Path, *, tag: str) -> None:  # noqa: ARG001
        source.rename(target)
        source.write_bytes(b"another scan of that name")
        raise MachineError("No.", "Later.")

    monkeypatch.setattr(claiming, "take", moved_but_not_synced)
    with suppress(MachineError):
        house.spool.claim(settled)
    assert {SCAN, b"another scan of that name"} <= set(house.lies().values())


@pytest.mark.parametrize("became", ["changed", "link", "gone"])
def test_a_claim_across_mounts_takes_only_what_settled(tmp_path: Path, small_disk: Path, became: str) -> None:
    house = House(tmp_path)
    house.inbox.rmdir()
    house.inbox.symlink_to(small_disk)
    job = house.spool.claim(house.drop("first.pdf"))
    assert job
    assert job.source.read_bytes() == SCAN
    durable.remove_folder(job.folder)
    settled = house.drop()
    if became == "changed":
        settled.path.write_bytes(SCAN * 2)
    else:
        settled.path.unlink()
    if became == "link":
        settled.path.symlink_to("/etc/hostname")
    assert house.spool.claim(settled) is None
    assert os.listdir(house.work) == []
    assert os.path.lexists(settled.path) == (became != "gone")
    assert settled.path.is_symlink() == (became == "link")


def test_a_source_that_is_written_to_while_it_is_copied_to_the_archive_is_copied_again_later(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path)
    house.watch = house.watch.model_copy(update={"archive": small_disk})
    job = house.left()
    copy = durable.copy_temporary

    def interrupted(source: Path, *args: Any, **options: Any) -> Any:
        made = copy(source, *args, **options)
        with source.open("ab") as file:
            file.write(b" and more")
        monkeypatch.undo()
        return made

    monkeypatch.setattr(durable, "copy_temporary", interrupted)
    with pytest.raises(MachineError, match=r"scan\.pdf changed while it was copied"):
        house.run(job)
    assert [path.name for path in small_disk.iterdir() if path.is_file()] == []
    assert house.run(job).kind == "delivered"
    assert (small_disk / "scan.pdf").read_bytes() == SCAN + b" and more"


def test_what_a_stranger_put_into_a_jobs_folder_outlives_the_job(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    job = house.spool.claim(house.drop())
    assert job
    (job.folder / "pages").mkdir()
    strangers = {f"{job.folder}/{name}": b"mine" for name in ("note.txt", "job.json~", "pages/0001.json.bak")}
    for path, data in strangers.items():
        Path(path).write_bytes(data)
    assert house.run(job).kind == "delivered"
    assert {str(path): path.read_bytes() for path in job.folder.rglob("*") if path.is_file()} == strangers
    assert "foreign files in work stay" in capsys.readouterr().out
    assert house.recover() == []
    assert {str(path): path.read_bytes() for path in job.folder.rglob("*") if path.is_file()} == strangers


@pytest.mark.parametrize(("number", "looks"), [(errno.EINVAL, {}), (errno.ENOENT, {}), (errno.EINVAL, {"lstat": 0})])
def test_characters_that_a_file_system_refuses_are_replaced_and_pause_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch, number: int, looks: dict[str, int]
) -> None:
    """As FAT and exFAT refuse them where the inbox takes them, and SMB shares already who looks for such a name."""
    stuck = [house.outbox, house.archive]

    def refuse(path: str | Path) -> None:
        if ":" in Path(path).name and safe_paths.spelled(Path(path)).parent in stuck:
            raise OSError(number, os.strerror(number), path)

    def refusing(name: str, at: int) -> None:
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, **k: (refuse(a[at]), real(*a, **k))[1])

    for name, at in {"open": 0, "mkdir": 0, "link": 1, "rename": 1, **looks}.items():
        refusing(name, at)
    monkeypatch.setattr(renames, "_renamed", lambda *_: False)
    job = house.spool.claim(house.drop("scan 12:30.pdf"))
    assert job
    assert house.run(job).kind == "delivered"
    assert os.listdir(house.outbox) == ["scan 12_30.md"]
    assert os.listdir(house.archive) == ["scan 12_30.pdf"]
    stuck.clear()
    job = house.spool.claim(house.drop("scan 12:30.pdf"))
    assert job
    assert house.run(job).kind == "delivered"
    assert (house.archive / "scan 12:30.pdf").exists(), "where it can be kept, it is"


@pytest.mark.parametrize("hidden", [".nfs00000000000804b200000002", ".fuse_hidden0000003b00000001"])
def test_a_file_that_is_deleted_and_still_open_on_a_share_holds_a_jobs_folder_no_longer_than_that(
    house: House, capsys: pytest.CaptureFixture[str], hidden: str
) -> None:
    job = house.spool.claim(house.drop())
    assert job
    (job.folder / hidden).write_bytes(SCAN)
    assert house.run(job).kind == "delivered"
    assert house.spool.adopt() == []
    assert os.listdir(job.folder) == [hidden], "it is not ours to delete"
    (job.folder / hidden).unlink()
    assert house.spool.adopt() == []
    assert os.listdir(house.work) == []
    assert "foreign" not in capsys.readouterr().out
    job.folder.mkdir()
    (job.folder / hidden).write_bytes(SCAN)
    assert house.recover() == []
    assert "foreign" in capsys.readouterr().out, "whoever had it open is gone"


def test_a_second_process_on_the_same_work_folder_is_refused(house: House, run_python: Callable[..., Any]) -> None:
    open_it = (
        "import sys; from pathlib import Path; from ocrd.storage.spool import Spool\n"
        "Spool('scans', Path(), Path(sys.argv[1])).open()"
    )
    house.spool.open()
    told = run_python("-c", open_it, house.work)
    assert "SpoolError" in told.stderr
    assert f"Another ocrd is already working in {house.work}." in told.stderr
    house.spool.close()
    assert run_python("-c", open_it, house.work).returncode == 0
    house.spool.open()
    with pytest.raises(SpoolError):
        Spool("scans", house.inbox, house.work).open()
    house.spool.close()


# Refusing and giving back


def test_a_refused_source_takes_a_name_that_is_free_with_its_note(house: House) -> None:
    (house.error / "scan.pdf").write_bytes(b"an older one")
    (house.error / "scan (2).pdf.error.md").write_bytes(b"a person's note")
    house.renderer = InstantRenderer(error=BAD)
    job = house.spool.claim(house.drop())
    assert job
    assert house.run(job).path == house.error / "scan (3).pdf"
    lies = house.lies()
    note = lies.pop("error/scan (3).pdf.error.md")
    assert note
    assert b"**What happened:** It is bad.\n" in note
    assert lies == {
        "error/scan.pdf": b"an older one",
        "error/scan (2).pdf.error.md": b"a person's note",
        "error/scan (3).pdf": SCAN,
    }


@pytest.mark.parametrize("taken", ["scan.pdf", "scan.pdf.error.md"])
def test_a_recorded_name_that_a_stranger_took_in_error_is_given_up_without_a_trace(house: House, taken: str) -> None:
    (house.error / taken).write_bytes(b"a stranger's")
    house.left(refusal=refusal_of(BAD), names={"error": "scan.pdf"})
    house.start()
    lies = house.lies()
    assert lies.pop("error/scan (2).pdf.error.md")
    assert lies == {f"error/{taken}": b"a stranger's", "error/scan (2).pdf": SCAN}


def test_a_source_is_given_back_under_a_free_name(house: House) -> None:
    job = house.left()
    house.drop(data=b"a new scan of that name")
    assert house.spool.give_back(job) == house.inbox / "scan (2).pdf"
    assert house.lies() == {"inbox/scan.pdf": b"a new scan of that name", "inbox/scan (2).pdf": SCAN}
    assert os.listdir(house.work) == []


# Attempts


def test_an_attempt_is_charged_once_and_refunded_once(house: House) -> None:
    job = house.left(attempts=1)
    job.charge()
    job.charge()
    assert JobRecord.parse((job.folder / "job.json").read_bytes()).attempts == 2
    job.refund()
    job.refund()
    assert JobRecord.parse((job.folder / "job.json").read_bytes()).attempts == 1


@pytest.mark.parametrize("error", [EngineError("It died.", "Restart."), MachineError("Disk full.", "Free some.")])
def test_an_attempt_that_a_fault_ended_is_refunded(house: House, error: Exception) -> None:
    job = house.left()
    with pytest.raises(type(error)):
        house.run(job, SimulatedEngine(behave=lambda *_: error))
    assert job.record.attempts == 0


@pytest.mark.parametrize("step", ["keep_page", "kept_pages", "keep_result"])
def test_an_attempt_that_a_full_disk_ended_is_refunded(
    house: House, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise MachineError("Disk full.", "Free some.")

    job = house.left()
    monkeypatch.setattr(Job, step, full)
    with pytest.raises(MachineError):
        house.run(job)
    assert job.record.attempts == 0, "three restarts with a full disk would refuse a good scan"
    monkeypatch.undo()
    assert house.run(job).kind == "delivered"


# Everything at once: death before each single step on the disk


@pytest.fixture
def in_memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:  # noqa: S108
        yield Path(folder)


_STEPS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.utime", "shutil.rmtree"}


def live(house: House, scan: Settled, deadly: int) -> bool:
    """Claim and run in a child that dies before so many steps on the disk. Returns whether it lived to the end."""
    if (child := os.fork()) == 0:
        done = 0

        def step(name: str, arguments: tuple[object, ...] = ()) -> None:
            nonlocal done
            if name in _STEPS and not (name == "open" and str(house.root) not in os.fsdecode(str(arguments[0]))):
                done += 1
                if done == deadly:
                    os._exit(9)

        real = os.fsync
        os.fsync = lambda descriptor: (step("os.rename"), real(descriptor))[1]  # also dies right after renameat2(2)
        sys.addaudithook(step)
        job = house.spool.claim(scan)
        house.run(job)  # type: ignore[arg-type]
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("links", [False, True])
def test_death_before_any_step_loses_nothing_and_the_next_start_ends_the_job(
    in_memory: Path, refuse_renameat2: Callable[[int], None], *, refused: bool, links: bool
) -> None:
    if links:
        refuse_renameat2(errno.EINVAL)
    for deadly in range(1, 500):
        root = in_memory / str(deadly)
        root.mkdir()
        house = House(root)
        scan = house.drop()
        house.renderer = InstantRenderer(pages=1, error=BAD if refused else None)
        lived = live(house, scan, deadly)
        sources = [name for name, data in house.lies().items() if data == SCAN]
        places = {name.partition("/")[0] for name in sources}
        inodes = {(house.root / name).stat().st_ino for name in sources}
        assert len(inodes) == 1, f"step {deadly}: {sources}"
        assert links or len(places) == 1
        for job in house.recover():
            house.run(job)
        if scan.path.exists():
            job = house.spool.claim(scan)
            assert job
            house.run(job)
        found = house.lies()
        if refused:
            assert set(found) == {"error/scan.pdf", "error/scan.pdf.error.md"}, f"step {deadly}"
        else:
            expected = {"archive/scan.pdf": SCAN, "outbox/scan.md": b"<!-- page 1 -->\n\npage 1\n"}
            assert found == expected, f"step {deadly}"
        assert os.listdir(house.work) == []
        shutil.rmtree(house.root)
        if lived:
            assert deadly > 20, "the steps were not counted"
            return
    pytest.fail("never came to its end")


# Reruns that are asked for


def ask(house: House, *names: str) -> None:
    for name in names:
        rerun_requests.ask(house.work, JobRecord("w", name, FileStamp(1, 1, 1, 1), rerun=Rerun(name, (1,))))


def test_a_request_that_can_not_be_taken_now_costs_no_other(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(house, "a.md", "b.md", "c.md")
    really, calls = Job.begin, []

    def begin(job: Job) -> None:
        calls.append(job)
        if len(calls) in (1, 3):
            raise MachineError("No space left.", "Free some.")
        really(job)

    monkeypatch.setattr(Job, "begin", begin)
    with pytest.raises(MachineError):
        house.spool.adopt()
    adopted = [job.record.name for _ in range(2) for job in house.spool.adopt()]
    assert sorted(adopted) == ["a.md", "b.md", "c.md"]
    assert house.spool.adopt() == []


def test_a_request_can_be_read_by_the_daemon_whatever_the_umask_of_who_asks(house: House) -> None:
    before = os.umask(0o077)
    try:
        ask(house, "a.md")
    finally:
        os.umask(before)
    [request] = house.work.glob("rerun-*")
    assert request.stat().st_mode & 0o777 == 0o644


# Notes


def test_a_note_is_not_looked_for_through_a_link(house: House, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    note = elsewhere / "a.pdf.error.md"
    note.write_text(front_matter.note("a.pdf", "x", "y", "z"))
    (house.error / "sub").symlink_to(elsewhere)
    job = Job(house.work / ID, JobRecord("w", "sub/a.pdf", FileStamp(1, 1, 1, 1)))
    notes.clear(job, house.error, front_matter.is_own_note)
    assert note.exists()


def test_a_pipe_in_the_place_of_a_note_holds_nobody_up(house: House) -> None:
    os.mkfifo(house.error / "a.pdf.error.md")
    job = Job(house.work / ID, JobRecord("w", "a.pdf", FileStamp(1, 1, 1, 1)))
    notes.clear(job, house.error, front_matter.is_own_note)


def test_a_spool_can_be_opened_again_by_who_has_it(house: House) -> None:
    house.spool.open()
    house.spool.open()
    house.spool.close()
    house.spool.open()
    house.spool.close()


def test_ids_sort_by_the_time_at_which_they_were_made() -> None:
    made = [job_folders.new_id() for _ in range(1000)]
    assert all(re.fullmatch(job_folders.JOB_ID, one) for one in made)
    moments = [one[:-1] for one in made]
    assert moments == sorted(moments)
    assert len(set(moments)) > 1


@pytest.mark.parametrize("error", [None, BAD])
def test_an_end_is_told_as_it_will_be_while_the_source_is_still_ours(house: House, error: DocumentError | None) -> None:
    """So what is written down of it then is never lost, and is true."""
    house.renderer = InstantRenderer(error=error)
    (house.archive / "scan.pdf").touch()
    (house.error / "scan.pdf").touch()
    job, told = house.left(), list[Outcome]()

    def hear(outcome: Outcome) -> None:
        assert job.held
        assert outcome.original
        assert not outcome.original.exists()
        told.append(outcome)

    house.before_end = hear
    ended = house.run(job)
    assert told == [ended]
    assert ended.original == (house.error if error else house.archive) / "scan (2).pdf"
    assert ended.original.exists()


def test_an_end_is_told_again_where_a_fault_came_between_or_a_stranger_takes_its_name(house: House) -> None:
    job, told = house.left(), list[Path | None]()

    def hear(outcome: Outcome) -> None:
        told.append(outcome.original)
        if len(told) == 1:
            raise MachineError("The disk is full.", "Free some space.")
        if len(told) == 2:
            (house.archive / "scan.pdf").touch()

    house.before_end = hear
    with pytest.raises(MachineError):
        house.run(job)
    ended = house.run(job)
    assert told == [house.archive / name for name in ("scan.pdf", "scan.pdf", "scan (2).pdf")]
    assert told[-1] == ended.original


def test_the_same_bytes_of_another_scan_are_not_taken_for_what_a_move_left(house: House) -> None:
    """A template can call both alike, and both can be on their way at the same time."""
    (house.archive / "scan.pdf").write_bytes(SCAN)
    os.utime(house.archive / "scan.pdf", (1, 1))
    house.run(house.left(names={"archive": "scan.pdf"}))
    names = [name for name in house.lies() if name.startswith("archive/")]
    assert names == ["archive/scan (2).pdf", "archive/scan.pdf"]
