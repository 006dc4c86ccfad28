"""The journal's fields, what repeats itself, and what is printed past the log."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from ocrd.model import PageResult, Verdict
from ocrd.telemetry import event_log, journal, log_throttle, logs
from ocrd.telemetry.events import Ended, PageDone

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def sent() -> Iterator[list[dict[str, list[str]]]]:
    """Log to a journal that keeps what it was sent."""
    lines: list[dict[str, list[str]]] = []

    def send(*fields: bytes) -> None:
        line: dict[str, list[str]] = {}
        for field in fields:
            name, _, value = field.decode(errors="surrogateescape").partition("=")
            line.setdefault(name, []).append(value)
        lines.append(line)

    root = logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure("info", "json")
    root.handlers[:] = [journal.Journal(send)]
    yield lines
    root.handlers[:], root.level = before
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_a_document_has_its_fields_and_a_line_for_people(sent: list[dict[str, list[str]]]) -> None:
    structlog.get_logger("ocrd").bind(watch="scans").warning(
        "delivered", source="a b.pdf", job="j1", pages=3, ok=2, failed=1, seconds=4.2, status="partial"
    )
    [line] = sent
    assert line["MESSAGE"] == [
        'delivered watch=scans source="a b.pdf" job=j1 pages=3 ok=2 failed=1 seconds=4.2 status=partial'
    ]
    assert line["OCRD_VERDICT"] == ["ok", "failed"]
    assert line["MESSAGE_ID"] == [journal.MESSAGE_IDS["partial"]]
    told = {name: value[0] for name, value in line.items()}
    assert (told["OCRD_JOB"], told["OCRD_WATCH"], told["OCRD_SOURCE"]) == ("j1", "scans", "a b.pdf")
    assert (told["OCRD_PAGES"], told["OCRD_SECONDS"], told["PRIORITY"]) == ("3", "4.2", "4")
    assert told["CODE_FILE"] == __file__


def test_a_fault_is_told_in_sentences(sent: list[dict[str, list[str]]]) -> None:
    structlog.get_logger("ocrd").error("paused", watch="scans", what="The disk is full.", remedy="Free some space.")
    assert sent[0]["MESSAGE"] == ["paused: The disk is full. Free some space. (watch=scans)"]
    assert sent[0]["PRIORITY"] == ["3"]


def test_on_a_terminal_the_sentences_come_first_and_facts_in_the_order_of_the_code(
    sent: list[dict[str, list[str]]],
) -> None:
    stream = io.StringIO()
    logs.configure("info", "console", stream)
    log = structlog.get_logger("ocrd")
    log.warning("refused", source="scan.pdf", job="j1", what="This PDF is cut off.", remedy="Scan it again.", reason="")
    log.info("delivered", source="scan.pdf", job="j1")
    log.error("failed", exc_info=ValueError("a defect"))
    told = stream.getvalue()
    assert "] refused: This PDF is cut off. Scan it again. source=scan.pdf job=j1\n" in told
    assert re.search(r"] delivered +source=scan\.pdf job=j1\n", told)
    assert told.endswith("\nValueError: a defect\n")
    assert not sent


def test_lines_of_libraries_and_warnings_carry_their_origin(sent: list[dict[str, list[str]]]) -> None:
    logging.getLogger("vllm.engine").warning("cache %d%% full", 90)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("this will go away", stacklevel=1)
    assert (sent[0]["MESSAGE"], sent[0]["OCRD_ORIGIN"]) == (["cache 90% full"], ["vllm.engine"])
    assert sent[1]["OCRD_ORIGIN"] == ["py.warnings"]
    assert "MESSAGE_ID" not in sent[0]


def test_a_defect_comes_with_its_traceback(sent: list[dict[str, list[str]]]) -> None:
    try:
        int("oh")
    except ValueError:
        structlog.get_logger("ocrd").exception("defect", job="j1")
    assert "Traceback (most recent call last)" in sent[0]["MESSAGE"][0]
    assert sent[0]["MESSAGE"][0].endswith("invalid literal for int() with base 10: 'oh'")


def test_every_message_is_explained_in_the_catalog() -> None:
    catalog = (REPOSITORY / "systemd/ocrd.catalog").read_text()
    entries = re.findall(r"^-- ([0-9a-f]{32})\nSubject: .+\nDefined-By: ocrd\n\n.+", catalog, re.MULTILINE)
    assert sorted(entries) == sorted(journal.MESSAGE_IDS.values())
    fields = set(re.findall(r"@OCRD_([A-Z]+)@", catalog))
    assert fields <= {name.upper() for name in journal.FIELDS}


def fault(message: str = "no page for %d s", *args: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("engine", level, "f", 1, message, args, None)


def test_a_fault_that_repeats_itself_is_counted() -> None:
    now = [0.0]
    repeats = log_throttle.RepeatFilter(lambda: now[0])
    assert [repeats.filter(fault("no page for %d s", number)) for number in range(20)].count(True) == log_throttle.BURST
    now[0] = log_throttle.PERIOD
    again = fault("no page for %d s", 99)
    assert repeats.filter(again)
    assert again.__dict__["suppressed"] == 20 - log_throttle.BURST


def test_the_count_comes_also_if_the_fault_does_not_come_again(sent: list[dict[str, list[str]]]) -> None:
    now = [0.0]
    repeats = log_throttle.RepeatFilter(lambda: now[0])
    for _ in range(8):
        repeats.filter(fault())
    repeats.tell()
    assert not sent
    now[0] = log_throttle.PERIOD
    repeats.tell()
    repeats.tell()
    assert [line["OCRD_SUPPRESSED"] for line in sent] == [[str(8 - log_throttle.BURST)]]


@pytest.mark.parametrize("facts", [{"event": "refused", "job": "j"}, {"event": "paused", "watch": "w", "what": "x"}])
def test_the_line_of_a_document_is_never_counted_away(facts: dict[str, str]) -> None:
    repeats = log_throttle.RepeatFilter(lambda: 0.0)
    records = [logging.LogRecord("ocrd", logging.WARNING, "f", 1, facts, None, None) for _ in range(50)]
    passed = [repeats.filter(record) for record in records].count(True)
    assert passed == (50 if "job" in facts else log_throttle.BURST)


PRINTS = """
import ctypes, os, subprocess, sys
from ocrd.telemetry import journal, logs
from ocrd.telemetry.output_capture import captured
with captured() as terminal:
    logs.configure("info", "json", terminal)
    print("from Python")
    print("WARNING 11-22 05:00:00 [engine.py:1] from a library", file=sys.stderr)
    os.write(1, b"(EngineCore_0 pid=7) ERROR 11-22 from a child's library\\nno end of line")
    subprocess.run(["sh", "-c", "echo from a child >&2"], check=True)
    ctypes.CDLL(None).puts(b"from C"); ctypes.CDLL(None).fflush(None)
