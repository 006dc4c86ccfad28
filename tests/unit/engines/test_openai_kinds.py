"""What is asked of servers other than vLLM, and what their complaints mean. The words are those of real ones:
llama.cpp's `llama-server` of 2026-11 and SGLang 0.5.23, run on a processor with tiny models.
"""

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from chat_server import MODEL, ChatServer, Request, answer, fails, reads, says
from openai_reading import PAGE, SMALL, reading, run, until, up

from ocrd.config.resolving import shipped
from ocrd.engines.openai import answers, complaints
from ocrd.engines.openai.faults import Crowded, Misconfigured, Overloaded, Refusal
from ocrd.engines.openai.visit import CROWDS
from ocrd.errors import ConfigError, PageError
from ocrd.markup import layout_blocks

pytestmark = pytest.mark.usefixtures("soon")

SGLANG = {"data": [{"id": MODEL, "owned_by": "sglang", "max_model_len": 8192}]}
LLAMA = {"data": [{"id": MODEL, "owned_by": "llamacpp", "meta": {"n_ctx": 8192, "n_ctx_train": 8192}}]}
NO_ROOM = fails(500, "Context size has been exceeded.")
TOO_LONG = "request (600 tokens) exceeds the available context size (512 tokens), try increasing it"
SMALL_CHAT = SMALL.model_copy(update={"chat": True, "chat_options": {"enable_thinking": False}})


