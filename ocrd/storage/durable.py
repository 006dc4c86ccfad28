"""Durable writes and moves: the only code that changes work, outbox, archive and error.

Three habits keep the promises. Nothing is written in place: a file is made whole under a temporary name, synced, and
renamed, and the folder that names it is synced after. Nothing is overwritten: a rename into a folder that others use
refuses a name that is taken. And every name is recorded before it is used, so that a crash between the two can be
told apart from a stranger's file (`place`).
"""

import errno
import os
import select
import shutil
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from itertools import chain, count
from pathlib import Path
from typing import BinaryIO, NoReturn

from ocrd.concurrency.threads import getting_on
from ocrd.display import shown
from ocrd.errors import MachineError
from ocrd.model import DEFAULT_ACCESS, Access, FileStamp
from ocrd.storage import comparing, renames
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.safe_paths import lies_at, spelled

_CHUNK = 2**20
_LOOK = 1.0
"""Seconds between two signs of getting on while a pipe brings nothing."""
_access: ContextVar[Access] = ContextVar("access", default=DEFAULT_ACCESS)


@contextmanager
def sharing(access: Access) -> Iterator[None]:
    """Let every file and folder that is made in here, in this thread, have this access before it has its name."""
    before = _access.set(access)
    try:
        yield
    finally:
        _access.reset(before)


def _share(made: int | Path, *, folder: bool = False) -> None:
    access = _access.get()
    if access.group is not None:
        os.chown(made, -1, access.group)
    if access.mode is not None:
        enter = (access.mode & 0o444) >> 2 | os.stat(made).st_mode & stat.S_ISGID if folder else 0
        os.chmod(made, access.mode | enter)


def write_new(path: Path, data: bytes, *, tag: str) -> None:
    """Put `data` at `path`: whole or not at all, and never over something else.

    `tag` names the temporary file, so that the next attempt of the same job finds and replaces what a crash left.
    Raises FileExistsError if the name is taken, MachineError if the machine refuses.
    """
    with machine_faults("write", path):
        temporary = _write_temporary(path.parent, data, tag)
        _commit(temporary, path, renames.rename_new)


def copy_new(source: Path, target: Path, *, tag: str) -> None:
    """Copy a file of ours to a free name: whole or not at all. Raises FileExistsError, MachineError."""
    with machine_faults(f"copy {shown(source)} to", target):
        _commit(copy_temporary(source, target.parent, tag), target, renames.rename_new)


def folder_new(path: Path, files: Iterable[Path], *, tag: str) -> None:
    """Put a folder with copies of these files at a free name: all of them at once, or none.

    Raises FileExistsError, MachineError.
    """
    with machine_faults("write", path):
        temporary = _temporary_folder(path.parent, tag)
        try:
            os.mkdir(temporary)
        except FileExistsError:
            raise _name_taken(temporary) from None
        try:
            _share(temporary, folder=True)
            for file in files:
                with machine_faults(f"copy {shown(file)} to", temporary / file.name):
                    _write(temporary / file.name, file.read_bytes())
            renames.sync_folder(temporary)
            renames.rename_new(temporary, path)
        except BaseException:
            remove_folder(temporary)
            raise
        renames.sync_folder(path.parent)


def replace_seen(source: Path, target: Path, seen: Path, *, tag: str) -> None:
    """Put a copy of a file of ours in the place of one that holds the same as `seen`: whole at every instant.

    What somebody else put there meanwhile is left, or put back. Called again after a crash, it goes on from there.
    Raises NotAsSeenError if the target is another, MachineError.
    """
    with machine_faults(f"put {shown(source)} in the place of", target):
        temporary = _temporary(target.parent, tag)
        if not comparing.same_file(source, target):
            if not comparing.same_file(seen, target):
                raise renames.NotAsSeenError
            copy_temporary(source, target.parent, tag)
            renames.exchange(temporary, target)
            renames.sync_folder(target.parent)
        if not lies_at(temporary):
            return
        mine = comparing.same_file(seen, temporary)
        if not mine:  # changed in the instant before
            renames.exchange(temporary, target)
        os.unlink(temporary)
        renames.sync_folder(target.parent)
        if not mine:
            raise renames.NotAsSeenError


