"""`ocrd check`: what would keep the daemon from working, found before it starts."""

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from ocrd import display, engines
from ocrd.config import loader, passwords, secret_file
from ocrd.config.hooks import Hook
from ocrd.config.schema import Config
from ocrd.config.watch import Watch
from ocrd.engines.base import Engine
from ocrd.engines.probe_page import TEST_TEXT, test_page
from ocrd.errors import ConfigError, MachineError, OcrdError
from ocrd.markup import layout_blocks
from ocrd.storage import adoption, durable, mounts, naming, os_errors, ownership
from ocrd.telemetry import output_capture, status_file, web_server, webhook
from ocrd.telemetry.webhook import NotTakenError

_console = Console(soft_wrap=True, highlight=False)

_LISTENING = {"starting", "ready", "reloading", "stopping", "hung"}
"""States in which a daemon has its port."""
MESSAGES = 20
"""Of an engine that did not start, the last that are shown."""


def run(path: Path) -> int:
    """Check everything and print a line for each; returns the exit code: 0, or that of the first thing wrong."""
    settings = loader.load(path)
    watches = f"{len(settings.watches)} watch{'es' * (len(settings.watches) != 1)}"
    _say(f"configuration {display.shown(path)}", f"{watches}, engine {settings.engine.kind}")
    problems = [*_check_folders(settings), *_check_hooks(settings), *_check_metrics(settings, path)]
    _console.print(Text(), _table(settings), Text(), sep="\n")
    problems += _check_engine(settings)
    return problems[0].exit_code if problems else 0


