"""Answers on a port or a Unix socket, if the owner wants that: numbers, health, and a page for a browser.

/metrics, /healthz, /readyz; where they are wanted, / (how things stand) and /reviews/ (pages made by `ocrd review`).
"""

import base64
import errno
import hmac
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.util import FileWrapper

from ocrd.errors import ConfigError
from ocrd.output import result_names
from ocrd.storage.safe_paths import NotRegularError, regular
from ocrd.telemetry.metrics import Look, Metrics
from ocrd.telemetry.status import Status
from ocrd.telemetry.status_file import STALE
from ocrd.telemetry.status_page import REVIEWS

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PATIENCE = 10.0
"""Seconds that a caller may take for each of its lines, or to take what it is sent."""
MOST_CALLERS = 32
"""Those who are answered at a time; others are sent away."""
_LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]", "::1"}
_HARMLESS = [
    ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
]  # fmt: skip
_NO_SCRIPT = ("Content-Security-Policy", "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'")
"""What a file of the folder of reviews may do, whoever put it there."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is served, and to whom."""

    page: Callable[[], str] | None = None
    """Writes the page for a browser, in any thread; None where none is wanted."""
    reviews: Path | None = None
    """The folder of review pages that are served."""
    token: str = ""
    """What each caller has to say; empty: nothing."""


class Server:
    """Answers in threads of its own."""

    def __init__(self, metrics: Metrics, look: Look, listen: str, shown: Shown = Shown()) -> None:
        """Listen at `HOST:PORT`, or at the path of a Unix socket. Raises ConfigError if that can't be."""
        self._look = look
        self._metrics = metrics
        self._shown = shown
        self._by_path = listen.startswith("/")
        self._looks = threading.BoundedSemaphore(
            MOST_CALLERS // 2
        )  # the other places are left to /healthz and /metrics
        self._server = _opened(listen)
        self._server.set_app(self._answer)
        self.address = self._server.server_address
        self._thread = threading.Thread(target=self._server.serve_forever, name="web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path, shown = environ["PATH_INFO"], self._shown
        if refusal := self._refusal(environ):
            return _told(start_response, *refusal)
        if path == "/metrics":
            return self._metrics.answer(environ, start_response)
        if (path == "/" and shown.page) or (path.startswith(REVIEWS) and shown.reviews):
            return self._from_disk(path, start_response)
        return _told(start_response, *self._word_on(path))

    def _from_disk(self, path: str, start_response: "StartResponse") -> Iterable[bytes]:
        """Answer what needs a look into the folder of reviews, as long as not too many of these looks hang."""
        if not self._looks.acquire(blocking=False):
            return _told(start_response, HTTPStatus.SERVICE_UNAVAILABLE, "too many ask, or a disk does not answer")
        try:
            if path != "/" and self._shown.reviews:
                return _review(self._shown.reviews, path.removeprefix(REVIEWS), start_response)
            page = self._shown.page().encode() if self._shown.page else b""
        finally:
            self._looks.release()
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), *_HARMLESS])
        return [page]

    def _refusal(self, environ: "WSGIEnvironment") -> tuple[Any, ...]:
        """Say why a caller gets no answer; empty if that may be."""
        path, token = environ["PATH_INFO"], self._shown.token
        if token and not _said(environ.get("HTTP_AUTHORIZATION", ""), token):
            asked = ("WWW-Authenticate", 'Basic realm="ocrd", charset="UTF-8"')
            return HTTPStatus.UNAUTHORIZED, "this needs the token of metrics.token_file", asked
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED, "nothing can be changed here"
        if (path == "/" or path.startswith(REVIEWS)) and not self._asked_by_its_name(environ):
            return HTTPStatus.FORBIDDEN, "ask for it as localhost or 127.0.0.1"
        return ()

    def _word_on(self, path: str) -> tuple[HTTPStatus, str]:
        match path:
            case "/healthz":
                return _healthy(self._look(), time.time())
            case "/readyz":
                return _ready(self._look(), time.time())
        here = "/metrics, /healthz and /readyz are here"
        return HTTPStatus.NOT_FOUND, here if self._shown.page else f"{here}, with metrics.page also /"

    def _asked_by_its_name(self, environ: "WSGIEnvironment") -> bool:
        """Whether it is asked for as what it is.

        A web page of a stranger can let its own name lead to this machine (DNS rebinding), and ask in the browser of
        somebody who sits here. Who knows the token, or reaches the socket, is none of those.
        """
        name = environ.get("HTTP_HOST", "").rpartition("]")
        host = f"{name[0]}]" if name[1] else name[2].partition(":")[0]
        return self._by_path or bool(self._shown.token) or host in _LOCAL_NAMES or host.startswith("127.")


