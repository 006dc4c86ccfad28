"""Hands vLLM pages that are processed already, so that its front end, one core of this process, has little to do.

vLLM's own way from an image to the model (pad, cut, normalise, send 21 MB) costs this process some 100 ms of CPU a
page, which is more than the card takes to read it. So the render workers make the views (`deepseek.Views`,
`patches.Views`), and what goes through here is bytes that are not looked at, and at most copied.

The form of vLLM's processed input is its own affair and differs between versions. So it is not built here but taken
from vLLM: a blank page goes through upstream's processor, and its pixels are then exchanged for ours, with what depends
on their number. Works with vLLM 0.24 to 0.33; names of its source files are those of 0.32.
"""

import asyncio
import dataclasses
import itertools
import time
from typing import TYPE_CHECKING, Any, Protocol

from ocrd.config.profile import ImageRule
from ocrd.engines.vllm import deepseek, image_size, patches
from ocrd.model import PagePreparer, PixelSize

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE = "image"
"""vLLM's name of the modality."""

Form = dict[str, Any]
"""A processed input: `MultiModalInput` of vllm/inputs/engine.py."""


class Scheme(Protocol):
    """How one family of models sees an image."""

    views: PagePreparer
    """What makes its views."""
    copies: bool
    """Whether `filled` copies them, which takes a moment."""

    def blank(self, width: int, height: int) -> PixelSize:
        """Return how large the blank page is whose form serves an image of so many pixels."""
        ...

    def filled(self, form: Form, width: int, height: int, views: memoryview) -> tuple[Form, dict[str, Any]]:
        """Return what becomes otherwise in the form, and the tensors of the image by vLLM's names."""
        ...


class Tiles:
    """DeepSeek's: an overview and tiles, as many as their grid has. Everything else goes by the grid."""

    copies = False

    def __init__(self, rule: ImageRule) -> None:
        """Take the rule of the model's images."""
        self._tile = rule.tile
        self.views: PagePreparer = deepseek.Views(rule.tile)

    def blank(self, width: int, height: int) -> PixelSize:
        """Fill the same grid."""
        wide, high = deepseek.tiles_seen(width, height, tile=self._tile)
        return PixelSize(wide * self._tile, high * self._tile)

    def filled(self, form: Form, width: int, height: int, views: memoryview) -> tuple[Form, dict[str, Any]]:  # noqa: ARG002
        """Take the views as they lie there."""
        import torch

        levels = torch.frombuffer(views, dtype=torch.uint8)
        overview = 3 * deepseek.OVERVIEW**2
        return {}, {
            "pixel_values": levels[:overview].view(3, deepseek.OVERVIEW, deepseek.OVERVIEW),
            "images_crop": levels[overview:].view(-1, 3, self._tile, self._tile),
        }


class Patches:
    """Qwen's: patches, and as many tokens in the prompt as they make. The form of one size serves all others."""

    copies = True

    def __init__(self, rule: ImageRule) -> None:
        """Take the rule of the model's images."""
        made = patches.views(rule)
        self._edge = made.edge
        self._smallest = image_size.fitted(1, 1, rule)
        self.views: PagePreparer = made

    def blank(self, width: int, height: int) -> PixelSize:  # noqa: ARG002 - of whatever size
        """Take the smallest that the model sees."""
        return self._smallest

    def filled(self, form: Form, width: int, height: int, views: memoryview) -> tuple[Form, dict[str, Any]]:
        """Show every patch in each frame of a film that stands still, as upstream does."""
        import torch

        wide, high = width // self._edge, height // self._edge
        levels = torch.frombuffer(views, dtype=torch.uint8).view(wide * high, 3, 1, self._edge**2)
        (item,), (place,) = form["mm_kwargs"][IMAGE], form["mm_placeholders"][IMAGE]
        frames = item["pixel_values"].data.shape[1] // (3 * self._edge**2)
        if place.is_embed is not None:
            raise NotImplementedError("tokens among those of the image that stand for no part of it")
        count = wide * high // patches.MERGED**2
        before, after = place.offset, place.offset + place.length
        tokens = form["prompt_token_ids"]
        return {
            "prompt_token_ids": [*tokens[:before], *tokens[before : before + 1] * count, *tokens[after:]],
            "mm_placeholders": {IMAGE: [dataclasses.replace(place, length=count)]},
        }, {
            "pixel_values": levels.repeat(1, 1, frames, 1).view(wide * high, -1),
            "image_grid_thw": torch.tensor([1, high, wide]),
        }


