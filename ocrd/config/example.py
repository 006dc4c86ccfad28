"""The configuration written out: as an example with every default, as a JSON schema, as a reference, as it is in force.

All of it is made of the descriptions in `schema`, so that each setting is explained in one place.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from ocrd.config import loader
from ocrd.config.profile import SHARED
from ocrd.config.resolving import UNSET, find, resolve
from ocrd.config.schema import Config, Engine
from ocrd.config.units import Section
from ocrd.config.watch import Options, Watch


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of the configuration file, or one section."""

    name: str
    """Its keys from the top, with dots; `watches[]` stands for each watch."""
    kind: str
    """What may be written there; `section` for a section."""
    default: str
    """As the file writes it; empty for a section, and where it must be given."""
    meaning: str


def dump(section: Section) -> str:
    """Write settings back as YAML, in the units that the file uses."""
    return yaml.safe_dump(section.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def shown(config: Config) -> str:
    """Write a configuration as it is in force: with what the profile sets, and of each setting that it does.

    Raises ConfigError for a profile that can't be had, or doesn't fit.
    """
    values = config.model_dump(mode="json")
    kind, chosen = config.engine.kind, _of_the_profile(config.engine)
    if not chosen:
        return _lines_of(values)
    values["engine"][kind] |= chosen
    lines = _lines_of(values).splitlines()
    places = dict(loader.lines("\n".join(lines)))
    for name in chosen:
        lines[places["engine", kind, name] - 1] += f"  # of the profile {find(config.engine.profile).name}"
    return "\n".join(lines) + "\n"


def _of_the_profile(engine: Engine) -> dict[str, Any]:
    """Return what the engine's settings leave to its profile, as that has it."""
    if engine.kind == "vllm":
        resolved = resolve(engine.vllm, find(engine.profile))
        left = {name for name in SHARED if getattr(engine.vllm, name) in UNSET}
        given = {name for name in left if getattr(resolved, name) not in (*UNSET, "", ())}
        return resolved.model_dump(mode="json", include=given)
    if engine.kind == "transformers":
        chosen = find(engine.profile)
        known = chosen.model_dump(include={"revision", "max_tokens"}) | {"model": chosen.native_model or chosen.model}
        return {name: one for name, one in known.items() if one and getattr(engine.transformers, name) is None}
    return {}


class _OneLine(yaml.SafeDumper):
    """Writes a text of several lines in one, within quotes, so that a comment can follow it."""


_OneLine.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\n" in text else None),
)


def _lines_of(values: dict[str, Any]) -> str:
    return yaml.dump(values, Dumper=_OneLine, sort_keys=False, allow_unicode=True, width=math.inf)


def schema() -> dict[str, Any]:
    """Return the JSON schema of the file, with the defaults as they are written."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:ocrd:configuration"}
    return head | Config.model_json_schema(mode="serialization")


def short(settings: Mapping[str, object]) -> str:
    """Write a configuration of these settings alone."""
    head = "# Every other setting has its default: ocrd config show -c FILE, ocrd help configuration\n"
    return head + yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True, width=math.inf)


def example() -> str:
    """Write config.example.yaml: every setting with its description and default."""
    watch = {name: f"/srv/ocr/{name}" for name in ("inbox", "outbox", "archive", "error")} | {"name": "scans"}
    lines = [
        "# yaml-language-server: $schema=ocrd.schema.json",
        "# The line above tells editors what may stand here: ocrd config schema > ocrd.schema.json",
        "# Every setting of ocrd with its default. Only `watches` must be given.",
        "# Times are written 500ms, 3s, 10min, 1h; sizes 128MiB, 2GiB; relative paths start at this file.",
        *_example_lines(Config, {}, ""),
        *(("    " if number else "  - ") + line for number, line in enumerate(_example_lines(Watch, watch, ""))),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _example_lines(section: type[Section], given: Mapping[str, object], indent: str) -> Iterator[str]:
    for name, setting in section.model_fields.items():
        yield f"{indent}# {setting.description}"
        inner = setting.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            yield f"{indent}{name}:"
            yield from _example_lines(inner, {}, indent + "  ")
        elif name == "watches":
            yield f"{indent}{name}:"
        else:
            default = given.get(name, setting.get_default(call_default_factory=True))
            yield f"{indent}{name}: {_example_value(section, name, default)}"


def _example_value(section: type[Section], name: str, default: object) -> str:
    model = section.model_construct(None, **{name: default})
    value = model.model_dump(mode="json", include={name})[name]
    if value is None:
        return ""
    style = '"' if isinstance(value, str) and "\n" in value else None
    return yaml.safe_dump(value, default_flow_style=True, default_style=style, width=1000).removesuffix("...\n").strip()


@cache
def settings() -> tuple[Setting, ...]:
    """List all settings and sections, in the file's order."""
    described = schema()
    return tuple(_settings_of(described, described["$defs"], ""))


