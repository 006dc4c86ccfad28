"""What is said of a start while it lasts, by the time it took last."""

import asyncio
import logging
from pathlib import Path

import pytest

from ocrd.engines.vllm import start_progress
from ocrd.engines.vllm.process_guard import Home
from ocrd.engines.vllm.start_progress import StartProgress


async def until(text: str, progress: StartProgress) -> None:
    async with asyncio.timeout(120):
        while not progress.text.startswith(text):
            await asyncio.sleep(0.01)


def test_a_start_says_its_phase_and_how_long_that_took_last_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(start_progress, "EVERY", 0.01)
    caplog.set_level(logging.INFO)
    now = 100.0
    home = Home(tmp_path)
    home.folder.mkdir()
    home.phase_file.write_text("")

    async def start(first: str, second: str) -> None:
        nonlocal now
        progress = StartProgress(tmp_path / "start.json", lambda: now)
        async with progress.watched(home, 100.0):
            await until("imports", progress)
            home.phase_file.write_text("weights 130.00\n")
            now = 131.0
            await until("weights", progress)
            assert progress.text == first
            home.phase_file.write_text("weights 130.00\ncompilation 135.00\n")
            now = 140.0
            await until("compilation", progress)
            assert progress.text == second
        assert progress.text == ""
        took = progress.finished([("imports", 100.0), ("weights", 130.0), ("compilation", 135.0), ("", 187.0)])
        assert took == {"imports": 30.0, "weights": 5.0, "compilation": 52.0}
        home.phase_file.write_text("")

    asyncio.run(start("weights for 1 s", "compilation for 5 s"))
    asyncio.run(start("weights for 1 s (last time 5 s)", "compilation for 5 s (last time 52 s)"))
    assert "the engine is started, which takes some minutes" in caplog.text
    assert "the engine is started (last time 87 s)" in caplog.text
    assert "the engine's start: compilation (last time 52 s)" in caplog.text


def test_the_phases_of_an_earlier_start_are_not_this_one_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_progress, "EVERY", 0.01)
    home = Home(tmp_path)
    home.folder.mkdir()
    home.phase_file.write_text("graphs 90.00\n")

    async def start() -> str:
        progress = StartProgress(tmp_path / "start.json", lambda: 101.0)
        async with progress.watched(home, 100.0):
            await asyncio.sleep(0.1)
            return progress.text

    assert asyncio.run(start()) == "imports for 1 s"


@pytest.mark.parametrize("kept", ["", "[]", '{"imports": "x"}', "{"])
def test_a_spoiled_record_of_the_last_start_is_no_record(kept: str, tmp_path: Path) -> None:
    (tmp_path / "start.json").write_text(kept)
    assert StartProgress(tmp_path / "start.json")._last == {}


def test_a_fetch_goes_before_all_else(tmp_path: Path) -> None:
    progress = StartProgress(tmp_path / "start.json")
    progress.fetching("fetching the model: 2.1 of 6.7 GB")
    assert progress.text == "fetching the model: 2.1 of 6.7 GB"
    progress.fetching("")
    assert progress.text == ""
