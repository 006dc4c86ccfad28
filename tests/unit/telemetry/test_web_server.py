"""What is answered on the port or socket: to whom, about health, and the page for a browser."""

import base64
import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ocrd.config import loader
from ocrd.errors import ConfigError
from ocrd.telemetry import web_server
from ocrd.telemetry.events import Paused
from ocrd.telemetry.metrics import Metrics
from ocrd.telemetry.status_board import StatusBoard
from ocrd.telemetry.status_file import STALE
from ocrd.telemetry.web_server import Server, Shown

WATCHES = "watches: [{name: scans, inbox: /o/in, outbox: /o/out, archive: /o/ar, error: /o/er}]"
CONFIG = loader.parse(WATCHES, Path("/etc/ocrd/ocrd.yaml"))
TOKEN = "0123456789abcdef"  # noqa: S105 - a test's


@pytest.fixture
def board() -> StatusBoard:
    made = StatusBoard(CONFIG)
    made.state = "ready"
    return made


@pytest.fixture
def numbers(board: StatusBoard) -> Metrics:
    return Metrics(board.snapshot)


@contextmanager
def serving(board: StatusBoard, shown: Shown, listen: str = "127.0.0.1:0") -> Iterator[Server]:
    made = Server(Metrics(board.snapshot), board.snapshot, listen, shown)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def server(board: StatusBoard) -> Iterator[Server]:
    with serving(board, Shown()) as made:
        yield made


def answer(
    server: Server, path: str, headers: dict[str, str] | None = None, method: str = "GET"
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection(*server.address[:2], timeout=120)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def ask(server: Server, path: str, **headers: str) -> tuple[int, str]:
    code, _, text = answer(server, path, headers)
    return code, text


def test_health_is_the_heartbeats_and_ready_is_the_owners(server: Server, board: StatusBoard) -> None:
    assert ask(server, "/healthz")[0] == ask(server, "/readyz")[0] == 200
    board.hear(Paused("scans", "The disk is full.", "Free some space."))
    assert ask(server, "/healthz")[0] == 200
    assert ask(server, "/readyz") == (503, '{"status": "watch scans is paused: The disk is full."}\n')
    board.complaint = "the engine is silent"
    assert ask(server, "/healthz") == (503, '{"status": "the engine is silent"}\n')
    assert ask(server, "/")[0] == 404, "no page unless it is wanted"


def test_a_loop_that_no_longer_turns_is_no_health(board: StatusBoard) -> None:
    status = board.snapshot()
    assert web_server._healthy(status, time.time())[0] == 200
    assert web_server._healthy(status, status.written + STALE + 1)[0] == 503


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


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", "example.org:80", "192.168.1.1:80", "[::]:80", "128.0.0.1:80"])
def test_other_machines_can_ask_only_with_a_token(listen: str) -> None:
    text = f'metrics: {{listen: "{listen}"}}\n{WATCHES}'
    with pytest.raises(ConfigError, match=r"metrics\.token_file.* must be set, since .*, which other machines reach"):
        loader.parse(text, Path("/etc/ocrd/ocrd.yaml"))
    given = text.replace("}", ", token_file: token}", 1)
    assert loader.parse(given, Path("/etc/ocrd/ocrd.yaml")).metrics.token_file == Path("/etc/ocrd/token")


@pytest.mark.parametrize("listen", ["9464", "a b:80", "http://localhost:80", "[::1]"])
def test_what_is_no_address_is_told_so(listen: str) -> None:
    with pytest.raises(ConfigError, match="must be an address such as"):
        loader.parse(f'metrics: {{listen: "{listen}"}}\n{WATCHES}', Path("/etc/ocrd/ocrd.yaml"))


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/readyz", "/reviews/a.review.html", "/else"])
def test_who_does_not_say_the_token_is_told_nothing(board: StatusBoard, tmp_path: Path, path: str) -> None:
    with serving(board, Shown(lambda: "page", tmp_path, TOKEN)) as server:
        for said in (None, f"Bearer {TOKEN}x", basic(""), "Basic %", "Bearer", f"Digest {TOKEN}"):
            code, headers, _ = answer(server, path, {"Authorization": said} if said else {})
            assert (code, headers["WWW-Authenticate"].partition(" ")[0]) == (401, "Basic")


def test_the_token_is_a_bearers_or_anybodys_password(board: StatusBoard) -> None:
    with serving(board, Shown(lambda: "<p>page", token=TOKEN)) as server:
        for said in (f"Bearer {TOKEN}", f"bearer {TOKEN}", basic(TOKEN)):
            assert ask(server, "/", Authorization=said) == (200, "<p>page")


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("127.1.2.3:80", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("", 403),
    ],
)
def test_a_strangers_web_page_that_leads_here_by_its_own_name_reads_nothing(
    board: StatusBoard, tmp_path: Path, host: str, code: int
) -> None:
    (tmp_path / "a.review.html").write_text("review")
    with serving(board, Shown(lambda: "page", tmp_path)) as server:
        assert ask(server, "/", Host=host)[0] == code
        assert ask(server, "/reviews/a.review.html", Host=host)[0] == code
        assert ask(server, "/healthz", Host=host)[0] == 200


