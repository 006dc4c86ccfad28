"""What servers are asked at the start, and found to be."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import MODEL, ChatServer, Reply, Request, answer, fails, in_turn, reads, says
from openai_reading import PAGE, SMALL, reading, run, until, up

from ocrd.config.openai import OpenAiSettings
from ocrd.config.resolving import shipped
from ocrd.engines import vision_model
from ocrd.engines.openai import engine, prover
from ocrd.engines.openai.engine import OpenAiEngine
from ocrd.errors import ConfigError, EngineError, OcrdError

pytestmark = pytest.mark.usefixtures("soon")


@pytest.mark.parametrize(
    ("models", "settings", "said"),
    [
        (b"<html>", {}, "no server of OpenAI's protocol: asked for its models, it answered '<html>'"),
        ({"data": "none"}, {}, "no server of OpenAI's protocol"),
        ({"data": []}, {}, "It lists none"),
        ({"data": [{"id": "a"}, {"id": "b"}]}, {}, "It lists a, b"),
        ({"data": [{"id": "a"}]}, {"model": "c"}, "has no model c; it lists a"),
        (fails(401, "who is sesame?"), {}, r"does not take our key \(401\): who is …\?"),
        (fails(404, "no"), {}, r"\(404\): no"),
        (fails(302, headers={"Location": "http://elsewhere/"}), {}, "sends us on .302. to 'http://elsewhere/'"),
    ],
)
def test_what_the_owner_must_mend_is_said_at_the_start_and_without_the_key(
    models: Any, settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("sesame")
    (tmp_path / "key").chmod(0o600)

    async def work() -> None:
        server = ChatServer(models=models)
        with pytest.raises(ConfigError, match=said) as caught:
            async with reading(server, api_key_file=str(tmp_path / "key"), **settings):
                pass
        assert str(server.port) in caught.value.what
        assert "sesame" not in repr(caught.value)

    run(work())


LITELLM = {"id": MODEL, "object": "model", "owned_by": "openai", "max_input_tokens": 8192, "max_output_tokens": 8192}
"""As LiteLLM 1.108 lists a model of vLLM's."""
REFUSED = (
    "litellm.BadRequestError: Hosted_vllmException - `ngram_size` has to be a strictly positive integer, got -1."
    "\n\nLiteLLM: model group 'a model' failed with the error above. No fallback was attempted."
)
TOLD = says(answer(provider_specific_fields={"stop_reason": None, "token_ids": [1, 2, 3]}))
OF_SGLANG = says(answer(token_ids=[1, 2, 3], matched_stop=None))
STRICT = "[{'loc': ['body', 'vllm_xargs'], 'msg': 'Extra inputs are not permitted', 'input': {'ngram_size': -1}}]"
BANS, NO_BANS, NOT_KNOWN, NOT_VLLM = "its n-gram processor answers", "it has no n-gram processor", "", "it is not vLLM"


