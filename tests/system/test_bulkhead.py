"""What hangs, fails or is hostile in one watch costs no other watch anything, and what passes leaves nothing behind."""

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import Executor

import pytest
from bulkhead import hang
from bulkhead.hang import Life
from bulkhead.pool import count_calls, let_hang, pool, reload
from crash import swarm
from crash.house import Scenario
from mounts import why_not_private
from sampling import generator, seed
from strangers import KINDS

from ocrd.output import front_matter
from ocrd.storage.job import Rerun

HANGS = int(os.environ.get("OCRD_BULKHEAD_HANGS", "12"))
"""Calls of each life that are let hang and fail, of some 700; 0: all."""

RELOADS = int(os.environ.get("OCRD_BULKHEAD_RELOADS", "30"))
"""Random sequences of configurations."""
STRANGERS = int(os.environ.get("OCRD_BULKHEAD_STRANGERS", "150"))
"""Strangers that come to each of these lives, of some 1500; 0: all."""

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
    calls = processes.submit(count_calls, life).result()
    chance = generator("hangs", life.name)
    numbers = chance.sample(range(1, calls + 1), HANGS) if HANGS else range(1, calls + 1)
    kinds = hang.KINDS if not HANGS else None
    cases = [(number, kind) for number in numbers for kind in (kinds or [chance.choice(hang.KINDS)])]
    tally = processes.submit(let_hang, life, cases).result()
    print(f"{life.name}: {calls} calls, {tally}")
    assert not tally.failures, "\n".join(tally.failures)
    assert tally.told > tally.untold or not HANGS


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
