"""Two real servers of vLLM's, built for the CPU, that read for a daemon: one is stopped, and later the other killed."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import EXTRA
from cutting import HOWS, CuttingProxy
from house import OCRD, House, stop, wait_for
from sampling import generator
from tiny_model import BOS, make
from vllm_house import SMALL

from ocrd.config import profile as profiles
from ocrd.config.openai import OpenAiSettings
from ocrd.config.profile import Profile
from ocrd.config.resolving import find
from ocrd.engines.openai import address, answers, page_png, requests
from ocrd.engines.openai.client import Client
from ocrd.engines.openai.engine import OpenAiEngine
from ocrd.engines.openai.requests import Kind, Model
from ocrd.engines.vllm import deepseek
from ocrd.model import DEFAULT_APPROACH, PageImage, PixelSize

NAME = "tiny"
"""What the servers call the model."""


class Serving:
    """One `vllm serve`, at a Unix socket."""

    def __init__(self, folder: Path, model: Path, name: str) -> None:
        self.model = model
        self.endpoint = f"unix:{folder}/{name}.sock"
        self._log = (folder / f"{name}.log").open("wb")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model),
                *("--served-model-name", NAME, "--uds", folder / f"{name}.sock"),
                *("--logits-processors", "ocrd.engines.vllm.ngram:NGramProcessor"),
                *("--no-enable-prefix-caching", "--mm-processor-cache-gb", "0"),
                *("--limit-mm-per-prompt", '{"image": 1}', "--generation-config", "vllm"),
                *("--max-model-len", "2048", "--max-num-seqs", "2", "--max-num-batched-tokens", "2048"),
                *("--load-format", "dummy", "--enforce-eager", "--dtype", "float32", "--skip-mm-profiling"),
                *("--kv-cache-memory-bytes", str(EXTRA["kv_cache_memory_bytes"])),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # the signals below reach all of its processes
        )

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self._process.pid, number)

    def ready(self) -> bool:
        assert self._process.poll() is None, Path(self._log.name).read_text()[-4000:]
        with suppress(FileNotFoundError, ConnectionRefusedError), socket.socket(socket.AF_UNIX) as caller:
            caller.connect(self.endpoint.removeprefix("unix:"))  # it is there for long before anybody listens
            return True
        return False

    def close(self) -> None:
        if self._process.poll() is None:
            self.signal(signal.SIGKILL)
        self._process.wait()
        self._log.close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, Serving]]:
    folder = Path(tempfile.mkdtemp(prefix="ocrd vllm ", dir="/tmp"))  # the path of a socket must be short
    model = make(tmp_path_factory.mktemp("model"))
    both = (Serving(folder, model, "a"), Serving(folder, model, "b"))
    try:
        wait_for(lambda: all(one.ready() for one in both), 400)
        yield both
    finally:
        for one in both:
            one.close()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """DeepSeek-OCR's, with short answers: a model without weights never ends."""
    raw = yaml.safe_load((profiles.FOLDER / "deepseek-ocr.yaml").read_text())
    path = tmp_path_factory.mktemp("profile") / "short.yaml"
    path.write_text(yaml.safe_dump(raw | {"max_tokens": 24, "ngram_size": 3}))
    return find(str(path))


def test_the_model_gets_the_tokens_that_it_was_trained_on(servers: tuple[Serving, Serving], profile: Profile) -> None:
    page = PageImage(0, PixelSize(1280, 1920), b"\xff" * (3 * 1280 * 1920), dpi=0)

    async def asked() -> dict[str, Any]:
        client = Client(address.parse(servers[0].endpoint), "")
        body = requests.body(Model(NAME, Kind.VLLM, longest=2048), profile, page.size, DEFAULT_APPROACH)
        image = memoryview(page_png.of_page(page, profile.image))
        try:
            answer: dict[str, Any] = json.loads(await client.chat(body.pieces(image), body.length(len(image))))
        finally:
            await client.close()
        return answer

    answer = asyncio.run(asked())
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(servers[0].model)
    image = tokenizer.convert_tokens_to_ids("<image>")
    count = deepseek.image_tokens(1280, 1920, tile=640)
    text = profile.prompt.removeprefix("<image>")
    expected = [tokenizer.convert_tokens_to_ids(BOS), *[image] * count]
    expected += tokenizer.encode(text, add_special_tokens=False)
    assert answer["prompt_token_ids"] == expected
    choice = answer["choices"][0]
    assert (choice["finish_reason"], len(choice["token_ids"])) == ("length", 24)
    runs = [tuple(choice["token_ids"][begin : begin + 3]) for begin in range(22)]
    assert len(set(runs)) == len(runs), "no run of three tokens comes twice"
    assert answers.answer(json.dumps(answer).encode()).of_vllm, "by this vLLM is known behind a gateway"


