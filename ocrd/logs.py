"""The log: structlog to journald, to a terminal in colour, or as JSON lines."""

import logging
import os
import sys
from typing import TYPE_CHECKING, Literal

import structlog

from ocrd.errors import ConfigError

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["auto", "console", "json", "journald"]


def configure(level: str = "info", form: Format = "auto") -> None:
    """Send all logs, ours and the libraries', one way. Raises ConfigError if journald is asked for but can't be had."""
    if form == "auto":
        form = _best_format()
    handler = _journal_handler() if form == "journald" else logging.StreamHandler(sys.stderr)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
    ]
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _timestamp],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(form)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*shared, _timestamp, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _best_format() -> Format:
    if sys.stderr.isatty():
        return "console"
    return "journald" if _under_systemd() and _journal_module() else "json"


_timestamp = structlog.processors.TimeStamper(fmt="iso", utc=False)


def _rendering(form: Format) -> "list[Processor]":
    match form:
        case "json":
            return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        case "journald":
            return [_without_time, structlog.dev.ConsoleRenderer(colors=False)]
        case _:
            return [_short_time, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _short_time(_logger: "WrappedLogger", _name: str, event: "EventDict") -> "EventDict":
    event["timestamp"] = event["timestamp"][11:19]
    return event


def _without_time(_logger: "WrappedLogger", _name: str, event: "EventDict") -> "EventDict":
    del event["timestamp"]  # the journal has its own
    return event


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
        from systemd.journal import JournalHandler
    except ImportError as error:
        raise ConfigError(
            "log.format is journald, but the Python package systemd-python is not installed.",
            "Install it with: pip install 'ocrd[systemd]' (it needs libsystemd-dev and gcc), or set log.format: json.",
        ) from error
    handler: logging.Handler = JournalHandler(SYSLOG_IDENTIFIER="ocrd")
    return handler
