"""Which cards are read on, and how many engines each gets."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from ocrd.config.vllm import Idle, VllmSettings
from ocrd.engines.vllm import mps, placement
from ocrd.engines.vllm.gpu_memory import CardProperties
from ocrd.engines.vllm.placement import Device, Placement
from ocrd.errors import ConfigError

H100 = CardProperties("NVIDIA H100", 80 << 30, 79 << 30, (9, 0))
SMALL = CardProperties("NVIDIA L4", 24 << 30, 23 << 30, (8, 9))


@pytest.fixture(autouse=True)
def _mps_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mps, "find_program", lambda: "/usr/bin/nvidia-cuda-mps-control")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def choose(cards: list[CardProperties], cpus: int = 16, **settings: Any) -> Placement:
    wanted = VllmSettings(**settings)
    return placement.choose(wanted, placement.devices(wanted, cards), cpus)


def names(cards: list[CardProperties], **settings: Any) -> list[str]:
    return [device.name for device in placement.devices(VllmSettings(**settings), cards)]


def test_a_large_card_gets_two() -> None:
    assert choose([H100]) == Placement(("0",), 2)


def test_each_card_gets_engines_of_its_own_and_the_first_of_each_come_first() -> None:
    assert choose([H100, H100]).engines == ("0", "1", "0", "1")
    assert choose([H100, H100], engines_per_card=1).engines == ("0", "1")
    assert choose([H100] * 4, devices=[3, 1], cpus=64).engines == ("3", "1", "3", "1")


@pytest.mark.parametrize(
    ("settings", "cards", "cpus", "why_not"),
    [
        ({}, [SMALL], 16, "each would have 11 GiB of the card"),
        ({}, [H100, SMALL], 16, "each would have 11 GiB of the card"),
        ({"gpu_memory_utilization": 0.5}, [H100], 16, "each would have 20 GiB"),
        ({}, [H100], 4, "4 processor cores for a card"),
        ({}, [H100, H100], 8, "4 processor cores for a card"),
        ({"idle": Idle(do="sleep")}, [H100], 16, r"idle\.do is sleep"),
        ({"extra": {"tensor_parallel_size": 2}}, [H100, H100], 16, "spreads over several cards"),
    ],
)
def test_where_two_would_not_do_there_is_one_and_the_reason(
    settings: dict[str, Any], cards: list[CardProperties], cpus: int, why_not: str
) -> None:
    chosen = choose(cards, cpus, **settings)
    assert chosen.per_card == 1
    assert re.search(why_not, chosen.why_not)


def test_the_environment_leaves_some_cards_and_the_settings_some_of_these(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, 3")
    assert names([H100] * 4) == ["1", "3"]
    assert names([H100] * 4, devices=[1]) == ["3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    assert placement.devices(VllmSettings(), [H100, SMALL]) == [Device("MIG-1234", SMALL)]
    assert "divided" in choose([H100]).why_not


def test_a_card_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"devices names the card 2, and of the cards the last is 1\."):
        names([H100, H100], devices=[0, 2])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(ConfigError, match="card 1, and of the cards that CUDA_VISIBLE_DEVICES leaves the last is 0"):
        names([H100, H100], devices=[1])


@pytest.mark.parametrize("wrong", [[], [0, 0], [-1], ["gpu"], "all"])
def test_what_names_no_cards_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError, match="devices"):
        VllmSettings(devices=wrong)


def test_an_engine_that_spreads_over_two_cards_is_one_of_two_on_four() -> None:
    spread = {"tensor_parallel_size": 2}
    assert choose([H100] * 4, extra=spread).engines == ("0,1", "2,3")
    assert choose([H100] * 5, extra=spread).engines == ("0,1", "2,3"), "one is left over"
    with pytest.raises(ConfigError, match=r"spreads over 2 cards .* there are 1 to be used"):
        choose([H100], extra=spread)
    with pytest.raises(ConfigError, match=r"spreads over 2 cards .* there are 3 to be used"):
        choose([H100] * 4, extra=spread, devices=[0, 1, 2])


def test_without_the_program_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mps, "find_program", lambda: None)
    assert "nvidia-cuda-mps-control is not there" in choose([H100]).why_not


def test_the_owner_has_the_last_word() -> None:
    assert choose([H100], engines_per_card=1) == Placement(("0",))
    assert choose([SMALL], 2, engines_per_card=2) == Placement(("0",), 2)
