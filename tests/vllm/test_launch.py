"""Which model runner, which kernels and which graphs an engine is started with, and what a failed start leads to."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ocrd.config.resolving import resolve
from ocrd.config.vllm import VllmSettings
from ocrd.engines.vllm import process_guard, setup
from ocrd.engines.vllm.launch_mode import USUAL, LaunchMode
from ocrd.errors import ConfigError, EngineError, OcrdError

COMPILATION = "triton.compiler.errors.CompilationError: at 8:11: Cannot access global variable LOG2E from within @jit"
CAPTURE = (
    "RuntimeError: CUDA error: operation not permitted when stream is capturing (cudaErrorStreamCaptureUnsupported)"
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of packages that look as if vLLM and Triton were installed."""

    def find(name: str) -> Any:
        folder = tmp_path / name
        return SimpleNamespace(submodule_search_locations=[str(folder)]) if folder.is_dir() else None

    monkeypatch.setattr(setup.importlib.util, "find_spec", find)
    (tmp_path / "vllm").mkdir()
    return tmp_path


def test_runner_v2_is_taken_where_it_takes_processors_and_triton_is_there(site: Path) -> None:
    assert setup.runner(VllmSettings()) == "v1"
    interface = site / "vllm" / setup.V2_INTERFACE
    interface.parent.mkdir(parents=True)
    interface.touch()
    assert setup.runner(VllmSettings()) == "v1", "vLLM for the CPU has the interface, but no Triton"
    (site / "triton").mkdir()
    assert setup.runner(VllmSettings()) == "v2"
    assert setup.engine_arguments(resolve(VllmSettings()), "0.33.0")["logits_processors"] == [
        setup.NGRAM_PROCESSORS["v2"]
    ]


