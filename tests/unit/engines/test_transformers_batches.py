"""How the transformers engine's process gathers the pages that come over its socket into batches."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from ocrd.engines.transformers.model import Asked
from ocrd.engines.transformers.worker import _Link, _Page

ENDLESS = 60.0
"""Seconds that no test lasts."""
ASKED = Asked(2, 1, "<image>", 100, 0.0, 1, 100, (), special_tokens=False)


class Daemon:
    """The other end of the socket."""

    def __init__(self) -> None:
        self._socket, self._there = socket.socketpair()
        self.link = _Link(self._there)
        self._threads = ThreadPoolExecutor(1)
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def _listen(self) -> None:
        while line := self.link.lines.readline():
            self.link._take_in(json.loads(line))

    def page(self, name: int, asked: Asked = ASKED) -> None:
        told = {"page": name, "priority": 0, "asked": asked}
        self._socket.sendall(json.dumps(told).encode() + b"\n" + bytes(3 * asked.width * asked.height))

    def cancel(self, name: int) -> None:
        self._socket.sendall(json.dumps({"cancel": name}).encode() + b"\n")

    def has(self, *names: int) -> None:
        """Wait until these pages, and no others, are with the process."""
        deadline = time.monotonic() + ENDLESS
        with self.link._changed:
            while set(self.link._pages) != set(names):
                assert time.monotonic() < deadline
                self.link._changed.wait(0.01)

    def takes(self, most: int, gathering: float) -> Future[list[_Page]]:
        return self._threads.submit(self.link.take, most, gathering)

    def close(self) -> None:
        self.page(-1)  # whoever still takes pages gets one, and ends
        self.page(-2)
        self.page(-3)
        self._socket.close()
        self._listening.join(ENDLESS)
        self._threads.shutdown()
        self.link.lines.close()
        self._there.close()


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    daemon = Daemon()
    yield daemon
    daemon.close()


def names(taken: Future[list[_Page]]) -> list[int]:
    return [page.name for page in taken.result(ENDLESS)]


def test_a_batch_waits_for_the_pages_that_follow_the_first(daemon: Daemon) -> None:
    daemon.page(1)
    daemon.has(1)
    taken = daemon.takes(3, ENDLESS)
    daemon.page(2)
    daemon.page(3)
    assert names(taken) == [1, 2, 3]


def test_a_page_that_none_follows_is_read_alone(daemon: Daemon) -> None:
    daemon.page(1)
    assert names(daemon.takes(3, 0)) == [1]


def test_pages_that_are_asked_otherwise_wait_for_the_next_batch(daemon: Daemon) -> None:
    daemon.page(1)
    daemon.page(2, ASKED._replace(prompt="<image>Table"))
    daemon.page(3)
    daemon.has(1, 2, 3)
    assert names(daemon.takes(2, ENDLESS)) == [1, 3]


def test_no_batch_is_of_pages_that_were_given_up_meanwhile(daemon: Daemon) -> None:
    daemon.page(1)
    daemon.has(1)
    taken = daemon.takes(2, ENDLESS)
    daemon.cancel(1)
    daemon.has()
    daemon.page(2)
    daemon.page(3)
    assert names(taken) == [2, 3]
