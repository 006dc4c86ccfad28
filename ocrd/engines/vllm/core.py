"""One life of vLLM: an `AsyncLLM` that is proved at its start, reads pages, rests, and is killed or closed.

Names of vLLM's source files are those of 0.32.
"""

import asyncio
import functools
import gc
import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ocrd.config.resolving import ResolvedSettings
from ocrd.engines import model_files, prompts, vision_model
from ocrd.engines.core_supervisor import CoreDied
from ocrd.engines.probe_page import TEST_TEXT, test_page
from ocrd.engines.vllm import deepseek, image_size, ngram, process_guard, setup
from ocrd.engines.vllm.inputs import Inputs
from ocrd.errors import EngineError, PageError
from ocrd.markup import dialects
from ocrd.model import DEFAULT_APPROACH, Approach, PageImage, PagePreparer, PixelSize, Reading

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

TEST_PAGE_SIZE = 640, 454
"""Pixels: one tile, read in a moment."""

A4, SMALL = (595.0, 842.0), (150.0, 100.0)
"""Pages whose views are compared, points: many tokens and few."""

TEST_TOKENS = 64
"""Enough for the text of the test page, and few for a model that doesn't stop."""

PROMPTS = 64
"""Prompts whose tokens are kept: the settings' two, and those of companions."""

CLOSE_SECONDS = 5
"""How long EngineCore may take to end itself before it is killed."""

Result = TypeVar("Result")


class Builder(Protocol):
    """Does blocking work in the one thread that may start engines."""

    async def __call__(self, work: Callable[[], Result]) -> Result: ...


@dataclass(slots=True)
class Answer:
    """What the model has written so far."""

    prompt: Sequence[int]
    """The tokens that reached it."""
    text: str = ""
    tokens: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    """Why it ended, in vLLM's words; None: it has not."""


