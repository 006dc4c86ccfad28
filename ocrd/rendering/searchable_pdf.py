"""A copy of a source as a PDF that can be searched: its pages as they are, with invisible text over them.

Runs in a render worker. The text is set in Type 3 fonts without any strokes: they hold every letter that there is, are
known to all readers, and add a few bytes each instead of a whole font (ISO 32000-1, 9.6.5 and 9.10.3).
"""

import contextlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from ocrd.rendering.image_source import picture
from ocrd.rendering.text_placement import Strip
from ocrd.rendering.tiff import ORIENTATION

if TYPE_CHECKING:
    from pathlib import Path

    import pymupdf
    from PIL import Image

_LETTERS = 255
"""In one font: its codes are bytes, of which 0 is left free."""
_ADVANCE = 0.5
"""Width of every letter, in heights."""


def searchable(source: "pymupdf.Document", layers: Sequence[Sequence[Strip]], out: BinaryIO) -> None:
    """Lay the text over the pages of an opened PDF, and write the result. Raises OSError of `out`."""
    import pymupdf

    for index in range(source.page_count):
        page = source.page_xref(index)
        if page and not source.xref_object(page).startswith("<<"):  # an empty one in its place keeps the others
            source.delete_page(index)
            source.new_page(index)
    fonts = _Fonts({letter for strips in layers for strip in strips for letter in strip.text})
    with pymupdf.open() as texts:
        names = fonts.embed(texts)
        for page, strips in zip(source.pages(), layers, strict=True):
            if not strips:
                continue
            turned, back = page.rotation, page.derotation_matrix
            page.set_rotation(0)
            sheet = texts.new_page(width=page.rect.width, height=page.rect.height)
            up = pymupdf.Matrix(1, 0, 0, -1, 0, page.rect.height)
            stream = "\n".join(line for strip in strips for line in fonts.drawn(strip, back * up))
            _fill_sheet(texts, sheet, stream.encode(), names)
            page.show_pdf_page(page.rect, texts, sheet.number)
            page.set_rotation(turned)
        write(source, out, garbage=1)


def write(document: "pymupdf.Document", out: BinaryIO, *, garbage: int) -> None:
    """Write a PDF piece by piece into what can be a pipe. Raises OSError of `out`."""
    document.save(_Counted(out), garbage=garbage, deflate=True)


