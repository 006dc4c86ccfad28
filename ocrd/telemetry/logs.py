"""The log: structlog to journald with native fields, to a terminal in colour, or as JSON lines.

Everything comes through one pipe: our own lines, those of libraries, Python's warnings, and what workers, engines and
libraries print past every log (`captured`). Each line knows where it comes from, and one that repeats itself is counted
instead of written.
"""

import faulthandler
import io
import logging
import os
import re
import selectors
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

import structlog

from ocrd.errors import ConfigError

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["auto", "console", "json", "journald"]

MESSAGE_IDS = {
    "ready": "8b78b47359354dfe955ef2d3a857f397",
    "accepted": "73b93c91692d4e3f8e178020db6dedde",
    "delivered": "69aacf987e3c43db9b2d6fe7678bae6d",
    "partial": "1365ecf9345d4758940d28187365ec4a",
    "refused": "ac3f2caa9d4343ff98208edce70d1f17",
    "returned": "2be03263ce1c48eab8c2f4e849a1bcdb",
    "paused": "57a334f27e8a4ef5a145afc8bd48b601",
    "resumed": "d9879a3047e04fb488467c49da3b417e",
    "engine restarted": "d2c1519182b841cf824bae994535900e",
    "hanging": "064895a11c13471aa04bd481fadd8a1d",
    "reload refused": "639f4ef42639439abe821799b9605730",
    "failed": "78e2e23eb68649099be21c7c0c1b5713",
}
"""By event, what `journalctl MESSAGE_ID=` finds and systemd/ocrd.catalog explains. A delivery with pages that a person
should look at is `partial`."""

FIELDS = (
    "job", "watch", "source", "page", "pages", "verdict", "seconds", "latency", "status", "path", "reason", "origin",
    "suppressed", "what", "remedy", "model",
)  # fmt: skip
"""Facts of a line that the journal keeps in a field of their own, OCRD_JOB and so on."""

VERDICTS = ("ok", "blank", "repeated", "truncated", "suspect", "failed")
"""Keys of a document's line that count its pages; each is a value of OCRD_VERDICT."""

CAPTURED = "OCRD_OUTPUT_CAPTURED"
"""Environment variable: tells children that what they print is logged, so that they needn't hold their tongues."""

BURST, PERIOD = 5, 60.0
"""A fault is written at most so often within so many seconds, and counted after that."""


def configure(level: str = "info", form: Format = "auto", stream: TextIO | None = None) -> None:
    """Send all logs, ours and the libraries', one way: to the stream (default: stderr), or to journald.

    Raises ConfigError if journald is asked for but can't be had.
    """
    stream = stream or sys.stderr
    if form == "auto":
        form = _best_format(stream)
    handler = _journal_handler() if form == "journald" else logging.StreamHandler(stream)
    shared: list[Processor] = [structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _origin, _timestamp],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(form, colors=stream.isatty()),
            ],
        )
    )
    handler.addFilter(repeats)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            _timestamp,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def set_level(level: str) -> None:
    """Show only lines of this level and above; counts at once."""
    logging.getLogger().setLevel(level.upper())


def _best_format(stream: TextIO) -> Format:
    if stream.isatty():
        return "console"
    return "journald" if _under_systemd() and _journal_module() else "json"


_timestamp = structlog.processors.TimeStamper(fmt="iso", utc=False)


def _rendering(form: Format, *, colors: bool) -> "list[Processor]":
    if form == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    plain = structlog.dev.plain_traceback
    return [
        _short_time,
        _sentences_first,
        structlog.dev.ConsoleRenderer(pad_event_to=12, colors=colors, sort_keys=False, exception_formatter=plain),
    ]


def _origin(_logger: "WrappedLogger", _name: str, event: "EventDict") -> "EventDict":
    """Name the library that a line comes from."""
    record = event.get("_record")
    if record:
        event["origin"] = record.name
    return event


def _short_time(_logger: "WrappedLogger", _name: str, event: "EventDict") -> "EventDict":
    event["timestamp"] = event["timestamp"][11:19]
    return event


def _sentences_first(_logger: "WrappedLogger", _name: str, event: "EventDict") -> "EventDict":
    event["event"] = _with_sentences(event["event"], event)
    return {name: value for name, value in event.items() if name not in _SENTENCES}


# -- journald -------------------------------------------------------------------------------------------------------


