"""Real render workers without an event loop, and what is to be seen of a page."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ocrd.concurrency.worker_pool import Limits
from ocrd.errors import DocumentError
from ocrd.model import PageImage, PixelSize, SourceFacts, View
from ocrd.rendering.renderer import AS_IT_SEEMS, Renderer

LONGEST = 800


def fit(width: float, height: float) -> PixelSize:
    """Want the longer side to have so many pixels."""
    scale = LONGEST / max(width, height)
    return PixelSize(max(1, round(width * scale)), max(1, round(height * scale)))


class Sync:
    """A renderer whose coroutines are run to their end."""

    def __init__(self, *, seconds: float = 30.0, memory: int = 2**31, workers: int = 1) -> None:
        self.renderer = Renderer(workers, Limits(seconds, memory))

    @staticmethod
    def _run(step: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(step)

    def open(self, path: Path) -> SourceFacts:
        return self._run(self.renderer.open(path))

    def page(self, path: Path, index: int = 0, sizer: Any = fit, view: View = AS_IT_SEEMS) -> PageImage:
        return self._run(self.renderer.page(path, index, sizer, view=view))

    def refusal(self, path: Path) -> DocumentError:
        with pytest.raises(DocumentError) as caught:
            self.open(path)
        assert "/" not in caught.value.what, "a person knows the file by another path"
        assert caught.value.remedy
        return caught.value

    def close(self) -> None:
        self._run(self.renderer.close())


def as_image(page: PageImage) -> Image.Image:
    assert len(page.pixels) == 3 * page.size.width * page.size.height
    return Image.frombytes("RGB", (page.size.width, page.size.height), page.pixels)


def dark(image: Image.Image) -> tuple[bool, bool, bool, bool]:
    """Whether the middle of each quarter is dark: top left, top right, bottom left, bottom right."""
    width, height = image.size
    places = [(x, y) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    return tuple(sum(image.getpixel(place)) < 384 for place in places)  # type: ignore[arg-type,return-value]
