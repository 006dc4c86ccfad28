"""A server of OpenAI's protocol that fails as it is told to, and can't read: for faults that no real one has at will.

Run as a program it prints its address, and behaves in one of the ways of HOWS: `python chat_server.py good`.
"""

import asyncio
import base64
import io
import itertools
import json
import ssl
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

MODEL = "a model"


@dataclass
class Request:
    """What came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def is_page(self) -> bool:
        """Whether a page is to be read, and not the test page."""
        return self.path.endswith("/chat/completions") and self.body["max_tokens"] > 64

    @property
    def image(self) -> bytes:
        """The PNG that came with it."""
        url = next(part["image_url"]["url"] for part in self.parts if part["type"] == "image_url")
        return base64.b64decode(url.removeprefix("data:image/png;base64,"), validate=True)

    @property
    def parts(self) -> list[dict[str, Any]]:
        """What the user says, in parts."""
        parts: list[dict[str, Any]] = self.body["messages"][0]["content"]
        return parts

    @property
    def pixels(self) -> tuple[tuple[int, int], bytes]:
        """Size of the image, and its RGB."""
        from PIL import Image

        image = Image.open(io.BytesIO(self.image)).convert("RGB")
        return image.size, image.tobytes()


Reply = Callable[["ChatServer", Request, asyncio.StreamWriter], Awaitable[None]]


def answer(text: str = "words", reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": reason, **more}
    return {"choices": [choice], "usage": {"completion_tokens": 3}}


async def send(
    writer: asyncio.StreamWriter, status: int, body: Any, headers: dict[str, str] | None = None, cut: int = 0
) -> None:
    """Send an answer; with `cut`, so many bytes fewer than it announces."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} So", f"Content-Length: {len(data)}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + data[: len(data) - cut])
    await writer.drain()


async def reads(_server: "ChatServer", _request: Request, writer: asyncio.StreamWriter) -> None:
    await send(writer, 200, answer())


def fails(status: int, message: str = "no", headers: dict[str, str] | None = None) -> Reply:
    async def reply(_server: "ChatServer", _request: Request, writer: asyncio.StreamWriter) -> None:
        await send(writer, status, {"error": {"message": message}}, headers)

    return reply


def says(body: Any, cut: int = 0) -> Reply:
    async def reply(_server: "ChatServer", _request: Request, writer: asyncio.StreamWriter) -> None:
        await send(writer, 200, body, cut=cut)

    return reply


async def fails_at_the_proxy(_request: Request, writer: asyncio.StreamWriter) -> None:
    """As nginx does."""
    page = b"<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n</body>\r\n</html>\r\n"
    writer.write(b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Type: text/html\r\n")
    writer.write(b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(page), page))
    await writer.drain()


async def hangs(server: "ChatServer", _request: Request, _writer: asyncio.StreamWriter) -> None:
    await server.released.wait()


@dataclass
class ChatServer:
    """One of them, in the loop that starts it."""

    page: Reply = reads
    """What becomes of a page."""
    test_page: Reply = reads
    models: Any = field(default_factory=lambda: {"data": [{"id": MODEL, "owned_by": "vllm", "max_model_len": 8192}]})
    """What it answers when it is asked for its models, or a status to fail with, or a Reply."""
    bans: bool = True
    """Whether it has an n-gram processor."""
    limit: int = 0
    """Bytes of a request that a proxy before it takes, if it takes no more."""
    requests: list[Request] = field(default_factory=list)
    cancelled: int = 0
    """Requests whose client went before it was answered."""
    released: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _serving: dict[asyncio.StreamWriter, "asyncio.Task[None]"] = field(default_factory=dict)
    port: int = 0

    async def start(self, *, port: int = 0, path: str = "", tls: ssl.SSLContext | None = None) -> str:
        """Listen, and return the address."""
        if path:
            self._server = await asyncio.start_unix_server(self._connected, path)
            return f"unix:{path}"
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port or self.port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return f"http{'s' * bool(tls)}://127.0.0.1:{self.port}/v1"

    async def stop(self) -> None:
        """End as if it were killed."""
        if self._server:
            for one in self._server.sockets:  # Python before 3.12 loses a connection that is just being accepted
                asyncio.get_running_loop().remove_reader(one.fileno())
            await asyncio.sleep(0)
            self._server.close()
            self._server = None
            for writer in self._serving:
                writer.transport.abort()
            await asyncio.gather(*self._serving.values())

    @property
    def pages(self) -> list[Request]:
        return [one for one in self.requests if one.is_page]

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # it was accepted before the end
            writer.transport.abort()
        else:
            self._serving[writer] = asyncio.create_task(self._serve(reader, writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            raw = await reader.readexactly(int(headers.get("content-length", "0")))
            request = Request(first.split()[1], headers, json.loads(raw or b"{}"))
            self.requests.append(request)
            too_large = self.limit and len(raw) > self.limit
            work = asyncio.ensure_future((fails_at_the_proxy if too_large else self._reply)(request, writer))
            gone = asyncio.ensure_future(reader.read(1))
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.cancelled += 1
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            del self._serving[writer]
            writer.close()

    async def _reply(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path == "/version":
            await send(writer, 200, {"version": "0.32.0"})
        elif request.path.endswith("/models"):
            await (self.models(self, request, writer) if callable(self.models) else send(writer, 200, self.models))
        elif request.body.get("vllm_xargs", {}).get("ngram_size", 1) < 1 and self.bans:
            await send(writer, 400, {"error": {"message": "`ngram_size` must be a whole number above zero"}})
        else:
            await (self.page if request.is_page else self.test_page)(self, request, writer)


def in_turn(*replies: Reply) -> Reply:
    """Do one after the other, and then the first again."""
    turns = itertools.cycle(replies)

    async def reply(server: ChatServer, request: Request, writer: asyncio.StreamWriter) -> None:
        await next(turns)(server, request, writer)

    return reply


async def slow(_server: ChatServer, _request: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.3)
    await send(writer, 200, answer())


async def late(_server: ChatServer, _request: Request, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)
    await send(writer, 200, answer())


HOWS: dict[str, Reply] = {
    "good": reads,
    "slow": slow,
    "late": late,
    "busy": in_turn(fails(429, headers={"Retry-After": "0"}), says(b"<html>"), reads, fails(503), reads),
    "cuts": in_turn(reads, says(answer(), cut=9), reads),
}


async def main(how: str) -> None:
    server = ChatServer(page=HOWS[how])
    print(await server.start(), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
