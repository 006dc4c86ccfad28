"""Files in an inbox, as they are seen from outside; and who may use what is made of them."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What a file is known by from outside: as long as its stamp stays the same, we take it as unchanged."""

    dev: int
    """Number of the device that holds the file."""
    ino: int
    """Inode number on that device."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Last modification, nanoseconds since the epoch. Only compared, never trusted as a time."""

    @classmethod
    def of(cls, stat: os.stat_result) -> Self:
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)


Join = Literal["none", "subfolder", "sequence"]
"""Which images of an inbox become one document, as `watches.join` has it."""


COMPANION = ".ocrd.yaml"
"""What a companion is called: the path of its scan, and this. In a folder it is the whole name, for all scans there."""


@dataclass(frozen=True, slots=True)
class Group:
    """Files that go together. What they have in common is their path up to their endings."""

    members: dict[str, FileStamp]
    """By ending, in the order of their pages: `-001.jpg` of a sequence, `/001.jpg` of a folder. The ending is empty for
    a single file, which is a group if it has a companion."""
    coming: dict[str, FileStamp] = field(default_factory=dict)
    """By name: temporary files that will be members when they are whole."""
    companion: FileStamp | None = None
    """Of the file with the settings for these alone."""
    duplex: bool = False
    """Whether it is of two files: the first has the fronts of the sheets, the second their backs, last first."""
    names: dict[str, str] = field(default_factory=dict)
    """The names of members, by ending, that are not what they have in common and their ending."""
    lacks: str = ""
    """Of one side of a duplex scan alone: what it waits for, in words."""

    def path_of(self, path: Path, ending: str) -> Path:
        """Return where a member lies, of a group of this path."""
        return path.with_name(self.names[ending]) if ending in self.names else Path(f"{path}{ending}")


@dataclass(frozen=True, slots=True)
class Settled:
    """A file, or a group of files, in an inbox that has stopped changing."""

    path: Path
    """Where it lies, absolute; of a group, what its members' paths have in common."""
    stamp: FileStamp | Group
    """Its stamp, or all stamps of a group, the same for the whole quiet time."""

    @property
    def group(self) -> Group:
        """It as a group, which may be of one."""
        return Group({"": self.stamp}) if isinstance(self.stamp, FileStamp) else self.stamp

    @property
    def single(self) -> bool:
        """Whether it is one file, with or without a companion."""
        return "" in self.group.members

    @property
    def sources(self) -> dict[Path, FileStamp]:
        """Every file that has pages, with its stamp."""
        group = self.group
        return {group.path_of(self.path, ending): stamp for ending, stamp in group.members.items()}

    @property
    def files(self) -> dict[Path, FileStamp]:
        """Every file of it, with its stamp; the companion comes last."""
        companion = self.group.companion
        return self.sources | ({Path(f"{self.path}{COMPANION}"): companion} if companion else {})


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use what we make in a folder that others use."""

    mode: int | None = None
    """Permission bits of a file; a folder gets the right to enter wherever it can be read. None: as the umask says."""
    group: int | None = None
    """Id of the group. None: as the system gives it."""


DEFAULT_ACCESS = Access()
