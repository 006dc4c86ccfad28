"""A cup's ring and a staple's holes leave a sheet blank; what somebody drew or wrote does not."""

import math

import cv2
import numpy as np
import pytest

from ocrd.model import Placement
from ocrd.rendering import page_analysis

MM = 1754 / 297
"""Pixels of A4 at 150 dpi."""
COFFEE, BLACK, RED = (170, 135, 105), (165, 165, 165), (190, 110, 115)


def paper() -> np.ndarray:
    return np.full((1754, 1240, 3), 245, np.uint8)


def blank(pixels: np.ndarray) -> bool:
    return bool(page_analysis.facts(cv2.GaussianBlur(pixels, (3, 3), 0), Placement(595, 842), stands=True).blank)


def ringed(ink: tuple[int, int, int], wide: float, thick: float = 1.2) -> np.ndarray:
    """Draw a circle of so many millimetres, and two drops."""
    pixels = paper()
    cv2.circle(pixels, (600, 800), round(wide / 2 * MM), ink, round(thick * MM), cv2.LINE_AA)
    for x, y in ((600, 800), (820, 1000)):
        cv2.circle(pixels, (x, y), 6, ink, -1)
    return pixels


def dotted(*places: tuple[float, float]) -> np.ndarray:
    """Make holes of a millimetre at these places, in millimetres."""
    pixels = paper()
    for x, y in places:
        cv2.circle(pixels, (round(x * MM), round(y * MM)), 3, (90, 80, 70), -1)
    return pixels


def test_a_ring_of_a_cup_is_no_mark() -> None:
    assert blank(ringed(COFFEE, 80))


@pytest.mark.parametrize(
    ("ink", "wide", "thick"),
    [(BLACK, 80, 1.2), (RED, 80, 1.2), (COFFEE, 30, 1.2), (COFFEE, 80, 0.4), ((95, 60, 30), 80, 1.2)],
    ids=["grey", "red", "small", "thin", "dark"],
)
def test_a_circle_that_somebody_drew_is_one(ink: tuple[int, int, int], wide: float, thick: float) -> None:
    assert not blank(ringed(ink, wide, thick))


def test_a_word_within_a_ring_is_one() -> None:
    pixels = ringed(COFFEE, 80)
    cv2.putText(pixels, "paid", (560, 700), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (40, 40, 40), 2)
    assert not blank(pixels)


def test_a_brown_wave_is_no_ring() -> None:
    pixels = paper()
    wave = [[300 + 5 * n, 800 + round(90 * math.sin(n / 12))] for n in range(120)]
    cv2.polylines(pixels, [np.array(wave)], isClosed=False, color=COFFEE, thickness=8)
    assert not blank(pixels)


def test_the_holes_of_a_staple_are_no_marks() -> None:
    assert blank(dotted((10, 12), (21, 12)))


@pytest.mark.parametrize(
    "places",
    [[(100, 150), (111, 150)], [(10, 12), (13, 12)], [(10, 12), (21, 12), (15, 20)], [(10, 12), (28, 12)]],
    ids=["in the middle", "close", "three", "far"],
)
def test_other_dots_are(places: list[tuple[float, float]]) -> None:
    assert not blank(dotted(*places))
