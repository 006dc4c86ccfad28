"""What a dropped file is: a PDF or an image, opened by its content. For the render workers alone.

A dropped file is hostile. Whatever a library throws at it becomes a DocumentError or a PageError here.
"""

import contextlib
import contextvars
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ocrd.display import pip, shown
from ocrd.errors import DocumentError, IncompleteError, PageError
from ocrd.filetypes import IMAGE_SUFFIXES, in_order
from ocrd.model import FileStamp, Opening, PixelSize, Placement, TextLayer
from ocrd.rendering import damage, djvu, page_layout, text_layer, tiff, truncation
from ocrd.rendering.page_layout import Word

if TYPE_CHECKING:
    import pymupdf
    from PIL import Image

POINTS_PER_INCH = 72
_PAPER_DPI = 300
"""What an image is taken to be scanned at where it does not say, or says nonsense."""
_IMAGES = ("TIFF", "JPEG", "PNG", "WEBP", "BMP", "GIF", "JPEG2000", "AVIF", "PPM")
ORIENTATION = 0x0112
_STRIPS, _LENGTHS = 273, 279
"""TIFF's StripOffsets and StripByteCounts."""
_LYING = (5, 6, 7, 8)
"""Values of EXIF's orientation that turn an image by a quarter (Exif 3.0, 4.6.4)."""
_JPEG_MODES = ("L", "RGB")
_KINDS = {"MPO": "jpeg", "JPEG2000": "jp2", "PPM": "pnm"}
"""What ocrd calls formats that Pillow calls otherwise."""
_ANIMATED = ("gif", "webp", "png", "avif")
"""What may hold pictures that are shown one after the other."""
_TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a TIFF begins, and a BigTIFF."""
_JXL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
"""How JPEG XL begins, bare and in boxes (ISO/IEC 18181-2)."""
_MAGIC = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "GIF": b"GIF8", "JPEG 2000": b"\0\0\0\x0cjP  "}
_HEIF_BRANDS = frozenset(b"heic heix hevc hevx heim heis mif1 msf1".split())
"""The brands by which such a file tells what it is (ISO/IEC 23008-12)."""
_WHITE = 0.98
"""Level of a colour, 0 to 1, from which it is taken for the paper's."""
_INVISIBLE = 3
"""The text rendering mode of PDF for text that is only there to be found (ISO 32000-1, 9.3.6)."""
_LETTERS = 0.8
"""Height of the letters of a line, as a share of the line's."""
_MOST_LINES = 100_000
"""In a block."""
_MOST_NAMES = 20
"""Of attached files that are listed."""
_DEEPEST = 50
"""Nodes of a page tree that are climbed."""
TRANSFER = "Copy or scan it again; the transfer broke off."
AGAIN = "Open it elsewhere to see whether it is whole; print it to a new PDF, or scan it again."


class Source(Protocol):
    """A dropped file that could be opened."""

    kind: str
    """`pdf`, or the name of the image format in lower case."""

    @property
    def pages(self) -> int: ...

    @property
    def attachments(self) -> tuple[str, ...]:
        """Names of files attached to it."""
        ...

    @property
    def problems(self) -> tuple[str, ...]:
        """Why its pages may not be all that it holds, each a sentence."""
        ...

    @property
    def repaired(self) -> bool:
        """Whether its structure is damaged, so that a page that seems blank may have lost what it holds."""
        ...

    @property
    def parts(self) -> tuple[int, ...]:
        """Indices of the pages with which another document in it begins."""
        ...

    def shape(self, index: int) -> tuple[float, float]:
        """Width and height of a page as it is shown, points."""
        ...

    def draw(self, index: int, placement: Placement, size: PixelSize) -> "Image.Image":
        """Draw what the placement holds of a page, in RGB, at this size. Called right after its `shape`."""
        ...

    def damage(self, index: int, *, closely: bool) -> str:
        """Say in words why what was drawn of a page may lack some of it; empty if it was drawn whole.

        Called after `draw`. To look closely takes ten milliseconds or more, and is worth it where little is seen.
        """
        ...

    def printed(self, index: int) -> tuple[int, int]:
        """Count the letters that a page prints in a colour other than white: on it, and beside its sheet."""
        ...

    def layer(self, index: int) -> TextLayer | None:
        """Judge the text layer of a page, if it has one."""
        ...

    def layer_text(self, index: int, placement: Placement) -> str:
        """Return the text layer of a page as Markdown, with the place of each block on the page as it was turned."""
        ...

    def close(self) -> None:
        """Give back the memory that it holds."""
        ...


