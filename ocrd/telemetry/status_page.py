"""How things stand, as a page for a browser: what `ocrd status` tells, the last hours, the last documents. Pure.

It needs nothing from elsewhere, and shows names of files, but nothing of what stands on their pages.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path
from urllib.parse import quote

from ocrd.display import counted, duration
from ocrd.output import html_page
from ocrd.telemetry.status import DocumentStatus, EngineStatus, RecentDocument, Status, WatchStatus, time_left
from ocrd.telemetry.trend import MINUTES, Minute

REVIEWS = "/reviews/"
"""Where the review pages are, on the listener."""
_WIDTH, _HEIGHT, _LABEL = 600, 120, 14
"""Of a plot, and of the line of text below it."""
_SHOWN_PROBLEMS = 8
"""Numbers of pages that are named of one document."""

FindReview = Callable[[str], str]
"""Gives the name of the review page of a sidecar, by its path in the outbox; empty if there is none."""


def html(status: Status, minutes: Sequence[Minute], now: float, review: FindReview = lambda _: "") -> str:
    """Lay it out, at `now` seconds since the epoch; `minutes` are the last ones, the latest last."""
    body = (
        f"<header>{_head(status, now)}</header>\n"
        f"<main>{''.join(_parts(status, minutes, now, review))}</main>\n"
        f"<footer><p>ocrd {escape(status.version)}, process {status.pid}. Looks again every 5 seconds.</p></footer>\n"
    )
    state = "paused" if any(watch.paused for watch in status.watches) else status.state
    return html_page.shell(f"ocrd: {state}", _asset("css"), body, "en", _asset("js"))


@cache
def _asset(kind: str) -> str:
    return Path(__file__).with_name(f"status_page.{kind}").read_text(encoding="utf-8")


def _head(status: Status, now: float) -> str:
    well = status.state == "ready" and not status.complaint and not any(watch.paused for watch in status.watches)
    return (
        f'<h1>ocrd</h1><p><span class="state {"good" if well else "look"}">{escape(status.state)}</span>'
        f' <span class="soft">for {duration(now - status.since)}</span></p>'
        '<p id="away" class="bad" role="status">ocrd does not answer; this is how things stood.</p>'
    )


def _parts(status: Status, minutes: Sequence[Minute], now: float, review: FindReview) -> Iterator[str]:
    yield from _notices(status)
    yield _facts(status)
    yield _plots(minutes)
    yield _table("Watches", _WATCH_COLUMNS, (_watch(watch, now) for watch in status.watches))
    if status.documents:
        yield _table("In work", (("document", ""), ("watch", ""), ("pages", "")), map(_document, status.documents))
    if status.recent:
        ordered = sorted(status.recent, key=lambda one: one.outcome == "complete")
        columns = (("document", ""), ("watch", ""), ("pages", ""), ("to look at", ""), ("ended", ""))
        yield _table("Last documents", columns, (_recent(one, now, review) for one in ordered))


# What needs a person


def _notices(status: Status) -> Iterator[str]:
    if status.complaint:
        yield _notice("bad", "ocrd hangs", status.complaint)
    for server in status.engine.servers:
        if not server.up:
            yield _notice("look", f"Server {server.name} is out", server.why)
    for watch in status.watches:
        if watch.paused:
            yield _notice("look", f"{watch.name} is paused", f"{watch.paused.what} {watch.paused.remedy}")
        if watch.hooks_failed:
            text = f"{watch.hooks_failed} of your programs failed; the log says why (hook failed)."
            yield _notice("look", watch.name, text)
        for source, reason in watch.unfinished.items():
            yield _notice("soft", f"{watch.name} waits for the rest of {source}", reason)
        if watch.why:
            yield _notice("soft", f"{watch.name} is polled", watch.why)


def _notice(kind: str, what: str, text: str) -> str:
    return f'<p class="notice {kind}"><strong>{escape(what)}</strong>: <span>{escape(text)}</span></p>\n'


# Numbers


def _facts(status: Status) -> str:
    engine = status.engine
    facts = [("to read", counted(status.pages_left, "page") if status.pages_left else "nothing")]
    if status.eta is not None:
        facts.append(("pages a second", f"{status.pages_per_second:.2g}"))
    if status.pages_left:
        facts.append(("time left", time_left(status)))
    doing = f"{engine.engines} engines {engine.doing}" if engine.engines > 1 else engine.doing
    facts.append((f"engine, {engine.kind} {engine.model}".strip(), f"{doing}, {engine.progress}".rstrip(", ")))
    if engine.servers:
        facts.append(("servers", f"{sum(server.up for server in engine.servers)} of {len(engine.servers)}"))
    if engine.inside:
        facts.append(("with the engine", counted(engine.inside, "page")))
    if engine.tokens_per_second:
        facts.append(("tokens a second", f"{engine.tokens_per_second:.0f}"))
    if engine.restarts:
        facts.append(("engine restarted", counted(engine.restarts, "time")))
    items = "".join(f"<li>{escape(name)}<b>{escape(value)}</b></li>" for name, value in facts)
    return f'<ul class="facts">{items}{_card(engine)}</ul>\n'


def _card(engine: EngineStatus) -> str:
    if engine.cards:
        return "".join(
            f"<li>GPU {escape(card.name)}, {escape(card.doing)}<b>{counted(card.pages, 'page')}</b>"
            f"{_meter(card.memory_used, card.memory_total, f'memory of GPU {card.name} in use')}</li>"
            for card in engine.cards
        )
    if engine.memory_used is None or not engine.memory_total:
        return ""
    used, total = engine.memory_used / 2**30, engine.memory_total / 2**30
    meter = _meter(engine.memory_used, engine.memory_total, "memory of the card in use")
    return f"<li>memory of the card<b>{used:.1f} of {total:.1f} GiB</b>{meter}</li>"


def _meter(used: int | None, total: int | None, label: str) -> str:
    """Draw how much of a card's memory is in use, bytes; nothing where that is not known."""
    if used is None or not total:
        return ""
    return f'<meter max="{total / 2**30:.1f}" value="{used / 2**30:.1f}" aria-label="{escape(label)}"></meter>'


