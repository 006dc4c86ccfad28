"""Whether a watch can go on: one state machine, moved by how its steps end. No fault here is a document's.

    state      when                                        what may begin
    WORKING    no fault is known                           everything
    PAUSED     a step failed, by the machine's doing       of those that failed, one for each step every RETRY_SECONDS;
                                                           nothing is taken in, and no other job begins
    HANGING    one of the faults is that of a step that    the same
               does not come back

    event      who tells it                                what follows
    failed     the look-out, claim or job that met it      the fault of this step is known
    hangs      the watch's threads                         the same, and that it hangs
    came_back  the watch's threads                         it hangs no more, and is known until the next of these two:
    succeeded  the watch's threads, of every step          the fault of this step is over

A fault is known by the step that met it, such as the delivery: whoever gets through that step, for whichever job, shows
that it can be done. With the end of the last fault all that wait go on at once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from enum import StrEnum

from ocrd.errors import MachineError

RETRY_SECONDS = 5.0
"""Between two tries while a fault of the machine lasts."""


class State(StrEnum):
    """Of a watch."""

    WORKING = "working"
    PAUSED = "paused"
    HANGING = "hanging"


class Pause:
    """The state of one watch. For one event loop."""

    def __init__(self, tell: Callable[[MachineError | None], None]) -> None:
        """Take whom to tell of a fault, once for each way to mend it, and with None that the last one is over."""
        self._tell = tell
        self._told: set[str] = set()
        self._faults: dict[str, MachineError] = {}
        self._hanging: Counter[str] = Counter()
        self._waiting: dict[asyncio.Future[bool], str | None] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def state(self) -> State:
        if any(self._hanging[step] for step in self._faults):
            return State.HANGING
        return State.PAUSED if self._faults else State.WORKING

    @property
    def reason(self) -> MachineError | None:
        """The fault that has lasted longest; None if nothing holds the watch up."""
        return next(iter(self._faults.values()), None)

    # -- events ---------------------------------------------------------------------------------------------------

    def failed(self, step: str, error: MachineError) -> None:
        """Note that a step can't be done now."""
        self._faults[step] = error
        if error.remedy not in self._told:
            self._told.add(error.remedy)
            self._tell(error)

    def hangs(self, step: str, error: MachineError) -> None:
        """Note that a step does not come back."""
        self._hanging[step] += 1
        self.failed(step, error)

    def came_back(self, step: str) -> None:
        """Note that a step that hung does so no more."""
        self._hanging[step] -= 1

    def succeeded(self, step: str) -> None:
        """Note that a step can be done, or that nobody wants it any more."""
        if self._faults.pop(step, None) and not self._faults:
            self._told.clear()
            self._tell(None)
            self.let_all_go()

    # -- for who wants to begin something -------------------------------------------------------------------------

    async def working(self) -> None:
        """Wait until nothing holds the watch up."""
        while self._faults:
            await self._wait(None)

    async def turn(self, step: str) -> bool:
        """Wait until it is worth trying a step again that failed, and return whether all is well by now.

        If it is not, it is this one's turn to find out.
        """
        return not self._faults or await self._wait(step)

    def let_all_go(self) -> None:
        """Let all go on that wait."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(True)

    async def _wait(self, step: str | None) -> bool:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[bool] = loop.create_future()
        self._waiting[waiting] = step
        if self._timer is None:
            self._timer = loop.call_later(RETRY_SECONDS, self._let_some_try)
        try:
            return await waiting
        finally:
            del self._waiting[waiting]

    def _let_some_try(self) -> None:
        """Let one go of those that failed at the same step: whoever has waited longest."""
        tried: set[str | None] = {None}
        for waiting, step in self._waiting.items():
            if step not in tried and not waiting.done():
                tried.add(step)
                waiting.set_result(False)
        self._timer = None
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._let_some_try)
