"""Sheets with nothing to read but what use and scanners leave on them, and sheets with hardly anything on them.

Both come in colour, as scanners give them: rows of RGB, sheets.DPI.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sheets
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Maker = Callable[[random.Random], Image.Image]
MM = sheets.DPI / 25.4


def paper(chance: random.Random) -> Image.Image:
    """An empty sheet, white, grey or yellowed."""
    level, yellow = chance.randint(215, 255), chance.choice([0, 0, 10, 25])
    return Image.new("RGB", sheets.blank().size, (level, level - yellow // 3, level - yellow))


def scanned(image: Image.Image, chance: random.Random) -> Image.Image:
    """What the scanner adds: grain."""
    sigma = chance.uniform(0, 8)
    noise = np.random.default_rng(chance.randrange(2**32)).normal(0, sigma, (image.height, image.width, 1))
    return Image.fromarray(np.clip(np.array(image, dtype=float) + noise, 0, 255).astype(np.uint8))


def _dyed(image: Image.Image, veil: Image.Image, dye: tuple[int, int, int]) -> Image.Image:
    """Lay a dye over the sheet, as thick as the veil's levels say."""
    return Image.composite(Image.new("RGB", image.size, dye), image, veil)


def _veil(image: Image.Image) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    veil = Image.new("L", image.size, 0)
    return veil, ImageDraw.Draw(veil)


# Nothing to read


def coffee_ring(chance: random.Random) -> Image.Image:
    """The ring of a cup, thicker here than there, and open somewhere; at times a few drops."""
    image = paper(chance)
    veil, draw = _veil(image)
    radius, x, y = chance.uniform(28, 46) * MM, chance.uniform(0, 1) * image.width, chance.uniform(0, 1) * image.height
    phases = [chance.uniform(0, 2 * math.pi) for _ in range(3)]
    deep, start, extent = chance.randint(60, 150), chance.randint(0, 359), chance.randint(200, 360)
    for degree in range(start, start + extent):
        swell = sum(math.sin((n + 1) * math.radians(degree) + phase) for n, phase in enumerate(phases)) / 3
        width = max(2, round((1.4 + swell) * chance.uniform(0.9, 1.1) * MM))
        side = (x - radius, y - radius, x + radius, y + radius)
        draw.arc(side, degree, degree + 2, fill=round(deep * (0.7 + 0.3 * swell)), width=width)
    for _ in range(chance.choice([0, 0, 2, 5])):
        at_x, at_y, size = x + chance.uniform(-2, 2) * radius, y + chance.uniform(-2, 2) * radius, chance.uniform(1, 9)
        draw.ellipse((at_x - size, at_y - size, at_x + size, at_y + size), fill=deep)
    veil = veil.filter(ImageFilter.GaussianBlur(chance.uniform(1, 3)))
    return scanned(
        _dyed(image, veil, (chance.randint(100, 140), chance.randint(60, 95), chance.randint(25, 60))), chance
    )


def torn_corner(chance: random.Random) -> Image.Image:
    """A corner torn off; behind it the scanner's lid."""
    image = paper(chance)
    draw = ImageDraw.Draw(image)
    wide, high = chance.uniform(8, 55) * MM, chance.uniform(8, 55) * MM
    edge = [
        (wide * (1 - t / 20) + chance.uniform(-0.6, 0.6) * MM, high * t / 20 + chance.uniform(-0.6, 0.6) * MM)
        for t in range(21)
    ]
    flip_x, flip_y = chance.random() < 0.5, chance.random() < 0.5
    corner = [(image.width - x if flip_x else x, image.height - y if flip_y else y) for x, y in [(-9, -9), *edge]]
    lid = chance.choice([0, 30, 70, 120, 180, 250])
    draw.polygon(corner, fill=(lid, lid, lid))
    draw.line(corner[1:], fill=(170, 170, 170), width=chance.choice([1, 2, 4]))
    return scanned(image.filter(ImageFilter.GaussianBlur(chance.uniform(0.3, 1))), chance)


