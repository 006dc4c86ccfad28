"""Which page goes to which server: the least loaded, and one that the page has not failed at. For one event loop.

Pages wait here, the most urgent first, those that failed before all others. A page that failed twice or more, or had
no room again and again, is read beside few others or alone (`Visit.room`): a server with too many pages gets no new
ones until there is room for it.
"""

import asyncio
import heapq
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ocrd.engines.openai.endpoint import Endpoint, State
from ocrd.engines.openai.visit import Visit
from ocrd.errors import EngineError


@dataclass
class Pool:
    """The servers, and the pages that wait for one."""

    endpoints: tuple[Endpoint, ...]
    clock: Callable[[], float]
    """Monotonic seconds, of the event loop."""
    _plain: list[tuple[tuple[int, int], Visit]] = field(default_factory=list, init=False)
    """A heap of the pages that have not failed."""
    _failed: list[Visit] = field(default_factory=list, init=False)
    _inside: dict[Endpoint, set[Visit]] = field(init=False)
    _suspects: dict[Endpoint, set[Visit]] = field(init=False)
    """Of these, those that want few others beside them."""
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _end: EngineError | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._inside = {endpoint: set() for endpoint in self.endpoints}
        self._suspects = {endpoint: set() for endpoint in self.endpoints}

    @property
    def up(self) -> int:
        """How many servers are well."""
        return sum(endpoint.state is State.UP for endpoint in self.endpoints)

    def inside(self, endpoint: Endpoint) -> set[Visit]:
        """Return the pages that are with a server."""
        return self._inside[endpoint]

    async def enter(self, visit: Visit) -> Endpoint:
        """Wait for a server for a page, which must be given back by `leave`.

        Raises PageError if the page is at fault, EngineError once this is closed.
        """
        if self._end:
            raise self._end
        visit.gate = asyncio.get_running_loop().create_future()
        if visit.tried or visit.room < math.inf:
            self._failed.append(visit)
            self._failed.sort(key=lambda one: one.key)
        else:
            heapq.heappush(self._plain, (visit.key, visit))
        self.changed()
        try:
            return await visit.gate
        except asyncio.CancelledError:
            if visit.gate.done() and not visit.gate.cancelled() and visit.gate.exception() is None:
                self.leave(visit, visit.gate.result())
            visit.gate.cancel()
            raise

    def leave(self, visit: Visit, endpoint: Endpoint) -> None:
        """Take a page away from a server."""
        self._inside[endpoint].discard(visit)
        self._suspects[endpoint].discard(visit)
        endpoint.inside = len(self._inside[endpoint])
        self.changed()

    def changed(self) -> None:
        """Give out as many pages as there is room for now."""
        now = self.clock()
        held = self._give_out_failed(now)
        while self._plain:
            visit = self._plain[0][1]
            if visit.gate.done():  # given up while it waited
                heapq.heappop(self._plain)
            elif endpoint := self._for_plain(now, held):
                heapq.heappop(self._plain)
                self._give(visit, endpoint, now)
            else:
                break
        self._look_again(now)

    def close(self) -> None:
        """Give up the pages that wait, and those that come."""
        self._end = EngineError("The engine is closed.", "Start ocrd again to read more pages.")
        if self._timer:
            self._timer.cancel()
        for visit in (*self._failed, *(visit for _, visit in self._plain)):
            if not visit.gate.done():
                visit.gate.set_exception(self._end)

    def _give_out_failed(self, now: float) -> set[Endpoint]:
        """Give out the pages that failed before; return the servers that are held free for one."""
        held: set[Endpoint] = set()
        for visit in list(self._failed):
            if visit.gate.done():
                self._failed.remove(visit)
            elif fault := visit.fault(self.up):
                self._failed.remove(visit)
                visit.gate.set_exception(fault)
            elif endpoint := self._for_failed(visit, now, held):
                self._failed.remove(visit)
                self._give(visit, endpoint, now)
        return held

    def _for_plain(self, now: float, held: set[Endpoint]) -> Endpoint | None:
        return _least_loaded(one for one in self.endpoints if one not in held and self._takes(one, math.inf, now))

    def _for_failed(self, visit: Visit, now: float, held: set[Endpoint]) -> Endpoint | None:
        """Choose a server that the page has not failed at, if one of these is up; or have one held free."""
        up = [one for one in self.endpoints if one.state is State.UP]
        among = [one for one in up if one not in visit.tried and now >= one.rests_until] or up
        free = [one for one in among if one not in held]
        if chosen := _least_loaded(one for one in free if self._takes(one, visit.room, now)):
            return chosen
        if free and len(self._inside[least := min(free, key=lambda one: one.inside)]) >= visit.room:
            held.add(least)
        return None

    def _takes(self, endpoint: Endpoint, room: float, now: float) -> bool:
        """Whether a page may go to a server now that takes at most so many there, itself included."""
        return endpoint.has_room(now) and endpoint.inside < min([room, *(one.room for one in self._suspects[endpoint])])

    def _give(self, visit: Visit, endpoint: Endpoint, now: float) -> None:
        others = self._inside[endpoint]
        visit.company = bool(others)
        if len(others) == 1:
            next(iter(others)).company = True
        others.add(visit)
        if visit.room < math.inf:
            self._suspects[endpoint].add(visit)
        endpoint.inside = len(others)
        if len(others) == 1:
            endpoint.last_sign = now
        visit.began, visit.answers = now, endpoint.answers
        visit.gate.set_result(endpoint)

    def _look_again(self, now: float) -> None:
        """Come back when the first server that was overloaded may be given pages again."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        rests = [one.rests_until for one in self.endpoints if one.state is State.UP and one.rests_until > now]
        if rests and (self._plain or self._failed):
            self._timer = asyncio.get_running_loop().call_at(min(rests), self.changed)


def _least_loaded(endpoints: Iterable[Endpoint]) -> Endpoint | None:
    return min(endpoints, key=lambda one: one.load, default=None)
