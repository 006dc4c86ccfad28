"""LightOnOCR's grounding: `![label](x1,y1,x2,y2) text`, text in Markdown, boxes in thousandths. Pure.

A label with `+` behind it goes on from the block before: the same text in another place.
"""

import re
from collections.abc import Iterator

from ocrd.markup.dialects import blocks
from ocrd.markup.layout_blocks import Block
from ocrd.model import PixelSize

_SIDE = r"\s{0,2}\d{1,4}(?:\.\d{1,6})?\s{0,2}"
SIGN = re.compile(
    rf"^!\[(?P<name>[A-Za-z][\w -]{{0,30}})(?P<on>\+?)\]\((?P<box>{_SIDE}(?:,{_SIDE}){{3}})\)[ \t]*", re.MULTILINE
)
_CUT = re.compile(r"^!(?:\[[\w +-]{0,31}(?:\](?:\([\d\s,.]{0,40})?)?)?\Z", re.MULTILINE)


def form(text: str, size: PixelSize) -> str:
    """Write an answer in the form of `layout_blocks`, without a tag that is cut off."""
    del size
    return blocks.form(_blocks(_CUT.sub("", text)))


def _blocks(text: str) -> Iterator[Block]:
    tags = list(SIGN.finditer(text))
    starts = [tag.start() for tag in tags] + [len(text)]
    block = Block("text", (), text[: starts[0]], own_markdown=True)
    for tag, end in zip(tags, starts[1:], strict=True):
        said, box = text[tag.end() : end].strip("\n"), blocks.boxes(tag["box"])
        if tag["on"]:
            block = block._replace(
                boxes=block.boxes + box, text="\n".join(filter(None, [block.text.rstrip("\n"), said]))
            )
            continue
        yield block
        block = blocks.block(tag["name"], box, said, own_markdown=True)
    yield block
