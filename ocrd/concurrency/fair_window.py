"""A bounded window, of pages in flight or pages in the render workers, and `Turns` says whose is next."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar


class Window:
    """Places for pages, taken in turns. For one event loop."""

    def __init__(self, places: int) -> None:
        self.places = places
        """How many there are."""
        self._free = places
        self._turns: FairQueue[Hashable] = FairQueue()
        self._called: dict[Hashable, asyncio.Future[bool]] = {}
        self._closed = False

    async def enter(self, who: Hashable, *, attempts: int = 0, pages_left: int = 1) -> bool:
        """Wait for a place for the next page of a document; one wait at a time for each document.

        Returns whether it got one: once the window is closed nobody does.
        """
        if self._closed:
            return False
        call: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._called[who] = call
        self._turns.wait(who, attempts=attempts, pages_left=pages_left)
        self._call()
        try:
            return await call
        except asyncio.CancelledError:
            if call.cancelled():
                self._turns.leave(who)
            elif call.result():  # called and cancelled in the same moment
                self.leave()
            raise
        finally:
            self._called.pop(who, None)

    def leave(self) -> None:
        """Give a place back: the page was read, or given up."""
        self._free += 1
        self._call()

    def close(self) -> None:
        """Let no more pages in, so that those in flight are the last ones."""
        self._closed = True
        for who, call in self._called.items():
            self._turns.leave(who)
            if not call.done():
                call.set_result(False)

    def _call(self) -> None:
        while self._free and (who := self._turns.next()) is not None:
            call = self._called[who]
            if not call.done():  # else cancelled, and about to find out
                call.set_result(True)
                self._free -= 1


K = TypeVar("K", bound=Hashable)


class FairQueue(Generic[K]):
    """Decides whose page goes next among the documents that wait for a place in the window.

    Fewest pages left goes first, so that a single page does not wait for two thousand; but every fourth turn is that
    of whoever has waited longest, so that a long document still moves. A document that was tried before and killed the
    daemon comes after all others.
    """

    EVERY = 4
    """One turn in this many goes to the longest waiting."""

    def __init__(self) -> None:
        self._waiting: dict[K, tuple[int, int]] = {}  # in order of arrival
        self._turn = 0

    def wait(self, who: K, *, attempts: int, pages_left: int) -> None:
        """Enter a document that wants to send its next page."""
        self._waiting[who] = (attempts, pages_left)

    def leave(self, who: K) -> None:
        """Take a document out, if it is in."""
        self._waiting.pop(who, None)

    def next(self) -> K | None:
        """Choose who goes next, and take it out; None if nobody waits."""
        if not self._waiting:
            return None
        self._turn += 1
        least = min(attempts for attempts, _ in self._waiting.values())
        fresh = [who for who, (attempts, _) in self._waiting.items() if attempts == least]
        chosen = fresh[0] if self._turn % self.EVERY == 0 else min(fresh, key=lambda who: self._waiting[who][1])
        del self._waiting[chosen]
        return chosen

    def __len__(self) -> int:
        return len(self._waiting)
