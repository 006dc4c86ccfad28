"""What hangs, fails or is hostile in one watch costs no other watch anything, and what passes leaves nothing behind."""

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path

import limits
import pytest
from bulkhead import hang
from bulkhead.hang import Life
from bulkhead.pool import count_calls, let_hang, live_with_strangers, pool, reload
from crash import intruders, swarm
from crash.house import Scenario
from house import Daemon, House, stop, wait_for
from load import one_page_pdfs
from mounts import go_private, mount_memory, why_not_private
from proc import children
from sampling import generator, seed
from strangers import KINDS, Outside, Stranger

from ocrd.errors import MachineError
from ocrd.output import front_matter
from ocrd.storage.job import Rerun
from ocrd.telemetry import status_file

HANGS = int(os.environ.get("OCRD_BULKHEAD_HANGS", "10"))
"""Calls of each life that are let hang and fail, of some 700; 0: all."""

TAKEN_BACK = min(HANGS, 40) if HANGS else 0
"""The same, where a call fails once and its file is taken back."""
RELOADS = int(os.environ.get("OCRD_BULKHEAD_RELOADS", "30"))
"""Random sequences of configurations."""
STRANGERS = int(os.environ.get("OCRD_BULKHEAD_STRANGERS", "150"))
"""Strangers that come to each of these lives, of some 1500; 0: all."""
LIMITS = int(os.environ.get("OCRD_BULKHEAD_LIMITS", "2"))
"""Of 0 to 10 more than is in use, how many are tried of each thing that a machine has only so much of."""

ORIGINAL = b"illustrated original"
FACTS = {
    "source": "a.pdf", "sha256": hashlib.sha256(ORIGINAL).hexdigest(), "pages": 2, "status": "complete",
    "date": "2026-01-01T00:00:00+00:00",
}  # fmt: skip
DELIVERED = {
    "archive/a.pdf": ORIGINAL,
    "outbox/a.md": f"{front_matter.front_matter(FACTS | {'problems': []})}\n<!-- page 1 -->\n\nold\n\n"
    "<!-- page 2 -->\n\nmine\n".encode(),
    "outbox/a.json": json.dumps(FACTS | {"form": 1, "pages": [{"page": 1, "verdict": "ok"}]}).encode(),
    "outbox/a.pdf": b"old pdf",
}
LIVES = [
    Life("life"),
    Life("recovery", claimed=True),
    Life("rerun", {}, delivered=DELIVERED, rerun=Rerun("a.md", (1,))),
    Life("reload", reload=True),
]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    if reason := why_not_private():
        pytest.skip(reason)
    with pool(tmp_path_factory.mktemp("bulkhead")) as executor:
        yield executor


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.name)
def test_whatever_hangs_or_fails_once_stops_no_other_watch_and_leaves_nothing_behind(
    processes: Executor, life: Life
) -> None:
    calls, unnamed = processes.submit(count_calls, life).result()
    assert not unnamed, "should each of these hang, nobody would read what does:\n" + "\n".join(unnamed)
    chance = generator("hangs", life.name)
    numbers = chance.sample(range(1, calls + 1), HANGS) if HANGS else range(1, calls + 1)
    kinds = hang.KINDS if not HANGS else None
    cases = [(number, kind) for number in numbers for kind in (kinds or [chance.choice(hang.KINDS)])]
    tally = processes.submit(let_hang, life, cases).result()
    print(f"{life.name}: {calls} calls, {tally}")
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.told + tally.failed > tally.untold


def test_what_fails_at_a_file_that_is_taken_back_then_holds_up_no_other_file(processes: Executor) -> None:
    life = Life("taken back", {"a.pdf": b"source a", "sub/1.jpg": b"page 1"})
    calls, _ = processes.submit(count_calls, life).result()
    chance = generator("taken back")
    numbers = chance.sample(range(1, calls + 1), TAKEN_BACK) if TAKEN_BACK else range(1, calls + 1)
    tally = processes.submit(let_hang, life, [(number, "is not wanted") for number in numbers]).result()
    print(f"{life.name}: {calls} calls, {tally}")
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.failed > 0


def test_no_sequence_of_configurations_loses_doubles_or_refuses_a_scan(processes: Executor) -> None:
    tally = processes.submit(reload, [f"{seed()} {number}" for number in range(RELOADS)]).result()
    print(tally)
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.sources > tally.sequences == RELOADS


VISITED = [
    Scenario("grouped", {"f/1.jpg": b"page 1", "f/2.jpg": b"page 2", "x.pdf": b"bad source"}, join="subfolder"),
    Scenario("several files", {"sub/a.pdf": b"illustrated a"}, outputs=("markdown", "json", "pdf")),
    Scenario("inbox apart", {"sub/a.pdf": b"source a"}, apart=("inbox",)),
    Scenario("rerun", {}, delivered=DELIVERED, rerun=Rerun("a.md", (1,)), outputs=("markdown", "json", "pdf")),
]


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    if reason := why_not_private():
        pytest.skip(reason)
    with swarm.swarm(tmp_path_factory.mktemp("houses")) as executor:
        yield executor


