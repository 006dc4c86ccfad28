"""A dropped file that is a PDF: its pages are drawn, and what speaks against a drawing is told. For the render workers.

It is hostile. Whatever MuPDF throws at it becomes a DocumentError or a PageError.
"""

import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ocrd.model import PixelSize, Placement, TextLayer
from ocrd.rendering import annotations, damage, page_layout, page_tree, text_layer, text_trace
from ocrd.rendering.page_layout import Word
from ocrd.rendering.pdf_opening import open_pdf
from ocrd.rendering.source import as_pillow, cut_out
from ocrd.rendering.text_trace import INVISIBLE, Span

if TYPE_CHECKING:
    import pymupdf
    from PIL import Image

_WHITE = 0.98
"""Level of a colour, 0 to 1, from which it is taken for the paper's."""
_LETTERS = 0.8
"""Height of the letters of a line, as a share of the line's."""
_MOST_LINES = 100_000
"""In a block."""
_LARGE_JPEG = 2**20
"""Bytes of a JPEG that takes too long to be decoded once more, if nothing speaks for it."""
_LARGE = 4 * 2**20
"""Bytes of pixels that take too long to be decompressed once more."""
_BILEVEL = ("CCITTFaxDecode", "JBIG2Decode")
_CHANNELS = {"DeviceGray": 1, "CalGray": 1, "Indexed": 1, "DeviceRGB": 3, "CalRGB": 3, "DeviceCMYK": 4, "ICCBased": 4}
"""Of a picture's colours, by their space."""
_MOST_CHANNELS = 32
"""Of any other (ISO 32000-1, 8.6.6.5)."""
_FORGOTTEN = 50
"""Percent of MuPDF's cache, the longest unused, that goes with each page: it would keep 256 MiB of pictures."""
_THINNEST = 1
"""Pixels that a line is wide at least, as ISO 32000-1, 8.4.3.2, wants it. MuPDF would make it as pale as it is thin."""
_PAINTS = ("fill-", "stroke-")
"""How MuPDF calls what is seen of a page's text, drawings and pictures."""
_SEEN = 0.5
"""Points, at least, of each side of a picture that can be seen."""
_NOTHING = 0.01
"""Points of a side of a letter that nobody sees."""
_NO_FILE = "n/a"
"""How PyMuPDF calls that of a font which is not in a PDF."""
_NO_LETTER = 0xFFFD
"""How MuPDF calls a letter that it does not know."""
_SHOWS_TEXT = re.compile(rb"T[jJ]")
"""Operators that show text (ISO 32000-1, 9.4.3)."""
_Sides = tuple[float, float, float, float]
"""Left, top, right and bottom of a box, points."""


