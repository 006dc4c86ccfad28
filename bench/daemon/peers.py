"""The service with its cpu engine beside OCRmyPDF's watcher and plain Tesseract: the same scans, by turns in one run.

    python bench/daemon/peers.py [--copies N] [--turns N]           # some ten minutes

OCRmyPDF and its watcher are installed from PyPI, in `.venv-peers`, when that is not there; the program tesseract, which
they start, must be there. Each of the three has two cores and gets the same scans, copies of the project's samples,
dropped when it is ready. Plain Tesseract is two processes that draw pages and read them, no more; their start counts.
Prints, for each, the median of the turns: pages a second until the last output, CPU a page, memory (what several
processes share counted once) at its highest, the time until the first output, and wrong characters.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "bench/quality")]

from cer import cer  # noqa: E402 - found through the path above

from ocrd.engines.cpu.languages import installed_languages  # noqa: E402
from ocrd.rendering import page_layout  # noqa: E402

page_layout.put_off()  # plain Tesseract needs no layout model

import pymupdf  # noqa: E402

SAMPLES = ROOT / "ocrd/samples"
NAMES = {"english": 2, "columns": 1, "table": 1}
"""Samples, and how many pages each has."""
PEERS = ROOT / ".venv-peers"
CORES = 2
PATIENCE = 600
"""Seconds that one turn may take, and each step of the installation."""
_END = 30
"""Seconds in which one may end when it is asked to."""
_LOOK = 0.2
"""Seconds from look to look at the processes."""
_DPI = 300
_CONFIG = f"""\
engine: {{kind: cpu, cpu: {{languages: [eng], workers: {CORES}}}}}
render: {{workers: {CORES}}}
settle: {{quiet: 1s}}
batch: {{quiet: 500ms}}
log: {{format: json}}
watches:
  - {{name: scans, inbox: inbox, outbox: outbox, archive: archive, error: error}}
"""


class Turn(NamedTuple):
    """What one turn came to."""

    pages: float
    """A second."""
    cpu: float
    """Seconds a page."""
    memory: float
    """MiB."""
    first: float
    """Seconds until the first output."""
    wrong: float
    """Characters, share of the true text."""


class Peer(NamedTuple):
    """One of the three."""

    command: Callable[[Path], list[str]]
    """For a folder with an inbox, an outbox and an archive."""
    ready: str
    """What its log says when it is ready; empty for one that does not watch, but reads what is there."""
    failed: str
    """What its log says when it could not read a scan, of which nothing more comes then."""


class Use:
    """What a process and all below it use, as far as one looks."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._seconds: dict[int, float] = {}
        self.memory = 0.0
        """MiB, at the highest."""

    def look(self) -> None:
        memory = 0
        for pid in _family(self._pid):
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            self._seconds[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            memory += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        self.memory = max(self.memory, memory / 1024)

    @property
    def seconds(self) -> float:
        """Of processor time, also of those that have ended, up to the last look at each."""
        return sum(self._seconds.values())


def _family(pid: int) -> list[int]:
    try:
        tasks = [*Path(f"/proc/{pid}/task").iterdir()]
        below = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(other for child in below for other in _family(child))]


def _copies(folder: Path, copies: int) -> list[str]:
    """Lay the scans into a folder; returns their names."""
    names = [f"{name}-{number:02}" for number in range(copies) for name in NAMES]
    for name in names:
        shutil.copyfile(SAMPLES / f"{name.partition('-')[0]}.pdf", folder / f"{name}.pdf")
    return names


def ocrd(root: Path) -> list[str]:
    """Give the command of the service."""
    (root / "ocrd.yaml").write_text(_CONFIG)
    return [sys.executable, "-m", "ocrd", "run", "-c", str(root / "ocrd.yaml")]


