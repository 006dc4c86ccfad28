"""What every engine keeps to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ocrd.model import DEFAULT_APPROACH, Approach, EngineState, PageImage, PagePreparer, PageSizer, Reading, Rung

__all__ = ["Engine", "EngineInfo", "EngineState"]


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What is known of a running engine."""

    kind: str
    """The kind in the configuration: `vllm`, `cpu`, or `package.module:factory`."""
    model: str
    """The model that reads, with its revision where there is one; for the cpu engine its program and languages."""
    version: str
    """Version of the library that runs it."""
    fingerprint: str
    """Changes whenever the same page image could give another text: model, prompt, sampling, versions.
    A page that was read before a restart is kept only if this is the same."""
    facts: tuple[str, ...] = ()
    """What else a person should know of the running engine, for instance that its caches are off."""


class Engine(Protocol):
    """Reads page images, many at once.

    The daemon starts an engine once and keeps it. All methods belong to one event loop and must not block it. Beside
    these, a property `state` (see `EngineState`) is welcome, and a method `accept(approach)`, which raises
    DocumentError where a scan's own prompt or languages can't be had; without it none can.
    """

    @property
    def info(self) -> EngineInfo:
        """Valid once started."""
        ...

    @property
    def window(self) -> int:
        """How many pages may be with the engine at once, to keep it busy. Valid before the start."""
        ...

    @property
    def page_size(self) -> PageSizer:
        """The image size wanted for each shape of page. Valid before the start, and picklable."""
        ...

    @property
    def prepare(self) -> PagePreparer | None:
        """What the render workers are to make of each page; None: RGB is taken as it is. Valid once started."""
        ...

    @property
    def rungs(self) -> Mapping[Rung, Approach]:
        """Which other ways of reading a page may give another text here, and how to ask for each.

        Valid before the start. `turn` and `text_layer` don't depend on the engine, and need no mention.
        """
        ...

    async def start(self) -> None:
        """Get ready, and return once it answers.

        Raises ConfigError (the owner must mend it) or EngineError (it may work later).
        """
        ...

    async def read(self, page: PageImage, *, priority: int = 0, approach: Approach = DEFAULT_APPROACH) -> Reading:
        """Read one page. Lower priorities go first. Cancelling the call gives the page up.

        Raises PageError if this page alone can't be read, EngineError if the engine is gone for good. An engine that
        can be rebuilt is rebuilt in here: a fault of the machine is not the page's fault.
        """
        ...

    async def close(self) -> None:
        """Stop and free everything. Pages still with the engine are given up. May be called twice."""
        ...
