"""What the files of a document are called: a template of the owner's, filled in and made safe for any file system.

What is filled in comes from strangers: names of files, texts of barcodes. Whatever they hold, the outcome is one name,
without its ending: no path, nothing that hides or that Windows refuses, short enough for numbers and endings behind it.
Pure.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from string import Formatter

AS_DROPPED = "{stem}"
"""The template that changes nothing, not even what is not safe elsewhere."""
FIELDS = ("stem", "date", "watch", "folder", "barcode", "pages", "sha")
WITHOUT_BARCODE = "no-barcode"
LONGEST, LONGEST_FIELD = 180, 100
"""Bytes of a name, and of each text in it; 255 are a file system's limit, with endings such as ` (2)-10.assets`."""

_FORMATS = {
    "date": (re.compile(r"((%[YymdHMSjGVu%])|[^%])*"), "one of %Y %y %m %d %H %M %S %j %G %V %u, as {date:%Y-%m-%d}"),
    "pages": (re.compile(r"(0?[1-9])?"), "a width, as {pages:3} or {pages:03}"),
}
_TEXT = (re.compile(r"(\.[1-9]\d?)?"), "how many characters at most, as {sha:.8}")
_UNSAFE = '<>:"/\\|?*'
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What a name can be made of."""

    stem: str
    """Of the scan's own name."""
    date: datetime
    """When the scan was last changed before it was taken."""
    watch: str
    folder: str
    """Below the inbox; empty in the inbox itself."""
    barcode: str
    """Text of the first one; empty where there is none."""
    pages: int
    sha: str
    """Digest of the scan, in hexadecimal."""


def check(template: str) -> str:
    """Return a template that can be filled in. Raises ValueError that says what is allowed."""
    known = f"the fields are {', '.join(f'{{{name}}}' for name in FIELDS)}"
    for literal, name, form, conversion in _parts(template):
        if bad := [char for char in literal if not _is_safe(char)]:
            raise ValueError(f"must not hold {bad[0]!r}, which not every file system takes; {known}")
        if name is None:
            continue
        if name not in FIELDS or conversion:
            raise ValueError(f"must not hold {{{name}{'!' if conversion else ''}{conversion or ''}}}; {known}")
        pattern, allowed = _FORMATS.get(name, _TEXT)
        if not pattern.fullmatch(form) or not all(map(_is_safe, form)):
            raise ValueError(f"must not hold {{{name}:{form}}}; behind the colon may stand {allowed}")
    if not any(name for _, name, _, _ in _parts(template)):
        raise ValueError(f"must hold a field, since all would be called alike; {known}")
    return template


def uses_barcode(template: str) -> bool:
    """Whether barcodes are to be looked for."""
    return any(name == "barcode" for _, name, _, _ in _parts(template))


def made(template: str, facts: NameFacts) -> str:
    """Fill in a template that was checked. Returns a name without an ending."""
    values = {
        "stem": _short(facts.stem),
        "date": facts.date,
        "watch": facts.watch,
        "folder": _short(facts.folder or facts.watch),
        "barcode": _short(facts.barcode or WITHOUT_BARCODE),
        "pages": facts.pages,
        "sha": facts.sha,
    }
    filled = []
    for literal, name, form, _ in _parts(template):
        filled.append(literal)
        if name is not None:
            filled.append(format(values[name], form or ("%Y-%m-%d" if name == "date" else "")))
    return _safe("".join(filled))


def _parts(template: str) -> Iterator[tuple[str, str | None, str, str | None]]:
    """Take a template apart: text, then the field behind it, its format and its conversion. Raises ValueError."""
    try:
        for literal, name, form, conversion in Formatter().parse(template):
            yield literal, name, form or "", conversion
    except ValueError as error:
        raise ValueError(f"must have its braces in pairs, with a field in them ({error})") from error


def _is_safe(char: str) -> bool:
    return char.isprintable() and char not in _UNSAFE


def _safe(name: str) -> str:
    """Make a name that every file system takes, and no program hides."""
    name = "".join(char if _is_safe(char) else "_" for char in name)
    name = _cut(" ".join(name.split()).lstrip(". ~"), LONGEST).rstrip(". ")
    return f"_{name}" if not name or _RESERVED.fullmatch(name) else name


def _short(text: str) -> str:
    return _cut(text, LONGEST_FIELD)


def _cut(text: str, most: int) -> str:
    """Leave so many bytes of a text, up to the end of a character."""
    return os.fsencode(text)[:most].decode(errors="ignore") if len(os.fsencode(text)) > most else text