def _plots(minutes: Sequence[Minute]) -> str:
    pages = _plot("pages a minute", [minute.pages for minute in minutes])
    left = _plot("pages to read", [minute.left for minute in minutes])
    return f'<h2>The last {MINUTES // 60} hours</h2>\n<div class="plots">{pages}{left}</div>\n'


def _plot(name: str, values: Sequence[int]) -> str:
    """Draw values, one a minute, the latest at the right edge; the scale ends at a round number."""
    top = _round_up(max(values, default=0))
    step = _WIDTH / MINUTES
    begin = _WIDTH - step * len(values)
    points = [(begin + step * (place + 0.5), _HEIGHT * (1 - value / top)) for place, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    drawn = ""
    if points:
        area = f"{points[0][0]:.1f},{_HEIGHT} {line} {points[-1][0]:.1f},{_HEIGHT}"
        drawn = f'<polygon class="area" points="{area}"/><polyline class="line" points="{line}"/>'
    hours = "".join(
        f'<line class="axis" x1="{x}" x2="{x}" y1="0" y2="{_HEIGHT}"/>'
        f'<text x="{x}" y="{_HEIGHT + _LABEL}" text-anchor="middle">{hour} h ago</text>'
        for hour in range(1, MINUTES // 60)
        for x in (_WIDTH - hour * 60 * step,)
    )
    told = f"{values[-1]} now, at most {max(values)}" if values else "nothing yet: a minute has to pass"
    return (
        f"<figure><figcaption>{name}: {told}</figcaption>"
        f'<svg viewBox="0 -8 {_WIDTH} {_HEIGHT + 2 * _LABEL}" role="img" aria-label="{name}: {told}">{hours}'
        f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}"/>'
        f'<line class="axis" x1="0" x2="{_WIDTH}" y1="0" y2="0"/><text x="0" y="{_LABEL - 2}">{top}</text>{drawn}'
        "</svg></figure>"
    )


def _round_up(value: int) -> int:
    """Return the next one of 1, 2, 5, 10, 20, 50 and so on."""
    size = 1
    while True:
        for factor in (1, 2, 5):
            if size * factor >= value:
                return size * factor
        size *= 10


# Tables

_WATCH_COLUMNS = (
    ("watch", ""), ("by", ""), *((name, "number") for name in (
        "settling", "waiting", "in work", "pages left", "delivered", "partial", "refused",
    )), ("last delivered", ""),
)  # fmt: skip


def _table(name: str, columns: Sequence[tuple[str, str]], rows: Iterator[str]) -> str:
    heads = "".join(f'<th scope="col" class="{kind}">{title}</th>' for title, kind in columns)
    key = name.lower().replace(" ", "-")
    return (
        f'<h2 id="{key}">{name}</h2>\n'
        f'<div class="scroll" id="{key}-table" tabindex="0" role="region" aria-labelledby="{key}">'
        f"<table><thead><tr>{heads}</tr></thead>\n<tbody>{''.join(rows)}</tbody></table></div>\n"
    )


def _watch(watch: WatchStatus, now: float) -> str:
    how = '<span class="look">paused</span>' if watch.paused else escape(watch.how or "nobody")
    numbers = (
        watch.settling, watch.waiting, watch.in_work, watch.pages_left, watch.delivered, watch.partial, watch.refused,
    )  # fmt: skip
    last = f"{escape(watch.last.source)}, {duration(now - watch.last.at)} ago" if watch.last else ""
    cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
    return f'<tr><th scope="row">{escape(watch.name)}</th><td>{how}</td>{cells}<td class="name">{last}</td></tr>\n'


def _document(document: DocumentStatus) -> str:
    look_at = f' <span class="look">{document.problems} to look at</span>' if document.problems else ""
    bar = f'<progress max="{document.pages}" value="{document.done}" aria-label="pages read"></progress>'
    return (
        f'<tr><th scope="row">{escape(document.source)}</th><td>{escape(document.watch)}</td>'
        f"<td>{bar} {document.done}/{document.pages}{look_at}</td></tr>\n"
    )


def _recent(document: RecentDocument, now: float, review: FindReview) -> str:
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in document.verdicts.items())
    pages = verdicts or ("" if document.pages is None else str(document.pages))
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(document.at))
    return (
        f'<tr><th scope="row">{escape(document.source)}</th><td>{escape(document.watch)}</td>'
        f"<td>{escape(pages)}</td><td>{_to_look_at(document, review)}</td>"
        f'<td><time datetime="{at}">{duration(now - document.at)} ago</time></td></tr>\n'
    )


def _to_look_at(document: RecentDocument, review: FindReview) -> str:
    if document.outcome == "refused":
        return f'<span class="bad">refused</span>: {escape(document.reason)}'
    page = review(document.sidecar) if document.sidecar else ""
    link = f"{REVIEWS}{quote(page)}" if page else ""
    if not document.problems:
        return f'<a href="{escape(link)}">review</a>' if link else '<span class="soft">nothing</span>'
    first = document.problems[:_SHOWN_PROBLEMS]
    numbers = [f'<a href="{escape(link)}#p{number}">{number}</a>' if link else str(number) for number in first]
    more = " …" if len(document.problems) > len(first) else ""
    return f'<span class="look">page{"s" * (len(document.problems) > 1)} {", ".join(numbers)}{more}</span>'
