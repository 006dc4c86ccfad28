"""A dropped file that is an image, of one page or several: decoded, whatever its mode. For the render workers alone.

It is hostile. Whatever Pillow and its like throw at it becomes a DocumentError or a PageError.
"""

import contextlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ocrd.display import shown
from ocrd.errors import DocumentError, PageError
from ocrd.model import PixelSize, Placement, TextLayer
from ocrd.rendering import damage, djvu, jpeg2000, lenient, tiff, tiff_directories, tiff_strips, truncation, unopened
from ocrd.rendering.source import AGAIN, POINTS_PER_INCH, as_pillow, cut_out, how_opened, plain
from ocrd.rendering.tiff import LYING, ORIENTATION

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

_PAPER_DPI = 300
"""What an image is taken to be scanned at where it does not say, or says nonsense."""
_IMAGES = ("TIFF", "JPEG", "PNG", "WEBP", "BMP", "GIF", "JPEG2000", "AVIF", "PPM")
_STRIP_ENDS = 10
"""Bytes with which a strip of a fax may end that are no pixels, and so often in a page as it has strips."""
_JPEG_MODES = ("L", "RGB")
_WITH_ALPHA = {"LA": "L", "RGBA": "RGB"}
_KINDS = {"MPO": "jpeg", "JPEG2000": "jp2", "PPM": "pnm"}
"""What ocrd calls formats that Pillow calls otherwise."""
_ANIMATED = ("gif", "webp", "png", "avif")
"""What may hold pictures that are shown one after the other."""
_ASK_FOR_MORE = ("jpeg", "bmp", "gif")
"""Kinds whose decoders say themselves if pixels are missing. Whole files of theirs may lack an end, or have more."""


