"""How costs grow with the work: each at three sizes, in seconds of the processor, with the exponent fitted.

    python bench/daemon/growth.py           # two minutes

An exponent of 1 is in proportion to the size, 0 does not depend on it, 2 doubles the size to four times the cost. It
ends with 1 if one is above 1.25: from 1,000 to 100,000 that is three times what is in proportion.
"""

import io
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import structlog
import yaml
from PIL import Image
from rich.console import Console

from ocrd.commands import status_view
from ocrd.config import loader
from ocrd.model import PageResult, Verdict
from ocrd.output import front_matter
from ocrd.rendering import sources
from ocrd.storage import naming
from ocrd.storage.ledger import Entry, Ledger
from ocrd.storage.result import Result
from ocrd.storage.roles import Roles
from ocrd.telemetry import event_log
from ocrd.telemetry.events import Ended, PageDone
from ocrd.telemetry.status import EngineStatus, Status, WatchStatus

_MOST = 1.25
_DATE = "2026-01-01T00:00:00+00:00"
_LOOK_UPS = 200
_ROLES = ("inbox", "outbox", "archive", "error")

Step = Callable[[], object]


def main() -> None:
    """Measure, and print the table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30), logger_factory=_quiet)
    worst = 0.0
    print("| what | sizes | seconds of CPU | exponent |\n| --- | --- | --- | --- |")
    for what, smallest, prepare in PARTS:
        sizes = [smallest, 4 * smallest, 16 * smallest]
        seconds = [_seconds(prepare, size) for size in sizes]
        exponent = _exponent(sizes, seconds)
        worst = max(worst, exponent)
        figures = [", ".join(texts) for texts in ([f"{size:,}" for size in sizes], [f"{one:.3f}" for one in seconds])]
        print(f"| {what} | {figures[0]} | {figures[1]} | {exponent:.2f} |", flush=True)
    sys.exit(worst > _MOST)


def _seconds(prepare: Callable[[Path, int], Step], size: int) -> float:
    """Prepare a folder, and time the step with what the kernel does for it; other programs may be at work, too."""
    with tempfile.TemporaryDirectory(prefix="ocrd-growth-") as root:
        step = prepare(Path(root), size)
        began = time.process_time()
        step()
        return time.process_time() - began


def _exponent(sizes: list[int], seconds: list[float]) -> float:
    """Fit seconds = c * size ** exponent, by least squares of the logarithms."""
    across, up = [math.log(size) for size in sizes], [math.log(one) for one in seconds]
    middle, height = sum(across) / len(across), sum(up) / len(up)
    rise = sum((x - middle) * (y - height) for x, y in zip(across, up, strict=True))
    return rise / sum((x - middle) ** 2 for x in across)


def _rebuild(root: Path, size: int) -> Step:
    (root / "work").mkdir()
    (root / "outbox").mkdir()
    for number in range(size):
        facts = {"source": f"scan {number}.pdf", "sha256": f"{number:064x}", "pages": 1, "status": "complete"}
        text = front_matter.front_matter(facts | {"engine": "cpu", "date": _DATE})
        text += "\n<!-- page 1 -->\n" + "word " * 300
        (root / "outbox" / f"scan {number}.md").write_text(text)
    ledger = Ledger(root / "work")

    def rebuild() -> None:
        while not ledger.rebuild_some(root / "outbox", lambda _: None):
            pass

    return rebuild


def _look_ups(root: Path, size: int) -> Step:
    ledger = Ledger(root)
    ledger.rebuild_some(root, lambda _: None)
    for number in range(size):
        kind = "skipped" if number else "delivered"
        ledger.record(Entry(str(number), _DATE, "scan.pdf", "the same", kind, "scan.md", 1, "complete"))
    return lambda: [ledger.earlier("the same") for _ in range(_LOOK_UPS)]


def _watches(size: int) -> list[dict[str, str]]:
    return [{"name": f"w{n}"} | {role: f"{n}/{role}" for role in _ROLES} for n in range(size)]


def _configuration(root: Path, size: int) -> Step:
    text = yaml.safe_dump({"watches": _watches(size)})
    return lambda: loader.parse(text, root / "ocrd.yaml")


def _status(_: Path, size: int) -> Step:
    watches = [WatchStatus(f"watch-{number}", "/inbox") for number in range(size)]
    status = Status("ready", "1", 1, 1, 0.0, 0.0, EngineStatus("cpu"), watches=watches)
    return lambda: Console(file=io.StringIO()).print(status_view.page(status, 1.0))


def _folders(root: Path, size: int) -> Step:
    config = loader.parse(yaml.safe_dump({"watches": _watches(size)}), root / "ocrd.yaml")
    for folder in (folder for watch in config.watches for folder in watch.folders.values()):
        folder.mkdir(parents=True)
    roles = Roles()

    def look_up() -> None:
        for watch in config.watches:
            roles.look_up(watch.name, watch)

    return look_up


def _one_name(root: Path, size: int) -> Step:
    def name() -> None:
        for _ in range(size):
            (root / naming.free_name(root, "scan.pdf", [".json", ".assets"])).touch()

    return name


def _figures(root: Path, size: int) -> Step:
    result = Result(root)

    def keep() -> None:
        for page in range(1, size + 1):
            result.keep_figures({f"page-{page}-figure-1.jpg": b"a picture"})

    return keep


def _fax(root: Path, size: int) -> Step:
    sheet = Image.new("1", (64, 64), 1)
    sheet.save(root / "fax.tif", save_all=True, append_images=[sheet] * (size - 1), compression="group4")
    return lambda: [sources.opened(root / "fax.tif").shape(page) for page in range(size)]


def _bad_pages(_: Path, size: int) -> Step:
    bad = [PageResult(index, Verdict.FAILED, "it can't be read", None, 1) for index in range(size)]

    def log() -> None:
        for page in bad:
            event_log.write(PageDone("scans", "j1", "a.pdf", page))
        event_log.write(Ended("scans", "j1", "a.pdf", "delivered", Path("a.md"), None, 1.0, 2.0, size, problems=bad))

    return log


def _quiet(*_: object) -> structlog.WriteLogger:
    return structlog.WriteLogger(io.StringIO())


PARTS: list[tuple[str, int, Callable[[Path, int], Step]]] = [
    ("a lost ledger made anew, by sidecars", 1000, _rebuild),
    (f"{_LOOK_UPS} look-ups of one content, by how often it was skipped", 500, _look_ups),
    ("the configuration read, by watches", 30, _configuration),
    ("`ocrd status` laid out, by watches", 30, _status),
    ("whose each folder is, looked up by each watch", 30, _folders),
    ("one name delivered again and again, by files", 500, _one_name),
    ("figures kept, by pages that have one", 250, _figures),
    ("a TIFF walked through, by pages", 100, _fax),
    ("a document's bad pages logged, by pages", 1000, _bad_pages),
]
"""What is measured, the smallest size, and what prepares a step for a size."""

if __name__ == "__main__":
    main()
