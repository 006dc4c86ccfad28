"""Progress bars, as a terminal shows them."""

import io

import pytest
from rich.console import Console

from ocrd.commands import progress_bars
from ocrd.model import PageResult, Verdict


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(progress_bars, "Console", lambda **_: console)
    return console


def told(terminal: Console) -> str:
    assert isinstance(terminal.file, io.StringIO)
    return terminal.file.getvalue()


def page(verdict: Verdict = Verdict.OK) -> PageResult:
    return PageResult(0, verdict, "", None)


def test_a_long_name_is_cut_and_what_it_is_about_is_not(terminal: Console) -> None:
    with progress_bars.ProgressBars() as shown:
        shown.opened("a name " * 20, 12, kept=2)
        shown.page("a name " * 20, page())
        shown.page("a name " * 20, page(Verdict.SUSPECT))
    assert "… ━" in told(terminal)
    assert " 4/12 pages, 1 to look at " in told(terminal)


def test_documents_of_one_name_share_a_bar(terminal: Console) -> None:
    with progress_bars.ProgressBars() as shown:
        shown.opened("scan.pdf", 2, kept=0)
        shown.opened("scan.pdf", 3, kept=0)
        shown.ended("scan.pdf")
        shown.page("scan.pdf", page())
    assert " 1/5 pages " in told(terminal)


def test_the_last_page_is_shown_before_the_bar_goes(terminal: Console) -> None:
    with progress_bars.ProgressBars() as shown:
        shown.opened("scan.pdf", 3, kept=2)
        shown.page("scan.pdf", page())
        shown.ended("scan.pdf")
    assert " 3/3 pages " in told(terminal)


def test_a_page_of_which_no_bar_is_left_stops_nothing(terminal: Console) -> None:
    with progress_bars.ProgressBars() as shown:
        shown.opened("scan.pdf", 2, kept=0)
        shown.ended("scan.pdf")  # of another one, that was refused before it was opened
        shown.page("scan.pdf", page())
        shown.ended("scan.pdf")
    assert "Traceback" not in told(terminal)


@pytest.mark.parametrize(("pages", "left"), [(4, ""), (10, "7 s to 10 s left")])
def test_the_time_left_is_told_once_it_is_known(
    terminal: Console, monkeypatch: pytest.MonkeyPatch, pages: int, left: str
) -> None:
    now = [100.0]
    monkeypatch.setattr(terminal, "get_time", lambda: now[0])
    with progress_bars.ProgressBars() as shown:
        shown.opened("scan.pdf", 20, kept=1)
        for _ in range(pages):
            shown.page("scan.pdf", page())
            now[0] += 1
        now[0] -= 1
    last = told(terminal).splitlines()[-2]
    assert f" {pages + 1}/20 pages " in last
    assert ("left" in last) == bool(left)
    assert left in last
