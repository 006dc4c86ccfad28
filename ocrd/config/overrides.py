"""What goes for one scan alone: its companion, a small file beside it, and the one that its folder has for all in it.

They are read when the scan is claimed, and checked when it is its turn: a wrong one refuses the scan. The same settings
are told by what is delivered, where a rerun finds them again. Pure.
"""

from collections.abc import Mapping
from pathlib import Path

from ocrd.config.loader import options_of, parse_options
from ocrd.config.watch import Options, Watch
from ocrd.display import shown
from ocrd.errors import ConfigError, DocumentError
from ocrd.model import Approach

MOST = 2**14
"""Bytes of such a file."""


def read(texts: Mapping[str, str | None]) -> Options:
    """Read settings by the path of their file, of which later ones go before earlier. Raises DocumentError."""
    options = Options()
    for name, text in texts.items():
        options = options.model_copy(update=_one(name, text).model_dump(exclude_none=True))
    return options


def _one(name: str, text: str | None) -> Options:
    if text is None:
        raise DocumentError(f"{shown(name)} can't be read, or is no plain file.", "Mend or delete it.")
    if len(text.encode(errors="surrogateescape")) > MOST:
        raise DocumentError(f"{shown(name)} has more than {MOST} bytes.", "Keep to a few lines of settings.")
    if any("\udc80" <= char <= "\udcff" for char in text):
        raise DocumentError(f"{shown(name)} is not UTF-8.", "Save it as UTF-8.")
    try:
        return parse_options(text, Path(name))
    except ConfigError as error:
        raise DocumentError(shown(" ".join(error.what.split())), error.remedy) from error


def recorded(facts: Mapping[str, object]) -> Options:
    """Read the settings that a delivered document tells of itself. Raises DocumentError."""
    try:
        return options_of(facts.get("settings", {}))
    except ConfigError as error:
        raise DocumentError(error.what, error.remedy) from error


def as_facts(options: Options) -> dict[str, object]:
    """Write settings as a delivered document tells them."""
    return options.model_dump(mode="json", exclude_none=True)


def applied(options: Options, watch: Watch) -> Watch:
    """Return the watch as it is for this scan."""
    return watch.model_copy(update={"outputs": options.outputs}) if options.outputs else watch


def approach(options: Options) -> Approach:
    """Say how the engine is to read this scan."""
    return Approach(prompt=options.prompt, languages=options.languages)
