"""PDFs whose pages can be drawn, though objects of theirs are not what ocrd's checks expect."""

import io
from collections.abc import Callable
from pathlib import Path

import pymupdf
import pytest

from ocrd.model import PageFacts, PixelSize, View
from ocrd.rendering import tasks
from ocrd.rendering.pdf_source import Pdf
from ocrd.rendering.searchable_pdf import searchable
from ocrd.rendering.text_placement import Strip

MakePdf = Callable[..., Path]
PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F 5 0 R>>>>%b>>"


def with_page(raw_pdf: MakePdf, path: Path, entries: bytes, *, direct: bool = False, text: bytes = b"Letters") -> Path:
    """Make a PDF of one page, whose object is number 3 or stands in the list of pages; number 4 is its contents."""
    page = PAGE % entries
    shows = b"BT /F 30 Tf 72 700 Td (%b) Tj ET" % text if text else b""
    return raw_pdf(
        path,
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%b]/Count 1>>" % (page if direct else b"3 0 R"),
        b"null" if direct else page,
        b"<</Length %d>>stream\n%b\nendstream" % (len(shows), shows),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )


def seen(path: Path) -> PageFacts:
    return tasks.render_page(path, 0, lambda *_: PixelSize(1240, 1754), View(layer=True)).facts


@pytest.mark.parametrize("direct", [False, True], ids=["an object", "in the list"])
@pytest.mark.parametrize(
    "entries",
    [
        b"/Contents 4 0 R",
        b"/Contents 4 0 R/Gr\xf6\xdfe 9",
        b"/Contents 4 0 R/Annots[<</Type/Annot/Subtype/Link/Rect[9 9 20 20]>>]",
    ],
    ids=["usual", "a key", "a note"],
)
def test_a_page_with_an_odd_object_is_whole(tmp_path: Path, raw_pdf: MakePdf, entries: bytes, *, direct: bool) -> None:
    facts = seen(with_page(raw_pdf, tmp_path / "a.pdf", entries, direct=direct))
    assert (facts.blank, facts.damage) == ("", "")
    assert facts.layer
    assert (facts.layer.letters, facts.layer.flaw) == (7, "")


@pytest.mark.parametrize("direct", [False, True], ids=["an object", "in the list"])
@pytest.mark.parametrize("contents", [b"[null 4 0 R]", b"[4 0 R 9]"])
def test_a_page_whose_contents_are_partly_no_stream_is_read(
    tmp_path: Path, raw_pdf: MakePdf, contents: bytes, *, direct: bool
) -> None:
    facts = seen(with_page(raw_pdf, tmp_path / "a.pdf", b"/Contents %b" % contents, direct=direct))
    assert (facts.blank, facts.damage) == ("", "parts of it are missing")


@pytest.mark.parametrize("direct", [False, True], ids=["an object", "in the list"])
@pytest.mark.parametrize("contents", [b"99 0 R", b"[99 0 R]", b"[4 0 R 99 0 R]"])
def test_contents_that_are_not_there_are_told(
    tmp_path: Path, raw_pdf: MakePdf, contents: bytes, *, direct: bool
) -> None:
    facts = seen(with_page(raw_pdf, tmp_path / "a.pdf", b"/Contents %b" % contents, direct=direct))
    assert facts.damage == "its contents are missing"


@pytest.mark.parametrize("check", ["damage", "printed", "is_drawn_unseen", "layer"])
@pytest.mark.parametrize("text", [b"Letters", b""])
def test_a_check_that_fails_costs_nothing_that_was_drawn_but_is_told(
    tmp_path: Path, raw_pdf: MakePdf, monkeypatch: pytest.MonkeyPatch, check: str, text: bytes
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("bad xref")

    monkeypatch.setattr(Pdf, check, fail)
    facts = seen(with_page(raw_pdf, tmp_path / "a.pdf", b"/Contents 4 0 R", text=text))
    is_asked = check != "is_drawn_unseen" or not text
    assert facts.damage == ("its objects are damaged" if is_asked else "")
    assert bool(facts.blank) == (not text)


def test_a_check_that_lacks_memory_fails_the_page(
    tmp_path: Path, raw_pdf: MakePdf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Pdf, "printed", fail)
    with pytest.raises(MemoryError):
        seen(with_page(raw_pdf, tmp_path / "a.pdf", b"/Contents 4 0 R"))


def test_a_page_in_the_list_itself_can_be_made_searchable(tmp_path: Path, raw_pdf: MakePdf) -> None:
    path = with_page(raw_pdf, tmp_path / "a.pdf", b"/Contents 4 0 R", direct=True)
    made = io.BytesIO()
    with pymupdf.open(path) as document:
        searchable(document, [[Strip("was read", 72, 300, 200, 12, 0)]], made)
    with pymupdf.open("pdf", made.getvalue()) as document:
        assert document[0].get_text().split() == ["Letters", "was", "read"]
