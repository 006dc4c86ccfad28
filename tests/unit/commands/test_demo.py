"""How the demonstration counts, and what it leaves alone."""

from pathlib import Path

import pytest

from ocrd.commands import demo
from ocrd.errors import MachineError


@pytest.mark.parametrize(
    ("truth", "read", "share"),
    [
        ("ten letters", "ten  letters\n", 0),
        ("abcde abcd", "abXde abcd", 0.1),
        ("abcde abcd", "abcde abc", 0.1),
        ("abcde abcd", "abcde abcdef", 0.2),
        ("abc", "", 1),
        ("", "invented", 8),
    ],
)
def test_wrong_missing_and_invented_characters_count(truth: str, read: str, share: float) -> None:
    assert demo.wrong_share(truth, read) == pytest.approx(share)


def test_a_folder_that_was_used_is_left_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("tesserocr")
    (tmp_path / "ocrd.yaml").write_text("mine")
    with pytest.raises(MachineError, match="has been used already"):
        demo.run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ocrd.yaml"]
    assert (tmp_path / "ocrd.yaml").read_text() == "mine"
