"""What is sent to a URL: signed, to no other address than the one that was looked at, and nowhere from there."""

import asyncio
import base64
import hashlib
import hmac
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from receiver import CERTIFICATE, Receiver

from ocrd.config.hooks import Hook, is_public
from ocrd.telemetry import webhook
from ocrd.telemetry.webhook import NotTakenError

Lead = Callable[..., list[str]]


@pytest.fixture
def lead(monkeypatch: pytest.MonkeyPatch) -> Lead:
    """Let every host have these addresses, as its owner could; returns the list of hosts that were looked up."""

    def to(*addresses: str) -> list[str]:
        asked: list[str] = []

        def look_up(host: str, port: int, **_: object) -> list[Any]:
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        return asked

    return to


def sent(hook: Hook, body: bytes = b"{}", message: str = "job", now: float = 1_700_000_000.9) -> None:
    asyncio.run(webhook.send(webhook.find(hook), message, body, now))


def secret(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_an_answer_of_2xx_has_taken_it_with_its_headers_and_every_byte(status: int) -> None:
    body = b'{"source": "\xc3\xbc.pdf"}' + b" " * 2**20
    with Receiver(status) as receiver:
        sent(Hook(url=f"http://127.0.0.1:{receiver.port}/a%20b?c=%7B", private_hosts=("127.0.0.1",)), body)
    [request] = receiver.requests
    assert (request.path, request.body) == ("/a%20b?c=%7B", body)
    assert request.headers["content-type"] == "application/json"
    assert (request.headers["webhook-id"], request.headers["webhook-timestamp"]) == ("job", "1700000000")
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert "webhook-signature" not in request.headers


@pytest.mark.parametrize(
    ("written", "key"),
    [
        (b"whsec_" + base64.b64encode(b"some key") + b"\n", b"some key"),
        (b"some words\n", b"some words"),
        ("schlüssel".encode(), "schlüssel".encode()),
    ],
)
def test_the_signature_is_that_of_standard_webhooks(tmp_path: Path, written: bytes, key: bytes) -> None:
    with Receiver(200) as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        sent(Hook(url=url, private_hosts=("127.0.0.1",), secret_file=str(secret(tmp_path / "s", written))), b'{"a": 1}')
    digest = hmac.new(key, b'job.1700000000.{"a": 1}', hashlib.sha256).digest()
    assert receiver.requests[0].headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_the_signature_is_what_the_standard_gives_as_an_example() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = webhook.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', key, 1614265330)
    assert found["Webhook-Signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("data", [b"", b" \n", b"whsec_", b"whsec_no base64"])
def test_a_secret_that_is_none_signs_nothing_and_is_not_shown(tmp_path: Path, data: bytes) -> None:
    hook = Hook(url="http://127.0.0.1/", private_hosts=("127.0.0.1",), secret_file=str(secret(tmp_path / "s", data)))
    with pytest.raises(NotTakenError, match="/dev/urandom") as caught:
        webhook.find(hook)
    assert "no base64" not in str(caught.value).replace("no base64 after", "")


def test_a_secret_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    path = secret(tmp_path / "s", b"some key")
    path.chmod(0o640)
    with pytest.raises(NotTakenError, match="chmod 600"):
        webhook.find(Hook(url="http://127.0.0.1/", private_hosts=("127.0.0.1",), secret_file=str(path)))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "224.0.0.1",
        "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%2", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1",
    ],
)  # fmt: skip
def test_addresses_of_this_machine_and_of_private_networks_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


def test_a_name_that_leads_to_a_private_address_is_refused_unless_it_is_named(lead: Lead) -> None:
    lead("10.0.0.3", "127.0.0.1")
    with pytest.raises(NotTakenError, match=r"hook\.test is at 10\.0\.0\.3, .*name it in private_hosts"):
        webhook.find(Hook(url="https://hook.test/"))
    with pytest.raises(NotTakenError):
        webhook.find(Hook(url="https://hook.test/", private_hosts=("other.test",)))
    assert webhook.find(Hook(url="https://Hook.test/", private_hosts=("HOOK.test",))).addresses[0] == "10.0.0.3"


def test_of_several_addresses_only_public_ones_are_used(lead: Lead) -> None:
    lead("10.0.0.3", "1.1.1.1", "127.0.0.1", "1.1.1.1")
    assert webhook.find(Hook(url="https://hook.test/")).addresses == ("1.1.1.1",)


