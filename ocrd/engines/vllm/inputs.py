"""Hands vLLM pages that are processed already, so that its front end, one core of this process, has little to do.

vLLM's own way from an image to the model (pad, cut, normalise, send 21 MB) costs this process some 100 ms of CPU a
page, which is more than the card takes to read it. So the render workers make the views (`deepseek.Views`), and what
goes through here is bytes that are not even looked at.

The form of vLLM's processed input is its own affair and differs between versions. So it is not built here but taken
from vLLM: for each grid of tiles one blank page goes through upstream's processor, and its pixels are then exchanged
for ours. Works with vLLM 0.24 to 0.33; names of its source files are those of 0.32.
"""

import dataclasses
import itertools
import time
from typing import TYPE_CHECKING, Any

from ocrd.engines.vllm import deepseek

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE = "image"
"""vLLM's name of the modality."""


class Inputs:
    """Makes vLLM's processed inputs (`MultiModalInput` of vllm/inputs/engine.py) of pages. For one engine."""

    def __init__(self, llm: Any, tile: int) -> None:  # noqa: ANN401 - an AsyncLLM
        self._llm = llm
        self._tile = tile
        self._names = itertools.count()
        self._forms: dict[tuple[tuple[int, ...], tuple[int, int]], dict[str, Any]] = {}

    async def upstream(self, prompt: tuple[int, ...], image: "Image") -> dict[str, Any]:
        """Let vLLM process an image itself, beside the event loop. `prompt` are token ids with one `<image>`."""
        raw = {"prompt_token_ids": list(prompt), "multi_modal_data": {IMAGE: image}}
        (made,) = await self._llm.renderer.render_cmpl_async([raw])
        return dict(made)

    async def of_views(self, prompt: tuple[int, ...], width: int, height: int, views: memoryview) -> dict[str, Any]:
        """Put the views of an image of so many pixels into the form that vLLM gives such a page."""
        import torch

        grid = deepseek.tiles_seen(width, height, tile=self._tile)
        form = self._forms.get((prompt, grid))
        if form is None:
            form = self._forms[prompt, grid] = await self._form(prompt, grid)
        (item,) = form["mm_kwargs"][IMAGE]
        levels = torch.frombuffer(views, dtype=torch.uint8)
        overview = 3 * deepseek.OVERVIEW**2
        ours = {
            "pixel_values": levels[:overview].view(3, deepseek.OVERVIEW, deepseek.OVERVIEW),
            "images_crop": levels[overview:].view(-1, 3, self._tile, self._tile),
        }
        elements = {name: dataclasses.replace(one, data=ours.get(name, one.data)) for name, one in item.items()}
        return {
            **form,
            "mm_kwargs": type(form["mm_kwargs"])({IMAGE: [type(item)(elements)]}),
            "mm_hashes": {IMAGE: [f"page-{next(self._names)}"]},  # vLLM keeps what it saw of an image under this name
            "arrival_time": time.time(),
        }

    async def _form(self, prompt: tuple[int, ...], grid: tuple[int, int]) -> dict[str, Any]:
        from PIL import Image

        blank = Image.new("RGB", (grid[0] * self._tile, grid[1] * self._tile), "white")
        form = await self.upstream(prompt, blank)
        (item,) = form["mm_kwargs"][IMAGE]
        for name in ("pixel_values", "images_crop"):
            item[name] = dataclasses.replace(item[name], data=item[name].data[:0])  # it would be 21 MB of white
        counts = item["images_spatial_crop"]  # only ever looked at from the host; 0.24 would fetch it from the card
        item["images_spatial_crop"] = dataclasses.replace(
            counts, field=dataclasses.replace(counts.field, keep_on_cpu=True)
        )
        return form

    async def agree(self, prompt: tuple[int, ...], image: "Image", table: list[float]) -> str:
        """Compare both ways for one image; return what differs, or nothing."""
        import torch

        theirs = await self.upstream(prompt, image)
        views = deepseek.Views(self._tile)
        memory = memoryview(bytearray(views.room))
        length = views(image, memory)
        ours = await self.of_views(prompt, image.width, image.height, memory[:length])
        for name in ("prompt_token_ids", "mm_placeholders"):
            if theirs[name] != ours[name]:
                return name
        (item,), (other) = theirs["mm_kwargs"][IMAGE], ours["mm_kwargs"][IMAGE][0]
        for name, element in item.items():
            data = other[name].data
            if data.dtype == torch.uint8:
                data = torch.tensor(table).to(element.data.dtype)[data.int()]
            if element.data.dtype != data.dtype or not torch.equal(element.data, data):
                return f"{name} of {image.width} x {image.height} pixels"
        return ""