print("after")
"""


def test_what_is_printed_is_logged_with_level_and_origin(run_python: Callable[..., Any]) -> None:
    told = run_python("-c", PRINTS)
    assert told.stdout == "after\n"
    lines = [json.loads(line) for line in told.stderr.splitlines()]
    assert sorted((line["origin"], line["level"], line["event"]) for line in lines) == [
        ("stderr", "info", "from a child"),
        ("stderr", "warning", "WARNING 11-22 05:00:00 [engine.py:1] from a library"),
        ("stdout", "info", "from Python"),
        ("stdout", "info", "no end of linefrom C"),
        ("stdout of EngineCore_0 pid=7", "error", "(EngineCore_0 pid=7) ERROR 11-22 from a child's library"),
    ]


LOSES_ITS_LOG = """
import logging
from ocrd.telemetry import journal, logs
from ocrd.telemetry.output_capture import captured

tried = []

def send(*fields):
    tried.append(fields)
    raise RuntimeError("no journal")

with captured() as terminal:
    logs.configure("info", "json", terminal)
    logging.getLogger().handlers[:] = [journal.Journal(send)]
    logging.getLogger("ocrd").info("a line")
print(len(tried))
"""


def test_a_log_that_can_not_be_written_holds_up_nobody(run_python: Callable[..., Any]) -> None:
    """What logging complains of goes to stderr, which is the log: that must not go round in circles."""
    assert run_python("-c", LOSES_ITS_LOG).stdout == "1\n"


def test_lines_lost_while_journald_was_gone_are_counted() -> None:
    sent: list[str] = []
    gone = [True]

    def send(*fields: bytes) -> None:
        if gone[0]:
            raise ConnectionRefusedError(111, "Connection refused")
        sent.append(next(field.decode() for field in fields if field.startswith(b"MESSAGE=")))

    handler = journal.Journal(send)
    for number in range(4):
        gone[0] = number < 2
        handler.handle(logging.LogRecord("ocrd", logging.INFO, "", 0, f"line {number}", None, None))
    assert sent == ["MESSAGE=line 2", "MESSAGE=2 lines before the last one are lost", "MESSAGE=line 3"]


CRASHES = """
import ctypes
from ocrd.telemetry import journal, logs
from ocrd.telemetry.output_capture import captured
with captured() as terminal:
    logs.configure("info", "json", terminal)
    ctypes.string_at(0)
