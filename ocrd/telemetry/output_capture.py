"""What this process and its children print past the log, made lines of it."""

import faulthandler
import io
import logging
import os
import re
import selectors
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

CAPTURED = "OCRD_OUTPUT_CAPTURED"
"""Environment variable: tells children that what they print is logged, so that they needn't hold their tongues."""


_SPEAKS = re.compile(
    r"(?:\((?P<who>[^)]{1,60})\)\s*)?\W{0,3}(?:\S{1,30}\s){0,3}?\[?(?P<level>DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL)\b"
)


_COMPLAINS = re.compile(r"Traceback \(most recent call last\)|\w+(Error|Exception): ")


_WARNS = re.compile(r"\w+Warning: ")


_LEVELS = logging.getLevelNamesMapping()


class Printed(logging.LogRecord):
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
        logger.handle(Printed(origin, level, "", 0, line, None, None))