def companion_settings() -> list[Setting]:
    """List what a companion, the small file beside one scan, can set."""
    described = Options.model_json_schema(mode="serialization")
    return list(_settings_of(described, described.get("$defs", {}), ""))


def reference() -> str:
    """Write docs/configuration.md: every setting with what may be written, its default and its meaning."""
    known = settings()
    parts = [_HEAD, *_table(one for one in known if _section_name(one) == "" and one.kind != "section")]
    for section in (one for one in known if one.kind == "section"):
        inside = [one for one in known if _section_name(one) == section.name and one.kind != "section"]
        parts += [f"\n## `{section.name}`\n\n{section.meaning}\n", *_table(inside)]
    return "\n".join([*parts, _COMPANION_HEAD, *_table(companion_settings())]) + "\n"


_HEAD = """\
# Configuration

This page is made of the program's own descriptions: `make docs` writes it, and a test holds it to them. The same comes
from `ocrd help configuration`, and as an example file from `ocrd config init`
([config.example.yaml](../config.example.yaml)).

The configuration is one YAML file. Only `watches` must be given, so a short file is enough, such as `ocrd init` writes:

```yaml
engine:
  kind: cpu                # leave it out on a machine with a GPU
watches:
  - name: scans
    inbox: /srv/ocr/inbox
    outbox: /srv/ocr/outbox
    archive: /srv/ocr/archive
    error: /srv/ocr/error
```

Times are written `500ms`, `3s`, `10min`, `1h`; sizes `128MiB`, `2GiB`. A relative path starts at the folder of the
configuration file. `watches[]` stands for each watch. A key that ocrd does not know is a mistake, and every mistake is
named with its line before anything starts.

```sh
ocrd config show -c ocrd.yaml      # what a file means, with all defaults
ocrd config schema > ocrd.schema.json   # for editors that complete and check as you type
ocrd check -c ocrd.yaml            # configuration, folders, programs and engine
```

A running service takes a changed file by `systemctl reload ocrd`. What `engine`, `render`, `metrics`, `max_attempts`
and `log.format` say counts after a restart only; the log names what has to wait.

## Top level
"""

_MARKUP = re.compile(r"[<*]")


_COMPANION_HEAD = """
## Settings of one scan

A small file beside a scan, its companion, can set these for that scan alone: [How files arrive](arrival.md#companions)
tells where it lies.
"""


def _table(rows: Iterable[Setting]) -> Iterator[str]:
    """Write settings as the rows of a Markdown table."""
    yield "| setting | may be | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for one in rows:
        default = {"": "must be given", "null": "empty"}.get(one.default, f"`{one.default}`")
        cells = (f"`{one.name}`", one.kind, default, one.meaning)
        yield f"| {' | '.join(map(_cell, cells))} |"


def _cell(text: str) -> str:
    """Make text fit into a cell of a table, and show there as it is; what stands between backticks is code already."""
    parts = text.split("`")
    parts[::2] = [_MARKUP.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "`".join(parts).replace("|", r"\|")


def _section_name(setting: Setting) -> str:
    return setting.name.rpartition(".")[0]


def _settings_of(section: dict[str, Any], known: dict[str, Any], prefix: str) -> Iterator[Setting]:
    for name, raw in section["properties"].items():
        inner = _section_in(raw, known)
        listed = raw.get("type") == "array" and inner is not None
        dotted = f"{prefix}{name}{'[]' if listed else ''}"
        meaning = raw.get("description") or (inner or {}).get("description", "")
        default = json.dumps(raw["default"], ensure_ascii=False) if "default" in raw and inner is None else ""
        yield Setting(dotted, "section" if inner else _kind(raw), default, meaning)
        if inner:
            yield from _settings_of(inner, known, f"{dotted}.")


def _section_in(raw: dict[str, Any], known: dict[str, Any]) -> dict[str, Any] | None:
    """Find the section that a property holds, or lists."""
    either = [raw, raw.get("items", {}), *raw.get("anyOf", ())]
    reference = next((one["$ref"] for one in either if "$ref" in one), None)
    found = known[reference.rpartition("/")[2]] if reference else None
    return found if found and "properties" in found else None


def _kind(raw: dict[str, Any]) -> str:
    """Say in words what may be written."""
    if "anyOf" in raw:
        return " or ".join("empty" if one.get("type") == "null" else _kind(one) for one in raw["anyOf"])
    if "enum" in raw or "const" in raw:
        return " | ".join(map(str, raw.get("enum", [raw.get("const")])))
    if raw.get("type") == "array":
        return f"list of {_kind(raw.get('items', {}))}"
    for unit, words in (("ms|", "time, such as 3s or 10min"), ("KiB|", "size, such as 128MiB")):
        if unit in str(raw.get("pattern", "")):
            return words
    kinds = {"integer": "whole number", "number": "number", "boolean": "true | false", "object": "mapping"}
    least = f", at least {raw['minimum']:g}" if "minimum" in raw else ""
    return kinds.get(str(raw.get("type")), "text") + least
