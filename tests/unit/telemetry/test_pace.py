"""How fast pages are read, and when the time left is known."""

import pytest

from ocrd.telemetry.pace import LEAST, OVER, Pace

MANY = 10_000
"""Pages that take so long that all that is known counts."""


def likely(pace: Pace, pages: int) -> float:
    left = pace.left(pages)
    assert left is not None
    assert left.least <= left.likely <= left.most
    return left.likely


def reading(pace: Pace, seconds: int, *, start: int = 0, inside: int = 4, every: int = 1) -> int:
    """Let a page end `every` so many seconds, and be told so each second; returns when it is over."""
    for now in range(start, start + seconds):
        pace.work(float(now), inside)
        if now % every == every - 1:
            pace.page(now + 0.9)
    return start + seconds


def test_the_time_left_is_not_known_before_some_pages_were_read() -> None:
    pace = Pace()
    reading(pace, LEAST - 1)
    assert pace.left(100) is None
    reading(pace, 2, start=LEAST - 1)
    assert likely(pace, 100) == pytest.approx(100, rel=0.3)


def test_an_engine_that_holds_many_pages_must_have_given_as_many() -> None:
    pace = Pace()
    end = reading(pace, 20, inside=64)
    assert pace.left(100) is None
    reading(pace, 60, start=end, inside=64)
    assert pace.left(100) is not None


def test_what_passes_before_the_first_page_is_with_the_engine_does_not_count() -> None:
    pace = Pace()
    for now in range(60):
        pace.work(float(now), 0)
    reading(pace, 40, start=60, inside=1)
    assert pace.speed(MANY) == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("together", [True, False])
def test_pages_that_the_engine_is_at_count_half(together: bool) -> None:  # noqa: FBT001 - a case
    """Eight at once, eight seconds each: the first are late, all together or one a second, and it seems no slower."""
    pace = Pace()
    for now in range(21):
        pace.work(float(now), 8)
        if together and now % 8 == 7:
            for _ in range(8):
                pace.page(now + 0.9)
        if not together and now >= 4:  # as if they had been begun one after the other before
            pace.page(now + 0.9)
    assert pace.speed(MANY) == pytest.approx(1.0, rel=0.1)


def test_the_last_pages_take_half_a_page_longer() -> None:
    pace = Pace()
    reading(pace, 40, inside=8)
    assert likely(pace, 100) == pytest.approx(104 / pace.speed(MANY))


def test_rest_is_no_work() -> None:
    pace = Pace()
    end = reading(pace, 40)
    speed = pace.speed(MANY)
    pace.rest(float(end))
    assert pace.speed(MANY) == pytest.approx(speed, rel=0.1)
    reading(pace, 40, start=end + 3600)
    assert pace.speed(MANY) == pytest.approx(1.0, rel=0.1)


def test_only_the_last_minutes_count() -> None:
    pace = Pace()
    end = reading(pace, round(2 * OVER))
    end = reading(pace, round(OVER), start=end, every=4)
    assert pace.speed(MANY) == pytest.approx(0.25, rel=0.1)
    for now in range(end, end + round(OVER) + 2):
        pace.work(float(now), 0)
    assert pace.left(1) is None, "nothing was read for as long as is looked back"


def test_for_what_is_over_soon_the_last_minute_counts_and_for_what_takes_long_the_average() -> None:
    pace = Pace()
    end = reading(pace, 400)
    reading(pace, 80, start=end, every=4)
    assert pace.speed(5) == pytest.approx(1 / 4, rel=0.15)
    assert pace.speed(MANY) == pytest.approx((400 + 80 / 4) / 480, rel=0.05)


def test_of_nothing_no_time_is_told() -> None:
    pace = Pace()
    reading(pace, 20)
    assert pace.left(0) is None


def test_of_a_steady_pace_the_range_is_narrow() -> None:
    pace = Pace()
    reading(pace, 200)
    left = pace.left(100)
    assert left is not None
    assert left.most < 1.5 * left.least


@pytest.mark.parametrize(("before", "since"), [(1, 3), (3, 1)])
def test_after_the_pace_has_changed_much_the_range_holds_the_new_pace_and_the_average(before: int, since: int) -> None:
    pace = Pace()
    end = reading(pace, 120, every=before)
    reading(pace, 120, start=end, every=since)
    left = pace.left(100)
    assert left is not None
    assert left.most > 1.5 * left.least
    average = 240 / (120 / before + 120 / since)
    assert left.least <= 100 * min(since, average) * 1.1
    assert left.most >= 100 * max(since, average) * 0.9


def test_where_nothing_was_read_in_half_of_the_time_the_range_is_wide() -> None:
    pace = Pace()
    end = reading(pace, 60)
    for now in range(end, end + 70):
        pace.work(float(now), 4)
    left = pace.left(100)
    assert left is not None
    assert left.most > 4 * left.likely
