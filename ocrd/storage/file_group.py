"""The files of one source, moved together: all of them to names that have one stem, or none."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from ocrd.model import FileStamp
from ocrd.storage import comparing, durable, naming
from ocrd.storage.os_errors import is_there
from ocrd.storage.safe_paths import beneath


def beside(path: Path, endings: Iterable[str]) -> list[str]:
    """List what must be free beside a name for these endings of a group, as `naming.free_name` wants it.

    A single file, whose own ending is empty, has its suffix before the others'.
    """
    endings = list(endings)
    return [path.suffix + ending for ending in endings if ending] if "" in endings else endings


def numbered(names: Iterable[str]) -> list[str]:
    """Put a number before each name, so that they are in order by that, too: `1-letter-front.pdf`."""
    return [naming.fitted(f"{number}-{Path(name).stem}", Path(name).suffix) for number, name in enumerate(names, 1)]


def put_all(files: Mapping[str, Path], stamps: Mapping[str, FileStamp], stem: Path, *, tag: str) -> None:
    """Move files to `stem` with their endings, by which they are given. An ending can lead into a folder: `/001.jpg`.

    Called again after a crash, it finds what it moved. If a stranger took one of the names, those that were moved are
    taken back, and FileExistsError is raised. Raises MachineError, NotAsSeenError.
    """
    for ending, source in files.items():
        if not is_there(source):
            continue  # moved before a crash, and perhaps collected since
        try:
            with beneath(stem.parent, stem.name + ending, durable.make_shared) as target:
                _put(source, target, tag)
        except (FileExistsError, NotADirectoryError) as error:  # the latter: where the folder of the group is to be
            _take_back(files, stamps, stem, tag)
            raise FileExistsError(error.errno, error.strerror, str(stem)) from None


def _put(source: Path, target: Path, tag: str) -> None:
    try:
        durable.move_new(source, target, tag=tag)
    except FileExistsError:
        if not _is_copied(source, target):
            raise
        durable.remove(source)  # a move that copies died before its last step


def _is_copied(source: Path, target: Path) -> bool:
    """Whether the target is a copy of this very file: the same bytes alone can be those of another scan."""
    try:
        stamps = [FileStamp.of(path.lstat()) for path in (source, target)]
    except FileNotFoundError:  # gone meanwhile
        return False
    return alike(*stamps) and comparing.same_file(source, target)


def _take_back(files: Mapping[str, Path], stamps: Mapping[str, FileStamp], stem: Path, tag: str) -> None:
    """Move back what lies under the stem, is not in its place, and is ours by its stamp."""
    for ending, source in reversed(list(files.items())):
        if is_there(source):
            continue
        with suppress(FileNotFoundError, NotADirectoryError), beneath(stem.parent, stem.name + ending) as target:
            if alike(FileStamp.of(target.lstat()), stamps[ending]):
                durable.move_new(target, source, tag=tag)


def alike(one: FileStamp, other: FileStamp) -> bool:
    """Whether two stamps are of the same file, which may have been copied to another device in between."""
    return (one.size, one.mtime_ns) == (other.size, other.mtime_ns)
