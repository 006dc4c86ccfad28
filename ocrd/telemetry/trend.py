"""How many pages were read, and how many were left, in each minute of the last hours. For one event loop."""

from typing import NamedTuple

from ocrd.telemetry.events import Event, PageDone

MINUTES = 6 * 60
"""How many are kept."""


class Minute(NamedTuple):
    """What happened in one minute."""

    pages: int = 0
    """Pages that were read or given up."""
    left: int = 0
    """Pages that were left at its end."""


class Trend:
    """Hears of pages, and is told once a second what is left."""

    def __init__(self) -> None:
        self.minutes: tuple[Minute, ...] = ()
        """The last ones, the latest last; never changed in place, so that other threads may read it."""
        self._number: int | None = None
        self._pages = 0

    def hear(self, event: Event) -> None:
        """Count a page."""
        self._pages += isinstance(event, PageDone)

    def observe(self, now: float, left: int) -> None:
        """Note how many pages are left at `now` monotonic seconds; minutes in which nobody looked had no pages."""
        number = int(now // 60)
        if self._number is None:
            self._number = number
        missed = number - self._number
        if not missed:
            return
        gap = (Minute(0, left),) * min(missed - 1, MINUTES)
        self.minutes = (*self.minutes, Minute(self._pages, left), *gap)[-MINUTES:]
        self._number, self._pages = number, 0
