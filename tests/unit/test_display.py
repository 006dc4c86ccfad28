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
