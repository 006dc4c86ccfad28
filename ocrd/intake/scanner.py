"""What lies in an inbox: the truth, of which events are only hints."""

import errno
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path, PurePath
from typing import Protocol

from ocrd.concurrency.threads import getting_on
from ocrd.errors import MachineError
from ocrd.filetypes import _SUFFIXES, _TEMPORARY_STARTS, is_source_name
from ocrd.model import COMPANION, FileStamp
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.roles import Identity, identity_of

_LATER = rf".+?\.(?:{'|'.join(sorted(_SUFFIXES))})"
_COMING = re.compile(
    rf"(?!\._)\.(?:~|in\.|syncthing\.|unison\.)?(?P<hidden>{_LATER})(?:\..*)?"
    rf"|(?P<named>{_LATER})(?:\..+)?"
    r"(?:\.(?:part|partial|filepart|crdownload|download|opdownload|tmp|temp|seaftmp~|!sync|!ut|!qb|~qpdf-temp#|\d{10})"
    r"|_exiftool_tmp)",
    re.IGNORECASE,
)
"""The names of copies under way: hidden ones of rsync, Nextcloud, lftp, ProFTPD, Syncthing, Unison, and those with an
ending of their own, of browsers, WinSCP, rclone, Seafile, Resilio, torrents, qpdf, nginx (ten digits), ExifTool."""
_SYSTEM_FOLDERS = frozenset({
    "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "~snapshot", "$recycle.bin", "recycler",
    "__macosx", "network trash folder", "temporary items", "lost+found", "system volume information",
})  # fmt: skip
_TOO_LONG = "whose path has more bytes than the system takes; shorten the names of its folders, or move it farther up"
_TEMPORARY_FOLDER = ".download"  # Safari keeps a download in a folder scan.pdf.download/
_SAVED_BY_MACOS = "(a document being saved by "  # so begins the folder in which a program of macOS writes it


def is_companion_name(name: str) -> bool:
    """Whether a file of this name holds the settings of one scan; `.ocrd.yaml` alone is a folder's."""
    return name.endswith(COMPANION) and not name.startswith(_TEMPORARY_STARTS)


def name_to_come(name: str) -> str:
    """Tell the name that a copy under way will have when it is whole; empty if this is none, as far as names tell."""
    found = _COMING.fullmatch(name)
    return found["hidden"] or found["named"] if found else ""


def is_hidden_folder(name: str) -> bool:
    """Whether a folder belongs to a system or a program (`.stfolder`, `@eaDir`, `lost+found`), not to a person."""
    lower = name.lower()
    return lower in _SYSTEM_FOLDERS or lower.startswith((".", _SAVED_BY_MACOS)) or lower.endswith(_TEMPORARY_FOLDER)


