"""`ocrd init`: from nothing to the first sidecar."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from house import OCRD, wait_for
from preloaded import Completed, run

from ocrd.config import loader
from ocrd.config.schema import Config

ANSWERED = ("--folder", "scans", "--no-gpu")


@pytest.fixture
def init(tmp_path: Path) -> Callable[..., Completed]:
    def type_it(*arguments: str, command: str = "init") -> Completed:
        return run([OCRD, command, *arguments], cwd=tmp_path, timeout=120)

    return type_it


def leaves(value: object, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*where, key))
    else:
        yield where, value


def test_a_newcomer_gets_to_the_first_sidecar(
    tmp_path: Path, init: Callable[..., Any], make_pdf: Callable[..., Path]
) -> None:
    told = init(*ANSWERED)
    assert told.returncode == 0, told.stdout + told.stderr
    assert {path.name for path in (tmp_path / "scans").iterdir()} == {"inbox", "outbox", "archive", "error"}
    assert "OK    engine cpu" in told.stdout
    assert " run -c ocrd.yaml" in told.stdout
    make_pdf(tmp_path / "scans/inbox/letter.pdf")
    assert init(command="once").returncode == 0
    assert "Page 1 of letter" in (tmp_path / "scans/outbox/letter.md").read_text()


def test_only_settings_that_differ_are_written(tmp_path: Path, init: Callable[..., Any]) -> None:
    assert init(*ANSWERED, "--inbox", str(tmp_path / "share/in")).returncode == 0
    written = yaml.safe_load((tmp_path / "ocrd.yaml").read_text())
    [watch] = written.pop("watches")
    folders = {role: f"{tmp_path}/scans/{role}" for role in ("outbox", "archive", "error")}
    assert watch == {"name": "scans", "inbox": f"{tmp_path}/share/in", **folders}
    defaults = Config.model_construct(watches=()).model_dump(mode="json")
    for where, value in leaves(written):
        default: Any = defaults
        for key in where:
            default = default[key]
        assert value != default, where


def test_with_a_gpu_the_engine_is_the_default(tmp_path: Path, init: Callable[..., Any]) -> None:
    told = init("--folder", "scans", "--gpu", "-c", "etc/ocrd.yaml")
    assert (" run -c " if told.returncode == 0 else " check -c etc/ocrd.yaml\n") in told.stdout
    assert "engine" not in yaml.safe_load((tmp_path / "etc/ocrd.yaml").read_text())
    assert loader.load(tmp_path / "etc/ocrd.yaml").engine.kind == "vllm"


@pytest.mark.parametrize("there", ["file", "link"])
def test_a_configuration_that_is_there_stays(there: str, tmp_path: Path, init: Callable[..., Any]) -> None:
    path = tmp_path / "ocrd.yaml"
    if there == "file":
        path.write_text("mine")
    else:
        path.symlink_to("elsewhere.yaml")
    for arguments in (ANSWERED, ()):
        told = init(*arguments)
        assert told.returncode == os.EX_IOERR
        assert told.stderr.startswith("ocrd: There is already a file ocrd.yaml, and it stays as it is.\nEdit that, or ")
    assert [one.name for one in tmp_path.iterdir()] == ["ocrd.yaml"]
    assert path.is_symlink() or path.read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((), "--folder and --gpu or --no-gpu"), (("--gpu",), "--folder"), (("--folder", "x"), "--gpu or --no-gpu")],
)
def test_without_a_terminal_it_names_the_options_that_lack(
    arguments: tuple[str, ...], named: str, tmp_path: Path, init: Callable[..., Any]
) -> None:
    told = init(*arguments)
    assert told.returncode == 2
    assert f"there is no terminal to ask on; give {named}." in " ".join(told.stderr.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--folder", "scans", "--inbox", "scans/outbox"), os.EX_CONFIG, "it needs a place of its own"),
        (("--folder", "scans", "--inbox", "/"), os.EX_CONFIG, "not the root of the file system"),
        (("--folder", "a\x1bb"), os.EX_CONFIG, "a\\x1bb/inbox has characters that a configuration can't hold"),
        (("--folder", "/dev/null/scans"), os.EX_IOERR, "/dev/null"),
    ],
)
def test_folders_that_can_not_be_are_told_and_nothing_is_written(
    arguments: tuple[str, ...], code: int, sentence: str, tmp_path: Path, init: Callable[..., Any]
) -> None:
    told = init(*arguments, "--no-gpu")
    assert told.returncode == code
    assert sentence in told.stderr
    assert "Traceback" not in told.stderr
    assert not list(tmp_path.iterdir())


def test_what_lies_in_the_inbox_already_is_told_of(
    tmp_path: Path, init: Callable[..., Any], make_pdf: Callable[..., Path]
) -> None:
    (tmp_path / "scans/inbox").mkdir(parents=True)
    scan = make_pdf(tmp_path / "scans/inbox/old.pdf")
    assert f"note: {tmp_path}/scans/inbox is not empty." in init(*ANSWERED).stdout
    assert scan.exists()


def test_on_a_terminal_it_asks(tmp_path: Path) -> None:
    terminal, side = os.openpty()
    os.set_blocking(terminal, False)
    program = subprocess.Popen([OCRD, "init"], cwd=tmp_path, stdin=side, stdout=side, stderr=side)
    os.close(side)
    told = b""

    def shows(sign: bytes) -> Callable[[], bool]:
        def look() -> bool:
            nonlocal told
            with suppress(BlockingIOError):
                told += os.read(terminal, 65536)
            return sign in told

        return look

    try:
        wait_for(shows(b"Folder for inbox"), 120)
        os.write(terminal, b"my scans\n")
        wait_for(shows(b"Read with a GPU?"), 120)
        os.write(terminal, b"n\n")
        wait_for(shows(b" run -c "), 120)
        assert program.wait(120) == 0
    finally:
        program.kill()
        program.wait()
        os.close(terminal)
    [watch] = loader.load(tmp_path / "ocrd.yaml").watches
    assert watch.inbox == tmp_path / "my scans/inbox"
