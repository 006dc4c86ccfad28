"""Events are proven to come, lost ones are made up for, and whatever ends the watching is noticed and mended."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from house import House, stop, wait_for
from writers import program

from ocrd.concurrency.threads import Threads
from ocrd.config.schema import Settle
from ocrd.config.watch import Watch
from ocrd.intake import inotify
from ocrd.intake.inbox import Inbox, rescan
from ocrd.intake.inotify import FolderEvents
from ocrd.model import Settled
from ocrd.storage import mounts

Eventually = Callable[..., None]


async def one_page(_path: Path) -> int:
    return 1


async def found(inbox: Inbox) -> list[tuple[Settled, int]]:
    """Take one look, and return what is complete."""
    examined = [(settled, await inbox.examine(settled, one_page)) for settled in await inbox.look()]
    return [(settled, pages) for settled, pages in examined if pages is not None]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine events take their time."""
    monkeypatch.setattr(inotify, "_CANARY_SECONDS", 60.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def inbox(folder: Path) -> Iterator[Inbox]:
    watch = Watch(name="scans", **{role: str(folder.parent / role) for role in ("inbox", "outbox", "archive", "error")})
    made = Inbox(watch, Settle(quiet="0s", rescan="1h"), asyncio.Event(), Threads().run)
    yield made
    made.close()


def after(steps: Coroutine[Any, Any, None]) -> list[dict[str, Any]]:
    with structlog.testing.capture_logs() as told:
        asyncio.run(steps)
    return told


def named(told: list[dict[str, Any]], *names: str) -> list[str]:
    return [str(line["event"]) for line in told if not names or line["event"] in names]


# One inbox, look by look


def test_temporary_files_that_end_in_something_new_each_time_do_not_fill_the_log(folder: Path, inbox: Inbox) -> None:
    async def steps() -> None:
        for number in range(150):
            (folder / f"scan.pdf-{number:04}").touch()
            inbox.look_through()
            await inbox.look()

    told = [line for line in after(steps()) if line["event"] == "left alone"]
    assert len(told) == len({line["source"] for line in told}) == 100


def test_the_canary_flies_and_leaves_no_trace(folder: Path, eventually: Eventually) -> None:
    woken: list[int] = []
    watched = FolderEvents(folder, lambda: woken.append(1))
    try:
        assert watched.arrive(folder)
        assert list(folder.iterdir()) == []
        assert woken == [], "our own test wakes nobody"
        (folder / "scan.pdf").touch()
        eventually(lambda: woken)
    finally:
        watched.close()


def test_a_canary_that_a_crash_left_is_removed(folder: Path, inbox: Inbox) -> None:
    (folder / inotify.CANARY).touch()
    asyncio.run(found(inbox))
    assert inbox.how == "events"
    assert list(folder.iterdir()) == []


def test_events_that_do_not_come_make_it_polled(folder: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inotify, "_CANARY_SECONDS", 0.05)
    monkeypatch.setattr(inotify, "_EVENTS", [inotify.DirMovedEvent])

    async def looks() -> None:
        await found(inbox)
        (folder / "a.pdf").touch()
        [(settled, _)] = await found(inbox)
        assert settled.path.name == "a.pdf"

    [line] = after(looks())
    assert (line["event"], line["reason"]) == ("polled", "a test file that appeared in it brought no event")
    assert (inbox.how, inbox.every, inbox.found_by_scan) == ("polling", 5.0, 1)


def test_all_inboxes_share_one_observer_until_one_is_silent(tmp_path: Path) -> None:
    woken: list[str] = []
    inboxes = [tmp_path / name for name in "abc"]
    for one in inboxes:
        one.mkdir()
    first, second = (FolderEvents(one, lambda one=one: woken.append(one.name)) for one in inboxes[:2])
    try:
        assert first._observer is second._observer
        assert first.arrive(inboxes[0])
        assert second.arrive(inboxes[1])
        first.distrust()
        third = FolderEvents(inboxes[2], lambda: woken.append("c"))
        assert third._observer is not first._observer
        third.close()
        assert not third._observer.is_alive()
        first.close()
        assert second.arrive(inboxes[1]), "it lives as long as somebody watches by it"
    finally:
        second.close()
    assert not second._observer.is_alive()


def test_an_observer_that_ended_is_replaced(inbox: Inbox) -> None:
    async def looks() -> None:
        await found(inbox)
        inbox._watching._observer.stop()  # type: ignore[union-attr]
        inbox._watching._observer.join()  # type: ignore[union-attr]
        await found(inbox)
        await found(inbox)

    assert named(after(looks())) == ["watching anew"]


def test_an_observer_that_is_silent_though_alive_is_found_out(
    folder: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def looks() -> None:
        await found(inbox)
        monkeypatch.setattr(inotify, "_CANARY_SECONDS", 5.0)  # what the one that does not come may take
        observer: Any = inbox._watching._observer  # type: ignore[union-attr]
        observer._inotify_fd.stop()
        observer._inotify_fd.join()
        await found(inbox)
        (folder / "a.pdf").touch()
        inbox.look_through()
        assert len(await found(inbox)) == 1
        assert inbox._watching
        assert inbox._watching.alive()
        await found(inbox)

    assert named(after(looks())) == ["watching anew"]
    assert inbox.found_by_scan == 1


def test_files_that_appear_without_events_end_the_trust_in_events(inbox: Inbox, tmp_path: Path) -> None:
    """An overlay whose upper folder is written to directly behaves as a share that other machines write to."""
    upper = tmp_path / "upper"
    for name in ("upper", "lower", "aside"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={upper},workdir={tmp_path}/aside"
    made = subprocess.run(
        ["mount", "-t", "overlay", "overlay", "-o", options, inbox.folder], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"no overlay can be mounted here: {made.stderr!r}")

    async def looks() -> None:
        await found(inbox)
        for number in range(3):
            (upper / f"{number}.pdf").touch()
            inbox.look_through()
            assert len(await found(inbox)) == 1
        assert await found(inbox) == []

    try:
        told = after(looks())
    finally:
        inbox.close()
        subprocess.run(["umount", "--lazy", inbox.folder], check=True)
    assert named(told) == ["polled"]
    assert "without events" in inbox.why
    assert inbox.found_by_scan == 3


def test_files_that_events_told_of_are_not_counted(folder: Path, inbox: Inbox, eventually: Eventually) -> None:
    async def looks() -> None:
        await found(inbox)
        (folder / "a.pdf").touch()
        await asyncio.to_thread(eventually, inbox._event.is_set)
        await found(inbox)
        await found(inbox)

    after(looks())
    assert inbox.found_by_scan == 0


def test_where_an_event_came_from_is_looked_at_alone(
    folder: Path, inbox: Inbox, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much else lies in the inbox; and what comes back there, though it is the same as ever, is news."""

    async def looks() -> None:
        await found(inbox)
        monkeypatch.setattr("ocrd.intake.inbox.scan", lambda *_, **__: pytest.fail("all was looked through"))
        for place in (folder / "a.pdf", folder.parent / "aside.pdf"):
            place.touch()
            place.rename(folder / "a.pdf")
            await asyncio.to_thread(eventually, inbox._event.is_set)
            inbox._event.clear()
            [(settled, _)] = await found(inbox)
            assert await found(inbox) == []
        for _ in range(2):
            inbox.took(settled)
            (folder / "a.pdf").rename(folder.parent / "taken.pdf")
            assert await found(inbox) == []
            assert inbox.tracker.known == 0
            (folder.parent / "taken.pdf").rename(folder / "a.pdf")
            await asyncio.to_thread(eventually, inbox._event.is_set)
            inbox._event.clear()
            assert await found(inbox) == [(settled, 1)]

    asyncio.run(looks())
    assert inbox.how == "events"
    assert 3000 < inbox.rest <= 3600


def test_a_folder_that_came_has_all_looked_through_soon(folder: Path, inbox: Inbox, eventually: Eventually) -> None:
    """More may have come into it before it was watched."""

    async def looks() -> None:
        await found(inbox)
        assert inbox.rest > 3000
        (folder / "sub").mkdir()
        await asyncio.to_thread(eventually, inbox._event.is_set)
        await found(inbox)

    asyncio.run(looks())
    assert inbox.rest < 1


def test_what_ocrd_does_itself_in_an_inbox_wakes_nobody(folder: Path, eventually: Eventually) -> None:
    """To look through it, to read a file, to claim it, to delete what it made there for a moment."""
    for name in ("claimed.pdf", "deleted.tmp"):
        (folder / name).write_bytes(b"scan")
    woken: list[float] = []
    watched = FolderEvents(folder, lambda: woken.append(time.monotonic()))
    try:
        assert [(folder / name).read_bytes() for name in os.listdir(folder)] == [b"scan", b"scan"]
        (folder / "claimed.pdf").rename(folder.parent / "claimed.pdf")
        (folder / "deleted.tmp").unlink()
        assert watched.arrive(folder)
        assert not watched.heard()
        assert not woken
        (folder / "news.pdf").touch()
        eventually(lambda: woken)
        assert watched.heard() == {folder / "news.pdf"}
    finally:
        watched.close()


def test_of_more_events_than_are_kept_until_the_next_look_all_is_looked_through(
    folder: Path, inbox: Inbox, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inotify, "_MOST_HEARD", 20)

    async def looks() -> None:
        await found(inbox)
        for number in range(30):
            (folder / f"{number}.pdf").touch()
        await asyncio.to_thread(eventually, lambda: inbox._watching and inbox._watching.overflowed)
        assert len(await found(inbox)) == 30

    told = after(looks())
    assert named(told, "events were lost, so the inbox was looked through")


CLOSED_AMID_EVENTS = """
import logging, sys, tempfile, threading, time
from pathlib import Path
from ocrd.intake.inotify import FolderEvents
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
for number in range(20):
    folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))
    events, closed = FolderEvents(folder, lambda: None), threading.Event()
    def drop():
        for number in range(100_000):
            if closed.is_set():
                return
            (folder / f"{number}/sub").mkdir(parents=True)
    dropping = threading.Thread(target=drop)
    dropping.start()
    time.sleep(0.05)
    events.close()
    closed.set()
    dropping.join()
"""


def test_events_that_nobody_reads_any_more_since_the_watch_ends_are_no_line_in_the_log(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    done = run_python("-c", CLOSED_AMID_EVENTS, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


FOUND_TWICE = """
import os, sys
from pathlib import Path
from watchdog.observers import inotify_c
from ocrd.intake.inotify import FolderEvents
add, folder = inotify_c.inotify_add_watch, Path(sys.argv[1])
def add_and_let_one_come(fd, path, mask):
    watched = add(fd, path, mask)
    if path == os.fsencode(folder / "a"):
        (folder / "a/b").mkdir()
    return watched
inotify_c.inotify_add_watch = add_and_let_one_come
events = FolderEvents(folder, lambda: None)
(folder / "a").mkdir()
assert events.arrive(folder)
assert events.heard() == {folder / "a", folder / "a/b"}, events.heard()
events.close()
"""


def test_a_folder_that_comes_while_the_one_around_it_is_looked_through_is_no_line_in_the_log(
    tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    """The library finds it twice: there, and by its event."""
    done = run_python("-c", FOUND_TWICE, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_test_for_events_does_not_count_as_a_slow_scan(
    folder: Path, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inotify, "_CANARY_SECONDS", 1.0)
    monkeypatch.setattr(inotify, "_EVENTS", [inotify.DirMovedEvent])
    (folder / "a.pdf").touch()
    asyncio.run(found(inbox))
    assert inbox.how == "polling"
    assert inbox.gap < 10


@pytest.mark.parametrize(
    ("kind", "shared"),
    [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("9p", True), ("ext4", False), ("fuseblk", False),
     ("overlay", False), ("tmpfs", False), ("", False)],
)  # fmt: skip
def test_shares_are_known_by_their_file_system(kind: str, shared: bool) -> None:  # noqa: FBT001
    table = f"21 1 0:5 / /p rw shared:1 - proc p rw\n36 35 98:0 / /a\\040b rw shared:1 master:2 - {kind} /dev/sda rw\n"
    assert mounts._kind(mounts._find("36", table)) == kind
    assert mounts.is_shared(kind) == shared
    assert mounts._kind(mounts._find("99", table)) == ""


def test_the_file_system_of_a_folder_is_found_through_its_mount(small_disk: Path) -> None:
    assert mounts.kind_of(small_disk) == "tmpfs"


def test_an_inbox_on_a_share_is_polled_without_a_try(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "kind_of", lambda _folder: "cifs")
    [line] = after(found(inbox))  # type: ignore[arg-type]
    assert line["event"] == "polled"
    assert "cifs" in line["reason"]
    assert inbox._watching is None


LIMITED = """
import asyncio, sys
from pathlib import Path
from ocrd.concurrency.threads import Threads
from ocrd.config.schema import Settle
from ocrd.config.watch import Watch
from ocrd.intake.inbox import Inbox, rescan

name, less, more = sys.argv[1:4]
root = Path(sys.argv[4])
limit = Path("/proc/sys/user") / name
limit.write_text(less)
watch = Watch(name="scans", **{role: str(root / role) for role in ("inbox", "outbox", "archive", "error")})

async def main():
    inbox = Inbox(watch, Settle(), asyncio.Event(), Threads().run)
    await inbox.look()
    print(">", inbox.how, inbox.why)
    limit.write_text(more)
    inbox._try_at = 0.0
    await inbox.look()
    print(">", inbox.how, inbox.why)
    inbox.close()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("limit", "less", "setting"),
    [
        ("max_inotify_instances", "0", "fs.inotify.max_user_instances"),
        ("max_inotify_watches", "0", "fs.inotify.max_user_watches"),
        ("max_inotify_watches", "3", "fs.inotify.max_user_watches"),
    ],
    ids=["instances", "watches", "watches for some subfolders only"],
)
def test_a_limit_of_the_kernel_is_named_and_tried_again(folder: Path, limit: str, less: str, setting: str) -> None:
    """The limits of a user namespace of our own are really lowered; nobody else's are."""
    for number in range(5):
        (folder / str(number)).mkdir()
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", LIMITED, limit, less, "100", folder.parent]
    told = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    if "unshare" in told.stderr:
        pytest.skip(f"no user namespace can be made here: {told.stderr}")
    first, second = (line.strip() for line in told.stdout.splitlines() if line.startswith(">"))
    assert first.startswith("> polling No events from")
    assert setting in first
    assert second == "> events"
    assert f"sysctl {setting}=" in told.stdout + told.stderr


@pytest.mark.parametrize(("watches", "seconds"), [(1, 60), (100, 60), (250, 150), (500, 300), (5000, 300)])
def test_of_many_inboxes_each_is_scanned_less_often_within_a_bound(watches: int, seconds: float) -> None:
    assert rescan(Settle(), watches) == seconds


async def rest_after_a_look(folder: Path) -> tuple[str, float]:
    """Say how one of 500 inboxes is watched, and in how many seconds it is looked at again though nothing happens."""
    folder.mkdir(parents=True)
    folders = {role: str(folder.parent / role) for role in ("outbox", "archive", "error")}
    inbox = Inbox(Watch(name="scans", inbox=str(folder), **folders), Settle(), asyncio.Event(), Threads().run)
    inbox.settle(Settle(), 500)
    await inbox.look()
    inbox.close()
    return inbox.how, inbox.rest


def test_one_of_many_inboxes_waits_for_its_next_scan_as_long(tmp_path: Path) -> None:
    how, rest = asyncio.run(rest_after_a_look(tmp_path / "inbox"))
    assert how == "events"
    assert 60 < rest <= 300


def test_what_is_polled_keeps_its_pace_however_many_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "kind_of", lambda _folder: "nfs4")
    how, rest = asyncio.run(rest_after_a_look(tmp_path / "inbox"))
    assert how == "polling"
    assert rest <= 5


