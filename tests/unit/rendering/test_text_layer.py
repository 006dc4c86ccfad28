"""A PDF's own text is believed only where nothing speaks against it."""

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pymupdf
import pytest
from house import House

from ocrd.concurrency.worker_pool import Limits, Workers
from ocrd.engines.vllm.deepseek import page_size
from ocrd.markup import layout_blocks
from ocrd.model import Placement, TextLayer, View
from ocrd.rendering import page_layout, tasks, text_layer
from ocrd.rendering.renderer import Renderer

SAMPLES = Path(__file__).parents[3] / "ocrd/samples"
ENGLISH, RUSSIAN = (
    (SAMPLES / f"{name}.txt").read_text(encoding="utf-8").partition("\f")[0] for name in ("english", "russian")
)
GERMAN = "Über Nacht sollte es kälter werden; die Heizung im Speisesaal wurde trotzdem nicht geöffnet. " * 3
FRENCH = "L'été, il laissait parfois un panier de cerises devant la porte; où il était né, personne ne le sait. " * 3
SWEDISH = "För många år sedan låg här en hamn, och båtarna före bron väntade på dem som för över älven. " * 3
SPANISH = "Él dijo que el café de la estación abría según la época; después, al otoño, cerraba el balcón también. " * 3
CZECH = "Na střeše stál čáp a čekal, až přestane pršet; z komína stoupal dým a vlhl v kabátech kolemjdoucích. " * 3
LIGATURES = (
    "The \ufb01rst o\ufb03ce is di\ufb00erent from the \ufb02oor above, and the \ufb01nal pro\ufb01t is speci\ufb01c. "
    * 3
)
JAPANESE = "港の税関が閉まったとき、書類をどうするのか誰も尋ねなかった。棚は四十一段あり、潮の表が並んでいた。" * 3
NUMBERS = "4711 0815 1931 12,50 € 99,00 € 17.03.2024 " * 10

Look = Callable[[Path], TextLayer | None]


@pytest.mark.parametrize(
    "text", [ENGLISH, RUSSIAN, GERMAN, FRENCH, SWEDISH, SPANISH, CZECH, LIGATURES, JAPANESE, NUMBERS, "Page 7"]
)
def test_honest_text_of_any_language_is_sound(text: str) -> None:
    assert text_layer.judge(text, 0.0) == TextLayer(sum(map(str.isalnum, text)), "")


def rotated(text: str, by: int) -> str:
    """Replace each letter by one that comes later in the alphabet."""
    return "".join(chr((ord(char) - 97 + by) % 26 + 97) if "a" <= char <= "z" else char for char in text.lower())


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        (RUSSIAN.encode().decode("latin-1"), "does not tell"),
        (GERMAN.encode().decode("cp1252"), "encoded twice"),
        (RUSSIAN.encode("cp1251", "ignore").decode("latin-1"), "another encoding"),
        ("\ufffd" * 300, "does not tell"),
        (ENGLISH + "\ue001\ue002\ue003" * 30, "does not tell"),
        ("".join(chr(ord(char) - 29) if char > " " else char for char in ENGLISH if char.isascii()), "does not tell"),
        ("".join(chr(ord(char) - 29) for char in ENGLISH if "A" <= char <= "z"), "no words"),
        (f"{ENGLISH} The first o\u00fbice of the \u00fcnal proof.".replace("first", "\u00fcrst"), "stand for others"),
        (f"{ENGLISH} The o\x0ece is di\x0berent.", "stand for others"),
        (f"{ENGLISH} The o ce is di erent.", "stand for others"),
        (f"{ENGLISH} The ofce is difcult.", "stand for others"),
        (f"{ENGLISH} The o$ce is di!erent.", "stand for others"),
        (rotated(ENGLISH, 4), "no words"),
        ((GERMAN + "Wir können müssen große.").encode("mac_roman").decode("cp1252", "replace"), "stand for others"),
    ],
    ids=[
        "utf-8 as latin-1",
        "utf-8 as cp1252",
        "cp1251 as latin-1",
        "unknown",
        "private",
        "glyph numbers",
        "shifted",
        "ligatures",
        "ligatures without a print",
        "ligatures that are spaces",
        "ligatures that are one letter",
        "ligatures that are signs",
        "four letters on",
        "mac as cp1252",
    ],
)
def test_mojibake_is_not(text: str, flaw: str) -> None:
    assert flaw in text_layer.judge(text, 0.0).flaw


