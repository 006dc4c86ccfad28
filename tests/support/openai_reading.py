"""The openai engine over real connections: one page, and servers in the loop of the test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from chat_server import ChatServer

from ocrd.config.openai import OpenAiSettings
from ocrd.config.profile import Profile
from ocrd.config.resolving import shipped
from ocrd.engines.openai.engine import OpenAiEngine
from ocrd.model import PageImage, PixelSize

SIZE = PixelSize(64, 32)
PIXELS = bytes(range(256)) * (3 * 64 * 32 // 256)
PAGE = PageImage(0, SIZE, PIXELS, 72.0)
SMALL = shipped().model_copy(update={"image": shipped().image.model_copy(update={"tile": 64})})
"""DeepSeek-OCR's, but for its test page, which would take a second to draw."""


def run(work: Coroutine[Any, Any, None]) -> None:
    async def waited() -> None:
        await asyncio.wait_for(work, 120)

    asyncio.run(waited())


@asynccontextmanager
async def reading(
    *servers: ChatServer, profile: Profile = SMALL, silence: float = 60, **settings: Any
) -> AsyncIterator[OpenAiEngine]:
    """Start servers, and an engine that reads with them."""
    places = [await one.start() for one in servers]
    made = OpenAiEngine(OpenAiSettings(endpoints=tuple(places), **settings), profile, silence=silence)
    try:
        await made.start()
        yield made
    finally:
        await made.close()
        for one in servers:
            await one.stop()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def up(made: OpenAiEngine) -> list[bool]:
    return [one.up for one in made.state.servers]
