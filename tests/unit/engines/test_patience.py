"""A command that is to end does not wait for ever for servers of which none answers."""

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from ocrd.engines.patience import end_when_away
from ocrd.errors import EngineError
from ocrd.model import EngineState

if TYPE_CHECKING:
    from ocrd.engines.base import Engine


class Doing:
    """An engine that does one thing after the other, a second each."""

    def __init__(self, *doing: str) -> None:
        self._doing = list(doing)
        self.seconds = 0

    @property
    def state(self) -> EngineState:
        return EngineState(
            self._doing[min(self.seconds, len(self._doing)) - 1], progress="no server answers: it is off."
        )

    async def pause(self, seconds: float) -> None:
        assert seconds == 1
        self.seconds += 1


def test_it_ends_once_none_has_answered_for_so_long_without_a_break() -> None:
    engine = Doing(*["away"] * 9, "ready", "loading", *["away"] * 99)
    with pytest.raises(EngineError, match=r"^For 10 s no server answers: it is off\. "):
        asyncio.run(end_when_away(cast("Engine", engine), 10, engine.pause))
    assert engine.seconds == 9 + 2 + 10