def _table(settings: Config) -> Table:
    """Lay out what will be watched, and what becomes of it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("watch", "inbox", "takes", "one document", "delivers", "to"):
        table.add_column(column, overflow="fold")
    for watch in settings.watches:
        takes = ", ".join(watch.include) or "all"
        takes += f", but not {', '.join(watch.exclude)}" if watch.exclude else ""
        outputs = ", ".join(watch.outputs)
        table.add_row(
            watch.name, display.shown(watch.inbox), takes, _documents(watch), outputs, display.shown(watch.outbox)
        )
    return table


def _documents(watch: Watch) -> str:
    """Say what becomes one document."""
    joined = {"none": "each file", "subfolder": "the images of a folder", "sequence": "images with a number at the end"}
    joined["duplex"] = f"fronts and backs, {watch.duplex.fronts} and {watch.duplex.backs}" + (
        ", or two files in a row" if watch.duplex.pairs == "in_a_row" else ""
    )
    separators = {"none": "", "blank": "blank pages", "barcode": f"sheets with {', '.join(watch.separators)}"}
    apart = separators[watch.split]
    return joined[watch.join] + (f", taken apart at {apart}" if apart else "")


def _check_folders(settings: Config) -> Iterator[OcrdError]:
    _say_what_is_shared(settings)
    for watch in settings.watches:
        for role in ("inbox", "outbox", "archive", "error"):
            folder: Path = getattr(watch, role)
            what = f"{watch.name}: {role} {display.shown(folder)}"
            try:
                exists, lacks = _writable(folder), list(_lacking(folder))
            except OcrdError as error:
                yield _complain(what, error)
            else:
                _say(what, "; ".join(("can be written" if exists else "will be made at the start", *lacks)))
        if watch.group:
            yield from _check_group(watch)
        if watch.split == "barcode":
            sheets = f"ocrd split-sheet --text {shlex.quote(watch.separators[0])} FILE makes a sheet to print"
            _say(f"{watch.name}: separators {display.shown(', '.join(watch.separators))}", sheets)
        yield from _check_passwords(watch)
        what = f"{watch.name}: work {display.shown(watch.work_folder)}"
        try:
            same = durable.one_mount(_nearest(watch.inbox), _nearest(watch.work_folder))
        except OcrdError as error:
            yield _complain(what, error)
        else:
            _say(what, "a claim is one rename" if same else "another mount than the inbox: claims copy")
            yield from _check_others(watch)


def _check_others(watch: Watch) -> Iterator[OcrdError]:
    """Tell of the other daemons that take from the same inbox, and of what one left that is gone."""
    what = f"{watch.name}: work {display.shown(watch.work_folder)}"
    try:
        for work in ownership.beside(watch):
            left = adoption.look(work)
            jobs = display.counted(len(left.jobs), "job")
            if left.jobs and adoption.is_gone(left):
                error = MachineError(
                    f"The ocrd on {left.host} that took from the same inbox is gone, and left {jobs}.",
                    f"Start it again, or call `ocrd adopt {display.shown(work)}`.",
                )
                yield _complain(what, error)
            else:
                _say(f"{watch.name}: shares its inbox with the ocrd on {left.host}", f"{jobs} in {display.shown(work)}")
    except MachineError as error:
        yield _complain(what, error)


def _say_what_is_shared(settings: Config) -> None:
    """Name the folders that several watches use."""
    users: dict[tuple[str, Path], list[str]] = {}
    for watch in settings.watches:
        for role, folder in watch.folders.items():
            users.setdefault((role, folder.resolve()), []).append(watch.name)
    for (role, folder), names in users.items():
        if len(names) > 1:
            _say(f"{role} {display.shown(folder)}", f"shared by {', '.join(names)}; names that are taken get a number")


def _check_metrics(settings: Config, path: Path) -> Iterator[OcrdError]:
    listen = settings.metrics.listen
    what = f"metrics.listen {display.shown(listen)}"
    if not listen:
        return
    found = status_file.read(path)
    if found and status_file.judged(found, time.time()).state in _LISTENING:
        _say(what, "the daemon that runs listens there")
        return
    try:
        if (file := settings.metrics.token_file) and not secret_file.is_out_of_sight(file):
            secret_file.token(file)
        web_server.try_listening(listen)
    except (ConfigError, MachineError) as error:
        yield _complain(what, error)
    else:
        _say(what, "can be listened at")


def _check_group(watch: Watch) -> Iterator[OcrdError]:
    what = f"{watch.name}: group {display.shown(watch.group or '')}"
    try:
        naming.access_of(watch)
    except MachineError as error:
        yield _complain(what, error)
    else:
        _say(what, "is known")


def _check_passwords(watch: Watch) -> Iterator[OcrdError]:
    if watch.passwords_file:
        what = f"{watch.name}: passwords_file {display.shown(watch.passwords_file)}"
        if secret_file.is_out_of_sight(watch.passwords_file):
            _say(what, "is handed to the service alone, and was not looked at")
            return
        try:
            count = len(passwords.read(watch.passwords_file))
        except MachineError as error:
            yield _complain(what, error)
        else:
            _say(what, f"{count} to try")


def _check_hooks(settings: Config) -> Iterator[OcrdError]:
    for watch in settings.watches:
        for name, hook in (("on_delivered", watch.on_delivered), ("on_refused", watch.on_refused)):
            if hook.program:
                yield from _check_program(f"{watch.name}: {name} {display.shown(hook.program[0])}", hook.program[0])
            if hook.url:
                yield from _check_url(f"{watch.name}: {name} {webhook.host_of(hook.url)}", hook)


def _check_program(what: str, program: str) -> Iterator[OcrdError]:
    if shutil.which(program):
        _say(what, "can be run")
    else:
        remedy = "Give the path of a program that ocrd's user may run (chmod a+x)."
        yield _complain(what, ConfigError("There is no such program.", remedy))


def _check_url(what: str, hook: Hook) -> Iterator[OcrdError]:
    """Look up where a URL leads, and its secret; nothing is sent there."""
    if hook.secret_file and secret_file.is_out_of_sight(hook.secret_file):
        _say(what, "its secret is handed to the service alone, and was not looked at")
        hook = hook.model_copy(update={"secret_file": None})
        signed = ""
    else:
        signed = ", signed" if hook.secret_file else ", and not signed: secret_file is not set"
    try:
        receiver = webhook.find(hook)
    except NotTakenError as error:
        yield _complain(what, ConfigError(str(error), "Mend that; until then it is told nothing."))
    else:
        _say(what, f"will be sent to {receiver.addresses[0]}{signed}")


def _writable(folder: Path) -> bool:
    """Whether the folder exists. Raises MachineError if it, or where it would be made, can't be written."""
    nearest = _nearest(folder)
    durable.one_mount(nearest, nearest)
    return nearest == folder


