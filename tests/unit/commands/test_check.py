"""`ocrd check` says what the file system of a folder can't do that the promises need."""

from pathlib import Path

import pytest
from house import House

from ocrd.commands import check
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
