"""How things stand: records of one moment, and what is said of it in a few words."""

import json
from dataclasses import dataclass, field
from typing import Any, Self

from ocrd.display import counted, estimate


@dataclass(slots=True)
class Delivery:
    """The last document that went out of a watch."""

    source: str
    path: str
    at: float
    """Seconds since the epoch."""


@dataclass(slots=True)
class Pause:
    """What holds a watch up."""

    what: str
    remedy: str
    since: float
    """Seconds since the epoch."""


@dataclass(slots=True)
class WatchStatus:
    """One watch."""

    name: str
    inbox: str
    how: str = ""
    """`events` or `polling`; empty until it is watched."""
    why: str = ""
    """Why it is polled."""
    settling: int = 0
    """Files in the inbox that may still change."""
    waiting: int = 0
    """Files in the inbox that are complete, but not claimed yet."""
    in_work: int = 0
    """Sources claimed and not ended."""
    pages_left: int = 0
    """Pages of these that are not read; a source that was not opened yet counts as one."""
    delivered: int = 0
    """Since the daemon began, as are the next three."""
    partial: int = 0
    """Of the delivered, those with pages that a person should look at."""
    refused: int = 0
    returned: int = 0
    skipped: int = 0
    """Duplicates that were only archived."""
    hooks_failed: int = 0
    """Programs of the owner's that failed, or were ended, since the daemon began."""
    found_by_scan: int = 0
    """Files that a scan found and no event had told of."""
    unfinished: dict[str, str] = field(default_factory=dict)
    """Some of the files that are waited for, since more of them seems to come, with the reason."""
    others: list[str] = field(default_factory=list)
    """Hosts of other daemons that take from the same inbox."""
    last: Delivery | None = None
    paused: Pause | None = None


@dataclass(slots=True)
class DocumentStatus:
    """One document in work."""

    watch: str
    source: str
    pages: int
    done: int
    problems: int = 0
    """Pages done that a person should look at."""


@dataclass(slots=True)
class RecentDocument:
    """One document that came to its end."""

    watch: str
    source: str
    at: float
    """Seconds since the epoch."""
    outcome: str
    """`complete`, `partial` or `refused`."""
    sidecar: str = ""
    """Where its sidecar lies in the outbox; empty if there is none."""
    pages: int | None = None
    """None where it was not opened."""
    verdicts: dict[str, int] = field(default_factory=dict)
    """Pages by verdict."""
    problems: list[int] = field(default_factory=list)
    """Numbers of the first pages that a person should look at, from 1."""
    reason: str = ""
    """Why it was refused."""


@dataclass(slots=True)
class ServerStatus:
    """One of the servers that an engine reads with."""

    name: str
    up: bool
    pages: int = 0
    """With it now."""
    why: str = ""
    """Why it gets none."""


@dataclass(slots=True)
class CardStatus:
    """One of several cards that the engine reads on."""

    name: str
    doing: str
    """As of `EngineStatus`."""
    engines: int
    pages: int
    """With them now."""
    memory_used: int | None
    """Bytes that anyone holds; None, as in the next, where nobody knows."""
    memory_total: int | None
    """Bytes that there are."""


@dataclass(slots=True)
class EngineStatus:
    """The engine."""

    kind: str
    model: str = ""
    doing: str = "loading"
    """`loading`, `ready`, `resting`, `away`."""
    restarts: int = 0
    inside: int = 0
    """Pages with the engine now."""
    tokens_per_second: float = 0.0
    memory: int | None = None
    """Bytes of the card's memory that the engine holds, as far as known; None, as in the next two, without a card."""
    memory_used: int | None = None
    """Bytes of the card's memory that anyone holds."""
    memory_total: int | None = None
    """Bytes of memory that the card has."""
    progress: str = ""
    """While it loads: what it does and how long that takes."""
    engines: int = 1
    """How many engines read side by side."""
    servers: list[ServerStatus] = field(default_factory=list)
    """Those that it reads with; none where it reads itself."""
    cards: list[CardStatus] = field(default_factory=list)
    """Those that it reads on, where there are several."""


