"""What happens, in the log: one line for each event that a person wants to find later.

The names of the lines are those of `logs.MESSAGE_IDS` and of the catalog that explains them to `journalctl -x`.
"""

from collections.abc import Sequence
from typing import assert_never

import structlog

from ocrd.display import shown
from ocrd.model import PageResult
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

log = structlog.get_logger("ocrd")

_NAMED = 5
"""Pages to look at that a document's line names; the sidecar has all of them."""


def write(event: Event) -> None:
    """Write an event into the log, if it is one for the log."""
    match event:
        case EngineReady():
            log.info("engine ready", kind=event.kind, model=event.model, seconds=round(event.seconds, 1))
        case EngineRestarted():
            log.warning("engine restarted", restarts=event.restarts)
        case WatchAdded() | WatchRemoved() | Paused() | Resumed():
            _watch(event)
        case Accepted(recovered=False):
            log.info("accepted", watch=event.watch, job=event.job, source=shown(event.source))
        case PageDone():
            _page(event)
        case Ended():
            _end(event)
        case TakenAway():
            log.warning("taken away", watch=event.watch, job=event.job, source=shown(event.source))
        case Accepted() | Looked() | Opened() | HookEnded():  # a hook writes its own lines
            pass
        case _:
            assert_never(event)


def _watch(event: WatchAdded | WatchRemoved | Paused | Resumed) -> None:
    match event:
        case WatchAdded():
            log.info("watching", watch=event.watch, how=event.how, every=event.every)
        case WatchRemoved():
            log.info("no longer watching", watch=event.watch)
        case Paused():
            log.error("paused", watch=event.watch, what=event.what, remedy=event.remedy)
        case Resumed():
            log.info("resumed", watch=event.watch)


def _page(event: PageDone) -> None:
    """Tell of each page what only a debugger wants: of those to look at, the document's own line names the first."""
    page = event.result
    facts = {"page": page.index + 1, "verdict": str(page.verdict)}
    if page.reading:
        facts |= {"seconds": round(page.reading.seconds, 2), "tokens": page.reading.tokens}
    log.debug("page", watch=event.watch, job=event.job, source=shown(event.source), **facts, reason=page.reason)


def _end(event: Ended) -> None:
    """Write the one line that tells all of a document."""
    facts: dict[str, object] = {"seconds": round(event.seconds, 2), "latency": round(event.latency, 2)}
    if event.pages is not None:
        facts |= {"pages": event.pages, "status": event.status, **event.verdicts}
    if event.problems:
        facts["look_at"] = _first_of(event.problems)
    if event.reason:
        facts["reason"] = event.reason
    good = event.kind == "skipped" or (event.kind in ("delivered", "reread") and event.status != "partial")
    level = log.info if good else log.warning
    level(event.kind, watch=event.watch, source=shown(event.source), job=event.job, path=shown(event.path), **facts)


def _first_of(problems: Sequence[PageResult]) -> str:
    """Name the first pages to look at, what was found of each, and how many there are beside."""
    named = [f"page {page.index + 1} ({page.verdict}: {shown(page.reason)})" for page in problems[:_NAMED]]
    others = len(problems) - len(named)
    return ", ".join([*named, *([f"and {others} more"] if others else [])])
