"""The owner's commands at the end of a document: what they know, and that they can't harm it."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from house import House, stop, wait_for

from ocrd.config import loader
from ocrd.daemon.compartment import Compartment
from ocrd.daemon.hooks import AT_ONCE, Hooks
from ocrd.errors import MachineError
from ocrd.storage.roles import Roles
from ocrd.telemetry.events import Events


def hook(house: House, **settings: Any) -> None:
    path = house.root / "ocrd.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["watches"][0] |= settings
    path.write_text(yaml.safe_dump(raw))


TELL = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('OCRD_')}))"


def said(house: House) -> list[dict[str, Any]]:
    return [json.loads(str(line["line"])) for line in house.events("hook says")]


def test_each_end_runs_its_hook_with_the_facts(house: House) -> None:
    house.configure(settle={"patience": "0s"})  # else more of an empty file may come
    hook(house, on_delivered=[sys.executable, "-c", TELL], on_refused=[sys.executable, "-c", TELL])
    house.drop("good.pdf", pages=2)
    house.path("inbox/empty.pdf").touch()
    assert house.start("once").wait(120) == 65
    told = {facts["OCRD_EVENT"]: facts for facts in said(house)}
    delivered, refused = told["delivered"], told["refused"]
    assert (delivered["OCRD_SOURCE"], delivered["OCRD_PAGES"], delivered["OCRD_STATUS"]) == (
        "good.pdf", "2", "complete",
    )  # fmt: skip
    assert Path(delivered["OCRD_SIDECAR"]) == house.path("outbox/good.md")
    assert Path(delivered["OCRD_ORIGINAL"]) == house.path("archive/good.pdf")
    assert Path(refused["OCRD_NOTE"]) == house.path("error/empty.pdf.error.md")
    assert "empty" in refused["OCRD_REASON"]
    assert Path(refused["OCRD_NOTE"]).exists()


@pytest.mark.parametrize(
    ("command", "timeout", "reason"),
    [
        (["/nowhere/at/all"], "2min", "It can't be started"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "2min", "It ended with exit code 3."),
        (["sh", "-c", "sleep 600 & sleep 600"], "500ms", "It took longer than 0.5 s, and was ended."),
    ],
)
def test_a_hook_that_fails_harms_nobody(house: House, command: list[str], timeout: str, reason: str) -> None:
    hook(house, on_delivered=command, hook_timeout=timeout)
    house.drop("good.pdf")
    assert house.start("once").wait(120) == os.EX_UNAVAILABLE
    assert house.files("archive") == ["good.pdf"]
    [line] = house.events("hook failed")
    assert reason in str(line["reason"])
    assert (line["job"], line["source"]) == (house.events("delivered")[0]["job"], "good.pdf")


def test_a_hook_that_prints_without_end_does_not_fill_the_log(house: House) -> None:
    hook(house, on_delivered=[sys.executable, "-c", "print('x' * 999); print('y\\n' * 2_000_000)"])
    house.drop("good.pdf")
    assert house.start("once").wait(120) == 0
    assert house.log.stat().st_size < 3_000_000
    assert house.events("hook says")[0]["line"] == "x" * 999


def test_a_stop_ends_a_hook_that_does_not_end(house: House) -> None:
    raw = yaml.safe_load((house.root / "ocrd.yaml").read_text())
    (house.root / "ocrd.yaml").write_text(yaml.safe_dump(raw | {"service": {"drain": "300ms"}}))
    mark = house.root / "mark"
    hook(house, on_delivered=["sh", "-c", f"echo $$ > {mark}; sleep 600"])
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    house.drop("good.pdf")
    wait_for(lambda: mark.exists() and mark.read_text())
    assert stop(daemon) == 0
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()
    assert [line["reason"] for line in house.events("hook failed")] == ["ocrd stopped before it had run to its end."]


READ = "import json, sys; print(json.dumps(json.load(sys.stdin)))"


def test_a_hook_reads_all_that_was_delivered_from_its_standard_input(house: House) -> None:
    hook(house, on_delivered=[sys.executable, "-c", READ], outputs=["markdown", "json", "text"])
    house.path("inbox/good.pdf.ocrd.yaml").write_text("outputs: [markdown, text, html]\n")
    house.drop("good.pdf", pages=2)
    assert house.start("once").wait(120) == 0
    [facts] = said(house)
    assert facts["files"] == [str(house.path(f"outbox/good{ending}")) for ending in (".html", ".txt", ".md")]
    assert facts["originals"] == [str(house.path(f"archive/good.pdf{ending}")) for ending in ("", ".ocrd.yaml")]
    assert (facts["pages"], facts["status"], facts["verdicts"]) == (2, "complete", {"ok": 2})
    assert all(map(os.path.exists, (*facts["files"], *facts["originals"])))


def test_a_linked_duplicate_is_told_to_a_hook_as_such(house: House) -> None:
    hook(house, on_delivered=[sys.executable, "-c", READ], duplicates="link")
    house.drop("good.pdf", pages=2)
    assert house.start("once").wait(120) == 0
    shutil.copy(house.path("archive/good.pdf"), house.path("inbox/again.pdf"))
    assert house.start("once").wait(120) == 0
    assert [(facts["source"], facts["pages"], facts["status"]) for facts in said(house)] == [
        ("good.pdf", 2, "complete"),
        ("again.pdf", 2, "duplicate"),
    ]


def test_once_ends_when_every_hook_has_run(house: House) -> None:
    raw = yaml.safe_load((house.root / "ocrd.yaml").read_text())
    (house.root / "ocrd.yaml").write_text(yaml.safe_dump(raw | {"service": {"drain": "100ms"}}))
    hook(house, on_delivered=["sh", "-c", "sleep 0.3; echo $OCRD_SOURCE"])
    for number in range(9):
        house.drop(f"{number}.pdf")
    assert house.start("once").wait(120) == 0
    assert sorted(str(line["line"]) for line in house.events("hook says")) == [f"{number}.pdf" for number in range(9)]
    assert not list(house.path(".inbox.ocrd-work").glob("hook-*"))


def test_hooks_that_wait_at_a_stop_run_after_the_next_start(house: House) -> None:
    raw = yaml.safe_load((house.root / "ocrd.yaml").read_text())
    (house.root / "ocrd.yaml").write_text(yaml.safe_dump(raw | {"service": {"drain": "100ms"}}))
    go = house.root / "go"
    hook(
        house,
        on_delivered=[
            "sh",
            "-c",
            f"for _ in $(seq 6000); do [ -e {go} ] && break; sleep 0.05; done; echo $OCRD_SOURCE",
        ],
    )
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    for number in range(7):
        house.drop(f"{number}.pdf")
    wait_for(lambda: len(list(house.path(".inbox.ocrd-work").glob("hook-*.json"))) == 3)
    assert stop(daemon) == 0
    assert (len(house.events("hook failed")), len(house.events("hook left for the next start"))) == (4, 3)
    ended = {line["source"] for line in house.events("hook failed")}
    go.touch()
    assert house.start("once").wait(120) == 0
    assert {line["line"] for line in house.events("hook says")} == {f"{number}.pdf" for number in range(7)} - ended
    assert not list(house.path(".inbox.ocrd-work").glob("hook-*"))


def test_what_was_written_down_of_a_hook_and_is_damaged_stops_nobody(house: House) -> None:
    hook(house, on_delivered=[sys.executable, "-c", READ])
    house.path(".inbox.ocrd-work").mkdir()
    house.path(".inbox.ocrd-work/hook-20260101T000000-abcdef.json").write_text('{"event": 3}')
    house.drop("good.pdf")
    assert house.start("once").wait(120) == 0
    assert [facts["source"] for facts in said(house)] == ["good.pdf"]
    assert len(house.events("hook lost")) == 1


def test_what_was_left_runs_once_though_the_disk_fails_while_it_is_looked_for(tmp_path: Path) -> None:
    script = 'until [ -e "$0" ]; do sleep 0.1; done; echo ran >> "$1"'
    go, done = tmp_path / "go", tmp_path / "done"
    command = json.dumps(["sh", "-c", script, str(go), str(done)])
    folders = ", ".join(f"{role}: {role}" for role in ("inbox", "outbox", "archive", "error", "work"))
    text = f"watches: [{{name: scans, {folders}, on_delivered: {command}}}]"
    [watch] = loader.parse(text, tmp_path / "ocrd.yaml").watches
    work = watch.work_folder
    work.mkdir()
    count = AT_ONCE + 3
    for number in range(count):
        facts = {"event": "delivered", "job": str(number), "source": "a.pdf"}
        (work / f"hook-{number}.json").write_text(json.dumps(facts))
    obstacle = work / "notify-0.json"
    obstacle.mkdir()

    async def resumed() -> None:
        hooks = Hooks(Compartment(watch, Events(), Roles()), lambda: None)
        with pytest.raises(MachineError):
            await hooks.resume()
        obstacle.rmdir()
        await hooks.resume()
        go.touch()
        await hooks.close(50)

    asyncio.run(resumed())
    assert done.read_text().split() == ["ran"] * count
    assert not list(work.iterdir())
