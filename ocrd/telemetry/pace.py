"""How fast pages are read, and how long it will take to read what is left: told only once it is known."""

from collections import deque
from typing import NamedTuple

OVER = 900.0
"""Seconds of work over which pages a second are taken, at most: of an engine whose speed changes from minute to minute,
a shorter time says less of what is to come, and of a steady one no more."""
_APART = 1.0
"""Seconds between two samples, at least."""
LEAST = 8
"""Pages after which the pace is known: as much as pages differ, fewer say little."""


class _Sample(NamedTuple):
    worked: float
    """Seconds of work so far."""
    read: float
    """Pages read by then; one that the engine is at counts half, as it is on average."""


class Pace:
    """Counts pages on a clock that stands still while nothing is read. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._samples = deque[_Sample]()
        self._worked = 0.0
        self._seen: float | None = None
        """When it last heard that pages are being read; None while none are."""
        self._pages = 0
        self._inside = self._most_inside = 0

    def work(self, now: float, inside: int) -> None:
        """Hear, about once a second, that there is work, and how many pages the engine is at.

        Work begins with the first page that is, or was, with the engine: how long it takes until then says nothing of
        the pages behind it.
        """
        if self._seen is None:
            if not inside:
                return
            self._begin(now)
        self._look(now, inside)

    def rest(self, now: float) -> None:
        """Hear that nothing is read, until work is heard of again."""
        if self._seen is not None:
            self._look(now, 0)
            self._seen = None

    def page(self, now: float) -> None:
        """Count a page that was read or given up."""
        self._pages += 1
        if self._seen is None:
            self._begin(now)

    def _begin(self, now: float) -> None:
        """Start the clock: the engine has been at its pages for no time."""
        self._seen = now
        self._samples.append(_Sample(self._worked, self._pages))

    def _look(self, now: float, inside: int) -> None:
        self._worked += max(0.0, now - (now if self._seen is None else self._seen))
        self._seen = now
        self._inside, self._most_inside = inside, max(self._most_inside, inside)
        if len(self._samples) > 1 and self._worked < self._samples[-2].worked + _APART:
            self._samples.pop()
        self._samples.append(_Sample(self._worked, self._pages + inside / 2))
        while self._samples[0].worked < self._worked - OVER:
            self._samples.popleft()

    @property
    def speed(self) -> float:
        """Pages a second over the last minutes of work; 0.0 while there are none."""
        if not self._samples:
            return 0.0
        first, last = self._samples[0], self._samples[-1]
        return max(0.0, last.read - first.read) / max(1.0, last.worked - first.worked)

    def left(self, pages: int) -> float | None:
        """Tell the seconds in which so many pages will be read; None while the pace is not known.

        An engine that reads many pages at once gives none for a while, and then many: only when it has given as many
        as it holds do they show its pace. The last ones take longer than those before, since fewer and fewer are read
        at once: by half the time of a page, about.
        """
        speed = self.speed
        known = self._pages >= max(LEAST, self._most_inside) and speed > 0
        return (pages + self._inside / 2) / speed if known else None
