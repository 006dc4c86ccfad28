# ruff: noqa: PLR2004, S101 - its tables are wide, its numbers stand where they are meant
"""Lets the whole daemon go through what may befall it on a GPU, `ocrd run` and all, and tells what came of it.

    python3 bench/gpu/gpu_faults.py [--seconds 520]

The model has DeepSeek-OCR's real size and random weights, and runs without graphs, so that an engine is back soon. Each
line is printed as soon as it is known; no part begins that may not end in time. The parts:

    killed     EngineCore is killed in the middle of a batch: every document is delivered all the same
    half-black a page that vLLM takes for none, and dies of, is read like any other
    poison     EngineCore is killed whenever one marked page is in it: that page alone is refused
    rest       the engine sleeps: the card's memory before and after, and how long the next page takes
    memory     another process takes the card while the engine rests: the daemon says so with numbers, and goes on once
               the card is free
    orphan     `kill -9` of the daemon leaves no EngineCore behind
    unload     the same as rest, with the engine unloaded
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bench/quality"), str(ROOT / "tests/vllm")]

import drawn  # noqa: E402 - found through the path above

from ocrd.config.vllm import VllmSettings  # noqa: E402
from ocrd.engines.vllm.engine import VllmEngine  # noqa: E402
from ocrd.model import PageImage, Reading  # noqa: E402

BEGAN = time.monotonic()
DOCUMENTS, PAGES = 24, 8
NEEDS = {"killed": 60, "half_black": 40, "poison": 130, "rest": 40, "memory": 45, "orphan": 15}
"""The parts in their order, and the seconds without which none of them begins."""
POISON = (842.0, 595.0)
"""The paper of the page that kills: landscape, as no other."""
CONFIG = """\
engine:
  kind: gpu_faults:create
  options:
    model: {model}
    max_tokens: {tokens}
    max_num_seqs: {seqs}
    renderer_num_workers: 8
    gpu_memory_utilization: {share}
    idle: {{after: 6s, do: {idle}}}
    {more}
settle: {{quiet: 200ms}}
batch: {{quiet: 100ms}}
log: {{format: json}}
watches:
  - name: gpu
    inbox: inbox
    outbox: outbox
    archive: archive
    error: error
    pages: {{second_readings: []}}
