"""What a drawing may lack of its page: libraries go on where data are damaged, and say so only in passing.

Their words are kept here, sorted into what is lost and what is not, and told in the words of a person. Empty words mean
that nothing speaks against a drawing.
"""

import contextlib
import io
import os
import re
import zlib
from collections.abc import Collection, Iterable, Iterator
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pymupdf
    from PIL import Image

_HARMLESS = re.compile(
    r"""\.\.\.\ repeated | encountered\ syntax\ errors  # of what was said before
    | repairing\ PDF | expected\ object\ number | page\ tree | non-page\ object  # of the whole file, not of this page
    | [Oo]ptional\ Content | Layer\ config | link\ destination | annotation | appearance\ stream | parent\ tree
    | non-embedded\ font | bogus\ font | missing\ font\ desc | lying\ about | any\ cmaps | CMap | bfrange
    | cid\ collection | FT_Load_Glyph  # three ways to draw a glyph; `cannot render glyph` follows if none went
    | Ignoring\ Page\ blending | ICC\ | lcms | cmsOpen | misplaced\ '\w+'\ box | JPX\ numcomps | gray\ to\ alpha
    | marked\ content | ExtGState | subtype\ PS | no\ current\ point | gstate\ underflow
    | structure\ tree | popped\ too\ many\ layers | CIDToGIDMap | Length\ incorrect | line\ feed\ missing | aes\ padding
    | JBIG2\ file\ header | terminating\ marker | Non\ conformant\ codestream""",
    re.VERBOSE,
)
"""What MuPDF says of files on whose pages nothing is missing."""
_END_OF_FLATE = "premature end of data in flate filter"
"""Many programs leave the last bytes of such data out, which say only that they end."""
_LOSSES = {
    "a font of it is damaged": re.compile(r"glyph|\bfont|FT_"),
    "parts of it are missing": re.compile(r"cannot (?:find|load)|not a stream|no XObject|is missing|[Rr]esource"),
    "its instructions for drawing are damaged": re.compile(
        r"keyword|syntax|operand|stack|gstate|operator|current point"
    ),
}
UNDECODED = "data of it can't be decoded"
_NO_CONTENTS = "its contents are missing"
_OTHER_STREAMS = {"Thumb", "Metadata"}
"""What else may be a stream of a page's own (ISO 32000-2, table 31)."""
_REFERENCES = re.compile(r"\[(\s*\d+ \d+ R)*\s*\]")
_STDERR = 2
_SAID = 65_536
"""Bytes that are kept of what a library writes there."""
_RUBBISH_BEFORE = re.compile(rb"extraneous bytes before marker 0x(?:e.|db|fe)")
"""What libjpeg says of bytes before a JPEG's notes and tables, which are no pixels."""
_RUBBISH_AFTER = re.compile(rb": (\d{1,2}) extraneous bytes before marker 0xd9")
"""The same of a few behind all of its pixels, or of those that are left where damaged ones took less than they had."""
_FILLING = b"\0\xff\r\n "
"""Bytes that writers put there."""
_LOSS = re.compile(rb"Decode|Read error|Corrupt JPEG data")
_JPEG_END = b"\xff\xd9"
_JPEG_PIXELS = b"\xff\xda"
"""Behind which a JPEG's pixels are; those of its last pass, if it has several (ITU-T T.81, B.2.3)."""
_MORE, _A_FEW = 1.5, 300
"""How many times, and by how many bytes, data of a picture are longer than if it is encoded again."""
_CELL, _EVERY = 16, 4
"""Pixels of the side of a square in which noise is looked for, and in which row of such squares."""
_NOISY = 0.05
"""Share of a page."""
_UNIFORM = 20
"""Levels; a screened photograph has lighter and darker parts."""
_LEAST_BITS = 0.5
"""For each pixel of noise. True noise would take one."""
_MOST_PIXELS = 100_000_000
"""Of a picture that is."""
SMALL = 200
"""Pixels of the longer side of a page on which a picture may be too fine."""
_REDUCED = 4
"""How much finer that is: 1200 dpi, and more, on less than 2 cm."""
_MANY_SHAPELESS = 0.25
"""Share of letters."""
_FLATE_HEAD, _FLUSHED = 2, b"\0\0\xff\xff"
"""Bytes with which such data begin, and what is written after all that came before a flush: an empty block."""
_CHECKSUM = 4
"""Bytes with which they end."""
_PIECE = 2**20
"""Bytes that are decompressed at once."""
_ROWS = 10_000
"""Bytes, one before each row at most, that say how it is compressed (ISO 32000-1, 7.4.4.4)."""
_HOLE = bytes(8)
"""Zeros; the end of a strip may be filled up with a few."""
_LONG_HOLE = bytes(256)
_CHUNK = 12
"""Bytes of a PNG's chunk beside its data: length, kind, checksum (ISO/IEC 15948, 5.3)."""


