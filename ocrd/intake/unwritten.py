"""Whether parts of a file are still to be written, though nobody has it open: a transfer broke off and may go on.

Some programs reserve all of the room first and fill it in any order: Windows when it copies, and downloads in several
connections. What they leave when they end too early can have its head and its end, and look whole by its format.
"""

import errno
import os
from pathlib import Path

from ocrd.display import shown

_LISTS = (".aria2", ".lftp-pget-status", ".st")
"""How the names of files end in which aria2, lftp and axel list the parts of a download, as long as it lacks some; the
name of the download stands before it."""
_NO_ANSWER = {errno.ENXIO, errno.EINVAL, errno.ESPIPE}  # it is empty, or is none that the kernel looks through


def unwritten(path: Path, *, gaps: bool) -> str:
    """Say in a sentence why parts of a file seem to be still to come; empty if nothing tells of any.

    `gaps` says whether the file system keeps a gap only where nothing was written: ZFS makes them of zeros, too, and of
    shares nobody knows. A whole file can have some, if a program left zeros out when it copied (`cp --sparse`). Raises
    OSError.
    """
    for ending in _LISTS:
        if os.path.lexists(f"{path}{ending}"):
            return f"This file is not downloaded whole yet: {shown(path.name)}{ending} lists what it lacks."
    if gaps and _has_gap(path):
        return "In this file room was reserved that is not filled yet."
    return ""


def _has_gap(path: Path) -> bool:
    """Ask for the first gap (lseek(2), SEEK_HOLE): the end counts as one, and so does room that was only reserved."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # gone or forbidden: the claim tells
    try:
        return os.lseek(descriptor, 0, os.SEEK_HOLE) < os.fstat(descriptor).st_size
    except OSError as error:
        if error.errno not in _NO_ANSWER:
            raise
        return False
    finally:
        os.close(descriptor)
