"""The same content in two jobs at once: the second waits until the first has come to its end."""

import asyncio
from collections.abc import Hashable


class InFlight:
    """Knows which content is in work, and whose. For one event loop."""

    def __init__(self) -> None:
        self._held: dict[Hashable, tuple[str, asyncio.Event]] = {}

    async def turn(self, content: Hashable, job: str) -> None:
        """Wait until no other job holds this content, and hold it."""
        while content in self._held and self._held[content][0] != job:
            await self._held[content][1].wait()
        self._held.setdefault(content, (job, asyncio.Event()))

    def done(self, job: str) -> None:
        """Let go of whatever a job holds."""
        for content in [content for content, (holder, _) in self._held.items() if holder == job]:
            self._held.pop(content)[1].set()
