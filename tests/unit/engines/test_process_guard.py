"""No process of an engine outlives its daemon: each is recorded, tied to it, and swept by the next."""

import asyncio
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ocrd.concurrency import processes
from ocrd.engines.vllm import process_guard

PR_SET_CHILD_SUBREAPER = 36
"""From linux/prctl.h."""

TIED = """
import os, sys
from ocrd.concurrency import processes
from ocrd.engines.vllm import process_guard
process_guard.tie()
print(os.getpid(), "NOTIFY_SOCKET" in os.environ, os.getsid(0) == os.getpid(), flush=True)
sys.stdin.read()
"""


def test_a_tied_process_is_recorded_and_swept_once_its_daemon_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    home = process_guard.Home(tmp_path)
    home.open()
    home.announce()
    with subprocess.Popen([sys.executable, "-c", TIED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        assert it.stdout.readline().split() == [str(it.pid), "False", "True"]
        assert process_guard.pid_in(home.record) == it.pid
        process_guard.sweep(tmp_path)  # this process, its daemon, is alive
        assert it.poll() is None
        pid, start, _, _ = process_guard._read(home.record)
        home.record.write_text(f"{pid} {start} 999999999 1\n")
        process_guard.sweep(tmp_path)
        assert it.wait(120) == -9
    assert not home.folder.exists()


LEADER = """
import os, subprocess, sys
from ocrd.concurrency import processes
from ocrd.engines.vllm import process_guard
process_guard.tie()
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
sys.stdin.read()
"""


def test_a_worker_that_outlived_its_engine_is_swept(tmp_path: Path) -> None:
    home = process_guard.Home(tmp_path)
    home.open()
    home.announce()
    with subprocess.Popen([sys.executable, "-c", LEADER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as it:
        assert it.stdout is not None
        worker = int(it.stdout.readline())
        it.kill()
    assert processes.started(worker) > 0
    pid, start, _, _ = process_guard._read(home.record)
    home.record.write_text(f"{pid} {start} 999999999 1\n")
    process_guard.sweep(tmp_path)
    deadline = time.monotonic() + 120
    while processes.started(worker) > 0:
        assert time.monotonic() < deadline


def test_an_engine_that_was_ended_is_gone_with_its_workers(tmp_path: Path) -> None:
    home = process_guard.Home(tmp_path)
    home.open()
    home.announce()
    with subprocess.Popen([sys.executable, "-c", LEADER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as it:
        assert it.stdout is not None
        worker = int(it.stdout.readline())
        asyncio.run(home.end())
        assert (processes.started(it.pid), processes.started(worker)) == (processes.GONE, processes.GONE)


FIRST_THREAD_ENDS = """\
import ctypes, platform, threading, sys
from ocrd.engines.vllm import process_guard
process_guard.tie()
threading.Thread(target=sys.stdin.read).start()
print("tied", flush=True)
exit = {"x86_64": 60, "aarch64": 93}[platform.machine()]  # exit(2) ends the calling thread alone
ctypes.CDLL(None).syscall(exit, 0)
"""


def test_an_engine_whose_first_thread_alone_has_ended_is_not_gone(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    """So a killed process looks, in `/proc`, while its last thread gives gigabytes of memory back."""
    home = process_guard.Home(tmp_path)
    home.open()
    home.announce()
    program = [sys.executable, "-c", FIRST_THREAD_ENDS]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as it:
        assert it.stdout is not None
        assert it.stdin is not None
        it.stdout.readline()
        eventually(lambda: (found := processes.find(it.pid)) is not None and found.state == "Z")
        assert home.pid == it.pid
        assert it.poll() is None
        asyncio.run(home.end())
        assert it.poll() == -signal.SIGKILL


def test_the_end_of_an_engine_that_takes_its_time_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = iter([True, True, False, True])
    monkeypatch.setattr(process_guard, "kill", lambda _: next(there))
    asyncio.run(process_guard.Home(tmp_path).end())
    assert next(there)


def test_an_engine_that_the_kernel_holds_on_to_is_left_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process_guard, "END_SECONDS", 0)
    monkeypatch.setattr(process_guard, "kill", lambda _: True)
    asyncio.run(process_guard.Home(tmp_path).end())
    assert "has not ended" in caplog.text


def test_a_recorded_number_that_another_process_has_by_now_is_left_alone(tmp_path: Path) -> None:
    home = process_guard.Home(tmp_path)
    home.folder.mkdir()
    home.record.write_text(f"{os.getpid()} 1 999999999 1\n")
    process_guard.sweep(tmp_path)
    assert not home.folder.exists()


ORPHANED = """
import os, sys, time
parent = os.getppid()
print(os.getpid(), flush=True)
while os.getppid() == parent:
    time.sleep(0.01)
from ocrd.engines.vllm import process_guard
process_guard.die_with_parent()
time.sleep(30)
"""

DAEMON = """
import os, subprocess, sys
from pathlib import Path
from ocrd.engines.vllm import process_guard
home = process_guard.Home(Path(sys.argv[1]))
home.open()
home.announce()
child = subprocess.Popen([sys.executable, "-c", sys.argv[2]], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline(), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("adopts", [False, True])
def test_an_engine_whose_daemon_died_before_it_was_tied_ends_whoever_adopts_it(adopts: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """As under `systemd --user`, where the first process of all adopts nobody."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, int(adopts), 0, 0, 0)
    try:
        daemon = subprocess.run(
            [sys.executable, "-c", DAEMON, str(tmp_path), ORPHANED],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        orphan = int(daemon.stdout)
        if adopts:
            assert os.waitstatus_to_exitcode(os.waitpid(orphan, 0)[1]) == -signal.SIGKILL
        with contextlib.suppress(ProcessLookupError):  # it is gone already
            assert select.select([os.pidfd_open(orphan)], [], [], 120)[0], "it lives on"
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
