"""A share that stops answering and comes back: a file system of a process (FUSE, bindfs(1)), which is held still."""

import shutil
import signal
import subprocess
import time
from pathlib import Path


def why_not() -> str:
    """Say why there can be no such share here; empty if there can."""
    if not Path("/dev/fuse").exists():
        return "this kernel has no FUSE"
    return "" if shutil.which("bindfs") else "bindfs is not installed (Debian: bindfs)"


class Share:
    """Shows one folder at another place, as long as it answers."""

    def __init__(self, behind: Path, mounted: Path) -> None:
        """Mount it. Raises AssertionError if that takes too long."""
        self.behind = behind
        """Where its files are to be had whether it answers or not."""
        self._mounted = mounted
        self._server = subprocess.Popen(["bindfs", "-f", behind, mounted], stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not mounted.is_mount():
            assert time.monotonic() < deadline, "bindfs does not mount"
            time.sleep(0.05)

    def hang(self) -> None:
        """Let whoever asks it for something wait."""
        self._server.send_signal(signal.SIGSTOP)

    def recover(self) -> None:
        """Answer again, also to all that waited."""
        self._server.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Unmount it."""
        self.recover()
        subprocess.run(["umount", "--lazy", self._mounted], check=False)
        self._server.terminate()
        self._server.wait(120)
