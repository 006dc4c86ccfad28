"""When a batch closes, and whose page is next."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrd.concurrency.fair_window import FairQueue, Turn
from ocrd.daemon.batching import Batch, BatchPolicy

POLICY = BatchPolicy(quiet=2.0, max_wait=10.0, max_pages=100)


def test_an_empty_batch_is_never_due() -> None:
    batch: Batch[str] = Batch(POLICY)
    assert batch.due() is None
    assert batch.take(1e9) == []


def test_a_batch_closes_when_no_source_came_for_the_quiet_time() -> None:
    batch: Batch[str] = Batch(POLICY)
    batch.add("a", 1, 100.0)
    batch.add("b", 1, 101.5)
    assert batch.due() == 103.5
    assert batch.take(103.4) == []
    assert batch.take(103.5) == ["a", "b"]
    assert len(batch) == 0


def test_the_first_source_waits_no_longer_than_max_wait() -> None:
    batch: Batch[int] = Batch(POLICY)
    for number in range(10):
        batch.add(number, 1, 100.0 + number)
    assert batch.due() == 110.0
    assert batch.take(110.0) == list(range(10))


def test_a_batch_with_enough_pages_closes_at_once() -> None:
    batch: Batch[str] = Batch(POLICY)
    batch.add("a", 40, 100.0)
    batch.add("b", 60, 101.0)
    assert batch.due() == 101.0
    assert batch.take(101.0) == ["a", "b"]


def test_the_next_batch_begins_from_nothing() -> None:
    batch: Batch[str] = Batch(POLICY)
    batch.add("a", 100, 100.0)
    batch.take(100.0)
    batch.add("b", 1, 105.0)
    assert batch.due() == 107.0
    assert batch.take(107.0) == ["b"]


@given(
    policy=st.builds(BatchPolicy, st.floats(0, 5), st.floats(0, 20), st.integers(1, 50)),
    steps=st.lists(st.tuples(st.sampled_from(["add", "take"]), st.floats(0, 4), st.integers(1, 30)), max_size=60),
)
def test_each_source_is_admitted_exactly_once_in_order_and_never_too_late(
    policy: BatchPolicy, steps: list[tuple[str, float, int]]
) -> None:
    batch: Batch[int] = Batch(policy)
    now, added, taken = 0.0, {}, []
    for number, (step, pause, pages) in enumerate(steps):
        now += pause
        if step == "add":
            batch.add(number, pages, now)
            added[number] = now
        else:
            waiting = [source for source in added if source not in taken]
            got = batch.take(now)
            assert got in ([], waiting)
            if waiting and now - added[waiting[0]] > policy.max_wait + 1e-6:
                assert got == waiting
            taken += got
    due = batch.due()
    taken += batch.take(due) if due is not None else []
    assert taken == list(added)


def test_fewest_pages_left_goes_first() -> None:
    turns: FairQueue[str] = FairQueue()
    for who, pages in (("book", 2000), ("letter", 3), ("note", 1)):
        turns.wait(who, Turn(attempts=0, pages=pages))
    assert [turns.next() for _ in range(4)] == ["note", "letter", "book", None]


def test_among_equals_the_longest_waiting_goes_first() -> None:
    turns: FairQueue[int] = FairQueue()
    for who in range(9):
        turns.wait(who, Turn(attempts=0, pages=1))
    assert [turns.next() for _ in range(9)] == list(range(9))


def test_among_equals_those_that_came_last_go_first() -> None:
    turns: FairQueue[str] = FairQueue()
    for wave, names in enumerate(["ab", "cd", "ef"]):
        for who in names:
            turns.wait(who, Turn(wave=wave))
    assert [turns.next() for _ in range(6)] == ["e", "f", "c", "a", "d", "b"], "the fourth has waited longest"


def test_the_groups_take_turns_however_many_wait_in_one() -> None:
    turns: FairQueue[tuple[str, int]] = FairQueue()
    for number in range(1000):
        turns.wait(("a", number), Turn("a"))
    first = [turns.next() for _ in range(3)]
    for number in range(2):
        turns.wait(("b", number), Turn("b", pages=500))
        turns.wait(("c", number), Turn("c", pages=2))
    assert [group for group, _ in [*first, *(turns.next() for _ in range(7))]] == list("aaaabcabca")  # type: ignore[misc]


def test_a_thousand_more_in_each_group_cost_each_turn_no_more_than_a_comparison_or_two() -> None:
    class Counted(int):
        compared = 0

        def __lt__(self, other: int) -> bool:
            Counted.compared += 1
            return int(self) < int(other)

    costs = []
    for size in (1000, 8000):
        turns: FairQueue[int] = FairQueue()
        for number in range(size):
            turns.wait(number, Turn(pages=Counted(number * 7919 % size)))
        Counted.compared = 0
        assert sorted(turns.next() for _ in range(size)) == list(range(size))  # type: ignore[type-var]
        costs.append(Counted.compared / size)
    assert costs[1] < 1.5 * costs[0]


def test_every_fourth_turn_is_the_longest_waiting_ones() -> None:
    turns: FairQueue[str] = FairQueue()
    turns.wait("book", Turn(attempts=0, pages=2000))
    chosen = []
    for number in range(8):
        turns.wait(f"note {number}", Turn(attempts=0, pages=1))
        chosen.append(turns.next())
        turns.wait("book", Turn(attempts=0, pages=2000))
    assert [number for number, who in enumerate(chosen, 1) if who == "book"] == [4, 8]


def test_who_was_tried_before_comes_after_all_others() -> None:
    turns: FairQueue[str] = FairQueue()
    turns.wait("poison", Turn(attempts=1, pages=1))
    for number in range(8):
        turns.wait(f"book {number}", Turn(attempts=0, pages=500))
    assert [turns.next() for _ in range(9)][-1] == "poison"


def test_who_left_is_not_called() -> None:
    turns: FairQueue[str] = FairQueue()
    turns.wait("a", Turn(attempts=0, pages=1))
    turns.leave("a")
    turns.leave("stranger")
    assert (turns.next(), len(turns)) == (None, 0)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 50)), max_size=30))
def test_everyone_who_waits_is_called_exactly_once(waiting: list[tuple[int, int]]) -> None:
    turns: FairQueue[int] = FairQueue()
    for who, (attempts, pages) in enumerate(waiting):
        turns.wait(who, Turn(attempts=attempts, pages=pages))
    order = [turns.next() for _ in waiting]
    assert Counter(order) == Counter(range(len(waiting)))
    assert turns.next() is None
    assert [waiting[who][0] for who in order if who is not None] == sorted(attempts for attempts, _ in waiting)


@pytest.mark.parametrize("newcomers", [1, 3])
@given(documents=st.lists(st.integers(2, 40), min_size=1, max_size=6))
def test_nobody_starves_however_many_single_pages_keep_coming(newcomers: int, documents: list[int]) -> None:
    turns: FairQueue[object] = FairQueue()
    for who, pages in enumerate(documents):
        turns.wait(who, Turn(attempts=0, pages=pages))
    unheard = set(range(len(documents)))
    for number in range(FairQueue.EVERY * len(documents)):
        for newcomer in range(newcomers):
            turns.wait((number, newcomer), Turn(attempts=0, pages=1))
        unheard.discard(turns.next())  # type: ignore[arg-type]
    assert not unheard
