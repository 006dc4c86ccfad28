"""Verdicts and blank pages, measured on a fixed sample of made-up sheets: `bench/quality/quality.py` in short."""

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench/quality"))

import quality

COUNT = int(os.environ.get("OCRD_QUALITY_COUNT", "6"))
"""Sheets of each kind."""


@pytest.fixture(scope="module")
def right() -> dict[str, list[bool]]:
    measured = quality.measure("fixed", COUNT)
    return {part: [case for cases in kinds.values() for case in cases] for part, kinds in measured.items()}


def test_bad_readings_are_called_bad(right: dict[str, list[bool]]) -> None:
    assert sum(right["bad"]) >= 0.95 * len(right["bad"])


def test_good_readings_are_not(right: dict[str, list[bool]]) -> None:
    assert sum(right["good"]) >= 0.99 * len(right["good"])


def test_blank_sheets_are_seen_through_noise_holes_and_shadows(right: dict[str, list[bool]]) -> None:
    assert sum(right["blank"]) >= 0.96 * len(right["blank"])


def test_a_page_number_a_stamp_or_a_signature_is_not_blank(right: dict[str, list[bool]]) -> None:
    assert sum(right["marked"]) >= 0.99 * len(right["marked"])
