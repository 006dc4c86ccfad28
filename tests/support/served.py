"""The arguments of `vllm serve` in every place that shows them: documentation, compose files, Kubernetes, the unit."""

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

_ROOT = Path(__file__).parents[2]
_SCALING = _ROOT / "docs/scaling.md"
UNIT = _ROOT / "systemd/ocrd-vllm@.service"


def arguments() -> dict[str, list[str]]:
    """Return what follows `vllm serve`, by the place that shows it."""
    [line] = re.findall(r"^vllm serve (.*)$", _SCALING.read_text(encoding="utf-8"), re.MULTILINE)
    found = {"docs/scaling.md": shlex.split(line), UNIT.name: _of_unit()}
    for place, text in composes().items():
        services = yaml.safe_load(text)["services"]
        found |= {f"{place} {name}": shlex.split(one["command"]) for name, one in services.items() if "command" in one}
    return found | {"Kubernetes": container()["args"]}


def composes() -> dict[str, str]:
    """Return the compose files, by where they stand."""
    return {"Docker Compose": _block("x-server:"), "compose.yaml": (_ROOT / "compose.yaml").read_text(encoding="utf-8")}


def kubernetes() -> dict[str, Any]:
    """Return what the example for Kubernetes makes, by its kind."""
    return {made["kind"]: made for made in yaml.safe_load_all(_block("apiVersion:"))}


def container() -> dict[str, Any]:
    """Return the container of that example."""
    [one] = kubernetes()["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    return dict(one)


def _of_unit() -> list[str]:
    text = UNIT.read_text(encoding="utf-8").replace("\\\n", " ")
    variables = dict(re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^Environment=(.*)$", text, re.MULTILINE))))
    [line] = re.findall(r"^ExecStart=\S+/vllm serve (.*)$", text, re.MULTILINE)
    return [re.sub(r"\$\{(\w+)\}", lambda name: variables[name[1]], word) for word in shlex.split(line)]


def _block(beginning: str) -> str:
    """Take the block of the page that begins so."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", _SCALING.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    [found] = [text for text in blocks if text.startswith(beginning)]
    return str(found)
