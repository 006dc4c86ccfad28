"""What Prometheus scrapes, and what is answered to whoever asks after health."""

import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from ocrd.config import loader
from ocrd.errors import ConfigError
from ocrd.model import PageResult, Verdict
from ocrd.telemetry import metrics
from ocrd.telemetry.events import Accepted, Ended, HookEnded, PageDone, Paused, WatchAdded
from ocrd.telemetry.metrics import Metrics, Server
from ocrd.telemetry.status import STALE, StatusBoard

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


@pytest.fixture
def server(board: StatusBoard, numbers: Metrics) -> Iterator[Server]:
    made = Server(numbers, board.snapshot, "127.0.0.1:0")
    yield made
    made.close()


def ask(server: Server, path: str) -> tuple[int, str]:
    host, port = server.address[:2]
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_documents_pages_latency_and_queue_are_told(server: Server, board: StatusBoard) -> None:
    board.hear(Paused("scans", "The disk is full.", "Free some space."))
    code, told = ask(server, "/metrics")
    assert code == 200
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
        assert line in told.splitlines(), line


def test_each_counter_of_a_watch_begins_at_zero(server: Server, numbers: Metrics) -> None:
    """Of a counter that begins at one, Prometheus sees no increase: the first refusal would be missed."""
    numbers.hear(WatchAdded("faxes", "events", 60.0))
    _, told = ask(server, "/metrics")
    for line in (
        'ocrd_documents_total{outcome="refused",watch="faxes"} 0.0',
        'ocrd_pages_total{verdict="failed",watch="faxes"} 0.0',
        'ocrd_accepted_total{watch="faxes"} 0.0',
        'ocrd_latency_seconds_count{watch="faxes"} 0.0',
        'ocrd_found_by_scan_total{watch="scans"} 0.0',
    ):
        assert line in told.splitlines(), line


def test_health_is_the_heartbeats_and_ready_is_the_owners(server: Server, board: StatusBoard) -> None:
    assert ask(server, "/healthz")[0] == ask(server, "/readyz")[0] == 200
    board.hear(Paused("scans", "The disk is full.", "Free some space."))
    assert ask(server, "/healthz")[0] == 200
    assert ask(server, "/readyz") == (503, '{"status": "watch scans is paused: The disk is full."}\n')
    board.complaint = "the engine is silent"
    assert ask(server, "/healthz") == (503, '{"status": "the engine is silent"}\n')
    assert ask(server, "/")[0] == 404


def test_a_loop_that_no_longer_turns_is_no_health(board: StatusBoard) -> None:
    status = board.snapshot()
    assert metrics._healthy(status, time.time())[0] == 200
    assert metrics._healthy(status, status.written + STALE + 1)[0] == 503


def test_a_unix_socket_serves_the_same(numbers: Metrics, board: StatusBoard, tmp_path: Path) -> None:
    path = tmp_path / "metrics.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # by one that was killed
    server = Server(numbers, board.snapshot, str(path))
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            told = b"".join(iter(lambda: client.recv(65536), b""))
    finally:
        server.close()
    assert told.startswith(b"HTTP/1.0 200 OK")
    assert b"ocrd_pages_left" in told


def test_a_socket_takes_the_place_of_no_file_and_of_no_daemon(
    numbers: Metrics, board: StatusBoard, tmp_path: Path
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="A file that is no socket lies there"):
        Server(numbers, board.snapshot, str(path))
    assert path.read_text() == "mine"
    server = Server(numbers, board.snapshot, str(tmp_path / "metrics.sock"))
    try:
        with pytest.raises(ConfigError, match="Address already in use"):
            Server(numbers, board.snapshot, str(tmp_path / "metrics.sock"))
        assert (tmp_path / "metrics.sock").is_socket()
    finally:
        server.close()


def test_a_taken_port_is_one_clear_error(server: Server, numbers: Metrics, board: StatusBoard) -> None:
    port = server.address[1]
    with pytest.raises(ConfigError, match=r"Address already in use"):
        Server(numbers, board.snapshot, f"127.0.0.1:{port}")


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_that_no_socket_has_is_a_fault_of_the_configuration(port: int) -> None:
    with pytest.raises(ConfigError, match="must have a port from 1 to 65535"):
        loader.parse(f'metrics: {{listen: "127.0.0.1:{port}"}}\n{WATCHES}', Path("/etc/ocrd/ocrd.yaml"))


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", "9464", "example.org:80", "192.168.1.1:80"])
def test_nobody_outside_this_machine_can_ask(listen: str) -> None:
    with pytest.raises(ConfigError, match="must be a loopback address"):
        loader.parse(f'metrics: {{listen: "{listen}"}}\n{WATCHES}', Path("/etc/ocrd/ocrd.yaml"))


def test_the_dashboard_asks_only_for_what_is_told(numbers: Metrics, board: StatusBoard) -> None:
    board._engine.memory = board._engine.memory_used = board._engine.memory_total = 1
    told = set(re.findall(r"^(ocrd_\w+)", generate_latest(numbers.registry).decode(), re.MULTILINE))
    dashboard = json.loads((REPOSITORY / "monitoring/grafana.json").read_text())
    asked = {name for panel in dashboard["panels"] for target in panel["targets"]
             for name in re.findall(r"ocrd_\w+", target["expr"])}  # fmt: skip
    told.add("ocrd_page_seconds_bucket")  # a histogram without labels has its buckets from the start
    assert len(asked) >= 12
    assert asked <= told