def fold_shadow(chance: random.Random) -> Image.Image:
    """The folds of a letter: a line, and a shadow on one side of each."""
    pixels = np.array(paper(chance), dtype=float)
    high, wide = pixels.shape[:2]
    for place in chance.choice([(1 / 3, 2 / 3), (1 / 2,)]):
        lying = chance.random() < 0.7
        along = np.arange(wide if lying else high)
        middle = (high if lying else wide) * place + chance.uniform(-0.02, 0.02) * along
        away = np.arange(high if lying else wide)[:, None] - middle[None, :]
        shade = chance.uniform(10, 60) * np.exp(-np.abs(away) / (chance.uniform(1, 12) * MM)) * (away > 0)
        shade += chance.uniform(20, 90) * (np.abs(away) < chance.uniform(0.6, 2.5))
        pixels -= (shade if lying else shade.T)[:, :, None]
    return scanned(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), chance)


def staple(chance: random.Random) -> Image.Image:
    """A staple in a corner, or the two holes and the rust that it left."""
    image = paper(chance)
    draw = ImageDraw.Draw(image)
    x, y, turn = chance.uniform(5, 22) * MM, chance.uniform(5, 22) * MM, math.radians(chance.choice([0, 45, 90, 30]))
    x = image.width - x if chance.random() < 0.3 else x
    dx, dy = math.cos(turn) * 5.5 * MM, math.sin(turn) * 5.5 * MM
    if chance.random() < 0.6:
        grey = chance.randint(40, 150)
        draw.line((x - dx, y - dy + 3, x + dx, y + dy + 3), fill=(180, 180, 180), width=3)
        draw.line((x - dx, y - dy, x + dx, y + dy), fill=(grey, grey, grey), width=chance.choice([2, 3, 4]))
    else:
        for side in (-1, 1):
            at = (x + side * dx, y + side * dy)
            size = chance.uniform(1.5, 4)
            draw.ellipse((at[0] - size, at[1] - size, at[0] + size, at[1] + size), fill=(110, 80, 60))
    return scanned(image.filter(ImageFilter.GaussianBlur(0.6)), chance)


def fingerprints(chance: random.Random) -> Image.Image:
    """Prints of a few fingers: ridges half a millimetre apart, faint."""
    image = paper(chance)
    veil, draw = _veil(image)
    for _ in range(chance.randint(1, 4)):
        x, y = chance.uniform(0, image.width), chance.uniform(0, image.height)
        deep, turn = chance.randint(12, 70), chance.randint(0, 359)
        for ridge in range(2, 16):
            a, b = ridge * 0.5 * MM, ridge * 0.7 * MM
            for start in range(0, 360, 40):
                if chance.random() < 0.75:
                    side = (x - a, y - b, x + a, y + b)
                    draw.arc(side, turn + start, turn + start + chance.randint(15, 40), fill=deep, width=2)
    veil = veil.filter(ImageFilter.GaussianBlur(chance.uniform(0.8, 1.6)))
    return scanned(_dyed(image, veil, chance.choice([(60, 60, 60), (90, 70, 50)])), chance)


def streak_lines(chance: random.Random) -> Image.Image:
    """Lines of dirt on the glass of a sheet feeder, of any colour, with gaps."""
    image = paper(chance)
    draw = ImageDraw.Draw(image)
    for _ in range(chance.randint(1, 5)):
        x, dye = chance.uniform(0.01, 0.99) * image.width, tuple(chance.randint(40, 200) for _ in range(3))
        ends = sorted(chance.uniform(0, 1) * image.height for _ in range(2 * chance.randint(1, 2)))
        ends = [0.0, *ends, float(image.height)] if chance.random() < 0.5 else [0.0, float(image.height)]
        for top, bottom in zip(ends[::2], ends[1::2], strict=True):
            draw.line((x, top, x, bottom), fill=dye, width=chance.choice([1, 1, 2, 3]))
    return scanned(image, chance)


def tape(chance: random.Random) -> Image.Image:
    """A strip of yellowed tape."""
    image = paper(chance)
    veil, draw = _veil(image)
    x, y, long = chance.uniform(0, 900), chance.uniform(0, 1500), chance.uniform(30, 90) * MM
    draw.rectangle((x, y, x + long, y + 19 * MM), fill=chance.randint(30, 90))
    return scanned(_dyed(image, veil.filter(ImageFilter.GaussianBlur(2)), (200, 170, 90)), chance)


def water(chance: random.Random) -> Image.Image:
    """The edge of what was wet once."""
    image = paper(chance)
    veil, draw = _veil(image)
    x, y = chance.choice([0, image.width]), chance.uniform(0, 1) * image.height
    edge = [
        (x + r * math.cos(turn / 20), y + r * math.sin(turn / 20))
        for turn in range(126)
        for r in [chance.uniform(0.95, 1.05) * 55 * MM]
    ]
    draw.polygon(edge, fill=chance.randint(10, 30))
    draw.line([*edge, edge[0]], fill=chance.randint(30, 80), width=6)
    return scanned(_dyed(image, veil.filter(ImageFilter.GaussianBlur(5)), (120, 95, 60)), chance)


