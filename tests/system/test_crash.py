"""Nothing is lost: deaths at every step on the file system, however many, and real ones at each step and at random."""

import hashlib
import json
import math
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
from crash import mutations, patient, swarm
from crash.explorer import Explored
from crash.house import Change, Scenario
from crash.reaper import Step
from mounts import why_not_private
from sampling import generator

from ocrd.config.duplex import Duplex
from ocrd.output import front_matter
from ocrd.storage.job import Rerun

ORIGINAL = b"illustrated original"
DIGEST = hashlib.sha256(ORIGINAL).hexdigest()
FACTS = {"source": "a.pdf", "sha256": DIGEST, "pages": 2, "status": "complete", "date": "2026-01-01T00:00:00+00:00"}
PAGES = "<!-- page 1 -->\n\nold\n\n![](a.assets/page-1-figure-1.jpg)\n\n<!-- page 2 -->\n\nmine\n"
OLD = {
    "archive/a.pdf": ORIGINAL,
    "outbox/a.md": f"{front_matter.front_matter(FACTS | {'problems': []})}\n{PAGES}".encode(),
    "outbox/a.json": json.dumps(FACTS | {"form": 1, "pages": [{"page": 1, "verdict": "ok"}]}).encode(),
    "outbox/a.pdf": b"old pdf",
    "outbox/a.assets/page-1-figure-1.jpg": b"old figure",
}
"""A document of two pages, delivered before."""

SCENARIOS = [
    Scenario("plain", {"sub/a.pdf": b"source a"}),
    Scenario("refused", {"x.pdf": b"bad source"}, {"error/x.pdf": b"s1", "error/x (2).pdf.error.md": b"s2"}),
    Scenario(
        "taken names",
        {"a.pdf": b"source a"},
        {"outbox/a.md": b"s1", "archive/a.pdf": b"s2", "archive/a (2).pdf": b"s3"},
        later={"outbox/a (2).md": b"s4", "archive/a (3).pdf": b"s5", "inbox/.hidden.pdf": b"s6"},
    ),
    Scenario(
        "several files",
        {"a.pdf": b"illustrated"},
        {"outbox/a.json": b"s1"},
        later={"outbox/a (2).md": b"s2", "outbox/a (3).assets/x": b"s3"},
        outputs=("markdown", "json"),
    ),
    Scenario("no renameat2", {"a.pdf": b"source a"}, {"archive/a.pdf": b"s1"}, links=True),
    Scenario("inbox apart", {"a.pdf": b"source a"}, apart=("inbox",)),
    Scenario(
        "inbox apart, more",
        {"sub/a.pdf": b"source a"},
        {"archive/sub/a.pdf": b"s1"},
        later={"outbox/sub/a.md": b"s2", "inbox/sub/notes.txt": b"s3"},
        apart=("inbox",),
        links=True,
    ),
    Scenario(
        "grouped",
        {f"sub/a-{number}.jpg": b"page %d" % number for number in (1, 2, 10)},
        {"archive/sub/a-2.jpg": b"s1", "outbox/sub/a.md": b"s2"},
        later={"archive/sub/a (2)-10.jpg": b"s3"},
        join="sequence",
    ),
    Scenario(
        "grouped, refused",
        {"f 1.5/1.jpg": b"bad 1", "f 1.5/2.jpg": b"bad 2"},
        {"error/f 1.5.error.md": b"s1"},
        later={"error/f 1.5 (2)": b"s2"},
        join="subfolder",
    ),
    Scenario(
        "grouped, apart",
        {"f/1.jpg": b"page 1", "f/2.jpg": b"page 2"},
        {"archive/f/3.jpg": b"s1"},
        later={"archive/f (2)/2.jpg": b"s2"},
        apart=("inbox", "archive"),
        join="subfolder",
    ),
    Scenario(
        "duplex",
        {"sub/a-front.pdf": b"illustrated", "sub/a-back.jpg": b"backs", "sub/a.ocrd.yaml": b"outputs: [markdown]\n"},
        {"archive/sub/a-back.jpg": b"s1", "outbox/sub/a.md": b"s2"},
        later={"archive/sub/a (2)-back.jpg": b"s3"},
        apart=("inbox",),
        join=Duplex(),
    ),
    Scenario(
        "duplex in a row, refused",
        {"1.pdf": b"bad fronts", "2.pdf": b"bad backs"},
        {"error/1-back.pdf": b"s1"},
        later={"error/1 (2).error.md": b"s2"},
        join=Duplex(pairs="in_a_row"),
    ),
    Scenario(
        "duplex in a row, apart",
        {"1.pdf": b"fronts", "2.jpg": b"backs"},
        {"archive/1-front.pdf": b"s1"},
        later={"archive/1 (2)-back.jpg": b"s2"},
        apart=("inbox", "archive"),
        join=Duplex(pairs="in_a_row"),
    ),
    Scenario(
        "companion",
        {"sub/a.pdf": b"illustrated", "sub/a.pdf.ocrd.yaml": b"outputs: [markdown, json]\n"},
        {"archive/sub/a.pdf.ocrd.yaml": b"s1", "inbox/sub/.ocrd.yaml": b"outputs: [text]\n"},
        later={"archive/sub/a (2).pdf.ocrd.yaml": b"s2"},
        outputs=("markdown", "json"),
    ),
    Scenario(
        "companion, refused",
        {"x.pdf": b"source x", "x.pdf.ocrd.yaml": b"lnguages: [eng]\n"},
        {"error/x.pdf.ocrd.yaml": b"s1"},
        later={"error/x (2).pdf.ocrd.yaml": b"s2"},
        apart=("inbox",),
    ),
    Scenario(
        "companion of a group, apart",
        {"f/1.jpg": b"page 1", "f/2.jpg": b"page 2", "f.ocrd.yaml": b"outputs: [markdown]\n"},
        later={"archive/f.ocrd.yaml": b"s1"},
        apart=("archive",),
        join="subfolder",
    ),
    Scenario(
        "all apart",
        {"a.pdf": b"source a", "x.pdf": b"bad source"},
        later={"archive/a.pdf": b"s1", "error/x.pdf": b"s2"},
        apart=("archive", "outbox", "error"),
    ),
    Scenario(
        "rerun",
        {},
        {"outbox/a.json.bak": b"s1"},
        later={"outbox/a.md.bak": b"s2"},
        delivered=OLD,
        rerun=Rerun("a.md", (1,)),
        outputs=("markdown", "json", "pdf"),
    ),
    Scenario(
        "split",
        {"sub/a.pdf": b"several documents"},
        {"outbox/sub/a-2.json": b"s1"},
        later={"outbox/sub/a (2)-2.md": b"s2", "archive/sub/a.pdf": b"s3"},
        outputs=("markdown", "json", "pdf"),
        split="blank",
    ),
    Scenario("rerun, no renameat2", {}, delivered=OLD, rerun=Rerun("a.md", (1,)), outputs=("markdown",), links=True),
]
EXPLORED = float(os.environ.get("OCRD_CRASH_EXPLORED", "0.05"))
"""Share of the faults that are tried, and of the scenarios in which more than one death is; one alone is tried at every
step of every scenario."""
PAIRS = float(os.environ.get("OCRD_CRASH_PAIRS", "0.01"))
"""Share of the pairs of steps at which real processes are killed there, to hold what was explored against it."""
RANDOM_RUNS = int(os.environ.get("OCRD_CRASH_RUNS", "15"))
"""Random sequences of deaths for each of these scenarios."""
FAULTY = [(role, fault) for role in ("work", "outbox", "archive", "error") for fault in patient.FAULTS]
"""Where which fault of the machine is tried at every step."""
SAMPLE_OF_FAULTS = generator("faults").sample(FAULTY, math.ceil(EXPLORED * len(FAULTY)))
SAMPLE = generator("scenarios").sample([one.name for one in SCENARIOS], math.ceil(EXPLORED * len(SCENARIOS)))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    if reason := why_not_private():
        pytest.skip(reason)
    with swarm.swarm(tmp_path_factory.mktemp("crash")) as pool:
        yield pool