def of_messages(messages: Iterable[str], *, closely: bool) -> str:
    """Say what a page lacks by what MuPDF said while it drew it; `closely`, also what rarely means a loss."""
    losses = [line for line in messages if not _HARMLESS.search(line) and (closely or line != _END_OF_FLATE)]
    if not losses:
        return ""
    return next((loss for loss, words in _LOSSES.items() if any(map(words.search, losses))), UNDECODED)


class _Ending(Enum):
    """How data in Flate end."""

    WHOLE = auto()
    SHORT = auto()
    """They lack no more than their checksum, or what ends them after a flush: nothing is lost."""
    CUT_OFF = auto()


def may_break_off(messages: Collection[str], document: "pymupdf.Document", page: "pymupdf.Page") -> bool:
    """Whether anything of which a page is drawn may end too early, if MuPDF said so of something.

    Where it is none of the streams that are looked at, it is another, such as a pattern: nobody knows how it ends.
    """
    if _END_OF_FLATE not in messages:
        return False
    endings = {_ending(document, stream) for stream in _streams(document, page)}
    return _Ending.CUT_OFF in endings or _Ending.SHORT not in endings


def _streams(document: "pymupdf.Document", page: "pymupdf.Page") -> set[int]:
    """List most of the streams of which a page is drawn: contents, forms, pictures, and how its notes appear."""
    appearances = (document.xref_get_key(xref, "AP/N") for xref, *_ in page.annot_xrefs() if xref)
    streams = {_number(value) for kind, value in appearances if kind == "xref"}
    pictures = page.get_images(full=True)
    return streams.union(
        page.get_contents(), *(found[:1] for found in page.get_xobjects()), *(found[:2] for found in pictures)
    )


def _ending(document: "pymupdf.Document", stream: int) -> _Ending:
    """Tell how a stream ends if it is in Flate; of one that is encoded twice nobody knows, so it is cut off."""
    if not 0 < stream < document.xref_length():
        return _Ending.WHOLE
    filters = document.xref_get_key(stream, "Filter")[1].strip("[ ]")
    if "FlateDecode" not in filters:
        return _Ending.WHOLE
    return _ending_of(document.xref_stream_raw(stream)) if filters == "/FlateDecode" else _Ending.CUT_OFF


def _ending_of(data: bytes) -> _Ending:
    """Tell how data in Flate (RFC 1950) end."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    rest = data[_FLATE_HEAD:]
    try:
        while rest and not inflate.eof:
            inflate.decompress(rest, _PIECE)
            rest = inflate.unconsumed_tail
    except zlib.error:
        return _Ending.CUT_OFF
    if inflate.eof:
        return _Ending.WHOLE if len(inflate.unused_data) >= _CHECKSUM else _Ending.SHORT
    return _Ending.SHORT if data.endswith(_FLUSHED) else _Ending.CUT_OFF


def of_structure(document: "pymupdf.Document", page: "pymupdf.Page") -> str:
    """Say what is missing of a page: itself, or what is drawn on it."""
    if page.xref:
        return _of_object(document, page.xref)
    # It stands directly in the tree, where nobody else can look at it.
    lost = not all(_is_stream(document, f"{number} 0 R") for number in contents_of(page))
    return _NO_CONTENTS if lost else ""


def contents_of(page: "pymupdf.Page") -> list[int]:
    """List the streams of a page's contents, without what stands among them and refers to nothing."""
    return [number for number in page.get_contents() if number]


def _of_object(document: "pymupdf.Document", page: int) -> str:
    if not document.xref_object(page).startswith("<<"):
        return "its own object is missing"
    kind, contents = document.xref_get_key(page, "Contents")
    if kind != "null":
        lost = kind in ("xref", "array") and not _are_streams(document, kind, contents)
    else:  # a blank page may have none; but they may hang on a name that is misspelt
        others = (document.xref_get_key(page, key) for key in document.xref_get_keys(page) if key not in _OTHER_STREAMS)
        lost = any(_are_streams(document, kind, value, least=1) for kind, value in others)
    if lost:
        return _NO_CONTENTS
    # In a sound file what is referred to and is not there was taken away by somebody (ISO 32000-2, 7.3.10).
    annotated = not document.is_repaired or _are_there(document, *document.xref_get_key(page, "Annots"))
    return "" if annotated else "notes or form fields on it are missing"