class Images:
    """One in any form that Pillow, or another library, can decode."""

    repaired = False
    attachments = parts = ()
    problems: tuple[str, ...] = ()

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
            if self.kind in ("tiff", "heif") or (self.kind in _ANIMATED and how_opened().frames):
                self._places = list(range(getattr(self._image, "n_frames", 1)))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            self.kind = "tiff"
            if not _is_tiff(path):
                self.kind, self._image = self._in_spite_of(error)
        if self.kind == "tiff":
            self._places = self._pages_of_tiff()
            self.problems = tuple(filter(None, [tiff.lost(path)]))
        if self.kind == "pnm" and _has_more(path):
            self.problems = ("Only the first picture in this file was read. Save each of them as a file of its own.",)
        if self.kind not in _ASK_FOR_MORE:
            self._find_end()
        self.pages = len(self._places)

    def _in_spite_of(self, error: Exception) -> tuple[str, "Image.Image"]:
        """Open what Pillow refuses. Raises DocumentError."""
        try:
            kind, image = lenient.opened(self._path)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - see above
            raise unopened.why(self._path, _plugins()) from error
        self.repaired = kind == "png"  # it is damaged; the others are odd
        return kind, image

    def _find_end(self) -> None:
        """See whether the file is cut off. Libraries decode what is there, and leave the rest white, or black."""
        if truncation.lacks(self._path):
            self.repaired = True
            self.problems = self.problems or ("This file is cut off: its end is missing.",)

    def _pages_of_tiff(self) -> list[int]:
        try:
            return tiff.pages(self._path)
        except Exception as error:
            if self._image is not None:
                return self._places
            what = "This TIFF can't be opened: its directory is missing or damaged."
            raise DocumentError(what, AGAIN) from error

    def picture(self, index: int) -> "Image.Image":
        """Decode a page as it is displayed, grey or RGB. Raises PageError."""
        self.shape(index)
        return self._displayed

    def shape(self, index: int) -> tuple[float, float]:
        image, self._damage = self._decoded(index)
        orientation = _orientation(image)
        self._displayed = _turned(_on_paper(image), orientation)
        dpi = _resolution(image, turned=orientation in LYING)
        across, down = self._displayed.size
        return across * POINTS_PER_INCH / dpi[0], down * POINTS_PER_INCH / dpi[1]

    def _decoded(self, index: int) -> tuple["Image.Image", str]:
        """Decode a page, or what can be decoded of it, and say what may be missing. Raises PageError."""
        place = self._places[index]
        with damage.heard() as said:
            try:
                image, whole = self._whole(place), True
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 - see above
                image, whole = self._somehow(place, error)
        if not whole:
            return image, self._lost()
        return image, damage.of_said(said, self._path.read_bytes() if said and self.kind == "jpeg" else b"")

    def _somehow(self, place: int, error: Exception) -> tuple["Image.Image", bool]:
        """Decode a page in which Pillow found an error, and say whether that may be all of it. Raises PageError."""
        if self.kind == "tiff" and not self.repaired and (image := _tried(self._by_tifffile, place)):
            return image, True  # it knows more kinds; where data are damaged libtiff said so
        for decode in (_what_pillow_can, _what_mupdf_can):
            if image := _tried(decode, self._path, place):
                return image, False
        words = f" ({plain(error)})" if isinstance(error, OSError) else ""  # others are for programmers
        what = f"This {self._described} can't be decoded: it is damaged, or of a kind that ocrd doesn't know{words}."
        raise PageError(what, AGAIN) from error

    @property
    def _described(self) -> str:
        """Say in words what it is, for who wants to save it in another form."""
        how = self._image.info.get("compression") if self._image is not None else ""
        return f"{self.kind.upper()}, compressed as {shown(how)}," if how else "image"

    def _whole(self, place: int) -> "Image.Image":
        """Decode all of a picture. Raises what the libraries do."""
        if self._image is None:
            return self._by_tifffile(place)
        if self.kind == "jpeg" and self._image.mode in _JPEG_MODES:
            return self._jpeg(self._image)
        if self.kind != "tiff":
            self._image.seek(place)
            self._image.load()
            if self.kind == "jp2" and self._image.mode in _WITH_ALPHA and not jpeg2000.may_be_transparent(self._path):
                return self._image.convert(_WITH_ALPHA[self._image.mode])
            return self._image
        with contextlib.suppress(KeyError, SyntaxError):  # a picture behind the first that Pillow does not know
            self._image.seek(place)
            if tiff.is_usual(self._image):
                self._image.load()
                return self._image
        return self._by_tifffile(place)

    def _by_tifffile(self, place: int) -> "Image.Image":
        image = tiff.decoded(self._path, place)
        image.info["dpi"] = self._image.info.get("dpi", (0, 0)) if self._image is not None else (0, 0)
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
            case "jpeg" if closely or self._was_silent():
                return damage.of_jpeg(self._path.read_bytes(), closely=closely)
            case "jp2":
                return damage.of_jpx(self._path.read_bytes()) if closely else ""
            case "tiff" if self._image is not None:
                return self._damage_of_tiff(self._image, closely=closely)
        return ""

    def _was_silent(self) -> bool:
        """Whether Pillow decoded this JPEG, which keeps libjpeg from saying anything."""
        return self._image is not None and self._image.mode not in _JPEG_MODES

    def _damage_of_tiff(self, image: "Image.Image", *, closely: bool) -> str:
        tags = getattr(image, "tag_v2", {})
        if tiff_strips.is_fax(tags):
            strips = list(tiff_strips.strips(self._path, tags))
            length = sum(map(len, strips)) - _STRIP_ENDS * len(strips)
            return damage.of_fax(strips) or (damage.of_bilevel(length, self._displayed) if closely else "")
        return next(filter(None, map(damage.of_jpeg, tiff_strips.jpegs(self._path, tags))), "")

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
        return cut_out(image.convert("RGB"), sheet, placement, size)

    def close(self) -> None:
        if self._image is not None:
            self._image.close()

    def printed(self, index: int) -> tuple[int, int]:  # noqa: ARG002 - images have none
        return 0, 0

    def is_drawn_unseen(self, index: int) -> bool:  # noqa: ARG002 - images have nothing but themselves
        return False

    def layer(self, index: int) -> TextLayer | None:  # noqa: ARG002 - images have none
        return None

    def layer_text(self, index: int, placement: Placement) -> str:
        raise AssertionError(index, placement)


