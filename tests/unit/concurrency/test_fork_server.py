"""Workers that are forked: they share what is loaded, and neither side harms or outlives the other."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from proc import command_line, own_children

from ocrd.concurrency import fork_server
from ocrd.concurrency.worker_pool import Limits, Workers, nothing
from ocrd.errors import MachineError

LIMITS = Limits(seconds=600, memory=2**31)
loaded: list[int] = []


def load() -> None:
    print("libraries print")
    loaded.append(os.getpid())


def load_in_vain() -> None:
    loaded.append(os.getpid())
    raise ImportError


def start_a_thread() -> None:
    loaded.append(os.getpid())
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


def sleep_for_ever() -> None:
    time.sleep(3600)


def family() -> tuple[int, list[int]]:
    """Return this process' parent, and in which processes was loaded what it has."""
    return os.getppid(), loaded


def open_files() -> list[str]:
    """Name the files that this process has open, beside its streams."""
    with os.scandir("/proc/self/fd") as folder:
        numbers = [int(file.name) for file in folder]
    return [os.readlink(f"/proc/self/fd/{number}") for number in sorted(numbers)[3:-1]]  # the last is the folder


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def wait_while(path: str) -> int:
    while Path(path).exists():
        time.sleep(0.02)
    return os.getppid()


def children() -> list[int]:
    """List the servers of this process, which may have children of other tests, too."""
    return [pid for pid in own_children(os.getpid()) if b"fork_server.serve" in command_line(pid)]


async def nobody_is_left() -> None:
    async with asyncio.timeout(120):
        while children():
            await asyncio.sleep(0.02)


def use(story: Callable[[Workers], Awaitable[Any]], count: int = 2, load: fork_server.Load = load) -> Any:
    async def life() -> Any:
        workers = Workers(count, LIMITS, load=load)
        try:
            return await story(workers)
        finally:
            await workers.close()

    return asyncio.run(life())


async def both(workers: Workers, function: Callable[..., Any], folder: Path) -> list[Any]:
    """Call a function in two workers that live at the same time."""
    folder.mkdir()
    held = asyncio.ensure_future(workers.run(wait_while, str(folder)))
    first = await workers.run(function)
    folder.rmdir()
    await held
    return [first, *await asyncio.gather(workers.run(function), workers.run(function))]


def test_what_is_loaded_is_loaded_once_for_all(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def story(workers: Workers) -> None:
        found = await both(workers, family, tmp_path / "held")
        (server,) = {parent for parent, _ in found}
        assert {tuple(where) for _, where in found} == {(server,)}
        assert len(workers.pids) == 2

    use(story)
    assert capfd.readouterr().out == ""


def test_pools_share_their_server_which_loads_what_each_needs() -> None:
    async def story(workers: Workers) -> None:
        parent, _ = await workers.run(family)
        other = Workers(1, LIMITS, load=load_in_vain)
        assert await other.run(family) == (parent, [parent] * 2)
        await other.close()
        assert await workers.run(os.getppid) == parent

    use(story, count=1)


def test_where_a_thread_was_started_workers_are_programs_and_end_like_others(tmp_path: Path) -> None:
    async def story(workers: Workers) -> None:
        found = await both(workers, family, tmp_path / "held")
        (server,) = {parent for parent, _ in found}
        assert server in children()
        assert [where for _, where in found] == [[]] * 3
        assert len(await workers.run(open_files)) == 1

    use(story, load=start_a_thread)
    assert not children()


def test_a_worker_has_no_file_of_the_server_or_of_another_worker(tmp_path: Path) -> None:
    async def story(workers: Workers) -> None:
        for files in await both(workers, open_files, tmp_path / "held"):
            assert len(files) == 1
            assert files[0].startswith("socket:")

    use(story)


def test_a_worker_that_is_killed_is_followed_by_one_of_the_same_server_and_one_that_crashed_is_not() -> None:
    async def story(workers: Workers) -> None:
        server = await workers.run(os.getppid)
        os.kill(*workers.pids, signal.SIGKILL)
        assert await workers.run(os.getppid) == server
        with pytest.raises(Exception, match="crashed 2 workers"):
            await workers.run(crash)
        assert await workers.run(os.getppid) not in {server, os.getpid()}
        async with asyncio.timeout(120):
            while len(children()) > 1:  # the servers that lost their workers go
                await asyncio.sleep(0.02)

    use(story, count=1)


def test_a_server_that_is_killed_costs_no_call(tmp_path: Path) -> None:
    async def story(workers: Workers) -> None:
        server = await workers.run(os.getppid)
        held = tmp_path / "held"
        held.mkdir()
        calls = [asyncio.ensure_future(workers.run(wait_while, str(held))) for _ in range(2)]
        async with asyncio.timeout(120):
            while len(workers.pids) < 2:
                await asyncio.sleep(0.01)
            os.kill(server, signal.SIGKILL)
            while not set(children()) - {server}:  # the calls are made again
                await asyncio.sleep(0.02)
        held.rmdir()
        assert server not in await asyncio.gather(*calls)

    use(story)
    assert not children()


def test_a_server_that_does_not_answer_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(workers: Workers) -> None:
        server = await workers.run(os.getppid)
        assert fork_server._newest
        fork_server._newest._socket.settimeout(0.5)
        os.kill(server, signal.SIGSTOP)
        os.kill(*workers.pids, signal.SIGKILL)
        assert await workers.run(os.getppid) != server

    monkeypatch.setattr(fork_server, "_END", 0.2)
    use(story, count=1, load=nothing)


def test_a_server_that_never_begins_fails_its_call_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(workers: Workers) -> None:
        with monkeypatch.context() as hurried:
            hurried.setattr(fork_server, "START", 0.5)
            hurried.setattr(fork_server, "_END", 0.2)
            with pytest.raises(MachineError, match=r"can't be started: it did not begin within 0\.5 s"):
                await workers.run(os.getppid)
        await nobody_is_left()

    use(story, count=1, load=sleep_for_ever)


@pytest.mark.parametrize("load", [load, start_a_thread])
def test_nobody_outlives_a_daemon_that_is_killed(load: fork_server.Load) -> None:
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; import test_fork_server as test\n"
        f"test.use(test.compute_and_tell, load=test.{load.__name__})"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout
        pids = list(map(int, daemon.stdout.readline().split()))
        assert len(pids) == 3
        daemon.kill()
    deadline = time.monotonic() + 120
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, pids
        time.sleep(0.02)


async def compute_and_tell(workers: Workers) -> None:
    """Print the server and its workers, of which one works and the other has nothing to do, and wait for the end."""
    server = await workers.run(os.getppid)
    call = asyncio.ensure_future(workers.run(compute))
    while len(workers.pids) < 2 and not call.done():
        await asyncio.gather(workers.run(os.getpid), asyncio.sleep(0.02))
    print(server, *workers.pids, flush=True)
    await call


def compute() -> None:
    while True:
        pass


def test_with_the_last_worker_the_server_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocrd.concurrency.worker_pool._IDLE", 0.0)

    async def story(workers: Workers) -> None:
        first = await workers.run(os.getppid)
        await nobody_is_left()
        assert await workers.run(os.getppid) != first

    use(story)
