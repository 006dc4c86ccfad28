"""Programs that put files into inboxes, as people really use them."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from house import wait_for

from ocrd.storage import mounts

SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")
"""Where Debian has it; no program's path leads there."""


def program(name: str) -> str:
    """Find a program, or skip the test and say what lacks."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def run(name: str, *arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None) -> None:
    """Run a program to its end, which must be a good one."""
    command = [program(name), *map(str, arguments)]
    subprocess.run(command, input=stdin, check=True, capture_output=True, timeout=120, cwd=cwd)


def gaps_tell(folder: Path) -> bool:
    """Whether a file system tells of gaps in its files (lseek(2)), and is one that ocrd believes."""
    probe = folder / ".gaps"
    with probe.open("wb") as file:
        file.truncate(1 << 20)
        gap = os.lseek(file.fileno(), 0, os.SEEK_HOLE)
    probe.unlink()
    kind = mounts.kind_of(folder)
    return gap == 0 and kind != "zfs" and not mounts.is_shared(kind)


class Samba:
    """A Samba server of our own on the loopback interface, whose share `inbox` is a folder."""

    def __init__(self, root: Path, folder: Path, port: int) -> None:
        self._root, self._port = root, port
        own = "".join(
            f"{key} directory = {_made(root / key)}\n" for key in ("private", "state", "cache", "lock", "pid")
        ).replace("private directory", "private dir")
        (root / "smb.conf").write_text(
            "[global]\nserver role = standalone server\nmap to guest = Bad User\n"
            f"guest account = {os.environ.get('USER', 'root')}\nsmb ports = {port}\n"
            "bind interfaces only = yes\ninterfaces = lo\ndisable spoolss = yes\nload printers = no\n"
            f"ncalrpc dir = {_made(root / 'ncalrpc')}\nlog file = {root}/log\n{own}"
            f"[inbox]\npath = {folder}\nguest ok = yes\nread only = no\n"
        )
        with (root / "out").open("wb") as out:
            command = [program("smbd"), "--foreground", "--no-process-group", "--debug-stdout", "-s", root / "smb.conf"]
            self._server = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            )  # a session of its own: at its end smbd ends its whole process group

    def client(self, commands: str) -> "subprocess.Popen[bytes]":
        """Run commands of smbclient (`put FILE`, `put - NAME`), with a pipe to its stdin."""
        command = [program("smbclient"), "-N", "-p", str(self._port), "//127.0.0.1/inbox", "-c", commands]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def put(self, path: Path, name: str) -> None:
        client = self.client(f'put "{path}" "{name}"')
        told, _ = client.communicate(timeout=120)
        assert client.returncode == 0, told

    def ready(self) -> bool:
        client = self.client("ls")
        client.communicate(timeout=120)
        return client.returncode == 0

    def close(self) -> None:
        self._server.terminate()
        self._server.wait(120)


@contextmanager
def samba(root: Path, folder: Path) -> Iterator[Samba]:
    """Serve a folder by Samba, or skip the test where that can't be."""
    program("smbclient")
    if os.geteuid():
        pytest.skip("smbd needs root to serve a guest")
    server = Samba(_made(root), folder, ports(15_000))
    try:
        wait_for(server.ready)
        yield server
    finally:
        server.close()


def ports(first: int) -> int:
    """Choose a port, and the next one, that are free and none that the kernel gives others by chance (ip(7))."""
    for port in range(first + 2 * (os.getpid() % 3500), first + 7_000, 2):
        if _is_free(port) and _is_free(port + 1):
            return port
    raise AssertionError("every port is taken")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def slowly(path: Path, data: bytes, pieces: int, pause: float) -> None:
    """Write as a slow scanner does: open, append, close, again and again."""
    for number in range(pieces):
        if number:
            time.sleep(pause)
        with path.open("ab") as file:
            file.write(data[len(data) * number // pieces : len(data) * (number + 1) // pieces])


_SYNCTHING = """<configuration version="36">
{devices}
<folder id="scans" path="{folder}" type="{kind}" rescanIntervalS="3600" fsWatcherEnabled="true" fsWatcherDelayS="1">
{shares}
</folder>
<gui enabled="false"></gui>
<options>
<listenAddress>tcp://127.0.0.1:{port}</listenAddress>
<globalAnnounceEnabled>false</globalAnnounceEnabled>
<localAnnounceEnabled>false</localAnnounceEnabled>
<relaysEnabled>false</relaysEnabled>
<natEnabled>false</natEnabled>
<startBrowser>false</startBrowser>
<crashReportingEnabled>false</crashReportingEnabled>
<urAccepted>-1</urAccepted>
<reconnectionIntervalS>1</reconnectionIntervalS>
</options>
</configuration>
"""


@contextmanager
def syncthing(root: Path, source: Path, target: Path) -> Iterator[None]:
    """Let two real Syncthings, which know only each other, copy one folder into the other."""
    homes = [_made(root / name) for name in ("sender", "receiver")]
    for home in homes:
        run("syncthing", "generate", f"--home={home}", "--no-default-folder", "--skip-port-probing")
    first = ports(25_000)
    ids = [_output("syncthing", f"--home={home}", "--device-id") for home in homes]
    devices = "".join(
        f'<device id="{each}"><address>tcp://127.0.0.1:{first + number}</address></device>\n'
        for number, each in enumerate(ids)
    )
    shares = "".join(f'<device id="{each}"></device>\n' for each in ids)
    running = []
    try:
        for number, (home, folder, kind) in enumerate(
            zip(homes, (source, target), ("sendonly", "receiveonly"), strict=True)
        ):
            (_made(folder) / ".stfolder").mkdir()
            settings = {"devices": devices, "shares": shares, "folder": folder, "kind": kind, "port": first + number}
            (home / "config.xml").write_text(_SYNCTHING.format(**settings))
            with (home / "log").open("wb") as log:
                command = [program("syncthing"), "serve", f"--home={home}", "--no-browser", "--no-restart"]
                running.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        yield
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.wait(120)


def _output(name: str, *arguments: str) -> str:
    command = [program(name), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.strip()