def _said(authorization: str, token: str) -> bool:
    """Whether a caller says the token: as `Bearer`, or as the password of anybody (RFC 6750, RFC 7617)."""
    scheme, _, credentials = authorization.partition(" ")
    said = credentials.strip().encode("latin-1", "replace")
    if scheme.lower() == "basic":
        with suppress(ValueError):
            said = base64.b64decode(said, validate=True).partition(b":")[2]
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(said, token.encode())


def _told(start_response: "StartResponse", code: HTTPStatus, reason: str, *headers: tuple[str, str]) -> Iterable[bytes]:
    start_response(f"{code.value} {code.phrase}", [("Content-Type", "application/json"), *headers])
    return [json.dumps({"status": reason}).encode() + b"\n"]


def _review(folder: Path, name: str, start_response: "StartResponse") -> Iterable[bytes]:
    """Send a review page: a plain file of this very folder, and no other."""
    name = os.fsdecode(name.encode("latin-1"))  # how WSGI spells the bytes of a path (PEP 3333)
    if name.endswith(result_names.REVIEW) and "/" not in name and "\0" not in name:
        with suppress(OSError, NotRegularError), regular(folder / name) as held:
            file = held.open("rb")
            start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), _NO_SCRIPT, *_HARMLESS])
            return FileWrapper(file)
    return _told(start_response, HTTPStatus.NOT_FOUND, "no such review page")


def _healthy(status: Status, now: float) -> tuple[HTTPStatus, str]:
    """Say whether all that must move does."""
    reason = status.complaint or ("the event loop does not turn" if now - status.written > STALE else "")
    return (HTTPStatus.SERVICE_UNAVAILABLE, reason) if reason else (HTTPStatus.OK, "ok")


def _ready(status: Status, now: float) -> tuple[HTTPStatus, str]:
    """Say whether what is dropped now will be read soon."""
    health = _healthy(status, now)
    if health[0] is not HTTPStatus.OK:
        return health
    paused = [f"watch {watch.name} is paused: {watch.paused.what}" for watch in status.watches if watch.paused]
    reason = "; ".join(paused) if status.state == "ready" else status.state
    return (HTTPStatus.SERVICE_UNAVAILABLE, reason) if reason else (HTTPStatus.OK, "ok")


class _Quiet(WSGIRequestHandler):
    """Asked every few seconds by machines, it keeps that out of the log."""

    timeout = PATIENCE

    def log_message(self, *_: object) -> None:
        pass


def _opened(listen: str) -> "_TcpServer | _UnixServer":
    try:
        return _UnixServer(listen) if listen.startswith("/") else _TcpServer(listen)
    except OSError as error:
        raise ConfigError(
            f"metrics.listen is {listen}, but that can't be listened at: {error.strerror}.",
            "Take another port or path, or end what listens there.",
        ) from error


def try_listening(listen: str) -> None:
    """Find out whether a server could listen there, and leave nothing behind. Raises ConfigError."""
    _opened(listen).server_close()
    if listen.startswith("/"):
        Path(listen).unlink(missing_ok=True)


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each caller in a thread, and only so many at a time."""

    daemon_threads = True

    def __init__(self, address: Any) -> None:  # noqa: ANN401 - of either family
        self._places = threading.BoundedSemaphore(MOST_CALLERS)
        super().__init__(address, _Quiet)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the library has it
        """Answer, or send away whom there is no place for."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be had
            self._places.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the library has it
        """Answer, in the caller's own thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the library has it
        """Leave a caller who is gone, or too slow, without a word."""


class _TcpServer(_Server):
    def __init__(self, listen: str) -> None:
        host, _, port = listen.rpartition(":")
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host.strip("[]"), int(port)))


def _clear(path: Path) -> None:
    """Take away the socket of a daemon that was killed. Raises OSError if it still answers, or is no socket."""
    with suppress(FileNotFoundError), socket.socket(socket.AF_UNIX) as caller:
        if not path.is_socket() and path.exists():
            raise FileExistsError(errno.EEXIST, "A file that is no socket lies there")
        try:
            caller.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


class _UnixServer(_Server):
    address_family = socket.AF_UNIX

    def __init__(self, path: str) -> None:
        _clear(Path(path))
        super().__init__(path)
        os.chmod(path, 0o660)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept, and name the client, who has no address."""
        return self.socket.accept()[0], ("local", 0)

    def server_bind(self) -> None:
        """Bind without asking for a host name, which a path has not."""
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", 0
        self.setup_environ()
