"""A real nginx before a server, as it comes: its limits are told as its own, and cost no page."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from house import House, stop, wait_for
from PIL import Image
from test_openai import configure, said, serving, status
from writers import ports

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")
CONFIG = """
daemon off; pid "{folder}/pid"; error_log "{folder}/errors"; worker_processes 1; {user}
events {{}}
http {{
  access_log off; client_body_temp_path "{folder}/bodies"; proxy_temp_path "{folder}/answers";
  fastcgi_temp_path "{folder}/f"; uwsgi_temp_path "{folder}/u"; scgi_temp_path "{folder}/s";
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate "{folder}/cert.pem"; ssl_certificate_key "{folder}/key.pem";
    {more}
    location / {{ proxy_pass {server}; }}
  }}
}}
"""

DOCUMENTED = re.findall(
    r"^    ((?:client_max_body_size|proxy_read_timeout) \w+;)$",
    (Path(__file__).parents[2] / "docs/scaling.md").read_text(),
    re.MULTILINE,
)
"""The settings of nginx that the documentation tells."""

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


class Proxy:
    """One nginx, with TLS, before one server."""

    def __init__(self, folder: Path, server: str) -> None:
        self._folder, self._server = folder, server.removesuffix("/v1")
        self._port = ports(21_000)
        self.address = f"https://localhost:{self._port}/v1"
        name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        made = ["-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
        subprocess.run(["openssl", "req", "-x509", *made, *name], check=True, capture_output=True)
        self.configure()

    def configure(self, more: str = "") -> None:
        user = "user root;" if os.geteuid() == 0 else ""
        text = CONFIG.format(folder=self._folder, port=self._port, server=self._server, more=more, user=user)
        (self._folder / "nginx.conf").write_text(text)

    @contextmanager
    def running(self) -> Iterator["subprocess.Popen[bytes]"]:
        program = [str(NGINX), "-p", self._folder, "-c", self._folder / "nginx.conf"]
        with subprocess.Popen(program, stderr=subprocess.DEVNULL) as process:
            try:
                wait_for((self._folder / "pid").exists)
                yield process
            finally:
                process.terminate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where nginx has its files."""
    made = tmp_path / "nginx"
    made.mkdir()
    return made


def noise(path: Path) -> None:
    """Save a scan that hardly anything can be packed of."""
    Image.frombytes("RGB", (1240, 1754), os.urandom(3 * 1240 * 1754)).save(path, dpi=(150, 150))


def test_pages_that_are_too_large_for_a_proxy_wait_until_its_limit_is_raised(
    house: House, ocrd: Any, folder: Path
) -> None:
    with serving("good") as (server, _):
        proxy = Proxy(folder, server)
        with proxy.running() as nginx:
            configure(house, proxy.address)
            told = ocrd("check")
            words = " ".join((told.stdout + told.stderr).split())
            assert f"WRONG server {proxy.address}: It takes no request of 9.6 MiB" in words
            assert "nginx: client_max_body_size 64m" in words
            daemon = house.start()
            wait_for(lambda: house.events("ready"))
            noise(house.path("inbox/a.png"))
            wait_for(lambda: any("takes no request of" in line for line in said(house)))
            wait_for(lambda: f"server   {proxy.address} is out: It takes no request of" in status(house))
            assert house.files("error") == house.files("outbox") == []
            proxy.configure("".join(DOCUMENTED))
            assert len(DOCUMENTED) == 2
            nginx.send_signal(1)  # SIGHUP: it takes the new configuration
            wait_for(lambda: house.files("outbox") == ["a.md"])  # a sidecar has another name while it is written
            assert "words" in house.path("outbox/a.md").read_text()
            assert stop(daemon) == 0
    assert sum("can't be used. It takes no request of" in line for line in said(house)) <= 1


def test_a_page_that_takes_longer_than_a_proxy_waits_fails_with_what_to_do_about_the_proxy(
    house: House, folder: Path
) -> None:
    with serving("late") as (server, _):
        proxy = Proxy(folder, server)
        proxy.configure("proxy_read_timeout 1s;")
        with proxy.running():
            configure(house, proxy.address)
            daemon = house.start()
            wait_for(lambda: house.events("ready"))
            house.drop("a.pdf", 1, size=(140, 140))
            wait_for(lambda: house.events("delivered") or house.events("refused"), 240)
            assert stop(daemon) == 0
    notes = "".join(
        house.path(f"{role}/{name}").read_text()
        for role in ("outbox", "error")
        for name in house.files(role)
        if name.endswith((".md", ".txt"))
    )
    assert "the proxy before it waited no longer for its answer (504): Gateway Time-out. Let the proxy" in notes
    assert r"wait as long as engine.openai.timeout (nginx: proxy\_read\_timeout), and read this once more." in notes
