"""Secrets in files that nobody else may read, or in credentials that systemd hands over (LoadCredential=).

They are never logged, kept or shown; a file is read anew whenever it is needed.
"""

import os
import re
import stat
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema

from ocrd.display import shown
from ocrd.errors import MachineError

CREDENTIAL = "credential:"
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
SHORTEST = 16
"""Characters of a token that nobody guesses."""
_LARGEST = 64 * 1024
"""Bytes; thousands of passwords would keep every locked PDF waiting."""


def _located(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, str) and re.fullmatch(rf"{CREDENTIAL}[\w.-]+", value):
        return Path(value)
    if not isinstance(value, str) or not value or "\0" in value or value.endswith("/"):
        raise ValueError("must be the path of a file, or credential:NAME")
    base: Path = (info.context or {}).get("base", Path.cwd())
    return base / value


SecretFile = Annotated[
    Path,
    BeforeValidator(_located),
    PlainSerializer(str),
    WithJsonSchema({"type": "string"}),
]
"""A file that nobody else may read, or `credential:NAME`: one that systemd hands over (LoadCredential=)."""


def read(file: Path, setting: str, holds: str) -> bytes:
    """Read a secret of the `setting`, for which the file should hold what `holds` says. Raises MachineError."""
    path = _credential(file, setting) if is_credential(file) else file

    def unusable(what: str, remedy: str) -> MachineError:
        return MachineError(f"{setting} {shown(path)} can't be used: {what}.", remedy)

    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise unusable("it is no file", f"Give the path of a file with {holds}.")
            if path is file and status.st_mode & _FOR_OTHERS:
                mode = stat.S_IMODE(status.st_mode)
                raise unusable(f"others may read or change it (mode {mode:04o})", f"chmod 600 {shown(path)}")
            data = opened.read(_LARGEST + 1)
    except OSError as error:
        remedy = "Make it a file that ocrd's user, and nobody else, may read."
        raise unusable(os.strerror(error.errno or 0), remedy) from error
    if len(data) > _LARGEST:
        raise unusable(f"it has more than {_LARGEST} bytes", f"Write {holds}, and nothing else.")
    return data


def token(file: Path) -> str:
    """Read the token of the listener, one line of at least `SHORTEST` characters of ASCII. Raises MachineError."""
    setting = "metrics.token_file"
    data = read(file, setting, "one line of letters and digits").strip()
    if len(data) < SHORTEST or not (data.isascii() and data.decode().isprintable()) or b" " in data:
        what = f"{setting} {shown(file)} can't be used: it must hold one line of {SHORTEST} or more letters and digits."
        raise MachineError(what, f"Make one: (umask 077; openssl rand -hex 32 > {shown(file)})")
    return data.decode()


def is_credential(file: Path) -> bool:
    """Whether it is one that systemd hands over."""
    return str(file).startswith(CREDENTIAL)


def is_out_of_sight(file: Path) -> bool:
    """Whether it is a credential of the service, and this process is not that."""
    return is_credential(file) and "CREDENTIALS_DIRECTORY" not in os.environ


def _credential(file: Path, setting: str) -> Path:
    name = str(file).removeprefix(CREDENTIAL)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise MachineError(
            f"{setting} is the credential {name}, and systemd handed over none.",
            f"Write LoadCredential={name}:/path/of/the/file into the unit of the service.",
        )
    return Path(folder, name)
