"""Lines of the log as journald keeps them: fields of their own, and a sentence for a person."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ocrd.display import pip
from ocrd.errors import ConfigError

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


SENTENCES = ("what", "remedy", "reason")


def message(event: str, facts: Mapping[str, object]) -> str:
    """Write a line for a person: the event, its sentences, then what else is known of it."""
    sentences = with_sentences(event, facts)
    rest = " ".join(f"{name}={_quoted(value)}" for name, value in facts.items() if name not in SENTENCES)
    if rest and sentences != event:
        return f"{sentences} ({rest})"
    return f"{sentences} {rest}".strip()


def with_sentences(event: str, facts: Mapping[str, object]) -> str:
    """Put the sentences of a line behind its event."""
    sentences = " ".join(str(facts[name]) for name in SENTENCES if facts.get(name))
    return f"{event}: {sentences}" if sentences else event


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if not text or " " in text or "=" in text else text


def _bytes(value: object) -> bytes:
    return str(value).encode(errors="surrogateescape")


def under_systemd() -> bool:
    """Whether what this process prints goes to journald (systemd.exec(5), JOURNAL_STREAM)."""
    return "JOURNAL_STREAM" in os.environ


def journal_module() -> bool:
    """Whether systemd-python is installed and works."""
    try:  # to find it is not enough: any folder named systemd on the path looks like a package
        import systemd.journal
    except ImportError:
        return False
    return bool(systemd.journal)


def journal_handler() -> logging.Handler:
    """Make the handler that writes to journald. Raises ConfigError without systemd-python."""
    try:
        from systemd.journal import sendv
    except ImportError as error:
        raise ConfigError(
            "log.format is journald, but the Python package systemd-python is not installed.",
            f"Install it: {pip('systemd-python')} (it needs libsystemd-dev and gcc), or set log.format: json.",
        ) from error
    return Journal(sendv)
