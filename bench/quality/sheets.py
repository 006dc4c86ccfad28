"""Made-up sheets for the measurements: pages of many kinds, and what paper, copiers and scanners do to them.

Everything comes from a seeded generator, so the same seed gives the same sheets. Texts are the samples' own.
"""

import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import pymupdf
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

ROOT = Path(__file__).parents[2]
DPI = 155
SHEET = pymupdf.paper_rect("a4")

_TEXTS = {
    name: (ROOT / f"ocrd/samples/{name}.txt").read_text(encoding="utf-8") for name in ("english", "russian", "columns")
}
_GERMAN = """
Der Dampfer legte kurz nach sechs Uhr ab, und wer jetzt noch auf der Brücke stand, winkte nur den Möwen. Im
Gepäcknetz lagen zwei Schachteln mit Schrauben, ein Brief ohne Absender und das Buch, das Tante Gerda
übersetzt hatte. Über Nacht sollte es kälter werden; die Heizung im Speisesaal wurde trotzdem nicht geöffnet,
weil der Schlüssel fehlte.
"""
_FRENCH = """
Le facteur passait vers neuf heures, déposait les lettres sous la pierre plate et repartait sans bruit.
Personne ne savait où il habitait, ni pourquoi il ne buvait jamais que de l’eau. L’été, il laissait parfois un
panier de cerises devant la porte; l’hiver, il traçait le chemin dans la neige pour ceux qui viendraient après
lui.
"""
_JAPANESE = "港の税関が閉まったとき、書類をどうするのか誰も尋ねなかった。棚は四十一段あり、潮の表と縄の領収書と鴎についての苦情が並んでいた。建物は春に売られ、新しい持ち主は六月までに空にするよう求めた。"  # noqa: E501


def _paragraphs(text: str) -> list[str]:
    return [part.replace("\n", " ") for page in text.split("\f") for part in page.split("\n\n") if len(part) > 80]


LANGUAGES = {
    "english": _paragraphs(_TEXTS["english"]) + _paragraphs(_TEXTS["columns"]),
    "russian": _paragraphs(_TEXTS["russian"]),
    "german": [" ".join(_GERMAN.split())],
    "french": [" ".join(_FRENCH.split())],
    "japanese": [_JAPANESE],
}


@dataclass(frozen=True)
class Sheet:
    """One page as it is printed."""

    kind: str
    """What is on it."""
    image: Image.Image
    """Black on white, grey levels, DPI."""
    text: str
    """What is to be read."""


def _render(html: str, css: str, box: pymupdf.Rect, columns: int = 1) -> Image.Image:
    import io

    file = io.BytesIO()
    writer = pymupdf.DocumentWriter(file)
    device = writer.begin_page(SHEET)
    story = pymupdf.Story(html, user_css=css)
    width = (box.width - 20 * (columns - 1)) / columns
    for number in range(columns):
        left = box.x0 + number * (width + 20)
        story.place(pymupdf.Rect(left, box.y0, left + width, box.y1))
        story.draw(device)
    writer.end_page()
    writer.close()
    pixmap = pymupdf.open("pdf", file)[0].get_pixmap(dpi=DPI, colorspace=pymupdf.csGRAY)
    return Image.frombytes("L", (pixmap.width, pixmap.height), pixmap.samples)


def _style(chance: random.Random, size: float | None = None) -> str:
    family = chance.choice(["serif", "serif", "sans-serif", "monospace"])
    size = size or chance.choice([8, 9, 10, 11, 12, 12, 14])
    return (
        f"body {{ font-family: {family}; font-size: {size}pt; line-height: {chance.choice([1.15, 1.3, 1.5])}; }}"
        "table { border-collapse: collapse; } td { border: 1px solid black; padding: 3px 10px; }"
        f"p {{ text-align: {chance.choice(['left', 'justify'])}; }}"
    )


def laid_out(chance: random.Random, html: str, size: float) -> Image.Image:
    """Print HTML in any of the styles, at this size in points."""
    return _render(html, _style(chance, size), _box(chance))


def _box(chance: random.Random) -> pymupdf.Rect:
    margin = chance.uniform(40, 90)
    return pymupdf.Rect(margin, margin, SHEET.width - margin, SHEET.height - margin)


def _fresh(chance: random.Random, language: str) -> str:
    """A paragraph that no page has twice: where there are few, its words are put in another order."""
    text = chance.choice(LANGUAGES[language])
    if len(LANGUAGES[language]) > 1 and chance.random() < 0.5:
        return text
    words = text.split() if " " in text else list(text)
    chance.shuffle(words)
    return (" " if " " in text else "").join(words)


