"""Memory shared with the workers: bounded, never lost, and never given to two at once."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from ocrd.concurrency import shared_memory
from ocrd.concurrency.shared_memory import Slot, Slots
from ocrd.concurrency.worker_pool import Limits
from ocrd.errors import PageError
from ocrd.model import PixelSize
from ocrd.rendering.renderer import Renderer

ROOM = 4096


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_no_more_slots_than_fit() -> None:
    async def life() -> None:
        memory = Slots(3 * ROOM + 1)
        held = [await memory.take(ROOM) for _ in range(3)]
        assert len({slot.offset for slot in held}) == 3
        fourth = asyncio.create_task(memory.take(ROOM))
        await settle()
        assert not fourth.done()
        held[1].free()
        held[1].free()  # the second call does nothing
        assert (await fourth).offset == held[1].offset
        memory.close()

    asyncio.run(life())


def test_a_slot_too_large_for_the_limit_is_there_all_the_same_but_only_one() -> None:
    async def life() -> None:
        memory = Slots(1)
        slot = await memory.take(10 * ROOM)
        waiting = asyncio.create_task(memory.take(10 * ROOM))
        await settle()
        assert not waiting.done()
        slot.free()
        await waiting
        memory.close()

    asyncio.run(life())


@pytest.mark.parametrize("freed_first", [True, False])
def test_who_is_cancelled_while_waiting_takes_no_slot_along(*, freed_first: bool) -> None:
    async def life() -> None:
        memory = Slots(ROOM)
        slot = await memory.take(ROOM)
        gone, behind = (asyncio.create_task(memory.take(ROOM)) for _ in range(2))
        await settle()
        if freed_first:  # the slot is given and the call cancelled in the same moment
            slot.free()
        gone.cancel()
        await settle()
        if not freed_first:
            slot.free()
        assert isinstance(await behind, Slot)
        memory.close()

    asyncio.run(life())


def test_with_the_last_slot_the_memory_goes_back_to_the_system() -> None:
    async def life() -> None:
        memory = Slots(4 * ROOM)
        first, second = await memory.take(ROOM), await memory.take(ROOM)
        for slot in (first, second):
            with memory.shared.window(slot.offset, ROOM) as window:
                window[:] = bytes([7]) * ROOM
        first.free()
        assert (second.view(ROOM), os.fstat(memory.shared.fd).st_blocks) == (bytes([7]) * ROOM, 2 * ROOM // 512)
        second.free()
        assert os.fstat(memory.shared.fd).st_blocks == 0
        again = await memory.take(ROOM)
        assert again.view(ROOM) == bytes(ROOM)
        memory.close()

    asyncio.run(life())


class Wipe:
    """Writes one level over all of its room; or does worse."""

    room = ROOM

    def __init__(self, level: int = 7, *, dies: bool = False, refuses: bool = False) -> None:
        self.level, self.dies, self.refuses = level, dies, refuses

    def __call__(self, _image: Any, memory: memoryview) -> int:
        if self.dies:
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.refuses:
            raise PageError("This page is grey.", "Scan it again.")
        memory[:ROOM] = bytes([self.level]) * ROOM
        return ROOM


def small(_width: float, _height: float) -> PixelSize:
    return PixelSize(200, 300)


def test_a_worker_that_may_write_no_file_writes_into_its_slot(tmp_path: Path, make_pdf: Any) -> None:
    path = make_pdf(tmp_path / "scan.pdf", pages=2)

    async def life() -> None:
        renderer = Renderer(2, Limits(30, 2**31), 2 * ROOM)
        first = await renderer.page(path, 0, small, Wipe(1))
        second = await renderer.page(path, 1, small, Wipe(2))
        assert (first.prepared, second.prepared) == (bytes([1]) * ROOM, bytes([2]) * ROOM)
        assert (first.pixels, first.size) == (b"", PixelSize(200, 300))
        third = asyncio.create_task(renderer.page(path, 0, small, Wipe(3)))
        await settle()
        assert not third.done()  # there are but two slots
        first.free()
        assert (await third).prepared == bytes([3]) * ROOM
        assert second.prepared == bytes([2]) * ROOM
        await renderer.close()

    asyncio.run(life())


def test_a_slot_whose_writer_crashed_lies_fallow(tmp_path: Path, make_pdf: Any, monkeypatch: Any) -> None:
    path = make_pdf(tmp_path / "scan.pdf")
    later: list[Slot] = []
    monkeypatch.setattr(shared_memory.Slot, "free_later", lambda slot: later.append(slot))  # noqa: PLW0108 - as a method

    async def life() -> None:
        renderer = Renderer(1, Limits(30, 2**31), 3 * ROOM)
        with pytest.raises(PageError, match="crashed 2 workers"):
            await renderer.page(path, 0, small, Wipe(dies=True))
        assert len(later) == 2  # it was drawn again, at half the size
        with pytest.raises(PageError, match="grey"):  # the worker came to its end: its slot is free at once
            await renderer.page(path, 0, small, Wipe(refuses=True))
        assert len(later) == 2
        page = await renderer.page(path, 0, small, Wipe(5))
        assert page.prepared == bytes([5]) * ROOM
        await renderer.close()

    asyncio.run(life())


def test_the_look_at_a_new_file_does_not_wait_for_the_pages_of_a_long_one(tmp_path: Path, make_pdf: Any) -> None:
    path, new = make_pdf(tmp_path / "long.pdf", pages=60), make_pdf(tmp_path / "new.pdf")

    async def life() -> None:
        renderer = Renderer(1, Limits(30, 2**31), 100 * ROOM)
        pages = [asyncio.create_task(renderer.page(path, index, small, Wipe())) for index in range(60)]
        await settle()
        assert await renderer.count_pages(new) == 1
        assert sum(page.done() for page in pages) < 10
        await asyncio.gather(*pages)
        await renderer.close()

    asyncio.run(life())


def test_an_urgent_page_goes_before_those_of_a_long_document_which_keep_their_order(
    tmp_path: Path, make_pdf: Any
) -> None:
    path = make_pdf(tmp_path / "long.pdf", pages=60)

    async def life() -> None:
        renderer = Renderer(1, Limits(30, 2**31), 100 * ROOM)
        pages = [asyncio.create_task(renderer.page(path, index, small, Wipe(), priority=60)) for index in range(60)]
        await settle()
        await renderer.page(path, 0, small, Wipe(), priority=1)
        done = [index for index, page in enumerate(pages) if page.done()]
        assert done == list(range(len(done)))
        assert len(done) < 10
        await asyncio.gather(*pages)
        await renderer.close()

    asyncio.run(life())
