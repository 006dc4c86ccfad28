"""Whose a folder is, by what it is and not by its name: a link or a mount can give one folder two names."""

import os
import threading
from collections import defaultdict
from collections.abc import Hashable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ocrd.concurrency.threads import doing
from ocrd.config.watch import Watch
from ocrd.display import shown
from ocrd.errors import MachineError

Identity = tuple[int, int]
"""Device and inode of a folder."""

_APART = ("inbox", "work")
"""Roles of folders that can't be any other's as well."""


class _Folder(NamedTuple):
    identity: Identity
    path: Path
    watch: str
    """The watch's name."""


class Roles:
    """The folders of all watches. For many threads, each of which looks only at those of its own watch.

    A look costs the same however many watches there are.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: dict[Hashable, dict[str, _Folder]] = {}
        """By watch and role."""
        self._roles: defaultdict[Identity, set[tuple[Hashable, str]]] = defaultdict(set)
        """The watches and roles that a folder has."""
        self._identities: frozenset[Identity] | None = None

    def look_up(self, who: Hashable, watch: Watch) -> None:
        """Find out which folders those of a watch are now; one that is not there is none.

        Raises MachineError if one is a folder in which no other may lie, by another name.
        """
        mine = {}
        for role, path in watch.folders.items():
            with suppress(OSError), doing(partial("look for {}".format, shown(path))):
                mine[role] = _Folder(identity_of(path.stat()), path, watch.name)
        with self._lock:
            if self._folders.get(who) != mine:
                self._replace(who, mine)
            for role, folder in mine.items():
                self._check_apart(who, role, folder)

    def forget(self, who: Hashable) -> None:
        """Forget the folders of a watch."""
        with self._lock:
            self._replace(who, {})

    def _replace(self, who: Hashable, folders: dict[str, _Folder]) -> None:
        for role, folder in self._folders.pop(who, {}).items():
            self._roles[folder.identity].discard((who, role))
            if not self._roles[folder.identity]:
                del self._roles[folder.identity]
        for role, folder in folders.items():
            self._roles[folder.identity].add((who, role))
        if folders:
            self._folders[who] = folders
        self._identities = None

    def _check_apart(self, who: Hashable, role: str, folder: _Folder) -> None:
        for whose, other_role in self._roles[folder.identity] - {(who, role)}:
            if role in _APART or other_role in _APART:
                other = self._folders[whose][other_role]
                raise MachineError(
                    f"The {role} {shown(folder.path)} is the same folder as the {other_role} {shown(other.path)} of "
                    f"watch {other.watch}, by a link or a mount.",
                    "Give each a folder of its own.",
                )

    @property
    def identities(self) -> frozenset[Identity]:
        """All folders that have a role."""
        with self._lock:
            if self._identities is None:
                self._identities = frozenset(self._roles)
            return self._identities


def identity_of(status: os.stat_result) -> Identity:
    """Tell which folder one is, by what stat(2) says of it."""
    return status.st_dev, status.st_ino
