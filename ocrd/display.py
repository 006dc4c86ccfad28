"""Paths, names and times as they are shown to a person."""

import os
import shlex
import shutil
import sys
from pathlib import Path

_NARROW = 1.5
"""The most by which a range's ends differ for one number between them to be said instead."""
_ROUGH = ((10, 1), (60, 5), (600, 30), (3600, 60), (36000, 600))
"""Seconds, and to what a time below them is rounded where no more is known of it."""
_ROUGHEST = 3600


def shown(path: Path | str) -> str:
    """Spell a path for a person: what is not UTF-8 or would disturb a terminal is shown as an escape."""
    text = str(path)
    return text if text.isprintable() else "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # how Python spells a byte of a name that is not UTF-8 (PEP 383)
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def command() -> str:
    """Return what this program is called by, where it is typed: by its name if the shell finds it by that."""
    script = os.path.join(sys.prefix, "bin/ocrd")
    found = shutil.which("ocrd")
    return "ocrd" if found and os.path.realpath(found) == os.path.realpath(script) else shlex.quote(script)


def pip(*packages: str) -> str:
    """Return the command that installs packages where this very ocrd runs, also where a tool made that place."""
    script = os.path.join(sys.prefix, "bin/pip")
    if os.path.exists(os.path.join(sys.prefix, "pipx_metadata.json")):
        how = ["pipx", "inject", os.path.basename(sys.prefix)]
    elif os.path.exists(script):
        how = [script, "install"]
    else:
        how = ["uv", "pip", "install", "--python", sys.executable]
    return shlex.join([*how, *packages])


def counted(number: int, noun: str) -> str:
    """Spell a number of things: `1 page`, `2 pages`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def estimate(likely: float, least: float, most: float) -> str:
    """Write a time in seconds that is not known exactly: `about 4 min`, or `3 min to 8 min` if it may be either."""
    if most <= _NARROW * least:
        return f"about {duration(_rough(likely))}"
    return f"{duration(_rough(least))} to {duration(_rough(most))}"


def _rough(seconds: float) -> float:
    step = next((step for limit, step in _ROUGH if seconds < limit), _ROUGHEST)
    return max(1, step * round(seconds / step))


def duration(seconds: float) -> str:
    """Write a time in its two largest units: `2 h 5 min`, `40 s`."""
    whole = round(seconds)
    for size, unit, smaller, name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    return f"{whole} s"
