"""The resident engine: DeepSeek-OCR in vLLM's `AsyncLLM`, its caches off, built once and kept.

Importing this module is cheap: vLLM comes in when an engine is started, through `vllm_setup.py`. `vllm_inputs.py` is
the way of a page into it, and `vllm_inside.py` is what runs within vLLM's own processes. `residence.py` brings a dead
engine back and finds the page that killed it, `deepseek.py` knows what the model sees of a page, `tether.py` ties the
engine's process to this one.

Works with vLLM 0.24 to 0.33. Names of vLLM's source files are those of 0.32.
"""

import asyncio
import functools
import gc
import itertools
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ocrd.config.vllm import VllmSettings
from ocrd.engines.base import Engine, EngineInfo
from ocrd.engines.probe_page import TEST_TEXT, test_page
from ocrd.engines.vllm import deepseek, process_guard, setup
from ocrd.engines.vllm.core_supervisor import CoreDied, CoreSupervisor, Rest
from ocrd.engines.vllm.gpu_memory import Card
from ocrd.engines.vllm.inputs import Inputs
from ocrd.engines.vllm.launch_mode import USUAL, LaunchMode
from ocrd.errors import DocumentError, EngineError, PageError
from ocrd.model import DEFAULT_APPROACH, Approach, EngineState, PageImage, PageSizer, PixelSize, Reading, Rung

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

TEST_PAGE_SIZE = PixelSize(640, 454)
"""One tile, read in a moment."""

WARM = Approach(temperature=0.3, ngram_size=20, window_size=400)
"""A loop that greedy decoding falls into has likely ways out: let it take one, and forbid longer loops."""

TEST_TOKENS = 64
"""Enough for the text of the test page, and few for a model that doesn't stop."""

CLOSE_SECONDS = 5
"""How long EngineCore may take to end itself before it is killed."""

Result = TypeVar("Result")


def physical_memory() -> int:
    """Return the machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Builder(Protocol):
    """Does blocking work in the one thread that may start engines."""

    async def __call__(self, work: Callable[[], Result]) -> Result: ...


class VllmEngine(Engine):
    """Reads pages with DeepSeek-OCR on this machine's GPU. See `ocrd.engines.base.Engine`."""

    def __init__(self, settings: VllmSettings, folder: Path | None = None) -> None:
        """Take the settings, and where daemons keep the records of their engines (default: `tether.default_folder`)."""
        self._settings = settings
        self._home = process_guard.Home(folder or process_guard.default_folder())
        self._card = Card(self._home.processes)
        self._info: EngineInfo | None = None
        self._residence: CoreSupervisor | None = None
        self._views: deepseek.Views | None = None
        self.phases: dict[str, float] = {}
        """How long each phase of the engine's last start took, seconds."""
        self._mode = USUAL
        # One thread starts every engine and stays: the kernel kills an engine when the thread that started it ends.
        self._builder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vllm-builder")

    @property
    def info(self) -> EngineInfo:
        """Valid once started."""
        if self._info is None:
            raise RuntimeError("the engine is not started")
        return self._info

    @property
    def window(self) -> int:
        """As many pages as decode at once, and a few more that are being made ready."""
        return self._settings.max_num_seqs + 2 * self._settings.renderer_num_workers

    @property
    def page_size(self) -> PageSizer:
        """Exactly the pixels that the model sees."""
        return functools.partial(deepseek.page_size, tile=self._settings.tile)

    @property
    def prepare(self) -> deepseek.Views | None:
        """The model's views, where the engine takes them."""
        return self._views

    @property
    def rungs(self) -> dict[Rung, Approach]:
        """Every way; the other prompt only where it is another one."""
        rungs = {Rung.WARM: WARM, Rung.HALVES: DEFAULT_APPROACH}
        if self._settings.other_prompt != self._settings.prompt:
            rungs[Rung.PROMPT] = Approach(prompt=self._settings.other_prompt)
        return rungs

    @property
    def state(self) -> EngineState:
        """How it is."""
        if self._residence is None:
            return EngineState("loading")
        memory = self._card.memory
        card = (memory.engine, memory.used, memory.total) if memory else ()
        return EngineState(self._residence.doing, self._residence.restarts, *card)

    async def start(self) -> None:
        """Build the engine and let it read a test page; 30 seconds to some minutes."""
        version = setup.check_version()
        self._home.open()
        self._card.watch()
        setup.set_environment(self._settings, self._home)
        model = await self._in_builder(lambda: setup.locate(self._settings.model, self._settings.revision))
        self._info = EngineInfo("vllm", model, version, setup.fingerprint(self._settings, model, version))
        rest = Rest(self._settings.idle.after, self._settings.idle.do)
        limit = self._settings.recycle_at or physical_memory() // 2
        self._residence = CoreSupervisor(
            self._build, self._settings.hang_after, rest, worn=lambda: self._home.memory() > limit
        )
        await self._residence.start()

    async def read(self, page: PageImage, *, priority: int = 0, approach: Approach = DEFAULT_APPROACH) -> Reading:
        """Read one page; see `Engine.read`."""
        if self._residence is None:
            raise RuntimeError("the engine is not started")
        return await self._residence.read(page, priority, approach)

    def accept(self, approach: Approach) -> None:
        """Raise DocumentError for languages: the model finds out by itself what it reads."""
        if approach.languages:
            raise DocumentError(
                f"The model reads every language by itself, and can't be told {', '.join(approach.languages)}.",
                "Take `languages` out of the scan's settings.",
            )

    async def close(self) -> None:
        """Stop and free everything."""
        self._card.close()
        if self._residence:
            await self._residence.close()
        self._builder.shutdown(wait=False)
        self._home.close()

    async def _in_builder(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._builder, work)

    async def _build(self) -> "VllmCore":
        """Build an engine, prove its settings and let it read the test page; where that fails, in a slower way."""
        while True:
            try:
                return await self._build_in(self._mode)
            except setup.StartError as error:
                slower = self._mode.slower(f"{error}\n{self._home.messages()}")
                if slower is None and self._mode == USUAL:
                    raise
                if slower is None:
                    raise setup.no_way_left(self.info.version, self._mode, error) from error
                log.warning("the engine did not start, and is started %s, which is slower: %s", slower, error)
                self._mode = slower

    async def _build_in(self, mode: LaunchMode) -> "VllmCore":
        began = time.monotonic()
        version = self.info.version
        try:
            llm = await self._in_builder(lambda: setup.construct(self._settings, self._home, version, mode))
        except asyncio.CancelledError:
            self._home.kill()  # so that the builder's thread gives up too
            raise
        built = time.monotonic()
        core = VllmCore(llm, self._settings, self._home, self._in_builder)
        try:
            facts = await core.prove()
        except BaseException:
            await core.close()
            raise
        slower = () if mode == USUAL else (f"started {mode}, which is slower",)
        self._info = replace(self.info, facts=facts + slower)
        self.phases = _durations([("imports", began), *self._home.phases(), ("proof", built), ("", time.monotonic())])
        if self._views and not core.views:  # pages are on their way that it can't take
            await core.close()
            raise EngineError(
                "The engine was built anew, and no longer takes the model's views from the render workers.",
                "See the messages above; engine.vllm.views can be set to vllm.",
            )
        self._views = core.views
        spent = ", ".join(f"{phase} {seconds:.0f}" for phase, seconds in self.phases.items())
        log.info("the engine is ready after %.0f seconds (%s): %s", time.monotonic() - began, spent, self.info.model)
        return core