class VllmCore:
    """One life of vLLM. See `core_supervisor.Core`."""

    def __init__(self, llm: Any, settings: ResolvedSettings, home: process_guard.Home, in_builder: Builder) -> None:  # noqa: ANN401
        """Take a running `AsyncLLM`."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._llm = llm
        self._home = home
        self._in_builder = in_builder
        self._loop = asyncio.get_running_loop()
        self._killed = False
        self._names = itertools.count()
        self._settings = settings
        self._profile = settings.profile
        tokenizer = llm.get_tokenizer()
        self._tokens = functools.lru_cache(PROMPTS)(functools.partial(prompts.tokens, tokenizer, settings.profile))
        self._decoder = None if self._profile.stop else decoder(tokenizer)
        """Makes the text of a page at its end; None: vLLM does, token by token, and looks for strings to stop at."""
        self._inputs = Inputs(llm, settings.profile.image)
        self._sampling = functools.partial(
            SamplingParams,
            temperature=settings.temperature,
            top_p=self._profile.top_p,
            stop=list(self._profile.stop),
            output_kind=RequestOutputKind.DELTA,  # with the whole text, vLLM reports every token, whatever the interval
            detokenize=self._decoder is None,
        )
        self._pooled = hasattr(llm.input_processor, "process_inputs_async")
        self.last_sign = self._loop.time()
        self.views: PagePreparer | None = None
        """What makes a page into what this core takes; None: it takes RGB."""

    @property
    def alive(self) -> bool:
        """Whether it still takes pages."""
        return not (self._killed or self._llm.errored)

    async def prove(self) -> tuple[str, ...]:
        """Make sure that the running engine is set up as promised, and that it reads. Returns the facts of it.

        Raises EngineError, or ConfigError where a setting isn't what it must be.
        """
        (settings, *_) = await self._llm.collective_rpc("ocrd_settings")
        facts = setup.check_settings(settings)
        first = self._tokens(self._settings.prompt)[0]
        if self._profile.worker_views and self._settings.views == "workers":
            facts += (await self._agree(),)
        (graphs, *_) = await self._llm.collective_rpc("ocrd_check_graphs")
        facts += (graphs,)
        rule = self._profile.image
        size = image_size.fitted(*TEST_PAGE_SIZE, rule) if rule.scheme == "patches" else PixelSize(*TEST_PAGE_SIZE)
        page = test_page(lambda *_: size)
        try:
            answer = await self._generate(page, 0, self._params(DEFAULT_APPROACH, TEST_TOKENS))
        except (CoreDied, PageError) as error:
            raise setup.StartError(
                f"The engine started, but could not read its test page: {error}",
                "See the engine's messages above for the cause.",
            ) from error
        if answer.prompt[0] != first:
            raise EngineError(
                f"The prompt reaches the model with token {answer.prompt[0]} first, not {first}.",
                "Install a version of vLLM that ocrd was tested with, and report this.",
            )
        if TEST_TEXT in answer.text:
            return (*facts, f"read its test page: {TEST_TEXT}")
        log.warning("the engine read its test page, %r, as %r", TEST_TEXT, answer.text)
        return (*facts, f"did not read its test page ({TEST_TEXT}), but: {answer.text[:80]!r}")

    async def _agree(self) -> str:
        """Take views from the render workers from now on, if they are the same as upstream's. Returns it in words."""
        rule, prompt = self._profile.image, self._tokens(self._settings.prompt)
        try:
            table: list[float] = []
            if rule.scheme == "deepseek":
                (table, *_) = await self._llm.collective_rpc("ocrd_take_levels")
            for points in (A4, SMALL):
                sheet = test_page(lambda *_, points=points: vision_model.page_size(rule)(*points))
                if differs := await self._inputs.agree(prompt, _with_all_levels(_image(sheet)), table):
                    break
        except Exception as error:  # noqa: BLE001 - vLLM's inside may be anything in another version
            differs = model_files.cause(error)
        if not differs:
            self.views = self._inputs.scheme.views
            return "views made by the render workers, the same as vLLM's"
        log.warning("vLLM makes the model's views itself, which is slower, since ours differ: %s", differs)
        return f"views made by vLLM, since ours differ: {differs}"

    async def read(self, page: PageImage, priority: int, approach: Approach) -> Reading:
        """Read one page."""
        began = self._loop.time()
        params = self._params(approach)
        answer = await self._generate(page, priority, params, approach.prompt)
        tokens = len(answer.tokens)
        if answer.finish_reason == "abort":  # not by us: a cancelled call doesn't come this far
            raise CoreDied("vLLM gave the page up")
        if answer.finish_reason == "error":
            raise PageError(
                f"vLLM failed on page {page.index + 1} after {tokens} tokens.",
                "See the engine's messages in the log, and try this document again.",
            )
        seconds = self._loop.time() - began
        limits = ngram.limits(params)
        bans = ngram.bans(answer.tokens, limits) if limits else 0
        prompt = approach.prompt or self._settings.prompt
        text, missed = vision_model.normalised(answer.text, self._profile, prompt, page.size)
        return Reading(page.index, text, str(answer.finish_reason), tokens, seconds, bans=bans, missed_dialect=missed)

    def _dialect(self, approach: Approach) -> str:
        return vision_model.dialect(self._profile, approach.prompt or self._settings.prompt)

    def _params(self, approach: Approach, max_tokens: int | None = None) -> Any:  # noqa: ANN401 - vLLM's type
        """Make the sampling parameters: the settings', but for what the approach wants otherwise."""
        settings = self._settings
        bans = {
            "ngram_size": _or(approach.ngram_size, settings.ngram_size),
            "window_size": _or(approach.window_size, settings.window_size),
            "whitelist_token_ids": list(settings.whitelist_token_ids),
        }
        return self._sampling(
            max_tokens=_or(max_tokens, settings.max_tokens),
            temperature=_or(approach.temperature, settings.temperature),
            skip_special_tokens=not dialects.DIALECTS[self._dialect(approach)].special_tokens,
            extra_args={name: value for name, value in bans.items() if value is not None}
            if bans["ngram_size"]
            else None,
        )

    async def _generate(
        self,
        page: PageImage,
        priority: int,
        params: Any,  # noqa: ANN401 - vLLM's type
        asked: str | None = None,
    ) -> Answer:
        """Run one request to its end. Raises CoreDied and PageError."""
        answer = None
        try:
            given = await self._input(page, self._tokens(asked or self._settings.prompt))
            async for report in self._llm.generate(given, params, f"page-{next(self._names)}", priority=priority):
                page.free()  # the first report shows that EngineCore has the image
                self.last_sign = self._loop.time()
                answer = answer or Answer(report.prompt_token_ids)
                new = report.outputs[0]
                answer.text += new.text
                answer.tokens.extend(new.token_ids)
                answer.finish_reason = new.finish_reason
        except PageError:
            raise
        except Exception as error:
            # A dead engine shows in many ways (EngineDeadError, a closed socket or thread pool): ask it.
            if not self.alive:
                raise CoreDied(self._death) from error
            raise PageError(
                f"vLLM refused the page image of {page.size.width} x {page.size.height} pixels: "
                f"{model_files.cause(error)}.",
                "Scan the page again, or try another engine for this document.",
            ) from error
        if answer is None or answer.finish_reason is None:
            raise CoreDied("vLLM ended the request without an answer")
        if self._decoder is not None:
            answer.text = whole_text(self._decoder, answer, skip_special_tokens=params.skip_special_tokens)
        return answer

    @functools.cached_property
    def _death(self) -> str:
        """What it died of; to be asked of a dead one, by each of its pages."""
        return setup.why_it_died(self._home.messages()) or "it was killed, or ended by itself"

    async def _input(self, page: PageImage, prompt: tuple[int, ...]) -> Any:  # noqa: ANN401 - one of vLLM's many kinds of prompt
        views = page.prepared
        if views is None and self.views is not None:
            views = await asyncio.to_thread(_views, _image(page), self.views)
        if views is not None:
            given = await self._inputs.of_views(prompt, page.size.width, page.size.height, views)
            if self._inputs.scheme.copies:
                page.free()
            return given
        image = await asyncio.to_thread(self._whole, page)
        if self._pooled:  # 0.24 makes tensors of a raw prompt on the event loop, newer ones in the renderer's threads
            return {"prompt_token_ids": list(prompt), "multi_modal_data": {"image": image}}
        return await self._inputs.upstream(prompt, image)

    def _whole(self, page: PageImage) -> "Image":
        """Return the image for vLLM to process. Raises PageError for one that would end it."""
        image = _image(page)
        rule = self._profile.image
        return deepseek.survivable(image, tile=rule.tile) if rule.scheme == "deepseek" else image

    async def sleep(self) -> None:
        """Park the weights in the host's memory (`AsyncLLM.sleep`, level 1)."""
        await self._ask(self._llm.sleep(level=1))

    async def wake(self) -> None:
        """Take the card's memory back."""
        await self._ask(self._llm.wake_up())
        self.last_sign = self._loop.time()

    async def _ask(self, answer: Any) -> None:  # noqa: ANN401 - any coroutine of vLLM
        try:
            await answer
        except Exception as error:
            self.kill()
            raise CoreDied(model_files.cause(error)) from error

    def kill(self) -> None:
        """End EngineCore and its workers at once; vLLM's own watch then fails the pages in it."""
        self._killed = True
        self._home.kill()

    async def close(self) -> None:
        """Shut vLLM down, in the builder's thread since it blocks."""
        self._killed = True
        llm, self._llm = self._llm, None
        if llm is None:
            return

        def shut_down() -> None:
            nonlocal llm
            llm.shutdown(timeout=CLOSE_SECONDS)
            llm = None
            gc.collect()  # AsyncLLM is in reference cycles, and complains if it lasts until the interpreter ends

        try:
            await self._in_builder(shut_down)
        except Exception:
            log.exception("vLLM did not shut down cleanly")
        await self._home.end()


