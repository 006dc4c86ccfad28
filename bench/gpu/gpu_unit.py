"""Tries the shipped unit, its sandbox and all, over the real engine on a GPU: a real systemd in a machine of its own.

    python3 bench/gpu/gpu_unit.py pack    # where Debian's systemd is: copies it into .sd/
    python3 bench/gpu/gpu_unit.py run [--seconds 420] [--eager] [--extra MemoryDenyWriteExecute=yes]

The model has DeepSeek-OCR's real size and random weights. `ocrd service install` sets the service up; a scan is
dropped; `kill -9` must leave neither process nor memory of the card; systemd brings the service back; a stop in the
middle of a document must end in time. Every figure is printed at once. At the end, or when the service does not come
up, the driver alone is asked within the unit's sandbox; if it does not answer there, each setting is left out in turn,
to find the one that is too tight.
"""
# ruff: noqa: S607 - Debian's own tools

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support"), str(ROOT / "bench/quality")]

import drawn  # noqa: E402 - found through the path above
import machine  # noqa: E402

from ocrd.engines.vllm import gpu_memory  # noqa: E402

SHIPPED = ROOT / ".sd"
BEGAN = time.monotonic()
CONFIG, UNIT, HOME = "/etc/ocrd/ocrd.yaml", "ocrd.service", "/srv/ocr"
PASSED = ("LD_LIBRARY_PATH", "PATH", "CUDA", "NVIDIA", "HF_", "VLLM_", "TORCH", "PYTHON")
"""How the names begin of what the service takes over from this environment."""
FAMILY = ("libc.so", "libm.so", "ld-linux", "libpthread", "libdl", "librt", "linux-vdso")
"""Of the C library, which every machine has its own of."""
ASK = "from ctypes import *; exit(CDLL('libcuda.so.1').cuInit(0) or CDLL('libnvidia-ml.so.1').nvmlInit_v2())"
TRIAL = {"load_format": "dummy", "dtype": "float32", "enforce_eager": True, "skip_mm_profiling": True}


def tell(what: str, value: object) -> None:
    """Print a figure, with the seconds since the beginning."""
    print(f"{time.monotonic() - BEGAN:6.0f} s | {what}: {value}", flush=True)


def pack() -> None:
    """Copy systemd and the libraries that it needs into `.sd/`."""
    shutil.rmtree(SHIPPED, ignore_errors=True)
    listed = subprocess.run(
        ["dpkg", "-L", "systemd", "libsystemd-shared"], capture_output=True, text=True, check=True
    ).stdout
    left_out = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/lib/systemd/catalog", "/etc/pam.d")
    files = {Path(line) for line in listed.splitlines() if line.startswith("/") and not line.startswith(left_out)}
    programs = [file for file in files if file.is_file() and os.access(file, os.X_OK)]
    told = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    needed = {line.split()[2] for line in told.splitlines() if " => /" in line}
    files |= {Path(path) for path in needed if not Path(path).name.startswith(FAMILY)}
    for file in sorted(files):
        if file.is_file():
            target = SHIPPED / str(file.parent.resolve()).lstrip("/") / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            keeps_link = file.is_symlink() and ".so" not in file.name  # of a library, the name asked for is the link
            shutil.copy2(file, target, follow_symlinks=not keeps_link)
    size = sum(path.lstat().st_size for path in SHIPPED.rglob("*"))
    tell("packed", f"{size / 2**20:.0f} MiB in {SHIPPED}")


