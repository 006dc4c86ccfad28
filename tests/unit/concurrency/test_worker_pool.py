"""Worker processes: their limits, and what a death costs."""

import asyncio
import os
import resource
import signal
from pathlib import Path

import pytest

from ocrd.concurrency.worker_pool import Limits, WorkerError, Workers

GENEROUS = Limits(seconds=30, memory=2**31)


def surroundings() -> dict[str, object]:
    return {
        "telemetry": os.environ["ORT_DISABLE_TELEMETRY"],
        "threads": os.environ["OPENBLAS_NUM_THREADS"],
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
        "files": resource.getrlimit(resource.RLIMIT_FSIZE)[0],
        "interrupt": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
    }


def die_unless(path: str) -> str:
    """Die the first time; a folder remembers, since a worker may write no file."""
    if not Path(path).exists():
        Path(path).mkdir()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise RuntimeError("its own")


def write(path: str) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    Path(path).write_text("anything")


def run(function: object, *args: object) -> object:
    async def life() -> object:
        workers = Workers(1, GENEROUS)
        try:
            return await workers.run(function, *args)  # type: ignore[arg-type]
        finally:
            await workers.close()

    return asyncio.run(life())


def test_a_worker_is_confined_and_reports_to_nobody() -> None:
    expected = {"telemetry": "1", "threads": "1", "memory": 2**31, "files": 0, "interrupt": True}
    assert run(surroundings) == expected


def test_a_call_whose_worker_dies_once_is_made_again(tmp_path: Path) -> None:
    assert run(die_unless, str(tmp_path / "died")) == "alive"


def test_a_call_that_kills_its_workers_is_given_up() -> None:
    with pytest.raises(WorkerError, match=r"killed 2 workers \(exit code -9\)"):
        run(die)


def test_what_a_call_raises_comes_back() -> None:
    with pytest.raises(RuntimeError, match="its own"):
        run(fail)


def test_a_worker_can_write_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large"):
        run(write, str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == ""


def test_workers_without_work_go_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocrd.concurrency.worker_pool._IDLE", 0.0)

    async def life() -> None:
        workers = Workers(1, GENEROUS)
        try:
            first = await workers.run(os.getpid)
            async with asyncio.timeout(20):
                while Path(f"/proc/{first}").exists():
                    await asyncio.sleep(0.02)
            assert await workers.run(os.getpid) != first
        finally:
            await workers.close()

    asyncio.run(life())


def test_workers_with_work_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocrd.concurrency.worker_pool._IDLE", 0.0)

    async def life() -> None:
        workers = Workers(2, GENEROUS)
        try:
            long = asyncio.ensure_future(workers.run(signal.sigtimedwait, [signal.SIGUSR1], 2))
            pids = {await workers.run(os.getpid) for _ in range(5)}
            assert len(pids) <= workers.count
            assert await long is None
        finally:
            await workers.close()

    asyncio.run(life())