class Wanted:
    """The owner's own choice among the sources of an inbox, by globs.

    A pattern with a slash is for the whole path below the inbox, one without for the name alone, of a file or of a
    folder around it; upper and lower case are the same; `*` stands for anything, slashes too. A folder that is left out
    is not looked into.
    """

    def __init__(self, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> None:
        """Take what one of `include` matches (all if there are none), but nothing that one of `exclude` does."""
        self._include = [_compiled(pattern) for pattern in include]
        self._exclude = [_compiled(pattern) for pattern in exclude]

    def file(self, path: str) -> bool:
        """Whether a file at this path below the inbox is wanted."""
        return self._included(path) and not _matches(self._exclude, path)

    def _included(self, path: str) -> bool:
        around = [str(folder) for folder in PurePath(path).parents][:-1]
        return not self._include or any(_matches(self._include, one) for one in (path, *around))

    def folder(self, path: str) -> bool:
        """Whether a folder at this path below the inbox is to be looked into."""
        return not _matches(self._exclude, path)


def _compiled(pattern: str) -> tuple[bool, re.Pattern[str]]:
    return "/" in pattern, re.compile(translate(pattern.strip("/")), re.IGNORECASE)


def _matches(patterns: list[tuple[bool, re.Pattern[str]]], path: str) -> bool:
    name = path.rpartition("/")[2]
    return any(pattern.match(path if whole else name) for whole, pattern in patterns)


_EVERYTHING = Wanted()


@dataclass(slots=True)
class Scan:
    """What one look through an inbox found."""

    files: dict[Path, FileStamp] = field(default_factory=dict)
    """Regular files that can be sources by their name."""
    odd: dict[Path, str] = field(default_factory=dict)
    """Things that are named like a source but are none, with what they are. They are left alone."""
    coming: dict[Path, tuple[Path, FileStamp]] = field(default_factory=dict)
    """Copies under way, if they were asked for: the path that each will have, and its stamp."""
    companions: dict[Path, FileStamp] = field(default_factory=dict)
    """Companions, by the path of the scan that each is named for."""
    unread: dict[str, Path] = field(default_factory=dict)
    """Of files that are not read, by the ending of their names, one of each."""

    def forget(self, path: Path) -> bool:
        """Let go of what was found at a path, but not of what lies below it. Returns whether there was anything."""
        scan = Path(str(path).removesuffix(COMPANION)) if is_companion_name(path.name) else None
        known = [self.files.pop(path, None), self.odd.pop(path, None), self.coming.pop(path, None)]
        return any((*known, scan and self.companions.pop(scan, None)))

    def forget_below(self, folders: set[Path]) -> None:
        """Let go of all that was found below folders."""
        for among in (self.files, self.odd, self.coming, self.companions):
            for path in [path for path in among if not folders.isdisjoint(path.parents)]:
                del among[path]

    def add(self, other: "Scan") -> None:
        """Take in what another look found, at paths that are not known here."""
        self.files |= other.files
        self.odd |= other.odd
        self.coming |= other.coming
        self.companions |= other.companions
        self.unread = other.unread | self.unread


def scan(
    inbox: Path, wanted: Wanted = _EVERYTHING, *, coming: bool = False, closed: frozenset[Identity] = frozenset()
) -> Scan:
    """Look through an inbox and its subfolders, without following links. Raises MachineError if it can't be read.

    Only what is named like a source is asked for its facts: ten thousand other files cost little. With `coming`, copies
    under way are, too. The folders that are `closed` are not looked into, by whichever name they lie there.
    """
    return _Look(inbox, wanted, coming=coming, closed=closed).taken()


def refresh(  # noqa: PLR0913 - as `scan`, and what to look at
    found: Scan,
    paths: Iterable[Path],
    inbox: Path,
    wanted: Wanted = _EVERYTHING,
    *,
    coming: bool = False,
    closed: frozenset[Identity] = frozenset(),
) -> None:
    """Bring up to date what an earlier `scan` found, where something happened: at these paths, and below folders there.

    It costs as much as there are paths, however much else lies in the inbox. Raises MachineError.
    """
    look = _Look(inbox, wanted, coming=coming, closed=closed, folders=[])
    folders = set()
    for path in set(paths):
        was_known = found.forget(path)
        if look.at(path) and not was_known:
            folders.add(path)
    if folders:
        found.forget_below(folders)
    found.add(look.taken())


class Entry(Protocol):
    """What os.scandir tells of a path."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    def stat(self, *, follow_symlinks: bool) -> os.stat_result: ...
    def is_dir(self, *, follow_symlinks: bool) -> bool: ...
    def is_file(self, *, follow_symlinks: bool) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Alone:
    """The same of a path that is looked at by itself. Links are not followed."""

    path: str
    status: os.stat_result

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:  # noqa: ARG002
        return self.status

    def is_dir(self, *, follow_symlinks: bool) -> bool:  # noqa: ARG002
        return stat.S_ISDIR(self.status.st_mode)

    def is_file(self, *, follow_symlinks: bool) -> bool:  # noqa: ARG002
        return stat.S_ISREG(self.status.st_mode)


class _Look:
    """One look through an inbox."""

    def __init__(
        self,
        inbox: Path,
        wanted: Wanted,
        *,
        coming: bool,
        closed: frozenset[Identity],
        folders: Iterable[Path] | None = None,
    ) -> None:
        self._inbox = inbox
        self._below = len(os.path.join(inbox, ""))
        self._wanted = wanted
        self._coming = coming
        self._closed = closed
        self._folders = [str(folder) for folder in ([inbox] if folders is None else folders)]
        self._open: dict[Path, bool] = {inbox: True}
        """Whether folders are looked into, as far as it was asked."""
        self._found = Scan()

    def taken(self) -> Scan:
        """Take it. Raises MachineError."""
        while self._folders:
            folder = self._folders.pop()
            try:
                with machine_faults("look into the inbox", Path(folder)), os.scandir(folder) as entries:
                    for entry in entries:
                        self._sort_any(entry)
            except MachineError as error:
                if folder == str(self._inbox):
                    raise
                if _is_too_long(error.__cause__):
                    self._found.odd[Path(folder)] = f"a folder {_TOO_LONG}"
                elif not isinstance(error.__cause__, FileNotFoundError):  # else it went away meanwhile
                    self._found.odd[Path(folder)] = "a folder that can't be read"
        return self._found

    def at(self, path: Path) -> bool:
        """Look at one path alone. Returns whether a folder lies there, or may have lain there. Raises MachineError."""
        with machine_faults("look at", path):
            entry = _entry(path)
            if entry and self._looks_into(path.parent):
                self._sort_any(entry)
            return entry is None or entry.is_dir(follow_symlinks=False)

    def _looks_into(self, folder: Path) -> bool:
        """Whether a look at all of the inbox would come by a folder."""
        if folder not in self._open:
            around = self._inbox in folder.parents and self._looks_into(folder.parent)
            entry = _entry(folder) if around else None
            self._open[folder] = bool(
                entry
                and entry.is_dir(follow_symlinks=False)
                and self._is_for_people(entry)
                and identity_of(entry.status) not in self._closed
            )
        return self._open[folder]

    def _is_for_people(self, folder: Entry) -> bool:
        """Whether a folder's name says that a person keeps files in it, whom the owner wants to serve."""
        name = folder.name
        named_as_file = is_source_name(name) or is_companion_name(name)
        return not (named_as_file or is_hidden_folder(name)) and self._wanted.folder(folder.path[self._below :])

    def _sort_any(self, entry: Entry) -> None:
        """Sort an entry, or note that its path is too long: what else lies in its folder is none the worse for it."""
        try:
            self._sort(entry)
        except OSError as error:
            if not _is_too_long(error):
                raise
            self._found.odd[Path(entry.path)] = f"one {_TOO_LONG}"

    def _sort(self, entry: Entry) -> None:
        name, found = entry.name, self._found
        getting_on()
        if is_source_name(name):
            if self._wanted.file(entry.path[self._below :]):
                _note(entry, found.files, Path(entry.path), found)
        elif is_companion_name(name):
            _note(entry, found.companions, Path(entry.path.removesuffix(COMPANION)), found)
        elif entry.is_dir(follow_symlinks=False):
            if self._is_for_people(entry):
                self._enter(entry)
        elif final := name_to_come(name):
            if self._coming:
                _take_coming(entry, Path(entry.path).with_name(final), found)
        elif not name.startswith(_TEMPORARY_STARTS) and entry.is_file(follow_symlinks=False):
            ending = os.path.splitext(name)[1].lower()
            if ending not in found.unread:
                found.unread[ending] = Path(entry.path)

    def _enter(self, entry: Entry) -> None:
        with suppress(FileNotFoundError):
            if self._closed and identity_of(entry.stat(follow_symlinks=False)) in self._closed:
                self._found.odd[Path(entry.path)] = "a folder of a watch, by another name"
            else:
                self._folders.append(entry.path)


def _entry(path: Path) -> _Alone | None:
    """Look what lies at a path; None if nothing does, or nothing that we may see."""
    try:
        return _Alone(str(path), path.lstat())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except OSError as error:
        if not _is_too_long(error):
            raise
        return None


def _is_too_long(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG


def _note(entry: Entry, among: dict[Path, FileStamp], path: Path, found: Scan) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return  # it went away meanwhile, which is no error
    if stat.S_ISREG(status.st_mode):
        among[path] = FileStamp.of(status)
    else:
        found.odd[Path(entry.path)] = _kind(status.st_mode)


def _take_coming(entry: Entry, path: Path, found: Scan) -> None:
    with suppress(FileNotFoundError):  # it has its name by now, which the next look will see
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            found.coming[Path(entry.path)] = (path, FileStamp.of(status))


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a symbolic link" if stat.S_ISLNK(mode) else "a special file"