@pytest.mark.parametrize(
    ("models", "asked"),
    [
        (SGLANG, {"skip_special_tokens": False, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}),
        (LLAMA, {"cache_prompt": False, "top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}),
    ],
)
def test_each_server_is_asked_for_what_it_knows(models: Any, asked: dict[str, Any]) -> None:
    async def work() -> None:
        server = ChatServer(models=models)
        async with reading(server, profile=SMALL_CHAT) as made:
            await made.read(PAGE)
        (request,) = server.pages
        common = {"model", "messages", "max_tokens", "temperature", "top_p"}
        wanted = asked | {"chat_template_kwargs": {"enable_thinking": False}}
        assert {name: value for name, value in request.body.items() if name not in common} == wanted
        assert [part["type"] for part in request.parts] == ["image_url", "text"]
        assert not any("vllm_xargs" in one.body for one in server.requests), "it said what it is"

    run(work())


@pytest.mark.parametrize(("models", "name"), [(SGLANG, "SGLang"), (LLAMA, "llama.cpp")])
def test_a_server_is_called_by_its_name(models: Any, name: str, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with reading(ChatServer(models=models)) as made:
            [told] = await asyncio.to_thread(made.preflight)
            assert isinstance(told.found, str)
            assert told.found.startswith(f"{name}, model {MODEL}, 8192 tokens; read 'words' ")
            assert made.info.version == name

    run(work())
    assert [one for one in caplog.messages if "it is not vLLM" in one]


@pytest.mark.parametrize("meta", [None, [], "8192", {"n_ctx": "many"}, {"n_ctx": -1}, {}])
def test_a_context_that_is_not_told_is_not_known(meta: Any) -> None:
    async def work() -> None:
        models = {"data": [{"id": MODEL, "owned_by": "llamacpp", "meta": meta}]}
        async with reading(ChatServer(models=models)) as made:
            [told] = await asyncio.to_thread(made.preflight)
            assert isinstance(told.found, str)
            assert "context" not in told.found

    run(work())


def test_what_a_gateway_tells_beside_a_models_length_hides_it_not() -> None:
    [model] = answers.models(json.dumps({"data": [{"id": "a", "max_model_len": 4096, "meta": {}}]}).encode())
    assert model.longest == 4096


def test_a_context_that_is_smaller_than_the_models_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        models = {"data": [{"id": MODEL, "owned_by": "vllm", "max_model_len": 4096}]}
        server = ChatServer(models=models)
        async with reading(server) as made:
            [told] = await asyncio.to_thread(made.preflight)
            assert isinstance(told.found, str)
            assert "a context of 4096 tokens" in told.found
            server.page = fails(500)
            reader = asyncio.create_task(made.read(PAGE))
            await until(lambda: up(made) == [False])
            server.page = says(answer())
            assert (await reader).text == "words"

    run(work())
    assert len([one for one in caplog.messages if "a context of 4096 tokens, and long pages" in one]) == 1


# -- complaints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (500, "Context size has been exceeded.", Crowded),
        (500, "failed to process mtmd chunk", Crowded),
        (503, "The request queue is full.", Overloaded),
        (503, "Request waiting timeout reached.", Overloaded),
        (500, "image input is not supported - hint: you may need to provide the mmproj", Misconfigured),
        (400, "Context size has been exceeded.", Refusal),
        (400, TOO_LONG, Refusal),
        (400, "The input (15275 tokens) is longer than the model's context length (8192 tokens).", Refusal),
        (400, "The decoder prompt (length 900) is longer than the maximum model length of 512. Make sure", Refusal),
        (400, "Input length (1026 tokens) exceeds the maximum allowed length (694 tokens).", Refusal),
        (503, "Loading model", type(None)),
        (500, "Internal server error", type(None)),
        (400, "Prompt has 2 image placeholders but 1 image inputs were provided", type(None)),
    ],
)  # fmt: skip
def test_complaints_are_told_by_their_words(status: int, said: str, kind: type) -> None:
    assert type(complaints.meaning(status, said)) is kind


@dataclass
class Crowd:
    """Pages that share one context, as llama.cpp's do: once there are too many, it fails all that are with it."""

    room: int
    inside: set["asyncio.Future[None]"] = field(default_factory=set)

    async def __call__(self, server: ChatServer, request: Request, writer: asyncio.StreamWriter) -> None:
        mine = asyncio.get_running_loop().create_future()
        self.inside.add(mine)
        if len(self.inside) > self.room:
            for one in self.inside:
                one.cancel()
        await asyncio.wait([mine], timeout=0.05)
        self.inside.discard(mine)
        await (NO_ROOM if mine.cancelled() else reads)(server, request, writer)


def test_pages_that_fill_a_shared_context_are_read_with_fewer_beside_them(caplog: pytest.LogCaptureFixture) -> None:
    """They were charged to the pages, and good ones lost."""

    async def work() -> None:
        server = ChatServer(page=Crowd(2), models=LLAMA)
        async with reading(server) as made:
            pages = [replace(PAGE, index=number) for number in range(12)]
            readings = await asyncio.gather(*map(made.read, pages))
            assert [one.index for one in readings] == list(range(12))
        assert len(server.pages) > len(pages), "there was a crowd"

    run(work())
    assert len([one for one in caplog.messages if "gets fewer pages at a time" in one]) == 1
    assert not [one for one in caplog.messages if "is out" in one or "no server" in one]


@pytest.mark.parametrize("servers", [1, 6])
@pytest.mark.parametrize("concurrency", ["auto", 4])
def test_a_page_that_has_no_room_anywhere_is_found_among_others(servers: int, concurrency: Any) -> None:
    """Beside others it looks as if these had taken its room."""
    tries = 0

    async def page(server: ChatServer, request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.01)
        nonlocal tries
        bad = not any(request.pixels[1])
        tries += bad
        await (NO_ROOM if bad else reads)(server, request, writer)

    async def work() -> None:
        them = [ChatServer(page=page, models=LLAMA) for _ in range(servers)]
        async with reading(*them, concurrency=concurrency) as made:
            done = False

            async def others() -> int:
                count = 0
                while not done:
                    await made.read(PAGE)
                    count += 1
                return count

            beside = [asyncio.create_task(others()) for _ in range(16)]
            with pytest.raises(PageError, match="Context size has been exceeded"):
                await made.read(replace(PAGE, pixels=bytes(len(PAGE.pixels))))
            done = True
            assert sum(await asyncio.gather(*beside)) > 16
        assert tries <= CROWDS + 2 * servers + 2, "it is read beside others no more; how soon is chance"

    run(work())


def test_a_page_alone_for_which_there_is_no_room_is_at_fault() -> None:
    async def work() -> None:
        async with reading(ChatServer(page=NO_ROOM, models=LLAMA)) as made:
            with pytest.raises(PageError, match="Context size has been exceeded") as caught:
                await made.read(PAGE)
            assert "-np and -c" in caught.value.remedy

    run(work())


def test_a_page_that_is_too_long_for_the_servers_is_not_to_be_scanned_again() -> None:
    async def work() -> None:
        async with reading(ChatServer(page=fails(400, TOO_LONG), models=LLAMA)) as made:
            with pytest.raises(PageError, match="exceeds the available context size") as caught:
                await made.read(PAGE)
            assert caught.value.remedy.startswith("Give the server a larger context")

    run(work())


def test_a_server_that_takes_no_images_is_to_be_mended(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        blind = fails(500, "image input is not supported - hint: you may need to provide the mmproj")
        with pytest.raises(ConfigError, match="takes no images") as caught:
            async with reading(ChatServer(page=blind, test_page=blind, models=LLAMA)):
                pass
        assert "--mmproj" in caught.value.remedy

    run(work())
    assert caplog.messages == []


@pytest.mark.parametrize("end", ["<|im_end|>", "<|end_of_text|>\n"])
def test_the_token_by_which_a_model_ends_is_no_text(end: str) -> None:
    async def work() -> None:
        server = ChatServer(page=says(answer(f"words{end}")), models=LLAMA)
        async with reading(server, profile=shipped("markdown")) as made:
            text = (await made.read(PAGE)).text
            assert [block.text.strip() for block in layout_blocks.parse(text)] == ["words"]

    run(work())


def test_what_vllm_answers_is_printed_on_the_page() -> None:
    said = answers.answer(json.dumps(answer("its end is <|im_end|>", stop_reason=None)).encode())
    assert said.text == "its end is <|im_end|>"