def decoder(tokenizer: Any) -> Any:  # noqa: ANN401 - of any library; returns a `tokenizers.Tokenizer`
    """Return what makes of all tokens at once the text that vLLM makes of one after the other; None where nothing does.

    Tokens of bytes are joined so. Others, such as SentencePiece's, lose more where a character is not ended.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend if type(getattr(backend, "decoder", None)).__name__ == "ByteLevel" else None


def whole_text(backend: Any, answer: Answer, *, skip_special_tokens: bool) -> str:  # noqa: ANN401 - a `tokenizers.Tokenizer`
    """Make the text of an answer's tokens, as vLLM does it of one after the other (v1/engine/detokenizer.py)."""
    end = -1 if answer.finish_reason == "stop" else None  # that the model ended is a token, too
    text: str = backend.decode(answer.tokens[:end], skip_special_tokens=skip_special_tokens)
    return text.rstrip("\ufffd")  # a character that was not ended, which vLLM keeps back, too


def _or(wanted: Result | None, default: Result) -> Result:
    return default if wanted is None else wanted


def _image(page: PageImage) -> "Image":
    from PIL import Image

    return Image.frombytes("RGB", (page.size.width, page.size.height), page.pixels)


def _views(image: "Image", make: PagePreparer) -> memoryview:
    memory = memoryview(bytearray(make.room))
    return memory[: make(image, memory)]


def _with_all_levels(image: "Image") -> "Image":
    """Put every level of grey into a corner of an image."""
    from PIL import Image

    image.paste(Image.linear_gradient("L").resize((256, 64)), (0, 0))
    return image