def prose(chance: random.Random, language: str, paragraphs: int, columns: int = 1, *, capitals: bool = False) -> Sheet:
    """Running text."""
    texts = [_fresh(chance, language) for _ in range(paragraphs)]
    texts = [text.upper() for text in texts] if capitals else texts
    html = "".join(f"<p>{escape(text)}</p>" for text in texts)
    return Sheet("prose", _render(html, _style(chance), _box(chance), columns), "\n\n".join(texts))


def letter(chance: random.Random, language: str) -> Sheet:
    """A short letter: head, two lines of address, one paragraph, a greeting."""
    words = chance.choice(LANGUAGES[language]).split()
    head, body = " ".join(words[:4]), " ".join(words[: chance.randint(25, 60)])
    html = f"<h2>{escape(head)}</h2><p>{escape(' '.join(words[5:9]))}<br>{escape(' '.join(words[9:12]))}</p>"
    html += f"<p>{escape(body)}</p><p>{escape(' '.join(words[2:4]))}</p>"
    text = "\n".join([head, " ".join(words[5:9]), " ".join(words[9:12]), body, " ".join(words[2:4])])
    return Sheet("letter", _render(html, _style(chance), _box(chance)), text)


def table(chance: random.Random, language: str) -> Sheet:
    """A ruled table of names and numbers."""
    words = [word.strip(".,;") for word in " ".join(LANGUAGES[language]).split() if 4 < len(word) < 20] or list(
        "港棚縄春潮門"
    )
    rows = [
        [chance.choice(words), *(f"{chance.uniform(0, 9999):.2f}" for _ in range(chance.randint(2, 4)))]
        for _ in range(chance.randint(8, 24))
    ]
    html = "<table>" + "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    text = "\n".join("\t".join(row) for row in rows)
    return Sheet("table", _render(f"<h2>{escape(words[0])}</h2>{html}</table>", _style(chance, 10), _box(chance)), text)


def form(chance: random.Random, language: str) -> Sheet:
    """A form: labels, and lines to write on."""
    words = " ".join(LANGUAGES[language]).split() if language != "japanese" else list(_JAPANESE[::3])
    lines = [
        " ".join(chance.sample(words, 2)) + ": " + "_" * chance.randint(20, 40) for _ in range(chance.randint(8, 18))
    ]
    html = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return Sheet("form", _render(html, _style(chance, 12), _box(chance)), "\n".join(lines))


def listing(chance: random.Random, language: str) -> Sheet:
    """A table of contents with dot leaders."""
    words = " ".join(LANGUAGES[language]).split() if language != "japanese" else list(_JAPANESE[::3])
    lines = [
        f"{n}. {' '.join(chance.sample(words, 3))} {'.' * chance.randint(10, 50)} {chance.randint(1, 300)}"
        for n in range(1, chance.randint(10, 28))
    ]
    html = "".join(f"<p style='margin:2pt'>{escape(line)}</p>" for line in lines)
    return Sheet("listing", _render(html, _style(chance, 11), _box(chance)), "\n".join(lines))


def sheet(chance: random.Random) -> Sheet:
    """Any page with text worth the name."""
    language = chance.choice(["english", "english", "russian", "russian", "german", "french", "japanese"])
    make: Callable[[], Sheet] = chance.choice(
        [
            lambda: prose(chance, language, chance.randint(1, 6)),
            lambda: prose(chance, language, chance.randint(3, 8), 2),
            lambda: letter(chance, language),
            lambda: table(chance, language),
            lambda: form(chance, language),
            lambda: listing(chance, language),
        ]
    )
    made = make()
    return Sheet(f"{made.kind} {language}", made.image, made.text)


# What happens to a sheet


def speckled(image: Image.Image, chance: random.Random, share: float) -> Image.Image:
    """Strew black and white specks over it, as a bad copier does."""
    noise = np.random.default_rng(chance.randrange(2**32)).random((image.height, image.width))
    pixels = np.array(image)
    pixels[noise < share / 2] = 0
    pixels[noise > 1 - share / 2] = 255
    return Image.fromarray(pixels)


def grained(image: Image.Image, chance: random.Random, sigma: float) -> Image.Image:
    """Add the noise of a sensor, sigma in grey levels."""
    noise = np.random.default_rng(chance.randrange(2**32)).normal(0, sigma, (image.height, image.width))
    return Image.fromarray(np.clip(np.array(image, dtype=float) + noise, 0, 255).astype(np.uint8))


