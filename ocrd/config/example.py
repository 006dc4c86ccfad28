"""The configuration written out: as an example with every default, as a JSON schema, as it is in force."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from ocrd.config.schema import Config, Watch
from ocrd.config.units import Section


def dump(section: Section) -> str:
    """Write settings back as YAML, in the units that the file uses."""
    return yaml.safe_dump(section.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def schema() -> dict[str, Any]:
    """Return the JSON schema of the file, with the defaults as they are written."""
    return Config.model_json_schema(mode="serialization")


def example() -> str:
    """Write config.example.yaml: every setting with its description and default."""
    watch = {name: f"/srv/ocr/{name}" for name in ("inbox", "outbox", "archive", "error")} | {"name": "scans"}
    lines = [
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
