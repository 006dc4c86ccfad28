"""Worker processes: their limits, what a death costs, and that a fault that passes leaves nothing behind."""

import asyncio
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from ocrd.concurrency import fork_server, processes, worker_pool, worker_process
from ocrd.concurrency.worker_pool import Limits, WorkerError, Workers
from ocrd.concurrency.worker_process import StallError
from ocrd.errors import MachineError

GENEROUS = Limits(seconds=600, memory=2**31)
LARGE = 20 << 20
Use = Callable[[Workers], Awaitable[Any]]


def surroundings() -> dict[str, object]:
    return {
        "telemetry": os.environ["ORT_DISABLE_TELEMETRY"],
        "threads": os.environ["OPENBLAS_NUM_THREADS"],
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
        "files": resource.getrlimit(resource.RLIMIT_FSIZE)[0],
        "interrupt": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    }


def die_unless(path: str, number: int) -> str:
    """Die the first time; a folder remembers, since a worker may write no file."""
    if not Path(path).exists():
        Path(path).mkdir()
        die(number)
    return "alive"


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def fail() -> None:
    raise RuntimeError("its own")


def unsendable() -> object:
    return threading.Lock()


def write(path: str) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    Path(path).write_text("anything")


def complain() -> None:
    print("the data are corrupt", file=sys.stderr)


def compute() -> None:
    while True:
        pass


def wait_while(path: str) -> str:
    """Wait for what does not answer, as a read from a dead share does."""
    while Path(path).exists():
        signal.sigtimedwait([signal.SIGUSR1], 60)
    return "answered"


def free_large_blocks() -> int:
    """Return how many bytes more this process holds after it had large blocks, each with a small one behind it."""
    before = resident()
    kept = []
    for _ in range(3):
        block = b"x" * LARGE
        kept.append(b"y" * (LARGE // 100))
        del block
    return resident() - before


def resident() -> int:
    process = processes.find(os.getpid())
    assert process is not None
    return process.resident


def meet(mine: str, others: str, seconds: float) -> bool:
    """Return whether another call runs at the same time, which is waited for."""
    Path(mine).mkdir()
    deadline = time.monotonic() + seconds
    while not (found := Path(others).exists()) and time.monotonic() < deadline:
        time.sleep(0.01)
    if not found:
        Path(mine).rmdir()  # else it stays, so that the other sees it, too
    return found


def use(story: Use, count: int = 1, limits: Limits = GENEROUS) -> Any:
    async def life() -> Any:
        workers = Workers(count, limits)
        try:
            return await story(workers)
        finally:
            await workers.close()

    return asyncio.run(life())


def run(function: Callable[..., object], *args: object, limits: Limits = GENEROUS) -> Any:
    return use(lambda workers: workers.run(function, *args), limits=limits)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "STALL", 2.0)


def test_a_worker_is_confined_and_reports_to_nobody() -> None:
    expected = {"telemetry": "1", "threads": "1", "memory": 2**31, "files": 0, "interrupt": True}
    assert run(surroundings) == expected


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_call_whose_worker_dies_once_is_made_again(tmp_path: Path, number: int) -> None:
    assert run(die_unless, str(tmp_path / "died"), number) == "alive"


def test_a_call_that_crashes_its_workers_is_given_up() -> None:
    with pytest.raises(WorkerError, match=r"crashed 2 workers \(exit code -11\)"):
        run(die, signal.SIGSEGV)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGBUS, signal.SIGTERM])
def test_a_call_whose_workers_are_killed_is_not_to_blame(number: int) -> None:
    with pytest.raises(MachineError, match="was killed"):
        run(die, number)


def test_a_call_that_is_killed_again_and_again_while_nothing_else_runs_is_to_blame(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_pool, "_APART", 0.0)

    async def story(workers: Workers) -> None:
        for _ in range(worker_pool._KILLINGS):
            with pytest.raises(MachineError, match="was killed"):
                await workers.run(die, signal.SIGKILL, about="bad")
        with pytest.raises(WorkerError, match="had its worker killed 6 times"):
            await workers.run(die, signal.SIGKILL, about="bad")
        with pytest.raises(MachineError, match="was killed"):
            await workers.run(die, signal.SIGKILL, about="another")

    use(story)


def test_killings_close_to_each_other_count_once() -> None:
    async def story(workers: Workers) -> None:
        for _ in range(worker_pool._KILLINGS + 2):
            with pytest.raises(MachineError, match="was killed"):
                await workers.run(die, signal.SIGKILL, about="unlucky")

    use(story)


def test_a_call_that_was_killed_is_made_again_alone(tmp_path: Path) -> None:
    one, other, third, fourth = (str(tmp_path / name) for name in ("one", "other", "third", "fourth"))

    async def story(workers: Workers) -> None:
        both = asyncio.gather(workers.run(meet, one, other, 120), workers.run(meet, other, one, 120))
        assert await both == [True, True]
        workers._killed["suspect"] = [0.0]
        suspect = workers.run(meet, third, fourth, 1, about="suspect")
        assert await asyncio.gather(suspect, workers.run(meet, fourth, third, 1)) == [False, False]

    use(story, count=2)


def test_a_call_that_computes_for_too_long_is_given_up() -> None:
    with pytest.raises(WorkerError, match=r"took longer than 0\.3 s"):
        run(compute, limits=Limits(0.3, 2**31))