def _lacking(folder: Path) -> Iterator[str]:
    """Say what the file system of a folder can't do that the promises need. Raises MachineError."""
    nearest = _nearest(folder)
    with os_errors.machine_faults("look at", nearest):
        kind = mounts.kind_of(nearest) or "its file system"
    if not durable.refuses_taken_names(nearest):
        yield f"{kind} can't refuse a taken name: what others put there in that very instant is overwritten"
    if mounts.is_late(kind):
        yield f"{kind} stores files late: what is not stored yet is lost when it ends"


def _nearest(folder: Path) -> Path:
    while not os.path.lexists(folder):
        folder = folder.parent
    return folder


def _check_engine(settings: Config) -> Iterator[OcrdError]:
    """Look at what the engine needs, in its order; only if all of that is there, start it and let it read."""
    what = f"engine {settings.engine.kind}"
    try:
        engine = engines.load(settings.engine)
        problems = _look_ahead(engine)
    except OcrdError as error:
        problems = [_complain(what, error)]
    except Exception as error:  # noqa: BLE001 - an engine of one's own may raise anything
        problems = [_complain(what, _of_ones_own(error))]
    if problems:
        yield from problems
        return
    with _messages_kept() as (terminal, messages):
        try:
            found: str | OcrdError = asyncio.run(_try_engine(engine, Console(file=terminal)))
        except OcrdError as error:
            found = error
        except Exception as error:  # noqa: BLE001 - as above
            found = _of_ones_own(error)
    if isinstance(found, str):
        _say(what, found)
        return
    for message in messages:
        _console.print(Text(f"      {display.shown(message)}", "dim"))
    yield _complain(what, found)


def _look_ahead(engine: Engine) -> list[OcrdError]:
    """Say what the engine finds out before it starts, and return what is wrong.

    What it waits for meanwhile, such as a network, is shown on a terminal only: in the end it is said in one sentence.
    """
    problems = []
    with (
        _console.status("what the engine needs is looked for") as shown,
        _warnings_to(lambda message: shown.update(Text(display.shown(message)))),
    ):
        for finding in engine.preflight():
            if isinstance(finding.found, OcrdError):
                problems.append(_complain(finding.what, finding.found))
            else:
                _say(finding.what, finding.found)
    return problems


def _of_ones_own(error: Exception) -> ConfigError:
    return ConfigError(f"{type(error).__name__}: {error}.", "Mend the engine's package.")


@contextlib.contextmanager
def _messages_kept() -> Iterator[tuple[TextIO, deque[str]]]:
    """Keep from the terminal what libraries print and log; yield the terminal, and the last of their warnings."""
    messages: deque[str] = deque(maxlen=MESSAGES)
    with _warnings_to(messages.append), output_capture.captured() as terminal:
        yield terminal, messages


@contextlib.contextmanager
def _warnings_to(take: Callable[[str], None]) -> Iterator[None]:
    """Hand on what is logged as a warning, in place of Python's printing it."""
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: take(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


async def _try_engine(engine: Engine, terminal: Console) -> str:
    """Start the engine, let it read a page made for it, and tell what came back."""
    try:
        began = time.monotonic()
        with terminal.status("the engine starts") as shown:
            telling = asyncio.create_task(_tell_progress(engine, shown))
            await engine.start()
            telling.cancel()
        ready = time.monotonic() - began
        reading = await engine.read(test_page(engine.page_size))
    finally:
        await engine.close()
    info = engine.info
    facts = "".join(f"; {fact}" for fact in info.facts)
    said = " ".join(block.text.strip() for block in layout_blocks.parse(reading.text))
    return (
        f"{info.model}, {info.version}; ready in {ready:.1f} s; "
        f"read {said[:60]!r} for {TEST_TEXT!r} in {reading.seconds:.1f} s{facts}"
    )


async def _tell_progress(engine: Engine, shown: Status) -> None:
    """Keep a terminal informed of what a long start does; elsewhere nothing is shown."""
    while True:
        if progress := engine.state.progress:
            shown.update(display.shown(progress))
        await asyncio.sleep(1)


def _say(what: str, how: str) -> None:
    _console.print(Text.assemble(("OK    ", "bold green"), what, ": ", how))


def _complain(what: str, error: OcrdError) -> OcrdError:
    _console.print(Text.assemble(("WRONG ", "bold red"), what, ": ", error.what, "\n      ", error.remedy))
    return error