def greyed(image: Image.Image, paper: int, ink: int) -> Image.Image:
    """Let the paper and the ink have these levels instead of white and black."""
    return image.point([ink + level * (paper - ink) // 255 for level in range(256)])


def shaded(image: Image.Image, chance: random.Random) -> Image.Image:
    """Darken it towards one edge, as a book's gutter or an open lid does."""
    across = np.linspace(0, 1, image.width)
    depth, reach = chance.uniform(60, 190), chance.uniform(0.02, 0.10)
    shadow = depth * np.exp(-across / reach)
    if chance.random() < 0.5:
        shadow = shadow[::-1]
    return Image.fromarray(np.clip(np.array(image, dtype=float) - shadow, 0, 255).astype(np.uint8))


def punched(image: Image.Image, chance: random.Random) -> Image.Image:
    """Punch two or four holes into a margin, 6 mm wide, 80 mm apart (ISO 838); the scanner's lid shows through."""
    image, mm = image.copy(), DPI / 25.4
    draw, lid = ImageDraw.Draw(image), chance.choice([0, 20, 60, 110])
    left = chance.uniform(9, 14) * mm
    x = left if chance.random() < 0.7 else image.width - left
    for step in (-40, 40) if chance.random() < 0.6 else (-120, -40, 40, 120):
        y = image.height / 2 + step * mm
        draw.ellipse((x - 3 * mm, y - 3 * mm, x + 3 * mm, y + 3 * mm), fill=lid)
    return image


def shown_through(image: Image.Image, back: Image.Image, depth: int) -> Image.Image:
    """Let the back of the sheet show through, mirrored and soft, `depth` levels dark."""
    verso = back.transpose(Image.Transpose.FLIP_LEFT_RIGHT).filter(ImageFilter.GaussianBlur(1.5))
    return ImageChops.darker(image, verso.point([255 - (255 - level) * depth // 255 for level in range(256)]))


def edged(image: Image.Image, chance: random.Random) -> Image.Image:
    """Leave a dark rim where the sheet did not cover the glass."""
    image = image.copy()
    draw, width = ImageDraw.Draw(image), chance.randint(2, 18)
    w, h = image.size
    side = chance.choice([(0, 0, width, h), (w - width, 0, w, h), (0, 0, w, width), (0, h - width, w, h)])
    draw.rectangle(side, fill=chance.choice([0, 30, 80]))
    return image


def dusty(image: Image.Image, chance: random.Random, specks: int) -> Image.Image:
    """Put dust on the glass: round specks of up to half a millimetre."""
    image = image.copy()
    draw = ImageDraw.Draw(image)
    for _ in range(specks):
        x, y, r = chance.uniform(0, image.width), chance.uniform(0, image.height), chance.uniform(0.3, 1.5)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=chance.randint(0, 120))
    return image


def streaked(image: Image.Image, chance: random.Random) -> Image.Image:
    """Draw the line that dirt in a sheet feeder leaves."""
    image = image.copy()
    x = chance.uniform(0.05, 0.95) * image.width
    ImageDraw.Draw(image).line((x, 0, x, image.height), fill=chance.randint(60, 190), width=chance.choice([1, 1, 2]))
    return image


def folded(image: Image.Image, chance: random.Random) -> Image.Image:
    """Leave the shadow of a fold."""
    image = image.copy()
    y = chance.uniform(0.25, 0.75) * image.height
    ImageDraw.Draw(image).line((0, y, image.width, y + 3), fill=chance.randint(150, 215), width=3)
    return image.filter(ImageFilter.GaussianBlur(1))


def askew(image: Image.Image, degrees: float) -> Image.Image:
    """Lay it askew, counterclockwise."""
    return image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=255)


def aged(image: Image.Image, chance: random.Random) -> Image.Image:
    """Do some of what paper, copiers and scanners do, none of it so that a person could not read it."""
    image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0, 0.8)))
    image = greyed(image, chance.randint(205, 255), chance.randint(0, 70))
    for harm, share in ((shaded, 0.2), (punched, 0.2), (edged, 0.2), (streaked, 0.1), (folded, 0.1)):
        if chance.random() < share:
            image = harm(image, chance)
    if chance.random() < 0.3:
        image = speckled(image, chance, chance.uniform(0.0005, 0.01))
    return grained(image, chance, chance.uniform(0, 10))


