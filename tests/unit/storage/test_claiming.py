"""Of several that reach for a file one gets it, and who dies meanwhile loses none."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from spool_house import SCAN, House

from ocrd.errors import MachineError
from ocrd.storage import claiming, durable, renames
from ocrd.storage.spool import Spool

_TAKE_ALL = """
import ctypes, errno, os, sys
from pathlib import Path
from ocrd.storage import claiming, renames
inbox, mine, refused = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "refused"
if refused:
    renames._renamed = lambda *_: False
print("ready", flush=True)
sys.stdin.readline()
for name in sorted(name for name in os.listdir(inbox) if name[0] != "."):
    try:
        claiming.take(inbox / name, mine / name, tag=mine.name)
    except renames.NotAsSeenError:
        pass
"""


@pytest.mark.parametrize("how", ["renameat2", "refused", "copies"])
def test_of_three_that_reach_for_the_same_files_one_gets_each(tmp_path: Path, small_disk: Path, how: str) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for number in range(100):
        (inbox / f"{number:03}").write_bytes(b"%d" % number)
    folders = [(small_disk if how == "copies" else tmp_path) / name for name in "abc"]
    takers = []
    for folder in folders:
        folder.mkdir()
        command = [sys.executable, "-c", _TAKE_ALL, inbox, folder, how]
        takers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    for taker in takers:
        assert taker.stdout
        assert taker.stdout.readline() == b"ready\n"
    for taker in takers:
        assert taker.stdin
        taker.stdin.write(b"\n")
        taker.stdin.flush()
    for taker in takers:
        taker.communicate(timeout=120)
        assert taker.returncode == 0
    got = [name for folder in folders for name in os.listdir(folder)]
    assert sorted(got) == [f"{number:03}" for number in range(100)]
    assert os.listdir(inbox) == []
    assert all((folder / name).read_bytes() == b"%d" % int(name) for folder in folders for name in os.listdir(folder))


@pytest.fixture
def house(tmp_path: Path, small_disk: Path) -> House:
    """Make folders of which the inbox lies on another mount than the rest."""
    house = House(tmp_path)
    house.inbox.rmdir()
    house.inbox.symlink_to(small_disk)
    return house


_CALLS = ("link", "rename", "unlink", "mkdir", "fsync")


def die_at(step: int, life: Callable[[], object]) -> bool:
    """Live in a process of its own until this step on the file system, and die there; whether it ended before."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    left = step

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in _CALLS:
        setattr(os, name, counted(getattr(os, name)))
    renames._renamed = counted(renames._renamed)
    try:
        life()
    finally:
        os._exit(0)


def test_who_dies_while_it_copies_leaves_the_scan_to_one(house: House) -> None:
    """To itself, or to another that reaches for it meanwhile."""
    rival = Spool("scans", house.inbox, house.root / "rival")
    (house.root / "rival").mkdir()
    for step in range(1, 100):
        settled = house.drop()
        ended = die_at(step, lambda settled=settled: house.spool.claim(settled))
        theirs = rival.claim(settled)
        ours = house.recover()
        again = rival.claim(settled)
        assert len(ours) + bool(theirs) + bool(again) == 1, step
        assert os.listdir(house.inbox) == []
        for job in (*ours, *filter(None, (theirs, again))):
            assert job.source.read_bytes() == SCAN
            durable.remove_folder(job.folder)
        assert os.listdir(house.work) == os.listdir(house.root / "rival") == []
        if ended:
            break
    else:
        raise AssertionError
    assert step > 8


def test_what_another_host_took_is_not_missed_though_the_share_still_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As sshfs does for twenty seconds: that is no fault of the machine. A folder that went away is."""

    def gone(source: Path, target: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source, None, target)

    monkeypatch.setattr(renames, "rename_own", gone)
    (tmp_path / "a.pdf").write_bytes(SCAN)
    (tmp_path / "job").mkdir()
    with pytest.raises(renames.NotAsSeenError):
        claiming.take(tmp_path / "a.pdf", tmp_path / "job/source.pdf", tag="job")
    with pytest.raises(MachineError, match="No such file"):
        claiming.take(tmp_path / "a.pdf", tmp_path / "none/source.pdf", tag="job")


def test_a_rename_that_was_done_and_is_denied_loses_no_file(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a server of NFS may answer, that restarts and is asked for the same again."""
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        real(source, target)
        if target.name.endswith(".taken"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)

    settled = house.drop()
    monkeypatch.setattr(os, "rename", rename)
    job = house.spool.claim(settled)
    assert job
    assert job.source.read_bytes() == SCAN
    assert os.listdir(house.inbox) == []


@pytest.mark.parametrize("more", [False, True])
def test_a_file_that_comes_under_the_name_of_one_that_another_took_stays(
    house: House, monkeypatch: pytest.MonkeyPatch, *, more: bool
) -> None:
    settled, real = house.drop(), durable.copy_temporary

    def copied(source: Path, *args: Any, **options: Any) -> Path:
        made = real(source, *args, **options)
        os.unlink(settled.path)  # taken
        house.drop(data=b"new")
        return made

    def put_aside(source: Path, aside: Path) -> None:
        put(source, aside)
        if more:
            house.drop(data=b"newer")

    put = claiming._put_aside
    monkeypatch.setattr(durable, "copy_temporary", copied)
    monkeypatch.setattr(claiming, "_put_aside", put_aside)
    assert house.spool.claim(settled) is None
    monkeypatch.undo()
    left = sorted(path.read_bytes() for path in house.inbox.iterdir())
    assert left == ([b"new", b"newer"] if more else [b"new"])
    assert not any(path.name.startswith(".") for path in house.inbox.iterdir())


def test_a_claim_that_the_machine_spoils_at_its_last_step_is_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed_once(aside: Path) -> None:
        monkeypatch.undo()
        raise OSError(errno.EIO, os.strerror(errno.EIO), aside)

    settled = house.drop()
    monkeypatch.setattr(claiming, "_delete", failed_once)
    job = house.spool.claim(settled)
    assert job
    assert job.source.read_bytes() == SCAN
    assert os.listdir(house.inbox) == []


def test_a_claim_that_the_machine_breaks_off_gives_the_original_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    settled = house.drop()
    with monkeypatch.context() as context:
        context.setattr(claiming, "_check", full)
        with pytest.raises(MachineError):
            house.spool.claim(settled)
    assert os.listdir(house.inbox) == ["scan.pdf"]
    assert house.spool.claim(settled)
