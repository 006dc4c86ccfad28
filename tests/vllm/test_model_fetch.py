"""The model is fetched before vLLM starts, from a server that speaks as Hugging Face does; how far it is, is told."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SHA = "0123456789012345678901234567890123456789"
FILES = {
    "config.json": b"{}",
    "model.safetensors": os.urandom(6 << 20),
    "assets/picture.png": b"not wanted",
    "pytorch_model.bin": b"not wanted either",
}
PATIENT = threading.Event()

FETCH = """
import asyncio, json, sys
from pathlib import Path
from ocrd.engines import model_fetch
from ocrd.engines.vllm.start_progress import StartProgress
from ocrd.telemetry import logs
logs.configure("info", "json", sys.stderr)
model_fetch.EVERY = model_fetch.LOG_EVERY = 0.05
said = []
class Listening(StartProgress):
    def fetching(self, text):
        said.append(text)
        super().fetching(text)
progress = Listening(Path(sys.argv[1]))
before = model_fetch.missing("some/Model", None)
try:
    asyncio.run(model_fetch.fetch("some/Model", None, progress.fetching))
except Exception as error:
    said.append(f"{type(error).__name__}: {error}")
print(json.dumps([before, model_fetch.missing("some/Model", None), said, progress.text]))
"""

LOOK = """
import sys, time
from ocrd.engines import model_files
from ocrd.errors import EngineError
from ocrd.telemetry import logs
logs.configure("info", "json", sys.stderr)
time.sleep = lambda _: None  # the library's own pauses, half a minute of them
try:
    model_files.config_file("some/Model", None, "vllm")
except EngineError as error:
    print(error)
"""


class Hub(BaseHTTPRequestHandler):
    """Answers as the Hub does; half of the weights come only once somebody has been told of the other half."""

    broken = ""
    """What befalls the weights: `busy` they are refused, `cut` they break off."""

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/some/Model/tree"):
            self._send(
                json.dumps([{"type": "file", "path": n, "size": len(d), "oid": _oid(d)} for n, d in FILES.items()])
            )
        elif path.startswith("/api/models/some/Model"):
            listed = [{"rfilename": name, "size": len(data)} for name, data in FILES.items()]
            self._send(json.dumps({"id": "some/Model", "sha": SHA, "siblings": listed}))
        else:
            self._file(path.split(f"/resolve/{SHA}/")[-1].split("/resolve/main/")[-1])

    def _send(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _file(self, name: str) -> None:
        data = FILES[name]
        if self.broken == "busy" and name.endswith(".safetensors"):
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("X-Repo-Commit", SHA)
        self.send_header("ETag", f'"{_oid(data)}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            half = len(data) // 2
            self.wfile.write(data[:half])
            self.wfile.flush()
            if half > 1 << 20 and self.broken == "cut":
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if half > 1 << 20:
                PATIENT.wait(1.5)
            self.wfile.write(data[half:])


def _oid(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Hub, "broken", "")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(hub: str, home: Path) -> tuple[tuple[dict[str, int], dict[str, int], list[str], str], str]:
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
    environment["HF_HUB_DISABLE_XET"] = "1"
    command = [sys.executable, "-c", FETCH, home / "start.json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=True)
    return tuple(json.loads(done.stdout)), done.stderr


def test_a_model_that_is_fetched_says_how_far_it_is(hub: str, tmp_path: Path) -> None:
    (before, after, said, text), log = fetch(hub, tmp_path)
    assert before == {"config.json": 2, "model.safetensors": 6 << 20}, "other weights and pictures stay there"
    assert after == {}
    assert any(one.startswith("fetching the model: 0.0 of 0.0 GB") and "MB/s" in one for one in said)
    assert text == ""
    assert "fetching the model some/Model" in log
    assert "MB/s" in log
    assert "%|" not in log, "no library draws a bar of its own"
    (again, _, said, _), _ = fetch(hub, tmp_path)
    assert again == {}
    assert said == [], "what is there is not fetched again"


@pytest.mark.parametrize(("broken", "why"), [("busy", "HTTP Error 503"), ("cut", "peer closed connection")])
def test_a_fetch_that_breaks_off_tells_each_retry_once_in_our_words_and_then_what_happens_next(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, why: str
) -> None:
    monkeypatch.setattr(Hub, "broken", broken)
    (_, after, said, _), log = fetch(hub, tmp_path)
    assert after == {"model.safetensors": 6 << 20}
    assert said[-1].startswith("EngineError: The model some/Model could not be fetched whole")
    assert ".." not in said[-1]
    lines = [json.loads(line)["event"] for line in log.splitlines() if not line.startswith("ERROR: ld.so")]
    retries = [line for line in lines if line.endswith("; it is tried again")]
    assert len(retries) == 5, log
    assert all(line.startswith(f"model.safetensors could not be fetched ({why}") for line in retries)
    others = [line for line in lines if line not in retries and not line.startswith("fetching the model")]
    assert not others, "the library says the same in its own words"


def test_without_a_network_it_says_why_the_model_is_wanting_and_the_library_says_nothing(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        environment = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{nobody.getsockname()[1]}"}
        environment |= {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        done = subprocess.run(
            [sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, timeout=200, check=True
        )
    assert "can't be fetched now: ConnectError: [Errno 111] Connection refused" in done.stdout
    lines = [line for line in done.stderr.splitlines() if not line.startswith("ERROR: ld.so")]
    assert len(lines) == 5
    assert all("config.json could not be fetched" in json.loads(line)["event"] for line in lines)
