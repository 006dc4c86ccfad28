"""The addresses of a host, looked up beside the event loop so that a name server that is silent holds up nobody else.

What asyncio offers (`loop.getaddrinfo`) takes a thread of the pool that all share, for as long as the resolver has
patience (resolv.conf(5): minutes); a few such questions, and no page is packed any more, nor does the process end.
"""

import asyncio
import errno
import socket
import threading
from contextlib import suppress


class LookUp:
    """One host. At most one question is asked at a time, and shared by all who wait. For one event loop."""

    def __init__(self, host: str) -> None:
        """Take its name or number."""
        self._host = host
        self._asked: asyncio.Future[list[str]] | None = None

    async def addresses(self, seconds: float) -> list[str]:
        """List its addresses, in the resolver's order. Raises OSError, UnicodeError, or TimeoutError after so long."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().create_future()
            self._asked.add_done_callback(lambda asked: asked.cancelled() or asked.exception())  # nobody may wait
            try:
                threading.Thread(target=self._ask, args=(self._asked,), name="ocrd look up", daemon=True).start()
            except RuntimeError as error:
                self._asked = None
                raise OSError(errno.EAGAIN, f"no thread can be had: {error}") from error
        async with asyncio.timeout(seconds):
            return await asyncio.shield(self._asked)

    def _ask(self, asked: asyncio.Future[list[str]]) -> None:
        """Ask the system's resolver, in a thread of its own. A process does not wait for such threads at its end."""
        found: list[str] | Exception
        try:
            told = socket.getaddrinfo(self._host, None, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(str(address[0]) for *_, address in told))
        except (OSError, UnicodeError) as error:
            found = error
        with suppress(RuntimeError):  # the event loop is closed
            asked.get_loop().call_soon_threadsafe(_settle, asked, found)


def _settle(asked: asyncio.Future[list[str]], found: list[str] | Exception) -> None:
    if isinstance(found, Exception):
        asked.set_exception(found)
    else:
        asked.set_result(found)
