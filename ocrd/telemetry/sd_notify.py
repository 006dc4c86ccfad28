"""What systemd is told, by the protocol of sd_notify(3), and the heartbeat that it waits for."""

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

READY = "READY=1"
STOPPING = "STOPPING=1"
_OURS = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


@dataclass(frozen=True, slots=True)
class Manager:
    """The service manager that started this process; without one, every word goes nowhere."""

    address: str = ""
    """Its socket: a path, or an abstract name that begins with @."""
    watchdog: float | None = None
    """Seconds without a heartbeat after which it ends this process; None: it does not wait for any."""

    @classmethod
    def take(cls) -> Self:
        """Take over what the manager left in the environment, so that no child of ours speaks in our name."""
        address, pid, interval = (os.environ.pop(name, "") for name in _OURS)
        ours = interval.isdigit() and pid in ("", str(os.getpid()))
        return cls(address, int(interval) / 1e6 if ours else None)

    def notify(self, *states: str) -> None:
        """Tell the manager. Never fails: a lost word is no reason to stop."""
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with (
            suppress(OSError),  # nor when no more files can be opened
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.sendto("\n".join(states).encode(errors="replace"), address)

    def status(self, text: str) -> None:
        """Say in one line how things stand, for `systemctl status`."""
        self.notify(f"STATUS={' '.join(text.split())}")

    def wait_longer(self, seconds: float) -> None:
        """Ask for this much time from now on, for a start or stop that gets on but takes long."""
        self.notify(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def reloading(self) -> None:
        """Say that the configuration is being read again; READY ends it."""
        self.notify("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def beat(self) -> None:
        """Send one heartbeat."""
        self.notify("WATCHDOG=1")
