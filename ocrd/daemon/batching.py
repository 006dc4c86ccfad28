"""Which settled sources to admit together, and when. Pure: the time is passed in."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


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
