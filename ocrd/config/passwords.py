"""How the sources of a watch are opened: with the passwords from its file, which nobody else may read.

Passwords are never logged, kept or shown; the file is read anew for each document.
"""

import os
import stat
from pathlib import Path

from ocrd.config.schema import Watch
from ocrd.display import shown
from ocrd.errors import MachineError
from ocrd.model import Opening

CREDENTIAL = "credential:"
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LARGEST = 64 * 1024
"""Bytes; thousands of passwords would keep every locked PDF waiting."""


def opening(watch: Watch) -> Opening:
    """Tell how the sources of a watch are opened. Raises MachineError if its passwords can't be read."""
    return without_passwords(watch, read(watch.passwords_file) if watch.passwords_file else ())


def without_passwords(watch: Watch, passwords: tuple[str, ...] = ()) -> Opening:
    """Tell it where they are not to be read, or are these."""
    return Opening(passwords, embedded=watch.split != "none", frames=watch.pages.animations == "all")


def read(file: Path) -> tuple[str, ...]:
    """Read the passwords of a file, one a line, or of a credential. Raises MachineError."""
    path = _credential(str(file).removeprefix(CREDENTIAL)) if is_credential(file) else file
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _unusable(path, "it is no file", "Give the path of a file with one password a line.")
            if path is file and status.st_mode & _FOR_OTHERS:
                mode = stat.S_IMODE(status.st_mode)
                raise _unusable(path, f"others may read or change it (mode {mode:04o})", f"chmod 600 {shown(path)}")
            data = opened.read(_LARGEST + 1)
    except OSError as error:
        remedy = "Make it a file that ocrd's user, and nobody else, may read."
        raise _unusable(path, os.strerror(error.errno or 0), remedy) from error
    if len(data) > _LARGEST:
        raise _unusable(path, f"it has more than {_LARGEST} bytes", "Write one password a line, and nothing else.")
    try:
        return tuple(filter(None, data.decode("utf-8-sig").splitlines()))
    except UnicodeDecodeError:
        raise _unusable(path, "it is not UTF-8", "Save it as UTF-8.") from None  # that one holds what it has


def is_credential(file: Path) -> bool:
    """Whether it is one that systemd hands over."""
    return str(file).startswith(CREDENTIAL)


def _credential(name: str) -> Path:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise MachineError(
            f"passwords_file is the credential {name}, and systemd handed over none.",
            f"Write LoadCredential={name}:/path/of/the/file into the unit of the service.",
        )
    return Path(folder, name)


def _unusable(path: Path, what: str, remedy: str) -> MachineError:
    return MachineError(f"passwords_file {shown(path)} can't be used: {what}.", remedy)