def test_nothing_can_be_changed_there(board: StatusBoard) -> None:
    with serving(board, Shown(lambda: "page")) as server:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert answer(server, "/", method=method)[0] == 405


def test_only_plain_html_files_of_the_folder_of_reviews_are_sent(board: StatusBoard, tmp_path: Path) -> None:
    folder = tmp_path / "reviews"
    folder.mkdir()
    (tmp_path / "secret.review.html").write_text("secret")
    (folder / "ä b.review.html").write_text("review")
    (folder / "notes.txt").write_text("secret")
    (folder / "link.review.html").symlink_to(tmp_path / "secret.review.html")
    (folder / "folder.review.html").mkdir()
    os.mkfifo(folder / "fifo.review.html")
    with serving(board, Shown(lambda: "page", folder)) as server:
        code, headers, text = answer(server, "/reviews/%C3%A4%20b.review.html")
        assert (code, text) == (200, "review")
        assert "sandbox" in headers["Content-Security-Policy"]
        for name in ("notes.txt", "link.review.html", "folder.review.html", "fifo.review.html",
                     "../secret.review.html", "..%2fsecret.review.html",
                     "%2fetc%2fpasswd.review.html", "a%00.review.html", "none.review.html", ""):  # fmt: skip
            assert ask(server, f"/reviews/{name}")[0] == 404, name


def test_callers_who_hold_the_line_are_let_go_and_too_many_are_sent_away(
    board: StatusBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_server, "MOST_CALLERS", 2)
    monkeypatch.setattr(web_server._Quiet, "timeout", 0.3)
    with serving(board, Shown()) as server, ExitStack() as held:
        for _ in range(2):
            held.enter_context(socket.create_connection(server.address[:2], timeout=120)).sendall(b"GET /hea")
        with socket.create_connection(server.address[:2], timeout=120) as third:
            assert third.recv(100) == b"", "sent away without an answer"
        deadline = time.monotonic() + 120
        while True:
            try:
                assert ask(server, "/healthz")[0] == 200
                break
            except (ConnectionError, http.client.HTTPException):
                assert time.monotonic() < deadline


def test_looks_at_a_disk_that_hang_leave_room_for_who_asks_for_health(
    board: StatusBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_server, "MOST_CALLERS", 4)
    looking, back = threading.Semaphore(0), threading.Event()

    def page() -> str:
        looking.release()
        back.wait(120)
        return "page"

    with serving(board, Shown(page)) as server, ExitStack() as held:
        held.callback(back.set)
        callers = [held.enter_context(socket.create_connection(server.address[:2], timeout=120)) for _ in range(2)]
        for caller in callers:
            caller.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            assert looking.acquire(timeout=120)
        assert ask(server, "/") == (503, '{"status": "too many ask, or a disk does not answer"}\n')
        assert ask(server, "/healthz")[0] == 200
        back.set()
        for caller in callers:
            with caller.makefile("rb") as answered:
                assert answered.read().endswith(b"page")
        assert ask(server, "/") == (200, "page")
