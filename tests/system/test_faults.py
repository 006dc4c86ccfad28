"""A fault of the machine is not the document's fault: real daemons on real small file systems that fill and vanish.

All mounts are in a namespace of this process, and vanish with it.
"""

import fcntl
import os
import resource
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest
from house import SUPPORT, Daemon, House, stop, wait_for
from mounts import go_private, mount, mount_memory, unmount, why_not_private

from ocrd.daemon.pause import RETRY_SECONDS

ROLES = ("inbox", "outbox", "archive", "error")
CURED = 50
"""Seconds in which work must go on after a cure, on a machine with other things to do: before all is looked through, a
minute after the last time."""


@pytest.fixture(scope="module", autouse=True)
def _mounts_of_our_own() -> None:
    if reason := why_not_private():
        pytest.skip(reason)
    go_private()


def small(path: Path) -> Path:
    """Mount a file system of 1 MiB."""
    path.mkdir(parents=True, exist_ok=True)
    return mount_memory(path, "size=1m", "nr_inodes=256")


def fill(disk: Path) -> Path:
    """Use up every byte and every inode. Returns the folder to delete for a cure."""
    ballast = disk / ".ballast"
    ballast.mkdir()
    for size in (2**16, 2**12, 1):
        with pytest.raises(OSError, match="No space left"):
            for number in range(10_000):
                (ballast / f"{size}-{number}").write_bytes(b"x" * size)
    return ballast


def settled_down(house: House, daemon: Daemon) -> tuple[int, int]:
    """Measure what may not grow while a fault lasts: the log's lines, and the daemon's memory in KiB."""
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    rss = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return len(house.log.read_text().splitlines()), rss


def outlast(house: House, daemon: Daemon) -> None:
    """Let a fault last for two tries, and see that it costs neither log nor memory."""
    lines, rss = settled_down(house, daemon)
    deadline = time.monotonic() + 2.4 * RETRY_SECONDS
    wait_for(lambda: time.monotonic() > deadline, 4 * RETRY_SECONDS)
    lines_after, rss_after = settled_down(house, daemon)
    assert lines_after <= lines + 1
    assert rss_after < rss + 8192


def one_pause(house: House, watch: str, *words: str) -> None:
    """See that one line, and one only, says what is wrong and where."""
    [line] = house.told("paused", watch)
    text = f"{line['what']} {line['remedy']}"
    assert [word for word in words if word not in text] == []


def began(house: House) -> Daemon:
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    return daemon


def test_a_full_disk_pauses_its_watch_alone_and_work_resumes_when_there_is_space(house: House) -> None:
    roles = {"outbox": "outbox", "archive": "archive", "error": "error", "work": ".inbox.ocrd-work"}
    names = (*roles, "whole")
    house.configure(names)
    disks = {name: small(house.path(folder, name)) for name, folder in roles.items()}
    daemon = began(house)
    ballast = {name: fill(disk) for name, disk in disks.items()}
    for name in names:
        for number in range(3):
            house.drop(f"{number}.pdf", watch=name)
    house.path("inbox/bad.pdf", "error").write_bytes(b"no PDF")
    wait_for(lambda: len(house.files("archive", "whole")) == 3)
    wait_for(lambda: len(house.events("paused")) == len(roles))
    for name, folder in roles.items():
        one_pause(house, name, str(house.path(folder, name)), "No space left on device", "Free some space")
    wait_for(lambda: len(house.events("delivered")) == 6)  # of the whole one, and of that whose error/ is full
    outlast(house, daemon)
    assert len(house.events("paused")) == len(roles)
    house.drop("late.pdf", watch="outbox")
    for folder in ballast.values():
        shutil.rmtree(folder)
    for name in roles:
        wait_for(lambda name=name: house.told("resumed", name), CURED)
        wait_for(lambda name=name: len(house.files("archive", name)) == 3 + (name == "outbox"), CURED)
        assert len(house.files("outbox", name)) == 3 + (name == "outbox")
        assert house.files("error", name) == (["bad.pdf", "bad.pdf.error.md"] if name == "error" else [])
    assert len(house.reads()) == 3 * len(names) + 1, "no page is read in vain"
    assert stop(daemon) == 0


