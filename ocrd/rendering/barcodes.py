"""Barcodes of separator sheets: read in the render workers, and put on a sheet to print. The only user of zxingcpp."""

import io
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ocrd.errors import DocumentError

if TYPE_CHECKING:
    from PIL import Image

_LONGEST = 40
"""Characters that a sheet can hold as bars."""


def on(page: "Image.Image") -> list[str]:
    """Return the texts of the barcodes on a page, however they lie, from top to bottom."""
    import numpy as np
    import zxingcpp

    kinds = zxingcpp.BarcodeFormat
    formats = kinds.QRCode | kinds.DataMatrix | kinds.Code128 | kinds.Code39
    grey = np.asarray(page.convert("L"))
    read = zxingcpp.read_barcodes(grey, formats=formats, try_invert=False)
    read.sort(key=lambda code: (code.position.top_left.y, code.position.top_left.x))
    return [code.text.strip() for code in read]


def separator(found: Iterable[str], wanted: Collection[str]) -> str:
    """Return the first of the texts that is one of those wanted, or fits one as a pattern of a shell: `DOC-*`.

    Empty if there is none.
    """
    return next((text for text in found if text in wanted or any(fnmatchcase(text, one) for one in wanted)), "")


def sheet(text: str) -> bytes:
    """Make a separator sheet: a PDF of one A4 page with a text as a QR code and as bars (Code 128).

    Raises DocumentError if the text can't be written so.
    """
    import pymupdf
    import zxingcpp
    from PIL import Image

    if not text.isascii() or not text.isprintable() or not 0 < len(text.strip()) <= _LONGEST:
        raise DocumentError(
            f"{text!r} can't stand on a separator sheet.", f"Take 1 to {_LONGEST} letters, digits and signs of ASCII."
        )
    with pymupdf.open() as document:
        page = document.new_page(width=595, height=842)
        places = {"QRCode": (197, 160, 397, 360), "Code128": (97, 440, 497, 560)}
        for kind, place in places.items():
            bars = zxingcpp.create_barcode(text, zxingcpp.barcode_format_from_str(kind)).to_image(scale=8)
            png = io.BytesIO()
            Image.fromarray(bars).save(png, "PNG")
            page.insert_image(pymupdf.Rect(place), stream=png.getvalue(), keep_proportion=kind == "QRCode")
        for line, height in (("Separator sheet", 620), (text, 650)):
            width = pymupdf.get_text_length(line, fontsize=18)
            page.insert_text(((595 - width) / 2, height), line, fontsize=18)
        return bytes(document.tobytes(garbage=3, deflate=True))