"""
"""Noise would be found bad, and read again and again."""


REAL_SIZE = "extra: {load_format: dummy, dtype: bfloat16, enforce_eager: true}"
TRIAL = (
    "extra: {load_format: dummy, dtype: float32, enforce_eager: true, skip_mm_profiling: true}\n    max_model_len: 2048"
)


class FragileEngine(VllmEngine):
    """The engine, but that EngineCore is killed while a landscape page is in it, as if the page did it."""

    async def read(self, page: PageImage, **how: Any) -> Reading:  # noqa: ANN401 - as the engine takes it
        """Read a page."""
        if page.size.width <= page.size.height:
            return await super().read(page, **how)
        killing = asyncio.create_task(self._kill_again_and_again(page))
        try:
            return await super().read(page, **how)
        finally:
            killing.cancel()

    async def _kill_again_and_again(self, page: PageImage) -> None:
        while True:
            await asyncio.sleep(0.2)
            for replica in self.replicas:
                visits: Any = replica.supervisor._inside  # noqa: SLF001
                inside = [visit for visit in visits if visit.page.index == page.index and visit.core]
                if any(visit.page.size == page.size for visit in inside) and replica.home.pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(replica.home.pid, signal.SIGKILL)


def create(options: dict[str, Any]) -> FragileEngine:
    """Be the factory that the configuration names."""
    return FragileEngine(VllmSettings.model_validate(options))


def tell(what: str, value: object) -> None:
    """Print a fact, with the seconds since the beginning."""
    print(f"{time.monotonic() - BEGAN:6.0f} s | {what}: {value}", flush=True)


def card() -> str:
    """Return the memory that the card has in use."""
    used, total = card_memory()
    return f"{used} MiB of {total}" if total else "no card"


def card_memory() -> tuple[int, int]:
    """Return the MiB that the card has in use, and all it has; nothing of both where there is no card."""
    if not shutil.which("nvidia-smi"):
        return 0, 0
    command = ["nvidia-smi", "--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    used, total = (int(number) for number in told.split(","))
    return used, total


def engine_pids(parent: int | None) -> list[int]:
    """Find the EngineCore processes that a daemon has started; there may be others on the machine."""
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*"):
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                if b"VLLM::EngineCor" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))  # noqa: PERF401 - each may end while it is looked at
    return found


def alive(pids: list[int]) -> list[int]:
    """List those that still run."""
    states = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            states[pid] = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return [pid for pid, state in states.items() if state != "Z"]


class House:
    """A daemon on folders of its own."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="ocrd-faults-"))
        self.options = options
        self.daemon: subprocess.Popen[bytes] | None = None
        for role in ("inbox", "outbox", "archive", "error"):
            (self.root / role).mkdir()

    # -- the parts ----------------------------------------------------------------------------------------------

    def main(self) -> None:
        """Go through the parts."""
        from tiny_model import REAL, TINY, make

        self.model = make(self.root / "model", TINY if self.options.tiny else REAL)
        self.documents = 6 if self.options.tiny else DOCUMENTS
        pages = 1 if self.options.tiny else PAGES
        self.sources = [drawn.pdf(self.root / f"{seed}.pdf", pages, seed) for seed in range(3)]
        tell("card before the start", card())
        if self.start("unload" if self.options.tiny else "sleep"):  # the CPU can't sleep
            tell("card with the engine", card())
            for name, needs in NEEDS.items():
                if name in self.options.parts:
                    self.part(needs, getattr(self, name))
        self.stop()
        if not self.options.tiny and "unload" in self.options.parts and self.left() > 140 and self.start("unload"):
            self.part(50, self.rest)
            self.stop()

    def killed(self) -> None:
        began = time.monotonic()
        self.drop("killed", self.documents)
        self.until(lambda: self.count("archive", "killed") >= self.documents // 6, 100)
        pids, delivered = engine_pids(self.daemon and self.daemon.pid), self.count("archive", "killed")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        tell("killed: EngineCore", f"{pids}, with {delivered} of {self.documents} documents delivered")
        done = self.until(lambda: self.count("archive", "killed") >= self.documents, 200)
        told = self.count("archive", "killed"), self.count("error", "killed")
        tell("killed: delivered, refused", f"{told} after {time.monotonic() - began:.0f} s, all: {done}")
        tell("killed: pages failed in the sidecars", self.failed("killed"))

    def half_black(self) -> None:
        before = engine_pids(self.daemon and self.daemon.pid)
        self.put(drawn.pdf(self.root / "half.pdf", 1, half_black=True), "half.pdf")
        done = self.until(lambda: self.count("archive", "half"), 60)
        tell(
            "half-black: delivered",
            f"{done}, the same engine lives on: {engine_pids(self.daemon and self.daemon.pid) == before}",
        )
        tell("half-black: pages failed", self.failed("half"))

    def poison(self) -> None:
        import pymupdf

        path = drawn.pdf(self.root / "poison.pdf", 2 if self.options.tiny else 6, 9)
        with pymupdf.open(path) as document, pymupdf.open(drawn.pdf(self.root / "p.pdf", 1, 8, paper=POISON)) as bad:
            document.insert_pdf(bad, start_at=1)
            document.save(self.root / "poisoned.pdf")
        began = time.monotonic()
        self.put(self.root / "poisoned.pdf", "poisoned.pdf")
        self.drop("beside", 1)
        done = self.until(lambda: self.count("archive", "poisoned") and self.count("archive", "beside"), 240)
        tell("poison: all delivered", f"{done} after {time.monotonic() - began:.0f} s")
        tell("poison: pages failed, in its document and beside it", (self.failed("poisoned"), self.failed("beside")))
        deaths = [line for line in self.log() if "the engine died" in str(line.get("event"))]
        tell("poison: what the log says", [line["event"] for line in deaths][-4:])

    def rest(self) -> None:
        how = self.idle
        self.drop(f"before-{how}", 1)
        self.until(lambda: self.count("archive", f"before-{how}"), 60)
        tell(f"{how}: card before", card())
        self.until_at_rest()
        began = time.monotonic()
        self.put(drawn.pdf(self.root / "w.pdf", 1, 77), f"after-{how}.pdf")
        done = self.until(lambda: self.count("archive", f"after-{how}"), 120)
        tell(f"{how}: the next page", f"{done}, {time.monotonic() - began:.1f} s from the drop to the archive")
        tell(f"{how}: card again", card())

    def until_at_rest(self) -> bool:
        """Wait until the engine lies down, and the card's memory falls: weights go first, and the large cache last."""
        told = len(self.lying_down())
        before, total = card_memory()
        if not self.until(lambda: len(self.lying_down()) > told, 30):
            return False
        began = time.monotonic()
        if not total:
            return True
        fallen = self.until(lambda: card_memory()[0] < before // 4, 60)
        tell(f"{self.idle}: card at rest", f"{card()}, {time.monotonic() - began:.1f} s after the log says so")
        return fallen

    def lying_down(self) -> list[str]:
        return [str(line["event"]) for line in self.log() if f"is to {self.idle}" in str(line.get("event"))]

    def orphan(self) -> None:
        pids = engine_pids(self.daemon and self.daemon.pid)
        if self.daemon is None:
            return
        self.daemon.kill()
        self.daemon.wait()
        gone = time.monotonic()
        while alive(pids) and time.monotonic() - gone < 30:
            time.sleep(0.05)
        tell(
            "orphan: EngineCore after kill -9 of the daemon",
            f"{pids} -> {alive(pids)}, {time.monotonic() - gone:.1f} s",
        )
        time.sleep(3)
        tell("orphan: card", card())

    def memory(self) -> None:
        """Let another process take the card while the engine rests, and leave it again."""
        hold = (
            "import sys, torch; torch.cuda.init(); print(1, flush=True); input();"
            "free = torch.cuda.mem_get_info()[0]; size = min(40 << 30, free - (1 << 30));"
            "x = torch.empty(size, dtype=torch.uint8, device='cuda'); print(size >> 20, flush=True); input()"
        )
        with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            try:
                self.beside(other)
            finally:
                other.kill()
        began = time.monotonic()
        done = self.until(lambda: self.count("archive", "meanwhile"), 150)
        tell("memory: once the card is free again", f"delivered: {done}, after {time.monotonic() - began:.0f} s")

    def beside(self, other: "subprocess.Popen[bytes]") -> None:
        """Let the other process take its memory once the engine rests, then give the engine work."""
        assert other.stdin is not None
        assert other.stdout is not None
        if not self.until_at_rest():
            tell("memory: the card did not get free, so nobody else can have it", card())
        other.stdout.readline()  # it has torch by now
        other.stdin.write(b"\n")
        other.stdin.flush()
        taken = other.stdout.readline().decode().strip() or "nothing"
        tell("memory: card with another process", f"{card()}; it took {taken} MiB")
        told = len(self.refused())
        self.put(drawn.pdf(self.root / "m.pdf", 1, 78), "meanwhile.pdf")
        self.until(lambda: len(self.refused()) > told, 100)
        tell("memory: the daemon's words", self.refused()[told:][-1:])

    def refused(self) -> list[str]:
        return [str(line["event"]) for line in self.log() if "did not start" in str(line.get("event"))]

    # -- the means ----------------------------------------------------------------------------------------------

    def part(self, needs: float, work: Callable[[], None]) -> None:
        if self.left() < needs:
            tell(work.__name__, f"left out: {self.left():.0f} s are left")
            return
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the next part may still tell something
            tell(f"{work.__name__}: broke off", repr(error))

    def left(self) -> float:
        return float(self.options.seconds) - (time.monotonic() - BEGAN)

    def configure(self, idle: str, share: float = 0.8) -> None:
        self.idle = idle
        (self.root / "ocrd.yaml").write_text(
            CONFIG.format(
                model=self.model,
                idle=idle,
                share=share,
                tokens=8 if self.options.tiny else 200,
                seqs=4 if self.options.tiny else 128,
                more=TRIAL if self.options.tiny else REAL_SIZE,
            )
        )

    def command(self) -> list[str]:
        return [sys.executable, "-m", "ocrd", "run", "-c", str(self.root / "ocrd.yaml")]

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(ROOT), str(ROOT / "bench/gpu"), os.environ.get("PYTHONPATH", "")])
        return {"VLLM_CPU_KVCACHE_SPACE": "1", **os.environ, "PYTHONPATH": path}  # GiB; a GPU does not read it

    def start(self, idle: str) -> bool:
        self.configure(idle)
        began = time.monotonic()
        ready = len(self.events("ready"))
        with (self.root / "log").open("ab") as log:
            self.daemon = subprocess.Popen(self.command(), stderr=log, stdout=log, cwd=ROOT, env=self.environment())
        up = self.until(lambda: len(self.events("ready")) > ready, 260)
        tell(f"start to ready ({idle})", f"{time.monotonic() - began:.0f} s, {up}")
        return up

    def stop(self) -> None:
        if self.daemon and self.daemon.poll() is None:
            self.daemon.terminate()
            tell("clean stop, exit code", self.daemon.wait(60))

    def until(self, condition: Callable[[], object], seconds: float) -> bool:
        deadline = time.monotonic() + min(seconds, max(1.0, self.left()))
        while not condition():
            if time.monotonic() > deadline or (self.daemon and self.daemon.poll() is not None):
                tell("gave up waiting; the daemon's exit code", self.daemon and self.daemon.poll())
                print("\n".join((self.root / "log").read_text().splitlines()[-8:]), flush=True)
                return False
            time.sleep(0.1)
        return True

    def drop(self, name: str, count: int) -> None:
        for number in range(count):
            self.put(self.sources[number % len(self.sources)], f"{name}-{number}.pdf")

    def put(self, source: Path, name: str) -> None:
        part = self.root / "inbox" / f"{name}.part"
        shutil.copy(source, part)
        part.rename(part.with_suffix(""))

    def count(self, role: str, name: str) -> int:
        return len(list((self.root / role).glob(f"{name}*.pdf")))

    def failed(self, name: str) -> list[dict[str, object]]:
        fields = ("pages", "failed", "status")
        return [
            {"source": line["source"]} | {key: line[key] for key in fields if key in line}
            for line in self.events("delivered")
            if str(line.get("source")).startswith(name) and line.get("failed")
        ]

    def log(self) -> list[dict[str, Any]]:
        path = self.root / "log"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        told = []
        for line in lines:
            with contextlib.suppress(ValueError):
                told.append(json.loads(line))
        return [line for line in told if isinstance(line, dict)]

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log() if line.get("event") == event]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=520)
    parser.add_argument(
        "--parts", default="killed,half_black,poison,rest,orphan,unload,memory", type=lambda told: told.split(",")
    )
    parser.add_argument("--tiny", action="store_true", help="a model for the CPU, to try this script")
    house = House(parser.parse_args())
    try:
        house.main()
    finally:
        if house.daemon and house.daemon.poll() is None:
            house.daemon.kill()
