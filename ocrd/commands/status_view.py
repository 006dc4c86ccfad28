"""`ocrd status`: how things stand, for a person or for a monitor, also while the daemon is down."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ocrd.display import counted, duration, shown
from ocrd.errors import MachineError
from ocrd.storage.locks import is_locked
from ocrd.telemetry.status import EngineStatus, Status, WatchStatus, backlog
from ocrd.telemetry.status_file import judged, read

if TYPE_CHECKING:
    from ocrd.config.watch import Watch

OK, ATTENTION, DOWN = 0, 1, 2
"""Exit codes, as monitors of the Nagios family take them."""

_BAR = 20
"""Characters of a document's progress bar."""

_COUNTS = ("settling", "waiting", "in work", "delivered", "partial", "refused")
"""What is counted of a watch."""

_SICK = {"dead": DOWN, "down": DOWN, "failed": DOWN, "hung": DOWN, "stopped": DOWN, "unseen": ATTENTION}
_STYLES = {OK: "bold green", ATTENTION: "bold yellow", DOWN: "bold red"}


def show(path: Path, *, as_json: bool) -> int:
    """Print how things stand with the daemon of this configuration. Returns the exit code. Raises ConfigError."""
    status = look(path, time.time())
    if as_json:
        print(json.dumps(asdict(status) | {"exit_code": exit_code(status)}, ensure_ascii=False, indent=2))
    else:
        Console(highlight=False).print(page(status, time.time()))
    return exit_code(status)


def watch(path: Path, every: float = 1.0) -> None:
    """Show it live, until Ctrl-C."""
    console = Console(highlight=False)
    live = Live(page(look(path, time.time()), time.time()), console=console, screen=console.is_terminal)
    with suppress(KeyboardInterrupt), live:
        while True:
            time.sleep(every)
            live.update(page(look(path, time.time()), time.time()))


def look(path: Path, now: float) -> Status:
    """Find out how things stand, at `now` seconds since the epoch: from the daemon's own word, or the folders."""
    status = read(path)
    if status is not None:
        status = judged(status, now)
        if status.state not in _SICK or status.state == "hung":
            return status  # it tells all: the configuration need not be read, and pydantic not be loaded
    from ocrd.config import loader

    settings = loader.load(path)
    if any(is_locked(watch.work_folder) for watch in settings.watches):
        status = Status("unseen", "", 0, 0, 0.0, 0.0, EngineStatus(settings.engine.kind, doing="unseen"))
    elif status is None:
        status = Status("down", "", 0, 0, 0.0, 0.0, EngineStatus(settings.engine.kind, doing="down"))
    known = {one.name: one for one in status.watches}
    status.watches = [_from_folders(one, known.get(one.name)) for one in settings.watches]
    status.documents, status.pages_per_second = [], 0.0
    status.eta = status.eta_least = status.eta_most = None
    doing = "unseen" if status.state == "unseen" else "down"
    status.engine = EngineStatus(status.engine.kind, status.engine.model, doing, status.engine.restarts)
    status.pages_left = 0
    return status


def _from_folders(watch: "Watch", known: WatchStatus | None) -> WatchStatus:
    """Count what lies in a watch's folders; what the daemon told of it before its end is kept."""
    now = known or WatchStatus(watch.name, shown(watch.inbox))
    now.how, now.why, now.settling, now.pages_left, now.paused, now.unfinished = "", "", 0, 0, None, {}
    now.others = []
    now.waiting, now.in_work = _files(watch), len(list(watch.work_folder.glob("*/job.json")))
    return now


def _files(watch: "Watch") -> int:
    from ocrd.intake.scanner import Wanted, scan

    try:
        return len(scan(watch.inbox, Wanted(watch.include, watch.exclude)).files)
    except MachineError:
        return 0


def exit_code(status: Status) -> int:
    """Return 0 if all is well, 1 if somebody should have a look, 2 if nothing is read."""
    if status.state in _SICK:
        return _SICK[status.state]
    well = status.state == "ready" and not status.complaint and not any(one.paused for one in status.watches)
    well = well and status.engine.doing != "away"
    return OK if well else ATTENTION


