"""The same content is read once where that is wanted, and the ledger that knows it is never a source of loss."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from house import House, stop, wait_for

from ocrd.output import front_matter
from ocrd.pipeline.in_flight import InFlight
from ocrd.storage.ledger import NAME, Entry, Ledger


def entry(number: int, **changes: Any) -> Entry:
    facts = {"date": f"2026-01-0{number}T00:00:00+00:00", "source": f"{number}.pdf", "sha256": "aa", "pages": 1}
    facts |= {"kind": "delivered", "sidecar": f"{number}.md", "status": "complete"}
    return Entry(str(number), **(facts | changes))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    (tmp_path / "work").mkdir()
    (tmp_path / "outbox").mkdir()
    return Ledger(tmp_path / "work", tmp_path / "outbox")


def test_the_last_delivery_of_the_same_content_is_found(ledger: Ledger) -> None:
    assert ledger.earlier("aa") is None
    for one in (entry(2), entry(1), entry(3, kind="linked"), entry(4, sha256="bb")):
        ledger.record(one)
    assert ledger.earlier("aa") == entry(2)
    assert list(ledger.entries()) == [entry(1), entry(2), entry(3, kind="linked"), entry(4, sha256="bb")]


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
    front = {"source": "a/ü.pdf", "sha256": "aa", "pages": 3, "status": "complete", "date": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "outbox/a").mkdir()
    (tmp_path / "outbox/a/ü.md").write_text(front_matter.front_matter(front) + "\n<!-- page 1 -->\n")
    (tmp_path / "outbox/mine.md").write_text("---\ntitle: mine\n---\n")
    (tmp_path / "outbox/other.md").write_bytes(b"---\n\xff: [\n---\n")
    (tmp_path / "work" / NAME).write_bytes(damage)
    with structlog.testing.capture_logs() as told:
        ledger.record(entry(2, sha256="bb"))
    assert [line["event"] for line in told] == ["the ledger is damaged, and made anew from the sidecars"]
    assert [one.source for one in ledger.entries()] == ["a/ü.pdf", "2.pdf"]
    assert ledger.earlier("aa").sidecar == "a/ü.md"  # type: ignore[union-attr]
    [aside] = (tmp_path / "work").glob("*.damaged-*")
    assert aside.read_bytes() == damage


def test_a_ledger_that_cannot_be_written_costs_nothing_but_itself(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as told:
        ledger = Ledger(tmp_path / "not there", tmp_path)
        ledger.record(entry(1))
        assert ledger.earlier("aa") is None
        assert list(ledger.entries()) == []
    assert {line["event"] for line in told} == {"the ledger can't be used"}


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
    assert house.start("once").wait(30) == 0
    assert house.files("outbox") == ["a.md", "sub/b.md"]
    assert len(house.reads()) == 2


def test_skip_archives_a_duplicate_that_comes_at_once_or_later(house: House) -> None:
    house.configure(watch={"duplicates": "skip"})
    drop_twice(house)
    assert house.start("once").wait(30) == 0
    shutil.copy(house.path("archive/a.pdf"), house.path("inbox/c.pdf"))
    for path in house.path("outbox").rglob("*.md"):
        path.unlink()  # collected
    assert house.start("once").wait(30) == 0
    assert house.files("archive") == ["a.pdf", "c.pdf", "sub/b.pdf"]
    assert house.files("outbox") == []
    assert len(house.reads()) == 1
    assert len(house.events("skipped")) == 2
    assert "the same as" in str(house.events("skipped")[0]["reason"])


def test_link_delivers_a_sidecar_that_points_to_the_first(house: House, run_python: Callable[..., Any]) -> None:
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
    told = run_python("-m", "ocrd", "history", "--json", "-c", house.root / "ocrd.yaml")
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [(line["source"], line["kind"], line["sidecar"]) for line in lines] == [
        ("a b.pdf", "delivered", "a b.md"),
        ("sub/c.pdf", "linked", "sub/c.md"),
        ("d.pdf", "delivered", "d.md"),
    ]
    plain = run_python("-m", "ocrd", "history", "-c", house.root / "ocrd.yaml").stdout
    assert "a b.pdf -> a b.md" in plain


def test_the_history_of_several_watches_is_in_the_order_of_time(house: House, run_python: Callable[..., Any]) -> None:
    house.configure(("scans", "faxes"))
    for number, watch in enumerate(("scans", "faxes", "scans"), 1):
        house.path(".inbox.ocrd-work", watch).mkdir(exist_ok=True, parents=True)
        Ledger(house.path(".inbox.ocrd-work", watch), house.path("outbox", watch)).record(entry(number))
    told = run_python("-m", "ocrd", "history", "-c", house.root / "ocrd.yaml").stdout
    assert [line.split()[1:] for line in told.splitlines()] == [
        ["scans", "delivered", "1", "p.", "1.pdf", "->", "1.md"],
        ["faxes", "delivered", "1", "p.", "2.pdf", "->", "2.md"],
        ["scans", "delivered", "1", "p.", "3.pdf", "->", "3.md"],
    ]


def test_a_ledger_that_was_lost_is_made_anew(house: House) -> None:
    house.configure(watch={"duplicates": "skip"})
    house.drop("a.pdf")
    assert house.start("once").wait(30) == 0
    house.path(f".inbox.ocrd-work/{NAME}").unlink()
    shutil.copy(house.path("archive/a.pdf"), house.path("inbox/b.pdf"))
    assert house.start("once").wait(30) == 0
    assert len(house.reads()) == 1


def test_a_ledger_that_another_program_holds_stops_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocrd.storage.ledger._BUSY_SECONDS", 0.1)
    house.path(".inbox.ocrd-work").mkdir()
    ledger = Ledger(house.path(".inbox.ocrd-work"), house.path("outbox"))
    ledger.record(entry(1))
    with sqlite3.connect(house.path(f".inbox.ocrd-work/{NAME}")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with structlog.testing.capture_logs() as told:
            ledger.record(entry(2))
        other.rollback()
    other.close()
    assert [line["reason"] for line in told] == ["database is locked"]
    assert list(ledger.entries()) == [entry(1)]