_MOST_LOOKS = 50
"""Pages after which a PDF is opened anew: MuPDF keeps every object that it has parsed once.

A TIFF is not: to open one means to walk all of its images.
"""
_PLAINLY = Opening()
_opening = contextvars.ContextVar("opening", default=_PLAINLY)
_opened: tuple[Path, FileStamp, Opening, Source] | None = None
"""The source of the last page, most likely that of the next."""
_looks = 0


@contextlib.contextmanager
def opening(how: Opening) -> Iterator[None]:
    """Open sources in this way meanwhile."""
    token = _opening.set(how)
    try:
        yield
    finally:
        _opening.reset(token)


def opened(path: Path) -> Source:
    """Open a source by its content, unless it is what was opened last. Raises DocumentError, IncompleteError."""
    global _opened, _looks  # noqa: PLW0603 - a cache of one in a process that serves one page at a time
    known = path, FileStamp.of(path.stat()), _opening.get()
    worn = _looks >= _MOST_LOOKS and _opened is not None and _opened[-1].kind == "pdf"
    if _opened is None or _opened[:-1] != known or worn:
        last, _opened, _looks = _opened, None, 0
        if last is not None:
            last[-1].close()
        _opened = (*known, _open(path))
    _looks += 1
    return _opened[-1]


@contextlib.contextmanager
def page_errors() -> Iterator[None]:
    """Translate what goes wrong with a page: MuPDF's errors and Pillow's have no common base but Exception."""
    try:
        yield
    except (MemoryError, PageError):
        raise
    except Exception as error:
        raise PageError(f"This page can't be rendered: {plain(error)}.", AGAIN) from error


def files_of(path: Path) -> list[Path]:
    """List the files of a source in the order of their pages: itself, or the images in the folder of a group."""
    if not path.is_dir():
        return [path]
    inside = sorted(path.iterdir(), key=lambda file: in_order(file.name))
    return [file for file in inside if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]


def _open(path: Path) -> Source:
    if path.is_dir():
        return _Several(path)
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except PermissionError as error:
        raise DocumentError(
            "ocrd may not read this file: permission denied.", "Make it readable (chmod a+r) and drop it again."
        ) from error
    if not head:
        raise IncompleteError("This file is empty (0 bytes).", TRANSFER)
    if b"%PDF-" in head:
        return _Pdf(path)
    if head.startswith(djvu.MAGIC):
        return _Djvu(path)
    try:
        return _Images(path)
    except DocumentError:
        if truncation.has_pdf_behind_rubbish(path):
            return _Pdf(path)
        raise


class OpenedPdf(NamedTuple):
    """A PDF that could be opened, and what is known of it."""

    document: "pymupdf.Document"
    """With the pages of the PDFs in it behind its own, where those are wanted."""
    repaired: bool
    """Whether its structure is damaged."""
    parts: tuple[int, ...]
    """Indices of the pages with which these begin."""
    attachments: tuple[str, ...]
    """Names of files in it that are not read."""
    problems: tuple[str, ...]
    """Why its pages may not be all that it holds, each a sentence."""


def open_pdf(path: Path) -> OpenedPdf:
    """Open a PDF. Raises DocumentError, IncompleteError."""
    document, repaired = _whole(path)
    _refuse_form(document)
    parts: tuple[int, ...] = ()
    problems = ["The structure of this PDF is damaged, and pages of it may be missing."] if repaired else []
    attachments = tuple(document.embfile_names())
    if attachments and document.xref_get_key(document.pdf_catalog(), "Collection")[0] != "null":
        if _opening.get().embedded:
            parts, attachments = _append_embedded(document)
        if attachments:
            which = "some files" if parts else "the files"
            problems.append(f"This PDF is a portfolio, and {which} in it were not read. Save them, and drop each.")
    return OpenedPdf(document, repaired, parts, attachments[:_MOST_NAMES], tuple(problems))