@pytest.mark.parametrize("runner", ["v1", "v2"])
def test_an_owner_may_name_the_runner(runner: Any, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    settings = resolve(VllmSettings(runner=runner))
    home = process_guard.Home(site)
    home.folder.mkdir()
    setup.set_environment(settings, home)
    assert os.environ["VLLM_USE_V2_MODEL_RUNNER"] == {"v1": "0", "v2": "1"}[runner]
    short = len(os.fsencode(home.folder)) <= 70
    assert os.environ.get("VLLM_RPC_BASE_PATH") == (str(home.folder) if short else None), "not in /tmp, if they fit"
    assert setup.engine_arguments(settings, "0.33.0")["logits_processors"] == [setup.NGRAM_PROCESSORS[runner]]


@pytest.mark.parametrize(
    ("messages", "ways"),
    [
        (COMPILATION, [LaunchMode(tower_kernel=False), LaunchMode(tower_kernel=False, graphs=False), None]),
        (CAPTURE, [LaunchMode(graphs=False), None]),
        ("torch.OutOfMemoryError: CUDA out of memory.", [None]),
        ("KeyError: 'sam_model'", [None]),
    ],
)
def test_what_failed_is_left_out_and_one_thing_after_the_other(messages: str, ways: list[LaunchMode | None]) -> None:
    mode: LaunchMode | None = USUAL
    for way in ways:
        assert mode is not None
        mode = mode.slower(messages)
        assert mode == way


def test_a_slower_way_is_told_to_vllm() -> None:
    usual = setup.engine_arguments(resolve(VllmSettings()), "0.33.0")
    plain = setup.engine_arguments(resolve(VllmSettings()), "0.33.0", LaunchMode(tower_kernel=False))
    eager = setup.engine_arguments(resolve(VllmSettings()), "0.33.0", LaunchMode(graphs=False))
    assert "additional_config" not in usual
    assert plain["additional_config"] == {setup.PLAIN_TOWERS: True}
    assert eager["enforce_eager"]
    assert "compilation_config" in usual
    assert "compilation_config" not in eager
    assert str(LaunchMode(tower_kernel=False, graphs=False)) == (
        "without vLLM's kernel for the vision towers and CUDA graphs"
    )


def test_towers_without_the_kernel_are_those_that_had_it() -> None:
    import torch

    from ocrd.engines.vllm.timed_worker import leave_out_kernel

    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
    model[0].use_triton_attention = True  # type: ignore[assignment]
    leave_out_kernel(model)
    assert model[0].use_triton_attention is False
    assert not hasattr(model[1], "use_triton_attention")


ALLOWS = """
import os
from vllm import triton_utils
from ocrd.engines.vllm import worker_extension
for log2e in ({given}):
    if log2e is not None:
        triton_utils.LOG2E = log2e
    elif hasattr(triton_utils, "LOG2E"):
        del triton_utils.LOG2E
    os.environ.pop("TRITON_ALLOW_NON_CONSTEXPR_GLOBALS", None)
    worker_extension.allow_plain_numbers()
    print(os.environ.get("TRITON_ALLOW_NON_CONSTEXPR_GLOBALS"))
"""


def test_a_plain_number_in_a_kernel_is_allowed_only_where_it_is_one_and_never_in_the_daemon() -> None:
    command = [sys.executable, "-c", ALLOWS.format(given="1.4426950408889634, object(), None")]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    assert told.split() == ["1", "None", "None"]
    assert "TRITON_ALLOW_NON_CONSTEXPR_GLOBALS" not in os.environ


@pytest.mark.parametrize(
    ("message", "fault", "told"),
    [
        ("NotImplementedError: logits processors are not supported with the V2 model runner", ConfigError, "runner at"),
        ("TypeError: ocrd.Old is not a subclass of LogitsProcessor", ConfigError, "runner at auto"),
        (
            "RuntimeError: The NVIDIA driver on your system is too old (found version 12040).",
            ConfigError,
            "newer driver",
        ),
        ("RuntimeError: CUDA error: no kernel image is available for execution", ConfigError, "another card"),
        (
            "RuntimeError: CUDA error: MPS client failed to connect to the MPS control daemon",
            EngineError,
            "per_card to 1",
        ),
        ("torch.AcceleratorError: CUDA error: cudaErrorMpsServerNotReady", EngineError, "without CUDA MPS"),
        ("RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable", EngineError, "nvidia-smi"),
        ("RuntimeError: CUDA error: uncorrectable ECC error encountered", EngineError, "dmesg"),
        (
            "RuntimeError: Failed to find C compiler. Please specify via CC environment variable.",
            ConfigError,
            "gcc libc6-dev python3-dev",
        ),
        ("main.c:6:10: fatal error: Python.h: No such file or directory", ConfigError, "Python's headers"),
        (
            "OSError: [Errno 28] No space left on device: '/root/.cache/vllm/torch_compile_cache'",
            EngineError,
            "Make room",
        ),
    ],
)
def test_a_fault_of_card_driver_or_disk_says_what_to_do(message: str, fault: type[OcrdError], told: str) -> None:
    with pytest.raises(fault) as caught:
        setup.explain_failed_start(RuntimeError("Engine core initialization failed."), f"EngineCore ERROR {message}\n")
    assert told in caught.value.remedy
    assert not isinstance(caught.value, setup.StartError), "no slower way would help"


def test_a_version_that_starts_in_no_way_names_the_one_to_install() -> None:
    failed = setup.StartError("The engine could not start: CompilationError.", "See above.")
    error = setup.no_way_left("0.99.0", LaunchMode(tower_kernel=False, graphs=False), failed)
    assert "vLLM 0.99.0 does not start on this machine, also without" in error.what
    assert f" install vllm=={setup.PROVEN}" in error.remedy


def test_a_home_of_its_own_for_each_engine_of_a_process(tmp_path: Path) -> None:
    homes = [process_guard.Home(tmp_path, number) for number in range(2)]
    for home in homes:
        home.open()
        home.announce()
        process_guard.record_phase("weights", 12.0)
        assert home.phases() == [("weights", 12.0)]
        assert os.environ[process_guard.RECORD] == str(home.record)
    homes[1].close()
    assert homes[0].folder.exists()
    assert not homes[1].folder.exists()
