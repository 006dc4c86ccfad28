"""Measures what the daemon itself costs, without a model: `make bench`, or `python bench/daemon/cpu.py [PART …] [--json FILE]`.

    overhead  one long document through the daemon with an engine that answers at once, against the bare render workers
    small     one-page documents: CPU time of the daemon for each, all durable writes included
    memory    a 50-page and a 5,000-page document: the most memory of the daemon and its workers (real, shared once)
    backlog   one page dropped behind a 2,000-page backlog, against the same page alone; the long document's progress
    idle      the daemon with nothing to do: CPU time, wake-ups
    burst     many documents at once through a card-like engine, against one page at a time in a loop, as peers do it

Comparisons are paired: both sides in one run, in turns; the median of the turns is told, with the spread.
"""
# ruff: noqa: E501, SLF001 - its tables are wide; it waits for what the workers wait for

import argparse
import asyncio
import contextlib
import json
import os
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bench/quality")]

import drawn  # noqa: E402 - found through the path above
from engines import CardEngine, InstantEngine  # noqa: E402

from ocrd.concurrency import worker_pool  # noqa: E402
from ocrd.concurrency.worker_pool import Limits  # noqa: E402
from ocrd.config import loader  # noqa: E402
from ocrd.daemon.supervisor import Daemon  # noqa: E402
from ocrd.rendering.renderer import Renderer  # noqa: E402
from ocrd.telemetry import logs  # noqa: E402

FIGURES: dict[str, Any] = {}
IDLE = worker_pool._IDLE
WORKERS = min(8, len(os.sched_getaffinity(0)))


def tell(what: str, value: object) -> None:
    """Print a figure at once."""
    FIGURES[what] = value
    print(f"{what:58} {value}", flush=True)


def spread(values: list[float], unit: str, digits: int = 1) -> str:
    """Put a median and its spread into words."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} {unit} ({low:.{digits}f} to {high:.{digits}f})"


class House:
    """Folders, and a daemon in this process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for role in ("inbox", "outbox", "archive", "error"):
            (root / role).mkdir(parents=True)
        (root / "ocrd.yaml").write_text(
            f"settle: {{quiet: 200ms}}\nbatch: {{quiet: 50ms}}\nrender: {{workers: {WORKERS}}}\nwatches:\n"
            f"  - {{name: bench, inbox: {root}/inbox, outbox: {root}/outbox, archive: {root}/archive, error: {root}/error}}\n"
        )

    def put(self, source: Path, name: str) -> None:
        """Drop a file whole."""
        part = self.root / "inbox" / f"{name}.part"
        shutil.copy(source, part)
        part.rename(part.with_suffix(""))

    def delivered(self, name: str = "") -> int:
        """Count the documents delivered, or see whether this one is."""
        return (self.root / "archive" / name).exists() if name else self._daemon.ended["delivered"]

    @contextlib.asynccontextmanager
    async def running(self, engine: InstantEngine) -> AsyncIterator[Daemon]:
        """Let a daemon run until the block ends."""
        daemon = self._daemon = Daemon(loader.load(self.root / "ocrd.yaml"), engine)
        task = asyncio.create_task(daemon.run())
        try:
            yield daemon
        finally:
            daemon.stop()
            await task

    async def until(self, condition: Callable[[], object], seconds: float = 300) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)


def text_pdf(path: Path, pages: int) -> Path:
    """Write a PDF whose pages hold text, quick to make and to render; after fifty they come again."""
    import pymupdf

    with pymupdf.open() as document, pymupdf.open() as few:
        for number in range(min(50, pages)):
            page = few.new_page(width=drawn.A4[0], height=drawn.A4[1])
            lines = [f"Page {number + 1}, line {line}: what a letter could hold, and more of it." for line in range(40)]
            page.insert_text((50, 60), lines)
        for done in range(0, pages, len(few)):
            document.insert_pdf(few, to_page=min(len(few), pages - done) - 1)
        document.save(path, deflate=True)
    return path


