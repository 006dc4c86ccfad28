"""How the sources of a watch are opened: with the passwords from its file, which nobody else may read.

Passwords are never logged, kept or shown; the file is read anew for each document.
"""

from pathlib import Path

from ocrd.config import secret_file
from ocrd.config.watch import Watch
from ocrd.display import shown
from ocrd.errors import MachineError
from ocrd.model import Opening


def opening(watch: Watch) -> Opening:
    """Tell how the sources of a watch are opened. Raises MachineError if its passwords can't be read."""
    return without_passwords(watch, read(watch.passwords_file) if watch.passwords_file else ())


def without_passwords(watch: Watch, passwords: tuple[str, ...] = ()) -> Opening:
    """Tell it where they are not to be read, or are these."""
    return Opening(passwords, embedded=watch.split != "none", frames=watch.pages.animations == "all")


def read(file: Path) -> tuple[str, ...]:
    """Read the passwords of a file, one a line, or of a credential. Raises MachineError."""
    data = secret_file.read(file, "passwords_file", "one password a line")
    try:
        return tuple(filter(None, data.decode("utf-8-sig").splitlines()))
    except UnicodeDecodeError:  # which holds what it has
        what = f"passwords_file {shown(file)} can't be used: it is not UTF-8."
        raise MachineError(what, "Save it as UTF-8.") from None
