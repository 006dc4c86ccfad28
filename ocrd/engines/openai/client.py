"""Speaks to one server through the `openai` client, and translates whatever goes wrong. Imported late: it is slow.

Certificates are checked against those of the system (SSL_CERT_FILE names others), but not on this machine. Redirects
are not followed, proxies and passwords of the environment not used, answers of more than LARGEST bytes cut off. Each
request has a connection of its own: a server closes an idle one in the same moment in which it would be used again, and
a balancer before several servers can spread them.
"""

import asyncio
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime

import httpx2
import openai

from ocrd.engines.openai import answers, complaints
from ocrd.engines.openai.address import Address
from ocrd.engines.openai.faults import Lost, Misconfigured, Overloaded, ProxyTimeout, Refusal, ServerFault, TooLarge
from ocrd.engines.openai.look_up import LookUp

CONNECT_SECONDS = 10.0
LARGEST = 2 * 2**20
"""Bytes of an answer; the text of a page has some thousands."""

_KEY = "Put the key that it wants into a file, and that into engine.openai.api_key_file."
_ADDRESS = "Mend engine.openai.endpoints: an address ends in /v1, as a rule."
_TOO_LARGE, _TOO_MANY_REQUESTS, _UNAVAILABLE, _GATEWAY_TIMEOUT = 413, 429, 503, 504
_OTHERS = {408, 409, 425}
"""Of 400 to 499, those that say nothing of the page."""


class Client:
    """One server. Its methods raise ServerFault, and `chat` also Refusal."""

    def __init__(self, address: Address, key: str) -> None:
        """Take where it is, and the key that it wants, or nothing."""
        self._address, self._key = address, key
        context = ssl.create_default_context()
        if address.is_loopback:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        transport = _Bounded(verify=context, trust_env=False, limits=limits, uds=address.socket)
        if address.name:
            transport.look_up = LookUp(address.name)
        self._http = httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False)
        self._openai = openai.AsyncOpenAI(
            base_url=address.url,
            api_key=key or "none",  # never sent: see `_headers`
            max_retries=0,
            timeout=openai.Timeout(None, connect=CONNECT_SECONDS),  # of the whole, the engine takes care
            http_client=self._http,
        )
        unknown = openai.Omit()
        self._headers = {
            "Authorization": f"Bearer {key}" if key else unknown,
            "OpenAI-Organization": unknown,  # the client would take these from the environment
            "OpenAI-Project": unknown,
            "Accept-Encoding": "identity",
        }

    async def models(self) -> bytes:
        """Ask for its list of models."""
        return (await self._asked("/models")).content

    async def version(self) -> bytes:
        """Ask vLLM for its version; empty if it doesn't answer that."""
        try:
            return (await self._asked(f"{self._address.root}/version")).content
        except (ServerFault, Refusal):
            return b""

    async def chat(self, pieces: Iterator[bytes], length: int) -> bytes:
        """Ask for the answer to a body of so many bytes, which comes in pieces."""
        return (await self._asked("/chat/completions", pieces, length)).content

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _asked(self, path: str, pieces: Iterator[bytes] | None = None, length: int = 0) -> httpx2.Response:
        try:
            if pieces is None:
                return await self._openai.get(path, cast_to=httpx2.Response, options={"headers": self._headers})
            headers = self._headers | {"Content-Length": str(length)}
            content = _in_turns(pieces)
            return await self._openai.post(path, cast_to=httpx2.Response, content=content, options={"headers": headers})
        except openai.APITimeoutError:
            raise Lost(f"it took no connection within {CONNECT_SECONDS:g} s") from None
        except openai.APIConnectionError as error:
            raise _lost(error) from error
        except openai.APIStatusError as error:
            raise self._of_status(error.response, length) from None  # a server may say the key in its answer
        except (openai.OpenAIError, httpx2.HTTPError, OSError) as error:
            raise Lost(f"{type(error).__name__}: {self._without_key(str(error))}") from None

    def _of_status(self, response: httpx2.Response, length: int) -> ServerFault | Refusal:
        """Say what an answer that is none means, to a request of so many bytes."""
        status = response.status_code
        said = self._without_key(answers.complaint(response.content)).removeprefix(f"{status} ")
        wait = _seconds(response.headers.get("Retry-After", ""), time.time())
        if status == _TOO_MANY_REQUESTS or (status == _UNAVAILABLE and wait is not None):
            return Overloaded(f"it has too much to do ({status}): {said}", wait)
        if status == _TOO_LARGE and length:
            return TooLarge(length, f"{status}: {said}")
        if fault := self._mistake(status, said, response) or complaints.meaning(status, said):
            return fault
        if 400 <= status < 500 and status not in _OTHERS:  # noqa: PLR2004 - the client's errors, as HTTP has them
            return Refusal(f"{said} ({status})")
        if status == _GATEWAY_TIMEOUT:
            return ProxyTimeout(f"the proxy before it waited no longer for its answer ({status}): {said}")
        return ServerFault(f"it failed ({status}): {said}")

    def _mistake(self, status: int, said: str, response: httpx2.Response) -> Misconfigured | None:
        """Say what somebody must mend before any page is read, if the answer shows that."""
        if status in (401, 403):
            return Misconfigured(f"It does not take our key ({status}): {said}.", _KEY)
        if status in (404, 405):
            return Misconfigured(f"It knows no such address or model ({status}): {said}.", _ADDRESS)
        if 300 <= status < 400:  # noqa: PLR2004 - redirects, as HTTP has them
            to = self._without_key(response.headers.get("Location", ""))[:200]
            return Misconfigured(f"It sends us on ({status}) to {to!r}, where we don't go.", _ADDRESS)
        return None

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "…") if self._key else text


