"""Another configuration, while pages are in flight: what differs, and how a running daemon goes over to it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from ocrd.config.schema import Config
from ocrd.config.watch import Watch
from ocrd.daemon.watch_runner import WatchRunner
from ocrd.telemetry import logs

log = structlog.get_logger("ocrd")

_AT_THE_START = ("engine", "render", "metrics", "max_attempts")
"""Settings that only a restart brings into force: what they shape is in use by pages in flight."""


@dataclass(frozen=True, slots=True)
class Change:
    """How two configurations differ, in what matters to a daemon. A watch is known by its inbox and work folder."""

    added: tuple[Watch, ...]
    """Watches that were not there before."""
    removed: tuple[Watch, ...]
    """Watches that are gone, as they were."""
    altered: tuple[Watch, ...]
    """Watches that have other settings now, perhaps another name."""
    unheeded: tuple[str, ...]
    """Settings that differ but count only after a restart."""

    @property
    def counts(self) -> dict[str, int]:
        """Numbers for the log, as a person sees it: what keeps its name and has other folders has changed."""
        moved = {watch.name for watch in self.added} & {watch.name for watch in self.removed}
        return {
            "added": len(self.added) - len(moved),
            "removed": len(self.removed) - len(moved),
            "changed": len(self.altered) + len(moved),
        }


def compare(old: Config, new: Config) -> Change:
    """Find out what has to be done to go from one configuration to the other."""
    before = {_place(watch): watch for watch in old.watches}
    after = {_place(watch): watch for watch in new.watches}
    unheeded = [name for name in _AT_THE_START if getattr(old, name) != getattr(new, name)]
    if old.log.format != new.log.format:
        unheeded.append("log.format")
    return Change(
        added=tuple(watch for place, watch in after.items() if place not in before),
        removed=tuple(watch for place, watch in before.items() if place not in after),
        altered=tuple(watch for place, watch in after.items() if before.get(place, watch) != watch),
        unheeded=tuple(unheeded),
    )


def in_force(old: Config, new: Config) -> Config:
    """Return what counts from now on: the new configuration, but for what needs a restart."""
    return new.model_copy(update={name: getattr(old, name) for name in _AT_THE_START})


def _place(watch: Watch) -> tuple[Path, Path]:
    return watch.inbox, watch.work_folder


class Reloader:
    """Adds, changes and removes watches. What was claimed goes on to its end. For one event loop."""

    def __init__(
        self,
        config: Config,
        runners: list[WatchRunner],
        make: Callable[[Watch, Config], WatchRunner],
        tell: Callable[[Config], None],
    ) -> None:
        """Take the configuration in force, the daemon's own list of watches, how one is made, and who is to be told."""
        self._config = config
        self.leaving: list[WatchRunner] = []
        """Watches that are no longer in the configuration and still have jobs in work."""
        self._runners = runners
        self._make = make
        self._tell = tell

    def apply(self, fresh: Config, begin: Callable[[WatchRunner, list[WatchRunner]], None]) -> Config:
        """Go over to another configuration, and return what is in force now.

        `begin` lets a watch begin, once the watches given with it are gone.
        """
        change = compare(self._config, fresh)
        known = {_place(runner.watch): runner for runner in self._runners}
        self._config = in_force(self._config, fresh)
        logs.set_level(fresh.log.level)
        self._tell(self._config)
        for watch in change.removed:
            gone = known[_place(watch)]
            gone.leave()
            self._runners.remove(gone)
            self.leaving.append(gone)
        self.leaving = [runner for runner in self.leaving if not runner.gone.is_set()]
        for watch in fresh.watches:
            if runner := known.get(_place(watch)):
                runner.change(watch, self._config)
            else:
                before = [one for one in self.leaving if one.watch.work_folder == watch.work_folder]
                runner = self._make(watch, self._config)
                self._runners.append(runner)
                begin(runner, before)
        log.info("reloaded", **change.counts)
        if change.unheeded:
            log.warning("some settings count only after a restart", settings=", ".join(change.unheeded))
        return self._config
