"""What every engine keeps to. An engine of one's own inherits `Engine` and says the rest: docs/engines.md has one."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ocrd.errors import DocumentError, OcrdError
from ocrd.model import DEFAULT_APPROACH, Approach, EngineState, PageImage, PagePreparer, PageSizer, Reading, Rung

__all__ = ["Engine", "EngineInfo", "EngineState", "Finding", "complete"]


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


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an engine needs of the machine, and how that is there."""

    what: str
    found: str | OcrdError


class Engine(ABC):
    """Reads page images, many at once.

    The daemon starts an engine once and keeps it. All methods belong to one event loop and must not block it. What is
    not abstract has a default that is right for an engine without that ability.
    """

    @property
    @abstractmethod
    def info(self) -> EngineInfo:
        """What is known of it. Valid once started."""

    @property
    @abstractmethod
    def window(self) -> int:
        """How many pages may be with the engine at once, to keep it busy. Valid before the start."""

    @property
    @abstractmethod
    def page_size(self) -> PageSizer:
        """The image size in pixels wanted for each shape of page. Valid before the start, and picklable."""

    @property
    def prepare(self) -> PagePreparer | None:
        """What the render workers are to make of each page; None: RGB is taken as it is. Valid once started."""
        return None

    @property
    def rungs(self) -> Mapping[Rung, Approach]:
        """Which other ways of reading a page may give another text here, and how to ask for each; none by default.

        Valid before the start. `turn` and `text_layer` don't depend on the engine, and need no mention.
        """
        return {}

    @property
    def state(self) -> EngineState:
        """How it is: asked every second, so it must cost nothing. By default it is always ready."""
        return EngineState()

    def accept(self, approach: Approach) -> None:  # noqa: ARG002 - it accepts none
        """Check whether it can read a scan with a prompt or languages of its own; by default it can't.

        Valid once started. Raises DocumentError that says what it can't do, and how to mend the scan's settings.
        """
        raise DocumentError(
            f"the engine {self.info.kind} takes neither prompt nor languages of a single scan.", "Take them out."
        )

    def preflight(self) -> Iterable[Finding]:
        """Look at what it needs of this machine, before the start and without loading what is heavy. May block."""
        return ()

    @abstractmethod
    async def start(self) -> None:
        """Get ready, and return once it answers.

        Raises ConfigError (the owner must mend it) or EngineError (it may work later).
        """

    @abstractmethod
    async def read(self, page: PageImage, *, priority: int = 0, approach: Approach = DEFAULT_APPROACH) -> Reading:
        """Read one page. Lower priorities go first. Cancelling the call gives the page up.

        Raises PageError if this page alone can't be read, EngineError if the engine is gone for good. An engine that
        can be rebuilt is rebuilt in here: a fault of the machine is not the page's fault.
        """

    @abstractmethod
    async def close(self) -> None:
        """Stop and free everything. Pages still with the engine are given up. May be called twice."""


def complete(engine: Any) -> Engine:  # noqa: ANN401 - whatever a factory of one's own returned
    """Return the engine; one that has the methods but not the base class gets what the class would have given it."""
    return engine if isinstance(engine, Engine) else _Completed(engine)


class _Completed(Engine):
    """An engine that was written before there was a base class, or without it."""

    def __init__(self, engine: Any) -> None:  # noqa: ANN401 - see `complete`
        self._engine = engine

    @property
    def info(self) -> EngineInfo:
        info: EngineInfo = self._engine.info
        return info

    @property
    def window(self) -> int:
        return int(self._engine.window)

    @property
    def page_size(self) -> PageSizer:
        size: PageSizer = self._engine.page_size
        return size

    @property
    def prepare(self) -> PagePreparer | None:
        return getattr(self._engine, "prepare", None)

    @property
    def rungs(self) -> Mapping[Rung, Approach]:
        return getattr(self._engine, "rungs", {})

    @property
    def state(self) -> EngineState:
        state = getattr(self._engine, "state", None)
        return state if isinstance(state, EngineState) else EngineState()

    def accept(self, approach: Approach) -> None:
        getattr(self._engine, "accept", super().accept)(approach)

    def preflight(self) -> Iterable[Finding]:
        found: Iterable[Finding] = getattr(self._engine, "preflight", super().preflight)()
        return found

    async def start(self) -> None:
        await self._engine.start()

    async def read(self, page: PageImage, *, priority: int = 0, approach: Approach = DEFAULT_APPROACH) -> Reading:
        reading: Reading = await self._engine.read(page, priority=priority, approach=approach)
        return reading

    async def close(self) -> None:
        await self._engine.close()
