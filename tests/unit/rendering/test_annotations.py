"""Links and signature fields of PDFs, which are drawn as they look."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from ocrd.model import PixelSize, View
from ocrd.rendering import tasks

MakePdf = Callable[..., Path]
LETTERS = b"BT /F 30 Tf 5 10 Td (The letters of a note) Tj ET"
LOOKS = b"/AP<</N 5 0 R>>"


def with_note(raw_pdf: MakePdf, path: Path, note: bytes, *others: bytes) -> Path:
    """Make a PDF of one page with nothing but a note on it; object 6 and the following are `others`."""
    return raw_pdf(
        path,
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Annots[4 0 R]>>",
        b"<</Type/Annot/Rect[100 600 400 640]%b>>" % note,
        b"<</Type/XObject/Subtype/Form/BBox[0 0 300 40]/Resources<</Font<</F<</Type/Font/Subtype/Type1"
        b"/BaseFont/Helvetica>>>>>>/Length %d>>stream\n%b\nendstream" % (len(LETTERS), LETTERS),
        *others,
    )


def drawn(path: Path) -> tuple[int, str, bool]:
    """Give how many letters are seen, the text, and whether anything has a colour."""
    page = tasks.render_page(path, 0, lambda *_: PixelSize(1240, 1754), View(turn=0))
    image = Image.frombytes("RGB", (page.size.width, page.size.height), page.pixels)
    coloured = image.convert("HSV").getchannel("S").getextrema()[1] > 0
    return page.facts.letters, tasks.layer_text(path, 0, page.facts.placement), coloured


@pytest.mark.parametrize(
    "note",
    [b"/Subtype/Link", b"/Subtype/Widget/FT/Sig/T(a)", b"/Subtype/Widget/Parent 6 0 R"],
    ids=["a link", "a signature field", "one that inherits that it is one"],
)
def test_a_note_is_drawn_as_it_looks(tmp_path: Path, raw_pdf: MakePdf, note: bytes) -> None:
    path = with_note(raw_pdf, tmp_path / "a.pdf", note + LOOKS, b"<</FT/Sig/T(a)/Kids[4 0 R]>>")
    letters, text, coloured = drawn(path)
    assert letters > 10
    assert text.endswith("The letters of a note")
    assert not coloured


def test_a_signature_field_without_a_signature_and_looks_is_not_seen(tmp_path: Path, raw_pdf: MakePdf) -> None:
    path = with_note(raw_pdf, tmp_path / "a.pdf", b"/Subtype/Widget/FT/Sig/T(a)/Parent 6 0 R", b"<<>>")
    facts = tasks.render_page(path, 0, lambda *_: PixelSize(1240, 1754), View()).facts
    assert (facts.blank, facts.damage) == ("the page is blank", "")
    assert drawn(path) == (0, "", False)
