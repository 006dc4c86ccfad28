"""One bad file is one bad file: the real daemon over an inbox that holds every kind of them beside good ones."""

import asyncio
import json
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml
from simulated import SimulatedEngine
from spool_house import BAD, SCAN, House, InstantRenderer

from ocrd.concurrency.threads import Threads
from ocrd.config.schema import Config, Settle
from ocrd.config.watch import Watch
from ocrd.daemon.supervisor import Daemon
from ocrd.errors import DocumentError, MachineError, OcrdError, PageError
from ocrd.intake.inbox import Inbox
from ocrd.intake.scanner import scan
from ocrd.intake.settling import SettleTracker
from ocrd.model import Settled, SourceFacts
from ocrd.storage.job import Job
from ocrd.storage.spool import Spool

MakePdf = Callable[..., Path]
ROLES = ("inbox", "outbox", "archive", "error")
LONG = "é" * 125 + "a.pdf"
LONG_AND_EMPTY = "x" * 251 + ".pdf"
LATIN = os.fsdecode(b"caf\xe9.pdf")
LATIN_AND_EMPTY = os.fsdecode(b"vid\xe9.pdf")

NO_IMAGE = (
    "This is no PDF and no image that ocrd knows (TIFF, JPEG, PNG, WebP, HEIC, JPEG 2000, DjVu, GIF, BMP and others),"
    " whatever its name says."
)

REFUSED = {
    "empty.pdf": "This file is empty (0 bytes).",
    "text.pdf": NO_IMAGE,
    "html.pdf": NO_IMAGE,
    "cut.pdf": "This PDF is cut off: its end is missing.",
    "password.pdf": "This PDF asks for a password.",
    "no-pages.pdf": "This PDF has no pages.",
    "huge.pdf": "Its only page could not be read: This page is 2000.00 m wide and 2000.00 m high; no more than",
    "hanging.pdf": "Its only page could not be read: Rendering this page took longer than 5 s.",
    "closed.pdf": "ocrd may not read this file: permission denied.",
    "a/b/empty.tif": "This file is empty (0 bytes).",
    LATIN_AND_EMPTY: "This file is empty (0 bytes).",
    LONG_AND_EMPTY: "This file is empty (0 bytes).",
}
READ = ["good.pdf", "owner.pdf", "a/b/good.pdf", LATIN, LONG, "mixed.pdf"]
ODD = {"folder.pdf": "a folder", "fifo.pdf": "a special file", "device.pdf": "a special file",
       "link.pdf": "a symbolic link", "dangling.pdf": "a symbolic link"}  # fmt: skip


@dataclass
class Day:
    """What one run of `ocrd once` made of the inbox."""

    root: Path
    dropped: dict[str, bytes] = field(default_factory=dict)
    exit_code: int = -1
    log: list[dict[str, Any]] = field(default_factory=list)

    def files(self, role: str) -> set[str]:
        folder = self.root / role
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == event]


