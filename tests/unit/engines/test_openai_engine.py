"""The openai engine over real connections, to servers that fail as they are told to."""

import asyncio
import json
import os
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_server import MODEL, ChatServer, Reply, answer, fails, hangs, reads, says, send, slow
from openai_reading import PAGE, PIXELS, SIZE, SMALL, reading, run, until, up

from ocrd.config.openai import OpenAiSettings
from ocrd.engines.openai import client, engine
from ocrd.engines.openai.engine import OpenAiEngine
from ocrd.errors import EngineError, PageError
from ocrd.model import Approach, PageImage, PixelSize

pytestmark = pytest.mark.usefixtures("soon")


# -- what is asked ----------------------------------------------------------------------------------------------------


def test_a_page_goes_out_as_the_profile_says_with_every_level_of_every_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "of somebody")
    monkeypatch.setenv("OPENAI_API_KEY", "of somebody")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    (tmp_path / "key").write_text("sesame\n")
    (tmp_path / "key").chmod(0o600)

    async def work() -> None:
        server = ChatServer(page=says(answer("<|ref|>text<|/ref|><|det|>[[0, 0, 9, 9]]<|/det|>\nWords")))
        async with reading(server, api_key_file=str(tmp_path / "key")) as made:
            read = await made.read(PAGE)
            assert read.text.startswith("<|ref|>text")
            assert (read.finish_reason, read.tokens, made.info.model) == ("stop", 3, MODEL)
        (request,) = server.pages
        assert request.pixels == ((64, 32), PIXELS)
        assert request.parts[1:] == [{"type": "text", "text": SMALL.prompt}]
        asked = {name: value for name, value in request.body.items() if name != "messages"}
        assert asked.pop("max_tokens") < 8192, "prompt and answer must fit into the model"
        assert asked == {
            "model": MODEL,
            "temperature": 0.0,
            "top_p": 1.0,
            "skip_special_tokens": False,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "vllm_xargs": {"ngram_size": 30, "window_size": 90, "whitelist_token_ids": [128821, 128822]},
            "return_token_ids": True,
        }
        assert {one.headers.get("authorization") for one in server.requests} == {"Bearer sesame"}
        assert not any("openai-organization" in one.headers for one in server.requests)

    run(work())


def test_a_server_that_is_not_vllm_is_asked_what_the_protocol_has() -> None:
    async def work() -> None:
        server = ChatServer(bans=False, models={"data": [{"id": MODEL, "owned_by": "somebody"}]})
        async with reading(server) as made:
            await made.read(PAGE, approach=Approach(prompt="<image>\nWhat is it?", temperature=0.5))
        (request,) = server.pages
        assert set(request.body) == {"model", "messages", "max_tokens", "temperature", "top_p"}
        assert [part["type"] for part in request.parts] == ["image_url", "text"]
        assert request.parts[1]["text"] == "What is it?"
        assert "authorization" not in request.headers

    run(work())


def test_tokens_that_the_processor_kept_from_coming_again_are_counted() -> None:
    async def work() -> None:
        again = [*range(40), *range(29), 99]
        async with reading(ChatServer(page=says(answer(token_ids=again)))) as made:
            assert (await made.read(PAGE)).bans == 1

    run(work())


def test_a_socket_and_a_certificate_of_this_machine_are_taken(tmp_path: Path) -> None:
    async def work() -> None:
        server = ChatServer()
        place = await server.start(path=str(tmp_path / "a socket"))
        made = OpenAiEngine(OpenAiSettings(endpoints=(place,)), SMALL)
        await made.start()
        assert (await made.read(PAGE)).text == "words"
        await made.close()
        await server.stop()

        server = ChatServer()
        place = await server.start(tls=certified())
        made = OpenAiEngine(OpenAiSettings(endpoints=(place,)), SMALL)
        await made.start()
        assert (await made.read(PAGE)).text == "words"
        await made.close()
        elsewhere = replace(engine.address.parse(place), host="gpu1")
        stranger = client.Client(elsewhere, "")
        with pytest.raises(engine.ServerFault, match="certificate can't be trusted"):
            await stranger.models()
        await stranger.close()
        await server.stop()

    run(work())


