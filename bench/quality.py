"""How well verdicts tell good readings from bad ones, and blank pages from others.

`python bench/quality.py [SEED] [COUNT] [JSON]`

Sheets are made by `sheets.py` and looked at like any page; their readings are the truth, or the truth as engines spoil
it. Prints a table and, with a third argument, writes the same as JSON there. Recall: bad ones called bad. Alarms: good
ones called bad.
"""

import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import sheets

from ocrd import pagefacts, verdict
from ocrd.model import PageFacts, PageImage, PixelSize, Placement, Reading

Spoil = Callable[[random.Random, str], tuple[str, str]]
WORDS = ["the", "Der", "of", "and", "figure", "который", "section", "1", "0", "is", "港"]


def facts_of(image: "sheets.Image.Image") -> PageFacts:
    """Look at a sheet as the vllm engine's pages are looked at."""
    pixels = np.asarray(image.convert("RGB").resize((1280, 1920)))
    return pagefacts.facts(pixels, Placement(595, 842), stands=True)


def read(facts: PageFacts, text: str, finish: str = "stop") -> bool:
    """Whether a reading of a page with these facts is called good."""
    page = PageImage(0, PixelSize(1, 1), b"", 0, facts)
    return verdict.judge(page, Reading(0, text, finish, len(text) // 3, 1.0)).verdict.sound


# How engines spoil a text. Each returns the text and the finish reason.


def _cut(chance: random.Random, text: str, least: float = 0.1) -> str:
    return text[: int(len(text) * chance.uniform(least, 0.9))]


def _times(chance: random.Random) -> int:
    return chance.choice([chance.randint(10, 30), chance.randint(30, 200)])


def loop_of_a_word(chance: random.Random, text: str) -> tuple[str, str]:
    """One or two words for ever."""
    unit = " ".join(chance.sample(WORDS, chance.randint(1, 2)))
    return _cut(chance, text) + " " + " ".join([unit] * (40 + 2 * _times(chance))), chance.choice(["stop", "length"])


def loop_of_a_sentence(chance: random.Random, text: str) -> tuple[str, str]:
    """The last sentence again and again."""
    head = _cut(chance, text, 0.3)
    unit = head[-chance.randint(30, 120) :]
    return head + unit * _times(chance), "stop"


def loop_of_a_paragraph(chance: random.Random, text: str) -> tuple[str, str]:
    """Everything so far, some times over."""
    head = (_cut(chance, text, 0.4) + " ") * 2 if len(text) < 200 else _cut(chance, text, 0.4)
    return (head + "\n\n") * chance.randint(4, 9), "stop"


def loop_in_the_middle(chance: random.Random, text: str) -> tuple[str, str]:
    """A line that comes many times, then the rest of the page as if nothing had been."""
    place = int(len(text) * chance.uniform(0.2, 0.7))
    unit = text[max(0, place - chance.randint(40, 90)) : place]
    return text[:place] + ("\n" + unit) * chance.randint(8, 25) + text[place:], "stop"


def loop_of_rows(chance: random.Random, text: str) -> tuple[str, str]:
    """A table that never ends, as HTML or Markdown."""
    cells = [chance.choice(text.split() or ["x"]) for _ in range(chance.randint(3, 6))]
    row = f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    if chance.random() < 0.5:
        row = "|" + "|".join(cells) + "|\n"
    return _cut(chance, text) + "\n\n" + row * (20 + _times(chance)), chance.choice(["stop", "length"])


def loop_that_counts(chance: random.Random, text: str) -> tuple[str, str]:
    """A list whose numbers grow and whose words stay."""
    unit = " ".join(chance.choice(text.split() or ["x"]) for _ in range(chance.randint(4, 8)))
    return _cut(chance, text) + "\n" + "\n".join(f"{n}. {unit}" for n in range(1, 20 + _times(chance))), "stop"


def loop_of_letters(chance: random.Random, text: str) -> tuple[str, str]:
    """One word without an end."""
    return _cut(chance, text) + " " + chance.choice(["0", "1", "а", "ha", "la", "01"]) * (
        50 + _times(chance) * 3
    ), "stop"


def loop_with_changes(chance: random.Random, text: str) -> tuple[str, str]:
    """Sentences that come again in changing order, as under a ban of repeated n-grams."""
    head = _cut(chance, text, 0.4)
    parts = [part for part in head.replace("\n", ". ").split(". ") if len(part) > 15] or [head[:60] or "x " * 20]
    return head + " " + ". ".join(chance.choice(parts) for _ in range(40 + _times(chance))), "stop"


def truncated(chance: random.Random, text: str) -> tuple[str, str]:
    """Cut off at the limit of tokens."""
    return _cut(chance, text), "length"


def four_characters(chance: random.Random, text: str) -> tuple[str, str]:
    """Hardly anything for a full page."""
    return chance.choice([text.strip()[:4], "[[0]", "1", "Fig.", "<td>", "....", "# A"]), "stop"


def empty(_chance: random.Random, _text: str) -> tuple[str, str]:
    """Nothing at all."""
    return "", "stop"


BAD: list[Spoil] = [
    loop_of_a_word, loop_of_a_sentence, loop_of_a_paragraph, loop_in_the_middle, loop_of_rows, loop_that_counts,
    loop_of_letters, loop_with_changes, truncated, four_characters, empty,
]  # fmt: skip


# Kinds that no threshold was chosen by: written after the last of them, to see whether they hold elsewhere


def loop_of_blocks(chance: random.Random, text: str) -> tuple[str, str]:
    """The same block under ever new boxes."""
    unit = " ".join(chance.choice(text.split() or ["x"]) for _ in range(chance.randint(3, 9)))
    told = [
        f"<|ref|>text<|/ref|><|det|>[[80, {y}, 900, {y + 9}]]<|/det|>\n{unit}\n"
        for y in range(20, 20 + 10 * _times(chance), 10)
    ]
    return _cut(chance, text) + "\n" + "\n".join(told), "stop"


def loop_of_two(chance: random.Random, text: str) -> tuple[str, str]:
    """Two sentences by turns, one of which changes a word each time."""
    words = text.split() or ["x"]
    one, two = (" ".join(chance.choice(words) for _ in range(chance.randint(6, 12))) for _ in range(2))
    return _cut(chance, text) + " ".join(
        f" {one}. {two} {chance.choice(words)}." for _ in range(_times(chance))
    ), chance.choice(["stop", "length"])


def made_up(chance: random.Random, text: str) -> tuple[str, str]:
    """A first line, and then four times as much as the page can hold, all of it new."""
    words = [word for name in ("english", "russian", "german") for word in " ".join(sheets.LANGUAGES[name]).split()]
    return text[:60] + " ".join(chance.choice(words) for _ in range(max(300, 4 * len(text.split())))), "stop"


HELD_OUT: list[Spoil] = [loop_of_blocks, loop_of_two, made_up]


def exam(chance: random.Random) -> sheets.Sheet:
    """Questions, each with the same answers to choose from."""
    words = " ".join(sheets.LANGUAGES["english"]).split()
    lines = []
    for number in range(1, chance.randint(5, 11)):
        lines += [f"{number}. {' '.join(chance.sample(words, 7))}?", "a) yes", "b) no", "c) I don't know"]
    html = "".join(f"<div>{line}</div>" for line in lines)
    return sheets.Sheet("exam", sheets.laid_out(chance, html, 11), "\n".join(lines))


def addresses(chance: random.Random) -> sheets.Sheet:
    """People of one town."""
    words = [word for word in " ".join(sheets.LANGUAGES["german"]).split() if word.istitle()]
    lines = [
        f"{' '.join(chance.choices(words, k=2))}, {chance.choice(words)}straße {chance.randint(1, 99)}, 24937 Flensburg"
        for _ in range(chance.randint(12, 26))
    ]
    html = "".join(f"<div>{line}</div>" for line in lines)
    return sheets.Sheet("addresses", sheets.laid_out(chance, html, 10), "\n".join(lines))


def stapled(chance: random.Random) -> "sheets.Image.Image":
    """An empty sheet with a staple's mark, a coffee ring and a torn corner, on a dark lid: not yet seen as blank."""
    image = sheets.greyed(sheets.blank(), chance.randint(215, 255), 0)
    draw = sheets.ImageDraw.Draw(image)
    x, y, size = chance.uniform(200, 900), chance.uniform(300, 1400), chance.uniform(120, 260)
    draw.ellipse((x - size, y - size, x + size, y + size), outline=chance.randint(175, 200), width=chance.randint(3, 8))
    image = image.filter(sheets.ImageFilter.GaussianBlur(3))
    draw, corner = sheets.ImageDraw.Draw(image), chance.randint(20, 90)
    draw.line((40, 60, 40 + chance.randint(15, 40), 50), fill=90, width=2)
    draw.polygon([(image.width, 0), (image.width - corner, 0), (image.width, corner)], fill=30)
    return sheets.grained(image, chance, chance.uniform(0, 10))


def stamped(chance: random.Random) -> "sheets.Image.Image":
    """A sheet with nothing but a round stamp and a date in it."""
    image = sheets.blank()
    draw = sheets.ImageDraw.Draw(image)
    x, y = chance.uniform(250, 1000), chance.uniform(250, 1500)
    for size in (100, 92):
        draw.ellipse((x - size, y - size, x + size, y + size), outline=40, width=2)
    font = sheets.ImageFont.truetype(str(sheets.font()), 22)
    draw.text((x, y), f"{chance.randint(1, 28)}.{chance.randint(1, 12)}.1974", fill=40, font=font, anchor="mm")
    return sheets.aged(image, chance)


# Good readings that look like bad ones


def poem(chance: random.Random) -> sheets.Sheet:
    """A song: verses, and a refrain after each, its last line sung two or three times."""
    words = " ".join(sheets.LANGUAGES[chance.choice(["english", "german", "russian"])]).split()

    def line() -> str:
        start = chance.randrange(len(words) - 8)
        return " ".join(words[start : start + chance.randint(4, 7)])

    refrain = [line() for _ in range(chance.randint(2, 4))]
    refrain += [refrain[-1]] * chance.randint(0, 2)
    verses = [[line() for _ in range(4)] for _ in range(chance.randint(3, 5))]
    lines = [part for verse in verses for part in [*verse, "", *refrain, ""]]
    html = "".join(f"<div>{part or '&#160;'}</div>" for part in lines)
    return sheets.Sheet("poem", sheets.laid_out(chance, html, 11), "\n".join(lines))


def same_rows(chance: random.Random) -> sheets.Sheet:
    """A table many of whose rows are alike."""
    rows = [["Datum", "Menge", "Preis"]] + [
        [chance.choice(["0", "-", "1"]), "0,00", "0,00"] for _ in range(chance.randint(10, 30))
    ]
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    text = f"<table>{body}</table>"
    if chance.random() < 0.5:
        text = "\n".join("|" + "|".join(row) + "|" for row in rows)
    return sheets.Sheet("same rows", sheets.laid_out(chance, f"<table>{body}</table>", 10), text)


def same_lines(chance: random.Random) -> sheets.Sheet:
    """A form with the same line many times."""
    label = chance.choice(["Name: {} Date: {}", "Unterschrift {}", "Подпись {}", "Item {} Price {}", "☐ Yes ☐ No {}"])
    lines = [label.replace("{}", "_" * 20)] * chance.randint(6, 20)
    html = "".join(f"<p>{line}</p>" for line in lines)
    return sheets.Sheet("same lines", sheets.laid_out(chance, html, 11), "\n".join(lines))


def minutes(chance: random.Random) -> sheets.Sheet:
    """A list of votes: the same words with other names and numbers."""
    words = [word for word in " ".join(sheets.LANGUAGES["english"]).split() if word.istitle()]
    lines = [
        f"{n}. {chance.choice(words)} {chance.choice(words)}: {chance.choice(['in favour', 'against', 'abstained'])}"
        for n in range(1, chance.randint(10, 30))
    ]
    return sheets.Sheet(
        "votes", sheets.laid_out(chance, "".join(f"<p>{line}</p>" for line in lines), 11), "\n".join(lines)
    )


LOOKALIKES = [poem, same_rows, same_lines, minutes]


def good(seed: str, count: int) -> Iterator[tuple[random.Random, sheets.Sheet]]:
    """Make sheets with honest readings, every third one a lookalike of a bad one."""
    for number, (chance, made) in enumerate(sheets.sheets(seed, count)):
        yield chance, (chance.choice(LOOKALIKES)(chance) if number % 3 == 0 else made)


def measure(seed: str, count: int) -> dict[str, dict[str, list[bool]]]:
    """Return for each kind whether each case of it was judged right."""
    right: dict[str, dict[str, list[bool]]] = {
        part: defaultdict(list) for part in ("good", "bad", "blank", "marked", "stained")
    }
    for chance, made in good(seed, count):
        facts = facts_of(sheets.aged(made.image, chance))
        right["good"][made.kind].append(not facts.blank and read(facts, made.text))
        for spoil in (*chance.sample(BAD, 4), chance.choice(HELD_OUT)):
            text, finish = spoil(chance, made.text)
            if spoil is four_characters and sum(map(str.isalnum, made.text)) < 100:
                continue  # there it may be all there is
            right["bad"][spoil.__name__].append(not read(facts, text, finish))
    for number in range(count):
        chance = random.Random(f"{seed} blank {number}")  # noqa: S311
        facts = facts_of(sheets.soiled(chance))
        right["blank"]["seen as blank"].append(bool(facts.blank))
        made_up = " ".join(chance.choices(sheets.LANGUAGES["english"], k=2))
        right["bad"]["hallucinated"].append(bool(facts.blank) or not read(facts, made_up))
        few = facts_of(sheets.aged(sheets.few_words(chance), chance))
        right["marked"]["a few words"].append(not few.blank)
        right["bad"]["hallucinated on a few words"].append(not read(few, made_up))
        right["good"]["a few words"].append(read(few, "- 12 -"))
        held = chance.choice([exam, addresses])(chance)
        seen = facts_of(sheets.aged(held.image, chance))
        right["good"][f"{held.kind} (held out)"].append(not seen.blank and read(seen, held.text))
        right["stained"]["stapled (held out)"].append(bool(facts_of(stapled(chance)).blank))
        right["marked"]["stamped (held out)"].append(not facts_of(stamped(chance)).blank)
        signed = facts_of(sheets.aged(sheets.signature(chance), chance))
        right["marked"]["a signature"].append(not signed.blank)
    return right


def main() -> None:
    """Print the table."""
    seed, count = sys.argv[1] if len(sys.argv) > 1 else "quality", int(sys.argv[2]) if len(sys.argv) > 2 else 300
    told: dict[str, dict[str, float]] = {}
    for part, kinds in measure(seed, count).items():
        every = [case for of_kind in kinds.values() for case in of_kind]
        for kind, cases in [*sorted(kinds.items()), ("all", every)]:
            print(f"{part:8} {kind:30} {sum(cases):5} of {len(cases):5} right  {sum(cases) / len(cases):7.2%}")
            told.setdefault(part, {})[kind] = round(sum(cases) / len(cases), 4)
    if len(sys.argv) > 3:
        Path(sys.argv[3]).write_text(json.dumps({"seed": seed, "count": count, "right": told}, indent=1) + "\n")


if __name__ == "__main__":
    main()
