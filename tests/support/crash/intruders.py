"""A life in which a stranger puts something at the very name that the next step wants, or into its folder."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from strangers import Outside, Stranger

from crash.house import House
from crash.reaper import Step
from ocrd.errors import MachineError

LONGEST = 20
"""Seconds of a life, which takes hundredths of one, after which it hangs."""


@dataclass
class Tally:
    """What was tried, and what did not hold."""

    cases: int = 0
    placed: int = 0
    """Those in which the stranger found the place free."""
    paused: int = 0
    """Those in which it had to be taken away."""
    failures: list[str] = field(default_factory=list)


class Intruder:
    """Comes to one house, again and again."""

    def __init__(self, house: House, outside: Outside, expected: dict[str, bytes]) -> None:
        self._house = house
        self._outside = outside
        self._expected = expected
        self._stranger: Stranger | None = None
        self._cures = 0

    def meet(self, cases: Iterable[tuple[int, str]]) -> Tally:
        """Let one of this kind come before each of these steps, by number, in a life of its own."""
        tally = Tally()
        for number, kind in cases:
            self._stranger, self._cures, step = None, 0, None
            self._house.build()
            self._house._cure = self._cure  # type: ignore[method-assign]
            try:
                with ends_in_time():
                    steps = self._house.live_on(lambda steps, number=number, kind=kind: self._come(steps, number, kind))
                step = steps[number - 1] if number <= len(steps) else None
                self._check_end()
            except (AssertionError, OSError, MachineError) as error:
                where = self._stranger and self._stranger.path
                tally.failures.append(f"{kind} before {number} {step} at {where}: {error!r}")
            tally.cases += 1
            tally.placed += self._stranger is not None
            tally.paused += self._cures > 0
        return tally

    def _come(self, steps: list[Step], number: int, kind: str) -> None:
        if self._stranger:
            self._stranger.change()
        elif len(steps) >= number:
            target = Path(steps[-1].other or steps[-1].path)
            if not os.path.lexists(target) and target.parent.is_dir() and self._is_open_to_strangers(target):
                self._stranger = Stranger(kind, target, self._outside)

    def _is_open_to_strangers(self, path: Path) -> bool:
        return not path.is_relative_to(self._house.folder("work"))

    def _cure(self, error: MachineError) -> None:
        """Take away what stands in the way, as a person does who is told of it."""
        if self._stranger is None or self._cures > 3:
            raise error
        self._cures += 1
        around = str(self._stranger.path.parent)
        assert around in error.what + error.remedy, f"it is not told where the stranger is: {error}"
        self._stranger.go()

    def _check_end(self) -> None:
        self._outside.check()
        if self._stranger:
            self._stranger.go()
        self._house.check_end(self._expected)


@contextmanager
def ends_in_time() -> Iterator[None]:
    """Give up what does not end."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("it hangs")

    before: Callable[..., object] | int | None = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
