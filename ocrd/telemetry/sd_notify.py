"""What systemd is told, by the protocol of sd_notify(3), and the heartbeat that it waits for."""

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
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
    _unsent: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Messages that its socket had no room for, by what they are about: of each kind the latest."""

    @classmethod
    def take(cls) -> Self:
        """Take over what the manager left in the environment, so that no child of ours speaks in our name."""
        address, pid, interval = (os.environ.pop(name, "") for name in _OURS)
        ours = interval.isdigit() and pid in ("", str(os.getpid()))
        return cls(address, int(interval) / 1e6 if ours else None)

    def notify(self, *states: str) -> None:
        """Tell the manager, now or with the next message. Never fails and never waits.

        A manager that is busy leaves its socket full (a dozen messages, unix(7)); work does not stop for it.
        """
        if not self.address:
            return
        kind = states[0].partition("=")[0]
        self._unsent.pop(kind, None)
        self._unsent[kind] = "\n".join(states)
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with (
            suppress(OSError),  # no room, no manager, or no more files can be opened
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock,
        ):
            for waiting, message in list(self._unsent.items()):
                sock.sendto(message.encode(errors="replace"), address)
                del self._unsent[waiting]

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
