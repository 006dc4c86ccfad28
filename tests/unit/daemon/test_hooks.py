"""The owner's commands at the end of a document: what they know, and that they can't harm it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from house import House, stop, wait_for


def hook(house: House, **settings: Any) -> None:
    path = house.root / "ocrd.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["watches"][0] |= settings
    path.write_text(yaml.safe_dump(raw))


TELL = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('OCRD_')}))"


def said(house: House) -> list[dict[str, str]]:
    return [json.loads(str(line["line"])) for line in house.events("hook says")]


def test_each_end_runs_its_hook_with_the_facts(house: House) -> None:
    hook(house, on_delivered=[sys.executable, "-c", TELL], on_refused=[sys.executable, "-c", TELL])
    house.drop("good.pdf", pages=2)
    house.path("inbox/empty.pdf").touch()
    assert house.start("once").wait(30) == 65
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
    ("command", "reason"),
    [
        (["/nowhere/at/all"], "It can't be started"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "It ended with exit code 3."),
        (["sh", "-c", "sleep 600 & sleep 600"], "It took longer than 0.5 s, and was ended."),
    ],
)
def test_a_hook_that_fails_harms_nobody(house: House, command: list[str], reason: str) -> None:
    hook(house, on_delivered=command, hook_timeout="500ms")
    house.drop("good.pdf")
    assert house.start("once").wait(30) == 0
    assert house.files("archive") == ["good.pdf"]
    [line] = house.events("hook failed")
    assert reason in str(line["reason"])
    assert (line["job"], line["source"]) == (house.events("delivered")[0]["job"], "good.pdf")


def test_a_hook_that_prints_without_end_does_not_fill_the_log(house: House) -> None:
    hook(house, on_delivered=[sys.executable, "-c", "print('x' * 999); print('y\\n' * 2_000_000)"])
    house.drop("good.pdf")
    assert house.start("once").wait(30) == 0
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
