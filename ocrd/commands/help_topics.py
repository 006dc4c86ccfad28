"""`ocrd help`: the reference, made of the same descriptions as the configuration itself, its example and its schema."""

import difflib
import os
import textwrap
from collections.abc import Callable, Iterable

from ocrd.config import example, overrides, profile, resolving
from ocrd.config.example import Setting, settings
from ocrd.engines.vllm import image_size
from ocrd.errors import ConfigError
from ocrd.telemetry import journal

WIDTH = 96

A4 = (595, 842)
"""In points."""


def topics() -> dict[str, Callable[[], str]]:
    """Return what help there is, by name: general topics, then one for each section of the configuration."""
    general: dict[str, Callable[[], str]] = {
        "configuration": lambda: _told(settings()),
        "companion": _companion,
        "profiles": _profiles,
        "exit-codes": _exit_codes,
        "journal": _journal,
    }
    sections = [one.name for one in settings() if one.kind == "section"]
    return general | {name.replace("[]", ""): lambda name=name: _section(name) for name in sections}


def about(topic: str) -> str:
    """Return the help on one topic, or on a setting by its name: `watches.split` or `split`.

    Raises ConfigError if there is none.
    """
    known = topics()
    if topic in known:
        return known[topic]()
    called = topic.replace("[]", "")
    meant = [one for one in settings() if f".{one.name.replace('[]', '')}".endswith(f".{called}")]
    if meant:
        return "\n".join(_section(one.name) if one.kind == "section" else _one(one) for one in meant)
    names = {name for one in settings() for name in (one.name.replace("[]", ""), one.name.rpartition(".")[2])}
    near = difflib.get_close_matches(topic, [*known, *names], 3)
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ConfigError(
        f"There is no help on {topic!r}.", f"{hint}There is help on every setting, and on: {', '.join(known)}."
    )


def contents() -> str:
    """Return the list of topics."""
    listed = "".join(f"  {name}\n" for name in topics())
    return f"ocrd help TOPIC, of which there are, beside the name of any setting (split, watches.split):\n\n{listed}"


def _section(name: str) -> str:
    own = next(one for one in settings() if one.name == name)
    inside = [one for one in settings() if one.name.startswith(f"{name}.")]
    return _wrapped(own.meaning, "") + "\n" + _told(inside)


def _told(known: Iterable[Setting]) -> str:
    return "\n".join(_one(one) for one in known)


def _one(setting: Setting) -> str:
    default = f"; default {setting.default}" if setting.default else ""
    must = "; must be given" if not setting.default and setting.kind != "section" else ""
    return f"{setting.name}\n    {setting.kind}{default}{must}\n{_wrapped(setting.meaning, '    ')}"


EXIT_CODES = {
    0: "All is well.",
    2: "The command line is wrong.",
    os.EX_DATAERR: "A source was refused (`once`, `convert`), or there is none of that name.",
    os.EX_UNAVAILABLE: "A program of yours, `on_delivered` or `on_refused`, failed, or a URL did not take what it was "
    "told (`once`).",
    os.EX_SOFTWARE: "A defect of ocrd: please report it, with what it said.",
    os.EX_IOERR: "A fault of the machine, or another ocrd holds the folders (`run`).",
    os.EX_TEMPFAIL: "The engine is gone; systemd starts ocrd again. Of `once`: another ocrd holds the folders.",
    os.EX_CONFIG: "The configuration is wrong; systemd does not start it again.",
}
"""What each means, as `docs/operations.md` says, too."""


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False) + "\n"


def _companion() -> str:
    where = (
        "Beside the scan letter.pdf, letter.pdf.ocrd.yaml sets these for it alone; beside images that become the "
        "document letter, letter.ocrd.yaml. A folder's .ocrd.yaml sets them for the scans in that very folder. "
        f"Where both set the same, the scan's own counts. {overrides.MOST} bytes are the most."
    )
    return _wrapped(where, "") + "\n" + _told(example.companion_settings())


def _profiles() -> str:
    """Lay the profiles out as a table, and say what stands in a file of one's own."""
    head = ("profile", "model", "licence", "dialect", "A4 in pixels", "tokens", "vLLM")
    rows = [head, *(_profile(resolving.shipped(name)) for name in profile.names())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)
    restricted = "".join(
        _wrapped(f"* {name}: {told.restriction}.", "")
        for name in profile.names()
        if (told := resolving.shipped(name)).restriction
    )
    intro = _wrapped(
        "engine.profile names one of these, or a YAML file of your own with the keys below. With kind: vllm, what "
        "engine.vllm sets wins over the profile; with kind: transformers, engine.transformers.",
        "",
    )
    keys = "".join(
        f"{prefix}{name}\n{_wrapped(field.description or '', '    ')}"
        for prefix, section in (("", profile.Profile), ("image.", profile.ImageRule))
        for name, field in section.model_fields.items()
        if name != "image"
    )
    return f"{intro}\n{table}\n{restricted}\n{keys}"


def _profile(told: profile.Profile) -> tuple[str, ...]:
    size = image_size.page_size(*A4, rule=told.image)
    return (
        told.name,
        told.model or "any",
        told.licence + " *" * bool(told.restriction),
        told.dialect,
        f"{size.width} x {size.height}",
        str(image_size.tokens(size, told.image)) if told.architectures else "?",
        f"{told.least_vllm} or newer",
    )


def _exit_codes() -> str:
    lines = [f"{code:3}\n{_wrapped(meaning, '    ')}" for code, meaning in EXIT_CODES.items()]
    status = "`ocrd status` ends with 0 if all is well, 1 if somebody should have a look, 2 if nothing is read."
    return "".join(lines) + "\n" + _wrapped(status, "")


def _journal() -> str:
    fields = _wrapped("Fields: " + ", ".join(f"OCRD_{name.upper()}" for name in journal.FIELDS) + ".", "")
    messages = "".join(f"  {message}  {name}\n" for name, message in journal.MESSAGE_IDS.items())
    example = "  journalctl -u ocrd OCRD_SOURCE=scan.pdf\n  journalctl -x MESSAGE_ID={}\n"
    return f"{fields}\nMessages:\n{messages}\nFor instance:\n{example.format(journal.MESSAGE_IDS['refused'])}"
