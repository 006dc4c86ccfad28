"""Nothing is lost: the daemon is killed at every single step on the file system, at every pair, and at random."""

import os
import random
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from crash.house import Change, House, Scenario
from crash.reaper import Step

from ocrd import fsio, pipeline, spool

SCENARIOS = [
    Scenario("plain", {"a.pdf": b"source a", "sub/b.pdf": b"source b"}),
    Scenario("refused", {"x.pdf": b"bad source"}, {"error/x.pdf": b"s1", "error/x (2).pdf.error.md": b"s2"}),
    Scenario(
        "taken names",
        {"a.pdf": b"source a"},
        {"outbox/a.md": b"s1", "archive/a.pdf": b"s2", "archive/a (2).pdf": b"s3"},
        later={"outbox/a (2).md": b"s4", "archive/a (3).pdf": b"s5", "inbox/.hidden.pdf": b"s6"},
    ),
    Scenario("no renameat2", {"a.pdf": b"source a"}, {"archive/a.pdf": b"s1"}, links=True),
    Scenario("inbox apart", {"a.pdf": b"source a"}, apart=("inbox",)),
    Scenario(
        "all apart",
        {"a.pdf": b"source a", "x.pdf": b"bad source"},
        later={"archive/a.pdf": b"s1", "error/x.pdf": b"s2"},
        apart=("archive", "outbox", "error"),
    ),
]
PAIRS = os.environ.get("OCRD_CRASH_PAIRS", "200")
"""Pairs of steps for each scenario: a number, or `all`."""
RANDOM_RUNS = int(os.environ.get("OCRD_CRASH_RUNS", "100"))
"""Random sequences for each scenario."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Two file systems in memory, the second mounted inside the first."""
    root = tmp_path_factory.mktemp("crash")
    mount(root)
    other = root / "other"
    other.mkdir()
    mount(other)
    yield root, other
    for place in (other, root):
        subprocess.run(["umount", place], check=True)


def mount(path: Path) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", path], check=False)
    if done.returncode:
        pytest.skip("mounting needs root")


@pytest.fixture(params=SCENARIOS, ids=lambda scenario: scenario.name)
def house(request: pytest.FixtureRequest, places: tuple[Path, Path]) -> House:
    return House(request.param, *places)


def undisturbed(house: House) -> tuple[dict[str, bytes], list[Step]]:
    house.build()
    house.strangers_come()
    steps = house.record()
    return house.files(), steps


def run(house: House, expected: dict[str, bytes], deaths: tuple[int, ...], change: Change | None = None) -> None:
    house.build()
    for number, death in enumerate(deaths):
        ended = house.live(death, change)
        house.check(expected)
        if ended:
            break
        if number == 0:
            house.strangers_come()
    while not house.live(None, change):
        pass
    house.check_end(expected)


def test_a_death_at_any_step_loses_nothing(house: House) -> None:
    expected, steps = undisturbed(house)
    for death in range(1, len(steps) + 1):
        run(house, expected, (death,))


def test_a_death_at_any_step_and_again_at_any_step_of_recovery_loses_nothing(house: House) -> None:
    expected, steps = undisturbed(house)
    pairs = list(product(range(1, len(steps) + 1), repeat=2))
    for pair in pairs if PAIRS == "all" else random.Random(house.scenario.name).sample(pairs, int(PAIRS)):  # noqa: S311
        run(house, expected, pair)


def test_random_deaths_lose_nothing(house: House) -> None:
    expected, steps = undisturbed(house)
    chance = random.Random(house.scenario.name)  # noqa: S311
    for _ in range(RANDOM_RUNS):
        run(house, expected, tuple(chance.randint(1, len(steps)) for _ in range(chance.randint(1, 6))))


def write_in_place() -> None:
    """Mutation: no temporary file."""

    def write(path: Path, data: bytes, *, tag: str = "") -> None:  # noqa: ARG001
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, data)
        os.close(descriptor)

    fsio.write_new = write


def record_no_name() -> None:
    """Mutation: the name that is about to be used is remembered in memory only."""

    def name_for(job: spool.Job, role: str, name: str) -> None:
        job.record.names[role] = name

    spool.Job.name_for = name_for  # type: ignore[method-assign]


def archive_before_publish() -> None:
    """Mutation: the source goes to the archive before its sidecar is out."""

    def deliver(job: spool.Job, watch: object) -> Path:
        watch_archive = watch.archive  # type: ignore[attr-defined]
        fsio.move_new(job.source, watch_archive / job.record.name, tag="x")
        return real(job, watch)

    real, pipeline._deliver = pipeline._deliver, deliver  # type: ignore[assignment]


def overwrite() -> None:
    """Mutation: a taken name is no obstacle."""

    def free_name(folder: Path, wanted: str, suffix: str = "") -> str:  # noqa: ARG001
        return wanted

    fsio.free_name = free_name
    fsio._rename_new = os.rename


def forget_the_twin() -> None:
    """Mutation: recovery does not finish a claim that copies."""
    spool.Spool._finish_claim = lambda _self, _job: None  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("change", "scenario"),
    [
        (write_in_place, "plain"),
        (record_no_name, "plain"),
        (archive_before_publish, "plain"),
        (overwrite, "taken names"),
        (forget_the_twin, "inbox apart"),
    ],
)
def test_the_harness_catches_code_that_breaks_the_promises(
    change: Change, scenario: str, places: tuple[Path, Path]
) -> None:
    house = House(next(s for s in SCENARIOS if s.name == scenario), *places)
    expected, steps = undisturbed(house)
    with pytest.raises(AssertionError):
        for death in range(1, 2 * len(steps)):
            run(house, expected, (death,), change)


def test_no_rename_is_relied_on_before_its_file_and_its_folder_are_synced(house: House) -> None:
    _, steps = undisturbed(house)
    assert check_syncs(steps) > 0


def check_syncs(steps: list[Step]) -> int:
    """Assert the order of syncs in a recording; returns the number of renames looked at.

    A file with unsynced bytes must not be renamed, and the folders of a rename must be synced before anything is
    renamed or deleted that relies on it.
    """
    dirty: set[str] = set()
    unsynced: set[str] = set()
    renames = 0
    for step in steps:
        if step.call == "write":
            dirty.add(step.path)
        elif step.call == "fsync":
            dirty.discard(step.path)
            unsynced.discard(step.path)
        elif ".moved.tmp" in step.path + step.other:
            continue  # the probe at the start, on which nothing relies
        elif step.call in ("rename", "unlink") and ".ocrd-" not in Path(step.path).name:
            assert not unsynced, f"{step} while the names in {unsynced} are not durable"
        if step.call == "rename":
            renames += 1
            assert step.path not in dirty, f"{step} of a file whose bytes are not durable"
            unsynced.add(str(Path(step.other).parent))
            if ".ocrd-" not in Path(step.path).name:
                unsynced.add(str(Path(step.path).parent))
    return renames


@pytest.mark.parametrize("lost", ["file", "folder"])
def test_a_missing_sync_is_noticed(house: House, lost: str) -> None:
    _, steps = undisturbed(house)
    without = [s for s in steps if s.call != "fsync" or (lost == "file") != (".ocrd-" in s.path)]
    with pytest.raises(AssertionError):
        check_syncs(without)