class Journal(logging.Handler):
    """Writes to journald by its native protocol: systemd.journal-fields(7)."""

    def __init__(self, send: Callable[..., object]) -> None:
        """Take the function that sends fields, each `NAME=value` in bytes."""
        super().__init__()
        self._send = send
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line. While journald is gone, lines are lost, and counted: work goes on."""
        try:
            self._send(*(name.encode() + b"=" + _bytes(value) for name, value in journal_fields(record)))
            if self._lost:
                self._send(f"MESSAGE={self._lost} lines before the last one are lost".encode(), b"PRIORITY=4")
                self._lost = 0
        except OSError:
            self._lost += 1
        except Exception:  # noqa: BLE001 - what logging asks of handlers
            self.handleError(record)


def journal_fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    """List the journal's fields of a line; a name may come more than once."""
    ours = isinstance(record.msg, dict)
    facts: dict[str, Any] = dict(record.msg) if isinstance(record.msg, dict) else {"origin": record.name}
    facts |= {"suppressed": record.suppressed} if hasattr(record, "suppressed") else {}
    event = str(facts.pop("event", "")) if ours else record.getMessage()
    text = message(event, {key: value for key, value in facts.items() if key not in _UNTOLD})
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    yield "MESSAGE", text
    yield "PRIORITY", _PRIORITIES.get(record.levelno, 6)
    yield "SYSLOG_IDENTIFIER", "ocrd"
    yield "LOGGER", record.name
    yield from (("CODE_FILE", record.pathname), ("CODE_LINE", record.lineno), ("CODE_FUNC", record.funcName))
    if ours:
        name = "partial" if facts.get("status") == "partial" else event.partition(",")[0]
        if name in MESSAGE_IDS:
            yield "MESSAGE_ID", MESSAGE_IDS[name]
        yield from (("OCRD_VERDICT", verdict) for verdict in VERDICTS if verdict in facts and "pages" in facts)
    yield from ((f"OCRD_{name.upper()}", facts[name]) for name in FIELDS if name in facts)


_UNTOLD = {"origin", "level", "timestamp", "exc_info", "stack_info"}
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_SENTENCES = ("what", "remedy", "reason")


def message(event: str, facts: Mapping[str, object]) -> str:
    """Write a line for a person: the event, its sentences, then what else is known of it."""
    told = _with_sentences(event, facts)
    rest = " ".join(f"{name}={_quoted(value)}" for name, value in facts.items() if name not in _SENTENCES)
    if rest and told != event:
        return f"{told} ({rest})"
    return f"{told} {rest}".strip()


def _with_sentences(event: str, facts: Mapping[str, object]) -> str:
    told = " ".join(str(facts[name]) for name in _SENTENCES if facts.get(name))
    return f"{event}: {told}" if told else event


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if not text or " " in text or "=" in text else text


def _bytes(value: object) -> bytes:
    return str(value).encode(errors="surrogateescape")


def _under_systemd() -> bool:
    return "JOURNAL_STREAM" in os.environ


def _journal_module() -> bool:
    try:  # to find it is not enough: any folder named systemd on the path looks like a package
        import systemd.journal
    except ImportError:
        return False
    return bool(systemd.journal)


def _journal_handler() -> logging.Handler:
    try:
        from systemd.journal import sendv
    except ImportError as error:
        raise ConfigError(
            "log.format is journald, but the Python package systemd-python is not installed.",
            "Install it with: pip install 'ocrd[systemd]' (it needs libsystemd-dev and gcc), or set log.format: json.",
        ) from error
    return Journal(sendv)


# -- what repeats itself --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Run:
    """One fault, within one period."""

    record: logging.LogRecord
    since: float
    written: int = 1
    dropped: int = 0


