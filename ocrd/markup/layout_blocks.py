"""What a model says of a page, block by block: what each is, where it stands, and its text. Pure.

DeepSeek-OCR writes `<|ref|>LABEL<|/ref|><|det|>[[x1, y1, x2, y2], …]<|/det|>` before each block, in thousandths of the
page image: 0 to 999 (upstream's `run_dpsk_ocr_image.py`). For the prompt `OCR this image.` it puts the text itself
where the label stands. Tags come without a box, without their ends, and cut off where the model stopped; what can be
told of them is, no tag and no special token is left in a block, and no text is lost. Nothing is evaluated. Text without
tags, as other engines write it, is one block.

What other models say comes in the same form (`dialects`), made by `written`; where their blocks are Markdown, MARKDOWN
stands at its head.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from ocrd.markup import special_tokens
from ocrd.model import Box

_TEXTS = {"title", "sub_title", "text", "list", "ref_text", "aside_text", "abstract", "code", "algorithm", "footnote"}
_SHOWN = {"image", "figure", "chart", "table", "equation", "formula"}
_OF_THEM = {f"{shown}_{what}" for shown in _SHOWN for what in ("caption", "footnote")}
LABELS = frozenset(_TEXTS | _SHOWN | _OF_THEM | {"header", "footer", "page_number", "page_footnote"})
"""The names that the model gives to blocks."""
PICTURES = frozenset({"image", "figure", "chart"})
"""Blocks that are shown by cropping them from the page."""
MARKDOWN = "<|markdown|>"
"""At the head of a page: its blocks are Markdown."""
ALIASES = {
    "doc_title": "title",
    "paragraph_title": "sub_title",
    "figure_title": "image_caption",
    "chart_title": "chart_caption",
    "table_title": "table_caption",
    "number": "page_number",
    "reference": "ref_text",
    "display_formula": "equation",
}
"""What other models, and other versions of this one, call the same."""
_FULL = 999

_UP = r"[^<]*(?:<(?!\|)[^<]*)*"
"""All up to the next token."""
_TAG = re.compile(
    rf"<\|(?:ref\|>(?P<name>{_UP})(?P<whole><\|/ref\|>)?(?:\s*<\|det\|>(?P<places>{_UP})(?:<\|/det\|>)?)?"
    rf"|det\|>(?P<nameless>{_UP})(?:<\|/det\|>)?)[ \t]*"
)
_PLACES = re.compile(r"\s*\[[\[\]\d\s,.-]*?\]\s*\]|\s*\[[\[\]\d ,.-]*|")
"""Boxes, or as much of them as there is."""
_BOX = re.compile(r"\[\s*" + r"\s*,\s*".join([r"(\d+)(?:\.\d+)?"] * 4) + r"\s*\]")
_WRAPPING = re.compile(r"^```(?:markdown|md)[ \t]*\n", re.MULTILINE | re.IGNORECASE)
_ABOUT = re.compile(
    r"\A\s*---\nprimary_language:[^\n]*(?:\n[a-z_]+:[^\n]*){0,8}(?:\n---[ \t]*(?:\n|\Z)|\n[a-z_-]*\Z|\Z)"
)
"""What olmOCR's models say of a page before its text, or as much of it as there is."""
_FENCE = re.compile(r"^```[^`\n]*\n?", re.MULTILINE)
_WORD = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")


class Block(NamedTuple):
    """A part of a page."""

    label: str
    """One of LABELS; `text` where the engine names none."""
    boxes: tuple[Box, ...]
    """Where it stands; none where the engine doesn't say."""
    text: str
    """Text, HTML and formulas as the engine wrote them."""
    own_markdown: bool = False
    """Whether it means Markdown by headings and the like, as engines do that name no blocks, and some others."""


class _Tagged(NamedTuple):
    name: str
    """What stands where the label does."""
    places: str
    text: str
    """All up to the next tag."""


def parse(text: str) -> list[Block]:
    """Take the text of a page apart. All of it but tags and special tokens is in the blocks, in order.

    A table that stands behind the tag of its caption comes to its own.
    """
    tagged = list(_tagged(special_tokens.with_plain_bars(text)))
    words = {one.name for one in tagged if one.text.strip() and _WORD.fullmatch(one.name)}
    known = words | LABELS | ALIASES.keys()
    own_markdown = len(tagged) == 1 or in_markdown(text)
    blocks = [_block(one, known, own_markdown=own_markdown) for one in tagged]
    blocks = [block for block in blocks if block.boxes or block.text.strip()]
    return _with_tables_in_place(blocks) if "<table" in text else blocks


