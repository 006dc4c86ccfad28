"""What holds a watch up at the moment, and when its steps are worth another try. No fault here is a document's."""

import asyncio
from collections.abc import Hashable
from contextlib import suppress

from ocrd.errors import MachineError

RETRY_SECONDS = 5.0
"""Between two tries while a fault of the machine lasts."""
CLAIM = "claim"
"""The step that takes in more. It waits until nothing else holds the watch up, so nothing may wait for it."""


class Pause:
    """The faults of the machine that one watch has met and not overcome, by step. For one event loop.

    While a fault lasts, one of the steps that met it tries again every `RETRY_SECONDS` and the others wait, so that a
    thousand documents before a full disk cost no more than one. As soon as any step succeeds, all try.
    """

    def __init__(self) -> None:
        self._faults: dict[Hashable, MachineError] = {}
        self._told: set[str] = set()
        self._cure = asyncio.Event()

    @property
    def reason(self) -> MachineError | None:
        """The fault that has lasted longest; None if nothing holds the watch up."""
        return next(iter(self._faults.values()), None)

    @property
    def holds_intake(self) -> bool:
        """Whether a fault holds the watch up, other than that of the claim itself."""
        return any(step != CLAIM for step in self._faults)

    def met(self, step: Hashable, error: MachineError) -> bool:
        """Note that a step can't be done now. Returns whether a person was not yet told how to mend this."""
        self._faults[step] = error
        news = error.remedy not in self._told
        self._told.add(error.remedy)
        return news

    def over(self, step: Hashable) -> bool:
        """Note that a step succeeded, or is not wanted any more. Returns whether it was the last that held us up."""
        if self._faults.pop(step, None) is None:
            return False
        self.try_now()
        if not self._faults:
            self._told.clear()
        return not self._faults

    def try_now(self) -> None:
        """Let every step that waits try at once."""
        self._cure.set()
        self._cure = asyncio.Event()

    async def worth_a_try(self, step: Hashable) -> None:
        """Wait until another step succeeded, or until it is this one's turn to try."""
        tried = False
        while not tried:
            cure, tried = self._cure, self._first_of_its_kind(step)
            with suppress(TimeoutError):
                await asyncio.wait_for(cure.wait(), RETRY_SECONDS)
            tried = tried or cure.is_set()

    def _first_of_its_kind(self, step: Hashable) -> bool:
        fault = self._faults.get(step)
        if fault is None:
            return True
        alike = (other for other, met in self._faults.items() if other != CLAIM and met.remedy == fault.remedy)
        return next(alike, step) == step
