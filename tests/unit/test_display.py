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
