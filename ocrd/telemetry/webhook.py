"""Facts sent to a URL, signed as Standard Webhooks asks (standardwebhooks.com). The only door to httpx.

Who receives them may be anybody: it is reached at no other address than the one that was looked at, leads nowhere else
(no redirect, no proxy), and nothing of its answer is read but the head.
"""

import base64
import binascii
import hashlib
import hmac
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import ocrd
from ocrd.concurrency.threads import doing
from ocrd.config import secret_file
from ocrd.config.hooks import Hook, is_public
from ocrd.display import shown
from ocrd.errors import MachineError

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 5.0
"""That an address may take to be reached while there is another one; one of IPv6 that leads nowhere is common."""
_PREFIX = b"whsec_"
"""Before a secret that is written in base64."""


class NotTakenError(Exception):
    """Why a receiver did not take what was sent, in a sentence."""


@dataclass(frozen=True, slots=True, repr=False)
class Receiver:
    """A URL with what is needed to reach it now."""

    url: str
    addresses: tuple[str, ...]
    """Of its host, each looked at; the first that can be reached is used."""
    key: bytes | None
    """What is signed with; None: nothing is."""
    tls: ssl.SSLContext | None
    """By which certificates it is known; None for http."""


def host_of(url: str) -> str:
    """Return what may be shown of a URL, whose path may be a secret."""
    return shown(urlsplit(url).hostname or "")


def find(hook: Hook) -> Receiver:
    """Look up where a hook's URL leads, and what is signed with. It may block. Raises NotTakenError."""
    parts = urlsplit(hook.url or "")
    tls = parts.scheme == "https"
    addresses = _addresses(parts.hostname or "", parts.port or (443 if tls else 80))
    if parts.hostname not in [host.lower() for host in hook.private_hosts]:
        closed = [address for address in addresses if not is_public(address)]
        addresses = [address for address in addresses if address not in closed]
        if not addresses:
            where = f"{host_of(parts.geturl())} is at {closed[0]}, on this machine or in a private network"
            raise NotTakenError(f"{where}: if that is meant, name it in private_hosts.")
    return Receiver(parts.geturl(), tuple(addresses), _key(hook), ssl.create_default_context() if tls else None)


def _addresses(host: str, port: int) -> list[str]:
    try:
        with doing(lambda: f"look up the host {shown(host)}"):
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotTakenError(f"The host {shown(host)} is not known: {error}.") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _key(hook: Hook) -> bytes | None:
    if hook.secret_file is None:
        return None
    try:
        with doing(lambda: f"read the secret {shown(hook.secret_file or '')}"):
            secret = secret_file.read(hook.secret_file, "secret_file", "one secret").strip()
    except MachineError as error:
        raise NotTakenError(f"{error.what} {error.remedy}") from error
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True) if secret.startswith(_PREFIX) else secret
    except binascii.Error:
        key = b""
    if not key:
        what = "is empty, or no base64 after whsec_. Make one with: head -c 32 /dev/urandom | base64"
        raise NotTakenError(f"secret_file {shown(hook.secret_file)} {what}")
    return key


def headers(message: str, body: bytes, key: bytes | None, now: float) -> dict[str, str]:
    """Return the headers of a message by its id, the same however often it is sent, at these seconds since 1970."""
    sent = str(int(now))
    found = {
        "Content-Type": "application/json",
        "User-Agent": f"ocrd/{ocrd.__version__}",
        "Webhook-Id": message,
        "Webhook-Timestamp": sent,
    }
    if key is not None:
        digest = hmac.digest(key, f"{message}.{sent}.".encode() + body, hashlib.sha256)
        found["Webhook-Signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return found


async def send(receiver: Receiver, message: str, body: bytes, now: float) -> None:
    """Send a message once. Its whole time is for the caller to bound. Raises NotTakenError."""
    import httpx

    url, last = httpx.URL(receiver.url), receiver.addresses[-1]
    known = headers(message, body, receiver.key, now) | {"Host": url.netloc.decode()}
    try:
        async with httpx.AsyncClient(verify=receiver.tls or False, trust_env=False, timeout=None) as client:  # noqa: S113 - see above
            requests = [
                client.build_request(
                    "POST",
                    url.copy_with(host=address),
                    content=body,
                    headers=known,
                    extensions={"sni_hostname": url.host},  # its certificate is that of the name
                    timeout=httpx.Timeout(None, connect=None if address == last else CONNECT_SECONDS),
                )
                for address in receiver.addresses
            ]
            status = await _status(client, requests)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotTakenError(f"No answer of {host_of(receiver.url)}: {error or type(error).__name__}.") from error
    if httpx.codes.is_redirect(status):
        raise NotTakenError(f"It answered {status}, a redirect, and none is followed: give the URL that it leads to.")
    if not httpx.codes.is_success(status):
        raise NotTakenError(f"It answered {status}.")


async def _status(client: "httpx.AsyncClient", requests: list["httpx.Request"]) -> int:
    """Return the status of the first answer; only who can't be reached leaves it to the next. Raises HTTPError."""
    import httpx

    *others, last = requests
    for request in others:
        with suppress(httpx.ConnectError, httpx.ConnectTimeout):
            return await _answer(client, request)
    return await _answer(client, last)


async def _answer(client: "httpx.AsyncClient", request: "httpx.Request") -> int:
    response = await client.send(request, stream=True)
    await response.aclose()
    return response.status_code