def written(blocks: Sequence[Block]) -> str:
    """Write the blocks of a page as a text that `parse` takes apart into the same; what looks like a tag stays text."""
    parts = [MARKDOWN] if any(block.own_markdown for block in blocks) else []
    for block in blocks:
        places = ", ".join(f"[{', '.join(str(round(side * _FULL)) for side in box)}]" for box in block.boxes)
        det = f"<|det|>[{places}]<|/det|>" if places else ""
        parts.append(f"<|ref|>{block.label}<|/ref|>{det}\n{special_tokens.escaped(block.text)}\n")
    return "\n".join(parts)


def in_markdown(text: str) -> bool:
    """Whether a page has MARKDOWN at its head."""
    return text.lstrip().startswith(MARKDOWN)


def pictures(text: str) -> list[Box]:
    """List the boxes of the pictures on a page, in order."""
    if not any(label in text for label in PICTURES):  # as on most pages, which need not be taken apart for it
        return []
    return [box for block in parse(text) if block.label in PICTURES for box in block.boxes]


def _tagged(text: str) -> Iterator[_Tagged]:
    """Find all tags, after what stands before the first of them."""
    tags = list(_TAG.finditer(text))
    starts = [tag.start() for tag in tags] + [len(text)]
    yield _Tagged("text", "", text[: starts[0]])
    for tag, end in zip(tags, starts[1:], strict=True):
        name, rest = (tag["name"] or "").strip(), ""
        if not tag["whole"]:
            name, rest = _unended(name, last=tag.end() == len(text))
        places = tag["places"] or tag["nameless"] or ""
        boxes = _PLACES.match(places)
        behind = places[boxes.end() :] if boxes else places
        yield _Tagged(name, boxes[0] if boxes else "", f"{rest}{behind}{text[tag.end() : end]}")


def _unended(name: str, *, last: bool) -> tuple[str, str]:
    """Tell the label of a tag that does not end from the text behind it."""
    first, *rest = name.split(maxsplit=1)[:2] or [""]
    if first in LABELS or (last and not rest and any(label.startswith(first) for label in LABELS)):
        return first if first in LABELS else "text", "".join(rest)
    return "text", name


def _block(tagged: _Tagged, known: "frozenset[str] | set[str]", *, own_markdown: bool) -> Block:
    """Take the name for a label if it is `known` to be one, or else for text."""
    label = ALIASES.get(tagged.name, tagged.name)
    text = tagged.text if tagged.name in known else f"{tagged.name}{tagged.text}"
    text = special_tokens.unescaped(special_tokens.without_tokens(text)).strip("\n")
    if own_markdown:
        text = _unwrapped(text)
    return Block(label if label in LABELS else "text", _boxes(tagged.places), text, own_markdown)


def _unwrapped(text: str) -> str:
    """Take off the fence around a page that is given as code in Markdown; code within it keeps its own."""
    text = _ABOUT.sub("", text)
    wrapping = _WRAPPING.search(text)
    if not wrapping:
        return text
    before, page = text[: wrapping.start()], text[wrapping.end() :]
    fences = list(_FENCE.finditer(page))
    if len(fences) % 2:
        page = page[: fences[-1].start()] + page[fences[-1].end() :]
    return (before + page).strip("\n")


def _boxes(places: str) -> tuple[Box, ...]:
    found = [Box._make(map(_share, sides)) for sides in _BOX.findall(places)]
    return tuple([box for box in found if box.left < box.right and box.top < box.bottom])


@lru_cache(2 * _FULL)
def _share(side: str) -> float:
    """Give a number of thousandths as a share of the page."""
    return min(int(side), _FULL) / _FULL


def _with_tables_in_place(blocks: list[Block]) -> list[Block]:
    """Move each table from behind its caption to the nearest of the tables' tags without text right before."""
    found: list[Block] = []
    empty: list[Block] = []
    for block in blocks:
        start = block.text.find("<table") if block.label in _OF_THEM else -1
        if start >= 0:
            caption = block._replace(text=block.text[:start].rstrip())
            table = min(empty, key=lambda one: _distance(one, caption), default=Block("table", (), ""))
            found = [one for one in found if one is not table]
            pair = [caption, table._replace(text=block.text[start:])]
            found += pair[::-1] if _below(caption, table) else pair
        else:
            found.append(block)
        if block.label == "table" and not block.text:
            empty.append(block)
        elif block.label not in _OF_THEM:
            empty = []
    return found


def _distance(one: Block, other: Block) -> float:
    """Tell how far apart two blocks stand, in shares of the page's height."""
    if not one.boxes or not other.boxes:
        return 1.0
    return max(one.boxes[0].top, other.boxes[0].top) - min(one.boxes[0].bottom, other.boxes[0].bottom)


def _below(caption: Block, table: Block) -> bool:
    return bool(caption.boxes and table.boxes) and caption.boxes[0].top >= table.boxes[0].bottom - 0.01