def _tried(decode: "Callable[..., Image.Image]", *args: object) -> "Image.Image | None":
    """Decode in one of several ways; None if it fails. Raises MemoryError."""
    try:
        return decode(*args)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - see above
        return None


def _what_pillow_can(path: Path, index: int) -> "Image.Image":
    """Decode an image as far as its data go; what is missing is black or grey. Raises what Pillow does."""
    from PIL import Image

    with lenient.leniently(), Image.open(path, formats=_IMAGES) as image:
        image.seek(index)
        image.load()
        return image.copy()


def _what_mupdf_can(path: Path, index: int) -> "Image.Image":
    """Decode an image that Pillow can't, in RGB. Raises what MuPDF does."""
    import pymupdf

    with pymupdf.open(path, filetype="tiff") as document:
        page = document.load_page(index)
        (picture,) = page.get_image_info()
        matrix = pymupdf.Matrix(picture["width"] / page.rect.width, picture["height"] / page.rect.height)
        image = as_pillow(page.get_pixmap(matrix=matrix, colorspace=pymupdf.csRGB, alpha=False)).copy()
        image.info["dpi"] = (picture["xres"], picture["yres"])
        return image


class Djvu(Images):
    """One in DjVu, which its own programs decode."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._image = None
        self.kind = "djvu"
        self._resolutions = djvu.resolutions(path)
        self._find_end()
        self.pages = len(self._resolutions)

    def _decoded(self, index: int) -> tuple["Image.Image", str]:
        image, complaint = djvu.decoded(self._path, index)
        image.info["dpi"] = (self._resolutions[index],) * 2
        return image, complaint and damage.UNDECODED


def picture(path: Path, index: int) -> "Image.Image":
    """Decode a page of an image as it is displayed, grey or RGB. Raises DocumentError, PageError."""
    kind = Djvu if unopened.first_bytes(path).startswith(djvu.MAGIC) else Images
    with contextlib.closing(kind(path)) as images:
        return images.picture(index)


def _orientation(image: "Image.Image") -> int:
    """Tell how an image says that it lies (Exif 3.0, 4.6.4); 1, upright, where what it says is rubbish."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - such as SyntaxError; the pixels are none the worse
        return 1


def _turned(image: "Image.Image", orientation: int) -> "Image.Image":
    """Set an image upright. Pillow's own way writes all that EXIF says anew, and fails where that is rubbish."""
    from PIL.Image import Transpose

    ways = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(ways[orientation]) if orientation in ways else image


def _resolution(image: "Image.Image", *, turned: bool) -> tuple[float, float]:
    """Tell the dots per inch across and down, as displayed. A fax has twice as many across as down (ITU-T T.4)."""
    across, down = (float(value) for value in image.info.get("dpi", (0, 0)))
    if not all(POINTS_PER_INCH <= value <= 2 * 1200 for value in (across, down)):
        across = down = _PAPER_DPI
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


def _has_more(path: Path) -> bool:
    """Whether another picture follows the first in a PBM, PGM or PPM, which may hold several (netpbm's ppm(5))."""
    with path.open("rb") as file:
        length = truncation.declared(file.read(1024))  # 0 for one whose levels are written in digits
        if not 0 < length < path.stat().st_size:
            return False
        file.seek(length)
        return file.read(16).lstrip()[:1] == b"P"


def _is_tiff(path: Path) -> bool:
    return unopened.first_bytes(path)[:4] in tiff_directories.MAGIC


def _on_paper(image: "Image.Image") -> "Image.Image":
    """Make an image of any mode grey or RGB: what is transparent is white paper, and 16 bits become 8."""
    from PIL import Image

    if image.mode.startswith("I"):  # convert() would cut the values off instead of scaling them
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
