"""Images that become one document arrive as real programs and people bring them: all of them, once, together."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from house import House, stop, wait_for
from PIL import Image
from writers import run, samba, slowly

QUIET = 0.5
LONG = 2.0
"""Where one image comes after the other: none may be that late, whatever else the machine does."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from _running(tmp_path_factory.mktemp("house"), "subfolder", QUIET)


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from _running(tmp_path_factory.mktemp("house"), "sequence", LONG)


def _running(root: Path, join: str, quiet: float) -> Iterator[House]:
    house = House(root)
    settle = {"quiet": f"{quiet}s", "patience": "1min", "rescan": "30s"}
    house.configure(settle=settle, watch={"join": join})
    house.start()
    wait_for(lambda: house.events("ready") and house.events("watching"))
    yield house
    house.close()


def image(path: Path, weight: int = 0) -> Path:
    """Make an image of a page, unlike any other, with so many bytes more."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.frombytes("L", (120, 160), os.urandom(120 * 160))
    picture.save(path, "PNG" if path.suffix == ".png" else "JPEG")
    path.write_bytes(path.read_bytes() + os.urandom(weight) + path.read_bytes()[-12:])
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of five images."""
    for number in (1, 2, 3, 4, 10):
        image(tmp_path / f"images/{number}.jpg", 100_000)
    return tmp_path / "images"


def ends_of(house: House, name: str) -> list[tuple[object, object]]:
    return [
        (event, line.get("pages"))
        for event in ("delivered", "refused", "returned")
        for line in house.events(event)
        if line["source"] == name
    ]


def delivered(house: House, name: str, pages: int, quiet: float = QUIET) -> None:
    """Wait until a group is archived: delivered once, with all of its pages."""
    wait_for(lambda: ends_of(house, name))
    time.sleep(quiet + 2 * QUIET)  # what came late would be a second document by now
    assert ends_of(house, name) == [("delivered", pages)]
    assert not [file for file in house.files("inbox") if file.startswith(name)]


def reasons_of(house: House, name: str) -> list[str]:
    """Tell what a group waits for."""
    return [str(line["reason"]) for line in house.events("waiting") if line["source"] == name]


def same(one: Path, other: Path) -> bool:
    return {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in other.iterdir()
    }


def test_a_folder_that_is_moved_in(folders: House, images: Path) -> None:
    kept = Path(shutil.copytree(images, images.with_name("kept")))
    run("mv", images, folders.path("inbox/moved"))
    delivered(folders, "moved", 5)
    assert same(folders.path("archive/moved"), kept)
    listed = folders.path("outbox/moved.md").read_text().partition("files:\n")[2]
    assert listed.split("\n")[:5] == [f"- moved/{number}.jpg" for number in (1, 2, 3, 4, 10)]


def test_a_folder_that_is_copied_slowly(folders: House, images: Path) -> None:
    for number in (3, 1, 10, 2, 4):  # in no order
        path = folders.path(f"inbox/copied/{number}.jpg")
        path.parent.mkdir(exist_ok=True)
        slowly(path, (images / path.name).read_bytes(), pieces=3, pause=0.4 * QUIET)
    delivered(folders, "copied", 5)
    assert same(folders.path("archive/copied"), images)


def test_one_member_that_takes_long_holds_the_group(folders: House, images: Path) -> None:
    run("cp", "-r", images, folders.path("inbox/held"))
    with folders.path("inbox/held/3.jpg").open("ab") as writer:
        wait_for(lambda: reasons_of(folders, "held"))
        time.sleep(2 * QUIET)
        assert len(list(folders.path("inbox/held").iterdir())) == 5
        writer.write(b"more")
    delivered(folders, "held", 5)
    assert reasons_of(folders, "held") == ["of 3.jpg: a program still has it open for writing"]


def test_rsync_of_a_folder(folders: House, images: Path) -> None:
    """Slower than the quiet time for each file: only its temporary name tells that one is on its way."""
    run("rsync", "--recursive", "--times", "--bwlimit=120", f"{images}/", folders.path("inbox/rsynced/"))
    delivered(folders, "rsynced", 5)
    assert same(folders.path("archive/rsynced"), images)


def test_a_folder_over_smb(folders: House, images: Path, tmp_path: Path) -> None:
    with samba(tmp_path / "samba", folders.path("inbox")) as server:
        client = server.client(f'mkdir smb; cd smb; prompt OFF; lcd "{images}"; mput *.jpg')
        told, _ = client.communicate(timeout=120)
        assert client.returncode == 0, told
    delivered(folders, "smb", 5)
    assert same(folders.path("archive/smb"), images)


