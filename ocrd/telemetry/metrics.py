"""Numbers for Prometheus: what happened is counted, and how things stand is looked up when it asks.

The only user of prometheus-client.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from ocrd.model import Verdict
from ocrd.telemetry.events import Accepted, Ended, Event, HookEnded, HookOutcome, PageDone, WatchAdded
from ocrd.telemetry.status import EngineStatus, Status, WatchStatus

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from prometheus_client.core import Metric

LATENCIES = (5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600)
"""Seconds; a scan is read within some seconds, a backlog overnight."""
PAGE_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160)

OUTCOMES = ("delivered", "partial", "refused", "returned", "skipped", "reread", "not reread")

Look = Callable[[], Status]


class Metrics:
    """Counts what happens, and tells how things stand when it is asked. One registry of its own."""

    def __init__(self, look: Look) -> None:
        """Take what tells how things stand; it is called from other threads."""
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry, "namespace": "ocrd"}
        self._accepted = Counter("accepted", "Sources claimed", ["watch"], **own)
        self._documents = Counter("documents", "Documents ended", ["watch", "outcome"], **own)
        self._hooks = Counter(
            "hooks", "Programs run and URLs told at the end of documents", ["watch", "outcome"], **own
        )
        self._pages = Counter("pages", "Pages read or given up", ["watch", "verdict"], **own)
        self._page_seconds = Histogram(
            "page_seconds", "From the engine's taking a page to its answer", buckets=PAGE_SECONDS, **own
        )
        self._latency = Histogram(
            "latency_seconds", "From first seen in the inbox to the sidecar", ["watch"], buckets=LATENCIES, **own
        )
        self.registry.register(_Standing(look))
        self.answer: WSGIApplication = make_wsgi_app(self.registry)
        """Answers a request for them."""

    def hear(self, event: Event) -> None:
        """Count what happened."""
        match event:
            case WatchAdded():
                self._begin(event.watch)
            case Accepted(recovered=False):
                self._accepted.labels(event.watch).inc()
            case PageDone():
                self._pages.labels(event.watch, str(event.result.verdict)).inc()
                if event.result.reading:
                    self._page_seconds.observe(event.result.reading.seconds)
            case Ended():
                outcome = "partial" if (event.kind, event.status) == ("delivered", "partial") else event.kind
                self._documents.labels(event.watch, outcome).inc()
                if event.kind == "delivered":
                    self._latency.labels(event.watch).observe(event.latency)
            case HookEnded():
                self._hooks.labels(event.watch, event.outcome).inc()
            case _:
                pass

    def _begin(self, watch: str) -> None:
        """Let each of a watch's counters begin at zero: of one that begins at one, Prometheus sees no increase."""
        self._accepted.labels(watch)
        self._latency.labels(watch)
        for outcome in OUTCOMES:
            self._documents.labels(watch, outcome)
        for outcome in get_args(HookOutcome):
            self._hooks.labels(watch, outcome)
        for verdict in Verdict:
            self._pages.labels(watch, str(verdict))


class _Standing:
    """What is not counted but looked up: queue, engine, pauses."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def collect(self) -> "Iterable[Metric]":
        """Yield the gauges, for prometheus_client's registry."""
        status = self._look()
        engine = status.engine
        yield GaugeMetricFamily("ocrd_ready", "Whether it is ready", float(status.state == "ready"))
        yield GaugeMetricFamily("ocrd_hanging", "Whether the heartbeat has ended", float(bool(status.complaint)))
        yield GaugeMetricFamily("ocrd_pages_left", "Pages to read, as far as known", status.pages_left)
        yield GaugeMetricFamily("ocrd_pages_per_second", "Pages read a second", status.pages_per_second)
        yield GaugeMetricFamily("ocrd_engine_pages", "Pages with the engine", engine.inside)
        yield GaugeMetricFamily("ocrd_engine_tokens_per_second", "Tokens read a second", engine.tokens_per_second)
        yield CounterMetricFamily("ocrd_engine_restarts", "Engines built anew", engine.restarts)
        yield GaugeMetricFamily("ocrd_start_time_seconds", "When the daemon began, since the epoch", status.since)
        yield from _memory(engine)
        yield from _servers(engine)
        yield from _cards(engine)
        for name, text, value in _OF_WATCHES:
            family = GaugeMetricFamily(f"ocrd_{name}", text, labels=["watch"])
            for watch in status.watches:
                family.add_metric([watch.name], value(watch))
            yield family
        found = CounterMetricFamily(
            "ocrd_found_by_scan", "Files that a scan found and no event had told of", labels=["watch"]
        )
        for watch in status.watches:
            found.add_metric([watch.name], watch.found_by_scan)
        yield found


def _memory(engine: EngineStatus) -> Iterator["Metric"]:
    """Yield what is known of the card; without one, nothing."""
    for name, text, value in (
        ("engine_memory_bytes", "Memory of the card that the engine holds", engine.memory),
        ("card_memory_used_bytes", "Memory of the card that anyone holds", engine.memory_used),
        ("card_memory_bytes", "Memory that the card has", engine.memory_total),
    ):
        if value is not None:
            yield GaugeMetricFamily(f"ocrd_{name}", text, value)


def _cards(engine: EngineStatus) -> Iterator["Metric"]:
    """Yield how each card is, where there are several."""
    if not engine.cards:
        return
    ready = GaugeMetricFamily("ocrd_card_ready", "Whether a card gets pages", labels=["card"])
    pages = GaugeMetricFamily("ocrd_card_pages", "Pages with the engines of a card", labels=["card"])
    used = GaugeMetricFamily("ocrd_card_used_bytes", "Memory of each card that anyone holds", labels=["card"])
    for card in engine.cards:
        ready.add_metric([card.name], float(card.doing != "loading"))
        pages.add_metric([card.name], card.pages)
        if card.memory_used is not None:
            used.add_metric([card.name], card.memory_used)
    yield from (ready, pages, used)


def _servers(engine: EngineStatus) -> Iterator["Metric"]:
    """Yield how the servers are that the engine reads with; where it reads itself, nothing."""
    if not engine.servers:
        return
    up = GaugeMetricFamily("ocrd_server_up", "Whether a server gets pages", labels=["server"])
    pages = GaugeMetricFamily("ocrd_server_pages", "Pages with a server", labels=["server"])
    for server in engine.servers:
        up.add_metric([server.name], float(server.up))
        pages.add_metric([server.name], server.pages)
    yield from (up, pages)


_OF_WATCHES: tuple[tuple[str, str, Callable[[WatchStatus], float]], ...] = (
    ("settling", "Files in the inbox that may still change", lambda watch: watch.settling),
    ("waiting", "Files in the inbox that are complete and not claimed", lambda watch: watch.waiting),
    ("in_work", "Sources claimed and not ended", lambda watch: watch.in_work),
    ("paused", "Whether a fault of the machine holds the watch up", lambda watch: float(watch.paused is not None)),
    ("polling", "Whether the inbox gives no events", lambda watch: float(watch.how == "polling")),
)