@pytest.fixture(scope="module")
def look() -> Iterator[Look]:
    """Give what the render workers hold of the text layer of a PDF's first page."""
    with asyncio.Runner() as runner:
        renderer = Renderer(1, Limits(60, 2**31))
        yield lambda path: runner.run(renderer.page(path, 0, page_size, None, View(layer=True))).facts.layer
        runner.run(renderer.close())


def scan_of(page: pymupdf.Page) -> pymupdf.Pixmap:
    return page.get_pixmap(dpi=100, colorspace=pymupdf.csGRAY)


def pdf(path: Path, *, drawn: bool = True, written: str = "", mode: int = 0) -> Path:
    """Write a page: its letters drawn as a scan's pixels, and text over it, which mode 3 makes invisible."""
    with pymupdf.open() as printed, pymupdf.open() as document:
        print_on(printed, ENGLISH)
        page = document.new_page()
        if drawn:
            page.insert_image(page.rect, pixmap=scan_of(printed[0]))
        if written:
            page.insert_textbox((60, 60, 540, 780), written, fontsize=11, fontname="tiro", render_mode=mode)
        document.save(path)
    return path


def print_on(document: pymupdf.Document, text: str) -> None:
    document.new_page().insert_textbox((60, 60, 540, 780), text, fontsize=11, fontname="tiro")


def test_a_page_written_by_a_program_has_a_sound_layer(look: Look, tmp_path: Path) -> None:
    layer = look(pdf(tmp_path / "a.pdf", drawn=False, written=ENGLISH))
    assert layer is not None
    assert layer.flaw == ""
    assert layer.letters > 500


def test_a_scan_has_none(look: Look, tmp_path: Path) -> None:
    assert look(pdf(tmp_path / "a.pdf")) is None


def test_the_hidden_layer_of_an_earlier_ocr_is_not_believed(look: Look, tmp_path: Path) -> None:
    layer = look(pdf(tmp_path / "a.pdf", written=ENGLISH, mode=3))
    assert layer is not None
    assert "hidden" in layer.flaw


def in_a_font(raw_pdf: Callable[..., Path], path: Path, text: bytes, font: bytes, letter: bytes) -> Path:
    """Write a page of this text, in a font whose letters are all the same drawing."""
    return raw_pdf(
        path,
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(text), text),
        font,
        b"<</Length %d>>stream\n%b\nendstream" % (len(letter), letter),
    )


@pytest.mark.parametrize("name", ["", "/Name/Plotter"])
@pytest.mark.parametrize(
    ("letter", "mode", "seen"),
    [
        (b"500 0 d0 50 0 m 200 600 l S 50 300 m 200 300 l S", 0, True),
        (b"500 0 d0 50 0 m 200 600 l S 50 300 m 200 300 l S", 3, False),
        (b"500 0 d0", 3, False),
        (b"500 0 0 0 0 0 d1", 3, False),
    ],
    ids=["drawn", "not drawn", "empty", "empty and of one colour"],
)
def test_text_in_a_font_of_drawings_is_hidden_only_if_it_draws_nothing(  # noqa: PLR0913, PLR0917 - all of a font
    look: Look, raw_pdf: Callable[..., Path], tmp_path: Path, name: str, letter: bytes, mode: int, *, seen: bool
) -> None:
    alphabet = "".join(sorted({letter for letter in ENGLISH if letter.isascii() and letter.isalpha()}))
    words = re.sub("[^A-Za-z ]", " ", ENGLISH).encode().split()
    row = b"BT %d Tr /F 10 Tf 50 %d Td (%b) Tj ET " + 20 * b"50 50 500 1 re f "  # with rules between, as on a form
    text = b"".join(row % (mode, 800 - 10 * number, word) for number, word in enumerate(words))
    shapes = "".join(f"/{one} 6 0 R" for one in alphabet)
    codes = "".join(f" {ord(one)}/{one}" for one in alphabet)
    font = (
        f"<</Type/Font/Subtype/Type3{name}/FontBBox[0 0 500 700]/FontMatrix[.001 0 0 .001 0 0]/FirstChar 65/LastChar"
        f" 122/Widths[{'500 ' * 58}]/CharProcs<<{shapes}>>/Encoding<</Differences[{codes}]>>>>"
    )
    layer = look(in_a_font(raw_pdf, tmp_path / "a.pdf", text, font.encode(), letter))
    assert layer
    assert ("hidden" in layer.flaw) is not seen


