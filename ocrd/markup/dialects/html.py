"""HTML, each block a `<div data-bbox="x0 y0 x1 y1" data-label="Text">`, boxes in thousandths: Chandra, Surya. Pure.

What they may write within is listed in chandra-ocr 0.2 on PyPI, `chandra/prompts.py`. It becomes the text that
`layout_blocks` has: paragraphs, lists and headings in Markdown, formulas between brackets, code between backticks;
tables stay. Signs of Markdown in it stand on the page.

Chandra 2 is asked to describe pictures, to read data off charts and to write diagrams as mermaid. It does that behind
the `img` of a picture's block; since it stands on no page, it is left out, but for a caption.
"""

import re
from collections.abc import Iterator
from html import unescape

from ocrd.markup import html_structure
from ocrd.markup.dialects import blocks
from ocrd.markup.layout_blocks import PICTURES, Block
from ocrd.model import PixelSize

SIGN = re.compile(r"<div\b[^<>]*\bdata-(?:bbox|label)\s*=", re.IGNORECASE)
_DIV = re.compile(r"<div\b(?P<about>[^<>]*)>", re.IGNORECASE)
_BOX = re.compile(r"\bdata-bbox\s*=\s*[\"']?(?P<sides>[\[\]\d\s,.]*)", re.IGNORECASE)
_LABEL = re.compile(r"\bdata-label\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([\w-]+))", re.IGNORECASE)
_CUT = re.compile(r"</?(?P<name>[A-Za-z]*[1-6]?)(?P<more>\s[^<>]*)?\Z")
_NAMES = (
    *("div", "p", "pre", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "hr", "img", "input", "math", "chem"),
    *("br", "sup", "sub", "span", "strong", "em", "table", "caption", "thead", "tbody", "tr", "td", "th"),
)
"""Tags that a cut one may be the beginning of."""

_MATH = re.compile(
    r"<math\b(?P<about>[^<>]*)>(?P<tex>[^<]*(?:<(?!/?(?:math|p|div|t[dhr]|table|li|h[1-6])\b)[^<]*)*+)(?:</math\s*>)?",
    re.IGNORECASE,
)
"""A formula; where it does not end, it goes as far as what it stands in."""
_CODE = re.compile(r"<pre\b[^<>]*>(?P<code>.*?)(?:</pre\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_STAR = re.compile(rf"(?:{_CODE.pattern})|(?:{_MATH.pattern})|<[^<>]*>|(?P<star>\*)", re.DOTALL | re.IGNORECASE)
"""An asterisk that is printed, or what keeps its own."""
_CHECKBOX = re.compile(r"<input\b(?P<about>[^<>]*)>", re.IGNORECASE)
_STRUCK = re.compile(r"<(/?)del\b[^<>]*>", re.IGNORECASE)
_PLAIN = re.compile(r"</?(?:math|chem|form|button|select|option|textarea|input|code)\b[^<>]*>", re.IGNORECASE)
_IMAGE = re.compile(r"<img\b[^<>]*>", re.IGNORECASE)
_CAPTION = re.compile(
    r"<p\b[^<>]*>(?:<[biu]>|<strong>|\s)*[^\W\d_]+\.?\s*\d.*?(?:</p\s*>|\Z)", re.DOTALL | re.IGNORECASE
)
"""A paragraph that begins with a word and a number, as `Fig. 2`."""
_BULLET = re.compile(r"(<li\b[^<>]*>\s*(?:<[a-z]+>)*)[\u2022\u00b7\u25aa\u2023\u25e6]\s*", re.IGNORECASE)
_LINE = re.compile(r"<hr\b[^<>]*>", re.IGNORECASE)
_BLANK = "blank-page"
"""The label of a page on which there is nothing: no place of anything."""
_HEADING = re.compile(r"<h[1-6]\b", re.IGNORECASE)
_TICKS = re.compile(r"`{3,}")


def form(text: str, size: PixelSize) -> str:
    """Write an answer in the form of `layout_blocks`, without a tag that is cut off."""
    del size
    return blocks.form(_blocks(_without_cut_tag(text)))


def _without_cut_tag(text: str) -> str:
    last = max(text.rfind("<"), 0)
    cut = _CUT.match(text, last)
    if not cut:
        return text
    name = cut["name"].lower()
    known = name in _NAMES if cut["more"] else any(one.startswith(name) for one in _NAMES)
    return text[:last] if known else text


def _blocks(text: str) -> Iterator[Block]:
    divs = [div for div in _DIV.finditer(text) if "data-" in div["about"].lower()]
    starts = [div.start() for div in divs] + [len(text)]
    yield from _parts("", "", text[: starts[0]])
    for div, end in zip(divs, starts[1:], strict=True):
        label, box = _LABEL.search(div["about"]), _BOX.search(div["about"])
        name = next(filter(None, label.groups()), "") if label else ""
        yield from _parts(name, box["sides"] if box else "", text[div.end() : end])


def _parts(name: str, sides: str, html: str) -> Iterator[Block]:
    """Make a block of a `div`, two if there is text before the first of its headings."""
    boxes, label = blocks.boxes(sides), blocks.label(name)
    if name.lower() == _BLANK:
        boxes = ()
    elif boxes and label in PICTURES:
        html = _printed(html)
    heading = _HEADING.search(html) if label == "text" else None
    if heading:
        yield Block("text", boxes, _as_markdown(html[: heading.start()]))
        yield Block("sub_title", boxes, _as_markdown(html[heading.start() :]))
    else:
        yield blocks.block(name, boxes, _as_markdown(html))


def _printed(html: str) -> str:
    """Leave out what a model says of a picture that is shown, since it stands on no page."""
    before, *behind = _IMAGE.split(html)
    return before + "".join(caption[0] for part in behind for caption in _CAPTION.finditer(part))


def _as_markdown(html: str) -> str:
    """Write what stands in a `div` as the text of a block."""
    html = _BULLET.sub(r"\1", _LINE.sub("", html))  # a bullet is the list's, a printed line no text
    html = _STAR.sub(lambda found: r"\*" if found["star"] else found[0], html)
    html = _CODE.sub(_fenced, html)
    html = _MATH.sub(_formula, html)
    html = _CHECKBOX.sub(_checkbox, html)
    html = _PLAIN.sub("", _STRUCK.sub(r"<\1s>", html))
    return html_structure.written(html).strip()


def _fenced(pre: "re.Match[str]") -> str:
    code = unescape(re.sub(r"</?code\b[^<>]*>", "", pre["code"])).strip("\n")
    ticks = "`" * max([3, *(len(run) + 1 for run in _TICKS.findall(code))])
    return f"\n\n{ticks}\n{code}\n{ticks}\n\n"


def _formula(math: "re.Match[str]") -> str:
    tex = math["tex"].strip()
    return rf"\[{tex}\]" if "block" in math["about"] else rf"\({tex}\)"


def _checkbox(field: "re.Match[str]") -> str:
    """Show a box that is ticked or not; of another field, its value."""
    about = field["about"].lower()
    if "checkbox" in about or "radio" in about:
        return "\u2611" if "checked" in about.replace("checkbox", "") else "\u2610"
    value = re.search(r"\bvalue\s*=\s*\"([^\"]*)\"", field["about"], re.IGNORECASE)
    return value[1] if value else ""
