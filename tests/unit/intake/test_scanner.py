"""A look at where something happened finds what a look through all of the inbox would."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sampling import generator

from ocrd.intake.scanner import Scan, Wanted, refresh, scan
from ocrd.storage.roles import Identity, identity_of

NAMES = [
    "a.pdf", "b.jpg", "b.jpg.part", ".c.pdf.x7", "a.pdf.ocrd.yaml", ".ocrd.yaml", "notes.txt", "d", "e", "x.pdf",
    ".stfolder", "drafts", "closed", "B.PDF",
]  # fmt: skip
WANTED = Wanted(exclude=["drafts", "b*"])


def some_place(root: Path, chance: random.Random) -> Path:
    """Choose a path in the inbox whose folder is there."""
    folders = [Path(place) for place, _, _ in os.walk(root)]
    return chance.choice(folders) / chance.choice(NAMES)


def write(path: Path, chance: random.Random) -> list[Path]:
    if not (path.is_dir() or path.is_symlink()):
        path.write_bytes(bytes(chance.randrange(1, 9)))
    return [path]


def make_folder(path: Path, _: random.Random) -> list[Path]:
    if not os.path.lexists(path):
        path.mkdir()
    return [path]


def make_tree(path: Path, chance: random.Random) -> list[Path]:
    if os.path.lexists(path):
        return []
    path.mkdir()
    for _ in range(3):
        write(some_place(path, chance), chance)
        make_folder(some_place(path, chance), chance)
    return [path]


def link(path: Path, _: random.Random) -> list[Path]:
    if not os.path.lexists(path):
        path.symlink_to("a.pdf")
    return [path]


def remove(path: Path, _: random.Random) -> list[Path]:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return [path]


def move(path: Path, chance: random.Random) -> list[Path]:
    root = path
    while root.name != "inbox":
        root = root.parent
    target = some_place(root, chance)
    if os.path.lexists(path) and not os.path.lexists(target) and path not in target.parents:
        path.rename(target)
    return [path, target]


DEEDS: list[Callable[[Path, random.Random], list[Path]]] = [write, write, make_folder, make_tree, link, remove, move]


@pytest.mark.parametrize("round_", range(40))
def test_a_look_where_something_happened_finds_what_one_through_all_would(tmp_path: Path, round_: int) -> None:
    chance = generator("refresh", str(round_))
    inbox = tmp_path / "inbox"
    (inbox / "closed").mkdir(parents=True)
    closed = frozenset({identity_of((inbox / "closed").stat()), identity_of(inbox.stat())})
    found = scan(inbox, WANTED, coming=True, closed=closed)
    for _ in range(30):
        happened = [
            path
            for _ in range(chance.randrange(1, 4))
            for path in chance.choice(DEEDS)(some_place(inbox, chance), chance)
        ]
        refresh(found, happened, inbox, WANTED, coming=True, closed=closed)
        assert without_unread(found) == without_unread(scan(inbox, WANTED, coming=True, closed=closed)), happened


def without_unread(found: Scan) -> Scan:
    """Leave out the examples of what is not read: one that went away is as good."""
    return Scan(found.files, found.odd, found.coming, found.companions)


@pytest.mark.parametrize("closed", [frozenset[Identity](), frozenset({(0, 0)})])
def test_a_path_that_the_system_does_not_take_is_named_and_hides_nothing_beside_it(
    tmp_path: Path, closed: frozenset[Identity]
) -> None:
    place, at = os.open(tmp_path, os.O_DIRECTORY), len(os.fsencode(tmp_path))
    while at < 3900:
        os.mkdir("d" * 100, dir_fd=place)
        below = os.open("d" * 100, os.O_DIRECTORY, dir_fd=place)
        os.close(place)
        place, at = below, at + 101
    names, folders = [f"{letter * 240}.pdf" for letter in "abc"], [letter * 250 for letter in "def"]
    short = [f"short {number}.pdf" for number in range(20)]  # which a folder lists in an order of its own
    for name in [*names, *short]:
        os.close(os.open(name, os.O_CREAT, dir_fd=place))
    for name in folders:
        os.mkdir(name, dir_fd=place)
    os.close(place)
    found = scan(tmp_path, closed=closed)
    assert sorted(path.name for path in found.files) == sorted(short)
    assert sorted(path.name for path in found.odd) == [*names, *folders]
    assert all("shorten the names of its folders" in why for why in found.odd.values())
    refresh(found, [*found.odd], tmp_path, closed=closed)
    assert sorted(path.name for path in found.files) == sorted(short)
