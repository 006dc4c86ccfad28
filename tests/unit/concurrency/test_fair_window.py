"""The window of pages in flight is bounded, and no place in it is ever lost."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from ocrd.concurrency.fair_window import Turn, Window


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
