"""What dialects have in common: labels by other names, boxes in other units, formulas between dollars. Pure."""

import re
from collections.abc import Iterable

from ocrd.markup import formulas, layout_blocks
from ocrd.markup.formulas import Formula
from ocrd.markup.layout_blocks import ALIASES, LABELS, PICTURES, Block
from ocrd.model import Box

CAPTION = "caption"
"""Of what shows only beside it: `form` finds out."""
_NAMES = {
    "bibliography": "ref_text",
    "code_block": "code",
    "diagram": "figure",
    "equation_block": "equation",
    "formula": "equation",
    "list_group": "list",
    "list_item": "list",
    "page_footer": "footer",
    "page_header": "header",
    "photo": "image",
    "picture": "image",
    "section": "sub_title",
    "section_header": "sub_title",
    "section_title": "sub_title",
    "subtitle": "sub_title",
}
"""What the models of all dialects call the blocks of `layout_blocks`."""
_WHOLE = 1000.0
_NUMBER = re.compile(r"-?\d{1,6}(?:\.\d{1,9})?")
_CODE = re.compile(r"(^`{3}.*?(?:^`{3}|\Z)|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
_TABLE = re.compile(r"<table\b.*?(?:</table>|\Z)", re.DOTALL | re.IGNORECASE)
_BULLET = re.compile(r"^[ \t]*[\u2022\u00b7\u25aa\u2023\u25e6][ \t]*", re.MULTILINE)
_BOUNDED = re.compile(r"\\[(\[]|<")
_HEADINGS = {"title", "sub_title"}


def label(name: str) -> str:
    """Find the label that a block of this name gets: one of LABELS, CAPTION, or `text` for a name that says no more."""
    name = re.sub(r"[\s-]+", "_", name.strip().lower())
    name = _NAMES.get(name, ALIASES.get(name, name))
    return name if name in LABELS or name == CAPTION else "text"


def block(name: str, boxes: tuple[Box, ...], text: str, *, own_markdown: bool = False) -> Block:
    """Make a block of what a model says of it."""
    kind = label(name)
    if kind == "equation":
        text = _formula(text)
    elif kind == "list":
        text = _BULLET.sub("- ", text)
    elif kind == "sub_title" and text.startswith("# "):
        kind = "title"
    return Block(kind, boxes, text, own_markdown)


def _formula(text: str) -> str:
    """Write a formula that stands by itself between brackets, if it has nothing around it."""
    text = in_brackets(text).strip()
    return rf"\[{text}\]" if text and not _BOUNDED.search(text) else text


def boxes(sides: str, width: float = _WHOLE, height: float = _WHOLE) -> tuple[Box, ...]:
    """Make a box of its four sides in a text, where the page is so wide and high; none if it has no extent there."""
    found = [float(side) for side in _NUMBER.findall(sides)]
    if len(found) != len(Box._fields) or not width or not height:
        return ()
    shares = zip(found, (width, height, width, height), strict=True)
    box = Box(*(max(0.0, min(1.0, side / whole)) for side, whole in shares))
    return (box,) if box.left < box.right and box.top < box.bottom else ()


def form(blocks: Iterable[Block]) -> str:
    """Write blocks, whose labels are `label`'s, in the form of `layout_blocks`."""
    blocks = [_with_formulas(block) for block in blocks if block.boxes or block.text.strip()]
    return layout_blocks.written(_with_captions(blocks))


def _with_captions(blocks: list[Block]) -> list[Block]:
    """Say of what each caption is one: of the picture or table before it, else behind it."""
    nothing = Block("text", (), "")
    neighbours = zip([nothing, *blocks], blocks, [*blocks[1:], nothing], strict=False)
    return [
        one._replace(label=_caption_of(before, after)) if one.label == CAPTION else one
        for before, one, after in neighbours
    ]


def _caption_of(*neighbours: Block) -> str:
    shown = next((one.label for one in neighbours if one.label in PICTURES or one.label == "table"), "image")
    return "table_caption" if shown == "table" else "image_caption"


def _with_formulas(block: Block) -> Block:
    """Write formulas between dollars as between brackets where dollars are not taken for that: headings and tables."""
    if not block.own_markdown or "$" not in block.text:
        return block
    if block.label in _HEADINGS:
        return block._replace(text=in_brackets(block.text))
    return block._replace(text=_TABLE.sub(lambda table: in_brackets(table[0]), block.text))


def in_brackets(text: str) -> str:
    r"""Write formulas between dollars as `\(…\)` and `\[…\]`; code stays."""
    parts = _CODE.split(text)
    parts[::2] = [formulas.replace(part, _bracketed, dollars=True) for part in parts[::2]]
    return "".join(parts)


def _bracketed(formula: Formula) -> str:
    return rf"\[{formula.tex}\]" if formula.display else rf"\({formula.tex}\)"