def dog_ear(chance: random.Random) -> Image.Image:
    """A corner that was turned down: a crease across, and a grey triangle."""
    image = paper(chance)
    draw, side = ImageDraw.Draw(image), chance.uniform(12, 40) * MM
    x = image.width - side
    level = image.getpixel((600, 600))[0]
    draw.polygon([(x, 0), (image.width, 0), (image.width, side)], fill=(level - chance.randint(3, 25),) * 3)
    draw.line((x, 0, image.width, side), fill=(level - chance.randint(40, 110),) * 3, width=chance.choice([1, 2, 3]))
    return scanned(image.filter(ImageFilter.GaussianBlur(0.8)), chance)


STAINED: list[Maker] = [
    coffee_ring, torn_corner, fold_shadow, staple, fingerprints, streak_lines, tape, water, dog_ear
]  # fmt: skip


# Hardly anything to read


def stroke(chance: random.Random, x: float, y: float, size: float, bends: int) -> list[tuple[float, float]]:
    """A pen's way along a line."""
    points = [(x, y)]
    for _ in range(bends):
        x += chance.uniform(-0.2, 0.9) * size
        points.append((x, y + chance.uniform(-1, 1) * size))
    spline = np.array(points)
    for _ in range(3):  # corner cutting (Chaikin 1974)
        ends = np.stack([0.75 * spline[:-1] + 0.25 * spline[1:], 0.25 * spline[:-1] + 0.75 * spline[1:]], 1)
        spline = ends.reshape(-1, 2)
    return [(float(px), float(py)) for px, py in spline]


@dataclass(frozen=True)
class _Pen:
    """A pen, and the hand that holds it."""

    ink: tuple[int, ...]
    """Red, green and blue."""
    height: float
    """Up to so many millimetres up and down."""
    width: int
    """From two to so many pixels."""


def _written(image: Image.Image, chance: random.Random, words: int, pen: _Pen) -> Image.Image:
    """Write words in a row."""
    x, y = chance.uniform(0.05, 0.6) * image.width, chance.uniform(0.08, 0.92) * image.height
    for _ in range(words):
        way = stroke(chance, x, y, chance.uniform(0.5, 1) * pen.height * MM, chance.randint(5, 14))
        ImageDraw.Draw(image).line(way, fill=pen.ink, width=chance.randint(2, pen.width))
        x = way[-1][0] + 2.5 * MM
    return scanned(image.filter(ImageFilter.GaussianBlur(0.6)), chance)


def handwritten_word(chance: random.Random) -> Image.Image:
    """One word or two, 3 to 6 mm high, in blue, black or red ink."""
    ink = chance.choice([(30, 40, 130), (20, 20, 20), (150, 30, 40)])
    return _written(paper(chance), chance, chance.randint(1, 2), _Pen(ink, 3, 4))


def pencil_note(chance: random.Random) -> Image.Image:
    """Two to six words in light pencil."""
    image = paper(chance)
    ink = tuple(level - chance.randint(60, 110) for level in image.getpixel((0, 0)))
    return _written(image, chance, chance.randint(2, 6), _Pen(ink, 2.2, 3))


def drawing(chance: random.Random) -> Image.Image:
    """A drawing of thin lines without a word: a house, a curve over two axes, or overlapping circles."""
    image = paper(chance)
    draw = ImageDraw.Draw(image)
    x, y, size = chance.uniform(250, 800), chance.uniform(400, 1200), chance.uniform(15, 60) * MM
    ink, width = (chance.randint(20, 110),) * 3, chance.choice([1, 2, 2])
    kind = chance.choice(["house", "curve", "circles"])
    if kind == "house":
        draw.rectangle((x - size, y, x + size, y + size), outline=ink, width=width)
        draw.line((x - size, y, x, y - size, x + size, y), fill=ink, width=width)
        draw.rectangle((x - size / 3, y + size / 3, x + size / 3, y + size), outline=ink, width=width)
    elif kind == "curve":
        draw.line((x - size, y - size, x - size, y + size, x + size, y + size), fill=ink, width=width)
        draw.line(stroke(chance, x - size, y, size / 6, 12), fill=ink, width=width)
    else:
        for _ in range(chance.randint(2, 5)):
            at_x, at_y, r = (
                x + chance.uniform(-1, 1) * size,
                y + chance.uniform(-1, 1) * size,
                size * chance.uniform(0.2, 1),
            )
            draw.ellipse((at_x - r, at_y - r, at_x + r, at_y + r), outline=ink, width=width)
    return scanned(image.filter(ImageFilter.GaussianBlur(0.5)), chance)