@pytest.fixture(params=SCENARIOS, ids=lambda scenario: scenario.name)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    found: Scenario = request.param
    return found


@pytest.fixture
def sampled(scenario: Scenario) -> Scenario:
    """One of the scenarios in which more than one death is tried."""
    if scenario.name not in SAMPLE:
        pytest.skip("not in this run's sample; OCRD_CRASH_EXPLORED=1 takes all scenarios")
    return scenario


@pytest.fixture(scope="module")
def explored(pool: Executor, request: pytest.FixtureRequest) -> dict[str, Future[Explored]]:
    """The trees that deaths can leave, of each scenario that is tested in this run."""
    chosen = [item.callspec.params for item in request.session.items if "explored" in getattr(item, "fixturenames", ())]
    wanted = {params["scenario"].name for params in chosen}
    return {
        one.name: pool.submit(swarm.explore, one, whole=one.name in SAMPLE) for one in SCENARIOS if one.name in wanted
    }


@pytest.fixture
def known(explored: dict[str, Future[Explored]], scenario: Scenario) -> AbstractSet[bytes]:
    return explored[scenario.name].result().trees


def points(pool: Executor, scenario: Scenario) -> range:
    return range(1, len(pool.submit(swarm.steps, scenario).result()) + 1)


def test_deaths_at_any_steps_however_many_lose_nothing(
    pool: Executor, explored: dict[str, Future[Explored]], sampled: Scenario
) -> None:
    found = explored[sampled.name].result()
    first = len(points(pool, sampled))
    print(f"{sampled.name}: {first} points, {found.pairs} pairs, {found.steps} deaths in {len(found.trees)} trees")
    assert found.pairs > first  # recovery itself has steps


def test_a_death_at_any_step_loses_nothing(pool: Executor, scenario: Scenario, known: AbstractSet[bytes]) -> None:
    deaths = points(pool, scenario)
    runs = [
        pool.submit(swarm.run, scenario, [(death,) for death in deaths[start::8]], known=known) for start in range(8)
    ]
    assert sum(run.result() for run in runs) == len(deaths)