def write_own(path: Path, data: bytes) -> None:
    """Put `data` at `path`, replacing what stood there. Only for records in our own job folders.

    Raises MachineError.
    """
    with machine_faults("write", path):
        temporary = _write_temporary(path.parent, data, path.name)
        _commit(temporary, path, os.rename)


def receive(pipe: int, folder: Path, *, tag: str) -> Path:
    """Keep what comes out of a pipe, up to its end, in a temporary file. Returns where. Raises MachineError."""
    with machine_faults("write a file into", folder):
        temporary = _temporary(folder, tag)
        with _open_new(temporary) as descriptor:
            _receive(pipe, descriptor)
    return temporary


def _receive(pipe: int, descriptor: int) -> None:
    news = select.poll()
    news.register(pipe, select.POLLIN)
    while True:
        getting_on()  # who writes has limits of its own
        if news.poll(_LOOK * 1000):
            data = os.read(pipe, _CHUNK)
            if not data:
                return
            write_all(descriptor, data)


def keep_own(temporary: Path, path: Path) -> None:
    """Let what was received stand at `path`, replacing what stood there. Raises MachineError."""
    with machine_faults("write", path):
        os.rename(temporary, path)
        renames.sync_folder(path.parent)
        renames.sync_folder(temporary.parent)


def copy_own(source: Path, path: Path) -> None:
    """Copy a file that was looked at (`regular`) to `path`, as `write_own` does. Raises MachineError."""
    with machine_faults(f"copy {shown(spelled(source))} to", path):
        temporary = _temporary(path.parent, path.name)
        with source.open("rb") as reader, _open_new(temporary) as descriptor:
            _copy(reader, descriptor)
        _commit(temporary, path, os.rename)


def move_new(source: Path, target: Path, *, tag: str) -> None:
    """Move a file to a free name, by rename where both lie on one mount, else by copy, sync, rename and unlink.

    A crash in the copying case can leave both files, which are then the same (`same_file`).
    Raises FileExistsError if the target is taken, renames.NotAsSeenError if the source is gone or changes meanwhile,
    MachineError otherwise.
    """
    with machine_faults(f"move {shown(spelled(source))} to", target):
        try:
            renames.rename_new(source, target)
        except FileNotFoundError:
            if not lies_at(source):
                raise renames.NotAsSeenError from None
            raise
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _move_by_copy(source, target, tag)
        renames.sync_folder(target.parent)
        renames.sync_folder(source.parent)


def _move_by_copy(source: Path, target: Path, tag: str) -> None:
    before = seen(source)
    _commit(copy_temporary(source, target.parent, tag, as_it_was=True), target, renames.rename_new)
    if seen(source) != before:
        os.unlink(target)
        raise renames.NotAsSeenError
    os.unlink(source)