def test_a_share_that_is_read_only_or_gone_is_waited_for(house: House) -> None:
    names = ("readonly", "archived", "outbox", "inbox", "whole")
    house.configure(names)
    locked = {"readonly": house.path("outbox", "readonly"), "archived": house.path("archive", "archived")}
    for folder in locked.values():
        small(folder)
    shares = {name: small(house.root / "share" / name) for name in ("outbox", "inbox")}
    for name, share in shares.items():
        house.path(name, name).mkdir(exist_ok=True)
        mount("--bind", share, house.path(name, name))
    daemon = began(house)
    for folder in locked.values():
        mount("-o", "remount,ro", folder)
    for name in shares:
        unmount(house.path(name, name))
    for name in names:
        house.drop("a.pdf", watch=name)
    shutil.move(house.path("inbox/a.pdf", "inbox"), shares["inbox"])
    wait_for(lambda: len(house.events("paused")) == 4)
    for name, folder in locked.items():
        one_pause(house, name, str(folder), "Read-only file system")
    one_pause(house, "outbox", str(house.path("outbox", "outbox")), "Nothing is mounted any more")
    one_pause(house, "inbox", str(house.path("inbox", "inbox")), "Nothing is mounted any more")
    outlast(house, daemon)
    assert list(house.path("outbox", "outbox").iterdir()) == [], "written where nobody will see it"
    for folder in locked.values():
        mount("-o", "remount,rw", folder)
    for name, share in shares.items():
        mount("--bind", share, house.path(name, name))
    for name in names:
        wait_for(lambda name=name: house.files("archive", name) == ["a.pdf"], CURED)
        assert house.files("outbox", name) == ["a.md"]
        assert house.files("error", name) == []
    wait_for(lambda: len(house.events("resumed")) == 4)
    assert len(house.reads()) == len(names)
    assert stop(daemon) == 0


def test_permission_lost_is_waited_for_and_a_forbidden_file_is_left_alone(
    house: House, plain_user: dict[str, object]
) -> None:
    names = ("outbox", "inbox", "whole")
    house.configure(names, settle={"quiet": "3s"})  # nothing is taken before its folder is closed
    house.drop("theirs/a.pdf", watch="whole")
    house.path("inbox/theirs", "whole").chmod(0o555)
    daemon = house.start(**plain_user)
    wait_for(lambda: house.events("ready"))
    for name in ("outbox", "inbox"):
        house.drop("a.pdf", watch=name)
        house.path(name, name).chmod(0o555)
    house.drop("b.pdf", watch="whole")
    wait_for(lambda: len(house.events("paused")) == 2)
    for name in ("outbox", "inbox"):
        one_pause(house, name, "Permission denied", f"uid {os.geteuid()}")
    wait_for(lambda: house.files("archive", "whole") == ["b.pdf"])
    [line] = house.told("left alone", "whole")
    assert "theirs/a.pdf" in str(line["reason"])
    outlast(house, daemon)
    for name in ("outbox", "inbox"):
        house.path(name, name).chmod(0o755)
    for name in ("outbox", "inbox"):
        wait_for(lambda name=name: house.files("archive", name) == ["a.pdf"], CURED)
        assert house.files("error", name) == []
    assert house.files("inbox", "whole") == ["theirs/a.pdf"]
    assert stop(daemon) == 0


def test_a_file_on_another_mount_that_may_not_be_read_is_left_alone(
    house: House, plain_user: dict[str, object]
) -> None:
    house.configure(("apart",))
    inbox = small(house.path("inbox", "apart"))
    inbox.chmod(0o777)
    daemon = house.start(**plain_user)
    wait_for(lambda: house.events("ready"))
    house.drop("open.pdf", watch="apart")
    house.drop("closed.pdf.part", watch="apart")
    closed = house.path("inbox/closed.pdf", "apart")
    part = closed.with_name("closed.pdf.part")
    content = part.read_bytes()
    part.chmod(0)
    part.rename(closed)
    wait_for(lambda: house.files("archive", "apart") == ["open.pdf"])
    wait_for(lambda: house.told("left alone", "apart"))
    [line] = house.told("left alone", "apart")
    assert "closed.pdf" in str(line["reason"])
    assert closed.read_bytes() == content
    closed.chmod(0o644)
    subprocess.run(["touch", closed], check=True)  # as the remedy asks for
    wait_for(lambda: house.files("archive", "apart") == ["closed.pdf", "open.pdf"], CURED)
    assert house.files("error", "apart") == house.events("paused") == []
    assert stop(daemon) == 0


