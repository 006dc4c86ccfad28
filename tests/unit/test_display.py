"""What a person is told to type."""

import sys
from pathlib import Path

import pytest

from ocrd import display


def test_a_package_is_installed_with_what_the_environment_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = tmp_path / "an environment"
    python = prefix / "bin/python"
    (prefix / "bin").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sys, "executable", str(python))
    assert display.pip("x>=1") == f"uv pip install --python '{python}' 'x>=1'", "uv's environments have no pip"
    (prefix / "bin/pip").touch()
    assert display.pip("x>=1") == f"'{prefix}/bin/pip' install 'x>=1'"
    (prefix / "pipx_metadata.json").touch()
    assert display.pip("x>=1") == "pipx inject 'an environment' 'x>=1'"


def test_a_command_is_named_as_the_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a venv/bin"
    place.mkdir(parents=True)
    (place / "ocrd").write_text("#!/bin/sh\n")
    (place / "ocrd").chmod(0o755)
    monkeypatch.setattr(sys, "prefix", str(place.parent))
    monkeypatch.setenv("PATH", "/usr/bin")
    assert display.command() == f"'{place}/ocrd'"
    monkeypatch.setenv("PATH", str(place))
    assert display.command() == "ocrd"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ocrd").symlink_to(place / "ocrd")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert display.command() == "ocrd"


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ((41, 36, 47), "about 40 s"),
        ((41, 30, 61), "30 s to 1 min"),
        ((250, 190, 461), "3 min to 7 min 30 s"),
        ((0.2, 0.1, 2.4), "1 s to 2 s"),
        ((7_400, 6_900, 8_000), "about 2 h"),
        ((100_000, 90_000, 120_000), "about 1 d 4 h"),
    ],
)
def test_a_time_that_is_not_known_exactly_is_told_no_more_exactly(times: tuple[float, float, float], told: str) -> None:
    assert display.estimate(*times) == told
