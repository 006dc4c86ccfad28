"""Kinds of readings and sheets that no rule was chosen by: `quality.py --held-out` measures these alone.

They were written, with texts of their own, before the rules that they measure. Whoever changes a rule because of one
of them moves it to the kinds that rules are chosen by, and writes another. Three were: tables to sign in, a year, and a
catalogue are kept here for the table in NOTES.md.
"""

import base64
import datetime as dt
import math
import random
from html import escape
from itertools import pairwise

import numpy as np
import sheets
import stains
from lookalikes import Maker
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from spoiled import Spoil

TEXTS = {
    "english": """The pump must be primed before it is started for the first time. Close the outlet valve, fill the
housing through the upper plug until water runs over, and turn the shaft twice by hand. A pump that has run dry for
longer than a minute is to be opened and its seal replaced. Grease is needed once a year, at the two nipples below the
motor; more of it does harm. If the bearing becomes warmer than the hand can bear, stop at once and call the workshop.
Spare gaskets are kept in the red box beside the door, each in an oiled paper with its size written on it.""",
    "spanish": """El tren de las siete llegó con veinte minutos de retraso y nadie bajó de él. La viuda del jefe de
estación contaba los vagones desde la ventana, como cada tarde, y anotaba el número en un cuaderno de tapas verdes. Un
perro cruzó las vías, olfateó la maleta olvidada junto al banco y siguió su camino hacia el río. Cuando encendieron las
farolas ya había empezado a llover, y el agua borró poco a poco las letras de tiza que los niños dejaron allí.""",
    "polish": """Zegarmistrz otwierał warsztat dopiero po dziewiątej, bo rano światło padało z niewłaściwej strony. Na
półkach stały budziki bez wskazówek, obok leżały sprężyny zawinięte w gazetę sprzed wojny. Klienci przychodzili rzadko,
lecz każdy zostawał na herbatę i opowiadał, skąd pochodzi jego zegarek. Najstarszy z nich, zdobyty podobno na loterii,
spieszył się o kwadrans, a właściciel twierdził, że tak właśnie powinno być.""",
    "turkish": """Fırıncı sabaha karşı kepengi kaldırdığında sokakta yalnızca kediler vardı. Hamur geceden mayalanmış,
odunlar duvarın dibine dizilmişti. İlk müşteri her zaman emekli öğretmendi; iki somun alır, parasını bozuk öder, havanın
nasıl olacağını sorardı. Öğleye doğru çocuklar gelir, simitlerin susamını parmaklarıyla toplarlardı. Akşam olunca kalan
ekmekler bir sepete konur, köprünün altındaki kuşlara götürülürdü.""",
    "ukrainian": """Млин стояв на крутому березі, і навесні вода сягала самого порогу. Мірошник вів облік мішків на
одвірку: одна риска за кожен, хрестик за десяток. Коли колесо спинялося, у селі казали, що річка думає. Діти ходили сюди
по борошно босоніж, хоча стежка була камениста, і поверталися білі, наче взимку. Про старого господаря розповідали, ніби
він умів упізнати зерно кожного поля на самий лише дотик.""",
    "finnish": """Majakanvartija kirjasi säähavainnot kolmesti päivässä, vaikka kukaan ei ollut pyytänyt niitä vuosiin.
Laituri oli jäänyt viime syksynä jäiden alle, ja postivene kääntyi takaisin jo karin kohdalla. Keittiössä kiehui kahvi,
ikkunalaudalla kuivuivat verkonkohot. Illan tullen hän sytytti lampun, istui pöydän ääreen ja luki ääneen saman kirjeen,
jonka hänen siskonsa oli lähettänyt kaupungista ennen ensilunta.""",
}
TEXTS = {name: " ".join(text.split()) for name, text in TEXTS.items()}


def _words(chance: random.Random, language: str = "") -> list[str]:
    text = TEXTS[language or chance.choice(list(TEXTS))]
    return [word.strip(".,;:") for word in text.split() if len(word) > 3]


def _name(chance: random.Random, language: str = "") -> str:
    return " ".join(word.title() for word in chance.sample(_words(chance, language), 2))


# Readings that are bad


def _cut(chance: random.Random, text: str) -> str:
    return text[: int(len(text) * chance.uniform(0.1, 0.9))] + chance.choice([" ", "\n", "\n\n"])


def _end(chance: random.Random) -> str:
    return chance.choice(["stop", "length"])


