"""The page for a browser, looked at in a real one."""

import re
import socket
import threading
import time
from pathlib import Path

import browser
import pytest
import yaml
from browser import needs_browser
from house import House, wait_for

from ocrd.telemetry import status_page
from ocrd.telemetry.metrics import Metrics
from ocrd.telemetry.status import (
    Delivery,
    DocumentStatus,
    EngineStatus,
    Pause,
    RecentDocument,
    ServerStatus,
    Status,
    WatchStatus,
)
from ocrd.telemetry.trend import MINUTES, Minute
from ocrd.telemetry.web_server import Server, Shown

NOW = 1_800_000_000.0
HOSTILE = "<img src=x onerror=alert(1)>\"'&.pdf"


def everything(name: str = "a.pdf") -> Status:
    watch = WatchStatus(
        name, "/in", "polling", name, 1, 2, 3, 40, 50, 6, 7, hooks_failed=8, unfinished={name: name},
        last=Delivery(name, name, NOW - 30), paused=Pause(name, name, NOW - 60),
    )  # fmt: skip
    recent = [
        RecentDocument("scans", name, NOW - 10, "complete", name, 3, {"ok": 3}),
        RecentDocument("scans", "bad " + name, NOW - 20, "partial", "2026/bad a.md", 9, {"ok": 7, "failed": 2}, [3, 9]),
        RecentDocument("scans", "worse " + name, NOW - 30, "refused", reason=name),
    ]
    engine = EngineStatus(name, name, "ready", 1, 5, 99.0, 2**30, 2**31, 2**32, name, 2)
    engine.servers = [ServerStatus("http://gpu1:8000", up=True), ServerStatus(name, up=False, why=name)]
    documents = [DocumentStatus(name, name, 10, 4, 1)]
    left = (40, 2.0, 20.0, 18.0, 24.0)
    return Status("ready", name, 1, 1, NOW - 3600, NOW, engine, *left, name, [watch], documents, recent)


def words(html: str) -> str:
    return " ".join(re.sub(r"<script>.*?</script>|<style>.*?</style>|<[^>]*>", " ", html, flags=re.DOTALL).split())


def test_it_tells_what_the_status_tells() -> None:
    text = words(status_page.html(everything(), [Minute(5, 70), Minute(8, 40)], NOW))
    for told in (
        "ready for 1 h", "to read 40 pages", "pages a second 2", "time left about 20 s", "2 engines ready",
        "with the engine 5 pages", "servers 1 of 2", "Server a.pdf is out : a.pdf",
        "memory of the card 2.0 of 4.0 GiB", "pages a minute: 8 now, at most 8",
        "pages to read: 40 now, at most 70", "a.pdf paused 1 2 3 40 50 6 7",
        "a.pdf, 30 s ago", "4/10 1 to look at", "bad a.pdf scans 7 ok, 2 failed pages 3, 9 20 s ago", "refused : a.pdf",
        "a.pdf is paused : a.pdf a.pdf", "8 of your programs failed",
    ):  # fmt: skip
        assert told in text, told


def test_a_time_left_that_nobody_knows_is_said_to_be_so() -> None:
    status = everything()
    status.eta = status.eta_least = status.eta_most = None
    assert "time left not known yet" in words(status_page.html(status, [], NOW))
    status.pages_left = 0
    assert "time left" not in words(status_page.html(status, [], NOW))


def test_documents_with_problems_come_first_with_links_to_their_reviews() -> None:
    html = status_page.html(
        everything(), (), NOW, lambda sidecar: "2026 - bad a.review.html" if "bad" in sidecar else ""
    )
    table = html[html.index("Last documents") :]
    assert table.index("bad a.pdf") < table.index("worse a.pdf") < table.index(">a.pdf<")
    assert 'href="/reviews/2026%20-%20bad%20a.review.html#p3"' in table
    assert table.count("href=") == 2


def test_whatever_files_are_called_is_text() -> None:
    html = status_page.html(everything(HOSTILE), (), NOW, lambda _: HOSTILE)
    body = html[html.index("<body>") :]
    assert "<img" not in body
    assert "onerror=" in words(body.replace("&lt;", "").replace("&gt;", ""))
    assert not re.search(r"href=\"[^\"]*[<>']", body)


