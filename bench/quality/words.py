"""The cpu engine beside plain Tesseract and OCRmyPDF, on the same pages: wrong characters, and where the words lie.

`python bench/quality/words.py [--count N] FILE.pdf...`: N pages of each file (3) that have text of their own are drawn
at 300 dpi and read by all three; their own text is the truth. `joined`: words that the engine has otherwise than
Tesseract, since they were joined, divided or put elsewhere. `placed`: the share of the page's words, as far as they
were read, over which the PDF's word of the same text covers at least half. Where Tesseract is wrong in more than
LEGIBLE, a page's own text is no truth (another encoding, formulas, letters of other languages), and it is left out.
"""

import argparse
import asyncio
import difflib
import io
import re
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pymupdf
import tesserocr
from cer import MARKUP, cer
from PIL import Image

from ocrd.engines.cpu.engine import CpuEngine
from ocrd.engines.cpu.languages import installed_languages
from ocrd.markup import layout_blocks
from ocrd.model import PageFacts, PageImage, PageResult, PixelSize, Placement, Reading, Verdict
from ocrd.rendering import tasks

DPI = 300
LEAST = 100
"""Words of a page that is measured."""
LEGIBLE = 0.05


class Scores(NamedTuple):
    """What came of one page, for each of the three where it has three."""

    name: str
    wrong: tuple[float, float, float]
    """Character error rates: Tesseract, OCRmyPDF, ocrd."""
    joined: int
    placed: tuple[float, float]
    """Shares of words: OCRmyPDF, ocrd."""


def pages(files: list[Path], count: int) -> list[tuple[Path, int]]:
    """List pages that have text of their own, spread over each file."""
    found = []
    for file in files:
        with pymupdf.open(file) as document:
            spread = dict.fromkeys(document.page_count * (2 * number + 1) // (2 * count) for number in range(count))
            found += [(file, index) for index in spread if len(document[index].get_text("words")) >= LEAST]
    return found


def covered(truth: pymupdf.Page, made: pymupdf.Page) -> float:
    """Give the share of the words of a page, of those that another has, too, over which lies that one."""
    places: defaultdict[str, list[pymupdf.Rect]] = defaultdict(list)
    for word in made.get_text("words"):
        places[word[4]].append(pymupdf.Rect(word[:4]))
    read = [(pymupdf.Rect(word[:4]), word[4]) for word in truth.get_text("words") if word[4] in places]
    right = sum(any((box & other).get_area() >= box.get_area() / 2 for other in places[text]) for box, text in read)
    return right / max(1, len(read))


def differing(text: str, plain: str) -> int:
    """Count the words that a text has otherwise than the plain one."""
    one, other = (MARKUP.sub(" ", part).split() for part in (text, plain))
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    return len(other) - sum(block.size for block in matcher.get_matching_blocks())


async def measure(file: Path, index: int, engine: CpuEngine, folder: Path) -> Scores:
    """Read one page three times."""
    with pymupdf.open(file) as document:
        page = document[index]
        pixmap = page.get_pixmap(dpi=DPI, colorspace=pymupdf.csRGB, alpha=False)
        truth = page.get_text("text", flags=pymupdf.TEXTFLAGS_TEXT & ~pymupdf.TEXT_PRESERVE_LIGATURES)
        image = Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)
        scan = folder / "scan.png"
        image.save(scan, dpi=(DPI, DPI))
        size = PixelSize(image.width, image.height)
        reading: Reading = await engine.read(PageImage(0, size, image.tobytes(), DPI))
        text = "\n\n".join(block.text for block in layout_blocks.parse(reading.text))
        facts = PageFacts(Placement(page.rect.width, page.rect.height))
        ours = io.BytesIO()
        tasks.make_searchable(scan, (PageResult(0, Verdict.OK, "", reading, facts=facts),), (), ours)
        theirs, sidecar = folder / "theirs.pdf", folder / "theirs.txt"
        command = ["ocrmypdf", "-q", "-l", "eng", "--output-type", "pdf", "--sidecar", sidecar, scan, theirs]
        await asyncio.to_thread(subprocess.run, command, check=True)
        with tesserocr.PyTessBaseAPI(path=str(installed_languages()["eng"].parent), lang="eng") as api:
            api.SetImage(image.convert("L"))
            api.SetSourceResolution(DPI)
            plain = api.GetUTF8Text()
        with pymupdf.open(theirs) as their, pymupdf.open(stream=ours, filetype="pdf") as our:
            placed = covered(page, their[0]), covered(page, our[0])
    wrong = cer(truth, plain), cer(truth, sidecar.read_text(encoding="utf-8")), cer(truth, text)
    return Scores(f"{file.stem[:30]} {index + 1}", wrong, differing(text, re.sub(r"\f", "", plain)), placed)


async def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=3)
    given = parser.parse_args()
    engine = CpuEngine(("eng",), workers=1)
    await engine.start()
    rows = []
    print(
        "| page | Tesseract | OCRmyPDF | ocrd | joined | placed by OCRmyPDF | by ocrd |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for file, index in pages(given.files, given.count):
            row = await measure(file, index, engine, Path(folder))
            if row.wrong[0] > LEGIBLE:
                continue
            rows.append(row)
            wrong, placed = (" | ".join(f"{share:.2%}" for share in shares) for shares in (row.wrong, row.placed))
            print(f"| {row.name} | {wrong} | {row.joined} | {placed} |", flush=True)
    await engine.close()
    shares = [(*row.wrong, row.joined, *row.placed) for row in rows]
    *wrong, joined, theirs, ours = (sum(column) / len(rows) for column in zip(*shares, strict=True))
    means = " | ".join(f"{share:.2%}" for share in wrong)
    print(f"| mean of {len(rows)} | {means} | {joined:.2f} | {theirs:.2%} | {ours:.2%} |")
    worse = [row.name for row in rows if row.wrong[2] > row.wrong[0] + 0.001]
    print(f"worse than Tesseract by more than 0.1 %: {len(worse)} {worse}")


if __name__ == "__main__":
    asyncio.run(main())
