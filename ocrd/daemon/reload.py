"""What a changed configuration asks of a daemon that runs. Pure."""

from dataclasses import dataclass

from ocrd.config.schema import Config, Watch

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
    def told(self) -> dict[str, int]:
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
