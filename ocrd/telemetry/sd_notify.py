"""What systemd is told, by the protocol of sd_notify(3), and the heartbeat that it waits for."""

import os
import socket
import time
from collections.abc import Callable
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


Sign = Callable[[float], str | None]
"""Looks at one thing that must move, at a time in monotonic seconds: what is wrong with it, or None."""


class Heart:
    """Beats only while all that must move does, so that a daemon that merely exists is not taken for one that works.

    That the event loop turns is proven by the call itself; look-outs and engine give their signs.
    """

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._signs: list[Sign] = []
        self.complaint: str | None = None
        """Why it does not beat; None while it does."""

    def needs(self, sign: Sign) -> None:
        """Beat only while this sign is good, too."""
        self._signs.append(sign)

    def beat(self, now: float) -> str | None:
        """Beat if every sign is good. Returns what is wrong when that is new, for the log."""
        before, self.complaint = self.complaint, next(filter(None, (sign(now) for sign in self._signs)), None)
        if self.complaint is None:
            self._manager.beat()
            return None
        return self.complaint if before is None else None
