"""One page, as models of each dialect would answer it: written by the published formats, not by ocrd's own code."""

import json
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from ocrd.model import PixelSize

SIZE = PixelSize(1240, 1754)
"""Of the image that the model saw."""


class Part(NamedTuple):
    """A part of the page."""

    kind: str
    box: tuple[int, int, int, int]
    """Thousandths of the page."""
    text: str = ""
    """Words; a formula in them between ⟨ and ⟩."""


def sentences(count: int, first: int = 0) -> str:
    """Write prose in which nothing repeats."""
    names = ("harbour", "evening", "lighthouse", "customs", "winter", "ferry", "captain", "market", "bridge", "garden")
    return " ".join(
        f"The {names[n % 10]} of {names[(n // 10 + 3) % 10]}{n} was opened in {1700 + 7 * n} by master{n}."
        for n in range(first, first + count)
    )


PAGE = [
    Part("header", (80, 20, 400, 40), "Annals of the port"),
    Part("title", (80, 56, 900, 110), "Growth of the harbour"),
    Part("text", (80, 130, 900, 300), f"{sentences(6)} Its length ⟨x_1⟩ is known."),
    Part("section", (80, 310, 900, 340), "The years after"),
    Part("item", (80, 350, 900, 370), "the older quay"),
    Part("item", (80, 372, 900, 392), "the younger quay"),
    Part("picture", (80, 400, 480, 600)),
    Part("caption", (80, 610, 480, 630), "Figure 1. The mole"),
    Part("table", (80, 640, 900, 720), "pears|7\nplums|12"),
    Part("formula", (80, 730, 900, 760), "E = mc^2"),
    Part("text", (80, 770, 900, 920), sentences(5, 50)),
    Part("footer", (400, 950, 600, 970), "Printed at the quay"),
]
LABELS = ["header", "title", "text", "sub_title", "list", "list", "image", "image_caption", "table", "equation", "text",
          "footer"]  # fmt: skip


def answer(dialect: str, page: Sequence[Part], size: PixelSize = SIZE) -> str:
    """Write a page in a dialect; `size` is that of the image that the model saw."""
    return _json(page, size) if dialect == "layout-json" else _WRITERS[dialect](page)


def _grounding(page: Sequence[Part]) -> str:
    signs = {"title": "# ", "section": "## ", "item": "- "}
    return "\n\n".join(
        f"<|ref|>{_DEEPSEEK[kind]}<|/ref|><|det|>[{list(box)}]<|/det|>\n{signs.get(kind, '')}{_tex(kind, text)}"
        for kind, box, text in page
    )


def _det(page: Sequence[Part]) -> str:
    names = _DEEPSEEK | {"section": "subtitle", "formula": "formula", "item": "text"}
    return "\n".join(
        f"<|det|>{names[kind]} {list(box)}<|/det|>{'- ' if kind == 'item' else ''}{_tex(kind, text)}"
        for kind, box, text in page
    )


def _markdown(page: Sequence[Part]) -> str:
    def part(kind: str, box: tuple[int, ...], text: str) -> str:
        if kind == "picture":
            return f'<img src="images/bbox_{"_".join(map(str, box))}.jpg" />'
        return _in_markdown(kind, text)

    return "\n\n".join(part(*one) for one in page)


def _places(page: Sequence[Part]) -> str:
    return "\n".join(
        f"![{_DEEPSEEK[kind]}]({','.join(map(str, box))}) {_in_markdown(kind, text)}" for kind, box, text in page
    )


def _html(page: Sequence[Part]) -> str:
    names = {"header": "Page-Header", "title": "Section-Header", "text": "Text", "section": "Section-Header",
             "item": "List-Group", "picture": "Image", "caption": "Caption", "table": "Table",
             "formula": "Equation-Block", "footer": "Page-Footer"}  # fmt: skip

    around = {"title": "<h1>{}</h1>", "section": "<h2>{}</h2>", "text": "<p>{}</p>", "item": "<ul><li>{}</li></ul>",
              "formula": '<math display="block">{}</math>',
              "picture": '<img alt="A photograph of a mole in the harbour, seen from above"/>'}  # fmt: skip

    def inside(kind: str, text: str) -> str:
        safe = escape(text, quote=False).replace("⟨", "<math>").replace("⟩", "</math>")
        return _table(text) if kind == "table" else around.get(kind, "{}").format(safe)

    return "\n".join(
        f'<div data-bbox="{" ".join(map(str, box))}" data-label="{names[kind]}">{inside(kind, text)}</div>'
        for kind, box, text in page
    )


def _json(page: Sequence[Part], size: PixelSize) -> str:
    names = {"header": "Page-header", "title": "Title", "text": "Text", "section": "Section-header",
             "item": "List-item", "picture": "Picture", "caption": "Caption", "table": "Table", "formula": "Formula",
             "footer": "Page-footer"}  # fmt: skip
    whole = (size.width, size.height) * 2
    found = []
    for kind, box, text in page:
        pixels = [round(side * sides / 1000) for side, sides in zip(box, whole, strict=True)]
        said = {} if kind == "picture" else {"text": _in_markdown(kind, text)}
        found.append({"bbox": pixels, "category": names[kind], **said})
    return json.dumps(found, ensure_ascii=False)


def _doctags(page: Sequence[Part]) -> str:
    names = {"header": "page_header", "title": "title", "text": "text", "section": "section_header_level_1",
             "item": "list_item", "picture": "picture", "caption": "caption", "table": "otsl", "formula": "formula",
             "footer": "page_footer"}  # fmt: skip

    def part(kind: str, box: tuple[int, ...], text: str) -> str:
        places = "".join(f"<loc_{round(side / 2)}>" for side in box)
        if kind == "table":
            text = "".join("".join(f"<fcel>{cell}" for cell in row.split("|")) + "<nl>" for row in text.split("\n"))
        text = text.replace("⟨", r"\(").replace("⟩", r"\)")
        tag = f"<{names[kind]}>{places}{'<natural_image>' if kind == 'picture' else ''}{text}</{names[kind]}>"
        return f"<unordered_list>{tag}</unordered_list>" if kind == "item" else tag

    return "<doctag>" + "\n".join(part(*one) for one in page) + "\n</doctag>"


def _tex(kind: str, text: str) -> str:
    """Write text, tables and formulas as DeepSeek-OCR does."""
    if kind == "table":
        return _table(text)
    return rf"\[ {text} \]" if kind == "formula" else text.replace("⟨", r"\(").replace("⟩", r"\)")


def _in_markdown(kind: str, text: str) -> str:
    signs = {"title": "# ", "section": "## ", "item": "- "}
    if kind == "table":
        return _table(text)
    return f"$${text}$$" if kind == "formula" else signs.get(kind, "") + text.replace("⟨", "$").replace("⟩", "$")


def _table(text: str) -> str:
    rows = ("".join(f"<td>{cell}</td>" for cell in row.split("|")) for row in text.split("\n"))
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


_DEEPSEEK = {"header": "header", "title": "title", "text": "text", "section": "sub_title", "item": "list",
             "picture": "image", "caption": "image_caption", "table": "table", "formula": "equation",
             "footer": "footer"}  # fmt: skip
_WRITERS = {"grounding": _grounding, "det": _det, "markdown": _markdown, "markdown-places": _places, "html": _html,
            "doctags": _doctags}  # fmt: skip
