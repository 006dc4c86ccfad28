"""Another configuration, while pages are in flight: what differs, and how a running daemon goes over to it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from ocrd.config.schema import Config, Watch
from ocrd.daemon.watch_runner import WatchRunner
from ocrd.telemetry import logs
from ocrd.telemetry.events import Events, WatchRemoved

log = structlog.get_logger("ocrd")

_AT_THE_START = ("engine", "render", "metrics", "max_attempts")
"""Settings that only a restart brings into force: what they shape is in use by pages in flight."""


@dataclass(frozen=True, slots=True)
class Change:
    """How two configurations differ, in what matters to a daemon."""

    added: tuple[Watch, ...]
    """Watches of a new name."""
    removed: tuple[str, ...]
    """Names of watches that are gone."""
    altered: tuple[Watch, ...]
    """Watches that keep their inbox and work folder, but have other settings."""
    moved: tuple[Watch, ...]
    """Watches that keep their name only: the old one ends, and the new one begins."""
    unheeded: tuple[str, ...]
    """Settings that differ but count only after a restart."""

    @property
    def counts(self) -> dict[str, int]:
        """Numbers for the log."""
        return {
            "added": len(self.added),
            "removed": len(self.removed),
            "changed": len(self.altered) + len(self.moved),
        }


def compare(old: Config, new: Config) -> Change:
    """Find out what has to be done to go from one configuration to the other."""
    before = {watch.name: watch for watch in old.watches}
    after = {watch.name: watch for watch in new.watches}
    changed = [watch for name, watch in after.items() if name in before and watch != before[name]]
    stays = [watch for watch in changed if _place(watch) == _place(before[watch.name])]
    unheeded = [name for name in _AT_THE_START if getattr(old, name) != getattr(new, name)]
    if old.log.format != new.log.format:
        unheeded.append("log.format")
    return Change(
        added=tuple(watch for name, watch in after.items() if name not in before),
        removed=tuple(name for name in before if name not in after),
        altered=tuple(stays),
        moved=tuple(watch for watch in changed if watch not in stays),
        unheeded=tuple(unheeded),
    )


def in_force(old: Config, new: Config) -> Config:
    """Return what counts from now on: the new configuration, but for what needs a restart."""
    return new.model_copy(update={name: getattr(old, name) for name in _AT_THE_START})


def _place(watch: Watch) -> tuple[object, object]:
    return watch.inbox, watch.work_folder


class Reloader:
    """Adds, changes and removes watches. What was claimed goes on to its end. For one event loop."""

    def __init__(
        self, config: Config, runners: list[WatchRunner], events: Events, tell: tuple[Callable[[Config], None], ...]
    ) -> None:
        """Take the configuration in force, the daemon's own list of watches, and who is told of a new configuration."""
        self.config = config
        self.leaving: list[WatchRunner] = []
        """Watches that are no longer in the configuration and still have jobs in work."""
        self._runners = runners
        self._events = events
        self._tell = tell

    def apply(self, fresh: Config, begin: Callable[[WatchRunner, list[WatchRunner]], None]) -> None:
        """Go over to another configuration. `begin` starts a watch, once the watches given with it are gone."""
        change = compare(self.config, fresh)
        known = {runner.watch.name: runner for runner in self._runners}
        self.config = in_force(self.config, fresh)
        logs.set_level(fresh.log.level)
        for runner in self._runners:
            runner.inbox.settle(fresh.settle)
        for watch in change.altered:
            known[watch.name].watch = watch  # jobs in work end by the old one, the next by this
            known[watch.name].inbox.choose(watch.include, watch.exclude, watch.join)
        for name in (*change.removed, *(watch.name for watch in change.moved)):
            self._end(known[name])
        for watch in (*change.added, *change.moved):
            before = [other for other in self.leaving if other.watch.work_folder == watch.work_folder]
            runner = WatchRunner(watch, fresh.settle, self._events)
            self._runners.append(runner)
            begin(runner, before)
        for tell in self._tell:
            tell(self.config)
        log.info("reloaded", **change.counts)
        if change.unheeded:
            log.warning("some settings count only after a restart", settings=", ".join(change.unheeded))

    def _end(self, runner: WatchRunner) -> None:
        """Stop looking after a watch; what was claimed from it is still brought to its end."""
        self._runners.remove(runner)
        self.leaving = [other for other in (*self.leaving, runner) if not other.gone.is_set()]
        runner.leaving = True
        for task in (runner.look_out, runner.upkeep):
            if task:
                task.cancel()
        runner.inbox.close()
        self._events.tell(WatchRemoved(runner.watch.name))
        runner.release()


async def gone(runners: list[WatchRunner]) -> None:
    """Wait until all of these watches have given their work folders free."""
    await asyncio.gather(*(runner.gone.wait() for runner in runners))
