"""Good pages whose honest readings look like bad ones: refrains, forms, tables, lists, codes."""

import random
from collections.abc import Callable
from html import escape

import numpy as np
import sheets
from PIL import Image

Maker = Callable[[random.Random], sheets.Sheet]


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


FIRST: list[Maker] = [poem, same_rows, same_lines, minutes]


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


def _printed(chance: random.Random, kind: str, lines: list[str], size: float, style: str = "div") -> sheets.Sheet:
    """Lines as they stand, spaces kept."""
    html = "".join(f"<{style}>{escape(line).replace('  ', '&#160; ') or '&#160;'}</{style}>" for line in lines)
    return sheets.Sheet(kind, sheets.laid_out(chance, html, size), "\n".join(lines))


def _words(chance: random.Random, language: str = "") -> list[str]:
    words = " ".join(sheets.LANGUAGES[language or chance.choice(["english", "german", "french", "russian"])]).split()
    return [word.strip(".,;:«»“”’") for word in words if len(word) > 3]


def code(chance: random.Random) -> sheets.Sheet:
    """A listing of a program, with its many alike lines."""
    names = [word.lower() for word in _words(chance, "english") if word.isalpha()]
    lines: list[str] = []
    while len(lines) < chance.randint(25, 50):
        one, two = chance.sample(names, 2)
        lines += [
            f"def {one}_{two}(self, value):", "    if value is None:", f"        raise ValueError('{one}')",
            f"    self.{two} = value", "    return self", "",
        ]  # fmt: skip
    if chance.random() < 0.5:
        lines = [f"{0x400 + 4 * n:08x}  {chance.randrange(2**32):08x}  mov  r{n % 8}, #{n}" for n in range(45)]
    made = _printed(chance, "code", lines, 9)
    return sheets.Sheet("code", made.image, f"```\n{made.text}\n```")


def prices(chance: random.Random) -> sheets.Sheet:
    """A price list: article, number, unit, price."""
    words = _words(chance)
    unit, end = chance.choice([("Stück", "0,00"), ("kg", "9.95"), ("шт.", "100 руб."), ("per dozen", "1s 6d")])
    lines = [
        f"{chance.choice(words)} {chance.choice(['groß', 'klein', 'A', 'B'])}  Art. {100 + n}  {unit}  "
        + chance.choice([end, f"{chance.randint(1, 99)},50"])
        for n in range(chance.randint(15, 45))
    ]
    return _printed(chance, "prices", lines, 10)


def hymn(chance: random.Random) -> sheets.Sheet:
    """Verses of which every line but one is the same, with Amens and Alleluias."""
    words = _words(chance)
    response = " ".join(chance.sample(words, 4))
    praise = chance.choice(["Alleluia", "Kyrie eleison", "Аллилуйя", "Gloria"])
    lines: list[str] = []
    for number in range(1, chance.randint(4, 9)):
        lines += [f"{number}. {' '.join(chance.sample(words, 5))},", f"{response}.", ", ".join([praise] * 3) + "!", ""]
    return _printed(chance, "hymn", [*lines, "Amen, Amen."], 11)


def fields(chance: random.Random) -> sheets.Sheet:
    """A form of the same empty fields for each of many persons."""
    labels = [f"{word}:" for word in chance.sample(_words(chance), 4)]
    lines = []
    for number in range(1, chance.randint(5, 10)):
        lines += [f"{number}.", *(f"{label} {chance.choice('._') * 30}" for label in labels)]
    return _printed(chance, "fields", lines, 11)


def ledger(chance: random.Random) -> sheets.Sheet:
    """Columns of dates and sums, most of them alike, the date often a ditto."""
    names = chance.sample(_words(chance), 4)
    rows = [["Datum", "Vorgang", "Soll", "Haben", "Saldo"]]
    balance = 1000.0
    for day in range(chance.randint(15, 35)):
        balance += chance.choice([-50, -50, 100])
        first = f"{1 + day // 2:02}.03." if day % 2 == 0 else '"'
        rows.append([first, chance.choice(names), "50,00", "0,00", f"{balance:.2f}"])
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return sheets.Sheet("ledger", sheets.laid_out(chance, f"<table>{body}</table>", 9), text)


