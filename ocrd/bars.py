"""Progress bars on a terminal: one for each document that is being read."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ocrd import pipeline
from ocrd.fsio import shown
from ocrd.model import PageResult


class Bars(pipeline.Progress):
    """Draws on stderr; without a terminal it draws nothing."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("pages"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}
        self._problems: dict[str, int] = {}

    def __enter__(self) -> Self:
        if self._progress.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress.console.is_terminal:  # elsewhere it would print an empty line
            self._progress.stop()

    def opened(self, name: str, pages: int, kept: int) -> None:
        self._tasks[name] = self._progress.add_task(shown(name), total=pages, completed=kept)

    def page(self, name: str, result: PageResult) -> None:
        if not result.verdict.sound:
            self._problems[name] = self._problems.get(name, 0) + 1
            self._progress.update(self._tasks[name], description=f"{shown(name)} ({self._problems[name]} to look at)")
        self._progress.advance(self._tasks[name])

    def ended(self, name: str) -> None:
        if name in self._tasks:  # its line in the log stays; with thousands of documents the bars must not
            self._progress.remove_task(self._tasks.pop(name))
