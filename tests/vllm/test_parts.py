"""The parts around the engine, without starting it: sizes, the guard, the tether, the versions, the explanations."""

import importlib.metadata
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from pydantic import ValidationError

from ocrd.concurrency import processes
from ocrd.config.vllm import VllmSettings
from ocrd.engines.vllm import deepseek, process_guard, setup
from ocrd.errors import ConfigError, EngineError, OcrdError
from ocrd.model import PixelSize


@pytest.mark.parametrize(
    ("points", "pixels"),
    [
        ((595, 842), (1280, 1920)),  # A4
        ((842, 595), (1920, 1280)),
        ((612, 792), (1280, 1920)),  # letter
        ((500, 500), (1280, 1280)),
        ((100, 1000), (640, 3840)),  # a receipt
        ((144, 72), (600, 300)),  # a label, at 300 dpi
    ],
)
def test_a_page_gets_the_pixels_that_the_model_sees(points: tuple[float, float], pixels: tuple[int, int]) -> None:
    assert deepseek.page_size(*points) == PixelSize(*pixels)


def test_sizes_agree_with_upstream() -> None:
    from vllm.transformers_utils.processors.deepseek_ocr import count_tiles

    for width in range(200, 2000, 37):
        size = deepseek.page_size(width, 842)
        assert count_tiles(size.width, size.height) == (size.width // 640, size.height // 640)
        if abs(width / 842 - 1.75) > 0.01:  # a tie, where upstream asks for the area
            assert count_tiles(width * 4, 842 * 4) == (size.width // 640, size.height // 640)


def half_black(size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size, "white")
    image.paste("black", (0, 0, size[0], size[1] // 2))
    return image


@pytest.mark.parametrize("size", [(1280, 1920), (1190, 1684), (1280, 640), (640, 3840), (600, 600)])
def test_no_view_of_a_guarded_page_sums_to_zero(size: tuple[int, int]) -> None:
    import torch
    from vllm.transformers_utils.processors.deepseek_ocr import ImageTransform

    guarded = deepseek.survivable(half_black(size))
    assert max(abs(a - b) for a, b in zip(guarded.tobytes(), half_black(size).tobytes(), strict=True)) in (0, 2)
    for view, _ in deepseek._views(guarded, 640):
        for kind in (torch.float32, torch.bfloat16):
            assert abs(ImageTransform()(view).to(kind).sum().item()) > 100


def test_an_ordinary_page_is_left_as_it_is() -> None:
    image = Image.new("RGB", (1280, 1920), (240, 240, 240))
    assert deepseek.survivable(image) is image


TIED = """
import os, sys
from ocrd.engines.vllm import process_guard
process_guard.tie()
print(os.getpid(), "NOTIFY_SOCKET" in os.environ, os.getsid(0) == os.getpid(), flush=True)
sys.stdin.read()
"""


def test_a_tied_process_is_recorded_and_swept_once_its_daemon_is_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    home = process_guard.Home(tmp_path)
    home.open()
    home.announce()
    with subprocess.Popen([sys.executable, "-c", TIED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        assert it.stdout.readline().split() == [str(it.pid), "False", "True"]
        assert process_guard.pid_in(home.record) == it.pid
        process_guard.sweep(tmp_path)  # this process, its daemon, is alive
        assert it.poll() is None
        pid, start, _, _ = process_guard._read(home.record)
        home.record.write_text(f"{pid} {start} 999999999 1\n")
        process_guard.sweep(tmp_path)
        assert it.wait(10) == -9
    assert not home.folder.exists()


LEADER = """
import os, subprocess, sys
from ocrd.engines.vllm import process_guard
process_guard.tie()
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
sys.stdin.read()
"""


def test_a_worker_that_outlived_its_engine_is_swept(tmp_path: Path) -> None:
    home = process_guard.Home(tmp_path)
    home.open()
    home.announce()
    with subprocess.Popen([sys.executable, "-c", LEADER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as it:
        assert it.stdout is not None
        worker = int(it.stdout.readline())
        it.kill()
    assert processes.started(worker) > 0
    pid, start, _, _ = process_guard._read(home.record)
    home.record.write_text(f"{pid} {start} 999999999 1\n")
    process_guard.sweep(tmp_path)
    deadline = time.monotonic() + 10
    while processes.started(worker) > 0:
        assert time.monotonic() < deadline


def test_a_recorded_number_that_another_process_has_by_now_is_left_alone(tmp_path: Path) -> None:
    home = process_guard.Home(tmp_path)
    home.folder.mkdir()
    home.record.write_text(f"{os.getpid()} 1 999999999 1\n")
    process_guard.sweep(tmp_path)
    assert not home.folder.exists()


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
    with pytest.raises(ConfigError, match=r"pip install 'vllm>=0\.24,<0\.34'") as refused:
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
    assert "hf_overrides" in setup.engine_arguments(VllmSettings(), "0.24.0")
    assert "hf_overrides" not in setup.engine_arguments(VllmSettings(), "0.32.0")


def test_a_missing_model_says_how_to_fetch_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="hf download nobody/NoModel"):
        setup.locate("nobody/NoModel", None)
    with pytest.raises(ConfigError, match=r"holds no config\.json"):
        setup.locate(str(tmp_path), None)


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