def bibliography(chance: random.Random) -> sheets.Sheet:
    """Works of a few authors, from a few publishers."""
    words = _words(chance)
    authors = [f"{chance.choice(words).title()}, {chance.choice('ABCDEFGH')}." for _ in range(3)]
    houses = ["Berlin: Springer", "Cambridge: Cambridge University Press", "М.: Наука", "Paris: Gallimard"]
    lines = [
        f"[{n}] {chance.choice(authors)} ({chance.randint(1950, 2020)}). {' '.join(chance.sample(words, 5))}. "
        f"{chance.choice(houses)}, pp. {chance.randint(1, 99)}–{chance.randint(100, 300)}."
        for n in range(1, chance.randint(10, 25))
    ]
    return _printed(chance, "bibliography", lines, 10)


SCRIPTS = {
    "chinese": "海关关门的时候，没有人问那些文件该怎么办。书架一共四十一层，上面放着潮汐表、绳索收据，还有一本投诉海鸥的簿子。房子春天卖掉了，新主人要求六月以前搬空，于是守夜人的女儿借来一辆手推车，每天傍晚把纸张运回家去。",  # noqa: E501
    "hebrew": "כאשר נסגר בית המכס בנמל לא שאל איש מה יעשו בניירות. היו שם ארבעים ואחת קומות של מדפים, ועליהן לוחות גאות, קבלות על חבלים וספר תלונות על שחפים. הבניין נמכר באביב, ובעליו החדש ביקש שיפונה עד יוני, ולכן השאילה בתו של השומר עגלה והובילה את הניירות הביתה מדי ערב.",  # noqa: E501
    "greek": "Όταν έκλεισε το τελωνείο του λιμανιού κανείς δεν ρώτησε τι θα γίνουν τα χαρτιά. Τα ράφια ήταν σαράντα ένα, με πίνακες της παλίρροιας, αποδείξεις για σχοινιά και ένα βιβλίο με παράπονα για τους γλάρους. Το κτίριο πουλήθηκε την άνοιξη και ο νέος ιδιοκτήτης ζήτησε να αδειάσει ως τον Ιούνιο.",  # noqa: E501
    "korean": "항구의 세관이 문을 닫았을 때 서류를 어떻게 할지 아무도 묻지 않았다. 선반은 마흔한 단이었고 조수표와 밧줄 영수증과 갈매기에 대한 불평이 꽂혀 있었다. 건물은 봄에 팔렸고 새 주인은 유월까지 비워 달라고 했다. 그래서 야경꾼의 딸이 손수레를 빌려 저녁마다 종이를 집으로 날랐다.",  # noqa: E501
}


def other_script(chance: random.Random) -> sheets.Sheet:
    """Prose in a script that the other sheets don't have."""
    name = chance.choice(list(SCRIPTS))
    parts = SCRIPTS[name].replace("。", "。 ").split(" ") if name == "chinese" else SCRIPTS[name].split(". ")
    told = [chance.sample(parts, len(parts)) for _ in range(chance.randint(1, 2))]
    return _printed(chance, f"prose {name}", [" ".join(one) for one in told], chance.choice([10, 11, 12]), "p")


def tracks(chance: random.Random) -> sheets.Sheet:
    """A list of pieces of music: the same composer, kind and key again and again."""
    kinds = ["Sonata", "Prelude", "Fugue", "Symphony", "Menuet"]
    keys = ["C major", "A minor", "D major", "G minor", "B flat major"]
    who = chance.choice(["J. S. Bach", "Domenico Scarlatti", "W. A. Mozart"])
    lines = [
        f"{n}. {who}: {chance.choice(kinds)} No. {chance.randint(1, 20)} in {chance.choice(keys)}, "
        f"{chance.choice(['Allegro', 'Andante', 'Presto'])}  {chance.randint(1, 9)}:{chance.randint(10, 59)}"
        for n in range(1, chance.randint(12, 30))
    ]
    return _printed(chance, "tracks", lines, 10)


def crossword(chance: random.Random) -> sheets.Sheet:
    """A grid of single letters, and the questions below."""
    letters = "".join(_words(chance, "english")).upper()
    side = chance.randint(8, 13)
    rows = [[letters[(row * 17 + column) % len(letters)] for column in range(side)] for row in range(side)]
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    words = _words(chance, "english")
    asked = [f"{n}. {' '.join(chance.sample(words, 3))} ({chance.randint(3, 9)})" for n in range(1, 9)]
    html = f"<table>{body}</table>" + "".join(f"<div>{line}</div>" for line in asked)
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n\n" + "\n".join(asked)
    return sheets.Sheet("crossword", sheets.laid_out(chance, html, 10), text)


