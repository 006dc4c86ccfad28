"""Every feature holds together: pairs of them, under sequences of what people do, drawn by chance.

`OCRD_FEATURE_SECONDS` says for how long, `OCRD_TEST_SEED` with which luck; a failure tells both, and all that was done.
"""

import io
import os
import time
from itertools import count
from pathlib import Path

import pytest
from features import paper
from features.deeds import ask, forget, live, put
from features.world import PAIRS, World
from sampling import generator, seed

from ocrd.commands import rerun, review
from ocrd.daemon import supervisor
from ocrd.telemetry import logs

SECONDS = float(os.environ.get("OCRD_FEATURE_SECONDS", "12"))
DEEDS = 14


@pytest.fixture(autouse=True)
def instead_of_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is written on paper be read without render workers, and nobody hear of it."""
    logs.configure("error", "json", io.StringIO())
    for module in (supervisor, review):
        monkeypatch.setattr(module, "Renderer", paper.Renderer)


def test_reruns_of_one_document_come_one_after_the_other(tmp_path: Path) -> None:
    world = World(tmp_path, "any", ("outputs", "running"))
    pages = [paper.page([f"q000{number}z"]) for number in (1, 2, 3)]
    put(world, world.config.watches[0].inbox / "a.pdf", paper.scan("a", pages))
    world.work_off()
    [document] = world.documents
    for number in (1, 2, 3):
        ask(world, document, rerun.of_name("a.pdf", str(number), world.config.watches))
    engine = paper.engine(world.mood, seconds=0.05)
    world.work_off(engine)
    assert (len(engine.reads), engine.most_at_once) == (3, 1), "three of them could lose what one of them wrote"


def test_whatever_people_do_no_word_is_lost_or_doubled_and_no_command_says_what_did_not_happen(tmp_path: Path) -> None:
    pairs = generator("pairs").sample(PAIRS, len(PAIRS))
    began, deeds, documents, pages = time.process_time(), 0, 0, 0
    for number in count():
        if time.process_time() - began > SECONDS:
            break
        world = World(tmp_path / str(number), f"{seed()} {number}", pairs[number % len(pairs)])
        try:
            live(world, DEEDS)
        except BaseException as error:
            error.add_note(f"seed {seed()}, sequence {number}, in {world.root}:\n" + "\n".join(world.deeds))
            raise
        deeds += len(world.deeds) - 2
        documents += len(world.documents)
        pages += sum(len(document.pages) for document in world.documents)
        forget(world)
    tried = f"{number} sequences of {min(number, len(pairs))} pairs of {len(pairs)}: {deeds} deeds"
    print(f"\n{tried}, {documents} documents, {pages} pages; seed {seed()}")
    assert documents