def _are_there(document: "pymupdf.Document", kind: str, value: str) -> bool:
    """Whether all that an array refers to is a dictionary (ISO 32000-2, 12.5.2), if it has nothing but references."""
    try:
        if kind == "xref":
            value = document.xref_object(_number(value), compressed=True)
        if not _REFERENCES.fullmatch(value):
            return kind != "xref" or value != "null"
        return all(document.xref_object(_number(one)).startswith("<<") for one in re.findall(r"\d+ \d+ R", value))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - MuPDF's errors have no common base but this
        return False


def _are_streams(document: "pymupdf.Document", kind: str, value: str, least: int = 0) -> bool:
    """Whether a value is a stream, or an array of so many at least."""
    if kind == "xref":
        if _is_stream(document, value):
            return True
        with contextlib.suppress(Exception):  # it may be missing
            kind, value = "array", document.xref_object(_number(value))
    parts = re.findall(r"\d+ \d+ R", value)
    array = kind == "array" and value.startswith("[")
    return array and len(parts) >= least and all(_is_stream(document, part) for part in parts)


def _is_stream(document: "pymupdf.Document", reference: str) -> bool:
    try:
        return bool(document.xref_is_stream(_number(reference)))
    except Exception:  # noqa: BLE001 - MuPDF's errors have no common base but this
        return False


def _number(reference: str) -> int:
    return int(reference.partition(" ")[0])


def of_scale(reduced: float) -> str:
    """Judge a page that was drawn `SMALL`, whose picture has so many times as many pixels across.

    So it is where inches were taken for points, and nobody can read it.
    """
    return "it is too small a page for the picture on it" if reduced > _REDUCED else ""


def of_letters(shapeless: float) -> str:
    """Judge the share of a page's letters that could not be drawn; a few are signs that are never seen."""
    return "a font that it needs is not in the file" if shapeless > _MANY_SHAPELESS else ""


