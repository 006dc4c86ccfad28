"""Fetches the model from Hugging Face before an engine starts, since this way it can be told how far that is."""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ocrd import display
from ocrd.config.profile import Profile
from ocrd.engines import hub_messages, model_files
from ocrd.engines.base import Finding
from ocrd.errors import EngineError, OcrdError

log = logging.getLogger(__name__)

LEFT_OUT = ("*.bin", "*.pt", "*.pth", "*.gguf", "*.onnx", "*.png", "*.jpg", "*.pdf")
"""What comes with some models beside the weights as safetensors, and nobody reads."""

EVERY = 1.0
"""Seconds between two looks at how much is there."""
LOG_EVERY = 15.0
"""Seconds between two lines in the log."""


def missing(model: str, revision: str | None) -> dict[str, int]:
    """Return the files of the model that are not on this machine yet, with their sizes in bytes.

    Nothing is missing of a local folder, nor of what can't be asked about: then the engine's message tells the fault.
    """
    if model_files.is_folder(model):
        return {}
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import filter_repo_objects

    hub_messages.in_our_words()
    try:
        listing = HfApi().model_info(model, revision=revision, files_metadata=True, timeout=20)
    except (OSError, ValueError, HfHubHTTPError, OfflineModeIsEnabled) as error:
        log.debug("the files of %s can't be listed: %s", model, error)
        return {}
    except Exception as error:  # noqa: BLE001 - the kinds of a failed connection differ between its versions
        log.debug("the files of %s can't be listed: %r", model, error)
        return {}
    sizes = {file.rfilename: file.size or 0 for file in listing.siblings or ()}
    wanted = filter_repo_objects(sizes, ignore_patterns=list(LEFT_OUT))
    return {
        name: sizes[name]
        for name in wanted
        if not isinstance(try_to_load_from_cache(model, name, revision=listing.sha), str)
    }


def licence(model: str, profile: Profile) -> Finding:
    """Say the licence of a model, as far as the profile knows it, and what a restricted one forbids."""
    if model not in (profile.model, profile.native_model):
        return Finding(f"licence of {model}", f"not known to the profile {profile.name}; its maker says it")
    restriction = f". RESTRICTED: {profile.restriction}" if profile.restriction else ""
    return Finding(f"licence of {model}", profile.licence + restriction)


def presence(model: str, revision: str | None, profile: Profile, kind: str) -> Finding:
    """Look whether the model of an engine of this kind is there and fits the profile, or can be fetched."""
    return Finding(f"model {model}", _presence(model, revision, profile, kind))


def _presence(model: str, revision: str | None, profile: Profile, kind: str) -> str | OcrdError:
    try:
        model_files.locate(model, revision, kind)
        model_files.check_architecture(model, revision, profile, kind)
        lacking = missing(model, revision)
        free = shutil.disk_usage(nearest_folder()).free
    except OcrdError as error:
        return error
    if not lacking:
        return "is there"
    size = sum(lacking.values())
    if free < size:
        return no_room(model, size, free)
    return f"is fetched at the start: {size / 1e9:.1f} GB, and {free / 1e9:.0f} GB are free"


async def fetch(model: str, revision: str | None, tell: Callable[[str], None]) -> None:
    """Bring what is missing of the model onto this machine. Raises EngineError where it has no room or breaks off."""
    lacking = await asyncio.to_thread(missing, model, revision)
    if not lacking:
        return
    size = sum(lacking.values())
    folder = nearest_folder()
    free = shutil.disk_usage(folder).free
    if free < size:
        raise no_room(model, size, free)
    log.info("fetching the model %s, %.1f GB, to %s", model, size / 1e9, folder)
    with ThreadPoolExecutor(1, "fetch") as thread:
        work = asyncio.get_running_loop().run_in_executor(thread, _download, model, revision)
        try:
            await _tell(model, size, work, tell)
            await work
        finally:
            tell("")


async def _tell(model: str, size: int, work: "asyncio.Future[Any]", tell: Callable[[str], None]) -> None:
    """Tell how much is there, how fast it comes and how long it takes, until the work is done."""
    began = logged = time.monotonic()
    before = _held(model)
    while not (await asyncio.wait([work], timeout=EVERY))[0]:
        now = time.monotonic()
        text = fetched(_held(model) - before, size, now - began)
        tell(text)
        if now - logged >= LOG_EVERY:
            logged = now
            log.info("%s", text)


def fetched(done: int, size: int, seconds: float) -> str:
    """Say how far the fetching is; sizes in bytes."""
    speed = done / seconds if seconds else 0.0
    left = f", {display.duration((size - done) / speed)} left" if speed > 0 and done < size else ""
    return f"fetching the model: {done / 1e9:.1f} of {size / 1e9:.1f} GB, {speed / 1e6:.0f} MB/s{left}"


def _download(model: str, revision: str | None) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    try:
        snapshot_download(model, revision=revision, ignore_patterns=list(LEFT_OUT))
    except Exception as error:
        raise EngineError(
            f"The model {model} could not be fetched whole: {model_files.cause(error)}.",
            "ocrd goes on with it at its next start; see to the network and the disk.",
        ) from error


def no_room(model: str, size: int, free: int) -> EngineError:
    """Return what to say where the disk is too full for the model."""
    return EngineError(
        f"The model {model} takes {size / 1e9:.1f} GB, and {nearest_folder()} has {free / 1e9:.1f} GB free.",
        "Make room, or set HF_HOME to a folder on a larger disk.",
    )


def nearest_folder() -> Path:
    """Return the folder that models are kept in, or the nearest one above it that is there."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    return folder


def _held(model: str) -> int:
    """Return the bytes of the model that are here, those of files in the making included."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    blobs = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=model, repo_type="model"), "blobs")
    held = 0
    for file in blobs.glob("*"):
        try:
            held += file.stat().st_blocks * 512  # a file in the making may have its full length already
        except FileNotFoundError:
            continue
    return held
