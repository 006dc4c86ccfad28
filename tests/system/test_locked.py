"""PDFs that ask for a password, and PDFs with others in them, as a watch has them read."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pikepdf
import pymupdf
from house import House, wait_for

MakePdf = Callable[..., Path]
SECRET = "Xylophon-4711"  # noqa: S105 - of a file that the test makes


def locked(house: House, make_pdf: MakePdf, name: str = "a.pdf") -> bytes:
    path = make_pdf(house.root / name)
    with pikepdf.open(path) as pdf:
        pdf.save(house.root / "locked.pdf", encryption=pikepdf.Encryption(owner="chief", user=SECRET))
    (house.root / "locked.pdf").rename(house.path(f"inbox/{name}"))
    return house.path(f"inbox/{name}").read_bytes()


def everything(root: Path) -> bytes:
    """All files that lie in the house but its passwords and programs of others."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name != "passwords")
    return b"\n".join(path.read_bytes() for path in files)


def test_a_locked_pdf_is_read_by_its_password_which_nobody_sees(
    house: House, make_pdf: MakePdf, ocrd: Callable[..., Any]
) -> None:
    outputs = ["markdown", "json", "text", "html", "pdf"]
    house.configure(watch={"passwords_file": "passwords", "outputs": outputs})
    house.root.joinpath("passwords").write_text(f"wrong\n{SECRET}\n")
    house.root.joinpath("passwords").chmod(0o600)
    original = locked(house, make_pdf)
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == ["a.html", "a.json", "a.md", "a.pdf", "a.txt"]
    assert "status: complete" in house.path("outbox/a.md").read_text()
    assert not pymupdf.open(house.path("outbox/a.pdf")).needs_pass
    assert house.path("archive/a.pdf").read_bytes() == original
    done = ocrd("rerun", "a", "--pages", "1")
    assert done.returncode == 0, done.stderr
    assert house.start("once").wait(120) == 0
    assert house.events("reread")
    done = ocrd("review", "a", "-o", house.root / "review.html")
    assert done.returncode == 0, done.stderr
    assert "data:image/webp" in house.root.joinpath("review.html").read_text()
    house.configure(watch={"passwords_file": "credential:scans", "outputs": outputs})
    assert "handed to the service alone" in ocrd("check").stdout
    done = ocrd("review", "a", "-o", house.root / "without.html")
    assert done.returncode == 0, done.stderr
    assert "can not be shown" in house.root.joinpath("without.html").read_text()
    told = everything(house.root) + done.stdout.encode() + done.stderr.encode()
    assert SECRET.encode() not in told


def test_passwords_that_others_can_read_hold_the_watch_up_until_that_is_mended(
    house: House, make_pdf: MakePdf, ocrd: Callable[..., Any]
) -> None:
    house.configure(watch={"passwords_file": "passwords"})
    house.root.joinpath("passwords").write_text(f"{SECRET}\n")
    house.root.joinpath("passwords").chmod(0o644)
    locked(house, make_pdf)
    said = ocrd("check").stdout
    assert "chmod 600" in said
    assert SECRET not in said
    house.start()
    wait_for(lambda: house.told("paused", "scans"))
    assert "chmod 600" in str(house.told("paused", "scans")[0])
    assert house.files("error") == []
    house.root.joinpath("passwords").chmod(0o600)
    wait_for(lambda: house.files("outbox") == ["a.md"])


def test_without_its_password_it_is_refused_with_what_to_do(house: House, make_pdf: MakePdf) -> None:
    original = locked(house, make_pdf)
    assert house.start("once").wait(120) == os.EX_DATAERR
    assert house.path("error/a.pdf").read_bytes() == original
    (note,) = (name for name in house.files("error") if name != "a.pdf")
    assert "passwords\\_file" in house.path(f"error/{note}").read_text()


def test_the_pdfs_of_a_portfolio_become_parts_where_the_watch_splits(house: House, make_pdf: MakePdf) -> None:
    house.configure(watch={"split": "blank", "outputs": ["markdown", "pdf"]})
    with pikepdf.open(make_pdf(house.root / "cover.pdf")) as pdf:
        for number in (2, 1):
            path = make_pdf(house.root / f"{number}.pdf", pages=number)
            pdf.attachments[path.name] = pikepdf.AttachedFileSpec(pdf, path.read_bytes())
        pdf.Root.Collection = pikepdf.Dictionary(Type=pikepdf.Name.Collection)
        pdf.save(house.root / "a.pdf")
    house.root.joinpath("a.pdf").rename(house.path("inbox/a.pdf"))
    assert house.start("once").wait(120) == 0
    assert house.files("outbox") == [f"a-{part}.{suffix}" for part in (1, 2, 3) for suffix in ("md", "pdf")]
    counts = [pymupdf.open(house.path(f"outbox/a-{part}.pdf")).page_count for part in (1, 2, 3)]
    assert counts == [1, 1, 2]  # the attached ones by their names
    assert "problems: []" in house.path("outbox/a-3.md").read_text()
    assert house.files("archive") == ["a.pdf"]
