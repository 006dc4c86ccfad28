"""Whether somebody still writes to a file, as far as the kernel tells."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ocrd.intake.open_writers import unfinished
from ocrd.model import FileStamp

OPEN = "a program still has it open for writing"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "scan.pdf"
    path.write_bytes(b"scan")
    return path


def told(path: Path, *, local: bool = True) -> str:
    return unfinished(path, FileStamp.of(path.lstat()), local=local)


@pytest.mark.parametrize("mode", ["ab", "r+b"])
def test_a_writer_is_seen_until_it_closes(path: Path, mode: str) -> None:
    with path.open(mode):
        assert told(path) == OPEN
    assert told(path) == ""


def test_a_reader_is_no_writer(path: Path) -> None:
    with path.open("rb"):
        assert told(path) == ""


def test_a_map_that_can_be_written_is_seen_after_the_file_was_closed(path: Path) -> None:
    import mmap

    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 4)
    assert told(path) == OPEN
    mapped.close()
    assert told(path) == ""


def test_on_a_share_only_the_stamp_counts(path: Path) -> None:
    with path.open("ab"):
        assert told(path, local=False) == ""


def test_a_file_that_changed_since_the_scan_is_still_changing(path: Path) -> None:
    before = FileStamp.of(path.lstat())
    path.write_bytes(b"scan, and more")
    assert unfinished(path, before, local=True) == "it is still changing"


@pytest.mark.parametrize("gone", [Path.unlink, lambda path: path.chmod(0)], ids=["gone", "closed to us"])
def test_what_cannot_be_opened_is_left_to_the_claim(path: Path, gone: Callable[[Path], None]) -> None:
    stamp = FileStamp.of(path.lstat())
    gone(path)
    assert unfinished(path, stamp, local=True) == ""


def test_a_lease_of_another_program_is_a_lock(path: Path) -> None:
    """As Samba takes one for a client that caches what it writes (kernel oplocks)."""
    take = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.fcntl(f, fcntl.F_SETSIG, 23); "
    take += "fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", take, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        assert told(path) == "another program has locked it"
        other.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize(("capable", "expected"), [(True, OPEN), (False, "")])
def test_a_file_of_another_user_needs_the_capability(path: Path, *, capable: bool, expected: str) -> None:
    import ctypes

    os.chown(path, 65534, 65534)
    lease, drop = 28, 24  # CAP_LEASE, PR_CAPBSET_DROP
    code = "import sys; from pathlib import Path; from test_open_writers import told; print(told(Path(sys.argv[1])))"
    path_to_us = os.pathsep.join(
        filter(
            None, [str(Path(__file__).parent), str(Path(__file__).parents[2] / "support"), os.environ.get("PYTHONPATH")]
        )
    )
    with path.open("ab"):
        answer = subprocess.run(
            [sys.executable, "-c", code, path],
            preexec_fn=None if capable else lambda: ctypes.CDLL(None).prctl(drop, lease),
            env={**os.environ, "PYTHONPATH": path_to_us},
            capture_output=True,
            text=True,
            check=True,
        )
    assert answer.stdout.strip() == expected
