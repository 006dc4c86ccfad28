"""PDFs as people have them: with rubbish around, cropped to nothing, as large as a plan, locked in odd ways, broken."""

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pikepdf
import pymupdf
import pytest
from PIL import Image

from ocrd.errors import DocumentError, IncompleteError
from ocrd.model import Opening, PageResult, PixelSize, Verdict, View
from ocrd.rendering import source, tasks

FILES = Path(__file__).parents[2] / "files"
SAMPLES = Path(__file__).parents[3] / "ocrd/samples"
MakePdf = Callable[..., Path]
DAMAGED = "The structure of this PDF is damaged, and pages of it may be missing."


def size(width: float, height: float) -> PixelSize:
    scale = 800 / max(width, height)
    return PixelSize(max(1, round(width * scale)), max(1, round(height * scale)))


def noise() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((300, 300), 80).save(file, "PNG")
    return file.getvalue()


def refusal(path: Path) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        tasks.open_source(path)
    return caught.value


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\n\r\n" * 100, bytes(3_000_000)])
@pytest.mark.parametrize("behind", [b"", bytes(20_000), b"rubbish" * 300_000])
def test_rubbish_around_a_whole_pdf_costs_no_page(tmp_path: Path, before: bytes, behind: bytes) -> None:
    (tmp_path / "a.pdf").write_bytes(before + (SAMPLES / "english.pdf").read_bytes() + behind)
    facts = tasks.open_source(tmp_path / "a.pdf")
    assert (facts.kind, facts.pages) == ("pdf", 2)


def test_a_text_that_speaks_of_pdf_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"x" * 2000 + b" a file begins with %PDF-1.7 and ends otherwise")
    assert "no PDF and no image" in refusal(tmp_path / "a.pdf").what


