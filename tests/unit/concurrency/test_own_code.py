"""After an upgrade under a running daemon no process of another version is asked anything."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from ocrd.concurrency import own_code
from ocrd.concurrency.worker_pool import Limits, Workers
from ocrd.errors import OutdatedError


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let ocrd's files lie where they can be changed."""
    shutil.copytree(Path(own_code.__file__).parents[1], tmp_path / "ocrd", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(own_code.stamps, "__defaults__", (tmp_path / "ocrd",))
    monkeypatch.setattr(own_code, "_at_the_start", own_code.stamps())
    return tmp_path / "ocrd"


def test_files_that_are_changed_added_or_gone_are_noticed(copy: Path) -> None:
    own_code.check()
    (copy / "model.py").touch()
    with pytest.raises(OutdatedError, match=r"have changed .*systemctl restart ocrd"):
        own_code.check()


@pytest.mark.parametrize("name", ["cli.py", "storage/new.py"])
def test_one_file_more_or_less_is_a_change(name: str, copy: Path) -> None:
    if (copy / name).exists():
        (copy / name).unlink()
    else:
        (copy / name).touch()
    with pytest.raises(OutdatedError):
        own_code.check()


def test_no_worker_is_started_by_then_and_the_call_is_not_to_blame(copy: Path) -> None:
    async def story() -> None:
        workers = Workers(1, Limits(10, 2**31))
        try:
            assert await workers.run(os.getpid) in workers.pids
            (copy / "rendering/tasks.py").unlink()
            os.kill(*workers.pids, 9)
            with pytest.raises(OutdatedError, match="as by an upgrade"):
                await workers.run(os.getpid)
        finally:
            await workers.close()

    asyncio.run(story())
