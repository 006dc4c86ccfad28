"""Which settled sources to admit now, and whose page is next. Pure: the time is passed in."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """When a batch closes: whichever comes first."""

    quiet: float
    """Seconds without a new source."""
    max_wait: float
    """Seconds since the first source."""
    max_pages: int
    """Pages gathered."""


class Batch(Generic[T]):
    """Gathers settled sources until they are admitted together."""

    def __init__(self, policy: BatchPolicy) -> None:
        self.policy = policy
        self._items: list[T] = []
        self._pages = 0
        self._first = self._last = 0.0

    def add(self, item: T, pages: int, now: float) -> None:
        """Put one source with this many pages into the batch, at `now` seconds."""
        if not self._items:
            self._first = now
        self._last = now
        self._items.append(item)
        self._pages += pages

    def due(self) -> float | None:
        """When the batch closes if nothing more comes: seconds of the caller's clock, None while it is empty."""
        if not self._items:
            return None
        if self._pages >= self.policy.max_pages:
            return self._last
        return min(self._last + self.policy.quiet, self._first + self.policy.max_wait)

    def take(self, now: float) -> list[T]:
        """Return the sources of a batch that is due, in the order they came, and begin the next; else nothing."""
        due = self.due()
        if due is None or now < due:
            return []
        items, self._items, self._pages = self._items, [], 0
        return items

    def __len__(self) -> int:
        return len(self._items)


class Turns(Generic[K]):
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
