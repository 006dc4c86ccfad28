"""What an inbox costs: a scan among foreign files, how long a drop among them takes, and the idle daemon.

    python bench/daemon/inbox.py            # six minutes

Prints a table; the daemon is the real one over the tests' simulated engine.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/support"))

from house import House, stop, wait_for

from ocrd.intake.scanner import scan

_FOREIGN = 10_000
_ROUNDS = 30
_IDLE_SECONDS = 60
_STARTS = 5
"""Seconds until nothing of the start is left to do."""
_DROPS = 11


def main() -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory(prefix="ocrd-inbox-") as root:
        print("| what | figure |\n| --- | --- |")
        for suffix, what in (("txt", "foreign files"), ("pdf", "sources that wait")):
            folder = Path(root) / suffix
            folder.mkdir()
            for number in range(_FOREIGN):
                (folder / f"scan-{number:05}.{suffix}").touch()
            print(f"| a scan of {_FOREIGN} {what} | {_milliseconds(folder):.1f} ms |")
        for foreign in (0, 10_000, 100_000):
            what = f"{foreign} foreign files and {foreign // 10} folders"
            print(f"| from a drop among {what} to its sidecar | {_latency(Path(root), foreign)} |", flush=True)
        for watches, archived in ((1, 0), (1, 20_000), (8, 0)):
            what = f"{watches} watch(es) with 1000 foreign files each, {archived} originals in the archive"
            print(f"| idle daemon, {what} | {_idle(Path(root), watches, archived)} |", flush=True)


def _milliseconds(folder: Path) -> float:
    """Take the median of many scans, in time of the processor: other programs may be at work, too."""
    rounds = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        scan(folder)
        rounds.append(time.process_time() - began)
    return 1000 * statistics.median(rounds)


def _latency(root: Path, foreign: int) -> str:
    """Drop one page at a time, at moments that have nothing to do with the daemon's."""
    house = House(root / f"drops{foreign}")
    inbox = house.path("inbox")
    for number in range(foreign // 10):
        (inbox / str(number)).mkdir()
    for number in range(foreign):
        (inbox / f"{number}.txt").touch()
    seconds = []
    daemon = house.start()
    try:
        wait_for(lambda: house.events("watching"), 120)
        for number in range(_DROPS):
            time.sleep(2 + 0.37 * number)
            began = time.monotonic()
            house.drop(f"{number}.pdf")
            wait_for(lambda: house.path(f"outbox/{number}.md").exists(), 120)  # noqa: B023 - it is called at once
            seconds.append(time.monotonic() - began)
        stop(daemon)
    finally:
        house.close()
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def _idle(root: Path, watches: int, archived: int) -> str:
    house = House(root / f"house{watches}-{archived}")
    names = tuple(f"w{number}" for number in range(watches))
    house.configure(names)
    for name in names:
        for number in range(1000):
            (house.root / name / "inbox" / f"{number}.txt").touch()
        (house.root / name / "archive").mkdir()
        for number in range(archived):
            (house.root / name / "archive" / f"{number}.pdf").touch()
    daemon = house.start()
    try:
        wait_for(lambda: len(house.events("watching")) == watches and house.events("ready"))
        time.sleep(_STARTS)
        before = _cpu_seconds(daemon.pid)
        time.sleep(_IDLE_SECONDS)
        share = (_cpu_seconds(daemon.pid) - before) / _IDLE_SECONDS
        memory = _resident(daemon.pid)
        stop(daemon)
    finally:
        house.close()
    return f"{100 * share:.2f} % of a core, {memory} MiB"


def _resident(pid: int) -> int:
    """Read how much memory a process holds, MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS:"))


def _cpu_seconds(pid: int) -> float:
    """Read the time that a process has used, user and system (proc(5), /proc/PID/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
