"""How engines spoil a text: loops of many kinds, cuts, inventions, refusals, nonsense.

Each maker takes the page's true text, and returns what the engine says instead and its finish reason.
"""

import random
from collections.abc import Callable

import sheets

Spoil = Callable[[random.Random, str], tuple[str, str]]
WORDS = ["the", "Der", "of", "and", "figure", "который", "section", "1", "0", "is", "港"]


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


TUNED: list[Spoil] = [
    loop_of_a_word, loop_of_a_sentence, loop_of_a_paragraph, loop_in_the_middle, loop_of_rows, loop_that_counts,
    loop_of_letters, loop_with_changes, truncated, four_characters, empty,
]  # fmt: skip


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


def facts_without_end(chance: random.Random, text: str) -> tuple[str, str]:
    """The same statement again and again, each time of another year, with another number and now and then a name."""
    names = chance.choices([word for word in text.split() if len(word) > 2] or ["x", "y"], k=2)
    frame = chance.choice(
        ["In {y} {n} had {a} inhabitants and {b} houses. ", "Im Jahre {y} wurden {a} {n} für {b} Mark verkauft.\n"]
    )
    told = [
        frame.format(y=1800 + year, n=chance.choice(names), a=chance.randint(10, 9999), b=chance.randint(10, 9999))
        for year in range(chance.randint(25, 150))
    ]
    return _cut(chance, text) + " " + "".join(told), chance.choice(["stop", "length"])


