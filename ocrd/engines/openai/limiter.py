"""How many pages a server gets at the same time: more while it answers well, fewer when it does not. Pure.

This is TCP's control of congestion (RFC 5681): doubled with each round at first, after the first sign of overload one
more a round (additive increase), and halved with each sign (multiplicative decrease). Signs are an answer 429, a
request that failed, and an answer that took half of the time that one may take. vLLM itself takes any number of
requests and lets them wait, so without the last one it would be given more and more until they time out.

A server whose pages share their room fails all that are with it once they fill it, and their work is lost. So how many
that were is not tried again soon, also where the owner set a number.
"""

import math

FIRST = 8
"""Pages at a server that nothing is known of."""
MOST = 256
"""Pages at one server: as many as vLLM decodes at once by default on a large card."""
SLOW = 0.25
"""Share of the longest time that an answer may take from which on no more pages are given."""
TOO_SLOW = 0.5
"""Share of it that is a sign of overload."""
FORGETS = 64
"""Pages read after which one more than had room is tried again."""


class Limiter:
    """The limit of one server. Times are monotonic seconds."""

    def __init__(self, longest: float, fixed: int | None = None) -> None:
        """Take the longest time that an answer may take, seconds, and the limit if it is not to change."""
        self._longest = longest
        self._fixed = fixed
        self._limit = float(fixed or FIRST)
        self._room = math.inf
        self._doubling = True
        self._shrunk = self._crowded = float("-inf")

    @property
    def limit(self) -> int:
        """The most pages, at least one."""
        return int(min(self._limit, self._room))

    def answered(self, began: float, now: float, inside: int) -> None:
        """Take in that a request that began then was answered; `inside` were there, itself included."""
        seconds = now - began
        self._room += 1 / FORGETS
        if seconds >= TOO_SLOW * self._longest:
            self.overloaded(began, now)
        elif seconds < SLOW * self._longest and inside >= self.limit and self._fixed is None:
            self._limit = min(MOST, self._limit + (1.0 if self._doubling else 1.0 / self._limit))

    def overloaded(self, began: float, now: float) -> None:
        """Take in that a request that began then shows overload; of one overload only the first sign counts."""
        if self._fixed is None and began >= self._shrunk:
            self._limit = max(1.0, min(self._limit, self._room) / 2)
            self._doubling = False
            self._shrunk = now

    def crowded(self, began: float, now: float, inside: int) -> None:
        """Take in that a request that began then failed, since the `inside` that were there had no room together."""
        self.overloaded(began, now)
        if began >= self._crowded and inside > 1:  # else the others have left in the meantime
            fewer = inside - 1 if inside <= FIRST else inside // 2
            self._room = min(self._room, float(fewer))
            self._crowded = now
