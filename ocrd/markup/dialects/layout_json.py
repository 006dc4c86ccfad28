r"""dots.ocr's layout: a list of `{"bbox": [x1, y1, x2, y2], "category": "Text", "text": "…"}` in JSON. Pure.

Boxes are in pixels of the image that the model saw; texts are Markdown, tables HTML, formulas LaTeX
(rednote-hilab/dots.ocr, `dots_ocr/utils/prompts.py`). What a model writes is not always JSON: it stops in the middle of
a string, leaves a quotation mark or a backslash as it is, or says something before it. So the fields are looked for
one by one. Strings that are JSON's are read as JSON has them, and what stands between the fields is text.
"""

import re
from collections.abc import Iterator

from ocrd.markup.dialects import blocks
from ocrd.markup.layout_blocks import Block
from ocrd.model import PixelSize

SIGN = re.compile(r'\[\s*(?:\]\s*\Z|\{\s*"(?:bbox|category|text)?)|\{\s*"(?:bbox|category|text)"\s*:')
_KEYS = ("bbox", "category", "text")
_FIELD = re.compile(
    r"""
    "(?P<key>bbox|category|text)"\s*:\s*(?:
        (?P<list>\[[\d\s,.eE+-]*\]?)
        | "(?P<string>(?:[^"\\]++|\\.|"(?!\s*(?:,\s*"\w{1,20}"\s*:|\}\s*(?:[,\]]|\Z)|\Z)))*+)(?:"|\\?\Z)
        | (?P<plain>[^\s,}\]\[{"][^,}\]\n]*)?
    )
    """,
    re.VERBOSE | re.DOTALL,
)
"""A field; a string ends with a quotation mark behind which another field or the end of the object comes."""
_ESCAPE = re.compile(
    r'\\(?:u(?P<code>[\da-fA-F]{4})|(?P<cut>u[\da-fA-F]{0,3}\Z)|(?P<sign>["\\/n]|r(?![a-z])|t(?!ext|imes|heta|au\b|an\b|ilde)))'
)
r"""An escape of JSON's, but for those that no text has, and `\text` and the like with too few backslashes have."""
_ESCAPED = {"n": "\n", "t": "\t", "r": "\n"}
_BETWEEN = re.compile(r"[\s\[\]{},]+")
_FENCE = re.compile(r"^`{3}\w*[ \t]*$", re.MULTILINE)
_CUT_KEY = re.compile(r'"(\w*)"?\s*:?\s*\Z')


def form(text: str, size: PixelSize) -> str:
    """Write an answer in the form of `layout_blocks`."""
    return blocks.form(_blocks(text, size))


def _blocks(text: str, size: PixelSize) -> Iterator[Block]:
    fields: dict[str, str] = {}
    start = 0
    for field in _FIELD.finditer(text):
        gap, start = text[start : field.start()], field.end()
        if field["key"] in fields or "{" in gap or "}" in gap:
            yield _block(fields, size)
            fields = {}
        yield _between(gap)
        fields[field["key"]] = _value(field)
    yield _block(fields, size)
    yield _between(text[start:], last=True)


def _value(field: "re.Match[str]") -> str:
    if field["string"] is not None:
        return _unescaped(field["string"])
    plain = (field["plain"] or "").strip()
    return field["list"] or ("" if plain == "null" else plain)


def _unescaped(string: str) -> str:
    r"""Read JSON's escapes; a backslash before anything else, such as that of `\alpha`, stands for itself."""
    return _ESCAPE.sub(_character, string).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(escape: "re.Match[str]") -> str:
    if escape["sign"]:
        return _ESCAPED.get(escape["sign"], escape["sign"])
    return chr(int(escape["code"], 16)) if escape["code"] else ""


def _block(fields: dict[str, str], size: PixelSize) -> Block:
    box = blocks.boxes(fields.get("bbox", ""), size.width, size.height)
    return blocks.block(fields.get("category", ""), box, fields.get("text", ""), own_markdown=True)


def _between(gap: str, *, last: bool = False) -> Block:
    """Give what is said outside of all fields, without JSON's signs and a key that is cut off."""
    cut = _CUT_KEY.search(gap) if last else None
    if cut and any(key.startswith(cut[1]) for key in _KEYS):
        gap = gap[: cut.start()]
    return Block("text", (), _BETWEEN.sub(" ", _FENCE.sub("", gap)).strip(), own_markdown=True)