@dataclass(slots=True)
class Status:
    """Everything at one moment."""

    state: str
    """`starting`, `ready`, `stopping`, `stopped`, `failed`; `dead`, `hung` and `down` are found out by who reads it."""
    version: str
    pid: int
    started: int
    """When the process started, clock ticks since boot (proc(5)): tells it from a later one with its number."""
    since: float
    """When the daemon began, seconds since the epoch."""
    written: float
    """When this was written, seconds since the epoch."""
    engine: EngineStatus
    pages_left: int = 0
    pages_per_second: float = 0.0
    eta: float | None = None
    """Seconds until the pages that are left are read at this speed; None while that is not known: of a few pages, and
    while something pauses or the engine is being built."""
    eta_least: float | None = None
    """Seconds, if it goes as fast as the last minutes let expect; None where `eta` is."""
    eta_most: float | None = None
    """Seconds, if it goes as slowly."""
    complaint: str = ""
    """Why it does not beat, or why it ended."""
    watches: list[WatchStatus] = field(default_factory=list)
    documents: list[DocumentStatus] = field(default_factory=list)
    recent: list[RecentDocument] = field(default_factory=list)
    """The last documents that came to their end, the latest first."""

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read it back. Raises ValueError, KeyError or TypeError if it is damaged."""
        raw: dict[str, Any] = json.loads(data)
        watches = [_watch(one) for one in raw.pop("watches")]
        documents = [DocumentStatus(**one) for one in raw.pop("documents")]
        recent = [RecentDocument(**one) for one in raw.pop("recent", [])]
        return cls(engine=_engine(raw.pop("engine")), watches=watches, documents=documents, recent=recent, **raw)


def _engine(raw: dict[str, Any]) -> EngineStatus:
    servers = [ServerStatus(**one) for one in raw.pop("servers", [])]
    cards = [CardStatus(**one) for one in raw.pop("cards", [])]
    return EngineStatus(**raw, servers=servers, cards=cards)


def _watch(raw: dict[str, Any]) -> WatchStatus:
    last, paused = raw.pop("last"), raw.pop("paused")
    return WatchStatus(**raw, last=Delivery(**last) if last else None, paused=Pause(**paused) if paused else None)


def line(status: Status) -> str:
    """Say it in one line, for `systemctl status`."""
    if status.complaint:
        return f"Hanging: {status.complaint}"
    engine = status.engine
    if status.state != "ready":
        progress = f": {engine.progress}" if engine.progress else ""
        doing = f", engine {engine.kind} loading{progress}" if engine.doing == "loading" else ""
        return f"{status.state.capitalize()}{doing}; {backlog(status)}"
    parts = [f"Engine {engine.doing}{_without_servers(engine)}", backlog(status)]
    parts += [f"watch {watch.name} paused: {watch.paused.what}" for watch in status.watches if watch.paused]
    return "; ".join(parts)


def _without_servers(engine: EngineStatus) -> str:
    if engine.doing == "away":
        return f": {engine.progress}"
    out = sum(not one.up for one in engine.servers)
    return f", {out} of {counted(len(engine.servers), 'server')} out" if out else ""


def backlog(status: Status) -> str:
    """Say how much is left to read, how fast that goes, and how long it will take."""
    if not status.pages_left:
        return "nothing to read"
    text = f"{counted(status.pages_left, 'page')} to read"
    if status.eta is None:
        return f"{text}, time left {time_left(status)}"
    return f"{text}, {status.pages_per_second:.2g} pages/s, {time_left(status)} left"


def time_left(status: Status) -> str:
    """Say how long what is left takes, as far as that is known."""
    if status.eta is None:
        return "not known yet"
    return estimate(status.eta, status.eta_least or status.eta, status.eta_most or status.eta)
