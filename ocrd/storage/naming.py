"""Free names in folders that others use, recorded before they are taken."""

import grp
import os
import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath

from ocrd.concurrency.threads import doing
from ocrd.config.watch import Watch
from ocrd.display import shown
from ocrd.errors import DocumentError, MachineError
from ocrd.model import DEFAULT_ACCESS, Access
from ocrd.storage.durable import make_and_delete, make_shared, sharing
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.safe_paths import beneath, could_lie_at, lies_at

NAME_MAX = 255
"""Bytes in a file name (linux/limits.h)."""
SHORT = 143
"""Bytes that fit into a name on every file system that matters here: where names are encrypted, there is less room.

eCryptfs takes no more, with which Synology encrypts shares; EncFS and some modes of gocryptfs take 175.
"""
PATH_MAX = 4095
"""Bytes in a path (linux/limits.h counts the zero at its end, too)."""
_ENDING = 64
"""Bytes that a result's name may be longer than its source's: numbers, endings, the names of figures."""
_MARK = 16
"""Bytes that a number may add to a name."""
_FOREIGN = re.compile(r'[\x01-\x1f\\:*?"<>|]')
"""What Windows allows in no name, and with it FAT, exFAT and many shares."""


def require_room(path: PurePath, watch: Watch) -> None:
    """See that a source's path below the inbox leaves room for the paths of its results. Raises DocumentError."""
    longest = max(len(os.fsencode(folder)) for folder in (watch.outbox, watch.archive, watch.error))
    most = PATH_MAX - _ENDING - 1 - longest
    if (length := len(os.fsencode(path))) > most:
        raise DocumentError(
            f"With its folders its name has {length:,} bytes, and only {most:,} fit into the paths of its results.",
            "Shorten the names of the folders that it lies in, or drop it farther up.",
        )


def access_of(watch: Watch) -> Access:
    """Say who may use what is made in a watch's folders. Raises MachineError if its group can't be looked up now."""
    if watch.group is None:
        return Access(watch.mode)
    with doing(lambda: f"look up the group {watch.group}"):
        try:
            return Access(watch.mode, grp.getgrnam(watch.group).gr_gid)
        except (KeyError, OSError) as error:
            raise MachineError(
                f"The group {shown(watch.group)} of watch {watch.name} is not known here.",
                f"Does the user database answer (getent group {shown(watch.group)}), or is the name misspelt?",
            ) from error


def place(  # noqa: PLR0913 - the protocol of a recorded name, in one place instead of three
    folder: Path,
    wanted: str,
    put: Callable[[Path], None],
    *,
    is_ours: Callable[[Path], bool],
    recorded: str | None,
    record: Callable[[str], None],
    beside: Iterable[str] = (),
    apart: Iterable[str] = (),
    ending: str | None = None,
    whole: bool = False,
    access: Access = DEFAULT_ACCESS,
) -> Path:
    """Put something into a shared folder under a free name that is recorded before it is used.

    `wanted` and the recorded name are relative to `folder`. If the recorded name is taken, either we put it there
    before a crash (`is_ours`), or a stranger did meanwhile, and another name is recorded first. No link is followed
    below `folder`, and what is made there gets the `access`. What its file system refuses is replaced or shortened.
    Returns where it lies. Raises MachineError.
    """
    name = recorded
    while True:
        try:
            if name is None:
                name = free_name(folder, wanted, beside, ending, whole=whole, apart=apart)
                record(name)
            path = folder / name
            with machine_faults("reach", path.parent), sharing(access), beneath(folder, name, make_shared) as held:
                try:
                    put(held)
                except FileExistsError:
                    if not is_ours(held):
                        name = None
                        continue
        except MachineError:
            if not _is_refused(PurePath(name or wanted), folder):
                raise
            wanted, name = _FOREIGN.sub("_", wanted), None
            continue
        return path


def _is_refused(name: PurePath, folder: Path) -> bool:
    """Whether a name has characters that a folder's file system refuses: found by trying them, and a name without.

    File systems say so in many ways, one of which is that there is no such file (exFAT).
    """
    foreign = "".join(sorted(set(_FOREIGN.findall(str(name)))))
    return bool(foreign) and _takes(folder, "") and not _takes(folder, foreign)


def _takes(folder: Path, characters: str) -> bool:
    """Whether a name with these characters can be made in a folder."""
    try:
        make_and_delete(folder / f".ocrd-probe-{characters}{secrets.token_hex(4)}.tmp")
    except MachineError:
        return False
    return True


def free_name(  # noqa: PLR0913 - a name, and all that must be free with it
    folder: Path,
    wanted: str,
    beside: Iterable[str] = (),
    ending: str | None = None,
    *,
    whole: bool = False,
    apart: Iterable[str] = (),
) -> str:
    """Find one of `scan.pdf`, `scan (2).pdf`, … that is not taken in `folder` (a relative path in, one out).

    The same name with any of the endings `beside` in place of its own (`scan.json`, `scan.assets`) must be free too,
    and fit; with any of those `apart` it must only be free. Its own `ending` is its suffix, unless another is given.
    Names are shortened to the file system's limit.
    With `whole`, the wanted name has no ending: what must be free is all of it with each of those `beside`.
    The number before it is taken; where some were taken away meanwhile, there can be lower ones that are free.
    """
    path = Path(wanted)
    ending = "" if whole else path.suffix if ending is None else ending
    endings, apart = set(beside) if whole else {ending, *beside}, list(apart)
    longest = max(len(os.fsencode(one.partition("/")[0])) for one in endings)

    def numbered(number: int) -> Path:
        mark = f" ({number})" if number > 1 else ""
        return path.with_name(fitted(path.name.removesuffix(ending), mark, spare=longest, most=most))

    def is_taken(number: int) -> bool:
        stem = numbered(number)
        names = [f"{stem.name}{one}" for one in endings]
        others = [f"{stem.name}{one}" for one in apart]  # what is too long to be there is free
        names += [name for name in others if len(os.fsencode(name)) <= most]
        return any(lies_at(folder / stem.parent / name) for name in names)

    with machine_faults("look into", folder):
        most = _most(folder, len(os.fsencode(path.name)) + longest + _MARK)
        return f"{numbered(_first_free(is_taken))}{ending}"


def _most(folder: Path, wanted: int) -> int:
    """Say how many bytes a name in a folder may have, one of which is to have as many as `wanted`. Raises OSError.

    Found by looking for a name: some file systems tell of more room than there is (EncFS; statvfs(3), f_namemax).
    """
    return SHORT if wanted > SHORT and not could_lie_at(folder / ("x" * NAME_MAX)) else NAME_MAX


def _first_free(is_taken: Callable[[int], bool]) -> int:
    """Find a number, from 1, that is free while the one before is taken, in as many looks as its logarithm."""
    free = 1
    while is_taken(free):
        free *= 2
    taken = free // 2
    while free - taken > 1:
        middle = (taken + free) // 2
        taken, free = (middle, free) if is_taken(middle) else (taken, middle)
    return free


def fitted(stem: str, ending: str, *, spare: int = 0, most: int = NAME_MAX) -> str:
    """Join stem and ending, with the stem cut at a character so that there are `most` bytes, with `spare` ones more."""
    room = most - spare - len(os.fsencode(ending))
    while len(os.fsencode(stem)) > room:
        stem = stem[:-1]
    return stem + ending
