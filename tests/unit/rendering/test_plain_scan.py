"""Scans of one column of text are told from tables, columns and lists by where their letters lie."""

from collections.abc import Iterator

import numpy as np
import pytest

from ocrd.rendering import plain_scan

SIZE = 9.0
"""Pixels: height of a word."""
Box = tuple[float, float, float]
"""Left and right edge of a word, and its middle."""


def line(middle: float, left: float = 100, right: float = 600, space: float = 5) -> Iterator[Box]:
    while left < right:
        end = min(left + 40, right)
        yield left, end, middle
        left = end + space


def lines(count: int = 12, **how: float) -> list[Box]:
    return [word for number in range(count) for word in line(100 + 17 * number, **how)]


def is_column(words: list[Box]) -> bool:
    left, right, middle = np.array(words).T
    return plain_scan.is_column(SIZE, left, right, middle)


PARAGRAPHS = [*lines(), *line(304, right=300), *lines(8, left=100), *(word for word in line(490, left=115))]


def test_paragraphs_are_a_column() -> None:
    assert is_column(PARAGRAPHS)
    tilted = [(left, right, middle + (number % 3 - 1)) for number, (left, right, middle) in enumerate(PARAGRAPHS)]
    assert is_column(tilted), "letters of a line do not all have one middle"


OTHERS = {
    "too few lines": lines(7),
    "columns": [*lines(right=340), *lines(left=365)],
    "rows of a table": lines(space=25),
    "an index with its numbers": [*lines(right=300), *((580.0, 600.0, 100.0 + 17 * number) for number in range(12))],
    "names and addresses": [word for n in range(12) for word in line(100 + 17 * n, right=200 + 400 * (n % 2))],
    "what is centred": [word for n in range(12) for word in line(100 + 17 * n, left=100 + 9 * n, right=600 - 9 * n)],
}


@pytest.mark.parametrize("words", OTHERS.values(), ids=list(OTHERS))
def test_all_else_is_none(words: list[Box]) -> None:
    assert not is_column(words)


def test_nothing_is_no_column() -> None:
    nothing = np.zeros(0)
    assert not plain_scan.is_column(SIZE, nothing, nothing, nothing)


def test_paper_has_grain_and_a_fax_has_none() -> None:
    dice = np.random.default_rng(1)
    paper = dice.normal(230, 3, (1400, 1000, 1)).astype(np.uint8).repeat(3, axis=2)
    assert plain_scan.has_grain(paper)
    fax = np.where(dice.random((1400, 1000, 1)) < 0.1, 0, 255).astype(np.uint8).repeat(3, axis=2)
    assert not plain_scan.has_grain(fax)
