"""Amounts that were read apart from what they are of are known by where they stand."""

from itertools import count

import pytest

from ocrd.rendering import torn_rows
from ocrd.rendering.page_layout import Word

ARTICLES = ["Whole milk", "Rye bread", "Six eggs", "Coffee beans"]
PRICES = ["1,29", "€ 3.40", "2.19 A", "11,90"]
_numbers = count()


def line(text: str, baseline: float, left: float) -> list[Word]:
    """Words of a line of its own, each letter 10 wide and 20 high."""
    number, words = next(_numbers), []
    for word in text.split():
        words.append(Word(word, left, left + 10 * len(word), baseline, 20, number))
        left += 10 * (len(word) + 1)
    return words


def column(texts: list[str], left: float, slope: float = 0) -> list[Word]:
    return [word for row, text in enumerate(texts) for word in line(text, 100 + 40 * row + slope * left, left)]


@pytest.mark.parametrize("slope", [0, 0.01, -0.01])
def test_articles_with_their_prices_behind_them_are_torn_rows(slope: float) -> None:
    assert torn_rows.found([*column(ARTICLES, 100, slope), *column(PRICES, 600, slope)])


def test_rows_that_are_whole_are_not() -> None:
    rows = [f"{article} {price}" for article, price in zip(ARTICLES, PRICES, strict=True)]
    assert not torn_rows.found(column(rows, 100))


def test_columns_of_text_are_not_though_a_list_of_prices_is_in_one() -> None:
    text = ["the miller kept his", "books by candlelight", "until the river rose", "over the lower steps"]
    assert not torn_rows.found([*column(text, 100), *column(text, 600)])
    assert not torn_rows.found([*column(text, 100), *column([*PRICES[:3], "in all"], 600), *column(text, 1000)])


def test_a_few_amounts_on_a_page_of_text_are_not() -> None:
    text = ["the miller kept his books", "by candlelight until", "the river rose over"] * 5
    assert not torn_rows.found([*column([*ARTICLES, *text], 100), *column(PRICES, 600)])


def test_amounts_with_nothing_beside_them_or_in_fewer_than_three_rows_are_not() -> None:
    assert not torn_rows.found([*column(ARTICLES[:2], 100), *column(PRICES, 600)])
    assert not torn_rows.found(column(PRICES, 600))
    assert not torn_rows.found([])
