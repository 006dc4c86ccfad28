"""One page on its way through the servers, and when it is at fault itself. Pure.

A page that fails goes to another server, and that alone is never charged to it. Two things are:

- A server that is well says that it will not have the page (400, 422 …; 413 only where it takes other requests as
  large). Two such servers are enough.
- A server fails while it has the page and nothing else, or fails at the page alone and reads others before and after.
  Servers are stopped and restarted, one after the other, so it must have failed so at two servers, and at one of them
  again.

Each counts only once the server has read something since: a page, or the test page. What a server refused does not
count if it refused the test page next. Where one server alone is up, what
two would have to say it must say twice, and fail three times. So that a page can be found out, one that failed twice is
read beside few others, and then alone.
"""

import asyncio
import math
from dataclasses import dataclass, field

from ocrd.engines.openai.endpoint import Endpoint
from ocrd.engines.openai.faults import Lost, Refusal, ServerFault
from ocrd.errors import PageError

FEW = 8
"""Pages, itself included, beside which a page is read that failed twice."""
CROWDS = 4
"""As often a page is read beside others that had no room together; perhaps it is the one that has none anywhere."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Something that a page may be at fault for."""

    endpoint: Endpoint
    after: int
    """Counts once the server has read more pages than this."""
    tests: int | None = None
    """Counts only as long as the server has refused so many test pages and no more; None: however many."""

    @property
    def counts(self) -> bool:
        return self.endpoint.answers > self.after and self.tests in (None, self.endpoint.refused_tests)


@dataclass(eq=False)
class Visit:
    """One page, from its coming to its answer."""

    index: int
    """Of the page in its source, for messages."""
    priority: int
    order: int
    """In which it came."""
    gate: "asyncio.Future[Endpoint]"
    """The server that it is given to."""
    failures: int = 0
    why: str = ""
    """What went wrong the last time."""
    remedy: str = ""
    """What to do if it goes wrong again and again."""
    tried: set[Endpoint] = field(default_factory=set)
    """Servers that it failed at."""
    crowded: int = 0
    """How often a server had no room for it and the others there."""
    measured: set[Endpoint] = field(default_factory=set)
    """Servers that it was too large for, and that were then asked whether they take as much."""
    company: bool = False
    """Whether another page was at the server with it."""
    began: float = 0.0
    """When it was given to the server, monotonic seconds."""
    answers: int = 0
    """How many pages the server had read then."""
    limit: asyncio.Timeout | None = None
    """The time that the server has for it."""
    given_up: ServerFault | None = None
    """Why that was ended early."""
    _refusals: list[Charge] = field(default_factory=list)
    _failed: list[Charge] = field(default_factory=list)

    @property
    def room(self) -> float:
        """The most pages, itself included, that may be at a server together with it."""
        if self.crowded >= CROWDS:
            return 1
        if self.failures < 2:  # noqa: PLR2004 - the first two are most likely the server's
            return math.inf
        return FEW if self.failures == 2 else 1  # noqa: PLR2004 - as above

    @property
    def key(self) -> tuple[int, int]:
        """Sorts pages by who goes first."""
        return self.priority, self.order

    def give_up(self, fault: ServerFault) -> None:
        """Wait no longer for the server that has it."""
        if self.limit:
            self.given_up = fault
            self.limit.reschedule(asyncio.get_running_loop().time())

    def refused(self, endpoint: Endpoint, refusal: Refusal) -> None:
        """Take in that a server would not have it; to be called before the server takes that in."""
        self.tried.add(endpoint)
        self.why, self.remedy = str(refusal), refusal.remedy
        self._refusals.append(Charge(endpoint, -1 if endpoint.sound else endpoint.answers, endpoint.refused_tests))

    def failed(self, endpoint: Endpoint, fault: ServerFault) -> None:
        """Take in that a server failed with it."""
        self.tried.add(endpoint)
        self.why, self.remedy = str(fault), fault.remedy
        self.failures += 1
        others_read = endpoint.answers > self.answers and not isinstance(fault, Lost)
        if others_read or not self.company:
            self._failed.append(Charge(endpoint, endpoint.answers))

    def fault(self, up: int) -> PageError | None:
        """Say that it is at fault, if that is shown; `up` servers are well."""
        servers = max(1, min(2, up))
        refused = [one.endpoint for one in self._refusals if one.counts]
        if len(refused) >= 2 and len(set(refused)) >= servers:  # noqa: PLR2004 - as the docstring of the module has it
            return PageError(
                f"The servers will not have page {self.index + 1}: {self.why.rstrip('.')}.",
                self.remedy,
            )
        failed = [one.endpoint for one in self._failed if one.counts]
        again = len(failed) > len(set(failed))
        if len(failed) >= 3 and len(set(failed)) >= servers and again:  # noqa: PLR2004 - as above
            return PageError(
                f"Servers that read other pages failed each of the {self.failures} times that they got page "
                f"{self.index + 1}: {self.why.rstrip('.')}.",
                self.remedy,
            )
        return None