@pytest.mark.parametrize(("value", "top"), [(0, 1), (1, 1), (3, 5), (6, 10), (50, 50), (51, 100), (101, 200)])
def test_a_scale_ends_at_a_round_number(value: int, top: int) -> None:
    assert status_page._round_up(value) == top


def test_a_plot_ends_at_the_right_edge_and_is_as_long_as_what_is_known() -> None:
    html = status_page.html(everything(), [Minute(1, 1)] * (MINUTES // 2), NOW)
    points = [
        float(point.partition(",")[0]) for point in re.findall(r"polyline[^>]*points=\"([^\"]*)", html)[0].split()
    ]
    assert len(points) == MINUTES // 2
    assert (round(points[0]), round(points[-1])) == (301, 599)


def luminance(colour: str) -> float:
    """Of a colour such as #aabbcc (WCAG 2.2, relative luminance)."""
    full = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
    parts = [int(full[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_all_text_can_be_told_from_what_is_behind_it(scheme: int) -> None:
    style = status_page._asset("css")
    colours = dict(re.findall(r"--(\w+): (#\w+);", re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]))
    for text in ("ink", "soft", "accent", "good", "look", "bad"):
        for behind in ("paper", "card"):
            light, dark = sorted((luminance(colours[text]), luminance(colours[behind])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, behind)


@needs_browser
def test_a_narrow_screen_shows_it_without_scrolling_sideways(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    status = everything("a long name of a scan that somebody has given it without thinking of telephones.pdf")
    probe = "<p id='wide'></p>"
    html = status_page.html(status, [Minute(1, 1)] * 99, NOW)
    page.write_text(html.replace("</main>", f"</main>{probe}"))
    shot = browser.screenshot(page, (360, 2000))
    right = shot.crop((350, 0, 360, 2000)).getcolors(2**16)
    assert right is not None
    assert max(right)[0] == 10 * 2000, "nothing reaches the right edge"


@needs_browser
def test_a_browser_shows_what_is_new_without_a_word_from_its_scripts(tmp_path: Path) -> None:
    status = everything()
    times = iter(range(1000))

    def page() -> str:
        status.pages_left = next(times)
        return status_page.html(status, (), time.time())

    server = Server(Metrics(lambda: status), lambda: status, "127.0.0.1:0", Shown(page))
    try:
        seen, said = browser.visited(f"http://127.0.0.1:{server.address[1]}/", tmp_path, 12)
    finally:
        server.close()
    assert said == []
    assert next(times) >= 2, "it was asked again"
    assert "to read<b>nothing</b>" not in seen
    assert 'class="away"' not in seen


@needs_browser
def test_a_browser_says_so_when_nobody_answers_any_more(tmp_path: Path) -> None:
    asked = threading.Event()

    def page() -> str:
        if asked.is_set():
            raise ConnectionError
        asked.set()
        return status_page.html(everything(), (), NOW)

    server = Server(Metrics(everything), everything, "127.0.0.1:0", Shown(page))
    try:
        seen, _ = browser.visited(f"http://127.0.0.1:{server.address[1]}/", tmp_path, 12)
    finally:
        server.close()
    assert '<body class="away">' in seen
    assert "to read<b>40 pages</b>" in seen


def fetch(path: Path, what: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(120)
        client.connect(str(path))
        client.sendall(f"GET {what} HTTP/1.0\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()


def test_a_daemon_shows_what_it_delivered_with_the_review_that_its_owner_made(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.configure()
    config = yaml.safe_load((tmp_path / "ocrd.yaml").read_text())
    config["metrics"] = {"listen": str(tmp_path / "web.sock"), "page": True, "reviews": "reviews"}
    (tmp_path / "ocrd.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "reviews").mkdir()
    (tmp_path / "reviews/early.review.html").write_text("the review")
    try:
        house.start()
        house.drop("early.pdf")
        wait_for(lambda: house.files("archive") == ["early.pdf"])
        wait_for(lambda: "/reviews/early.review.html" in fetch(tmp_path / "web.sock", "/"))
        assert fetch(tmp_path / "web.sock", "/reviews/early.review.html").endswith("the review")
    finally:
        house.close()
