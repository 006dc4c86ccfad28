"""How well verdicts tell good readings from bad ones, and blank pages from others.

`python bench/quality/quality.py [SEED] [COUNT] [JSON]`; SEED COUNT --held-out measures the kinds that no rule was
chosen by.

Sheets are made by `sheets.py`, `lookalikes.py` and `stains.py` and looked at like any page; their readings are the
truth, or the truth as engines spoil it (`spoiled.py`). Prints a table and, with a third argument, writes the same as
JSON there. Recall: bad ones called bad. Alarms: good ones called bad. UNTELLABLE: kinds that leave nothing to see them
by; they are measured by themselves. So are odd sheets, which do say the same again and again.
"""

import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import lookalikes
import numpy as np
import sheets
import spoiled
import stains
import unseen

from ocrd.model import PageFacts, PageImage, PixelSize, Placement, Reading
from ocrd.quality import verdict
from ocrd.rendering import page_analysis

UNTELLABLE = {
    spoiled.stopped_in_a_word, spoiled.one_column_of_three,  # half a page of text may be half a page of pictures
    spoiled.shaken_letters,  # in numbers, and in short texts
    stains.coffee_ring, stains.staple,  # so are drawn circles, and ticks
}  # fmt: skip


def facts_of(image: "sheets.Image.Image") -> PageFacts:
    """Look at a sheet as the vllm engine's pages are looked at."""
    pixels = np.asarray(image.convert("RGB").resize((1280, 1920)))
    return page_analysis.facts(pixels, Placement(595, 842), stands=True)


def read(facts: PageFacts, text: str, finish: str = "stop") -> bool:
    """Whether a reading of a page with these facts is called good."""
    page = PageImage(0, PixelSize(1, 1), b"", 0, facts)
    return verdict.judge(page, Reading(0, text, finish, len(text) // 3, 1.0)).verdict.sound


def good(seed: str, count: int) -> Iterator[tuple[random.Random, sheets.Sheet]]:
    """Make sheets with honest readings, every second one a lookalike of a bad one."""
    for number, (chance, made) in enumerate(sheets.sheets(seed, count)):
        yield chance, (chance.choice(lookalikes.ALL)(chance) if number % 2 == 0 else made)


def measure(seed: str, count: int) -> dict[str, dict[str, list[bool]]]:
    """Return for each kind whether each case of it was judged right."""
    right: dict[str, dict[str, list[bool]]] = {
        part: defaultdict(list) for part in ("good", "bad", "dim", "blank", "stained", "marked")
    }
    for chance, made in good(seed, count):
        facts = facts_of(sheets.aged(made.image, chance))
        right["good"][made.kind].append(not facts.blank and read(facts, made.text))
        for spoil in chance.sample(spoiled.ALL, 8):
            text, finish = spoil(chance, made.text)
            if spoil is spoiled.four_characters and sum(map(str.isalnum, made.text)) < 100:
                continue  # there it may be all there is
            right["dim" if spoil in UNTELLABLE else "bad"][spoil.__name__].append(not read(facts, text, finish))
    for number in range(count):
        chance = random.Random(f"{seed} blank {number}")  # noqa: S311
        nearly_empty(chance, right)
    return right


def nearly_empty(chance: random.Random, right: dict[str, dict[str, list[bool]]]) -> None:
    """Look at a sheet with nothing and at others with hardly anything to read, and let engines make something up."""
    facts = facts_of(sheets.soiled(chance))
    right["blank"]["soiled"].append(bool(facts.blank))
    for stain in stains.STAINED:
        right["stained" if stain in UNTELLABLE else "blank"][stain.__name__].append(bool(facts_of(stain(chance)).blank))
    made_up = " ".join(chance.choices(sheets.LANGUAGES["english"], k=2))
    right["bad"]["hallucinated"].append(bool(facts.blank) or not read(facts, made_up))
    few = facts_of(sheets.aged(sheets.few_words(chance), chance))
    right["marked"]["few_words"].append(not few.blank)
    right["bad"]["hallucinated on a few words"].append(not read(few, made_up))
    right["bad"]["invented on a few words"].append(not read(few, spoiled.invention(chance)))
    right["good"]["a few words"].append(read(few, "- 12 -"))
    right["marked"]["signature"].append(not facts_of(sheets.aged(sheets.signature(chance), chance)).blank)
    right["marked"]["pale"].append(not facts_of(sheets.pale(chance)).blank)
    for mark in stains.MARKED:
        right["marked"][mark.__name__].append(not facts_of(mark(chance)).blank)


def held_out(seed: str, count: int) -> dict[str, dict[str, list[bool]]]:
    """Measure the kinds alone that nothing was chosen by; each page is spoiled in eight ways."""
    right: dict[str, dict[str, list[bool]]] = {
        part: defaultdict(list) for part in ("good", "odd", "bad", "blank", "marked")
    }
    for number in range(count):
        chance = random.Random(f"{seed} unseen {number}")  # noqa: S311
        odd = number % 10 == 0
        made = chance.choice(unseen.ODD if odd else unseen.SHEETS)(chance)
        facts = facts_of(sheets.aged(made.image, chance))
        right["odd" if odd else "good"][made.kind].append(not facts.blank and read(facts, made.text))
        for spoil in [] if odd else chance.sample(unseen.SPOILED, 8):
            right["bad"][spoil.__name__].append(not read(facts, *spoil(chance, made.text)))
        stain, mark = chance.choice(unseen.STAINED), chance.choice(unseen.MARKED)
        right["blank"][stain.__name__].append(bool(facts_of(stain(chance)).blank))
        right["marked"][mark.__name__].append(not facts_of(mark(chance)).blank)
    return right


def main() -> None:
    """Print the table."""
    seed, count = sys.argv[1] if len(sys.argv) > 1 else "quality", int(sys.argv[2]) if len(sys.argv) > 2 else 300
    told: dict[str, dict[str, float]] = {}
    for part, kinds in (held_out if "--held-out" in sys.argv else measure)(seed, count).items():
        every = [case for of_kind in kinds.values() for case in of_kind]
        for kind, cases in [*sorted(kinds.items()), ("all", every)]:
            print(f"{part:8} {kind:30} {sum(cases):5} of {len(cases):5} right  {sum(cases) / len(cases):7.2%}")
            told.setdefault(part, {})[kind] = round(sum(cases) / len(cases), 4)
    if len(sys.argv) > 3 and "--held-out" not in sys.argv:
        Path(sys.argv[3]).write_text(json.dumps({"seed": seed, "count": count, "right": told}, indent=1) + "\n")


if __name__ == "__main__":
    main()