def small_stamp(chance: random.Random) -> Image.Image:
    """A round or square stamp of 12 to 35 mm, in blue, red or black, with a date or a word."""
    image = paper(chance)
    draw = ImageDraw.Draw(image)
    x, y, r = chance.uniform(200, 1050), chance.uniform(200, 1600), chance.uniform(6, 17) * MM
    ink = chance.choice([(40, 60, 150), (170, 40, 50), (50, 50, 50)])
    frame = draw.ellipse if chance.random() < 0.7 else draw.rectangle
    for size in (r, 0.9 * r):
        frame((x - size, y - size, x + size, y + size), outline=ink, width=2)
    font = ImageFont.truetype(str(sheets.font()), max(12, r / 4))
    text = chance.choice([f"{chance.randint(1, 28)}.{chance.randint(1, 12)}.74", "PAID", "Eingang", "КОПИЯ"])
    draw.text((x, y), text, fill=ink, font=font, anchor="mm")
    return scanned(image.filter(ImageFilter.GaussianBlur(0.7)), chance)


def page_number(chance: random.Random) -> Image.Image:
    """A page number alone, where they stand."""
    image = paper(chance)
    font = ImageFont.truetype(str(sheets.font()), chance.choice([8, 9, 10, 12]) * sheets.DPI / 72)
    x, y = chance.choice([(0.5, 0.95), (0.5, 0.04), (0.92, 0.95), (0.08, 0.95), (0.92, 0.04)])
    text = chance.choice(["{}", "- {} -", "{}"]).format(chance.randint(2, 400))
    draw = ImageDraw.Draw(image)
    draw.text((x * image.width, y * image.height), text, fill=(chance.randint(0, 90),) * 3, font=font, anchor="mm")
    return scanned(image.filter(ImageFilter.GaussianBlur(0.5)), chance)


def tick(chance: random.Random) -> Image.Image:
    """A tick of 5 to 10 mm, anywhere, in ink."""
    image = paper(chance)
    x, y, size = chance.uniform(60, 1150), chance.uniform(60, 1650), chance.uniform(5, 10) * MM
    stroke = [(x, y), (x + size / 3, y + size / 2), (x + size, y - size / 2)]
    ImageDraw.Draw(image).line(stroke, fill=(40, 40, 120), width=chance.choice([2, 3, 4]))
    return scanned(image.filter(ImageFilter.GaussianBlur(0.6)), chance)


def barcode(chance: random.Random) -> Image.Image:
    """A bar code without digits, as on a separator sheet."""
    image = paper(chance)
    draw, x, y = ImageDraw.Draw(image), chance.uniform(150, 500), chance.uniform(150, 1500)
    for _ in range(chance.randint(25, 50)):
        wide = chance.choice([2, 2, 4, 6])
        draw.rectangle((x, y, x + wide - 1, y + 12 * MM), fill=(20, 20, 20))
        x += wide + chance.choice([2, 4, 6])
    return scanned(image.filter(ImageFilter.GaussianBlur(0.4)), chance)


def faint_word(chance: random.Random) -> Image.Image:
    """A word of a worn ribbon: 10 to 12 points, pale."""
    image = paper(chance)
    level = image.getpixel((0, 0))[0]
    font = ImageFont.truetype(str(sheets.font()), chance.choice([10, 12]) * sheets.DPI / 72)
    at, word = (
        (chance.uniform(150, 900), chance.uniform(120, 1600)),
        chance.choice(["Anlage", "Copy", "vertraulich", "Том"]),
    )
    ImageDraw.Draw(image).text(at, word, fill=(level - chance.randint(90, 140),) * 3, font=font)
    return scanned(image.filter(ImageFilter.GaussianBlur(0.6)), chance)


MARKED: list[Maker] = [
    handwritten_word, pencil_note, drawing, small_stamp, page_number, tick, barcode, faint_word
]  # fmt: skip
