"""Whether somebody is still writing to a file that looks settled."""

import errno
import fcntl
import os
import signal
from pathlib import Path

from ocrd.model import FileStamp

_BUSY = {errno.EAGAIN, errno.EBUSY, errno.ETXTBSY}  # a lease of another, such as smbd's; a lock on a share


def unfinished(path: Path, stamp: FileStamp, *, local: bool) -> str:
    """Say why a file is not to be taken yet; empty if nothing speaks against it.

    The kernel grants a lease for reading (fcntl(2), F_SETLEASE) only while nobody on this machine has the file open for
    writing. It is given back at once. It can't be had, and then nothing is known, for files of another user (without
    CAP_LEASE) and on shares, where `local` must be False: there a refusal would mean nothing. A writer on another
    machine is never seen, nor one that opens, appends and closes. Opening the file also makes a share tell its true
    size instead of one that it remembers.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return "another program has locked it" if error.errno in _BUSY else ""  # gone or forbidden: the claim tells
    try:
        if FileStamp.of(os.fstat(descriptor)) != stamp:
            return "it is still changing"
        if local and _open_for_writing(descriptor):
            return "a program still has it open for writing"
    finally:
        os.close(descriptor)
    return ""


def _open_for_writing(descriptor: int) -> bool:
    try:
        # Whoever opens it in this very moment waits until we let go; the kernel tells us so by a signal, and the
        # usual one, SIGIO, would end the process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
