"""The real engine: vLLM itself with the true DeepSeek-OCR architecture, tiny and with random weights. No mock."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from conftest import Running, noise, page, until

from ocrd.engines.core_supervisor import Rest
from ocrd.engines.vllm import deepseek, process_guard, setup
from ocrd.errors import PageError
from ocrd.model import Approach, PageImage, Reading

POISON = page(7, (1280, 640), half_black=True)
"""Two tiles that sum to zero: vLLM takes them for absent."""


async def read(running: Running, *pages: PageImage) -> list[Reading | BaseException]:
    return await asyncio.gather(*(running.engine.read(one) for one in pages), return_exceptions=True)


async def in_work(running: Running, pages: list[PageImage]) -> "list[asyncio.Task[Reading]]":
    """Give pages to the engine, and return once a token of them has come back."""
    before = asyncio.get_running_loop().time()
    tasks = [asyncio.create_task(running.engine.read(one)) for one in pages]
    await until(lambda: running.core.last_sign > before)
    return tasks


def test_the_running_engine_tells_its_settings(running: Running) -> None:
    facts = running.engine.info.facts
    assert facts[:3] == ("prefix cache off", "image cache off", "n-gram processor NGramProcessor")
    assert facts[3] == "views made by the render workers, the same as vLLM's"
    assert facts[4] == "vision towers launched step by step"  # graphs are a GPU's
    assert "test page" in facts[5]


def test_it_stays_resident_across_batches(running: Running) -> None:
    pid = running.pid
    for _ in range(2):
        readings = running.run(read(running, page(0), page(1, (640, 480)), page(2)))
        assert [reading.index for reading in readings] == [0, 1, 2]
        assert all(reading.tokens == 24 and reading.finish_reason == "length" for reading in readings)
    assert running.pid == pid


def test_bos_comes_first_and_the_ngram_processor_bans(running: Running) -> None:
    async def generate(size: int | None) -> tuple[list[int], list[int]]:
        extra = {"ngram_size": size, "window_size": 90, "whitelist_token_ids": []} if size else None
        params = running.core._sampling(max_tokens=40, extra_args=extra)
        answer = await running.core._generate(page(), 0, params)
        return list(answer.prompt), answer.tokens

    prompt, free = running.run(generate(None))
    _, banned = running.run(generate(3))
    assert prompt[0] == running.core._llm.get_tokenizer().bos_token_id
    assert len(prompt) == 1 + 273 + len("\nFree OCR.")
    triples = [tuple(banned[i : i + 3]) for i in range(len(banned) - 2)]
    assert len(triples) == len(set(triples))
    assert free != banned


def test_vllm_reports_on_a_page_now_and_then_and_nothing_of_the_text_is_lost(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = []
    generate = running.core._llm.generate

    async def heard(*given: Any, **options: Any) -> AsyncIterator[Any]:
        async for report in generate(*given, **options):
            reports.append(report)
            yield report

    monkeypatch.setattr(running.core._llm, "generate", heard)
    count = 3 * setup.SIGN_EVERY + 2
    params = running.core._sampling(max_tokens=count)
    answer = running.run(running.core._generate(page(), 0, params))
    assert len(reports) <= 5, "the first token, three times sixteen, the last; a busy task may get two in one"
    assert len(answer.tokens) == count
    assert all(not report.outputs[0].text for report in reports), "vLLM makes no text, which costs it most"
    assert answer.text == running.core._llm.get_tokenizer().decode(answer.tokens, skip_special_tokens=True)


def test_each_request_is_made_as_its_approach_says(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, tuple[list[int], float, dict[str, Any], list[int]]] = {}
    generate = running.core._llm.generate

    async def heard(given: Any, params: Any, name: str, **options: Any) -> AsyncIterator[Any]:
        async for report in generate(given, params, name, **options):
            tokens = asked[name][-1] if name in asked else []
            tokens.extend(report.outputs[0].token_ids)
            asked[name] = (report.prompt_token_ids, params.temperature, params.extra_args, tokens)
            yield report

    monkeypatch.setattr(running.core._llm, "generate", heard)
    other = Approach(prompt="<image>\nWhat else?", temperature=0.7, ngram_size=2, window_size=50)
    both = (running.engine.read(page(0)), running.engine.read(page(1), approach=other))

    async def at_once() -> list[Reading]:
        return await asyncio.gather(*both)

    running.run(at_once())
    # Whichever page was prepared sooner was asked for first: the requests are told apart by what they ask.
    (plain, cool, limits, _), (words, warm, others, tokens) = sorted(asked.values(), key=lambda request: request[1])
    assert (cool, limits["ngram_size"]) == (0.0, 3)
    assert (warm, others["ngram_size"], others["window_size"]) == (0.7, 2, 50)
    assert len(words) - len(plain) == len("What else?") - len("Free OCR.")
    pairs = list(itertools.pairwise(tokens))
    assert len(pairs) == len(set(pairs)), "the processor goes by each request's own sizes"


def test_a_lower_priority_goes_first(running: Running) -> None:
    order: list[int] = []

    async def one(index: int, priority: int) -> None:
        order.append((await running.engine.read(page(index), priority=priority)).index)

    async def waiting(count: int) -> None:
        await until(lambda: running.core._llm.output_processor.get_num_unfinished_requests() == count)

    async def all_of_them() -> None:
        os.killpg(running.pid, signal.SIGSTOP)  # so that nothing is read before all are there
        tasks = [asyncio.create_task(one(index, 5)) for index in range(6)]
        await waiting(6)
        tasks.append(asyncio.create_task(one(99, 0)))
        await waiting(7)
        os.killpg(running.pid, signal.SIGCONT)
        await asyncio.gather(*tasks)

    running.run(all_of_them())
    assert order.index(99) < 4  # two decode at once, so two or three were under way before it


def test_a_cancelled_page_is_taken_out_of_the_engine(running: Running) -> None:
    async def cancel() -> None:
        (task,) = await in_work(running, [page()])
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: running.core._llm.output_processor.get_num_unfinished_requests() == 0)

    running.run(cancel())
    assert running.run(running.engine.read(page(3))).index == 3


def test_a_half_black_page_is_read(running: Running) -> None:
    pid = running.pid
    assert running.run(running.engine.read(POISON)).tokens == 24
    assert running.pid == pid


@pytest.mark.parametrize("size", [(1280, 640), (300, 200)])
def test_a_page_reads_the_same_both_ways(running: Running, size: tuple[int, int]) -> None:
    image = noise(*size)
    memory = memoryview(bytearray(deepseek.Views().room))
    length = deepseek.Views()(image, memory)
    freed: list[int] = []
    ready = replace(page(0, size), pixels=b"", prepared=memory[:length], free=lambda: freed.append(1))
    ours = running.run(running.engine.read(ready))
    views, running.core.views = running.core.views, None
    try:
        theirs = running.run(running.engine.read(replace(page(0, size), pixels=image.tobytes())))
    finally:
        running.core.views = views
    assert views == deepseek.Views(640) == running.engine.prepare
    assert ours.text == theirs.text
    assert freed


def test_the_engine_leads_its_own_session(running: Running) -> None:
    assert os.getsid(running.pid) == running.pid != os.getsid(0)


def test_pages_outlive_the_engine_that_was_killed_under_them(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async def kill_under() -> list[Reading]:
        tasks = await in_work(running, [page(index) for index in range(8)])
        os.kill(running.pid, signal.SIGKILL)
        return await asyncio.gather(*tasks)

    before = running.pid
    assert [reading.index for reading in running.run(kill_under())] == list(range(8))
    assert running.pid != before
    assert "each of which is read again: it was killed, or ended by itself" in caplog.text


def test_an_engine_that_hangs_counts_as_dead(running: Running) -> None:
    async def stop_under() -> list[Reading]:
        tasks = await in_work(running, [page(index) for index in range(8)])
        running.residence.hang_after = 3.0
        running.residence._watching.cancel()
        running.residence._watching = asyncio.create_task(running.residence._watch(running.core))
        os.killpg(running.pid, signal.SIGSTOP)
        await until(lambda: not running.core.alive)
        running.residence.hang_after = 60.0
        return await asyncio.gather(*tasks)

    before = running.pid
    assert [reading.index for reading in running.run(stop_under())] == list(range(8))
    assert running.pid != before


def test_only_the_page_that_kills_the_engine_is_refused_and_the_log_says_what_ended_it(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deepseek, "survivable", lambda image, **_: image)
    *others, poison = running.run(read(running, page(0), page(1), page(2), POISON))
    assert [reading.index for reading in others] == [0, 1, 2]
    assert isinstance(poison, PageError)
    assert "Page 8" in poison.what
    deaths = [record.getMessage() for record in caplog.records if "died with" in record.getMessage()]
    assert all("each of which is read again: RuntimeError: " in death for death in deaths), deaths
    assert all("Attempted to assign 273 " in death and " placeholders" in death for death in deaths), deaths
    assert len(deaths) > 1


def test_an_idle_engine_is_unloaded_and_comes_back(running: Running) -> None:
    async def rest() -> None:
        running.residence.rest = Rest(0.1, "unload")
        await running.engine.read(page())
        await until(lambda: running.core is None and not running.residence._change.locked())
        assert process_guard.pid_in(running.engine.replicas[0].home.record) is None
        running.residence.rest = Rest(600, "keep")
        await running.engine.read(page())

    running.run(rest())
