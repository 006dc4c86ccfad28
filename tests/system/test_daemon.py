"""The real daemon, in a process of its own, over an engine that keeps the protocol."""

import grp
import json
import os
import signal
import subprocess

import pytest
import yaml
from house import MODULES, OCRD, House, stop, wait_for


def test_a_scan_dropped_while_it_runs_is_delivered_and_archived(house: House) -> None:
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    house.drop("letter.pdf", pages=3)
    wait_for(lambda: house.files("archive") == ["letter.pdf"] and house.events("delivered"))
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
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == ["2026/november/a.md"]
    assert house.files("archive") == ["2026/november/a.pdf"]
    assert house.files("outbox", "faxes") == ["b.md"]
    assert house.files("archive", "faxes") == ["b.pdf"]


def test_a_taken_name_is_never_overwritten(house: House) -> None:
    for role, name in (("outbox", "a.md"), ("archive", "a.pdf")):
        house.path(role).mkdir()
        house.path(f"{role}/{name}").write_text("a stranger's")
    house.drop("a.pdf")
    assert house.start("once").wait(120) == 0
    assert house.path("outbox/a.md").read_text() == house.path("archive/a.pdf").read_text() == "a stranger's"
    assert house.files("outbox") == ["a (2).md", "a.md"]
    assert house.files("archive") == ["a (2).pdf", "a.pdf"]


def test_once_ends_with_65_if_a_source_was_refused(house: House) -> None:
    house.configure(settle={"patience": "0s"})  # else more of an empty file may come
    house.path("inbox/empty.pdf").touch()
    house.drop("good.pdf")
    assert house.start("once").wait(120) == 65
    assert house.files("error") == ["empty.pdf", "empty.pdf.error.md"]
    assert house.files("outbox") == ["good.md"]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_pages_read_before_an_end_in_the_middle_are_not_read_again(house: House, end: signal.Signals) -> None:
    house.configure(seconds=0.3, window=1)
    house.drop("long.pdf", pages=40)
    daemon = house.start()
    wait_for(lambda: len(house.reads()) >= 5)
    daemon.send_signal(end)
    assert daemon.wait(120) == (-signal.SIGKILL if end == signal.SIGKILL else 0)
    assert house.files("inbox") == house.files("outbox") == house.files("archive") == []
    [job] = house.jobs()
    assert json.loads(job.read_text())["attempts"] == (1 if end == signal.SIGKILL else 0)
    house.configure()
    assert house.start("once").wait(120) == 0
    assert set(house.reads()) == set(range(40))
    assert len(house.reads()) <= 40 + 4  # at most the pages that were in flight
    assert house.path("outbox/long.md").read_text().count("<!-- page ") == 40


@pytest.mark.parametrize(("prompt", "again"), [("", 30), ("another", 120)])
def test_of_120_pages_a_kill_at_90_costs_30_unless_they_would_be_read_otherwise(
    house: House, prompt: str, again: int
) -> None:
    house.configure(hold=90)
    house.drop("long.pdf", pages=120, size=(100, 140))
    daemon = house.start()
    wait_for(lambda: len(house.reads()) == 90 + 4 + 2)  # the engine's window, and two for the one render worker
    wait_for(lambda: len(list(house.jobs()[0].parent.glob("pages/*.json"))) == 90)  # all but those in flight
    daemon.kill()
    daemon.wait()
    before = len(house.reads())
    house.configure(prompt=prompt)
    assert house.start("once").wait(120) == 0
    assert len(house.reads()) - before == again
    assert house.path("outbox/long.md").read_text().count("<!-- page ") == 120


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
    assert house.start("once").wait(120) == 65
    assert house.files("outbox") == ["good.md"]
    assert "died 3 times" in house.path("error/poison.pdf.error.md").read_text()


def test_a_dead_engine_ends_the_daemon_with_75_and_costs_no_attempt(house: House) -> None:
    house.configure(die=True)
    house.drop("a.pdf")
    assert house.start().wait(120) == os.EX_TEMPFAIL
    [job] = house.jobs()
    assert json.loads(job.read_text())["attempts"] == 0


def test_a_page_that_fails_is_a_visible_placeholder(house: House) -> None:
    house.configure(fail_page=1)
    house.drop("three.pdf", pages=3)
    assert house.start("once").wait(120) == 0
    text = house.path("outbox/three.md").read_text()
    assert "status: partial" in text
    assert "Page 2 could not be read: The simulated engine can't read this page" in text
    assert house.events("delivered")[0]["failed"] == 1


@pytest.mark.parametrize(("partial", "role", "other"), [("archive", "archive", "error"), ("error", "error", "archive")])
def test_the_original_of_a_partial_document_goes_where_its_watch_says(
    house: House, partial: str, role: str, other: str
) -> None:
    house.configure(fail_page=1, watch={"partial": partial})
    house.drop("three.pdf", pages=3)
    house.drop("one.pdf")
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == ["one.md", "three.md"]
    assert "three.pdf" in house.files(role)
    assert "three.pdf" not in house.files(other)
    assert "one.pdf" in house.files("archive"), "a whole one is archived in any case"
    assert "status: partial" in house.path("outbox/three.md").read_text()
    if partial == "error":
        note = house.path("error/three.pdf.error.md").read_text()
        assert "three.md was delivered" in note
        assert "was not read" not in note


def test_once_leaves_the_work_to_a_daemon_that_runs(house: House) -> None:
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    assert house.start("once").wait(120) == os.EX_TEMPFAIL
    [line] = house.events("nothing to do: another ocrd has these folders")
    assert line["level"] == "info"
    assert not house.events("failed")
    assert stop(daemon) == 0


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


def test_what_goes_out_has_the_mode_and_group_of_its_watch(house: House) -> None:
    config = yaml.safe_load((house.root / "ocrd.yaml").read_text())
    config["watches"][0] |= {
        "mode": "0660",
        "group": grp.getgrgid(os.getgid()).gr_name,
        "outputs": ["json", "markdown"],
    }
    (house.root / "ocrd.yaml").write_text(yaml.safe_dump(config))
    house.drop("sub/a.pdf")
    house.path("inbox/sub/bad.pdf").write_bytes(b"no PDF")
    assert house.start("once").wait(120) == 65
    for name in ("outbox/sub/a.md", "outbox/sub/a.json", "error/sub/bad.pdf.error.md"):
        assert house.path(name).stat().st_mode & 0o777 == 0o660, name
    for name in ("outbox/sub", "archive/sub", "error/sub"):
        assert house.path(name).stat().st_mode & 0o777 == 0o770, name


def test_a_daemon_on_a_terminal_ends_cleanly_with_it(house: House) -> None:
    terminal, side = os.openpty()
    daemon = house.start(stdin=side)
    os.close(side)
    wait_for(lambda: house.events("ready"))
    daemon.send_signal(signal.SIGHUP)
    assert daemon.wait(120) == 0
    assert house.events("stopped")
    os.close(terminal)


def test_a_second_daemon_on_the_same_folders_is_turned_away(house: House) -> None:
    house.start()
    wait_for(lambda: house.events("ready"))
    second = subprocess.run(
        [OCRD, "run", "-c", house.root / "ocrd.yaml"],
        env={**os.environ, "PYTHONPATH": MODULES},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert second.returncode == os.EX_IOERR
    [line] = map(json.loads, second.stderr.splitlines())
    assert (line["event"], "Another ocrd is already working in" in line["what"]) == ("failed", True)
