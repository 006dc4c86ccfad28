"""`ocrd tidy`: what lies about is shown, and moved only when told."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
from house import House

from ocrd.config import loader
from ocrd.storage import leftovers

FIGURE = "words\n\n<|ref|>image<|/ref|><|det|>[[100, 100, 900, 900]]<|/det|>\n"


def lying(house: House) -> list[str]:
    [watch] = loader.load(house.root / "ocrd.yaml").watches
    return sorted(f"{leftover.role}/{leftover.name}" for leftover in leftovers.of(watch))


@pytest.fixture
def used(house: House, ocrd: Callable[..., Any]) -> House:
    """Give folders in which a page was read again, and a refused file was taken away."""
    house.configure(watch={"outputs": ["markdown", "text"]}, says=FIGURE)
    for name in ("sub/a.pdf", "b.pdf"):
        house.drop(name, pages=2)
    house.path("inbox/bad.pdf").write_bytes(b"no PDF")
    house.path("inbox/kept.pdf").write_bytes(b"no PDF either")
    assert house.start("once").wait(120) == 65
    house.path("error/bad.pdf").unlink()
    house.configure(watch={"outputs": ["markdown", "text"]}, says=FIGURE.replace("words", "better"))
    assert ocrd("rerun", "sub/a", "--pages", "2").returncode == 0
    assert house.start("once").wait(120) == 0
    house.path("outbox/foreign.md.bak").write_text("mine")
    house.path("outbox/foreign.md").write_text("mine")
    house.path("outbox/b.assets/page-9-figure-1.png").write_text("mine")
    house.path("error/own.error.md").write_text("mine")
    return house


LYING = [
    "error/bad.pdf.error.md",
    "outbox/sub/a.assets/page-2-figure-1.jpg",
    "outbox/sub/a.md.bak",
    "outbox/sub/a.txt.bak",
]


def test_it_is_shown_and_nothing_is_touched(used: House, ocrd: Callable[..., Any]) -> None:
    before = [used.files(role) for role in ("outbox", "error", "archive")]
    told = ocrd("tidy")
    assert (told.returncode, told.stderr) == (0, "")
    assert lying(used) == LYING
    assert [line.split("  (")[0] for line in sorted(told.stdout.splitlines()[:-1])] == sorted(
        str(used.path(name)) for name in LYING
    )
    assert [used.files(role) for role in ("outbox", "error", "archive")] == before


def test_it_is_moved_when_told_and_the_documents_stay_whole(used: House, ocrd: Callable[..., Any]) -> None:
    before = {name: used.path(f"outbox/{name}").read_bytes() for name in used.files("outbox")}
    target = used.root / "away"
    assert ocrd("tidy", "--to", target).returncode == 0
    assert sorted(str(path.relative_to(target / "scans")) for path in target.rglob("*") if path.is_file()) == LYING
    assert {f"outbox/{name}" for name in before} - {f"outbox/{name}" for name in used.files("outbox")} == set(LYING[1:])
    assert all(used.path(f"outbox/{name}").read_bytes() == before[name] for name in used.files("outbox"))
    assert ocrd("tidy").stdout == "Nothing lies about.\n"
    inside = ocrd("tidy", "--to", used.path("outbox/old"))
    assert (inside.returncode, "lies in a folder of watch scans" in inside.stderr) == (65, True)


def test_what_a_link_or_another_text_shows_stays(used: House) -> None:
    text = used.path("outbox/sub/a.md.bak").read_text()
    used.path("outbox/sub/My copy.md").write_text(text)
    assert "outbox/sub/a.assets/page-2-figure-1.jpg" not in lying(used)
    elsewhere = used.root / "elsewhere"
    shutil.move(used.path("outbox/sub"), elsewhere)
    used.path("outbox/sub").symlink_to(elsewhere)
    assert lying(used) == LYING[:1], "no link is followed"
