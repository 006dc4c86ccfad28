"""Mounts that only this process and its children see, and that vanish with the last of them."""

import ctypes
import os
import subprocess
from pathlib import Path

_CLONE_NEWNS = 0x20000
_libc = ctypes.CDLL(None, use_errno=True)


def go_private() -> None:
    """Leave the machine's mounts alone from here on (unshare(2)). Raises PermissionError where that is refused."""
    if _libc.unshare(_CLONE_NEWNS) != 0:
        raise PermissionError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    mount("--make-rprivate", "/")


def why_not_private() -> str:
    """Say why `go_private` and a mount would be refused here; empty if they would not."""
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=False, capture_output=True, text=True
    )
    return f"no file system can be mounted here: {tried.stderr.strip()}" if tried.returncode else ""


def mount(*arguments: str | Path) -> None:
    """Call mount(8). Raises PermissionError with what it says."""
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        raise PermissionError(done.stderr.strip())


def mount_memory(path: Path, *options: str) -> Path:
    """Mount a small file system in memory."""
    mount("-t", "tmpfs", "-o", ",".join(("size=16m", *options)), "tmpfs", path)
    return path


def unmount(path: Path) -> None:
    subprocess.run(["umount", path], check=True)
