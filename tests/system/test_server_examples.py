"""The examples of servers, for Docker, Kubernetes and systemd, fit each other, and are ones that these take."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import served
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = Path(sys.executable).with_name("podman-compose")


def options(arguments: list[str]) -> dict[str, str]:
    """Take `--name value`, `--name=value` and `--name` apart."""
    found: dict[str, str] = {}
    for word in arguments:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            found[name] = value
        elif found:
            found[next(reversed(found))] += word
    return found


def test_every_example_of_a_server_gives_it_the_same_options() -> None:
    """Whether vLLM takes them shows tests/vllm/test_examples.py."""
    own = {"--model", "--port", "--uds", "--logits-processors"}
    same = [options(arguments) for arguments in served.arguments().values()]
    assert all(one.keys() - own == same[0].keys() - own for one in same)
    assert all(one[name] == same[0][name] for one in same for name in one.keys() - own)
    assert all("--logits-processors" in one for one in same)


@pytest.mark.skipif(
    not (shutil.which("podman") and COMPOSE.exists()), reason="podman or podman-compose is not installed"
)
@pytest.mark.parametrize("place", served.composes())
def test_the_compose_examples_are_ones_that_podman_compose_takes(tmp_path: Path, place: str) -> None:
    (tmp_path / "compose.yaml").write_text(served.composes()[place])
    told = subprocess.run(
        [COMPOSE, "--profile", "gpu", "--profile", "server", "config"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    services = yaml.safe_load(told.stdout)["services"]
    ports = [port for one in services.values() for port in one.get("ports", [])]
    assert len(services) == 2 + (place == "compose.yaml")
    assert len(ports) == len(set(ports))
    page = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    assert all(f"`http://{port.rpartition(':')[0]}/v1`" in page for port in ports)


def test_the_parts_of_the_example_for_kubernetes_fit_each_other() -> None:
    """It was held against the schemas of Kubernetes, too, which are too large for a test (kubernetes-validate)."""
    made, container = served.kubernetes(), served.container()
    service, servers = made["Service"], made["StatefulSet"]
    template = servers["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert (service["apiVersion"], servers["apiVersion"]) == ("v1", "apps/v1")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == servers["spec"]["selector"]["matchLabels"] == labels
    assert servers["spec"]["serviceName"] == service["metadata"]["name"]
    [port] = {one["port"] for one in service["spec"]["ports"]}
    probes = [container[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe")]
    assert [one["containerPort"] for one in container["ports"]] == [port]
    assert probes == [port, port]
    assert [one["name"] for one in container["volumeMounts"]] == [one["name"] for one in template["spec"]["volumes"]]
    name, space = servers["metadata"]["name"], servers["metadata"]["namespace"]
    page = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    assert f"`http://{name}-0.{service['metadata']['name']}.{space}.svc:{port}/v1`" in page


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_the_unit_for_a_server_is_without_fault(tmp_path: Path) -> None:
    unit = tmp_path / "ocrd-vllm@0.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", served.UNIT.read_text(), flags=re.MULTILINE))
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=120, check=False
    )
    assert told.returncode == 0, told.stderr
    assert str(unit.name) not in told.stderr