def page(status: Status, now: float) -> RenderableType:
    """Lay it out for a terminal, at `now` seconds since the epoch."""
    parts: list[RenderableType] = [
        _head(status, now),
        _engine(status.engine),
        *_card(status.engine),
        *_servers(status.engine),
    ]
    if status.state not in _SICK:
        parts.append(Text(f"backlog  {backlog(status)}"))
    parts += [Text(), _watches(status)]
    parts += [
        Text(f"{one.name}: last delivered {one.last.source}, {duration(now - one.last.at)} ago", "dim")
        for one in status.watches
        if one.last
    ]
    parts += [
        Text(f"{one.name}: {one.hooks_failed} of your hooks failed; the log says why (hook failed)", "yellow")
        for one in status.watches
        if one.hooks_failed
    ]
    parts += [Text(f"{one.name} is polled: {one.why}", "dim") for one in status.watches if one.why]
    parts += [
        Text(f"{one.name} shares its inbox with the ocrd on {', '.join(map(shown, one.others))}", "dim")
        for one in status.watches
        if one.others
    ]
    parts += [
        Text(f"{one.name} waits for the rest of {source}: {reason}")
        for one in status.watches
        for source, reason in one.unfinished.items()
    ]
    parts += [
        Text.assemble((f"{one.name} is paused: ", "bold yellow"), one.paused.what, " ", one.paused.remedy)
        for one in status.watches
        if one.paused
    ]
    if status.documents:
        parts += [Text(), _documents(status)]
    return Group(*parts)


def _head(status: Status, now: float) -> Text:
    text = Text.assemble("ocrd     ", (_in_words(status), _STYLES[exit_code(status)]))
    if status.state not in _SICK:
        text.append(f", for {duration(now - status.since)}, process {status.pid}, version {status.version}")
    elif status.written:
        text.append(f", last heard of {duration(now - status.written)} ago")
    if status.complaint:
        text.append(f"\n         {status.complaint}")
    return text


def _in_words(status: Status) -> str:
    return {
        "down": "not running",
        "dead": "not running: it ended without a word",
        "hung": "hangs: its process is there, but tells nothing",
        "unseen": "runs, as another user: ask as that one, or as root",
    }.get(status.state, status.state)


def _engine(engine: EngineStatus) -> Text:
    facts = [f"{engine.kind} {engine.model}".strip(), engine.doing]
    if engine.engines > 1:
        facts[1] = f"{engine.engines} engines {engine.doing}"
    if engine.progress and engine.doing != "away":  # the servers' own lines say that
        facts.append(engine.progress)
    if engine.inside:
        facts.append(f"{counted(engine.inside, 'page')} inside")
    if engine.tokens_per_second:
        facts.append(f"{engine.tokens_per_second:.0f} tokens/s")
    if engine.restarts:
        facts.append(f"restarted {counted(engine.restarts, 'time')}")
    return Text(f"engine   {', '.join(facts)}")


def _card(engine: EngineStatus) -> Iterator[Text]:
    for card in engine.cards:
        facts = [f"{counted(card.engines, 'engine')} {card.doing}", f"{counted(card.pages, 'page')} inside"]
        if card.memory_used is not None and card.memory_total:
            facts.append(f"{_gib(card.memory_used)} of {_gib(card.memory_total)} GiB in use")
        yield Text(f"GPU {card.name:<5}{', '.join(facts)}")
    if engine.cards:
        return
    if engine.memory_used is not None and engine.memory_total:
        text = f"GPU      {_gib(engine.memory_used)} of {_gib(engine.memory_total)} GiB in use"
        yield Text(text if engine.memory is None else f"{text}, {_gib(engine.memory)} by the engine")


def _servers(engine: EngineStatus) -> Iterator[Text]:
    for server in engine.servers:
        if server.up:
            yield Text(f"server   {server.name}, {counted(server.pages, 'page')} inside")
        else:
            yield Text(f"server   {server.name} is out: {server.why}", "bold yellow")


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f}"


def _name(name: str) -> Text:
    """Names alone are cut where the terminal is narrow."""
    return Text(name, no_wrap=True, overflow="ellipsis")


def _watches(status: Status) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("watch")
    table.add_column("by", no_wrap=True)
    table.add_column(
        "  ".join(_COUNTS), no_wrap=True
    )  # in one: a column costs more than all else, with hundreds of rows
    for one in status.watches:
        numbers = (one.settling, one.waiting, one.in_work, one.delivered, one.partial, one.refused)
        counts = "  ".join(f"{number:>{len(what)}}" for number, what in zip(numbers, _COUNTS, strict=True))
        table.add_row(_name(one.name), "paused" if one.paused else one.how or "nobody", counts)
    return table


def _documents(status: Status) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    for _ in range(3):
        table.add_column(no_wrap=True)
    for row in _rows(status):
        table.add_row(*row)
    return table


def _rows(status: Status) -> Iterator[tuple[RenderableType, ...]]:
    for one in status.documents:
        look_at = f"{one.problems} to look at" if one.problems else ""
        bar = ProgressBar(total=one.pages, completed=one.done, width=_BAR)
        yield _name(one.source), bar, Text(f"{one.done}/{one.pages} pages"), Text(look_at, "yellow")
    hidden = sum(one.in_work for one in status.watches) - len(status.documents)
    if hidden > 0:
        yield Text(f"and {hidden} more"), Text(), Text(), Text()
