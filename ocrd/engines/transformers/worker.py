"""The life of the model's process: pages come over a socket, readings go back. `core` is the daemon's side of it.

Either side writes lines of JSON; behind a page's line come its pixels. The daemon says: {"orders": …}, {"page": id, …},
{"cancel": id}. This says: {"ready": …} or {"refused": …}, then {"so_far": {id: tokens}} about every second,
{"batch": most pages from now on}, and of each page {"page": id, …} with what was read, or why not.
"""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ocrd.concurrency.processes import die_with_parent
from ocrd.config.profile import Profile
from ocrd.engines import model_files
from ocrd.engines.transformers.model import Asked, Model, broken_card, free_memory, out_of_memory
from ocrd.engines.transformers.setup import Orders
from ocrd.errors import OcrdError

SIGN_EVERY = 1.0
"""Seconds between two signs of life, at least."""
GATHERING = 0.3
"""Seconds after the last page that came until a batch begins that is not full: a document's pages come one by one."""


@dataclass(eq=False, slots=True)
class _Page:
    name: int
    priority: int
    asked: Asked
    pixels: bytes
    unwanted: bool = False


def live(descriptor: int, parent: int) -> None:
    """Read pages until the daemon is gone, which has this process id and the other end of the socket."""
    die_with_parent()
    if os.getppid() != parent:  # it died before the call above: no signal will come
        os.kill(os.getpid(), signal.SIGKILL)
    link = _Link(socket.socket(fileno=descriptor))
    told = json.loads(link.lines.readline())["orders"]
    try:
        model = Model(Orders(**told | {"profile": Profile.model_validate(told["profile"])}))
    except OcrdError as error:
        link.tell(refused=[type(error).__name__, error.what, error.remedy])
        return
    link.tell(ready={"class": model.name, "device": model.device, "dtype": model.dtype, "batch": model.batch})
    threading.Thread(target=link.listen, daemon=True).start()
    reader = _Reader(model, link)
    while True:
        reader.read(link.take(model.batch))


class _Link:
    """The socket to the daemon, and the pages that came over it and wait. One thread listens, another reads pages."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.lines = sock.makefile("rb")
        self._changed = threading.Condition()
        self._pages: dict[int, _Page] = {}
        """All that are wanted, in order of their coming; those that are being read, too."""

    def tell(self, **message: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def listen(self) -> None:
        """Take what comes. Ends the process when the daemon is gone."""
        while line := self.lines.readline():
            self._take_in(json.loads(line))
        os.kill(os.getpid(), signal.SIGKILL)

    def _take_in(self, told: dict[str, Any]) -> None:
        if "cancel" in told:
            with self._changed:
                if page := self._pages.pop(told["cancel"], None):
                    page.unwanted = True
            return
        asked = Asked(*told["asked"])
        pixels = self.lines.read(3 * asked.width * asked.height)
        with self._changed:
            self._pages[told["page"]] = _Page(told["page"], told["priority"], asked, pixels)
            self._changed.notify()

    def take(self, most: int, gathering: float = GATHERING) -> list[_Page]:
        """Wait for pages; return the first by priority, and others that can be read together with it.

        To be called when all that it returned before are answered. One page alone takes as long as a whole batch, so
        while that is not full, each page that comes is given `gathering` seconds to be followed by another.
        """
        batch: list[_Page] = []
        with self._changed:
            while not batch:  # pages may be cancelled meanwhile
                self._changed.wait_for(lambda: self._pages)
                while 0 < len(self._together()) < most and self._changed.wait(gathering):
                    pass
                batch = self._together()[:most]
        return batch

    def _together(self) -> list[_Page]:
        waiting = sorted(self._pages.values(), key=lambda page: page.priority)
        return [page for page in waiting if page.asked == waiting[0].asked]

    def answered(self, page: _Page, **answer: Any) -> None:  # noqa: ANN401 - as in `tell`
        with self._changed:
            self._pages.pop(page.name, None)
        self.tell(page=page.name, **answer)


class _Reader:
    """Reads batches, and makes them smaller where they don't fit or one of their pages can't be read."""

    def __init__(self, model: Model, link: _Link) -> None:
        self._model, self._link = model, link
        self._signed = 0.0

    def read(self, pages: list[_Page]) -> None:
        """Read pages and tell what came of each. Raises what a page alone raises where the process is spoiled by it."""
        if fault := self._tried(pages):
            half = (len(pages) + 1) // 2
            if broken_card(fault) or (out_of_memory(fault) and len(pages) == 1):
                raise fault
            if len(pages) == 1:
                self._link.answered(pages[0], failed=model_files.cause(fault))
                return
            if out_of_memory(fault) and half < self._model.batch:
                self._model.batch = half
                self._link.tell(batch=half)
            fault.__traceback__ = None  # it holds the tensors of the batch
            free_memory()
            self.read(pages[:half])
            self.read(pages[half:])

    def _tried(self, pages: list[_Page]) -> Exception | None:
        """Read pages and tell what they say; return what went wrong."""
        try:
            answers = self._model.read(
                pages[0].asked, [page.pixels for page in pages], lambda so_far: self._step(pages, so_far)
            )
        except Exception as error:  # noqa: BLE001 - the model's own code may raise anything
            return error
        for page, answer in zip(pages, answers, strict=True):
            self._link.answered(page, **answer._asdict())
        return None

    def _step(self, pages: list[_Page], so_far: int) -> Sequence[bool]:
        """Give a sign of life now and then; say which pages nobody wants any more."""
        if time.monotonic() - self._signed >= SIGN_EVERY:
            self._signed = time.monotonic()
            self._link.tell(so_far={page.name: so_far for page in pages})
        return [page.unwanted for page in pages]