def own_cpu() -> float:
    """CPU seconds of this process alone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory_of_all() -> int:
    """Bytes that this process and its children really have: what several share counts once (smaps_rollup's Pss)."""
    total = 0
    for pid in (os.getpid(), *children(os.getpid())):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def children(pid: int) -> list[int]:
    """List all processes below one."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                found += [int(child), *children(int(child))]
    return found


async def bare(source: Path, pages: int, engine: InstantEngine) -> float:
    """Render all pages with the same workers and nothing around them; pages a second."""
    renderer = Renderer(WORKERS, Limits(60, 2**31))
    try:
        await asyncio.gather(
            *(renderer.page(source, index, engine.page_size, engine.prepare) for index in range(WORKERS))
        )
        renderer_slots = asyncio.Semaphore(3 * WORKERS)

        async def one(index: int) -> None:
            async with renderer_slots:
                (await renderer.page(source, index, engine.page_size, engine.prepare)).free()

        await renderer.open(source)
        began = time.monotonic()
        await asyncio.gather(*map(one, range(pages)))
        return pages / (time.monotonic() - began)
    finally:
        await renderer.close()


async def overhead(root: Path, turns: int) -> None:
    """Tell the daemon's pages a second against the bare workers'."""
    pages = 500
    source = text_pdf(root / "long.pdf", pages)
    alone, whole, shares = [], [], []
    for turn in range(turns):
        alone.append(await bare(source, pages, InstantEngine()))
        house, engine = House(root / f"overhead-{turn}"), InstantEngine()
        async with house.running(engine):
            house.put(source, "long.pdf")
            await house.until(lambda: engine.begins)  # noqa: B023 - awaited in this turn
            began = time.monotonic()
            await house.until(house.delivered)
            whole.append((pages - WORKERS) / (time.monotonic() - began))
        shares.append(whole[-1] / alone[-1])
    tell(f"overhead: bare render loop, {WORKERS} workers", spread(alone, "pages/s"))
    tell("overhead: whole daemon, instant engine", spread(whole, "pages/s"))
    tell("overhead: the daemon's share of the bare loop", spread(shares, "", 2))


async def small(root: Path, turns: int) -> None:
    """Tell the CPU time of the daemon for a one-page document."""
    source, count, costs, rates = text_pdf(root / "one.pdf", 1), 200, [], []
    for turn in range(turns):
        house = House(root / f"small-{turn}")
        async with house.running(InstantEngine()):
            house.put(source, "first.pdf")
            await house.until(lambda: house.delivered() == 1)  # noqa: B023
            before, began = own_cpu(), time.monotonic()
            for number in range(count):
                house.put(source, f"{number}.pdf")
            await house.until(lambda: house.delivered() == count + 1)  # noqa: B023
            costs.append((own_cpu() - before) / count * 1000)
            rates.append(count / (time.monotonic() - began))
    tell("small: daemon's CPU for a one-page document", spread(costs, "ms"))
    tell("small: one-page documents", spread(rates, "/s"))


async def memory(root: Path, _turns: int) -> None:
    """Tell the most memory for a short and for a long document, each in a fresh daemon."""
    peaks = {}
    for pages in (50, 5000):
        source = text_pdf(root / f"{pages}.pdf", pages)
        house, engine, peak = House(root / f"memory-{pages}"), InstantEngine(), 0
        async with house.running(engine):
            dropped = time.monotonic()
            house.put(source, f"{pages}.pdf")
            while not house.delivered():
                peak = max(peak, memory_of_all())
                await asyncio.sleep(0.3)
        peaks[pages] = peak
        claimed = time.monotonic() - dropped
        tell(f"memory: most with {pages} pages", f"{peak >> 20} MiB, {claimed:.0f} s")
    tell("memory: what 5,000 pages need more than 50", f"{(peaks[5000] - peaks[50]) >> 20} MiB")


async def backlog(root: Path, _turns: int) -> None:
    """Tell how long a single page takes alone and behind a long document."""
    one, long = text_pdf(root / "one.pdf", 1), text_pdf(root / "book.pdf", 2000)
    house, engine = House(root / "backlog"), CardEngine()

    async def latency(name: str) -> float:
        began = time.monotonic()
        house.put(one, name)
        await house.until(lambda: house.delivered(name))
        return time.monotonic() - began

    async with house.running(engine):
        await latency("warm.pdf")
        alone = [await latency(f"alone-{turn}.pdf") for turn in range(3)]
        count = len(engine.begins)
        house.put(long, "book.pdf")
        dropped = time.monotonic()
        await house.until(lambda: len(engine.begins) > count)
        tell(
            "backlog: first page at the engine, after the drop",
            f"{time.monotonic() - dropped:.2f} s (0.25 of it settling and batching)",
        )
        await house.until(lambda: len(engine.begins) > count + 150)
        before = len(engine.begins)
        behind = [await latency(f"behind-{turn}.pdf") for turn in range(5)]
        progress = len(engine.begins) - before
    tell("backlog: one page alone", spread(alone, "s", 2))
    tell("backlog: one page behind 2,000", spread(behind, "s", 2))
    tell(
        "backlog: the promise, twice alone plus one decode in a full card",
        f"{2 * statistics.median(alone) + 4.0:.2f} s",
    )
    tell("backlog: pages of the long document read meanwhile", progress - len(behind))


async def idle(root: Path, _turns: int) -> None:
    """Tell what the daemon does while there is nothing to do."""
    house = House(root / "idle")
    async with house.running(InstantEngine()):
        house.put(text_pdf(root / "one.pdf", 1), "one.pdf")
        await house.until(house.delivered)
        await asyncio.sleep(IDLE + 5)  # the workers are gone by then
        before, switches = own_cpu(), resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
        began = time.monotonic()
        await asyncio.sleep(20)
        seconds = time.monotonic() - began
        woken = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - switches
    tell("idle: share of one core", f"{(own_cpu() - before) / seconds:.2%}")
    tell("idle: wake-ups", f"{woken / seconds:.0f} a second")


async def burst(root: Path, turns: int) -> None:
    """Tell the throughput of many documents at once, and of one page at a time."""
    source, documents, pages = text_pdf(root / "eight.pdf", 8), 24, 8
    ours, theirs = [], []
    for turn in range(turns):
        house = House(root / f"burst-{turn}")
        async with house.running(CardEngine()):
            house.put(source, "warm.pdf")
            await house.until(lambda: house.delivered() == 1)  # noqa: B023
            began = time.monotonic()
            for number in range(documents):
                house.put(source, f"{number}.pdf")
            await house.until(lambda: house.delivered() == documents + 1)  # noqa: B023
            ours.append(documents * pages / (time.monotonic() - began))
        theirs.append(await one_at_a_time(source, 12))
    tell(f"burst: {documents} documents of {pages} pages, daemon", spread(ours, "pages/s"))
    tell("burst: the same engine, one page at a time in a loop", spread(theirs, "pages/s", 2))


async def one_at_a_time(source: Path, pages: int) -> float:
    """Do as a script does: render a page, read it, take the next."""
    engine, renderer = CardEngine(), Renderer(1, Limits(60, 2**31))
    try:
        await renderer.open(source)
        began = time.monotonic()
        for number in range(pages):
            await engine.read(await renderer.page(source, number % 8, engine.page_size, engine.prepare))
        return pages / (time.monotonic() - began)
    finally:
        await renderer.close()


PARTS: dict[str, Callable[[Path, int], Awaitable[None]]] = {
    "overhead": overhead, "small": small, "memory": memory, "backlog": backlog, "idle": idle, "burst": burst,
}  # fmt: skip


def main() -> None:
    """Run the parts, each with folders of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    logs.configure("error", "console")
    tell(
        "machine",
        f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
    )
    for name in options.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="ocrd-bench-") as folder:
            asyncio.run(PARTS[name](Path(folder), options.turns))
    if options.json:
        options.json.write_text(json.dumps(FIGURES, indent=1))


if __name__ == "__main__":  # the render workers import this file
    main()