def test_a_pdf_that_was_changed_and_is_cut_off_in_the_change_is_cut_off(tmp_path: Path, make_pdf: MakePdf) -> None:
    path = make_pdf(tmp_path / "a.pdf", pages=2)
    whole = path.stat().st_size
    with pymupdf.open(path) as document:
        for _ in range(3):
            document.new_page().insert_image((0, 0, 500, 500), stream=noise())
        document.saveIncr()
    data = path.read_bytes()
    (tmp_path / "cut.pdf").write_bytes(data[: whole + (len(data) - whole) // 2])
    assert isinstance(refusal(tmp_path / "cut.pdf"), IncompleteError)


def test_a_page_that_is_cropped_to_nothing_is_shown_whole(tmp_path: Path) -> None:
    seen = tasks.render_page(FILES / "cropbox-empty.pdf", 0, size, View()).facts
    assert seen.letters > 20
    assert "invoice number 4711" in tasks.layer_text(FILES / "cropbox-empty.pdf", 0, seen.placement)
    with pymupdf.open(FILES / "grey-text.pdf") as document:
        document.xref_set_key(document[0].xref, "CropBox", "[2000 2000 3000 3000]")
        document.save(tmp_path / "outside.pdf")
    assert not tasks.render_page(tmp_path / "outside.pdf", 0, size, View()).facts.blank


@pytest.mark.parametrize("unit", [b"", b"/UserUnit 10"])
def test_a_plan_of_twenty_metres_is_drawn(tmp_path: Path, raw_pdf: MakePdf, unit: bytes) -> None:
    side = 5669 if unit else 56693
    drawing = b"0 0 0 rg 0 0 %d %d re f" % (side // 2, side // 2)
    path = raw_pdf(
        tmp_path / "a.pdf",
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R%b/MediaBox[0 0 %d %d]/Contents 4 0 R>>" % (unit, side, side),
        b"<</Length %d>>stream\n%b\nendstream" % (len(drawing), drawing),
    )
    page = tasks.render_page(path, 0, size, View(turn=0))
    image = Image.frombytes("RGB", (page.size.width, page.size.height), page.pixels)
    assert (image.getpixel((200, 600)), image.getpixel((600, 200))) == ((0, 0, 0), (255, 255, 255))


@pytest.mark.parametrize("width", [0, 0.05, 0.1])
def test_lettering_in_lines_thinner_than_a_pixel_is_seen(tmp_path: Path, width: float) -> None:
    strokes = "0 8 m 0 0 l 5 0 l S 0 4 m 4 4 l S 0 8 m 5 8 l S"  # an E
    with pymupdf.open() as document:
        page = document.new_page()
        letters = (f"q 1 0 0 1 {72 + x} {600 + y} cm {strokes} Q" for y in range(0, 60, 20) for x in range(0, 240, 8))
        pymupdf.TOOLS._insert_contents(page, f"{width} w {' '.join(letters)}".encode(), 1)
        document.save(tmp_path / "a.pdf")
    facts = tasks.render_page(tmp_path / "a.pdf", 0, lambda *_: PixelSize(1240, 1754), View()).facts
    assert (facts.blank, facts.damage) == ("", "")
    assert facts.letters > 60


@pytest.mark.parametrize("element", [b"/P 8 0 R", b"/P 6 0 R/ActualText( )"], ids=["a circle", "another text"])
def test_the_tree_of_headings_and_paragraphs_costs_nothing(tmp_path: Path, raw_pdf: MakePdf, element: bytes) -> None:
    text = b"/P <</MCID 0>> BDC BT /F 30 Tf 72 700 Td (Letters) Tj ET EMC"
    path = raw_pdf(
        tmp_path / "a.pdf",
        b"<</Type/Catalog/Pages 2 0 R/MarkInfo<</Marked true>>/StructTreeRoot 6 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/StructParents 0/Contents 4 0 R"
        b"/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(text), text),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Type/StructTreeRoot/K 7 0 R/ParentTree<</Nums[0[7 0 R]]>>>>",
        b"<</Type/StructElem/S/P/K 0/Pg 3 0 R%b>>" % element,
        b"<</Type/StructElem/S/P/P 7 0 R>>",
    )
    facts = tasks.render_page(path, 0, size, View(layer=True)).facts
    assert (facts.blank, facts.damage) == ("", "")
    assert tasks.layer_text(path, 0, facts.placement).endswith("Letters")


def test_a_page_tree_that_mupdf_finds_nothing_in_is_repaired_and_said_so(tmp_path: Path) -> None:
    with pymupdf.open() as document:
        for _ in range(3):
            document.new_page().insert_text((72, 72), "There is something on it.")
        data = document.tobytes()
        first = document[0].xref
    # the catalog takes the first page for the tree, as a program wrote it that had only one
    (tmp_path / "a.pdf").write_bytes(data.replace(b"/Pages 2 0 R", b"/Pages %d 0 R" % first))
    facts = tasks.open_source(tmp_path / "a.pdf")
    assert facts.pages >= 1
    assert facts.problems == ("The structure of this PDF is damaged, and pages of it may be missing.",)
    assert tasks.render_page(tmp_path / "a.pdf", 0, size, View()).facts.ink > 0


def with_tree(raw_pdf: MakePdf, path: Path, count: bytes, inner: bytes = b"2", kids: bytes = b"") -> Path:
    """Make a PDF of three pages, 100, 200 and 300 points wide, of which two hang on a node of their own."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d 300]/Contents 7 0 R>>"
    return raw_pdf(
        path,
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R 4 0 R %b]%b>>" % (kids, count),
        b"<</Type/Pages/Parent 2 0 R/Kids 8 0 R/Count %b>>" % inner,
        page % 300,
        page % 100,
        page % 200,
        b"<</Length 16>>stream\n50 50 20 20 re f\nendstream",
        b"[5 0 R 6 0 R]",
        b"<</Type/Pages/Parent 2 0 R/Count 0>>",
    )


@pytest.mark.parametrize("count", [b"/Count 1", b"/Count 2", b"/Count 0", b"/Count -3", b""])
@pytest.mark.parametrize("inner", [b"2", b"1", b"9"])
def test_pages_that_a_pdf_does_not_count_are_shown_and_it_is_called_damaged(
    tmp_path: Path, raw_pdf: MakePdf, count: bytes, inner: bytes
) -> None:
    path = with_tree(raw_pdf, tmp_path / "a.pdf", count, inner)
    facts = tasks.open_source(path)
    assert (facts.pages, facts.problems) == (3, (DAMAGED,))
    seen = [tasks.render_page(path, index, size, View()).facts for index in range(3)]
    assert [(page.placement.width, page.blank) for page in seen] == [(100, ""), (200, ""), (300, "")]


@pytest.mark.parametrize(
    "kids",
    [b"", b"2 0 R 3 0 R", b"99 0 R 7 0 R 8 0 R 1 0 R", b"9 0 R"],
    ids=["", "circle", "what is no page", "an empty node"],
)
def test_a_pdf_that_counts_all_of_its_pages_is_not_called_damaged(
    tmp_path: Path, raw_pdf: MakePdf, kids: bytes
) -> None:
    facts = tasks.open_source(with_tree(raw_pdf, tmp_path / "a.pdf", b"/Count 3", kids=kids))
    assert (facts.pages, facts.problems) == (3, ())


def test_what_seems_blank_in_a_repaired_pdf_is_not(tmp_path: Path) -> None:
    with pymupdf.open() as document:
        first = document.new_page().xref
        data = document.tobytes()
    (tmp_path / "a.pdf").write_bytes(data.replace(b"/Pages 2 0 R", b"/Pages %d 0 R" % first))
    facts = tasks.render_page(tmp_path / "a.pdf", 0, size, View()).facts
    assert facts.damage == "the structure of its file is damaged"


def test_a_portfolio_says_what_was_not_read() -> None:
    facts = tasks.open_source(FILES / "portfolio.pdf")
    assert facts.attachments == ("letter.pdf",)
    assert "portfolio" in facts.problems[0]


def test_an_invoice_names_what_is_attached_to_it_and_is_complete(tmp_path: Path, make_pdf: MakePdf) -> None:
    path = make_pdf(tmp_path / "a.pdf")
    with pymupdf.open(path) as document:
        document.embfile_add("factur-x.xml", b"<invoice/>")
        document.saveIncr()
    facts = tasks.open_source(path)
    assert (facts.attachments, facts.problems) == (("factur-x.xml",), ())


def test_a_form_that_only_adobe_can_draw_is_refused() -> None:
    error = refusal(FILES / "xfa-dynamic.pdf")
    assert "dynamic XFA" in error.what
    assert "print it to a new PDF" in error.remedy


def test_an_empty_user_password_opens_a_pdf_and_another_one_does_not(tmp_path: Path, make_pdf: MakePdf) -> None:
    plain = make_pdf(tmp_path / "plain.pdf")
    for name, user in (("owner", ""), ("user", "secret")):
        with pikepdf.open(plain) as pdf:
            pdf.save(tmp_path / f"{name}.pdf", encryption=pikepdf.Encryption(owner="owner", user=user))
    assert tasks.open_source(tmp_path / "owner.pdf").pages == 1
    assert refusal(tmp_path / "user.pdf").what == "This PDF asks for a password."


@pytest.mark.parametrize("algorithm", [2, 4, 6])
def test_one_of_several_passwords_opens_a_pdf_and_what_is_made_of_it_needs_none(
    tmp_path: Path, make_pdf: MakePdf, algorithm: int
) -> None:
    with pikepdf.open(make_pdf(tmp_path / "plain.pdf", pages=2)) as pdf:
        locked = pikepdf.Encryption(
            owner="chief", user="secret", R=algorithm, aes=algorithm > 3, metadata=algorithm > 3
        )
        pdf.save(tmp_path / "a.pdf", encryption=locked)
    path = tmp_path / "a.pdf"
    with source.opening(Opening(("wrong", "other"))):
        assert "none of those in passwords_file" in refusal(path).what
    for right in ("secret", "chief"):
        with source.opening(Opening(("wrong", right, "other"))):
            assert tasks.open_source(path).pages == 2
            pages = tuple(
                PageResult(index, Verdict.OK, "", None, facts=tasks.render_page(path, index, size, View()).facts)
                for index in range(2)
            )
            assert all(page.facts and page.facts.letters and not page.facts.damage for page in pages)
            made = io.BytesIO()
            tasks.make_searchable(path, pages, (), made)
            assert not pymupdf.open(stream=made.getvalue(), filetype="pdf").needs_pass
    assert refusal(path).what == "This PDF asks for a password."


@pytest.mark.parametrize("algorithm", [5, 6])
def test_a_pdf_whose_owner_has_an_empty_password_is_read_and_is_not_called_damaged(
    tmp_path: Path, make_pdf: MakePdf, algorithm: Literal[5, 6]
) -> None:
    with pikepdf.open(make_pdf(tmp_path / "plain.pdf")) as pdf, warnings.catch_warnings(action="ignore"):
        pdf.save(tmp_path / "a.pdf", encryption=pikepdf.Encryption(owner="", user="secret", R=algorithm))
    found = tasks.open_source(tmp_path / "a.pdf")
    assert (found.pages, found.problems) == (1, ())


def without_offsets(data: bytes) -> bytes:
    """Let the table say that all objects are at the beginning of the file."""
    return re.sub(rb"\d{10} 00000 n", b"0000000000 00000 n", data)


def with_another_root(data: bytes) -> bytes:
    """Let the last trailer lead to an object that is no catalog, but says where the document is from."""
    last = b"trailer\n<</Size 99/Root 98 0 R>>\nstartxref\n9\n%%EOF\n"
    return data + b"\n98 0 obj\n<</Producer(some program)>>\nendobj\n" + last


@pytest.mark.parametrize("spoil", [without_offsets, with_another_root])
def test_pages_that_the_tables_of_a_pdf_do_not_lead_to_are_found_and_its_damage_is_told(
    tmp_path: Path, make_pdf: MakePdf, spoil: Callable[[bytes], bytes]
) -> None:
    data = spoil(make_pdf(tmp_path / "plain.pdf", pages=3).read_bytes())
    (tmp_path / "a.pdf").write_bytes(data)
    facts = tasks.open_source(tmp_path / "a.pdf")
    assert (facts.pages, facts.problems) == (3, (DAMAGED,))


def encrypted(path: Path, source: Path, *, subfilter: bytes) -> None:
    """Say of a PDF that it is encrypted for certificates (ISO 32000-2, 7.6.5), or only signed with such a name."""
    data = source.read_bytes()
    keys = b"/Encrypt <</Filter/Adobe.PubSec/SubFilter%s/V 4/Length 128/CF<<>>/Recipients[<00>]>>" % subfilter
    path.write_bytes(data.replace(b"/Root", keys + b"/Root"))


def test_a_pdf_for_the_holders_of_certificates_says_so(tmp_path: Path, make_pdf: MakePdf) -> None:
    encrypted(tmp_path / "a.pdf", make_pdf(tmp_path / "plain.pdf"), subfilter=b"/adbe.pkcs7.s5")
    error = refusal(tmp_path / "a.pdf")
    assert error.what == "This PDF is encrypted for the holders of certain certificates."
    assert "print it to a new PDF" in error.remedy


def test_a_password_that_only_qpdf_sees_is_asked_for(tmp_path: Path, make_pdf: MakePdf) -> None:
    with pikepdf.open(make_pdf(tmp_path / "plain.pdf")) as pdf:
        pdf.save(
            tmp_path / "a.pdf",
            encryption=pikepdf.Encryption(owner="o", user="secret"),
            object_stream_mode=pikepdf.ObjectStreamMode.generate,
        )
    data = (tmp_path / "a.pdf").read_bytes()
    hidden = re.sub(rb"/StmF\s*/StdCF", b"/StmF /Other", data)  # MuPDF: nothing is encrypted
    assert hidden != data
    (tmp_path / "a.pdf").write_bytes(hidden)
    assert refusal(tmp_path / "a.pdf").what == "This PDF asks for a password."


def attachments_locked(path: Path, source: Path, *, direct: bool = False) -> None:
    """Encrypt nothing but attached files (ISO 32000-1, 7.6.5): strings and streams keep their bytes."""
    with pikepdf.open(source) as pdf:
        pdf.save(path, encryption=pikepdf.Encryption(owner="owner", user="user", R=4, aes=True), static_id=True)
        locked = path.read_bytes()
        pdf.save(path, static_id=True)
    keys = re.search(rb"/O (<[0-9a-f]+>|\((?:\\.|[^\\)])*\)).*?/U (<[0-9a-f]+>|\((?:\\.|[^\\)])*\))", locked, re.DOTALL)
    assert keys
    plain = path.read_bytes()
    start = len(plain)
    encrypt = (
        b"<</Filter/Standard/V 4/R 4/Length 128/P -4/O %s/U %s/CF<</A<</CFM/AESV2/AuthEvent/EFOpen/Length 16>>>>"
        b"/StmF/Identity/StrF/Identity/EFF/A>>" % (keys[1], keys[2])
    )
    trailer = re.search(rb"trailer <<(.*)>>\s*startxref\s+(\d+)", plain, re.DOTALL)
    assert trailer
    change = b"\n90 0 obj\n%s\nendobj\n" % encrypt
    table = b"xref\n90 1\n%010d 00000 n \ntrailer <<%s/Prev %s/Encrypt %s>>\n" % (
        start + 1,
        trailer[1].replace(b"/Size 10", b"/Size 91"),
        trailer[2],
        encrypt if direct else b"90 0 R",
    )
    path.write_bytes(plain + change + table + b"startxref\n%d\n%%%%EOF\n" % (start + len(change)))


@pytest.mark.parametrize("direct", [False, True], ids=["by reference", "in the trailer"])
def test_a_pdf_of_which_only_attachments_are_locked_is_read(tmp_path: Path, make_pdf: MakePdf, *, direct: bool) -> None:
    attachments_locked(tmp_path / "a.pdf", make_pdf(tmp_path / "plain.pdf", pages=2), direct=direct)
    assert tasks.open_source(tmp_path / "a.pdf").pages == 2
    seen = tasks.render_page(tmp_path / "a.pdf", 1, size, View()).facts
    assert (seen.blank, seen.damage) == ("", "")


def test_the_pdfs_in_a_portfolio_are_its_parts_where_they_are_wanted(tmp_path: Path, make_pdf: MakePdf) -> None:
    make_pdf(tmp_path / "one.pdf", pages=2)
    with pikepdf.open(make_pdf(tmp_path / "cover.pdf")) as pdf:
        pdf.add_blank_page()
        for name, data in (("one.pdf", (tmp_path / "one.pdf").read_bytes()), ("sums.xlsx", b"PK")):
            pdf.attachments[name] = pikepdf.AttachedFileSpec(pdf, data)
        pdf.attachments["two.pdf"] = pikepdf.AttachedFileSpec(pdf, (SAMPLES / "english.pdf").read_bytes())
        pdf.Root.Collection = pikepdf.Dictionary(Type=pikepdf.Name.Collection)
        pdf.save(tmp_path / "a.pdf")
    facts = tasks.open_source(tmp_path / "a.pdf")
    assert (facts.pages, facts.parts, len(facts.attachments)) == (2, (), 3)
    with source.opening(Opening(embedded=True)):
        facts = tasks.open_source(tmp_path / "a.pdf")
        assert (facts.pages, facts.parts, facts.attachments) == (6, (2, 4), ("sums.xlsx",))
        assert "some files in it were not read" in facts.problems[0]
        seen = [tasks.render_page(tmp_path / "a.pdf", index, size, View()).facts for index in range(6)]
        assert [bool(page.blank) for page in seen] == [False, True, False, False, False, False]
        assert not any(page.damage for page in seen)


def test_no_library_speaks_in_a_note(tmp_path: Path) -> None:
    catalog = b"<</Type/Catalog/Pages 99999999999999999999 0 R>>"
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n1 0 obj " + catalog + b" endobj\n%%EOF")
    assert "code=" not in refusal(tmp_path / "a.pdf").what
    assert source.plain(RuntimeError("code=5: exponent overflow!")) == "exponent overflow!"
