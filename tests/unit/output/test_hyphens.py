"""A made-up space behind a hyphen goes; one that stands on the page stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocrd.output import hyphens


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a long- term plan of state- of- the-art well- being", "a long-term plan of state-of-the-art well-being"),
        ("short- and long- term", "short- and long-term"),
        ("Ein- und Ausgabe, Haupt- oder Neben- sache", "Ein- und Ausgabe, Haupt- oder Neben-sache"),
        ("PRE- AND POST- WAR", "PRE- AND POST-WAR"),
        ("pages 201- 210, COVID- 19, 1- butanol", "pages 201-210, COVID-19, 1-butanol"),
        ("by T.- S. Li", "by T.-S. Li"),
        ("a system- - a way of life", "a system--a way of life"),
        ("left - right, left -right, left-right", "left - right, left -right, left-right"),
        ("2- First point", "2- First point"),
        ("- First point- Second point\n- Third", "- First point\n- Second point\n- Third"),
        ("- a part- time job", "- a part-time job"),
        ("甲- 乙", "甲- 乙"),
    ],
)
def test_what_becomes_of_a_hyphen(text: str, told: str) -> None:
    assert hyphens.closed(text) == told


def test_the_pages_own_text_knows_better() -> None:
    known = hyphens.open_hyphens("Meant was the Web- Seite, and a long-term plan.")
    assert known == ("web- seite",)
    assert hyphens.closed("die Web- Seite, a long- term plan", known) == "die Web- Seite, a long-term plan"


@given(st.text("ab1.- \n", max_size=30))
def test_nothing_but_space_changes(text: str) -> None:
    assert "".join(hyphens.closed(text).split()) == "".join(text.split())
