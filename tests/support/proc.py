"""Other processes, as proc(5) tells of them: any may end while it is looked at."""

from contextlib import suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    """List the processes that the threads of one have started, and those below them."""
    found = own_children(pid)
    return [*found, *(other for child in found for other in children(child))]


def own_children(pid: int) -> list[int]:
    """List the processes that the threads of one have started."""
    found: list[int] = []
    for thread in Path("/proc").glob(f"{pid}/task/*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, (thread / "children").read_text().split())
    return found


def command_line(pid: int) -> bytes:
    """Read how a process was started; nothing of one that has gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
