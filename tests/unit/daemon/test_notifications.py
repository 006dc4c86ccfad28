"""A URL is told of each document at least once, whatever it answers, and no document waits for that."""

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from house import House, stop, wait_for
from receiver import Receiver, Request

from ocrd.daemon.notifications import LONGEST, Backlog, Message, wait_after

KEY = b"some key"


def message(job: str) -> Message:
    return Message({"job": job, "event": "delivered", "source": f"{job}.pdf"}, since=0.0)


def sent_until(backlog: Backlog, now: float, until: float, takes: Callable[[str], bool]) -> list[tuple[float, str]]:
    """Send what is due until then, to a URL that takes some; returns when each was tried, in whole seconds."""
    tried = []
    while (due := backlog.due()) is not None and (now := max(now, due)) <= until:
        one = backlog.take()
        tried.append((now, one.job))
        if takes(one.job):
            backlog.taken()
        else:
            backlog.failed(one, now)
    return tried


def test_what_is_not_taken_is_tried_after_ever_longer_times() -> None:
    backlog = Backlog()
    backlog.add(message("a"))
    times = [now for now, _ in sent_until(backlog, 0.0, 1200.0, lambda _: False)]
    assert times == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111]
    assert wait_after(10_000) == LONGEST


def test_one_that_is_never_taken_holds_up_no_other() -> None:
    backlog = Backlog()
    for job in ("bad", *"abcdef"):
        backlog.add(message(job))
    tried = sent_until(backlog, 0.0, 2.0, lambda job: job != "bad")
    assert [job for _, job in tried if job != "bad"] == list("abcdef")
    assert tried[-1][0] <= 1.0


def test_a_url_that_takes_nothing_is_not_asked_more_often_for_a_thousand_than_for_one() -> None:
    backlog = Backlog()
    for number in range(1000):
        backlog.add(message(str(number)))
    assert len(sent_until(backlog, 0.0, 1200.0, lambda _: False)) == 12
    tried = sent_until(backlog, 1200.0, 1600.0, lambda _: True)
    assert len({job for _, job in tried}) == 1000, "once it is back, it is told all"


def test_those_that_wait_are_sent_in_their_order() -> None:
    backlog = Backlog()
    for job in "abc":
        backlog.add(message(job))
    assert [job for _, job in sent_until(backlog, 0.0, 0.0, lambda _: True)] == ["a", "b", "c"]
    assert (backlog.due(), len(backlog)) == (None, 0)


def configure(house: House, receiver: Receiver | int, **settings: Any) -> None:
    """Let the daemon of a house tell a receiver, or a port, of what it delivers and refuses."""
    secret = house.root / "secret"
    secret.write_bytes(b"whsec_" + base64.b64encode(KEY))
    secret.chmod(0o600)
    port = receiver if isinstance(receiver, int) else receiver.port
    hook = {"url": f"http://127.0.0.1:{port}/scans", "private_hosts": ["127.0.0.1"], "secret_file": str(secret)}
    path = house.root / "ocrd.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["watches"][0] |= {"on_delivered": hook, "on_refused": hook} | settings
    path.write_text(yaml.safe_dump(raw))


def left(house: House) -> list[Path]:
    return list(house.path(".inbox.ocrd-work").glob("notify-*"))


def is_signed(request: Request) -> bool:
    what = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    digest = base64.b64encode(hmac.new(KEY, what, hashlib.sha256).digest()).decode()
    return request.headers["webhook-signature"] == f"v1,{digest}"


def test_it_is_told_all_that_a_program_is_told(house: House) -> None:
    house.configure(settle={"patience": "0s"})
    with Receiver(200) as receiver:
        configure(house, receiver, outputs=["markdown", "json"])
        program = ["sh", "-c", f"cat > '{house.root}'/$OCRD_EVENT"]
        raw = yaml.safe_load((house.root / "ocrd.yaml").read_text())
        for name in ("on_delivered", "on_refused"):
            raw["watches"][0][name]["program"] = program
        (house.root / "ocrd.yaml").write_text(yaml.safe_dump(raw))
        house.drop("sub/good.pdf", pages=2)
        house.path("inbox/empty.pdf").touch()
        assert house.start("once").wait(120) == 65
    told = {facts["event"]: facts for facts in (json.loads(request.body) for request in receiver.requests)}
    for event in ("delivered", "refused"):
        seconds = {"seconds": told[event]["seconds"]}  # known a moment before the end
        assert told[event] == json.loads((house.root / event).read_bytes()) | seconds
    assert told["delivered"]["original"] == str(house.path("archive/sub/good.pdf"))
    assert told["delivered"]["files"] == [str(house.path(f"outbox/sub/good.{end}")) for end in ("json", "md")]
    assert told["refused"]["note"] == str(house.path("error/empty.pdf.error.md"))
    assert all(map(is_signed, receiver.requests))
    assert left(house) == []