def of_jpeg(data: bytes, size: tuple[int, int] | None = None, *, closely: bool = False) -> str:
    """Decode a JPEG, an eighth of its size, and say whether its data end early, make no sense, or are of another size.

    `size` has the width and the height that are declared elsewhere. It takes a millisecond for 100 KiB; longer
    `closely`, which compares also what its pixels need with the length of its data.
    """
    import cv2

    with heard() as said:  # the mark of the end is all that some lack
        image = _decoded(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
    if image is None or (size and image.shape[::-1] != tuple(-(-side // 8) for side in size)):
        return UNDECODED
    return of_said(said, data) or (_of_jpeg_again(data) if closely else "")


def _of_jpeg_again(data: bytes) -> str:
    """Encode a JPEG's pixels as they were, and compare: where a changed bit made all of them white, they need less."""
    from PIL import Image

    again = io.BytesIO()
    with contextlib.suppress(OSError, ValueError), Image.open(io.BytesIO(data + _JPEG_END), formats=["JPEG"]) as image:
        if image.width * image.height <= _MOST_PIXELS:
            image.save(again, "JPEG", quality="keep")
            return _of_lengths(len(data) - data.rfind(_JPEG_PIXELS), len(again.getvalue()))
    return ""


def of_bilevel(length: int, image: "Image.Image", *, lines: bool = False) -> str:
    """Encode a picture of black and white as a fax, and compare with the length of its data.

    `lines`: as an old one does, each line by itself.
    """
    from PIL import TiffImagePlugin

    again = io.BytesIO()
    if image.width * image.height > _MOST_PIXELS:
        return ""
    bilevel = image.convert("L").point(lambda level: 255 * (level > 127), "1")  # noqa: PLR2004 - half of it
    bilevel.save(again, "TIFF", compression="group3" if lines else "group4")
    again.seek(0)
    with TiffImagePlugin.TiffImageFile(again) as encoded:
        return _of_lengths(length, sum(encoded.tag_v2[TiffImagePlugin.STRIPBYTECOUNTS]))


def of_noise(page: "Image.Image", pixels: int, length: int) -> str:
    """Look for noise on a drawn page of so many black and white pixels, that can't be in so many bytes.

    It is what follows a changed bit of JBIG2, whose arithmetic codes (ITU-T T.88, annex E) all mean something.
    """
    import numpy as np

    grey = np.asarray(page.convert("L"))
    high, wide = (side // _CELL * _CELL for side in grey.shape)
    if not high or not wide:
        return ""
    rows = grey[:high, :wide].reshape(high // _CELL, _CELL, wide // _CELL, _CELL)[::_EVERY]
    cells = rows.swapaxes(1, 2).reshape(-1, _CELL * _CELL)
    means, spreads = cells.mean(axis=1), cells.std(axis=1)
    noisy = (abs(means - 128) < 40) & (spreads > 25) & (spreads < 75)  # noqa: PLR2004 - levels; print is on white
    share = float(noisy.mean())
    if share < _NOISY:
        return ""
    uniform = float(np.ptp(np.percentile(means[noisy], (25, 75)))) < _UNIFORM
    return UNDECODED if uniform and 8 * length < _LEAST_BITS * share * pixels else ""


def _of_lengths(data: int, again: int) -> str:
    return UNDECODED if data > _MORE * again + _A_FEW else ""


def decoded_jpeg(data: bytes, *, grey: bool) -> "np.ndarray[Any, Any]":
    """Decode a JPEG into rows of grey pixels or of RGB, as it is stored; what libjpeg says of it can be `heard`.

    Pillow does the same, more slowly, and keeps libjpeg from saying anything. Raises ValueError.
    """
    import cv2

    image = _decoded(data, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError("it is no JPEG that can be decoded")
    return image


def _decoded(data: bytes, how: int) -> "np.ndarray[Any, Any] | None":
    """Let OpenCV decode a JPEG as it is stored. Raises MemoryError."""
    import cv2
    import numpy as np

    try:
        return cv2.imdecode(np.frombuffer(data + _JPEG_END, np.uint8), how | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise


def of_flate(data: bytes, declared: int) -> str:
    """Decompress a picture's data (RFC 1950), of which MuPDF reads no more than the bytes that are declared."""
    inflate = zlib.decompressobj()
    length = 0
    try:
        while data and not inflate.eof and not of_length(length, declared):
            length += len(inflate.decompress(data, _PIECE))
            data = inflate.unconsumed_tail
    except zlib.error:
        return UNDECODED
    return of_length(length, declared)


def of_length(length: int, declared: int) -> str:
    """Compare how many bytes a picture's pixels are with what its measures say: if more, not all of it is shown."""
    return UNDECODED if length > declared * 9 // 8 + _ROWS else ""


def of_jpx(data: bytes) -> str:
    """Look for a hole in JPEG 2000, which makes a picture blurred. Only empty parts of it are zeros, a byte each."""
    return UNDECODED if _LONG_HOLE in data else ""


def of_png(path: Path) -> str:
    """Compare a PNG's data with their checksums, which Pillow does not."""
    data = path.read_bytes()
    place = 8
    while place + _CHUNK <= len(data):
        end = place + _CHUNK + int.from_bytes(data[place : place + 4])
        if zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return UNDECODED
        if data[place + 4 : place + 8] == b"IEND":
            return ""
        place = end
    return UNDECODED


def may_have_hole(data: bytes) -> bool:
    """Whether there are so many zeros in a row as only holes have, and pictures that are white in large parts."""
    return _LONG_HOLE in data


def of_contents(streams: Iterable[bytes]) -> str:
    """Look for holes in a page's instructions, which are text or are compressed: zeros that pass for spaces."""
    return UNDECODED if any(_LONG_HOLE in stream for stream in streams) else ""


def of_fax(strips: Iterable[bytes]) -> str:
    """Look for holes in fax data, whose codes never have more than fourteen zeros in a row (ITU-T T.6)."""
    return UNDECODED if any(_HOLE in strip for strip in strips) else ""


def of_said(lines: Iterable[bytes], jpeg: bytes = b"") -> str:
    """Say what an image lacks by what libtiff or libjpeg wrote while it decoded it, of a `jpeg` with its data."""
    losses = (line for line in lines if not _RUBBISH_BEFORE.search(line) and not _is_filling(line, jpeg))
    return UNDECODED if any(_LOSS.search(line) for line in losses) else ""


def _is_filling(line: bytes, jpeg: bytes) -> bool:
    rubbish = _RUBBISH_AFTER.search(line)
    return rubbish is not None and not jpeg[: jpeg.rfind(_JPEG_END)][-int(rubbish[1]) :].strip(_FILLING)


@contextlib.contextmanager
def heard() -> Iterator[list[bytes]]:
    """Catch what C libraries write to standard error; the list is filled at the end, with at most 64 KiB."""
    lines: list[bytes] = []
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    usual = os.dup(_STDERR)
    os.dup2(writer, _STDERR)
    try:
        yield lines
    finally:
        os.dup2(usual, _STDERR)
        os.close(usual)
        os.close(writer)
        with contextlib.suppress(BlockingIOError):
            lines += os.read(reader, _SAID).splitlines()
        os.close(reader)
