"""Whose a folder is, by what it is and not by its name: a link or a mount can give one folder two names."""

import os
import threading
from collections.abc import Hashable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from ocrd.concurrency.threads import doing
from ocrd.config.schema import Watch
from ocrd.display import shown
from ocrd.errors import MachineError

Identity = tuple[int, int]
"""Device and inode of a folder."""

_APART = ("inbox", "work")
"""Roles of folders that can't be any other's as well."""


class Roles:
    """The folders of all watches. For many threads, each of which looks only at those of its own watch."""

    def __init__(self) -> None:
        self._known: Mapping[tuple[Hashable, str], tuple[Identity, Path, str]] = {}
        self._lock = threading.Lock()

    def look_up(self, who: Hashable, watch: Watch) -> None:
        """Find out which folders those of a watch are now; one that is not there is none.

        Raises MachineError if one is a folder in which no other may lie, by another name.
        """
        mine = {}
        for role, path in watch.folders.items():
            with suppress(OSError), doing(partial("look for {}".format, shown(path))):
                mine[who, role] = (identity_of(path.stat()), path, watch.name)
        with self._lock:
            self._known = everyone = self._without(who) | mine
        for (_, role), (identity, path, _) in mine.items():
            for (whose, other_role), (other_identity, other_path, name) in everyone.items():
                same = identity == other_identity and (whose, other_role) != (who, role)
                if same and (role in _APART or other_role in _APART):
                    raise MachineError(
                        f"The {role} {shown(path)} is the same folder as the {other_role} {shown(other_path)} of watch "
                        f"{name}, by a link or a mount.",
                        "Give each a folder of its own.",
                    )

    def forget(self, who: Hashable) -> None:
        """Forget the folders of a watch."""
        with self._lock:
            self._known = self._without(who)

    def _without(self, who: Hashable) -> dict[tuple[Hashable, str], tuple[Identity, Path, str]]:
        return {key: known for key, known in self._known.items() if key[0] != who}

    @property
    def identities(self) -> frozenset[Identity]:
        """All folders that have a role."""
        return frozenset(identity for identity, _, _ in self._known.values())


def identity_of(status: os.stat_result) -> Identity:
    """Tell which folder one is, by what stat(2) says of it."""
    return status.st_dev, status.st_ino