def test_too_many_open_files_are_waited_for(house: House) -> None:
    daemon = began(house)
    house.drop("first.pdf")
    wait_for(lambda: house.files("archive") == ["first.pdf"])
    usual = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, usual[1]))
    house.drop("a.pdf")
    wait_for(lambda: house.events("paused"))
    one_pause(house, "scans", "Too many open files", "LimitNOFILE")
    outlast(house, daemon)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, usual)
    wait_for(lambda: "a.pdf" in house.files("archive"), CURED)
    assert house.files("error") == []
    assert stop(daemon) == 0


def test_a_quota_that_is_used_up_is_waited_for(house: House, tmp_path: Path) -> None:
    house.path("outbox").mkdir()
    share = quota_share(tmp_path)
    mount("--bind", share, house.path("outbox"))
    daemon = began(house)
    set_quota(share, str(32 * 2**10))
    house.drop("a.pdf")
    wait_for(lambda: house.events("paused"))
    one_pause(house, "scans", str(house.path("outbox")), "Disk quota exceeded", "Free some space")
    outlast(house, daemon)
    assert house.files("outbox") == []
    set_quota(share, "none")
    wait_for(lambda: house.files("archive") == ["a.pdf"], CURED)
    assert house.files("outbox") == ["a.md"]
    assert house.files("error") == []
    assert stop(daemon) == 0


def quota_share(tmp_path: Path) -> Path:
    """Make a subvolume that can have a quota, on a btrfs out of a file. Skips where that can't be had."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(128 * 2**20)  # the least that btrfs takes; the file has holes
    if not shutil.which("mkfs.btrfs"):
        pytest.skip("mkfs.btrfs is not installed (Debian: btrfs-progs)")
    subprocess.run(["mkfs.btrfs", "-q", image], check=True)
    try:
        mount("-o", "loop", image, disk)
    except PermissionError as error:
        pytest.skip(f"a file system with quotas can't be mounted here: {error}")
    subprocess.run(["btrfs", "quota", "enable", disk], check=True)
    subprocess.run(["btrfs", "subvolume", "create", disk / "share"], check=True)
    return disk / "share"


def set_quota(share: Path, limit: str) -> None:
    """Limit a subvolume to so many bytes, for everybody, root too; `none`: no limit."""
    subprocess.run(["btrfs", "qgroup", "limit", limit, share], check=True)


def test_a_disk_that_fails_is_waited_for_until_it_is_mounted_again(house: House, tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(16 * 2**20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    house.path("outbox").mkdir()
    try:
        mount("-o", "loop", image, house.path("outbox"))
    except PermissionError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    daemon = began(house)
    fail(house.path("outbox"))
    house.drop("a.pdf")
    wait_for(lambda: house.events("paused"))
    one_pause(house, "scans", str(house.path("outbox")), "Input/output error", "the kernel's log")
    outlast(house, daemon)
    unmount(house.path("outbox"))
    mount("-o", "loop", image, house.path("outbox"))
    wait_for(lambda: house.files("archive") == ["a.pdf"], CURED)
    assert house.files("outbox") == ["a.md"]
    assert house.files("error") == []
    assert stop(daemon) == 0


def fail(disk: Path) -> None:
    """Let every access to an ext4 fail from here on (EXT4_IOC_SHUTDOWN), as after an error of the disk."""
    folder = os.open(disk, os.O_RDONLY)
    fcntl.ioctl(folder, 0x8004587D, struct.pack("I", 2))  # without a last write of the journal
    os.close(folder)


def test_a_clock_that_jumps_back_changes_nothing(house: House, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("a clock can't be bent without a C compiler (Debian: gcc)")
    library, clock = tmp_path / "clock.so", tmp_path / "clock"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, SUPPORT / "clock.c"], check=True)
    clock.write_text("0")
    env = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(clock)}
    house.configure(seconds=0.2, window=1)
    daemon = house.start(env=env)
    wait_for(lambda: house.events("ready"))
    house.drop("before.pdf", pages=10)
    wait_for(lambda: len(house.reads()) >= 3)
    clock.write_text("-34560000")  # 400 days
    house.drop("after.pdf")
    wait_for(lambda: house.files("archive") == ["after.pdf", "before.pdf"])
    wait_for(lambda: len(house.events("delivered")) == 2)
    assert min(str(line["timestamp"]) for line in house.events("delivered")) < str(
        house.events("ready")[0]["timestamp"]
    )
    assert sorted(house.reads()) == sorted([*range(10), 0])
    assert house.files("error") == []
    for line in house.events("delivered"):
        assert min(line["seconds"], line["latency"]) >= 0  # type: ignore[type-var]
    assert stop(daemon) == 0