def drop_everything(root: Path, make_pdf: MakePdf, raw_pdf: MakePdf, hanging_pdf: MakePdf) -> None:
    import pymupdf

    (root / "inbox/a/b").mkdir(parents=True)
    drop = (root / "inbox").joinpath
    for name in READ:
        make_pdf(drop(name), pages=3 if name == "mixed.pdf" else 1)
    aes = pymupdf.PDF_ENCRYPT_AES_256
    make_pdf(drop("owner.pdf"), encryption=aes, owner_pw="owner", permissions=0)
    make_pdf(drop("password.pdf"), encryption=aes, owner_pw="owner", user_pw="user")
    for name in ("empty.pdf", "a/b/empty.tif", LATIN_AND_EMPTY, LONG_AND_EMPTY):
        drop(name).touch()
    drop("text.pdf").write_bytes(b"Dear Sir,\n")
    drop("html.pdf").write_bytes(b"<!DOCTYPE html><html><body>404 Not Found</body></html>")
    make_pdf(drop("cut.pdf"), pages=5)
    os.truncate(drop("cut.pdf"), drop("cut.pdf").stat().st_size * 6 // 10)
    catalogue, leaf = b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 5669300 5669300]>>"
    raw_pdf(drop("no-pages.pdf"), catalogue, b"<</Type/Pages/Kids[]/Count 0>>")
    raw_pdf(drop("huge.pdf"), catalogue, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", leaf)
    with pymupdf.open(drop("mixed.pdf")) as mixed:
        mixed[1].set_mediabox((0, 0, 2000000, 2000000))
        drop("mixed.pdf").write_bytes(mixed.tobytes())
    hanging_pdf(drop("hanging.pdf"))
    make_pdf(drop("closed.pdf"))
    drop("folder.pdf").mkdir()
    make_pdf(drop("folder.pdf/inside.pdf"))
    os.mkfifo(drop("fifo.pdf"))
    try:
        os.mknod(drop("device.pdf"), stat.S_IFCHR | 0o644, os.makedev(1, 3))
    except PermissionError:  # no device without root; a second FIFO stands in
        os.mkfifo(drop("device.pdf"))
    drop("link.pdf").symlink_to("good.pdf")
    drop("dangling.pdf").symlink_to("nowhere.pdf")
    make_pdf(drop("unfinished.pdf.part"))


@pytest.fixture(scope="module")
def day(  # noqa: PLR0913, PLR0917 - the makers of everything
    tmp_path_factory: pytest.TempPathFactory,
    make_pdf: MakePdf,
    raw_pdf: MakePdf,
    hanging_pdf: MakePdf,
    run_python: Callable[..., Any],
    plain_user: dict[str, Any],
) -> Day:
    day = Day(tmp_path_factory.mktemp("day"))
    drop_everything(day.root, make_pdf, raw_pdf, hanging_pdf)
    day.dropped = {name: (day.root / "inbox" / name).read_bytes() for name in [*REFUSED, *READ]}
    (day.root / "inbox/closed.pdf").chmod(0)
    settings = {
        "engine": {"kind": "simulated:create"},
        "settle": {"quiet": "100ms", "patience": "0s"},
        "render": {"workers": 2, "page_timeout": "5s"},
        "log": {"format": "json"},
        "watches": [{"name": "scans"} | {role: role for role in ROLES}],
    }
    (day.root / "ocrd.yaml").write_text(yaml.safe_dump(settings))
    told = run_python("-m", "ocrd", "once", "-c", day.root / "ocrd.yaml", timeout=300, **plain_user)
    day.exit_code = told.returncode
    day.log = [json.loads(line) for line in told.stderr.splitlines() if line.startswith("{")]
    return day


def test_the_exit_code_says_that_something_was_refused(day: Day) -> None:
    assert day.exit_code == 65


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: ascii(name)[:20])
def test_a_bad_file_lies_unchanged_beside_a_note_with_its_sentence(day: Day, name: str) -> None:
    path = day.root / "error" / name
    if name == LONG_AND_EMPTY:  # leaves room for its note's name
        path = path.with_name("x" * (255 - len(".pdf.error.md")) + ".pdf")
    note = Path(f"{path}.error.md").read_text(encoding="utf-8")
    if name == "closed.pdf":
        path.chmod(0o600)
    assert path.read_bytes() == day.dropped[name]
    said = note.replace("\\", "")
    assert f"**What happened:** {REFUSED[name]}" in said
    assert len(said.partition("**What to do:** ")[2].splitlines()[0]) > 20
    assert str(day.root) not in note


@pytest.mark.parametrize("name", READ, ids=lambda name: ascii(name)[:20])
def test_a_good_file_among_bad_ones_is_delivered_and_archived(day: Day, name: str) -> None:
    assert (day.root / "archive" / name).read_bytes() == day.dropped[name]
    sidecar = (day.root / "outbox" / name).with_suffix(".md").read_text(encoding="utf-8")
    assert "<!-- page 1 -->\n" in sidecar
    assert "\n\npage 1\n" in sidecar  # with a note before it where the page seems to hold more


def test_one_bad_page_is_a_placeholder_among_good_ones(day: Day) -> None:
    sidecar = (day.root / "outbox/mixed.md").read_text()
    assert "status: partial" in sidecar
    assert "<!-- page 2 -->\n\n> *Page 2 could not be read: This page is 705.56 m wide" in sidecar
    assert "<!-- page 3 -->\n\npage 3\n" in sidecar


def test_everything_lies_in_its_place_and_nowhere_else(day: Day) -> None:
    assert day.files("archive") == set(READ)
    assert day.files("outbox") == {str(Path(name).with_suffix(".md")) for name in READ}
    assert len(day.files("error")) == 2 * len(REFUSED)
    assert day.files("inbox") == {"folder.pdf/inside.pdf", "unfinished.pdf.part"}
    assert os.listdir(day.root / ".inbox.ocrd-work") == ["ledger.sqlite3"]


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_file_is_left_alone_and_logged_once(day: Day, name: str) -> None:
    assert os.path.lexists(day.root / "inbox" / name)
    assert [line["reason"] for line in day.events("left alone") if line["source"] == name] == [f"it is {ODD[name]}"]


def test_no_bad_file_pauses_the_watch_or_looks_like_a_defect(day: Day) -> None:
    assert not day.events("paused") + day.events("defect")
    assert sorted(len(day.events(kind)) for kind in ("delivered", "refused")) == sorted([len(READ), len(REFUSED)])


def test_a_name_that_is_not_utf_8_is_logged_as_escapes(day: Day) -> None:
    assert [line["source"] for line in day.events("delivered") if "caf" in line["source"]] == [r"caf\xe9.pdf"]


# What can't be shown by waiting for it


def test_a_file_that_vanishes_while_it_settles_is_no_error(tmp_path: Path) -> None:
    house, tracker = House(tmp_path), SettleTracker(3.0)
    house.drop("gone.pdf")
    house.drop()
    tracker.observe(scan(house.inbox).files, 0.0)
    (house.inbox / "gone.pdf").unlink()
    (settled,) = tracker.observe(scan(house.inbox).files, 3.0)
    assert settled.path.name == "scan.pdf"
    settled.path.unlink()  # and one that vanishes between settling and the claim
    assert house.spool.claim(settled) is None
    assert house.lies() == {}


