"""The files of a model, on this machine or on Hugging Face: where they are, and of which class it is.

`kind` is always the engine's, whose setting a message names.
"""

import hashlib
import json
from pathlib import Path

from ocrd.config import profile as profiles
from ocrd.config.profile import Profile
from ocrd.config.resolving import shipped
from ocrd.engines import hub_messages
from ocrd.errors import ConfigError, EngineError


def locate(model: str, revision: str | None, kind: str) -> str:
    """Return the model's name with what tells its exact state: the commit, or for a folder a digest of its listing.

    Raises ConfigError for a model that isn't there, EngineError where the network may bring it later.
    """
    config = config_file(model, revision, kind)
    # A snapshot's folder is named for its commit.
    return f"{model}@{_folder_state(config.parent) if is_folder(model) else config.parent.name[:12]}"


def check_architecture(model: str, revision: str | None, profile: Profile, kind: str) -> None:
    """Refuse a model of another class than the profile is for. Raises ConfigError, and as `locate`."""
    file = config_file(model, revision, kind)
    try:
        found = [str(one) for one in json.loads(file.read_bytes()).get("architectures") or ()]
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"The model's {file} is not what it should be: {error}.", "Fetch the model again.") from error
    if not profile.architectures or set(found) & {*profile.architectures, profile.native_class}:
        return
    fitting = [name for name in profiles.names() if set(shipped(name).architectures) & set(found)]
    hint = f"{' or '.join(fitting)}, or to " if fitting else ""
    raise ConfigError(
        f"The model {model} is a {', '.join(found) or 'model without a class'}, and the profile "
        f"{profile.name} is for {' or '.join(profile.architectures)}.",
        f"Set engine.profile to {hint}a file of your own.",
    )


def is_folder(model: str) -> bool:
    """Whether a model is a local folder, and no name on Hugging Face."""
    return Path(model).expanduser().is_dir() or model.startswith(("/", ".", "~"))


def config_file(model: str, revision: str | None, kind: str) -> Path:
    """Return the model's config.json, fetched where it isn't there. Raises ConfigError or EngineError."""
    if is_folder(model):
        folder = Path(model).expanduser()
        if (folder / "config.json").is_file():
            return folder / "config.json"
        raise ConfigError(
            f"The model folder {folder} holds no config.json.",
            f"Set engine.{kind}.model to the folder that `hf download` printed, or to a name on Hugging Face.",
        )
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    hub_messages.in_our_words()
    fetch = f"Fetch it where there is a network (`hf download {model}`), or set engine.{kind}.model to a local folder."
    try:
        return Path(hf_hub_download(model, "config.json", revision=revision))
    except LocalEntryNotFoundError as error:
        if constants.HF_HUB_OFFLINE:
            what = f"The model {model} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it."
            raise ConfigError(what, fetch) from error
        what = f"The model {model} is not on this machine, and can't be fetched now: {cause(error)}."
        raise EngineError(what, fetch) from error
    except (HfHubHTTPError, ValueError) as error:
        raise ConfigError(f"The model {model} can't be fetched: {cause(error)}.", fetch) from error


def _folder_state(folder: Path) -> str:
    listing = sorted((path.name, path.stat().st_size) for path in folder.iterdir())
    return hashlib.sha256(json.dumps(listing).encode() + (folder / "config.json").read_bytes()).hexdigest()[:12]


def cause(error: BaseException) -> str:
    """Return the innermost cause on one line; vLLM wraps what happened in errors that only say that it did."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()).partition(" For more information check: ")[0]  # where httpx explains HTTP
    return f"{type(error).__name__}: {text}".rstrip(".: ")
