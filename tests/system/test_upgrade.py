"""An upgrade under a running daemon: its files become others, and only its next start can go on with them."""

import os
import shutil
from pathlib import Path

import house as houses
import pytest
from house import House, stop, wait_for

import ocrd


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let daemons run a copy of ocrd that can be changed."""
    copy = tmp_path / "installed" / "ocrd"
    shutil.copytree(Path(ocrd.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(houses, "MODULES", os.pathsep.join([str(copy.parent), houses.MODULES]))
    return copy


def test_an_upgrade_pauses_the_watches_until_the_service_is_restarted_and_refuses_nothing(
    house: House, package: Path
) -> None:
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    tasks = package / "rendering" / "tasks.py"
    code = tasks.read_text()
    tasks.unlink()  # the upgrade is under way
    house.drop("scan.pdf")
    wait_for(lambda: house.events("paused"))
    tasks.write_text(f"{code}\n# of the next version\n")
    [paused] = house.events("paused")
    assert str(package) in str(paused["what"])
    assert paused["remedy"] == "Restart the service (systemctl restart ocrd). Work resumes then."
    assert stop(daemon) == 0
    house.start()
    wait_for(lambda: house.files("archive") == ["scan.pdf"])
    assert house.files("outbox") == ["scan.md"]
    assert house.files("error") == []
    assert len(house.events("paused")) == 1
