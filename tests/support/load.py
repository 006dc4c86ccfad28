"""Very many files at once, and files for hours: what the daemon uses meanwhile."""

import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pymupdf
from house import Daemon, House
from proc import children

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """What a daemon and its children use at one moment."""

    done: int
    """Files that lie in the archive."""
    cpu: float
    """Seconds of the daemon itself, of all cores, since it began."""
    rss: int
    """MiB, of the daemon itself."""
    files: int
    """Open descriptors."""
    threads: int
    children: int
    children_rss: int
    """MiB, of the children together; pages that they share count for each."""

    @classmethod
    def of(cls, daemon: Daemon, done: int) -> "Usage":
        proc = Path(f"/proc/{daemon.pid}")
        stat = _stat(daemon.pid)
        its = children(daemon.pid)
        return cls(
            done,
            (int(stat[11]) + int(stat[12])) / TICKS,
            _mib(stat),
            len(list((proc / "fd").iterdir())),
            int(stat[17]),
            len(its),
            sum(_mib(_stat(pid)) for pid in its),
        )


def _stat(pid: int) -> list[str]:
    """Read the fields of proc_pid_stat(5) after the name; none for a process that has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _mib(stat: list[str]) -> int:
    return int(stat[21]) * PAGE >> 20 if stat else 0


def one_page_pdfs() -> Iterator[bytes]:
    """Make small PDFs without end, no two alike."""
    with pymupdf.open() as document:
        document.new_page(width=200, height=120).insert_text((20, 40), "One page of many")
        data = document.tobytes()
    return (data + b"%% %d\n" % number for number in count(1))


def drop_at_once(house: House, daemon: Daemon, number: int) -> None:
    """Drop so many files while the daemon is held still, with more events than the kernel keeps for it."""
    inbox, aside = house.path("inbox"), house.path("aside")
    aside.mkdir()
    daemon.send_signal(signal.SIGSTOP)
    for index, data in zip(range(number), one_page_pdfs(), strict=False):
        (aside / f"{index:06}.pdf").write_bytes(data)
        (aside / f"{index:06}.pdf").rename(inbox / f"{index:06}.pdf")
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for _ in range(limit // 2):
        (inbox / ".a").touch()
        (inbox / ".a").unlink()
    daemon.send_signal(signal.SIGCONT)


def samples() -> Iterator[tuple[str, bytes]]:
    """Give sources of every kind in turn, without end: those of ocrd/samples/, and bad ones."""
    kinds = sorted(path for path in (Path(__file__).parents[2] / "ocrd/samples").iterdir() if path.suffix in _SUFFIXES)
    chance, pdfs = random.Random(1), one_page_pdfs()  # noqa: S311
    for number in count():
        path = kinds[number % len(kinds)]
        if number % 50 == 49:  # one in fifty is no scan at all
            yield f"{number:06}-bad.pdf", chance.randbytes(1000)
        elif number % 3:
            yield f"{number:06}.pdf", next(pdfs)
        else:
            yield f"{number:06}{path.suffix}", path.read_bytes()


_SUFFIXES = {".pdf", ".tif", ".tiff", ".jpg", ".jpeg", ".png"}


def watch_over(house: House, daemon: Daemon, seconds: float) -> Iterator[Usage]:
    """Take the daemon's measure every so often, until the taker has seen enough."""
    while True:
        yield Usage.of(daemon, sum(1 for _ in os.scandir(house.path("archive"))))
        time.sleep(seconds)
