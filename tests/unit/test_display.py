"""What a person is told to type."""

import importlib.util
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
    assert display.pip("x>=1") == f"'{python}' -m pip install 'x>=1'", "pipx lends its own"
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert display.pip("x>=1") == f"uv pip install --python '{python}' 'x>=1'", "uv's tools have none"
    (prefix / "bin/pip").touch()
    assert display.pip("x>=1") == f"'{prefix}/bin/pip' install 'x>=1'"
