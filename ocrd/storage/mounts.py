"""Which file system a folder is on, and whether other machines can change it behind this kernel's back."""

import os
from pathlib import Path

_SHARED = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4",
    "ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
})  # fmt: skip

_LATE = frozenset({"fuse.rclone"})


def kind_of(folder: Path) -> str:
    """Name the file system that holds a folder, as mount(8) does (`ext4`, `cifs`, `fuse.sshfs`); empty if unknown.

    Raises OSError if the folder can't be opened.
    """
    return _kind(_mount_of(folder))


def mount_point(folder: Path) -> Path:
    """Say where the file system is mounted that a folder lies on now. Raises OSError if the folder can't be reached."""
    fields = _mount_of(folder)
    if not fields:
        return Path("/")
    return Path(os.fsdecode(os.fsencode(fields[4]).decode("unicode_escape").encode("latin-1")))


def is_shared(kind: str) -> bool:
    """Whether other machines write to a file system of this kind: then events and leases tell of this one only."""
    return kind in _SHARED or kind.startswith("fuse.")


def is_late(kind: str) -> bool:
    """Whether a file system of this kind keeps files for a while before it stores them, whatever fsync(2) says."""
    return kind in _LATE


def _mount_of(folder: Path) -> list[str]:
    """Find the mount that holds a folder: `36 35 98:0 / /mnt rw shared:1 - ext4 /dev/sda rw`, with any count of tags.

    By the mount's number, which the kernel tells of an open file: paths can't be compared, since a mount can be hidden
    below another. Empty where /proc does not tell (proc(5), /proc/PID/fdinfo and mountinfo).
    """
    held = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        facts = Path(f"/proc/self/fdinfo/{held}").read_text(encoding="ascii")
        table = os.fsdecode(Path("/proc/self/mountinfo").read_bytes())
    except OSError:
        return []
    finally:
        os.close(held)
    number = next((line.split()[1] for line in facts.splitlines() if line.startswith("mnt_id:")), "")
    return _find(number, table)


def _kind(fields: list[str]) -> str:
    """Take the file system's name out of a mount's fields: behind the tags, of which there may be any number."""
    return fields[fields.index("-") + 1] if fields else ""


def _find(number: str, table: str) -> list[str]:
    """Find a mount by its number in a table as /proc/PID/mountinfo has it; empty if it is not there."""
    return next((fields for line in table.splitlines() if (fields := line.split(" "))[0] == number), [])