def test_a_font_without_unicode_values_is_not_believed(
    look: Look, raw_pdf: Callable[..., Path], tmp_path: Path
) -> None:
    shapes = b"".join(b"/g%d 6 0 R" % number for number in range(1, 7))
    names = b" ".join(b"/g%d" % number for number in range(1, 7))
    font = (
        b"<</Type/Font/Subtype/Type3/FontBBox[0 0 800 800]/FontMatrix[.001 0 0 .001 0 0]/FirstChar 1/LastChar 6"
        b"/Widths[900 900 900 900 900 900]/CharProcs<<" + shapes + b">>/Encoding<</Differences[1 " + names + b"]>>>>"
    )
    lines = b"".join(b"<010203040506010203040506> Tj 0 -20 Td " for _ in range(20))
    text = b"BT /F 12 Tf 50 700 Td " + lines + b"ET"
    glyph = b"900 0 0 0 800 800 d1 0 0 600 700 re f"
    layer = look(in_a_font(raw_pdf, tmp_path / "a.pdf", text, font, glyph))
    assert layer is None or layer.flaw


def born_digital_and_scanned(path: Path) -> None:
    """Write two pages: one by a program, and one that is the picture of a few words."""
    with pymupdf.open() as document, pymupdf.open() as other:
        print_on(document, ENGLISH)
        print_on(other, "A few words")
        page = document.new_page()
        page.insert_image(page.rect, pixmap=scan_of(other[0]))
        path.write_bytes(document.tobytes())


@pytest.mark.parametrize(("setting", "read"), [("prefer", [1]), ("ignore", [0, 1])])
def test_where_it_is_preferred_the_engine_is_not_asked_for_a_page_with_text_of_its_own(
    tmp_path: Path, setting: str, read: list[int]
) -> None:
    house = House(tmp_path)
    house.configure(watch={"pages": {"text_layer": setting, "second_readings": []}})
    born_digital_and_scanned(house.path("inbox/report.pdf"))
    assert house.start("once").wait(120) == 0
    assert sorted(house.reads()) == read
    sidecar = house.path("outbox/report.md").read_text()
    assert ("page 1" in sidecar.partition("<!-- page 2 -->")[0].replace("<!-- page 1 -->", "")) is (setting == "ignore")
    assert (" ".join(ENGLISH.split()[10:14]) in " ".join(sidecar.split())) is (setting == "prefer")
    assert "page 2" in sidecar.partition("<!-- page 2 -->")[2]
    house.close()


@pytest.mark.parametrize("turn", [0, 90, 270])
def test_a_layer_is_taken_in_its_lines_with_its_hyphens_and_the_place_of_each_block(tmp_path: Path, turn: int) -> None:
    lines = ["The records of this mill name 2024-", "1177, which is the number of the or-",
             "der, and the years 12-", "13 after it."]  # fmt: skip
    with pymupdf.open() as document:
        page = document.new_page(width=595, height=842)
        for number, line in enumerate(lines):
            page.insert_text((72, 100 + 16 * number), line, fontsize=12, fontname="tiro")

        page.set_rotation(turn)  # and turned back where it is read, as a scan on its side
        document.save(tmp_path / "a.pdf")
    reading = tasks.layer_text(tmp_path / "a.pdf", 0, Placement(turn=-turn % 360))
    first, *_ = layout_blocks.parse(reading)
    assert first.text.split("\n") == lines
    assert first.boxes[0] == pytest.approx((72 / 595, 90 / 842, 255 / 595, 150 / 842), abs=0.02)


def test_where_the_layout_model_was_loaded_for_others_the_layer_is_the_same(tmp_path: Path) -> None:
    path = pdf(tmp_path / "a.pdf", drawn=False, written=ENGLISH)

    async def life() -> None:
        others, renderer = Workers(1, Limits(60, 2**31), load=page_layout.load), Renderer(1, Limits(60, 2**31))
        server = await others.run(os.getppid)
        assert await renderer.layer(path, 0, Placement(595, 842)) == tasks.layer_text(path, 0, Placement(595, 842))
        assert await others.run(os.getppid) == server
        await renderer.close()
        await others.close()

    asyncio.run(life())
