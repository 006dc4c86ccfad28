"""Steps beside the event loop: a hang holds up its own threads, is told, and never ends the wait for what it does."""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from ocrd.concurrency import threads
from ocrd.concurrency.threads import Threads, doing, getting_on
from ocrd.errors import DocumentError, MachineError
from ocrd.storage.os_errors import machine_faults


class Listener:
    """Hears how steps get on."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.told = ""

    def succeeded(self, step: str) -> None:
        self.heard.append(("succeeded", step))

    def hangs(self, step: str, error: MachineError) -> None:
        self.heard.append(("hangs", step))
        self.told = error.what

    def came_back(self, step: str) -> None:
        self.heard.append(("came back", step))


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def share() -> Iterator[threading.Event]:
    """Give what a step waits for; at the latest at the end it answers."""
    answers = threading.Event()
    yield answers
    answers.set()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "HANGS", 0.1)


def play(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 120))  # type: ignore[arg-type]


def publish(share: threading.Event) -> str:
    with machine_faults("write", Path("/outbox/a.md")):
        share.wait()
    return "published"


def fail() -> None:
    raise MachineError("The disk is full.", "Free some space.")


def refuse() -> None:
    raise DocumentError("This is no PDF.", "Print it to one.")


def stop() -> None:
    raise StopIteration


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_a_step_returns_what_it_returns_and_raises_what_it_raises(listener: Listener) -> None:
    async def story() -> None:
        disk = Threads(listener)
        assert await disk.run(max, 3, 4) == 4
        assert await disk.run(sorted, [1, 2], reverse=True) == [2, 1]
        with pytest.raises(MachineError, match="full") as caught:
            await disk.run(fail)
        assert caught.value.step == "fail"
        with pytest.raises(DocumentError):
            await disk.run(refuse)
        with pytest.raises(RuntimeError, match="StopIteration"):
            await disk.run(stop)
        assert listener.heard == [(("succeeded"), step) for step in ("max", "sorted", "refuse", "stop")]

    play(story)


@pytest.mark.usefixtures("hurried")
def test_a_hang_is_told_with_what_it_is_at_and_so_is_its_end(listener: Listener, share: threading.Event) -> None:
    async def story() -> None:
        step = asyncio.create_task(Threads(listener).run(publish, share))
        await until(lambda: listener.heard)
        assert listener.heard == [("hangs", "publish")]
        assert listener.told == "No answer for 0.1 s to the attempt to write /outbox/a.md."
        share.set()
        assert await step == "published"
        assert listener.heard == [("hangs", "publish"), ("came back", "publish"), ("succeeded", "publish")]

    play(story)


def test_what_computes_or_gives_signs_does_not_hang(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "HANGS", 1.0)  # longer than a busy machine lets a thread wait for its turn

    def compute() -> None:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            pass

    def copy() -> None:
        for _ in range(75):
            getting_on()
            time.sleep(0.02)

    def tidy() -> None:
        for _ in range(75):
            with doing(lambda: "tidy"):
                time.sleep(0.02)

    async def story() -> None:
        disk = Threads(listener)
        for step in (compute, copy, tidy):
            await disk.run(step)
        assert [heard for heard, _ in listener.heard] == ["succeeded"] * 3

    play(story)


def test_a_thread_that_is_free_takes_the_next_step_whosever_it_is(listener: Listener) -> None:
    async def story() -> None:
        one, other = Threads(), Threads(listener)
        used = {await disk.run(threading.get_native_id) for disk in (one, other) * 10}
        assert len(used) <= 3, "one, unless it had to wait for so long that it went"

    play(story)


@pytest.mark.usefixtures("hurried")
def test_hung_steps_hold_up_their_own_threads_and_no_others(share: threading.Event) -> None:
    async def story() -> None:
        mine, other = Threads(most=2), Threads(most=2)
        hung = [asyncio.create_task(mine.run(publish, share)) for _ in range(3)]
        waiting = asyncio.create_task(mine.run(max, 1, 2))
        assert await asyncio.wait_for(other.run(max, 3, 4), 60) == 4
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in (*hung, waiting))
        share.set()
        assert await asyncio.gather(*hung) == ["published"] * 3
        assert await waiting == 2

    play(story)


def test_a_cancelled_step_is_waited_for(share: threading.Event, listener: Listener) -> None:
    async def story() -> None:
        step = asyncio.create_task(Threads(listener).run(publish, share))
        await asyncio.sleep(0.05)
        step.cancel()
        await asyncio.sleep(0.05)
        assert not step.done()
        share.set()
        with pytest.raises(asyncio.CancelledError):
            await step
        assert listener.heard == [("succeeded", "publish")]

    play(story)


def test_abandoned_steps_are_waited_for_no_longer_and_none_begins(share: threading.Event) -> None:
    async def story() -> None:
        disk = Threads()
        step = asyncio.create_task(disk.run(publish, share))
        await asyncio.sleep(0.05)
        disk.abandon()
        with pytest.raises(asyncio.CancelledError):
            await step
        with pytest.raises(asyncio.CancelledError):
            await disk.run(max, 1, 2)

    play(story)


def test_a_process_ends_though_a_step_hangs(run_python: Callable[..., object]) -> None:
    program = """
import asyncio, threading
from ocrd.concurrency.threads import Threads

async def life():
    disk = Threads()
    step = asyncio.ensure_future(disk.run(threading.Event().wait))
    await asyncio.sleep(0.05)
    disk.abandon()
    await asyncio.gather(step, return_exceptions=True)

asyncio.run(life())
"""
    assert run_python("-c", program, timeout=120).returncode == 0  # type: ignore[attr-defined]


def test_where_no_thread_can_be_had_the_step_fails_and_the_next_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def story() -> None:
        disk = Threads(most=1)
        with monkeypatch.context() as limited:
            limited.setattr(threading.Thread, "start", refuse)
            limited.setattr(threads, "_free", [])
            for _ in range(3):
                with pytest.raises(MachineError, match="can't start new thread") as caught:
                    await disk.run(max, 1, 2)
            assert caught.value.step == "max"
        assert await disk.run(max, 1, 2) == 2

    play(story)


def test_a_fork_has_none_of_the_free_threads() -> None:
    async def step() -> None:
        await Threads().run(time.monotonic)

    play(step)
    assert threads._free
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            play(step)
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
