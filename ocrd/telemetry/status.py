"""How things stand: kept from the events, written to a file while they change, and read back by `ocrd status`.

The file lies in the runtime folder of the service or of the user, so that it costs no disk and can't be held up by a
share; it is named for the configuration file.
"""

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from ocrd import __version__
from ocrd.concurrency import processes
from ocrd.display import counted, estimate, shown
from ocrd.model import EngineState
from ocrd.storage.safe_paths import NotRegularError, is_own_folder, regular, runtime_folder
from ocrd.storage.scratch import write_scratch
from ocrd.telemetry.events import (
    Accepted,
    Ended,
    EngineReady,
    EngineRestarted,
    Event,
    HookEnded,
    Looked,
    Opened,
    PageDone,
    Paused,
    Resumed,
    TakenAway,
    WatchAdded,
    WatchRemoved,
)
from ocrd.telemetry.pace import Pace, TimeLeft

if TYPE_CHECKING:  # `ocrd status` is to be there at once
    from ocrd.config.schema import Config

SHOWN_DOCUMENTS = 16
"""Documents in work that the status names; the others are only counted."""
RECENT = 20
"""Documents that ended which the status names."""
STALE = 15.0
"""Seconds after which a status shows that its daemon hangs: it is written at least every third of them."""


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


class ObservedEngine(Protocol):
    """What is to be seen of an engine from outside."""

    @property
    def state(self) -> EngineState:
        """How it is."""
        ...

    @property
    def inside(self) -> int:
        """Pages that are with it now."""
        ...

    @property
    def tokens(self) -> int:
        """Tokens read so far."""
        ...


