"""What the transformers engine needs of this machine, found in moments: nothing here imports the library or torch."""

import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ocrd.config.profile import Profile
from ocrd.config.transformers import TransformersSettings
from ocrd.display import pip
from ocrd.engines import model_fetch, model_files
from ocrd.engines.base import Finding
from ocrd.errors import ConfigError, OcrdError

OLDEST, NEWEST = (5, 19), (5, 24)
"""The versions of transformers that this engine was run with."""
PACKAGES = ("transformers", "torch", "torchvision")


MOST = 8
"""Pages in a batch, unless the owner sets more."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What is to be loaded, and how."""

    model: str
    revision: str | None
    device: str
    """`auto`, `cpu` or `cuda:N`."""
    dtype: str
    """`auto`, or torch's name of it."""
    batch: int | None
    """Most pages read at once; None: as many as the memory seems to hold."""
    memory: float
    """Share of the memory, 0 to 1."""
    trust_remote_code: bool
    profile: Profile


def orders(settings: TransformersSettings, profile: Profile) -> Orders:
    """Say what is to be loaded: what the owner set wins over the profile. Raises ConfigError for what can't be."""
    model = settings.model or profile.native_model or profile.model
    if not model:
        what = f"The profile {profile.name} names no model."
        raise ConfigError(what, "Set engine.transformers.model to its name on Hugging Face.")
    if model_files.is_folder(model):
        model = str(Path(model).expanduser())
    revision = settings.revision or profile.revision
    pinned = model_files.is_folder(model) or re.fullmatch("[0-9a-f]{40}", revision or "")
    if settings.trust_remote_code and not pinned:
        raise ConfigError(
            f"engine.transformers.trust_remote_code runs Python code that comes with {model}, and the revision "
            f"{revision or 'that it has today'} may have other code tomorrow.",
            "Look at the code of one commit, and set engine.transformers.revision to its 40 hexadecimal digits.",
        )
    return Orders(
        model=model,
        revision=revision,
        device=settings.device,
        dtype=settings.dtype,
        batch=None if settings.batch_size == "auto" else settings.batch_size,
        memory=settings.memory,
        trust_remote_code=settings.trust_remote_code,
        profile=profile.model_copy(update={"max_tokens": settings.max_tokens or profile.max_tokens}),
    )


def class_name(wanted: Orders) -> str:
    """Name the class of transformers that loads the model. Raises ConfigError for none that may run, and as `locate`.

    The classes that there are stand in one file of the library, which need not be imported for that.
    """
    profile = wanted.profile
    file = model_files.config_file(wanted.model, wanted.revision, "transformers")
    config = json.loads(file.read_bytes())
    named = [str(one) for one in config.get("architectures") or ()]
    if profile.native_class and (not profile.native_model or profile.native_class in named):
        named = [profile.native_class]
    spec = importlib.util.find_spec("transformers")
    (folder,) = (spec and spec.submodule_search_locations) or ("",)
    known = Path(folder, "models/auto/modeling_auto.py").read_text(encoding="utf-8")
    own = next((name for name in config.get("auto_map", {}) if name.startswith("AutoModel")), "")
    found = next((name for name in named if f'"{name}"' in known), own if wanted.trust_remote_code else "")
    if found:
        return found
    remedy = "Choose another profile (docs/engines.md says which run), or engine.kind vllm or openai."
    if own:
        remedy += " The model brings code of its own, which is run only with trust_remote_code and a pinned revision."
    version = importlib.metadata.version("transformers")
    what = f"transformers {version} has no class {' or '.join(named) or 'at all'}, which {wanted.model} needs."
    raise ConfigError(what, remedy)


def findings(wanted: Orders) -> Iterator[Finding]:
    """Look at the packages, the model and its licence."""
    try:
        versions = check_versions()
        yield Finding("packages", ", ".join(f"{name} {version}" for name, version in versions.items()))
    except OcrdError as error:
        yield Finding("packages", error)
    else:
        there = model_fetch.presence(wanted.model, wanted.revision, wanted.profile, "transformers")
        yield there
        if isinstance(there.found, str):
            yield Finding(f"class of {wanted.model}", _class(wanted))
    yield model_fetch.licence(wanted.model, wanted.profile)
    if wanted.trust_remote_code:
        yield Finding(f"code of {wanted.model}", "Python code that comes with the model is run (trust_remote_code)")


def _class(wanted: Orders) -> str | OcrdError:
    try:
        return class_name(wanted)
    except OcrdError as error:
        return error


def check_versions() -> dict[str, str]:
    """Return the versions of the packages. Raises ConfigError for one that is missing, or too old or new."""
    remedy = f"Run `{pip(f'transformers>={OLDEST[0]}.{OLDEST[1]},<{NEWEST[0]}.{NEWEST[1] + 1}', *PACKAGES[1:])}`."
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise ConfigError(f"engine.kind is transformers, and {name} is not installed.", remedy) from None
    found = re.match(r"(\d+)\.(\d+)", versions["transformers"])
    if not found or not OLDEST <= (int(found[1]), int(found[2])) <= NEWEST:
        raise ConfigError(
            f"transformers {versions['transformers']} is installed, and ocrd works with "
            f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}.",
            remedy,
        )
    return versions
