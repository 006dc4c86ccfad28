"""The settings of `join: duplex`: fronts and backs of the same sheets, scanned into two files."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from ocrd.config.units import Duration, Section


@dataclass(frozen=True, slots=True)
class Side:
    """Which side of a duplex scan a file has, by its name."""

    document: str
    """The name of the scan."""
    is_back: bool


def _side(value: str) -> str:
    if not re.fullmatch(r"\*[^*?\[\]/]{1,32}", value) or value != value.strip() or not value.isprintable():
        raise ValueError("must be * for the name of the scan, with up to 32 characters behind it, such as *-front")
    return value


def _other_side(value: str, info: ValidationInfo) -> str:
    fronts, backs = (one.removeprefix("*").casefold() for one in (info.data.get("fronts", ""), value))
    if fronts and (fronts.endswith(backs) or backs.endswith(fronts)):
        raise ValueError("must tell backs from fronts")
    return value


class Duplex(Section):
    """With `join: duplex`: which two files are fronts and backs, the last back first, and how long one waits alone."""

    pairs: Literal["names", "in_a_row"] = Field(
        default="names",
        description="names: those whose names say so, as fronts and backs have it; in_a_row: also any two of one "
        "folder of which one was written after the other, at most wait later. The first has the fronts.",
    )
    fronts: Annotated[str, AfterValidator(_side)] = Field(
        default="*-front",
        description="How a file of fronts is called, without its ending; * is the name of the scan. Upper and lower "
        "case are the same.",
    )
    backs: Annotated[str, AfterValidator(_side), AfterValidator(_other_side)] = Field(
        default="*-back", validate_default=True, description="The same of a file of backs."
    )
    wait: Duration = Field(default=600.0, description="One side alone waits for the other for this long.")
    alone: Literal["refuse", "read"] = Field(
        default="refuse", description="What happens with one side alone after that: it is refused, or read by itself."
    )
    blank_backs: Literal["keep", "drop"] = Field(
        default="keep",
        description="drop: backs with nothing on them are in no output; the front matter says which. The others keep "
        "their numbers.",
    )

    def side_of(self, stem: str) -> Side | None:
        """Say which side a file of this name, without its ending, has; None if the name does not say."""
        for pattern, is_back in ((self.fronts, False), (self.backs, True)):
            if found := re.fullmatch(f"(.+){re.escape(pattern[1:])}", stem, re.IGNORECASE | re.DOTALL):
                return Side(found[1], is_back)
        return None
