"""A daemon in a process of its own, killed at one of its steps on the disk; what it told until then is heard."""

import asyncio
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from crash.reaper import Reaper

from ocrd.concurrency import threads
from ocrd.daemon.supervisor import Daemon
from ocrd.telemetry.events import Ended, Event


def live(make: Callable[[], Daemon], root: Path, die_at: int) -> list[Ended]:
    """Let a daemon live until its step `die_at` below `root`, which never happens, or to its end if that comes before.

    Returns the ends of documents that it told of.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        _live_as_child(make, root, die_at, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        ended = []
        while told.peek(1):
            ended.append(pickle.load(told))  # noqa: S301 - our own child wrote it
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, -signal.SIGKILL}, "the daemon failed by itself"
    return ended


def _live_as_child(make: Callable[[], Daemon], root: Path, die_at: int, writer: int) -> NoReturn:
    code = 1
    try:
        # In order, so that a step has a number.
        threads._Step.start = lambda step: (step.work(), step.tell())[1]  # type: ignore[method-assign]
        reaper = Reaper(root)
        reaper.install()
        daemon = make()
        daemon.events.listen(lambda event: _tell(event, writer))
        reaper.arm(die_at)
        asyncio.run(daemon.run())
        code = 0
    except Exception:  # noqa: BLE001 - told here, since nobody above may go on in this process
        traceback.print_exc()
    finally:
        os._exit(code)


def _tell(event: Event, writer: int) -> None:
    if isinstance(event, Ended):
        os.write(writer, pickle.dumps(event))
