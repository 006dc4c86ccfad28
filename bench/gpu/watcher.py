"""What a run on a card is told by: figures as soon as they are there, and where the CPU time goes meanwhile."""
# ruff: noqa: E501 - its tables are wide

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

BEGAN = time.monotonic()
TICKS = os.sysconf("SC_CLK_TCK")
FIGURES: dict[str, Any] = {}
VISIBLE = [f"--id={cards}"] if (cards := os.environ.get("CUDA_VISIBLE_DEVICES")) else []
"""Looks at the cards of this run alone; asked for at once, since each engine's start names its own card there."""


def tell(what: str, value: object) -> None:
    """Print a figure, with the seconds since the beginning."""
    FIGURES[what] = value
    print(f"{time.monotonic() - BEGAN:6.0f} s | {what}: {value}", flush=True)


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process so far, its threads included."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def descendants(pid: int) -> Iterator[int]:
    """List the processes below one; threads and processes may end meanwhile."""
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            yield int(child)
            yield from descendants(int(child))


def name_of(pid: int, cores: list[int]) -> str:
    """Say which part of the program a process is."""
    if pid == os.getpid():
        return "daemon"
    if pid in cores:
        return f"EngineCore {cores.index(pid)}"
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return "others"
    return "model workers" if b"VLLM::" in line else "render workers" if b"ocrd.concurrency" in line else "others"


def threads_of(pid: int) -> dict[tuple[int, str], float]:
    """Return the CPU seconds of each thread of a process so far, by its id and name."""
    used = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            head, _, tail = (task / "stat").read_text().rpartition(")")
            fields = tail.split()
            used[int(task.name), head.partition("(")[2]] = (int(fields[11]) + int(fields[12])) / TICKS
    return used


class Watcher:
    """Where the CPU time goes while a part runs, how busy the card is, and a look into both main processes."""

    def __init__(self, cores: list[int | None], label: str) -> None:
        self._cores = [core for core in cores if core]
        self._label = label
        self._used: dict[int, tuple[str, float]] = {}

    def look(self) -> dict[str, float]:
        """Note what every process has used so far, and return the sums, of those that have ended as well."""
        for pid in {os.getpid(), *descendants(os.getpid())}:
            if used := cpu_of(pid):
                self._used[pid] = name_of(pid, self._cores), used
        sums: dict[str, float] = {}
        for name, used in self._used.values():
            sums[name] = sums.get(name, 0.0) + used
        return sums

    async def _keep_looking(self) -> None:
        """Look every second, since the render workers end with the daemon."""
        while True:
            self.look()
            await asyncio.sleep(1)

    @contextlib.asynccontextmanager
    async def watch(self) -> Any:  # noqa: ANN401 - a context
        began, cpu = time.monotonic(), self.look()
        threads = {pid: threads_of(pid) for pid in (os.getpid(), *self._watched())}
        tasks = [asyncio.create_task(self._profile()), asyncio.create_task(self._keep_looking())]
        card = await asyncio.create_subprocess_exec(
            shutil.which("nvidia-smi") or "true", *VISIBLE, "--loop=1",
            "--query-gpu=index,utilization.gpu,power.draw", "--format=csv,noheader,nounits",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            yield
        finally:
            seconds, after = time.monotonic() - began, self.look()
            busiest = {
                name_of(pid, self._cores): _busiest(before, threads_of(pid), seconds) for pid, before in threads.items()
            }
            for task in tasks:
                task.cancel()
            with contextlib.suppress(ProcessLookupError):
                card.kill()
        told, _ = await card.communicate()
        rows = [row.split(",") for row in told.decode().split("\n") if row.count(",") == 2]  # noqa: PLR2004 - three columns
        for number in sorted({row[0] for row in rows}):
            own = [row for row in rows if row[0] == number]
            busy, watts = (median(float(row[place]) for row in own[len(own) // 5 :]) for place in (1, 2))
            tell(f"{self._label}: card {number} busy", f"{busy:.0f} % (median), {watts:.0f} W")
        cores = {name: round((after.get(name, 0) - cpu.get(name, 0)) / seconds, 2) for name in after}
        tell(f"{self._label}: cores used by process", cores)
        for name, shares in busiest.items():
            tell(f"{self._label}: busiest threads of {name}, cores", shares)

    def _watched(self) -> list[int]:
        """List the processes that are looked into: each EngineCore, and its workers where it has some."""
        return [
            pid
            for core in self._cores
            for pid in (core, *descendants(core))
            if "EngineCore" in name_of(pid, self._cores) or name_of(pid, self._cores) == "model workers"
        ]

    async def _profile(self) -> None:
        """Sample the processes with py-spy, if it is there, in the middle of the part."""
        await asyncio.sleep(20)
        if not shutil.which("py-spy"):
            return
        for pid in (os.getpid(), *self._watched()):
            out = Path(tempfile.gettempdir()) / f"{pid}.raw"
            process = await asyncio.create_subprocess_exec(
                "py-spy", "record", "-d", "5", "-r", "100", "-f", "raw", "-o", out, "--pid", str(pid), "--gil", "--nonblocking",
                stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await process.wait()
            if out.exists():
                tell(
                    f"{self._label}: who holds the GIL of {name_of(pid, self._cores)}, samples of 500",
                    hottest(out.read_text()),
                )


def _busiest(
    before: dict[tuple[int, str], float], after: dict[tuple[int, str], float], seconds: float
) -> list[tuple[str, float]]:
    """List the threads that used the most, in cores."""
    used = sorted(((cpu - before.get(thread, 0)) / seconds, thread[1]) for thread, cpu in after.items())
    return [(name, round(share, 2)) for share, name in reversed(used[-5:])]


def hottest(stacks: str) -> dict[str, int]:
    """Sum up py-spy's stacks by their innermost two functions."""
    found: dict[str, int] = {}
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        names = [frame.rpartition("(")[0].strip() or frame for frame in stack.split(";")]
        key = " < ".join(reversed(names[-2:]))
        found[key] = found.get(key, 0) + int(count)
    return dict(sorted(found.items(), key=lambda item: -item[1])[:14])
