"""Steps on the disk, beside the event loop."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

R = TypeVar("R")


async def finish_in_thread(step: Callable[..., R], *args: Any, **kwargs: Any) -> R:  # noqa: ANN401 - passed through
    """Run a step on the disk beside the event loop. A cancel waits for its end: no step is left half known."""
    task = asyncio.ensure_future(asyncio.to_thread(step, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