async def goes(_server: ChatServer, _request: Request, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def gateway(never: Reply, some: Reply = TOLD) -> ChatServer:
    """What lists vLLM's models as its own, by what it does when it is asked for n-grams that can't be, or can."""

    async def reply(server: ChatServer, request: Request, writer: asyncio.StreamWriter) -> None:
        asked = request.body.get("vllm_xargs")
        how = reads if asked is None else some if asked["ngram_size"] > 0 else never
        await how(server, request, writer)

    return ChatServer(bans=False, models={"data": [LITELLM]}, test_page=reply)


@pytest.mark.parametrize(
    ("server", "found"),
    [
        (gateway(fails(400, REFUSED)), BANS),
        (gateway(TOLD), NO_BANS),
        (gateway(in_turn(fails(500), fails(400, REFUSED))), BANS),
        (gateway(in_turn(goes, TOLD)), NO_BANS),
        (gateway(fails(400, "Bad Request")), NOT_KNOWN),
        (gateway(reads, reads), NOT_VLLM),
        (gateway(OF_SGLANG, OF_SGLANG), NOT_VLLM),
        (gateway(fails(422, STRICT), fails(422, STRICT)), NOT_VLLM),
        (gateway(fails(500), fails(500)), NOT_VLLM),
        (gateway(fails(401), fails(404)), NOT_VLLM),
        (gateway(goes, goes), NOT_VLLM),
    ],
)
def test_vllm_is_known_by_what_it_does_when_a_gateway_lists_its_models(
    server: ChatServer, found: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise DeepSeek-OCR would lose its special tokens there, and nothing would end its loops."""

    async def work() -> None:
        async with reading(server) as made:
            await made.read(PAGE)
            asked = server.pages[0].body
            assert asked.get("skip_special_tokens") == (None if found is NOT_VLLM else False)
            assert ("vllm_xargs" in asked) == (found is not NOT_VLLM)
            [told] = await asyncio.to_thread(made.preflight)
            assert isinstance(told.found, str)
            assert told.found.startswith("a server that is not vLLM, " if found is NOT_VLLM else "vLLM, ")
            assert told.found.partition(" s; ")[2].startswith(found)
            assert (" s; " in told.found) == bool(found), "what nobody knows is not told"

    run(work())
    assert bool(caplog.messages) == (found in (NO_BANS, NOT_VLLM))
    assert found in "".join(caplog.messages) or found is BANS


def test_a_server_that_reads_and_never_answers_what_only_vllm_knows_is_none() -> None:
    class Silent:
        async def models(self) -> bytes:
            return json.dumps({"data": [LITELLM]}).encode()

        async def version(self) -> bytes:
            raise AssertionError("nothing says that it is vLLM")

        async def chat(self, pieces: Iterator[bytes], length: int) -> bytes:
            if "vllm_xargs" in json.loads(b"".join(pieces)):
                await asyncio.Event().wait()
            assert length
            return json.dumps(answer()).encode()

    asked = prover.Prover(SMALL, vision_model.page_size(SMALL.image), "", timeout=0.2)
    proof = asyncio.run(asked.prove(Silent()))
    assert (proof.model.is_vllm, proof.bans, proof.said) == (False, None, "words")


def test_a_gateway_that_has_too_much_to_do_is_asked_again_what_it_is() -> None:
    async def work() -> None:
        server = gateway(in_turn(fails(429, headers={"Retry-After": "0"}), fails(400, REFUSED)))
        async with reading(server) as made:
            await made.read(PAGE)
            assert "vllm_xargs" in server.pages[0].body

    run(work())


def test_a_server_that_lists_no_model_is_asked_for_the_one_that_is_named() -> None:
    async def work() -> None:
        async with reading(ChatServer(models={"data": []}), model="/srv/a model") as made:
            assert (await made.read(PAGE)).text == "words"
            assert made.info.model == "/srv/a model"

    run(work())


def test_servers_with_different_models_are_refused_unless_one_is_named() -> None:
    async def work() -> None:
        other = {"data": [{"id": "another", "owned_by": "vllm"}]}
        with pytest.raises(ConfigError, match="and another runs"):
            async with reading(ChatServer(), ChatServer(models=other)):
                pass
        async with reading(ChatServer(), ChatServer(models=other), model=MODEL) as made:
            assert up(made) == [True, False]
            assert "has no model" in made.state.servers[1].why

    run(work())


def test_the_start_waits_for_a_first_server_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        server = ChatServer()
        place = await server.start()
        await server.stop()
        made = OpenAiEngine(OpenAiSettings(endpoints=(place,)), SMALL)
        starting = asyncio.create_task(made.start())
        await until(lambda: made.state.servers and made.state.servers[0].why)
        await server.start()
        await starting
        assert (await made.read(PAGE)).text == "words"
        await made.close()
        await server.stop()
        monkeypatch.setattr(engine, "START_SECONDS", 0.1)
        made = OpenAiEngine(OpenAiSettings(endpoints=(place,)), SMALL)
        with pytest.raises(EngineError, match="No server answers"):
            await made.start()
        await made.close()

    run(work())


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_file_that_others_can_read_is_not_taken(tmp_path: Path, mode: int) -> None:
    (tmp_path / "key").write_text("sesame")
    (tmp_path / "key").chmod(mode)
    made = OpenAiEngine(OpenAiSettings(endpoints=("http://127.0.0.1:1/v1",), api_key_file=str(tmp_path / "key")), SMALL)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        asyncio.run(made.start())
    assert "sesame" not in repr(caught.value)


def test_the_check_says_what_each_server_is_and_whether_its_n_gram_processor_answers() -> None:
    async def work() -> None:
        servers = [ChatServer(), ChatServer(bans=False), ChatServer(models=b"no")]
        places = [await one.start() for one in servers]
        made = OpenAiEngine(OpenAiSettings(endpoints=(*places, "http://127.0.0.1:1/v1")), SMALL)
        good, loops, other, gone = await asyncio.to_thread(made.preflight)
        assert good.what == f"server {places[0]}"
        assert isinstance(good.found, str)
        assert good.found.startswith(f"vLLM 0.32.0, model {MODEL}, 8192 tokens; read 'words' for ")
        assert good.found.endswith("its n-gram processor answers")
        assert isinstance(loops.found, str)
        assert "it has no n-gram processor" in loops.found
        assert isinstance(other.found, ConfigError)
        assert isinstance(gone.found, OcrdError)
        assert gone.what == "server http://127.0.0.1:1/v1"
        for one in servers:
            await one.stop()

    run(work())


def test_the_check_sends_as_much_as_the_largest_page_can_have() -> None:
    async def work() -> None:
        servers = [ChatServer(limit=limit) for limit in (0, 2**20)]
        places = [await one.start() for one in servers]
        made = OpenAiEngine(OpenAiSettings(endpoints=tuple(places)), shipped("deepseek-ocr"))
        good, narrow = await asyncio.to_thread(made.preflight)
        assert isinstance(good.found, str)
        assert [one for one in servers[0].requests if one.body][-1].pixels[0] == (1280, 1920)
        assert isinstance(narrow.found, ConfigError)
        assert "takes no request of 9.6 MiB (413: Request Entity Too Large)" in narrow.found.what
        for one in servers:
            await one.stop()

    run(work())


def test_an_engine_without_servers_is_a_mistake_of_the_settings() -> None:
    with pytest.raises(ConfigError, match="names no server"):
        OpenAiEngine(OpenAiSettings(), SMALL)
