"""The same content is read once where that is wanted, and the ledger that knows it is never a source of loss."""

import asyncio
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import structlog
from house import House, stop, wait_for

from ocrd.display import shown
from ocrd.errors import MachineError
from ocrd.output import front_matter
from ocrd.pipeline.in_flight import InFlight
from ocrd.storage.ledger import LAST_DELIVERY, NAME, Entry, Ledger, NotKnownYetError


def entry(number: int, **changes: Any) -> Entry:
    facts = {"date": f"2026-01-0{number}T00:00:00+00:00", "source": f"{number}.pdf", "sha256": "aa", "pages": 1}
    facts |= {"kind": "delivered", "sidecar": f"{number}.md", "status": "complete"}
    return Entry(str(number), **(facts | changes))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    (tmp_path / "work").mkdir()
    (tmp_path / "outbox").mkdir()
    ledger = Ledger(tmp_path / "work")
    make_whole(ledger, tmp_path / "outbox")
    return ledger


def steps(ledger: Ledger, outbox: Path) -> Iterator[bool]:
    """Rebuild step by step; each says whether it was the last."""
    while not ledger.rebuild_some(outbox, lambda _: None):
        yield False
    yield True


def make_whole(ledger: Ledger, outbox: Path) -> None:
    assert list(steps(ledger, outbox))[-1]


def leave_sidecar(outbox: Path, name: str, number: int, **changes: Any) -> Path:
    """Put into the outbox what a delivery left there; its content's digest is its number."""
    front = {"source": shown(f"{name}.pdf"), "sha256": f"content {number}", "pages": 3, "status": "complete"}
    front |= {"date": f"2026-01-01T00:00:{number % 60:02}+00:00"} | changes
    path = outbox / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(front_matter.front_matter(front) + "\n<!-- page 1 -->\n")
    return path


def test_the_last_delivery_of_the_same_content_is_found(ledger: Ledger) -> None:
    assert ledger.earlier("aa") is None
    for one in (entry(2), entry(1), entry(3, kind="linked"), entry(4, sha256="bb")):
        ledger.record(one)
    assert ledger.earlier("aa") == entry(2)
    assert list(ledger.entries()) == [entry(1), entry(2), entry(3, kind="linked"), entry(4, sha256="bb")]


def test_a_ledger_that_is_whole_and_written_rests_until_it_is_lost_or_something_waits(
    ledger: Ledger, tmp_path: Path
) -> None:
    make_whole(ledger, tmp_path / "outbox")  # it looks once more
    assert ledger.at_rest
    ledger.record(entry(1))
    assert ledger.at_rest
    path = tmp_path / "work" / NAME
    path.unlink()
    path.mkdir()
    ledger.record(entry(2))
    assert not ledger.at_rest, "an entry waits to be written"
    path.rmdir()
    ledger.record(entry(3))
    assert not ledger.at_rest, "what the lost one held is not in the new one"
    make_whole(ledger, tmp_path / "outbox")
    make_whole(ledger, tmp_path / "outbox")
    assert ledger.at_rest


def test_of_deliveries_in_one_second_the_later_job_is_the_last(ledger: Ledger) -> None:
    second = "2026-01-01T00:00:00+00:00"
    for number in (3, 5, 4):
        ledger.record(entry(number, date=second, sidecar="a.md"))
    assert ledger.earlier("aa") == entry(5, date=second, sidecar="a.md")
    assert [one.job for one in ledger.entries()] == ["3", "4", "5"]


def test_a_job_that_is_told_twice_is_there_once(ledger: Ledger) -> None:
    ledger.record(entry(1))
    ledger.record(entry(1))
    assert list(ledger.entries()) == [entry(1)]


@pytest.mark.parametrize(
    "damage", [b"", b"no database", b"SQLite format 3\0" + bytes(4000)], ids=["empty", "text", "zeros"]
)
def test_a_damaged_ledger_is_set_aside_and_made_anew_from_the_sidecars(
    ledger: Ledger, tmp_path: Path, damage: bytes
) -> None:
    leave_sidecar(tmp_path / "outbox", "a/ü", 0, sha256="aa")
    (tmp_path / "outbox/mine.md").write_text("---\ntitle: mine\n---\n")
    (tmp_path / "outbox/other.md").write_bytes(b"---\n\xff: [\n---\n")
    (tmp_path / "work" / NAME).write_bytes(damage)
    with structlog.testing.capture_logs() as told:
        ledger.record(entry(2, sha256="bb"))
    make_whole(ledger, tmp_path / "outbox")
    assert [line["event"] for line in told] == ["the ledger is damaged, and made anew from the sidecars"]
    assert [one.source for one in ledger.entries()] == ["a/ü.pdf", "2.pdf"]
    assert ledger.earlier("aa").sidecar == "a/ü.md"  # type: ignore[union-attr]
    [aside] = (tmp_path / "work").glob("*.damaged-*")
    assert aside.read_bytes() == damage