def _whole(path: Path) -> tuple["pymupdf.Document", bool]:
    """Open a PDF, and tell whether it had to be repaired by other means. Raises DocumentError, IncompleteError."""
    import pymupdf

    passwords = _opening.get().passwords

    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    locked, error = False, None
    try:
        document = pymupdf.open(path, filetype="pdf")
        locked = bool(document.needs_pass) and not any(map(document.authenticate, passwords))
        if locked and (readable := _with_locked_attachments(path, document)) is not None:
            document, locked = readable, False
        pages = 0 if locked else document.page_count
        if pages and (not document.is_repaired or truncation.has_pdf_end(path)):
            return document, False
    except MemoryError:
        raise
    except Exception as caught:  # noqa: BLE001 - MuPDF's errors have no common base but this
        error = caught
    if not truncation.has_pdf_end(path):  # MuPDF would show what is left, with pages or their contents missing
        raise _cut_off() from error
    if (repaired := _repaired(path)) is not None:
        return repaired, True
    if locked:
        tried = ", and none of those in passwords_file opens it" if passwords else ""
        raise DocumentError(
            f"This PDF asks for a password{tried}.",
            "Write it into the watch's passwords_file, or save a copy without the password.",
        )
    if error:
        raise DocumentError(f"This PDF can't be opened: {plain(error, path)}.", AGAIN) from error
    raise DocumentError("This PDF has no pages.", "Export it again from the program that made it.")


def _with_locked_attachments(path: Path, locked: "pymupdf.Document") -> "pymupdf.Document | None":
    """Open a PDF of which only attached files are encrypted, as if nothing were (ISO 32000-1, 7.6.5)."""
    import pymupdf

    kind, value = locked.xref_get_key(-1, "Encrypt")
    if kind != "xref":
        return None
    number = int(value.partition(" ")[0])
    version, *filters = (locked.xref_get_key(number, key)[1] for key in ("V", "StmF", "StrF"))
    if version not in ("4", "5") or not {"/Identity", "null"}.issuperset(filters):
        return None
    data = re.sub(rb"/Encrypt\s+%d\s+\d+\s+R" % number, lambda key: b" " * len(key[0]), path.read_bytes())
    return pymupdf.open(stream=data, filetype="pdf")


def _repaired(path: Path) -> "pymupdf.Document | None":
    """Open a PDF by qpdf, which finds pages, and ways without a password, that MuPDF does not."""
    import pikepdf
    import pymupdf

    whole = io.BytesIO()
    for password in ("", *_opening.get().passwords):
        with contextlib.suppress(pikepdf.PdfError, pikepdf.PasswordError, RuntimeError, ValueError):
            with pikepdf.open(path, password=password) as pdf:
                pdf.save(whole)
            document = pymupdf.open(stream=whole.getvalue(), filetype="pdf")
            return document if document.page_count else None
    return None


def _refuse_form(document: "pymupdf.Document") -> None:
    """Refuse a form that has no pages of its own. Raises DocumentError."""
    catalog = document.pdf_catalog()
    has_form = document.xref_get_key(catalog, "AcroForm/XFA")[0] != "null"
    if has_form and document.xref_get_key(catalog, "NeedsRendering")[1] == "true":
        raise DocumentError(
            "This PDF is a form that only Adobe's programs can draw (dynamic XFA).",
            "Open it in Adobe Reader, print it to a new PDF, and drop that.",
        )


