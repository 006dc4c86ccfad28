"""A watch whose folders are on a real sshfs: no events, other inode numbers for links, and errors of another kind."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House, wait_for
from writers import SFTP_SERVER, program

from ocrd.errors import DocumentError

NAMES = ("a.pdf", "in/12:30 ü.pdf", f"{'x' * 251}.pdf", f"{'ö' * 90}.pdf")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A folder behind a server of SFTP, which is spoken to without a network."""
    if not (Path("/dev/fuse").exists() and SFTP_SERVER.exists()):
        pytest.skip("this needs FUSE and openssh-sftp-server")
    behind, mounted = tmp_path / "behind", tmp_path / "a mount"
    behind.mkdir()
    mounted.mkdir()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server = subprocess.Popen([SFTP_SERVER], stdin=theirs, stdout=theirs)
        command = [program("sshfs"), "-f", "-o", "passive", f":{behind}", mounted]
        client = subprocess.Popen(command, stdin=ours, stdout=ours)
    wait_for(mounted.is_mount)
    yield mounted
    subprocess.run(["umount", "--lazy", mounted], check=True)
    for process in (client, server):
        process.terminate()
        process.wait(120)


def test_scans_on_sshfs_are_delivered_and_nothing_pauses(house: House, mounted: Path) -> None:
    folders = {role: mounted / role for role in ("inbox", "outbox", "archive", "error")}
    house.configure(watch={role: str(folder) for role, folder in folders.items()})
    house.drop("a.pdf", pages=2)
    data = house.path("inbox/a.pdf").read_bytes()
    for name in NAMES:
        path = folders["inbox"] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data + b"%% " + name.encode())
    (folders["inbox"] / "broken.pdf").write_bytes(b"no PDF")
    assert house.start("once").wait(120) == DocumentError.exit_code, house.log.read_text()
    assert not house.events("paused")
    assert not house.events("put off")
    for name in NAMES:
        assert (folders["archive"] / name).read_bytes() == data + b"%% " + name.encode()
    assert len(list(folders["outbox"].rglob("*.md"))) == len(NAMES)
    assert sorted(path.name for path in folders["error"].iterdir()) == ["broken.pdf", "broken.pdf.error.md"]
    assert list(folders["inbox"].rglob("*.pdf")) == []