class Repeats(logging.Filter):
    """Lets a fault through a few times a period, then counts it. The line of a document always passes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock in seconds that never goes back."""
        super().__init__()
        self._clock = clock
        self._runs: dict[object, _Run] = {}
        self._lock = threading.Lock()  # libraries log from any thread

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is to be written."""
        key = _same(record)
        if key is None or hasattr(record, "suppressed"):
            return True
        with self._lock:
            run, now = self._runs.get(key), self._clock()
            if run is None or now - run.since >= PERIOD:
                self._runs[key] = _Run(record, now)
                _count(record, run.dropped if run else 0)
                return True
            if run.written < BURST:
                run.written += 1
                return True
            run.dropped += 1
            return False

    def tell(self) -> None:
        """Write the counts of the periods that are over; to be called now and then."""
        with self._lock:
            over = [key for key, run in self._runs.items() if self._clock() - run.since >= PERIOD]
            ended = [self._runs.pop(key) for key in over]
        for run in ended:
            if run.dropped:
                again = logging.makeLogRecord(run.record.__dict__)
                _count(again, run.dropped)
                logging.getLogger(again.name).handle(again)


def _same(record: logging.LogRecord) -> object:
    """Return what makes two lines the same fault; None for a line that must not be counted away."""
    if isinstance(record.msg, dict):
        facts = record.msg
        if record.levelno < logging.WARNING or "job" in facts:
            return None
        return record.name, facts.get("event"), facts.get("watch"), facts.get("what"), facts.get("source")
    if record.levelno < logging.WARNING and not isinstance(record, _Printed):
        return None
    return record.name, record.levelno, re.sub(r"\d+", "0", record.getMessage())


def _count(record: logging.LogRecord, dropped: int) -> None:
    if dropped:
        record.suppressed = dropped  # how logging takes further facts
        if isinstance(record.msg, dict):
            record.msg = {**record.msg, "suppressed": dropped}


repeats = Repeats()
"""Of this process."""

# -- what is printed past the log -----------------------------------------------------------------------------------

_SPEAKS = re.compile(
    r"(?:\((?P<who>[^)]{1,60})\)\s*)?\W{0,3}(?:\S{1,30}\s){0,3}?\[?(?P<level>DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL)\b"
)
_COMPLAINS = re.compile(r"Traceback \(most recent call last\)|\w+(Error|Exception): ")
_WARNS = re.compile(r"\w+Warning: ")
_LEVELS = logging.getLevelNamesMapping()


class _Printed(logging.LogRecord):
    """A line that somebody printed."""


@contextmanager
def captured() -> Iterator[TextIO]:
    """Log what this process and its children print to stdout and stderr, for as long as the context lasts.

    Yields the stderr that was there before, for whoever writes the log to it. A crash's traceback goes there as well.
    """
    kept = {number: os.dup(number) for number in (1, 2)}
    terminal = os.fdopen(os.dup(kept[2]), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    faulthandler.enable(terminal)
    pipes = {name: os.pipe() for name in ("stdout", "stderr")}
    for (_, writer), number in zip(pipes.values(), kept, strict=True):
        os.dup2(writer, number)
        os.close(writer)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # so that a line comes when it is printed
    ending, end = os.pipe()
    sources = {source: name for name, (source, _) in pipes.items()}
    reader = threading.Thread(target=_read_out, args=(sources, ending), daemon=True)
    reader.start()
    os.environ[CAPTURED] = "1"
    logging.raiseExceptions = False  # a log that can't be written would complain to stderr, which is that log
    try:
        yield terminal
    finally:
        logging.raiseExceptions = True
        del os.environ[CAPTURED]
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in kept.items():
            os.dup2(old, number)  # which closes the pipe's end here; children may still hold theirs
            os.close(old)
        os.close(end)
        reader.join()
        faulthandler.enable(sys.__stderr__ or terminal)


def _read_out(pipes: dict[int, str], ending: int) -> None:
    """Log all that comes through the pipes, line by line, until the other end of `ending` is closed."""
    rest = dict.fromkeys(pipes, b"")
    with selectors.DefaultSelector() as selector:
        for pipe in (*pipes, ending):
            selector.register(pipe, selectors.EVENT_READ)
        while ready := {key.fd for key, _ in selector.select()} - {ending}:
            for pipe in ready:
                data = os.read(pipe, 65536)
                *lines, rest[pipe] = re.split(rb"[\r\n]+", rest[pipe] + data)
                for line in lines:
                    _log_printed(line, pipes[pipe])
                if not data:
                    selector.unregister(pipe)
    for pipe, line in rest.items():
        _log_printed(line, pipes[pipe])
    for pipe in (*pipes, ending):
        os.close(pipe)


def _log_printed(data: bytes, stream: str) -> None:
    line = data.decode(errors="backslashreplace").strip()
    if not line:
        return
    spoken = _SPEAKS.match(line)
    level = logging.INFO
    if spoken:
        level = _LEVELS[spoken["level"]]
    elif _COMPLAINS.match(line):
        level = logging.ERROR
    elif _WARNS.search(line):
        level = logging.WARNING
    origin = f"{stream} of {spoken['who']}" if spoken and spoken["who"] else stream
    logger = logging.getLogger(stream)
    if logger.isEnabledFor(level):
        logger.handle(_Printed(origin, level, "", 0, line, None, None))
