"""What happens in the daemon, told once. The log, the status, the metrics and the hooks all live on these records.

The daemon tells them through `Events`; whoever wants to know is a function that takes one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ocrd.model import PageResult


@dataclass(frozen=True, slots=True)
class EngineReady:
    """The engine answers."""

    kind: str
    """Its kind in the configuration."""
    model: str
    """The model that reads, with its revision."""
    version: str
    """Version of the library that runs it."""
    seconds: float
    """From its start until it answered."""


@dataclass(frozen=True, slots=True)
class EngineRestarted:
    """The engine died, was built anew and answers again."""

    restarts: int
    """How often, since the daemon began."""


@dataclass(frozen=True, slots=True)
class WatchAdded:
    """A watch is looked after from now on, or in another way than before."""

    watch: str
    how: str
    """`events`, or `polling` where none come or they can't be trusted; `once` by `ocrd once`."""
    every: float
    """The inbox is scanned at least this often, seconds."""


@dataclass(frozen=True, slots=True)
class WatchRemoved:
    """A watch is no longer in the configuration; what was claimed from it is still brought to its end."""

    watch: str


@dataclass(frozen=True, slots=True)
class Looked:
    """An inbox was looked through."""

    watch: str
    settling: int
    """Files that may still change."""
    waiting: int
    """Files that are complete, and not claimed yet."""
    why: str = ""
    """Why it is polled; empty where events come."""
    found_by_scan: int = 0
    """Files so far that a scan found and no event had told of."""
    unfinished: Mapping[str, str] = field(default_factory=dict)
    """Sources that are waited for, since more of them seems to come, with the reason; relative to the inbox."""
    others: Sequence[str] = ()
    """Hosts of other daemons that take from the same inbox."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A source was claimed, or found in work at the start."""

    watch: str
    job: str
    source: str
    """Its path relative to the inbox."""
    recovered: bool = False
    """It lay in work already."""
    pages: int = 1
    """As many as were counted before it was claimed; a recovered one is counted when it is opened."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A source turned out to have so many pages."""

    watch: str
    job: str
    source: str
    pages: int
    kept: int
    """Of these, read before a restart."""


@dataclass(frozen=True, slots=True)
class PageDone:
    """One page was read, or given up."""

    watch: str
    job: str
    source: str
    result: PageResult


@dataclass(frozen=True, slots=True)
class Ended:
    """A document came to its end: the one record that tells all of it."""

    watch: str
    job: str
    source: str
    kind: str
    """`delivered`, `refused`, `returned` (put back into the inbox, since it changed), `skipped` (a duplicate); of a
    rerun `reread`, or `not reread`."""
    path: Path
    """Where the sidecar lies; for refused, returned and skipped ones, where the source lies now."""
    original: Path | None
    """Where the source lies now."""
    seconds: float
    """From the start of its work to its end."""
    latency: float
    """From when it was first seen in the inbox to its end, seconds."""
    pages: int | None = None
    """None where it was not opened, or was read before a restart."""
    status: str = ""
    """`complete` or `partial`, if delivered."""
    verdicts: Mapping[str, int] = field(default_factory=dict)
    """Pages by verdict."""
    problems: Sequence[PageResult] = ()
    """Pages that a person should look at, in order."""
    reason: str = ""
    """Why it was refused."""
    files: Sequence[Path] = ()
    """All that was delivered: the files of each part, and the folder of pictures."""
    originals: Sequence[Path] = ()
    """Every file of the source, its companion included, where it lies now."""


@dataclass(frozen=True, slots=True)
class TakenAway:
    """A source is in work here no more: another daemon was given it."""

    watch: str
    job: str
    source: str


HookOutcome = Literal["done", "failed", "left"]
"""How a hook ended: `left` is for the next start."""


@dataclass(frozen=True, slots=True)
class HookEnded:
    """A program of the owner's was run, or a URL told, at the end of a document."""

    watch: str
    job: str
    outcome: HookOutcome


@dataclass(frozen=True, slots=True)
class Paused:
    """A fault of the machine holds a watch up."""

    watch: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """No fault holds the watch up any more."""

    watch: str


Event = (
    EngineReady
    | EngineRestarted
    | WatchAdded
    | WatchRemoved
    | Looked
    | Accepted
    | Opened
    | PageDone
    | Ended
    | TakenAway
    | HookEnded
    | Paused
    | Resumed
)
Listener = Callable[[Event], None]


class Events:
    """Passes on what happens, in the order in which it happens. For one event loop."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = list(listeners)

    def listen(self, listener: Listener) -> None:
        """Let one more hear all that happens from now on. It must not raise, nor block."""
        self._listeners.append(listener)

    def tell(self, event: Event) -> None:
        """Tell everybody."""
        for listener in self._listeners:
            listener(event)
