"""What people do with the folders: dragging files back, deleting and editing what was delivered."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from house import House, stop, wait_for

from ocrd.output import front_matter

MakePdf = Callable[..., Path]


def refuse(house: House, name: str) -> None:
    """Let a file be refused."""
    path = house.path(f"inbox/{name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no PDF at all")
    assert house.start("once").wait(120) == 65
    assert name in house.files("error")


def test_a_note_knows_whether_it_was_changed() -> None:
    note = front_matter.note("scan.pdf", "what", "remedy", "date").encode()
    assert front_matter.is_own_note(note)
    for changed in (note[1:], note + b"\n", note.replace(b"remedy", b"Remedy"), b"", b"mine"):
        assert not front_matter.is_own_note(changed)


def test_a_file_dragged_back_is_tried_again_and_its_note_goes_away(house: House, make_pdf: MakePdf) -> None:
    refuse(house, "sub/a.pdf")
    make_pdf(house.path("error/sub/a.pdf")).rename(house.path("inbox/sub/a.pdf"))
    assert house.start("once").wait(120) == 0
    assert house.files("archive") == ["sub/a.pdf"]
    assert house.files("error") == []


def test_a_file_that_is_refused_again_has_one_note_and_keeps_its_name(house: House) -> None:
    refuse(house, "a.pdf")
    house.path("error/a.pdf").rename(house.path("inbox/a.pdf"))
    assert house.start("once").wait(120) == 65
    assert house.files("error") == ["a.pdf", "a.pdf.error.md"]


@pytest.mark.parametrize("change", ["edited", "beside its source", "a stranger's"])
def test_a_note_that_is_not_ours_alone_stays(house: House, make_pdf: MakePdf, change: str) -> None:
    refuse(house, "a.pdf")
    note = house.path("error/a.pdf.error.md")
    if change == "edited":
        note.write_text(note.read_text().replace("What", "My remark. What"))
    if change == "a stranger's":
        note.write_text("mine")
    if change == "beside its source":
        shutil.copy(house.path("error/a.pdf"), house.path("inbox/a.pdf"))
    else:
        house.path("error/a.pdf").unlink()
    kept = note.read_bytes()
    make_pdf(house.path("inbox/a.pdf"))
    assert house.start("once").wait(120) == 0
    assert note.read_bytes() == kept


def test_retry_brings_files_back_by_name_or_all_of_them(house: House, ocrd: Callable[..., Any]) -> None:
    for name in ("a.pdf", "sub/b.pdf", "c.pdf"):
        refuse(house, name)
    told = ocrd("retry", "a.pdf", "b.pdf")
    assert (told.returncode, told.stderr) == (0, "")
    assert house.files("inbox") == ["a.pdf", "sub/b.pdf"]
    assert told.stdout.split() == [str(house.path("inbox/a.pdf")), str(house.path("inbox/sub/b.pdf"))]
    house.path("inbox/c.pdf").write_text("another")
    assert ocrd("retry", "--all").returncode == 0
    assert house.files("inbox") == ["a.pdf", "c (2).pdf", "c.pdf", "sub/b.pdf"]
    assert house.files("error") == ["a.pdf.error.md", "sub/b.pdf.error.md"]
    told = ocrd("retry", "nothing.pdf")
    assert told.returncode == 65
    assert "There is no nothing.pdf in the error folders." in told.stderr


def test_retry_takes_no_file_that_was_not_named(house: House, ocrd: Callable[..., Any]) -> None:
    for name in ("a/x.pdf", "b/x.pdf", "x.pdf"):
        refuse(house, name)
    assert ocrd("retry", "x.pdf").stdout.split() == [str(house.path("inbox/x.pdf"))]
    told = ocrd("retry", "x.pdf")
    assert told.returncode == 65
    paths = ", ".join(str(house.path(f"error/{name}")) for name in ("a/x.pdf", "b/x.pdf"))
    assert f"x.pdf can mean several: {paths}." in told.stderr
    assert house.files("inbox") == ["x.pdf"]
    assert ocrd("retry", "b/x.pdf").returncode == ocrd("retry", str(house.path("error/a/x.pdf"))).returncode == 0
    assert house.files("inbox") == ["a/x.pdf", "b/x.pdf", "x.pdf"]


def share(house: House, **folders: str) -> None:
    """Let two watches share folders; only the second joins images."""
    house.configure(("a", "b"))
    raw = yaml.safe_load((house.root / "ocrd.yaml").read_text())
    first, second = (watch | folders for watch in raw["watches"])
    raw["watches"] = [first, second | {"join": "sequence"}]
    (house.root / "ocrd.yaml").write_text(yaml.safe_dump(raw))


def test_of_a_shared_error_folder_each_file_goes_back_to_its_own_inbox(house: House, ocrd: Callable[..., Any]) -> None:
    share(house, error="error")
    for name in ("s-1.png", "s-2.png"):
        house.path(f"inbox/{name}", "b").write_bytes(b"no picture")
        house.path(f"inbox/only-{name}", "a").write_bytes(b"no picture")
    assert house.start("once").wait(120) == 65
    told = ocrd("retry", "--all")
    assert (told.returncode, told.stderr) == (0, "")
    assert sorted(told.stdout.split()) == [
        *(str(house.path(f"inbox/only-s-{number}.png", "a")) for number in (1, 2)),
        str(house.path("inbox/s", "b")),
    ]
    assert house.files("inbox", "a") == ["only-s-1.png", "only-s-2.png"]
    assert house.files("inbox", "b") == ["s-1.png", "s-2.png"]


def test_what_nothing_tells_the_watch_of_stays_and_is_told(house: House, ocrd: Callable[..., Any]) -> None:
    share(house, error="error")
    for name in ("known.pdf", "mine.pdf"):
        house.path(f"inbox/{name}", "b").write_bytes(b"no PDF")
    assert house.start("once").wait(120) == 65
    (house.root / "error/mine.pdf.error.md").unlink()
    told = ocrd("retry", "--all")
    assert (told.returncode, told.stdout.split()) == (65, [str(house.path("inbox/known.pdf", "b"))])
    assert "which of the watches a, b" in told.stderr
    assert (house.root / "error/mine.pdf").exists()


def test_retry_works_beside_the_daemon(house: House, ocrd: Callable[..., Any], make_pdf: MakePdf) -> None:
    refuse(house, "a.pdf")
    make_pdf(house.path("error/a.pdf"))
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    assert ocrd("retry", "a.pdf").returncode == 0
    wait_for(lambda: house.files("archive") == ["a.pdf"])
    assert house.files("error") == []
    assert stop(daemon) == 0


def test_what_happens_to_delivered_sidecars_disturbs_nobody(house: House) -> None:
    daemon = house.start()
    wait_for(lambda: house.events("ready"))
    for name in ("sub/a.pdf", "b.pdf"):
        house.drop(name)
    wait_for(lambda: len(house.events("delivered")) == 2)
    shutil.rmtree(house.path("outbox/sub"))
    house.path("outbox/b.md").write_text("edited")
    house.path("archive/b.pdf").unlink()
    for name in ("sub/a.pdf", "b.pdf"):
        house.drop(name)
    wait_for(lambda: len(house.events("delivered")) == 4)
    assert house.files("outbox") == ["b (2).md", "b.md", "sub/a.md"]
    assert house.path("outbox/b.md").read_text() == "edited"
    assert house.events("paused") == house.events("defect") == house.events("refused") == []
    assert stop(daemon) == 0


@pytest.mark.parametrize("history", [True, False])
def test_of_a_shared_outbox_each_sidecar_is_known_to_be_its_watchs(
    house: House, ocrd: Callable[..., Any], *, history: bool
) -> None:
    share(house, outbox="outbox")
    raw = yaml.safe_load((house.root / "ocrd.yaml").read_text())
    raw["watches"] = [watch | {"history": history} for watch in raw["watches"]]
    (house.root / "ocrd.yaml").write_text(yaml.safe_dump(raw))
    house.drop("x.pdf", pages=2, watch="b")
    house.drop("y.pdf", watch="a")
    assert house.start("once").wait(120) == 0
    for name in ("x", "x.pdf", str(house.root / "outbox/x.md"), str(house.path("archive/x.pdf", "b"))):
        told = ocrd("rerun", name, "--pages", "2")
        assert (told.returncode, told.stderr) == (0, "")
    assert len(list(house.path(".inbox.ocrd-work", "b").glob("rerun-*"))) == 4
    assert not list(house.path(".inbox.ocrd-work", "a").glob("rerun-*"))
    assert house.start("once").wait(120) == 0
    assert len(house.told("reread", "b")) == 4


@pytest.mark.parametrize("role", ["outbox", "archive"])
def test_what_was_delivered_is_not_brought_back_though_it_lies_in_the_error_folder(
    house: House, ocrd: Callable[..., Any], role: str
) -> None:
    house.configure(watch={"outputs": ["markdown", "pdf"], "error": f"scans/{role}"})
    house.drop("good.pdf")
    house.path("inbox/bad.pdf").write_bytes(b"no PDF at all")
    assert house.start("once").wait(120) == 65
    delivered = set(house.files("outbox") + house.files("archive"))
    told = ocrd("retry", "--all")
    assert told.returncode == 0, told.stderr
    assert house.files("inbox") == ["bad.pdf"]
    assert delivered - set(house.files("outbox") + house.files("archive")) == {"bad.pdf"}


def test_a_daemon_of_another_user_is_not_said_to_be_away(house: House, ocrd: Callable[..., Any]) -> None:
    assert "not running" in ocrd("status").stdout
    daemon = house.start(env={"XDG_RUNTIME_DIR": str(house.root / "its own")})
    wait_for(lambda: house.events("ready"))
    told = ocrd("status")
    assert "runs, as another user" in told.stdout
    assert told.returncode == 1
    assert stop(daemon) == 0
    assert "not running" in ocrd("status").stdout


def test_help_has_a_short_name(run_python: Callable[..., Any]) -> None:
    for command in ((), ("run",), ("config", "show")):
        told = run_python("-m", "ocrd", *command, "-h")
        assert told.returncode == 0
        assert "Usage" in told.stdout
