"""Finds out whether a server is one that reads: by its list of models, its n-gram processor, and the test page."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from ocrd.config.profile import Profile
from ocrd.engines.openai import answers, page_png, requests
from ocrd.engines.openai.answers import Answer
from ocrd.engines.openai.faults import Lost, Misconfigured, Overloaded, Refusal, RefusesAll, ServerFault
from ocrd.engines.openai.requests import Kind, Model
from ocrd.engines.probe_page import TEST_TEXT, test_page
from ocrd.markup import dialects, layout_blocks
from ocrd.model import DEFAULT_APPROACH, Approach, PageSizer, PixelSize

TEST_TOKENS = 64
"""Enough for the text of the test page, and few for a model that doesn't stop."""
LIST_SECONDS = 15.0
"""That a server may take for its list of models, which costs it nothing."""
_NEVER, _SOME = Approach(ngram_size=-1), Approach(ngram_size=30)
"""What no n-gram processor takes, neither ocrd's nor vLLM's, and what each does; without one nobody looks at it."""
_NO_BANS = "it has no n-gram processor, and the model may repeat itself without end (docs/scaling.md)"
_NOT_VLLM = "it is not vLLM, which alone is asked to keep the model from repeating itself (docs/scaling.md)"


class Asked(Protocol):
    """What is asked of a server; see `client.Client`."""

    async def models(self) -> bytes: ...
    async def version(self) -> bytes: ...
    async def chat(self, pieces: Iterator[bytes], length: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Proof:
    """What a server has shown of itself."""

    model: Model
    version: str
    """Of vLLM; empty for another server."""
    bans: bool | None
    """Whether its n-gram processor answers; None where nobody knows."""
    said: str
    """What it read on the test page."""
    seconds: float
    """That this took."""
    too_short: str = ""
    """How its context is less than the model's, as the end of a sentence; empty where it is not, or nobody knows."""

    @property
    def server(self) -> str:
        """What it is, in words."""
        match self.model.kind:
            case Kind.VLLM:
                return f"vLLM {self.version}".strip()
            case Kind.SGLANG:
                return "SGLang"
            case Kind.LLAMA:
                return "llama.cpp"
            case _:
                return "a server that is not vLLM"

    @property
    def lack(self) -> str:
        """What it has not, as the end of a sentence; empty where it has all that is known."""
        if self.model.is_vllm:
            return _NO_BANS if self.bans is False else ""
        return _NOT_VLLM

    def in_words(self) -> str:
        """Say all of it."""
        tokens = f", {self.model.longest} tokens" if self.model.longest else ""
        bans = "its n-gram processor answers" if self.bans else self.lack
        read = f"read {self.said[:60]!r} for {TEST_TEXT!r} in {self.seconds:.1f} s"
        first = f"{self.server}, model {self.model.name}{tokens}"
        return "; ".join(filter(None, (first, read, bans, self.too_short)))


@dataclass(frozen=True, slots=True)
class Prover:
    """Asks servers that are to run one model."""

    profile: Profile
    sizer: PageSizer
    wanted: str
    """The model as the servers call it; empty: the only one that each lists."""
    timeout: float
    """Seconds for the test page."""

    async def prove(self, client: Asked, at_least: int = 0) -> Proof:
        """Find out what a server is, and let it read the test page. Raises ServerFault where it can't.

        The request with that has `at_least` so many bytes, as one that a proxy would not let through.
        """
        model, bans = await self.model(client), None
        version = answers.version(await _soon(client.version())) if model.is_vllm else ""
        page = await asyncio.to_thread(test_page, lambda *_: self.sizer(595, 842))  # A4, as most that will come
        png = await asyncio.to_thread(page_png.of_page, page, self.profile.image)
        async with self._test():
            if model.is_vllm:
                bans = await self._bans(client, model, page.size, png)
            said, seconds = await self._reads(client, model, page.size, png, at_least)
        if model.kind is Kind.OTHER:
            model, bans = await self._recognised(client, model, page.size, png)
            if model.is_vllm:
                async with self._test():
                    said, seconds = await self._reads(client, model, page.size, png)
        text, _ = dialects.normalise(said.text, self.profile.dialect, page.size)
        words = " ".join(block.text.strip() for block in layout_blocks.parse(text))
        return Proof(model, version, bans, words, seconds, self._too_short(model))

    def _too_short(self, model: Model) -> str:
        longest, wanted = model.longest, self.profile.max_model_len
        if longest is None or longest >= wanted:
            return ""
        return f"it has a context of {longest} tokens, and long pages, which can take {wanted}, are cut off or refused"

    async def model(self, client: Asked) -> Model:
        """Ask for the list of models, and find the one that is wanted."""
        try:
            known = answers.models(await _soon(client.models()))
        except Refusal as error:
            raise ServerFault(f"it refuses to list its models: {error}") from error
        except ValueError as error:
            raise Misconfigured(
                f"It is no server of OpenAI's protocol: asked for its models, it answered {error}.",
                "Mend engine.openai.endpoints: an address ends in /v1, as a rule.",
            ) from error
        if self.wanted and not known:  # some servers list only what they have fetched; the test page proves the rest
            return Model(self.wanted)
        names = [one.name for one in known]
        listed = ", ".join(names[:10]) or "none"
        if self.wanted and self.wanted not in names:
            raise Misconfigured(
                f"It has no model {self.wanted}; it lists {listed}.",
                "Set engine.openai.model to one of these, or leave it empty where there is one.",
            )
        if not self.wanted and len(names) != 1:
            raise Misconfigured(f"It lists {listed}.", "Set engine.openai.model to the one that is to read.")
        return next(one for one in known if one.name == (self.wanted or names[0]))

    @asynccontextmanager
    async def _test(self) -> AsyncIterator[None]:
        """Give a server its time for the test page, and say so where it refuses that."""
        try:
            async with asyncio.timeout(self.timeout):
                yield
        except TimeoutError:
            raise ServerFault(f"it did not read the test page within {self.timeout:g} s") from None
        except Refusal as error:
            raise RefusesAll(f"it refuses the test page: {error}") from error

    async def _reads(
        self, client: Asked, model: Model, size: PixelSize, png: bytes, at_least: int = 0
    ) -> tuple[Answer, float]:
        """Let it read the test page; returns what it said, and in how many seconds."""
        began = time.monotonic()
        body = requests.body(model, self.profile, size, DEFAULT_APPROACH, TEST_TOKENS)
        said = await _read(client, body, page_png.grown(png, -(-3 * (at_least - body.length(0)) // 4)))
        return said, time.monotonic() - began

    async def _bans(self, client: Asked, model: Model, size: PixelSize, png: bytes) -> bool:
        """Find out whether vLLM's n-gram processor is there: it refuses what it can't take, and nobody else does."""
        try:
            await _read(client, requests.body(model, self.profile, size, _NEVER, 1), png)
        except (Refusal, RefusesAll, ServerFault) as error:
            if not _is_of_processor(error):
                raise
            return True
        return False

    async def _recognised(self, client: Asked, model: Model, size: PixelSize, png: bytes) -> tuple[Model, bool | None]:
        """Find out whether a server that reads is a gateway to vLLM, which lists vLLM's models as its own.

        It is asked what only vLLM answers so: n-grams that its processor refuses, or, where a gateway keeps to itself
        what was refused, such as that takes; and its tokens. What it fails at shows nothing of it but that it has too
        much to do, which is raised: Overloaded.
        """
        as_vllm = replace(model, kind=Kind.VLLM)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.timeout):
                for approach in (_NEVER, _NEVER, _SOME):  # the first may meet a fault that is over soon
                    try:
                        said = await _read(client, requests.body(as_vllm, self.profile, size, approach, 1), png)
                    except Overloaded:
                        raise
                    except (Refusal, ServerFault) as error:
                        if _is_of_processor(error):
                            return as_vllm, True
                    else:
                        return (as_vllm, None if approach is _SOME else False) if said.of_vllm else (model, None)
        return model, None


def _is_of_processor(error: Exception) -> bool:
    """Whether an n-gram processor refused something, and not a server that knows no `vllm_xargs`."""
    return "ngram_size" in str(error) and "vllm_xargs" not in str(error)


async def _read(client: Asked, body: requests.Body, png: bytes) -> Answer:
    image = memoryview(png)
    return answers.answer(await client.chat(body.pieces(image), body.length(len(image))))


async def _soon(answer: Awaitable[bytes]) -> bytes:
    """Wait for an answer that costs a server nothing."""
    try:
        async with asyncio.timeout(LIST_SECONDS):
            return await answer
    except TimeoutError:
        raise Lost(f"it gives no sign of life for {LIST_SECONDS:g} s") from None
