"""What becomes of pages in damaged files: none that had something on it may go out as blank and complete.

`python bench/quality/damaged.py [SEED] [COUNT] [--held-out] [--files FOLDER] [--keep FOLDER]`

Makes COUNT files of each kind, damages each in every way, and gives them to the real render workers. `--held-out` takes
the kinds and damages that no rule was chosen by; `--files` damages the files of a folder instead of its own; `--keep`
puts there what went wrong. Columns: pages whose file was refused; that failed; that were drawn with a problem; that
were drawn without one, of them those that lost half of their ink; that are no more; and `blank`, those with content
that came out blank and complete, which must be 0.
"""

import argparse
import asyncio
import io
import itertools
import random
import re
import struct
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pymupdf
import sheets
from PIL import Image

from ocrd.concurrency.worker_pool import Limits
from ocrd.errors import DocumentError, PageError
from ocrd.model import PageFacts, PixelSize, View
from ocrd.rendering.renderer import Renderer

Maker = Callable[[random.Random], bytes]
Damage = Callable[[random.Random, bytes], bytes]
PAGES = 2
"""Pages with something on them in each PDF that is made."""


def _text(chance: random.Random) -> str:
    return " ".join(chance.choices(sheets.LANGUAGES["english"], k=chance.randint(1, 4)))


def _scan(chance: random.Random, size: tuple[int, int] = (827, 1169)) -> Image.Image:
    _, page = next(sheets.sheets(f"damaged {chance.random()}", 1))
    return sheets.aged(page.image, chance).convert("L").resize(size)


# Whole files


def _text_pdf(chance: random.Random, **how: object) -> bytes:
    with pymupdf.open() as document:
        for _ in range(PAGES):
            page = document.new_page(width=595, height=842)
            page.insert_textbox((72, 72, 523, 770), _text(chance), fontsize=11)
        return bytes(document.tobytes(**how))


def text_compressed(chance: random.Random) -> bytes:
    return _text_pdf(chance, deflate=True)


def text_plain(chance: random.Random) -> bytes:
    return _text_pdf(chance, expand=255)


def text_object_streams(chance: random.Random) -> bytes:
    return _text_pdf(chance, deflate=True, use_objstms=1)


def text_own_font(chance: random.Random) -> bytes:
    with pymupdf.open() as document:
        font = pymupdf.Font("cjk")
        for _ in range(PAGES):
            page = document.new_page(width=595, height=842)
            page.insert_font(fontname="own", fontbuffer=font.buffer)
            page.insert_textbox((72, 72, 523, 770), _text(chance), fontsize=11, fontname="own")
        document.subset_fonts()
        return bytes(document.tobytes(deflate=True, garbage=3))


def form(chance: random.Random) -> bytes:
    """Pages that show another document's page as a form XObject."""
    with pymupdf.open(stream=_text_pdf(chance), filetype="pdf") as inner, pymupdf.open() as document:
        for number in range(PAGES):
            page = document.new_page(width=595, height=842)
            page.show_pdf_page(page.rect, inner, number)
        return bytes(document.tobytes(deflate=True))


def _scanned_pdf(chance: random.Random, encode: Callable[[Image.Image], tuple[bytes, str]]) -> bytes:
    """Pages of one picture each, whose stream and its entries `encode` gives."""
    with pymupdf.open() as document:
        for _ in range(PAGES):
            page = document.new_page(width=595, height=842)
            scan = _scan(chance)
            data, entries = encode(scan)
            picture, contents = document.get_new_xref(), document.get_new_xref()
            size = f"/Width {scan.width}/Height {scan.height}"
            document.update_object(picture, f"<</Type/XObject/Subtype/Image{size}/ColorSpace/DeviceGray>>")
            document.update_stream(picture, data, compress=0)
            for key, value in re.findall(r"/(\w+) (\S.*?)(?=\n|$)", entries):
                document.xref_set_key(picture, key, value)
            document.update_object(contents, "<<>>")
            document.update_stream(contents, b"q 595 0 0 842 0 0 cm /P Do Q")
            document.xref_set_key(page.xref, "Resources", f"<</XObject<</P {picture} 0 R>>>>")
            document.xref_set_key(page.xref, "Contents", f"{contents} 0 R")
        return bytes(document.tobytes())