class Inputs:
    """Makes vLLM's processed inputs of pages. For one engine."""

    def __init__(self, llm: Any, rule: ImageRule) -> None:  # noqa: ANN401 - an AsyncLLM
        """Take the engine, and the rule of the model's images."""
        self._llm = llm
        self.scheme: Scheme = Tiles(rule) if rule.scheme == "deepseek" else Patches(rule)
        self._names = itertools.count()
        self._forms: dict[tuple[tuple[int, ...], PixelSize], Form] = {}

    async def upstream(self, prompt: tuple[int, ...], image: "Image") -> Form:
        """Let vLLM process an image itself, beside the event loop. `prompt` are token ids with one `<image>`."""
        raw = {"prompt_token_ids": list(prompt), "multi_modal_data": {IMAGE: image}}
        (made,) = await self._llm.renderer.render_cmpl_async([raw])
        return dict(made)

    async def of_views(self, prompt: tuple[int, ...], width: int, height: int, views: memoryview) -> Form:
        """Put the views of an image of so many pixels into the form that vLLM gives such a page."""
        blank = self.scheme.blank(width, height)
        form = self._forms.get((prompt, blank))
        if form is None:
            form = self._forms[prompt, blank] = await self._form(prompt, blank)
        if self.scheme.copies:
            changed, ours = await asyncio.to_thread(self.scheme.filled, form, width, height, views)
        else:
            changed, ours = self.scheme.filled(form, width, height, views)
        (item,) = form["mm_kwargs"][IMAGE]
        elements = {name: dataclasses.replace(one, data=ours.get(name, one.data)) for name, one in item.items()}
        return {
            **form,
            **changed,
            "mm_kwargs": type(form["mm_kwargs"])({IMAGE: [type(item)(elements)]}),
            "mm_hashes": {IMAGE: [f"page-{next(self._names)}"]},  # vLLM keeps what it saw of an image under this name
            "arrival_time": time.time(),
        }

    async def _form(self, prompt: tuple[int, ...], size: PixelSize) -> Form:
        from PIL import Image

        form = await self.upstream(prompt, Image.new("RGB", (size.width, size.height), "white"))
        (item,) = form["mm_kwargs"][IMAGE]
        for name in {"pixel_values", "images_crop"} & item.keys():
            item[name] = dataclasses.replace(item[name], data=item[name].data[:0])  # it would be 21 MB of white
        if counts := item.get("images_spatial_crop"):
            # Only ever looked at from the host; 0.24 would fetch it from the card.
            on_cpu = dataclasses.replace(counts.field, keep_on_cpu=True)
            item["images_spatial_crop"] = dataclasses.replace(counts, field=on_cpu)
        return form

    async def agree(self, prompt: tuple[int, ...], image: "Image", table: list[float]) -> str:
        """Compare both ways for one image; return what differs, or nothing.

        `table` has the number that the model takes for each level of a pixel, where it is not vLLM that looks it up.
        """
        import torch

        theirs = await self.upstream(prompt, image)
        memory = memoryview(bytearray(self.scheme.views.room))
        length = self.scheme.views(image, memory)
        ours = await self.of_views(prompt, image.width, image.height, memory[:length])
        for name in ("prompt_token_ids", "mm_placeholders"):
            if theirs[name] != ours[name]:
                return name
        (item,), (other) = theirs["mm_kwargs"][IMAGE], ours["mm_kwargs"][IMAGE][0]
        for name, element in item.items():
            data = other[name].data
            if data.dtype == torch.uint8 and table:
                data = torch.tensor(table).to(element.data.dtype)[data.int()]
            if element.data.dtype != data.dtype or not torch.equal(element.data, data):
                return f"{name} of {image.width} x {image.height} pixels"
        return ""