def test_what_is_not_taken_is_sent_again_until_it_is(house: House) -> None:
    with Receiver(500, 200) as receiver:
        configure(house, receiver)
        daemon = house.start()
        house.drop("good.pdf")
        wait_for(lambda: len(receiver.requests) == 2 and not left(house))
        assert stop(daemon) == 0
    first, second = receiver.requests
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert is_signed(second)
    assert [line["reason"] for line in house.events("hook waits")] == ["It answered 500."]
    assert not house.events("hook failed")


def test_no_document_waits_for_a_url_that_hangs(house: House) -> None:
    with Receiver("hang") as receiver:
        configure(house, receiver)
        daemon = house.start()
        for number in range(3):
            house.drop(f"{number}.pdf")
        wait_for(lambda: len(house.files("archive")) == 3)
        assert len(receiver.requests) <= 1
        wait_for(lambda: len(left(house)) == 3)
        daemon.kill()


def test_a_url_that_hangs_is_given_up_for_now_after_its_time(house: House) -> None:
    with Receiver("hang") as receiver:
        configure(house, receiver, hook_timeout="300ms", hook_patience="0s")
        house.drop("good.pdf")
        assert house.start("once").wait(120) == os.EX_UNAVAILABLE
    assert "No answer within 0.3 s." in str(house.events("hook failed")[0]["reason"])


@pytest.mark.parametrize("answer", [500, "redirect", "close", "endless head", "gone"])
def test_after_its_patience_it_is_told_no_more_and_the_document_is_there(house: House, answer: int | str) -> None:
    with Receiver(503 if answer == "gone" else answer) as receiver:
        if answer == "gone":
            receiver.close()
        configure(house, receiver, hook_patience="0s")
        house.drop("good.pdf")
        assert house.start("once").wait(120) == os.EX_UNAVAILABLE
    [line] = house.events("hook failed")
    assert (line["source"], line["hook"]) == ("good.pdf", "127.0.0.1")
    assert "/scans" not in json.dumps(line), "the path of a URL may be a secret"
    assert [request.path for request in receiver.requests] == ["/scans"] * (answer != "gone")
    assert (house.files("archive"), house.files("outbox"), left(house)) == (["good.pdf"], ["good.md"], [])


def test_once_tries_once_and_leaves_the_rest_to_the_next_start(house: House) -> None:
    with Receiver(503, 200) as receiver:
        configure(house, receiver)
        house.drop("good.pdf")
        assert house.start("once").wait(120) == os.EX_UNAVAILABLE
        assert len(left(house)) == 1
        assert house.start("once").wait(120) == 0
    assert len({request.body for request in receiver.requests}) == 1
    assert (len(receiver.requests), left(house)) == (2, [])


def test_what_was_sent_and_not_answered_when_the_daemon_was_killed_is_sent_again(house: House) -> None:
    with Receiver("hang", 200) as receiver:
        configure(house, receiver)
        daemon = house.start()
        house.drop("good.pdf")
        wait_for(lambda: receiver.requests)
        assert house.files("archive") == ["good.pdf"]
        daemon.kill()
        daemon.wait()
        assert house.start("once").wait(120) == 0
    first, second = receiver.requests
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert (is_signed(second), left(house)) == (True, [])


def test_at_a_stop_what_waits_is_left_for_the_next_start(house: House) -> None:
    with Receiver(503) as receiver:
        configure(house, receiver)
        daemon = house.start()
        house.drop("good.pdf")
        wait_for(lambda: house.events("hook waits"))
        assert stop(daemon) == 0
    assert [line["waiting"] for line in house.events("notifications left for the next start")] == [1]
    with Receiver(200) as receiver:
        configure(house, receiver)
        assert house.start("once").wait(120) == 0
        assert [json.loads(request.body)["source"] for request in receiver.requests] == ["good.pdf"]


def test_what_was_written_down_and_is_damaged_or_not_wanted_any_more_stops_nobody(house: House) -> None:
    work = house.path(".inbox.ocrd-work")
    work.mkdir()
    facts = {"event": "delivered", "job": "3", "source": "old.pdf"}
    refused, elsewhere = facts | {"event": "refused", "job": "4"}, facts | {"job": "../3"}
    texts = ["{", '{"since": "x", "facts": {}}', '{"since": 0, "facts": 5}']
    texts += [json.dumps({"since": 0, "facts": known}) for known in (facts, refused, elsewhere)]
    for number, text in enumerate(texts):
        (work / f"notify-{number}.json").write_text(text)
    with Receiver(200) as receiver:
        configure(house, receiver, on_delivered=[])
        assert house.start("once").wait(120) == 0
    assert len(house.events("hook lost")) == 4
    assert [json.loads(request.body) for request in receiver.requests] == [refused]
    assert left(house) == []
