"""Passwords come from a file that nobody else can read, or from systemd, and are shown nowhere."""

import os
from pathlib import Path

import pytest

from ocrd.config import passwords
from ocrd.config.watch import Pages, Watch
from ocrd.errors import MachineError

SECRETS = ("first word", "zweites  Wort ", "третье")


def written(path: Path, mode: int = 0o600, data: bytes = "\n".join(("", *SECRETS, "")).encode()) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_each_line_is_a_password_with_its_spaces(tmp_path: Path) -> None:
    assert passwords.read(written(tmp_path / "a")) == SECRETS
    assert passwords.read(written(tmp_path / "b", data=b"\xef\xbb\xbfone\r\ntwo")) == ("one", "two")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o601])
def test_a_file_that_others_can_use_is_not_taken(tmp_path: Path, mode: int) -> None:
    with pytest.raises(MachineError, match="chmod 600"):
        passwords.read(written(tmp_path / "a", mode))


def test_what_is_no_list_of_passwords_is_said_so_without_its_words(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    wrong = [
        written(tmp_path / "latin", data="geheimes wört".encode("latin-1")),
        written(tmp_path / "long", data=b"secret\n" * 10_000),
        tmp_path / "fifo",
        tmp_path / "missing",
        tmp_path,
    ]
    for path in wrong:
        with pytest.raises(MachineError) as caught:
            passwords.read(path)
        assert str(path) in caught.value.what
        assert not any(word in f"{caught.value!r}" for word in ("geheim", "secret"))


def test_a_credential_is_where_systemd_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "scans", 0o440)  # with an access list, the bits of the group are its mask
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert passwords.read(Path("credential:scans")) == SECRETS
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(MachineError, match="LoadCredential=scans:"):
        passwords.read(Path("credential:scans"))


def test_how_sources_are_opened_shows_no_password(tmp_path: Path) -> None:
    pages = Pages(animations="all")
    watch = Watch.model_construct(passwords_file=written(tmp_path / "a"), split="blank", pages=pages)
    how = passwords.opening(watch)
    assert (how.passwords, how.embedded, how.frames) == (SECRETS, True, True)
    assert not any(secret in repr(how) for secret in SECRETS)
