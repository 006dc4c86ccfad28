"""How things stand: counted from the events, written, read back, judged, and shown."""

import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from house import House, stop, wait_for
from preloaded import Completed
from prometheus_client import generate_latest
from simulated import SimulatedEngine

from ocrd import display
from ocrd.commands import status_view
from ocrd.config import loader
from ocrd.engines.instrumented import InstrumentedEngine
from ocrd.model import CardState, EngineState, PageResult, ServerState, Verdict
from ocrd.telemetry import status, status_file
from ocrd.telemetry.events import (
    Accepted,
    Ended,
    EngineReady,
    Event,
    HookEnded,
    HookOutcome,
    Looked,
    Opened,
    PageDone,
    Paused,
    Resumed,
    TakenAway,
    WatchAdded,
)
from ocrd.telemetry.metrics import Metrics
from ocrd.telemetry.status import Status
from ocrd.telemetry.status_board import StatusBoard

CONFIG = loader.parse(
    "watches: [{name: scans, inbox: /o/in, outbox: /o/out, archive: /o/ar, error: /o/er}]", Path("/etc/ocrd/ocrd.yaml")
)
WHO = ("scans", "j1", "a.pdf")
ENGINE = InstrumentedEngine(SimulatedEngine())


def page(index: int, verdict: Verdict = Verdict.OK) -> PageDone:
    return PageDone(*WHO, PageResult(index, verdict, "", None, 1))


def ended(kind: str = "delivered", document: str = "complete") -> Ended:
    return Ended(*WHO, kind, Path("/o/out/a.md"), Path("/o/ar/a.pdf"), 1.0, 2.0, 4, document)


def board(*events: Event) -> StatusBoard:
    made = StatusBoard(CONFIG)
    for event in events:
        made.hear(event)
    return made


def test_the_board_counts_what_it_hears() -> None:
    heard = board(
        EngineReady("simulated", "model", "1", 0.1),
        WatchAdded("scans", "events", 60.0),
        Looked("scans", settling=2, waiting=3),
        Accepted(*WHO),
        Opened(*WHO, pages=4, kept=1),
        page(1),
        page(2, Verdict.FAILED),
    ).snapshot()
    [watch], [document] = heard.watches, heard.documents
    assert (watch.how, watch.settling, watch.waiting, watch.in_work, watch.pages_left) == ("events", 2, 2, 1, 1)
    assert (document.pages, document.done, document.problems) == (4, 3, 1)
    assert heard.pages_left == 1 + 2, "those waiting count as one page each"


def test_the_board_counts_ends_and_forgets_the_document() -> None:
    heard = board(Accepted(*WHO), ended(), Accepted(*WHO), ended(document="partial"), ended("refused")).snapshot()
    [watch] = heard.watches
    assert (watch.delivered, watch.partial, watch.refused, watch.in_work) == (2, 1, 1, 0)
    assert watch.last
    assert watch.last.path == "/o/out/a.md"
    assert heard.documents == []


def test_hooks_that_failed_are_counted_and_shown() -> None:
    told = board(*(HookEnded("scans", "j1", outcome) for outcome in get_args(HookOutcome)), HookEnded("b", "j", "done"))
    assert [watch.hooks_failed for watch in told.snapshot().watches] == [1, 0]
    assert "scans: 1 of your hooks failed" in _shown(status_view.page(told.snapshot(), time.time()))


def test_a_paused_watch_says_why_until_it_resumes() -> None:
    heard = board(Paused("scans", "The disk is full.", "Free some space."))
    heard.state = "ready"
    assert "watch scans paused: The disk is full." in status.line(heard.snapshot())
    heard.hear(Resumed("scans"))
    assert status.line(heard.snapshot()) == "Engine loading; nothing to read"


def reading(monkeypatch: pytest.MonkeyPatch, *events: Event, pages: int = 20) -> tuple[StatusBoard, list[float]]:
    """Hear of pages, two a second from the first one on, of an engine that is ready; returns also the clock."""
    now = [1000.0]
    monkeypatch.setattr("ocrd.telemetry.status_board.time.monotonic", lambda: now[0])
    heard = board(EngineReady("simulated", "model", "1", 0.1), Accepted(*WHO), *events)
    heard.state = "ready"
    for number in range(pages):
        now[0] += 0.5
        heard.hear(page(number))
        heard.observe(ENGINE, None, now[0])
    return heard, now


