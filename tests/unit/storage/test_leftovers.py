"""What nobody needs any more is known only where all was seen that may need it."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ocrd.errors import MachineError
from ocrd.storage import leftovers

CROP = "page-1-figure-1.jpg"


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    (tmp_path / "scan.assets").mkdir()
    (tmp_path / "scan.assets" / CROP).touch()
    return tmp_path


def test_a_picture_that_a_text_or_what_was_kept_of_it_shows_is_needed(outbox: Path) -> None:
    assert leftovers.unshown_crops(outbox, "scan") == [f"scan.assets/{CROP}"]
    (outbox / "scan.md.bak").write_text(f"![](scan.assets/{CROP})")
    assert leftovers.unshown_crops(outbox, "scan") == []


def test_where_the_texts_can_not_be_seen_no_picture_is_unneeded(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (outbox / "scan.md").write_text(f"![](scan.assets/{CROP})")
    listdir = os.listdir

    def failing(path: Any) -> list[str]:
        if Path(path) == outbox:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", failing)
    with pytest.raises(MachineError, match=r"Could not list .*: Input/output error"):
        leftovers.unshown_crops(outbox, "scan")