def test_a_folder_with_other_things_in_it(folders: House, images: Path, make_pdf: Callable[..., Path]) -> None:
    for name in ("notes.txt", "Thumbs.db", "._1.jpg"):
        (images / name).write_bytes(b"other")
    make_pdf(images / "letter.pdf")
    run("mv", images, folders.path("inbox/mixed"))
    wait_for(lambda: ends_of(folders, "mixed"))
    wait_for(lambda: ends_of(folders, "mixed/letter.pdf"))
    assert ends_of(folders, "mixed") == [("delivered", 5)]
    assert ends_of(folders, "mixed/letter.pdf") == [("delivered", 1)]
    left = sorted(path.name for path in folders.path("inbox/mixed").iterdir())
    assert left == ["._1.jpg", "Thumbs.db", "notes.txt"]


def test_the_same_folder_again_is_another_document(folders: House, images: Path) -> None:
    run("cp", "-r", images, folders.path("inbox/again"))
    wait_for(lambda: len(ends_of(folders, "again")) == 1)
    image(folders.path("inbox/again/1.jpg"))
    wait_for(lambda: len(ends_of(folders, "again")) == 2)
    assert same(folders.path("archive/again"), images)
    assert folders.files("archive")[:6].count("again (2)/1.jpg") == 1
    assert {"again.md", "again (2).md"} <= set(folders.files("outbox"))


def test_a_member_that_is_deleted_while_it_waits(folders: House, images: Path) -> None:
    run("cp", "-r", images, folders.path("inbox/deleted"))
    with folders.path("inbox/deleted/4.jpg").open("ab"):
        wait_for(lambda: reasons_of(folders, "deleted"))
        folders.path("inbox/deleted/3.jpg").unlink()
    delivered(folders, "deleted", 4)


def test_a_sequence_in_no_order_and_in_time(sequences: House, tmp_path: Path) -> None:
    names = [f"letter-{number:03}.jpg" for number in (3, 1, 5, 2, 4)]
    for name in names:
        image(tmp_path / name).rename(sequences.path(f"inbox/{name}"))
        time.sleep(QUIET / 2)
    delivered(sequences, "letter", 5, LONG)
    assert [name for name in sequences.files("archive") if name.startswith("letter")] == sorted(names)
    text = sequences.path("outbox/letter.md").read_text()
    assert [line for line in text.split("\n") if line.startswith("- letter")] == [f"- {name}" for name in sorted(names)]


def test_a_second_sequence_of_the_same_name(sequences: House, tmp_path: Path) -> None:
    for turn in (1, 2):
        for number in (1, 2):
            image(tmp_path / f"twice-{number}.jpg").rename(sequences.path(f"inbox/twice-{number}.jpg"))
        wait_for(lambda turn=turn: len(ends_of(sequences, "twice")) == turn)
    assert ends_of(sequences, "twice") == [("delivered", 2)] * 2
    archived = [name for name in sequences.files("archive") if name.startswith("twice")]
    assert archived == ["twice (2)-1.jpg", "twice (2)-2.jpg", "twice-1.jpg", "twice-2.jpg"]


def test_one_alone_and_what_has_no_number_are_single(sequences: House, tmp_path: Path) -> None:
    for name in ("alone-1.jpg", "photo.jpg"):
        image(tmp_path / name).rename(sequences.path(f"inbox/{name}"))
    wait_for(lambda: {"alone-1.md", "photo.md"} <= set(sequences.files("outbox")))


def test_two_hundred_images(sequences: House, tmp_path: Path) -> None:
    for number in range(1, 201):
        image(tmp_path / f"many/book_{number}.jpg")
    began = time.monotonic()
    run("rsync", "--recursive", f"{tmp_path}/many/", sequences.path("inbox/"))
    wait_for(lambda: ends_of(sequences, "book"), 300)
    print(f"200 images: {time.monotonic() - began:.1f} s from the first byte to the delivery")
    assert ends_of(sequences, "book") == [("delivered", 200)]
    assert len([name for name in sequences.files("archive") if name.startswith("book")]) == 200


def test_a_bad_image_is_one_bad_page(sequences: House, tmp_path: Path) -> None:
    image(tmp_path / "bad-1.jpg").rename(sequences.path("inbox/bad-1.jpg"))
    sequences.path("inbox/bad-2.jpg").write_bytes(b"no image\xff\xd9")
    delivered(sequences, "bad", 2, LONG)
    assert "> *Page 2 could not be read: bad-2.jpg: This is no PDF" in sequences.path("outbox/bad.md").read_text()


def test_once_reads_a_group_too(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.configure(watch={"join": "subfolder"})
    for number in (1, 2):
        image(house.path(f"inbox/f/{number}.png"))
    assert house.start("once").wait(120) == 0
    assert (house.files("archive"), house.files("outbox")) == (["f/1.png", "f/2.png"], ["f.md"])


def test_a_kill_in_work_reads_the_group_again_and_loses_nothing(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.configure(watch={"join": "subfolder"}, seconds=0.5)
    for number in range(6):
        image(house.path(f"inbox/f/{number}.jpg"))
    daemon = house.start()
    wait_for(lambda: len(house.reads()) >= 2)
    daemon.kill()
    daemon.wait()
    second = house.start()
    wait_for(lambda: house.files("outbox") == ["f.md"])
    assert stop(second) == 0
    assert len(house.files("archive")) == 6
