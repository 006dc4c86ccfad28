"""The state of a watch: what moves it, and who may begin what meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ocrd.daemon.pause import Pause, State
from ocrd.errors import MachineError

FULL = MachineError("The disk is full.", "Free some space.")
GONE = MachineError("The share is gone.", "Mount it.")
SLOW = MachineError("No answer.", "Does it answer?")


@pytest.fixture
def told() -> list[MachineError | None]:
    return []


@pytest.fixture
def pause(told: list[MachineError | None]) -> Pause:
    return Pause(told.append)


def play(story: Callable[[], Awaitable[None]]) -> None:
    async def life() -> None:
        await story()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    asyncio.run(life())


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


EVENTS = {
    "failed": lambda pause: pause.failed("deliver", FULL),
    "hangs": lambda pause: pause.hangs("deliver", SLOW),
    "came_back": lambda pause: pause.came_back("deliver"),
    "succeeded": lambda pause: pause.succeeded("deliver"),
    "another succeeded": lambda pause: pause.succeeded("archive"),
    "another failed": lambda pause: pause.failed("archive", GONE),
}


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], State.WORKING),
        (["failed"], State.PAUSED),
        (["failed", "failed"], State.PAUSED),
        (["failed", "another succeeded"], State.PAUSED),
        (["failed", "succeeded"], State.WORKING),
        (["failed", "another failed", "succeeded"], State.PAUSED),
        (["failed", "another failed", "succeeded", "another succeeded"], State.WORKING),
        (["hangs"], State.HANGING),
        (["hangs", "hangs", "came_back"], State.HANGING),
        (["hangs", "came_back"], State.PAUSED),
        (["hangs", "came_back", "succeeded"], State.WORKING),
        (["hangs", "came_back", "failed"], State.PAUSED),
        (["hangs", "succeeded"], State.WORKING),  # another got through that step
        (["hangs", "succeeded", "came_back", "failed"], State.PAUSED),
        (["failed", "hangs"], State.HANGING),
        (["succeeded"], State.WORKING),
    ],
)
def test_each_event_moves_the_state_as_the_table_says(pause: Pause, events: list[str], state: State) -> None:
    for event in events:
        EVENTS[event](pause)
    assert pause.state is state
    assert (pause.reason is None) == (state is State.WORKING)


def test_each_way_to_mend_it_is_told_once_until_all_is_well(pause: Pause, told: list[MachineError | None]) -> None:
    for step in ("deliver", "deliver", "archive"):
        pause.failed(step, FULL)
    assert told == [FULL]
    pause.failed("claim", GONE)
    assert pause.reason is FULL
    for step in ("deliver", "archive"):
        pause.succeeded(step)
    pause.failed("deliver", GONE)
    assert told == [FULL, GONE]
    for step in ("deliver", "claim"):
        pause.succeeded(step)
    assert told == [FULL, GONE, None]
    pause.failed("deliver", FULL)
    assert told == [FULL, GONE, None, FULL]


def test_nothing_new_begins_before_all_is_well(pause: Pause) -> None:
    async def story() -> None:
        await asyncio.wait_for(pause.working(), 120)
        pause.failed("deliver", FULL)
        pause.failed("archive", GONE)
        waiting = asyncio.create_task(pause.working())
        pause.succeeded("deliver")
        pause._let_some_try()
        await turns()
        assert not waiting.done()
        pause.succeeded("archive")
        await asyncio.wait_for(waiting, 120)

    play(story)


def test_of_those_that_failed_one_for_each_step_tries_and_they_take_turns(pause: Pause) -> None:
    async def story() -> None:
        for step in ("deliver", "archive"):
            pause.failed(step, FULL)
        waiting = {
            name: asyncio.create_task(pause.turn(step))
            for name, step in {"a": "deliver", "b": "deliver", "c": "archive"}.items()
        }
        await turns()
        pause._let_some_try()
        await turns()
        assert [name for name, task in waiting.items() if task.done()] == ["a", "c"]
        assert not waiting["a"].result(), "all is not well"
        waiting["a"] = asyncio.create_task(pause.turn("deliver"))  # it failed again
        await turns()
        pause._let_some_try()
        await turns()
        assert waiting["b"].done()
        assert not waiting["a"].done()

    play(story)


def test_with_the_last_cure_all_go_on(pause: Pause) -> None:
    async def story() -> None:
        pause.failed("deliver", FULL)
        waiting = [asyncio.create_task(pause.turn("deliver")) for _ in range(3)]
        await turns()
        pause.succeeded("deliver")
        assert await asyncio.wait_for(asyncio.gather(*waiting), 120) == [True] * 3
        assert await pause.turn("deliver")

    play(story)


def test_it_is_tried_again_as_long_as_somebody_waits(pause: Pause, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocrd.daemon.pause.RETRY_SECONDS", 0.0)

    async def story() -> None:
        for _ in range(5):
            pause.failed("deliver", FULL)
            assert not await asyncio.wait_for(pause.turn("deliver"), 120)

    play(story)


def test_who_is_cancelled_while_waiting_takes_nobodys_turn(pause: Pause) -> None:
    async def story() -> None:
        pause.failed("deliver", FULL)
        first, second = (asyncio.create_task(pause.turn("deliver")) for _ in range(2))
        await turns()
        first.cancel()
        await turns()
        pause._let_some_try()
        await turns()
        assert second.done()

    play(story)