def test_speed_and_time_left_count_only_the_time_with_work(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, now = reading(monkeypatch, Opened(*WHO, pages=100, kept=0))
    told = heard.snapshot()
    assert (told.pages_per_second, told.pages_left, told.eta) == (2.0, 80, 40.0)
    assert status.backlog(told) == "80 pages to read, 2 pages/s, about 40 s left"
    assert told.eta_least is not None
    assert told.eta_most is not None
    assert 30 < told.eta_least < 40 < told.eta_most < 50
    heard.hear(ended())
    heard.observe(ENGINE, None, now[0] + 3600)
    assert (heard.snapshot().eta, heard.snapshot().pages_per_second) == (None, 0.0)


def test_the_pages_of_documents_that_wait_are_left_too(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = Accepted("scans", "j2", "long.pdf", pages=900)
    heard, _ = reading(monkeypatch, Opened(*WHO, pages=100, kept=0), waiting)
    assert heard.snapshot().pages_left == 980


def test_a_few_pages_do_not_tell_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, _ = reading(monkeypatch, Opened(*WHO, pages=100, kept=0), pages=3)
    assert status.backlog(heard.snapshot()) == "97 pages to read, time left not known yet"


def test_while_a_watch_with_pages_is_paused_nobody_knows_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    heard, _ = reading(monkeypatch, Opened(*WHO, pages=100, kept=0), Accepted("other", "j2", "b.pdf"))
    heard.hear(Paused("other", "The disk is full.", "Free some space."))
    assert heard.snapshot().eta is None
    heard.hear(Resumed("other"))
    assert heard.snapshot().eta is not None


def test_what_a_daemon_at_rest_does_all_the_time_is_no_news() -> None:
    engine, board = InstrumentedEngine(SimulatedEngine()), StatusBoard(CONFIG)
    looked = Looked("scans", 0, 1, "", 0, {"a.tif": "more may come"})

    def has_news(*events: Event) -> bool:
        board.news = False
        for event in events:
            board.hear(event)
        board.observe(engine, None, 1.0)
        return board.news

    assert has_news(looked)
    assert not has_news(looked, looked)
    assert has_news(Looked("scans", 0, 0))
    assert has_news(Paused("scans", "x", "y"))
    assert has_news(Accepted(*WHO))
    assert has_news(), "a document is in work, so that the time left changes"
    assert has_news(ended())
    assert not has_news()
    board.state = "stopping"
    assert has_news()


def test_a_status_is_read_back_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    heard = board(Accepted(*WHO), Opened(*WHO, 4, 0), ended(), Paused("scans", "What.", "Do."), Accepted(*WHO))
    file = tmp_path / "ocrd.yaml"
    assert status_file.read(file) is None
    status_file.write(status_file.place(file), heard.data())
    again = status_file.read(file)
    assert again
    assert again.watches == heard.snapshot().watches
    assert again.documents == heard.snapshot().documents
    status_file.place(file).write_bytes(b"{}")
    assert status_file.read(file) is None, "a damaged one is none"


def test_a_status_that_is_written_again_has_all_that_changed() -> None:
    heard = board()

    def written() -> Status:
        return Status.parse(heard.data())

    def as_it_is() -> Status:
        return replace(heard.snapshot(), written=0.0)

    for event in (Looked("scans", 1, 0), Accepted(*WHO), page(0), ended()):
        heard.hear(event)
        for _ in range(2):  # the second time without news
            assert replace(written(), written=0.0) == as_it_is()
    heard.state = "stopping"
    assert written().state == "stopping"


@pytest.mark.parametrize(
    ("state", "runs", "age", "judged"),
    [
        ("ready", True, 1, "ready"),
        ("ready", True, 60, "hung"),
        ("ready", False, 1, "dead"),
        ("stopped", False, 60, "stopped"),
        ("failed", False, 60, "failed"),
    ],
)
def test_who_reads_it_finds_out_that_a_daemon_is_dead_or_hangs(
    state: str,
    runs: bool,  # noqa: FBT001
    age: float,
    judged: str,
) -> None:
    told = board().snapshot()
    told.state = state
    if not runs:
        told.pid, told.started = 2**22, 1
    assert status_file.judged(told, told.written + age).state == judged


@pytest.mark.parametrize(
    ("state", "paused", "code"),
    [("ready", False, 0), ("ready", True, 1), ("starting", False, 1), ("stopped", False, 2), ("hung", False, 2)],
)
def test_the_exit_code_is_one_for_monitors(state: str, paused: bool, code: int) -> None:  # noqa: FBT001
    told = board(*([Paused("scans", "What.", "Do.")] if paused else [])).snapshot()
    told.state = state
    assert status_view.exit_code(told) == code


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3700, "1 h 1 min"), (90061, "1 d 1 h")]
)
def test_a_time_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert display.duration(seconds) == text


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def ask(house: House, *options: str) -> Completed:
    return house.command("status", *options, env={"XDG_RUNTIME_DIR": str(house.root / "run")})


