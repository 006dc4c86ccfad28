"""Progress bars on a terminal: one for each document that is being read."""

from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from ocrd.display import estimate, shown
from ocrd.model import PageResult
from ocrd.pipeline import document
from ocrd.telemetry.pace import Pace

_BAR = 20
"""Characters of a bar, as in `ocrd status`."""


class _Name(ProgressColumn):
    """The one column that is cut where the terminal is narrow."""

    def render(self, task: Task) -> Text:
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class _TimeLeft(ProgressColumn):
    """Empty while it is not known."""

    def render(self, task: Task) -> Text:
        pace: Pace = task.fields["pace"]
        pace.work(task.get_time(), 0)
        left = pace.left(round(task.remaining or 0))
        return Text(f"{estimate(*left)} left" if left else "", no_wrap=True)


@dataclass(slots=True)
class _Bar:
    """Of the documents in work that have one name: each watch may have one, or more."""

    task: TaskID
    pace: Pace
    documents: int = 0
    pages: int = 0
    done: int = 0
    problems: int = 0


class ProgressBars(document.Progress):
    """Draws on stderr; without a terminal it draws nothing."""

    def __init__(self) -> None:
        self._progress = Progress(
            _Name(),
            BarColumn(_BAR, table_column=Column(no_wrap=True)),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("pages{task.fields[problems]}"),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            _TimeLeft(table_column=Column(no_wrap=True)),
            console=Console(stderr=True),
        )
        self._bars: dict[str, _Bar] = {}

    def __enter__(self) -> Self:
        if self._progress.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress.console.is_terminal:  # elsewhere it would print an empty line
            self._progress.stop()

    def opened(self, name: str, pages: int, kept: int) -> None:
        bar = self._bars.get(name)
        if bar is None:
            pace = Pace()
            task = self._progress.add_task(shown(name), total=pages, completed=kept, problems="", pace=pace)
            bar = self._bars[name] = _Bar(task, pace)
        bar.documents += 1
        bar.pages += pages
        bar.done += kept
        self._draw(bar)

    def reached(self, name: str, done: int) -> None:
        """Tell how many pages of a document are done by now."""
        if bar := self._bars.get(name):
            for _ in range(done - bar.done):
                bar.pace.page(self._progress.get_time())
            bar.done = done
            self._draw(bar)

    def next_page(self, name: str) -> None:
        """Tell that one more page of a document is done."""
        if bar := self._bars.get(name):
            self.reached(name, bar.done + 1)

    def page(self, name: str, result: PageResult) -> None:
        if bar := self._bars.get(name):
            bar.problems += not result.verdict.sound
            self.next_page(name)

    def ended(self, name: str) -> None:
        if bar := self._bars.get(name):
            bar.documents -= 1
            if not bar.documents:  # its line in the log stays; with thousands of documents the bars must not
                if self._progress.live.is_started:
                    self._progress.refresh()  # its last page is shown, however soon its bar goes
                self._progress.remove_task(self._bars.pop(name).task)

    def _draw(self, bar: _Bar) -> None:
        problems = f", {bar.problems} to look at" if bar.problems else ""
        self._progress.update(bar.task, total=bar.pages, completed=bar.done, problems=problems)