def test_it_goes_to_the_address_that_was_looked_at_by_the_name_that_was_asked_for(lead: Lead) -> None:
    asked = lead("127.0.0.2")
    with Receiver(200, host="127.0.0.2") as receiver:
        hook = Hook(url=f"http://hook.test:{receiver.port}/", private_hosts=("hook.test",))
        found = webhook.find(hook)
        lead("127.0.0.3")  # meanwhile
        asyncio.run(webhook.send(found, "job", b"{}", 0))
    assert receiver.requests[0].headers["host"] == f"hook.test:{receiver.port}"
    assert asked == ["hook.test"]


def test_an_address_that_can_not_be_reached_leaves_it_to_the_next(lead: Lead) -> None:
    lead("127.0.0.3", "127.0.0.2")
    with Receiver(200, host="127.0.0.2") as receiver:
        sent(Hook(url=f"http://hook.test:{receiver.port}/", private_hosts=("hook.test",)))
    assert len(receiver.requests) == 1


def test_an_address_that_leads_nowhere_leaves_it_to_the_next(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "CONNECT_SECONDS", 0.1)
    lead("127.0.0.3", "127.0.0.2")
    with Receiver(200, host="127.0.0.2") as receiver, no_answer("127.0.0.3", receiver.port):
        hook = Hook(url=f"http://hook.test:{receiver.port}/", private_hosts=("hook.test",))
        asyncio.run(asyncio.wait_for(webhook.send(webhook.find(hook), "job", b"{}", 0), 120))
    assert len(receiver.requests) == 1


@contextmanager
def no_answer(host: str, port: int) -> Iterator[None]:
    """Let attempts to connect there hang: who listens has a full queue, and takes nobody out of it."""
    with socket.socket() as listener, ExitStack() as callers:
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(8):
            caller = callers.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex((host, port))
        yield


def test_by_https_the_certificate_must_be_that_of_the_name(lead: Lead, monkeypatch: pytest.MonkeyPatch) -> None:
    lead("127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with Receiver(200, tls=True) as receiver:
        sent(Hook(url=f"https://receiver.test:{receiver.port}/", private_hosts=("receiver.test",)))
        with pytest.raises(NotTakenError, match=r"(?i)certificate"):
            sent(Hook(url=f"https://other.test:{receiver.port}/", private_hosts=("other.test",)))
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(NotTakenError, match=r"(?i)certificate"):
            sent(Hook(url=f"https://receiver.test:{receiver.port}/", private_hosts=("receiver.test",)))
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (500, r"^It answered 500\.$"),
        (404, r"^It answered 404\.$"),
        ("redirect", "It answered 307, a redirect, and none is followed"),
        ("close", "^No answer of 127.0.0.1: "),
        ("endless head", "^No answer of 127.0.0.1: "),
    ],
)
def test_whatever_else_is_answered_has_not_taken_it(answer: int | str, reason: str) -> None:
    with Receiver(answer) as receiver:
        with pytest.raises(NotTakenError, match=reason):
            sent(Hook(url=f"http://127.0.0.1:{receiver.port}/", private_hosts=("127.0.0.1",)))
        assert [request.path for request in receiver.requests] == ["/"]


def test_an_answer_without_end_is_not_read() -> None:
    with Receiver("endless body") as receiver:
        sent(Hook(url=f"http://127.0.0.1:{receiver.port}/", private_hosts=("127.0.0.1",)))


def test_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver(500) as proxy, Receiver(200) as receiver:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        sent(Hook(url=f"http://127.0.0.1:{receiver.port}/", private_hosts=("127.0.0.1",)))
    assert (len(proxy.requests), len(receiver.requests)) == (0, 1)


def test_a_host_that_nobody_knows_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NotTakenError, match=r"^The host hook\.test is not known: "):
        webhook.find(Hook(url="https://hook.test/"))
    monkeypatch.undo()
    with pytest.raises(NotTakenError, match=r"is not known"):
        webhook.find(Hook(url=f"https://{'a' * 64}.test/"))


def test_only_the_host_of_a_url_is_shown() -> None:
    assert webhook.host_of("https://hook.test:8443/services/T0/secret?token=x") == "hook.test"


@pytest.mark.parametrize("level", ["info", "debug"])
def test_the_path_of_a_url_comes_into_no_log(level: str, run_python: Callable[..., Any]) -> None:
    program = f"""
import asyncio, sys
from ocrd.config.hooks import Hook
from ocrd.telemetry import logs, webhook
logs.configure("{level}", "json")
hook = Hook(url=sys.argv[1], private_hosts=("127.0.0.1",))
asyncio.run(webhook.send(webhook.find(hook), "job", b"{{}}", 0))
"""
    with Receiver(200) as receiver:
        done = run_python("-c", program, f"http://127.0.0.1:{receiver.port}/sesame")
    assert done.returncode == 0, done.stderr
    assert [request.path for request in receiver.requests] == ["/sesame"]
    assert "sesame" not in done.stdout + done.stderr
