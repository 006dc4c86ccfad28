"""`ocrd check` says what the file system of a folder can't do that the promises need."""

import errno
import os
from pathlib import Path

import pytest
from house import House

from ocrd.commands import check
from ocrd.errors import MachineError
from ocrd.storage import mounts, renames


@pytest.mark.parametrize(
    ("kind", "refuses"), [("ext4", True), ("fuse.sshfs", True), ("vfat", False), ("fuse.rclone", False)]
)
def test_what_a_file_system_lacks_is_told_of_each_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, *, refuses: bool
) -> None:
    house = House(tmp_path)
    monkeypatch.setattr(check, "_check_engine", lambda _: iter(()))  # it is no matter here
    monkeypatch.setattr(mounts, "kind_of", lambda _: kind)
    if not refuses:
        monkeypatch.setattr(renames, "renamed_or_refused", lambda *_: False)
    assert check.run(house.root / "ocrd.yaml") == 0
    told = capsys.readouterr().out
    assert told.count(f"{kind} can't refuse a taken name") == (0 if refuses else 4)
    assert told.count(f"{kind} stores files late") == (4 if kind == "fuse.rclone" else 0)
    left = [path for path in tmp_path.rglob("*") if "probe" in path.name]
    assert left == []


def test_a_folder_whose_file_system_cannot_be_asked_is_wrong_and_the_others_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    house = House(tmp_path)
    monkeypatch.setattr(check, "_check_engine", lambda _: iter(()))
    outbox = house.path("outbox")
    outbox.mkdir(parents=True, exist_ok=True)

    def kind_of(folder: Path) -> str:
        if folder == outbox:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return "ext4"

    monkeypatch.setattr(mounts, "kind_of", kind_of)
    assert check.run(house.root / "ocrd.yaml") == MachineError.exit_code
    told = capsys.readouterr().out
    assert f"WRONG scans: outbox {outbox}" in told
    assert told.count("OK    scans: ") == 4
