"""What the tests share: sources made on the spot, small disks, and one way to wait."""

import ctypes
import gc
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sampling
import structlog
from house import House
from hypothesis import settings
from preloaded import Completed

EXAMPLES = int(os.environ.get("OCRD_EXAMPLES", "50"))
"""Tried of each property for which a test says nothing else."""
settings.register_profile(  # a slow machine is no failure
    "house", deadline=None, derandomize=True, database=None, max_examples=EXAMPLES
)
settings.load_profile("house")

SUPPORT = Path(__file__).parent / "support"


FIRST = (
    "test_crash",  # takes longest, and what both cores have
    "test_container",  # builds for two minutes, on one core
    *("test_faults", "test_systemd", "test_arrival", "test_bulkhead"),  # mostly wait
    *("test_rerun", "test_load", "test_quality", "test_review", "test_tidied", "test_killing", "test_samples"),
    *("test_docs", "test_features", "test_joined", "test_daemon", "test_split", "test_fairness", "test_cpu_engine"),
    *("test_notifications", "test_openai", "test_names", "test_inotify", "test_bad_input", "test_people", "test_init"),
)
"""Files with which the workers begin, in this order, so that neither is left alone with a long one at the end."""


def pytest_configure() -> None:
    sampling.choose_seed()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


def pytest_collection_finish() -> None:
    """Spare the garbage collector thousands of tests in each of its rounds, which took longer than most of them."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"Samples were drawn by {sampling.VARIABLE}={sampling.seed()}.")


@pytest.fixture(scope="module", autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 120
    while left := {thread for thread in threading.enumerate() if thread not in before and thread.is_alive()}:
        assert time.monotonic() < deadline, f"threads left behind: {left}"
        left.pop().join(0.1)


@pytest.fixture(scope="module", autouse=True)
def _the_log_stays_as_it_was() -> Iterator[None]:
    """Undo what the tests of a file set, so that those of a later one see their own lines."""
    root = logging.getLogger()
    before, ours = (root.handlers[:], root.level), structlog.get_config()
    yield
    root.handlers[:], root.level = before
    structlog.configure(**ours)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait for a condition, with a deadline: the only way in which a test waits for another process."""

    def wait(condition: Callable[[], object], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {condition}"
            time.sleep(0.02)

    return wait


@pytest.fixture(scope="session")
def make_pdf() -> Callable[..., Path]:
    """Make a PDF at a path, with a line of text on each page."""

    def make(path: Path, pages: int = 1, *, width: float = 200, height: float = 300, **save: object) -> Path:
        import pymupdf

        with pymupdf.open() as document:
            for number in range(1, pages + 1):
                document.new_page(width=width, height=height).insert_text((20, 40), f"Page {number} of {path.stem}")
            path.write_bytes(document.tobytes(**save))
        return path

    return make


@pytest.fixture(scope="session")
def raw_pdf() -> Callable[..., Path]:
    """Make a PDF out of the bodies of its objects; the first one is the catalogue."""

    def make(path: Path, *bodies: bytes) -> Path:
        data, places = b"%PDF-1.7\n", []
        for number, body in enumerate(bodies, 1):
            places.append(len(data))
            data += b"%d 0 obj\n%b\nendobj\n" % (number, body)
        table = b"".join(b"%010d 00000 n \n" % place for place in places)
        head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1)
        end = b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(bodies) + 1, len(data))
        path.write_bytes(data + head + table + end)
        return path

    return make


@pytest.fixture(scope="session")
def hanging_pdf(raw_pdf: Callable[..., Path]) -> Callable[[Path], Path]:
    """Make a small PDF whose page takes for ever: each form draws the next one ten times, twelve deep."""

    def form(body: bytes, inner: int) -> bytes:
        uses = b"/Resources<</XObject<</F %d 0 R>>>>" % inner if inner else b""
        return b"<</Type/XObject/Subtype/Form/BBox[0 0 200 300]%b/Length %d>>stream\n%b\nendstream" % (
            uses, len(body), body,
        )  # fmt: skip

    def make(path: Path) -> Path:
        depth, first = 12, 5
        forms = [form(b"/F Do " * 10, first + number + 1) for number in range(depth)]
        return raw_pdf(
            path,
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 300]/Contents 4 0 R/Resources<</XObject<</F 5 0 R>>>>>>",
            b"<</Length 5>>stream\n/F Do\nendstream",
            *forms,
            form(b"0 0 100 100 re f", 0),
        )

    return make


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Give the path of another file system of 1 MiB."""
    folder = Path(tempfile.mkdtemp(prefix="ocrd-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"a file system can't be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


@pytest.fixture
def refuse_renameat2(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let renameat2(2) answer with an error, as it does where the file system does not know RENAME_NOREPLACE."""

    def refuse(number: int) -> None:
        class Libc:
            def renameat2(self, *_: object) -> int:
                ctypes.set_errno(number)
                return -1

        monkeypatch.setattr("ocrd.storage.renames._libc", Libc())

    return refuse


@pytest.fixture(scope="session")
def plain_user() -> dict[str, object]:
    """Give the arguments by which `subprocess` runs a program that may read and write only what is permitted to it.

    Root keeps its name, since a test's files and its Python may be closed to others, but not its powers over files.
    """
    override, read_search, drop = 1, 2, 24  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP
    libc = ctypes.CDLL(None)

    def give_up() -> None:
        if libc.prctl(drop, override) or libc.prctl(drop, read_search):
            raise PermissionError("root's powers can't be given up here")

    return {"preexec_fn": give_up} if os.geteuid() == 0 else {}


@pytest.fixture(scope="session")
def run_python() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run Python as we run, with the tests' own modules at hand."""

    def run(*arguments: str | Path, **options: object) -> "subprocess.CompletedProcess[str]":
        path = os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": path}
        defaults = {"capture_output": True, "text": True, "env": environment, "timeout": 120}
        return subprocess.run([sys.executable, *arguments], check=False, **{**defaults, **options})

    return run


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Folders for a daemon of the test's own."""
    house = House(tmp_path)
    yield house
    house.close()


@pytest.fixture
def ocrd(house: House) -> Callable[..., Completed]:
    """Run a command of ours on the house's configuration."""
    return house.command
