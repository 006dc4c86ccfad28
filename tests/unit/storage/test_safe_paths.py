"""Folders of our own where anybody may write: nothing that others prepared there is used."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocrd.errors import MachineError
from ocrd.storage import safe_paths, scratch

STRANGER = 65534


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Give a folder like /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def theirs(folder: Path) -> None:
    folder.mkdir()
    if os.geteuid():
        pytest.skip("only root can give a folder to another user")
    os.chown(folder, STRANGER, STRANGER)


def open_to_all(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def linked(folder: Path) -> None:
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)


@pytest.mark.parametrize("prepare", [theirs, open_to_all, linked])
def test_a_folder_that_another_user_prepared_is_not_written_to(
    shared: Path, tmp_path: Path, prepare: Callable[[Path], None]
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    prepare(shared / "ours")
    (shared / "ours" / ".status.json.tmp").symlink_to(victim)
    with pytest.raises(MachineError, match="only ocrd's user can change"):
        scratch.write_scratch(shared / "ours" / "status.json", b"status")
    assert victim.read_bytes() == b"precious"
    assert os.listdir(shared / "ours") == [".status.json.tmp"]
    assert not safe_paths.is_own_folder(shared / "ours")


def test_a_folder_that_another_user_could_replace_is_not_written_to(shared: Path) -> None:
    theirs(shared / "theirs")
    with pytest.raises(MachineError, match="only ocrd's user can change"):
        scratch.write_scratch(shared / "theirs" / "ours" / "status.json", b"status")


def test_a_folder_of_our_own_is_made_and_what_a_crash_left_there_replaced(shared: Path) -> None:
    path = shared / "ours" / "status.json"
    scratch.write_scratch(path, b"first")
    path.with_name(".status.json.tmp").write_bytes(b"half")
    scratch.write_scratch(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(path.parent) == ["status.json"]


def test_a_link_in_a_folder_of_our_own_is_replaced_and_not_followed(shared: Path, tmp_path: Path) -> None:
    path = shared / "ours" / "status.json"
    scratch.write_scratch(path, b"first")
    (tmp_path / "victim").write_bytes(b"precious")
    path.unlink()
    path.symlink_to(tmp_path / "victim")
    path.with_name(".status.json.tmp").symlink_to(tmp_path / "victim")
    scratch.write_scratch(path, b"second")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert path.read_bytes() == b"second"


def test_the_place_is_that_of_the_service_or_the_session_and_else_below_run_for_root(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/some:/run/other")
    assert safe_paths.runtime_folder() == Path("/run/some")
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert safe_paths.runtime_folder() == tmp_path / "ocrd"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert safe_paths.runtime_folder() == Path("/run/ocrd-0")
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert safe_paths.runtime_folder() == tmp_path / "ocrd-4242"


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.EPERM, errno.EIO, errno.EINVAL])
def test_a_name_that_a_file_system_cannot_be_asked_for_is_told_from_a_folder_that_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real, most = os.lstat, [50]

    def lstat(path: Path, **options: Any) -> os.stat_result:
        if len(Path(path).name) > most[0]:
            raise OSError(number, os.strerror(number))
        return real(path, **options)

    monkeypatch.setattr(os, "lstat", lstat)
    assert safe_paths.could_lie_at(tmp_path / ("y" * 50))
    assert not safe_paths.could_lie_at(tmp_path / ("y" * 51))
    most[0] = 0
    with pytest.raises(OSError, match=os.strerror(number)):
        safe_paths.could_lie_at(tmp_path / "y")