# Nearly empty pages


_HAND = "M"


def signature(chance: random.Random) -> Image.Image:
    """Draw a pen's stroke that goes up and down along a line, as a name does that nobody can read."""
    image = Image.new("L", (round(SHEET.width / 72 * DPI), round(SHEET.height / 72 * DPI)), 255)
    x, y = chance.uniform(0.15, 0.6) * image.width, chance.uniform(0.2, 0.9) * image.height
    points, height = [(x, y)], chance.uniform(10, 35)
    for _ in range(chance.randint(12, 30)):
        x += chance.uniform(-4, 14)
        points.append((x, y + chance.uniform(-height, height)))
    spline = np.array(points)
    for _ in range(3):  # corner cutting (Chaikin 1974) makes a smooth stroke of a polygon
        spline = np.stack([0.75 * spline[:-1] + 0.25 * spline[1:], 0.25 * spline[:-1] + 0.75 * spline[1:]], 1).reshape(
            -1, 2
        )
    ImageDraw.Draw(image).line([tuple(p) for p in spline], fill=0, width=chance.choice([1, 2, 2, 3]))
    return image.filter(ImageFilter.GaussianBlur(0.5))


def pale(chance: random.Random) -> Image.Image:
    """A page of print that has faded, from a violet ribbon or a copier without toner; 25 to 60 levels are left."""
    image = prose(chance, chance.choice(("english", "russian", "german")), 6).image
    image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0, 0.8)))
    paper = chance.randint(200, 255)
    return grained(greyed(image, paper, paper - chance.randint(25, 60)), chance, chance.uniform(0, 7))


def few_words(chance: random.Random) -> Image.Image:
    """A lone page number, a word, a stamp's date."""
    image = Image.new("L", (round(SHEET.width / 72 * DPI), round(SHEET.height / 72 * DPI)), 255)
    number = chance.randint(1, 400)
    text = chance.choice(
        [f"{number}", f"- {number} -", f"{number}", "IV", "Notes", "7", "1", "p. 3", "Anlage", "Глава 2", "12.05.2019"]
    )
    size = chance.choice([8, 9, 10, 11, 12, 14]) * DPI / 72
    letters = ImageFont.truetype(str(font()), size)
    x, y = chance.choice([(0.5, 0.94), (0.5, 0.04), (0.9, 0.94), (0.08, 0.05), (0.5, 0.5), (0.88, 0.04)])
    ImageDraw.Draw(image).text((x * image.width, y * image.height), text, fill=0, font=letters, anchor="mm")
    return image


def font() -> Path:
    """Give the file of a font with letters of all scripts."""
    folder = Path("/tmp/ocrd-bench-fonts")  # noqa: S108 - a bench
    folder.mkdir(exist_ok=True)
    path = folder / "cjk.ttf"
    if not path.exists():
        path.write_bytes(pymupdf.Font("cjk").buffer)
    return path


def blank() -> Image.Image:
    """An empty sheet."""
    return Image.new("L", (round(SHEET.width / 72 * DPI), round(SHEET.height / 72 * DPI)), 255)


def soiled(chance: random.Random) -> Image.Image:
    """An empty sheet as a scanner sees it: grey, grainy, with holes, shadows, dust and what is on its back."""
    image = greyed(blank(), chance.randint(190, 255), 0)
    if chance.random() < 0.4:
        image = shown_through(image, prose(chance, "english", 6).image, chance.randint(8, 38))
    for harm, share in ((shaded, 0.35), (punched, 0.4), (edged, 0.35), (streaked, 0.15), (folded, 0.15)):
        if chance.random() < share:
            image = harm(image, chance)
    if chance.random() < 0.5:
        image = dusty(image, chance, chance.randint(1, 40))
    if chance.random() < 0.3:
        image = speckled(image, chance, chance.uniform(0.0002, 0.005))
    return grained(image, chance, chance.uniform(0, 14))


def sheets(seed: str, count: int) -> Iterator[tuple[random.Random, Sheet]]:
    """Make `count` sheets, each with the chance that decides what happens to it."""
    for number in range(count):
        chance = random.Random(f"{seed} {number}")  # noqa: S311 - the same sheets each time
        yield chance, sheet(chance)


if __name__ == "__main__":
    for number, (chance, made) in enumerate(sheets(sys.argv[1], 6)):
        aged(made.image, chance).save(f"/tmp/sheet-{number}.png")  # noqa: S108
