"""What is known of one server, and how long it is left alone after a failure. Pure: the clock is an argument.

    state    when                                             what happens
    UNKNOWN  it was not asked yet                             it is asked
    UP       it read a page, or the test page                 it gets pages
    OUT      it failed, and read nothing since                it gets none; after a while it is given the test page

A server that is out comes back with whatever it reads: the test page, or a page that was still with it. So one page
that fails among many that pass takes it out for a moment only.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from ocrd.engines.openai.limiter import Limiter

FIRST_WAIT = 1.0
"""Seconds before a server is asked again; doubled with each failure."""
LONGEST_WAIT = 60.0
"""The most of them."""
LONGEST_ASKED_FOR = 3600.0
"""The most seconds for which a server may ask to be left alone (Retry-After)."""

MOMENT = 5.0
"""Seconds for which a server that wants no pages is not said to be away."""


class State(StrEnum):
    """Of a server."""

    UNKNOWN = "unknown"
    UP = "up"
    OUT = "out"


@dataclass(eq=False)
class Endpoint:
    """One server."""

    name: str
    """Its address, as the owner wrote it."""
    limiter: Limiter
    chance: Callable[[], float] = random.random
    """A number from 0 to 1, so that many daemons don't ask at the same time."""
    state: State = field(default=State.UNKNOWN, init=False)
    why: str = field(default="", init=False)
    """Why it is out, in words."""
    inside: int = field(default=0, init=False)
    """Pages that are with it."""
    answers: int = field(default=0, init=False)
    """Pages that it has read, the test pages among them."""
    sound: bool = field(default=False, init=False)
    """Whether it has read a page since it last refused one."""
    refused_tests: int = field(default=0, init=False)
    """How often it would not have the test page."""
    rests_until: float = field(default=0.0, init=False)
    """When it may be given, or asked for, anything again; monotonic seconds."""
    last_sign: float = field(default=0.0, init=False)
    """When it last answered anything; monotonic seconds."""
    _failures: int = field(default=0, init=False)
    """In a row."""

    def has_room(self, now: float) -> bool:
        """Whether it may be given another page."""
        return self.state is State.UP and self.inside < self.limiter.limit and now >= self.rests_until

    def away(self, now: float) -> str:
        """Say why it gets no pages for a while; empty if it does, or will in a moment."""
        if self.state is not State.UP:
            return self.why or "it was not asked yet"
        rest = self.rests_until - now
        return f"it asks to be left alone for {rest:.0f} s" if rest > MOMENT else ""

    @property
    def load(self) -> float:
        """Share of its places that are taken."""
        return self.inside / self.limiter.limit

    def read(self, began: float, now: float) -> None:
        """Take in that it read a page that it was given then."""
        self.limiter.answered(began, now, self.inside)
        self.proved(now)

    def proved(self, now: float) -> None:
        """Take in that it reads."""
        self.state, self.why = State.UP, ""
        self.sound = True
        self.answers += 1
        self.last_sign = now
        self._failures = 0

    def failed(self, why: str, began: float, now: float) -> None:
        """Take in that it failed at something that it was given then: it is out, and asked again later."""
        self.limiter.overloaded(began, now)
        if self.state is State.OUT and now < self.rests_until:
            return  # one failure, of many pages
        self.state, self.why = State.OUT, why
        self.rests_until = now + self._rest()

    def overloaded(self, wait: float | None, began: float, now: float) -> None:
        """Take in that it has too much to do: it gets nothing for a while, of `wait` seconds if it asks for more."""
        self.limiter.overloaded(began, now)
        self.last_sign = now
        rest = self._rest() if now >= self.rests_until else 0.0  # else it is one overload, of many pages
        self.rests_until = max(self.rests_until, now + max(rest, min(wait or 0.0, LONGEST_ASKED_FOR)))

    def crowded(self, began: float, now: float) -> None:
        """Take in that it had no room for all pages that are with it, and fails them: it is free again then."""
        self.limiter.crowded(began, now, self.inside)
        self.last_sign = now

    def _rest(self) -> float:
        """Say for how many seconds it is left alone after one failure more."""
        self._failures += 1
        return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (self._failures - 1)) * (0.5 + self.chance() / 2)

    def refused(self, now: float) -> None:
        """Take in that it would not have a page; if that was not the first since it read one, it is in doubt."""
        self.last_sign = now
        if not self.sound:
            self.state, self.why, self.rests_until = State.OUT, "it refuses pages", now
        self.sound = False
