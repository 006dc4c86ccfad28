"""Where a profile and the owner's settings meet: what the owner set wins, and what was left empty is the profile's."""

from functools import cache
from pathlib import Path
from typing import Any

from ocrd.config import loader, profile
from ocrd.config.profile import DEFAULT, SHARED, Profile
from ocrd.config.vllm import VllmSettings
from ocrd.errors import ConfigError

UNSET = (None, "auto")
"""Values of a setting that leave it to the profile; `auto` is one of `runner` alone."""


class ResolvedSettings(VllmSettings):
    """`engine.vllm` with every setting that was left to the profile filled in."""

    model: str
    prompt: str
    other_prompt: str
    max_tokens: int
    whitelist_token_ids: tuple[int, ...]
    temperature: float
    max_model_len: int
    profile: Profile


def find(name: str) -> Profile:
    """Return a profile by its name, or read an owner's own from its file. Raises ConfigError."""
    if profile.is_path(name):
        return _read(Path(name).expanduser())
    if name not in profile.names():
        raise ConfigError(f"engine.profile {profile.unknown(name)}, not {name!r}.", "`ocrd help profiles` lists them.")
    return shipped(name)


@cache
def shipped(name: str = DEFAULT) -> Profile:
    """Return one of the profiles that ocrd brings."""
    return _read(profile.FOLDER / f"{name}.yaml")


def _read(path: Path) -> Profile:
    read = loader.load_section(Profile, path, "profile", "`ocrd help profiles` says what may stand there.")
    return read if read.name else read.model_copy(update={"name": path.stem})


def resolve(settings: VllmSettings, chosen: Profile | None = None) -> ResolvedSettings:
    """Fill in what the settings leave to the profile, which is the default one unless it is given.

    Raises ConfigError for what neither says.
    """
    chosen = chosen or shipped()
    if settings.tile:
        if chosen.image.scheme != "deepseek":
            what = f"engine.vllm.tile is {settings.tile}, but the profile {chosen.name} has no such tiles."
            raise ConfigError(what, "Take it out.")
        chosen = chosen.model_copy(update={"image": chosen.image.model_copy(update={"tile": settings.tile})})
    filled = {name: _filled(name, settings, chosen) for name in SHARED}
    if not filled["model"]:
        raise ConfigError(
            f"The profile {chosen.name} names no model.", "Set engine.vllm.model to its name on Hugging Face."
        )
    return ResolvedSettings.model_construct(**dict(settings) | filled, profile=chosen)


def _filled(name: str, settings: VllmSettings, chosen: Profile) -> Any:  # noqa: ANN401 - of whatever type it is
    if name == "tile":
        return chosen.image.tile if chosen.image.scheme == "deepseek" else None
    own = getattr(settings, name)
    return getattr(chosen, name) if own in UNSET else own