def illustrated(chance: random.Random) -> sheets.Sheet:
    """Text above a photograph or a screened print of one, which the engine passes over without a word."""
    words = _words(chance)
    lines = [" ".join(chance.sample(words, 8)) + "." for _ in range(chance.randint(6, 20))]
    made = _printed(chance, "illustrated", lines, 11, "p")
    grain = np.random.default_rng(chance.randrange(2**32))
    small = grain.normal(130, 60, (chance.randint(6, 40), chance.randint(6, 40)))
    photo = Image.fromarray(np.clip(small, 0, 255).astype(np.uint8)).resize((900, 560), Image.Resampling.BICUBIC)
    if chance.random() < 0.5:
        photo = photo.convert("1").convert("L")
    image = made.image.copy()
    image.paste(photo, (190, 1160))
    return sheets.Sheet("illustrated", image, made.text)


SECOND: list[Maker] = [
    code, prices, hymn, fields, ledger, bibliography, other_script, tracks, crossword, illustrated
]  # fmt: skip


def dictionary(chance: random.Random) -> sheets.Sheet:
    """Words of one language and those of another."""
    one, other = _words(chance, "russian"), _words(chance, "english")
    lines = [
        f"{chance.choice(one)} — {chance.choice(other)}, {chance.choice(other)}" for _ in range(chance.randint(15, 40))
    ]
    return _printed(chance, "dictionary", lines, 10)


def timetable(chance: random.Random) -> sheets.Sheet:
    """Times of departure, a row for each stop."""
    rows = []
    for stop in chance.sample(_words(chance), 12):
        start = chance.randint(0, 59)
        rows.append([stop, *(f"{hour}:{start:02}" for hour in range(6, 6 + chance.choice([8, 8, 10])))])
    width = min(map(len, rows))
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row[:width]) + "</tr>" for row in rows)
    return sheets.Sheet("timetable", sheets.laid_out(chance, f"<table>{body}</table>", 8), f"<table>{body}</table>")


def abbreviations(chance: random.Random) -> sheets.Sheet:
    """What letters stand for."""
    lines = []
    for _ in range(chance.randint(12, 35)):
        words = chance.sample(_words(chance, "english"), chance.randint(2, 4))
        lines.append(f"{''.join(word[0] for word in words).upper()}  {' '.join(words)}")
    return _printed(chance, "abbreviations", lines, 11)


def chess(chance: random.Random) -> sheets.Sheet:
    """The moves of a game."""
    move = lambda: chance.choice("NBRQK ").strip() + chance.choice("abcdefgh") + chance.choice("12345678")  # noqa: E731
    text = " ".join(f"{n}. {move()} {move()}" for n in range(1, chance.randint(25, 70)))
    return _printed(chance, "chess", [text], 11, "p")


def times_table(chance: random.Random) -> sheets.Sheet:
    """What one number is times another."""
    side = chance.choice([10, 12])
    rows = [[str(a * b) for b in range(1, side + 1)] for a in range(1, side + 1)]
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return sheets.Sheet("times table", sheets.laid_out(chance, f"<table>{body}</table>", 10), text)


def letterhead(chance: random.Random) -> sheets.Sheet:
    """A short apology, in an office's words."""
    text = (
        f"Dear {chance.choice(_words(chance)).title()},\nI am sorry that we cannot send you the document. The text "
        f"that you asked for is not on our shelves.\nYours, {chance.choice(_words(chance)).title()}"
    )
    return _printed(chance, "letterhead", text.split("\n"), 12, "p")


def phones(chance: random.Random) -> sheets.Sheet:
    """A list of telephone numbers of one place."""
    names = _words(chance, "german")
    lines = [
        f"{chance.choice(names)}, {chance.choice('ABCDEFG')}.  (04 61) {chance.randint(1000, 99999)}"
        for _ in range(chance.randint(20, 45))
    ]
    return _printed(chance, "phones", lines, 10)


THIRD: list[Maker] = [dictionary, timetable, abbreviations, chess, times_table, letterhead, phones]

ALL = [*FIRST, exam, addresses, *SECOND, *THIRD]