def seen(path: Path) -> FileStamp:
    """Stamp a regular file. Raises NotAsSeenError if there is something else, or nothing."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise renames.NotAsSeenError from None
    if not stat.S_ISREG(status.st_mode):
        raise renames.NotAsSeenError
    return FileStamp.of(status)


def make_folders(path: Path, *, below: Path | None = None) -> None:
    """Make `path` and its missing parents, durably. Raises MachineError.

    If `below` is given it must exist: a share that is gone is not made anew.
    """
    if path in (below, path.parent):
        return
    with machine_faults("look for the folder", path):
        if path.is_dir():
            return
    make_folders(path.parent, below=below)
    with machine_faults("make the folder", path):
        try:
            os.mkdir(path)
        except FileExistsError:
            if not path.is_dir():  # else somebody was faster
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
        renames.sync_folder(path.parent)


def make_new_folder(path: Path) -> None:
    """Make a folder that was not there before, durably or not at all. Raises FileExistsError, MachineError."""
    with machine_faults("make the folder", path):
        os.mkdir(path)
        try:
            renames.sync_folder(path.parent)
        except BaseException:
            os.rmdir(path)  # who tries again takes another name
            raise


def close_to_others(path: Path, access: Access) -> None:
    """Let nobody into a folder of ours who may not read what is delivered. Raises MachineError."""
    with machine_faults("set the permissions of", path):
        status = path.stat()
        if access.mode is None or status.st_uid != os.geteuid():
            return
        if access.group is not None and status.st_gid != access.group:
            os.chown(path, -1, access.group)
        closed = sum(everything for read, everything in ((0o040, 0o070), (0o004, 0o007)) if not access.mode & read)
        if status.st_mode & closed:
            os.chmod(path, stat.S_IMODE(status.st_mode) & ~closed)


def make_shared(name: str, around: int) -> None:
    """Make a subfolder of a folder that others use, durably, given by its descriptor."""
    os.mkdir(name, dir_fd=around)
    folder = Path("/proc/self/fd", str(around))
    _share(folder / name, folder=True)
    renames.sync_folder(folder)


def remove(path: Path) -> None:
    """Delete one file, durably. One that is gone already is no error."""
    with machine_faults("delete", path):
        with suppress(FileNotFoundError):
            os.unlink(path)
        renames.sync_folder(path.parent)


def remove_folder(path: Path) -> None:
    """Delete a folder of our own with all it holds. One that is gone already is no error."""
    with machine_faults("delete", path), suppress(FileNotFoundError):
        shutil.rmtree(path)


def remove_own(path: Path, is_ours: Callable[[str], object]) -> list[str]:
    """Delete what `is_ours` of a folder's files and folders, by their paths in it, and the folder if nothing is left.

    Returns the names of the files that are left. A folder that is gone already is no error.
    """
    left = []
    with machine_faults("delete", path), suppress(FileNotFoundError):
        for here, folders, files, held in os.fwalk(path, topdown=False, onerror=_raised):
            inside = os.path.relpath(here, path)
            for name in files:
                if is_ours(os.path.normpath(f"{inside}/{name}")):
                    os.unlink(name, dir_fd=held)
                else:
                    left.append(name)
            for name in folders:  # a link to a folder is among them
                if is_ours(os.path.normpath(f"{inside}/{name}")):
                    with suppress(NotADirectoryError), _not_empty():
                        os.rmdir(name, dir_fd=held)
        with _not_empty():
            os.rmdir(path)
    return left


def remove_empty(path: Path) -> None:
    """Delete a folder if it is empty; else, or if it is gone already, leave it."""
    with machine_faults("delete", path):
        with suppress(FileNotFoundError), _not_empty():
            os.rmdir(path)
        renames.sync_folder(path.parent)


@contextmanager
def _not_empty() -> Iterator[None]:
    """Let a folder stay that is not empty, which rmdir(2) says in two ways."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _raised(error: OSError) -> NoReturn:
    raise error


def one_mount(folder: Path, other: Path) -> bool:
    """Whether a file can be renamed from one folder to the other. Found by doing it: st_dev does not tell.

    The probe is called after the folder that it comes from, since several may be tried with the other one at a time.
    """
    tag = f"probe-{zlib.crc32(os.fsencode(folder)):08x}"
    with machine_faults(f"move a probe to {shown(other)} out of", folder):
        probe = _temporary(folder, tag)
        with _open_new(probe, 0o600):
            pass
        moved = _temporary(other, f"{tag}.moved")
        try:
            with suppress(FileNotFoundError):
                os.unlink(moved)
            renames.rename_new(probe, moved)
        except FileExistsError:
            os.unlink(probe)
            raise _name_taken(moved) from None
        except OSError as error:
            os.unlink(probe)
            if error.errno == errno.EXDEV:
                return False
            raise
        os.unlink(moved)
    return True