class StatusBoard:
    """Hears what happens, and knows at any moment how things stand. For one event loop."""

    def __init__(self, config: "Config") -> None:
        self.state = "starting"
        self._started = processes.started(os.getpid())
        self.complaint = ""
        self._since = time.time()
        self._engine = EngineStatus(config.engine.kind)
        self._watches: dict[str, WatchStatus] = {}
        self._documents: dict[str, DocumentStatus] = {}
        self._recent = deque[RecentDocument](maxlen=RECENT)
        self._outboxes: dict[str, Path] = {}
        self._pace = Pace()
        self._tokens = deque[tuple[float, int]](maxlen=60)
        self._observed: tuple[object, ...] = ()
        self.news = True
        """Whether anything changed since `data` was last asked for, other than what always does."""
        self._watches_written = ""
        self.configured(config)

    def configured(self, config: "Config") -> None:
        """Take over the watches of a configuration; those that were there keep their numbers."""
        self.news = True
        known = self._watches
        self._watches = {
            watch.name: known.get(watch.name, WatchStatus(watch.name, shown(watch.inbox))) for watch in config.watches
        }
        for watch in config.watches:
            self._watches[watch.name].inbox = shown(watch.inbox)
        self._outboxes |= {watch.name: watch.outbox for watch in config.watches}

    def hear(self, event: Event) -> None:
        """Take in what happened."""
        self.news |= not isinstance(event, Looked)
        match event:
            case HookEnded():
                watch = self._watches.setdefault(event.watch, WatchStatus(event.watch, ""))
                watch.hooks_failed += event.outcome == "failed"
            case EngineReady():
                self._engine.model = event.model
            case EngineRestarted() | WatchRemoved():
                pass
            case _:
                watch = self._watches.setdefault(event.watch, WatchStatus(event.watch, ""))
                self._hear_of_watch(watch, event)

    def _hear_of_watch(
        self,
        watch: WatchStatus,
        event: WatchAdded | Looked | Accepted | Opened | PageDone | Ended | TakenAway | Paused | Resumed,
    ) -> None:
        match event:
            case WatchAdded():
                watch.how = event.how
            case Looked():
                self.news |= _take_in(watch, event)
            case Accepted():
                self._documents[event.job] = DocumentStatus(event.watch, shown(event.source), event.pages, 0)
                if not event.recovered:
                    watch.waiting = max(0, watch.waiting - 1)
            case Opened():
                document = self._document(event)
                document.pages, document.done = event.pages, event.kept
            case PageDone():
                self._document(event).done += 1
                self._document(event).problems += not event.result.verdict.sound
                self._pace.page(time.monotonic())
            case Ended() | TakenAway():
                self._hear_of_end(watch, event)
            case Paused():
                watch.paused = Pause(event.what, event.remedy, time.time())
            case Resumed():
                watch.paused = None

    def _hear_of_end(self, watch: WatchStatus, event: Ended | TakenAway) -> None:
        self._documents.pop(event.job, None)
        if isinstance(event, Ended):
            _count_end(watch, event)
            self._recent.extendleft(_recent(event, self._outboxes.get(event.watch)))

    def _document(self, event: Opened | PageDone) -> DocumentStatus:
        return self._documents.setdefault(event.job, DocumentStatus(event.watch, shown(event.source), 1, 0))

    def observe(self, engine: ObservedEngine, complaint: str | None, now: float) -> None:
        """Look at the engine, at `now` monotonic seconds; to be called about once a second."""
        state = engine.state
        self._engine.doing = "loading" if self.state == "starting" and not self._engine.model else state.doing
        self._engine.restarts, self._engine.inside = state.restarts, engine.inside
        self._engine.memory, self._engine.memory_used = state.memory, state.memory_used
        self._engine.memory_total = state.memory_total
        self._engine.progress, self._engine.engines = state.progress, state.engines
        self._engine.servers = [ServerStatus(one.name, one.up, one.pages, one.why) for one in state.servers]
        self._engine.cards = [
            CardStatus(one.name, one.doing, one.engines, one.pages, one.memory_used, one.memory_total)
            for one in state.cards
        ]
        self.complaint = complaint or ""
        parts = [one.up for one in state.servers], [one.doing for one in state.cards]
        observed = (
            self.state, self.complaint, self._engine.doing, state.restarts, engine.inside, state.progress, parts,
        )  # fmt: skip
        self.news |= bool(self._documents) or observed != self._observed
        self._observed = observed
        if self._reads():
            self._pace.work(now, engine.inside)
        else:
            self._pace.rest(now)
        if not self._documents:
            self._tokens.clear()
        self._tokens.append((now, engine.tokens))
        (first, before), (last, after) = self._tokens[0], self._tokens[-1]
        self._engine.tokens_per_second = round((after - before) / (last - first), 1) if last > first else 0.0

    def _reads(self) -> bool:
        """Whether there is something to read, and nothing in the way."""
        return self._engine.doing == "ready" and any(not self._is_paused(one.watch) for one in self._documents.values())

    def _is_paused(self, name: str) -> bool:
        watch = self._watches.get(name)  # a reload may have taken it away
        return watch is not None and watch.paused is not None

    def _time_left(self, left: int) -> TimeLeft | None:
        """Tell how long so many pages will take; None where nobody knows when what keeps some from it will be over."""
        held_up = any(one.paused and (one.pages_left or one.waiting) for one in self._watches.values())
        return self._pace.left(left) if left and not held_up and self._reads() else None

    def snapshot(self) -> Status:
        """Tell how things stand."""
        documents = self._documents.values()
        for watch in self._watches.values():
            watch.in_work = watch.pages_left = 0
        for one in documents:
            if its := self._watches.get(one.watch):  # a reload may have taken it away
                its.in_work += 1
                its.pages_left += one.pages - one.done
        left = sum(one.pages - one.done for one in documents) + sum(one.waiting for one in self._watches.values())
        time_left = self._time_left(left)
        begun = sorted(documents, key=lambda one: (one.done == 0, one.pages - one.done))
        return Status(
            state=self.state,
            version=__version__,
            pid=os.getpid(),
            started=self._started,
            since=self._since,
            written=time.time(),
            engine=self._engine,
            pages_left=left,
            pages_per_second=round(self._pace.speed(left), 3) if documents else 0.0,
            eta=time_left and time_left.likely,
            eta_least=time_left and time_left.least,
            eta_most=time_left and time_left.most,
            complaint=self.complaint,
            watches=list(self._watches.values()),
            documents=begun[:SHOWN_DOCUMENTS],
            recent=list(self._recent),
        )

    def data(self) -> bytes:
        """Return the status as it is written to the file.

        Hundreds of watches, which do not change without news, are then not written out anew: it is asked for often.
        """
        fields = _fields(self.snapshot())
        watches = fields.pop("watches")
        if self.news:
            self._watches_written, self.news = json.dumps(watches, default=_fields), False
        rest = json.dumps(fields, default=_fields)
        return f'{rest.removesuffix("}")}, "watches": {self._watches_written}}}'.encode()


