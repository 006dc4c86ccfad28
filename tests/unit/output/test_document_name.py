"""A template of names is refused where it is wrong, and whatever it is filled with, one safe name comes of it."""

import os
import unicodedata
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocrd.output.document_name import FIELDS, NameFacts, check, made, uses_barcode

FACTS = NameFacts("scan 7", datetime(2026, 11, 28, 9, 5), "bills", "in/out", "AB-12", 7, "0123456789abcdef" * 4)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{stem}", "scan 7"),
        ("{date:%Y-%m-%d} {stem}", "2026-11-28 scan 7"),
        ("{date} {date:%Y%m%dT%H%M}", "2026-11-28 20261128T0905"),
        ("{watch}-{folder}-{barcode}", "bills-in_out-AB-12"),
        ("{pages:03} {pages:3} {pages}", "007 7 7"),
        ("{sha:.8}", "01234567"),
        ("{stem:.4}", "scan"),
        ("{{{stem}}}", "{scan 7}"),
    ],
)
def test_a_template_is_filled_in(template: str, name: str) -> None:
    assert made(check(template), FACTS) == name


def test_what_is_empty_has_a_default() -> None:
    nothing = replace(FACTS, stem="", folder="", barcode="")
    assert made("{folder} {barcode}", nothing) == "bills no-barcode"
    assert made("{stem}", nothing) == "_"


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{name}", ["{name}", "{stem}, {date}, {watch}, {folder}, {barcode}, {pages}, {sha}"]),
        ("{}", ["{}", "{stem}"]),
        ("{0}", ["{0}"]),
        ("{stem.upper}", ["{stem.upper}"]),
        ("{stem[0]}", ["{stem[0]}"]),
        ("{stem!r}", ["{stem!r}"]),
        ("{stem:>200}", ["{stem:>200}", "{sha:.8}"]),
        ("{stem:{pages}}", ["{stem:{pages}}"]),
        ("{date:%s}", ["{date:%s}", "%Y %y %m %d"]),
        ("{date:%Y/%m}", ["{date:%Y/%m}"]),
        ("{date:%}", ["{date:%}"]),
        ("{pages:x}", ["{pages:x}", "{pages:03}"]),
        ("{pages:999999999}", ["a width"]),
        ("{stem", ["braces in pairs"]),
        ("stem}", ["braces in pairs"]),
        ("a/{stem}", ["'/'"]),
        ("..\\{stem}", ["'\\\\'"]),
        ("{stem}\n", ["'\\n'"]),
        ("{stem}?", ["'?'"]),
        ("scan", ["must hold a field"]),
        ("", ["must hold a field"]),
    ],
)
def test_a_wrong_template_is_told_with_what_is_allowed(template: str, told: list[str]) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        check(template)
    assert all(word in str(caught.value) for word in told), caught.value


def is_safe(name: str) -> bool:
    """Whether every file system takes a name with an ending behind it, and nothing hides or hurts."""
    first = name.partition(".")[0].rstrip().lower()
    return (
        0 < len(os.fsencode(name)) <= 181
        and not set(name) & set('<>:"/\\|?*\0')
        and not any(unicodedata.category(char)[0] == "C" for char in name)
        and not name.startswith((".", " ", "~"))
        and not name.endswith((".", " "))
        and first not in {"con", "prn", "aux", "nul", "conin$", "conout$"}
        and not (len(first) == 4 and first[:3] in {"com", "lpt"} and first[3].isdigit())
        and name.encode() is not None
    )


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=400), st.sampled_from(FIELDS))
@example("../../etc/passwd", "", "", "stem")
@example("CON", "", "", "stem")
@example("com¹.pdf", "", "", "stem")
@example("", "", "../../x\x00\r\n\x1b[31m", "barcode")
@example("~$letter", "", "", "stem")
@example("\u202egpj.exe", "..", "", "stem")
@example("ü" * 400, "", "", "stem")
@example("\udcff\udcfe", "", "", "stem")
@example("a" * 99 + "ü", "", "." * 400, "barcode")
def test_whatever_is_filled_in_the_name_is_safe(stem: str, folder: str, barcode: str, field: str) -> None:
    facts = replace(FACTS, stem=stem, folder=folder, barcode=barcode)
    for template in (f"{{{field}}}", "{barcode}{stem}", "{stem} {folder}.", "({barcode}) {stem}{folder}{sha}"):
        assert is_safe(made(check(template), facts)), made(template, facts)


def test_barcodes_are_looked_for_only_where_they_are_wanted() -> None:
    assert uses_barcode("{barcode:.9} {stem}")
    assert not uses_barcode("{{barcode}} {stem}")
