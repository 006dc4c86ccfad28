"""Which file system a folder is on, and whether other machines can change it behind this kernel's back."""

import os
from contextlib import suppress
from pathlib import Path

_SHARED = frozenset({
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4",
    "ocfs2", "orangefs", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs",
})  # fmt: skip


def kind_of(folder: Path) -> str:
    """Name the file system that holds a folder, as mount(8) does (`ext4`, `cifs`, `fuse.sshfs`); empty if unknown.

    By the mount's own number, which the kernel tells of an open file (proc(5), /proc/PID/fdinfo and mountinfo): paths
    can't be compared, since a mount can be hidden below another. Raises OSError if the folder can't be opened.
    """
    descriptor = os.open(folder, os.O_PATH)
    try:
        with suppress(OSError):  # without /proc nothing is known
            facts = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
            table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
            return _kind(_mount_of(facts), table)
    finally:
        os.close(descriptor)
    return ""


def _mount_of(facts: str) -> str:
    return next((line.split()[1] for line in facts.splitlines() if line.startswith("mnt_id:")), "")


def _kind(number: str, table: str) -> str:
    """Find a mount by its number: `36 35 98:0 / /mnt rw shared:1 - ext4 /dev/sda rw`, with any count of tags."""
    for line in table.splitlines():
        fields = line.split(" ")
        if fields[0] == number:
            return fields[fields.index("-") + 1]
    return ""


def is_shared(kind: str) -> bool:
    """Whether other machines write to a file system of this kind: then events and leases tell of this one only."""
    return kind in _SHARED or kind.startswith("fuse.")


def mount_point(folder: Path) -> Path:
    """Say where the file system is mounted that a folder lies on now. Raises OSError if the folder can't be reached.

    By the mount's number, since a mount can be hidden below another (proc(5), /proc/PID/fdinfo and mountinfo).
    """
    held = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        facts = Path(f"/proc/self/fdinfo/{held}").read_text(encoding="ascii")
    finally:
        os.close(held)
    number = next(line.split()[1] for line in facts.splitlines() if line.startswith("mnt_id:"))
    for line in os.fsdecode(Path("/proc/self/mountinfo").read_bytes()).splitlines():
        fields = line.split(" ")
        if fields[0] == number:
            return Path(os.fsdecode(os.fsencode(fields[4]).decode("unicode_escape").encode("latin-1")))
    return Path("/")
