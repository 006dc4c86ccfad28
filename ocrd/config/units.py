"""What settings are made of: times and sizes with their units, and sections closed to unknown keys."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

_TIME_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*")


def _quantity(units: Mapping[str, float], example: str, value: object) -> float:
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in units:
        raise ValueError(f"must be a number with a unit ({', '.join(units)}), such as {example}")
    return float(match[1]) * units[match[2]]


def _spelled(units: Mapping[str, float], value: float) -> str:
    """Write a quantity so that it is read back as the same: whole in the largest unit that allows it."""
    for unit in sorted(units, key=units.__getitem__, reverse=True):
        number = value / units[unit]
        if number >= 1 and number == int(number) and int(number) * units[unit] == value:
            return f"{int(number)}{unit}"
    return f"{Decimal(repr(value)):f}{next(unit for unit in units if units[unit] == 1)}"


def at_least(least: float, spelled: str) -> AfterValidator:
    """Refuse a time or size below `least`, which is told as `spelled`."""

    def check(value: float) -> float:
        if value < least:
            raise ValueError(f"must be at least {spelled}")
        return value

    return AfterValidator(check)


def seconds(text: str) -> float:
    """Read a time with its unit, such as `3s` or `7d`. Raises ValueError."""
    return _quantity(_TIME_UNITS, "3s or 10min", text)


Duration = Annotated[
    float,
    BeforeValidator(lambda value: _quantity(_TIME_UNITS, "3s or 10min", value)),
    PlainSerializer(lambda value: _spelled(_TIME_UNITS, value)),
    WithJsonSchema({"type": "string", "pattern": rf"^\d+(\.\d+)? ?({'|'.join(_TIME_UNITS)})$"}),
]
"""Seconds; written as `3s`, `10min`."""

Size = Annotated[
    int,
    BeforeValidator(lambda value: int(_quantity(_SIZE_UNITS, "128MiB", value))),
    PlainSerializer(lambda value: _spelled(_SIZE_UNITS, value)),
    WithJsonSchema({"type": "string", "pattern": rf"^\d+(\.\d+)? ?({'|'.join(_SIZE_UNITS)})$"}),
]
"""Bytes; written as `128MiB`."""


def _word(value: object) -> object:
    """Take `off` and `on`, which YAML 1.1 reads as false and true, for the words that they are."""
    return {False: "off", True: "on"}[value] if isinstance(value, bool) else value


Names = Annotated[tuple[str, ...], Field(strict=False)]
"""A list of texts: YAML has lists, and no tuples."""

Word = BeforeValidator(_word)
"""For a setting of words, one of which is `off` or `on`."""


class HiddenValueError(ValueError):
    """A value is wrong, and holds what no message may show."""


class Section(BaseModel):
    """One mapping of the file: strict, frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")
