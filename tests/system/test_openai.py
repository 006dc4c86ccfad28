"""A daemon whose pages are read by servers: slow, overloaded, cut off, killed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cutting import HOWS, CuttingProxy
from house import OCRD, SUPPORT, House, stop, wait_for
from sampling import generator

PAGES = 8
"""Of a document."""


@contextmanager
def serving(how: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Run a server in a process of its own; yield its address, too."""
    program = [sys.executable, SUPPORT / "chat_server.py", how]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def configure(house: House, *addresses: str, **settings: Any) -> None:
    house.configure(
        engine={"kind": "openai", "openai": {"endpoints": list(addresses), **settings}},
        service={"drain": "1s"},  # pages wait that nobody will read
        watch={"pages": {"text_layer": "ignore", "second_readings": []}},
    )


def delivered(house: House) -> int:
    """Count the pages in the outbox, each of which must be there once and be read."""
    count = 0
    for name in house.files("outbox"):
        text = house.path(f"outbox/{name}").read_text()
        assert [text.count(f"<!-- page {number} -->") for number in range(1, PAGES + 1)] == [1] * PAGES
        assert text.count("words") == PAGES
        count += PAGES
    return count


def test_whatever_servers_do_each_page_is_delivered_once_and_none_is_refused(house: House) -> None:
    with (
        serving("slow") as (slow, _),
        serving("busy") as (busy, _),
        serving("cuts") as (cuts, _),
        serving("good") as (killed, process),
    ):
        configure(house, slow, busy, cuts, killed)
        daemon = house.start()
        wait_for(lambda: house.events("ready"))
        for number in range(12):
            house.drop(f"{number}.pdf", PAGES, size=(140, 140))
        wait_for(lambda: house.files("outbox"), 120)
        process.kill()
        wait_for(lambda: len(house.files("archive")) == 12, 240)
        assert house.files("error") == []
        assert delivered(house) == 12 * PAGES
        assert stop(daemon) == 0


def test_while_all_servers_are_gone_scans_wait_and_it_is_said_once(house: House) -> None:
    with serving("slow") as (address, process):
        configure(house, address)
        daemon = house.start()
        wait_for(lambda: house.events("ready"))
        house.drop("a.pdf", PAGES, size=(140, 140))
        wait_for(lambda: list(house.root.glob("scans/.inbox.ocrd-work/*/pages/*.json")))
        process.kill()
    gone = f"no server answers, and pages wait until one does: {address}"
    wait_for(lambda: any(gone in line for line in said(house)))
    house.drop("b.pdf", PAGES, size=(140, 140))
    wait_for(lambda: len(house.jobs()) == 2)
    wait_for(lambda: json.loads(status(house, "--json"))["engine"]["doing"] == "away")
    assert f"server   {address} is out: " in status(house)
    assert house.files("error") == []
    assert sum(gone in line for line in said(house)) == 1
    assert stop(daemon) == 0
    assert [json.loads(job.read_text())["attempts"] for job in house.jobs()] == [0, 0], "nothing is charged"


def said(house: House) -> list[str]:
    lines = house.log.read_text().splitlines(keepends=True)  # the last one may be half written
    return [str(json.loads(line)["event"]) for line in lines if line.startswith("{") and line.endswith("\n")]


def status(house: House, *options: str) -> str:
    return subprocess.run(
        [OCRD, "status", *options, "-c", house.root / "ocrd.yaml"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(house.root / "run"), "COLUMNS": "300"},
    ).stdout


def test_the_check_names_each_server_and_never_the_key(house: House, ocrd: Any, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sesame")
    (tmp_path / "key").chmod(0o600)
    with serving("good") as (address, _):
        configure(house, address, "http://127.0.0.1:9/v1", api_key_file=str(tmp_path / "key"))
        told = ocrd("check")
    words = " ".join((told.stdout + told.stderr).split())
    assert told.returncode == 74
    assert f"OK server {address}: vLLM 0.32.0, model a model, 8192 tokens; read 'words'" in words
    assert "its n-gram processor answers" in words
    assert "WRONG server http://127.0.0.1:9/v1: " in words
    assert "refused" in words
    assert "sesame" not in words


def test_connections_that_break_at_any_byte_cost_no_page(house: House) -> None:
    """In the request and in the answer, closed and reset, and one that takes all and says nothing."""
    with ExitStack() as stack:
        proxies = []
        for _ in range(2):
            server, _ = stack.enter_context(serving("good"))
            proxies.append(CuttingProxy(server, generator("cuts"), longest=(20_000, 200)))
            stack.callback(proxies[-1].close)
        configure(house, *(one.endpoint for one in proxies), concurrency=2, timeout="12s")
        daemon = house.start()
        wait_for(lambda: house.events("ready"))
        for proxy in proxies:
            proxy.cuts = True
        count = 0
        while not {*HOWS} <= set().union(*(proxy.done for proxy in proxies)):  # one may be out for long, after a break
            assert count < 100, [proxy.done for proxy in proxies]
            for _ in range(2):
                house.drop(f"{count}.pdf", PAGES, size=(140, 140))
                count += 1
            wait_for(lambda count=count: len(house.files("archive")) == count)
        assert delivered(house) == PAGES * count
        assert (len(house.files("outbox")), house.files("error")) == (count, [])
        assert stop(daemon) == 0
        print([dict(proxy.done) for proxy in proxies], f"{count} documents")
