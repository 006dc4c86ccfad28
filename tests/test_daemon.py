"""The real daemon, in a process of its own, over an engine that keeps the protocol."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pymupdf
import pytest
import yaml

TESTS = Path(__file__).parent
OCRD = Path(sys.executable).with_name("ocrd")


class House:
    """A configuration with its folders, and the daemons started on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tally = root / "tally"
        self.log = root / "log"
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.configure()

    def configure(self, names: tuple[str, ...] = ("scans",), **options: object) -> None:
        watches = [
            {"name": name} | {role: f"{name}/{role}" for role in ("inbox", "outbox", "archive", "error")}
            for name in names
        ]
        for name in names:
            (self.root / name / "inbox").mkdir(parents=True, exist_ok=True)
        config = {
            "engine": {"kind": "simulated:create", "options": {"tally": str(self.tally), **options}},
            "settle": {"quiet": "200ms"},
            "batch": {"quiet": "100ms"},
            "render": {"workers": 1},
            "log": {"format": "json"},
            "watches": watches,
        }
        (self.root / "ocrd.yaml").write_text(yaml.safe_dump(config))

    def start(self, command: str = "run") -> "subprocess.Popen[bytes]":
        log = self.log.open("ab")
        daemon = subprocess.Popen(
            [OCRD, command, "-c", self.root / "ocrd.yaml"],
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(TESTS)},
        )
        log.close()
        self._daemons.append(daemon)
        return daemon

    def drop(self, name: str, pages: int = 1, watch: str = "scans") -> None:
        document = pymupdf.open()
        for number in range(pages):
            document.new_page().insert_text((72, 72), f"{name} {number}")
        part = self.root / watch / "inbox" / f"{name}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        document.save(part)
        part.rename(part.with_suffix(""))

    def path(self, name: str, watch: str = "scans") -> Path:
        return self.root / watch / name

    def files(self, role: str, watch: str = "scans") -> list[str]:
        folder = self.root / watch / role
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def events(self, event: str) -> list[dict[str, object]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def reads(self) -> list[int]:
        return [int(line) for line in self.tally.read_text().split()] if self.tally.exists() else []

    def jobs(self) -> list[Path]:
        return sorted((self.root / "scans" / ".inbox.ocrd-work").glob("*/job.json"))

    def close(self) -> None:
        for daemon in self._daemons:
            if daemon.poll() is None:
                daemon.kill()
            daemon.wait()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def stop(daemon: "subprocess.Popen[bytes]") -> int:
    daemon.terminate()
    return daemon.wait(timeout=20)


def test_a_scan_dropped_while_it_runs_is_delivered_and_archived(house: House) -> None:
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    house.drop("letter.pdf", pages=3)
    wait_for(lambda: house.files("archive") == ["letter.pdf"])
    text = house.path("outbox/letter.md").read_text()
    assert [f"<!-- page {n} -->" in text for n in (1, 2, 3)] == [True] * 3
    assert stop(daemon) == 0
    assert house.files("inbox") == []
    [line] = house.events("delivered")
    assert line["source"] == "letter.pdf"
    assert line["pages"] == 3
    assert house.events("stopped")


def test_scans_that_lay_there_at_the_start_are_read_too(house: House) -> None:
    house.drop("old.pdf")
    daemon = house.start()
    wait_for(lambda: house.files("archive") == ["old.pdf"])
    assert stop(daemon) == 0


def test_each_watch_has_its_own_folders_and_keeps_subfolders(house: House) -> None:
    house.configure(("scans", "faxes"))
    house.drop("2026/november/a.pdf")
    house.drop("b.pdf", watch="faxes")
    assert house.start("once").wait(30) == 0
    assert house.files("outbox") == ["2026/november/a.md"]
    assert house.files("archive") == ["2026/november/a.pdf"]
    assert house.files("outbox", "faxes") == ["b.md"]
    assert house.files("archive", "faxes") == ["b.pdf"]


def test_a_taken_name_is_never_overwritten(house: House) -> None:
    for role, name in (("outbox", "a.md"), ("archive", "a.pdf")):
        house.path(role).mkdir()
        house.path(f"{role}/{name}").write_text("a stranger's")
    house.drop("a.pdf")
    assert house.start("once").wait(30) == 0
    assert house.path("outbox/a.md").read_text() == house.path("archive/a.pdf").read_text() == "a stranger's"
    assert house.files("outbox") == ["a (2).md", "a.md"]
    assert house.files("archive") == ["a (2).pdf", "a.pdf"]


def test_once_ends_with_65_if_a_source_was_refused(house: House) -> None:
    house.path("inbox/empty.pdf").touch()
    house.drop("good.pdf")
    assert house.start("once").wait(30) == 65
    assert house.files("error") == ["empty.pdf", "empty.pdf.error.md"]
    assert house.files("outbox") == ["good.md"]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_pages_read_before_an_end_in_the_middle_are_not_read_again(house: House, end: signal.Signals) -> None:
    house.configure(seconds=0.05, window=1)
    house.drop("long.pdf", pages=40)
    daemon = house.start()
    wait_for(lambda: len(house.reads()) >= 15)
    daemon.send_signal(end)
    assert daemon.wait(20) == (-signal.SIGKILL if end == signal.SIGKILL else 0)
    assert house.files("inbox") == house.files("outbox") == house.files("archive") == []
    [job] = house.jobs()
    assert json.loads(job.read_text())["attempts"] == (1 if end == signal.SIGKILL else 0)
    assert house.start("once").wait(60) == 0
    assert set(house.reads()) == set(range(40))
    assert len(house.reads()) <= 40 + 4  # at most the pages that were in flight
    assert house.path("outbox/long.md").read_text().count("<!-- page ") == 40


def test_a_source_that_kills_the_daemon_is_refused_after_three_times_and_delays_nobody(house: House) -> None:
    house.configure(seconds=30)
    house.drop("poison.pdf")
    for _ in range(3):
        before = len(house.reads())
        daemon = house.start()
        wait_for(lambda before=before: len(house.reads()) > before)
        daemon.kill()
        daemon.wait()
    house.configure(seconds=0)
    house.drop("good.pdf")
    assert house.start("once").wait(30) == 65
    assert house.files("outbox") == ["good.md"]
    assert "died 3 times" in house.path("error/poison.pdf.error.md").read_text()


def test_a_dead_engine_ends_the_daemon_with_75_and_costs_no_attempt(house: House) -> None:
    house.configure(die=True)
    house.drop("a.pdf")
    assert house.start().wait(30) == os.EX_TEMPFAIL
    [job] = house.jobs()
    assert json.loads(job.read_text())["attempts"] == 0


def test_a_page_that_fails_is_a_visible_placeholder(house: House) -> None:
    house.configure(fail_page=1)
    house.drop("three.pdf", pages=3)
    assert house.start("once").wait(30) == 0
    text = house.path("outbox/three.md").read_text()
    assert "status: partial" in text
    assert "Page 2 could not be read: The simulated engine can't read this page" in text
    assert house.events("delivered")[0]["failed"] == 1


def test_a_fault_of_the_machine_pauses_and_work_resumes_by_itself(house: House) -> None:
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    house.path("outbox").rmdir()
    house.drop("a.pdf")
    wait_for(lambda: house.events("paused"))
    assert len(house.events("paused")) == 1
    assert str(house.path("outbox")) in str(house.events("paused")[0]["what"])
    house.path("outbox").mkdir()
    wait_for(lambda: house.files("archive") == ["a.pdf"])
    wait_for(lambda: house.events("resumed"))
    assert house.files("error") == []
    assert len(house.reads()) == 1
    assert stop(daemon) == 0


def test_a_second_daemon_on_the_same_folders_is_turned_away(house: House) -> None:
    house.start()
    wait_for(lambda: house.events("ready"))
    second = subprocess.run(
        [OCRD, "run", "-c", house.root / "ocrd.yaml"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert second.returncode == os.EX_IOERR
    assert "Another ocrd is already working in" in second.stderr
