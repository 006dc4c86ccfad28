"""What systemd is told, by the protocol of sd_notify(3)."""

import os
import socket

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify(*states: str) -> None:
    """Tell the service manager, if there is one. Never fails: a lost word is no reason to stop."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto("\n".join(states).encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            return
