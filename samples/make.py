"""Make the sample scans: `python samples/make.py` prints each `NAME.txt` of `ocrd/samples/` and scans the sheets.

The text files are written by hand and are the truth: plain text in reading order, a form feed between pages, an empty
line between paragraphs, tabs between the cells of a table; a page whose first paragraph is a single line has it as its
heading. The scans hold pixels alone, no text layer: printed at 200 dpi, then laid a little askew, greyed, blurred and
strewn with noise from a seeded generator. The same versions of PyMuPDF and Pillow give the same bytes.
"""

import io
import random
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pymupdf
from PIL import Image, ImageChops, ImageFilter, ImageOps

SAMPLES = Path(__file__).resolve().parents[1] / "ocrd/samples"
DPI = 200
SHEET = pymupdf.paper_rect("a4")
BODY = pymupdf.Rect(72, 72, 523, 770)
COLUMNS = [pymupdf.Rect(72, 132, 283, 640), pymupdf.Rect(312, 132, 523, 640)]
STYLE = """
body { font-family: serif; font-size: 12pt; line-height: 1.4; }
h1 { font-size: 19pt; }
table { border-collapse: collapse; }
td { border: 1px solid black; padding: 4px 14px; }
"""
PAPER = 238
"""Grey level of the sheet, 0 to 255."""
BLACK_AND_WHITE = [0] * 150 + [255] * 106
"""What a fax machine makes of each grey level."""


def main() -> None:
    """Write every sample beside its text."""
    for name in ("english", "russian", "table", "blank"):
        save_pdf(name, scans(name, [BODY]))
    save_pdf("columns", scans("columns", COLUMNS))
    save_pdf("turned", (scan.transpose(Image.Transpose.ROTATE_90) for scan in scans("turned", [BODY])))
    first, *others = [scan.point(BLACK_AND_WHITE, "1") for scan in scans("fax", [BODY])]
    first.save(SAMPLES / "fax.tif", compression="group4", dpi=(DPI, DPI), save_all=True, append_images=others)
    (letter,) = scans("letter", [BODY])
    photograph(letter).save(SAMPLES / "letter.jpg", quality=60)


def scans(name: str, boxes: list[pymupdf.Rect]) -> Iterator[Image.Image]:
    """Scan the pages of `NAME.txt`; where there are several `boxes` (points), the text below the heading fills them."""
    for number, text in enumerate((SAMPLES / f"{name}.txt").read_text(encoding="utf-8").split("\f")):
        yield scan(printed(text, boxes), random.Random(f"{name} {number}"))  # noqa: S311 - the same noise each time


def printed(text: str, boxes: list[pymupdf.Rect]) -> Image.Image:
    """Lay out and render one page of text: black on white, in grey levels."""
    first, *others = text.strip().split("\n\n")
    head = as_html(first) if "\n" in first else f"<h1>{escape(first)}</h1>"
    body = [as_html(block) for block in others]
    flows = [([head, *body], boxes)] if len(boxes) == 1 else [([head], [BODY]), (body, boxes)]
    file = io.BytesIO()
    writer = pymupdf.DocumentWriter(file)
    device = writer.begin_page(SHEET)
    for flow, places in flows:
        story = pymupdf.Story("".join(flow), user_css=STYLE)
        more = [(story.place(box)[0], story.draw(device))[0] for box in places][-1]
        if more:
            raise ValueError(f"The text does not fit on its page: {text[:40]!r}")
    writer.end_page()
    writer.close()
    pixmap = pymupdf.open("pdf", file)[0].get_pixmap(dpi=DPI, colorspace=pymupdf.csGRAY)
    return Image.frombytes("L", (pixmap.width, pixmap.height), pixmap.samples)


def as_html(block: str) -> str:
    """Turn a paragraph of plain text into HTML."""
    lines = escape(block).split("\n")
    if "\t" in block:
        rows = ("".join(f"<td>{cell}</td>" for cell in line.split("\t")) for line in lines)
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
    return f"<p>{'<br>'.join(lines)}</p>"


def scan(sheet: Image.Image, chance: random.Random) -> Image.Image:
    """Do what a flatbed scanner does to a sheet: askew by up to half a degree, grey paper, soft edges, noise."""
    sheet = sheet.rotate(chance.uniform(-0.5, 0.5), Image.Resampling.BICUBIC, fillcolor=255)
    sheet = sheet.filter(ImageFilter.GaussianBlur(0.6)).point(lambda level: 40 + level * (PAPER - 40) // 255)
    noise = Image.frombytes("L", sheet.size, chance.randbytes(sheet.width * sheet.height))
    grain = noise.filter(ImageFilter.GaussianBlur(1)).point(lambda level: level // 10)
    return ImageChops.add(sheet, grain, offset=-128 // 10)


def photograph(sheet: Image.Image) -> Image.Image:
    """Do what a hand-held camera does to a sheet: on a brown desk, in perspective, lit from one corner."""
    sheet = ImageOps.expand(sheet, 90, 96).resize((1500, 2068), Image.Resampling.LANCZOS)
    width, height = sheet.size
    corners = (0, 0, 18, height, width, height - 12, width - 26, 14)
    sheet = sheet.transform(sheet.size, Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)
    light = Image.linear_gradient("L").resize(sheet.size).point(lambda level: 255 - level // 4)
    return ImageOps.colorize(ImageChops.multiply(sheet, light), black="#191410", white="#fff6e2")


def save_pdf(name: str, pages: Iterator[Image.Image]) -> None:
    """Save grey images as `NAME.pdf`, one JPEG a page."""
    document = pymupdf.open()
    for image in pages:
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=30, dpi=(DPI, DPI))
        page = document.new_page(width=image.width * 72 / DPI, height=image.height * 72 / DPI)
        page.insert_image(page.rect, stream=jpeg.getvalue())
    document.save(SAMPLES / f"{name}.pdf", garbage=4, no_new_id=True)


if __name__ == "__main__":
    main()