def watcher(root: Path) -> list[str]:
    """Give the command of OCRmyPDF's watcher, which takes one file after the other."""
    (program,) = PEERS.glob("ocrmypdf-*/misc/watcher.py")
    settings = f'{{"jobs": {CORES}, "output_type": "pdf"}}'
    folders = [str(root / "inbox"), str(root / "outbox"), str(root / "archive")]
    return [str(PEERS / "bin/python"), str(program), *folders, "--ocr-json-settings", settings]


def tesseract(root: Path) -> list[str]:
    """Give the command of plain Tesseract in as many processes as there are cores."""
    return [sys.executable, __file__, "--read", str(root)]


def read(root: Path) -> None:
    """Read all scans in a folder with plain Tesseract."""
    files = sorted((root / "inbox").iterdir())
    command = [sys.executable, __file__, "--read-these"]
    children = [subprocess.Popen([*command, *files[core::CORES]]) for core in range(CORES)]
    sys.exit(max([child.wait(PATIENCE) for child in children]))


def read_these(files: list[Path]) -> None:
    """Read scans with plain Tesseract, in this process."""
    import tesserocr
    from PIL import Image

    with tesserocr.PyTessBaseAPI(path=str(installed_languages()["eng"].parent), lang="eng") as api:
        for file in files:
            texts = []
            with pymupdf.open(file) as document:
                for page in document:
                    pixmap = page.get_pixmap(dpi=_DPI, colorspace=pymupdf.csGRAY, alpha=False)
                    api.SetImage(Image.frombytes("L", (pixmap.width, pixmap.height), pixmap.samples))
                    api.SetSourceResolution(_DPI)
                    texts.append(api.GetUTF8Text())
            part = file.parents[1] / "outbox" / f"{file.stem}.part"
            part.write_text("\f".join(texts), encoding="utf-8")
            part.rename(part.with_suffix(".txt"))
            file.unlink()


def measure(peer: Peer, copies: int) -> Turn:
    """Let one of the three read scans that are dropped once it is ready. Raises TimeoutError if it does not do so."""
    with tempfile.TemporaryDirectory(prefix="ocrd-peers-") as folder:
        root = Path(folder)
        for role in ("inbox", "outbox", "archive"):
            (root / role).mkdir()
        names = [] if peer.ready else _copies(root / "inbox", copies)
        program = peer.command(root)
        environment = os.environ | {"OMP_THREAD_LIMIT": "1", "OCR_ON_SUCCESS_ARCHIVE": "1"}
        if program[0] == sys.executable:
            environment["PYTHONPATH"] = str(ROOT)
        log = root / "log"
        begun = time.monotonic()
        with log.open("wb") as out:
            process = subprocess.Popen(program, cwd=ROOT, env=environment, stdout=out, stderr=out)
        try:
            _wait(lambda: _is_ready(peer, process.pid, root, log), peer, process, log)
            use, first = Use(process.pid), 0.0
            if not names:
                begun = time.monotonic()
                names = _copies(root / "inbox", copies)

            def read() -> bool:
                nonlocal first
                use.look()
                done = len(_delivered(root, names))
                first = first or (time.monotonic() - begun if done else 0.0)
                return done == len(names)

            _wait(read, peer, process, log)
            seconds = time.monotonic() - begun
        finally:
            _end(process)
        wrong = statistics.mean(cer(_truth(name), _text(file)) for name, file in _delivered(root, names).items())
        pages = sum(NAMES[_sample(name)] for name in names)
        return Turn(pages / seconds, use.seconds / pages, use.memory, first, wrong)


def _is_ready(peer: Peer, pid: int, root: Path, log: Path) -> bool:
    """Whether one that watches does. OCRmyPDF's takes nothing that was there before, and does not say when it begins.

    What a process watches, the kernel tells (proc(5), /proc/PID/fdinfo).
    """
    if not peer.ready:
        return True
    inode = f" ino:{(root / 'inbox').stat().st_ino:x} "
    lists = (file for one in _family(pid) for file in Path(f"/proc/{one}/fdinfo").iterdir())
    try:
        return peer.ready in log.read_text(errors="replace") and any(inode in file.read_text() for file in lists)
    except (FileNotFoundError, ProcessLookupError):  # one of them was closed meanwhile
        return False