def test_a_folder_that_vanishes_while_it_is_looked_through_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "scan.pdf").touch()
    real = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("/sub"):
            os.rmdir(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = scan(tmp_path)
    assert list(found.files) == [tmp_path / "scan.pdf"]
    assert found.odd == {}


def test_no_link_is_followed_out_of_the_inbox(tmp_path: Path) -> None:
    for name in ("inbox", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere/private.pdf").touch()
    (tmp_path / "inbox/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "inbox/folder.pdf").symlink_to(tmp_path / "elsewhere")
    found = scan(tmp_path / "inbox")
    assert found.files == {}
    assert found.odd == {tmp_path / "inbox/folder.pdf": "a symbolic link"}


class Growing(InstantRenderer):
    """Meets a source whose writer still holds it open: it grows while it is opened."""

    async def open(self, path: Path) -> SourceFacts:
        with path.open("ab") as writer:
            writer.write(b", and more")
        return await super().open(path)


@pytest.mark.parametrize("error", [None, BAD])
def test_a_file_that_grows_after_it_was_claimed_goes_back_whole_and_settles_anew(
    tmp_path: Path, error: DocumentError | None
) -> None:
    house = House(tmp_path)
    job = house.spool.claim(house.drop())
    assert job
    house.renderer = Growing(error=error)
    outcome = house.run(job)
    assert (outcome.kind, outcome.path) == ("returned", house.inbox / "scan.pdf")
    assert house.lies() == {"inbox/scan.pdf": SCAN + b", and more"}
    assert os.listdir(house.work) == []


def test_a_writer_that_is_not_done_at_the_claim_gets_its_file_back(tmp_path: Path) -> None:
    house = House(tmp_path)
    settled = house.drop()
    with settled.path.open("ab") as writer:
        writer.write(b", and more")
        writer.flush()
        assert house.spool.claim(settled) is None
        writer.write(b", and still more")
    assert house.lies() == {"inbox/scan.pdf": SCAN + b", and more, and still more"}


def test_odd_things_are_told_once_however_often_the_inbox_is_scanned(tmp_path: Path) -> None:
    for role in ROLES:
        (tmp_path / role).mkdir()
    watch = Watch(name="scans", **{role: str(tmp_path / role) for role in ROLES})
    folder, fifo = tmp_path / "inbox/folder.pdf", tmp_path / "inbox/fifo.pdf"

    async def looks() -> None:
        inbox = Inbox(watch, Settle(), asyncio.Event(), Threads().run, once=True)
        folder.mkdir()
        for _ in range(3):
            await inbox.look()
        os.mkfifo(fifo)
        await inbox.look()
        folder.rmdir()
        fifo.unlink()
        await inbox.look()
        folder.mkdir()
        os.mkfifo(fifo)
        await inbox.look()

    with structlog.testing.capture_logs() as told:
        asyncio.run(looks())
    assert [line["source"] for line in told[:2]] == ["folder.pdf", "fifo.pdf"]
    assert sorted(line["source"] for line in told[2:]) == ["fifo.pdf", "folder.pdf"], "they went away and came back"


def test_a_document_of_which_no_page_could_be_read_is_refused(tmp_path: Path) -> None:
    house = House(tmp_path)
    job = house.spool.claim(house.drop())
    assert job
    outcome = house.run(job, SimulatedEngine(behave=lambda *_: PageError(BAD.what, BAD.remedy)))
    assert outcome.kind == "refused"
    assert outcome.reason.startswith("None of its 2 pages could be read; the first: It is bad.")
    assert outcome.path.read_bytes() == SCAN


def test_a_claim_that_the_machine_refused_is_tried_again_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_pdf: MakePdf
) -> None:
    (tmp_path / "inbox").mkdir()
    make_pdf(tmp_path / "inbox/scan.pdf")
    real, refusals = Spool.claim, iter(range(2))

    def claim(spool: Spool, settled: Settled, refused: OcrdError | None) -> Job | None:
        if next(refusals, None) is not None:
            raise MachineError("The disk is full.", "Free some space.")
        return real(spool, settled, refused)

    monkeypatch.setattr(Spool, "claim", claim)
    monkeypatch.setattr("ocrd.daemon.pause.RETRY_SECONDS", 0.1)
    watch = {"name": "scans"} | {role: str(tmp_path / role) for role in ROLES}
    settings = {"settle": {"quiet": "10ms"}, "batch": {"quiet": "10ms"}, "render": {"workers": 1}, "watches": [watch]}

    async def life() -> None:
        daemon = Daemon(Config.model_validate(settings), SimulatedEngine())
        running = asyncio.create_task(daemon.run())
        try:
            async with asyncio.timeout(120):
                while not daemon.ended["delivered"]:
                    await asyncio.sleep(0.02)
        finally:
            daemon.stop()
            await running

    with structlog.testing.capture_logs() as told:
        asyncio.run(life())
    assert [line["event"] for line in told if line["event"] in ("paused", "resumed")] == ["paused", "resumed"]
    assert (tmp_path / "archive/scan.pdf").exists()
