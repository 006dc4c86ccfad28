"""DeepSeek-OCR's own tags, also where a server has left their special tokens out of the text. Pure.

Then `title[[60, 60, 400, 90]]` stands in a line where the model wrote
`<|ref|>title<|/ref|><|det|>[[60, 60, 400, 90]]<|/det|>`: llama.cpp's server leaves them out unless it is started with
`--special`, SGLang's and others unless they are asked not to.
"""

import re

from ocrd.markup.layout_blocks import ALIASES, LABELS
from ocrd.model import PixelSize

SIGN = re.compile(r"<\|ref\|>")
SEVERAL = 3
"""Of such lines, more than a page has that only prints one."""
_BOX = r"\[\d{1,4}(?:, ?\d{1,4}){3}\]"
_BARE = re.compile(
    rf"^(?P<label>{'|'.join(sorted(LABELS | ALIASES.keys()))})(?:"
    rf"(?P<boxes>\[{_BOX}(?:, ?{_BOX})*\])[ \t]*$|(?P<cut>\[\[(?:[\d\[, ]|\](?!\]))*)\Z)",
    re.MULTILINE,
)


def form(text: str, size: PixelSize) -> str:
    """Put the tokens back, if there is none at all, and the page begins with a tag, as answers do, or has several.

    One alone in the midst of a page may be printed there: it is code in some languages.
    """
    del size
    if "[[" not in text or SIGN.search(text):
        return text
    if not _BARE.match(text.lstrip()) and len(_BARE.findall(text)) < SEVERAL:
        return text
    return _BARE.sub(_tag, text)


def _tag(bare: "re.Match[str]") -> str:
    places = f"{bare['boxes']}<|/det|>" if bare["boxes"] else bare["cut"]
    return f"<|ref|>{bare['label']}<|/ref|><|det|>{places}"
