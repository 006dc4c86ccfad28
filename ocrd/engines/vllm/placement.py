"""Which cards are read on, and how many engines each of them gets.

Each card has engines of its own, which know nothing of the others. One engine's Python thread can't keep a large card
busy; two under CUDA MPS can. Measured on an H100 with 80 GB (docs/performance.md): one engine 12.4 pages a second, two
on the same card 16.8.

A card is named as CUDA_VISIBLE_DEVICES names it: by its number among all of the machine, in the order of the PCI bus,
or by what the owner wrote there.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ocrd.config.vllm import VllmSettings
from ocrd.engines.vllm import mps
from ocrd.engines.vllm.gpu_memory import CardProperties
from ocrd.errors import ConfigError

ROOM = 24 << 30
"""Bytes of the card that an engine needs to be worth a place: 7 for the weights, 3 to work in, and the rest for the
keys and values of some hundred pages."""

CPUS = 6
"""Processor cores for each card below which a second engine has none: each engine takes one, and the pages must be
rendered, too."""

WHATEVER = ""
"""The cards that an engine finds by itself."""


@dataclass(frozen=True)
class Device:
    """A card that can be read on."""

    name: str
    """As CUDA_VISIBLE_DEVICES names it."""
    card: CardProperties


@dataclass(frozen=True)
class Placement:
    """Where engines are to be."""

    cards: tuple[str, ...] = (WHATEVER,)
    """Each has engines of its own; several with commas between them are one that an engine spreads over."""
    per_card: int = 1
    why_not: str = ""
    """Why there are not two on a card where they were thought of, as the end of a sentence."""

    @property
    def engines(self) -> tuple[str, ...]:
        """The card of each engine; the first engine of each card comes first."""
        return self.cards * self.per_card


def devices(settings: VllmSettings, cards: Sequence[CardProperties]) -> list[Device]:
    """Return those of the machine's cards that the environment and the settings leave. Raises ConfigError."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in named.split(",")] if named else [str(number) for number in range(len(cards))]
    seen = [Device(name, _card(name, cards)) for name in names]
    if settings.devices == "auto":
        return seen
    for number in settings.devices:
        if number >= len(seen):
            within = " that CUDA_VISIBLE_DEVICES leaves" if named else ""
            raise ConfigError(
                f"engine.vllm.devices names the card {number}, and of the cards{within} the last is {len(seen) - 1}.",
                "Correct it; nvidia-smi lists the cards, beginning with 0.",
            )
    return [seen[number] for number in settings.devices]


def _card(name: str, cards: Sequence[CardProperties]) -> CardProperties:
    """Return the card of a name; of one that is no number, the smallest, which it has at least."""
    if name.isdigit() and int(name) < len(cards):
        return cards[int(name)]
    return min(cards, key=lambda card: card.total)


def choose(settings: VllmSettings, found: Sequence[Device], cpus: int | None = None) -> Placement:
    """Return where the settings and this machine want engines. Raises ConfigError."""
    cards = tuple(_groups(settings, [device.name for device in found]))
    if settings.engines_per_card == 1:
        return Placement(cards)
    why_not = _obstacle(settings, found, (cpus or os.cpu_count() or 1) // len(cards))
    return Placement(cards, 1, why_not) if why_not else Placement(cards, 2)


def spread(settings: VllmSettings) -> int:
    """Return over how many cards each engine spreads."""
    return int(settings.extra.get("tensor_parallel_size", 1)) * int(settings.extra.get("pipeline_parallel_size", 1))


def _groups(settings: VllmSettings, names: Sequence[str]) -> Iterator[str]:
    size = spread(settings)
    if len(names) < size or (len(names) % size and settings.devices != "auto"):
        raise ConfigError(
            f"Each engine spreads over {size} cards (engine.vllm.extra), and there are {len(names)} to be used.",
            "Correct tensor_parallel_size or pipeline_parallel_size, or engine.vllm.devices.",
        )
    for begin in range(0, len(names) - size + 1, size):
        yield ",".join(names[begin : begin + size])


def _obstacle(settings: VllmSettings, found: Sequence[Device], cpus: int) -> str:
    """Say why a card, which has so many of the processor's cores, does not get two."""
    if any(device.name.startswith("MIG-") for device in found):
        return "the card is divided (MIG)"
    if spread(settings) > 1:
        return "the engine spreads over several cards"
    if mps.find_program() is None:
        return f"the program {mps.PROGRAM} is not there"
    return _not_worth_it(settings, found, cpus) if settings.engines_per_card == "auto" else ""


def _not_worth_it(settings: VllmSettings, found: Sequence[Device], cpus: int) -> str:
    each = int(min(device.card.total for device in found) * settings.gpu_memory_utilization / 2)
    if each < ROOM:
        return f"each would have {each / 2**30:.0f} GiB of the card, and needs {ROOM >> 30}"
    if cpus < CPUS:
        return f"the machine has {cpus} processor cores for a card, and two engines need {CPUS}"
    if settings.idle.do == "sleep":
        return "idle.do is sleep, which was not tried with two"
    return ""