class _Picture(NamedTuple):
    """A picture on a page, as MuPDF lists it."""

    xref: int
    mask: int
    width: int
    height: int
    bits: int
    space: str
    alternate: str
    name: str
    kind: str
    """The filter by which it was encoded."""

    @property
    def length(self) -> int:
        """How many bytes its pixels are; at most so many, if its colours are not known."""
        return -(-self.width * self.bits * _CHANNELS.get(self.space, _MOST_CHANNELS) // 8) * self.height


class Pdf:
    """One that MuPDF draws."""

    kind = "pdf"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._document, self.repaired, self.parts, self.attachments, self.problems = open_pdf(path)
        _forget_structure(self._document)
        self.pages = self._document.page_count
        self._prepared = set[int]()
        """Which pages have been made to show all that is on them."""
        self._said: dict[int, list[str]] = defaultdict(list)
        """What MuPDF said of each page while it was drawn."""
        self._traced: tuple[int, list[Span]] | None = None
        """Which page was asked for last how it shows its text."""
        self._drawn: Image.Image | None = None
        """What it drew last, in RGB."""
        self._last = -1
        """Which page that was."""

    def _page(self, index: int) -> "pymupdf.Page":
        """Load a page. One that is cropped to nothing is shown whole (ISO 32000-1, 14.11.2)."""
        prepared = index in self._prepared
        page: pymupdf.Page = self._document.load_page(index) if prepared else _shown_whole(self._document, index)
        self._prepared.add(index)
        return page

    def shape(self, index: int) -> tuple[float, float]:
        rect = self._page(index).rect
        return rect.width, rect.height

    def draw(self, index: int, placement: Placement, size: PixelSize) -> "Image.Image":
        import pymupdf

        page = self._page(index)
        rect, (wide, high) = page.rect, placement.upright
        share = placement.bottom - placement.top
        sheet = PixelSize(size.width, round(size.height / share))
        matrix = pymupdf.Matrix(1, 0, 0, 1, -(rect.x0 + rect.x1) / 2, -(rect.y0 + rect.y1) / 2)
        matrix *= pymupdf.Matrix(placement.turn + placement.skew)
        matrix *= pymupdf.Matrix(1, 0, 0, 1, wide / 2, high / 2)
        matrix *= pymupdf.Matrix(sheet.width / wide, sheet.height / high)
        self._drawn = None  # its memory is for what is drawn now
        if any(self._said.values()):
            pymupdf.TOOLS.store_shrink(100)  # of a damaged picture or font in its cache MuPDF would say nothing
        elif index != self._last:
            pymupdf.TOOLS.store_shrink(_FORGOTTEN)
        self._last = index
        pymupdf.TOOLS.mupdf_warnings()  # those of the file are not this page's
        pymupdf.TOOLS.set_graphics_min_line_width(_THINNEST)
        pixmap = page.get_pixmap(matrix=matrix, colorspace=pymupdf.csRGB, alpha=False)
        self._said[index] += pymupdf.TOOLS.mupdf_warnings().splitlines()
        self._drawn = cut_out(as_pillow(pixmap), sheet, placement, size)
        return self._drawn

    def damage(self, index: int, *, closely: bool) -> str:
        page = self._page(index)
        drawn, self._drawn = self._drawn, None  # or it would be kept until another page is drawn
        found = damage.of_structure(self._document, page)
        contents = [self._document.xref_stream_raw(xref) for xref in damage.contents_of(page)] if not found else []
        if any(contents):
            said = self._said[index]
            closely_read = closely and damage.may_break_off(said, self._document, page)
            found = damage.of_messages(said, closely=closely_read) or damage.of_contents(contents)
        found = found or self._damage_of_pictures(page, drawn, closely=closely)
        if not found and drawn is not None and max(drawn.size) < damage.SMALL:
            found = damage.of_scale(_reduced(page, drawn))
        return found or damage.of_letters(self._shapeless(page))

    def _shapeless(self, page: "pymupdf.Page") -> float:
        """Give the share of the letters of a page that have no shape, which MuPDF leaves out and says nothing.

        Those of a font may have none that is not in the file and has numbers of its own for them (ISO 32000-2, 9.7.6).
        """
        absent = {name for _, file, kind, name, *_ in page.get_fonts() if kind == "Type0" and file == _NO_FILE}
        if not absent:
            return 0.0
        spans = [span for span in self._trace(page) if span["type"] != INVISIBLE]
        lost = [
            code == _NO_LETTER and not shape and span["font"] in absent
            for span in spans
            for code, shape, *_ in span["chars"]
        ]
        return float(sum(lost)) / (len(lost) or 1)

    def _damage_of_pictures(self, page: "pymupdf.Page", drawn: "Image.Image | None", *, closely: bool) -> str:
        """Look at the page's pictures, of whose damage MuPDF does not always speak, and of JPEG never."""
        pictures = {found[0]: _Picture(*found[:9]) for found in page.get_images(full=True)}.values()
        found = (self._damage_of_picture(picture, closely=closely) for picture in pictures)
        return next(filter(None, found), "") or self._noise_of_jbig2(pictures, drawn)

    def _noise_of_jbig2(self, pictures: Collection[_Picture], drawn: "Image.Image | None") -> str:
        """Look at a page of nothing but pictures in JBIG2, whose decoder does not see that its data are damaged."""
        if drawn is None or {picture.kind for picture in pictures} != {"JBIG2Decode"}:
            return ""
        length = sum(len(self._document.xref_stream_raw(picture.xref)) for picture in pictures)
        return damage.of_noise(drawn, sum(picture.width * picture.height for picture in pictures), length)

    def _damage_of_picture(self, picture: "_Picture", *, closely: bool) -> str:
        data = self._document.xref_stream_raw(picture.xref)
        closely = closely or damage.may_have_hole(data)
        found = ""
        match picture.kind:
            case "DCTDecode" if closely or len(data) <= _LARGE_JPEG:
                found = damage.of_jpeg(data, (picture.width, picture.height), closely=closely)
            case "FlateDecode" if closely or picture.length <= _LARGE:
                found = damage.of_flate(data, picture.length)
            case "LZWDecode" | "RunLengthDecode" if closely or picture.length <= _LARGE:
                found = damage.of_length(len(self._document.xref_stream(picture.xref)), picture.length)
            case "JPXDecode" if closely:
                found = damage.of_jpx(data)
            case "CCITTFaxDecode" if (columns := self._parameter(picture, "Columns")) != "null":
                found = damage.UNDECODED if columns != str(picture.width) else ""
        if closely and not found and picture.kind in _BILEVEL:
            lines = picture.kind == "CCITTFaxDecode" and not self._parameter(picture, "K").startswith("-")
            image = self._decoded(picture.xref)
            found = damage.UNDECODED if image is None else damage.of_bilevel(len(data), image, lines=lines)
        return found

    def _parameter(self, picture: "_Picture", name: str) -> str:
        """Give one of those by which a picture was encoded, as it is written."""
        return str(self._document.xref_get_key(picture.xref, f"DecodeParms/{name}")[1])

    def _decoded(self, xref: int) -> "Image.Image | None":
        """Decode a picture, grey, if it can be."""
        import pymupdf
        from PIL import Image

        try:
            pixmap = pymupdf.Pixmap(self._document, xref)
            grey = pixmap if pixmap.n == 1 else pymupdf.Pixmap(pymupdf.csGRAY, pixmap)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - MuPDF's errors have no common base but this
            return None
        return Image.frombytes("L", (grey.width, grey.height), grey.samples)

    def printed(self, index: int) -> tuple[int, int]:
        page = self._page(index)
        sheet = page.mediabox * page.transformation_matrix
        on_page = beside = 0
        for span in self._trace(page):
            if span["type"] == INVISIBLE or not span["opacity"] or min(span["color"]) > _WHITE:
                continue
            letters = [box for code, _, _, box in span["chars"] if chr(code).isalnum()]
            if _has_size(span["bbox"]) and page.rect.contains(span["bbox"]):
                on_page += len(letters)
                continue
            on_page += sum(_has_size(box) and _touches(box, page.rect) for box in letters)
            beside += sum(not _has_size(box) or not _touches(box, sheet) for box in letters)
        return on_page, beside

    def _trace(self, page: "pymupdf.Page") -> list[Span]:
        """Trace how a page shows its text; two ask for it."""
        if self._traced is None or self._traced[0] != page.number:
            self._traced = page.number, text_trace.traced(page)
        return self._traced[1]

    def is_drawn_unseen(self, index: int) -> bool:
        page = self._page(index)
        sheet = page.mediabox * page.transformation_matrix
        drawn = page.get_bboxlog()
        painted = [(what, box) for what, box in drawn if what.startswith(_PAINTS)]
        pictures = [box for what, box in painted if "image" in what]
        if not all(_touches(box, sheet) for _, box in painted) or not all(_is_shown(box, sheet) for box in pictures):
            return True
        contents = b" ".join(filter(None, map(self._document.xref_stream, damage.contents_of(page))))
        own = any(found[9] == 0 for found in page.get_images(full=True))  # and not those of forms
        lost = own and not pictures and b"Do" in contents
        return lost or (not drawn and _SHOWS_TEXT.search(contents) is not None)

    def layer(self, index: int) -> TextLayer | None:
        page = self._page(index)
        text = page.get_text("text")
        if not any(map(str.isalnum, text)):
            return None
        modes = [(span["type"], len(span["chars"])) for span in self._trace(page)]
        hidden = sum(count for mode, count in modes if mode == INVISIBLE) / (sum(count for _, count in modes) or 1)
        return text_layer.judge(text, hidden)

    def layer_text(self, index: int, placement: Placement) -> str:
        import pymupdf

        with open_pdf(self._path, self.pages).document as document:  # another, whose page is turned for good
            _forget_structure(document)
            page = _shown_whole(document, index)
            page.set_rotation((page.rotation + placement.turn) % 360)
            page.remove_rotation()
            flags = pymupdf.TEXTFLAGS_WORDS & ~pymupdf.TEXT_PRESERVE_LIGATURES
            words = [_as_word(found) for found in page.get_text("words", flags=flags)]
            blocks = page_layout.found(document, index)
            return page_layout.assembled(words, blocks, (page.rect.width, page.rect.height), in_order=False)

    def close(self) -> None:
        import pymupdf

        self._document.close()
        pymupdf.TOOLS.store_shrink(100)  # percent; MuPDF would keep the pictures of all files for another look


def _touches(box: _Sides, sheet: "pymupdf.Rect") -> bool:
    wide, high = _common(box, sheet)
    return wide >= 0 and high >= 0


def _has_size(box: _Sides) -> bool:
    left, top, right, bottom = box
    return right - left > _NOTHING and bottom - top > _NOTHING


def _is_shown(box: _Sides, sheet: "pymupdf.Rect") -> bool:
    """Whether a picture can be seen, and at least half of it lies on a sheet."""
    wide, high = _common(box, sheet)
    left, top, right, bottom = box
    return wide >= _SEEN and high >= _SEEN and wide * high >= (right - left) * (bottom - top) / 2


def _common(box: _Sides, sheet: "pymupdf.Rect") -> tuple[float, float]:
    """Give width and height of what a box and a sheet have in common; less than 0 is the way between them."""
    left, top, right, bottom = box
    return min(right, sheet.x1) - max(left, sheet.x0), min(bottom, sheet.y1) - max(top, sheet.y0)


def _reduced(page: "pymupdf.Page", drawn: "Image.Image") -> float:
    """Tell how many times as many pixels for each point the finest picture on a page has as what was drawn of it."""
    fineness = (max(one["width"], one["height"]) / _longer_side(one["bbox"]) for one in page.get_image_info())
    return max(fineness, default=0.0) / (max(drawn.size) / _longer_side(page.rect))


def _longer_side(box: _Sides) -> float:
    left, top, right, bottom = box
    return max(right - left, bottom - top, _NOTHING)


def _forget_structure(document: "pymupdf.Document") -> None:
    """Take away, in memory, what tells which part of a page is a heading, say (ISO 32000-1, 14.7).

    Nobody here asks for it. MuPDF climbs that tree wherever a part is drawn, for ever if it leads in a circle, and
    puts what the tree says in the place of a part's own text.
    """
    catalog = document.pdf_catalog()
    if document.xref_get_key(catalog, "StructTreeRoot")[0] != "null":
        document.xref_set_key(catalog, "StructTreeRoot", "null")


def _shown_whole(document: "pymupdf.Document", index: int) -> "pymupdf.Page":
    """Load a page, without a crop box that would hide all of it, and with all of its notes and fields."""
    page: pymupdf.Page = document.load_page(index)
    if _is_cropped_away(document, page):
        page.set_cropbox(page.mediabox)
    if annotations.made_visible(document, page):
        page = document.reload_page(page)
    return page


def _is_cropped_away(document: "pymupdf.Document", page: "pymupdf.Page") -> bool:
    """Whether the crop box of a page, its own or that of a node above it, holds nothing of its sheet."""
    import pymupdf

    if not page.xref:  # it stands directly in the tree
        return False
    kind, value = page_tree.inherited(document, page.xref, "CropBox")
    sides = [float(side) for side in re.findall(r"-?[\d.]+", value)]
    if kind != "array" or len(sides) != 4:  # noqa: PLR2004
        return False
    return bool((pymupdf.Rect(sides).normalize() & page.mediabox).is_empty)


def _as_word(found: tuple[float, float, float, float, str, int, int, int]) -> Word:
    """Take a word as MuPDF gives it: its box, text, and the numbers of its block, its line in that, and its place."""
    left, top, right, bottom, text, block, line, _ = found
    height = (bottom - top) * _LETTERS
    return Word(text, left, right, bottom - height / 4, height, block * _MOST_LINES + line)
