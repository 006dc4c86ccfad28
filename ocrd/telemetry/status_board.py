"""The status as the daemon keeps it, from events and from looks at the engine."""

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ocrd import __version__
from ocrd.concurrency import processes
from ocrd.display import shown
from ocrd.model import EngineState
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
from ocrd.telemetry.status import (
    CardStatus,
    Delivery,
    DocumentStatus,
    EngineStatus,
    Pause,
    RecentDocument,
    ServerStatus,
    Status,
    WatchStatus,
)

if TYPE_CHECKING:
    from ocrd.config.schema import Config

SHOWN_DOCUMENTS = 16
"""Documents in work that the status names; the others are only counted."""
RECENT = 20
"""Documents that ended which the status names."""


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