def stumble(chance: random.Random, text: str) -> tuple[str, str]:
    """Some words come a few dozen times in the middle; before and after, the page is whole."""
    words = text.split() if " " in text else list(text)
    place = chance.randint(len(words) // 5, max(1, 4 * len(words) // 5))
    unit = words[max(0, place - chance.randint(2, 9)) : place] or words[:2]
    gap = " " if " " in text else ""
    return gap.join(words[:place] + unit * chance.randint(15, 60) + words[place:]), "stop"


def two_by_turns(chance: random.Random, text: str) -> tuple[str, str]:
    """Two sentences by turns."""
    words = text.split() if " " in text else list(text)
    one, two = (" ".join(chance.choice(words) for _ in range(chance.randint(5, 14))) for _ in range(2))
    return _cut(chance, text) + f" {one}. {two}." * chance.randint(6, 60), "stop"


def rows_that_count(chance: random.Random, text: str) -> tuple[str, str]:
    """Rows of a table in which every number is one more than above."""
    width, start = chance.randint(2, 5), chance.randint(1, 100)
    html = chance.random() < 0.5
    rows = []
    for row in range(start, start + 40 + _times(chance)):
        cells = [str(row * chance.choice([1, 1, 10]) + column) for column in range(width)]
        rows.append(f"<tr><td>{'</td><td>'.join(cells)}</td></tr>" if html else f"| {' | '.join(cells)} |\n")
    return _cut(chance, text) + "\n\n" + "".join(rows), chance.choice(["stop", "length"])


def one_letter_a_line(chance: random.Random, text: str) -> tuple[str, str]:
    """Every letter on a line of its own."""
    del chance
    return "\n".join(char for char in text if not char.isspace()), "stop"


def echo(chance: random.Random, text: str) -> tuple[str, str]:
    """The question instead of an answer."""
    del text
    prompts = ["Free OCR.", "Convert the document to markdown.", "OCR this image.", "Parse the figure."]
    said = chance.choice(["", "<image>\n", "<|grounding|>"]) + chance.choice(prompts)
    return "\n".join([said] * chance.choice([1, 1, 2, 5])), "stop"


def refusal(chance: random.Random, text: str) -> tuple[str, str]:
    """Words about the image instead of those in it."""
    del text
    return chance.choice(
        [
            "I'm sorry, but I can't assist with that request.",
            "I'm sorry, I cannot read the text in this image. Please provide a clearer image.",
            "The image appears to be a scanned document. The text is too blurry to transcribe.",
            "As an AI language model, I am unable to view images.",
            "Sorry, the document does not contain any readable text.",
            "It seems that the image is upside down. Could you please rotate it?",
        ]
    ), "stop"


def stopped_in_a_word(chance: random.Random, text: str) -> tuple[str, str]:
    """Broken off in the middle of a word, as if that were the end."""
    end = int(len(text) * chance.uniform(0.08, 0.45))
    while end > 1 and not (text[end - 1 : end + 1].isalnum()):
        end -= 1
    return text[:end], "stop"


def one_column_of_three(chance: random.Random, text: str) -> tuple[str, str]:
    """A third of every line, or the last third of the page."""
    lines = text.split("\n")
    if chance.random() < 0.5:
        return "\n".join(line[: len(line) // 3] for line in lines), "stop"
    return text[2 * len(text) // 3 :], "stop"


def random_letters(chance: random.Random, text: str) -> tuple[str, str]:
    """As much as the page has, but any letters."""
    alphabet = chance.choice(
        ["abcdefghijklmnopqrstuvwxyz", "абвгдежзийклмнопрстуфхцчшщъыьэюя", "".join(map(chr, range(0x4E00, 0x9FA0)))]
    )
    return "".join(chance.choice(alphabet) if char.isalnum() else char for char in text), "stop"


def shaken_letters(chance: random.Random, text: str) -> tuple[str, str]:
    """The page's own letters, in any order."""
    letters = [char for char in text if char.isalnum()]
    chance.shuffle(letters)
    return "".join(letters.pop() if char.isalnum() else char for char in text), "stop"


def empty_cells(chance: random.Random, text: str) -> tuple[str, str]:
    """Cells without end, and nothing in them."""
    cell = chance.choice(["<td></td>", "| ", "<tr><td></td><td></td></tr>", "|---", "&nbsp;", "\\_", "- \n"])
    return _cut(chance, text) + "\n\n" + cell * chance.randint(300, 2000), chance.choice(["stop", "length"])


def counting(chance: random.Random, text: str) -> tuple[str, str]:
    """Numbers in their order, for ever."""
    start, gap = chance.randint(0, 50), chance.choice([" ", ", ", "\n", "."])
    return _cut(chance, text) + " " + gap.join(map(str, range(start, start + 100 + _times(chance)))), "stop"


def growing(chance: random.Random, text: str) -> tuple[str, str]:
    """A sentence that comes again with a word more each time."""
    words = text.split() if " " in text else list(text)
    said = [chance.choice(words) for _ in range(5)]
    told = []
    for _ in range(chance.randint(15, 40)):
        said.append(chance.choice(words))
        told.append(" ".join(said))
    return _cut(chance, text) + "\n" + "\n".join(told), "stop"


SECOND: list[Spoil] = [
    facts_without_end, stumble, two_by_turns, rows_that_count, one_letter_a_line, echo, refusal, stopped_in_a_word,
    one_column_of_three, random_letters, shaken_letters, empty_cells, counting, growing,
]  # fmt: skip

LOREM = """Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore
magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo
consequat. Duis aute irure dolor in reprehenderit in voluptate velit esse cillum dolore eu fugiat nulla pariatur."""


def invention(chance: random.Random) -> str:
    """What an engine makes up where there is hardly anything: one to three sentences of any language."""
    texts = [LOREM, *(" ".join(paragraphs) for paragraphs in sheets.LANGUAGES.values())]
    text = " ".join(chance.choice(texts).split())
    return text[: chance.randint(120, 300)]


def boxes_without_words(chance: random.Random, text: str) -> tuple[str, str]:
    """Places of text, and no text in them."""
    del text
    return "\n".join(
        f"<|ref|>text<|/ref|><|det|>[[80, {y}, 900, {y + 20}]]<|/det|>" for y in range(20, chance.randint(200, 900), 25)
    ), "stop"


def records(chance: random.Random, text: str) -> tuple[str, str]:
    """Records for a machine, for ever, with nothing in them but places."""
    told = [
        f'{{"bbox": [{chance.randint(0, 999)}, {y}, {chance.randint(0, 999)}, {y + 9}], "text": ""}}'
        for y in range(30, 30 + _times(chance))
    ]
    return _cut(chance, text) + "\n[" + ",\n".join(told), chance.choice(["stop", "length"])


def digits_for_ever(chance: random.Random, text: str) -> tuple[str, str]:
    """A number that does not end."""
    return _cut(chance, text) + " 0." + "".join(chance.choices("0123456789", k=chance.randint(400, 3000))), "stop"


def formula_for_ever(chance: random.Random, text: str) -> tuple[str, str]:
    """A sum that does not end."""
    term = chance.choice(["\\frac{1}{2} + ", "x_{1} + ", "\\alpha \\cdot ", "\\quad "])
    return _cut(chance, text) + " \\[" + term * (40 + _times(chance)), chance.choice(["stop", "length"])


def enumeration(chance: random.Random, text: str) -> tuple[str, str]:
    """One thing after another, each in the same words but one."""
    words = text.split() if " " in text else list(text)
    frame = chance.choice(["and the {}, ", "- the word {}\n", "| {} | yes | no |\n"])
    return _cut(chance, text) + "\n" + "".join(
        frame.format(chance.choice(words)) for _ in range(60 + _times(chance))
    ), "stop"


def every_line_thrice(chance: random.Random, text: str) -> tuple[str, str]:
    """Every line, or every ten words, three times."""
    del chance
    words = text.split(" ")
    lines = (
        text.split("\n") if text.count("\n") > 5 else [" ".join(words[n : n + 10]) for n in range(0, len(words), 10)]
    )
    return "\n".join(line for line in lines for _ in range(3)), "stop"


def keys(chance: random.Random, text: str) -> tuple[str, str]:
    """What fingers type that don't know what."""
    rows = ["asdf", "jklö", "qwert", "zxcvb", "ghjk"]
    words = range(max(40, len(text.split())))
    return " ".join("".join(chance.choices(chance.choice(rows), k=chance.randint(2, 8))) for _ in words), "stop"


def description(chance: random.Random, text: str) -> tuple[str, str]:
    """A few sentences about the page."""
    del text
    return (
        f"The image shows a page of a {chance.choice(['book', 'printed document', 'letter'])}. The text is arranged in "
        f"{chance.choice(['one column', 'several paragraphs', 'a table'])} and printed in black on a white background. "
        "There are no pictures on the page. The overall impression is that of an old, well preserved document."
    ), "stop"


def first_line(chance: random.Random, text: str) -> tuple[str, str]:
    """The first words of the page, and no more."""
    return " ".join(text.split()[: chance.randint(2, 6)])[:40], "stop"


THIRD: list[Spoil] = [
    boxes_without_words, records, digits_for_ever, formula_for_ever, enumeration, every_line_thrice, keys, description,
    first_line,
]  # fmt: skip


ALL = [*TUNED, *HELD_OUT, *SECOND, *THIRD]