def certified() -> ssl.SSLContext:
    """Return what a server takes that shows a certificate which nobody has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).parents[2] / "files/nobody.pem")
    return context


# -- what goes wrong --------------------------------------------------------------------------------------------------


async def goes(_server: ChatServer, _request: Any, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def floods(_server: ChatServer, _request: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"100000\r\n" + b" " * 2**20 + b"\r\n")
        await writer.drain()


async def packs(_server: ChatServer, _request: Any, writer: asyncio.StreamWriter) -> None:
    await send(writer, 200, b"anything", {"Content-Encoding": "gzip"})


FAULTS: dict[str, Reply] = {
    "500": fails(500),
    "503": fails(503),
    "503, and to come again": fails(503, headers={"Retry-After": "1"}),
    "429": fails(429, headers={"Retry-After": "1"}),
    "429, by a date": fails(429, headers={"Retry-After": "Wed, 01 Jan 2020 00:00:00 GMT"}),
    "429, by nonsense": fails(429, headers={"Retry-After": "soon"}),
    "401": fails(401),
    "403": fails(403),
    "404": fails(404),
    "redirect": fails(307, headers={"Location": "http://127.0.0.1:1/"}),
    "connection cut": goes,
    "answer cut off": says(answer(), cut=5),
    "no JSON": says(b"<html>"),
    "other JSON": says({"choices": []}),
    "no text": says({"choices": [{"message": {"content": ["a"]}, "finish_reason": "stop"}]}),
    "nested": says(b"[" * 100_000),
    "given up": says(answer(reason="abort")),
    "no end": says(answer(reason=None)),
    "endless": floods,
    "packed": packs,
    "hanging": hangs,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_server_fails_at_another_reads_at_once(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LARGEST", 2**22)

    async def work() -> None:
        bad, good = ChatServer(), ChatServer()
        timeout = {"timeout": "3s"} if fault == "hanging" else {}
        async with reading(bad, good, **timeout) as made:
            bad.page = FAULTS[fault]
            pages = [replace(PAGE, index=number) for number in range(12)]
            read = await asyncio.gather(*map(made.read, pages))
            assert [one.index for one in read] == list(range(12))
            assert {one.text for one in read} == {"words"}
            assert bad.pages, "it was asked"
            bad.page = reads
            await until(lambda: up(made) == [True, True])

    run(work())


def test_while_no_server_answers_pages_wait_and_go_on_by_themselves(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        servers = [ChatServer(), ChatServer()]
        async with reading(*servers) as made:
            for one in servers:
                one.page = one.test_page = hangs
            pages = [asyncio.create_task(made.read(replace(PAGE, index=number))) for number in range(40)]
            await until(lambda: len(servers[0].pages) > 3)
            for one in servers:
                await one.stop()
            await until(lambda: made.state.doing == "away")
            assert "no server answers" in made.state.progress
            for one in servers:
                one.page = one.test_page = reads
                await one.start()
            assert sorted([one.index for one in await asyncio.gather(*pages)]) == list(range(40))
            assert made.state.doing == "ready"
        lines = [record.getMessage() for record in caplog.records if "no server answers" in record.getMessage()]
        assert len(lines) == 1, "it is said once"

    run(work())


def test_a_server_that_gives_no_sign_of_life_loses_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ocrd.engines.openai.prover.LIST_SECONDS", 2.0)

    async def work() -> None:
        stopped, good = ChatServer(), ChatServer()
        async with reading(stopped, good, silence=2.0) as made:
            stopped.page = stopped.test_page = stopped.models = hangs
            read = await asyncio.gather(*(made.read(replace(PAGE, index=number)) for number in range(12)))
            assert len(read) == 12
            assert up(made) == [False, True]
            assert "no sign of life" in made.state.servers[0].why
            assert stopped.cancelled >= 1

    run(work())


def test_a_slow_server_that_gives_signs_of_life_keeps_its_pages() -> None:
    async def work() -> None:
        slow = ChatServer()
        async with reading(slow, silence=0.1) as made:
            slow.page = hangs
            task = asyncio.create_task(made.read(PAGE))
            before = len(slow.requests)
            await until(lambda: len(slow.requests) > before + 4)
            assert up(made) == [True]
            slow.page = reads
            task.cancel()

    run(work())


def test_a_page_that_is_given_up_is_given_up_at_the_server() -> None:
    async def work() -> None:
        server = ChatServer()
        async with reading(server) as made:
            server.page = hangs
            task = asyncio.create_task(made.read(PAGE))
            await until(lambda: server.pages)
            task.cancel()
            await until(lambda: server.cancelled)
            assert made.state.servers[0].pages == 0

    run(work())


def test_the_end_gives_up_what_is_with_the_servers_and_leaves_nothing_running() -> None:
    async def work() -> None:
        server = ChatServer()
        async with reading(server, concurrency=1) as made:
            server.page = hangs
            tasks = [asyncio.create_task(made.read(replace(PAGE, index=number))) for number in range(3)]
            await until(lambda: server.pages)
            await made.close()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(one) for one in ends] == [EngineError] * 3
            running = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
            assert not [name for name in running if name.startswith(("OpenAiEngine.", "Servers."))]

    run(work())


def test_an_image_is_freed_once_it_is_sent_and_made_again_for_the_next_server() -> None:
    freed: list[int] = []
    drawn: list[int] = []

    def prepared() -> PageImage:
        room = memoryview(bytearray(10_000))
        page = engine.page_png.of_page(PAGE, SMALL.image)
        room[: len(page)] = page
        number = len(drawn)
        drawn.append(number)
        return PageImage(
            0, SIZE, b"", 72.0, prepared=room[: len(page)], free=lambda: freed.append(number), again=once_more
        )

    async def once_more() -> PageImage:
        return prepared()

    async def work() -> None:
        bad, good = ChatServer(), ChatServer()
        async with reading(bad, good) as made:
            bad.page = fails(500)
            await made.read(prepared())
            assert drawn == [0, 1]
            assert set(freed) == {0, 1}
            assert good.pages[0].pixels == ((64, 32), PIXELS)

    run(work())


# -- whose fault it is ------------------------------------------------------------------------------------------------


def for_page(bad: int, reply: Reply) -> Reply:
    """Do that with the pages of one height, and read the others."""

    async def chosen(server: ChatServer, request: Any, writer: asyncio.StreamWriter) -> None:
        await (reply if request.pixels[0][1] == bad else reads)(server, request, writer)

    return chosen


BAD = replace(PAGE, index=7, size=PixelSize(64, 16), pixels=PIXELS[: 3 * 64 * 16])


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("fault", ["400", "413", "500", "504", "connection cut", "no JSON"])
def test_a_page_that_healthy_servers_fail_at_is_refused_and_the_others_are_read(count: int, fault: str) -> None:
    reply = {"400": fails(400, "too long"), "413": fails(413), "504": fails(504), **FAULTS}[fault]

    async def work() -> None:
        servers = [ChatServer(page=for_page(16, reply)) for _ in range(count)]
        async with reading(*servers) as made:
            pages = [asyncio.create_task(made.read(replace(PAGE, index=number))) for number in range(20)]
            with pytest.raises(PageError, match="page 8") as caught:
                await made.read(BAD)
            assert fault != "400" or "too long (400)" in caught.value.what
            assert ("let the proxy wait" in caught.value.remedy.lower()) == (fault == "504")
            assert len(await asyncio.gather(*pages)) == 20

    run(work())


def test_a_request_that_is_too_large_for_a_proxy_goes_to_another_server_and_charges_no_page(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        narrow, wide = ChatServer(), ChatServer()
        async with reading(narrow, wide) as made:
            narrow.limit = len(json.dumps(narrow.requests[-1].body)) + 1000  # the test page fits
            large = [replace(PAGE, index=number, pixels=os.urandom(len(PIXELS))) for number in range(20)]
            assert len(await asyncio.gather(*map(made.read, large))) == 20
            await until(lambda: up(made) == [False, True])
            assert "takes no request of 0.0 MiB (413: Request Entity Too Large)" in made.state.servers[0].why
            assert "nginx: client_max_body_size 64m" in made.state.servers[0].why
            await wide.stop()
            waiting = asyncio.create_task(made.read(large[0]))
            small = [asyncio.create_task(made.read(PAGE)) for _ in range(4)]
            asked = len(narrow.requests)
            await until(lambda: len(narrow.requests) > asked + 40)  # a look has four
            assert not waiting.done()
            assert len(narrow.pages) < 20 + 8, "it is asked, and not given the page again and again"
            narrow.limit = 0
            assert (await waiting).text == "words"
            await asyncio.gather(*small)

    run(work())
    assert caplog.text.count("can't be used. It takes no request of") <= 1
    assert caplog.text.count("no server answers") <= 2


def test_small_pages_that_get_through_beside_it_do_not_send_a_large_one_there_again_and_again() -> None:
    async def work() -> None:
        server = ChatServer(page=slow)
        async with reading(server) as made:
            server.limit = len(json.dumps(server.requests[-1].body)) + 1000
            small = [asyncio.create_task(made.read(replace(PAGE, index=number))) for number in range(40)]
            await until(lambda: len(server.pages) > 3)
            large = asyncio.create_task(made.read(replace(PAGE, pixels=os.urandom(len(PIXELS))), priority=-1))
            await until(lambda: not made.state.servers[0].up)
            asked = len(server.requests)
            await until(lambda: len(server.requests) > asked + 60)
            sizes = [len(json.dumps(one.body)) for one in server.pages]
            assert sum(size > server.limit for size in sizes) == 1
            server.limit = 0
            assert (await large).text == "words"
            assert len(await asyncio.gather(*small)) == 40

    run(work())


def test_servers_that_refuse_the_test_page_too_charge_no_page() -> None:
    async def work() -> None:
        servers = [ChatServer(), ChatServer()]
        async with reading(*servers) as made:
            for one in servers:
                one.page = one.test_page = fails(400, "too long")
            tasks = [asyncio.create_task(made.read(replace(PAGE, index=number))) for number in range(3)]
            await until(lambda: made.state.doing == "away")
            before = [len(one.requests) for one in servers]
            await until(lambda: all(len(one.requests) > many + 6 for one, many in zip(servers, before, strict=True)))
            refused = [task for task in tasks if task.done()]
            assert len(refused) <= 1, "before they are in doubt, two may be taken at their word"
            for one in servers:
                one.page = one.test_page = reads
            await asyncio.gather(*(set(tasks) - set(refused)))
            for task in refused:
                assert isinstance(task.exception(), PageError)

    run(work())
