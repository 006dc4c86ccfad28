"""Many lives at once: a worker process for each core, each with two small file systems of its own.

A worker is a fresh interpreter with nothing in it but ocrd, so that a fork of it is cheap. The lives that are to be
killed are forks; the last life of each run, which comes to its end, is lived by the worker itself.
"""

import logging
import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import structlog
from mounts import go_private, mount_memory
from sampling import generator
from strangers import Outside

from crash import explorer, intruders, patient
from crash.house import Change, House, Scenario, leave_nothing_to_chance
from crash.reaper import Reaper, Step
from ocrd.concurrency import threads

Deaths = tuple[int, ...]
"""The step at which each life but the last dies, from 1."""
_NEVER = 10**9
_BROKEN = 3

_houses: Callable[..., House]
_small: Path
_reaper: Reaper
_status: Path


def swarm(folder: Path) -> Executor:
    """Start the workers, whose file systems are mounted below `folder`."""
    workers = len(os.sched_getaffinity(0))
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _settle_down, [folder])


def _settle_down(folder: Path) -> None:
    """Make this worker the place where lives are lived."""
    global _houses, _small, _reaper, _status  # noqa: PLW0603 - one for each process
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    go_private()
    root = folder / str(os.getpid())
    root.mkdir()
    other = mount_memory(root, "size=256m") / "other"
    other.mkdir()
    mount_memory(other, "size=256m")
    _small = root / "small"
    _small.mkdir()
    mount_memory(_small, "size=256k")
    # In order, so that a step has a number.
    threads._Step.start = lambda step: (step.work(), step.tell())[1]  # type: ignore[method-assign]
    leave_nothing_to_chance()
    _status = folder / f"status-{os.getpid()}"
    _reaper = Reaper(root)
    _reaper.install()
    _houses = partial(House, root=root, other=other, reaper=_reaper)


# What follows runs in the workers.


def steps(scenario: Scenario) -> list[Step]:
    """List the steps of an undisturbed life."""
    return _undisturbed(_houses(scenario))[1]


def explore(scenario: Scenario, *, whole: bool) -> explorer.Explored:
    """Find every tree that deaths can leave, or else that a single one can, and check all that must hold."""
    house = _houses(scenario)
    return explorer.explore(house, _undisturbed(house)[0], whole=whole)


def breaks(scenario: Scenario, change: Change) -> bool:
    """Explore with other code, in a process of its own; returns whether that breaks what must hold."""
    house = _houses(scenario)
    expected, _ = _undisturbed(house)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            change()
            explorer.explore(house, expected)
            code = 0
        except AssertionError:
            code = _BROKEN
        except Exception:  # noqa: BLE001 - told here, since nobody above may go on in this process
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, _BROKEN), "the daemon failed by itself"
    return code == _BROKEN


def run(
    scenario: Scenario,
    sequences: Iterable[Deaths],
    change: Change | None = None,
    known: AbstractSet[bytes] | None = None,
) -> int:
    """Live through sequences of deaths, and check all that must hold; returns how many deaths there were.

    The trees that they leave must be `known`, if any are.
    """
    house = _houses(scenario)
    expected, _ = _undisturbed(house)
    died = 0
    for deaths in sequences:
        with _told(*deaths):
            died += _run(house, expected, deaths, change, known)
    return died


def run_pairs(scenario: Scenario, first: int, known: AbstractSet[bytes], share: float = 1.0) -> int:
    """Die at step `first`, and again at every step of the life after that; returns how many pairs there were.

    With a `share` below 1, only a sample of so many is lived. The trees that they leave must be `known`.
    """
    house = _houses(scenario)
    chance = generator(scenario.name, "second deaths", first)
    expected, _ = _undisturbed(house)
    house.build()
    house.live(first)
    house.check(expected)
    house.strangers_come()
    house.remember("died once")
    lived = 0
    for second in count(1):
        if chance.random() > share:
            continue
        with _told(first, second):
            ended = house.live(second)
            if not ended:
                house.check(expected)
                assert house.fingerprint() in known, "a death left what was not foreseen"
                house.live_on()
            house.check_end(expected)
        if ended:
            return lived
        house.go_back("died once")
        lived += 1
    raise AssertionError


@contextmanager
def _told(*deaths: int) -> Iterator[None]:
    """Say of what is found at which steps the lives ended."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"died at {deaths}")
        raise


def run_full(scenario: Scenario) -> int:
    """Let the disk of the folders that lie apart be full at every step; returns how many faults that made."""
    house = _houses(scenario, other=_small)
    expected, lived = _undisturbed(house)
    for full_at in range(1, len(lived) + 1):
        house.build()
        house.live_with_a_full_disk(full_at, expected)
        house.check_end(expected)
    return house.faults


def meet_strangers(scenario: Scenario, cases: Iterable[tuple[int, str]]) -> intruders.Tally:
    """Let strangers come before steps of an undisturbed life, each kind by its name."""
    house = _houses(scenario)
    expected, _ = _undisturbed(house)
    outside = Outside(Path(tempfile.mkdtemp(prefix="outside-", dir=_small)))
    return intruders.Intruder(house, outside, expected).meet(cases)


def suffer(scenario: Scenario, role: str, fault: patient.Fault, late: dict[str, bytes]) -> patient.Told:
    """Let each step of the whole daemon in one folder fail; returns what came of it."""
    patient.hurry()
    return patient.Patient(_houses(scenario), _reaper, _status).suffer(role, fault, late)


def _undisturbed(house: House) -> tuple[dict[str, bytes], list[Step]]:
    house.build()
    house.strangers_come()
    lived = house.live_on()
    return house.files(), lived


def _run(
    house: House, expected: dict[str, bytes], deaths: Deaths, change: Change | None, known: AbstractSet[bytes] | None
) -> int:
    house.build()
    for number, death in enumerate(deaths):
        if house.live(death, change):
            break
        house.check(expected)
        if number == 0:
            house.strangers_come()
        assert known is None or house.fingerprint() in known, "a death left what was not foreseen"
    else:
        number = len(deaths)
    if change:
        house.live(_NEVER, change)
    else:
        house.live_on()
    house.check_end(expected)
    return number
