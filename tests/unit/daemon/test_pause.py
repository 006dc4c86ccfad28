"""While the machine is at fault, one step tries and the others wait."""

import asyncio

import pytest

from ocrd.daemon.pause import CLAIM, Pause
from ocrd.errors import MachineError

FULL = MachineError("The disk is full.", "Free some space.")
GONE = MachineError("The share is gone.", "Mount it.")


def test_each_reason_is_told_once_until_all_is_well() -> None:
    pause = Pause()
    assert [pause.met(step, FULL) for step in "aab"] == [True, False, False]
    assert pause.met("c", GONE)
    assert pause.reason is FULL
    assert [pause.over(step) for step in "abx"] == [False, False, False]
    assert pause.reason is GONE
    assert not pause.met("d", FULL)
    assert not pause.over("d")
    assert pause.over("c")
    assert pause.reason is None
    assert pause.met("a", FULL)


def test_the_claim_is_not_held_up_by_itself() -> None:
    pause = Pause()
    pause.met(CLAIM, FULL)
    assert pause.reason is FULL
    assert not pause.holds_intake
    pause.met("job", FULL)
    assert pause.holds_intake


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_one_of_those_that_wait_for_the_same_cure_tries_and_its_success_lets_all_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        pause = Pause()
        for step in ("a", "b"):
            pause.met(step, FULL)
        pause.met("c", GONE)
        monkeypatch.setattr("ocrd.daemon.pause.RETRY_SECONDS", 3600)
        waiting = {step: asyncio.create_task(pause.worth_a_try(step)) for step in "abc"}
        await turns()
        assert not any(task.done() for task in waiting.values())
        pause.over("a")
        await turns()
        assert all(task.done() for task in waiting.values())

        monkeypatch.setattr("ocrd.daemon.pause.RETRY_SECONDS", 0)
        await pause.worth_a_try("b")
        await pause.worth_a_try("c")
        pause.met("d", FULL)
        second = asyncio.create_task(pause.worth_a_try("d"))
        await turns()
        assert not second.done(), "b is first"
        pause.try_now()
        await turns()
        assert second.done()

    asyncio.run(story())


def test_no_step_waits_for_the_claim_which_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        pause = Pause()
        pause.met(CLAIM, FULL)
        pause.met("job", FULL)
        assert pause.holds_intake
        monkeypatch.setattr("ocrd.daemon.pause.RETRY_SECONDS", 0)
        await asyncio.wait_for(pause.worth_a_try("job"), 10)

    asyncio.run(story())