def _fields(record: Any) -> dict[str, Any]:  # noqa: ANN401 - what json finds
    """Return what a record holds, without the copies that asdict makes: this is done often."""
    return {name: getattr(record, name) for name in record.__slots__}


def _take_in(watch: WatchStatus, look: Looked) -> bool:
    """Take in what a look found; return whether it is anything new."""
    before = (watch.settling, watch.waiting, watch.why, watch.found_by_scan, watch.unfinished, watch.others)
    unfinished = dict(islice(look.unfinished.items(), SHOWN_DOCUMENTS))
    found = (look.settling, look.waiting, look.why, look.found_by_scan, unfinished, list(look.others))
    watch.settling, watch.waiting, watch.why, watch.found_by_scan, watch.unfinished, watch.others = found
    return found != before


def _count_end(watch: WatchStatus, event: Ended) -> None:
    match event.kind:
        case "delivered":
            watch.delivered += 1
            watch.partial += event.status == "partial"
            watch.last = Delivery(shown(event.source), shown(event.path), time.time())
        case "refused":
            watch.refused += 1
        case "skipped":
            watch.skipped += 1
        case "returned":
            watch.returned += 1
        case _:
            pass  # reruns deliver nothing new


def _recent(event: Ended, outbox: Path | None) -> Iterator[RecentDocument]:
    """Note of a document that ended what a person may want to look at; of some, nothing."""
    if event.kind not in ("delivered", "refused", "reread"):
        return
    refused, path = event.kind == "refused", event.path
    sidecar = path.relative_to(outbox) if outbox and outbox in path.parents else path
    yield RecentDocument(
        event.watch,
        shown(event.source),
        time.time(),
        event.kind if refused else event.status or "complete",
        "" if refused else shown(sidecar),
        event.pages,
        dict(event.verdicts),
        [result.index + 1 for result in islice(event.problems, SHOWN_DOCUMENTS)],
        event.reason,
    )


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


# -- the file -------------------------------------------------------------------------------------------------------


def place(config: Path) -> Path:
    """Return where a daemon with this configuration file writes its status. Raises OSError if there is no place."""
    return runtime_folder() / _name(config)


def write(path: Path, data: bytes) -> None:
    """Put a status at its place; it needn't outlive a power cut. Raises MachineError."""
    write_scratch(path, data)


def read(config: Path) -> Status | None:
    """Find the last status of a daemon with this configuration file, whether it still runs or not."""
    found = [status for path in _places(config) if (status := _read(path))]
    return max(found, key=lambda status: status.written, default=None)


def judged(status: Status, now: float) -> Status:
    """Set the state right if the daemon can no longer do that itself: `dead` or `hung`; `now` since the epoch."""
    if status.state not in ("stopped", "failed", "down"):
        if processes.started(status.pid) != status.started:
            status.state = "dead"
        elif now - status.written > STALE:
            status.state = "hung"
    return status


def _name(config: Path) -> str:
    return hashlib.sha256(os.fsencode(config.resolve())).hexdigest()[:16] + ".status.json"


def _places(config: Path) -> Iterator[Path]:
    """List where it may lie: that of a service, of an instance of it, and of one's own daemons."""
    folders = [Path("/run/ocrd"), *Path("/run").glob("ocrd-*")]
    with suppress(OSError):
        own = runtime_folder()
        if is_own_folder(own):  # else anyone may have put a file there
            folders.append(own)
    for folder in folders:
        yield folder / _name(config)


def _read(path: Path) -> Status | None:
    try:
        with regular(path) as held:
            return Status.parse(held.read_bytes())
    except (OSError, NotRegularError, ValueError, KeyError, TypeError):
        return None