def _append_embedded(document: "pymupdf.Document") -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Append the pages of all PDFs in a portfolio. Returns where each begins, and the names of the other files."""
    starts, others = [], []
    for number, name in enumerate(document.embfile_names()):
        start = document.page_count
        try:
            whole = _append(document, document.embfile_get(number))
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - MuPDF's errors have no common base but this
            whole = False
        if whole:
            starts.append(start)
        else:
            others.append(name)
    return tuple(starts), tuple(others)


def _append(document: "pymupdf.Document", data: bytes) -> bool:
    """Append the pages of another PDF, if it is one, and whole. Raises what MuPDF does."""
    import pymupdf

    with pymupdf.open(stream=data, filetype="pdf") as inner:
        locked = inner.needs_pass and not any(map(inner.authenticate, _opening.get().passwords))
        if locked or inner.is_repaired:
            return False
        document.insert_pdf(inner)
        return True


class _Pdf:
    kind = "pdf"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._document, self.repaired, self.parts, self.attachments, self.problems = open_pdf(path)
        self.pages = self._document.page_count
        self._said: dict[int, list[str]] = defaultdict(list)
        """What MuPDF said of each page while it was drawn."""

    def _page(self, index: int) -> "pymupdf.Page":
        """Load a page. One that is cropped to nothing is shown whole (ISO 32000-1, 14.11.2)."""
        return _shown_whole(self._document, index)

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
        if any(self._said.values()):
            pymupdf.TOOLS.store_shrink(100)  # of a damaged picture or font in its cache MuPDF would say nothing
        pymupdf.TOOLS.mupdf_warnings()  # those of the file are not this page's
        pixmap = page.get_pixmap(matrix=matrix, colorspace=pymupdf.csRGB, alpha=False)
        self._said[index] += pymupdf.TOOLS.mupdf_warnings().splitlines()
        return _part(_as_pillow(pixmap), sheet, placement, size)

    def damage(self, index: int, *, closely: bool) -> str:
        page = self._page(index)
        found = damage.of_structure(self._document, page.xref)
        contents = [self._document.xref_stream_raw(xref) for xref in page.get_contents()] if not found else []
        if any(contents):
            found = damage.of_messages(self._said[index], closely=closely) or damage.of_contents(contents)
        return found or self._damage_of_pictures(page, closely=closely)

    def _damage_of_pictures(self, page: "pymupdf.Page", *, closely: bool) -> str:
        """Look at the page's pictures, of whose damage MuPDF does not always speak: at all, or at those with holes."""
        checks = {"DCTDecode": damage.of_jpeg, "FlateDecode": damage.of_flate, "JPXDecode": damage.of_jpx}
        pictures = {picture[0]: checks[picture[8]] for picture in page.get_images(full=True) if picture[8] in checks}
        for xref, check in pictures.items():
            data = self._document.xref_stream_raw(xref)
            if (closely or damage.may_have_hole(data)) and (found := check(data)):
                return found
        return ""

    def printed(self, index: int) -> tuple[int, int]:
        import pymupdf

        page = self._page(index)
        sheet = page.mediabox * page.transformation_matrix
        on_page = beside = 0
        for span in page.get_texttrace():
            if span["type"] == _INVISIBLE or not span["opacity"] or min(span["color"]) > _WHITE:
                continue
            letters = sum(chr(letter[0]).isalnum() for letter in span["chars"])
            box = pymupdf.Rect(span["bbox"])
            on_page += letters * box.intersects(page.rect)
            beside += letters * (not box.intersects(sheet))
        return on_page, beside

    def layer(self, index: int) -> TextLayer | None:
        page = self._page(index)
        text = page.get_text("text")
        if not any(map(str.isalnum, text)):
            return None
        modes = [(span["type"], len(span["chars"])) for span in page.get_texttrace()]
        hidden = sum(count for mode, count in modes if mode == _INVISIBLE) / (sum(count for _, count in modes) or 1)
        return text_layer.judge(text, hidden)

    def layer_text(self, index: int, placement: Placement) -> str:
        import pymupdf

        with open_pdf(self._path).document as document:  # another, whose page is turned for good
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