async def _in_turns(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Let others have their turn between two pieces."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


def _lost(error: Exception) -> ServerFault:
    """Say why there was no connection, or no longer one."""
    chain: list[BaseException] = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return Misconfigured(
                f"Its certificate can't be trusted: {one.verify_message}.",
                "Name the host as its certificate does, and add who signed that to the system's certificates, or name "
                "their file in SSL_CERT_FILE.",
            )
    return Lost(next(filter(None, map(_said, reversed(chain))), type(error).__name__))


def _said(error: BaseException) -> str:
    """Say it in the system's words, where it is the system's error; Python's own are longer."""
    if isinstance(error, socket.gaierror):
        return f"its name is not known: {error.strerror}"
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)


def _seconds(retry_after: str, now: float) -> float | None:
    """Read for how long a server wants to be left alone: a number of seconds, or a date; None for neither."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
    except (ValueError, OverflowError):
        return None


class _Bounded(httpx2.AsyncHTTPTransport):
    """Breaks off an answer that is larger than any page, or packed so that it might become so.

    A host's name is looked up as `LookUp` does. Of its addresses each is tried until one takes a connection.
    """

    look_up: LookUp | None = None
    """For who is known by a name."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._asked(request)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.RemoteProtocolError("it answered in an encoding that was not asked for")
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _BoundedStream(response.stream)
        return response

    async def _asked(self, request: httpx2.Request) -> httpx2.Response:
        if self.look_up is None:
            return await super().handle_async_request(request)
        try:
            *others, last = await self.look_up.addresses(CONNECT_SECONDS)
        except TimeoutError:
            raise httpx2.ConnectError(f"its name was not looked up within {CONNECT_SECONDS:g} s") from None
        except (OSError, UnicodeError, ValueError) as error:
            raise httpx2.ConnectError(f"its name is not known: {error}") from error
        request.extensions = {**request.extensions, "sni_hostname": request.url.host}  # whom its certificate names
        for address in others:
            with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):  # nothing was sent yet
                return await super().handle_async_request(_at(request, address))
        return await super().handle_async_request(_at(request, last))


def _at(request: httpx2.Request, address: str) -> httpx2.Request:
    request.url = request.url.copy_with(host=address)  # its header `Host` stays the name
    return request


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        got = 0
        async for piece in self._stream:
            got += len(piece)
            if got > LARGEST:
                raise httpx2.RemoteProtocolError(f"its answer has more than {LARGEST} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