def test_a_death_at_any_step_and_again_at_any_step_of_recovery_loses_nothing(
    pool: Executor, sampled: Scenario, known: AbstractSet[bytes]
) -> None:
    share, deaths = math.sqrt(PAIRS), points(pool, sampled)
    firsts = generator(sampled.name, "first deaths").sample(deaths, math.ceil(share * len(deaths)))
    runs = [pool.submit(swarm.run_pairs, sampled, first, known, share) for first in firsts]
    pairs = sum(run.result() for run in runs)
    print(f"{sampled.name}: {len(runs)} of {len(deaths)} points, {pairs} pairs")
    assert pairs > share * len(runs)  # recovery itself has steps


def test_random_deaths_lose_nothing(pool: Executor, sampled: Scenario, known: AbstractSet[bytes]) -> None:
    chance = generator(sampled.name, "random deaths")
    deaths = points(pool, sampled)
    sequences = [tuple(chance.choices(deaths, k=chance.randint(1, 6))) for _ in range(RANDOM_RUNS)]
    runs = [pool.submit(swarm.run, sampled, sequences[start::16], known=known) for start in range(16)]
    assert sum(run.result() for run in runs) >= RANDOM_RUNS


@pytest.mark.parametrize("role", ["inbox", "work", "outbox", "archive", "error"])
def test_a_disk_that_is_full_at_any_step_loses_nothing_and_refuses_nothing(pool: Executor, role: str) -> None:
    sources = {"sub/a.pdf": b"source a", "sub/1.jpg": b"page 1", "sub/2.jpg": b"page 2"}
    sources |= {"x.pdf": b"bad source", "f/1.jpg": b"bad 1", "f/2.jpg": b"bad 2"} if role == "error" else {}
    faults = pool.submit(swarm.run_full, Scenario(f"{role} full", sources, apart=(role,), join="subfolder")).result()
    print(f"{role}: {faults} faults")
    assert faults > 0 or role == "inbox"  # from which we only take


@pytest.mark.parametrize(("role", "fault"), SAMPLE_OF_FAULTS)
def test_a_fault_at_any_step_pauses_the_watch_until_it_is_mended(pool: Executor, role: str, fault: str) -> None:
    sources = {"a.pdf": b"source a", "sub/1.jpg": b"page 1", "sub/2.jpg": b"page 2"}
    sources |= {"x.pdf": b"bad source", "f/1.jpg": b"bad 1", "f/2.jpg": b"bad 2"} if role == "error" else {}
    scenario = Scenario("faulty", sources, outputs=("markdown", "json", "pdf"), join="subfolder")
    told = pool.submit(swarm.suffer, scenario, role, patient.FAULTS[fault], {"late.pdf": b"source b"}).result()
    print(f"{fault}, {role}: {told}, {told.done_without} done without")
    assert told.paused > told.faults / 2


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (mutations.write_in_place, "plain"),
        (mutations.record_no_name, "plain"),
        (mutations.archive_before_publish, "plain"),
        (mutations.overwrite, "taken names"),
        (mutations.publish_the_sidecar_first, "several files"),
        (mutations.leave_a_part, "several files"),
        (mutations.leave_a_part, "split"),
        (mutations.forget_the_twin, "inbox apart"),
        (mutations.claim_by_copy_alone, "inbox apart"),
        (mutations.exchange_in_place, "rerun"),
        (mutations.keep_nothing, "rerun"),
        (mutations.run_half_a_group, "grouped"),
        (mutations.leave_half_a_group, "grouped"),
        (mutations.forget_half_a_group, "grouped"),
        (mutations.leave_half_a_group, "companion"),
        (mutations.forget_half_a_group, "companion"),
        (mutations.run_half_a_group, "duplex"),
        (mutations.leave_half_a_group, "duplex"),
        (mutations.leave_half_a_group, "duplex in a row, apart"),
        (mutations.forget_half_a_group, "duplex in a row, apart"),
    ],
)
def test_the_harness_catches_code_that_breaks_the_promises(pool: Executor, change: Change, name: str) -> None:
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == name)
    steps = range(1, 2 * len(points(pool, scenario)))  # other code may have more of them
    deaths = [(death,) for death in generator(name, change.__name__).sample(steps, len(steps))]
    killed, explored = pool.submit(swarm.run, scenario, deaths, change), pool.submit(swarm.breaks, scenario, change)
    with pytest.raises(AssertionError) as caught:
        killed.result()
    assert "failed by itself" not in str(caught.value)
    assert explored.result()


def test_no_rename_is_relied_on_before_its_file_and_its_folder_are_synced(pool: Executor, scenario: Scenario) -> None:
    assert check_syncs(pool.submit(swarm.steps, scenario).result()) > 0


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
def test_a_missing_sync_is_noticed(pool: Executor, scenario: Scenario, lost: str) -> None:
    steps = pool.submit(swarm.steps, scenario).result()
    without = [s for s in steps if s.call != "fsync" or (lost == "file") != (".ocrd-" in s.path)]
    with pytest.raises(AssertionError):
        check_syncs(without)
