"""The log: structlog to journald with native fields, to a terminal in colour, or as JSON lines.

Everything comes through one pipe: our own lines, those of libraries, Python's warnings, and what workers, engines and
libraries print past every log (`captured`). Each line knows where it comes from, and one that repeats itself is counted
instead of written.
"""

import logging
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TextIO

import structlog

from ocrd.telemetry.journal import SENTENCES, journal_handler, journal_module, under_systemd, with_sentences
from ocrd.telemetry.log_throttle import repeats

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["auto", "console", "json", "journald"]

_TALKATIVE, _INDISCREET = "httpx2", "httpx"
"""Libraries that tell of each request as other things are told that a person wants to know: one of those to engines,
one of those to the URLs of hooks, whose paths can be secrets."""


def configure(level: str = "info", form: Format = "auto", stream: TextIO | None = None) -> None:
    """Send all logs, ours and the libraries', one way: to the stream (default: stderr), or to journald.

    Raises ConfigError if journald is asked for but can't be had.
    """
    stream = stream or sys.stderr
    if form == "auto":
        form = _best_format(stream)
    handler = journal_handler() if form == "journald" else logging.StreamHandler(stream)
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
    logging.getLogger(_TALKATIVE).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)
    logging.getLogger(_INDISCREET).setLevel(logging.WARNING)


def _best_format(stream: TextIO) -> Format:
    if stream.isatty():
        return "console"
    return "journald" if under_systemd() and journal_module() else "json"


def _timestamp(_logger: "WrappedLogger", _name: str, event: "EventDict") -> "EventDict":
    """Note when it was, on the clock of this place, with how far that is from UTC."""
    event["timestamp"] = datetime.now().astimezone().isoformat(timespec="milliseconds")
    return event


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
    event["event"] = with_sentences(event["event"], event)
    return {name: value for name, value in event.items() if name not in SENTENCES}


# -- journald -------------------------------------------------------------------------------------------------------


# -- what repeats itself --------------------------------------------------------------------------------------------


# -- what is printed past the log -----------------------------------------------------------------------------------
