"""How many engines a card gets."""

import re
from typing import Any

import pytest

from ocrd.config.vllm import Idle, VllmSettings
from ocrd.engines.vllm import card_sharing, mps

H100 = 80 << 30


@pytest.fixture(autouse=True)
def _mps_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mps, "find_program", lambda: "/usr/bin/nvidia-cuda-mps-control")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_large_card_gets_two() -> None:
    assert card_sharing.choose(VllmSettings(), [H100], 16) == card_sharing.Sharing(2)


@pytest.mark.parametrize(
    ("settings", "cards", "cpus", "why_not"),
    [
        ({}, [24 << 30], 16, "each would have 11 GiB of the card"),
        ({"gpu_memory_utilization": 0.5}, [H100], 16, "each would have 20 GiB"),
        ({}, [H100, H100], 16, "there are 2 cards"),
        ({}, [H100], 4, "4 processor cores"),
        ({}, [], 16, "does not tell the card's memory"),
        ({"idle": Idle(do="sleep")}, [H100], 16, r"idle\.do is sleep"),
        ({"extra": {"tensor_parallel_size": 2}}, [H100], 16, "spreads over several cards"),
    ],
)
def test_where_two_would_not_do_there_is_one_and_the_reason(
    settings: dict[str, Any], cards: list[int], cpus: int, why_not: str
) -> None:
    sharing = card_sharing.choose(VllmSettings(**settings), cards, cpus)
    assert sharing.engines == 1
    assert re.search(why_not, sharing.why_not)


def test_one_card_of_several_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert card_sharing.choose(VllmSettings(), [H100, H100], 16).engines == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    assert "divided" in card_sharing.choose(VllmSettings(), [H100], 16).why_not


def test_without_the_program_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mps, "find_program", lambda: None)
    assert "nvidia-cuda-mps-control is not there" in card_sharing.choose(VllmSettings(), [H100], 16).why_not


def test_the_owner_has_the_last_word() -> None:
    assert card_sharing.choose(VllmSettings(engines_per_card=1), [H100], 16) == card_sharing.Sharing()
    assert card_sharing.choose(VllmSettings(engines_per_card=2), [24 << 30], 2) == card_sharing.Sharing(2)