class _Counted:
    """A file as MuPDF wants it, which asks where it is; a pipe could not tell."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._place = 0

    def write(self, data: bytes) -> int:
        self._out.write(data)
        self._place += len(data)
        return len(data)

    def tell(self) -> int:
        return self._place

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("a PDF is written from its beginning to its end")


def of_images(
    places: Sequence[tuple["Path", int]],
    sizes: Sequence[tuple[float, float]],
    pdfs: "Mapping[Path, pymupdf.Document] | None" = None,
) -> "pymupdf.Document":
    """Make a PDF of images, each given by its file and its place in that, on a page of its size in points.

    JPEG stays as it is. Files that are `pdfs`, which are open, give their own pages. Of several files, one that can't
    be read makes empty pages.
    """
    import pymupdf

    document = pymupdf.open()
    alone = len({path for path, _ in places}) == 1
    for (path, place), (width, height) in zip(places, sizes, strict=True):
        if pdfs and path in pdfs and _inserted(document, pdfs[path], place):
            continue
        page = document.new_page(width=width, height=height)
        try:
            if _can_stay(path):
                page.insert_image(page.rect, filename=path)
            else:
                page.insert_image(page.rect, stream=_as_png(picture(path, place)))
        except Exception:
            if alone:
                raise
    return document


def _inserted(document: "pymupdf.Document", pdf: "pymupdf.Document", index: int) -> bool:
    """Append a page of another PDF. Returns False if it is too damaged for that."""
    before = document.page_count
    with contextlib.suppress(Exception):  # MuPDF's errors have no common base but this
        document.insert_pdf(pdf, from_page=index, to_page=index)
    return bool(document.page_count > before)


def _can_stay(path: "Path") -> bool:
    """Whether a file is a JPEG that a PDF shows as it is: grey or RGB, and upright."""
    from PIL import Image

    with contextlib.suppress(Exception), Image.open(path, formats=["JPEG"]) as file:
        return file.mode in ("L", "RGB") and file.getexif().get(ORIENTATION, 1) == 1
    return False


def _as_png(image: "Image.Image") -> bytes:
    if image.mode == "L" and not any(image.histogram()[1:-1]):
        image = image.convert("1")  # a fax stays as small as it was
    png = io.BytesIO()
    image.save(png, "PNG")
    return png.getvalue()


def _fill_sheet(texts: "pymupdf.Document", sheet: Any, stream: bytes, names: dict[str, int]) -> None:  # noqa: ANN401
    contents = texts.get_new_xref()
    texts.update_object(contents, "<<>>")
    texts.update_stream(contents, stream)
    fonts = " ".join(f"/{name} {xref} 0 R" for name, xref in names.items())
    texts.xref_set_key(sheet.xref, "Resources", f"<</Font<<{fonts}>>>>")
    sheet.set_contents(contents)


class _Fonts:
    """The letters of a document, dealt out to fonts."""

    def __init__(self, letters: set[str]) -> None:
        self._places = {letter: divmod(number, _LETTERS) for number, letter in enumerate(sorted(letters))}

    def embed(self, document: "pymupdf.Document") -> dict[str, int]:
        """Put the fonts into a document; returns their cross-reference numbers by name."""
        names: dict[str, int] = {}
        for number in sorted({font for font, _ in self._places.values()}):
            codes = {code + 1: letter for letter, (font, code) in self._places.items() if font == number}
            names[f"F{number}"] = _font(document, codes)
        return names

    def drawn(self, strip: Strip, onto: "pymupdf.Matrix") -> Iterator[str]:
        """Write the operators for one line, which must be as long as its strip."""
        import pymupdf

        natural = len(strip.text) * _ADVANCE * strip.height
        stretch = strip.length / natural if natural else 1
        angle = math.radians(strip.angle)
        along = pymupdf.Matrix(math.cos(angle), math.sin(angle), math.sin(angle), -math.cos(angle), strip.x, strip.y)
        yield "BT 3 Tr {:.4f} {:.4f} {:.4f} {:.4f} {:.2f} {:.2f} Tm".format(*(along * onto))
        yield f"{100 * stretch:.2f} Tz"
        for font, codes in self._runs(strip.text):
            yield f"/F{font} {strip.height:.2f} Tf <{codes.hex()}> Tj"
        yield "ET"

    def _runs(self, text: str) -> Iterator[tuple[int, bytes]]:
        """Divide a text where the font changes."""
        run, current = bytearray(), -1
        for letter in text:
            font, code = self._places[letter]
            if font != current and run:
                yield current, bytes(run)
                run = bytearray()
            current = font
            run.append(code + 1)
        if run:
            yield current, bytes(run)


def _font(document: "pymupdf.Document", codes: dict[int, str]) -> int:
    """Make a font whose letters are empty, and which tells what each of its codes means."""
    empty, meaning, font = (document.get_new_xref() for _ in range(3))
    for xref, stream in ((empty, b"500 0 0 -200 500 800 d1"), (meaning, _meaning(codes))):
        document.update_object(xref, "<<>>")
        document.update_stream(xref, stream)
    last = max(codes)
    differences = " ".join(f"/c{code}" for code in range(1, last + 1))
    glyphs = " ".join(f"/c{code} {empty} 0 R" for code in range(1, last + 1))
    document.update_object(
        font,
        f"<</Type/Font/Subtype/Type3/FontBBox[0 -200 500 800]/FontMatrix[.001 0 0 .001 0 0]/FirstChar 1/LastChar {last}"
        f"/Widths[{' '.join(['500'] * last)}]/Encoding<</Type/Encoding/Differences[1 {differences}]>>"
        f"/CharProcs<<{glyphs}>>/Resources<<>>/ToUnicode {meaning} 0 R>>",
    )
    return int(font)


def _meaning(codes: dict[int, str]) -> bytes:
    """Write the table from codes to Unicode, in parts of at most a hundred as PDF wants it."""
    entries = [f"<{code:02x}> <{letter.encode('utf-16-be').hex()}>" for code, letter in codes.items()]
    parts = (entries[start : start + 100] for start in range(0, len(entries), 100))
    body = "\n".join(f"{len(part)} beginbfchar\n" + "\n".join(part) + "\nendbfchar" for part in parts)
    return (
        "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CMapName /ocrd def\n/CMapType 2 def\n"
        f"1 begincodespacerange\n<00> <ff>\nendcodespacerange\n{body}\n"
        "endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"
    ).encode()
