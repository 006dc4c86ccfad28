"""Lines of the log that repeat themselves: counted instead of written."""

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ocrd.telemetry.output_capture import Printed

BURST, PERIOD = 5, 60.0
"""A fault is written at most so often within so many seconds, and counted after that."""


@dataclass(slots=True)
class _Run:
    """One fault, within one period."""

    record: logging.LogRecord
    since: float
    written: int = 1
    dropped: int = 0


class RepeatFilter(logging.Filter):
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
    if record.levelno < logging.WARNING and not isinstance(record, Printed):
        return None
    return record.name, record.levelno, re.sub(r"\d+", "0", record.getMessage())


def _count(record: logging.LogRecord, dropped: int) -> None:
    if dropped:
        record.suppressed = dropped  # how logging takes further facts
        if isinstance(record.msg, dict):
            record.msg = {**record.msg, "suppressed": dropped}


repeats = RepeatFilter()
"""Of this process."""
