"""What is said of a machine on which the engine can't start: one sentence on what is wrong, one on what to do."""

import os
from pathlib import Path
from typing import Any

import pytest

from ocrd.config.resolving import resolve
from ocrd.config.vllm import VllmSettings
from ocrd.engines import model_fetch
from ocrd.engines.vllm import gpu_memory, preflight, setup
from ocrd.engines.vllm.gpu_memory import CardProperties, Driver, NoAnswer
from ocrd.engines.vllm.placement import Device
from ocrd.errors import ConfigError, EngineError, OcrdError

H100 = CardProperties("NVIDIA H100", 80 << 30, 79 << 30, (9, 0))
NEW = Driver("580.65", (13, 0))


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "is_cpu_build", lambda: False)
    monkeypatch.setattr(preflight, "_cuda_of_torch", lambda: (13, 0))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    answer(monkeypatch, (NEW, [H100]))


def answer(monkeypatch: pytest.MonkeyPatch, told: "tuple[Driver, list[CardProperties]] | Exception") -> None:
    def look() -> tuple[Driver, list[CardProperties]]:
        if isinstance(told, Exception):
            raise told
        return told

    monkeypatch.setattr(gpu_memory, "look", look)


def test_a_fit_card_is_told_with_its_memory() -> None:
    assert preflight.require_cards(VllmSettings()) == [Device("0", H100)]
    found = {one.what: one.found for one in preflight._of_the_cards(VllmSettings())}
    assert found["driver and card"] == "driver 580.65; NVIDIA H100 (80 GiB, 79 free)"
    assert found["compute capability and memory"] == "9.0, which is enough"


@pytest.mark.parametrize(
    ("files", "why", "remedy"),
    [
        ({}, "neither a driver nor a card", "engine.kind: cpu"),
        ({"sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n"}, "a card, but no driver", "Install NVIDIA's driver"),
        ({"sys/bus/pci/devices/0000:01:00.0/vendor": "0x8086\n"}, "neither a driver nor a card", "cpu"),
        ({"proc/driver/nvidia/version": "580"}, "a container without NVIDIA's runtime", "--gpus all"),
    ],
)
def test_a_missing_driver_is_told_apart_from_a_missing_card(
    files: dict[str, str], why: str, remedy: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    error = preflight.no_driver(tmp_path)
    assert error.what.startswith("No GPU can be used: ")
    assert why in error.what
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("code", "device", "why", "remedy"),
    [
        (18, True, "updated and not loaded anew", "Start the machine again"),
        (9, True, "the driver is not loaded", "modprobe nvidia"),
        (9, False, "nvidiactl is not there", "--gpus all"),
        (4, True, "may not open", "usermod -aG"),
        (15, True, "nvmlInit ended with 15", "nvidia-smi"),
    ],
)
def test_a_driver_that_refuses_says_why(code: int, device: bool, why: str, remedy: str, tmp_path: Path) -> None:  # noqa: FBT001
    (tmp_path / "dev").mkdir()
    if device:
        (tmp_path / "dev/nvidiactl").touch()
    error = preflight.refused(NoAnswer(f"nvmlInit ended with {code}", code), tmp_path)
    assert why in error.what
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("told", "settings", "why"),
    [
        (OSError("libnvidia-ml.so.1"), {}, "No GPU can be used"),
        (NoAnswer("the driver has not answered for 30 seconds"), {}, "No GPU can be used"),
        ((NEW, []), {}, "knows no card"),
        ((NEW, [CardProperties("Tesla T4", 16 << 30, 16 << 30, (7, 5))]), {}, "Tesla T4 has compute capability 7.5"),
        ((NEW, [CardProperties("RTX 4060", 8 << 30, 8 << 30, (8, 9))]), {}, "8 GiB of memory"),
        ((NEW, [H100]), {"gpu_memory_utilization": 0.1}, "80 GiB of memory, of which the engine may take 10%"),
        ((Driver("550.54", (12, 4)), [H100]), {}, "550.54 runs CUDA up to 12.4, and the installed torch is built for"),
    ],
)
def test_the_start_refuses_a_card_that_cannot_do(
    told: "tuple[Driver, list[CardProperties]] | Exception",
    settings: dict[str, Any],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer(monkeypatch, told)
    with pytest.raises((ConfigError, EngineError)) as refused:
        preflight.require_cards(VllmSettings(**settings))
    assert why in refused.value.what
    assert any(isinstance(one.found, OcrdError) for one in preflight._of_the_cards(VllmSettings(**settings)))


def test_cards_that_are_hidden_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES is '', which hides them all"):
        preflight.require_cards(VllmSettings())


def test_an_owner_who_chose_another_type_may_use_an_older_card(monkeypatch: pytest.MonkeyPatch) -> None:
    quadro = CardProperties("Quadro RTX 8000", 48 << 30, 48 << 30, (7, 5))
    answer(monkeypatch, (NEW, [quadro]))
    assert preflight.require_cards(VllmSettings(extra={"dtype": "float16"})) == [Device("0", quadro)]


def test_a_card_that_is_unfit_is_left_out_where_another_is_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    display = CardProperties("GT 710", 2 << 30, 1 << 30, (3, 5))
    answer(monkeypatch, (NEW, [display, H100]))
    assert preflight.require_cards(VllmSettings()) == [Device("1", H100)]
    found = {one.what: one.found for one in preflight._of_the_cards(VllmSettings(engines_per_card=1))}
    assert found["engines"] == "one on card 1"
    with pytest.raises(ConfigError, match="The GT 710 has compute capability"):
        preflight.require_cards(VllmSettings(devices=(0, 1)))
    answer(monkeypatch, (NEW, [display, display]))
    with pytest.raises(ConfigError, match="The GT 710 has compute capability"):
        preflight.require_cards(VllmSettings())


def test_cards_named_for_a_vllm_without_a_gpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "is_cpu_build", lambda: True)
    with pytest.raises(ConfigError, match="devices names cards, and the installed vLLM is built for a machine without"):
        preflight.require_cards(VllmSettings(devices=(0,)))


