"""When an engine that answers to nothing ends the heartbeat, and when it does not."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from simulated import small_page

from ocrd.config import loader
from ocrd.daemon import health
from ocrd.daemon.health import Health
from ocrd.engines.base import Engine, EngineInfo
from ocrd.engines.instrumented import InstrumentedEngine
from ocrd.model import EngineState, PageImage, PageSizer, PixelSize, Reading
from ocrd.telemetry import sd_notify
from ocrd.telemetry.events import Events

CONFIG = loader.parse(
    "service: {silence: 10s, loading: 100s}\n"
    "watches: [{name: scans, inbox: /o/in, outbox: /o/out, archive: /o/archive, error: /o/error}]",
    Path("/ocrd.yaml"),
)


class Silent(Engine):
    """Answers to nothing."""

    info = EngineInfo("silent", "none", "1", "silent-1")
    window = 1
    state = EngineState()

    @property
    def page_size(self) -> PageSizer:
        return small_page

    async def start(self) -> None: ...

    async def read(self, *_: Any, **__: Any) -> Reading:
        return await asyncio.get_running_loop().create_future()

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    ("doing", "after", "complains"),
    [("ready", 9, False), ("ready", 11, True), ("loading", 99, False), ("loading", 101, True), ("away", 10**6, False)],
)
def test_an_engine_that_answers_to_nothing_is_given_time_by_what_it_does(
    doing: str, after: float, *, complains: bool
) -> None:
    async def work() -> None:
        now = [0.0]
        silent = Silent()
        engine = InstrumentedEngine(silent, lambda: now[0])
        health = Health(CONFIG, engine, [], Events(lambda _: None), manager=sd_notify.Manager(), status_file=None)
        reading = asyncio.create_task(engine.read(PageImage(0, PixelSize(1, 1), b"...", 72.0)))
        await asyncio.sleep(0)
        silent.state, now[0] = EngineState(doing), after
        complaint = health._engine_answers(now[0])
        assert bool(complaint) == complains
        reading.cancel()
        await health.close()

    asyncio.run(work())


def test_a_review_whose_name_no_folder_holds_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "2026 - scan.review.html").touch()
    assert health._review(tmp_path, "2026/scan.md") == "2026 - scan.review.html"
    assert health._review(tmp_path, f"{'2026/' * 100}scan.md") == ""
