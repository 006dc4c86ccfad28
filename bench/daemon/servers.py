"""What the engine `openai` costs the process of the service, with servers that answer at once and read nothing.

    python bench/daemon/servers.py [PAGES] [SERVERS]    # 20,000 and 2: two minutes on two cores

The pages are as they come from the render workers: a PNG of a scan-like page, in memory that is lent. Each server is a
process of its own, and counts what it was asked. Memory is that of this process alone.
"""

import asyncio
import io
import json
import re
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ocrd.config.openai import OpenAiSettings
from ocrd.config.resolving import shipped
from ocrd.engines.openai.engine import OpenAiEngine
from ocrd.model import PageImage, PixelSize

SIZE = PixelSize(1280, 1920)
IN_FLIGHT = 512
_FIRST = 1000
"""Pages after which memory is taken as what it is from then on."""
_WORDS = " ".join(f"word{number}" for number in range(400))


def main(pages: int, servers: int) -> None:
    """Measure, and print a row of a table."""
    with ExitStack() as stack:
        programs = [
            stack.enter_context(
                subprocess.Popen([sys.executable, __file__, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            for _ in range(servers)
        ]
        addresses = [(one.stdout.readline() if one.stdout else b"").decode().strip() for one in programs]
        seconds, cpu, memory = asyncio.run(_read(addresses, pages))
        asked = [int(one.communicate()[0]) for one in programs]
    if sum(asked) != pages:
        sys.exit(f"{pages} pages were read, and the servers were asked for {asked}")
    print("| pages | servers | pages a second | CPU a page | memory after 1,000 pages | at the end |")
    print("| --- | --- | --- | --- | --- | --- |")
    sizes = " | ".join(f"{one / 2**20:.0f} MiB" for one in memory)
    print(f"| {pages:,} | {servers} | {pages / seconds:.0f} | {cpu / pages * 1000:.2f} ms | {sizes} |")


async def _read(addresses: list[str], pages: int) -> tuple[float, float, tuple[int, int]]:
    """Read so many pages; return seconds, seconds of the processor, and bytes of memory at two times."""
    engine = OpenAiEngine(OpenAiSettings(endpoints=tuple(addresses)), shipped())
    await engine.start()
    png = memoryview(_png())
    places, done, first = asyncio.Semaphore(IN_FLIGHT), 0, 0
    began, cpu = time.monotonic(), time.process_time()

    async def read(index: int) -> None:
        nonlocal done, first
        reading = await engine.read(PageImage(index, SIZE, b"", 150.0, prepared=png))
        places.release()
        if reading.index != index or len(reading.text) != len(_WORDS):
            raise AssertionError(reading)
        done += 1
        if done == min(_FIRST, pages):
            first = _memory()

    async with asyncio.TaskGroup() as group:
        for index in range(pages):
            await places.acquire()
            group.create_task(read(index))
    took = time.monotonic() - began, time.process_time() - cpu
    await engine.close()
    return *took, (first, _memory())


def _png() -> bytes:
    image = Image.new("L", (SIZE.width, SIZE.height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=24)
    for line in range(50):
        draw.text((60, 40 + 36 * line), _WORDS[line * 40 : line * 40 + 90], fill="black", font=font)
    noise = Image.effect_noise(image.size, 12)
    file = io.BytesIO()
    Image.blend(image, noise, 0.1).save(file, "png", compress_level=1)
    return file.getvalue()


def _memory() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


# -- a server ---------------------------------------------------------------------------------------------------------


async def serve() -> None:
    """Answer at once, until standard input ends; then print how many pages were asked for."""
    asked = 0
    models = _answer({"data": [{"id": "none", "owned_by": "vllm", "max_model_len": 8192}]})
    text = {"message": {"content": _WORDS}, "finish_reason": "stop"}
    answer = _answer({"choices": [text], "usage": {"completion_tokens": 800}})
    refusal = _answer({"message": "`ngram_size`"}, 400)

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        if b"/chat/completions" not in head.split(b"\r\n", 1)[0]:
            writer.write(models)
        elif b'"ngram_size": -1' in body[-400:]:
            writer.write(refusal)
        else:
            asked += b'"max_tokens": 64,' not in body[-1000:]  # else it is the test page
            writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, limit=2**22)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(asked)


def _answer(body: object, status: int = 200) -> bytes:
    data = json.dumps(body).encode()
    return b"HTTP/1.1 %d So\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status, len(data), data,
    )  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        given = [int(one) for one in sys.argv[1:]]
        main(*given, *(20_000, 2)[len(given) :])