def test_a_vllm_for_the_cpu_asks_for_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "is_cpu_build", lambda: True)
    answer(monkeypatch, OSError())
    assert preflight.require_cards(VllmSettings()) == []


def test_the_order_is_that_of_setting_a_machine_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "check_version", lambda _profile: "0.33.0")
    monkeypatch.setattr(preflight, "_versions", lambda version: preflight.Finding("versions", version))
    monkeypatch.setattr(model_fetch, "presence", lambda model, *_: preflight.Finding("model", model))
    told = [one.what for one in preflight.findings(resolve(VllmSettings()))]
    assert told == [
        "driver and card", "compute capability and memory", "engines", "versions", "model",
        "licence of deepseek-ai/DeepSeek-OCR",
    ]  # fmt: skip


def test_no_room_for_the_model_says_how_much_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_fetch, "nearest_folder", lambda: Path("/cache"))
    error = model_fetch.no_room("deepseek-ai/DeepSeek-OCR", 6_670_000_000, 1_200_000_000)
    assert error.what == "The model deepseek-ai/DeepSeek-OCR takes 6.7 GB, and /cache has 1.2 GB free."


def test_how_far_the_model_is_has_size_speed_and_time() -> None:
    said = model_fetch.fetched(2_000_000_000, 6_000_000_000, 20.0)
    assert said == "fetching the model: 2.0 of 6.0 GB, 100 MB/s, 40 s left"
    assert model_fetch.fetched(0, 6_000_000_000, 1.0) == "fetching the model: 0.0 of 6.0 GB, 0 MB/s"


@pytest.mark.skipif(os.getuid() != 0, reason="a file of another's must be made")
def test_a_device_that_the_user_may_not_open_names_the_group(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    device = tmp_path / "dev/nvidiactl"
    device.touch()
    os.chown(device, 0, 44)
    error = preflight.refused(NoAnswer("", 4), tmp_path)
    assert device.group() in error.what
