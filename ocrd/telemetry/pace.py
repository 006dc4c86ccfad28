"""How fast pages are read, and how long it will take to read what is left: told only once it is known.

The numbers were chosen over simulated backlogs, and tried on others (`bench/daemon/eta_simulated.py`).
"""

from bisect import bisect_left
from collections import deque
from itertools import pairwise
from math import exp, log, sqrt
from operator import attrgetter
from statistics import mean, stdev
from typing import NamedTuple

OVER = 900.0
"""Seconds of work over which the pace is taken, at most: of an engine whose speed changes from minute to minute, a
shorter time says less of what is far ahead."""
_SHORTEST = 60.0
"""Seconds of work over which it is taken, at least."""
_ROUNDS = 3
"""In which the time looked back and the pace over that time come to fit each other."""
_PARTS = 10
"""Of the time looked back, whose difference shows how steady the pace is."""
_SURE = 1.25
"""Standard deviations between the likely time and the ends of its range."""
_FARTHEST = 2.0
"""Times that looked back over which a change of the pace is taken to go on."""
_UNKNOWN = 4.0
"""What stands for the change if nothing was read in one half of the time looked back."""
_APART = 1.0
"""Seconds between two samples, at least."""
LEAST = 8
"""Pages after which the pace is known: as much as pages differ, fewer say little."""


class _Sample(NamedTuple):
    worked: float
    """Seconds of work so far."""
    read: float
    """Pages read by then; one that the engine is at counts half, as it is on average."""


class TimeLeft(NamedTuple):
    """How long the pages that are left will take, in seconds."""

    likely: float
    least: float
    """If it goes fast; with `most` a range that holds what comes, four times out of five."""
    most: float


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

    def speed(self, pages: int) -> float:
        """Tell the pages a second by which the time for so many pages is told; 0.0 while there are none."""
        return self._speed(self._look_back(pages)) if self._samples else 0.0

    def left(self, pages: int) -> TimeLeft | None:
        """Tell how long so many pages will take; None while the pace is not known, or nothing is left.

        An engine that reads many pages at once gives none for a while, and then many: only when it has given as many
        as it holds do they show its pace. The last ones take longer than those before, since fewer and fewer are read
        at once: by half the time of a page, about.
        """
        if not pages or self._pages < max(LEAST, self._most_inside):
            return None
        over = self._look_back(pages)
        speed = self._speed(over)
        if not speed:
            return None
        likely = (pages + self._inside / 2) / speed
        noise, trend = self._uncertainty(over, likely)
        return TimeLeft(likely, likely * exp(min(0.0, trend) - noise), likely * exp(max(0.0, trend) + noise))

    def _look_back(self, pages: int) -> float:
        """Seconds of work over which the pace is taken, for so many pages: twice as long as they take.

        What is to come soon is like what was just now, and what takes long goes on like the average of a long time.
        """
        worked = self._samples[-1].worked - self._samples[0].worked
        over = OVER
        for _ in range(_ROUNDS):
            speed = self._speed(over)
            over = min(OVER, max(_SHORTEST, 2 * pages / speed)) if speed else OVER
        return max(1.0, min(over, worked))

    def _speed(self, over: float) -> float:
        first, last = self._samples[0], self._samples[-1]
        over = min(over, last.worked - first.worked)
        return max(0.0, last.read - self._read_by(last.worked - over)) / max(1.0, over)

    def _read_by(self, worked: float) -> float:
        """Pages read after so many seconds of work, evenly between two samples."""
        found = bisect_left(self._samples, worked, key=attrgetter("worked"))
        before, after = self._samples[max(0, found - 1)], self._samples[min(found, len(self._samples) - 1)]
        share = (worked - before.worked) / (after.worked - before.worked) if after.worked > before.worked else 0.0
        return before.read + share * (after.read - before.read)

    def _uncertainty(self, over: float, ahead: float) -> tuple[float, float]:
        """Tell how far the time ahead may come out otherwise, as logarithms of a factor: to both sides, and to one.

        The first is by how much the parts of the time looked back differ, and how few pages were read; the second is
        what comes if the pace goes on changing as it did from the first half of that time to the second.
        """
        last, part = self._samples[-1].worked, over / _PARTS
        read = [self._read_by(last - over + number * part) for number in range(_PARTS + 1)]
        parts = [after - before for before, after in pairwise(read)]
        differ = (stdev(parts) / mean(parts)) ** 2
        noise = _SURE * sqrt(differ * (1 / _PARTS + part / max(part, ahead)) + 0.5 / self._pages)
        before, after = sum(parts[: _PARTS // 2]), sum(parts[_PARTS // 2 :])
        apart = min(ahead, _FARTHEST * over) / 2 + over / 4
        """Seconds from the middle of the later half to the middle of what is to come."""
        trend = -log(after / before) * apart / (over / 2) if min(before, after) > 0 else log(_UNKNOWN)
        return noise, trend
