"""A proxy that breaks connections: what a network between a service and its servers can do to them at any byte."""

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable
from urllib.parse import urlsplit

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a wait of 0 seconds: a close is a reset (socket(7))."""
_EVERY = 6
HOWS = ("cut the request", "cut the answer", "reset the request", "reset the answer", "swallow")


class CuttingProxy:
    """Listens on loopback and passes on to a server, in a thread of its own.

    Once it `cuts`, every sixth connection is broken, in each of the ways in turn, and then none any more: it is closed
    (FIN) or reset (RST) after some bytes of the request or of the answer, or takes all and never answers. So many lie
    between two that no page meets three, after which it would be the page's fault.
    """

    def __init__(self, server: str, chance: random.Random, longest: tuple[int, int]) -> None:
        """Take the server's address, and how many bytes of request and answer may pass before a cut."""
        self._server = server
        self._chance = chance
        self._longest = longest
        self._ways = [*HOWS]
        self._count = 0
        self.done: Counter[str] = Counter()
        """How many connections were treated how."""
        self.cuts = False
        """Whether it breaks connections."""
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._listening.sockets[0].getsockname()[1]}/v1"

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(120)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(120)
        self._loop.close()

    async def _close(self) -> None:
        self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._count += self.cuts
        breaks = self.cuts and self._count % _EVERY == 0 and self._ways
        how = self._ways.pop() if breaks else "whole"
        self.done[how] += 1
        try:
            await self._treat(how, reader, writer)
        except (OSError, EOFError):
            pass  # the other end was faster
        finally:
            if how.startswith("reset"):
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.close()
            self._tasks.discard(task)

    async def _treat(self, how: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if how == "swallow":
            while await reader.read(1 << 16):
                pass
            return
        to_server, to_client = (self._chance.randrange(most) for most in self._longest)
        if self._server.startswith("unix:"):
            theirs, ours = await asyncio.open_unix_connection(self._server.removeprefix("unix:"))
        else:
            at = urlsplit(self._server)
            theirs, ours = await asyncio.open_connection(at.hostname, at.port)
        try:
            request = _passed(reader, ours, to_server if "request" in how else None)
            answer = _passed(theirs, writer, to_client if "answer" in how else None)
            await _first(request, answer)
        finally:
            ours.close()


async def _first(*steps: Awaitable[None]) -> None:
    """Wait until one of these has come to its end."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int | None) -> None:
    """Pass on what comes, up to its end or for so many bytes."""
    left = most
    while left is None or left > 0:
        data = await reader.read(1 << 16 if left is None else min(left, 1 << 16))
        if not data:
            return
        writer.write(data)
        await writer.drain()
        left = None if left is None else left - len(data)
