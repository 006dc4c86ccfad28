"""The layout of a page whose words are known: they are laid, invisible, over its picture. Runs in the workers."""

import io
from typing import TYPE_CHECKING

from ocrd.rendering import page_layout
from ocrd.rendering.page_layout import Block, Word

if TYPE_CHECKING:
    import pymupdf
    from PIL.Image import Image

FONT = "cjk"
"""PyMuPDF's name for Droid Sans Fallback: Latin, Greek, Cyrillic, Chinese, Japanese, Korean."""
INVISIBLE = 3
"""The text rendering mode of PDF for text that is only there to be found (ISO 32000-1, 9.3.6)."""
JPEG_QUALITY = 95
"""Percent: in 17 pages of ten files the model finds the same as in the picture itself."""


def found(picture: bytes, size: tuple[int, int], words: list[Word]) -> list[Block]:
    """Find the blocks of a page of this size in pixels, and their Markdown."""
    page_layout.load()  # before PyMuPDF is
    import pymupdf

    scale = page_layout.A4_HEIGHT / max(size)
    with pymupdf.open() as document:
        page = document.new_page(width=size[0] * scale, height=size[1] * scale)
        page.insert_image(page.rect, stream=picture)
        font = pymupdf.Font(FONT)
        page.insert_font(fontname=FONT, fontbuffer=font.buffer)
        shape = page.new_shape()
        shape.text_cont = "\n".join(_drawn(word, font, scale, page.rect.height) for word in words)
        shape.commit()
        blocks = page_layout.found(document, scale=scale)
    pymupdf.TOOLS.store_shrink(100)  # no page comes twice, so MuPDF's cache would only grow, by 10 MB a page
    return blocks


def as_jpeg(image: "Image") -> bytes:
    """Pack a picture as the one kind that MuPDF hands on as it is: any other it packs anew, for 0.1 s, and twice."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _drawn(word: Word, font: "pymupdf.Font", scale: float, height: float) -> str:
    """Write the operators that lay a word, invisible, where it was read on a page of this height in points.

    PyMuPDF has a function for it, which takes as long as all else that is drawn here (ISO 32000-1, 9.4.3).
    """
    shown = all(font.has_glyph(ord(letter)) for letter in word.text)
    text = word.text if shown else "x" * len(word.text)  # holds the place of the word
    size = word.height * scale
    stretch = (word.right - word.left) * scale / (font.text_length(text, size) or 1)
    place = f"{stretch:.5f} 0 0 1 {word.left * scale:.5f} {height - word.baseline * scale:.5f} Tm"
    glyphs = "".join(f"{font.has_glyph(ord(letter)):04x}" for letter in text)
    return f"BT {INVISIBLE} Tr /{FONT} {size:.5f} Tf {place} <{glyphs}> Tj ET"