@pytest.mark.parametrize("scenario", VISITED, ids=lambda scenario: scenario.name)
def test_whatever_a_stranger_puts_at_the_next_name_harms_nothing_and_holds_up_nobody_for_ever(
    houses: Executor, scenario: Scenario
) -> None:
    steps = len(houses.submit(swarm.steps, scenario).result())
    cases = [(number, kind) for number in range(1, steps + 1) for kind in KINDS]
    chosen = generator("strangers", scenario.name).sample(cases, STRANGERS) if STRANGERS else cases
    tally = houses.submit(swarm.meet_strangers, scenario, chosen).result()
    print(f"{scenario.name}: {steps} steps, {tally}")
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.placed > tally.cases / 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_daemon_delivers_among_strangers_who_were_there_before(processes: Executor, kind: str) -> None:
    delivered = processes.submit(live_with_strangers, kind).result()
    assert [name for name in delivered if name.endswith(".md")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["", "/x.status.json", "/.x.status.json.tmp"])
def test_a_stranger_where_the_status_is_to_be_leads_nowhere(tmp_path: Path, place: str, kind: str) -> None:
    outside, folder = Outside(tmp_path / "outside"), tmp_path / "run"
    if place:
        folder.mkdir()
    Stranger(kind, Path(f"{folder}{place}"), outside)
    with intruders.ends_in_time():
        try:
            status_file.write(folder / "x.status.json", b"{}")
        except MachineError as error:
            assert str(folder) in error.what  # noqa: PT017 - or it was written after all
        else:
            assert (folder / "x.status.json").read_bytes() == b"{}"
    outside.check()


Tighten = Callable[[Daemon, int], AbstractContextManager[None]]


def room_of(role: str, root: Path) -> Tighten:
    """Limit the room on the file system of one folder."""
    return lambda _, more: limits.space(root / "scans" / role, more)


def room_in_shared_memory(daemon: Daemon, more: int) -> AbstractContextManager[None]:
    return limits.space(Path(f"/proc/{daemon.pid}/root/dev/shm"), more)


TIGHTENED: dict[str, Callable[[Path], Tighten]] = {
    "processes": lambda _: limits.processes,
    "open files": lambda _: limits.open_files,
    "memory": lambda _: limits.memory,
    "shared memory": lambda _: room_in_shared_memory,
    "inbox": partial(room_of, "inbox"),
    "outbox": partial(room_of, "outbox"),
    "archive": partial(room_of, "archive"),
}


def go_apart() -> None:
    """Give a process a small /dev/shm and control groups of its own."""
    limits.join_groups()
    go_private()
    mount_memory(Path("/dev/shm"), "size=1m")  # noqa: S108 - where it is


FELT = {"processes", "open files", "outbox", "archive"}
"""What a watch can't do without, so that it must have paused: of memory a worker's end is enough."""
GROUPED = {"processes": "pids", "memory": "memory"}
"""What control groups limit, and which."""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, Daemon]]:
    """Give a running daemon, and its house, where folders of the first watch have small file systems of their own."""
    if reason := why_not_private():
        pytest.skip(reason)
    house = House(tmp_path_factory.mktemp("crowded"))
    house.configure(("scans", "other"), retry=0.2)
    places = [house.path(role) for role in ("inbox", "outbox", "archive")]
    for place in places:
        place.mkdir(exist_ok=True)
        mount_memory(place, "size=4m")
    daemon = house.start(preexec_fn=go_apart)
    try:
        wait_for(lambda: house.events("ready"))
        yield house, daemon
        assert stop(daemon) == 0
    finally:
        house.close()
        limits.leave_no_group(daemon)
        for place in places:
            subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("what", TIGHTENED)
def test_what_a_machine_lacks_for_a_while_costs_a_while_and_nothing_else(
    crowded: tuple[House, Daemon], what: str
) -> None:
    house, daemon = crowded
    if reason := limits.why_not_grouped(GROUPED[what]) if what in GROUPED else "":
        pytest.skip(reason)
    tighten = TIGHTENED[what](house.root)
    wanted: list[str] = []
    paused_before = len(house.events("paused"))
    pdfs = one_page_pdfs()
    for more in (0, *sorted(generator("limits", what).sample(range(1, 11), LIMITS - 1))):
        for worker in children(daemon.pid):
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)  # so that another one must be started
        with tighten(daemon, more):
            for watch in ("other", "scans"):
                with suppress(OSError):  # where there is no room in the inbox, either
                    part = house.path(f"inbox/{what} {more}.part", watch)
                    part.write_bytes(next(pdfs))
                    part.rename(part.with_suffix(".pdf"))
                    wanted.append(f"{watch}/archive/{what} {more}.pdf")
            deadline, before = time.monotonic() + 15, len(house.events("paused"))
            while time.monotonic() < deadline and not lie_there(house, wanted):
                if len(house.events("paused")) > before:
                    deadline, before = min(deadline, time.monotonic() + 0.5), 10**6  # it is tried again, in vain
                time.sleep(0.05)
        wait_for(lambda: daemon.poll() is not None or lie_there(house, wanted))
        assert daemon.poll() is None, f"it ended with {daemon.returncode} at {more}"
    pauses = len(house.events("paused")) - paused_before
    print(f"{what}: {len(wanted)} sources, {pauses} pauses")
    assert pauses or what not in FELT
    assert not house.files("error") + house.files("error", "other")
    assert not house.events("defect")


def lie_there(house: House, names: list[str]) -> bool:
    return all((house.root / name).exists() for name in names)
