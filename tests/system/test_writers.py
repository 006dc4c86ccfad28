"""What breaks off and goes on later, or has its room reserved first, is read once and whole, with the real programs.

Pictures whose list of contents comes first look whole by their format as soon as their head is there.
"""

import ftplib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from house import House, wait_for
from PIL import Image
from writers import SFTP_SERVER, gaps_tell, ports, program, run

from ocrd.rendering import truncation

OPEN = "a program still has it open for writing"
RESERVED = "In this file room was reserved that is not filled yet."
BLOCK = 1 << 16


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One daemon for all that arrives."""
    house = House(tmp_path_factory.mktemp("a house"))
    house.configure(settle={"quiet": "400ms", "rescan": "10min"})
    house.start()
    wait_for(lambda: house.events("ready") and house.events("watching"))
    yield house
    house.close()


@pytest.fixture(params=["tif", "webp"])
def scan(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A picture that looks whole though its second half is nothing but zeros."""
    path = tmp_path / f"scan.{request.param}"
    Image.frombytes("L", (600, 500), os.urandom(300_000)).save(path, lossless=True)
    data = path.read_bytes()
    half = path.with_name("half")
    half.write_bytes(data[: len(data) // 2].ljust(len(data), b"\0"))
    assert truncation.lacks(half) == ""
    return path


def ends_of(house: House, name: str) -> list[str]:
    ends = ("delivered", "refused", "returned")
    return [str(line["event"]) for end in ends for line in house.events(end) if line["source"] == name]


def waited(house: House, name: str) -> list[str]:
    return [str(line["reason"]) for line in house.events("waiting") if line["source"] == name]


def delivered(house: House, name: str, scan: Path) -> None:
    """Wait until a source is archived: read once, with all of its bytes."""
    wait_for(lambda: house.path(f"archive/{name}").exists() and ends_of(house, name))
    assert ends_of(house, name) == ["delivered"]
    same = sha256(house.path(f"archive/{name}").read_bytes()).digest() == sha256(scan.read_bytes()).digest()
    assert same, "archived before it was complete"


# A download in which room is reserved first


class Web:
    """A web server that sends half of what it is asked for, and the rest only when `go` is set."""

    def __init__(self, data: bytes) -> None:
        self.go = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                start = int(found[1]) if found else 0
                part = data[start : int(found[2]) + 1 if found and found[2] else len(data)]
                self.send_response(206 if found else 200)
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Length", str(len(part)))
                if found:
                    self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(data)}")
                self.end_headers()
                self.wfile.write(part[: len(part) // 2])
                if web.go.wait(120):
                    self.wfile.write(part[len(part) // 2 :])

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_port}/scan"

    def close(self) -> None:
        self.go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(120)


@pytest.fixture
def web(scan: Path) -> Iterator[Web]:
    web = Web(scan.read_bytes())
    yield web
    web.close()


def test_aria2_is_ended_and_goes_on(house: House, scan: Path, web: Web) -> None:
    name = f"aria2-{scan.name}"
    path = house.path(f"inbox/{name}")
    command = [program("aria2c"), "--no-conf", "--quiet", "--continue", "--file-allocation=trunc", "--disk-cache=0"]
    command += ["--no-file-allocation-limit=0", "--dir", str(path.parent), "--out", name, web.address]
    with subprocess.Popen(command) as download:
        try:
            wait_for(lambda: OPEN in waited(house, name))
            wait_for(lambda: path.read_bytes()[:BLOCK].strip(b"\0"))
            assert path.stat().st_size == scan.stat().st_size
        finally:
            download.terminate()
    wait_for(lambda: [reason for reason in waited(house, name) if f"{name}.aria2 lists what it lacks" in reason])
    assert path.exists()
    web.go.set()
    run(*command)
    delivered(house, name, scan)
    assert not house.path(f"inbox/{name}.aria2").exists()


def test_a_copy_of_windows_breaks_off_and_is_made_again(house: House, scan: Path) -> None:
    """By the calls that smbd makes for it: the length is set first, then one block after the other is written."""
    if not gaps_tell(house.path("inbox")):
        pytest.skip("this file system does not tell of gaps")
    name, data = f"windows-{scan.name}", scan.read_bytes()

    def copy(most: int) -> None:
        target = os.open(house.path(f"inbox/{name}"), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.ftruncate(target, len(data))
            for start in range(0, most, BLOCK):
                os.pwrite(target, data[start : start + BLOCK], start)
        finally:
            os.close(target)

    copy(len(data) // 2)
    wait_for(lambda: RESERVED in waited(house, name))
    assert house.path(f"inbox/{name}").exists()
    copy(len(data))
    delivered(house, name, scan)


# Uploads


def sftp(commands: str, *, slow: bool = False) -> "subprocess.Popen[bytes]":
    """Start a client of SFTP with a server of its own."""
    if not SFTP_SERVER.exists():
        pytest.skip("openssh-sftp-server is not installed")
    limit = ["-l", "80"] if slow else []  # kilobits a second
    client = subprocess.Popen(
        [program("sftp"), *limit, "-b", "-", "-D", SFTP_SERVER], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert client.stdin
    client.stdin.write(commands.encode())
    client.stdin.close()
    return client


def test_sftp_is_killed_and_goes_on(house: House, scan: Path) -> None:
    name = f"sftp-{scan.name}"
    path = house.path(f"inbox/{name}")
    client = sftp(f'put "{scan}" "{path}"\n', slow=True)
    try:
        wait_for(lambda: path.exists() and path.stat().st_size)
    finally:
        client.kill()
        client.wait(120)
    wait_for(lambda: [reason for reason in waited(house, name) if "its end is missing" in reason])
    assert sftp(f'reput "{scan}" "{path}"\n').wait(120) == 0
    delivered(house, name, scan)


@contextmanager
def vsftpd(root: Path, inbox: Path) -> Iterator[int]:
    """Serve a folder by FTP to everybody, as a scanner's user; gives the port."""
    port = ports(8_000)
    settings = {
        "listen": "YES", "listen_address": "127.0.0.1", "listen_port": port, "background": "NO",
        "anonymous_enable": "YES", "local_enable": "NO", "no_anon_password": "YES", "run_as_launching_user": "YES",
        "write_enable": "YES", "anon_upload_enable": "YES", "anon_other_write_enable": "YES", "anon_umask": "022",
        "anon_root": inbox.parent, "xferlog_enable": "NO", "seccomp_sandbox": "NO",
    }  # fmt: skip
    configuration = root / "vsftpd.conf"
    configuration.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    server = subprocess.Popen([program("vsftpd"), configuration], stdin=subprocess.DEVNULL, start_new_session=True)

    def answers() -> bool:
        assert server.poll() is None, "vsftpd ended"
        try:
            connected(port).close()
        except ftplib.all_errors:
            return False
        return True

    try:
        wait_for(answers)
        yield port
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(120)


def connected(port: int) -> ftplib.FTP:
    client = ftplib.FTP()  # noqa: S321 - it is what scanners speak
    client.connect("127.0.0.1", port, timeout=120)
    client.login()
    client.cwd("inbox")
    client.voidcmd("TYPE I")
    return client


def test_a_scanner_that_sends_by_ftp_pauses_breaks_off_and_goes_on(house: House, scan: Path, tmp_path: Path) -> None:
    name, data = f"ftp-{scan.name}", scan.read_bytes()
    half = len(data) // 2
    with vsftpd(tmp_path, house.path("inbox")) as port:
        client = connected(port)
        sending = client.transfercmd(f"STOR {name}")
        sending.sendall(data[:half])
        wait_for(lambda: OPEN in waited(house, name))
        sending.close()
        client.close()
        wait_for(lambda: [reason for reason in waited(house, name) if "its end is missing" in reason])
        client = connected(port)
        assert client.size(name) == half
        with client.transfercmd(f"STOR {name}", rest=half) as sending:
            sending.sendall(data[half:])
        client.voidresp()
        client.quit()
        delivered(house, name, scan)