def test_a_ledger_that_cannot_be_written_costs_nothing_but_itself(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as told:
        ledger = Ledger(tmp_path / "not there")
        ledger.record(entry(1))
        assert ledger.earlier("aa") is None
        assert list(ledger.entries()) == []
    assert {line["event"] for line in told} == {"the ledger can't be used"}


def test_what_a_rebuild_has_not_come_by_is_not_known_yet(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocrd.storage.ledger._AT_ONCE", 2)
    for number in range(5):
        leave_sidecar(tmp_path / "outbox", f"{number}", number)
    (tmp_path / "work" / NAME).unlink()
    with pytest.raises(NotKnownYetError):
        ledger.earlier("content 0")
    rebuild = steps(ledger, tmp_path / "outbox")
    assert next(rebuild) is False
    assert ledger.earlier("content 1").source == "1.pdf"  # type: ignore[union-attr]
    for content in ("content 4", "never seen"):
        with pytest.raises(NotKnownYetError):
            ledger.earlier(content)
    assert not ledger.is_whole()
    assert list(rebuild)[-1] is True
    assert ledger.is_whole()
    assert ledger.earlier("content 4").source == "4.pdf"  # type: ignore[union-attr]
    assert ledger.earlier("never seen") is None


def test_a_rebuild_goes_on_where_it_broke_off_and_reads_no_sidecar_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocrd.storage.ledger._AT_ONCE", 2)
    (tmp_path / "work").mkdir()
    names = ["a", "a b", "a-c/1", "a-c/2", "a.d/deep/x", "a/b", "b", "\udcff", "z/y"]
    paths = {name: leave_sidecar(tmp_path / "outbox", name, number) for number, name in enumerate(names)}
    shown_names = {name.replace("\udcff", "\\xff") for name in names}
    for _ in range(len(names)):
        ledger = Ledger(tmp_path / "work")  # as after a restart
        ledger.rebuild_some(tmp_path / "outbox", lambda _: None)
        for one in ledger.entries():
            paths[one.sidecar.removesuffix(".md").replace("\\xff", "\udcff")].unlink(missing_ok=True)  # collected
    assert ledger.is_whole()
    assert {one.sidecar.removesuffix(".md") for one in ledger.entries()} == shown_names


def test_no_delivery_is_left_out_while_the_ledger_is_rebuilt(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ocrd.storage.ledger._AT_ONCE", 10)
    for number in range(200):
        leave_sidecar(tmp_path / "outbox", f"{number:03}", number)
    (tmp_path / "work" / NAME).unlink()

    def deliver(number: int) -> None:
        name = f"{number:03}-new"
        date = f"2026-02-01T00:00:{number % 60:02}+00:00"
        facts = {"source": f"{name}.pdf", "sha256": name, "pages": 1, "status": "complete", "date": date}
        leave_sidecar(tmp_path / "outbox", name, number, **facts)
        ledger.record(Entry(f"job {number}", kind="delivered", sidecar=f"{name}.md", **facts))  # type: ignore[arg-type]

    with structlog.testing.capture_logs() as told, ThreadPoolExecutor(8) as threads:
        deliveries = [threads.submit(deliver, number) for number in range(200)]
        make_whole(ledger, tmp_path / "outbox")
        for delivery in deliveries:
            delivery.result()
    make_whole(ledger, tmp_path / "outbox")
    assert told == []
    found = Counter(one.sidecar for one in ledger.entries())
    assert found == Counter([f"{n:03}.md" for n in range(200)] + [f"{n:03}-new.md" for n in range(200)])
    assert {one.job for one in ledger.entries() if "new" in one.sidecar} == {f"job {n}" for n in range(200)}


def test_a_rerun_told_in_a_rebuild_does_not_hide_that_its_content_is_known(ledger: Ledger, tmp_path: Path) -> None:
    leave_sidecar(tmp_path / "outbox", "scan", 1)
    facts = {"sha256": "content 1", "date": "2026-01-01T00:00:01+00:00", "source": "scan.pdf", "sidecar": "scan.md"}
    for begun in (False, True):
        (tmp_path / "work" / NAME).unlink()
        if begun:
            make_whole(ledger, tmp_path / "outbox")
        ledger.record(entry(1, kind="reread", **facts))
        make_whole(ledger, tmp_path / "outbox")
        assert ledger.earlier("content 1") is not None
        assert sorted(one.kind for one in ledger.entries()) == ["delivered", "reread"]


def test_an_outbox_that_is_away_is_not_taken_for_an_empty_one(ledger: Ledger, tmp_path: Path) -> None:
    leave_sidecar(tmp_path / "outbox", "scan", 1)
    (tmp_path / "work" / NAME).unlink()
    (tmp_path / "outbox").rename(tmp_path / "elsewhere")
    with pytest.raises(MachineError):
        ledger.rebuild_some(tmp_path / "outbox", lambda _: None)
    (tmp_path / "outbox").mkdir()  # what a share that is not mounted hides

    def check(_: Path) -> None:
        raise MachineError("Nothing is mounted any more.", "Mount it again.")

    with pytest.raises(MachineError):
        ledger.rebuild_some(tmp_path / "outbox", check)
    (tmp_path / "outbox").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "outbox")
    assert not ledger.is_whole()
    make_whole(ledger, tmp_path / "outbox")
    assert ledger.earlier("content 1") is not None


@pytest.mark.parametrize(
    "written", [b"a: !!bool perhaps", b"a: !!timestamp never", b"[" * 5000, b"? []\n: 1", b"pages: %d" % 10**30]
)
def test_what_others_put_into_the_outbox_does_not_stop_a_rebuild(
    ledger: Ledger, tmp_path: Path, written: bytes
) -> None:
    sound = leave_sidecar(tmp_path / "outbox", "sound", 1)
    front = sound.read_bytes().replace(b"pages: 3", b"pages: 3\n" + written)
    (tmp_path / "outbox/odd.md").write_bytes(front)
    os.mkfifo(tmp_path / "outbox/pipe.md")
    (tmp_path / "outbox/link.md").symlink_to(sound)
    (tmp_path / "outbox/around").symlink_to(tmp_path / "outbox")
    (tmp_path / "work" / NAME).unlink()
    make_whole(ledger, tmp_path / "outbox")
    assert "sound.md" in {one.sidecar for one in ledger.entries()} <= {"sound.md", "odd.md"}


def test_a_sidecar_with_very_many_problems_is_known_too(ledger: Ledger, tmp_path: Path) -> None:
    problems = [{"page": number, "verdict": "failed", "reason": "unreadable"} for number in range(2000)]
    leave_sidecar(tmp_path / "outbox", "scan", 1, problems=problems)
    (tmp_path / "work" / NAME).unlink()
    make_whole(ledger, tmp_path / "outbox")
    assert ledger.earlier("content 1") is not None


def test_a_ledger_of_an_earlier_version_is_used_on(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with closing(sqlite3.connect(tmp_path / "work" / NAME)) as db:
        db.executescript(
            "CREATE TABLE entries (job TEXT PRIMARY KEY, date TEXT, source TEXT, sha256 TEXT, kind TEXT, sidecar TEXT,"
            " pages INTEGER, status TEXT) WITHOUT ROWID; CREATE INDEX by_content ON entries (sha256, date);"
            "CREATE INDEX by_date ON entries (date); INSERT INTO entries VALUES ('1', '2026-01-01T00:00:00+00:00',"
            " '1.pdf', 'aa', 'delivered', '1.md', 1, 'complete')"
        )
    ledger = Ledger(tmp_path / "work")
    assert list(ledger.entries()) == [entry(1)]
    assert ledger.is_whole()
    assert ledger.earlier("aa") == entry(1)
    assert ledger.earlier("bb") is None


def test_a_look_up_goes_through_deliveries_only_however_often_the_content_was_skipped(
    ledger: Ledger, tmp_path: Path
) -> None:
    ledger.record(entry(1))
    with closing(sqlite3.connect(tmp_path / "work" / NAME)) as db:
        plan = db.execute(f"EXPLAIN QUERY PLAN {LAST_DELIVERY}", ("aa",)).fetchall()
    assert [row[-1] for row in plan] == ["SEARCH entries USING INDEX delivered_by_content (sha256=?)"]


def test_the_second_of_two_twins_waits_for_the_first() -> None:
    twins, order = InFlight(), []

    async def job(name: str) -> None:
        await twins.turn("content", name)
        await twins.turn("content", name)  # again, after a fault
        order.append(f"{name} in")
        await asyncio.sleep(0)
        order.append(f"{name} out")
        twins.done(name)

    async def both() -> None:
        await asyncio.gather(job("a"), job("b"), job("c"))

    asyncio.run(both())
    assert sorted(order[::2]) == ["a in", "b in", "c in"]
    assert [line[0] for line in order[::2]] == [line[0] for line in order[1::2]], "never two at once"
    assert twins._held == {}


# The daemon


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house")
    yield house
    house.close()


def drop_twice(house: House) -> None:
    house.drop("a.pdf")
    house.path("inbox/sub").mkdir()
    shutil.copy(house.path("inbox/a.pdf"), house.path("inbox/sub/b.pdf"))


def test_by_default_the_same_is_read_again(house: House) -> None:
    drop_twice(house)
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == ["a.md", "sub/b.md"]
    assert len(house.reads()) == 2


def test_skip_archives_a_duplicate_that_comes_at_once_or_later(house: House) -> None:
    house.configure(watch={"duplicates": "skip"})
    drop_twice(house)
    assert house.start("once").wait(120) == 0
    shutil.copy(house.path("archive/a.pdf"), house.path("inbox/c.pdf"))
    assert house.start("once").wait(120) == 0
    assert house.files("archive") == ["a.pdf", "c.pdf", "sub/b.pdf"]
    assert len(house.files("outbox")) == 1
    assert len(house.reads()) == 1
    assert len(house.events("skipped")) == 2
    assert "the same as" in str(house.events("skipped")[0]["reason"])


def test_skip_reads_again_what_was_deleted_from_the_outbox(house: House) -> None:
    house.configure(watch={"duplicates": "skip"})
    house.drop("a.pdf")
    assert house.start("once").wait(120) == 0
    house.path("outbox/a.md").unlink()
    shutil.copy(house.path("archive/a.pdf"), house.path("inbox/c.pdf"))
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == ["c.md"]


def test_a_link_is_a_text_where_only_text_is_wanted(house: House) -> None:
    house.configure(watch={"duplicates": "link", "outputs": ["text"]})
    drop_twice(house)
    assert house.start("once").wait(120) == 0
    assert sorted(house.files("outbox")) == ["a.txt", "sub/b.txt"]
    texts = [house.path(f"outbox/{name}").read_text() for name in house.files("outbox")]
    assert sum("The same file was read before, as " in text for text in texts) == 1


def test_link_delivers_a_sidecar_that_points_to_the_first(house: House, ocrd: Callable[..., Any]) -> None:
    house.configure(watch={"duplicates": "link"})
    house.drop("a b.pdf")
    daemon = house.start()
    wait_for(lambda: house.events("delivered"))
    house.path("inbox/sub").mkdir()
    shutil.copy(house.path("archive/a b.pdf"), house.path("inbox/sub/c.pdf"))
    wait_for(lambda: len(house.events("delivered")) == 2)
    text = house.path("outbox/sub/c.md").read_text()
    assert "[a b.pdf](../a%20b.md)" in text
    assert "status: duplicate" in text
    assert "duplicate_of: a b.pdf" in text
    assert len(house.reads()) == 1
    house.path("outbox/a b.md").unlink()
    shutil.copy(house.path("archive/a b.pdf"), house.path("inbox/d.pdf"))
    wait_for(lambda: len(house.events("delivered")) == 3)
    assert len(house.reads()) == 2, "a link must not lead nowhere"
    assert stop(daemon) == 0
    told = ocrd("history", "--json")
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [(line["source"], line["kind"], line["sidecar"]) for line in lines] == [
        ("a b.pdf", "delivered", "a b.md"),
        ("sub/c.pdf", "linked", "sub/c.md"),
        ("d.pdf", "delivered", "d.md"),
    ]
    plain = ocrd("history").stdout
    assert "a b.pdf -> a b.md" in plain


def test_the_history_of_several_watches_is_in_the_order_of_time(house: House, ocrd: Callable[..., Any]) -> None:
    house.configure(("scans", "faxes"))
    for number, watch in enumerate(("scans", "faxes", "scans"), 1):
        house.path(".inbox.ocrd-work", watch).mkdir(exist_ok=True, parents=True)
        Ledger(house.path(".inbox.ocrd-work", watch)).record(entry(number))
    told = ocrd("history").stdout
    assert [line.split()[1:] for line in told.splitlines()] == [
        ["scans", "delivered", "1", "p.", "1.pdf", "->", "1.md"],
        ["faxes", "delivered", "1", "p.", "2.pdf", "->", "2.md"],
        ["scans", "delivered", "1", "p.", "3.pdf", "->", "3.md"],
    ]


def test_the_history_can_be_asked_for_a_part_and_a_broken_ledger_hides_no_other(
    house: House, ocrd: Callable[..., Any]
) -> None:
    house.configure(("scans", "faxes", "mail"))
    for number, watch in enumerate(("scans", "faxes", "scans"), 1):
        house.path(".inbox.ocrd-work", watch).mkdir(exist_ok=True, parents=True)
        status = "partial" if number == 1 else "complete"
        Ledger(house.path(".inbox.ocrd-work", watch)).record(entry(number, status=status))
    house.path(".inbox.ocrd-work", "mail").mkdir(parents=True)
    house.path(f".inbox.ocrd-work/{NAME}", "mail").write_text("no database at all" * 99)

    def sources(*wanted: str) -> list[str]:
        told = ocrd("history", "--json", *wanted)
        assert "mail" not in told.stderr or told.returncode == 74
        return [json.loads(line)["source"] for line in told.stdout.splitlines()]

    assert sources() == ["1.pdf", "2.pdf", "3.pdf"]
    assert sources("--watch", "faxes") == ["2.pdf"]
    assert sources("--status", "partial") == ["1.pdf"]
    assert sources("--since", "2026-01-02") == ["2.pdf", "3.pdf"]
    assert sources("--since", "1s") == []
    assert sources("3.PDF") == sources("3*") == ["3.pdf"]
    for wrong, code in ((("--since", "soon"), 65), (("--watch", "letters"), 78)):
        assert ocrd("history", *wrong).returncode == code


def test_a_ledger_that_was_lost_is_made_anew(house: House) -> None:
    house.configure(watch={"duplicates": "skip"})
    house.drop("a.pdf")
    assert house.start("once").wait(120) == 0
    house.path(f".inbox.ocrd-work/{NAME}").unlink()
    shutil.copy(house.path("archive/a.pdf"), house.path("inbox/b.pdf"))
    assert house.start("once").wait(120) == 0
    assert len(house.reads()) == 1


def test_known_files_are_not_read_again_while_a_lost_ledger_is_rebuilt(house: House) -> None:
    house.configure(watch={"duplicates": "skip"})
    for number in range(12):
        house.drop(f"{number}.pdf")
    assert house.start("once").wait(120) == 0
    house.path(f".inbox.ocrd-work/{NAME}").unlink()
    for number in range(2000):
        leave_sidecar(house.path("outbox"), f"+{number}", number)  # before the others in every order
    for path in house.path("archive").iterdir():
        shutil.copy(path, house.path(f"inbox/copy of {path.name}"))
    assert house.start("once").wait(120) == 0
    assert len(house.reads()) == 12
    assert len(house.events("skipped")) == 12
    kinds = Counter(one.kind for one in Ledger(house.path(".inbox.ocrd-work")).entries())
    assert kinds == {"delivered": 2012, "skipped": 12}


def test_a_ledger_that_another_program_holds_stops_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocrd.storage.ledger._BUSY_SECONDS", 0.1)
    house.path(".inbox.ocrd-work").mkdir()
    ledger = Ledger(house.path(".inbox.ocrd-work"))
    ledger.record(entry(1))
    with sqlite3.connect(house.path(f".inbox.ocrd-work/{NAME}")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with structlog.testing.capture_logs() as told:
            ledger.record(entry(2))
        other.rollback()
    other.close()
    assert [line["reason"] for line in told] == ["database is locked"]
    assert list(ledger.entries()) == [entry(1)]
    ledger.record(entry(3))
    assert list(ledger.entries()) == [entry(1), entry(2), entry(3)], "what could not be written comes with the next"