def test_the_command_tells_of_a_daemon_before_during_and_after_its_life(house: House) -> None:
    house.drop("early.pdf")
    told = ask(house)
    assert told.returncode == 2
    assert "not running" in told.stdout
    assert json.loads(ask(house, "--json").stdout)["watches"][0]["waiting"] == 1
    daemon = house.start()
    wait_for(lambda: house.files("archive") == ["early.pdf"])
    wait_for(lambda: json.loads(ask(house, "--json").stdout)["watches"][0]["delivered"] == 1)
    told = ask(house)
    assert told.returncode == 0, told.stdout
    assert "ready" in told.stdout
    assert "last delivered early.pdf" in told.stdout
    assert stop(daemon) == 0
    told = ask(house)
    assert told.returncode == 2
    assert "stopped, last heard of" in told.stdout


def test_the_command_tells_which_file_is_waited_for_and_why(house: House) -> None:
    house.configure(settle={"patience": "60s"})
    house.start()
    house.drop("whole.pdf")
    wait_for(lambda: house.files("archive") == ["whole.pdf"])
    cut = house.path("archive/whole.pdf").read_bytes()[:300]
    house.path("inbox/cut.pdf").write_bytes(cut)
    wait_for(lambda: json.loads(ask(house, "--json").stdout)["watches"][0]["unfinished"])
    waits = "scans waits for the rest of cut.pdf: This PDF is cut off: its end is missing."
    assert waits in " ".join(ask(house).stdout.split())
    house.path("inbox/cut.pdf").unlink()
    wait_for(lambda: not json.loads(ask(house, "--json").stdout)["watches"][0]["unfinished"])


def test_a_daemon_that_was_killed_is_told_as_dead(house: House) -> None:
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    wait_for(lambda: ask(house).returncode == 0)
    daemon.kill()
    daemon.wait()
    told = ask(house)
    assert told.returncode == 2
    assert "it ended without a word" in told.stdout


def test_a_narrow_terminal_cuts_names_and_nothing_else() -> None:
    heard = board(Opened("scans", "j1", f"{'A long name ' * 9}.pdf", 1000, 0))
    heard._watches["scans"].name = "the-letters-and-faxes-of-the-whole-house"
    lines = _shown(status_view.page(heard.snapshot(), time.time())).splitlines()
    [heading] = [line for line in lines if line.startswith("watch ")]
    assert heading.split() == ["watch", "by", "settling", "waiting", "in", "work", "delivered", "partial", "refused"]
    [document] = [line for line in lines if line.startswith("A long name")]
    assert "… " in document
    assert "0/1000 pages" in document


def _shown(page: object) -> str:
    from rich.console import Console

    console = Console(record=True, width=80, file=io.StringIO())
    console.print(page)
    return console.export_text()


def test_the_live_view_shows_each_document_with_its_bar() -> None:
    told = board(Accepted(*WHO), Opened(*WHO, 10, 0), page(0)).snapshot()
    shown = _shown(status_view.page(told, time.time()))
    assert "a.pdf" in shown
    assert "1/10 pages" in shown


def test_a_watch_with_others_on_its_inbox_names_their_hosts() -> None:
    told = board(Looked("scans", 0, 0, others=("hostb", "hostc"))).snapshot()
    assert told.watches[0].others == ["hostb", "hostc"]
    assert "scans shares its inbox with the ocrd on hostb, hostc" in _shown(status_view.page(told, time.time()))


def test_what_was_taken_away_is_in_work_no_more() -> None:
    assert board(Accepted(*WHO), TakenAway(*WHO)).snapshot().watches[0].in_work == 0


def test_an_inbox_that_is_polled_says_why() -> None:
    told = board(Looked("scans", settling=0, waiting=0, why="it is on cifs", found_by_scan=7)).snapshot()
    assert told.watches[0].found_by_scan == 7
    assert _shown(status_view.page(told, time.time())).count("scans is polled: it is on cifs") == 1


