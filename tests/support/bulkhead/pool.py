"""A process of its own for each explorer that replaces Python's functions, with a file system in memory."""

import logging
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

import structlog
from mounts import go_private, mount_memory

from bulkhead import daemon, hang, lodging, reloads
from bulkhead.calls import Calls

_root: Path
_calls: Calls


def pool(folder: Path, workers: int = 1) -> Executor:
    """Start the processes, whose file systems are mounted below `folder`."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _settle_down, [folder])


def _settle_down(folder: Path) -> None:
    global _root, _calls  # noqa: PLW0603 - one for each process
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    go_private()
    mounted = folder / str(os.getpid())
    mounted.mkdir()
    mount_memory(mounted, "size=256m")
    _root = mounted / "house"
    daemon.hurry()
    _calls = Calls(_root)
    _calls.install()


# What follows runs in these processes.


def count_calls(life: hang.Life) -> tuple[int, list[str]]:
    """Return how many calls a watch makes in a life in which nothing hangs, and those that are not told by name."""
    return hang.Explorer(_root, _calls).count(life)


def let_hang(life: hang.Life, cases: Iterable[tuple[int, hang.Kind]]) -> hang.Tally:
    """Let each of these calls, by number, hang or fail in its way."""
    return hang.Explorer(_root, _calls).explore(life, cases)


def reload(seeds: list[str]) -> reloads.Tally:
    """Let configurations come one after the other, as each of these seeds has it."""
    return reloads.explore(daemon.Lodgers(_root), seeds)


def live_with_strangers(kind: str) -> list[str]:
    """Let a daemon live among strangers of this kind."""
    return lodging.live_with(kind, daemon.Lodgers(_root))