"""


def test_a_crash_still_tells_where_it_was() -> None:
    told = subprocess.run([sys.executable, "-c", CRASHES], capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode < 0
    assert "Fatal Python error: Segmentation fault" in told.stderr


ENGINE = """
import logging.config, os, pathlib, subprocess, sys
from ocrd.engines.vllm import process_guard, setup
from ocrd.telemetry import logs
from ocrd.telemetry.output_capture import captured
if sys.argv[1:] == ["child"]:
    logging.config.dictConfig(setup._logging(pathlib.Path(os.devnull)))
    logging.getLogger("vllm.core").info("the weights are loaded")
else:
    os.environ[process_guard.PARENT] = str(os.getpid())
    child = [sys.executable, __file__, "child"]
    subprocess.run(child, check=True)
    with captured() as terminal:
        logs.configure("info", "json", terminal)
        logging.config.dictConfig(setup._logging(pathlib.Path(os.devnull)))
        logging.getLogger("vllm.front").info("the front end listens")
        subprocess.run(child, check=True)
"""


def test_the_engines_processes_speak_where_they_are_heard(run_python: Callable[..., Any], tmp_path: Path) -> None:
    program = tmp_path / "engine.py"
    program.write_text(ENGINE)
    told = run_python(program)
    assert told.returncode == 0, told.stderr
    lines = [json.loads(line) for line in told.stderr.splitlines()]
    assert [(line["origin"], line["level"], line["event"]) for line in lines] == [
        ("vllm.front", "info", "the front end listens"),
        ("stderr", "info", "INFO the weights are loaded"),
    ]


LINGERS = """
import subprocess, sys
from ocrd.telemetry import journal, logs
from ocrd.telemetry.output_capture import captured
with captured() as terminal:
    logs.configure("info", "json", terminal)
    child = subprocess.Popen(["sleep", "60"])
    print("last words", end="")
print(child.pid, flush=True)
"""


def test_a_child_that_lingers_does_not_hold_up_the_end(run_python: Callable[..., Any]) -> None:
    told = run_python("-c", LINGERS)
    os.kill(int(told.stdout), signal.SIGKILL)
    assert "last words" in [json.loads(line)["event"] for line in told.stderr.splitlines()]


def test_a_document_with_many_bad_pages_is_one_warning_that_names_the_first() -> None:
    bad = [PageResult(index, Verdict.FAILED, f"reason {index}", None, 1) for index in range(20_000)]
    ended = Ended("scans", "j1", "a.pdf", "delivered", Path("/o/a.md"), None, 1.0, 2.0, 20_000, "partial", problems=bad)
    with structlog.testing.capture_logs() as told:
        for page in bad:
            event_log.write(PageDone("scans", "j1", "a.pdf", page))
        event_log.write(ended)
    [line] = [line for line in told if line["log_level"] != "debug"]
    assert (line["event"], line["log_level"]) == ("delivered", "warning")
    assert line["look_at"].startswith("page 1 (failed: reason 0), page 2 (failed: reason 1), ")
    assert line["look_at"].endswith(", page 5 (failed: reason 4), and 19995 more")
