"""What is refused before an engine starts, and how a start that failed is explained."""

import importlib.metadata
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from mounts import why_not_private
from pydantic import ValidationError

from ocrd.config.resolving import resolve
from ocrd.config.vllm import VllmSettings
from ocrd.engines import model_files
from ocrd.engines.vllm import setup
from ocrd.errors import ConfigError, EngineError, OcrdError


@pytest.mark.parametrize(
    ("installed", "told"),
    [
        ("0.8.5", "0.8.5 is installed"),
        ("0.11.0", "0.11.0"),
        ("0.34.1", "0.34.1"),
        ("1.0", "1.0"),
        (None, "not installed"),
    ],
)
def test_a_version_that_cannot_work_is_refused(
    installed: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(name: str) -> str:
        if installed is None or name != "vllm":
            raise importlib.metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(ConfigError, match=r"pip'? install 'vllm>=0\.24,<0\.34'") as refused:
        setup.check_version()
    assert told in refused.value.what


@pytest.mark.parametrize("name", ["enable_prefix_caching", "mm_processor_cache_gb", "logits_processors", "model"])
def test_what_is_not_open_to_change_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match=f"must not set {name}"):
        VllmSettings(extra={name: True})


def test_caches_that_are_on_are_refused() -> None:
    good = {"enable_prefix_caching": False, "mm_processor_cache_gb": 0.0, "logits_processors": ["N"]}
    assert setup.check_settings(good)
    for change in ({"enable_prefix_caching": True}, {"mm_processor_cache_gb": 4.0}, {"logits_processors": []}):
        with pytest.raises(ConfigError, match="does not run with"):
            setup.check_settings(good | change)


def test_old_vllm_gets_the_head_size_that_it_would_take_for_zero() -> None:
    assert "hf_overrides" in setup.engine_arguments(resolve(VllmSettings()), "0.24.0")
    assert "hf_overrides" not in setup.engine_arguments(resolve(VllmSettings()), "0.32.0")


def test_a_missing_model_says_how_to_fetch_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="hf download nobody/NoModel"):
        model_files.locate("nobody/NoModel", None, "vllm")
    with pytest.raises(ConfigError, match=r"holds no config\.json"):
        model_files.locate(str(tmp_path), None, "vllm")


@pytest.mark.parametrize(
    ("message", "fault", "told"),
    [
        (
            "ValueError: Free memory (11.2/79.1 GiB) is less than desired GPU memory utilization (0.9, 71.2 GiB).",
            EngineError,
            r"11\.2/79\.1 GiB.*nvidia-smi",
        ),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", EngineError, r"2\.00 GiB.*lower"),
        ("ValueError: No available memory for the cache blocks.", ConfigError, "Raise engine.vllm"),
        ("KeyError: 'sam_model'", EngineError, "KeyError: 'sam_model'"),
    ],
)
def test_a_failed_start_is_explained(message: str, fault: type[OcrdError], told: str) -> None:
    with pytest.raises(fault, match=told) as caught:
        setup.explain_failed_start(RuntimeError("Engine core initialization failed."), f"EngineCore ERROR {message}\n")
    assert caught.value.what[-1] == "."
    assert caught.value.what[-2] != "."


@pytest.mark.parametrize(
    ("traceback", "told"),
    [
        ("AssertionError", "AssertionError"),
        (
            "torch.AcceleratorError: CUDA error: an illegal memory access",
            "torch.AcceleratorError: CUDA error: an illegal",
        ),
        (
            '    raise RuntimeError("Error: no room") from None\nRuntimeError: Error: no room',
            "RuntimeError: Error: no room",
        ),
        ("ValueError: the cause\n\nThe above\n\nRuntimeError: what follows", "ValueError: the cause"),
    ],
)
def test_of_a_death_the_first_exception_is_told(traceback: str, told: str) -> None:
    before = "09:00:00 EngineCore WARNING an Error: of before\n"
    head = f"{before}09:01:00 EngineCore ERROR EngineCore encountered a fatal error.\n"
    said = setup.why_it_died(f'{head}Traceback (most recent call last):\n  File "core.py"\n{traceback}\n')
    assert said.startswith(told)
    assert setup.why_it_died(before) == ""


@pytest.mark.parametrize(
    ("size", "message", "told"),
    [
        (
            "16m",
            "RuntimeError: Insufficient space in /dev/shm for shared-memory allocation: 160 MiB required, 16 MiB free.",
            "has 16 MiB, of which 16 are free; it wants 160 MiB.",
        ),
        (
            "16m",
            "Error while creating shared memory segment /dev/shm/nccl-Kv4 (size 33030528)",
            "of which 16 are free.",
        ),
        ("1m", "OSError: [Errno 28] No space left on device", "has 1 MiB, of which 0 are free."),
        ("1m", "RuntimeError: Engine core initialization failed. {'EngineCore_DP0': -7}", "of which 0 are free."),
    ],
)
def test_where_the_memory_that_processes_share_is_full_or_too_small_its_size_is_told(
    size: str, message: str, told: str
) -> None:
    if reason := why_not_private():
        pytest.skip(reason)
    fill = "; head -c 1m /dev/zero > /dev/shm/ballast" if size == "1m" else ""
    script = f'mount -t tmpfs -o size={size} tmpfs /dev/shm{fill}; exec {shlex.quote(sys.executable)} -c "$0"'
    code = f"from ocrd.engines.vllm import setup; setup.explain_failed_start(RuntimeError({message!r}), '')"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, code], capture_output=True, text=True, timeout=60, check=False
    )
    last = done.stderr.splitlines()[-1]
    assert "EngineError: The engine could not start: /dev/shm, the memory that its processes share, has" in last
    assert told in last
    assert "--shm-size" in last


def test_a_full_disk_is_not_taken_for_the_memory_that_processes_share() -> None:
    full = "OSError: [Errno 28] No space left on device: '/root/.cache/vllm'"
    with pytest.raises(EngineError, match=r"\.cache/vllm'. Make room"):
        setup.explain_failed_start(RuntimeError("failed"), full)