def test_the_check_knows_the_version_and_the_n_gram_processor(
    servers: tuple[Serving, Serving], profile: Profile
) -> None:
    from vllm import __version__

    (finding,) = OpenAiEngine(OpenAiSettings(endpoints=(servers[0].endpoint,)), profile).preflight()
    assert isinstance(finding.found, str)
    assert finding.found.startswith(f"vLLM {__version__}, model {NAME}, 2048 tokens; read ")
    assert "; its n-gram processor answers; it has a context of 2048 tokens" in finding.found


def test_connections_to_a_server_that_break_at_any_byte_cost_no_page(
    servers: tuple[Serving, Serving], profile: Profile, tmp_path: Path
) -> None:
    first, second = servers
    proxy = CuttingProxy(first.endpoint, generator("cuts"), longest=(60_000, 400))
    house, count = House(tmp_path), 0
    configure(house, profile, proxy.endpoint, second.endpoint, timeout="20s")
    try:
        daemon = house.start()
        wait_for(lambda: house.events("ready"), 300)
        proxy.cuts = True
        while not proxy.done.keys() >= {*HOWS}:
            assert count < 100, proxy.done
            for _ in range(4):
                house.drop(f"{count}.pdf", 2, size=SMALL)
                count += 1
            wait_for(lambda count=count: len(house.files("archive")) == count, 300)
        check(house, [f"{number}.pdf" for number in range(count)])
        assert stop(daemon, 60) == 0
        print(dict(proxy.done), f"{count} documents")
    finally:
        house.close()
        proxy.close()


def test_one_server_is_stopped_and_the_other_killed_and_each_page_is_delivered_once(
    servers: tuple[Serving, Serving], profile: Profile, tmp_path: Path
) -> None:
    house = House(tmp_path)
    configure(house, profile, *(one.endpoint for one in servers))
    first, second = servers
    try:
        daemon = house.start()
        wait_for(lambda: house.events("ready"), 300)
        names = [f"{number}.pdf" for number in range(14)]
        for name in names[:8]:
            house.drop(name, 2, size=SMALL)
        wait_for(lambda: house.files("outbox"), 300)
        second.signal(signal.SIGSTOP)
        for name in names[8:10]:  # so that it is asked for pages, also if it has read all of the others
            house.drop(name, 2, size=SMALL)
        wait_for(lambda: len(house.files("outbox")) == 10, 300)
        assert up(house) == [True, False]

        second.signal(signal.SIGCONT)
        wait_for(lambda: up(house) == [True, True], 300)
        first.signal(signal.SIGSTOP)  # so that it has pages when it is killed, and not just answered
        for name in names[10:]:
            house.drop(name, 2, size=SMALL)
        wait_for(lambda: status(house)["engine"]["servers"][0]["pages"], 300)
        first.signal(signal.SIGKILL)
        wait_for(lambda: len(house.files("archive")) == 14, 300)
        check(house, names)
        assert stop(daemon, 60) == 0
    finally:
        house.close()


def configure(house: House, profile: Profile, *endpoints: str, **settings: object) -> None:
    path = house.root / "short.yaml"
    path.write_text(yaml.safe_dump(profile.model_dump(mode="json", exclude={"name"})))
    openai = {"endpoints": list(endpoints), "concurrency": 2, **settings}
    house.configure(
        engine={"kind": "openai", "profile": str(path), "openai": openai},
        watch={"pages": {"text_layer": "ignore", "second_readings": []}},
    )


def check(house: House, names: list[str]) -> None:
    """Assert that each of these documents was delivered once, with both of its pages."""
    assert house.files("error") == []
    assert house.files("outbox") == sorted(f"{Path(name).stem}.md" for name in names)
    for name in names:
        text = house.path(f"outbox/{Path(name).stem}.md").read_text()
        assert [text.count(f"<!-- page {number} -->") for number in (1, 2)] == [1, 1]
        assert "unreadable" not in text


def status(house: House) -> dict[str, Any]:
    told = subprocess.run(
        [OCRD, "status", "--json", "-c", house.root / "ocrd.yaml"],
        capture_output=True,
        check=False,
        env={"XDG_RUNTIME_DIR": str(house.root / "run"), **os.environ},  # as the daemon has it
    )
    read: dict[str, Any] = json.loads(told.stdout)
    return read


def up(house: House) -> list[bool]:
    return [one["up"] for one in status(house)["engine"]["servers"]]