def _wait(done: Callable[[], bool], peer: Peer, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        ended = process.poll() is not None and not done()  # plain Tesseract ends by itself
        said = log.read_text(errors="replace")
        if ended or time.monotonic() > end or peer.failed in said:
            raise TimeoutError(said[-2000:])
        time.sleep(_LOOK)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_END)


def _delivered(root: Path, names: list[str]) -> dict[str, Path]:
    """Find what was made of each scan that is dealt with: it has left the inbox then."""
    ended = [name for name in names if not (root / "inbox" / f"{name}.pdf").exists()]
    found = {name: next((root / "outbox").glob(f"{name}.[mtp][dx]*"), None) for name in ended}
    return {name: file for name, file in found.items() if file}


def _text(file: Path) -> str:
    """Take the text out of what one of the three made."""
    if file.suffix != ".pdf":
        return file.read_text(encoding="utf-8")
    with pymupdf.open(file) as document:
        return "\f".join(page.get_text() for page in document)


def _sample(name: str) -> str:
    return name.partition("-")[0]


def _truth(name: str) -> str:
    return (SAMPLES / f"{_sample(name)}.txt").read_text(encoding="utf-8")


def install() -> None:
    """Install OCRmyPDF, and lay its watcher, which is in its source alone, beside it."""
    if not shutil.which("tesseract"):
        sys.exit("OCRmyPDF needs the program tesseract, which is not there. Run `apt-get install tesseract-ocr`.")
    if not (PEERS / "bin/ocrmypdf").exists():
        python = PEERS / "bin/python"
        subprocess.run([sys.executable, "-m", "venv", PEERS], check=True, timeout=PATIENCE)
        subprocess.run([python, "-m", "pip", "-q", "install", "ocrmypdf[watcher]"], check=True, timeout=PATIENCE)
    if not [*PEERS.glob("ocrmypdf-*/misc/watcher.py")]:
        source = ["--no-deps", "--no-binary", ":all:", "--dest", PEERS, "ocrmypdf"]
        subprocess.run([PEERS / "bin/python", "-m", "pip", "-q", "download", *source], check=True, timeout=PATIENCE)
        for archive in PEERS.glob("ocrmypdf-*.tar.gz"):
            with tarfile.open(archive) as files:
                files.extractall(PEERS, filter="data")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=6, help="of the samples, which have four pages together")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read-these", type=Path, nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read_these:
        read_these(given.read_these)
    elif given.read:
        read(given.read)
    else:
        install()
        compare(given.copies, given.turns)


def compare(copies: int, turns: int) -> None:
    """Measure all three by turns, and print the table."""
    found: dict[str, list[Turn]] = {name: [] for name in THREE}
    for _ in range(turns):
        for name, peer in THREE.items():
            found[name].append(measure(peer, copies))
            print(name, found[name][-1], file=sys.stderr, flush=True)
    print("| | pages a second | CPU a page, s | memory, MiB | first output, s | wrong characters |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, all_turns in found.items():
        pages, cpu, memory, first, wrong = (statistics.median(figures) for figures in zip(*all_turns, strict=True))
        print(f"| {name} | {pages:.2f} | {cpu:.2f} | {memory:.0f} | {first:.1f} | {wrong:.2%} |")
    print(f"load of the machine: {', '.join(f'{load:.1f}' for load in os.getloadavg())}")


THREE = {
    "ocrd": Peer(ocrd, '"ready"', '"refused"'),
    "OCRmyPDF's watcher": Peer(watcher, "USE_POLLING", "Error while processing"),
    "Tesseract": Peer(tesseract, "", "Traceback"),
}

if __name__ == "__main__":
    main()