class _Images:
    repaired = False
    attachments = problems = parts = ()

    def __init__(self, path: Path) -> None:
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = None  # the worker's memory is the limit: a large drawing is no bomb
        self._path = path
        self._damage = ""
        """Of the page shown last."""
        self._image: Image.Image | None = None
        """None for a TIFF whose pixels Pillow does not know."""
        self._places = [0]
        """Of the pages among the pictures. Those behind a telephone's JPEG are none, an animation's if asked."""
        try:
            self._image = Image.open(path, formats=[*_IMAGES, *_plugins()])
            self.kind = _KINDS.get(self._image.format or "", (self._image.format or "").lower())
            if self.kind in ("tiff", "heif") or (self.kind in _ANIMATED and _opening.get().frames):
                self._places = list(range(getattr(self._image, "n_frames", 1)))
        except MemoryError:
            raise
        except Exception as error:
            if not _is_tiff(path):
                raise _unknown(path) from error
            self.kind = "tiff"
        if self.kind == "tiff":
            self._places = self._pages_of_tiff()
        self.pages = len(self._places)

    def _pages_of_tiff(self) -> list[int]:
        try:
            return tiff.pages(self._path)
        except Exception as error:
            if self._image is not None:
                return self._places
            raise DocumentError(f"This TIFF can't be opened: {plain(error, self._path)}.", AGAIN) from error

    def picture(self, index: int) -> "Image.Image":
        """Decode a page as it is displayed, grey or RGB. Raises PageError."""
        self.shape(index)
        return self._displayed

    def shape(self, index: int) -> tuple[float, float]:
        from PIL import ImageOps

        image, self._damage = self._decoded(index)
        self._displayed = _on_paper(ImageOps.exif_transpose(image))
        dpi = _resolution(image)
        across, down = self._displayed.size
        return across * POINTS_PER_INCH / dpi[0], down * POINTS_PER_INCH / dpi[1]

    def _decoded(self, index: int) -> tuple["Image.Image", str]:
        """Decode a page, or what can be decoded of it, and say what may be missing. Raises PageError."""
        place = self._places[index]
        with damage.heard() as said:
            try:
                image = self._whole(place)
            except MemoryError:
                raise
            except Exception as error:
                for decode in (_what_pillow_can, _what_mupdf_can):
                    with contextlib.suppress(Exception):
                        return decode(self._path, place), self._lost()
                raise PageError(f"This image can't be decoded: {plain(error)}.", AGAIN) from error
        return image, damage.of_said(said)

    def _whole(self, place: int) -> "Image.Image":
        """Decode all of a picture. Raises what the libraries do."""
        if self._image is not None:
            with contextlib.suppress(KeyError, SyntaxError):  # a picture behind the first that Pillow does not know
                self._image.seek(place)
                if self.kind == "jpeg" and self._image.mode in _JPEG_MODES:
                    return self._jpeg(self._image)
                if self.kind != "tiff" or tiff.is_usual(self._image):
                    self._image.load()
                    return self._image
        image = tiff.decoded(self._path, place)
        if self._image is not None:
            image.info["dpi"] = self._image.info.get("dpi", (0, 0))
        return image

    def _jpeg(self, opened: "Image.Image") -> "Image.Image":
        from PIL import Image

        image = Image.fromarray(damage.decoded_jpeg(self._path.read_bytes(), grey=opened.mode == "L"))
        image.info |= opened.info  # resolution, orientation
        return image

    def _lost(self) -> str:
        """Say what is missing of a file that can't be decoded whole: of a JPEG, perhaps only the mark of its end."""
        return damage.of_jpeg(self._path.read_bytes()) if self.kind == "jpeg" else damage.UNDECODED

    def damage(self, index: int, *, closely: bool) -> str:  # noqa: ARG002 - see protocol
        if self._damage:
            return self._damage
        match self.kind:
            case "png":
                return damage.of_png(self._path)
            case "jpeg" if closely:
                return damage.of_jpeg(self._path.read_bytes())
            case "jp2":
                return damage.of_jpx(self._path.read_bytes()) if closely else ""
            case "tiff" if self._image is not None and self._image.info.get("compression") == "group4":
                return damage.of_fax(self._strips())
        return ""

    def _strips(self) -> Iterator[bytes]:
        """Read the encoded strips of the page of a TIFF that was shown last."""
        tags = getattr(self._image, "tag_v2", {})
        with self._path.open("rb") as file:
            for place, length in zip(tags.get(_STRIPS, ()), tags.get(_LENGTHS, ()), strict=False):
                file.seek(place)
                yield file.read(length)

    def draw(self, index: int, placement: Placement, size: PixelSize) -> "Image.Image":  # noqa: ARG002 - see protocol
        from PIL import Image

        image = self._displayed
        if placement.skew:  # a fax's pixels are no squares, and can't be turned a little as they are
            square = max(image.width / placement.width, image.height / placement.height)
            image = image.resize((round(placement.width * square), round(placement.height * square)))
        if placement.turn:
            turns = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
            image = image.transpose(turns[placement.turn])  # Pillow counts the other way
        if placement.skew:
            image = image.rotate(-placement.skew, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
        sheet = PixelSize(size.width, round(size.height / (placement.bottom - placement.top)))
        image = image.resize((sheet.width, sheet.height), Image.Resampling.LANCZOS, reducing_gap=2.0)
        return _part(image.convert("RGB"), sheet, placement, size)

    def close(self) -> None:
        if self._image is not None:
            self._image.close()

    def printed(self, index: int) -> tuple[int, int]:  # noqa: ARG002 - images have none
        return 0, 0

    def layer(self, index: int) -> TextLayer | None:  # noqa: ARG002 - images have none
        return None

    def layer_text(self, index: int, placement: Placement) -> str:
        raise AssertionError(index, placement)


def places(path: Path) -> list[tuple[Path, int]]:
    """Tell of each page in which file it is, and which page of that."""
    return [place for file in files_of(path) for place in _places(file)]


def _what_pillow_can(path: Path, index: int) -> "Image.Image":
    """Decode an image as far as its data go; what is missing is black or grey. Raises what Pillow does."""
    from PIL import Image, ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with Image.open(path, formats=_IMAGES) as image:
            image.seek(index)
            image.load()
            return image.copy()
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def _what_mupdf_can(path: Path, index: int) -> "Image.Image":
    """Decode an image that Pillow can't, in RGB. Raises what MuPDF does."""
    import pymupdf

    with pymupdf.open(path, filetype="tiff") as document:
        page = document.load_page(index)
        (picture,) = page.get_image_info()
        matrix = pymupdf.Matrix(picture["width"] / page.rect.width, picture["height"] / page.rect.height)
        image = _as_pillow(page.get_pixmap(matrix=matrix, colorspace=pymupdf.csRGB, alpha=False)).copy()
        image.info["dpi"] = (picture["xres"], picture["yres"])
        return image


class _Djvu(_Images):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._image = None
        self.kind = "djvu"
        self._resolutions = djvu.resolutions(path)
        self.pages = len(self._resolutions)

    def _decoded(self, index: int) -> tuple["Image.Image", str]:
        image, complaint = djvu.decoded(self._path, index)
        image.info["dpi"] = (self._resolutions[index],) * 2
        return image, complaint and damage.UNDECODED


def picture(path: Path, index: int) -> "Image.Image":
    """Decode a page of an image as it is displayed, grey or RGB. Raises DocumentError, PageError."""
    kind = _Djvu if _head(path).startswith(djvu.MAGIC) else _Images
    with contextlib.closing(kind(path)) as images:
        return images.picture(index)


class _Several:
    """Images that are one document. One that can't be opened is a page that can't be read, and costs no other."""

    kind = "group"
    repaired = False
    attachments = problems = parts = ()

    def __init__(self, folder: Path) -> None:
        self._pages = places(folder)
        self._current: tuple[Path, Source] | None = None
        self.pages = len(self._pages)
        if not self._pages:
            raise DocumentError(
                "There is no image in this folder.", "Put its pages there, as TIFF, JPEG, PNG, WebP or HEIC."
            )

    def shape(self, index: int) -> tuple[float, float]:
        source, page = self._at(index)
        return source.shape(page)

    def draw(self, index: int, placement: Placement, size: PixelSize) -> "Image.Image":
        source, page = self._at(index)
        return source.draw(page, placement, size)

    def damage(self, index: int, *, closely: bool) -> str:
        source, page = self._at(index)
        return source.damage(page, closely=closely)

    def printed(self, index: int) -> tuple[int, int]:
        source, page = self._at(index)
        return source.printed(page)

    def layer(self, index: int) -> TextLayer | None:
        source, page = self._at(index)
        return source.layer(page)

    def layer_text(self, index: int, placement: Placement) -> str:
        source, page = self._at(index)
        return source.layer_text(page, placement)

    def _at(self, index: int) -> tuple[Source, int]:
        """Give the source in which a page is, and which of its pages it is. Raises PageError."""
        path, page = self._pages[index]
        if self._current is None or self._current[0] != path:
            self.close()  # one image in memory at a time
            self._current = (path, _opened_for_a_page(path))
        return self._current[1], page

    def close(self) -> None:
        last, self._current = self._current, None
        if last is not None:
            last[1].close()


def _places(path: Path) -> list[tuple[Path, int]]:
    try:
        with contextlib.closing(_open(path)) as source:
            return [(path, page) for page in range(source.pages)]
    except DocumentError:
        return [(path, 0)]


def _opened_for_a_page(path: Path) -> Source:
    try:
        return _open(path)
    except DocumentError as error:
        raise PageError(f"{shown(path.name)}: {error.what}", error.remedy) from error


def _resolution(image: "Image.Image") -> tuple[float, float]:
    """Tell the dots per inch across and down, as displayed. A fax has twice as many across as down (ITU-T T.4)."""
    across, down = (float(value) for value in image.info.get("dpi", (0, 0)))
    if not all(POINTS_PER_INCH <= value <= 2 * 1200 for value in (across, down)):
        across = down = _PAPER_DPI
    turned = image.getexif().get(ORIENTATION, 1) in _LYING
    return (down, across) if turned else (across, down)


@cache
def _plugins() -> tuple[str, ...]:
    """Name the formats that Pillow reads by plugins which are installed."""
    found = []
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        found.append("HEIF")
    with contextlib.suppress(ImportError):
        import pillow_jxl  # noqa: F401 - registers itself

        found.append("JXL")
    return tuple(found)


def _unknown(path: Path) -> DocumentError:
    """Say of a file that is neither PDF nor TIFF why it can't be opened as an image."""
    if "HEIF" not in _plugins() and _is_heif(path):
        return DocumentError(
            "This is a HEIC image, and ocrd was installed without a reader for those.",
            f"Install it ({pip('pillow-heif')}), or save the image as JPEG.",
        )
    if "JXL" not in _plugins() and _head(path).startswith(_JXL):
        return DocumentError(
            "This is a JPEG XL image, and no reader for those is installed.",
            f"Install one ({pip('pillow-jxl-plugin')}), or save the image as PNG.",
        )
    head = _head(path)
    if known := next((name for name, magic in _MAGIC.items() if head.startswith(magic)), ""):
        return DocumentError(f"This {known} can't be opened: what its first bytes say is damaged.", AGAIN)
    return DocumentError(
        "This is no PDF and no image that ocrd knows (TIFF, JPEG, PNG, WebP, HEIC, JPEG 2000, DjVu, GIF, BMP and"
        " others), whatever its name says.",
        "Open it in the program that it came from and save it as a PDF.",
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _is_tiff(path: Path) -> bool:
    return _head(path)[:4] in _TIFFS


def _is_heif(path: Path) -> bool:
    head = _head(path)
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def _on_paper(image: "Image.Image") -> "Image.Image":
    """Make an image of any mode grey or RGB: what is transparent is white paper, and 16 bits become 8."""
    from PIL import Image

    if image.mode.startswith("I"):  # convert() would cut the values off instead of scaling them
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _shown_whole(document: "pymupdf.Document", index: int) -> "pymupdf.Page":
    """Load a page, without a crop box that would hide all of it."""
    page: pymupdf.Page = document.load_page(index)
    if _is_cropped_away(document, page):
        page.set_cropbox(page.mediabox)
        page = document.load_page(index)
    return page


def _is_cropped_away(document: "pymupdf.Document", page: "pymupdf.Page") -> bool:
    """Whether the crop box of a page, its own or that of a node above it, holds nothing of its sheet."""
    import pymupdf

    node = page.xref
    for _ in range(_DEEPEST):
        kind, value = document.xref_get_key(node, "CropBox")
        if kind == "array":
            sides = [float(side) for side in re.findall(r"-?[\d.]+", value)]
            box = pymupdf.Rect(sides).normalize() if len(sides) == 4 else None  # noqa: PLR2004
            return box is not None and (box & page.mediabox).is_empty
        kind, value = document.xref_get_key(node, "Parent")
        if kind != "xref":
            break
        node = int(value.partition(" ")[0])
    return False


def _cut_off() -> IncompleteError:
    return IncompleteError("This PDF is cut off: its end is missing.", TRANSFER)


def _as_word(found: tuple[float, float, float, float, str, int, int, int]) -> Word:
    """Take a word as MuPDF gives it: its box, text, and the numbers of its block, its line in that, and its place."""
    left, top, right, bottom, text, block, line, _ = found
    height = (bottom - top) * _LETTERS
    return Word(text, left, right, bottom - height / 4, height, block * _MOST_LINES + line)


def _as_pillow(pixmap: "pymupdf.Pixmap") -> "Image.Image":
    from PIL import Image

    return Image.frombuffer("RGB", (pixmap.width, pixmap.height), pixmap.samples_mv, "raw", "RGB", pixmap.stride, 1)


def _part(image: "Image.Image", sheet: PixelSize, placement: Placement, size: PixelSize) -> "Image.Image":
    """Cut the wanted part out of a drawing of the whole sheet."""
    if image.size != (sheet.width, sheet.height):  # rounding of a page's odd size
        image = image.resize((sheet.width, sheet.height))
    if sheet == size:
        return image
    top = min(round(placement.top * sheet.height), sheet.height - size.height)
    return image.crop((0, top, size.width, top + size.height))


def plain(error: Exception, path: Path | None = None) -> str:
    """Make a library's message fit into a sentence, without the path by which only we know the file."""
    text = re.sub(r"^code=\d+: ", "", str(error)).replace(f"file '{path}'", "it").replace(f"'{path}'", "it")
    return shown(" ".join(text.split()))[:200].rstrip(". ") or type(error).__name__
