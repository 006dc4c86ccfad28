"""The last hours, minute by minute."""

from ocrd.model import PageResult, Verdict
from ocrd.telemetry import trend
from ocrd.telemetry.events import PageDone
from ocrd.telemetry.trend import Minute, Trend

PAGE = PageDone("scans", "j1", "a.pdf", PageResult(0, Verdict.OK, "", None))


def test_pages_are_counted_by_the_minute_with_what_was_left_at_its_end() -> None:
    seen = Trend()
    seen.observe(600.0, 9)
    seen.hear(PAGE)
    seen.hear(PAGE)
    seen.observe(659.0, 8)
    assert seen.minutes == ()
    seen.observe(660.5, 7)
    seen.hear(PAGE)
    seen.observe(721.0, 6)
    assert seen.minutes == (Minute(2, 7), Minute(1, 6))


def test_minutes_in_which_nobody_looked_are_there_and_empty() -> None:
    seen = Trend()
    seen.observe(0.0, 0)
    seen.hear(PAGE)
    seen.observe(185.0, 4)
    assert seen.minutes == (Minute(1, 4), Minute(0, 4), Minute(0, 4))


def test_only_so_many_are_kept() -> None:
    seen = Trend()
    for minute in range(trend.MINUTES + 10):
        seen.observe(60.0 * minute, minute)
    seen.observe(1e9, 1)
    assert len(seen.minutes) == trend.MINUTES
