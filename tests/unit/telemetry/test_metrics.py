"""What Prometheus scrapes."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from ocrd.config import loader
from ocrd.model import PageResult, Verdict
from ocrd.telemetry.events import Accepted, Ended, HookEnded, PageDone, Paused, WatchAdded
from ocrd.telemetry.metrics import Metrics
from ocrd.telemetry.status_board import StatusBoard

REPOSITORY = Path(__file__).parents[3]
WATCHES = "watches: [{name: scans, inbox: /o/in, outbox: /o/out, archive: /o/ar, error: /o/er}]"
CONFIG = loader.parse(WATCHES, Path("/etc/ocrd/ocrd.yaml"))
WHO = ("scans", "j1", "a.pdf")


@pytest.fixture
def board() -> StatusBoard:
    made = StatusBoard(CONFIG)
    made.state = "ready"
    return made


@pytest.fixture
def numbers(board: StatusBoard) -> Metrics:
    made = Metrics(board.snapshot)
    for event in (
        WatchAdded("scans", "events", 60.0),
        Accepted(*WHO),
        PageDone(*WHO, PageResult(0, Verdict.OK, "", None, 1)),
        PageDone(*WHO, PageResult(1, Verdict.FAILED, "", None, 1)),
        Ended(*WHO, "delivered", Path("/o/a.md"), None, 1.0, 42.0, 2, "partial"),
        HookEnded("scans", "j1", "failed"),
    ):
        made.hear(event)
        board.hear(event)
    return made


def asked(numbers: Metrics) -> list[str]:
    return generate_latest(numbers.registry).decode().splitlines()


def test_documents_pages_latency_and_queue_are_told(numbers: Metrics, board: StatusBoard) -> None:
    board.hear(Paused("scans", "The disk is full.", "Free some space."))
    told = asked(numbers)
    for line in (
        'ocrd_documents_total{outcome="partial",watch="scans"} 1.0',
        'ocrd_pages_total{verdict="ok",watch="scans"} 1.0',
        'ocrd_pages_total{verdict="failed",watch="scans"} 1.0',
        'ocrd_latency_seconds_bucket{le="60.0",watch="scans"} 1.0',
        'ocrd_accepted_total{watch="scans"} 1.0',
        'ocrd_hooks_total{outcome="failed",watch="scans"} 1.0',
        'ocrd_hooks_total{outcome="left",watch="scans"} 0.0',
        'ocrd_paused{watch="scans"} 1.0',
        "ocrd_engine_restarts_total 0.0",
        "ocrd_ready 1.0",
    ):
        assert line in told, line


def test_each_counter_of_a_watch_begins_at_zero(numbers: Metrics) -> None:
    """Of a counter that begins at one, Prometheus sees no increase: the first refusal would be missed."""
    numbers.hear(WatchAdded("faxes", "events", 60.0))
    told = asked(numbers)
    for line in (
        'ocrd_documents_total{outcome="refused",watch="faxes"} 0.0',
        'ocrd_pages_total{verdict="failed",watch="faxes"} 0.0',
        'ocrd_accepted_total{watch="faxes"} 0.0',
        'ocrd_latency_seconds_count{watch="faxes"} 0.0',
        'ocrd_found_by_scan_total{watch="scans"} 0.0',
    ):
        assert line in told, line


def test_the_dashboard_asks_only_for_what_is_told(numbers: Metrics, board: StatusBoard) -> None:
    board._engine.memory = board._engine.memory_used = board._engine.memory_total = 1
    told = set(re.findall(r"^(ocrd_\w+)", generate_latest(numbers.registry).decode(), re.MULTILINE))
    dashboard = json.loads((REPOSITORY / "monitoring/grafana.json").read_text())
    asked = {name for panel in dashboard["panels"] for target in panel["targets"]
             for name in re.findall(r"ocrd_\w+", target["expr"])}  # fmt: skip
    told.add("ocrd_page_seconds_bucket")  # a histogram without labels has its buckets from the start
    assert len(asked) >= 12
    assert asked <= told