@pytest.mark.parametrize(
    ("memory", "shown"),
    [
        (EngineState(), ""),
        (EngineState("ready", 0, None, 2**30, 80 * 2**30), "GPU      1.0 of 80.0 GiB in use\n"),
        (EngineState("ready", 0, 2**29, 2**30, 80 * 2**30), "GPU      1.0 of 80.0 GiB in use, 0.5 by the engine\n"),
    ],
)
def test_the_cards_memory_is_told_as_far_as_it_is_known(memory: EngineState, shown: str) -> None:
    engine, heard = InstrumentedEngine(SimulatedEngine()), board()
    engine._engine.state = memory  # type: ignore[attr-defined]
    heard.observe(engine, None, 0.0)
    read = status.Status.parse(heard.data())
    assert (read.engine.memory, read.engine.memory_used) == (memory.memory, memory.memory_used)
    text = _shown(status_view.page(read, time.time()))
    assert shown in text
    assert ("GPU" in text) == bool(shown)
    metrics = generate_latest(Metrics(heard.snapshot).registry).decode()
    assert ("ocrd_engine_memory_bytes" in metrics) == (memory.memory is not None)
    assert ("ocrd_card_memory_used_bytes" in metrics) == (memory.memory_used is not None)


def test_each_of_several_cards_is_told_in_the_status_the_metrics_and_to_the_eye() -> None:
    engine, heard = InstrumentedEngine(SimulatedEngine()), board(EngineReady("vllm", "model", "1", 0.1))
    cards = (CardState("0", "ready", 2, 120, 70 << 30, 80 << 30), CardState("1", "loading", 0, 0))
    engine._engine.state = EngineState(engines=2, cards=cards, memory_used=70 << 30, memory_total=160 << 30)  # type: ignore[attr-defined]
    heard.observe(engine, None, 0.0)
    read = status.Status.parse(heard.data())
    assert [(one.name, one.doing, one.pages, one.memory_used) for one in read.engine.cards] == [
        ("0", "ready", 120, 70 << 30),
        ("1", "loading", 0, None),
    ]
    metrics = generate_latest(Metrics(heard.snapshot).registry).decode()
    assert 'ocrd_card_ready{card="0"} 1.0' in metrics
    assert 'ocrd_card_ready{card="1"} 0.0' in metrics
    assert 'ocrd_card_pages{card="0"} 120.0' in metrics
    assert metrics.count("ocrd_card_used_bytes{") == 1
    assert [line.plain for line in status_view._card(read.engine)] == [
        "GPU 0    2 engines ready, 120 pages inside, 70.0 of 80.0 GiB in use",
        "GPU 1    0 engines loading, 0 pages inside",
    ]


def test_servers_are_told_and_which_of_them_are_out() -> None:
    engine, heard = InstrumentedEngine(SimulatedEngine()), board(EngineReady("openai", "model", "1", 0.1))
    heard.state = "ready"
    servers = (
        ServerState("http://a/v1", up=True, pages=3),
        ServerState("http://b/v1", up=False, why="it failed (500)"),
    )
    engine._engine.state = EngineState(servers=servers)  # type: ignore[attr-defined]
    heard.observe(engine, None, 0.0)
    read = status.Status.parse(heard.data())
    assert [(one.name, one.up, one.pages) for one in read.engine.servers] == [
        ("http://a/v1", True, 3),
        ("http://b/v1", False, 0),
    ]
    text = _shown(status_view.page(read, time.time()))
    assert "server   http://a/v1, 3 pages inside\n" in text
    assert "server   http://b/v1 is out: it failed (500)\n" in text
    assert status.line(read) == "Engine ready, 1 of 2 servers out; nothing to read"
    assert status_view.exit_code(read) == status_view.OK
    metrics = generate_latest(Metrics(heard.snapshot).registry).decode()
    assert 'ocrd_server_up{server="http://a/v1"} 1.0' in metrics
    assert 'ocrd_server_up{server="http://b/v1"} 0.0' in metrics
    assert 'ocrd_server_pages{server="http://a/v1"} 3.0' in metrics

    engine._engine.state = EngineState("away", progress="no server answers", servers=servers[1:])  # type: ignore[attr-defined]
    heard.news = False
    heard.observe(engine, None, 1.0)
    assert heard.news, "it is written at once"
    read = status.Status.parse(heard.data())
    assert status.line(read) == "Engine away: no server answers; nothing to read"
    assert status_view.exit_code(read) == status_view.ATTENTION