@pytest.mark.usefixtures("impatient")
def test_a_call_that_waits_is_not_to_blame_and_passes_once_it_is_answered(tmp_path: Path) -> None:
    share = tmp_path / "silent share"
    share.mkdir()

    async def story(workers: Workers) -> None:
        await workers.run(len, "")  # so that the start of a worker counts for nothing
        with pytest.raises(StallError):
            await workers.run(wait_while, str(share))
        share.rmdir()
        assert await workers.run(wait_while, str(share)) == "answered"

    use(story, limits=Limits(0.5, 2**31))


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_is_stopped_while_it_is_asked_fails_its_call_in_time() -> None:
    async def story(workers: Workers) -> None:
        await workers.run(os.getpid)
        (pid,) = workers.pids
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(StallError):
            await workers.run(len, bytes(2**24))  # more than a socket takes before it is read
        assert await workers.run(len, b"four") == 4

    use(story)


def test_what_a_call_raises_comes_back() -> None:
    with pytest.raises(RuntimeError, match="its own"):
        run(fail)


def test_what_can_not_be_sent_fails_its_call_alone() -> None:
    async def story(workers: Workers) -> None:
        with pytest.raises(RuntimeError, match="can't be sent"):
            await workers.run(unsendable)
        with pytest.raises(Exception, match="pickle"):
            await workers.run(len, threading.Lock())
        assert await workers.run(len, b"four") == 4

    use(story)


def test_a_worker_can_write_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large"):
        run(write, str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == ""


def test_what_a_library_prints_where_nothing_can_be_written_is_lost_and_its_call_is_not(tmp_path: Path) -> None:
    before = os.dup(2)
    with (tmp_path / "file").open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        run(complain)
    finally:
        os.dup2(before, 2)
        os.close(before)
    assert (tmp_path / "file").read_bytes() == b""


def test_a_killed_process_that_ends_while_it_is_looked_at_is_let_go_once() -> None:
    class Ending:
        looks = ends = 0

        @property
        def alive(self) -> bool:
            self.looks += 1
            return self.looks == 1

        def end(self) -> None:
            self.ends += 1

    async def story(workers: Workers) -> None:
        process = Ending()
        workers._left = [cast("worker_process.WorkerProcess", process)]
        for _ in range(3):
            workers._see_off()
        assert (process.ends, workers._left) == (1, [])

    use(story)


@pytest.mark.parametrize("interpreter", ["gone", "broken"])
def test_an_interpreter_that_is_away_fails_every_call_at_once_and_none_after(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, interpreter: str
) -> None:
    usual = sys.executable
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)

    async def story(workers: Workers) -> None:
        monkeypatch.setattr(sys, "executable", str(tmp_path / interpreter))
        for _ in range(3):
            calls = [workers.run(os.getpid) for _ in range(5)]
            failed = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 120)
            assert [str(one) for one in failed if "can't be started" not in str(one)] == []
        monkeypatch.setattr(sys, "executable", usual)
        assert await workers.run(os.getpid) > 0

    use(story, count=2)


def test_a_limit_of_threads_fails_the_calls_and_none_after(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def story(workers: Workers) -> None:
        with monkeypatch.context() as limited:
            limited.setattr(threading.Thread, "start", refuse)
            with pytest.raises(MachineError, match="can't start new thread"):
                await workers.run(os.getpid)
        assert await workers.run(os.getpid) > 0

    use(story)


def test_a_start_from_which_the_system_does_not_come_back_fails_its_call_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = threading.Event()
    really = fork_server.subprocess.Popen

    def hang(*args: Any, **kwargs: Any) -> Any:
        answers.wait(120)
        return really(*args, **kwargs)

    async def story(workers: Workers) -> None:
        monkeypatch.setattr(fork_server.subprocess, "Popen", hang)
        monkeypatch.setattr(worker_pool, "START", 0.1)
        for _ in range(3):
            with pytest.raises(MachineError, match="can't be started"):
                await asyncio.wait_for(workers.run(os.getpid), 60)
        answers.set()
        monkeypatch.setattr(worker_pool, "START", 60.0)
        async with asyncio.timeout(120):
            while workers._lost:
                await asyncio.sleep(0.02)
        assert await workers.run(os.getpid) > 0

    use(story)


def test_a_cancelled_call_ends_its_worker() -> None:
    async def story(workers: Workers) -> None:
        pid = await workers.run(os.getpid)
        call = asyncio.ensure_future(workers.run(compute))
        await asyncio.sleep(0.05)
        call.cancel()
        async with asyncio.timeout(120):
            assert await workers.run(os.getpid) != pid

    use(story)


def test_large_blocks_that_a_worker_frees_go_back_to_the_system() -> None:
    assert run(free_large_blocks) < LARGE / 2


def test_workers_without_work_go_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocrd.concurrency.worker_pool._IDLE", 0.0)

    async def story(workers: Workers) -> None:
        first = await workers.run(os.getpid)
        async with asyncio.timeout(120):
            while Path(f"/proc/{first}").exists():
                await asyncio.sleep(0.02)
        assert await workers.run(os.getpid) != first

    use(story)


def test_there_are_never_more_workers_than_wanted() -> None:
    async def story(workers: Workers) -> None:
        pids = await asyncio.gather(*(workers.run(os.getpid) for _ in range(50)))
        assert len(set(pids)) <= workers.count

    use(story, count=2)


def test_workers_end_with_the_pool() -> None:
    async def story(workers: Workers) -> tuple[int, asyncio.Future[None]]:
        pid = await workers.run(os.getpid)
        call = asyncio.ensure_future(workers.run(compute))
        await asyncio.sleep(0.05)
        return pid, call

    pid, call = use(story)
    assert call.cancelled()
    assert not Path(f"/proc/{pid}").exists()