def _encoded(scan: Image.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    scan.save(file, kind, **how)
    return file.getvalue()


def _strip(scan: Image.Image, compression: str) -> bytes:
    """Encode as one strip of a TIFF, and take that out."""
    data = _encoded(scan, "TIFF", compression=compression, tiffinfo={278: scan.height})
    with Image.open(io.BytesIO(data)) as file:
        place, length = file.tag_v2[273][0], file.tag_v2[279][0]  # type: ignore[attr-defined]
    return data[place : place + length]


def scan_jpeg(chance: random.Random) -> bytes:
    return _scanned_pdf(
        chance, lambda scan: (_encoded(scan, "JPEG", quality=60), "/BitsPerComponent 8\n/Filter /DCTDecode")
    )


def scan_flate(chance: random.Random) -> bytes:
    return _scanned_pdf(
        chance, lambda scan: (zlib.compress(scan.tobytes()), "/BitsPerComponent 8\n/Filter /FlateDecode")
    )


def scan_fax(chance: random.Random) -> bytes:
    def encode(scan: Image.Image) -> tuple[bytes, str]:
        parameters = f"<</K -1/Columns {scan.width}/Rows {scan.height}>>"
        return _strip(scan.convert("1"), "group4"), (
            f"/BitsPerComponent 1\n/Filter /CCITTFaxDecode\n/DecodeParms {parameters}\n/Decode [1 0]"
        )

    return _scanned_pdf(chance, encode)


def scan_jpx(chance: random.Random) -> bytes:
    return _scanned_pdf(
        chance,
        lambda scan: (
            _encoded(scan, "JPEG2000", quality_mode="rates", quality_layers=[20]),
            "/BitsPerComponent 8\n/Filter /JPXDecode",
        ),
    )


def _image(kind: str, mode: str = "L", **how: object) -> Maker:
    def made(chance: random.Random) -> bytes:
        return _encoded(_scan(chance).convert(mode), kind, **how)

    made.__name__ = "_".join([kind.lower(), mode, *map(str, how.values())])
    return made


MADE: list[Maker] = [
    text_compressed, text_plain, text_object_streams, scan_jpeg, scan_flate, scan_fax, scan_jpx,
    _image("TIFF", "1", compression="group4"), _image("TIFF", compression="tiff_lzw"),
    _image("TIFF", compression="tiff_adobe_deflate"), _image("TIFF"), _image("JPEG", quality=70), _image("PNG"),
]  # fmt: skip
MADE_HELD_OUT: list[Maker] = [
    form, text_own_font, _image("TIFF", "1", compression="group3"), _image("TIFF", compression="packbits"),
    _image("TIFF", "RGB", compression="jpeg"), _image("JPEG", "RGB", progressive=True), _image("PNG", "1"),
    _image("PNG", "RGB"),
]  # fmt: skip


# Damages


def bit_flipped(chance: random.Random, data: bytes) -> bytes:
    return _flipped(chance, data, 1)


def bits_flipped(chance: random.Random, data: bytes) -> bytes:
    return _flipped(chance, data, 20)


def _flipped(chance: random.Random, data: bytes, bits: int) -> bytes:
    spoilt = bytearray(data)
    for _ in range(bits):
        spoilt[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(spoilt)


def picture_bit_flipped(chance: random.Random, data: bytes) -> bytes:
    """One bit in the longest stream of a PDF, most likely a scan's picture; somewhere in another file."""
    streams = [match.span(1) for match in re.finditer(rb"stream\r?\n(.*?)endstream", data, re.DOTALL)]
    start, end = max(streams, key=lambda span: span[1] - span[0], default=(0, len(data)))
    return data[:start] + _flipped(chance, data[start:end], 1) + data[end:]


def measure_changed(chance: random.Random, data: bytes) -> bytes:
    """Another digit in the width or the height of a picture of a PDF, if it has one; else one bit somewhere."""
    digits = [match.start(1) for match in re.finditer(rb"/(?:Width|Height) (\d)", data)]
    if not digits:
        return bit_flipped(chance, data)
    place = chance.choice(digits)
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def hole(chance: random.Random, data: bytes) -> bytes:
    """Zeros somewhere, up to a third of the file."""
    length = chance.randint(1, len(data) // 3)
    start = chance.randrange(len(data) - length)
    return data[:start] + bytes(length) + data[start + length :]


def sector_lost(chance: random.Random, data: bytes) -> bytes:
    """Zeros in place of one sector of a disk."""
    start = chance.randrange(0, len(data), 512)
    return data[:start] + bytes(len(data[start : start + 512])) + data[start + 512 :]


def part_missing(chance: random.Random, data: bytes) -> bytes:
    """Spaces in place of an object of a PDF, zeros in place of a chunk or a segment of an image."""
    if data.startswith(b"%PDF"):
        spans = [match.span() for match in re.finditer(rb"\d+ 0 obj\b.*?\bendobj", data, re.DOTALL)]
        start, end = chance.choice(spans)
        return data[:start] + b" " * (end - start) + data[end:]
    start, end = chance.choice(list(_parts(data)))
    return data[:start] + bytes(end - start) + data[end:]


def _parts(data: bytes) -> Iterator[tuple[int, int]]:
    """Find the chunks of a PNG, the segments of a JPEG, the strips and the directory of a TIFF."""
    if data.startswith(b"\x89PNG"):
        start = 8
        while start < len(data) - 12:
            end = start + 12 + int(struct.unpack(">I", data[start : start + 4])[0])
            yield start, end
            start = end
    elif data.startswith(b"\xff\xd8"):
        start = 2
        while data[start + 1] != 0xDA:
            end = start + 2 + int(struct.unpack(">H", data[start + 2 : start + 4])[0])
            yield start, end
            start = end
        yield start, len(data) - 2
    else:
        with Image.open(io.BytesIO(data)) as file:
            tags = file.tag_v2  # type: ignore[attr-defined]
            yield from ((place, place + length) for place, length in zip(tags[273], tags[279], strict=True))
        (directory,) = struct.unpack("<I", data[4:8])
        yield directory, len(data)


def bytes_dropped(chance: random.Random, data: bytes) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.randint(1, 2000) :]


def sent_as_text(_chance: random.Random, data: bytes) -> bytes:
    """A binary file as a transfer in text mode leaves it."""
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def blocks_swapped(chance: random.Random, data: bytes) -> bytes:
    blocks = [data[start : start + 1024] for start in range(0, len(data), 1024)]
    one, other = chance.randrange(len(blocks)), chance.randrange(len(blocks))
    blocks[one], blocks[other] = blocks[other], blocks[one]
    return b"".join(blocks)


def end_missing(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randint(len(data) // 3, len(data) - 1)]


DAMAGES: list[Damage] = [
    bit_flipped, bits_flipped, hole, sector_lost, part_missing, picture_bit_flipped, measure_changed,
]  # fmt: skip
DAMAGES_HELD_OUT: list[Damage] = [bytes_dropped, sent_as_text, blocks_swapped, end_missing]


# What becomes of them


def size(width: float, height: float) -> PixelSize:
    scale = 1280 / max(width, height)
    return PixelSize(max(1, round(width * scale)), max(1, round(height * scale)))


async def looked_at(renderer: Renderer, path: Path) -> list[PageFacts | str]:
    """Give the facts of each page, or why there are none; one reason for the file if it is refused.

    For a file that says that pages may be missing there is one more.
    """
    try:
        source = await renderer.open(path)
    except DocumentError as error:
        return [f"refused: {error.what}"]
    found: list[PageFacts | str] = []
    for index in range(source.pages):
        try:
            found.append((await renderer.page(path, index, size, view=View(layer=True))).facts)
        except (PageError, DocumentError) as error:
            found.append(f"failed: {error.what}")
    return [*found, "problem: pages may be missing"] if source.problems else found


def outcome(before: PageFacts, after: PageFacts | str) -> str:
    """Say in a word what became of a page that had content."""
    if isinstance(after, str):
        return after.partition(":")[0]
    if after.blank:
        return "failed" if after.damage else "blank"
    if after.damage:
        return "problem"
    return "half lost" if after.ink < 0.5 * before.ink else "drawn"


async def measure(seed: str, count: int, makers: list[Maker], damages: list[Damage], keep: Path | None) -> None:
    """Print a line for each kind of file and damage; what went wrong is kept in a folder, if there is one."""
    renderer = Renderer(2, Limits(60, 2**31))
    table: dict[str, Counter[str]] = defaultdict(Counter)
    good: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "source")
        for maker, number in itertools.product(makers, range(count)):
            chance = random.Random(f"{seed} {maker.__name__} {number}")  # noqa: S311
            whole = maker(chance)
            path.write_bytes(whole)
            before = await looked_at(renderer, path)
            good.update("unreadable" if isinstance(page, str) or page.damage else "good" for page in before)
            for damage in damages:
                path.unlink()
                path.write_bytes(damage(chance, whole))
                after = await looked_at(renderer, path)
                became = outcomes(before, after)
                table[f"{maker.__name__} {damage.__name__}"].update(became)
                if keep and {"blank", "half lost", "pages lost"} & set(became):
                    kept = keep / f"{maker.__name__}-{damage.__name__}-{number}"
                    kept.write_bytes(path.read_bytes())
                    print(kept, became)
    await renderer.close()
    columns = ("refused", "failed", "problem", "drawn", "half lost", "pages lost", "blank")
    print(f"seed {seed}, {count} files of each kind")
    print(f"| {'file, damage':50} |", " | ".join(columns), "|")
    print("|", " | ".join("---" for _ in range(len(columns) + 1)), "|")
    for name, row in (*table.items(), ("all", sum(table.values(), Counter()))):
        print(f"| {name:50} |", " | ".join(str(row[column]) for column in columns), "|")
    print("good pages called unreadable or damaged:", good["unreadable"], "of", good.total())


def outcomes(before: list[PageFacts | str], after: list[PageFacts | str]) -> list[str]:
    """Say what became of each page that had content."""
    if len(after) < len(before):
        refused = len(after) == 1 and isinstance(after[0], str)
        after = after + [after[0] if refused else "pages lost"] * (len(before) - len(after))
    pairs = zip(before, after, strict=False)
    return [outcome(one, other) for one, other in pairs if not isinstance(one, str) and not one.blank]


def folder_makers(folder: Path) -> list[Maker]:
    """Take each file of a folder for what a maker has made."""

    def of(file: Path) -> Maker:
        def made(_chance: random.Random) -> bytes:
            return file.read_bytes()

        made.__name__ = file.name[:40]
        return made

    return [of(file) for file in sorted(folder.iterdir()) if file.is_file()]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", nargs="?", default="1")
    parser.add_argument("count", nargs="?", type=int, default=5)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--files", type=Path)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    made, damages = (MADE_HELD_OUT, DAMAGES + DAMAGES_HELD_OUT) if given.held_out else (MADE, DAMAGES)
    began = time.monotonic()
    makers = folder_makers(given.files) if given.files else made
    asyncio.run(measure(given.seed, given.count, makers, damages, given.keep))
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    import damaged  # by this name the render workers find what they are to call

    damaged.main()
