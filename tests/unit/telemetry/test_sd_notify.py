"""What systemd hears, when the heart beats, and how a reload is understood."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House, stop, wait_for

from ocrd.config import loader
from ocrd.config.schema import Config
from ocrd.daemon import health, reload
from ocrd.engines.instrumented import InstrumentedEngine
from ocrd.model import EngineState, PageImage, PixelSize
from ocrd.telemetry import sd_notify

PAGE = PageImage(0, PixelSize(1, 1), b"\0\0\0", 72.0, 0.5)


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Stand where systemd stands, at a socket that the environment names."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield sock


def heard(systemd: socket.socket) -> list[str]:
    words = []
    while True:
        try:
            words.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return words


def test_a_manager_that_does_not_listen_holds_up_nobody_and_hears_the_rest_later(systemd: socket.socket) -> None:
    manager = sd_notify.Manager(os.environ["NOTIFY_SOCKET"])
    for number in range(1000):
        manager.status(f"line {number}")
    manager.notify(sd_notify.READY)
    first = heard(systemd)
    assert first == [f"STATUS=line {number}" for number in range(len(first))]
    assert len(first) < 1000
    manager.beat()
    assert heard(systemd) == ["STATUS=line 999", "READY=1", "WATCHDOG=1"]


def test_what_the_manager_left_reaches_no_child(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    manager = sd_notify.Manager.take()
    assert manager.watchdog == 2.0
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()
    manager.notify(sd_notify.READY)
    assert heard(systemd) == ["READY=1"]


def test_a_watchdog_of_another_process_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert sd_notify.Manager.take().watchdog is None


def test_an_abstract_socket_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0ocrd-test-notify")
        sd_notify.Manager("@ocrd-test-notify").status("two\nlines")
        assert sock.recv(100) == b"STATUS=two lines"


def test_without_a_manager_or_with_a_dead_one_nothing_fails(tmp_path: Path) -> None:
    sd_notify.Manager().notify(sd_notify.READY)
    sd_notify.Manager(str(tmp_path / "gone")).notify(sd_notify.READY)


def test_a_reload_is_told_with_its_time(systemd: socket.socket) -> None:
    sd_notify.Manager.take().reloading()
    [told] = heard(systemd)
    assert told.startswith("RELOADING=1\nMONOTONIC_USEC=")


def test_the_heart_beats_only_while_every_sign_is_good(systemd: socket.socket) -> None:
    heart = health.Heartbeat(sd_notify.Manager.take())
    wrong: list[str] = []
    heart.needs(lambda _: None)
    heart.needs(lambda now: f"{wrong[0]} at {now:g}" if wrong else None)
    assert heart.beat(1.0) is None
    assert heard(systemd) == ["WATCHDOG=1"]
    wrong.append("nothing moves")
    assert heart.beat(2.0) == "nothing moves at 2"
    assert heart.beat(3.0) is None, "the same complaint is told once"
    assert heart.complaint == "nothing moves at 3"
    assert heard(systemd) == []
    wrong.clear()
    assert heart.beat(4.0) is None
    assert heard(systemd) == ["WATCHDOG=1"]


def hear(systemd: socket.socket, *words: str) -> list[str]:
    """Wait until each of the words came, in this order; returns all that was heard until then."""
    told: list[str] = []
    wanted = iter(words)
    word = next(wanted, None)

    def came() -> bool:
        nonlocal word
        for one in heard(systemd):
            told.append(one)
            if word is not None and one.startswith(word):
                word = next(wanted, None)
        return word is None

    wait_for(came)
    return told


def test_a_whole_life_is_told_in_its_order(
    house: House, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    house.configure(engine={"kind": "apart:create", "options": {"start": 1.5}})
    daemon = house.start()
    told = hear(systemd, "EXTEND_TIMEOUT_USEC=30000000", "STATUS=Starting, engine apart:create loading", "READY=1")
    assert house.events("engine ready")
    assert house.events("watching")
    early = told[: told.index("READY=1")]  # one more word may have come with it
    assert not [word for word in early if word.startswith("WATCHDOG")], "there is no heart before the engine answers"
    hear(systemd, "WATCHDOG=1", "STATUS=Engine ready; nothing to read", "WATCHDOG=1")
    daemon.send_signal(signal.SIGHUP)
    hear(systemd, "RELOADING=1\nMONOTONIC_USEC=", "READY=1")
    daemon.terminate()
    hear(systemd, "STOPPING=1")
    assert daemon.wait(120) == 0


def test_ready_waits_for_every_inbox(house: House, systemd: socket.socket) -> None:
    house.configure(("scans", "faxes"))
    daemon = house.start()
    hear(systemd, "READY=1")
    assert {line["watch"] for line in house.events("watching")} == {"scans", "faxes"}
    assert stop(daemon) == 0


def test_a_reload_before_the_start_is_over_is_not_taken_for_ready(house: House, systemd: socket.socket) -> None:
    house.configure(engine={"kind": "apart:create", "options": {"start": 1.0}})
    daemon = house.start()
    hear(systemd, "STATUS=Starting")
    daemon.send_signal(signal.SIGHUP)
    told = hear(systemd, "READY=1", "RELOADING=1", "READY=1")
    assert told.index("READY=1") < [word[:9] for word in told].index("RELOADING")
    assert house.events("engine ready")


def test_a_stop_finishes_each_page_that_was_begun(house: House) -> None:
    house.configure(seconds=0.7, window=4)
    house.drop("long.pdf", pages=40)
    daemon = house.start()
    wait_for(lambda: len(house.reads()) >= 6)
    assert stop(daemon) == 0
    [job] = house.jobs()
    kept = {int(path.stem) - 1 for path in (job.parent / "pages").glob("*.json")}
    assert set(house.reads()) == kept
    assert len(house.reads()) == len(kept) < 40


def test_the_heart_beats_on_while_the_last_pages_are_finished(
    house: House, systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    house.configure(seconds=6)
    daemon = house.start()
    hear(systemd, "READY=1")
    house.drop("letter.pdf")
    wait_for(house.reads)
    daemon.terminate()
    hear(systemd, "STOPPING=1", "WATCHDOG=1", "WATCHDOG=1")
    assert daemon.wait(120) == 0
    assert not house.events("hanging")


def test_a_drain_that_takes_too_long_is_cut_short_and_so_it_is_by_a_second_signal(house: House) -> None:
    house.configure(seconds=60, service={"drain": "300ms"})
    path = house.root / "ocrd.yaml"
    for number, signals in enumerate((1, 2)):
        daemon = house.start()
        house.drop(f"{number}.pdf")
        wait_for(lambda number=number: len(house.reads()) > number)
        for times in range(signals):
            daemon.terminate()
            wait_for(lambda number=number, times=times: times or len(house.events("stopping")) > number)
        assert daemon.wait(120) == 0
        path.write_text(path.read_text().replace("300ms", "10min"))
    assert len(house.events("pages in flight are given up, and read again at the next start")) == 2


class Slow:
    """An engine of which a test decides when it answers."""

    state = EngineState("loading", restarts=2)

    def __init__(self) -> None:
        self.asked = 0


def test_an_engine_is_silent_only_while_it_has_pages() -> None:
    import asyncio

    from simulated import SimulatedEngine

    now = [0.0]

    async def life() -> None:
        gate = asyncio.Event()

        class Waiting(SimulatedEngine):
            async def read(self, page: PageImage, **_: object) -> object:
                await gate.wait()
                return await super().read(page)

        engine = InstrumentedEngine(Waiting(), lambda: now[0])  # type: ignore[arg-type]
        now[0] = 100.0
        assert engine.silence() == 0.0
        reading = asyncio.create_task(engine.read(PAGE))
        await asyncio.sleep(0)
        now[0] = 130.0
        assert (engine.inside, engine.silence()) == (1, 30.0)
        gate.set()
        await reading
        assert (engine.inside, engine.silence(), engine.tokens) == (0, 0.0, 2)

    asyncio.run(life())


def test_the_engines_own_word_is_passed_on_where_it_has_one() -> None:
    assert InstrumentedEngine(Slow()).state == EngineState("loading", restarts=2)  # type: ignore[arg-type]
    assert InstrumentedEngine(object()).state == EngineState()  # type: ignore[arg-type]


def settings(text: str) -> Config:
    return loader.parse(text, Path("/etc/ocrd/ocrd.yaml"))


def watch(name: str, inbox: str = "", **more: str) -> str:
    folders = {role: f"/o/{name}/{role}" for role in ("outbox", "archive", "error")}
    facts = {"name": name, "inbox": inbox or f"/o/{name}/inbox", **folders, **more}
    return "  - {" + ", ".join(f"{key}: {value}" for key, value in facts.items()) + "}\n"


def test_a_reload_finds_what_was_added_removed_altered_renamed_and_moved() -> None:
    old = settings("watches:\n" + watch("a") + watch("b") + watch("c") + watch("d") + watch("f"))
    new = settings(
        "watches:\n"
        + watch("a")
        + watch("b", outbox="/o/new")
        + watch("c", inbox="/o/x")
        + watch("e")
        + watch("g").replace("/o/g", "/o/f")
    )
    change = reload.compare(old, new)
    assert [one.name for one in change.added] == ["c", "e"]
    assert [one.name for one in change.removed] == ["c", "d"]
    assert [one.name for one in change.altered] == ["b", "g"]
    assert change.counts == {"added": 1, "removed": 1, "changed": 3}
    assert change.unheeded == ()


def test_watches_that_swap_their_names_go_on_with_what_they_have_in_work() -> None:
    old = settings("watches:\n" + watch("a") + watch("b"))
    new = settings("watches:\n" + watch("a").replace("/o/a", "/o/b") + watch("b").replace("/o/b", "/o/a"))
    change = reload.compare(old, new)
    assert (change.added, change.removed) == ((), ())
    assert [one.name for one in change.altered] == ["a", "b"]


def test_what_pages_in_flight_depend_on_waits_for_a_restart() -> None:
    old = settings("engine: {kind: cpu}\nwatches:\n" + watch("a"))
    new = settings("engine: {kind: vllm}\nsettle: {quiet: 9s}\nlog: {format: json}\nwatches:\n" + watch("a"))
    assert reload.compare(old, new).unheeded == ("engine", "log.format")
    counts = reload.in_force(old, new)
    assert (counts.engine.kind, counts.settle.quiet) == ("cpu", 9.0)