def refuses_taken_names(folder: Path) -> bool:
    """Whether a rename in a folder refuses a taken name by itself; else one that comes in between is overwritten.

    Found by doing it. Raises MachineError.
    """
    with machine_faults("rename a probe in", folder):
        probe, renamed = (_temporary(folder, f"probe-{os.getpid()}{end}") for end in ("", ".renamed"))
        with _open_new(probe, 0o600):
            pass
        try:
            return renames.renamed_or_refused(probe, renamed)
        except FileExistsError:  # somebody was faster, and it was refused
            return True
        finally:
            for path in (probe, renamed):
                with suppress(FileNotFoundError):
                    os.unlink(path)


def _name_taken(path: Path) -> MachineError:
    """Say that somebody was faster, at a name that was ours a moment ago."""
    return MachineError(f"Somebody takes the name {shown(spelled(path))}.", "Move that away.")


def make_and_delete(path: Path) -> None:
    """Let an empty file appear and vanish: what watches its folder should notice. Raises MachineError."""
    with machine_faults("write a probe into", path.parent):
        with _open_new(path, 0o600):
            pass
        os.unlink(path)


def _write_temporary(folder: Path, data: bytes, tag: str) -> Path:
    temporary = _temporary(folder, tag)
    _write(temporary, data)
    return temporary


def _temporary(folder: Path, tag: str) -> Path:
    """Name a temporary file, the same after a crash; where a stranger made a folder of that name, another."""
    return next(path for path in _names(folder, tag) if path.is_symlink() or not path.is_dir())


def _temporary_folder(folder: Path, tag: str) -> Path:
    """Name a temporary folder, and delete what a crash left of it; where a stranger has that name, another."""
    for path in _names(folder, f"{tag}.folder"):
        with suppress(FileNotFoundError):
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            remove_folder(path)
        return path
    raise AssertionError  # the names have no end


def _names(folder: Path, tag: str) -> Iterator[Path]:
    """List the names that something temporary can have, the usual one first."""
    return (folder / f".ocrd-{tag}{number}.tmp" for number in chain([""], (f"-{again}" for again in count(2))))


def _write(path: Path, data: bytes) -> None:
    with _open_new(path) as descriptor:
        _share(descriptor)
        write_all(descriptor, data)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of the data, in as many calls as that takes (write(2)). Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def copy_temporary(source: Path, folder: Path, tag: str, *, as_it_was: bool = False) -> Path:
    """Copy a file to a temporary one in a folder, synced, with its times; `as_it_was`, open to nobody else than before.

    Raises OSError, also for a link.
    """
    temporary = _temporary(folder, tag)
    original = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # no link, and no waiting for a FIFO
    with open(original, "rb") as reader, _open_new(temporary, 0o600 if as_it_was else 0o666) as descriptor:
        status = os.fstat(original)
        if as_it_was:  # open to nobody who could not read the original
            with suppress(PermissionError):  # not our group
                os.chown(descriptor, -1, status.st_gid)
            os.chmod(descriptor, stat.S_IMODE(status.st_mode) & 0o777)
        else:
            _share(descriptor)
        _copy(reader, descriptor)
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))
    return temporary


def _copy(reader: BinaryIO, descriptor: int) -> None:
    size = os.fstat(reader.fileno()).st_size
    for start in range(0, size, _CHUNK):  # no more than there was: one that grows shows after
        write_all(descriptor, reader.read(min(_CHUNK, size - start)))


@contextmanager
def _open_new(path: Path, mode: int = 0o666) -> Iterator[int]:
    """Open a file that was not there before, for writing; synced when done, deleted when that fails."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # ours, left by a crash
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, mode)
    except FileExistsError:
        raise _name_taken(path) from None
    try:
        yield descriptor
        os.fsync(descriptor)
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def _commit(temporary: Path, path: Path, rename: Callable[[Path, Path], None]) -> None:
    try:
        rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    renames.sync_folder(path.parent)
