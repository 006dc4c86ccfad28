"""Which server reads which page, how many it gets, and when a page is at fault itself: all without a server."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrd.engines.openai import limiter
from ocrd.engines.openai.endpoint import LONGEST_ASKED_FOR, LONGEST_WAIT, Endpoint, State
from ocrd.engines.openai.faults import Lost, Refusal, ServerFault
from ocrd.engines.openai.limiter import FIRST, MOST, Limiter
from ocrd.engines.openai.pool import Pool
from ocrd.engines.openai.visit import FEW, Visit
from ocrd.errors import EngineError, PageError

LONGEST = 100.0
"""Seconds that an answer may take."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def endpoint(name: str = "a", limit: int = 2, *, up: bool = True) -> Endpoint:
    made = Endpoint(name, Limiter(LONGEST, limit), chance=lambda: 1.0)
    if up:
        made.proved(0.0)
    return made


def visit(index: int = 0, priority: int = 0) -> Visit:
    return Visit(index, priority, index, asyncio.get_running_loop().create_future())


async def settle() -> None:
    """Let everything go on that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


# -- the limit --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fixed", [None, 8])
def test_as_many_pages_as_had_no_room_together_are_not_tried_again_soon(fixed: int | None) -> None:
    its = Limiter(LONGEST, fixed)
    for began in (0, 0, 0):  # of one overflow only the first counts
        its.crowded(began, 1, 5)
    assert its.limit == 4
    its.crowded(1, 2, 4)
    assert its.limit <= 3
    for _ in range(limiter.FORGETS - 1):
        its.answered(2, 2, its.limit)
    assert its.limit == 3
    its.answered(2, 2, its.limit)
    assert its.limit == 4, "pages differ in how much room they take"
    its.crowded(3, 4, 1)
    assert its.limit == (4 if fixed else 2), "the others have left in the meantime"
    its.crowded(4, 5, 2)
    assert its.limit == 1


def test_a_number_that_is_far_too_large_is_soon_down() -> None:
    its = Limiter(LONGEST, 32)
    crowds = 0
    while its.limit > 4:
        its.crowded(crowds, crowds + 1, its.limit)
        crowds += 1
    assert crowds == 6


def test_a_limit_doubles_each_round_until_the_first_sign_of_overload_and_then_gains_one() -> None:
    its = Limiter(LONGEST)
    for now in range(2):
        for _ in range(its.limit):
            its.answered(now, now + 1, its.limit)
    assert its.limit == 4 * FIRST
    its.overloaded(5, 6)
    assert its.limit == 2 * FIRST
    for _ in range(its.limit + 1):
        its.answered(7, 8, its.limit)
    assert its.limit == 2 * FIRST + 1


def test_of_one_overload_only_the_first_sign_counts() -> None:
    its = Limiter(LONGEST)
    for began in (0, 1, 2, 5):
        its.overloaded(began, 6)
    assert its.limit == FIRST // 2
    its.overloaded(6, 7)
    assert its.limit == FIRST // 4


def test_a_limit_grows_only_while_it_is_reached_and_answers_come_soon() -> None:
    its = Limiter(LONGEST)
    for _ in range(100):
        its.answered(0, 1, FIRST - 1)
        its.answered(0, limiter.SLOW * LONGEST, FIRST)
    assert its.limit == FIRST
    its.answered(0, limiter.TOO_SLOW * LONGEST, FIRST)
    assert its.limit == FIRST // 2


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2 * LONGEST)), max_size=300))
def test_a_limit_is_always_one_at_least_and_never_too_many(answers: list[tuple[bool, float]]) -> None:
    its, held = Limiter(LONGEST), Limiter(LONGEST, 3)
    now = 0.0
    for good, seconds in answers:
        began, now = now, now + seconds
        for one in (its, held):
            if good:
                one.answered(began, now, one.limit)
            else:
                one.overloaded(began, now)
        assert 1 <= its.limit <= MOST
        assert held.limit == 3


# -- one server -------------------------------------------------------------------------------------------------------


def test_a_server_that_fails_is_left_alone_for_longer_each_time_and_comes_back_with_what_it_reads() -> None:
    its = endpoint()
    now, waits = 0.0, []
    for _ in range(9):
        its.failed("gone", now, now)
        waits.append(its.rests_until - now)
        assert not its.has_room(now)
        now = its.rests_until
    assert waits == [1, 2, 4, 8, 16, 32, 60, LONGEST_WAIT, LONGEST_WAIT]
    its.read(now, now + 1)
    assert (its.state, its.why) == (State.UP, "")
    its.failed("gone", now + 1, now + 2)
    assert its.rests_until - (now + 2) == 1


def test_the_pages_that_one_failure_cost_count_as_one() -> None:
    its = endpoint(limit=200)
    for _ in range(200):
        its.failed("gone", 0.0, 1.0)
    assert its.rests_until == 2.0


def test_waits_are_jittered() -> None:
    waits = set()
    for chance in (0.0, 0.5, 1.0):
        its = Endpoint("a", Limiter(LONGEST), chance=lambda chance=chance: chance)
        its.failed("gone", 0.0, 0.0)
        waits.add(its.rests_until)
    assert waits == {0.5, 0.75, 1.0}


def test_an_overloaded_server_gets_nothing_for_as_long_as_it_asks_and_is_not_out() -> None:
    its = endpoint()
    its.overloaded(30.0, 0.0, 1.0)
    assert its.state is State.UP
    assert (its.has_room(30.9), its.has_room(31.0)) == (False, True)
    its.overloaded(1e9, 31.0, 32.0)
    assert its.rests_until == 32.0 + LONGEST_ASKED_FOR
    assert "left alone for 3600 s" in its.away(32.0)


def test_an_overloaded_server_is_left_alone_for_longer_each_time_also_if_it_asks_for_less() -> None:
    its = endpoint()
    now, rests = 0.0, []
    for wait in (None, 0.0, None, 0.0):
        for _ in range(5):  # pages of one overload
            its.overloaded(wait, now, now)
        rests.append(its.rests_until - now)
        now = its.rests_until
    assert rests == [1, 2, 4, 8]
    its.read(now, now)
    its.overloaded(0.0, now, now)
    assert its.rests_until == now + 1


def test_a_server_that_refuses_page_after_page_is_in_doubt() -> None:
    its = endpoint()
    its.refused(1.0)
    assert its.state is State.UP
    its.refused(2.0)
    assert (its.state, its.rests_until) == (State.OUT, 2.0)
    its.proved(3.0)
    its.refused(4.0)
    assert its.state is State.UP


# -- who gets what ----------------------------------------------------------------------------------------------------


def test_pages_go_to_the_least_loaded_server_and_the_urgent_ones_first() -> None:
    async def work() -> None:
        a, b = endpoint("a", 4), endpoint("b", 2)
        pool = Pool((a, b), Clock())
        places = [await pool.enter(visit(number)) for number in range(6)]
        assert [one.name for one in places] == ["a", "b", "a", "a", "b", "a"]
        late = [visit(10, priority=5), visit(11, priority=1)]
        tasks = [asyncio.create_task(pool.enter(one)) for one in late]
        await settle()
        pool.leave(next(iter(pool.inside(b))), b)
        await settle()
        assert [task.done() for task in tasks] == [False, True]
        tasks[0].cancel()
        await settle()
        assert a.inside + b.inside == 6

    run(work())


def test_a_page_that_failed_goes_elsewhere_and_before_the_others() -> None:
    async def work() -> None:
        a, b = endpoint("a", 1), endpoint("b", 1)
        pool = Pool((a, b), Clock())
        one, two = visit(0), visit(1)
        assert await pool.enter(one) is a
        assert await pool.enter(two) is b
        waiting = asyncio.create_task(pool.enter(visit(2)))
        await settle()
        one.failed(a, ServerFault("failed"))
        pool.leave(one, a)
        await settle()
        assert waiting.result() is a, "nobody else wants it"
        again = asyncio.create_task(pool.enter(one))
        third = asyncio.create_task(pool.enter(visit(3)))
        await settle()
        pool.leave(two, b)
        await settle()
        assert again.result() is b
        assert not third.done()
        third.cancel()

    run(work())


def test_a_page_goes_to_another_server_also_if_that_has_more_to_do_but_waits_for_none_that_rests() -> None:
    async def work() -> None:
        clock = Clock()
        a, b = endpoint("a", 9), endpoint("b", 9)
        pool = Pool((a, b), clock)
        others = [visit(number) for number in range(8)]
        for one in others:
            if await pool.enter(one) is a:
                pool.leave(one, a)
        page = visit(9)
        assert await pool.enter(page) is a
        page.refused(a, Refusal("too long"))
        a.refused(clock.now)
        pool.leave(page, a)
        assert await pool.enter(page) is b
        pool.leave(page, b)
        b.overloaded(60.0, clock.now, clock.now)
        assert await pool.enter(page) is a

    run(work())


def test_a_page_goes_back_to_the_only_server_that_is_up() -> None:
    async def work() -> None:
        a, b = endpoint("a"), endpoint("b", up=False)
        pool = Pool((a, b), Clock())
        one = visit()
        await pool.enter(one)
        one.failed(a, ServerFault("failed"))
        pool.leave(one, a)
        assert await pool.enter(one) is a

    run(work())


def test_pages_wait_while_no_server_is_up_and_for_one_that_rests() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        a = endpoint("a", up=False)
        pool = Pool((a,), loop.time)
        waiting = asyncio.create_task(pool.enter(visit()))
        await settle()
        assert not waiting.done()
        a.proved(loop.time())
        a.overloaded(1.0, loop.time(), loop.time())
        pool.changed()
        await settle()
        assert not waiting.done()
        assert await asyncio.wait_for(waiting, 120) is a

    run(work())


def test_a_page_that_failed_twice_is_read_beside_few_and_then_alone() -> None:
    async def work() -> None:
        a = endpoint("a", 20)
        pool = Pool((a,), Clock())
        others = [visit(number) for number in range(20)]
        for one in others:
            await pool.enter(one)
        suspect = visit(99)
        for failures, room in ((2, FEW), (3, 1)):
            suspect.failures = failures
            suspect.tried.add(a)
            entering = asyncio.create_task(pool.enter(suspect))
            late = visit(100 + failures)
            plain = asyncio.create_task(pool.enter(late))
            await settle()
            while not entering.done():
                assert not plain.done(), "the place is held free"
                pool.leave(others.pop(), a)
                await settle()
            assert a.inside == room
            assert not plain.done()
            pool.leave(suspect, a)
            await settle()
            assert plain.done()
            assert suspect.company == (room > 1)
            others.append(late)

    run(work())


def test_a_page_that_is_given_up_leaves_nothing_behind() -> None:
    async def work() -> None:
        a = endpoint("a", 1)
        pool = Pool((a,), Clock())
        first = visit(0)
        await pool.enter(first)
        tasks = [asyncio.create_task(pool.enter(visit(number))) for number in (1, 2, 3)]
        await settle()
        tasks[0].cancel()
        pool.leave(first, a)  # the second is called and cancelled in the same moment
        tasks[1].cancel()
        await settle()
        assert [task.done() for task in tasks] == [True, True, True]
        assert tasks[2].result() is a
        assert a.inside == 1

    run(work())


def test_a_closed_pool_gives_up_all_that_wait() -> None:
    async def work() -> None:
        pool = Pool((endpoint(up=False),), Clock())
        waiting = asyncio.create_task(pool.enter(visit()))
        await settle()
        pool.close()
        with pytest.raises(EngineError):
            await waiting
        with pytest.raises(EngineError):
            await pool.enter(visit())

    run(work())


# -- whose fault it is ------------------------------------------------------------------------------------------------


def failing(page: Visit, at: Endpoint, fault: ServerFault | None = None, *, company: bool = False) -> None:
    """Let a page fail at a server."""
    page.company, page.answers = company, at.answers
    page.failed(at, fault or Lost("gone"))
    at.failed("gone", 0.0, 0.0)


def test_a_page_that_two_servers_refuse_is_at_fault_once_both_have_read_something() -> None:
    async def work() -> None:
        a, b = endpoint("a"), endpoint("b")
        page = visit(4)
        page.refused(a, Refusal("too long (400)"))
        a.refused(0.0)
        assert page.fault(2) is None
        b.refused(0.0)  # it has not read since it refused another one
        page.refused(b, Refusal("too long (400)"))
        b.refused(0.0)
        assert page.fault(2) is None
        b.proved(1.0)
        error = page.fault(2)
        assert isinstance(error, PageError)
        assert "page 5: too long (400)" in error.what

    run(work())


def test_one_server_must_refuse_a_page_twice_where_it_is_the_only_one() -> None:
    async def work() -> None:
        a = endpoint("a")
        page = visit()
        for _ in range(2):
            page.refused(a, Refusal("too long"))
            a.refused(0.0)
            assert page.fault(1) is None, "it has not read since it refused the first time"
        a.proved(1.0)
        assert page.fault(1) is not None
        assert page.fault(2) is None, "another is up, and was not asked"

    run(work())


def test_servers_that_are_restarted_one_after_the_other_charge_no_page() -> None:
    async def work() -> None:
        servers = [endpoint(name) for name in "abcdef"]
        page = visit()
        for one in servers:
            failing(page, one)
            one.proved(1.0)
            assert page.fault(len(servers)) is None

    run(work())


def test_a_page_that_ends_two_servers_and_one_of_them_again_is_at_fault_once_they_read() -> None:
    async def work() -> None:
        a, b = endpoint("a"), endpoint("b")
        page = visit()
        failing(page, a)
        a.proved(1.0)
        failing(page, b)
        b.proved(1.0)
        failing(page, a)
        assert page.fault(1) is None
        a.proved(2.0)
        error = page.fault(2)
        assert isinstance(error, PageError)
        assert "each of the 3 times" in error.what

    run(work())


def test_who_was_with_others_when_the_server_went_is_not_charged() -> None:
    async def work() -> None:
        a, b = endpoint("a"), endpoint("b")
        page = visit()
        for at in (a, b) * 20:
            failing(page, at, company=True)
            at.proved(1.0)
            assert page.fault(2) is None

    run(work())


def test_who_fails_while_the_server_reads_others_is() -> None:
    async def work() -> None:
        a, b = endpoint("a"), endpoint("b")
        page = visit()
        for at in (a, b, a):
            assert page.fault(2) is None
            page.company, page.answers = True, at.answers
            at.proved(1.0)
            page.failed(at, ServerFault("it failed (500)"))
            at.proved(2.0)
        assert page.fault(2) is not None

    run(work())
