"""The forms in which models answer, and the one that all of ocrd works on.

Inside ocrd there is one form: that of `layout_blocks`, DeepSeek-OCR's tags. Right where an engine has an answer, it
calls `normalise` with the name of the dialect that its model's profile expects (of its prompt, if prompts differ) and
the pixels of the image that the model saw. What comes back is the text of the `Reading`: verdicts, Markdown, JSON, PDF
places, figures, halves that are joined and records on disk know no dialect. No visible character is lost on the way,
and what looks like a tag of ocrd's in a page's text stays text. An answer that is in another dialect is read as
Markdown, and the reading's `missed_dialect` says so: such a page is `suspect`.

A dialect is a module here with a function from an answer and the image's size to that form, most of them by blocks
(`blocks` has what they share: names of labels, boxes), and the pattern by which its answers are known. To add one, add
both to DIALECTS. Pure.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from ocrd.markup import layout_blocks
from ocrd.markup.dialects import det, doctags, grounding, html, layout_json, markdown, markdown_places
from ocrd.markup.layout_blocks import Block
from ocrd.model import PixelSize


@dataclass(frozen=True, slots=True)
class Dialect:
    """A form in which models answer."""

    form: Callable[[str, PixelSize], str]
    """From an answer and the size of the image that the model saw to the form of `layout_blocks`."""
    sign: re.Pattern[str] | None = None
    """What its answers have, and no other's begin with; None where there is no such sign."""
    unmarked: bool = False
    """Whether an answer without its sign may be in it, too."""
    special_tokens: bool = False
    """Whether its tags are special tokens of the model, which an engine must not leave out of the text."""

    def blocks(self, text: str, size: PixelSize) -> list[Block]:
        """Take an answer apart."""
        return layout_blocks.parse(self.form(text, size))


class Normalised(NamedTuple):
    """An answer in the form of `layout_blocks`."""

    text: str
    missed_dialect: str
    """The dialect that was expected, where the answer is in another and was read as Markdown; else empty."""


DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "grounding": Dialect(grounding.form, grounding.SIGN, unmarked=True, special_tokens=True),
        "det": Dialect(det.form, det.SIGN, special_tokens=True),
        "markdown": Dialect(markdown.form, unmarked=True),
        "markdown-places": Dialect(markdown_places.form, markdown_places.SIGN),
        "html": Dialect(html.form, html.SIGN),
        "layout-json": Dialect(layout_json.form, layout_json.SIGN),
        "doctags": Dialect(doctags.form, doctags.SIGN, special_tokens=True),
    }
)
"""By the names that profiles have for them."""


def normalise(text: str, dialect: str, size: PixelSize) -> Normalised:
    """Bring an answer that is expected in a dialect of this name into the form of `layout_blocks`.

    `size` is that of the image that the model saw, in pixels. Raises KeyError for a dialect that there is none of.
    """
    expected = DIALECTS[dialect]
    if not text.strip() or _is_in(expected, text):
        return Normalised(expected.form(text, size), "")
    return Normalised(markdown.form(text, size), dialect)


def _is_in(expected: Dialect, text: str) -> bool:
    """Whether an answer may be in a dialect: it has its sign, or may have none and does not begin with another's."""
    if expected.sign and expected.sign.search(text):
        return True
    text = text.lstrip()
    return expected.unmarked and not any(other.sign and other.sign.match(text) for other in DIALECTS.values())