def mounted() -> Iterator[Path]:
    """List what is mounted over this machine's files, such as a driver's folder: an overlay does not show it."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        place = Path(line.split()[1])
        if place != Path("/") and place.parts[1] not in ("proc", "sys", "dev", "run", "tmp"):
            yield place


class Trial(machine.Machine):
    """A machine with the service on it."""

    def __init__(self, base: Path, options: argparse.Namespace) -> None:
        self.options = options
        self.ends = BEGAN + options.seconds
        self.restarts, self.empty = "0", used()
        binds = {place: str(place) for place in mounted()}
        path = []
        for number, entry in enumerate(filter(None, os.environ.get("PYTHONPATH", "").split(":"))):
            inside = f"/opt/path/{number}" if entry.startswith("/tmp/") else entry  # noqa: S108 - which is another inside
            path.append(inside)
            if inside != entry:
                binds[Path(entry)] = inside
        super().__init__(base, None if machine.SYSTEMD.exists() else SHIPPED, binds)
        self.environment = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
        self.environment["PYTHONPATH"] = ":".join(["/opt/ocrd", *path])

    def prepare(self) -> None:
        """Put ocrd, the model, the configuration and the environment where an owner would."""
        self.open_ways_to(Path(sys.prefix), Path(sys.base_prefix))
        for name in ("ocrd", "systemd", "tests"):
            shutil.copytree(ROOT / name, self.root / "opt/ocrd" / name, ignore=shutil.ignore_patterns("__pycache__"))
        etc = self.root / "etc"
        (etc / "ocrd").mkdir()
        (etc / "ocrd/environment").write_text("".join(f"{key}={value}\n" for key, value in self.environment.items()))
        watch: dict[str, Any] = {role: f"{HOME}/{role}" for role in ("inbox", "outbox", "archive", "error")}
        watch |= {"name": "gpu", "pages": {"second_readings": [], "text_layer": "ignore"}}  # noise would be read again
        settings = {"engine": self.engine(), "watches": [watch]}
        (self.root / CONFIG.lstrip("/")).write_text(json.dumps(settings))
        drop_in = etc / "systemd/system/ocrd.service.d/trial.conf"
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text("\n".join(["[Service]", "RestartSec=15s", *self.options.extra]) + "\n")

    def engine(self) -> dict[str, Any]:
        if self.options.engine == "cpu":
            return {"kind": "cpu"}
        real = self.options.engine == "vllm"
        size = ["--real"] if real else []
        self.python("/opt/ocrd/tests/vllm/tiny_model.py", "/opt/model", *size)
        extra = {"load_format": "dummy", "dtype": "bfloat16", "enforce_eager": self.options.eager} if real else TRIAL
        length = {} if real else {"max_model_len": 2048, "max_num_seqs": 4, "gpu_memory_utilization": 0.2}
        return {"kind": "vllm", "vllm": {"model": "/opt/model", "max_tokens": 400, "extra": extra} | length}

    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        settings = [f"{key}={value}" for key, value in self.environment.items()]
        return self.run("env", *settings, sys.executable, *arguments)

    def show(self, key: str) -> str:
        return self.run("systemctl", "show", UNIT, f"--property={key}", "--value").stdout.strip()

    def processes(self) -> list[str]:
        files = (self.root / "sys/fs/cgroup").glob("**/ocrd.service/**/cgroup.procs")
        return [pid for file in files for pid in file.read_text().split()]

    def until(self, what: str, condition: Callable[[], object], limit: float = 600) -> bool:
        """Wait until something holds or time is up; tell after how many seconds it did."""
        began = told = time.monotonic()
        while not condition():
            now = time.monotonic()
            failed = self.show("ActiveState") == "failed" or self.show("NRestarts") not in ("", "0", self.restarts)
            if failed or now > min(self.ends, began + limit):
                tell(what, f"NOT within {now - began:.0f} s; {self.show('ActiveState')}, {self.show('StatusText')}")
                return False
            if now - told > 20:  # noqa: PLR2004 - seconds
                told = now
                tell(f"... {what}", f"{self.show('StatusText')}; card {used()} MiB")
            time.sleep(0.1)
        tell(what, f"{time.monotonic() - began:.1f} s")
        return True

    def drop(self, name: str, pages: int) -> None:
        drawn.pdf(self.root / "srv/ocr/inbox" / f".{name}", pages, 1)
        (self.root / "srv/ocr/inbox" / f".{name}").rename(self.root / "srv/ocr/inbox" / name)

    def sandboxed(self, settings: list[str]) -> str:
        """Ask the driver alone, under the settings of a unit. Returns an empty text if it answers."""
        unit = self.root / "etc/systemd/system/ask.service"
        unit.write_text(
            "\n".join(["[Service]", *settings, "Type=oneshot", f'ExecStart={sys.executable} -c "{ASK}"']) + "\n"
        )
        self.run("systemctl", "daemon-reload")
        told = self.run("systemctl", "start", "ask.service")
        return told.returncode and self.run("journalctl", "-u", "ask", "-n", "4", "-o", "cat").stdout.strip()

    def ask_the_driver(self) -> None:
        """Tell whether the sandbox lets CUDA work at all, and if not, which setting forbids it."""
        lines = (
            (self.root / f"etc/systemd/system/{UNIT}").read_text().partition("[Service]")[2].partition("[Install]")[0]
        )
        left_out = ("Type", "Exec", "Restart", "Timeout", "WatchdogSec", "EnvironmentFile", "Slice")
        settings = [line for line in lines.splitlines() if "=" in line and not line.startswith(("#", *left_out))]
        settings += ["EnvironmentFile=-/etc/ocrd/environment", *self.options.extra]
        tell("CUDA and NVML in the unit's sandbox", (sorry := self.sandboxed(settings)) or "answer")
        if sorry and not self.sandboxed([]):
            for key in dict.fromkeys(line.partition("=")[0] for line in settings):
                if not self.sandboxed([line for line in settings if line.partition("=")[0] != key]):
                    tell("TOO TIGHT", key)

    def journal(self) -> None:
        """Tell of all warnings and errors."""
        lines = self.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager").stdout.splitlines()
        quiet = ('"level": "info"', '"event": "engine: ')  # the latter is told twice
        bad = [line[:600] for line in lines if not any(word in line for word in quiet)]
        tell("journal", f"{len(lines)} lines, of them warnings, errors and systemd's:\n" + "\n".join(bad[-60:]))

    def trial(self) -> None:
        """Go through the life of the service."""
        tell("ocrd service install", "begins")
        install = ("-m", "ocrd", "service", "install", "--yes", "-c", CONFIG)
        if (planned := self.python(*install, "--dry-run")).returncode:
            tell("FAILED", planned.stdout + planned.stderr)
            return
        inside = ["nsenter", "-t", str(self._init), "-m", "-p", "-u", "-i", "-C", "-r", "-w", "env"]
        inside += [f"{key}={value}" for key, value in self.environment.items()]
        installing = subprocess.Popen([*inside, sys.executable, *install])
        self.wait((self.root / f"etc/systemd/system/{UNIT}").exists, 60)
        if not self.until("READY", lambda: self.show("ActiveState") == "active"):
            installing.kill()
            return
        installing.wait()
        tell("STATUS", self.show("StatusText"))
        time.sleep(6)  # the card is asked every five seconds
        self.drop("one.pdf", 2)
        self.until("sidecar of 2 pages, after the drop", (self.root / "srv/ocr/outbox/one.md").exists, 120)
        tell("ocrd status", "\n" + self.python("-m", "ocrd", "status", "-c", CONFIG).stdout)
        tell("processes in the cgroup", len(self.processes()))
        before, self.restarts = set(self.processes()), "1"
        self.run("kill", "-9", self.show("MainPID"))
        self.until("kill -9: cgroup empty", lambda: not before & set(self.processes()), 30)
        self.until("kill -9: card as before the start", lambda: used() <= self.empty + 64, 14)
        if self.until("READY again, by systemd", lambda: self.show("ActiveState") == "active"):
            self.drop("two.pdf", 48)
            self.until("pages kept", lambda: list((self.root / "srv/ocr").glob(".*/*/pages/*.json")), 60)
        began = time.monotonic()
        self.run("systemctl", "stop", UNIT)
        tell("SIGTERM to the end", f"{time.monotonic() - began:.1f} s, {self.show('Result')}")
        tell("left", f"{len(self.processes())} processes, card {used()} MiB (before: {self.empty} MiB)")


def used() -> int:
    """Return the MiB that the cards have in use; 0 without a card."""
    with suppress(OSError, gpu_memory.NoAnswer):
        return sum(used for used, *_ in gpu_memory.load().cards()) >> 20
    return 0


def run(options: argparse.Namespace) -> None:
    """Boot, try, tell."""
    tell(
        "machine", f"{platform.release()}, {sys.executable} {platform.python_version()}, glibc {platform.libc_ver()[1]}"
    )
    devices = [line for line in Path("/proc/devices").read_text().splitlines() if "nvidia" in line]
    tell("devices", f"{devices}; card {used()} MiB")
    with tempfile.TemporaryDirectory(prefix="ocrd-unit-") as folder:
        base = Path(folder) / "machine"
        base.mkdir()
        trial = Trial(base, options)
        try:
            began = time.monotonic()
            trial.start()
            tell(
                "systemd is up",
                f"{time.monotonic() - began:.1f} s; {trial.run('systemctl', '--version').stdout.splitlines()[0]}",
            )
            trial.prepare()
            try:
                trial.trial()
                trial.ask_the_driver()
            finally:
                trial.journal()
        finally:
            tell("machine.log", (Path(folder) / "machine.log").read_text()[-3000:])
            trial.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pack", "run"))
    parser.add_argument("--seconds", type=float, default=420)
    parser.add_argument("--eager", action="store_true", help="without graphs: ready sooner")
    parser.add_argument(
        "--extra", action="append", default=[], metavar="SETTING=VALUE", help="a further line of the unit"
    )
    parser.add_argument("--engine", choices=("vllm", "tiny", "cpu"), default="vllm", help="tiny, cpu: to try this here")
    chosen = parser.parse_args()
    pack() if chosen.what == "pack" else run(chosen)
