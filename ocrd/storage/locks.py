"""A folder taken for one process alone, by a lock that ends with it. It holds within one kernel (ownership.py)."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from ocrd.display import shown
from ocrd.errors import SpoolError
from ocrd.storage.os_errors import machine_faults


def lock_folder(path: Path) -> int:
    """Take the folder for this process alone, until the returned descriptor is closed or the process ends.

    Raises SpoolError if another process has it.
    """
    with machine_faults("open", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise SpoolError(
                f"Another ocrd is already working in {shown(path)}.", "Stop it first, or give this one its own folders."
            ) from None
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether a process has taken a folder by `lock_folder`, as the kernel's list tells that has no names (proc(5))."""
    with suppress(OSError):
        status = path.stat()
        wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
        return any(fields[1] == "FLOCK" and wanted in fields for line in lines if (fields := line.split()))
    return False