# The daemon


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    house.configure(settle={"rescan": "1s"})
    yield house
    house.close()


def started(house: House) -> "subprocess.Popen[bytes]":
    daemon = house.start()
    wait_for(lambda: house.events("ready") and house.events("watching"))
    return daemon


def test_an_inbox_that_is_deleted_and_made_anew(house: House) -> None:
    daemon = started(house)
    shutil.rmtree(house.path("inbox"))
    wait_for(lambda: house.events("paused"))
    house.path("inbox").mkdir()
    wait_for(lambda: house.events("watching anew"))
    house.drop("a.pdf")
    wait_for(lambda: house.events("delivered"))
    assert len(house.events("paused")) == len(house.events("resumed")) == len(house.events("watching anew")) == 1
    assert stop(daemon) == 0


def test_an_inbox_that_another_folder_takes_the_place_of(house: House) -> None:
    daemon = started(house)
    house.path("inbox").rename(house.path("old"))
    house.path("inbox").mkdir()
    wait_for(lambda: house.events("watching anew"))
    house.drop("a.pdf")
    wait_for(lambda: house.events("delivered"))
    assert [line["reason"] for line in house.events("watching anew")] == ["the inbox is another folder now"]
    assert stop(daemon) == 0


def test_an_inbox_that_is_unmounted_and_mounted_again(house: House) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", house.path("inbox")]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a file system can't be mounted here")
    try:
        daemon = started(house)
        subprocess.run(["umount", house.path("inbox")], check=True)
        wait_for(lambda: house.events("paused"))
        subprocess.run(mount, check=True)
        wait_for(lambda: house.events("resumed") and house.events("watching anew"))
        house.drop("a.pdf")
        wait_for(lambda: house.events("delivered"))
        assert stop(daemon) == 0
    finally:
        subprocess.run(["umount", "--lazy", house.path("inbox")], check=False, capture_output=True)


