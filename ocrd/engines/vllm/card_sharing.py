"""How many engines a card gets. One engine's Python thread can't keep a large card busy; two under CUDA MPS can.

Measured on an H100 with 80 GB (docs/performance.md): one engine 12.4 pages a second, two on the same card 16.8.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ocrd.config.vllm import VllmSettings
from ocrd.engines.vllm import mps

ROOM = 24 << 30
"""Bytes of the card that an engine needs to be worth a place: 7 for the weights, 3 to work in, and the rest for the
keys and values of some hundred pages."""

CPUS = 6
"""Processor cores below which a second engine has none: each engine takes one, and the pages must be rendered, too."""


@dataclass(frozen=True)
class Sharing:
    """How many engines are to share the card."""

    engines: int = 1
    why_not: str = ""
    """Why there are not two where they were thought of, as the end of a sentence."""


def choose(settings: VllmSettings, cards: Sequence[int], cpus: int | None = None) -> Sharing:
    """Return how many engines the settings and this machine want; `cards` are the bytes of each card's memory."""
    if settings.engines_per_card == 1:
        return Sharing()
    if why_not := _obstacle(settings, cards, cpus or os.cpu_count() or 1):
        return Sharing(1, why_not)
    return Sharing(2)


def _obstacle(settings: VllmSettings, cards: Sequence[int], cpus: int) -> str:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = named.split(",") if named else [str(number) for number in range(len(cards))]
    if not cards:
        return "the driver does not tell the card's memory"
    if "MIG-" in (named or ""):
        return "the card is divided (MIG)"
    if any(int(settings.extra.get(name, 1)) > 1 for name in ("tensor_parallel_size", "pipeline_parallel_size")):
        return "the engine spreads over several cards"
    if mps.find_program() is None:
        return f"the program {mps.PROGRAM} is not there"
    if settings.engines_per_card == "auto":
        return _not_worth_it(settings, cards, len(seen), cpus)
    return ""


def _not_worth_it(settings: VllmSettings, cards: Sequence[int], seen: int, cpus: int) -> str:
    each = int(min(cards) * settings.gpu_memory_utilization / 2)
    if seen > 1:
        return f"there are {seen} cards"
    if each < ROOM:
        return f"each would have {each / 2**30:.0f} GiB of the card, and needs {ROOM >> 30}"
    if cpus < CPUS:
        return f"the machine has {cpus} processor cores, and two engines need {CPUS}"
    if settings.idle.do == "sleep":
        return "idle.do is sleep, which was not tried with two"
    return ""
