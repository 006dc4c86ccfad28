"""Folders of our own where anybody may write: nothing that others prepared there is used."""

import os
from collections.abc import Callable
from pathlib import Path

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