def test_a_share_is_polled_and_takes_what_comes_from_the_other_side(house: House) -> None:
    """bindfs stands for sshfs and its like: a real FUSE mount, behind which others write."""
    behind = house.path("behind")
    behind.mkdir()
    command = [program("bindfs"), behind, house.path("inbox")]
    if (made := subprocess.run(command, check=False, capture_output=True)).returncode:
        pytest.skip(f"no FUSE mount can be made here: {made.stderr!r}")
    try:
        house.configure(settle={"poll": "500ms"})
        daemon = house.start()
        wait_for(lambda: house.events("ready"))
        assert "fuse" in str(house.events("polled")[0]["reason"])
        (house.root / "other").mkdir()
        make = House(house.root / "other")
        make.drop("a.pdf")
        shutil.copy(make.path("inbox/a.pdf"), behind / "a.pdf")
        wait_for(lambda: house.events("delivered"))
        assert list(behind.iterdir()) == []
        assert stop(daemon) == 0
    finally:
        subprocess.run(["umount", "--lazy", house.path("inbox")], check=True)


def test_events_that_the_kernel_dropped_cost_nothing(house: House) -> None:
    """The daemon sleeps while more happens than the kernel keeps for it (fs.inotify.max_queued_events)."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    house.configure(settle={"rescan": "10min"})
    daemon = started(house)
    daemon.send_signal(signal.SIGSTOP)
    for number in range(most * 3 // 4):  # each is an event for its birth and one for its end; some it may still fetch
        house.path(f"inbox/{number}.txt").touch()
    house.path("inbox/sub").mkdir()
    house.drop("sub/a.pdf")
    daemon.send_signal(signal.SIGCONT)
    wait_for(lambda: [line["source"] for line in house.events("delivered")] == ["sub/a.pdf"])
    lost = "events were lost, so the inbox was looked through"
    wait_for(lambda: house.events(lost) or house.events("watching anew"))  # the latter where they were too slow to come
    house.drop("sub/b.pdf")
    wait_for(lambda: len(house.events("delivered")) == 2)
    assert max(len(house.events(lost)), len(house.events("watching anew"))) == 1
    assert stop(daemon) == 0


def test_the_daemon_ends_at_once_while_it_waits_for_the_canary(house: House) -> None:
    daemon = house.start()
    wait_for(lambda: house.events("engine starting"))
    began = time.monotonic()
    assert stop(daemon) == 0
    assert time.monotonic() - began < 60
    assert os.listdir(house.path("inbox")) == []
