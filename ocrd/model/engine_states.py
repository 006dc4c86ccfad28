"""How a running engine is, with its cards or servers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerState:
    """How one of the servers is that an engine reads with."""

    name: str
    """Its address."""
    up: bool
    """Whether it gets pages."""
    pages: int = 0
    """That are with it."""
    why: str = ""
    """Why it gets none, in words."""


@dataclass(frozen=True, slots=True)
class CardState:
    """How one of the cards is that an engine reads on."""

    name: str
    """As the driver numbers it."""
    doing: str
    """As of `EngineState`."""
    engines: int
    """That read on it."""
    pages: int
    """That are with them."""
    memory_used: int | None = None
    """Bytes of its memory that anyone holds; None where nobody knows."""
    memory_total: int | None = None
    """Bytes of memory that it has."""


@dataclass(frozen=True, slots=True)
class EngineState:
    """How a running engine is. An engine may have a property `state` that tells it; it is asked every second."""

    doing: str = "ready"
    """`ready`, `loading` (being built anew), `resting` (the device is free until the next page), or `away` (none of its
    servers answers; pages wait)."""
    restarts: int = 0
    """How often it was built anew because it had died."""
    memory: int | None = None
    """Bytes of the card's memory that the engine holds; None where there is no card, or nobody knows."""
    memory_used: int | None = None
    """Bytes of the card's memory that anyone holds."""
    memory_total: int | None = None
    """Bytes of memory that the card has."""
    progress: str = ""
    """While it loads: what it does and how long that takes, in words."""
    engines: int = 1
    """How many engines read side by side."""
    generated: int = 0
    """Tokens so far, those of pages that are still being read, too. Where that grows, a long page is no hang."""
    servers: tuple[ServerState, ...] = ()
    """Those that it reads with, if it does not read itself."""
    cards: tuple[CardState, ...] = ()
    """Those that it reads on, where there are several."""
