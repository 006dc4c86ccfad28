"""A bounded window, of pages in flight or pages in the render workers, and `FairQueue` says whose is next."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Generic, TypeVar


@dataclass(frozen=True, slots=True)
class Turn:
    """What decides when it is somebody's turn."""

    group: Hashable = None
    """Whose it is, such as a watch."""
    attempts: int = 0
    """How often it was tried before, and ended the daemon."""
    pages: int = 1
    """That are left."""
    wave: int = 0
    """With which others it came; later ones have higher numbers."""
    priority: int = 1
    """Of its group; the lowest number goes first."""


FIRST = Turn()


class Window:
    """Places for pages, taken in turns. For one event loop."""

    def __init__(self, places: int) -> None:
        self.places = places
        """How many there are."""
        self._free = places
        self._turns: FairQueue[Hashable] = FairQueue()
        self._called: dict[Hashable, asyncio.Future[bool]] = {}
        self._closed = False

    async def enter(self, who: Hashable, turn: Turn = FIRST) -> bool:
        """Wait for a place for the next page of a document; one wait at a time for each document.

        Returns whether it got one: once the window is closed nobody does.
        """
        if self._closed:
            return False
        call: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._called[who] = call
        self._turns.wait(who, turn)
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

    @asynccontextmanager
    async def turn(self, turn: Turn) -> AsyncIterator[None]:
        """Have a place for as long as the context lasts. For a window that nobody closes."""
        await self.enter(object(), turn)
        try:
            yield
        finally:
            self.leave()

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
    """Decides whose turn is next among those that wait: pages for a place in the window, jobs, files to be looked at.

    Higher priorities go first, but every fourth turn of one is left to those below it: while all three of high, normal
    and low wait, twelve of sixteen turns are high's, three normal's and one low's. Within a priority the groups take
    turns, so that a thousand files of one watch hold up no other watch. Within a group the fewest pages go first, so
    that a single page does not wait for two thousand, and among equals those of the latest wave, so that it does not
    wait for a thousand single pages either; but every fourth turn of a group is that of whoever has waited longest.

    So the nth in its group, of g groups of its priority, waits for no more than 4 n g turns of its priority; and of
    three priorities the lowest has a turn in every sixteen, whatever comes and goes above it. What was tried before and
    killed the daemon comes after all others, however many come. A turn costs O(g + log n).
    """

    EVERY = 4
    """One turn in this many goes to the longest waiting, or to lower priorities."""

    def __init__(self) -> None:
        self._lines: dict[tuple[int, Hashable], _Line[K]] = {}  # those that were served last stand last
        self._of: dict[K, tuple[int, Hashable]] = {}
        self._turns = Counter[int]()
        """Of each priority, while a lower one waited."""

    def wait(self, who: K, turn: "Turn") -> None:
        """Enter who waits; who does already keeps its place."""
        if who not in self._of:
            self._of[who] = line = (turn.priority, turn.group)
            self._lines.setdefault(line, _Line()).add(who, turn)

    def leave(self, who: K) -> None:
        """Take one out, if it is in."""
        if who in self._of:
            key = self._of.pop(who)
            line = self._lines[key]
            line.remove(who)
            if not line:
                del self._lines[key]

    def next(self) -> K | None:
        """Choose who goes next, and take it out; None if nobody waits."""
        if not self._lines:
            return None
        fewest = min(line.attempts for line in self._lines.values())
        ready = [key for key, line in self._lines.items() if line.attempts == fewest]
        priority = self._next_priority({priority for priority, _ in ready})
        key = next(key for key in ready if key[0] == priority)
        line = self._lines.pop(key)
        chosen = line.next()
        del self._of[chosen]
        if line:
            self._lines[key] = line
        return chosen

    def _next_priority(self, waiting: set[int]) -> int:
        *higher, last = sorted(waiting)
        for priority in higher:
            self._turns[priority] += 1
            if self._turns[priority] % self.EVERY:
                return priority
        return last

    def __len__(self) -> int:
        return len(self._of)


class _Line(Generic[K]):
    """Those of one group, in both of the orders in which they may be called."""

    def __init__(self) -> None:
        self._number = 0
        self._turn = 0
        self._waiting: dict[K, int] = {}
        self._best: list[tuple[int, int, int, int, K]] = []
        self._oldest: list[tuple[int, int, K]] = []

    def add(self, who: K, turn: "Turn") -> None:
        self._number += 1
        self._waiting[who] = self._number
        heappush(self._best, (turn.attempts, turn.pages, -turn.wave, self._number, who))
        heappush(self._oldest, (turn.attempts, self._number, who))

    def remove(self, who: K) -> None:
        del self._waiting[who]
        self._sweep()

    def next(self) -> K:
        self._turn += 1
        chosen = (self._oldest if self._turn % FairQueue.EVERY == 0 else self._best)[0][-1]
        self.remove(chosen)
        return chosen

    @property
    def attempts(self) -> int:
        """The fewest of any that waits here."""
        return self._oldest[0][0]

    def _sweep(self) -> None:
        """Let those stand first in both orders who still wait."""
        while self._best and self._waiting.get(self._best[0][-1]) != self._best[0][-2]:
            heappop(self._best)
        while self._oldest and self._waiting.get(self._oldest[0][-1]) != self._oldest[0][-2]:
            heappop(self._oldest)

    def __len__(self) -> int:
        return len(self._waiting)
