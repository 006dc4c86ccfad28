"""The window of pages in flight is bounded, and no place in it is ever lost."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrd.concurrency.fair_window import FairQueue, Turn, Window


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(20):
        await asyncio.sleep(0)


class Guests:
    """Documents that go in and out of a window, counted."""

    def __init__(self, places: int) -> None:
        self.window = Window(places)
        self.inside: list[object] = []
        self.most = 0

    async def visit(self, who: object, stay: asyncio.Event, **turn: int) -> None:
        await self.window.enter(who, Turn(**turn))
        self.inside.append(who)
        self.most = max(self.most, len(self.inside))
        try:
            await stay.wait()
        finally:
            self.inside.remove(who)
            self.window.leave()

    async def places(self, most: int) -> int:
        """Count the free places, by filling them."""
        stay = asyncio.Event()
        tasks = [asyncio.create_task(self.visit(("probe", number), stay)) for number in range(most + 3)]
        await settle()
        free = len(self.inside)
        stay.set()
        await asyncio.gather(*tasks)
        return free


def test_no_more_are_inside_than_there_are_places() -> None:
    async def life() -> None:
        guests, stay = Guests(3), asyncio.Event()
        tasks = [asyncio.create_task(guests.visit(who, stay)) for who in range(10)]
        await settle()
        assert len(guests.inside) == 3
        stay.set()
        await asyncio.gather(*tasks)
        assert guests.most == 3
        assert await guests.places(3) == 3

    asyncio.run(life())


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
def test_however_a_turn_ends_its_place_is_free_again(error: type[BaseException]) -> None:
    async def life() -> None:
        window = Window(1)
        with pytest.raises(error):
            async with window.turn(Turn()):
                raise error
        async with asyncio.timeout(120), window.turn(Turn()):
            waiting = asyncio.create_task(window.enter("other"))
            await settle()
            assert not waiting.done()
        assert await waiting

    asyncio.run(life())


def test_the_places_go_to_the_fewest_pages_first_and_to_the_tried_last() -> None:
    async def life() -> None:
        guests, full, stay = Guests(1), asyncio.Event(), asyncio.Event()
        stay.set()
        order: list[object] = []

        async def visit(who: str, attempts: int, pages: int) -> None:
            await guests.window.enter(who, Turn(attempts=attempts, pages=pages))
            order.append(who)
            guests.window.leave()

        first = asyncio.create_task(guests.visit("first", full))
        await settle()
        waiting = [("poison", 1, 1), ("book", 0, 900), ("note", 0, 1)]
        tasks = [asyncio.create_task(visit(*who)) for who in waiting]
        await settle()
        full.set()
        await asyncio.gather(first, *tasks)
        assert order == ["note", "book", "poison"]

    asyncio.run(life())


@pytest.mark.parametrize("moment", range(8))
@pytest.mark.parametrize("leaves_first", [True, False])
def test_no_place_is_lost_to_a_cancellation_at_any_moment(moment: int, *, leaves_first: bool) -> None:
    async def life() -> None:
        guests, stay = Guests(2), asyncio.Event()
        tasks = [asyncio.create_task(guests.visit(who, stay)) for who in range(5)]
        await settle()
        if leaves_first:
            stay.set()  # places come free in the same moments in which the others are cancelled
        for _ in range(moment):
            await asyncio.sleep(0)
        for task in tasks[moment % 2 :: 2]:
            task.cancel()
        if not leaves_first:
            stay.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert guests.most <= 2
        assert await guests.places(2) == 2

    asyncio.run(life())


def test_a_place_given_to_one_who_is_cancelled_in_the_same_moment_goes_to_the_next() -> None:
    async def life() -> None:
        guests, full, stay = Guests(1), asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(guests.visit("first", full))
        await settle()
        called = asyncio.create_task(guests.visit("called", stay, pages=1))
        behind = asyncio.create_task(guests.visit("behind", stay, pages=9))
        await settle()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)  # from here "called" has the place, and does not know yet
        called.cancel()
        await settle()
        assert guests.inside == ["behind"]
        stay.set()
        await asyncio.gather(called, behind, return_exceptions=True)
        assert await guests.places(1) == 1

    asyncio.run(life())


def test_who_is_cancelled_while_waiting_leaves_the_turn_to_the_others() -> None:
    async def life() -> None:
        guests, stay = Guests(1), asyncio.Event()
        await guests.window.enter("first")
        gone = asyncio.create_task(guests.visit("gone", stay, pages=1))
        behind = asyncio.create_task(guests.visit("behind", stay, pages=9))
        await settle()
        gone.cancel()
        guests.window.leave()  # the place comes free before "gone" has found out
        await settle()
        assert guests.inside == ["behind"]
        stay.set()
        await asyncio.gather(gone, behind, return_exceptions=True)
        assert await guests.places(1) == 1

    asyncio.run(life())


def _steps(coroutine: Coroutine[Any, Any, None], number: int) -> bool:
    """Run a coroutine for at most so many steps of its loop, then cancel it; returns whether it came to its end."""

    async def life() -> bool:
        task = asyncio.create_task(coroutine)
        for _ in range(number):
            await asyncio.sleep(0)
        ended = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return ended

    return asyncio.run(life())


def test_a_document_that_is_stopped_after_any_step_gives_back_all_its_places() -> None:
    for number in range(200):
        window = Window(2)

        async def read(pages: int, window: Window = window) -> None:
            async with asyncio.TaskGroup() as group:
                for left in range(pages, 0, -1):
                    await window.enter("document", Turn(pages=left))
                    task = group.create_task(asyncio.sleep(0))
                    task.add_done_callback(lambda _: window.leave())

        async def both(read: Any = read) -> None:
            await asyncio.gather(read(6))

        ended = _steps(both(), number)
        assert window._free == 2, f"lost after step {number}"
        if ended:
            return
    pytest.fail("never came to its end")


def test_a_note_does_not_wait_behind_a_book_that_fills_the_window_while_rendering_is_slow() -> None:
    async def life() -> None:
        window, door, rendered = Window(40), Window(4), asyncio.Queue[None]()
        order: list[str] = []

        async def page(who: str, pages: int) -> None:
            await door.enter(object(), Turn(pages=pages))
            await rendered.get()
            order.append(who)
            door.leave()
            window.leave()

        async def read(who: str, pages: int) -> None:
            async with asyncio.TaskGroup() as group:
                for left in range(pages, 0, -1):
                    await window.enter(who, Turn(pages=left))
                    group.create_task(page(who, pages))

        async def render_one() -> None:
            rendered.put_nowait(None)
            await settle()

        book = asyncio.create_task(read("book", 200))
        await settle()
        await render_one()
        note = asyncio.create_task(read("note", 1))
        await settle()
        for _ in range(8):
            await render_one()
        assert note.done()
        assert order.count("book") == 8
        for _ in range(200):
            await render_one()
        await book

    asyncio.run(life())


HIGH, NORMAL, LOW = range(3)


def served(queue: FairQueue[Any], turns: int, *always: int) -> list[Any]:
    """Take turns while these priorities never run dry; returns who had them, newcomers as their priorities."""
    numbers, order = count(), []
    for _ in range(turns):
        for priority in always:
            queue.wait((priority, next(numbers)), Turn("others", priority=priority))
        who = queue.next()
        order.append(who[0] if isinstance(who, tuple) else who)
    return order


def test_of_sixteen_turns_twelve_are_high_three_normal_and_one_low() -> None:
    order = served(FairQueue(), 16 * 50, HIGH, NORMAL, LOW)
    for begin in range(len(order) - 16):
        assert Counter(order[begin : begin + 16]) == {HIGH: 12, NORMAL: 3, LOW: 1}
    assert Counter(served(FairQueue(), 400, HIGH, LOW)) == {HIGH: 300, LOW: 100}
    assert Counter(served(FairQueue(), 400, NORMAL, LOW)) == {NORMAL: 300, LOW: 100}


def test_a_priority_alone_has_every_turn() -> None:
    assert set(served(FairQueue(), 40, LOW)) == {LOW}


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=200, max_size=400))
def test_low_has_a_turn_in_every_sixteen_whatever_comes_and_goes_above_it(above: list[tuple[bool, bool]]) -> None:
    queue, numbers, order = FairQueue[tuple[int, int]](), count(), list[int]()
    for high, normal in above:
        for priority, comes in ((HIGH, high), (NORMAL, normal), (LOW, True)):
            if comes:
                queue.wait((priority, next(numbers)), Turn(priority, priority=priority))
        who = queue.next()
        assert who
        order.append(who[0])
    assert all(LOW in order[begin : begin + 16] for begin in range(len(order) - 15))


@pytest.mark.parametrize(("places", "groups"), [(1, 1), (3, 1), (1, 4), (5, 3)])
def test_the_nth_of_low_waits_for_no_more_than_64_turns_for_each_before_it(places: int, groups: int) -> None:
    queue: FairQueue[Any] = FairQueue()
    for group in range(groups):
        for number in range(places):
            queue.wait(f"{group} {number}", Turn(group, pages=10**6, priority=LOW))
    numbers, order = count(), []
    for _ in range(64 * places * groups):
        for priority in (HIGH, NORMAL):
            queue.wait((priority, next(numbers)), Turn("others", priority=priority))
        for group in range(groups):  # and smaller ones of low itself
            queue.wait((LOW, next(numbers)), Turn(group, priority=LOW))
        order.append(queue.next())
    assert all(f"{group} {number}" in order for group in range(groups) for number in range(places))


def test_what_killed_the_daemon_comes_after_all_others_whatever_its_priority() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.wait("poison", Turn("a", attempts=1, priority=HIGH))
    queue.wait("low", Turn("b", priority=LOW))
    assert [queue.next(), queue.next(), queue.next()] == ["low", "poison", None]