class VllmCore:
    """One life of vLLM. See `residence.Core`."""

    def __init__(self, llm: Any, settings: VllmSettings, home: process_guard.Home, in_builder: Builder) -> None:  # noqa: ANN401
        """Take a running `AsyncLLM`."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._llm = llm
        self._home = home
        self._in_builder = in_builder
        self._loop = asyncio.get_running_loop()
        self._killed = False
        self._names = itertools.count()
        self._tokenizer = llm.get_tokenizer()
        self._bos = self._tokenizer.bos_token_id
        self._settings = settings
        self._inputs = Inputs(llm, settings.tile)
        self._sampling = functools.partial(
            SamplingParams,
            temperature=settings.temperature,
            skip_special_tokens=False,  # <td>, <|ref|> and <|det|> are the markup
            output_kind=RequestOutputKind.CUMULATIVE,
        )
        self._pooled = hasattr(llm.input_processor, "process_inputs_async")
        self.last_sign = self._loop.time()
        self.views: deepseek.Views | None = None
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
        if self._settings.views == "workers":
            facts += (await self._agree(),)
        (graphs, *_) = await self._llm.collective_rpc("ocrd_check_graphs")
        facts += (graphs,)
        page = test_page(lambda *_: TEST_PAGE_SIZE)
        try:
            output = await self._generate(page, 0, self._params(DEFAULT_APPROACH, TEST_TOKENS))
        except (CoreDied, PageError) as error:
            raise setup.StartError(
                f"The engine started, but could not read its test page: {error}",
                "See the engine's messages above for the cause.",
            ) from error
        if output.prompt_token_ids[0] != self._bos:
            raise EngineError(
                f"The prompt reaches the model with token {output.prompt_token_ids[0]} first, not BOS ({self._bos}).",
                "Install a version of vLLM that ocrd was tested with, and report this.",
            )
        text = output.outputs[0].text
        if TEST_TEXT in text:
            return (*facts, f"read its test page: {TEST_TEXT}")
        log.warning("the engine read its test page, %r, as %r", TEST_TEXT, text)
        return (*facts, f"did not read its test page ({TEST_TEXT}), but: {text[:80]!r}")

    async def _agree(self) -> str:
        """Take views from the render workers from now on, if they are the same as upstream's. Returns it in words."""
        tile, prompt = self._settings.tile, self._tokens(self._settings.prompt)
        try:
            (table, *_) = await self._llm.collective_rpc("ocrd_take_levels")
            for sheet in (test_page(lambda *_: TEST_PAGE_SIZE), test_page(lambda *_: PixelSize(2 * tile, 3 * tile))):
                if differs := await self._inputs.agree(prompt, _with_all_levels(_image(sheet)), table):
                    break
        except Exception as error:  # noqa: BLE001 - vLLM's inside may be anything in another version
            differs = setup.cause(error)
        if not differs:
            self.views = deepseek.Views(tile)
            return "views made by the render workers, the same as vLLM's"
        log.warning("vLLM makes the model's views itself, which is slower, since ours differ: %s", differs)
        return f"views made by vLLM, since ours differ: {differs}"

    async def read(self, page: PageImage, priority: int, approach: Approach) -> Reading:
        """Read one page."""
        began = self._loop.time()
        output = (await self._generate(page, priority, self._params(approach), approach.prompt)).outputs[0]
        if output.finish_reason == "abort":  # not by us: a cancelled call doesn't come this far
            raise CoreDied("vLLM gave the page up")
        if output.finish_reason == "error":
            raise PageError(
                f"vLLM failed on page {page.index + 1} after {len(output.token_ids)} tokens.",
                "See the engine's messages in the log, and try this document again.",
            )
        seconds = self._loop.time() - began
        return Reading(page.index, output.text, str(output.finish_reason), len(output.token_ids), seconds)

    def _params(self, approach: Approach, max_tokens: int | None = None) -> Any:  # noqa: ANN401 - vLLM's type
        """Make the sampling parameters: the settings', but for what the approach wants otherwise."""
        settings = self._settings
        return self._sampling(
            max_tokens=_or(max_tokens, settings.max_tokens),
            temperature=_or(approach.temperature, settings.temperature),
            extra_args={
                "ngram_size": _or(approach.ngram_size, settings.ngram_size),
                "window_size": _or(approach.window_size, settings.window_size),
                "whitelist_token_ids": list(settings.whitelist_token_ids),
            },
        )

    def _tokens(self, prompt: str) -> tuple[int, ...]:
        """Put BOS first by hand: tokenizers of transformers 5 no longer do it by themselves."""
        return (self._bos, *self._tokenizer.encode(prompt, add_special_tokens=False))

    async def _generate(
        self,
        page: PageImage,
        priority: int,
        params: Any,  # noqa: ANN401 - vLLM's types
        asked: str | None = None,
    ) -> Any:  # noqa: ANN401 - as above
        """Run one request to its end and return the last `RequestOutput`. Raises CoreDied and PageError."""
        output = None
        try:
            given = await self._input(page, self._tokens(asked or self._settings.prompt))
            async for report in self._llm.generate(given, params, f"page-{next(self._names)}", priority=priority):
                page.free()  # the first report shows that EngineCore has the image
                output, self.last_sign = report, self._loop.time()
        except PageError:
            raise
        except Exception as error:
            # A dead engine shows in many ways (EngineDeadError, a closed socket or thread pool): ask it.
            if not self.alive:
                raise CoreDied(str(error)) from error
            raise PageError(
                f"vLLM refused the page image of {page.size.width} x {page.size.height} pixels: {setup.cause(error)}.",
                "Scan the page again, or try another engine for this document.",
            ) from error
        if output is None:
            raise CoreDied("vLLM ended the request without an answer")
        return output

    async def _input(self, page: PageImage, prompt: tuple[int, ...]) -> Any:  # noqa: ANN401 - one of vLLM's many kinds of prompt
        views = page.prepared
        if views is None and self.views is not None:
            views = await asyncio.to_thread(_views, _image(page), self.views)
        if views is not None:
            return await self._inputs.of_views(prompt, page.size.width, page.size.height, views)
        image = await asyncio.to_thread(lambda: deepseek.survivable(_image(page), tile=self._settings.tile))
        if self._pooled:  # 0.24 makes tensors of a raw prompt on the event loop, newer ones in the renderer's threads
            return {"prompt_token_ids": list(prompt), "multi_modal_data": {"image": image}}
        return await self._inputs.upstream(prompt, image)

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
            raise CoreDied(setup.cause(error)) from error

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
        self._home.kill()


def _durations(begins: list[tuple[str, float]]) -> dict[str, float]:
    """Return the seconds from each phase's beginning to the next one's."""
    return {phase: end - begin for (phase, begin), (_, end) in itertools.pairwise(begins)}


def _or(wanted: Result | None, default: Result) -> Result:
    return default if wanted is None else wanted


def _image(page: PageImage) -> "Image":
    from PIL import Image

    return Image.frombytes("RGB", (page.size.width, page.size.height), page.pixels)


def _views(image: "Image", make: deepseek.Views) -> memoryview:
    memory = memoryview(bytearray(make.room))
    return memory[: make(image, memory)]


def _with_all_levels(image: "Image") -> "Image":
    """Put every level of grey into a corner of an image."""
    from PIL import Image

    image.paste(Image.linear_gradient("L").resize((256, 64)), (0, 0))
    return image
