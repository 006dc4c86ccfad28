"""A web server on loopback that keeps what it is sent, and answers as a test says: also badly."""

import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

CERTIFICATE = Path(__file__).parents[1] / "files" / "receiver.pem"
"""A key, and a certificate for `receiver.test` that it has signed itself."""


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    """By names in small letters."""
    body: bytes


class Receiver:
    """Answers each request with the next of the `answers`, and all later ones with the last: a status, or

    `hang` (nothing until it is closed), `redirect` (to itself), `close` (no answer), `endless head`, `endless body`.
    """

    def __init__(self, *answers: int | str, host: str = "127.0.0.1", tls: bool = False) -> None:
        self.requests: list[Request] = []
        self._answers = list(answers)
        self._closing = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                names = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append(Request(self.path, names, body))
                with suppress(OSError):  # who has heard enough hangs up
                    receiver._answer(self)

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the library's name
                pass

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = False  # so that a close waits for all
        self.port = self._server.server_address[1]
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer == "hang":
            self._closing.wait(120)
        elif answer == "redirect":
            handler.send_response(307)
            handler.send_header("Location", f"http://127.0.0.1:{self.port}/elsewhere")
            handler.end_headers()
        elif answer == "endless head":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self._closing.is_set():
                handler.wfile.write(b"X-More: " + b"x" * 1000 + b"\r\n")
        elif answer == "endless body":
            handler.send_response(200)
            handler.end_headers()
            while not self._closing.is_set():
                handler.wfile.write(b"x" * 2**16)
        elif isinstance(answer, int):
            handler.send_response(answer)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
