"""How long a command waits for servers of which none answers; a service waits for as long as it takes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from ocrd.display import duration
from ocrd.engines.base import Engine
from ocrd.errors import EngineError

LONGEST = 600.0
"""Seconds."""
EVERY = 1.0
"""Seconds between two looks."""


async def end_when_away(
    engine: Engine, longest: float = LONGEST, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> NoReturn:
    """Look on until none of the engine's servers has answered for so many seconds. Raises EngineError then."""
    away = 0.0
    while away < longest:
        await pause(EVERY)
        away = away + EVERY if engine.state.doing == "away" else 0.0
    raise EngineError(
        f"For {duration(longest)} {engine.state.progress.rstrip('.')}.",
        "Start one, or mend engine.openai.endpoints (`ocrd check` asks each of them); then give the command again.",
    )