def _own(chance: random.Random, text: str, count: int) -> list[str]:
    """Words of the page, or single characters of one that parts no words."""
    words = text.split() if text.count(" ") > len(text) / 20 else [char for char in text if char.isalnum()]
    return chance.choices(words or ["x"], k=count)


def days(chance: random.Random, text: str) -> tuple[str, str]:
    """A diary without entries: day after day."""
    day = dt.date(1900, 1, 1) + dt.timedelta(chance.randrange(20000))
    form = chance.choice(["%d %B %Y\n", "%A, %d.%m.%Y\n", "| %Y-%m-%d | |\n", "%d.%m. – "])
    told = [(day + dt.timedelta(n)).strftime(form) for n in range(chance.randint(90, 400))]
    return _cut(chance, text) + "".join(told), _end(chance)


def sections(chance: random.Random, text: str) -> tuple[str, str]:
    """Headings of a book that has none: 3.1, 3.2 and so on, or ever deeper, each with words of the page."""
    count, deep = chance.randint(80, 300), chance.random() < 0.5
    numbers = [".".join(["1"] * n) for n in range(1, count // 4)] if deep else [f"3.{n}" for n in range(1, count)]
    told = [f"{number} {' '.join(_own(chance, text, 3))}" for number in numbers]
    return _cut(chance, text) + "\n".join(told), _end(chance)


def lettered(chance: random.Random, text: str) -> tuple[str, str]:
    """Items of the same words, a), b), c) or i), ii), iii)."""
    roman = ["", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix"]
    tens = ["", "x", "xx", "xxx", "xl", "l", "lx", "lxx", "lxxx", "xc"]
    names = [tens[n // 10] + roman[n % 10] for n in range(1, 100)]
    if chance.random() < 0.5:
        names = [first + last for first in ["", *"abcdef"] for last in "abcdefghijklmnopqrstuvwxyz"]
    said = " ".join(_own(chance, text, chance.randint(3, 8)))
    told = [f"({name}) {said}" for name in names[: chance.randint(30, 90)]]
    return _cut(chance, text) + chance.choice(["\n", "; "]).join(told), "stop"


DESCRIPTIONS = [
    (
        "This is a scanned page from a printed book. The text is set in a serif typeface, and the paper is slightly "
        "yellowed. The page seems to deal with everyday matters. A page number can be seen at the bottom."
    ),
    "In this image, we can see a document with text. There are several lines of black text on a white background.",
    "The provided image contains a page of text. The text is divided into paragraphs, with a heading at the top.",
    "The picture displays an old sheet of paper with printed letters. It is a little crumpled at one edge.",
    (
        "Das Bild zeigt eine gescannte Seite mit gedrucktem Text. Der Text ist in mehrere Absätze gegliedert. Oben "
        "steht eine Überschrift, unten eine Seitenzahl."
    ),
    (
        "L'image montre une page imprimée en noir sur fond blanc. Le texte est disposé en colonnes, avec un titre en "
        "haut de la page et un numéro en bas."
    ),
    "La imagen muestra una página impresa. El texto está organizado en párrafos y no hay ilustraciones.",
    "L'immagine mostra la pagina di un libro con del testo stampato in nero. Non ci sono figure.",
    "A imagem mostra uma página com texto impresso, organizada em parágrafos, com um título na parte superior.",
    (
        "На изображении показана страница документа с печатным текстом. Текст расположен в несколько абзацев, сверху "
        "находится заголовок."
    ),
    "这张图片显示的是一份文件的扫描页，上面有黑色的印刷文字，分成若干段落，页面底部有页码。",
    "この画像には、白い背景に黒い文字で印刷された文書のページが写っています。文章はいくつかの段落に分かれています。",
]


def described(chance: random.Random, text: str) -> tuple[str, str]:
    """What a page looks like, in any of eight languages."""
    del text
    return chance.choice(DESCRIPTIONS), "stop"


def described_by_points(chance: random.Random, text: str) -> tuple[str, str]:
    """What a page looks like, at length, point by point, with some of its words."""
    points = ["Title", "Layout", "Text Content", "Typography", "Colors", "Overall Impression", "Language", "Background"]
    told = [
        f"- **{point}**: The {chance.choice(['document', 'page', 'text', 'image'])} is "
        f"{chance.choice(['clear', 'plain', 'formal', 'typical'])} and mentions “{' '.join(_own(chance, text, 3))}”."
        for point in chance.sample(points, chance.randint(4, 8))
    ]
    head = chance.choice(["The image is a scan of a document.", "Here is a detailed description of the image:"])
    return head + "\n\n" + "\n".join(told), "stop"


def captioned(chance: random.Random, text: str) -> tuple[str, str]:
    """What a caption says of a photograph."""
    del text
    return chance.choice(
        [
            "A black and white photo of a document with text on it.", "a close up of a piece of paper with writing",
            "Scanned page of a book.", "An old document with a lot of text.", "Text, letter",
            "A screenshot of a document with several paragraphs of text",
        ]
    ), "stop"  # fmt: skip


def chatter(chance: random.Random, text: str) -> tuple[str, str]:
    """The words before an answer, and no answer."""
    del text
    return chance.choice(
        [
            "Sure! Here is the text from the image:", "Here's the extracted text:\n\n```\n```", "```markdown\n\n```",
            "Below is the transcription of the document you provided.", "Of course, let me convert that for you.",
            "<think>Okay, the user wants me to transcribe the page. Let me look at it closely.</think>",
        ]
    ), "stop"  # fmt: skip


def drifting(chance: random.Random, text: str) -> tuple[str, str]:
    """A sentence again and again, each time with one more of its words another one."""
    said = _own(chance, text, chance.randint(8, 14))
    told = []
    for _ in range(chance.randint(25, 90)):
        said[chance.randrange(len(said))] = _own(chance, text, 1)[0]
        told.append(" ".join(said))
    return _cut(chance, text) + chance.choice([". ", "\n"]).join(told), _end(chance)


def restyled(chance: random.Random, text: str) -> tuple[str, str]:
    """A sentence again and again, in ever other capitals, emphasis and punctuation."""
    said = " ".join(_own(chance, text, chance.randint(5, 12)))
    told = [
        chance.choice(["**{}**", "{}!", "*{}*", "# {}", "“{}”", "({})"]).format(
            chance.choice([said, said.upper(), said.title(), said.lower()])
        )
        for _ in range(chance.randint(10, 60))
    ]
    return _cut(chance, text) + chance.choice(["\n", " "]).join(told), "stop"


def stuttered(chance: random.Random, text: str) -> tuple[str, str]:
    """Every word two or three times."""
    words = text.split() if text.count(" ") > len(text) / 20 else list(text)
    times = chance.choice([2, 3])
    return " ".join(word for word in words for _ in range(times)), "stop"


def undecoded(chance: random.Random, text: str) -> tuple[str, str]:
    """Characters that some program did not know."""
    kind = chance.choice(["�", "cid", "entity"])
    if kind == "�":
        return "".join("�" if char.isalpha() else char for char in text), "stop"
    form = "(cid:{})" if kind == "cid" else "&#{};"
    return "".join(form.format(ord(char) % 300) if char.isalnum() else char for char in text), "stop"


def address_for_ever(chance: random.Random, text: str) -> tuple[str, str]:
    """An address of the web that does not end."""
    parts = [escape(word).lower() for word in _own(chance, text, chance.choice([2, 300]))]
    path = "/".join(chance.choice(parts) for _ in range(chance.randint(120, 500)))
    return _cut(chance, text) + "https://www.example.org/" + path, _end(chance)


def bytes_for_ever(chance: random.Random, text: str) -> tuple[str, str]:
    """A picture in letters."""
    blob = base64.b64encode(chance.randbytes(chance.randint(800, 5000))).decode()
    return _cut(chance, text) + f"![](data:image/png;base64,{blob}", _end(chance)


def columns_for_ever(chance: random.Random, text: str) -> tuple[str, str]:
    """A table or a matrix whose head does not end."""
    unit = chance.choice(["c", "l|", "& & ", "\\hline ", "\\cline{1-2} ", "& 0 "])
    return _cut(chance, text) + "\\begin{array}{" + unit * chance.randint(300, 1200), _end(chance)


def nested(chance: random.Random, text: str) -> tuple[str, str]:
    """Elements within elements, or lines without anything, for ever."""
    unit = chance.choice(["<div>", "<br>", "<div class='page'>", "<span></span>", "((", "<p>&nbsp;</p>\n", "> "])
    return _cut(chance, text) + unit * chance.randint(300, 1500), _end(chance)


def one_sign(chance: random.Random, text: str) -> tuple[str, str]:
    """One sign for ever."""
    return _cut(chance, text) + chance.choice("的港★🙂―■ー·=のÄ") * chance.randint(300, 1500), _end(chance)


def row_in_a_table(chance: random.Random, text: str) -> tuple[str, str]:
    """A row that comes too often in the middle of a table; only its number grows."""
    rows = [[str(n), *_own(chance, text, 3)] for n in range(1, chance.randint(8, 20))]
    place = len(rows) // 2
    rows[place:place] = [[str(place + 1 + n), *rows[place][1:]] for n in range(chance.randint(30, 90))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n\n" + text[len(text) // 2 :], "stop"


def questions(chance: random.Random, text: str) -> tuple[str, str]:
    """Questions and answers that nobody asked."""
    frame = chance.choice(
        ["Q: What is {}?\nA: It is {}.\n", "Question: Who wrote about {}? Answer: {}. ", "- What about {}? See {}.\n"]
    )
    told = [frame.format(*_own(chance, text, 2)) for _ in range(chance.randint(40, 150))]
    return _cut(chance, text) + "".join(told), _end(chance)


def sums(chance: random.Random, text: str) -> tuple[str, str]:
    """Rows of any numbers, many times more than the page has."""
    width, gap = chance.randint(2, 5), chance.choice([" | ", "\t", "  "])
    told = [gap.join(f"{chance.uniform(0, 9999):.2f}" for _ in range(width)) for _ in range(chance.randint(250, 600))]
    return _cut(chance, text) + "\n".join(told), _end(chance)


def names_for_ever(chance: random.Random, text: str) -> tuple[str, str]:
    """Any names, many times more than the page has."""
    told = [_name(chance) for _ in range(max(300, len(text) // 4))]
    return _cut(chance, text) + ", ".join(told), _end(chance)


def twice_over(chance: random.Random, text: str) -> tuple[str, str]:
    """The whole page two or three times."""
    return chance.choice(["\n\n", "\n\n---\n\n"]).join([text] * chance.choice([2, 3])), "stop"


def first_paragraph(chance: random.Random, text: str) -> tuple[str, str]:
    """The first tenth to quarter of the page, to the end of a word, and a full stop."""
    end = int(len(text) * chance.uniform(0.1, 0.25))
    while 0 < end < len(text) and text[end].isalnum() and text[end].isascii():
        end -= 1
    return text[:end].rstrip(" ,;:") + ".", "stop"


SPOILED: list[Spoil] = [
    days, sections, lettered, described, described_by_points, captioned, chatter, drifting, restyled, stuttered,
    undecoded, address_for_ever, bytes_for_ever, columns_for_ever, nested, one_sign, row_in_a_table, questions, sums,
    names_for_ever, twice_over, first_paragraph,
]  # fmt: skip


# Sheets that are good, and look bad


def _lines(chance: random.Random, kind: str, lines: list[str], size: float, text: str = "") -> sheets.Sheet:
    """Lines as they stand, spaces kept; read as `text`, or as they stand."""
    html = "".join(f"<div>{escape(line).replace('  ', '&#160; ') or '&#160;'}</div>" for line in lines)
    return sheets.Sheet(kind, sheets.laid_out(chance, html, size), text or "\n".join(lines))


def _grid(chance: random.Random, kind: str, rows: list[list[str]], size: float) -> sheets.Sheet:
    """A table, read as HTML or as Markdown."""
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    text = f"<table>{body}</table>"
    image = sheets.laid_out(chance, text, size)
    if chance.random() < 0.5:
        text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return sheets.Sheet(kind, image, text)


def prose(chance: random.Random) -> sheets.Sheet:
    """Prose of six languages; its sentences in any order, now and then with a heading."""
    parts = TEXTS[chance.choice(list(TEXTS))].split(". ")
    told = [". ".join(chance.sample(parts, len(parts))) for _ in range(chance.choice([1, 1, 2]))]
    return _lines(chance, "prose", [chance.choice(["", "# 3"]), *told], chance.choice([9, 10, 11, 12]))


def litany(chance: random.Random) -> sheets.Sheet:
    """Invocations, each with the same response."""
    answer = chance.choice(["ora pro nobis", "pray for us", "bitt für uns", "моли Бога о нас", "Lord, have mercy"])
    lines = [f"{_name(chance)}, {answer}." for _ in range(chance.randint(15, 38))]
    return _lines(chance, "litany", lines, 11)


def knitting(chance: random.Random) -> sheets.Sheet:
    """Rows of stitches to knit."""
    rows = [", ".join(chance.choice(["K2", "P2", "K1", "yo", "k2tog", "*K3, P3*"]) for _ in range(6)) for _ in range(3)]
    lines = [f"Row {n}: {chance.choice(rows)}." for n in range(1, chance.randint(16, 40))]
    return _lines(chance, "knitting", lines, 11)


def receipt(chance: random.Random) -> sheets.Sheet:
    """A receipt: few articles, each several times."""
    items = [(word, f"{chance.randint(1, 20)}.{chance.choice(['49', '99'])}") for word in _words(chance)[:5]]
    lines = [
        f"1 x {word:<16}{price:>8}" for word, price in (chance.choice(items) for _ in range(chance.randint(8, 25)))
    ]
    return _lines(chance, "receipt", ["SUPERMARKET", *lines, f"TOTAL {chance.randint(20, 300)}.00", "Thank you!"], 9)


def index(chance: random.Random) -> sheets.Sheet:
    """The index of a book."""
    lines = [
        f"{word}, {', '.join(str(page) for page in sorted(chance.sample(range(1, 400), chance.randint(1, 7))))}"
        for word in sorted(_words(chance, "english") + _words(chance, "english"))[: chance.randint(25, 45)]
    ]
    return _lines(chance, "index", lines, 9)


def register(chance: random.Random) -> sheets.Sheet:
    """A parish's register: a number, a day, a name, and the same village again and again."""
    day = dt.date(1790, 1, 1)
    rows = [["No.", "Day", "Name", "Village", "Trade"]]
    places, trades = _words(chance)[:2], ["farmer", "farmer", "smith", "do.", '"']
    for number in range(1, chance.randint(18, 36)):
        day += dt.timedelta(chance.randint(1, 9))
        rows.append([str(number), f"{day:%d.%m.}", _name(chance), chance.choice(places), chance.choice(trades)])
    return _grid(chance, "register", rows, 9)


def log(chance: random.Random) -> sheets.Sheet:
    """The log of a machine."""
    said = ["connection established", "request served in 12 ms", "connection closed", "WARN retrying in 5 s"]
    moment, lines = dt.datetime(2024, 3, 1, 8, tzinfo=dt.UTC), []
    for _ in range(chance.randint(25, 50)):
        moment += dt.timedelta(seconds=chance.randint(1, 90))
        lines.append(f"{moment:%Y-%m-%d %H:%M:%S} host-{chance.randint(1, 3)} INFO {chance.choice(said)}")
    return _lines(chance, "log", lines, 8)


def clauses(chance: random.Random) -> sheets.Sheet:
    """A contract: clauses that begin alike."""
    words = _words(chance, "english")
    lines = [
        f"{1 + n // 5}.{1 + n % 5} {chance.choice(['The Lessee shall', 'The Lessor shall not', 'The Lessee may'])} "
        f"{' '.join(chance.sample(words, chance.randint(6, 14)))}."
        for n in range(chance.randint(12, 25))
    ]
    return _lines(chance, "clauses", lines, 10)


def play(chance: random.Random) -> sheets.Sheet:
    """A play: two or three names before every line."""
    names = [word.upper() for word in chance.sample(_words(chance, "polish"), 3)]
    words = _words(chance)
    lines = [
        f"{chance.choice(names)}. {' '.join(chance.sample(words, chance.randint(2, 9)))}{chance.choice('.?!')}"
        for _ in range(chance.randint(18, 35))
    ]
    return _lines(chance, "play", lines, 11)


def chords(chance: random.Random) -> sheets.Sheet:
    """Chords above the lines of a song, a chorus after each verse."""
    words, lines = _words(chance), list[str]()
    row = "      ".join(chance.choice(["G", "D", "Em", "C", "Am7"]) for _ in range(4))
    chorus = [" ".join(chance.sample(words, 5)) for _ in range(2)]
    for _ in range(chance.randint(3, 5)):
        for said in [*(" ".join(chance.sample(words, 5)) for _ in range(2)), *chorus]:
            lines += [row, said]
        lines.append("")
    return _lines(chance, "chords", lines, 10)


def logarithms(chance: random.Random) -> sheets.Sheet:
    """A table of logarithms."""
    start = chance.randint(100, 900)
    rows = [["N", *map(str, range(10))]]
    rows += [
        [str(n), *(f"{round(1e4 * math.log10(n + d / 10)) % 10000:04}" for d in range(10))]
        for n in range(start, start + chance.randint(15, 32))
    ]
    return _grid(chance, "logarithms", rows, 8)


def sign_up(chance: random.Random) -> sheets.Sheet:
    """Numbered rows to sign in."""
    rows = [["No.", "Name", "Signature"], *([str(n), "", ""] for n in range(1, chance.randint(15, 32)))]
    return _grid(chance, "sign-up", rows, 10)


def answers(chance: random.Random) -> sheets.Sheet:
    """Numbers with letters to tick, or the right letter."""
    count, given = chance.randint(20, 45), chance.random() < 0.5
    lines = [f"{n}. {chance.choice('ABCD') if given else 'A  B  C  D'}" for n in range(1, count)]
    return _lines(chance, "answers", lines, 10)


def formulas(chance: random.Random) -> sheets.Sheet:
    """Equations, as an engine writes them."""
    lines, told = [], []
    for number in range(1, chance.randint(8, 20)):
        a, b, n = chance.choice("abcxyz"), chance.choice("uvwpq"), chance.randint(2, 9)
        lines += [
            f"{a}{number} = {b} + {n}{a} - ({a} + {b})/{n}    ({number})",
            " ".join(chance.sample(_words(chance), 7)),
        ]
        told += [f"\\[ {a}_{{{number}}} = {b} + {n}{a} - \\frac{{{a} + {b}}}{{{n}}} \\tag{{{number}}} \\]", lines[-1]]
    return _lines(chance, "formulas", lines, 11, "\n".join(told))


def worksheet(chance: random.Random) -> sheets.Sheet:
    """Sums for children."""
    lines = [
        "      ".join(f"{chance.randint(1, 20)} + {chance.randint(1, 20)} = ____" for _ in range(3))
        for _ in range(chance.randint(10, 22))
    ]
    return _lines(chance, "worksheet", lines, 12)


def year(chance: random.Random) -> sheets.Sheet:
    """A year's months, day by day."""
    rows = []
    for month in chance.sample(_words(chance), chance.choice([6, 12])):
        first = chance.randrange(7)
        cells = [""] * first + [str(day) for day in range(1, 31)]
        rows += [[month, *[""] * 6], *(([*cells[n : n + 7], *[""] * 7])[:7] for n in range(0, len(cells), 7))]
    return _grid(chance, "year", rows[:42], 6)


def serials(chance: random.Random) -> sheets.Sheet:
    """Parts and their numbers."""
    lines = [
        f"{chance.choice('ABCX')}{chance.randint(10, 99)}-{chance.randint(1000, 9999)}-{chance.choice('KLMN')}R  "
        f"{chance.choice(['bolt', 'nut', 'washer'])} M{chance.choice([4, 6, 8])}  {chance.randint(1, 500)} pcs"
        for _ in range(chance.randint(20, 42))
    ]
    return _lines(chance, "serials", lines, 9)


def catalogue(chance: random.Random) -> sheets.Sheet:
    """A museum's page, whose first words are about a picture."""
    head = chance.choice(
        [
            "The picture shows the harbour before the fire.", "This image shows the east wing in 1904.",
            "Das Bild zeigt den Hafen vor dem Brand.", "La imagen muestra el ala este en 1904.",
            "На снимке видна старая мельница.", "The photograph shows the founder with his dog.",
        ]
    )  # fmt: skip
    parts = TEXTS[chance.choice(list(TEXTS))].split(". ")
    return _lines(chance, "catalogue", [head, "", ". ".join(parts), "", ". ".join(chance.sample(parts, 3)) + "."], 11)


def directory(chance: random.Random) -> sheets.Sheet:
    """A telephone directory of three columns."""
    count = 3 * chance.randint(15, 30)
    told = [f"{_name(chance)} {chance.randint(2, 9)}{chance.randint(1000, 99999)}" for _ in range(count)]
    rows = [told[n :: count // 3] for n in range(count // 3)]
    html = "<table>" + "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows) + "</table>"
    return sheets.Sheet("directory", sheets.laid_out(chance, html, 7), "\n".join(told))


SHEETS: list[Maker] = [
    prose, litany, knitting, receipt, index, register, log, clauses, play, chords, logarithms, sign_up, answers,
    formulas, worksheet, year, serials, catalogue, directory,
]  # fmt: skip


# Sheets that truly go round in circles: nothing but their image tells them from a bad reading


def labels(chance: random.Random) -> sheets.Sheet:
    """Labels to cut out, all with the same address."""
    label = [_name(chance), f"{chance.choice(_words(chance))} {chance.randint(1, 90)}", "12345 " + _words(chance)[0]]
    lines = [line for _ in range(chance.randint(6, 11)) for line in [*label, ""]]
    return _lines(chance, "labels", lines, 10)


def lines_to_write(chance: random.Random) -> sheets.Sheet:
    """What a pupil had to write out."""
    said = " ".join(chance.sample(_words(chance), 6)) + "."
    return _lines(chance, "lines to write", [said] * chance.randint(12, 30), 12)


def hundred(chance: random.Random) -> sheets.Sheet:
    """The numbers from 1 to 100."""
    return _grid(chance, "hundred", [[str(10 * ten + one) for one in range(1, 11)] for ten in range(10)], 11)


ODD: list[Maker] = [labels, lines_to_write, hundred]


# Sheets with nothing to read, and with hardly anything


def splash(chance: random.Random) -> Image.Image:
    """Drops of coffee or tea, 1 to 8 mm, darker at their rims."""
    image = stains.paper(chance)
    veil = Image.new("L", image.size, 0)
    draw, deep = ImageDraw.Draw(veil), chance.randint(30, 110)
    x, y = chance.uniform(0.1, 0.9) * image.width, chance.uniform(0.1, 0.9) * image.height
    for _ in range(chance.randint(2, 9)):
        r = chance.uniform(0.5, 4) * stains.MM
        a, b = x + chance.gauss(0, 15) * stains.MM, y + chance.gauss(0, 15) * stains.MM
        draw.ellipse((a - r, b - r, a + r, b + r), fill=deep // 2, outline=deep, width=max(2, round(r / 6)))
    veil = veil.filter(ImageFilter.GaussianBlur(1.5))
    return stains.scanned(Image.composite(Image.new("RGB", image.size, (115, 75, 40)), image, veil), chance)


def foxing(chance: random.Random) -> Image.Image:
    """The brown spots of old paper."""
    image = stains.paper(chance)
    veil = Image.new("L", image.size, 0)
    draw = ImageDraw.Draw(veil)
    for _ in range(chance.randint(10, 60)):
        x, y, r = chance.uniform(0, image.width), chance.uniform(0, image.height), chance.uniform(0.3, 1.5) * stains.MM
        draw.ellipse((x - r, y - r * chance.uniform(0.7, 1.3), x + r, y + r), fill=chance.randint(20, 80))
    veil = veil.filter(ImageFilter.GaussianBlur(3))
    return stains.scanned(Image.composite(Image.new("RGB", image.size, (150, 100, 50)), image, veil), chance)


def spiral(chance: random.Random) -> Image.Image:
    """Torn from a spiral: holes along an edge, some of them open."""
    image = stains.paper(chance)
    draw, lid = ImageDraw.Draw(image), chance.choice([0, 40, 90, 140])
    for n in range(34):
        y = (8 + 8.5 * n) * stains.MM
        draw.rectangle((3 * stains.MM, y, 7 * stains.MM, y + 4 * stains.MM), fill=(lid,) * 3)
        if chance.random() < 0.3:
            draw.rectangle((0, y + stains.MM, 4 * stains.MM, y + 2.5 * stains.MM), fill=(lid,) * 3)
    return stains.scanned(image.filter(ImageFilter.GaussianBlur(0.6)), chance)


def cup(chance: random.Random) -> Image.Image:
    """One or two rings of a cup, worked out from their distance to a wavering circle."""
    image = stains.paper(chance)
    y, x = np.mgrid[0 : image.height, 0 : image.width] / stains.MM
    veil = np.zeros(x.shape)
    for _ in range(chance.choice([1, 1, 2])):
        a, b, r = chance.uniform(20, 190), chance.uniform(20, 270), chance.uniform(25, 45)
        turn = np.arctan2(y - b, x - a)
        away = np.abs(np.hypot(x - a, y - b) - r - 0.5 * np.sin(2 * turn + chance.uniform(0, 6)))
        thick = 0.5 + 0.4 * (1 + np.sin(turn + chance.uniform(0, 6)))
        veil = np.maximum(veil, chance.uniform(0.3, 0.7) * np.clip(1.5 - away / thick, 0, 1))
    told = Image.fromarray((255 * veil).astype(np.uint8))
    return stains.scanned(Image.composite(Image.new("RGB", image.size, (110, 70, 35)), image, told), chance)


def two_staples(chance: random.Random) -> Image.Image:
    """The two staples of a booklet along its edge, or their holes."""
    image = stains.paper(chance)
    draw, x, level = ImageDraw.Draw(image), chance.uniform(4, 12) * stains.MM, chance.randint(50, 140)
    metal = chance.random() < 0.6
    for y in (0.3 * image.height, 0.7 * image.height):
        if metal:
            draw.line((x, y, x + chance.uniform(-3, 3), y + 12.7 * stains.MM), fill=(level,) * 3, width=3)
        else:
            for at in (y, y + 12.7 * stains.MM):
                draw.ellipse((x - 3, at - 3, x + 3, at + 3), fill=(level, level, level))
    return stains.scanned(image.filter(ImageFilter.GaussianBlur(0.6)), chance)


STAINED: list[stains.Maker] = [splash, foxing, spiral, cup, two_staples]


def _pen(chance: random.Random) -> tuple[int, int, int]:
    return chance.choice([(30, 40, 130), (20, 20, 20), (150, 30, 40), (95, 60, 30), (90, 90, 95)])


def pen_circle(chance: random.Random) -> Image.Image:
    """A circle drawn by hand, in ink of any colour, brown too."""
    image = stains.paper(chance)
    x, y, r = chance.uniform(300, 900), chance.uniform(350, 1400), chance.uniform(4, 42) * stains.MM
    turns = [n / 30 for n in range(round(2 * math.pi * 30 * chance.uniform(0.9, 1.1)))]
    way = [(x + r * math.cos(t) + t * 2, y + chance.choice([1, 0.98]) * r * math.sin(t)) for t in turns]
    ImageDraw.Draw(image).line(way, fill=_pen(chance), width=chance.choice([2, 3, 4, 6]), joint="curve")
    return stains.scanned(image.filter(ImageFilter.GaussianBlur(0.6)), chance)


def brown_word(chance: random.Random) -> Image.Image:
    """A word in the brown ink of old letters, the strokes swelling."""
    image = stains.paper(chance)
    draw, x, y = ImageDraw.Draw(image), chance.uniform(150, 700), chance.uniform(150, 1600)
    for _ in range(chance.randint(1, 3)):
        way = stains.stroke(chance, x, y, chance.uniform(1.5, 4) * stains.MM, chance.randint(6, 14))
        for number, (one, other) in enumerate(pairwise(way)):
            draw.line((*one, *other), fill=(110, 75, 40), width=2 + round(2 * (1 + math.sin(number / 5))))
        x = way[-1][0] + 3 * stains.MM
    return stains.scanned(image.filter(ImageFilter.GaussianBlur(0.7)), chance)


def folio(chance: random.Random) -> Image.Image:
    """An archive's number in pencil, in an upper corner."""
    image = stains.paper(chance)
    level = image.getpixel((0, 0))[0]
    font = ImageFont.truetype(str(sheets.font()), chance.uniform(12, 18) * sheets.DPI / 72)
    at = (chance.choice([0.06, 0.9]) * image.width, chance.uniform(0.02, 0.06) * image.height)
    ImageDraw.Draw(image).text(at, str(chance.randint(2, 300)), fill=(level - chance.randint(80, 130),) * 3, font=font)
    return stains.scanned(image.filter(ImageFilter.GaussianBlur(0.6)), chance)


def ornament(chance: random.Random) -> Image.Image:
    """Three stars or a row of dots, alone in the middle: the end of a chapter."""
    image = stains.paper(chance)
    font = ImageFont.truetype(str(sheets.font()), chance.choice([11, 14, 18]) * sheets.DPI / 72)
    at, text = (
        (image.width / 2, chance.uniform(0.1, 0.6) * image.height),
        chance.choice(["* * *", "• • •", "§", "FINIS"]),
    )
    ImageDraw.Draw(image).text(at, text, fill=(chance.randint(0, 80),) * 3, font=font, anchor="mm")
    return stains.scanned(image.filter(ImageFilter.GaussianBlur(0.5)), chance)


def arrow(chance: random.Random) -> Image.Image:
    """An arrow in ink, as a hint to turn over."""
    image = stains.paper(chance)
    x, y, size = chance.uniform(100, 1000), chance.uniform(100, 1600), chance.uniform(10, 30) * stains.MM
    draw, ink, width = ImageDraw.Draw(image), _pen(chance), chance.choice([2, 3, 5])
    tip = (x + size, y + chance.uniform(-0.3, 0.3) * size)
    draw.line((x, y, *tip), fill=ink, width=width)
    draw.line((tip[0] - size / 5, tip[1] - size / 6, *tip, tip[0] - size / 5, tip[1] + size / 6), fill=ink, width=width)
    return stains.scanned(image.filter(ImageFilter.GaussianBlur(0.6)), chance)


MARKED: list[stains.Maker] = [pen_circle, brown_word, folio, ornament, arrow]
"""Something to see, which is never to be taken for a blank sheet."""
