"""ocrd installed from a wheel: whole in an environment of its own, and with a word to say beside OCR-D."""

import json
import os
import re
import zipfile
from pathlib import Path

import pytest
import yaml
from installed import ROOT, Environment, build, wheel_of

import ocrd
from ocrd.config import loader

OCR_D = {
    "ocrd/__init__.py": "raise ImportError('this is OCR-D')\n",
    "ocrd/cli/__init__.py": "def cli():\n    print('this is OCR-D')\n",
}
"""The files of OCR-D's distribution that ours has, too, or that Python takes for one of ours."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def ocr_d(tmp_path: Path) -> Path:
    return wheel_of(tmp_path, OCR_D, {"ocrd": "ocrd.cli:cli"}, "3.13.0")


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "an environment")


def test_the_wheel_that_is_made_of_the_sdist_holds_every_file_of_the_package(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    for folder, place in (("ocrd", "ocrd"), ("systemd", "ocrd/systemd"), ("monitoring", "ocrd/monitoring")):
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc"]
        assert len(files) > 0
        assert {f"{place}/{path.relative_to(ROOT / folder)}" for path in files} <= held
    assert f"ocr_inbox-{ocrd.__version__}.dist-info/licenses/LICENSE" in held
    assert {name.partition("/")[0] for name in held} == {
        "ocrd",
        "ocr_inbox.py",
        f"ocr_inbox-{ocrd.__version__}.dist-info",
    }


def test_what_is_no_code_is_found_where_the_wheel_put_it(wheel: Path, environment: Environment, tmp_path: Path) -> None:
    environment.install(wheel)
    environment.lend()
    assert environment.run("ocrd", "config", "dashboard").stdout == (ROOT / "monitoring/grafana.json").read_text()
    assert "deepseek-ocr-2" in environment.run("ocrd", "help", "profiles").stdout
    config = tmp_path / "ocrd.yaml"
    config.write_text("watches: [{name: s, inbox: i, outbox: o, archive: a, error: e}]\n")
    plan = environment.run("ocrd", "service", "install", "--dry-run", "--user", "-c", config)
    assert plan.returncode == 0, plan.stderr
    assert "ocrd.service" in plan.stdout


def test_both_commands_and_both_modules_are_the_same(wheel: Path, environment: Environment) -> None:
    environment.install(wheel)
    environment.lend()
    for command in (["ocrd"], ["ocr-inbox"], ["python", "-m", "ocrd"]):
        told = environment.run(*command, "--version")
        assert (told.returncode, told.stdout) == (0, f"ocrd {ocrd.__version__}\n"), told.stderr


@pytest.mark.parametrize("last", ["ours", "theirs"])
def test_beside_ocr_d_every_command_says_so_and_ends(
    last: str, wheel: Path, ocr_d: Path, environment: Environment
) -> None:
    environment.install(*((ocr_d, wheel) if last == "ours" else (wheel, ocr_d)))
    environment.lend()
    commands = [["ocr-inbox", "--version"], ["ocr-inbox", "run"], ["ocr-inbox", "config", "init"]]
    if last == "ours":
        commands += [["ocrd", "check"], ["python", "-m", "ocrd", "status"]]
    for command in commands:
        told = environment.run(*command)
        assert told.returncode == os.EX_CONFIG, command
        what, remedy = told.stderr.splitlines()
        assert "OCR-D (`ocrd` 3.13.0 of PyPI) is installed in " in what
        assert str(environment.site) in what
        assert "an environment of its own" in remedy
        assert not told.stdout


def test_ocr_d_that_python_finds_only_behind_ours_is_in_nobodys_way(
    wheel: Path, ocr_d: Path, environment: Environment, tmp_path: Path
) -> None:
    other = Environment(tmp_path / "another")
    other.install(ocr_d)
    environment.install(wheel)
    environment.lend()
    (environment.site / "zz.pth").write_text(f"{other.site}\n")
    told = environment.run("ocrd", "--version")
    assert told.returncode == 0, told.stderr
    before = environment.run("ocr-inbox", "--version", PYTHONPATH=str(other.site))
    assert before.returncode == os.EX_CONFIG
    assert str(other.site) in before.stderr


def test_an_installation_of_ours_under_its_former_name_is_no_ocr_d(
    wheel: Path, environment: Environment, tmp_path: Path
) -> None:
    environment.install(wheel_of(tmp_path, {}, {"ocrd": "ocrd.cli:main"}, "0.1.0"), wheel)
    environment.lend()
    told = environment.run("ocrd", "--version")
    assert (told.returncode, told.stdout) == (0, f"ocrd {ocrd.__version__}\n"), told.stderr


def test_what_packages_are_made_of_fits_together() -> None:
    assert (ROOT / "debian/changelog").read_text().startswith(f"ocr-inbox ({ocrd.__version__}-")
    [watch] = loader.load(ROOT / "debian/ocrd.yaml").watches
    units = (ROOT / "systemd/ocrd.service").read_text()
    place = re.search(r"^PLACE := (\S+)$", (ROOT / "debian/rules").read_text(), re.MULTILINE)
    assert place
    assert f"ExecStart={place[1]}/bin/ocrd run -c /etc/ocrd/ocrd.yaml\n" in units
    assert f"ReadWritePaths=-{watch.inbox.parent}\n" in units
    recipe = (ROOT / "Containerfile").read_text()
    targets = set(re.findall(r"^FROM \S+ AS (\w+)$", recipe, re.MULTILINE))
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    options = " ".join(services.pop("vllm")["command"].split())
    assert options in " ".join((ROOT / "docs/scaling.md").read_text().split())
    services = services.values()
    assert {"cpu", "vllm"} == {service["build"]["target"] for service in services} <= targets
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in services)
    copied = {line.removeprefix("!") for line in (ROOT / ".containerignore").read_text().splitlines() if line[0] == "!"}
    assert all((ROOT / path).exists() for path in copied)


def test_the_image_is_checked_as_compose_checks_it() -> None:
    """podman keeps a check only in images of Docker's format, and so both have it."""
    recipe = " ".join((ROOT / "Containerfile").read_text().split())
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    check = services["ocrd"]["healthcheck"]
    times = " ".join(f"--{name.replace('_', '-')}={check[name]}" for name in ("interval", "timeout", "start_period"))
    command = json.dumps(check["test"][1:]).replace("$$", "$")
    assert f"HEALTHCHECK {times} \\ CMD {command}" in recipe
