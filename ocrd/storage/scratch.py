"""Files that a power cut may lose, since who wants them makes them anew."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from ocrd.storage import durable
from ocrd.storage.os_errors import machine_faults
from ocrd.storage.safe_paths import own_folder


def write_scratch(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that who reads it finds it whole, though a power cut may lose it.

    Its folder is made if need be, and must be one that only this user can change. Raises MachineError.
    """
    with machine_faults("write", path), own_folder(path.parent) as held:
        temporary = f".{path.name}.tmp"
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=held)  # ours, left by a crash
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o644, dir_fd=held)
        try:
            durable.write_all(descriptor, data)
        finally:
            os.close(descriptor)
        os.rename(temporary, path.name, src_dir_fd=held, dst_dir_fd=held)


def copy_scratch(source: Path, target: Path) -> None:
    """Copy a file, and make its folder, for who copies it anew if a power cut loses it. Raises MachineError."""
    with machine_faults("copy a file to", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
